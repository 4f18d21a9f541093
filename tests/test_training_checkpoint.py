"""A checkpoint comes back as it was saved or not at all, whatever was killed in between."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_states import assert_is, flip, names, state_of
from storage_faults import Killer, fork, in_child, limit_files, needs_tracing
from torch import Tensor, nn
from torch.nn.utils import parametrize

from vitreous.errors import ModelFileError, ResourceError
from vitreous.training.learning.average import Average
from vitreous.training.saving import checkpoint, checkpoint_folder
from vitreous.training.saving.checkpoint import State


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run" / "checkpoints"


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one, for hundreds of saves: who is killed needs no real disk to lose by."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else tmp_path) as path:
        yield Path(path)


# --- what a state is


class Wide(nn.Module):
    """A parametrisation as low-rank updates are."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Parameter(torch.randn(2, 7)), nn.Parameter(torch.randn(5, 2))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.up @ self.down


def network() -> nn.Sequential:
    """Frozen, low-rank, tied, trained and never reached parameters, a buffer, and a slash in a name."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(7, 5), nn.BatchNorm1d(5), nn.Linear(5, 3, bias=False), nn.Linear(5, 3, bias=False))
    model[3].weight = model[2].weight
    model.add_module("a/b", nn.Linear(3, 2))
    model.register_parameter("unreached", nn.Parameter(torch.randn(4)))
    parametrize.register_parametrization(model[0], "weight", Wide())
    model[0].parametrizations.weight.original.requires_grad_(False)
    return model


def answer(model: nn.Sequential, images: Tensor) -> Tensor:
    hidden = model[1](model[0](images))
    return model.get_submodule("a/b")(model[2](hidden) + model[3](hidden))


def groups(model: nn.Sequential, kind: str) -> list[dict[str, Any]]:
    """The same parameters in one group, or in several and another order."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    match kind:
        case "one":
            return [{"params": parameters}]
        case _:
            return [{"params": parameters[3:][::-1], "weight_decay": 0.0}, {"params": parameters[:3]}]


OPTIMIZERS: dict[str, Callable[[list[dict[str, Any]]], torch.optim.Optimizer]] = {
    "adam": lambda groups: torch.optim.AdamW(groups, lr=1e-2, weight_decay=0.0),
    "fused": lambda groups: torch.optim.AdamW(groups, lr=1e-2, weight_decay=0.0, fused=True),
    "momentum": lambda groups: torch.optim.SGD(groups, lr=1e-3, momentum=0.9),
    "plain": lambda groups: torch.optim.SGD(groups, lr=1e-3),
}


def steps(model: nn.Sequential, optimizer: torch.optim.Optimizer, average: Average, places: range) -> None:
    """Some steps whose images depend on the place in the run only."""
    for place in places:
        images = torch.randn(6, 7, generator=torch.Generator().manual_seed(place))
        answer(model, images).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        average.update(model, place)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_what_comes_back_goes_on_to_the_bit_in_other_groups_too(folder: Path, kind: str) -> None:
    """Three steps, saved, read into a fresh network whose optimiser groups differ, four more: as seven at once."""
    whole = network()
    mean = Average(whole, 0.9)
    optimizer = OPTIMIZERS[kind](groups(whole, "one"))
    steps(whole, optimizer, mean, range(3))
    captured = checkpoint.capture(3, whole, optimizer, mean, seconds=1.5, meter={"loss": 2.0})
    checkpoint.write(folder, captured)
    steps(whole, optimizer, mean, range(3, 7))

    state, complaints = checkpoint.read_latest(folder)
    assert state is not None
    assert [] == complaints
    fresh = network()
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.add_(1.0)
    fresh_mean = Average(fresh, 0.9)
    other = OPTIMIZERS[kind](groups(fresh, "several"))
    checkpoint.restore(state, fresh, other, fresh_mean)
    steps(fresh, other, fresh_mean, range(3, 7))
    for name, value in whole.state_dict().items():
        assert value.isfinite().all()
        assert torch.equal(value, fresh.state_dict()[name]), name
    for name, value in mean.mean.items():
        assert torch.equal(value, fresh_mean.mean[name]), name


def test_moments_are_named_after_their_parameters(folder: Path) -> None:
    """Frozen and unreached parameters have none; the low-rank ones do, under PyTorch's names for them."""
    model = network()
    mean, optimizer = Average(model, 0.9), OPTIMIZERS["momentum"](groups(model, "several"))
    steps(model, optimizer, mean, range(2))
    state = checkpoint.capture(2, model, optimizer, mean, seconds=0.0, meter={})
    expected = ["0.bias", "0.parametrizations.weight.0.down", "0.parametrizations.weight.0.up", "1.bias", "1.weight"]
    expected += ["2.weight", "a/b.bias", "a/b.weight"]
    assert [f"{name}/momentum_buffer" for name in expected] == sorted(state.optimizer)
    checkpoint.write(folder, state)
    assert expected[0] + "/momentum_buffer" in checkpoint.read(folder / "step-00000002").optimizer


def test_a_state_of_something_else_is_refused() -> None:
    """Another shape, a parameter that is not trained here, averages of others: one error each, and a way out."""
    model = network()
    mean, optimizer = Average(model, 0.9), OPTIMIZERS["adam"](groups(model, "one"))
    steps(model, optimizer, mean, range(1))
    state = checkpoint.capture(1, model, optimizer, mean, seconds=0.0, meter={})
    fewer = OPTIMIZERS["adam"]([{"params": [model[1].weight]}])
    with pytest.raises(ModelFileError, match=r"(?s)moments of .*, which is not trained here.*--run"):
        checkpoint.restore(state, model, fewer, mean)
    state.model["1.weight"] = torch.zeros(4)
    with pytest.raises(ModelFileError, match=r"(?s)does not fit this run.*size mismatch for 1\.weight"):
        checkpoint.restore(state, model, optimizer, mean)
    state.model["1.weight"] = torch.zeros(5)
    del state.average["1.bias"]
    with pytest.raises(ModelFileError, match=r"averages of 1\.bias on one side only"):
        checkpoint.restore(state, model, optimizer, mean)


def test_everything_in_a_state_comes_back(folder: Path) -> None:
    path = checkpoint.write(folder, state_of(7, score=0.25), environment={"threads": 2})
    assert folder / "step-00000007" == path
    state, complaints = checkpoint.read_latest(folder)
    assert [] == complaints
    assert_is(state, 7, score=0.25)
    assert_is(checkpoint.read(path), 7, score=0.25)
    assert {"threads": 2} == json.loads((path / "manifest.json").read_text())["environment"]


def test_no_checkpoints_is_no_state(folder: Path) -> None:
    """Neither without the folder, nor with an empty one, nor with what a killed save left."""
    assert (None, []) == checkpoint.read_latest(folder)
    (folder / ".writing-1-step-00000001").mkdir(parents=True)
    assert (None, []) == checkpoint.read_latest(folder)
    assert checkpoint.best(folder) is None


# --- which ones stay


def test_the_newest_and_the_best_stay(folder: Path) -> None:
    """Keep two: the two newest, and the one with the highest score wherever it lies; the later of equals."""
    scores = [None, 0.3, 0.9, 0.2, None, 0.9, 0.1, 0.4]
    stayed = []
    for step, score in enumerate(scores):
        checkpoint.write(folder, state_of(step, score=score), 2)
        stayed.append([int(name[-1]) for name in names(folder)])
    assert [[0], [0, 1], [1, 2], [2, 3], [2, 3, 4], [4, 5], [5, 6], [5, 6, 7]] == stayed
    best = checkpoint.best(folder)
    assert best is not None
    assert_is(checkpoint.read(best), 5, score=0.9)


@pytest.mark.parametrize("keep", [1, 3])
def test_as_many_stay_as_were_asked_for(folder: Path, keep: int) -> None:
    for step in range(1, 6):
        checkpoint.write(folder, state_of(step), keep)
    assert [f"step-{step:08d}" for step in range(6 - keep, 6)] == names(folder)


def test_the_best_is_the_best_that_is_whole(folder: Path) -> None:
    """A score that is no number counts for nothing, and neither does a damaged checkpoint's."""
    for step, score in enumerate([0.5, float("nan"), 0.8, 0.7, None]):
        checkpoint.write(folder, state_of(step, score=score), 5)
    assert folder / "step-00000002" == checkpoint.best(folder)
    flip(folder / "step-00000002" / "model.safetensors", 100, 3)
    assert folder / "step-00000003" == checkpoint.best(folder)
    checkpoint.write(folder, state_of(9), 1)
    assert ["step-00000002", "step-00000009"] == names(folder)  # sizes are right: only reading it all would tell


def test_a_damaged_newer_one_neither_stays_nor_costs_the_one_just_written(folder: Path) -> None:
    """A run goes on from step 5 because step 8 is damaged, and keeps one: the one that can be used."""
    checkpoint.write(folder, state_of(5))
    checkpoint.write(folder, state_of(8))
    (folder / "step-00000008" / "optimizer.safetensors").unlink()
    checkpoint.write(folder, state_of(6), 1)
    assert ["step-00000006"] == names(folder)
    assert_is(checkpoint.read_latest(folder)[0], 6)


def test_the_same_step_again_takes_the_place_of_the_first(folder: Path) -> None:
    checkpoint.write(folder, state_of(4, score=0.1))
    checkpoint.write(folder, state_of(4, score=0.2))
    assert ["step-00000004"] == names(folder)
    assert_is(checkpoint.read_latest(folder)[0], 4, score=0.2)


# --- several processes write one


def test_shards_of_any_names_are_covered_and_given_back_as_a_folder(folder: Path) -> None:
    """What several processes wrote into the folder is committed by one, and every byte of it is under the manifest."""
    with checkpoint.writing(folder, 6, 2, size=1000) as temporary:
        children = []
        for rank in range(3):
            read, write = os.pipe()
            shard = temporary / "shards" / f"__{rank}_0.distcp"
            children.append(
                fork(lambda shard=shard: (shard.parent.mkdir(exist_ok=True), shard.write_bytes(b"x" * 99)), write)
            )
            os.close(read)
            os.close(write)
        for child in children:
            os.waitpid(child, 0)
        (temporary / "shards" / ".metadata").write_bytes(b"where what lies")
        checkpoint.write_files(temporary, State(6, {}, {}, meter={"loss": 1.0}))
        assert (None, []) == checkpoint.read_latest(folder)
    state, _ = checkpoint.read_latest(folder)
    assert state is not None
    assert (folder / "step-00000006" / "shards", {}, {}, {}) == (
        state.shards,
        state.model,
        state.optimizer,
        state.average,
    )
    assert {"loss": 1.0} == state.meter
    flip(folder / "step-00000006" / "shards" / "__1_0.distcp", 50, 0)
    with pytest.raises(ModelFileError, match=r"shards/__1_0\.distcp is not what was written"):
        checkpoint.read_latest(folder)


def test_a_block_that_fails_leaves_nothing(folder: Path) -> None:
    checkpoint.write(folder, state_of(5))
    with pytest.raises(ZeroDivisionError), checkpoint.writing(folder, 6) as temporary:
        (temporary / "shards").write_text(str(1 / 0))
    assert ["step-00000005"] == names(folder)


# --- kills


@needs_tracing
@pytest.mark.parametrize("what", ["new", "again"])
def test_killed_before_any_call_of_a_save_one_whole_checkpoint_is_there(memory: Path, what: str) -> None:
    """SIGKILL before every system call of a save that may change the disk, the removal of older ones included.

    What is there afterwards is the old state or the new one, without complaint; what was half done is swept up.
    """
    before = memory / "before"
    for step, score in [(1, 0.9), (2, 0.1), (3, 0.2), (4, 0.3)]:
        checkpoint.write(before, state_of(step, score=score), 9)
    step = 5 if what == "new" else 4
    count = Killer()
    folder = copied(before, memory / "counted")
    in_child(lambda: str(checkpoint.write(folder, state_of(step), 2)), trace=count).ok()
    assert count.calls > 40
    seen, swept = set(), 0
    for nth in range(1, count.calls + 1):
        folder = copied(before, memory / f"killed-{nth}")
        ended = in_child(lambda folder=folder: str(checkpoint.write(folder, state_of(step), 2)), trace=Killer(nth))
        assert signal.SIGKILL == ended.signal
        state, complaints = checkpoint.read_latest(folder)
        assert state is not None
        assert [] == complaints
        assert_is(state, state.step, score=0.3 if state.step == 4 and state.score else None)
        seen.add((state.step, state.score))
        best = checkpoint.best(folder)
        assert best is not None
        assert "step-00000001" == best.name
        saver = checkpoint.Saver(folder)
        left = [name for name in names(folder) if name.startswith(".")]
        saver.latest()
        swept += bool(left)
        assert not [name for name in names(folder) if name.startswith(".")]
        saver.save(state_of(6))
        assert ["step-00000001", f"step-{state.step:08d}", "step-00000006"] == names(folder)
        shutil.rmtree(folder)
    assert {(4, 0.3), (step, None)} == seen
    assert swept > 20


def copied(before: Path, folder: Path) -> Path:
    """The same checkpoints elsewhere, without copying their content."""
    return Path(shutil.copytree(before, folder, copy_function=os.link))


def test_killed_in_the_middle_of_any_file_the_one_before_is_used(folder: Path) -> None:
    """The system kills the process in mid-write, at every hundredth byte of the largest file."""
    checkpoint.write(folder, state_of(1))
    big = state_of(2, count=2000)
    size = max(8 * 2000, (folder / "step-00000001" / "model.safetensors").stat().st_size)
    died = 0
    for limit in range(1, size, 397):

        def act(limit: int = limit) -> None:
            limit_files(limit, deadly=True)
            checkpoint.write(folder, big)

        ended = in_child(act)
        died += ended.signal == signal.SIGXFSZ
        state, complaints = checkpoint.read_latest(folder)
        assert [] == complaints
        assert_is(state, 1) if ended.signal else assert_is(state, 2, count=2000)
        if not ended.signal:
            break
    assert died > 15
    checkpoint.write(folder, state_of(3))
    assert not [name for name in names(folder) if name.startswith(".")]


def test_leftovers_are_told_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint.write(folder, state_of(1))
    (folder / ".writing-77-step-00000002" / "shards").mkdir(parents=True)
    (folder / ".deleting-ab12-step-00000000").mkdir()
    assert_is(checkpoint.Saver(folder).latest(), 1)
    told = capsys.readouterr().err
    expected = ".deleting-ab12-step-00000000, .writing-77-step-00000002"
    assert f"removed what an interrupted save left behind: {expected}\n" == told
    assert ["step-00000001"] == names(folder)
    assert [] == checkpoint_folder.sweep(folder)


# --- readers


def test_ten_readers_never_see_half_a_checkpoint(memory: Path) -> None:
    """They read without pause while fifteen checkpoints come and all but one go; the same step is rewritten too."""
    folder = memory / "checkpoints"
    checkpoint.write(folder, state_of(0))
    children = []
    for _ in range(10):
        read, write = os.pipe()
        children.append((fork(lambda: read_until(folder, 15), write), read))
        os.close(write)
    for step in range(1, 16):
        checkpoint.write(folder, state_of(step), 1)
        checkpoint.write(folder, state_of(step), 1)
    reads = []
    for child, read in children:
        os.waitpid(child, 0)
        with os.fdopen(read, "rb") as pipe:
            told = json.loads(pipe.read())
        assert "" == told["error"]
        reads.append(told["value"])
    assert sum(reads) > 20


def read_until(folder: Path, last: int) -> int:
    """Read until the last one is there; how many different states were seen, each checked."""
    seen, step = 0, -1
    while step < last:
        try:
            state, complaints = checkpoint.read_latest(folder)
        except ResourceError:  # the writer was faster a hundred times in a row
            continue
        assert [] == complaints
        assert state is not None
        assert state.step >= step
        assert_is(state, state.step)
        seen, step = seen + (state.step > step), state.step
    return seen

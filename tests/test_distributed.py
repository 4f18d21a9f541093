"""One, two and four processes train alike, say who is lost, and read each other's slices; all of them are real ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import filelock
import pytest

from vitreous.data.feeding.order import batch_members
from vitreous.distributed import World, joined, share, world
from vitreous.errors import ConfigError, ResourceError, UsageError

SCRIPT = Path(__file__).parent / "several_ranks.py"
RANK = Path(__file__).parent / "torchrun_ranks.py"
SEED, COUNT, BATCH, STEPS = 3, 37, 8, 10  # as in several_ranks.py
CLOSE = 1e-5  # what the order of additions may cost
LIMIT = 30.0  # seconds in which the others must have stopped
STOPPED = "vitreous resume 'runs/my run', started by torchrun as before"


def environment() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    # PyTorch asks for the name of every address it connects to: a silent name server may neither hold us up nor be news
    names = {"RES_OPTIONS": "timeout:1 attempts:1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    return own | names | {"PYTHONPATH": str(SCRIPT.parent.parent), "OMP_NUM_THREADS": "1"}


def several_ranks(asked: str, factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the script printed; it runs once, also where several processes of pytest share out the tests."""
    base = factory.getbasetemp()
    answer = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"several-ranks-{asked}.json"
    with filelock.FileLock(answer.with_suffix(".lock")):
        if not answer.exists():
            done = subprocess.run(
                [sys.executable, str(SCRIPT), asked, str(factory.mktemp(asked))],
                env=environment(), capture_output=True, text=True, timeout=180, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            answer.write_text(done.stdout)
    return json.loads(answer.read_text())


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[dict[str, Any]]]:
    """What every rank of a world of 1, 2 and 4 found."""
    ends = several_ranks("lives", tmp_path_factory)
    for size, of_all in ends.items():
        for rank, end in enumerate(of_all):
            # PyTorch's store may print its own stack when the rank that hosts it leaves first: noise, not a failure
            quiet = end["said"] == "" or "TCPStore.cpp" in end["said"]
            assert (end["code"], quiet) == (0, True), f"rank {rank} of {size}: {end['said']}"
            assert "Traceback" not in end["said"]
            assert "is gone" not in end["said"]
    return {int(size): [end["answer"] for end in of_all] for size, of_all in ends.items()}


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """How every rank ended in worlds where something went wrong."""
    return several_ranks("faults", tmp_path_factory)


def near(values: list[float]) -> Any:
    return pytest.approx(values, rel=CLOSE)


def test_the_losses_that_are_compared_are_of_a_run_that_learns(lives: dict[int, Any]) -> None:
    one = lives[1][0]["trained alone"]
    assert len(one["losses"]) == STEPS
    assert one["losses"][-1] < one["losses"][0] - 0.1
    assert min(one["norms"]) > 0.9, "the gradients of every step are clipped"


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
@pytest.mark.parametrize("size", [2, 4])
def test_losses_norms_and_weights_are_those_of_one_rank(lives: dict[int, Any], size: int, strategy: str) -> None:
    """A7: ten steps with mixed images, micro-batches, clipping, moments and an average of the weights."""
    one = lives[1][0]["trained alone"]
    for found in (of_rank[f"trained {strategy}"] for of_rank in lives[size]):
        assert found["losses"] == near(one["losses"])
        assert found["norms"] == near(one["norms"])
        assert found["sums"] == pytest.approx(one["sums"], rel=CLOSE, abs=CLOSE)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
@pytest.mark.parametrize("size", [2, 4])
def test_together_the_ranks_see_the_global_batch_in_its_order(lives: dict[int, Any], size: int, strategy: str) -> None:
    for step in range(STEPS):
        _, indices = batch_members(seed=SEED, step=step, batch_size=BATCH, count=COUNT)
        shares = [of_rank[f"trained {strategy}"]["seen"][step] for of_rank in lives[size]]
        assert [index for part in shares for index in part] == indices.tolist()
        assert {len(part) for part in shares} == {BATCH // size}


@pytest.mark.parametrize("optimizer", ["sgd", "lamb"])
def test_every_optimiser_moves_slices_as_it_moves_wholes(lives: dict[int, Any], optimizer: str) -> None:
    one, two = lives[1][0][optimizer], lives[2][1][optimizer]
    assert two["losses"] == near(one["losses"])
    assert two["sums"] == pytest.approx(one["sums"], rel=CLOSE, abs=CLOSE)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_what_begins_to_learn_on_the_way_is_averaged_too(lives: dict[int, Any], strategy: str) -> None:
    """DistributedDataParallel alone would leave every process its own gradient of it, without a word."""
    one, two = lives[1][0]["thawed alone"], lives[2][1][f"thawed {strategy}"]
    assert two["norms"] == near(one["norms"])
    assert two["losses"] == near(one["losses"])


def test_a_run_goes_on_with_another_number_of_processes(lives: dict[int, Any]) -> None:
    """A7: 2 ranks, then 1, then 4, each from the slices that those before wrote."""
    whole = lives[1][0]["trained alone"]
    parts = [lives[size][0]["part"] for size in (2, 1, 4)]
    assert [loss for part in parts for loss in part["losses"]] == near(whole["losses"])
    assert parts[-1]["sums"] == pytest.approx(whole["sums"], rel=CLOSE, abs=CLOSE)


def test_tensors_of_every_kind_are_read_by_any_number_of_processes(lives: dict[int, Any]) -> None:
    kinds = ["odd", "short", "deep", "whole", "scalar", "count"]
    read = [*lives[1][0]["sliced"], *(found for of_rank in lives[4] for found in of_rank["sliced"])]
    assert [dict.fromkeys(kinds, True)] * 9 == read


def test_slices_that_do_not_fit_are_refused(lives: dict[int, Any]) -> None:
    absent, misshapen = lives[1][0]["refused"]
    assert "the saved tensors do not fit" in absent
    assert "absent" in absent
    assert "odd" in misshapen
    assert "[7, 6]" in misshapen


def test_a_full_disk_of_one_rank_is_an_error_of_all(lives: dict[int, Any]) -> None:
    """B4."""
    assert ["[Errno 27] File too large"] * 2 == [of_rank["full disk"] for of_rank in lives[2]]


@pytest.mark.parametrize("size", [1, 2, 4])
def test_messages_are_the_same_everywhere(lives: dict[int, Any], size: int) -> None:
    ranks = range(size)
    for of_rank in lives[size]:
        said = of_rank["messages"]
        assert said["sum"] == [pytest.approx(sum(0.1 + rank for rank in ranks), rel=1e-15), 3.0 * size]
        assert (said["largest"], said["no number"]) == (-1.0, size > 1)
        assert (said["shared"], said["nothing"]) == ({"names": ["ä", None, 0.1]}, None)
        assert said == lives[size][0]["messages"]


@pytest.mark.parametrize(
    ("case", "rank"), [("killed", 1), ("first killed", 0), ("far killed", 2), ("hangs", 1), ("first hangs", 0)]
)
def test_the_others_stop_and_name_the_rank_that_is_gone(faults: dict[str, Any], case: str, rank: int) -> None:
    """A16: killed in the middle of a step, holding the meeting point, on another machine, or stopped for ever."""
    lost = faults[case][rank]
    for end in faults[case][:rank] + faults[case][rank + 1 :]:
        assert f"rank {rank} on {faults['host']} (process {lost['pid']}) is gone\n" in end["said"]
        assert STOPPED in end["said"]
        assert "Traceback" not in end["said"]
        assert end["code"] == ResourceError.exit_code
        assert end["seconds"] < LIMIT


def test_a_rank_that_fails_tells_the_others_why(faults: dict[str, Any]) -> None:
    told, failed = faults["fails"]
    assert (failed["code"], failed["said"]) == (3, "the images of rank 1 are gone\n")
    assert told["code"] == ResourceError.exit_code
    assert f"rank 1 on {faults['host']} (process {failed['pid']}) stopped\n  why   the images of rank 1" in told["said"]
    assert told["seconds"] < LIMIT


def test_a_rank_that_was_told_to_stop_leaves_the_others_time_to_save(faults: dict[str, Any]) -> None:
    """A10."""
    found = [(end["code"], end["said"]) for end in faults["asked"]]
    assert [(75, "rank 0 has saved\n"), (75, "rank 1 has saved\n")] == found


def test_a_rank_that_is_stopped_for_a_moment_is_waited_for(faults: dict[str, Any]) -> None:
    """A12."""
    assert [0, 0] == [end["code"] for end in faults["pauses"]]
    assert not any("is gone" in end["said"] for end in faults["pauses"])


def test_a_rank_that_never_comes_is_named(faults: dict[str, Any]) -> None:
    holder, other = faults["absent"]
    assert (holder["code"], other["code"]) == (6, 6)
    assert "2/3 clients joined" in holder["said"]
    assert "rank 1 of 3 did not come within 3 s" in other["said"]


def test_the_signal_to_the_rest_does_not_drown_the_news_and_a_new_life_begins_afresh(faults: dict[str, Any]) -> None:
    """A16: torchrun sends SIGTERM to the rest when one rank dies; its store still holds what the dead wrote."""
    first, second = faults["anew"]
    for rank in (0, 2):
        assert f"rank 1 on {faults['host']} (process {first[1]['pid']}) is gone\n" in first[rank]["said"]
        assert STOPPED in first[rank]["said"]
        assert first[rank]["code"] == ResourceError.exit_code
        assert first[rank]["seconds"] < LIMIT
    assert [(0, "")] * 3 == [(end["code"], end["said"]) for end in second]


@pytest.mark.slow
def test_torchrun_names_the_dead_in_spite_of_its_signal_and_starts_all_anew(tmp_path: Path) -> None:
    """The same with torchrun itself, whose seven processes import PyTorch."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "3", "--max-restarts", "1"]
    with subprocess.Popen(
        [*torchrun, str(RANK), str(tmp_path)], env=environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        started = [tmp_path / f"life-0-rank-{rank}" for rank in range(3)]
        until = time.monotonic() + 60
        while not all(file.exists() and file.read_text() for file in started) and time.monotonic() < until:
            time.sleep(0.05)
        pid = int(started[1].read_text())
        os.kill(pid, signal.SIGKILL)
        _, said = process.communicate(timeout=2 * LIMIT)
    assert said.count(f"(process {pid}) is gone\n") == 2
    assert said.count(STOPPED) == 2
    assert "stopped by SIGTERM" not in said
    codes = {file.name: int(file.read_text()) for file in tmp_path.glob("code-*")}
    lost = ResourceError.exit_code
    assert codes == {"code-0-0": lost, "code-0-2": lost, "code-1-0": 0, "code-1-1": 0, "code-1-2": 0}
    assert process.returncode == 0


def test_alone_there_is_no_group_and_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv("RANK", "5")  # some clusters set it for everything
    assert World(0, 1, 0) == world()
    with joined("cpu") as group:
        value = {"any": object()}
        assert group.shared(value) is value
        assert (group.sum([1.5, 2]), group.largest(-3), group.first) == ([1.5, 2.0], -3.0, True)
        group.barrier()


@pytest.mark.parametrize(
    ("rank", "size", "words"), [("x", "4", "RANK is 'x', which is no number"), ("4", "4", "RANK is 4, but WORLD_SIZE")]
)
def test_an_environment_that_contradicts_itself_is_refused(
    monkeypatch: pytest.MonkeyPatch, rank: str, size: str, words: str
) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", size)
    with pytest.raises(UsageError, match=words):
        world()


def test_a_batch_that_cannot_be_shared_out_names_the_sizes_that_can() -> None:
    """A8."""
    assert [(0, 4), (4, 4), (8, 4)] == [share(12, World(rank, 3, rank)) for rank in range(3)]
    with pytest.raises(ConfigError, match=r"12 images .* among 5 processes[^$]*: 1, 2, 3, 4, 6, 12"):
        share(12, World(0, 5, 0))


@pytest.mark.parametrize(("device", "words"), [("mps", "cannot train on mps"), ("meta", "cannot train on meta")])
def test_devices_of_one_process_only_are_refused(monkeypatch: pytest.MonkeyPatch, device: str, words: str) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match=words), joined(device):
        pass

"""Runs that are killed, stopped, frozen, edited or begun twice, for real: they end as if nothing was, or say why not.

What is proved elsewhere is listed in docs/faults.md.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from small_photos import write_photos, write_photos_with_test
from small_runs import OPTIONS, at_step, digest, interrupted, live, of_tensors, stop_at, tiny_plan
from storage_faults import fork

import vitreous as vt
from vitreous.cli import main
from vitreous.data.feeding.loader import evaluation_batches
from vitreous.errors import ConfigError, DataError, InterruptedRun, ResourceError, UsageError
from vitreous.training.saving import checkpoint
from vitreous.training.signals import StopRequests
from vitreous.training.step import Engine

STEPS = 5


@pytest.fixture(scope="module", autouse=True)
def one_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is measured once, such as the faster form of attention, holds for all runs here: they must be equal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VITREOUS_CACHE", str(tmp_path_factory.getbasetemp() / "vitreous-cache"))
        yield


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 to learn from, of which a fifth is held out, and 12 to be scored on."""
    return write_photos_with_test(tmp_path_factory.mktemp("photos") / "photos")


@pytest.fixture(scope="module")
def whole(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a run ends with that is left alone."""
    run = tmp_path_factory.mktemp("whole") / "run"
    vt.pretrain(photos, run=str(run), steps=STEPS, **OPTIONS)
    return digest(run)


def begin(photos: Path, run: Path, **options: Any) -> None:
    vt.pretrain(photos, run=str(run), **{**OPTIONS, "steps": STEPS, **options})


# --- A1 killed


def test_killed_at_every_step_in_the_middle_of_steps_and_of_saves(photos: Path, tmp_path: Path) -> None:
    """A1: SIGKILL in each of twelve steps: weights, average, moments and curves are those of a run left alone.

    Images are mixed, erased and repeated; dropout, stochastic depth, an average and accumulation are on.
    """
    extra = {"batch_size": 12, "set": "average_decay=0.99,dropout=0.1"}
    script = Path(__file__).with_name("kill_and_resume.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "VITREOUS_CACHE": str(tmp_path / "cache")}
    asked = ["deit-vit-ti16", "12", "-", json.dumps(extra)]
    ran = subprocess.run(
        [sys.executable, str(script), str(photos), str(tmp_path / "work"), *asked],
        capture_output=True, text=True, env=environment, timeout=300, check=False,
    )  # fmt: skip
    assert 0 == ran.returncode, ran.stderr
    told = json.loads(ran.stdout)
    assert told["kills"] >= 10
    assert told["whole"] == told["again"]
    assert told["whole"] == told["killed"]


# --- A4 where in the run


EPOCH = 4
"""Steps in an epoch of 24 images by 6."""


@pytest.mark.parametrize(
    "stops",
    [(0, 1), (EPOCH - 1,), (2 * EPOCH - 1, 2 * EPOCH), (9,), tuple(range(10))],
    ids=["twice in an epoch", "end of an epoch", "ends of two", "last step", "every step"],
)
def test_stopped_anywhere_it_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stops: tuple[int, ...]
) -> None:
    """A4: also after the last step, when only the result is missing."""
    recipe, options = {"dropout": 0.1, "average_decay": 0.9}, {"steps": 10}
    ends = []
    for name, at in [("whole", ()), ("stopped", stops)]:
        for step in at:
            plan = tiny_plan(recipe, options, count=24)
            assert EPOCH == plan.steps_per_epoch
            assert 75 == interrupted(partial(live, plan, tmp_path / name), monkeypatch, step)
            state, _ = checkpoint.read_latest(tmp_path / name / "checkpoints")
            assert state is not None
            assert step + 1 == state.step
        plan = tiny_plan(recipe, options, count=24)
        live(plan, tmp_path / name)
        ends.append({**digest(tmp_path / name), "model": of_tensors(plan.model.state_dict())})
    assert ends[0] == ends[1]


def test_a_run_without_a_step_begins_and_a_finished_one_says_so(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    whole: dict[str, str],
) -> None:
    """A4: at step 0 and after the end, by the command."""
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "steps", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        pid = fork(lambda: begin(photos, run), os.open(os.devnull, os.O_WRONLY))
        assert signal.SIGKILL == os.WTERMSIG(os.waitpid(pid, 0)[1])
    assert not (run / "checkpoints").exists()
    assert 0 == main(["resume", str(run)])
    assert whole == digest(run)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.name != ".lock"}
    capsys.readouterr()
    assert 0 == main(["resume", str(run)])
    assert f"{run} is complete" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.name != ".lock"}


# --- A6, A9 what a machine may change


def edit(run: Path, **changes: Any) -> None:
    """Change run.json as a person would; names with dots lead into nested values."""
    facts = json.loads((run / "run.json").read_text())
    for name, value in changes.items():
        *path, last = name.split("__")
        inner = facts
        for part in path:
            inner = inner[part]
        inner[last] = value
    (run / "run.json").write_text(json.dumps(facts))


def test_workers_and_saves_may_differ_in_every_life(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    whole: dict[str, str],
) -> None:
    """A6: one, three and two threads read images; saved after every step, at the end only, and every minute."""
    run = tmp_path / "run"
    lives = [(1, 0.0, lambda: begin(photos, run)), (3, 90.0, lambda: vt.resume(run)), (2, 1.0, lambda: vt.resume(run))]
    for step, (workers, minutes, go) in enumerate(lives):
        monkeypatch.setattr("vitreous.training.step.num_readers", lambda _, workers=workers: workers)
        if step:
            edit(run, options__checkpoint_minutes=minutes)
        if step < 2:
            interrupted(go, monkeypatch, step)
        else:
            go()
    assert whole == digest(run)
    assert "going on with checkpoint_minutes 0.0 -> 90.0, as run.json says now" in capsys.readouterr().err


def test_another_machine_is_told_once(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A9: other threads, and another PyTorch before; the life after that has nothing new to tell."""
    run = tmp_path / "run"
    interrupted(lambda: begin(photos, run), monkeypatch, 0)
    edit(run, choices__threads=2, environment__PyTorch="2.11.0")
    told = []
    for step in (1, 2):
        capsys.readouterr()
        interrupted(lambda: vt.resume(run), monkeypatch, step)
        told.append([line for line in capsys.readouterr().err.splitlines() if "bit-exact" in line])
    assert [] == told[1]
    (line,) = told[0]
    assert line.startswith("going on is right but not bit-exact: ")
    assert "threads 1 -> 2" in line
    assert "PyTorch 2.11.0 -> " in line
    vt.resume(run)


# --- A10, A11 signals


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75), (signal.SIGUSR1, 75)])
@pytest.mark.parametrize("moment", ["step", "save", "look"])
def test_a_signal_at_any_moment_loses_nothing(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    whole: dict[str, str],
    moment: str,
    number: int,
    code: int,
) -> None:
    """A10, A11: in a step, in the middle of a save, while images are scored; the exit code says which it was."""
    run, began = tmp_path / "run", time.monotonic()
    with monkeypatch.context() as patch:
        match moment:
            case "step":
                patch.setattr(Engine, "steps", stop_at(2, number))
            case "save":
                patch.setattr(
                    "vitreous.training.saving.checkpoint.write_files", at_call(checkpoint.write_files, 3, number)
                )
            case "look":
                patch.setattr("vitreous.training.validate.evaluation_batches", at_batch(3, number))
        with pytest.raises(InterruptedRun, match=r"after step [34] of 5; nothing is lost") as caught:
            begin(photos, run)
    assert code == caught.value.exit_code
    assert time.monotonic() - began < 10
    vt.resume(run)
    assert whole == digest(run)


def at_call(function: Callable[..., Any], nth: int, *numbers: int) -> Callable[..., Any]:
    """The function, whose n-th call is met by signals."""
    calls = []

    def called(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == nth:
            for number in numbers:
                (arguments[0] / "half").write_text("of a file")
                os.kill(os.getpid(), number)
        return function(*arguments)

    return called


def at_batch(nth: int, number: int) -> Callable[..., Iterator[Any]]:
    """`evaluation_batches`, of whose n-th use the first batch is met by a signal."""
    uses = []

    def batches(*arguments: Any, **named: Any) -> Iterator[Any]:
        uses.append(arguments)
        for place, batch in enumerate(evaluation_batches(*arguments, **named)):
            if len(uses) == nth and place == 0:
                os.kill(os.getpid(), number)
            yield batch

    return batches


def test_a_second_ctrl_c_ends_at_once_and_what_was_saved_is_whole(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, str]
) -> None:
    """A10, A11: in the middle of a save, which is then no save; the message does not claim more than there is."""
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        twice = at_call(checkpoint.write_files, 3, signal.SIGINT, signal.SIGINT)
        patch.setattr("vitreous.training.saving.checkpoint.write_files", twice)
        with pytest.raises(InterruptedRun, match="as of its last checkpoint; what came after is done again") as caught:
            begin(photos, run)
    assert 130 == caught.value.exit_code
    state, complaints = checkpoint.read_latest(run / "checkpoints")
    assert state is not None
    assert (2, []) == (state.step, complaints)
    assert not list((run / "checkpoints").glob(".*"))
    vt.resume(run)
    assert whole == digest(run)


def test_a_signal_in_the_final_score_leaves_no_half_result(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, str]
) -> None:
    """A11: the run is not finished, and says so; going on only scores."""
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("vitreous.evaluation.evaluate.evaluation_batches", at_batch(1, signal.SIGTERM))
        with pytest.raises(InterruptedRun, match="vitreous resume"):
            begin(photos, run)
    facts = json.loads((run / "run.json").read_text())
    assert "result" not in facts
    assert not {"predictions.csv", "report.html", "MODEL_CARD.md"} & {path.name for path in run.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "_step", lambda *_: pytest.fail("there is no step left"))
        assert 12 == vt.resume(run).result.seen
    assert whole == digest(run)


def test_what_torchrun_passes_on_is_no_second_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """A10: a terminal tells all processes, and torchrun tells its own again; a second later it is meant."""
    for name, value in [("RANK", "0"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "0")]:
        monkeypatch.setenv(name, value)
    with StopRequests("runs/one") as stop:
        stop.deferred = True
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert signal.SIGINT == stop.requested
        time.sleep(1.05)
        with pytest.raises(InterruptedRun, match="stopped by SIGTERM"):
            os.kill(os.getpid(), signal.SIGTERM)


# --- A12 time


def test_frozen_for_a_while_it_ends_the_same(photos: Path, tmp_path: Path, whole: dict[str, str]) -> None:
    """A12: SIGSTOP in the middle of training, SIGCONT later: no error, the same weights, times that make sense."""
    run = tmp_path / "run"
    pid = fork(lambda: begin(photos, run), os.open(os.devnull, os.O_WRONLY))
    while not (run / "checkpoints" / "step-00000002").exists():
        time.sleep(0.001)
    os.kill(pid, signal.SIGSTOP)
    time.sleep(2)
    assert (0, 0) == os.waitpid(pid, os.WNOHANG)
    os.kill(pid, signal.SIGCONT)
    assert (pid, 0) == os.waitpid(pid, 0)
    assert whole == digest(run)
    facts = json.loads((run / "run.json").read_text())
    assert 2 < facts["result"]["seconds"] < 60
    assert all(json.loads(line)["images_per_second"] > 0 for line in (run / "metrics.jsonl").read_text().splitlines())


CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>
static time_t wrong(void) { static int calls; return (++calls % 3) * -3600; }
int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int done = real(clock, now);
  if (clock == CLOCK_REALTIME) now->tv_sec += wrong();
  return done;
}
"""


def test_a_wall_clock_that_jumps_changes_nothing(photos: Path, tmp_path: Path, whole: dict[str, str]) -> None:
    """A12: every look at the wall clock is up to two hours off; durations come from another one."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler")
    (tmp_path / "clock.c").write_text(CLOCK)
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", "clock.so", "clock.c", "-ldl"], cwd=tmp_path, check=True, timeout=60
    )
    code = "import time; a, b, c = time.time(), time.time(), time.time(); assert max(a, b, c) - min(a, b, c) > 3000\n"
    code += f"import vitreous as vt; r = vt.pretrain({str(photos)!r}, run={str(tmp_path / 'run')!r}, steps={STEPS},"
    code += f" **{OPTIONS!r}); assert 0 < r.result.seconds < 60, r.result.seconds"
    environment = {**os.environ, "LD_PRELOAD": str(tmp_path / "clock.so"), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, timeout=120, check=False)
    assert 0 == ran.returncode, ran.stderr.decode()
    assert whole == digest(tmp_path / "run")


def test_durations_never_come_from_the_wall_clock() -> None:
    """A12: where `time.time` is read at all it is written down for people, or held against the times of files."""
    found = set()
    for path in (Path(vt.__file__).parent).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in ("time.time", "time.time_ns", "datetime.now"):
                found.add(path.name)
    # TensorBoard's files want the time of day; how old a file is decides what is remembered of it, and for how long
    assert found <= {"track.py", "survey.py", "cache_file.py", "feature_store.py"}


# --- A13 two at once


def test_a_run_at_work_is_left_alone_and_a_dead_one_taken_over(
    photos: Path, tmp_path: Path, whole: dict[str, str]
) -> None:
    """A13: the second process is refused by name; when the first is killed, its lock and its name are worth nothing."""
    run = tmp_path / "run"
    pid = fork(lambda: with_patience(photos, run), os.open(os.devnull, os.O_WRONLY))
    while not (run / "checkpoints" / "step-00000001").exists():
        time.sleep(0.005)
    with pytest.raises(ResourceError, match=f"by process {pid} on .* since 20") as caught:
        vt.resume(run)
    assert 6 == caught.value.exit_code
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert pid == json.loads((run / ".owner.json").read_text())["pid"]
    vt.resume(run)
    assert not (run / ".owner.json").exists()
    assert whole == digest(run)


def with_patience(photos: Path, run: Path) -> None:
    """A run that would take a minute in its second step."""
    Engine.steps = at_step(1, lambda _: time.sleep(60))  # type: ignore[method-assign]
    begin(photos, run)


# --- A14 the seed


def test_the_seed_alone_decides_in_new_processes_too(photos: Path, tmp_path: Path, whole: dict[str, str]) -> None:
    """A14: in processes that hash strings otherwise, the same seed ends the same, and another one otherwise."""
    code = "import sys, vitreous as vt; vt.pretrain(sys.argv[1], run=sys.argv[2], seed=int(sys.argv[3]), "
    code += f"steps={STEPS}, **{OPTIONS!r})"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(photos), str(tmp_path / str(seed)), str(seed)],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": str(100 + seed)}, stderr=subprocess.PIPE,
        )
        for seed in (0, 1)
    ]  # fmt: skip
    for process in started:
        _, said = process.communicate(timeout=120)
        assert 0 == process.returncode, said.decode()
    same, other = digest(tmp_path / "0"), digest(tmp_path / "1")
    assert whole == same
    assert all(same[part] != other[part] for part in ("model", "optimizer", "average", "curve", "result"))


# --- A15 run.json was edited


@pytest.fixture(scope="module")
def halfway(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped after its second step, to be copied."""
    run = tmp_path_factory.mktemp("halfway") / "run"
    with pytest.MonkeyPatch.context() as patch:
        interrupted(lambda: begin(photos, run), patch, 1)
    return run


EDITS: dict[str, tuple[dict[str, Any], str]] = {
    "learning rate": ({"options__learning_rate": 0.5}, "learning_rate None -> 0.5"),
    "batch": ({"options__batch_size": 8}, "batch_size 6 -> 8"),
    "steps": ({"options__steps": 50}, "steps 5 -> 50"),
    "recipe": ({"options__recipe": "paper-imagenet"}, "recipe None -> 'paper-imagenet'"),
    "seed": ({"options__seed": 4}, "seed 0 -> 4"),
    "result": ({"options__result": "best"}, "result 'last' -> 'best'"),
    "model": ({"model": "vit-ti16"}, "model 'vit-test' -> 'vit-ti16'"),
    "verb": ({"verb": "finetune"}, "verb 'pretrain' -> 'finetune'"),
    "classes": (
        {"card__classes": ["ant", "bee", "dog"]},
        r"classes \['ant', 'bee', 'dog'\] -> \['ant', 'bee', 'cow'\]",
    ),
    "resolved recipe": ({"recipe__weight_decay": 0.7}, "weight_decay 0.7 -> "),
    "resolved length": ({"total_steps": 50}, "steps 50 -> 5"),
}


@pytest.mark.parametrize(("changes", "words"), EDITS.values(), ids=EDITS)
def test_an_edited_run_is_refused_with_the_difference(
    halfway: Path, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    """A15: what a run learns is not to be changed on its way; nothing is written."""
    run = Path(shutil.copytree(halfway, tmp_path / "run"))
    edit(run, **changes)
    before = (run / "run.json").read_bytes()
    with pytest.raises(UsageError, match=f"this run began with .*{words}") as caught:
        vt.resume(run)
    assert 2 == caught.value.exit_code
    assert before == (run / "run.json").read_bytes()


def test_a_misspelt_edit_is_refused(halfway: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(halfway, tmp_path / "run"))
    edit(run, options__batch_sise=8)
    with pytest.raises((ConfigError, UsageError), match="batch_sise"):
        vt.resume(run)


def test_what_changes_only_the_cost_may_be_edited(
    photos: Path, halfway: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], whole: dict[str, str]
) -> None:
    """A15: it is said, and the weights are the same; the images may have been moved to another place."""
    run = Path(shutil.copytree(halfway, tmp_path / "run"))
    moved = shutil.copytree(photos, tmp_path / "moved")
    edit(run, options__keep=1, options__checkpoint_minutes=3.0, data_path=str(moved))
    vt.resume(run)
    said = capsys.readouterr().err
    for words in (f"data_path '{photos}' -> '{moved}'", "keep 2 -> 1", "checkpoint_minutes 0.0 -> 3.0"):
        assert words in said
    assert whole == digest(run)


# --- A17 other images


def removed(photos: Path) -> None:
    for path in sorted((photos / "train" / "bee").iterdir())[:3]:
        path.unlink()


def renamed(photos: Path) -> None:
    (photos / "train" / "bee" / "bee-0.png").rename(photos / "train" / "bee" / "bee-zero.png")


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "removed": (removed, r"train 18 images then, 16 now; val 6 images then, 5 now"),
    "added": (lambda photos: write_photos(photos / "train", 2, first=100), r"train 18 images then, 24 now"),
    "renamed": (renamed, r"train 18 images then, 18 now"),
    "held out ones": (lambda photos: write_photos(photos / "test", 1, first=50), r"test 12 images then, 15 now"),
}


@pytest.mark.parametrize(("change", "words"), CHANGES.values(), ids=CHANGES)
def test_other_images_are_refused_with_counts_and_allowed_on_request(
    halfway: Path, photos: Path, tmp_path: Path, change: Callable[[Path], object], words: str
) -> None:
    """A17: run.json remembers what the images were; a third life asks nothing, and the run is as long as it was."""
    run = Path(shutil.copytree(halfway, tmp_path / "run"))
    own = Path(shutil.copytree(photos, tmp_path / "photos"))
    edit(run, data_path=str(own))
    change(own)
    with pytest.raises(DataError, match=words) as caught:
        vt.resume(run)
    assert 3 == caught.value.exit_code
    assert "--allow-data-change" in str(caught.value)
    before = json.loads((run / "run.json").read_text())
    with pytest.MonkeyPatch.context() as patch:
        code = interrupted(lambda: vt.resume(run, allow_data_change=True), patch, 2)
    assert 75 == code
    after = json.loads((run / "run.json").read_text())
    assert [before["sets"]] == after["data_changes"]
    assert before["sets"] != after["sets"]
    assert 0 == main(["resume", str(run)])
    assert [before["sets"]] == json.loads((run / "run.json").read_text())["data_changes"]
    assert digest(run)["step"] == str(STEPS)


def test_a_run_counted_in_epochs_keeps_its_length_with_fewer_images(photos: Path, tmp_path: Path) -> None:
    """A17: more steps are done already than the images that are left would ask for."""
    own, run = Path(shutil.copytree(photos, tmp_path / "photos")), tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        interrupted(lambda: begin(own, run, steps=None, epochs=2.0), patch, 4)
    for path in [path for name in ("ant", "bee", "cow") for path in sorted((own / "train" / name).iterdir())[:4]]:
        path.unlink()
    vt.resume(run, allow_data_change=True)
    assert json.loads((run / "run.json").read_text())["total_steps"] == 6
    assert digest(run)["step"] == "6"

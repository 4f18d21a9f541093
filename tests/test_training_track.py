"""Records reach the trackers once each, over resumes too, and a tracker that fails never stops training."""

from __future__ import annotations

import importlib.util
import json
import resource
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vitreous.errors import UsageError
from vitreous.results import EpochRecord
from vitreous.training.track import Track, require

needs_tensorboard = pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="no tensorboard")
needs_wandb = pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="no wandb")


def record(step: int, val: float | None = None) -> EpochRecord:
    return EpochRecord(
        step=step,
        epoch=step / 8,
        loss=2.0 / step,
        accuracy=0.25,
        learning_rate=1e-3 * step,
        images_per_second=100.0,
        val_accuracy=val,
    )


def logged(run: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard itself reads, without its leave to drop what it takes for left over."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"), purge_orphaned_data=False).Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def times(run: Path) -> list[float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return [e.wall_time for e in EventAccumulator(str(run / "tensorboard")).Reload().Scalars("train/loss")]


@needs_tensorboard
def test_tensorboard_shows_every_figure_of_every_record(tmp_path: Path) -> None:
    """With the names train/... and val/...; what was not measured is not there."""
    with Track("tensorboard", tmp_path) as track:
        track.record(record(5))
        track.record(record(10, val=0.75))
    shown = logged(tmp_path)
    assert [(5, pytest.approx(0.4)), (10, pytest.approx(0.2))] == shown["train/loss"]
    assert [(5, pytest.approx(0.005)), (10, pytest.approx(0.01))] == shown["train/learning_rate"]
    assert [(10, 0.75)] == shown["val/accuracy"]
    assert "val/loss" not in shown


@needs_tensorboard
def test_a_resumed_log_has_every_step_once_at_its_time(tmp_path: Path) -> None:
    """Killed after step 15, resumed from 10: 15 is logged again and there once; earlier times stay."""
    with Track("tensorboard", tmp_path) as killed:
        for step in (5, 10, 15):
            killed.record(record(step))
        before = times(tmp_path)  # not closed yet: every record is on disk at once
    assert 3 == len(before)
    with Track("tensorboard", tmp_path, [record(5), record(10)]) as track:
        track.record(record(15))
        track.record(record(20))
    assert [5, 10, 15, 20] == [step for step, _ in logged(tmp_path)["train/loss"]]
    assert before[:2] == times(tmp_path)[:2]
    assert 1 == len(list((tmp_path / "tensorboard").iterdir()))


@needs_tensorboard
def test_a_log_begun_late_is_whole(tmp_path: Path) -> None:
    """Records from before it was asked for are there too, and a torn file costs only what is torn off."""
    with Track("tensorboard", tmp_path, [record(5), record(10)]) as track:
        track.record(record(15))
    (file,) = (tmp_path / "tensorboard").iterdir()
    file.write_bytes(file.read_bytes()[:-7])
    with Track("tensorboard", tmp_path, [record(5), record(10), record(15)]):
        pass
    assert [5, 10, 15] == [step for step, _ in logged(tmp_path)["train/loss"]]


@needs_tensorboard
def test_a_full_disk_is_told_once_and_training_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """B5: for real, by a limit on the size of files."""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with Track("tensorboard", tmp_path) as track:
            track.record(record(5))
            resource.setrlimit(resource.RLIMIT_FSIZE, (600, limits[1]))
            for step in range(10, 100, 5):
                track.record(record(step))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    told = capsys.readouterr().err
    assert 1 == told.count("--log tensorboard stops here, training goes on: ")
    assert "File too large" in told


@needs_tensorboard
def test_a_folder_that_cannot_be_made_is_told_and_training_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Something else lies where the log should be."""
    (tmp_path / "tensorboard").write_text("a file")
    with Track("tensorboard", tmp_path) as track:
        track.record(record(5))
    assert 1 == capsys.readouterr().err.count("training goes on")


@pytest.mark.parametrize("log", ["tensorboard", "wandb"])
def test_a_missing_package_is_told_before_training(log: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """H4: one clear error with what to type; nothing installs itself."""
    monkeypatch.setitem(sys.modules, log, None)
    with pytest.raises(UsageError, match=f"--log {log} needs the package {log}") as caught:
        require(log)  # type: ignore[arg-type]
    assert 'pip install "vitreous[track]"' in str(caught.value)


def test_no_log_writes_nothing(tmp_path: Path) -> None:
    """The default imports no tracker and makes no folder."""
    with Track("none", tmp_path) as track:
        track.record(record(5))
    assert [] == list(tmp_path.iterdir())


_WANDB = """
import json, sys
from pathlib import Path
from vitreous.results import EpochRecord
from vitreous.training.track import Track
run, had, comes = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
def record(step):
    return EpochRecord(step=step, epoch=0.5, loss=1 / step, accuracy=0.5, learning_rate=0.1, images_per_second=9.0)
with Track("wandb", run, [record(step) for step in had], {"recipe": "small"}) as track:
    for step in comes:
        track.record(record(step))
"""


def wandb_records(file: Path) -> Iterator[bytes]:
    """The records of a .wandb file: a header of 7 bytes, then LevelDB's log format (its doc/log_format.md)."""
    blob, place, whole = file.read_bytes(), 7, b""
    while place + 7 <= len(blob):
        if 32768 - place % 32768 < 7:  # no header fits: the rest of the block is padding
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", blob, place)
        whole += blob[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # full, or last
            yield whole
            whole = b""


@needs_wandb
def test_wandb_gets_every_step_once_without_a_network(tmp_path: Path) -> None:
    """Offline, in processes of their own; what its files hold is read back with its own reader."""
    from wandb.proto import wandb_internal_pb2

    for had, comes in (([], [5, 10, 15]), ([5, 10], [15, 20])):
        done = subprocess.run(
            [sys.executable, "-c", _WANDB, str(tmp_path), json.dumps(had), json.dumps(comes)],
            env={"PATH": "", "HOME": str(tmp_path), "WANDB_MODE": "offline", "PYTHONPATH": ":".join(sys.path)},
            capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
        assert "wandb sync" in done.stderr
        assert "training goes on" not in done.stderr
    steps, runs = [], set()
    for file in sorted(tmp_path.glob("wandb/offline-run-*/*.wandb")):
        for blob in wandb_records(file):
            item = wandb_internal_pb2.Record()
            item.ParseFromString(blob)
            if item.WhichOneof("record_type") == "history":
                steps.append(item.history.step.num)
            if item.WhichOneof("record_type") == "run":
                runs.add(item.run.run_id)
    assert [5, 10, 15, 20] == steps
    assert 1 == len(runs)

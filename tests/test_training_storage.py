"""Disks that are full, fail or may not be written to: training goes on where it can, and says so first where not."""

from __future__ import annotations

import errno
import io
import json
import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_photos import write_photos_with_test
from storage_faults import (
    Breaker,
    in_child,
    limit_files,
    make_read_only,
    mount_small_disk,
    needs_mounts,
    needs_tracing,
)

import vitreous as vt
from vitreous import console, files, machine
from vitreous.errors import ResourceError, UsageError, VitreousError
from vitreous.results import EpochRecord
from vitreous.training.run import RunFolder, new_folder, read_records
from vitreous.training.saving import checkpoint
from vitreous.training.saving.checkpoint import State
from vitreous.training.saving.checkpoint_folder import placing

DISK = 1 << 20


def state_of(step: int, **counts: int) -> State:
    """A state whose every number is its step; `counts` says how many numbers are in each part."""
    parts: dict[str, Any] = {
        part: {"w": torch.full((counts.get(part, 11),), float(step))} for part in ("model", "optimizer", "average")
    }
    return State(step, **parts, watch={"recent": "x" * counts.get("watch", 3)})


def assert_newest(folder: Path, step: int) -> None:
    """The newest whole checkpoint is that of `step`; nothing else lies there that should not, and nothing is hidden."""
    state, complaints = checkpoint.read_latest(folder)
    assert state is not None
    assert (step, []) == (state.step, complaints)
    assert float(step) == float(state.model["w"][0]) == float(state.average["w"][-1])
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]


def refusal(act: Callable[[], object]) -> str:
    """The words of the error that `act` ends with."""
    try:
        act()
    except VitreousError as error:
        return str(error)
    raise AssertionError("nothing was refused")


def listening() -> io.StringIO:
    """What is said in this process from now on."""
    heard = io.StringIO()
    console.use(heard)
    return heard


def fill(folder: Path, leave: int) -> Path:
    """A file that takes all room but `leave` bytes."""
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(folder).free - leave))
    return ballast


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run" / "checkpoints"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_WAITS", (0.001, 0.002, 0.003))


# --- no room for a checkpoint


@needs_mounts
def test_a_full_disk_is_told_in_numbers_before_a_byte_is_written(tmp_path: Path) -> None:
    """A disk of one megabyte: what is needed, what is free; the checkpoint before is whole, nothing lies beside it."""

    def act() -> str:
        mount_small_disk(tmp_path, DISK)
        folder = tmp_path / "checkpoints"
        checkpoint.write(folder, state_of(1, model=30_000))
        told = refusal(lambda: checkpoint.write(folder, state_of(2, model=150_000, optimizer=200_000)))
        assert_newest(folder, 1)
        return told

    told = in_child(act).ok()
    assert "the disk is full\n" in told
    assert "needs 1.4 MB, 0.9 MB free; checkpoints before this one are whole" in told
    assert f"make room, then: vitreous resume {tmp_path}" in told


@needs_mounts
@pytest.mark.parametrize("leave", [0, 4096, 40_000, 130_000, 180_000, 250_000])
def test_a_disk_that_fills_up_meanwhile_leaves_what_was_there(tmp_path: Path, leave: int) -> None:
    """Nobody foresaw it: the system's own refusal, in any of the files and at making the folder."""

    def act() -> str:
        mount_small_disk(tmp_path, DISK)
        folder = tmp_path / "checkpoints"
        checkpoint.write(folder, state_of(1))
        fill(tmp_path, leave)

        def save() -> None:
            with checkpoint.writing(folder, 2) as temporary:
                checkpoint.write_files(temporary, state_of(2, model=30_000, optimizer=15_000, average=20_000))

        told = refusal(save)
        assert_newest(folder, 1)
        return told

    assert "the disk is full" in in_child(act).ok()


LIMITED = {
    "model": {"model": 20_000},
    "optimizer": {"optimizer": 20_000},
    "average": {"average": 20_000},
    "state.json": {"watch": 80_000},
    "manifest": {},
}


@pytest.mark.parametrize("what", LIMITED)
def test_a_limit_on_the_size_of_files_is_told_and_leaves_what_was_there(folder: Path, what: str) -> None:
    """The process may write no file above 60 kB; each file of a checkpoint is the one that is too large in turn."""

    def act() -> str:
        checkpoint.write(folder, state_of(1))
        limit_files(60_000)
        environment = {"flags": "x" * 80_000} if what == "manifest" else {}
        told = refusal(lambda: checkpoint.write(folder, state_of(2, **LIMITED[what]), environment=environment))
        assert_newest(folder, 1)
        return told

    told = in_child(act).ok()
    assert "the disk is full" in told
    assert "the system says: File too large" in told


@needs_mounts
def test_training_goes_on_without_room_and_says_so_once(tmp_path: Path) -> None:
    """Saved, no room, no room, refused at the end, room again, saved: what a person reads is four lines in all."""

    def act() -> tuple[str, list[int | None], str]:
        mount_small_disk(tmp_path, DISK)
        heard = listening()
        folder = tmp_path / "run" / "checkpoints"
        saver = checkpoint.Saver(folder, keep=1)
        steps = [saver.save(state_of(1, model=1000))]
        ballast = fill(tmp_path, 30_000)
        big = {"model": 10_000}
        steps += [saver.save(state_of(step, **big)) for step in (2, 3)]
        last = refusal(lambda: saver.save(state_of(4, **big), final=True))
        assert_newest(folder, 1)
        ballast.unlink()
        steps += [saver.save(state_of(5, **big)), saver.save(state_of(6, **big), final=True)]
        assert_newest(folder, 6)
        return heard.getvalue(), [step and int(step.name[5:]) for step in steps], last

    heard, steps, last = in_child(act).ok()
    assert [1, None, None, 5, 6] == steps
    lines = heard.splitlines()
    assert lines[0].startswith("step 2 is not saved: the disk is full (needs 0.0 MB, 0.0 MB free")
    assert ["training goes on, and saving is tried again at every checkpoint"] == lines[1:2]
    assert ["saving works again: step 5 is saved"] == lines[2:]
    assert f"vitreous resume {tmp_path / 'run'}" in last


def test_only_a_failing_disk_is_borne(folder: Path) -> None:
    """That another process is gone is no matter of the disk: whoever writes shards with it hears of it at once."""

    def shards(_: Path) -> None:
        raise ResourceError("rank 1 is gone")

    with pytest.raises(ResourceError, match="rank 1 is gone"):
        checkpoint.Saver(folder).save(State(1, {}, {}), shards=shards)
    assert [] == list(folder.iterdir())


# --- disks that fail


@needs_tracing
@pytest.mark.parametrize("call", ["write", "fsync", "rename", "mkdir"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_disk_that_fails_for_a_moment_is_tried_again(folder: Path, call: str, times: int) -> None:
    """The kernel answers EIO up to three times, then goes on: the checkpoint is there, every byte is right."""
    checkpoint.write(folder, state_of(1))
    breaker = Breaker(call, errno.EIO, times=times, skip=1 if call == "fsync" else 0)
    in_child(lambda: str(checkpoint.write(folder, state_of(2))), trace=breaker).ok()
    assert times == breaker.failed
    assert_newest(folder, 2)


@needs_tracing
@pytest.mark.parametrize("call", ["write", "fsync", "rename", "mkdir"])
def test_a_disk_that_keeps_failing_is_told_and_leaves_what_was_there(folder: Path, call: str) -> None:
    checkpoint.write(folder, state_of(1))
    breaker = Breaker(call, errno.EIO, times=1000)
    told = in_child(lambda: refusal(lambda: checkpoint.write(folder, state_of(2))), trace=breaker).ok()
    assert breaker.failed >= 4
    assert "Input/output error; checkpoints before this one are whole" in told
    assert_newest(folder, 1)


@needs_tracing
@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_interrupted_calls_are_made_again(folder: Path, call: str) -> None:
    breaker = Breaker(call, errno.EINTR, times=3)
    in_child(lambda: str(checkpoint.write(folder, state_of(2))), trace=breaker).ok()
    assert 3 == breaker.failed
    assert_newest(folder, 2)


@needs_tracing
def test_other_files_are_tried_again_too_unless_they_can_be_drawn_only_once(tmp_path: Path) -> None:
    """A list of chunks is written again; an iterator cannot be, and what was there before stays."""
    path = tmp_path / "file"

    def write(chunks: list[bytes] | Iterator[bytes]) -> str:
        files.write_atomically(path, chunks, 6)
        return path.read_text()

    breaker = Breaker("fsync", errno.EIO, times=2)
    assert "abcdef" == in_child(lambda: write([b"abc", b"def"]), trace=breaker).ok()
    ended = in_child(lambda: write(iter([b"uvw", b"xyz"])), trace=Breaker("fsync", errno.EIO))
    assert "Input/output error" in ended.error
    assert ("abcdef", [path]) == (path.read_text(), list(tmp_path.iterdir()))


def test_what_is_read_back_otherwise_than_it_was_written_is_an_error(folder: Path) -> None:
    """A file that is not what it was in memory never gets a name."""
    with pytest.raises(OSError, match="a: what was read back is not what was written"):  # noqa: SIM117
        with placing(folder, 3, promised={"a": "0" * 64}) as temporary:
            (temporary / "a").write_text("something else")
    assert [] == list(folder.iterdir())


@needs_mounts
def test_nothing_is_ever_renamed_from_one_disk_to_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoints folder is a disk of its own, and so is the one for temporary files: neither matters."""

    def act() -> bool:
        run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
        (run / "checkpoints").mkdir(parents=True)
        elsewhere.mkdir()
        monkeypatch.setenv("TMPDIR", str(elsewhere))
        mount_small_disk(run / "checkpoints", DISK)
        mount_small_disk(elsewhere, DISK)
        with checkpoint.writing(run / "checkpoints", 1) as temporary:
            assert run / "checkpoints" == temporary.parent
            checkpoint.write_files(temporary, state_of(1))
        held = RunFolder(run)
        held.write({"a": 1})
        held.close()
        assert_newest(run / "checkpoints", 1)
        return not list(elsewhere.iterdir())

    assert in_child(act).ok()


# --- no room for what only tells about the run


def record_of(step: int) -> EpochRecord:
    return EpochRecord(step=step, epoch=0.5, loss=1.5, accuracy=0.25, learning_rate=1e-3, images_per_second=7.0)


@needs_mounts
def test_lines_of_metrics_wait_for_room(tmp_path: Path) -> None:
    """Nothing is raised, it is said once, no line is cut in two, and with room again none is missing."""

    def act() -> tuple[str, list[int]]:
        mount_small_disk(tmp_path, DISK)
        heard = listening()
        run = RunFolder(tmp_path)
        lines = 0
        while lines < 4096 * 3 // 150:
            lines += 1
            run.record(record_of(lines))
        ballast = fill(tmp_path, 0)
        for step in range(lines + 1, lines + 41):
            run.record(record_of(step))
        assert list(range(1, lines + 41)) == [record.step for record in run.records()]
        on_disk = (tmp_path / "metrics.jsonl").read_text()
        assert on_disk.endswith("\n")
        assert len(on_disk.splitlines()) < lines + 40
        ballast.unlink()
        run.record(record_of(lines + 41))
        run.close()
        assert list(range(1, lines + 42)) == [record.step for record in read_records(tmp_path)]
        return heard.getvalue(), [record.step for record in read_records(tmp_path)]

    heard, steps = in_child(act).ok()
    assert 1 == len(heard.splitlines())
    assert "metrics.jsonl: the disk is full (needs 0.0 MB, 0.0 MB free" in heard
    assert list(range(1, len(steps) + 1)) == steps


def test_a_line_that_the_system_cuts_in_two_is_taken_back(tmp_path: Path) -> None:
    """The limit lies in the middle of the third line."""

    def act() -> list[int]:
        listening()
        run = RunFolder(tmp_path)
        run.record(record_of(1))
        size = (tmp_path / "metrics.jsonl").stat().st_size
        limit_files(2 * size + size // 2)
        run.record(record_of(2))
        run.record(record_of(3))
        assert 2 * size == (tmp_path / "metrics.jsonl").stat().st_size
        return [record.step for record in run.records()]

    assert [1, 2, 3] == in_child(act).ok()


@needs_mounts
def test_a_full_disk_does_not_keep_a_run_from_going_on(tmp_path: Path) -> None:
    """Lines of steps to be done again are cut off in place, a half line too; what was measured is measured again."""

    def act() -> list[int]:
        mount_small_disk(tmp_path, DISK)
        run = RunFolder(tmp_path)
        for step in (2, 4, 6):
            run.record(record_of(step))
        with (tmp_path / "metrics.jsonl").open("a") as file:
            file.write('{"step": 8, "ep')
        fill(tmp_path, 0)
        run.forget_records_after(4)
        cache = os.environ["VITREOUS_CACHE"] = str(tmp_path / "cache")
        assert [5, 5] == [machine.remembered("key", lambda: 5) for _ in range(2)]
        assert not (Path(cache) / "measured.json").exists()
        return [record.step for record in read_records(tmp_path)]

    assert [2, 4] == in_child(act).ok()


def test_lines_after_a_hole_are_rewritten(tmp_path: Path) -> None:
    """Where the lines to go do not stand at the end, the file is written anew."""
    run = RunFolder(tmp_path)
    for step in (2, 9, 4):
        run.record(record_of(step))
    run.forget_records_after(4)
    assert [2, 4] == [record.step for record in run.records()]
    run.close()


# --- refused before the first step


def begin(path: str) -> RunFolder:
    return RunFolder(new_folder(path, "data"))


@needs_mounts
@pytest.mark.parametrize("below", [True, False])
def test_a_read_only_disk_is_refused(tmp_path: Path, below: bool) -> None:
    """At making the folder, or at taking hold of an empty one."""

    def act() -> str:
        make_read_only(tmp_path)
        return refusal(lambda: begin(str(tmp_path / "run") if below else str(tmp_path)))

    told = in_child(act).ok()
    assert told.startswith("the run folder cannot be written\n")
    assert "Read-only file system" in told
    assert "choose another folder with --run" in told


@needs_mounts
@pytest.mark.parametrize("what", ["disk", "file"])
def test_checkpoints_that_may_not_be_written_are_refused_when_the_run_is_opened(tmp_path: Path, what: str) -> None:
    """Not at the first checkpoint, after minutes of training."""

    def act() -> str:
        run = begin(str(tmp_path / "run"))
        run.close()
        if what == "disk":
            run.checkpoints.mkdir()
            make_read_only(run.checkpoints)
        else:
            run.checkpoints.write_text("something")
        return refusal(lambda: RunFolder(run.path))

    words = {"disk": "its checkpoints folder may not be written to", "file": "its checkpoints folder is a file"}
    assert words[what] in in_child(act).ok()


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """The system's own permissions, with root's rights laid down."""
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o555)

    def act() -> list[str]:
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        return [refusal(lambda: begin(str(theirs / "run"))), refusal(lambda: begin(str(theirs)))]

    for told in in_child(act).ok():
        assert "the run folder cannot be written" in told
        assert "Permission denied" in told


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("a file", UsageError, "the run folder is a file"),
        ("a file/run", ResourceError, "Not a directory"),
        ("n" * 256, ResourceError, "File name too long"),
        ("/".join(["n" * 250] * 17), ResourceError, "File name too long"),
        ("zero\0byte", ResourceError, "null"),
        ("dangling", ResourceError, "File exists"),
        ("full", UsageError, "the run folder is not empty"),
    ],
)
def test_what_cannot_be_a_run_folder_is_refused(
    tmp_path: Path, name: str, kind: type[VitreousError], words: str
) -> None:
    (tmp_path / "a file").write_text("a file")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "at all")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("years of work")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(kind, match=words):
        begin(str(tmp_path / name))
    assert before == sorted(tmp_path.rglob("*"))


def test_a_path_in_which_only_a_checkpoint_would_be_too_long_is_refused(tmp_path: Path) -> None:
    """The folder itself can be made; what comes to lie in it could not be."""
    path = str(tmp_path)
    while len(path) < 3800:
        path += "/" + "n" * 200
    path += "/" + "n" * (4040 - len(path))
    told = refusal(lambda: begin(path))
    assert "File name too long" in told


@pytest.mark.parametrize(
    "name", ["with spaces", "Läufe 猫 ✓", "two\nlines", "'quoted' \"too\"", "-n", "$HOME;ls", "[a]*?"]
)
def test_any_name_that_the_disk_takes_will_do(tmp_path: Path, name: str) -> None:
    """Run, records, checkpoints, best, leftovers; what is to be typed names the folder as a shell reads it."""
    run = begin(str(tmp_path / name))
    run.write({"a": 1})
    run.record(record_of(1))
    for step in range(4):
        checkpoint.write(run.checkpoints, State(step, {"w": torch.ones(2)}, {}, score=step / 8), 1)
    (run.checkpoints / ".writing-1-step-00000009").mkdir()
    assert 3 == getattr(checkpoint.Saver(run.checkpoints).latest(), "step", None)
    assert ["step-00000003"] == [path.name for path in run.checkpoints.iterdir()]
    assert run.checkpoints / "step-00000003" == checkpoint.best(run.checkpoints)
    run.close()
    told = checkpoint.cannot_save(run.checkpoints, 4, 10, OSError(errno.ENOSPC, "full"))
    assert told.remedy is not None
    assert str(tmp_path / name) == shlex.split(told.remedy)[-1]
    assert {"a": 1, "format_version": 1} == json.loads((tmp_path / name / "run.json").read_text())


def test_a_whole_run_in_a_folder_of_any_name(tmp_path: Path) -> None:
    photos = write_photos_with_test(tmp_path / "photos of 猫")
    path = tmp_path / "Läufe\nin 'two' lines"
    options: dict[str, Any] = {"image_size": 32, "batch_size": 6, "threads": 1, "precision": "float32"}
    run = vt.pretrain(photos, model="vit-test", run=str(path), steps=2, **options)
    assert path == run.folder
    assert (path / "report.html").exists()
    assert run.result == vt.resume(path).result

"""The run folder: one process at a time, written so that any moment's copy of it can be resumed.

run.json           what was asked, what was resolved, where it ran, and at the end the result
metrics.jsonl      one line per record: loss, accuracy, learning rate, images/s
checkpoints/       see checkpoint.py
model.safetensors  predictions.csv  report.html  MODEL_CARD.md      the result
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shlex
import socket
import time
from pathlib import Path
from typing import Any

import filelock

from vitreous import console
from vitreous.errors import ResourceError, UsageError
from vitreous.files import cannot_write, write_text
from vitreous.results import EpochRecord
from vitreous.schema import from_json, to_json

FORMAT_VERSION = 1

_LONGEST = ".writing-4194304-step-0000000000/optimizer.safetensors"  # the longest name that a checkpoint needs


class RunFolder:
    """One run's folder, held by this process until it is closed.

    Args:
        path: an existing folder.

    Raises:
        ResourceError: another process is at work in it, or it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self._unwritten: list[EpochRecord] = []
        _require_usable(path, self.checkpoints)
        self._lock = filelock.FileLock(path / ".lock", timeout=0)
        try:
            self._lock.acquire()
        except filelock.Timeout:
            raise ResourceError(
                "the run folder is in use",
                where=str(path),
                why=_owner(path),
                remedy="wait for it, stop it, or choose another folder with --run",
            ) from None
        except (OSError, NotImplementedError) as error:  # the latter where a network disk has no locks
            raise _not_writable(path, error) from error
        me = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        try:
            write_text(path / ".owner.json", json.dumps(me))
        except ResourceError:
            self._lock.release()
            raise

    def close(self) -> None:
        """Let go of the folder."""
        with contextlib.suppress(OSError):
            (self.path / ".owner.json").unlink(missing_ok=True)
        self._lock.release()

    def abandon(self) -> None:
        """Remove what this run wrote before it turned out that it cannot be done, and the folder if it is empty."""
        for name in ("run.json", ".owner.json"):
            (self.path / name).unlink(missing_ok=True)
        self._lock.release()
        (self.path / ".lock").unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def write(self, facts: dict[str, Any]) -> None:
        """Replace run.json.

        Args:
            facts: plain JSON values.
        """
        write_text(self.path / "run.json", json.dumps({"format_version": FORMAT_VERSION, **facts}, indent=1) + "\n")

    def update(self, **facts: Any) -> None:
        """Add facts to run.json.

        Args:
            **facts: plain JSON values by name.
        """
        self.write({**read_facts(self.path), **facts})

    def record(self, record: EpochRecord) -> None:
        """Append a line to metrics.jsonl. A full disk is told once; the line is kept, and written when there is room.

        Args:
            record: what happened since the line before.
        """
        warned = bool(self._unwritten)
        self._unwritten.append(record)
        file = self.path / "metrics.jsonl"
        try:
            _append(file, _lines(self._unwritten))
        except OSError as error:
            if not warned:
                told = cannot_write(file, len(_lines(self._unwritten)), error)
                console.say(f"metrics.jsonl: {told.what} ({told.why}); training goes on, lines are kept until it can")
        else:
            self._unwritten.clear()

    def records(self) -> list[EpochRecord]:
        """The lines of metrics.jsonl, in order, with those that wait for room on the disk."""
        return [*read_records(self.path), *self._unwritten]

    def forget_records_after(self, step: int) -> None:
        """Drop the lines of steps that are about to be done again.

        Args:
            step: the checkpoint's.

        Raises:
            ResourceError: the file cannot be changed.
        """
        file = self.path / "metrics.jsonl"
        kept = _lines([record for record in self.records() if record.step <= step])
        try:
            if file.exists() and not _shortened(file, kept):
                write_text(file, kept.decode())
        except OSError as error:
            raise cannot_write(file, len(kept), error) from error


def new_folder(asked: str | None, name: str) -> Path:
    """An empty folder for a new run, made.

    Args:
        asked: where the person wants it; None takes the first free runs/NAME-N.
        name: of the data, for the default.

    Raises:
        UsageError: the folder holds a run already, or something else.
    """
    if asked is None:
        return _free_folder(name)
    path = Path(asked)
    try:
        _require_free(path)
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise _not_writable(path, error) from error
    return path


def _require_free(path: Path) -> None:
    if (path / "run.json").exists():
        done = read_facts(path).get("result")
        what = "holds a finished run" if done else "holds a run that can go on"
        remedy = "choose another folder with --run" if done else f"vitreous resume {shlex.quote(str(path))}"
        raise UsageError(f"the run folder {what}", where=str(path), remedy=remedy)
    if path.exists() and (not path.is_dir() or _strangers(path)):
        raise UsageError(
            "the run folder is not empty" if path.is_dir() else "the run folder is a file",
            where=str(path),
            remedy="choose a folder that does not exist yet",
        )


def unfinished_like(asked: dict[str, Any]) -> Path | None:
    """A run in runs/ that was asked for the same and has no result, the newest first.

    Args:
        asked: facts that must be equal.
    """
    for path in sorted(Path("runs").glob("*/run.json"), key=lambda file: -file.stat().st_mtime):
        try:
            facts = read_facts(path.parent)
        except UsageError:  # of another version, or half-written by somebody else
            continue
        if not facts.get("result") and all(facts.get(name) == value for name, value in asked.items()):
            return path.parent
    return None


def read_facts(path: Path) -> dict[str, Any]:
    """What run.json says.

    Args:
        path: a run folder.

    Raises:
        UsageError: it is not a run folder, or its run.json cannot be understood.
    """
    try:
        facts = json.loads((path / "run.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        why = None if path.exists() else "there is no such folder"
        raise UsageError(
            "this is not a run folder", where=str(path), why=why or "it has no run.json", remedy="ls runs/"
        ) from None
    except (OSError, ValueError) as error:
        raise UsageError("run.json cannot be read", where=str(path), why=str(error)) from None
    version = facts.get("format_version") if isinstance(facts, dict) else None
    if version != FORMAT_VERSION:
        raise UsageError(
            f"run.json is of format {version!r}, this vitreous reads {FORMAT_VERSION}",
            where=str(path),
            remedy="upgrade vitreous, or resume with the version that began the run",
        )
    return dict(facts)


def read_records(path: Path) -> list[EpochRecord]:
    """The lines of metrics.jsonl, in order; a line that a kill cut short is left out.

    Args:
        path: a run folder.
    """
    file = path / "metrics.jsonl"
    lines = file.read_text(encoding="utf-8").split("\n")[:-1] if file.exists() else []
    return [from_json(EpochRecord, json.loads(line)) for line in lines]


def _free_folder(name: str) -> Path:
    slug = "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip("-.") or "run"
    for number in range(1, 100_000):
        path = Path("runs") / f"{slug[:60]}-{number}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise _not_writable(path, error) from error
        return path
    raise ResourceError("there are 100,000 runs of this name already", where="runs/", remedy="--run FOLDER")


def _require_usable(path: Path, checkpoints: Path) -> None:
    """What would come to light only at the first checkpoint comes to light before the first step."""
    try:
        (checkpoints / _LONGEST).exists()  # refused where the whole path is longer than the system allows
        if checkpoints.exists() and not checkpoints.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "its checkpoints folder is a file")
        if checkpoints.exists() and not os.access(checkpoints, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "its checkpoints folder may not be written to")
    except OSError as error:
        raise _not_writable(path, error) from error


def _lines(records: list[EpochRecord]) -> bytes:
    return "".join(json.dumps(to_json(record)) + "\n" for record in records).encode()


def _append(file: Path, lines: bytes) -> None:
    """Append all or nothing: half a line would spoil the one that comes after it."""
    before = file.stat().st_size if file.exists() else 0
    try:
        with file.open("ab") as appended:
            appended.write(lines)
    except OSError:
        with contextlib.suppress(OSError):
            os.truncate(file, before)
        raise


def _shortened(file: Path, kept: bytes) -> bool:
    """Whether the file now holds `kept`, by cutting its end off at most: that needs no room on a full disk."""
    if not file.read_bytes().startswith(kept):
        return False
    os.truncate(file, len(kept))
    return True


def _strangers(path: Path) -> list[str]:
    return [entry.name for entry in path.iterdir() if entry.name not in (".lock", ".owner.json")]


def _not_writable(path: Path, error: Exception) -> ResourceError:
    return ResourceError(
        "the run folder cannot be written",
        where=str(path),
        why=getattr(error, "strerror", None) or str(error),
        remedy="choose another folder with --run",
    )


def _owner(path: Path) -> str:
    try:
        owner = json.loads((path / ".owner.json").read_text(encoding="utf-8"))
        return f"by process {owner['pid']} on {owner['host']} since {owner['since']}"
    except (OSError, ValueError, KeyError):
        return "another process holds its lock"

"""The run folder: one process at a time, written so that any moment's copy of it can be resumed.

run.json           what was asked, what was resolved, where it ran, and at the end the result
metrics.jsonl      one line per record: loss, accuracy, learning rate, images/s
checkpoints/       see checkpoint.py
model.safetensors  predictions.csv  report.html  MODEL_CARD.md      the result
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
import time
from pathlib import Path
from typing import Any

import filelock

from vitreous.errors import ResourceError, UsageError
from vitreous.files import write_text
from vitreous.results import EpochRecord
from vitreous.schema import from_json, to_json

FORMAT_VERSION = 1


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
        except OSError as error:
            raise _not_writable(path, error) from error
        me = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        write_text(path / ".owner.json", json.dumps(me))

    def close(self) -> None:
        """Let go of the folder."""
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
        """Append a line to metrics.jsonl.

        Args:
            record: what happened since the line before.
        """
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(to_json(record)) + "\n")

    def records(self) -> list[EpochRecord]:
        """The lines of metrics.jsonl, in order."""
        return read_records(self.path)

    def forget_records_after(self, step: int) -> None:
        """Drop the lines of steps that are about to be done again.

        Args:
            step: the checkpoint's.
        """
        kept = [record for record in self.records() if record.step <= step]
        write_text(self.path / "metrics.jsonl", "".join(json.dumps(to_json(record)) + "\n" for record in kept))


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
    _make(path)
    return path


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


def _make(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(path, error) from error


def _strangers(path: Path) -> list[str]:
    return [entry.name for entry in path.iterdir() if entry.name not in (".lock", ".owner.json")]


def _not_writable(path: Path, error: OSError) -> ResourceError:
    return ResourceError(
        "the run folder cannot be written",
        where=str(path),
        why=error.strerror or str(error),
        remedy="choose another folder with --run",
    )


def _owner(path: Path) -> str:
    try:
        owner = json.loads((path / ".owner.json").read_text(encoding="utf-8"))
        return f"by process {owner['pid']} on {owner['host']} since {owner['since']}"
    except (OSError, ValueError, KeyError):
        return "another process holds its lock"

"""Folders that are whole or not there: how a checkpoint appears, is checked, and goes.

    checkpoints/
      step-00000120/           manifest.json and whatever the step's state is, subfolders included
      step-00000120.old/       only for the moment in which another checkpoint of the same step takes its place
      .writing-4711-step-00000140/      not finished
      .deleting-2fb1-step-00000100/     on its way out

`manifest.json` holds the size and SHA-256 of every other file, and a seal: the SHA-256 of the manifest itself, with
zeros in the seal's own place. Together they cover every byte. Nothing points to the newest checkpoint or to the best
one: they are found by looking, so that no pointer can dangle. What the state consists of is checkpoint.py's matter.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import secrets
import shlex
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import vitreous
from vitreous.errors import ModelFileError, ResourceError
from vitreous.files import cannot_write, require_room, retried, sync_folder

FORMAT_VERSION = 2
FACTS = "state.json"
SHARDS = "shards"

_MANIFEST = "manifest.json"
_OPENING = b'{\n "seal": "'  # every manifest of every format begins so
_SEAL = slice(len(_OPENING), len(_OPENING) + 64)
_MAX_MANIFEST = 64 << 20  # bytes; ten thousand shards need less than two
_NAME = re.compile(r"step-(\d{8,})(\.old)?")
_LEFT = (".writing-", ".deleting-")


class SaveError(ResourceError):
    """A checkpoint could not be written; those before it are whole."""


@contextlib.contextmanager
def placing(
    folder: Path,
    step: int,
    keep: int = 2,
    *,
    size: int = 0,
    environment: Mapping[str, Any] | None = None,
    promised: Mapping[str, str] | None = None,
) -> Iterator[Path]:
    """A folder to write into; at the end of the block it has become the checkpoint of `step`, and older ones go.

    One process enters; others may write into the folder too, and have finished when the block ends. Until then, and
    whatever goes wrong, the checkpoints before this one are as they were.

    Args:
        folder: the run's `checkpoints` folder; made if missing. This process holds the run's lock.
        step: steps finished.
        keep: how many of the newest stay, besides the one with the highest score.
        size: bytes that will be written, to tell a full disk before writing to it.
        environment: plain JSON values for the manifest: what this was written with.
        promised: SHA-256 of files as they were in memory, by name, filled in by the time the block ends.

    Raises:
        OSError: as it came; EIO also where what was read back is not what was written.
    """
    target = folder / f"step-{step:08d}"
    temporary = folder / f".writing-{os.getpid()}-{target.name}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        require_room(folder, size)
        temporary.mkdir()
        yield temporary
        _seal(temporary, dict(environment or {}), promised or {})
        _put_in_place(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _prune(target, keep)


def cannot_save(folder: Path, step: int, size: int, error: OSError) -> SaveError:
    """What to tell a person when a checkpoint could not be written.

    Args:
        folder: the run's `checkpoints` folder.
        step: steps finished.
        size: bytes in all.
        error: as caught.
    """
    told = cannot_write(folder / f"step-{step:08d}", size, error)
    return SaveError(
        told.what,
        where=told.where,
        why=f"{told.why}; checkpoints before this one are whole",
        remedy=f"make room, then: vitreous resume {shlex.quote(str(folder.parent))}",
    )


def found(folder: Path) -> list[Path]:
    """Checkpoints by their names, newest first; whether they are whole is `check`'s matter.

    Args:
        folder: the run's `checkpoints` folder; it need not exist.
    """
    named = [(_order(path), path) for path in folder.glob("step-*") if _NAME.fullmatch(path.name)]
    return [path for _, path in sorted(named, reverse=True)]


def step_of(path: Path) -> int:
    """The step that a checkpoint's name says.

    Args:
        path: one that `found` gave.
    """
    return _order(path)[0]


def check(path: Path, *, digests: bool = True) -> str | None:
    """What is wrong with a checkpoint, in one line, or None.

    No file is opened because the manifest names it: what lies in the folder is listed, and the two must be the same.

    Args:
        path: a folder that `placing` made.
        digests: read every file; without, only names and sizes are compared.

    Raises:
        ModelFileError: it is whole, but of a format that only a later version knows.
    """
    try:
        listed, there = _manifest(path), _files(path)
        if set(there) != set(listed):
            return f"files do not match the manifest: {', '.join(sorted(set(there) ^ set(listed)))}"
        for name, facts in listed.items():
            if there[name].stat().st_size != facts.get("bytes"):
                return f"{name} is not what was written"
            if digests and _sha256(there[name]) != facts.get("sha256"):
                return f"{name} is not what was written"
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    except ValueError as error:
        return str(error)
    return None


def best(folder: Path) -> Path | None:
    """The whole checkpoint with the highest score, the later one of equals; None where none has a score.

    Args:
        folder: the run's `checkpoints` folder.
    """
    scored = [(score, step_of(path), path) for path in found(folder) if (score := read_score(path)) is not None]
    return next((path for *_, path in sorted(scored, reverse=True) if check(path) is None), None)


def read_score(path: Path) -> float | None:
    """Accuracy on validation images after a checkpoint's step; None where it was not measured or cannot be read.

    Args:
        path: one that `found` gave.
    """
    try:
        score = json.loads((path / FACTS).read_bytes())["score"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return float(score) if isinstance(score, int | float) and math.isfinite(score) else None


def sweep(folder: Path) -> list[str]:
    """Remove what processes that are gone left half written or half deleted; a line about it, if there was any.

    Args:
        folder: the run's `checkpoints` folder. The run's lock says that nobody else is writing here.
    """
    for old in folder.glob("step-*.old"):
        if (target := old.with_suffix("")).exists():
            _discard(old)
        else:
            os.rename(old, target)
    left = sorted(path for path in folder.glob(".*") if path.name.startswith(_LEFT))
    for path in left:
        _remove(path)
    return [f"removed what an interrupted save left behind: {', '.join(path.name for path in left)}"] if left else []


def _seal(folder: Path, environment: dict[str, Any], promised: Mapping[str, str]) -> None:
    """Sync every file, read it back from the disk, and write down what it is."""
    files = {}
    for name, path in sorted(_files(folder).items()):
        digest = _synced(path)
        if promised.get(name, digest) != digest:
            raise OSError(errno.EIO, f"{name}: what was read back is not what was written")
        files[name] = {"bytes": path.stat().st_size, "sha256": digest}
    facts = {"format_version": FORMAT_VERSION, "vitreous": vitreous.__version__, "environment": environment}
    text = json.dumps({"seal": "0" * 64, **facts, "files": files}, indent=1).encode()
    (folder / _MANIFEST).write_bytes(_sealed(text))
    _synced(folder / _MANIFEST)
    if fault := check(folder, digests=False):
        raise OSError(errno.EIO, f"what was read back is not what was written: {fault}")
    for place, _, _ in os.walk(folder):
        sync_folder(Path(place))


def _put_in_place(temporary: Path, target: Path) -> None:
    """Give the folder its name; at every moment the one that had it before is found too, until this one is there."""
    old = target.with_name(f"{target.name}.old")
    if target.exists():
        _discard(old)
        os.rename(target, old)
    retried(lambda: os.rename(temporary, target))
    sync_folder(target.parent)


def _prune(target: Path, keep: int) -> None:
    """Let go of all but the newest `keep` and the best; `target` has just been read back.

    Those after it go: they were damaged, or this run would have gone on from them.
    """
    earlier = [path for path in found(target.parent) if step_of(path) < step_of(target) and _seems_whole(path)]
    stay = [target, *earlier][:keep]
    scored = [(score, step_of(path), path) for path in [target, *earlier] if (score := read_score(path)) is not None]
    stay += [path for *_, path in sorted(scored)[-1:]]
    for path in found(target.parent):
        if path not in stay:
            _discard(path)


def _seems_whole(path: Path) -> bool:
    try:
        return check(path, digests=False) is None
    except ModelFileError:
        return False


def _discard(path: Path) -> None:
    """Take a checkpoint's name away at once, then its files; what a kill leaves of them is swept up later."""
    with contextlib.suppress(OSError):  # room that is not got back must not cost the checkpoint just written
        doomed = path.with_name(f".deleting-{secrets.token_hex(2)}-{path.name}")
        os.rename(path, doomed)
        _remove(doomed)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _manifest(path: Path) -> dict[str, dict[str, Any]]:
    """Size and digest of every file by name; ValueError says what is wrong with the manifest."""
    file = path / _MANIFEST
    facts = file.lstat()
    if not stat.S_ISREG(facts.st_mode) or facts.st_size > _MAX_MANIFEST:  # opening a pipe would wait for ever
        raise ValueError("its manifest cannot be read")
    text = file.read_bytes()
    try:
        manifest = json.loads(text)
        version, writer, files = (manifest[key] for key in ("format_version", "vitreous", "files"))
        plain = type(version) is int and all(isinstance(facts, dict) for facts in files.values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("its manifest cannot be read") from None
    if not plain or not text.startswith(_OPENING) or _sealed(text) != text:
        raise ValueError("its manifest is not what was written")
    if version != FORMAT_VERSION:
        raise ModelFileError(
            f"the checkpoint was written by vitreous {writer}, in format {version}; this one reads {FORMAT_VERSION}",
            where=str(path),
            remedy="pip install --upgrade vitreous" if version > FORMAT_VERSION else f"resume with vitreous {writer}",
        )
    return dict(files)


def _sealed(text: bytes) -> bytes:
    zeroed = text[: _SEAL.start] + b"0" * 64 + text[_SEAL.stop :]
    return text[: _SEAL.start] + hashlib.sha256(zeroed).hexdigest().encode() + text[_SEAL.stop :]


def _files(folder: Path) -> dict[str, Path]:
    """Every file below `folder` but the manifest, by its name from there with slashes; no link is followed."""
    there = {}
    for place, folders, names in os.walk(folder, onerror=_raise):
        for name in [*folders, *names]:
            path = Path(place, name)
            kind = path.lstat().st_mode
            if stat.S_ISREG(kind):
                there[path.relative_to(folder).as_posix()] = path
            elif not stat.S_ISDIR(kind):
                raise ValueError(f"{path.relative_to(folder).as_posix()} is no plain file")
    there.pop(_MANIFEST, None)
    return there


def _raise(error: OSError) -> None:
    raise error


def _synced(path: Path) -> str:
    """SHA-256 of a file as the disk gives it back."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):  # out of memory with it, so that reading means reading the disk
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _order(path: Path) -> tuple[int, bool]:
    """(step, whether nothing has taken its place): newer checkpoints have larger ones."""
    named = _NAME.fullmatch(path.name)
    assert named is not None, f"{path} is no checkpoint"
    return int(named[1]), named[2] is None

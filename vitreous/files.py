"""Files that are whole or not there: written beside the target, synced, then renamed over it."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from vitreous.errors import ResourceError

T = TypeVar("T")

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PASSING = (errno.EIO, errno.EINTR)  # a cable, a network disk or a signal: it may be over in a moment
_WAITS = (0.1, 0.3, 0.9)  # seconds before trying again


def write_atomically(path: Path, chunks: Iterable[bytes | memoryview], size: int) -> None:
    """Put a file of `size` bytes at `path`; when this returns it survives a power cut.

    Whatever goes wrong, what was at `path` before is still there, and nothing is left beside it.

    Args:
        path: the file; its folder exists.
        chunks: the content, in order; a list is written again when the disk fails for a moment, an iterator cannot be.
        size: bytes in all, to tell a full disk before writing to it.

    Raises:
        ResourceError: the disk is full or the place cannot be written.
    """
    try:
        if iter(chunks) is chunks:
            _write_aside(path, chunks, size)
        else:
            retried(lambda: _write_aside(path, chunks, size))
    except OSError as error:
        raise cannot_write(path, size, error) from error


def _write_aside(path: Path, chunks: Iterable[bytes | memoryview], size: int) -> None:
    # the temporary file is a neighbour, so the rename never crosses from one disk to another
    temporary = path.with_name(f".writing-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        require_room(path.parent, size)
        with temporary.open("xb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Put a text file in UTF-8 at `path`, as `write_atomically` does.

    Args:
        path: the file; its folder exists.
        text: the whole content; lines end as they are.

    Raises:
        ResourceError: the disk is full or the place cannot be written.
    """
    blob = text.encode()
    write_atomically(path, [blob], len(blob))


def retried(act: Callable[[], T]) -> T:
    """What `act` gives; where the disk fails for a moment (EIO, EINTR) it is done again, up to three times.

    Args:
        act: begins from nothing each time. After an fsync that failed, the system may have dropped what was written
            and call the next fsync a success, so that only writing everything again is safe.
    """
    for wait in _WAITS:
        try:
            return act()
        except OSError as error:
            if error.errno not in _PASSING:
                raise
        time.sleep(wait)
    return act()


def require_room(folder: Path, size: int) -> None:
    """Refuse to begin what cannot end.

    Args:
        folder: where something is about to be written.
        size: bytes in all.

    Raises:
        OSError: ENOSPC, before a byte is written.
    """
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut, where the system can.

    Args:
        folder: the folder that holds the renamed entry.
    """
    if os.name == "posix":  # elsewhere folders cannot be opened, and renames are journalled
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def cannot_write(path: Path, size: int, error: Exception) -> ResourceError:
    """What to tell a person when writing failed.

    Args:
        path: what was to be written.
        size: bytes in all.
        error: as caught.
    """
    reason = getattr(error, "strerror", None) or str(error)
    # some libraries wrap the system's error in their own and keep only its words
    if getattr(error, "errno", None) in _FULL or "No space left" in str(error) or "File too large" in str(error):
        free = _free(path)
        limited = f"; the system says: {reason}" if free >= size else ""  # a quota, or a limit on the size of files
        return ResourceError(
            "the disk is full",
            where=str(path),
            why=f"needs {size / 1e6:,.1f} MB, {free / 1e6:,.1f} MB free{limited}",
            remedy="make room, or write to another disk",
        )
    return ResourceError(
        "the file cannot be written",
        where=str(path),
        why=reason,
        remedy="choose a folder that exists and may be written to",
    )


def _free(path: Path) -> int:
    """Bytes free where `path` is or would be."""
    there = next(parent for parent in path.absolute().parents if parent.exists())
    return shutil.disk_usage(there).free

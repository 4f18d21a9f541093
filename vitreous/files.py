"""Files that are whole or not there: written beside the target, synced, then renamed over it."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

from vitreous.errors import ResourceError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_atomically(path: Path, chunks: Iterable[bytes | memoryview], size: int) -> None:
    """Put a file of `size` bytes at `path`; when this returns it survives a power cut.

    Whatever goes wrong, what was at `path` before is still there, and nothing is left beside it.

    Args:
        path: the file; its folder exists.
        chunks: the content, in order.
        size: bytes in all, to tell a full disk before writing to it.

    Raises:
        ResourceError: the disk is full or the place cannot be written.
    """
    # the temporary file is a neighbour, so the rename never crosses from one disk to another
    temporary = path.with_name(f".writing-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        if shutil.disk_usage(path.parent).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with temporary.open("xb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, size, error) from error
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
    # some libraries wrap the system's error in their own and keep only its words
    if getattr(error, "errno", None) in _FULL or "No space left" in str(error) or "File too large" in str(error):
        free = shutil.disk_usage(path.parent).free
        return ResourceError(
            "the disk is full",
            where=str(path),
            why=f"needs {size / 1e6:,.1f} MB, {free / 1e6:,.1f} MB free",
            remedy="make room, or write to another disk",
        )
    return ResourceError(
        "the file cannot be written",
        where=str(path),
        why=getattr(error, "strerror", None) or str(error),
        remedy="choose a folder that exists and may be written to",
    )

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
        _sync_folder(path.parent)
    except OSError as error:
        raise _cannot_write(path, size, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":  # elsewhere folders cannot be opened, and renames are journalled
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _cannot_write(path: Path, size: int, error: OSError) -> ResourceError:
    if error.errno in _FULL:
        free = shutil.disk_usage(path.parent).free
        return ResourceError(
            "not enough room on the disk",
            where=str(path),
            why=f"needs {size / 1e6:,.1f} MB, {free / 1e6:,.1f} MB free",
            remedy="make room, or write to another disk",
        )
    return ResourceError(
        "the file cannot be written",
        where=str(path),
        why=error.strerror or str(error),
        remedy="choose a folder that exists and may be written to",
    )

"""A large file read at any place: on a disk, or wherever else bytes can be asked for by offset and size."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Protocol, TypeAlias, runtime_checkable

Read = Callable[[int, int], bytes]
"""Gives the bytes of a file from an offset on, as many as are asked for, or fewer at its end."""

_READ_AHEAD = 4096  # a header, the label behind it and the next header come with one call
_MOST_AHEAD = 2**18  # for who reads on where the last read ended
_ROUND_TRIP = 2**16  # bytes to fetch rather than to ask a second time, where asking takes long
_MOST_FROM_AFAR = 2**23


@runtime_checkable
class Storage(Protocol):
    """What can be read at any place, from any number of threads."""

    @property
    def size(self) -> int:
        """In bytes."""
        ...

    @property
    def state(self) -> tuple[int | str, ...]:
        """What changes when the file is written again: size and time, or a server's tag."""
        ...

    def read(self, start: int, size: int) -> bytes:
        """Bytes from an offset on, fewer only at the end of the file.

        Args:
            start: offset in bytes.
            size: in bytes.

        Raises:
            OSError: it cannot be read.
        """
        ...


@runtime_checkable
class Placed(Storage, Protocol):
    """Storage that is no file of this machine's, but knows its place; as text it is what a person may read."""

    @property
    def path(self) -> PurePath:
        """Its place, the same on every machine."""
        ...

    @property
    def identity(self) -> str:
        """What an index of it is remembered by: where it lies, without passwords."""
        ...


Location: TypeAlias = Path | Placed
"""A file on a disk, by its path, or one elsewhere, ready to be read."""


class OpenFile:
    """A file open for reading at any place, from any number of threads; it closes when nobody holds it any more.

    Args:
        path: the file.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
        weakref.finalize(self, os.close, self._descriptor)
        self._lock = threading.Lock()
        status = os.fstat(self._descriptor)
        self.size, self.state = status.st_size, (status.st_size, status.st_mtime_ns)

    def read(self, start: int, size: int) -> bytes:
        """Bytes from an offset on, fewer only at the end of the file.

        Args:
            start: offset in bytes.
            size: in bytes.

        Raises:
            OSError: the disk fails.
        """
        content = self._some(start, size)
        while len(content) < size and (more := self._some(start + len(content), size - len(content))):
            content += more
        return content

    def _some(self, start: int, size: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, size, start)
        with self._lock:  # Windows has one place in a file for all threads
            os.lseek(self._descriptor, start, os.SEEK_SET)
            return os.read(self._descriptor, size)


def open_file(location: Location) -> Storage:
    """What lies at a location, open for reading.

    Args:
        location: of the file.

    Raises:
        OSError: it cannot be opened.
    """
    return OpenFile(location) if isinstance(location, Path) else location


def nearby(file: Storage) -> Read:
    """Reads of an open file that get what lies just behind with the same call, and more where they go on in a row.

    Args:
        file: read by one thread.
    """
    least, most = (_ROUND_TRIP, _MOST_FROM_AFAR) if isinstance(file, Placed) else (_READ_AHEAD, _MOST_AHEAD)
    held, at, ahead = b"", 0, least

    def read(start: int, size: int) -> bytes:
        nonlocal held, at, ahead
        if start < at or start + size > at + len(held):
            in_a_row = 0 <= start - at <= len(held) + least
            ahead = min(4 * ahead, most) if in_a_row else least
            held, at = file.read(start, max(size, ahead)), start
        return held[start - at : start - at + size]

    return read

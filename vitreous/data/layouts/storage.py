"""A large file read at any place: on a disk, or wherever else bytes can be asked for by offset and size."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

Read = Callable[[int, int], bytes]
"""Gives the bytes of a file from an offset on, as many as are asked for, or fewer at its end."""

_READ_AHEAD = 4096  # a header, the label behind it and the next header come with one call


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


def nearby(file: Storage) -> Read:
    """Reads of an open file that get what lies just behind with the same system call.

    Args:
        file: read by one thread.
    """
    held, at = b"", 0

    def read(start: int, size: int) -> bytes:
        nonlocal held, at
        if start < at or start + size > at + len(held):
            held, at = file.read(start, max(size, _READ_AHEAD)), start
        return held[start - at : start - at + size]

    return read

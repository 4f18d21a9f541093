"""Where a million files lie, in little more memory than their names take."""

from __future__ import annotations

import os
from array import array

from vitreous.data.imageset import Names
from vitreous.data.layouts.folders.walk import composed


class FileTable:
    """Files below one folder: 16 bytes each, and their paths below it.

    Args:
        root: the folder, as a person called it.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._text = bytearray()
        self._ends = array("Q")
        self.sizes = array("q")
        """In bytes; -1 for a link that leads nowhere."""

    def add(self, relative: str, size: int) -> None:
        """Puts a file behind those that are there.

        Args:
            relative: path below the root, with `/` between.
            size: in bytes, or -1.
        """
        self._text += os.fsencode(relative)  # any name that a disk can hold, Unicode or not
        self._ends.append(len(self._text))
        self.sizes.append(size)

    def __len__(self) -> int:
        return len(self._ends)

    @property
    def paths(self) -> Names:
        """What to open."""
        return Names(len(self), lambda place: os.path.join(self._root, self._relative(place).replace("/", os.sep)))

    @property
    def keys(self) -> Names:
        """Paths below the root with `/` between, in Unicode's composed form: the same on every machine."""
        return Names(len(self), lambda place: composed(self._relative(place)))

    def _relative(self, place: int) -> str:
        start = self._ends[place - 1] if place else 0
        return os.fsdecode(bytes(self._text[start : self._ends[place]]))


def size_of(entry: os.DirEntry[str]) -> int:
    """Of a file, in bytes; -1 for a link that leads nowhere.

    Args:
        entry: a file.
    """
    try:
        return entry.stat().st_size
    except OSError:
        return -1

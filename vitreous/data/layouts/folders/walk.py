"""The images in and below a folder: which files are meant, and in which order, the same on every machine."""

from __future__ import annotations

import itertools
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vitreous.data.words import natural_key
from vitreous.errors import DataError
from vitreous.picture.sniff import FOREIGN_SUFFIXES, HEADER_BYTES, IMAGE_SUFFIXES, kind_of

_SUFFIXES = IMAGE_SUFFIXES | FOREIGN_SUFFIXES
_LITTER = frozenset(
    {"thumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"}
)

MANY = 1000
"""Entries of a folder that cannot be one of a few files for sets as a whole."""


@dataclass
class LeftOut:
    """What was met on the way and left out."""

    suffixes: Counter[str] = field(default_factory=Counter)
    """Endings of the names of files that are no images."""
    loops: int = 0
    """Folders that had been visited before, by another way."""

    def add_file(self, name: str) -> None:
        """Count a file that is no image.

        Args:
            name: of the file.
        """
        self.suffixes[os.path.splitext(name)[1].lower() or "no ending"] += 1

    def notes(self, where: str) -> list[str]:
        """What a person should know, in sentences.

        Args:
            where: what was searched.
        """
        said = []
        if self.suffixes:
            kinds = ", ".join(f"{suffix} {count}" for suffix, count in sorted(self.suffixes.items()))
            said.append(f"{where}: left out files without an image ({kinds})")
        if self.loops:
            said.append(f"{where}: left out links to folders that were already read ({self.loops})")
        return said


def images_below(folder: str | Path, left_out: LeftOut) -> Iterator[tuple[os.DirEntry[str], str]]:
    """Every file in and below a folder that is, or should be, an image, with its path below the folder.

    The files of a folder come before those of the folders in it, each in the order a person expects (2 before 10).
    Between the parts of a path stands `/`; they are spelled as on the disk, not in Unicode's composed form.

    Args:
        folder: searched to the bottom; links are followed, but not upwards or in circles.
        left_out: what does not count is added here.

    Raises:
        DataError: a folder may not be read.
    """
    visited = folders_above(folder)  # a link upwards would find images that are not meant
    waiting = [(str(folder), "")]
    while waiting:
        path, above = waiting.pop()
        if (identity := folder_identity(path)) in visited:
            left_out.loops += 1
            continue
        visited.add(identity)
        deeper = []
        for entry in visible_entries(path):
            if is_folder(entry):
                deeper.append((entry.path, f"{above}{entry.name}/"))
            elif is_image(entry):
                yield entry, above + entry.name
            else:
                left_out.add_file(entry.name)
        waiting += reversed(deeper)


def visible_entries(folder: str | Path) -> list[os.DirEntry[str]]:
    """What lies in a folder and is meant to be seen, in the order a person expects.

    Args:
        folder: only itself, not what is in the folders below it.

    Raises:
        DataError: it may not be read.
    """
    return _in_order(unordered_entries(folder))


def subfolders(folder: str | Path) -> list[Path]:
    """The folders directly in a folder, in the order a person expects.

    Args:
        folder: only itself, not what is in the folders below it.

    Raises:
        DataError: it may not be read.
    """
    return [Path(entry.path) for entry in _in_order(filter(is_folder, unordered_entries(folder)))]


def few_entries(folder: Path) -> list[Path]:
    """What lies in a folder of few files and is meant to be seen, by name; nothing where it may not be read.

    Args:
        folder: with fewer than a thousand entries; of one with more nothing is told.
    """
    try:
        with os.scandir(folder) as listing:
            few = list(itertools.islice(listing, MANY))
    except OSError:
        return []
    return sorted(Path(entry.path) for entry in few if not is_litter(entry.name)) if len(few) < MANY else []


def unordered_entries(folder: str | Path) -> list[os.DirEntry[str]]:
    """What lies in a folder and is meant to be seen, as the disk gives it: for who only looks whether or how many.

    Args:
        folder: only itself, not what is in the folders below it.

    Raises:
        DataError: it may not be read.
    """
    try:
        with os.scandir(str(folder)) as listing:
            return [entry for entry in listing if not is_litter(entry.name)]
    except OSError as error:
        raise DataError("a folder cannot be read", where=str(folder), why=error.strerror) from error


def _in_order(entries: Iterable[os.DirEntry[str]]) -> list[os.DirEntry[str]]:
    """In the order a person expects, which for a million files takes seconds: leave out first what is not meant."""
    return sorted(entries, key=lambda entry: natural_key(composed(entry.name)))


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC), which is the same on a Mac and on Linux.

    Args:
        name: of a file, or a path.
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def is_litter(name: str) -> bool:
    """Whether systems leave this behind everywhere: hidden files (macOS puts a ._1.jpg beside 1.jpg) and the like.

    Args:
        name: of a file or folder.
    """
    return name.startswith(".") or name.casefold() in _LITTER


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether this is a folder, or a link to one.

    Args:
        entry: of a folder.
    """
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def is_image(entry: os.DirEntry[str]) -> bool:
    """By its name; where that says nothing, by its first bytes. What is not read counts too: it will be named.

    Args:
        entry: no folder.
    """
    if os.path.splitext(entry.name)[1].lower() in _SUFFIXES:
        return True
    try:
        if not entry.is_file():  # opening a pipe would wait for ever
            return False
    except OSError:
        return False
    try:
        with open(entry.path, "rb") as file:
            return kind_of(file.read(HEADER_BYTES)) is not None
    except OSError:
        return True  # cannot be looked at: to be named as unreadable


def folder_identity(path: str | Path) -> tuple[int, int]:
    """The same for two paths if and only if they lead to the same folder.

    Args:
        path: of a folder that is there.
    """
    status = os.stat(path)
    return status.st_dev, status.st_ino


def folders_above(folder: str | Path) -> set[tuple[int, int]]:
    """All folders that this one lies in, by its name and, where it is a link, by its target.

    Args:
        folder: one that is there.
    """
    path = Path(folder)
    return {folder_identity(above) for above in (*path.absolute().parents, *path.resolve().parents)}

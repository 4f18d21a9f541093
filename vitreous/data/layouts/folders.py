"""Labelled images in folders named after their classes, with or without train, val and test folders above them."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from vitreous.data.imageset import ImageSet, fingerprint
from vitreous.data.layouts.found import PART_OF, Asked, Found
from vitreous.data.words import natural_key, some
from vitreous.errors import DataError
from vitreous.picture.decode import decode, file_bytes
from vitreous.picture.sniff import FOREIGN_SUFFIXES, HEADER_BYTES, IMAGE_SUFFIXES, kind_of

_LITTER = frozenset(
    {"thumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"}
)


@dataclass
class _Census:
    """What was met on the way and left out."""

    suffixes: Counter[str] = field(default_factory=Counter)
    """Endings of the names of files that are no images."""
    loops: int = 0
    """Folders that had been visited before, by another way."""

    def notes(self, where: str) -> list[str]:
        """What a person should know, in sentences."""
        said = []
        if self.suffixes:
            kinds = ", ".join(f"{suffix} {count}" for suffix, count in sorted(self.suffixes.items()))
            said.append(f"{where}: left out files without an image ({kinds})")
        if self.loops:
            said.append(f"{where}: left out links to folders that were already read ({self.loops})")
        return said


@dataclass(frozen=True)
class _File:
    path: str
    key: str
    """Path below its class folder with `/` between, in Unicode's composed form (NFC)."""
    size: int
    """In bytes; -1 for a link that leads nowhere."""


def find_folders(typed: str, asked: Asked) -> Found | None:
    """The images in class folders, if DATA is a folder at all.

    Args:
        typed: a folder, with or without train, val and test above the class folders.
        asked: whether empty folders count as classes.

    Raises:
        DataError: there is no image in any class folder, or the folders can be read in two ways.
    """
    path = Path(typed).expanduser()
    if not path.is_dir():
        return None
    sets, notes = {}, []
    for part, folder in (split_folders(path) or {"all": path}).items():
        name = typed if part == "all" else str(Path(typed) / folder.name)
        must_learn = part in ("train", "all")
        sets[part], said = class_folders(folder, name, keep_empty=asked.keep_empty and must_learn)
        notes += said
    return Found(typed, sets, notes)


def split_folders(root: Path) -> dict[str, Path]:
    """The train, val and test folders below `root`, or nothing where class folders lie there directly.

    Args:
        root: the data folder.

    Raises:
        DataError: the folders can be read in two ways.
    """
    folders = _subfolders(root)
    splits: dict[str, Path] = {}
    for folder in folders:
        if split := PART_OF.get(folder.name.casefold()):
            if split in splits:
                raise DataError(
                    f"both {splits[split].name} and {folder.name} could be the {split} images",
                    where=str(root),
                    remedy="keep one of the two folders",
                )
            splits[split] = folder
    if not splits:
        return {}
    others = [folder for folder in folders if folder not in splits.values()]
    if not any(_subfolders(folder) for folder in splits.values()):
        if others:
            return {}  # classes, one of which happens to be called "train" or "test"
        raise DataError(
            f"the images in {' and '.join(folder.name for folder in splits.values())} lie in no class folders",
            where=str(root),
            remedy=f"one folder per class: {root}/{next(iter(splits.values())).name}/CLASS/IMAGE",
        )
    strange = [folder.name for folder in others if next(_images(folder, _Census()), None)]
    if strange:
        raise DataError(
            f"{' and '.join(folder.name for folder in splits.values())} look like the parts of a split data set,"
            f" but {some(strange)} beside them hold images too",
            where=str(root),
            remedy="give the folder of one part, or move the others away",
        )
    return splits


def class_folders(root: Path, name: str, *, keep_empty: bool) -> tuple[ImageSet, list[str]]:
    """The images below `root`, labelled by the folder they lie in, and what to tell about them.

    Classes are in natural order (2 before 10). Class names and keys are in Unicode's composed form, so that a folder
    copied between a Mac and Linux keeps its meaning.

    Args:
        root: holds one folder per class; images may lie deeper.
        name: what to call the set.
        keep_empty: whether folders without images count as classes.

    Raises:
        DataError: there is no image in any class folder, or a folder may not be read.
    """
    census = _Census()
    found: dict[str, list[_File]] = {}
    upwards = _above(root) | {_identity(root)}
    for folder in _subfolders(root):
        if _identity(folder) in upwards:
            census.loops += 1
            continue
        class_name = unicodedata.normalize("NFC", folder.name)
        if class_name in found:
            raise DataError(f"two folders in {root} are called {class_name!r}", why="in two spellings of Unicode")
        found[class_name] = sorted(_images(folder, census), key=lambda file: natural_key(file.key))
    empty = [class_name for class_name, files in found.items() if not files]
    notes = census.notes(name)
    if empty and not keep_empty:
        notes.append(f"{name}: left out folders without images: {some(empty)}")
        found = {class_name: files for class_name, files in found.items() if files}
    stray = sum(1 for entry in _entries(str(root)) if not _is_folder(entry) and _is_image(entry))
    if not any(found.values()):
        raise _nothing_found(root, stray)
    if stray:
        notes.append(f"{name}: left out images outside class folders ({stray:,})")
    return _as_set(name, dict(sorted(found.items(), key=lambda item: natural_key(item[0])))), notes


def _as_set(name: str, found: dict[str, list[_File]]) -> ImageSet:
    files = [(class_name, file) for class_name, files in found.items() for file in files]
    paths = [file.path for _, file in files]
    keys = [f"{class_name}/{file.key}" for class_name, file in files]
    labels = np.repeat(np.arange(len(found)), [len(files) for files in found.values()])
    sizes = [file.size for _, file in files]

    def read(index: int) -> UInt8[np.ndarray, "H W 3"]:
        return decode(paths[index])

    def encoded(index: int) -> bytes:
        return file_bytes(paths[index])

    return ImageSet(
        name=name,
        classes=tuple(found),
        ids=paths,
        labels=labels,
        read=read,
        encoded=encoded,
        fingerprint=fingerprint(list(found), keys, labels.tolist(), sizes),
        keys=keys,
    )


def _nothing_found(root: Path, stray: int) -> DataError:
    if stray:
        return DataError(
            f"the images in {root} lie in no class folders",
            why=f"{stray:,} of them lie there directly" if stray > 1 else "one lies there directly",
            remedy=f"one folder per class: {root}/cat/1.jpg, {root}/dog/2.jpg",
        )
    return DataError(
        f"there are no images in {root}",
        remedy=f"one folder per class: {root}/cat/1.jpg, {root}/dog/2.jpg",
    )


def _subfolders(root: Path) -> list[Path]:
    return [Path(entry.path) for entry in _entries(str(root)) if _is_folder(entry)]


def _images(folder: Path, census: _Census) -> Iterator[_File]:
    """Every file in and below a folder that is, or should be, an image."""
    visited = _above(folder)  # a link upwards would find other classes
    waiting = [(str(folder), "")]
    while waiting:
        path, above = waiting.pop()
        if (identity := _identity(path)) in visited:
            census.loops += 1
            continue
        visited.add(identity)
        deeper = []
        for entry in _entries(path):
            key = above + unicodedata.normalize("NFC", entry.name)
            if _is_folder(entry):
                deeper.append((entry.path, key + "/"))
            elif _is_image(entry):
                yield _File(entry.path, key, _size(entry))
            else:
                census.suffixes[os.path.splitext(entry.name)[1].lower() or "no ending"] += 1
        waiting += reversed(deeper)


def _identity(path: str | Path) -> tuple[int, int]:
    """The same for two paths if and only if they lead to the same folder."""
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _above(folder: Path) -> set[tuple[int, int]]:
    """All folders that this one lies in, by its name and, where it is a link, by its target."""
    return {_identity(above) for above in (*folder.absolute().parents, *folder.resolve().parents)}


def _entries(path: str) -> list[os.DirEntry[str]]:
    """What lies in a folder and is meant to be seen, in the same order on every machine."""
    try:
        with os.scandir(path) as listing:
            entries = [entry for entry in listing if not _is_litter(entry.name)]
    except OSError as error:
        raise DataError("a folder cannot be read", where=path, why=error.strerror) from error
    return sorted(entries, key=lambda entry: unicodedata.normalize("NFC", entry.name))


def _is_litter(name: str) -> bool:
    """Hidden files (macOS puts a ._1.jpg beside 1.jpg) and what systems leave behind everywhere."""
    return name.startswith(".") or name.casefold() in _LITTER


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _is_image(entry: os.DirEntry[str]) -> bool:
    """By its name; where that says nothing, by its first bytes. Formats that are not read count: they will be named."""
    suffix = os.path.splitext(entry.name)[1].lower()
    if suffix in IMAGE_SUFFIXES or suffix in FOREIGN_SUFFIXES:
        return True
    try:
        if not entry.is_file():  # opening a pipe would wait for ever
            return False
        with open(entry.path, "rb") as file:
            return kind_of(file.read(HEADER_BYTES)) is not None
    except OSError:
        return False


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:
        return -1

"""Labelled images in a zip archive of class folders, read in place: nothing is ever written to disk.

What an archive gives is what its unpacked folder gives: the same classes, images, keys and fingerprint, in the same
order. Where an archive has one folder that holds all others, that folder is the data.
"""

from __future__ import annotations

import itertools
import os
import re
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from vitreous.data.imageset import ImageSet, Names, fingerprint
from vitreous.data.layouts.archive.zip_directory import (
    DEFLATED,
    LARGEST,
    STORED,
    Directory,
    Place,
    first_bytes,
    method_name,
    read_directory,
    unpacked,
)
from vitreous.data.layouts.folders.walk import is_litter
from vitreous.data.layouts.found import PART_OF, Asked, Found
from vitreous.data.layouts.storage import OpenFile, Storage
from vitreous.data.words import natural_key, some
from vitreous.errors import DataError
from vitreous.picture.decode import decode
from vitreous.picture.sniff import FOREIGN_SUFFIXES, HEADER_BYTES, IMAGE_SUFFIXES, kind_of

_IMAGES = IMAGE_SUFFIXES | FOREIGN_SUFFIXES
_OTHERS = {".7z": "7z x", ".rar": "unrar x"}
_DIGITS = re.compile("[0-9]+")
_HIDDEN = -1


@dataclass
class _Listing:
    """The images in an archive, and its folders."""

    members: array[int] = field(default_factory=lambda: array("q"))
    """Each image's place in the directory."""
    codes: array[int] = field(default_factory=lambda: array("i"))
    """The folder that each lies in, by its place in `folders`."""
    names: list[str] = field(default_factory=list)
    """What each is called in its folder."""
    folders: list[str] = field(default_factory=list)
    """Paths of the folders that hold files, "" for the top."""
    below: dict[str, set[str]] = field(default_factory=dict)
    """Names of the folders in each folder."""
    left_out: Counter[str] = field(default_factory=Counter)
    """What is neither image nor folder, by kind."""
    suffixes: Counter[str] = field(default_factory=Counter)
    """Endings of the names of files that are no images."""

    def add_folder(self, path: str) -> None:
        """Note a folder and those that it lies in."""
        self.below.setdefault(path, set())
        while path:
            above, _, name = path.rpartition("/")
            siblings = self.below.setdefault(above, set())
            if name in siblings:
                return
            siblings.add(name)
            path = above


def find_archive(typed: str, asked: Asked) -> Found | None:
    """The images in a zip archive, if DATA is one.

    Args:
        typed: a file whose name ends in .zip, with class folders in it, with or without train, val and test above
            them.
        asked: whether empty folders count as classes.

    Raises:
        DataError: the archive cannot be read, or is of another kind; see also `zip_set`.
    """
    path = Path(typed).expanduser()
    suffix = path.suffix.lower()
    if suffix not in (".zip", *_OTHERS) or not path.is_file():
        return None
    if suffix in _OTHERS:
        raise DataError(
            f"{suffix[1:]} archives cannot be read in place",
            where=typed,
            remedy=f"{_OTHERS[suffix]} {typed}, or pack the images as .zip",
        )
    try:
        return zip_set(OpenFile(path), typed, asked)
    except OSError as error:
        raise DataError("the archive cannot be read", where=typed, why=error.strerror) from error


def zip_set(storage: Storage, name: str, asked: Asked) -> Found:
    """The images in a zip archive that lies anywhere.

    Args:
        storage: the archive, which stays open; it is read from several threads.
        name: what to call it.
        asked: whether empty folders count as classes.

    Raises:
        DataError: it is damaged, a file in it is encrypted or packed in a way that is not read, two have one name,
            there is no image in any class folder, or its folders can be read in two ways.
        OSError: it cannot be read.
    """
    directory = read_directory(storage, name)
    listing = _listed(directory, storage, name)
    top = _top(listing)
    sets: dict[str, ImageSet] = {}
    notes = [f"{name}: a zip archive, read in place" + (f" below {top}/" if top else "")]
    if listing.suffixes:
        kinds = ", ".join(f"{suffix} {count:,}" for suffix, count in sorted(listing.suffixes.items()))
        notes.append(f"{name}: left out files without an image ({kinds})")
    if listing.left_out:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(listing.left_out.items()))
        notes.append(f"{name}: left out {kinds}")
    for part, folder in (_parts(listing, top, name) or {"all": top}).items():
        called = f"{name}/{folder}" if folder else name
        keep_empty = asked.keep_empty and part in ("train", "all")
        sets[part], said = _class_folders(directory, storage, listing, folder, called, name, keep_empty)
        notes += said
    return Found(name, sets, notes)


def _listed(directory: Directory, storage: Storage, where: str) -> _Listing:
    """Every file that is, or should be, an image; by its name, or where that says nothing by its first bytes."""
    listing, codes = _Listing(), {"": 0}
    listing.folders.append("")
    listing.add_folder("")
    unusual = directory.encrypted | (directory.sizes > LARGEST) | ~np.isin(directory.methods, (STORED, DEFLATED))
    doubtful = unusual.tobytes()  # read a million times: bytes are faster than an array
    for index, path in directory.files(listing.left_out):
        folder, _, base = path.rpartition("/")
        code = codes.get(folder)
        if code is None:
            code = codes[folder] = _new_code(listing, folder)
        if not base:
            continue
        if code == _HIDDEN or base[0] == ".":
            listing.left_out["hidden files"] += 1
            continue
        suffix = base[base.rfind(".") :]
        if suffix not in _IMAGES and (suffix := os.path.splitext(base)[1].lower()) not in _IMAGES:
            if is_litter(base):
                listing.left_out["hidden files"] += 1
                continue
            if not _is_image(directory, storage, index):
                listing.suffixes[suffix or "no ending"] += 1
                continue
        if doubtful[index]:
            _check_member(directory, index, where)
            listing.left_out["images larger than 1 GB"] += 1
            continue
        listing.members.append(index)
        listing.codes.append(code)
        listing.names.append(base)
    return listing


def _new_code(listing: _Listing, folder: str) -> int:
    """The number of a folder that has not been met before."""
    if any(is_litter(name) for name in folder.split("/")):
        return _HIDDEN
    listing.add_folder(folder)
    listing.folders.append(folder)
    return len(listing.folders) - 1


def _is_image(directory: Directory, storage: Storage, index: int) -> bool:
    if directory.encrypted[index]:
        return False
    return kind_of(first_bytes(storage, directory.place(index), HEADER_BYTES)) is not None


def _check_member(directory: Directory, index: int, where: str) -> None:
    """Refuse an image that nobody could read without a password or another program."""
    if directory.encrypted[index]:
        raise DataError(
            "a file in the archive is encrypted", where=f"{where}/{directory.name(index)}", remedy="pack it without"
        )
    if (method := int(directory.methods[index])) not in (STORED, DEFLATED):
        raise DataError(
            f"a file in the archive is packed by {method_name(method)}",
            where=f"{where}/{directory.name(index)}",
            why="stored and deflated files are read",
            remedy="pack it again with zip -0: photographs are compressed already",
        )


def _top(listing: _Listing) -> str:
    """The folder in which everything lies: the first that holds images, or several folders, or parts of a data set."""
    top, holding = "", {listing.folders[code] for code in set(listing.codes)}
    while top not in holding and len(listing.below[top]) == 1:
        (only,) = listing.below[top]
        inside = f"{top}/{only}" if top else only
        if only.casefold() in PART_OF or not listing.below[inside]:
            break
        top = inside
    return top


def _inside(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _parts(listing: _Listing, top: str, where: str) -> dict[str, str]:
    """The folders train, val and test, by the rules of class folders; empty where class folders lie there directly."""
    parts: dict[str, str] = {}
    for folder in sorted(listing.below[top]):
        if part := PART_OF.get(folder.casefold()):
            if part in parts:
                what = f"both {parts[part]} and {folder} could be the {part} images"
                raise DataError(what, where=where, remedy="keep one of the two folders")
            parts[part] = folder
    if not parts:
        return {}
    others = listing.below[top] - set(parts.values())
    if not any(listing.below[_inside(top, folder)] for folder in parts.values()):
        if others:
            return {}  # classes, one of which happens to be called "train" or "test"
        raise DataError(
            f"the images in {' and '.join(parts.values())} lie in no class folders",
            where=where,
            remedy=f"one folder per class: {_inside(top, next(iter(parts.values())))}/CLASS/IMAGE",
        )
    depth = len(_inside(top, ""))
    holding = {listing.folders[code][depth:].partition("/")[0] for code in set(listing.codes)}
    if strange := sorted(others & holding, key=natural_key):
        raise DataError(
            f"{' and '.join(parts.values())} look like the parts of a split data set,"
            f" but {some(strange)} beside them hold images too",
            where=where,
            remedy="give an archive of one part, or take the others out",
        )
    return {part: _inside(top, folder) for part, folder in parts.items()}


def _class_folders(
    directory: Directory, storage: Storage, listing: _Listing, root: str, name: str, where: str, keep_empty: bool
) -> tuple[ImageSet, list[str]]:
    """The images below a folder of the archive, labelled by the folder they lie in, and what to tell about them."""
    classes = sorted(listing.below[root], key=natural_key)
    codes = np.array(listing.codes, np.int64)
    labels = _class_of_folder(listing.folders, root, classes)[codes]
    counts = np.bincount(labels[labels >= 0], minlength=len(classes))
    stray = sum(1 for code in listing.codes if listing.folders[code] == root)
    if not counts.sum():
        raise _nothing_found(name, stray)
    notes = []
    if not keep_empty and not counts.all():
        empty = [each for each, count in zip(classes, counts, strict=True) if not count]
        notes.append(f"{name}: left out folders without images: {some(empty)}")
        classes = [each for each, count in zip(classes, counts, strict=True) if count]
        counts = counts[counts > 0]
    if stray:
        notes.append(f"{name}: left out images outside class folders ({stray:,})")
    depth = len(_inside(root, ""))
    keys: list[str] = []
    order: list[Int[np.ndarray, " n"]] = []
    outside = len(labels) - int(counts.sum())  # whose label is -1, and who come first
    for group in np.split(np.argsort(labels, kind="stable")[outside:], np.cumsum(counts)[:-1]):
        paths = [_inside(listing.folders[codes[image]], listing.names[image])[depth:] for image in group]
        ranks = _ranked(paths)
        keys += [paths[rank] for rank in ranks]
        order.append(group[ranks])
    if twice := next((key for key, next_ in itertools.pairwise(keys) if key == next_), None):
        raise DataError("two files in the archive have one name", where=f"{where}/{_inside(root, twice)}")
    members = np.array(listing.members, np.int64)[np.concatenate(order)]
    labels = np.repeat(np.arange(len(classes)), counts)
    return _as_set(directory, storage, members, keys, labels, classes, name), notes


def _class_of_folder(folders: Sequence[str], root: str, classes: Sequence[str]) -> Int[np.ndarray, " F"]:
    """The place of the class that each folder belongs to; -1 for one that belongs to none."""
    above, table = _inside(root, ""), np.full(len(folders), -1, np.int64)
    places = {name: place for place, name in enumerate(classes)}
    for code, folder in enumerate(folders):
        if folder.startswith(above) and len(folder) > len(above):
            table[code] = places[folder[len(above) :].partition("/")[0]]
    return table


def _ranked(paths: Sequence[str]) -> list[int]:
    """Places of paths in natural order: that of `natural_key`, by keys that take a third of its memory."""
    keys = [_DIGITS.sub(_number, path.casefold()) + "\0\0" + path for path in paths]
    return sorted(range(len(paths)), key=keys.__getitem__)


def _number(digits: re.Match[str]) -> str:
    """Digits that sort by value, before every letter: what is shorter without noughts comes first."""
    value = digits[0].lstrip("0")
    return f"\0{chr(len(value) + 1)}{value}"


def _as_set(
    directory: Directory,
    storage: Storage,
    members: Int[np.ndarray, " N"],
    keys: list[str],
    labels: Int[np.ndarray, " N"],
    classes: list[str],
    name: str,
) -> ImageSet:
    """The set; of the directory and the names only a few arrays live on."""
    offsets, packed, sizes = directory.offsets[members], directory.packed[members], directory.sizes[members]
    crcs, methods = directory.crcs[members].astype(np.uint32), directory.methods[members].astype(np.uint8)
    name_lengths = directory.name_lengths[members].astype(np.uint16)
    encoded_keys = [key.encode() for key in keys]
    ends = np.cumsum([len(key) for key in encoded_keys], dtype=np.int64)
    names = b"".join(encoded_keys)
    mark = fingerprint(classes, keys, labels.tolist(), sizes.tolist())

    def key(index: int) -> str:
        return names[ends[index - 1] if index else 0 : ends[index]].decode()

    def encoded(index: int) -> bytes:
        arrays = (offsets, packed, sizes, crcs, methods, name_lengths)
        return unpacked(storage, Place(*(int(array[index]) for array in arrays)), ids[index])

    def read(index: int) -> UInt8[np.ndarray, "H W 3"]:
        return decode(encoded(index), name=ids[index])

    ids = Names(len(labels), lambda index: f"{name}/{key(index)}")
    return ImageSet(
        name=name,
        classes=tuple(classes),
        ids=ids,
        labels=labels,
        read=read,
        encoded=encoded,
        fingerprint=mark,
        keys=Names(len(labels), key),
    )


def _nothing_found(name: str, stray: int) -> DataError:
    if stray:
        return DataError(
            f"the images in {name} lie in no class folders",
            why=f"{stray:,} of them lie there directly" if stray > 1 else "one lies there directly",
            remedy="one folder per class in the archive: cat/1.jpg, dog/2.jpg; with a table of labels, unpack it",
        )
    return DataError(
        f"there are no images in {name}", remedy="one folder per class in the archive: cat/1.jpg, dog/2.jpg"
    )

"""What all sources do: find the folder of a data set, and cut whole parts in the order of TensorFlow Datasets."""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from vitreous.data.imageset import ImageSet, Names, fingerprint
from vitreous.data.layouts.folders.file_table import FileTable
from vitreous.data.layouts.folders.folders import folder_set
from vitreous.data.vtab.folders import folders_of
from vitreous.data.vtab.order import Part, part_places
from vitreous.data.vtab.parts import Parts
from vitreous.data.words import some
from vitreous.errors import DataError
from vitreous.published.vtab import VtabTask

PARTS: tuple[Part, ...] = ("train", "val", "test")

_TEXT_LIMIT = 2**26  # bytes of a list; the longest, of SUN397, has 4 million


def folders(root: Path, task: VtabTask, *names: str) -> Iterator[Path]:
    """Where the files of a task may lie: below the folder of data sets, or in it.

    Args:
        root: the folder of data sets, or of this one.
        task: whose name, in any of its spellings, may be a folder's.
        names: folders that the authors' archives make, with `/` between.
    """
    shared = root / task.builder.partition("/")[0]  # such as clevr, for files that serve two tasks
    outer = dict.fromkeys([root, shared, *folders_of(root, task)])
    for folder in outer:
        if folder.is_dir():
            yield from (below for name in names if (below := folder / name).is_dir())
            yield folder


def whole(
    task: VtabTask,
    splits: Mapping[str, ImageSet],
    keys: Mapping[str, Sequence[str | int]],
    source: str,
    *,
    exact: bool = True,
    notes: tuple[str, ...] = (),
) -> Parts:
    """The whole parts of a task, cut from its splits; where their sizes are not the published ones, that is said.

    Args:
        task: which.
        splits: all images in any order, by what TensorFlow Datasets calls the split: train, validation, test.
        keys: of the images of each split, as TensorFlow Datasets makes them.
        source: in words for people.
        exact: whether these are the published images.
        notes: what else a person should know.

    Raises:
        DataError: a part has no image, or a key comes twice.
    """
    places = part_places(task, keys)
    train, val, test = (splits[places[part][0]].subset(places[part][1], f"{task.name}/{part}") for part in PARTS)
    counts, published = (len(train), len(val), len(test)), (task.train, task.val, task.test)
    if not all(counts):
        raise DataError(
            f"{task.title}: there are {counts[0]:,}, {counts[1]:,} and {counts[2]:,} images in its three parts",
            where=source,
            why=f"{published[0]:,}, {published[1]:,} and {published[2]:,} are published",
            remedy="fetch the files again",
        )
    if counts != published:
        said = f"{task.title}: {counts[0]:,}, {counts[1]:,} and {counts[2]:,} images to train, choose and test with"
        notes = (
            *notes,
            f"{said} are here, where {published[0]:,}, {published[1]:,} and {published[2]:,} are published",
        )
        exact = False
    return Parts(train=train, val=val, test=test, source=source, exact=exact, notes=notes)


def file_set(name: str, classes: Sequence[str], folder: Path, files: Sequence[str], labels: Sequence[int]) -> ImageSet:
    """Images in files of a folder that a list names; all of them must be there.

    Args:
        name: what to call the set.
        classes: class names.
        folder: the paths lead on from it.
        files: path of each image below the folder, with `/` between.
        labels: places in `classes`.

    Raises:
        DataError: files are not there.
    """
    table, absent = FileTable(str(folder)), []
    for file in files:
        size = _size(folder / file)
        if size < 0:
            absent.append(file)
        table.add(file, size)
    if absent:
        raise DataError(
            f"{len(absent):,} of the {len(files):,} images of {name} are not there: {some(absent)}",
            where=str(folder),
            remedy="unpack the archive of images again",
        )
    return folder_set(name, tuple(classes), table, np.array(labels, np.int64))


def stored_set(
    name: str,
    classes: Sequence[str],
    labels: Int[np.ndarray, " N"],
    read: Callable[[int], UInt8[np.ndarray, "H W 3"]],
    *,
    identity: Sequence[str | int],
    mirror_safe: bool = True,
) -> ImageSet:
    """Images that lie numbered in one container.

    Args:
        name: what to call the set; ids are name/00000 and so on.
        classes: class names.
        labels: places in `classes`.
        read: gives one image, from several threads at once.
        identity: what tells this container from others with the same labels.
        mirror_safe: whether an image keeps its class in a mirror.
    """
    ids = Names(len(labels), lambda place: f"{name}/{place:05d}")
    return ImageSet(
        name=name,
        classes=tuple(classes),
        ids=ids,
        labels=labels,
        read=read,
        fingerprint=fingerprint(name, tuple(classes), labels.tolist(), list(identity)),
        mirror_safe=mirror_safe,
    )


def some_pixels(pixels: UInt8[np.ndarray, "N ..."]) -> str:
    """SHA-256 in hex of a few images spread over an array, which is not read whole.

    Args:
        pixels: an image at each place of the first axis.
    """
    digest = hashlib.sha256(repr(pixels.shape).encode())
    for place in np.linspace(0, len(pixels) - 1, 64).astype(int):
        digest.update(np.ascontiguousarray(pixels[place]).data)
    return digest.hexdigest()


def class_files(folder: Path, classes: Sequence[str], suffixes: re.Pattern[str]) -> tuple[list[str], list[int]]:
    """Every image in the folders of all classes, in sorted order: its path below the folder, and its label.

    Args:
        folder: holds a folder for each class.
        classes: their names, in the order of labels.
        suffixes: what the names of images match.

    Raises:
        DataError: folders are missing, empty or may not be read.
    """
    files: list[str] = []
    labels: list[int] = []
    lacking = []
    for label, name in enumerate(classes):
        try:
            found = sorted(entry.name for entry in (folder / name).iterdir() if suffixes.fullmatch(entry.name))
        except FileNotFoundError:
            found = []
        except OSError as error:
            raise DataError("a folder cannot be read", where=str(folder / name), why=error.strerror) from error
        if not found:
            lacking.append(name)
        files += [f"{name}/{file}" for file in found]
        labels += [label] * len(found)
    if lacking:
        raise DataError(
            f"there are no images for {len(lacking)} of {len(classes)} classes: {some(lacking)}",
            where=str(folder),
            remedy="unpack the archive again",
        )
    return files, labels


def text_lines(path: Path) -> list[str]:
    """The lines of a short text file that are not empty, without the white space around them.

    Args:
        path: of the file.

    Raises:
        DataError: it is not there, cannot be read, is far too long or not text.
    """
    try:
        if (size := path.stat().st_size) > _TEXT_LIMIT:
            raise DataError(f"the file is too large for a list: {size:,} bytes", where=str(path))
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError("a list is missing", where=str(path), remedy="unpack the archive again") from error
    except UnicodeDecodeError as error:
        raise DataError("the list is not UTF-8 text", where=str(path), remedy="unpack the archive again") from error
    except OSError as error:
        raise DataError("the list cannot be read", where=str(path), why=error.strerror) from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def inside(path: str) -> bool:
    """Whether a path that a list names stays below the folder it is for.

    Args:
        path: with `/` between its parts.
    """
    parts = path.split("/")
    return bool(path) and not path.startswith("/") and "\\" not in path and not {"", ".", ".."} & set(parts)


def _size(path: Path) -> int:
    try:
        found = path.stat()
    except OSError:
        return -1
    return found.st_size if stat.S_ISREG(found.st_mode) else -1

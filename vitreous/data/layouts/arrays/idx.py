"""Labelled images in IDX files, as MNIST, Fashion-MNIST, KMNIST and EMNIST come: pixels in one file, labels in another.

Format: four bytes (0, 0, kind of number, number of sides), each side as a big-endian uint32, then the numbers in C
order; https://yann.lecun.com/exdb/mnist. The header decides how much is read: never more than it declares.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import math
import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from vitreous.data.imageset import ImageSet, Names, array_set
from vitreous.data.layouts.folders.walk import MANY, few_entries
from vitreous.data.layouts.found import PART_OF, Asked, Found
from vitreous.data.layouts.shards.shard_labels import class_names, classes_of
from vitreous.data.words import natural_key, some
from vitreous.errors import DataError

_NAME = re.compile(
    r"(?P<family>.*?)(?P<part>train|t10k|test)-(?P<what>images|labels)[-.]idx[0-9]-ubyte(?:\.gz)?", re.IGNORECASE
)
_BYTES = 0x08
_KINDS = {0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}
_FREE_UNPACKED = 64 << 20  # bytes that any .gz may unpack to
_MAX_RATIO = 100  # of larger ones; MNIST's images shrink 5 times, its labels 2 times


@dataclass(frozen=True)
class _Pair:
    """The files of one part of one set."""

    family: str
    """What stands before train or t10k in the names: "" or "emnist-letters-"."""
    part: str
    images: Path
    labels: Path


def find_idx(typed: str, asked: Asked) -> Found | None:
    """The images in IDX files, if DATA means some.

    Args:
        typed: a folder with train-images-idx3-ubyte, train-labels-idx1-ubyte and so on, packed by gzip or not, or a
            folder in which torchvision has put them (MNIST/raw); where several sets share a folder, FOLDER/NAME as in
            raw/emnist-letters; or one file of images, with its labels beside it.
        asked: not needed.

    Raises:
        DataError: files are missing, damaged, of other numbers than bytes, or there are several sets.
    """
    del asked
    path = Path(typed).expanduser()
    if path.is_file():
        return _one_file(path, typed)
    pairs = _pairs(_folder_of_files(path)) if path.is_dir() else _pairs(path.parent, family=path.name)
    if not pairs:
        return None
    families = sorted({pair.family for pair in pairs}, key=natural_key)
    if len(families) > 1:
        names = [family.rstrip("-_") or "train-images-idx3-ubyte" for family in families]
        raise DataError(
            f"there are {len(families)} sets in one folder: {some(names, 8)}",
            where=str(pairs[0].images.parent),
            remedy=f"name one of them: {pairs[0].images.parent / names[-1]}",
        )
    return _found(typed, pairs)


def read_idx(path: Path, *, dimensions: int) -> np.ndarray:
    """The array of bytes in an IDX file, packed by gzip or not.

    Args:
        path: of the file.
        dimensions: how many sides the array must have.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: the file is damaged, cut off or longer than it declares, or it holds other numbers than bytes.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            length = file.seek(0, 2)
            file.seek(0)
            with gzip.GzipFile(fileobj=file) if packed else file as content:
                return _read(content, path, dimensions, length, packed)
    except FileNotFoundError:
        raise
    except MemoryError as error:
        raise DataError("the pixels do not fit into memory", where=str(path)) from error
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, str(error)) from error


def _read(
    content: gzip.GzipFile | io.BufferedReader, path: Path, dimensions: int, length: int, packed: bool
) -> np.ndarray:
    head = content.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in {_BYTES, *_KINDS}:
        raise DataError("this is not an IDX file", where=str(path), why="it does not begin as one")
    if head[2] != _BYTES:
        raise DataError(
            f"the numbers in this IDX file are {_KINDS[head[2]]}",
            where=str(path),
            why="images and labels must be bytes (ubyte, 0 to 255)",
            remedy="write it again with kind 8, or save images and labels as NumPy arrays",
        )
    if head[3] != dimensions:
        wanted = "labels have one (idx1)" if dimensions == 1 else "grey images have three (idx3)"
        raise DataError(f"the array in this IDX file has {head[3]} sides", where=str(path), why=wanted)
    sides = content.read(4 * dimensions)
    if len(sides) < 4 * dimensions:
        raise _damaged(path, "it is cut off in its header")
    shape = struct.unpack(f">{dimensions}I", sides)
    size, there = math.prod(shape), length - 4 - 4 * dimensions
    declared = f"its header declares {' x '.join(f'{side:,}' for side in shape)} bytes"
    if not packed and size != there:
        raise _damaged(path, f"{declared}, and {there:,} follow")
    if packed and size > max(_FREE_UNPACKED, length * _MAX_RATIO):
        raise _damaged(path, f"{declared}, which {length:,} packed bytes do not hold")
    array = np.empty(size, np.uint8)
    view, filled = array.data, 0
    while filled < size and (count := content.readinto(view[filled : filled + (1 << 20)])):
        filled += count
    if filled < size:
        raise _damaged(path, f"{declared}, and {filled:,} follow")
    if content.read(1):
        raise _damaged(path, f"{declared}, and more follow")
    return array.reshape(shape)


def _damaged(path: Path, why: str) -> DataError:
    return DataError("the IDX file is damaged", where=str(path), why=why, remedy="copy or download it again")


def _folder_of_files(path: Path) -> Path:
    """The folder itself, or the one that torchvision makes below it: raw, or NAME/raw if nothing lies beside it."""
    below = path
    for _ in range(3):
        entries = _entries(below)
        if any(_NAME.fullmatch(entry.name) for entry in entries):
            return below
        folders = [entry for entry in entries if entry.is_dir() and entry.name != "processed"]
        if len(folders) != 1:
            break
        below = folders[0]
    return path


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder and is meant to be seen, unpacked files first; nothing where it is much or not readable."""
    return sorted(few_entries(folder), key=lambda path: path.suffix.lower() == ".gz")


def _pairs(folder: Path, *, family: str | None = None, part: str | None = None) -> list[_Pair]:
    """The files of images in a folder, each with its labels; of a packed and an unpacked one the unpacked."""
    files: dict[tuple[str, str], dict[str, Path]] = {}
    for path in _entries(folder):
        name = _NAME.fullmatch(path.name)
        if name is None or not path.is_file():
            continue
        if family is not None and _plain(name["family"]) != _plain(family):
            continue
        if part is None or part == _part(name):
            files.setdefault((name["family"], _part(name)), {}).setdefault(name["what"].lower(), path)
    pairs = []
    for (begin, which), both in files.items():
        if len(both) == 1:
            ((there, path),) = both.items()
            lacking, sides = ("labels", 1) if there == "images" else ("images", 3)
            stem = "train" if which == "train" else "t10k"
            raise DataError(
                f"the {lacking} that belong to {path.name} are missing",
                where=str(folder),
                remedy=f"put {begin}{stem}-{lacking}-idx{sides}-ubyte.gz beside it",
            )
        pairs.append(_Pair(begin, which, both["images"], both["labels"]))
    return pairs


def _part(name: re.Match[str]) -> str:
    return PART_OF.get(name["part"].lower(), "test")  # t10k: MNIST's 10,000 for testing


def _plain(family: str) -> str:
    return family.casefold().rstrip("-_")


def _one_file(path: Path, typed: str) -> Found | None:
    """The images of one file, if it is named like one or begins like one."""
    name = _NAME.fullmatch(path.name)
    if name is None:
        if not _begins_like_idx(path):
            return None
        raise DataError(
            "this is an IDX file, but its name does not say where its labels are",
            where=typed,
            remedy="call the two files train-images-idx3-ubyte and train-labels-idx1-ubyte",
        )
    pairs = _pairs(path.parent, family=name["family"], part=_part(name))
    if len(pairs) != 1:
        others = f"several sets in it are called alike: {some(pair.images.name for pair in pairs)}"
        raise DataError(
            "it cannot be told which images and labels belong together",
            where=typed,
            why=others if pairs else f"its folder cannot be listed, or holds {MANY:,} files or more",
            remedy="put the files of images and of labels into a folder of their own",
        )
    (pair,) = pairs
    if name["what"].lower() == "labels":
        raise DataError("this file holds labels", where=typed, remedy=f"type {pair.images}, or the folder")
    return _found(typed, [dataclasses.replace(pair, part="all", images=path)])


def _begins_like_idx(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(4)
    return head[:3] in (b"\0\0\x08", b"\0\0\x0b", b"\0\0\x0c") and len(head) == 4 and 1 <= head[3] <= 4


def _found(typed: str, pairs: Sequence[_Pair]) -> Found:
    arrays = {pair.part: _images_and_labels(pair) for pair in pairs}
    family, folder = pairs[0].family, pairs[0].images.parent
    numbers = sorted({int(number) for _, labels in arrays.values() for number in np.unique(labels)})
    known = class_names(folder)
    mapped = None if known else _mapping(folder / f"{family}mapping.txt")
    if mapped is None:
        classes, places = classes_of([str(number) for number in numbers], known, typed)
    else:
        if unknown := [str(number) for number in numbers if number not in mapped]:
            raise DataError(f"labels without a name: {some(unknown)}", where=str(folder / f"{family}mapping.txt"))
        classes, places = tuple(mapped[number] for number in numbers), np.arange(len(numbers))
    table = np.full(256, -1, np.int64)
    table[numbers] = places
    sets = {
        pair.part: _as_set(typed, pair, arrays[pair.part][0], table[arrays[pair.part][1]], classes) for pair in pairs
    }
    files = ", ".join(pair.images.name for pair in pairs)
    notes = [f"{typed}: IDX files ({files}), {sum(map(len, sets.values())):,} images in {len(classes):,} classes"]
    if known is None and mapped is None:
        notes.append(f"{typed}: classes are called by their numbers; names may lie in classes.txt beside the files")
    if family.casefold().startswith("emnist"):
        notes.append(f"{typed}: EMNIST's pictures are kept as they are stored, with rows and columns exchanged")
    return Found(typed, sets, notes)


def _images_and_labels(pair: _Pair) -> tuple[UInt8[np.ndarray, "N H W"], UInt8[np.ndarray, " N"]]:
    labels = read_idx(pair.labels, dimensions=1)  # first: it is the smaller
    pixels = read_idx(pair.images, dimensions=3)
    if len(pixels) != len(labels):
        raise DataError(
            f"{len(pixels):,} images do not go with {len(labels):,} labels",
            where=str(pair.images),
            why=f"the labels are those of {pair.labels.name}",
        )
    if not pixels.size:
        raise DataError("there are no images in the file", where=str(pair.images), why=f"its shape is {pixels.shape}")
    return pixels, labels


def _mapping(path: Path) -> dict[int, str] | None:
    """What EMNIST's labels mean: lines of a label and the character codes that it stands for; None without the file."""
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        return {int(label): "".join(chr(int(code)) for code in codes) for label, *codes in lines}
    except FileNotFoundError:
        return None
    except (ValueError, OverflowError) as error:
        raise DataError("the file is damaged", where=str(path), why=str(error)) from error


def _as_set(
    typed: str, pair: _Pair, pixels: UInt8[np.ndarray, "N H W"], labels: np.ndarray, classes: tuple[str, ...]
) -> ImageSet:
    """Keys say the part and the number, so that the same files anywhere have the same fingerprint."""
    # digits and letters, which these files nearly always hold, are others in a mirror
    images = array_set(pair.part, pixels, labels, classes, mirror_safe=False)
    name = typed if pair.part == "all" else f"{typed} ({pair.part})"
    ids = Names(len(pixels), lambda place: f"{pair.images}/{place:05d}")
    return dataclasses.replace(images, name=name, ids=ids)

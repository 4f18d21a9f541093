"""What is in the 50,000 validation images of ImageNet where they lie in one folder: four ways to be told.

By number: a list's first entry is for ILSVRC2012_val_00000001.JPEG. Sources: the development kit of ILSVRC 2012
(readme.txt, section 3.2: ground truth as ILSVRC2012_ID, whose synsets meta.mat tells), Caffe's val.txt (sorted ids from
0), Kaggle's LOC_val_solution.csv (the first token is an id).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from vitreous.data.layouts.imagenet.imagenet_labels import NUM_CLASSES, wnid_places
from vitreous.data.layouts.imagenet.matlab import Value, table_columns
from vitreous.errors import DataError
from vitreous.pretrained import imagenet_names

NUM_VAL = 50_000

_VAL_NAME = re.compile(r"ILSVRC2012_val_(\d{8})(?:\.\w+)?", re.ASCII | re.IGNORECASE)
_DIGITS = re.compile(r"\d{1,4}", re.ASCII)
_TRUTH, _CAFFE, _KAGGLE = "ILSVRC2012_validation_ground_truth.txt", "val.txt", "LOC_val_solution.csv"
_LIES: dict[str, tuple[int, tuple[str, ...]]] = {  # how many folders further up than the images, and where below these
    _CAFFE: (2, ("", "meta", "caffe_ilsvrc12")),
    _KAGGLE: (4, ("",)),
    _TRUTH: (2, ("", "data", "ILSVRC2012_devkit_t12/data", "ILSVRC2012_devkit_t12", "devkit/data", "devkit")),
}
_TEXT_LIMIT = 2**26  # bytes


class Truth(NamedTuple):
    """The class of each of the 50,000 images, as one source tells it."""

    source: str
    """Path of the file."""
    labels: Int[np.ndarray, " N"]
    """Place among the thousand classes; -1 for an image that the source leaves out."""


def val_number(name: str) -> int | None:
    """Which of the 50,000 validation images this is, from 1, or None.

    Args:
        name: of a file, with or without its ending.
    """
    match = _VAL_NAME.fullmatch(name)
    return int(match[1]) if match and 1 <= int(match[1]) <= NUM_VAL else None


def find_truth(folder: Path) -> Truth | None:
    """What the lists of labels in and above a folder of images say: where there are several, all of them the same.

    Args:
        folder: the images lie in it.

    Raises:
        DataError: a source is damaged, or two contradict each other.
    """
    readers = {_CAFFE: _caffe, _KAGGLE: _kaggle, _TRUTH: _ground_truth}
    found = {
        path.resolve(): path
        for name, (levels, places) in _LIES.items()
        for above in (folder, *folder.absolute().parents[:levels], *folder.resolve().parents[:levels])
        for below in places
        if (path := above / below / name).is_file()
    }
    told = [truth for path in found.values() if (truth := readers[path.name](path)) is not None]
    for other in told[1:]:
        both = (told[0].labels >= 0) & (other.labels >= 0)
        if (differing := np.flatnonzero(both & (told[0].labels != other.labels))).size:
            first = int(differing[0])
            names = imagenet_names()
            raise DataError(
                f"two lists of labels contradict each other about {len(differing):,} images",
                where=f"{told[0].source} and {other.source}",
                why=f"ILSVRC2012_val_{first + 1:08d}: {names[told[0].labels[first]]}, or {names[other.labels[first]]}",
                remedy="remove the wrong one",
            )
    return told[0] if told else None


def _caffe(path: Path) -> Truth | None:
    """Caffe's val.txt: a name and a number from 0 to 999 a line. None for a list of something else."""
    labels = _unknown()
    rows = 0
    for row, line in _lines(path):
        name, _, label = line.rpartition(" ")
        number = val_number(name.strip().rpartition("/")[2])
        if number is None:
            if not rows:
                return None
            raise _bad_row(path, row, f"{line[:80]!r} is no name of a validation image and a number")
        if not _DIGITS.fullmatch(label) or int(label) >= NUM_CLASSES:
            raise _bad_row(path, row, f"{label[:20]!r} is no number from 0 to 999")
        _put(labels, number, int(label), path, row)
        rows += 1
    return Truth(str(path), labels) if rows else None


def _kaggle(path: Path) -> Truth:
    """Kaggle's LOC_val_solution.csv: the first word of PredictionString is the id of a synset."""
    labels, places = _unknown(), wnid_places()
    for row, line in _lines(path):
        name, _, boxes = line.partition(",")
        if row == 1 and name == "ImageId":
            continue
        number, wnid = val_number(name), boxes.partition(" ")[0]
        if number is None or wnid not in places:
            raise _bad_row(path, row, f"{line[:80]!r} is no validation image and the id of one of its classes")
        _put(labels, number, places[wnid], path, row)
    return Truth(str(path), labels)


def _ground_truth(path: Path) -> Truth:
    """The development kit's list of ILSVRC2012_ID, 1 to 1,000: neither the order of the ids nor that of any model."""
    table = path.with_name("meta.mat")
    if not table.is_file():
        raise DataError(
            "meta.mat is missing, which tells what the numbers of the ground truth mean",
            where=str(table),
            remedy="put meta.mat of ILSVRC2012_devkit_t12.tar.gz beside it, or give the labels as val.txt",
        )
    place_of = _places_by_id(table)
    lines = list(_lines(path))
    if len(lines) != NUM_VAL:
        raise DataError(f"a ground truth of {len(lines):,} images", where=str(path), why=f"it must have {NUM_VAL:,}")
    labels = _unknown()
    for row, (at, line) in enumerate(lines):
        if not _DIGITS.fullmatch(line) or not 1 <= int(line) <= NUM_CLASSES:
            raise _bad_row(path, at, f"{line[:20]!r} is no number from 1 to 1000")
        labels[row] = place_of[int(line) - 1]
    return Truth(str(path), labels)


def _places_by_id(path: Path) -> Int[np.ndarray, " Y"]:
    """Place among the sorted classes of each ILSVRC2012_ID from 1 on."""
    places = np.full(NUM_CLASSES, -1, np.int64)
    for identity, wnid in table_columns(_content(path), "synsets", ("ILSVRC2012_ID", "WNID"), str(path)):
        if (number := _whole(identity)) is not None and 1 <= number <= NUM_CLASSES:  # above: synsets with others below
            places[number - 1] = wnid_places().get(str(wnid), -1)
    if sorted(places.tolist()) != list(range(NUM_CLASSES)):
        raise DataError(
            "the synsets numbered 1 to 1,000 are not the classes of ILSVRC 2012",
            where=str(path),
            remedy="take meta.mat of ILSVRC2012_devkit_t12.tar.gz",
        )
    return places


def _whole(value: Value) -> int | None:
    if isinstance(value, tuple) and len(value) == 1 and value[0].is_integer():
        return int(value[0])
    return None


def _unknown() -> Int[np.ndarray, " N"]:
    return np.full(NUM_VAL, -1, np.int64)


def _put(labels: Int[np.ndarray, " N"], number: int, label: int, path: Path, row: int) -> None:
    if labels[number - 1] not in (-1, label):
        raise _bad_row(path, row, f"ILSVRC2012_val_{number:08d} has another label above")
    labels[number - 1] = label


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > _TEXT_LIMIT:
            raise DataError(f"{path.name} is far too large", where=str(path), why=f"more than {_TEXT_LIMIT:,} bytes")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path.name} cannot be read", where=str(path), why=error.strerror) from error


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number, from 1, and text of the lines that are not empty."""
    text = _content(path).decode("utf-8-sig", "replace")
    return ((row, line.strip()) for row, line in enumerate(text.splitlines(), 1) if line.strip())


def _bad_row(path: Path, row: int, why: str) -> DataError:
    return DataError("a row of the labels cannot be understood", where=f"{path}:{row}", why=why)

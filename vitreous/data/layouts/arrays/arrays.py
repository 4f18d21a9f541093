"""Labelled images in NumPy arrays: one .npz, as of Keras and MedMNIST, or a folder with images.npy and labels.npy.

Large arrays stay on the disk: an image is read when it is asked for.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from vitreous.data.imageset import ImageSet, Names, fingerprint
from vitreous.data.layouts.arrays.npy import Stored, stored_in
from vitreous.data.layouts.found import PART_OF, PARTS, Asked, Found
from vitreous.data.layouts.manifests.manifest_labels import Labels
from vitreous.data.layouts.shards.shard_labels import class_names
from vitreous.data.words import some
from vitreous.errors import DataError

_IMAGES = frozenset({"x", "images", "image", "imgs", "img", "pixels", "data"})
_LABELS = frozenset({"y", "labels", "label", "targets", "target"})
_CLASSES = frozenset({"classes", "class_names", "classnames", "label_names"})
_AT_A_TIME = 1 << 24  # numbers looked at together
_ALL_DIGESTED = 1 << 30  # bytes of pixels that go into a fingerprint whole
_SAMPLE = 4096  # images of a larger array that go into it
_LARGEST = 2.0**53  # no label reaches it; numbers beyond are no longer exact as floating-point ones
_TOLERANCE = 1e-3  # of a sum of shares


@dataclass(frozen=True, eq=False)
class _Pixels:
    """An array of images, and how one of them becomes RGB."""

    array: np.ndarray
    channels_first: bool
    scaled: bool
    """Whether its numbers run from 0 to 1."""

    def read(self, place: int) -> UInt8[np.ndarray, "H W 3"]:
        """One image."""
        image = np.array(self.array[place])
        if self.scaled:
            image = np.rint(image.astype(np.float64) * 255).astype(np.uint8)
        if image.ndim == 2:
            image = image[:, :, None]
        elif self.channels_first:
            image = image.transpose(1, 2, 0)
        if image.shape[2] == 1:
            image = np.repeat(image, 3, axis=2)
        image = np.ascontiguousarray(image)
        image.flags.writeable = False
        return image

    @property
    def digest(self) -> str:
        """SHA-256 in hex of all numbers, of a very large array those of some thousand images."""
        content = hashlib.sha256(f"{self.array.shape} {self.array.dtype.str}".encode())
        if self.array.nbytes > _ALL_DIGESTED:
            places = np.linspace(0, len(self.array) - 1, _SAMPLE).astype(np.int64)
            for place in places.tolist():
                content.update(np.ascontiguousarray(self.array[place]).data)
        else:
            for chunk in _chunks(self.array):
                content.update(np.ascontiguousarray(chunk).data)
        return content.hexdigest()


def find_arrays(typed: str, asked: Asked) -> Found | None:
    """The images in NumPy arrays, if DATA means some.

    Args:
        typed: an .npz with x and y, images and labels, or these with train, val and test before or behind; or a folder
            with .npy files of such names.
        asked: not needed.

    Raises:
        DataError: arrays are missing, damaged, or not uint8 images with their labels.
    """
    del asked
    path = Path(typed).expanduser()
    if path.is_file() and path.suffix.lower() == ".npy":
        raise DataError(
            "this file holds one array, images without labels or labels without images",
            where=typed,
            remedy="give a folder with images.npy and labels.npy in it",
        )
    if path.is_file() and path.suffix.lower() == ".npz":
        stored = stored_in(path)
    elif path.is_dir() and (files := sorted(each for each in path.glob("*.npy") if not each.name.startswith("."))):
        if not any(_meaning(each.stem) for each in files):
            return None
        stored = {each.stem: stored_in(each)[each.stem] for each in files}
    else:
        return None
    pairs, notes = _pairs(stored, typed)
    known = _known(stored, path if path.is_dir() else path.parent)
    pixels = {part: _pixels(images, notes) for part, (images, _) in pairs.items()}
    labels = _labels({part: each for part, (_, each) in pairs.items()}, pixels, known)
    sets = {part: _as_set(typed, part, pixels[part], labels[part], known) for part in pairs}
    notes[:0] = [f"{images.name}: {len(images):,} images of {_size(pixels[part])}" for part, images in sets.items()]
    return Found(typed, sets, notes)


def _meaning(key: str) -> tuple[str, bool] | None:
    """The part that an array belongs to, and whether it holds images; None where its name says neither."""
    words = re.split(r"[_\-. ]+", key.casefold())
    what = [word for word in words if word in _IMAGES | _LABELS]
    parts = [PART_OF[word] for word in words if word in PART_OF]
    if len(what) != 1 or len(what) + len(parts) != len(words) or len(parts) > 1:
        return None
    return (parts[0] if parts else "all"), what[0] in _IMAGES


def _pairs(stored: dict[str, Stored], typed: str) -> tuple[dict[str, tuple[Stored, Stored]], list[str]]:
    """The images and labels of each part, and what was left out."""
    found: dict[tuple[str, bool], Stored] = {}
    left_out = []
    for key, each in stored.items():
        if (meaning := _meaning(key)) is None:
            if key.casefold() not in _CLASSES:
                left_out.append(key)
        elif meaning in found:
            raise DataError(f"both {found[meaning].key} and {key} could be the same", where=typed, remedy="keep one")
        else:
            found[meaning] = each
    parts = [part for part in PARTS if (part, True) in found]
    unlabelled = [part for part in parts if (part, False) not in found]
    if not parts or [part for part in unlabelled if part != "test"]:
        raise DataError(
            "there are no images with labels in the arrays",
            where=typed,
            why=f"there are {some(stored, 10)}" if stored else "there are no arrays",
            remedy="call them images and labels, or x_train, y_train, x_test, y_test",
        )
    if "all" in parts and len(parts) > 1:
        raise DataError(f"beside {found['all', True].key} there are {' and '.join(parts[1:])} images", where=typed)
    left_out += [found[part, True].key for part in unlabelled]
    left_out += [each.key for (part, images), each in found.items() if not images and part not in parts]
    notes = [f"left out arrays: {some(left_out)}"] if left_out else []
    return {part: (found[part, True], found[part, False]) for part in parts if part not in unlabelled}, notes


def _known(stored: dict[str, Stored], folder: Path) -> list[str] | None:
    """The names of classes, from an array of texts or a file beside the arrays."""
    for key, each in stored.items():
        if key.casefold() in _CLASSES and each.dtype.kind == "U" and len(each.shape) == 1:
            names = [unicodedata.normalize("NFC", str(name)) for name in each.array()]
            if twice := [name for name, count in Counter(names).items() if count > 1]:
                raise DataError(f"class names come twice: {some(twice)}", where=each.where)
            return names
    return class_names(folder)


def _pixels(stored: Stored, notes: list[str]) -> _Pixels:
    """Images that can be understood in one way only."""
    shape, where = stored.shape, stored.where
    if len(shape) not in (3, 4) or 0 in shape:
        raise _not_images(stored, f"its shape is {shape}")
    last = len(shape) == 3 or shape[3] in (1, 3)
    first = len(shape) == 4 and shape[1] in (1, 3)
    if first and last:
        raise _not_images(stored, f"its shape is {shape}, in which axis 1 or axis 3 may be the colours")
    if not first and not last:
        raise _not_images(stored, f"its shape is {shape}, in which no axis is 1 grey or 3 colours")
    if first:
        notes.append(f"{stored.key}: colours are axis 1, as PyTorch has them")
    array = stored.array()
    if stored.dtype == np.uint8:
        return _Pixels(array, first, scaled=False)
    if stored.dtype.kind != "f":
        raise _not_images(stored, f"its numbers are {stored.dtype}")
    low, high = np.inf, -np.inf
    for chunk in _chunks(array):
        low, high = np.minimum(low, chunk.min()), np.maximum(high, chunk.max())  # what is no number stays so
        if not (low >= 0 and high <= 1):
            raise DataError(
                f"the numbers of the images run from {low:g} to {high:g} and beyond",
                where=where,
                why="floating-point images must lie between 0 and 1",
                remedy="save them as uint8: numpy.rint(images).clip(0, 255).astype('uint8'), if they run from 0 to 255",
            )
    notes.append(f"{stored.key}: {stored.dtype} from {low:g} to {high:g}, of which 0 to 1 becomes 0 to 255")
    return _Pixels(array, first, scaled=True)


def _not_images(stored: Stored, why: str) -> DataError:
    return DataError(
        "this array does not hold images",
        where=stored.where,
        why=why,
        remedy="(number, height, width, 3) or (number, height, width) of uint8",
    )


def _chunks(array: np.ndarray) -> Iterator[np.ndarray]:
    step = max(1, _AT_A_TIME // max(1, array[0].size))
    return (array[start : start + step] for start in range(0, len(array), step))


def _labels(stored: dict[str, Stored], pixels: dict[str, _Pixels], known: Sequence[str] | None) -> dict[str, Labels]:
    """What the labels of all parts say, understood alike in all of them."""
    arrays: dict[str, np.ndarray] = {}
    for part, each in stored.items():
        count = len(pixels[part].array)
        if not each.shape or each.shape[0] != count:
            raise DataError(f"{count:,} images, but labels of shape {each.shape}", where=each.where)
        array = each.array()
        array = array.reshape(count, -1) if each.shape[1:] and max(each.shape[1:]) == 1 else array
        arrays[part] = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
        if arrays[part].ndim > 2:
            raise DataError(f"labels of shape {each.shape}", where=each.where, remedy="(number,) or (number, classes)")
    if len({array.shape[1:] for array in arrays.values()}) > 1:
        raise DataError("the parts have labels of different kinds", where=next(iter(stored.values())).where)
    if next(iter(arrays.values())).ndim == 1:
        return {part: _one_each(array, stored[part].where) for part, array in arrays.items()}
    return _tables(arrays, stored, known)


def _one_each(array: np.ndarray, where: str) -> Labels:
    """One label an image: whole numbers from 0, or texts."""
    if array.dtype.kind in "uf" and bool((array >= _LARGEST).any()):
        raise DataError(f"a label is {array.max()}", where=where, remedy="save whole numbers from 0, or class names")
    if array.dtype.kind == "f" and bool((array == np.floor(array)).all()):
        array = array.astype(np.int64)
    if array.dtype.kind not in "iubU":
        raise DataError(f"labels are {array.dtype}", where=where, remedy="save whole numbers from 0, or class names")
    if array.dtype.kind != "U":
        array = array.astype(np.int64)
        if array.min() < 0:
            place = int(np.argmax(array < 0))
            raise DataError(f"label {array[place]} of image {place:,} is below 0", where=where)
    values, entries = np.unique(array, return_inverse=True)
    count = len(array)
    return Labels("one", np.arange(1, count + 1), entries, np.ones(count), [str(value) for value in values.tolist()])


def _tables(arrays: dict[str, np.ndarray], stored: dict[str, Stored], known: Sequence[str] | None) -> dict[str, Labels]:
    """A number for each class: one-hot, multi-hot, or shares that sum to one."""
    tables: dict[str, np.ndarray] = {}
    for part, array in arrays.items():
        if array.dtype.kind not in "iubf" or not bool(((array >= 0) & (array <= 1)).all()):
            raise DataError(
                "labels in columns must be numbers from 0 to 1, one for each class", where=stored[part].where
            )
        tables[part] = array.astype(np.float64)
    whole = all(bool(np.isin(table, (0, 1)).all()) for table in tables.values())
    to_one = {part: np.abs(table.sum(axis=1) - 1) <= _TOLERANCE for part, table in tables.items()}
    kind = "one" if whole else "shares"
    if whole and not all(bool(good.all()) for good in to_one.values()):
        kind = "several"
    found = {}
    for part, table in tables.items():
        if kind == "shares" and not to_one[part].all():
            place = int(np.argmin(to_one[part]))
            raise DataError(
                f"the shares of image {place:,} make {table[place].sum():.4g} together, and not 1",
                where=stored[part].where,
            )
        if known is not None and len(known) != table.shape[1]:
            raise DataError(f"{table.shape[1]} columns for {len(known)} classes", where=stored[part].where)
        rows, entries = np.nonzero(table)
        texts = [str(number) for number in range(table.shape[1])]
        ends = np.cumsum(np.bincount(rows, minlength=len(table)))
        found[part] = Labels(kind, ends, entries, table[rows, entries], texts, ordered=known is None)
    return found


def _as_set(typed: str, part: str, pixels: _Pixels, labels: Labels, known: Sequence[str] | None) -> ImageSet:
    count = len(pixels.array)
    name = typed if part == "all" else f"{typed} ({part})"
    places: Int[np.ndarray, " N"] = np.arange(count)
    classes, numbers, targets = labels.of(places, known, name)
    more = () if targets is None else (targets.digest,)
    kind = (pixels.channels_first, pixels.scaled)
    return ImageSet(
        name=name,
        classes=classes,
        ids=Names(count, lambda place: f"{typed}/{part}/{place:05d}"),
        keys=Names(count, lambda place: f"{part}/{place:05d}"),
        labels=numbers,
        read=pixels.read,
        fingerprint=fingerprint(list(classes), numbers.tolist(), pixels.digest, kind, *more),
        in_memory=True,
        targets=targets,
    )


def _size(pixels: _Pixels) -> str:
    """Height and width, in words."""
    shape = pixels.array.shape
    height, width = (shape[2], shape[3]) if pixels.channels_first else (shape[1], shape[2])
    return f"{height} x {width} pixels"

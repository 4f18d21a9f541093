"""SVHN's cropped numerals, from its two MATLAB files.

X is (32, 32, 3, N), so that in MATLAB's order the bytes of one image lie together; y is (N, 1), and a nought is a 10.
A key is the number of an image in its file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from vitreous.data.imageset import ImageSet
from vitreous.data.layouts.imagenet.matlab import numeric_arrays
from vitreous.data.vtab.parts import Parts
from vitreous.data.vtab.sources.whole import folders, some_pixels, stored_set, whole
from vitreous.errors import DataError
from vitreous.published.vtab import VtabTask

_FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}


def open_svhn(root: Path, task: VtabTask) -> Parts | None:
    """The ten numerals. Where the files are compressed, as they are published, 305 MB are held in memory.

    Args:
        root: the folder of data sets.
        task: svhn.

    Raises:
        DataError: a file is missing or damaged.
    """
    for folder in folders(root, task, "SVHN", "svhn_cropped"):
        there = [name for name in _FILES.values() if (folder / name).is_file()]
        if not there:
            continue
        if len(there) == 1:
            lacking = next(name for name in _FILES.values() if name not in there)
            raise DataError(f"{lacking} is missing beside {there[0]}", where=str(folder), remedy="fetch it too")
        splits = {split: _split(folder / name, f"svhn/{split}") for split, name in _FILES.items()}
        keys = {split: range(len(images)) for split, images in splits.items()}
        return whole(task, splits, keys, f"raw files in {folder}")
    return None


def _split(path: Path, name: str) -> ImageSet:
    arrays = numeric_arrays(path, ("X", "y"))
    pixels, numerals = arrays["X"], arrays["y"].reshape(-1).astype(np.int64)
    if pixels.dtype != np.uint8 or pixels.shape != (32, 32, 3, len(numerals)):
        raise DataError(
            f"X is {pixels.dtype} of {pixels.shape}, beside {len(numerals):,} labels",
            where=str(path),
            why="it must be bytes of (32, 32, 3, N)",
            remedy="fetch train_32x32.mat and test_32x32.mat again",
        )
    if not (1 <= numerals.min() and numerals.max() <= 10):
        raise DataError(
            f"labels go from {numerals.min()} to {numerals.max()}", where=str(path), why="1 to 10 are right"
        )

    def read(index: int) -> UInt8[np.ndarray, "H W 3"]:
        return np.ascontiguousarray(pixels[..., index])

    seen = some_pixels(np.moveaxis(pixels, -1, 0))
    return stored_set(name, tuple("0123456789"), numerals % 10, read, identity=[seen], mirror_safe=False)

"""PatchCamelyon: patches of lymph nodes, from its six HDF5 files; an image is read when it is asked for.

Key: train_0, valid_0, test_0 and so on. https://github.com/basveeling/pcam
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from vitreous.data.imageset import ImageSet, Names
from vitreous.data.vtab.parts import Parts
from vitreous.data.vtab.sources.hdf5 import dataset, opened_hdf5
from vitreous.data.vtab.sources.whole import folders, stored_set, whole
from vitreous.errors import DataError, ImageError
from vitreous.published.vtab import VtabTask

_SPLITS = {"train": "train", "validation": "valid", "test": "test"}
_CLASSES = ("no tumour in the middle", "tumour in the middle")
_MOST = 10**7  # images


def open_patch_camelyon(root: Path, task: VtabTask) -> Parts | None:
    """Patches with and without tumour in the middle.

    Args:
        root: the folder of data sets.
        task: camelyon.

    Raises:
        DataError: a file is missing, damaged, or packed still.
        UsageError: the package h5py is not installed.
    """
    names = [_name(part, what) for part in _SPLITS.values() for what in "xy"]
    for folder in folders(root, task, "pcam", "pcamv1", "patch_camelyon"):
        lacking = [name for name in names if not (folder / name).is_file()]
        packed = [name for name in lacking if (folder / f"{name}.gz").is_file()]
        if len(lacking) == len(names) and not packed:
            continue
        if packed:
            raise DataError(
                f"{packed[0]}.gz is packed still",
                where=str(folder),
                why="single images are read out of the file, which gzip does not allow",
                remedy=f"gunzip {folder}/camelyonpatch_level_2_split_*.h5.gz",
            )
        if lacking:
            raise DataError(f"{lacking[0]} is missing", where=str(folder), remedy="fetch all six files")
        splits = {split: _split(folder, part) for split, part in _SPLITS.items()}
        keys = {split: _keys(part, len(splits[split])) for split, part in _SPLITS.items()}
        return whole(task, splits, keys, f"raw files in {folder}")
    return None


def _name(part: str, what: str) -> str:
    return f"camelyonpatch_level_2_split_{part}_{what}.h5"


def _keys(part: str, count: int) -> Names:
    return Names(count, lambda place: f"{part}_{place}")


def _split(folder: Path, part: str) -> ImageSet:
    path, labels_path = folder / _name(part, "x"), folder / _name(part, "y")
    pixels: Any = dataset(opened_hdf5(path), "x", path)
    if pixels.dtype != np.uint8 or pixels.shape[1:] != (96, 96, 3) or not 0 < len(pixels) <= _MOST:
        raise _strange(path, f"x is {pixels.dtype} of {pixels.shape}, where bytes of (N, 96, 96, 3) are right")
    stored: Any = dataset(opened_hdf5(labels_path), "y", labels_path)
    if stored.shape != (len(pixels), 1, 1, 1) or stored.dtype.kind not in "iub":
        raise _strange(labels_path, f"y is {stored.dtype} of {stored.shape}, beside {len(pixels):,} images")
    try:
        labels = np.asarray(stored).reshape(-1).astype(np.int64)
    except (OSError, RuntimeError) as error:
        raise _strange(labels_path, str(error)) from error
    if labels.min() < 0 or labels.max() > 1:
        raise _strange(labels_path, f"labels go from {labels.min()} to {labels.max()}, where 0 and 1 are right")

    def read(index: int) -> UInt8[np.ndarray, "H W 3"]:
        try:
            return np.asarray(pixels[index])
        except (OSError, RuntimeError) as error:
            raise ImageError("the image is damaged", where=f"{path}, x[{index}]", why=str(error)) from error

    return stored_set(f"camelyon/{part}", _CLASSES, labels, read, identity=[path.stat().st_size])


def _strange(path: Path, why: str) -> DataError:
    return DataError("this is no whole file of PatchCamelyon's", where=str(path), why=why, remedy="fetch it again")

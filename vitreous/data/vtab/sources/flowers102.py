"""Oxford's 102 flowers, by imagelabels.mat and setid.mat. Key: image_00001.jpg.

VTAB trains on the 1,020 images of trnid and tests on the 6,149 of tstid (some papers exchange the two).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Int

from vitreous.data.layouts.imagenet.matlab import numeric_arrays
from vitreous.data.vtab.parts import Parts
from vitreous.data.vtab.sources.whole import file_set, folders, whole
from vitreous.errors import DataError
from vitreous.published.vtab import VtabTask

_SPLITS = {"train": "trnid", "validation": "valid", "test": "tstid"}


def open_flowers102(root: Path, task: VtabTask) -> Parts | None:
    """The 102 flowers, numbered as their authors number them; the files tell no names.

    Args:
        root: the folder of data sets.
        task: flowers102.

    Raises:
        DataError: files are missing or damaged.
    """
    for folder in folders(root, task, "102flowers", "flowers-102", "flowers102", "oxford-102-flowers"):
        lists = folder / "setid.mat"
        if not lists.is_file():
            continue
        if not (folder / "imagelabels.mat").is_file():
            raise DataError("imagelabels.mat is missing beside setid.mat", where=str(folder), remedy="fetch it too")
        all_labels = _whole_numbers(folder / "imagelabels.mat", ("labels",), task.classes)["labels"]
        chosen = _whole_numbers(lists, tuple(_SPLITS.values()), len(all_labels))
        classes = [f"flower {number}" for number in range(1, task.classes + 1)]
        splits, keys = {}, {}
        for split, name in _SPLITS.items():
            keys[split] = [f"image_{number:05d}.jpg" for number in chosen[name].tolist()]
            labels = (all_labels[chosen[name] - 1] - 1).tolist()
            splits[split] = file_set(f"flowers102/{split}", classes, folder / "jpg", keys[split], labels)
        return whole(task, splits, keys, f"raw files in {folder}")
    return None


def _whole_numbers(path: Path, names: tuple[str, ...], most: int) -> dict[str, Int[np.ndarray, " n"]]:
    """Lists of numbers from 1 on."""
    found = {}
    for name, array in numeric_arrays(path, names).items():
        numbers = array.reshape(-1)
        if not len(numbers) or not ((numbers >= 1) & (numbers <= most) & (numbers == np.floor(numbers))).all():
            raise DataError(
                f"{name} is no list of whole numbers from 1 to {most:,}", where=str(path), remedy="fetch it again"
            )
        found[name] = numbers.astype(np.int64)
    return found

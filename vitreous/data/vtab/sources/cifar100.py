"""CIFAR-100 as its makers give it, in pickles (read without running them) or plain bytes.

A key is the number of an image in its file; both forms have the same order.
"""

from __future__ import annotations

from pathlib import Path

from vitreous.data.layouts.arrays.cifar import find_cifar
from vitreous.data.layouts.found import Asked
from vitreous.data.vtab.parts import Parts
from vitreous.data.vtab.sources.whole import folders, whole
from vitreous.published.vtab import VtabTask

_NAMES = ("meta", "fine_label_names.txt")


def open_cifar100(root: Path, task: VtabTask) -> Parts | None:
    """The 100 fine classes, from the folder cifar-100-python or cifar-100-binary.

    Args:
        root: the folder of data sets.
        task: cifar100.

    Raises:
        DataError: files are missing or damaged.
    """
    for folder in folders(root, task, "cifar-100-python", "cifar-100-binary"):
        if not any((folder / name).is_file() for name in _NAMES):
            continue  # CIFAR-10's names lie elsewhere
        if (found := find_cifar(str(folder), Asked())) is None:
            continue
        splits = {name: found.sets[name] for name in ("train", "test")}
        keys = {name: range(len(images)) for name, images in splits.items()}
        return whole(task, splits, keys, f"raw files in {folder}")
    return None

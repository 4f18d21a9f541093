"""VTAB-1k as folders of text lists: `images/train800/000000.jpg 17` a line, in train800.txt, val200.txt and test.txt.

So NOAH's get_vtab1k.py writes them, and PETL-ViT, SSF and others hand them on. They hold the 1,000 published images and
all test images, each saved once more as JPEG; the whole training parts are not in them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vitreous.data.imageset import ImageSet
from vitreous.data.layouts.manifests.lists import list_set, read_list
from vitreous.data.layouts.shards.shard_labels import class_names
from vitreous.data.vtab.folders import folders_of
from vitreous.data.vtab.parts import Parts
from vitreous.errors import DataError
from vitreous.published.vtab import VtabTask

_TRAIN, _VAL, _BOTH, _TEST = "train800.txt", "val200.txt", "train800val200.txt", "test.txt"
_NUM_TRAIN, _NUM_VAL = 800, 200
_LOSSLESS = {"cifar100", "svhn", "camelyon", "clevr_count", "clevr_dist", "dsprites_loc", "dsprites_ori", "kitti"}
_LOSSLESS |= {"smallnorb_azi", "smallnorb_ele"}  # tasks whose original images are no JPEG


def list_folders(root: Path, task: VtabTask) -> list[Path]:
    """The folders of a task that hold VTAB-1k's lists.

    Args:
        root: where the folders of tasks lie, or one of them.
        task: which.
    """
    lists = (_TRAIN, _VAL, _BOTH)
    return [folder for folder in folders_of(root, task) if any((folder / name).is_file() for name in lists)]


def open_lists(folder: Path, task: VtabTask) -> Parts:
    """The 800, the 200 and the test images that a task's lists name.

    How many classes there are is known from the task: among 1,000 images some have none. They are called by their
    numbers unless classnames.txt, classes.txt or classes.json lies there.

    Args:
        folder: as `list_folders` finds it.
        task: which.

    Raises:
        DataError: a list or images are missing, or labels go beyond the task's classes.
    """
    known = class_names(folder)
    classes = tuple(known or map(str, range(task.classes)))
    if len(classes) != task.classes:
        raise DataError(
            f"{len(classes)} classes are named, and {task.title} has {task.classes}",
            where=str(folder),
            remedy="name all classes, one a line, or none",
        )
    notes = []
    if (folder / _TRAIN).is_file():
        train, val = (_read(folder, name, task, classes) for name in (_TRAIN, _VAL))
    else:
        both = _read(folder, _BOTH, task, classes)
        train = both.subset(range(min(_NUM_TRAIN, len(both))), f"{task.name} (train)")
        val = both.subset(range(len(train), len(both)), f"{task.name} (val)")
        notes.append(f"{_BOTH}: its first {len(train):,} images are taken to learn from, the others to choose by")
    test = _read(folder, _TEST, task, classes)
    if task.name in _LOSSLESS and len(test) and test.keys[0].lower().endswith((".jpg", ".jpeg")):
        notes.append(
            f"{task.title}: these images were saved once more, as JPEG; scores may differ a little from those on the"
            " original files"
        )
    exact = True
    for part, images, published in (("train", train, _NUM_TRAIN), ("val", val, _NUM_VAL), ("test", test, task.test)):
        if len(images) != published:
            notes.append(f"{task.title}: {len(images):,} images in {part}, where {published:,} are published")
            exact = False
    return Parts(train, val, test, source=f"lists in {folder}", exact=exact, notes=tuple(notes))


def _read(folder: Path, name: str, task: VtabTask, classes: tuple[str, ...]) -> ImageSet:
    """The images of one list."""
    path = folder / name
    if not path.is_file():
        raise DataError(
            f"{name} is missing", where=str(folder), remedy=f"a folder of VTAB-1k holds {_TRAIN}, {_VAL} and {_TEST}"
        )
    names, labels = read_list(path)
    if len(strange := np.unique(labels[labels >= task.classes])):
        raise DataError(
            f"labels go up to {strange[-1]}, and {task.title} has {task.classes} classes, from 0 to {task.classes - 1}",
            where=str(path),
            remedy=f"is this the folder of another task? {task.title} is {task.builder} in TensorFlow Datasets",
        )
    part = {_TRAIN: "train", _VAL: "val", _TEST: "test"}.get(name, "trainval")
    return list_set(f"{task.name} ({part})", path, names, labels, classes)

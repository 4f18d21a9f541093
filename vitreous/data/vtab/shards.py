"""VTAB's tasks as tar shards, as CLIP_benchmark publishes them at huggingface.co/datasets/clip-benchmark.

A data set is a folder with train and test in it, each with tar files and nshards.txt, and classnames.txt above them.
Its train is VTAB's train part; the validation part is in none. So VTAB-1k's 1,000 images cannot be had from it: the
first 1,000 of train stand for them.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from jaxtyping import Int

from vitreous.data.imageset import ImageSet, fingerprint
from vitreous.data.layouts.shards.shard_labels import class_names
from vitreous.data.layouts.shards.shards import find_shards, shard_set
from vitreous.data.vtab.dsprites import binned
from vitreous.data.vtab.folders import folders_of
from vitreous.data.vtab.parts import Parts
from vitreous.errors import DataError
from vitreous.published.vtab import VtabTask

_NUM_TRAIN, _NUM_VAL = 800, 200
_UNBINNED = {
    "dsprites_loc": 32,
    "dsprites_ori": 40,
}  # positions and orientations that VTAB takes together to 16 classes


def shard_folders(root: Path, task: VtabTask, *, needed: bool) -> list[Path]:
    """The folders of a task that hold tar shards, those to test with at least.

    Args:
        root: where the data sets lie, or one of them.
        task: which.
        needed: whether a folder in which shards cannot be told apart stops everything; it is no such folder otherwise.

    Raises:
        DataError: two folders could be the same part of one data set, or shards lie beside other things.
    """
    found = []
    for folder in folders_of(root, task):
        try:
            found += [folder] if "test" in find_shards(str(folder)) else []
        except DataError:
            if needed:
                raise
    return found


def open_shards(folder: Path, task: VtabTask) -> Parts | None:
    """The first 800 images in the shards of train, the 200 behind them, and those of test; None without train.

    Args:
        folder: as `shard_folders` finds it.
        task: which.

    Raises:
        DataError: shards are missing or damaged, hold fewer than 1,000 images to train on, or labels go beyond the
            task's classes.
    """
    shards = find_shards(str(folder))
    if "train" not in shards:
        return None
    for paths in shards.values():
        _check_number(paths)
    named = class_names(folder)
    read, notes = {}, []
    for part in ("train", "test"):
        read[part], said = shard_set(shards[part], f"{task.name} ({part})", None)
        notes += said
    original = _classes_there(task, named, read)
    sets = {part: _labelled(images, task, named, original) for part, images in read.items()}
    train, first = sets["train"], _NUM_TRAIN + _NUM_VAL
    if len(train) < first:
        raise DataError(
            f"there are {len(train):,} images to train on, and VTAB-1k takes {first:,}",
            where=str(folder),
            why=f"{task.title} has {task.train:,}",
            remedy="fetch all shards of train",
        )
    notes.append(
        f"{task.title}: tar shards lack the {task.val:,} images of the validation part and may keep another order, so"
        f" the first {first:,} of their {len(train):,} training images stand for the {first:,} that VTAB-1k trains on"
    )
    if task.name == "sun397":
        notes.append(
            f"{task.title}: these shards are divided otherwise than VTAB's data, so the test images differ too"
        )
    if original != task.classes:
        notes.append(f"{task.title}: {original} classes in the shards are taken together to VTAB's {task.classes}")
    notes += _size_notes(task, sets)
    return Parts(
        train=train.subset(range(_NUM_TRAIN)),
        val=train.subset(range(_NUM_TRAIN, first), f"{task.name} (val)"),
        test=sets["test"],
        source=f"tar shards in {folder}",
        exact=False,
        notes=tuple(notes),
    )


def _check_number(paths: list[Path]) -> None:
    """Refuse a folder with fewer shards than its nshards.txt says."""
    counted = paths[0].parent / "nshards.txt"
    try:
        number = int(counted.read_text(encoding="ascii"))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise DataError("the number of shards cannot be read", where=str(counted), why=str(error)) from error
    if number != len(paths):
        raise DataError(
            f"there are {len(paths):,} of {number:,} shards", where=str(counted.parent), remedy="fetch the others"
        )


def _numbers(images: ImageSet, named: list[str] | None) -> Int[np.ndarray, " Y"]:
    """For each class that was met in shards, the number that it stands for."""
    places = {name: place for place, name in enumerate(named or ())}
    meant = [int(name) if name.isdecimal() else places.get(name, -1) for name in images.classes]
    if -1 in meant:
        strange = images.classes[meant.index(-1)]
        raise DataError(f"no class is called {strange}", where=images.name, why="labels in shards of VTAB are numbers")
    return np.array(meant, np.int64)


def _classes_there(task: VtabTask, named: list[str] | None, read: dict[str, ImageSet]) -> int:
    """How many classes the labels in the shards tell apart: the task's number, or dSprites' own."""
    most = max(int(_numbers(images, named).max()) for images in read.values()) + 1
    unbinned = _UNBINNED.get(task.name, task.classes)
    original = unbinned if most > task.classes or (named and len(named) == unbinned) else task.classes
    if most > original or (named and len(named) not in (original, task.classes)):
        raise DataError(
            f"there are {max(most, len(named or ()))} classes, and {task.title} has {original}",
            where=next(iter(read.values())).name,
            remedy=f"is this another data set? {task.title} is huggingface.co/datasets/clip-benchmark/{task.shards}",
        )
    return original


def _labelled(images: ImageSet, task: VtabTask, named: list[str] | None, original: int) -> ImageSet:
    """The same images with the task's labels and all of its classes."""
    table = _numbers(images, named)
    classes = tuple(named) if named and len(named) == task.classes else tuple(map(str, range(task.classes)))
    if original != task.classes:
        table, classes = binned(table, task)
    return dataclasses.replace(
        images,
        classes=classes,
        labels=table[images.labels],
        fingerprint=fingerprint(images.fingerprint, classes, table.tolist()),
    )


def _size_notes(task: VtabTask, sets: dict[str, ImageSet]) -> list[str]:
    """What is said where there are other numbers of images than published."""
    published = {"train": task.train, "test": task.test}
    return [
        f"{task.title}: {len(images):,} images in {part}, where {published[part]:,} are published"
        for part, images in sets.items()
        if len(images) != published[part]
    ]

"""Which source below a folder holds the images of a VTAB task, and what to do where none does."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from vitreous.data.imageset import ImageSet
from vitreous.data.vtab.dsprites import regenerated
from vitreous.data.vtab.lists import list_folders, open_lists
from vitreous.data.vtab.parts import Parts, together
from vitreous.data.vtab.shards import open_shards, shard_folders
from vitreous.data.vtab.sources.cifar100 import open_cifar100
from vitreous.data.vtab.sources.class_folders import open_caltech101, open_eurosat, open_resisc45
from vitreous.data.vtab.sources.clevr import open_clevr
from vitreous.data.vtab.sources.dmlab import open_dmlab
from vitreous.data.vtab.sources.dsprites import open_dsprites
from vitreous.data.vtab.sources.dtd import open_dtd
from vitreous.data.vtab.sources.flowers102 import open_flowers102
from vitreous.data.vtab.sources.kitti import open_kitti
from vitreous.data.vtab.sources.patch_camelyon import open_patch_camelyon
from vitreous.data.vtab.sources.pets import open_pets
from vitreous.data.vtab.sources.retinopathy import open_retinopathy
from vitreous.data.vtab.sources.smallnorb import open_smallnorb
from vitreous.data.vtab.sources.sun397 import open_sun397
from vitreous.data.vtab.sources.svhn import open_svhn
from vitreous.data.vtab.where import looked_for, remedy
from vitreous.data.words import some
from vitreous.errors import DataError
from vitreous.published.vtab import VtabTask

Protocol: TypeAlias = Literal["1k", "full"]
"""VTAB-1k learns from 800 images, chooses by 200 and learns again from both; full does the same with whole parts."""

Opener: TypeAlias = Callable[[Path, VtabTask], Parts | None]
"""Gives the whole parts of a task from below a folder; None where its files are not there."""

_RAW: dict[str, tuple[Opener, ...]] = {
    "caltech101": (open_caltech101,),
    "cifar100": (open_cifar100,),
    "dtd": (open_dtd,),
    "flowers102": (open_flowers102,),
    "pets": (open_pets,),
    "sun397": (open_sun397,),
    "svhn": (open_svhn,),
    "camelyon": (open_patch_camelyon,),
    "eurosat": (open_eurosat,),
    "resisc45": (open_resisc45,),
    "retinopathy": (open_retinopathy,),
    "clevr_count": (open_clevr,),
    "clevr_dist": (open_clevr,),
    "dmlab": (open_dmlab,),
    "dsprites_loc": (open_dsprites,),
    "dsprites_ori": (open_dsprites,),
    "kitti": (open_kitti,),
    "smallnorb_azi": (open_smallnorb,),
    "smallnorb_ele": (open_smallnorb,),
}
"""What reads the original files of each task; the first that finds them counts."""

_DRAWN: dict[str, Callable[[VtabTask], Parts]] = {"dsprites_loc": regenerated, "dsprites_ori": regenerated}
"""What draws the images of a task anew, where no files are there."""

TRAIN_1K, VAL_1K = 800, 200

_NOT_IN_A_MIRROR = {"svhn", "dsprites_loc", "dsprites_ori", "smallnorb_azi"}  # tasks whose classes a mirror changes


@dataclass(frozen=True, eq=False)
class TaskData:
    """The images of one task under one protocol."""

    task: VtabTask
    train: ImageSet
    """To learn from while settings are chosen."""
    val: ImageSet
    """To choose settings by."""
    trainval: ImageSet
    """Both, to learn from once the settings are chosen."""
    test: ImageSet
    """All test images, to be scored once."""
    source: str
    """Where the images come from, in words for people."""
    regenerated: bool
    """Whether they are drawn anew, not read from the published files."""
    exact: bool
    """Whether they are the published ones; where not, `notes` says why."""
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Missing:
    """A task whose images are nowhere to be found."""

    task: VtabTask
    looked: tuple[str, ...]
    """What was looked for, one phrase each."""
    remedy: str
    """Where to get the images, and where to put them."""


def open_task(task: VtabTask, root: Path | None, *, protocol: Protocol = "1k") -> TaskData | Missing:
    """The images of a task, from the first source below a folder that has them.

    Lists of VTAB-1k are asked first, then original files, then tar shards; the two tasks of dSprites are drawn anew
    where nothing is there. Lists and tar shards lack some of what the full protocol trains on, so they are not read
    for it.

    Args:
        task: which.
        root: the folder of data sets; None for what can be drawn.
        protocol: which images to learn from: 800 and 200, or all.

    Raises:
        DataError: there is no such folder; or files are there, and they are damaged or not what they should be.
        UsageError: a package that reads these files is not installed.
    """
    if root is not None and not root.is_dir():
        raise DataError("there is no such folder", where=str(root), remedy="--root names the folder of data sets")
    full, besides = protocol == "full", list[str]()
    if root is not None and (parts := _from_files(task, root, besides, full=full)) is not None:
        return _divided(task, parts, protocol)
    if (draw := _DRAWN.get(task.name)) is not None:
        return _divided(task, draw(task), protocol)
    looked = looked_for(task, root, full=full) if root is not None else ()
    return Missing(task, (*looked, *besides), remedy(task, root, full=full))


def _from_files(task: VtabTask, root: Path, besides: list[str], *, full: bool) -> Parts | None:
    """The parts of a task from the first source that has them; to `besides` comes what is there and does not serve."""
    lists = list_folders(root, task)
    if lists and not full:
        return _chosen(task, open_lists(lists[0], task), lists[1:] + shard_folders(root, task, needed=False))
    for opener in _RAW[task.name]:
        if (parts := opener(root, task)) is not None:
            return _chosen(task, parts, lists + shard_folders(root, task, needed=False))
    shards = shard_folders(root, task, needed=not full)
    for folder in shards if not full else ():
        if (parts := open_shards(folder, task)) is not None:
            return _chosen(task, parts, [each for each in shards if each != folder])
        besides.append(f"{folder} has tar shards to test with, and none to train on")
    if full:
        besides += [f"{folder} has lists of VTAB-1k, which name 1,000 images to train on" for folder in lists]
        besides += [f"{folder} has tar shards, which lack the images of the validation part" for folder in shards]
    return None


def _chosen(task: VtabTask, parts: Parts, others: Sequence[Path]) -> Parts:
    """Parts that say which other sources were left aside."""
    if not others:
        return parts
    said = f"{task.title}: read from {parts.source}; {some(map(str, others))} could be read too, and was not"
    return dataclasses.replace(parts, notes=(*parts.notes, said))


def _divided(task: VtabTask, parts: Parts, protocol: Protocol) -> TaskData:
    """Whole parts cut to what a protocol learns from."""
    train, val, test = (_mirrored(task, images) for images in (parts.train, parts.val, parts.test))
    assert {len(images.classes) for images in (train, val, test)} == {task.classes}, "the task knows its classes"
    if protocol == "1k":
        train, val = train.subset(range(min(TRAIN_1K, len(train)))), val.subset(range(min(VAL_1K, len(val))))
    return TaskData(
        task=task,
        train=train,
        val=val,
        trainval=together(train, val, f"{task.name} (trainval)"),
        test=test,
        source=parts.source,
        regenerated=parts.regenerated,
        exact=parts.exact,
        notes=parts.notes,
    )


def _mirrored(task: VtabTask, images: ImageSet) -> ImageSet:
    """Images that know whether a mirror changes their class."""
    return dataclasses.replace(images, mirror_safe=images.mirror_safe and task.name not in _NOT_IN_A_MIRROR)

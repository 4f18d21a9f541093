"""Which source below a folder holds the images of a VTAB task, and what to do where none does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from vitreous.data.imageset import ImageSet
from vitreous.data.vtab.parts import Parts, together
from vitreous.published.vtab import VtabTask

Protocol: TypeAlias = Literal["1k", "full"]
"""VTAB-1k learns from 800 images, chooses by 200 and learns again from both; full does the same with whole parts."""

Opener: TypeAlias = Callable[[Path, VtabTask], Parts | None]
"""Gives the whole parts of a task from below a folder; None where its files are not there."""

_RAW: dict[str, tuple[Opener, ...]] = {
    "caltech101": (),
    "cifar100": (),
    "dtd": (),
    "flowers102": (),
    "pets": (),
    "sun397": (),
    "svhn": (),
    "camelyon": (),
    "eurosat": (),
    "resisc45": (),
    "retinopathy": (),
    "clevr_count": (),
    "clevr_dist": (),
    "dmlab": (),
    "dsprites_loc": (),
    "dsprites_ori": (),
    "kitti": (),
    "smallnorb_azi": (),
    "smallnorb_ele": (),
}
"""What reads the original files of each task; the first that finds them counts."""

_DRAWN: dict[str, Callable[[VtabTask], Parts]] = {}
"""What draws the images of a task anew, where no files are there."""

TRAIN_1K, VAL_1K = 800, 200


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
    where nothing is there.

    Args:
        task: which.
        root: the folder with the data sets; None for what can be drawn.
        protocol: which images to learn from: 800 and 200, or all.

    Raises:
        DataError: files are there, and they are damaged or not what they should be.
    """
    if root is not None:
        for opener in _RAW[task.name]:
            if (parts := opener(root, task)) is not None:
                return _divided(task, parts, protocol)
    if (draw := _DRAWN.get(task.name)) is not None:
        return _divided(task, draw(task), protocol)
    return Missing(task, (), task.source)


def _divided(task: VtabTask, parts: Parts, protocol: Protocol) -> TaskData:
    """Whole parts cut to what a protocol learns from."""
    train, val = parts.train, parts.val
    if protocol == "1k":
        train, val = train.subset(range(min(TRAIN_1K, len(train)))), val.subset(range(min(VAL_1K, len(val))))
    return TaskData(
        task=task,
        train=train,
        val=val,
        trainval=together(train, val),
        test=parts.test,
        source=parts.source,
        regenerated=parts.regenerated,
        exact=parts.exact,
        notes=parts.notes,
    )

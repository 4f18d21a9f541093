"""From what a person typed as DATA to the images of a training run, divided and without what would spoil it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from vitreous.console import say
from vitreous.data.apart import tidy
from vitreous.data.checking.before_training import inspect
from vitreous.data.checking.readable import places_to_check
from vitreous.data.classes import match_classes
from vitreous.data.imageset import ImageSet as ImageSet
from vitreous.data.imageset import Splits as Splits
from vitreous.data.layouts.found import Asked, Found
from vitreous.data.recognise import recognise
from vitreous.data.split import check_divisible, grouped, hold_out, hold_out_fold
from vitreous.data.words import some
from vitreous.errors import DataError, UsageError

_FOR_EVALUATION = ("test", "val", "train")  # the first there is: from the images that chose least


def open_splits(
    data: str | Path | ImageSet | Splits,
    *,
    val: float,
    seed: int,
    folds: int | None = None,
    fold: int = 1,
    group_by: str | None = None,
    dedupe: bool = False,
    root: str | None = None,
    bad_images: Literal["error", "skip"] = "error",
) -> Splits:
    """The images of a training run, each known to be readable, and what was recognised, in words.

    Args:
        data: whatever `recognise` knows; an image set to split; or splits, which are returned as they are.
        val: share of each class that is held out where there are no val images.
        seed: decides which.
        folds: in place of a share, one of so many equal parts is held out.
        fold: which of them, from 1.
        group_by: images stay together by this column of a manifest, or by what this regular expression matches in
            their keys.
        dedupe: leave out of the train images copies of val and test images; otherwise these stop everything.
        root: where the files of a built-in set lie.
        bad_images: stop at unreadable images, or leave them out.

    Raises:
        DataError: the data cannot be trained on; the message says why and what to do.
        UsageError: a built-in set is not installed, or `root` means nothing here.
    """
    asked_to_divide = [flag for flag, given in (("--folds", folds), ("--group-by", group_by)) if given is not None]
    if isinstance(data, Splits):
        if asked_to_divide:
            raise _divided_already(asked_to_divide, "the splits given")
        return data
    found = recognise(data, Asked(root=root, group_by=group_by, keep_empty=True))
    sets, notes = _parts(found), found.notes
    train = sets["train"]
    _check_trainable(train, listed=found.listed)
    if asked_to_divide and "val" in sets:
        raise _divided_already(asked_to_divide, sets["val"].name)
    if group_by is not None and train.groups is None:
        sets["train"] = train = grouped(train, group_by)
    sets = {part: match_classes(images, train.classes, known_to=train.name) for part, images in sets.items()}
    if "val" not in sets:
        check_divisible(train)
    sets, said, failed = tidy(sets, inspect(sets), found.name, bad_images=bad_images, dedupe=dedupe)
    if said:
        notes += said
        _check_trainable(
            sets["train"],
            listed=found.listed,
            after=f" once {'unreadable images' if failed else 'copies'} are left out",
        )
    notes += [line for images in sets.values() for line in _census(images)]
    notes += [
        f"{images.name}: {len(checked):,} images were read to see whether all can be; training stops at one that cannot"
        for images in sets.values()
        if len(checked := places_to_check(images)) < len(images)
    ]
    if "val" not in sets:
        whole = sets["train"]
        if folds is None:
            sets["train"], sets["val"] = hold_out(whole, val, seed)
        else:
            sets["train"], sets["val"] = hold_out_fold(whole, folds, fold, seed)
        how = f"{val:.0%} of each class" if folds is None else f"fold {fold} of {folds}"
        if train.groups is not None and whole.groups is not None:
            how += f", whole groups of {len(np.unique(whole.groups)):,}"
        elif whole.groups is not None:
            how += ", copies that were found together"
        notes.append(
            f"{whole.name}: {len(sets['train']):,} to learn from, {len(sets['val']):,} held out ({how}, seed {seed})"
        )
    return Splits(sets["train"], sets["val"], sets.get("test"), tuple(notes), failed)


def open_images(data: str | Path | ImageSet | Splits, *, split: str | None = None, root: str | None = None) -> ImageSet:
    """The labelled images to evaluate a model on; where there was a choice, what was taken is said aloud.

    Args:
        data: whatever `recognise` knows; an image set; or splits.
        split: train, val or test; by default the first there is of test, val and train.
        root: where the files of a built-in set lie.

    Raises:
        DataError: there are no such images.
        UsageError: a built-in set is not installed, or `root` means nothing here.
    """
    found = recognise(data, Asked(root=root))
    sets, notes = found.sets, found.notes
    if split is None:
        part = next((part for part in _FOR_EVALUATION if part in sets), "all")
        if part not in ("test", "all"):
            notes.append(f"{found.name}: there is no test part; these are its {part} images")
    elif split in sets:
        part = split
    else:
        raise DataError(
            f"there are no {split} images",
            where=found.name,
            why="it is not divided" if "all" in sets else f"there are {' and '.join(sets)} images",
            remedy="leave out --split" if "all" in sets else f"--split {next(iter(sets))}",
        )
    if notes:
        say(*notes)
    return sets[part]


def _divided_already(asked: list[str], held_out: str) -> UsageError:
    flags = " and ".join(asked)
    return UsageError(
        f"{flags} can only divide images that nobody has divided",
        where=held_out,
        why="these are held out already",
        remedy=f"leave out {flags}, or give the folder of the train images alone",
    )


def _parts(found: Found) -> dict[str, ImageSet]:
    """What was found by train, val and test; what nobody divided is there to learn from."""
    sets = dict(found.sets)
    train = sets.pop("all", None) or sets.get("train")
    if train is None:
        raise DataError(
            f"there are {' and '.join(sets)} images but no train images",
            where=found.name,
            remedy="add shards called train-000.tar and so on"
            if next(iter(sets.values())).shards
            else f"one folder per class in {found.name}/train",
        )
    return {"train": train, **sets}


def _check_trainable(train: ImageSet, *, listed: bool, after: str = "") -> None:
    """Refuse images from which nothing can be learned."""
    empty = [name for name, count in zip(train.classes, train.counts, strict=True) if not count]
    if empty and not listed:
        raise DataError(
            f"no images in {len(empty)} of {len(train.classes)} classes{after}: {some(empty)}",
            where=train.name,
            remedy="add images of these classes" if train.shards else "put images into these folders, or remove them",
        )
    if len(train.classes) < 2:
        only = train.classes[0]
        if train.shards:
            raise DataError(f"every label is {only}", where=train.name, why="a classifier needs two or more classes")
        inside = sorted({key.split("/")[1] for key in train.keys if key.count("/") > 1})
        raise DataError(
            f"there is only one class: {only}",
            where=train.name,
            why="a classifier needs something to tell apart",
            remedy=f"{train.name}/{only}, if the classes are {some(inside)}"
            if len(inside) > 1
            else "one folder per class, two or more",
        )


def _census(images: ImageSet) -> list[str]:
    """How many images of which class, in words."""
    counts = dict(zip(images.classes, images.counts.tolist(), strict=True))
    present = {name: count for name, count in counts.items() if count}
    fewest, most = min(present.values()), max(present.values())
    if fewest == most:
        detail = f"{fewest:,} each"
    elif len(present) <= 10:
        detail = ", ".join(f"{name}: {count:,}" for name, count in present.items())
    else:
        detail = f"{fewest:,} to {most:,} each"
    lines = [f"{images.name}: {len(images):,} images in {len(present):,} classes ({detail})"]
    if lacking := [name for name, count in counts.items() if not count]:
        lines.append(f"{images.name}: no images of {some(lacking)}")
    return lines

"""Which images are held out, decided per class by a seed and each image's own key.

Every image is ranked in its class by SHA-256 of seed and key, so that the choice depends neither on the machine, the
order of listing nor a library's random numbers; and a photo keeps its side when others are added, but for a few at
the border. Images of one group, such as the frames of one film, always come to the same side. An image with several
labels goes by its main one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Int

from vitreous.data.imageset import ImageSet
from vitreous.data.words import some
from vitreous.errors import DataError


def hold_out(images: ImageSet, share: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """The images to learn from, and those held out: `share` of each class, at least one, at most all but one.

    Whole groups are held out as long as that brings each class nearer to its share and leaves some of it to learn from.

    Args:
        images: of which every class has two or more.
        share: between 0 and 1.
        seed: another seed, another choice.

    Raises:
        DataError: a class has one image, which cannot be on both sides; or all images are of one group.
    """
    check_divisible(images)
    wanted = [min(max(int(share * count + 0.5), 1), count - 1) if count else 0 for count in _strata(images).tolist()]
    held, rest = _choose(images, wanted, seed)
    if not len(held):
        raise DataError(
            "no group of images can be held out",
            where=images.name,
            why="each one that could be holds all images of some class",
            remedy="a val folder beside a train folder, or smaller groups",
        )
    return images.subset(rest), images.subset(held, f"{images.name} ({share:.0%} held out)")


def hold_out_fold(images: ImageSet, folds: int, fold: int, seed: int) -> tuple[ImageSet, ImageSet]:
    """The images to learn from, and one of `folds` equal parts that are held out in turn: each image in exactly one.

    Args:
        images: of which every class has two or more.
        folds: 2 or more; at most as many as there are images, or groups.
        fold: 1 to `folds`.
        seed: another seed, other parts.

    Raises:
        DataError: there are more folds than images or groups, or a class would have nothing to learn from.
    """
    check_divisible(images)
    part = _folds_of_groups(images, folds, seed) if images.groups is not None else _folds_of_images(images, folds, seed)
    held = part == fold - 1
    learned = images.subset(np.flatnonzero(~held))
    lost = [
        name
        for name, before, now in zip(images.classes, images.counts, learned.counts, strict=True)
        if before > now == 0
    ]
    if lost or not held.any():
        raise DataError(
            f"fold {fold} of {folds} holds {f'all images of {some(lost)}' if lost else 'no images'}",
            where=images.name,
            why="groups stay together" if images.groups is not None else None,
            remedy="fewer folds",
        )
    return learned, images.subset(np.flatnonzero(held), f"{images.name} (fold {fold} of {folds})")


def check_divisible(images: ImageSet) -> None:
    """Refuse images that cannot be held out per class, before anything slow is done with them.

    Args:
        images: to be split.

    Raises:
        DataError: a class has one image, which cannot be on both sides.
    """
    if images.targets is not None:  # an image with several labels goes by one of them, and others may show it too
        return
    single = [name for name, count in zip(images.classes, images.counts, strict=True) if count == 1]
    if single:
        raise DataError(
            f"only one image in {len(single)} of {len(images.classes)} classes: {some(single)}",
            where=images.name,
            why="it cannot be learned from and held out at the same time",
            remedy="add images of these classes, or a val folder beside a train folder",
        )


def few_per_class(images: ImageSet, count: int, seed: int) -> tuple[ImageSet, ImageSet]:
    """`count` images of each class, and all the others.

    Args:
        images: with `count` or more of each class.
        count: images per class, 1 or more.
        seed: another seed, another choice.

    Raises:
        DataError: a class has too few images.
    """
    short = [name for name, there in zip(images.classes, images.counts, strict=True) if there < count]
    if short:
        raise DataError(
            f"fewer than {count} images in {len(short)} of {len(images.classes)} classes: {some(short)}",
            where=images.name,
            remedy="ask for fewer images per class",
        )
    alone = dataclasses.replace(images, groups=None)  # so many of each are wanted, and not whole groups
    few, others = _choose(alone, [count] * len(images.classes), seed)
    return images.subset(few, f"{images.name} ({count} per class)"), images.subset(others, f"{images.name} (others)")


def grouped(images: ImageSet, pattern: str) -> ImageSet:
    """The same images, those with the same text where a regular expression matches their keys as one group.

    Args:
        images: with keys such as cat/film1_0001.jpg.
        pattern: what it matches, or the groups in parentheses in it, names the group: `film\\d+`. An image that it does
            not match stands alone.

    Raises:
        DataError: it is no regular expression, matches no key, or the same text in all.
    """
    try:
        wanted = re.compile(pattern)
    except re.error as error:
        raise DataError(f"--group-by is no regular expression: {pattern}", why=str(error)) from error
    names: dict[str, int] = {}
    groups = np.empty(len(images), np.int64)
    for place, key in enumerate(images.keys):
        match = wanted.search(key)
        text = "\0".join(part or "" for part in match.groups() or (match[0],)) if match else f"\0\0{key}"
        groups[place] = names.setdefault(text, len(names))
    matched = sum(not name.startswith("\0\0") for name in names)
    if not matched or len(names) < 2:
        raise DataError(
            f"--group-by {pattern} " + ("puts all images into one group" if matched else "matches no image"),
            where=images.name,
            why=f"keys look like {images.keys[0]}" if len(images) else None,
            remedy=r"an expression for what frames of one film share, such as --group-by '(film\d+)_'",
        )
    return dataclasses.replace(images, groups=groups)


def together(images: ImageSet, copies: Sequence[Sequence[int]]) -> ImageSet:
    """The same images, with copies of one picture in one group, and groups that share a picture as one.

    Args:
        images: with or without groups.
        copies: places of images that show the same picture.
    """
    if not copies:
        return images
    groups = np.arange(len(images)) if images.groups is None else images.groups
    names, number = np.unique(groups, return_inverse=True)
    parent = list(range(len(names)))

    def root(group: int) -> int:
        while parent[group] != group:
            group = parent[group] = parent[parent[group]]
        return group

    for places in copies:
        first, *others = (root(group) for group in number[np.asarray(places)].tolist())
        for other in others:
            parent[root(other)] = root(first)
    joined = np.array([root(group) for group in range(len(names))])
    return dataclasses.replace(images, groups=joined[number])


def _strata(images: ImageSet) -> Int[np.ndarray, " Y"]:
    """How many images go by each class."""
    return np.bincount(images.labels, minlength=len(images.classes))


def _choose(
    images: ImageSet, wanted: Sequence[int], seed: int
) -> tuple[Int[np.ndarray, " chosen"], Int[np.ndarray, " others"]]:
    """Places of the `wanted` first images of each class by rank, and of all others, both rising."""
    rank = _ranks(images, seed)
    if images.groups is not None:
        chosen = _whole_groups(images, np.asarray(wanted), rank)
    else:
        chosen = np.zeros(len(images), bool)
        for label, count in enumerate(wanted):
            members = np.flatnonzero(images.labels == label)
            chosen[members[np.argsort(rank[members], kind="stable")[:count]]] = True
    return np.flatnonzero(chosen), np.flatnonzero(~chosen)


def _whole_groups(images: ImageSet, wanted: Int[np.ndarray, " Y"], rank: np.ndarray) -> Bool[np.ndarray, " N"]:
    """The first groups by rank that bring classes nearer to what is wanted and leave some of each.

    With groups of one image each, these are the first images of each class by rank.
    """
    chosen, held, left = np.zeros(len(images), bool), np.zeros(len(wanted), np.int64), _strata(images)
    for members in _groups_by(images, rank):
        labels, counts = np.unique(images.labels[members], return_counts=True)
        there, goal = held[labels], wanted[labels]
        nearer = np.abs(there + counts - goal).sum() < np.abs(there - goal).sum()
        if nearer and (left[labels] > counts).all():
            chosen[members] = True
            held[labels] += counts
            left[labels] -= counts
    return chosen


def _folds_of_images(images: ImageSet, folds: int, seed: int) -> Int[np.ndarray, " N"]:
    """Images dealt out like cards, class after class in the order of their ranks."""
    order = np.lexsort((_ranks(images, seed), images.labels))
    found = np.empty(len(images), np.int64)
    found[order] = np.arange(len(images)) % folds
    return found


def _folds_of_groups(images: ImageSet, folds: int, seed: int) -> Int[np.ndarray, " N"]:
    """Groups, the largest first, each put where its classes are fewest so far, and then where images are."""
    found = np.empty(len(images), np.int64)
    table = np.zeros((folds, len(images.classes)), np.int64)
    for members in sorted(_groups_by(images, _ranks(images, seed)), key=len, reverse=True):
        labels, counts = np.unique(images.labels[members], return_counts=True)
        crowded = table[:, labels] @ counts
        fold = int(np.lexsort((table.sum(axis=1), crowded))[0])
        found[members] = fold
        table[fold, labels] += counts
    return found


def _groups_by(images: ImageSet, rank: np.ndarray) -> Iterator[Int[np.ndarray, " members"]]:
    """The places of each group's images; groups in the order of their first image by rank."""
    assert images.groups is not None
    order = np.argsort(rank, kind="stable")
    _, first, group = np.unique(images.groups[order], return_index=True, return_inverse=True)
    turn = np.argsort(np.argsort(first))[group]  # for each image by rank, which group by first appearance
    by_group = order[np.argsort(turn, kind="stable")]
    yield from np.split(by_group, np.cumsum(np.bincount(turn))[:-1])


def _ranks(images: ImageSet, seed: int) -> np.ndarray:
    begin = f"{seed}:".encode()
    hashes = (hashlib.sha256(begin + key.encode("utf-8", "surrogateescape")).digest() for key in images.keys)
    return np.fromiter((digest[:16] for digest in hashes), "S16", len(images))

"""Which images are held out, decided per class by a seed and each image's own key.

Every image is ranked in its class by SHA-256 of seed and key, so that the choice depends neither on the machine, the
order of listing nor a library's random numbers; and a photo keeps its side when others are added, but for a few at
the border.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from vitreous.data.imageset import ImageSet
from vitreous.data.words import some
from vitreous.errors import DataError


def hold_out(images: ImageSet, share: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """The images to learn from, and those held out: `share` of each class, at least one, at most all but one.

    Args:
        images: of which every class has two or more.
        share: between 0 and 1.
        seed: another seed, another choice.

    Raises:
        DataError: a class has one image, which cannot be on both sides.
    """
    check_divisible(images)
    counts = images.counts.tolist()
    wanted = [min(max(int(share * count + 0.5), 1), count - 1) if count else 0 for count in counts]
    held, rest = _choose(images, wanted, seed)
    return images.subset(rest), images.subset(held, f"{images.name} ({share:.0%} held out)")


def check_divisible(images: ImageSet) -> None:
    """Refuse images that cannot be held out per class, before anything slow is done with them.

    Args:
        images: to be split.

    Raises:
        DataError: a class has one image, which cannot be on both sides.
    """
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
    few, others = _choose(images, [count] * len(images.classes), seed)
    return images.subset(few, f"{images.name} ({count} per class)"), images.subset(others, f"{images.name} (others)")


def _choose(
    images: ImageSet, wanted: Sequence[int], seed: int
) -> tuple[Int[np.ndarray, " chosen"], Int[np.ndarray, " others"]]:
    """Places of the `wanted` first images of each class by rank, and of all others, both rising."""
    rank = np.array([_rank(seed, key) for key in images.keys], dtype="S32")
    chosen = np.zeros(len(images), bool)
    for label, count in enumerate(wanted):
        members = np.flatnonzero(images.labels == label)
        chosen[members[np.argsort(rank[members], kind="stable")[:count]]] = True
    return np.flatnonzero(chosen), np.flatnonzero(~chosen)


def _rank(seed: int, key: str) -> bytes:
    return hashlib.sha256(f"{seed}:{key}".encode("utf-8", "surrogateescape")).hexdigest()[:32].encode()

"""Class names of one set understood in terms of another's: always by name, never by place."""

from __future__ import annotations

import dataclasses
import difflib
import unicodedata
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from vitreous.data.imageset import ImageSet
from vitreous.data.layouts.imagenet.imagenet_labels import NUM_CLASSES, imagenet_places
from vitreous.data.words import some
from vitreous.errors import DataError


def match_classes(images: ImageSet, classes: Sequence[str], *, known_to: str) -> ImageSet:
    """The same images, labelled by places in `classes`.

    A class of `classes` without images is fine; a class with images that is not in `classes` is not. Two spellings of
    one text in Unicode (é as one sign or two) are one name, and so are two of ImageNet's for one class.

    Args:
        images: labelled by their own classes.
        classes: the names that count.
        known_to: whose names they are ("the model", "train"), for the error.

    Raises:
        DataError: images belong to an unknown class; likely misspellings are pointed out.
    """
    own, table = tuple(map(_composed, images.classes)), _table(images.classes, classes)
    unknown = [name for name, place, n in zip(own, table.tolist(), images.counts, strict=True) if n and place < 0]
    if unknown:
        raise DataError(
            f"{images.name} has images of classes that {known_to} does not know: {some(unknown)}",
            why=_resemblance(unknown, classes),
            remedy=f"rename or remove these classes; {known_to} knows {some(classes, 10)}",
        )
    if images.classes == tuple(classes):
        return images
    targets = images.targets and images.targets.renamed(table, len(classes))
    return dataclasses.replace(images, classes=tuple(classes), labels=table[images.labels], targets=targets)


def _table(own: Sequence[str], known: Sequence[str]) -> Int[np.ndarray, " Y"]:
    """The place in `known` of each name of `own`, -1 for those that are not there.

    Where a thousand are known, and names are missing or two classes are called alike, as two cranes are in most
    published models, both lists may still be ImageNet's in two spellings; then the meaning counts.
    """
    own, known = [_composed(name) for name in own], [_composed(name) for name in known]
    places = {name: place for place, name in enumerate(known)}
    by_name = np.array([places.get(name, -1) for name in own], np.int64)
    if len(known) != NUM_CLASSES:  # two spellings of "bee" in somebody's own folders are a slip, not a wish
        return by_name
    if (by_name >= 0).all() and len(places) == len(known) and len(set(own)) == len(own):
        return by_name
    meant, there = imagenet_places(own), imagenet_places(known)
    if meant is None or there is None:
        return by_name
    place_of = {meaning: place for place, meaning in enumerate(there.tolist())}
    return np.array([place_of.get(meaning, -1) for meaning in meant.tolist()], np.int64)


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _resemblance(unknown: Sequence[str], classes: Sequence[str]) -> str | None:
    """Did you mean, for the first unknown names that look like known ones."""
    by_fold = {folded(name): name for name in classes}
    hints = []
    for name in unknown:
        if folded(name) in by_fold:
            hints.append(f"{name!r} differs from {by_fold[folded(name)]!r} only in case, spaces or Unicode form")
        elif close := difflib.get_close_matches(folded(name), by_fold, n=1, cutoff=0.7):
            hints.append(f"did you mean {by_fold[close[0]]!r} by {name!r}?")
    return "; ".join(hints[:3]) or None


def folded(name: str) -> str:
    """What two names share that a person would take for the same: without case, spaces, - and _.

    Args:
        name: of a class.
    """
    return " ".join(unicodedata.normalize("NFKC", name).casefold().replace("_", " ").replace("-", " ").split())

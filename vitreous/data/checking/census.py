"""What is wrong with the classes: their balance, their names, and parts that lack some of them."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from vitreous.data.classes import folded, match_classes
from vitreous.data.imageset import ImageSet
from vitreous.data.words import some
from vitreous.errors import DataError
from vitreous.results import Concern

_IMBALANCE = 10  # times as many images of one class as of another
_BALANCED = "--class-weights balanced when training; judge by the balanced accuracy"


def class_concerns(sets: Mapping[str, ImageSet]) -> list[Concern]:
    """What a person should know about the classes before training.

    Args:
        sets: by part, without images that cannot be read; the first is what is learned from.
    """
    first, *others = sets.values()
    concerns = [*_alike(first), *_few(first), *_imbalance(first)]
    for images in others:
        try:
            matched = match_classes(images, first.classes, known_to=first.name)
        except DataError as error:
            what = f"{error.what} ({error.why})" if error.why else error.what
            concerns.append(Concern(kind="class names", what=what, remedy=error.remedy or "rename these classes"))
            continue
        known = zip(first.classes, first.counts.tolist(), matched.counts.tolist(), strict=True)
        if lacking := [name for name, learned, held in known if learned and not held]:
            what = f"{images.name} has no images of {some(lacking)}: how well they are known cannot be measured"
            concerns.append(Concern(kind="missing classes", what=what, remedy="add images of them"))
    return concerns


def class_counts(sets: Mapping[str, ImageSet]) -> dict[str, dict[str, int]]:
    """For each class how many images each part holds; two spellings of one text in Unicode are one class.

    Args:
        sets: by part.
    """
    counts: dict[str, dict[str, int]] = {}
    for part, images in sets.items():
        for name, number in zip(images.classes, images.counts.tolist(), strict=True):
            counts.setdefault(unicodedata.normalize("NFC", name), dict.fromkeys(sets, 0))[part] += number
    return counts


def _alike(images: ImageSet) -> list[Concern]:
    """Classes whose names a person would take for the same."""
    by_sound: dict[str, list[str]] = {}
    for name in images.classes:
        by_sound.setdefault(folded(name), []).append(name)
    return [
        Concern(
            kind="class names",
            what=f"{images.name} has the classes {' and '.join(map(repr, names))}, which differ only in case, spaces or"
            " Unicode form",
            remedy="if they mean the same, make one of them",
        )
        for names in by_sound.values()
        if len(names) > 1
    ]


def _few(images: ImageSet) -> list[Concern]:
    counts = dict(zip(images.classes, images.counts.tolist(), strict=True))
    concerns = []
    for number, words in ((0, "no image"), (1, "only one image")):
        if names := [name for name, count in counts.items() if count == number]:
            what = f"{images.name} has {words} of {some(names)}"
            concerns.append(Concern(kind="few images", what=what, remedy="add images of these classes, or remove them"))
    return concerns


def _imbalance(images: ImageSet) -> list[Concern]:
    counts = [(count, name) for name, count in zip(images.classes, images.counts.tolist(), strict=True) if count]
    if not counts:
        return []
    (fewest, rarest), (most, commonest) = min(counts), max(counts)
    if most < _IMBALANCE * fewest:
        return []
    what = (
        f"class imbalance in {images.name}: {most:,} images of {commonest}, {fewest:,} of {rarest}"
        f" ({most / fewest:,.0f} to 1)"
    )
    return [Concern(kind="imbalance", what=what, remedy=_BALANCED)]

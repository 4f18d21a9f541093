"""The check before training: whether images can be read, which are copies of each other, and which contradict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vitreous.data.checking.copies import Copies, everything, find_copies, in_conflict
from vitreous.data.checking.readable import places_to_check
from vitreous.data.checking.survey import survey
from vitreous.data.imageset import ImageSet
from vitreous.results import Failure


@dataclass(frozen=True)
class Inspection:
    """What one look at the images of a training run found."""

    failures: dict[str, dict[int, Failure]]
    """For each part the images that cannot be read, by place."""
    checked: int
    """How many images were asked for."""
    copies: tuple[Copies, ...]
    """Images with equal pixels, in one part or across parts, in the order in which the first of each was met."""
    conflicts: tuple[Copies, ...]
    """Those among them that are labelled in more than one way."""


def inspect(sets: Mapping[str, ImageSet]) -> Inspection:
    """What can be told of images before training: each of a folder is read, of shards the same thousand every time.

    What was seen is remembered, so that a second start on unchanged files decodes nothing. Sets in memory are passed
    over. Progress is shown meanwhile.

    Args:
        sets: by part; they need not agree on the order of their classes.
    """
    doubtful = {part: (images, places_to_check(images)) for part, images in sets.items() if not images.in_memory}
    surveys = survey(doubtful, "checking that images can be read")
    copies = find_copies(everything(surveys)) if surveys else []
    return Inspection(
        failures={part: surveys[part].failures if part in surveys else {} for part in sets},
        checked=sum(len(each.asked) for each in surveys.values()),
        copies=tuple(copies),
        conflicts=tuple(in_conflict(copies, sets)),
    )

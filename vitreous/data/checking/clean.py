"""Which images a clean data set keeps: all sound ones, one of each, none in train that is held out too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool

from vitreous.data.checking.copies import Copies, Spot
from vitreous.data.checking.survey import Survey

_KEPT_FIRST = ("test", "val", "train", "all")  # what is held out stays as it is; what is learned from gives way


def kept_places(
    surveys: Mapping[str, Survey],
    copies: Sequence[Copies],
    conflicts: Sequence[Copies],
    near: Sequence[Sequence[Spot]],
) -> dict[str, Bool[np.ndarray, " n"]]:
    """For each part whether each of its images is kept.

    Args:
        surveys: by part, of all images.
        copies: equal pictures; one of each is kept, in the part that comes first of test, val, train.
        conflicts: those of them with several labels; none is kept, for nobody knows which is right.
        near: pictures that look the same; only those in the first of their parts are kept.
    """
    keep = {part: np.ones(len(one.images), bool) for part, one in surveys.items()}
    for part, one in surveys.items():
        keep[part][list(one.failures)] = False
    for group in conflicts:
        _drop(keep, group.spots)
    for group in copies:
        first = min(group.spots, key=lambda spot: (_KEPT_FIRST.index(spot.part), spot.place))
        _drop(keep, [spot for spot in group.spots if spot != first])
    for spots in near:
        left = [spot for spot in spots if keep[spot.part][spot.place]]
        if left:
            part = min((spot.part for spot in left), key=_KEPT_FIRST.index)
            _drop(keep, [spot for spot in left if spot.part != part])
    return keep


def _drop(keep: Mapping[str, Bool[np.ndarray, " n"]], spots: Sequence[Spot]) -> None:
    for spot in spots:
        keep[spot.part][spot.place] = False

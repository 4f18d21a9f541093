"""dSprites drawn anew, where the file is not there: squares, ellipses and hearts at known sizes, angles and places.

google-deepmind/dsprites-dataset: 737,280 images of 64 x 64 black and white pixels, numbered with the shape slowest,
then 6 scales from 0.5 to 1, 40 orientations from 0 to 360 degrees (both, so that the first and the last are the same
image), 32 places across and 32 down from 16 to 48 pixels. A pixel is white if its middle lies in the shape.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from jaxtyping import Bool, Float64, Int, UInt8

from vitreous.data.imageset import ImageSet, Names, fingerprint
from vitreous.data.vtab.parts import Parts
from vitreous.data.vtab.sources.whole import whole
from vitreous.published.vtab import VtabTask

SIDES = (3, 6, 40, 32, 32)
"""Number of shapes, scales, orientations, places across and places down: the last varies fastest."""

COUNT = math.prod(SIDES)

_SIZE = 64
_SQUARE, _ELLIPSE = 0, 1
_HALF_SIDE = 9.6  # of the square at scale 1, in pixels
_AXES = (12.8, 7.2)  # half axes of the ellipse at scale 1, the long one along x at orientation 0
_ON_THE_EDGE = 5e-4  # a middle that the ellipse misses by so little, thousandths of a pixel, is white as published
_REACH = 14  # pixels from the centre that no shape leaves
_FIRST, _RANGE = 16.0, 32.0  # pixels: the first place, and the way to the last
_HEART_Y = -1.5  # the point at scale 1 that all of the heart's outline is seen from
_HEART_ANGLES = (*range(0, 31, 3), *range(36, 163, 6), 165, 168, 171, 174, 177, 180)  # degrees from straight up
_HEART_RADII = (
    *(3.79, 4.12, 5.05, 5.71, 6.46, 6.76, 7.47, 7.94, 8.35, 8.74, 9.03),
    *(9.62, 9.95, 10.19, 10.31, 10.36, 10.27, 10.10, 9.81, 9.40, 9.00, 8.59, 8.14, 7.81, 7.53, 7.29, 7.09, 7.10),
    *(6.96, 7.07, 7.17, 7.45, 7.79, 8.08, 8.31, 8.72, 9.26, 9.89, 11.14),
)
_NOTES = (
    "dSprites is drawn anew: squares and ellipses as published, the outline of hearts measured from the published "
    "animation, half a pixel of a frame wrong on average",
    "the first and the last orientation of dSprites are the same image with two labels: no model exceeds 97.5 % on "
    "dSpr-Ori",
)


def regenerated(task: VtabTask) -> Parts:
    """The parts of dSpr-Loc or dSpr-Ori, each image drawn when it is asked for.

    Args:
        task: dsprites_loc or dsprites_ori.
    """
    kind = np.unravel_index(np.arange(COUNT), SIDES)
    labels, classes = binned(kind[3 if task.name == "dsprites_loc" else 2].astype(np.int64), task)
    ids = Names(COUNT, lambda place: f"dsprites/{place:06d}")
    images = ImageSet(
        name="dsprites",
        classes=classes,
        ids=ids,
        labels=labels,
        read=drawn,
        fingerprint=fingerprint("dsprites drawn anew", task.name, 1),
        mirror_safe=False,
        in_memory=True,
    )
    notes = _NOTES if task.name == "dsprites_ori" else _NOTES[:1]
    found = whole(task, {"train": images}, {"train": range(COUNT)}, "dSprites, regenerated", exact=False, notes=notes)
    return Parts(
        train=found.train,
        val=found.val,
        test=found.test,
        source="drawn anew from its published description (regenerated, not the published file)",
        regenerated=True,
        exact=False,
        notes=notes,
    )


def binned(values: Int[np.ndarray, " N"], task: VtabTask) -> tuple[Int[np.ndarray, " N"], tuple[str, ...]]:
    """The sixteen classes of 32 places across or 40 orientations: floor(value / (number / 16)), and their names.

    Args:
        values: places from 0 to 31, or orientations from 0 to 39.
        task: dsprites_loc or dsprites_ori.
    """
    what, number = ("place", SIDES[3]) if task.name == "dsprites_loc" else ("orientation", SIDES[2])
    labels = np.floor(np.arange(number, dtype=np.float32) / np.float32(number / task.classes)).astype(np.int64)
    held = [np.flatnonzero(labels == label) for label in range(task.classes)]
    return labels[values], tuple(f"{what} {each[0]} to {each[-1]} of {number}" for each in held)


def drawn(index: int) -> UInt8[np.ndarray, "64 64 3"]:
    """One image, black or white.

    Args:
        index: from 0 to 737,279.
    """
    shape, scale, orientation, across, down = (int(part) for part in np.unravel_index(index, SIDES))
    middle = (_FIRST + _RANGE * down / (SIDES[4] - 1), _FIRST + _RANGE * across / (SIDES[3] - 1))
    top, left = (int(place) - _REACH for place in middle)
    y = np.arange(top, top + 2 * _REACH + 1)[:, None] + (0.5 - middle[0])
    x = np.arange(left, left + 2 * _REACH + 1) + (0.5 - middle[1])
    angle = 2 * math.pi * (orientation % (SIDES[2] - 1)) / (SIDES[2] - 1)  # a whole turn is none at all
    cosine, sine = math.cos(angle), math.sin(angle)
    inside = _inside(shape, 0.5 + scale / 10, x * cosine - y * sine, x * sine + y * cosine)
    image = np.zeros((_SIZE, _SIZE, 3), np.uint8)
    image[top : top + len(y), left : left + len(x)][inside] = 255
    return image


def _inside(
    shape: int, scale: float, u: Float64[np.ndarray, "h w"], v: Float64[np.ndarray, "h w"]
) -> Bool[np.ndarray, "h w"]:
    """Which points lie in a shape, in its own coordinates (v down, in pixels)."""
    if shape == _SQUARE:
        return np.maximum(np.abs(u), np.abs(v)) <= _HALF_SIDE * scale
    if shape == _ELLIPSE:
        return (u / (_AXES[0] * scale)) ** 2 + (v / (_AXES[1] * scale)) ** 2 <= 1 + _ON_THE_EDGE
    u, v = np.abs(u) / scale, v / scale - _HEART_Y
    edges, steps = _heart()
    at = np.searchsorted(edges, np.arctan2(u, -v), side="right") - 1
    at = np.clip(at, 0, len(steps) - 1)
    start_u, start_v, step_u, step_v = steps[at].transpose(2, 0, 1)
    return step_u * (v - start_v) - step_v * (u - start_u) >= 0


@cache
def _heart() -> tuple[Float64[np.ndarray, " E"], Float64[np.ndarray, "e 4"]]:
    """Angles of the corners of half the heart, and for each edge where it starts and where it leads."""
    angles, radii = np.radians(_HEART_ANGLES), np.array(_HEART_RADII)
    corners = np.stack([radii * np.sin(angles), -radii * np.cos(angles)], axis=1)
    return angles, np.concatenate([corners[:-1], np.diff(corners, axis=0)], axis=1)

"""Images that are unlike what a model can learn from: tiny, very narrow, of one colour, animated, or misnamed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping

import numpy as np

from vitreous.data.checking.look import CONSTANT, KINDS, PLAIN
from vitreous.data.checking.survey import Survey
from vitreous.results import Concern, OddImage

TINY = 32
"""Pixels: a shorter side below this is a fault, where most images are larger."""

_NARROW = 10  # times as long as wide, or as wide as long
_SUFFIXES = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "JPEG"),
    **dict.fromkeys((".png", ".apng"), "PNG"),
    ".webp": "WebP",
    **dict.fromkeys((".bmp", ".dib"), "BMP"),
    ".gif": "GIF",
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
}
_WORDS = {
    "tiny": f"smaller than {TINY} pixels",
    "narrow": f"more than {_NARROW} times as long as wide",
    "constant": "of one colour all over",
}


def find_odd(surveys: Mapping[str, Survey]) -> list[OddImage]:
    """Every odd image of every part; an image may be odd in several ways.

    Args:
        surveys: by part.
    """
    small = _mostly_small(surveys)
    found = []
    for part, one in surveys.items():
        seen, looks = one.seen, one.looks[one.seen]
        height, width = looks["height"].astype(np.int64), looks["width"].astype(np.int64)
        short, long = np.minimum(height, width), np.maximum(height, width)
        signs = {
            "tiny": (short < TINY) & (not small),
            "narrow": long > _NARROW * short,
            "constant": looks["signs"] & CONSTANT > 0,
            "animated": looks["frames"] > 1,
            "misnamed": _misnamed(one),
        }
        for kind, mask in signs.items():
            for row in np.flatnonzero(mask).tolist():
                place, what = int(one.asked[seen[row]]), f"{width[row]} x {height[row]} pixels"
                if kind == "animated":
                    what = f"{int(looks['frames'][row])} pictures, of which the first counts"
                elif kind == "misnamed":
                    what = f"holds a {KINDS[int(looks['kind'][row])]} picture, whatever its name says"
                elif kind == "constant":
                    what += " of one colour"
                found.append(OddImage(path=one.images.ids[place], part=part, kind=kind, what=what))
    return found


def odd_concerns(odd: list[OddImage]) -> list[Concern]:
    """What to say of odd images as a whole; that some are animated or misnamed is no fault.

    Args:
        odd: as found.
    """
    counts = Counter(image.kind for image in odd)
    return [
        Concern(
            kind="odd images",
            what=f"{counts[kind]:,} {'image is' if counts[kind] == 1 else 'images are'} {words}",
            remedy="look at them; leave them out if they show nothing",
        )
        for kind, words in _WORDS.items()
        if counts[kind]
    ]


def odd_notes(odd: list[OddImage], surveys: Mapping[str, Survey]) -> list[str]:
    """What is worth knowing and no fault, one sentence each.

    Args:
        odd: as found.
        surveys: by part.
    """
    counts = Counter(image.kind for image in odd)
    notes = []
    if animated := counts["animated"]:
        notes.append(f"{_files(animated, 'holds', 'hold')} several pictures; the first counts")
    if misnamed := counts["misnamed"]:
        notes.append(f"{_files(misnamed, 'is', 'are')} of another format than the name says; what is inside decides")
    if _mostly_small(surveys):
        notes.append(f"most images are smaller than {TINY} pixels: too small to look for near duplicates")
    return notes


def _files(number: int, one: str, many: str) -> str:
    return f"1 file {one}" if number == 1 else f"{number:,} files {many}"


def comparable(looks: np.ndarray) -> np.ndarray:
    """Which images show enough to be compared with others by their looks.

    Args:
        looks: (n,) LOOK.
    """
    large: np.ndarray = np.minimum(looks["height"], looks["width"]) >= TINY
    return large & (looks["signs"] & PLAIN == 0)


def _mostly_small(surveys: Mapping[str, Survey]) -> bool:
    shorts = [np.minimum(one.looks["height"], one.looks["width"])[one.seen] for one in surveys.values()]
    every = np.concatenate(shorts)
    return bool(len(every) and 2 * int((every < TINY).sum()) > len(every))


def _misnamed(one: Survey) -> np.ndarray:
    """Whether each image that could be read is of another format than the ending of its name says."""
    kinds = one.looks["kind"][one.seen].tolist()
    names = (one.images.ids[int(place)] for place in one.asked[one.seen])
    expected = (_SUFFIXES.get(os.path.splitext(name)[1].lower()) for name in names)
    return np.array(
        [
            kind > 0 and wanted is not None and KINDS[kind] != wanted
            for kind, wanted in zip(kinds, expected, strict=True)
        ],
        bool,
    )

"""The same picture met more than once: in one part, across parts, under two labels."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from vitreous.data.checking.survey import Survey
from vitreous.data.imageset import ImageSet


@dataclass(frozen=True, slots=True)
class Spot:
    """Where an image lies."""

    part: str
    """train, val, test or all."""
    place: int
    """In the set of that name."""


@dataclass(frozen=True, slots=True)
class Copies:
    """Images that show the same picture, pixel for pixel."""

    spots: tuple[Spot, ...]
    """Two or more, by part and place."""
    same_file: bool
    """Whether their files are equal too, byte for byte; otherwise one was saved anew without loss."""

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts they lie in."""
        return tuple(dict.fromkeys(spot.part for spot in self.spots))


@dataclass(eq=False)
class Everything:
    """All images that could be read, of all parts, in one row of arrays."""

    looks: np.ndarray
    """(N,) LOOK."""
    part: Int[np.ndarray, " N"]
    """Number of each image's part."""
    place: Int[np.ndarray, " N"]
    """Its place in that part."""
    parts: tuple[str, ...]

    def spot(self, row: int) -> Spot:
        """Where an image lies.

        Args:
            row: of these arrays.
        """
        return Spot(self.parts[int(self.part[row])], int(self.place[row]))


def everything(surveys: Mapping[str, Survey]) -> Everything:
    """What was seen in all parts together.

    Args:
        surveys: by part.
    """
    rows = [each.seen for each in surveys.values()]
    return Everything(
        looks=np.concatenate([each.looks[some] for each, some in zip(surveys.values(), rows, strict=True)]),
        part=np.repeat(np.arange(len(rows)), [len(some) for some in rows]),
        place=np.concatenate([each.asked[some] for each, some in zip(surveys.values(), rows, strict=True)]),
        parts=tuple(surveys),
    )


def find_copies(found: Everything) -> list[Copies]:
    """Images with equal pixels, in the order in which the first of each was met.

    Args:
        found: to look through.
    """
    groups = []
    for rows in equal_rows(found.looks["pixels"]):
        same = bool((found.looks["file"][rows] == found.looks["file"][rows[0]]).all())
        groups.append(Copies(tuple(found.spot(row) for row in rows.tolist()), same))
    return groups


def equal_rows(values: np.ndarray) -> Iterator[Int[np.ndarray, " k"]]:
    """Places of equal values, two or more at a time, each rising, in the order of their first.

    Args:
        values: of a kind that can be sorted.
    """
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    starts = np.concatenate([[0], np.flatnonzero(ranked[1:] != ranked[:-1]) + 1])
    counts = np.diff(starts, append=len(values))
    starts, counts = starts[counts > 1], counts[counts > 1]
    for group in np.argsort(order[starts]).tolist():
        yield order[starts[group] : starts[group] + counts[group]]


def label_of(images: ImageSet, place: int) -> str:
    """What an image is labelled as, in words, the same for equal labels of parts that number their classes otherwise.

    Args:
        images: one part.
        place: of the image.
    """
    if images.targets is None:
        return unicodedata.normalize("NFC", images.classes[int(images.labels[place])])
    targets = images.targets
    entries = range(int(targets.ends[place - 1]) if place else 0, int(targets.ends[place]))
    named = sorted(
        (unicodedata.normalize("NFC", images.classes[int(targets.classes[at])]), targets.weights[at]) for at in entries
    )
    return ", ".join(f"{name} {share:.3g}" if targets.soft else name for name, share in named) or "(no label)"


def in_conflict(groups: Sequence[Copies], sets: Mapping[str, ImageSet]) -> list[Copies]:
    """Those that are labelled in more than one way.

    Args:
        groups: of equal pictures.
        sets: by part.
    """
    return [group for group in groups if len({label_of(sets[spot.part], spot.place) for spot in group.spots}) > 1]

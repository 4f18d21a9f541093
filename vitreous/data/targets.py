"""What several labels, or shares of labels, say of each image: rows of numbers, kept without their zeros."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int

_SUM_TOLERANCE = 1e-3  # shares are typed with three decimals


@dataclass(frozen=True, eq=False)
class Targets:
    """For each of N images a number from 0 to 1 for each of Y classes; 8 bytes for each that is not 0."""

    ends: Int[np.ndarray, " N"]
    """Where each image's entries end."""
    classes: Int[np.ndarray, " E"]
    """The class of each entry, 0 to Y - 1."""
    weights: Float32[np.ndarray, " E"]
    """Its number, above 0 and at most 1."""
    num_classes: int
    """Y."""
    soft: bool
    """Whether an image's numbers are shares that sum to one; otherwise each class is a question of its own."""

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def counts(self) -> Int[np.ndarray, " Y"]:
        """How many images show each class."""
        return np.bincount(self.classes, minlength=self.num_classes)

    @property
    def main(self) -> Int[np.ndarray, " N"]:
        """The class of each image's largest number, the first of equals; 0 for an image that shows none."""
        found = np.zeros(len(self), np.int64)
        for place, (start, end) in enumerate(zip(self._starts, self.ends, strict=True)):
            if end > start:
                found[place] = self.classes[start + int(np.argmax(self.weights[start:end]))]
        return found

    def rows(self, places: Int[np.ndarray, " n"]) -> Float32[np.ndarray, "n Y"]:
        """The numbers of some images, zeros included.

        Args:
            places: of the images.
        """
        table = np.zeros((len(places), self.num_classes), np.float32)
        starts, ends = self._starts[places], self.ends[places]
        for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
            table[row, self.classes[start:end]] = self.weights[start:end]
        return table

    def subset(self, places: Int[np.ndarray, " n"]) -> Targets:
        """Those of some images, in the order given.

        Args:
            places: of the images.
        """
        starts, ends = self._starts[places], self.ends[places]
        entries = np.concatenate([np.arange(a, b) for a, b in zip(starts, ends, strict=True)] or [np.arange(0)])
        return Targets(
            np.cumsum(ends - starts), self.classes[entries], self.weights[entries], self.num_classes, self.soft
        )

    def renamed(self, table: Int[np.ndarray, " Y"], num_classes: int) -> Targets:
        """The same with other places for the classes.

        Args:
            table: the new place of each class.
            num_classes: the new Y.
        """
        return Targets(self.ends, table[self.classes], self.weights, num_classes, self.soft)

    @property
    def digest(self) -> str:
        """SHA-256 in hex over everything."""
        found = hashlib.sha256(f"{self.num_classes} {self.soft}".encode())
        for array, kind in ((self.ends, "<i8"), (self.classes, "<i4"), (self.weights, "<f4")):
            found.update(array.astype(kind).tobytes())
        return found.hexdigest()

    @property
    def _starts(self) -> Int[np.ndarray, " N"]:
        return np.concatenate([[0], self.ends[:-1]]) if len(self.ends) else self.ends


def targets_from(rows: Sequence[Mapping[int, float]], num_classes: int, *, soft: bool) -> Targets:
    """Targets from one mapping of class to number for each image; zeros are left out.

    Args:
        rows: with classes from 0 to num_classes - 1, and numbers from 0 to 1.
        num_classes: Y.
        soft: whether each row sums to one.
    """
    kept = [{place: weight for place, weight in row.items() if weight > 0} for row in rows]
    assert all(0 <= place < num_classes and weight <= 1 for row in kept for place, weight in row.items())
    assert not soft or all(abs(sum(row.values()) - 1) <= _SUM_TOLERANCE for row in kept), "shares sum to one"
    return Targets(
        ends=np.cumsum([len(row) for row in kept], dtype=np.int64),
        classes=np.array([place for row in kept for place in row], np.int64),
        weights=np.array([weight for row in kept for weight in row.values()], np.float32),
        num_classes=num_classes,
        soft=soft,
    )

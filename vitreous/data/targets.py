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
        rows, entries = self._entries(np.arange(len(self)))
        order = np.lexsort((entries, -self.weights, rows))
        shown, first = np.unique(rows[order], return_index=True)
        found[shown] = self.classes[order[first]]
        return found

    def rows(self, places: Int[np.ndarray, " n"]) -> Float32[np.ndarray, "n Y"]:
        """The numbers of some images, zeros included.

        Args:
            places: of the images.
        """
        table = np.zeros((len(places), self.num_classes), np.float32)
        rows, entries = self._entries(places)
        table[rows, self.classes[entries]] = self.weights[entries]
        return table

    def subset(self, places: Int[np.ndarray, " n"]) -> Targets:
        """Those of some images, in the order given.

        Args:
            places: of the images.
        """
        rows, entries = self._entries(places)
        ends = np.cumsum(np.bincount(rows, minlength=len(places)))
        return Targets(ends, self.classes[entries], self.weights[entries], self.num_classes, self.soft)

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

    def _entries(self, places: Int[np.ndarray, " n"]) -> tuple[Int[np.ndarray, " e"], Int[np.ndarray, " e"]]:
        """The entries of some images, one image's behind the other's, and for each of them which image it is."""
        starts = np.where(places > 0, self.ends[places - 1], 0)
        counts = self.ends[places] - starts
        rows = np.repeat(np.arange(len(places)), counts)
        before = np.cumsum(counts) - counts
        return rows, np.arange(len(rows)) + np.repeat(starts - before, counts)


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

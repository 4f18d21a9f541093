"""Nearest neighbours on frozen features, weighted as DINO weighs them: nothing is learned, and nothing is tuned.

facebookresearch/dino, eval_knn.py: features of length 1, cosine similarity s, votes exp(s / T) of the k nearest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, Int64

from vitreous.errors import DataError, UsageError
from vitreous.evaluation.features import FrozenFeatures
from vitreous.evaluation.metrics import wilson_interval
from vitreous.predict import ranked

NEIGHBOURS = (10, 20, 100, 200)
HEADLINE = 20
"""The k that stands for a model, fixed beforehand; DINO found it best most often."""
TEMPERATURE = 0.07

_LEARNED, _ASKED = 16384, 1024  # features compared at a time: a block of 64 MB
_VOTES = 1 << 22  # numbers in a table of votes


@dataclass(frozen=True, eq=False, kw_only=True)
class Neighbours:
    """How often the k nearest are right."""

    k: int
    top1: float
    top5: float
    """Share of images whose class is among the five with most votes; a class without votes is no answer."""
    interval: tuple[float, float]
    """95 % Wilson interval of top1."""
    right: Bool[np.ndarray, " N"]
    """Which test images were named rightly."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Knn:
    """Nearest neighbours of one model on one set of images."""

    points: tuple[Neighbours, ...]
    """One for each k, rising."""
    temperature: float
    learned: int
    """Training images, all of them neighbours."""
    seen: int
    expected: int
    notes: tuple[str, ...] = ()

    @property
    def headline(self) -> Neighbours:
        """The one with k = 20, or the nearest k to it."""
        return min(self.points, key=lambda point: abs(point.k - HEADLINE))


def knn(
    train: FrozenFeatures,
    test: FrozenFeatures,
    *,
    neighbours: Sequence[int] = NEIGHBOURS,
    temperature: float = TEMPERATURE,
) -> Knn:
    """Accuracy of weighted nearest neighbours on what the head reads.

    Args:
        train: the neighbours.
        test: what is scored, with the same classes.
        neighbours: k, each 1 or more; a k above the number of training images becomes that number.
        temperature: T, above 0.

    Raises:
        UsageError: k or T make no sense.
        DataError: classes differ.
    """
    if not neighbours or min(neighbours) < 1 or temperature <= 0:
        raise UsageError("k must be 1 or more and the temperature above 0")
    if train.classes != test.classes:
        raise DataError("the classes of the training and of the test features differ")
    there = len(train.labels)
    ks = sorted({min(k, there) for k in neighbours})
    notes = [f"k-NN: k is at most {there:,}, the number of training images"] if max(neighbours) > there else []
    best = vote(train.pooled, train.labels, test.pooled, len(train.classes), ks, temperature)
    return Knn(
        points=tuple(_point(k, best[k], test.labels) for k in ks),
        temperature=temperature,
        learned=there,
        seen=len(test.labels),
        expected=test.expected,
        notes=tuple(notes),
    )


def vote(
    x: Float32[np.ndarray, "M D"],
    y: Int[np.ndarray, " M"],
    asked: Float32[np.ndarray, "N D"],
    num_classes: int,
    neighbours: Sequence[int],
    temperature: float = TEMPERATURE,
) -> dict[int, Int64[np.ndarray, "N top"]]:
    """For each k the five classes with most votes, best first; -1 where fewer have any.

    Memory is that of one block, however many features there are.

    Args:
        x: features of the neighbours; may be a memory map.
        y: their classes.
        asked: features of the images to name; may be a memory map.
        num_classes: Y.
        neighbours: k, each from 1 to M.
        temperature: T.
    """
    top = min(5, num_classes)
    answers = {k: np.empty((len(asked), top), np.int64) for k in neighbours}
    step = max(1, min(_ASKED, _VOTES // num_classes))
    for first in range(0, len(asked), step):
        queries = _unit(asked[first : first + step])
        similarity, places = nearest(x, queries, max(neighbours))
        labels = y[places]
        exact = similarity.astype(np.float64)
        weights = np.exp((exact - exact[:, :1]) / temperature)  # beside the nearest: the same order, at any temperature
        for k in neighbours:
            cell = np.arange(len(queries))[:, None] * num_classes + labels[:, :k]
            votes = np.bincount(cell.ravel(), weights[:, :k].ravel(), len(queries) * num_classes)
            votes = votes.reshape(len(queries), num_classes)
            best = ranked(votes, top)
            answers[k][first : first + step] = np.where(np.take_along_axis(votes, best, axis=1) > 0, best, -1)
    return answers


def nearest(
    x: Float32[np.ndarray, "M D"], queries: Float32[np.ndarray, "b D"], k: int
) -> tuple[Float32[np.ndarray, "b k"], Int64[np.ndarray, "b k"]]:
    """Cosine similarities and places of the k nearest, nearest first; of equally near ones the earlier.

    Args:
        x: features of any length; may be a memory map.
        queries: features of length 1.
        k: from 1 to M.
    """
    similarity = np.empty((len(queries), 0), np.float32)
    places = np.empty((len(queries), 0), np.int64)
    given = torch.from_numpy(queries)
    for first in range(0, len(x), _LEARNED):
        found = (given @ torch.from_numpy(_unit(x[first : first + _LEARNED])).T).numpy()
        near = _largest(found, min(k, found.shape[1]))
        similarity = np.concatenate([similarity, np.take_along_axis(found, near, axis=1)], axis=1)
        places = np.concatenate([places, first + near], axis=1)  # of equals, those of earlier blocks stand first
        kept = _largest(similarity, min(k, similarity.shape[1]))
        similarity = np.take_along_axis(similarity, kept, axis=1)
        places = np.take_along_axis(places, kept, axis=1)
    return similarity, places


def _largest(values: Float32[np.ndarray, "b n"], k: int) -> Int64[np.ndarray, "b k"]:
    """Columns of the k largest in each row, largest first; of equal ones the earlier, also at the border."""
    largest, found = torch.from_numpy(values).topk(k, dim=1)
    chosen, least = np.sort(found.numpy(), axis=1), largest[:, -1].numpy()
    for row in np.flatnonzero((values >= least[:, None]).sum(axis=1) > k):
        chosen[row] = np.sort(np.argsort(-values[row], kind="stable")[:k])
    order = np.argsort(-np.take_along_axis(values, chosen, axis=1), axis=1, kind="stable")
    return np.take_along_axis(chosen, order, axis=1).astype(np.int64)


def _unit(features: Float[np.ndarray, "n D"]) -> Float32[np.ndarray, "n D"]:
    """The same directions with length 1, as a copy; a feature of zeros stays (torch.nn.functional.normalize)."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.ascontiguousarray(features / np.maximum(length, 1e-12), dtype=np.float32)


def _point(k: int, best: Int64[np.ndarray, "N top"], labels: Int[np.ndarray, " N"]) -> Neighbours:
    right = best[:, 0] == labels
    return Neighbours(
        k=k,
        top1=float(right.mean()),
        top5=float((best == labels[:, None]).any(axis=1).mean()),
        interval=wilson_interval(int(right.sum()), len(right)),
        right=right,
    )

"""Scores from counts and probabilities: NumPy only, each defined once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from vitreous.results import ClassScore

_Z = 1.959963984540054  # the 97.5 % quantile of the standard normal


def top_k_accuracy(best: Int[np.ndarray, "N top"], labels: Int[np.ndarray, " N"], k: int) -> float:
    """Share of images whose true class is among their `k` most probable.

    Args:
        best: classes of each image, most probable first; `ranked` gives them.
        labels: true classes.
        k: 1 or more; with fewer than k columns, all of them count.
    """
    return float((best[:, :k] == labels[:, None]).any(axis=1).mean())


def mean_average_precision(scores: Float[np.ndarray, "N Y"], shown: Bool[np.ndarray, "N Y"]) -> float | None:
    """Mean over classes of average precision, sum_n (R_n - R_{n-1}) P_n over the thresholds; None without any label.

    As sklearn.metrics.average_precision_score(average="macro") over the classes that some image shows.

    Args:
        scores: the larger, the surer.
        shown: which classes each image shows.
    """
    found = []
    for score, true in zip(scores.T, shown.T, strict=True):
        if not true.any():
            continue
        order = np.argsort(-score, kind="stable")
        ends = np.flatnonzero(np.diff(score[order], append=-np.inf))  # equal scores are one threshold
        right = np.cumsum(true[order])[ends]
        found.append(float(np.sum(np.diff(right, prepend=0) / true.sum() * right / (ends + 1))))
    return float(np.mean(found)) if found else None


def confusion_matrix(
    labels: Int[np.ndarray, " N"], predicted: Int[np.ndarray, " N"], num_classes: int
) -> Int[np.ndarray, "Y Y"]:
    """How many images of each true class (row) were taken for each class (column).

    Args:
        labels: true classes.
        predicted: most probable classes.
        num_classes: Y.
    """
    pairs = labels * num_classes + predicted
    return np.bincount(pairs, minlength=num_classes * num_classes).reshape(num_classes, num_classes)


def class_scores(confusion: Int[np.ndarray, "Y Y"], names: Sequence[str]) -> tuple[ClassScore, ...]:
    """Precision, recall and F1 of every class; None where a ratio has nothing below the line.

    Args:
        confusion: from `confusion_matrix`.
        names: of the classes.
    """
    right, support, claimed = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    return tuple(
        ClassScore(
            name=name,
            support=int(support[i]),
            precision=_ratio(right[i], claimed[i]),
            recall=_ratio(right[i], support[i]),
            f1=_ratio(2 * right[i], support[i] + claimed[i]),
        )
        for i, name in enumerate(names)
    )


def balanced_accuracy(confusion: Int[np.ndarray, "Y Y"]) -> float:
    """Mean recall over the classes that have images.

    Args:
        confusion: from `confusion_matrix`, of one image or more.
    """
    support = confusion.sum(axis=1)
    present = support > 0
    return float((np.diag(confusion)[present] / support[present]).mean())


def calibration_error(confidence: Float[np.ndarray, " N"], correct: Bool[np.ndarray, " N"], bins: int = 15) -> float:
    """Expected calibration error (Guo et al. 2017, equation 5): how far stated and true probability lie apart.

    Images are sorted into `bins` intervals of equal width by the probability of their prediction, each open below and
    closed above; the gaps between accuracy and mean probability are averaged by number of images.

    Args:
        confidence: probability of each prediction, in [0, 1].
        correct: whether it was right.
        bins: number of intervals.
    """
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(place, weights=correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def wilson_interval(successes: int, total: int) -> tuple[float, float]:
    """95 % confidence interval of a share (Wilson 1927): honest for few images and for shares near 0 and 1.

    Args:
        successes: from 0 to `total`.
        total: 1 or more.
    """
    share, weight = successes / total, _Z * _Z / total
    centre = (share + weight / 2) / (1 + weight)
    half = math.sqrt(share * (1 - share) * weight + weight * weight / 4) / (1 + weight)
    return max(0.0, centre - half), min(1.0, centre + half)


def _ratio(above: np.integer, below: np.integer) -> float | None:
    return float(above / below) if below else None

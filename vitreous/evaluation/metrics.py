"""Scores from counts and probabilities, in NumPy; every one equals scikit-learn's where scikit-learn has it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from vitreous.results import ClassScore

_Z = 1.959963984540054  # the normal's 97.5 % point


def wilson_interval(successes: int, total: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a share (Wilson 1927); (0, 1) when nothing was counted.

    Args:
        successes: 0 to total.
        total: 0 or more.
    """
    if total == 0:
        return 0.0, 1.0
    share, z2 = successes / total, _Z * _Z
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    return max(0.0, centre - half), min(1.0, centre + half)


def top_k_accuracy(probabilities: Float[np.ndarray, "N Y"], labels: Int[np.ndarray, " N"], k: int) -> float:
    """Share of images whose true class is among the `k` most probable; of equal ones the earlier class counts first.

    Args:
        probabilities: or logits.
        labels: true classes.
        k: 1 or more; more than there are classes makes every answer right.
    """
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return float((best == labels[:, None]).any(axis=1).mean()) if len(labels) else 0.0


def confusion_matrix(
    labels: Int[np.ndarray, " N"], predicted: Int[np.ndarray, " N"], num_classes: int
) -> Int[np.ndarray, "Y Y"]:
    """Counts of (true class, predicted class).

    Args:
        labels: true classes.
        predicted: most probable classes.
        num_classes: Y.
    """
    flat = np.bincount(labels * num_classes + predicted, minlength=num_classes * num_classes)
    return flat.reshape(num_classes, num_classes)


def class_scores(confusion: Int[np.ndarray, "Y Y"], classes: Sequence[str]) -> tuple[ClassScore, ...]:
    """Precision, recall and F1 of every class; None where a ratio has nothing below the line.

    Args:
        confusion: counts of (true, predicted).
        classes: names, in order.
    """
    scores = []
    for index, name in enumerate(classes):
        right = int(confusion[index, index])
        support, claimed = int(confusion[index].sum()), int(confusion[:, index].sum())
        scores.append(
            ClassScore(
                name=name,
                support=support,
                precision=right / claimed if claimed else None,
                recall=right / support if support else None,
                f1=2 * right / (support + claimed) if support + claimed else None,
            )
        )
    return tuple(scores)


def balanced_accuracy(scores: Sequence[ClassScore]) -> float:
    """Mean recall over the classes that have images; 0 where none has.

    Args:
        scores: of every class.
    """
    recalls = [score.recall for score in scores if score.recall is not None]
    return sum(recalls) / len(recalls) if recalls else 0.0


def calibration_error(confidence: Float[np.ndarray, " N"], correct: Bool[np.ndarray, " N"], bins: int = 15) -> float:
    """Expected calibration error (Guo et al. 2017, equation 3): mean gap of confidence and accuracy over equal bins.

    Args:
        confidence: probability of the predicted class, in [0, 1].
        correct: whether it was the true class.
        bins: of equal width; a confidence on a border belongs to the lower bin.
    """
    if not len(confidence):
        return 0.0
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(place, weights=confidence - correct, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))

"""Scores from counts and probabilities: NumPy only, each defined once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from vitreous.results import ClassMean, ClassScore

_COLUMNS = 32  # classes taken out of a table of scores at a time
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
    rankings = [Ranking.of(score, true) for score, true in zip(scores.T, shown.T, strict=True) if true.any()]
    return mean_precision(rankings)


def mean_precision(rankings: Sequence[Ranking], weights: Int[np.ndarray, " N"] | None = None) -> float | None:
    """Mean average precision of classes that are ranked already; None where no image that counts shows one of them.

    Args:
        rankings: of the classes.
        weights: how often each image counts; by default once.
    """
    found = [ranking.average_precision(weights) for ranking in rankings]
    known = [value for value in found if value is not None]
    return float(np.mean(known)) if known else None


@dataclass(frozen=True, eq=False)
class Ranking:
    """One class's images from the surest down, ready to be scored under weights, as resampling needs it."""

    order: Int[np.ndarray, " N"]
    true: Bool[np.ndarray, " N"]
    """In that order."""
    ends: Int[np.ndarray, " t"]
    """Where each threshold ends; equal scores are one threshold."""

    @staticmethod
    def of(score: Float[np.ndarray, " N"], true: Bool[np.ndarray, " N"]) -> Ranking:
        """The ranking that scores make.

        Args:
            score: the larger, the surer.
            true: which images show the class.
        """
        order = np.argsort(-score, kind="stable")
        return Ranking(order, true[order], np.flatnonzero(np.diff(score[order], append=-np.inf)))

    def average_precision(self, weights: Int[np.ndarray, " N"] | None = None) -> float | None:
        """Average precision of the class; None where no image that counts shows it.

        Args:
            weights: how often each image counts; by default once.
        """
        times = np.ones(len(self.order), np.int64) if weights is None else weights[self.order]
        right, seen = np.cumsum(times * self.true)[self.ends], np.cumsum(times)[self.ends]
        if not right[-1]:
            return None
        precision = right / np.maximum(seen, 1)
        return float(np.sum(np.diff(right, prepend=0) / right[-1] * precision))


@dataclass(frozen=True, eq=False)
class RocArea:
    """Area under the ROC curve, one class against the rest, as a mean over classes."""

    mean: float | None
    """None where no class has images on both sides."""
    classes: int
    """How many classes it is a mean of."""
    influence: Float64[np.ndarray, " N"]
    """What each image moves the mean by, times N: the placement values of DeLong et al. (1988); their mean is 0."""


def area_under_roc(
    scores: Float[np.ndarray, "N Y"],
    truth: Int[np.ndarray, " N"] | Bool[np.ndarray, "N Y"],
    offsets: Float64[np.ndarray, " N"] | None = None,
) -> RocArea:
    """Mean over classes of the area under the ROC curve: how often an image of the class outscores one of another.

    As sklearn.metrics.roc_auc_score(multi_class="ovr", average="macro") over the classes that have images on both
    sides; of two classes, the area of either. Equal scores count a half. Beside the scores, 32 columns of them in
    float64 are kept.

    Args:
        scores: the larger, the surer; of one class, compared between images.
        truth: true classes, -1 for none; or which classes each image shows.
        offsets: subtracted from each image's scores; the logarithms of softmax's denominators turn logits into what
            probabilities are compared by.
    """
    count, width = scores.shape
    areas, influence = [], np.zeros(count)
    for first in range(0, width, _COLUMNS):
        block = np.ascontiguousarray(scores[:, first : first + _COLUMNS].T, np.float64)
        if offsets is not None:
            block = (block - offsets).astype(np.float32)  # as exact as logits are: equal ones stay equal
        for place, score in enumerate(block, first):
            true = truth == place if truth.ndim == 1 else truth[:, place]
            positives = int(true.sum())
            if not 0 < positives < count:
                continue
            area, placement = _placements(score, true)
            areas.append(area)
            influence += np.where(true, count / positives, count / (count - positives)) * (placement - area)
    number = len(areas)
    return RocArea(float(np.mean(areas)) if areas else None, number, influence / max(number, 1))


def _placements(
    score: Float[np.ndarray, " N"], true: Bool[np.ndarray, " N"]
) -> tuple[float, Float64[np.ndarray, " N"]]:
    """The area, and for each image the share of those on the other side that it is rightly above or below."""
    order = np.argsort(score)
    ranked, hits = score[order], true[order]
    group = np.cumsum(np.diff(ranked, prepend=ranked[0]) != 0)
    positives, total = np.bincount(group, weights=hits), np.bincount(group).astype(np.float64)
    negatives = total - positives
    below = np.cumsum(negatives) - negatives / 2  # negatives that score less, equal ones counting a half
    above = positives.sum() - np.cumsum(positives) + positives / 2
    placement = np.empty(len(score))
    placement[order] = np.where(hits, below[group] / negatives.sum(), above[group] / positives.sum())
    return float(placement[true].mean()), placement


def confusion_matrix(
    labels: Int[np.ndarray, " N"], predicted: Int[np.ndarray, " N"], num_classes: int
) -> Int[np.ndarray, "Y Y"]:
    """How many images of each true class (row) were taken for each class (column).

    Args:
        labels: true classes; an image of -1, which shows none, is not counted.
        predicted: most probable classes.
        num_classes: Y.
    """
    pairs = (labels * num_classes + predicted)[labels >= 0]
    return np.bincount(pairs, minlength=num_classes * num_classes).reshape(num_classes, num_classes)


def class_scores(
    confusion: Int[np.ndarray, "Y Y"], names: Sequence[str], unfounded: Int[np.ndarray, " Y"] | None = None
) -> tuple[ClassScore, ...]:
    """Precision, recall and F1 of every class; None where a ratio has nothing below the line.

    Args:
        confusion: from `confusion_matrix`.
        names: of the classes.
        unfounded: how many images that show none of the classes were taken for each; these claims are wrong too.
    """
    right, support, claimed = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    if unfounded is not None:
        claimed = claimed + unfounded
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


def class_means(scores: Sequence[ClassScore]) -> tuple[ClassMean, ClassMean]:
    """Macro and weighted means of precision, recall and F1 over the classes where they are defined.

    As sklearn.metrics.precision_recall_fscore_support with zero_division=nan.

    Args:
        scores: from `class_scores`.
    """
    columns = [[getattr(score, name) for score in scores] for name in ("precision", "recall", "f1")]
    support = np.array([score.support for score in scores], np.float64)
    means = []
    for weights in (np.ones(len(scores)), support):
        known = [np.array([value is not None for value in column]) & (weights > 0) for column in columns]
        found = [
            float(np.average([column[i] for i in np.flatnonzero(some)], weights=weights[some])) if some.any() else None
            for column, some in zip(columns, known, strict=True)
        ]
        over = (int(known[0].sum()), int(known[1].sum()), int(known[2].sum()))
        means.append(ClassMean(precision=found[0], recall=found[1], f1=found[2], over=over))
    return means[0], means[1]


def balanced_accuracy(confusion: Int[np.ndarray, "Y Y"]) -> float:
    """Mean recall over the classes that have images; 0 where no image shows any class, as no answer is right then.

    Args:
        confusion: from `confusion_matrix`.
    """
    support = confusion.sum(axis=1)
    present = support > 0
    return float((np.diag(confusion)[present] / support[present]).mean()) if present.any() else 0.0


def calibration_error(confidence: Float[np.ndarray, " N"], correct: Bool[np.ndarray, " N"], bins: int = 15) -> float:
    """Expected calibration error (Guo et al. 2017, equation 5): how far stated and true probability lie apart.

    Images are sorted into `bins` intervals of equal width by the probability of their prediction, each open below and
    closed above; the gaps between accuracy and mean probability are averaged by number of images.

    Args:
        confidence: probability of each prediction, in [0, 1].
        correct: whether it was right.
        bins: number of intervals.
    """
    gaps = np.bincount(calibration_bin(confidence, bins), weights=correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def calibration_bin(confidence: Float[np.ndarray, " N"], bins: int = 15) -> Int[np.ndarray, " N"]:
    """Which of `bins` intervals of equal width, open below and closed above, each probability lies in.

    Args:
        confidence: in [0, 1].
        bins: number of intervals.
    """
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)


def rms_calibration_error(
    confidence: Float[np.ndarray, " N"], correct: Bool[np.ndarray, " N"], per_bin: int = 100
) -> float:
    """Root mean square gap of stated and true probability over bins of equally many images, the surest in the last.

    Hendrycks et al. 2019 (natural-adv-examples, calibration_tools.py), whose loop leaves out the last and surest bin;
    here it counts. The last bin takes what does not fill another one.

    Args:
        confidence: probability of each prediction, in [0, 1].
        correct: whether it was right.
        per_bin: images in a bin.
    """
    order = np.argsort(confidence, kind="stable")
    edges = np.arange(max(len(order) // per_bin, 1)) * per_bin
    gaps = np.add.reduceat((correct - confidence)[order], edges)
    sizes = np.diff(edges, append=len(order))
    return float(np.sqrt(np.sum(gaps**2 / sizes) / len(order)))


def log_losses(logits: Float[np.ndarray, "B Y"], labels: Int[np.ndarray, " B"]) -> Float64[np.ndarray, " B"]:
    """Negative log-likelihood of each image's class, in nats: sklearn.metrics.log_loss is their mean.

    Args:
        logits: of a model that answers with one class.
        labels: true classes.
    """
    return log_normaliser(logits) - logits[np.arange(len(logits)), labels]


def log_normaliser(logits: Float[np.ndarray, "B Y"]) -> Float64[np.ndarray, " B"]:
    """The logarithm of softmax's denominator of each image, in float64.

    Args:
        logits: finite.
    """
    exact = logits.astype(np.float64)
    largest = exact.max(axis=1)
    return largest + np.log(np.exp(exact - largest[:, None]).sum(axis=1))


def cross_entropies(logits: Float[np.ndarray, "B Y"], shown: Bool[np.ndarray, "B Y"]) -> Float64[np.ndarray, " B"]:
    """Binary cross-entropy of each image, mean over classes that are questions of their own, in nats.

    Args:
        logits: one per class, of probabilities by sigmoid.
        shown: which classes each image shows.
    """
    exact = logits.astype(np.float64)
    # log(1 + e^z) - z where the class is shown, without overflow
    return (np.maximum(exact, 0) - exact * shown + np.log1p(np.exp(-np.abs(exact)))).mean(axis=1)


def brier_scores(
    probabilities: Float[np.ndarray, "B Y"], truth: Int[np.ndarray, " B"] | Bool[np.ndarray, "B Y"]
) -> Float64[np.ndarray, " B"]:
    """Squared distance of each image's probabilities from the truth (Brier 1950).

    Summed over the classes, as sklearn.metrics.brier_score_loss(scale_by_half=False); where each class is a question of
    its own, the mean over them.

    Args:
        probabilities: by class.
        truth: true classes; or which classes each image shows.
    """
    if truth.ndim == 2:
        return np.square(probabilities - truth).mean(axis=1)
    own = probabilities[np.arange(len(truth)), truth]
    return np.square(probabilities).sum(axis=1) - 2 * own + 1


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

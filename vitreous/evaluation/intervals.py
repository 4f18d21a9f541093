"""How far a score could have come out otherwise: bootstrap intervals over images, the same on every machine."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from jaxtyping import Bool, Float, Int

from vitreous.evaluation.metrics import Ranking, calibration_bin, mean_precision

SAMPLES = 1000
"""Bootstrap samples behind an interval."""

_BINS = 15
_WORK = 500_000_000  # numbers sorted into place for the mean average precision, in all samples together
_FEWEST = 200  # samples that make an interval

Weights = Int[np.ndarray, " N"]
Statistic = Callable[[Weights], float]
"""A score of images that count as often as their weights say."""


def resamples(count: int, *, seed: int, purpose: str, samples: int = SAMPLES) -> Iterator[Weights]:
    """Bootstrap samples of images: how often each was drawn, of as many draws with replacement as there are images.

    Args:
        count: number of images, 1 or more.
        seed: another seed, other samples.
        purpose: what they are for; the same seed gives another purpose other samples.
        samples: how many.
    """
    draw = np.random.default_rng([seed, zlib.crc32(purpose.encode())])
    for _ in range(samples):
        yield np.bincount(draw.integers(count, size=count), minlength=count)


def bootstrap(
    statistics: Mapping[str, Statistic], count: int, *, seed: int = 0, samples: int = SAMPLES
) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals of several statistics over the same bootstrap samples (Efron 1979).

    An interval always holds the score itself: the calibration error of a sample lies above that of the images it was
    drawn from, and of a model that is nearly calibrated all percentiles may.

    Args:
        statistics: by name; NaN where a sample leaves one undefined, which then does not count.
        count: number of images.
        seed: another seed, other samples.
        samples: how many.
    """
    if not statistics:
        return {}
    values = {name: np.empty(samples) for name in statistics}
    for place, weights in enumerate(resamples(count, seed=seed, purpose="intervals", samples=samples)):
        for name, statistic in statistics.items():
            values[name][place] = statistic(weights)
    whole = np.ones(count, np.int64)
    return {name: percentiles(values[name], statistic(whole)) for name, statistic in statistics.items()}


def percentiles(values: Float[np.ndarray, " samples"], score: float) -> tuple[float, float]:
    """The middle 95 % of bootstrap values, widened where the score itself lies outside.

    Args:
        values: of the samples; NaN for those that say nothing.
        score: of the images themselves.
    """
    known = values[~np.isnan(values)]
    low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (score, score)
    return min(float(low), score), max(float(high), score)


def mean_of(values: Float[np.ndarray, " N"]) -> Statistic:
    """The mean of one number per image.

    Args:
        values: of each image.
    """
    return lambda weights: float(weights @ values / len(values))


def balanced_of(labels: Int[np.ndarray, " N"], correct: Bool[np.ndarray, " N"], num_classes: int) -> Statistic:
    """Balanced accuracy: the mean recall over the classes that have images in a sample.

    Args:
        labels: true classes, -1 for none.
        correct: which answers are right.
        num_classes: Y.
    """
    places, hits = np.where(labels < 0, num_classes, labels), correct.astype(np.float64)

    def statistic(weights: Weights) -> float:
        support = np.bincount(places, weights=weights, minlength=num_classes)[:num_classes]
        right = np.bincount(places, weights=weights * hits, minlength=num_classes)[:num_classes]
        present = support > 0
        return float((right[present] / support[present]).mean()) if present.any() else 0.0

    return statistic


def calibration_of(confidence: Float[np.ndarray, " N"], correct: Bool[np.ndarray, " N"]) -> Statistic:
    """Expected calibration error over 15 bins.

    Args:
        confidence: probability of each prediction.
        correct: whether it was right.
    """
    places, gaps = calibration_bin(confidence, _BINS), correct - confidence

    def statistic(weights: Weights) -> float:
        return float(np.abs(np.bincount(places, weights=weights * gaps, minlength=_BINS)).sum() / len(gaps))

    return statistic


def precision_samples(count: int, classes: int) -> int:
    """How many samples an interval of the mean average precision is worth here; 0 where even a few would take long.

    Args:
        count: number of images.
        classes: number of classes.
    """
    affordable = min(SAMPLES, _WORK // (count * classes))
    return affordable if affordable >= _FEWEST else 0


def precision_of(scores: Float[np.ndarray, "N Y"], shown: Bool[np.ndarray, "N Y"]) -> Statistic:
    """Mean average precision over the classes that a sample shows; NaN where it shows none.

    Args:
        scores: the larger, the surer.
        shown: which classes each image shows.
    """
    rankings = [Ranking.of(score, true) for score, true in zip(scores.T, shown.T, strict=True) if true.any()]

    def statistic(weights: Weights) -> float:
        found = mean_precision(rankings, weights)
        return float("nan") if found is None else found

    return statistic

"""Two models on the same images: whether they differ by more than chance, and how many images would tell."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from vitreous.evaluation.intervals import percentiles

_SAMPLES = 20_000
_Z, _POWER_Z = 1.959963984540054, 0.8416212335729143  # quantiles of the standard normal at 97.5 % and 80 %


def mcnemar(only_a: int, only_b: int) -> float:
    """How probable so uneven a division of the images that only one model gets right is, if both were equally good.

    McNemar's test, exact and two-sided: twice the smaller tail of a fair coin (Dietterich 1998, section 2.3).

    Args:
        only_a: images that only A gets right.
        only_b: images that only B gets right.
    """
    total, fewer = only_a + only_b, min(only_a, only_b)
    ways = [_log_ways(total, k) - total * math.log(2) for k in range(fewer + 1)]
    return min(1.0, 2 * math.fsum(map(math.exp, ways)))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Probabilities of several tests, made larger so that all of them together err as seldom as one (Holm 1979).

    Args:
        p_values: of the tests.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, p_values[place] * (len(p_values) - rank)))
        corrected[place] = largest
    return tuple(corrected)


def in_accord(interval: tuple[float, float], *, within_noise: bool) -> tuple[float, float]:
    """The interval of a difference beside the outcome of its test: it holds 0 where the test finds noise.

    Of few images that only one gets right, the percentiles of the bootstrap may all lie on one side of 0 though a fair
    coin would often divide them so; only a wider interval is honest then.

    Args:
        interval: of the difference.
        within_noise: what the test says.
    """
    low, high = interval
    return (min(low, 0.0), max(high, 0.0)) if within_noise else interval


def share_difference(only_a: int, only_b: int, total: int, *, seed: int) -> tuple[float, float]:
    """95 % bootstrap interval of how much larger B's share of right answers is than A's.

    Images are drawn with both their answers. What a sample holds of the images that only one gets right is all that
    counts, and that is multinomial; it is drawn so 20,000 times. Where no such image was met, resampling knows nothing
    of those that were not: the interval then reaches to the share that so many images would all miss in 2.5 % of cases.

    Args:
        only_a: images that only A gets right.
        only_b: images that only B gets right.
        total: images in all, 1 or more.
        seed: another seed, other samples.
    """
    if only_a + only_b == 0:
        unmet = 1 - 0.025 ** (1 / total)
        return -unmet, unmet
    draw = np.random.default_rng([seed, zlib.crc32(b"paired")])
    shares = np.array([only_a, only_b, total - only_a - only_b]) / total
    found = draw.multinomial(total, shares, size=_SAMPLES)
    return percentiles((found[:, 1] - found[:, 0]) / total, (only_b - only_a) / total)


def difference(
    samples_a: Float[np.ndarray, " s"], samples_b: Float[np.ndarray, " s"], score: float
) -> tuple[float, float]:
    """95 % interval of B's score minus A's from scores of the same bootstrap samples.

    Args:
        samples_a: A's scores, sample by sample.
        samples_b: B's.
        score: the difference on the images themselves.
    """
    return percentiles(samples_b - samples_a, score)


def images_needed(only_a: int, only_b: int, total: int) -> int | None:
    """Images on which the test would tell a difference like this one in four of five cases, at the 5 % level.

    From the shares of images that only one gets right (Miettinen 1968; Connor 1987, equation 3).

    Args:
        only_a: images that only A gets right.
        only_b: images that only B gets right.
        total: images in all.

    Returns:
        None where the shares are equal, as no number would do.
    """
    apart, gap = (only_a + only_b) / total, (only_b - only_a) / total
    if gap == 0:
        return None
    root = _Z * math.sqrt(apart) + _POWER_Z * math.sqrt(max(apart - gap**2, 0.0))
    return math.ceil((root / gap) ** 2)


def _log_ways(total: int, chosen: int) -> float:
    return math.lgamma(total + 1) - math.lgamma(chosen + 1) - math.lgamma(total - chosen + 1)

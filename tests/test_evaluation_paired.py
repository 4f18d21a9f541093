"""Two models on the same images: the test and its interval against scipy and against everything that can happen."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from vitreous.evaluation.paired import holm, images_needed, in_accord, mcnemar, share_difference


@pytest.mark.parametrize(("a", "b"), [(0, 0), (0, 1), (3, 3), (2, 9), (17, 40), (400, 470), (20_000, 20_450)])
def test_mcnemar_is_scipys_exact_binomial_test(a: int, b: int) -> None:
    expected = stats.binomtest(a, a + b, 0.5).pvalue if a + b else 1.0
    assert mcnemar(a, b) == pytest.approx(expected, rel=1e-8)
    assert mcnemar(b, a) == mcnemar(a, b)


@pytest.mark.parametrize(("a", "b"), [(1, 6), (4, 4), (0, 7)])
def test_mcnemar_is_the_share_of_coin_throws_at_least_so_uneven(a: int, b: int) -> None:
    """Every way in which as many coins can fall."""
    throws = list(itertools.product((0, 1), repeat=a + b))
    uneven = sum(abs(2 * sum(one) - a - b) >= abs(a - b) for one in throws)
    assert mcnemar(a, b) == pytest.approx(uneven / len(throws))


def test_the_interval_is_that_of_every_possible_sample() -> None:
    """All multisets of 12 draws from 12 images, with their probabilities: the exact bootstrap."""
    only_a, only_b, total = 2, 5, 12
    shares = [only_a / total, only_b / total, 1 - (only_a + only_b) / total]
    exact: dict[int, float] = {}
    for i, j in itertools.product(range(total + 1), repeat=2):
        if i + j <= total:
            ways = math.factorial(total) // (math.factorial(i) * math.factorial(j) * math.factorial(total - i - j))
            exact[j - i] = exact.get(j - i, 0) + ways * shares[0] ** i * shares[1] ** j * shares[2] ** (total - i - j)
    gaps = sorted(exact)
    reached = np.cumsum([exact[gap] for gap in gaps])
    low, high = (gaps[int(np.searchsorted(reached, edge))] / total for edge in (0.025, 0.975))
    assert share_difference(only_a, only_b, total, seed=0) == pytest.approx((low, high))


def test_the_interval_is_scipys_paired_bootstrap() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(300) < 0.7, rng.random(300) < 0.8
    found = share_difference(int((a & ~b).sum()), int((b & ~a).sum()), 300, seed=1)
    result = stats.bootstrap(
        (a.astype(float), b.astype(float)),
        lambda x, y, axis: y.mean(axis=axis) - x.mean(axis=axis),
        paired=True,
        method="percentile",
        n_resamples=5000,
        rng=2,
    )
    assert found == pytest.approx(tuple(result.confidence_interval), abs=0.008)


def test_models_that_never_differed_may_still_differ() -> None:
    """With N images and a true share p of others, none is met with probability (1 - p)^N."""
    low, high = share_difference(0, 0, 200, seed=0)
    assert -low == high
    assert (1 - high) ** 200 == pytest.approx(0.025)


@pytest.mark.parametrize("total", [20, 300])
def test_interval_and_test_say_the_same(total: int) -> None:
    alone = 0
    for only_a in range(6):
        for only_b in range(only_a, 15):
            noise = mcnemar(only_a, only_b) >= 0.05
            found = share_difference(only_a, only_b, total, seed=0)
            low, high = in_accord(found, within_noise=noise)
            assert noise == (low <= 0 <= high)
            alone += noise != (found[0] <= 0 <= found[1])
    assert alone > 3  # which the bootstrap alone does not


def test_the_number_of_images_gives_the_power_that_was_promised() -> None:
    """1,000 experiments of that size, each decided by the exact test: about 80 % tell."""
    needed = images_needed(30, 50, 1000)
    assert needed is not None
    draws = np.random.default_rng(0).multinomial(needed, [0.03, 0.05, 0.92], size=1000)
    told = np.mean([mcnemar(int(a), int(b)) < 0.05 and b > a for a, b, _ in draws])
    assert told == pytest.approx(0.8, abs=0.04)
    assert images_needed(7, 7, 90) is None
    assert images_needed(0, 90, 90) is not None


def test_holms_correction_is_his_procedure() -> None:
    """Hypotheses are rejected one by one while p <= 0.05 / (those left); all are where the corrected p is <= 0.05."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        p_values = (rng.random(6) ** 4).tolist()
        rejected = set()
        for rank, place in enumerate(np.argsort(p_values).tolist()):
            if p_values[place] > 0.05 / (6 - rank):
                break
            rejected.add(place)
        assert rejected == {place for place, value in enumerate(holm(p_values)) if value <= 0.05}
    assert () == holm([])

"""Every score against scikit-learn, scipy, or its definition written out slowly."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats
from sklearn import metrics as theirs

from vitreous.evaluation.metrics import (
    balanced_accuracy,
    calibration_error,
    class_scores,
    confusion_matrix,
    top_k_accuracy,
    wilson_interval,
)
from vitreous.predict import ranked


def _case(seed: int, count: int = 300, classes: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels; class 5 never occurs, class 2 is never predicted."""
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 1, 2, 3, 4, 6], count)
    scores = rng.normal(size=(count, classes)) + 1.5 * np.eye(classes)[labels]
    scores[:, 2] -= 50
    return scores, labels


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_top_k_equals_scikit_learn(k: int) -> None:
    scores, labels = _case(0)
    expected = theirs.top_k_accuracy_score(labels, scores, k=k, labels=range(7))
    assert top_k_accuracy(ranked(scores, 5), labels, k) == pytest.approx(expected, abs=1e-12)


def test_equal_scores_do_not_count_as_right() -> None:
    """A head of zeros knows nothing: it is right where the first class is the true one, not everywhere."""
    labels = np.array([0, 1, 2, 3])
    assert top_k_accuracy(ranked(np.zeros((4, 4)), 5), labels, 1) == 0.25
    assert top_k_accuracy(ranked(np.zeros((4, 4)), 5), labels, 2) == 0.5
    assert top_k_accuracy(ranked(np.zeros((4, 4)), 5), labels, 5) == 1.0


def test_confusion_and_scores_per_class_equal_scikit_learn() -> None:
    """Also where a class has no images or is never predicted: None, where scikit-learn puts a 0 and a warning."""
    scores, labels = _case(1)
    predicted = scores.argmax(axis=1)
    confusion = confusion_matrix(labels, predicted, 7)
    np.testing.assert_array_equal(confusion, theirs.confusion_matrix(labels, predicted, labels=range(7)))
    found = class_scores(confusion, [f"class {i}" for i in range(7)])
    expected = theirs.precision_recall_fscore_support(labels, predicted, labels=range(7), zero_division=np.nan)
    for i, score in enumerate(found):
        assert score.name == f"class {i}"
        assert score.support == expected[3][i]
        for ours, precise in zip((score.precision, score.recall), (expected[0][i], expected[1][i]), strict=True):
            assert (ours is None and math.isnan(precise)) or ours == pytest.approx(precise, abs=1e-12)
        assert score.f1 == pytest.approx(expected[2][i], abs=1e-12)
    assert found[2].precision is None
    assert found[5].recall is None


def test_a_class_nobody_has_or_claims_has_no_scores() -> None:
    score = class_scores(np.array([[3, 0], [0, 0]]), ["seen", "absent"])[1]
    assert (score.support, score.precision, score.recall, score.f1) == (0, None, None, None)


def test_balanced_accuracy_equals_scikit_learn() -> None:
    scores, labels = _case(2)
    predicted = scores.argmax(axis=1) % 5  # classes without images are predicted too
    expected = np.mean([(predicted[labels == c] == c).mean() for c in np.unique(labels)])
    found = balanced_accuracy(confusion_matrix(labels, predicted, 7))
    assert found == pytest.approx(expected, abs=1e-12)
    present = np.isin(predicted, labels)
    found = balanced_accuracy(confusion_matrix(labels[present], predicted[present], 7))
    assert found == pytest.approx(theirs.balanced_accuracy_score(labels[present], predicted[present]), abs=1e-12)


@pytest.mark.parametrize("bins", [15, 4])
def test_calibration_error_equals_the_definition(bins: int) -> None:
    """Bin by bin, image by image, probabilities on the edges of bins included."""
    rng = np.random.default_rng(3)
    confidence = np.concatenate([rng.uniform(0.1, 1, 500), np.arange(1, bins + 1) / bins, [0.0, 1.0]])
    correct = rng.uniform(size=len(confidence)) < confidence**2
    total = 0.0
    for b in range(bins):
        inside = [i for i, p in enumerate(confidence) if b / bins < p <= (b + 1) / bins or (b == 0 and p == 0)]
        if inside:
            accuracy = sum(bool(correct[i]) for i in inside) / len(inside)
            stated = sum(confidence[i] for i in inside) / len(inside)
            total += len(inside) / len(confidence) * abs(accuracy - stated)
    assert calibration_error(confidence, correct, bins) == pytest.approx(total, abs=1e-12)


def test_perfect_calibration_and_its_opposite() -> None:
    assert calibration_error(np.ones(9), np.ones(9, bool)) == 0
    assert calibration_error(np.ones(9), np.zeros(9, bool)) == 1


@pytest.mark.parametrize(("successes", "total"), [(0, 1), (1, 1), (0, 37), (37, 37), (1, 40), (29, 37), (970, 1000)])
def test_wilson_interval_equals_scipy_and_its_defining_equation(successes: int, total: int) -> None:
    """Its ends are the shares from which the observed one is exactly 1.96 standard errors away."""
    low, high = wilson_interval(successes, total)
    theirs_ = stats.binomtest(successes, total).proportion_ci(0.95, method="wilson")
    assert (low, high) == pytest.approx((theirs_.low, theirs_.high), abs=1e-12)
    share, z = successes / total, stats.norm.ppf(0.975)

    def distance(p: float) -> float:
        return (share - p) ** 2 - z**2 * p * (1 - p) / total

    if successes:
        assert low == pytest.approx(optimize.brentq(distance, 1e-9, share - 1e-9), abs=1e-9)
    if successes < total:
        assert high == pytest.approx(optimize.brentq(distance, share + 1e-9, 1 - 1e-9), abs=1e-9)
    assert 0 <= low <= share <= high <= 1

"""Figures from scores and probabilities against scikit-learn, and against their definitions written out slowly."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special
from sklearn import metrics as theirs

from vitreous.evaluation.intervals import (
    balanced_of,
    bootstrap,
    calibration_of,
    mean_of,
    percentiles,
    precision_of,
    precision_samples,
    resamples,
)
from vitreous.evaluation.metrics import (
    area_under_roc,
    balanced_accuracy,
    brier_scores,
    calibration_error,
    class_means,
    class_scores,
    confusion_matrix,
    cross_entropies,
    log_losses,
    log_normaliser,
    mean_average_precision,
    rms_calibration_error,
)


def _case(seed: int, count: int = 230, classes: int = 7, steps: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels of every class; with `steps`, logits of few values so that many are equal."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % classes)
    logits = rng.normal(size=(count, classes)) + 1.2 * np.eye(classes)[labels]
    return (np.round(logits * steps) / steps if steps else logits), labels


@pytest.mark.parametrize(("classes", "steps"), [(7, 0), (7, 2), (2, 0), (41, 0)])
def test_area_under_roc_equals_scikit_learn(classes: int, steps: int) -> None:
    """Of probabilities, from logits and softmax's denominators; also with ties, and over more than one block."""
    logits, labels = _case(classes, classes=classes, steps=steps)
    probabilities = np.round(special.softmax(logits, axis=1), 12)
    found = area_under_roc(logits, labels, log_normaliser(logits))
    if classes == 2:
        expected = theirs.roc_auc_score(labels, probabilities[:, 1])
    else:
        expected = theirs.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert found.mean == pytest.approx(expected, abs=1e-9)
    assert classes == found.classes
    assert found.influence.mean() == pytest.approx(0, abs=1e-12)


def test_area_under_roc_of_several_labels_equals_scikit_learn() -> None:
    """A class that all or no images show has no curve and is left out, not counted as 0."""
    rng = np.random.default_rng(0)
    scores, shown = rng.integers(0, 9, (150, 6)) / 8, rng.random((150, 6)) < 0.3
    shown[:, 2], shown[:, 4] = False, True
    kept = [0, 1, 3, 5]
    found = area_under_roc(scores, shown)
    assert found.mean == pytest.approx(theirs.roc_auc_score(shown[:, kept], scores[:, kept], average="macro"))
    assert 4 == found.classes
    assert area_under_roc(scores[:, :1], np.zeros(150, int)).mean is None


def test_the_roc_curves_influence_is_the_jackknifes() -> None:
    """Leaving one image out moves the area by its influence over N: the first order of the infinitesimal jackknife."""
    logits, labels = _case(3, count=400, classes=2)
    whole = area_under_roc(logits, labels)
    assert whole.mean is not None
    for place in (0, 1, 17, 399):
        rest = np.arange(400) != place
        without = area_under_roc(logits[rest], labels[rest]).mean
        assert without is not None
        assert 399 * (whole.mean - without) == pytest.approx(whole.influence[place], rel=0.02, abs=0.01)


def test_means_over_classes_equal_scikit_learn() -> None:
    """Class 2 is never predicted and class 5 has no images: both are left out where they are undefined."""
    rng = np.random.default_rng(1)
    labels = rng.choice([0, 1, 2, 3, 4, 6], 200)
    predicted = rng.choice([0, 1, 3, 4, 5, 6], 200)
    scores = class_scores(confusion_matrix(labels, predicted, 8), [str(i) for i in range(8)])
    for found, average in zip(class_means(scores), ("macro", "weighted"), strict=True):
        expected = theirs.precision_recall_fscore_support(
            labels, predicted, labels=range(7), average=average, zero_division=np.nan
        )
        assert (found.precision, found.recall, found.f1) == pytest.approx(expected[:3], abs=1e-12)
    assert (6, 6, 7) == class_means(scores)[0].over
    nothing = class_means(class_scores(np.zeros((3, 3), int), "abc"))
    assert all(one.precision is one.recall is one.f1 is None for one in nothing)


@pytest.mark.parametrize("classes", [2, 7])
def test_log_loss_and_brier_equal_scikit_learn(classes: int) -> None:
    logits, labels = _case(5, classes=classes)
    probabilities = special.softmax(logits, axis=1)
    expected = theirs.log_loss(labels, probabilities)
    assert log_losses(logits, labels).mean() == pytest.approx(expected, abs=1e-12)
    brier = theirs.brier_score_loss(labels, probabilities, labels=range(classes), scale_by_half=False)
    assert brier_scores(probabilities, labels).mean() == pytest.approx(brier, abs=1e-12)


def test_losses_of_questions_equal_scikit_learn() -> None:
    rng = np.random.default_rng(2)
    logits, shown = 4 * rng.normal(size=(60, 5)), rng.random((60, 5)) < 0.4
    probabilities = special.expit(logits)
    expected = np.mean([theirs.log_loss(shown[:, i], probabilities[:, i]) for i in range(5)])
    assert cross_entropies(logits, shown).mean() == pytest.approx(expected, abs=1e-12)
    expected = np.mean([theirs.brier_score_loss(shown[:, i], probabilities[:, i]) for i in range(5)])
    assert brier_scores(probabilities, shown).mean() == pytest.approx(expected, abs=1e-12)
    assert np.isfinite(cross_entropies(np.array([[900.0, -900.0]]), np.array([[False, True]]))).all()


def _hendrycks(confidence: np.ndarray, correct: np.ndarray, beta: int) -> float:
    """calib_err of natural-adv-examples with p = "2", written anew, its loop over all bins instead of all but one."""
    order = sorted(range(len(confidence)), key=lambda i: confidence[i])
    bins = [[i * beta, (i + 1) * beta] for i in range(len(order) // beta)]
    bins[-1][1] = len(order)
    total = 0.0
    for low, high in bins:
        inside = order[low:high]
        gap = sum(confidence[i] for i in inside) / len(inside) - sum(bool(correct[i]) for i in inside) / len(inside)
        total += len(inside) / len(order) * gap**2
    return math.sqrt(total)


@pytest.mark.parametrize(("count", "per_bin"), [(430, 100), (500, 100), (60, 7)])
def test_rms_calibration_error_is_hendryckss_with_its_last_bin(count: int, per_bin: int) -> None:
    rng = np.random.default_rng(count)
    confidence = rng.uniform(0.2, 1, count)
    correct = rng.random(count) < confidence**2
    expected = _hendrycks(confidence, correct, per_bin)
    assert rms_calibration_error(confidence, correct, per_bin) == pytest.approx(expected, abs=1e-12)
    assert rms_calibration_error(confidence[:9], correct[:9]) == pytest.approx(
        abs(confidence[:9].mean() - correct[:9].mean())
    )


def test_statistics_under_weights_are_those_of_repeated_images() -> None:
    """An image that counts three times counts as three images; one that counts 0 times is not there."""
    rng = np.random.default_rng(4)
    logits, labels = _case(4, count=90, classes=4)
    weights = rng.integers(0, 4, 90)
    rows = np.repeat(np.arange(90), weights)
    predicted, confidence = logits.argmax(axis=1), special.softmax(logits, axis=1).max(axis=1)
    correct = predicted == labels
    scale = len(rows) / 90
    repeated = balanced_accuracy(confusion_matrix(labels[rows], predicted[rows], 4))
    assert balanced_of(labels, correct, 4)(weights) == pytest.approx(repeated)
    repeated = calibration_error(confidence[rows], correct[rows])
    assert calibration_of(confidence, correct)(weights) == pytest.approx(repeated * scale)
    assert mean_of(confidence)(weights) == pytest.approx(confidence[rows].mean() * scale)
    shown = np.eye(4, dtype=bool)[labels]
    assert precision_of(np.round(logits, 1), shown)(weights) == pytest.approx(
        mean_average_precision(np.round(logits, 1)[rows], shown[rows])
    )


def test_the_bootstrap_of_a_mean_has_its_standard_error() -> None:
    """The middle 95 % of 1,000 samples lie 1.96 standard errors to both sides, and the same every time."""
    values = np.random.default_rng(0).normal(size=500)
    first, again, other = (bootstrap({"mean": mean_of(values)}, 500, seed=seed)["mean"] for seed in (0, 0, 1))
    assert first == again
    assert first != other
    error = values.std() / math.sqrt(500)
    assert first[1] - first[0] == pytest.approx(2 * 1.96 * error, rel=0.08)
    assert sum(first) / 2 == pytest.approx(values.mean(), abs=0.2 * error)


def test_samples_are_drawn_with_replacement_and_differ_by_purpose() -> None:
    drawn = [next(resamples(50, seed=3, purpose=purpose)) for purpose in ("a", "a", "b")]
    assert [50, 50, 50] == [int(one.sum()) for one in drawn]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any()


def test_an_interval_holds_its_score_and_passes_over_what_is_undefined() -> None:
    assert percentiles(np.array([0.2, 0.3, np.nan]), 0.1) == (0.1, pytest.approx(0.2975))
    assert percentiles(np.array([np.nan]), 0.4) == (0.4, 0.4)


def test_a_mean_average_precision_of_too_many_scores_has_no_interval() -> None:
    assert 1000 == precision_samples(1000, 20)
    assert 0 == precision_samples(50_000, 1000)

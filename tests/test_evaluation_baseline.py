"""Baselines: as good as scikit-learn's, because they are the same."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression as Theirs

from vitreous.data.imageset import ImageSet, array_set
from vitreous.data.layouts.builtin import load_builtin
from vitreous.data.sources import open_images
from vitreous.errors import DataError
from vitreous.evaluation import baseline
from vitreous.evaluation.baseline import fit_logistic, majority_baseline, pixel_baseline


def _digits(per_class: int) -> tuple[ImageSet, ImageSet, np.ndarray, np.ndarray]:
    """A few digits to learn from and some others, with their places."""
    digits = load_builtin("digits", None).train
    rng = np.random.default_rng(per_class)
    train = np.concatenate([rng.permutation(np.flatnonzero(digits.labels == c))[:per_class] for c in range(10)])
    test = np.setdiff1d(np.arange(len(digits)), train)
    return digits.subset(train), digits.subset(test), train, test


@pytest.mark.parametrize(
    ("count", "width", "classes", "inverse_penalty"), [(90, 7, 3, 1.0), (200, 11, 5, 0.1), (60, 4, 2, 20.0)]
)
def test_the_fit_is_scikit_learns(count: int, width: int, classes: int, inverse_penalty: float) -> None:
    """The same probabilities, on features far from zero and of different sizes."""
    rng = np.random.default_rng(classes)
    labels = rng.permutation(np.arange(count) % classes)
    features = rng.normal(size=(count, width)) * np.linspace(0.2, 2, width) + 3 + 0.7 * labels[:, None]
    ours = fit_logistic(features, labels, inverse_penalty=inverse_penalty).probabilities(features)
    model = Theirs(C=inverse_penalty, tol=1e-10, max_iter=5000, solver="newton-cg").fit(features, labels)
    np.testing.assert_allclose(ours, model.predict_proba(features), rtol=0, atol=1e-5)


@pytest.mark.parametrize("per_class", [10, 100])
def test_pixels_reach_what_scikit_learn_reaches_on_digits(per_class: int) -> None:
    """Against its LogisticRegression on the same RGB pixels of the same images."""
    train, test, train_places, test_places = _digits(per_class)
    rgb = np.repeat(np.round(load_digits().data * 255 / 16) / 255, 3, axis=1)
    target = load_digits().target
    model = Theirs(max_iter=5000).fit(rgb[train_places], target[train_places])
    expected = model.score(rgb[test_places], target[test_places])
    found = pixel_baseline(train, test, seed=0)
    assert found.top1 == pytest.approx(expected, abs=2 / len(test))
    assert found.top1 > 0.85
    assert f"on 8 x 8 RGB pixels, fitted to {10 * per_class:,} training images" in found.explained


def test_grey_images_give_what_their_three_equal_channels_give(monkeypatch: pytest.MonkeyPatch) -> None:
    """One column in place of three is a short cut, not another method."""
    train, test, _, _ = _digits(5)
    short = pixel_baseline(train, test, seed=0)
    monkeypatch.setattr(baseline, "_is_grey", lambda _: False)
    assert short.top1 == pytest.approx(pixel_baseline(train, test, seed=0).top1, abs=2 / len(test))


def test_many_images_are_drawn_by_seed_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    train, test, _, _ = _digits(20)
    monkeypatch.setattr(baseline, "_MOST_IMAGES", 60)
    first, again, other = (pixel_baseline(train, test, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.top1 != other.top1
    assert "fitted to 60 of 200, drawn by seed 1, training images" in first.explained


def test_photos_are_shrunk_and_unreadable_ones_left_out(tmp_path: Path) -> None:
    """Colours tell these two classes apart; one file is no picture, and the sizes differ."""
    rng = np.random.default_rng(0)
    for name, colour in (("blue", (20, 30, 200)), ("red", (200, 30, 20))):
        (tmp_path / name).mkdir()
        for i in range(6):
            noise = rng.integers(-20, 21, (50 + i, 70 - i, 3))
            Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(tmp_path / name / f"{i}.png")
    (tmp_path / "blue" / "0.png").write_text("no picture")
    images = open_images(tmp_path)
    found = pixel_baseline(images, images, seed=0)
    assert found.top1 == 1
    assert "16 x 16 RGB pixels, fitted to 11 training images" in found.explained
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="not one of the images can be read"):
        pixel_baseline(images, images.subset([0]), seed=0)


def test_the_majority_class_is_that_of_the_training_images() -> None:
    """Scored on the test images by name, though their classes stand in another order."""
    pixels = np.zeros((7, 5, 6, 3), np.uint8)
    train = array_set("few", pixels, np.array([0, 1, 1, 1, 2, 2, 0]), ("cat", "dog", "owl"))
    test = array_set("others", pixels, np.array([0, 0, 1, 1, 1, 0, 1]), ("owl", "dog"))
    found = majority_baseline(train, test)
    names = [test.classes[label] for label in test.labels]
    assert found.top1 == Counter(names)["dog"] / 7
    assert "always answers dog" in found.explained

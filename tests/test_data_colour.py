"""Colour jitter and 3-Augment are torchvision's and DeiT-III's, bit for bit, with the same numbers."""

from __future__ import annotations

import math

import numpy as np
import oracles
import pytest
from image_files import gradient
from PIL import Image, ImageFilter, ImageOps

from vitreous.data.augmenting.augment import sample_rng
from vitreous.data.augmenting.colour import jittered, three

NOISE = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)


@pytest.mark.parametrize("image", [gradient(24, 40), NOISE], ids=["gradient", "noise"])
@pytest.mark.parametrize("index", range(12))
def test_jitter_is_torchvision_s(image: np.ndarray, index: int) -> None:
    """ColorJitter, told which factors and which order to draw."""
    transforms = oracles.torchvision().transforms
    twin = sample_rng(0, 0, index)
    brightness, contrast, saturation = (0.4 + 1.2 * twin.random(3)).tolist()
    order = np.argsort(twin.random(3))
    theirs = transforms.ColorJitter(0.6, 0.6, 0.6)
    with pytest.MonkeyPatch.context() as patched:
        drawn = (order, brightness, contrast, saturation, None)
        patched.setattr(theirs, "get_params", lambda *_: drawn)
        expected = np.asarray(theirs(Image.fromarray(image)))
    assert (jittered(image, sample_rng(0, 0, index), 0.6) == expected).all()


def test_factors_and_orders_are_drawn_evenly() -> None:
    """A grey image shows its brightness factor; that of a black and white one, whether contrast came before it."""
    grey = np.full((4, 5, 3), 100, np.uint8)
    factors = np.array([jittered(grey, sample_rng(0, 0, index), 0.5)[0, 0, 0] / 100 for index in range(2000)])
    assert factors.min() >= 0.49
    assert factors.max() <= 1.5
    assert abs(factors.mean() - 0.995) < 5 * 0.29 / math.sqrt(2000)  # Pillow drops fractions: 0.005 less
    deciles = np.histogram(factors, bins=10, range=(0.495, 1.5))[0]
    assert np.abs(deciles - 200).max() < 5 * math.sqrt(2000 * 0.1 * 0.9)


def test_no_strength_changes_nothing() -> None:
    assert (jittered(NOISE, sample_rng(0, 0, 0), 0.0) == NOISE).all()


def test_three_is_one_of_grey_solarised_and_blurred() -> None:
    """deit/augment.py: Grayscale(3), ImageOps.solarize, GaussianBlur with a radius from 0.1 to 2; a third each."""
    transforms = oracles.torchvision().transforms
    photo = Image.fromarray(NOISE)
    grey = np.asarray(transforms.Grayscale(3)(photo))
    solarised = np.asarray(ImageOps.solarize(photo))
    found = {"grey": 0, "solarised": 0, "blurred": 0}
    for index in range(600):
        view = three(NOISE, sample_rng(0, 0, index))
        if (view == grey).all():
            found["grey"] += 1
        elif (view == solarised).all():
            found["solarised"] += 1
        else:
            twin = sample_rng(0, 0, index)
            twin.random()
            radius = 0.1 + 1.9 * twin.random()
            assert (view == np.asarray(photo.filter(ImageFilter.GaussianBlur(radius)))).all()
            found["blurred"] += 1
    assert all(abs(count - 200) < 5 * math.sqrt(600 * 2 / 9) for count in found.values())


@pytest.mark.parametrize("change", [three, lambda image, rng: jittered(image, rng, 0.5)], ids=["three", "jitter"])
def test_size_and_input_stay(change) -> None:  # type: ignore[no-untyped-def]
    image = gradient(24, 40)
    image.flags.writeable = False
    for index in range(12):
        view = change(image, sample_rng(0, 0, index))
        assert (view.shape, view.dtype) == ((24, 40, 3), np.uint8)
        assert (view == change(image, sample_rng(0, 0, index))).all()

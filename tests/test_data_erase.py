"""Erasing is timm's RandomErasing in pixel mode with the same numbers, but for 8 bits."""

from __future__ import annotations

import math
import random

import numpy as np
import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import gradient

from vitreous.config import AugmentConfig, PreprocessConfig
from vitreous.data.augmenting.augment import augment, sample_rng
from vitreous.data.augmenting.erase import erased, erased_place
from vitreous.picture.preprocess import normalise

FRAME = PreprocessConfig(image_size=(24, 40), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
IMAGE = gradient(24, 40)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**31))
def test_the_rectangle_and_its_noise_are_timm_s(seed: int) -> None:
    """timm draws from our stream; its floats differ by half a step of 8 bits, or lie beyond black or white."""
    module = oracles.timm().data.random_erasing
    twin = sample_rng(seed, 0, 0)

    def pixels(_: bool, __: bool, patch: tuple[int, int, int], **___: object) -> torch.Tensor:
        noise = twin.standard_normal((patch[1], patch[2], patch[0]), np.float32)
        return torch.from_numpy(noise).permute(2, 0, 1)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(random, "random", lambda: 0.0)
        patched.setattr(random, "uniform", lambda low, high: low + (high - low) * twin.random())
        patched.setattr(random, "randint", lambda low, high: low + int(twin.random() * (high - low + 1)))
        patched.setattr(module, "_get_pixels", pixels)
        theirs = module.RandomErasing(probability=1.0, mode="pixel", device="cpu")
        expected = theirs(torch.from_numpy(normalise(IMAGE, FRAME))).numpy()
    found = normalise(erased(IMAGE, sample_rng(seed, 0, 0), FRAME), FRAME)
    black, white = (normalise(np.full((24, 40, 3), value, np.uint8), FRAME) for value in (0, 255))
    half_a_step = 0.5 / 255 / 0.224
    assert np.abs(found - expected.clip(black, white)).max() <= half_a_step * 1.001


def test_areas_and_aspects_are_drawn_evenly() -> None:
    places = [erased_place((1000, 1400), sample_rng(0, 0, index)) for index in range(2000)]
    areas = np.array([rows * columns / 1_400_000 for place in places if place for _, _, rows, columns in [place]])
    assert len(areas) == 2000
    assert 0.0199 <= areas.min() <= areas.max() <= 0.334
    deciles = np.histogram(areas, bins=10, range=(0.0199, 0.334))[0]
    assert np.abs(deciles - 200).max() < 6 * math.sqrt(2000 * 0.1 * 0.9)


@settings(max_examples=100, deadline=None)
@given(st.tuples(st.integers(1, 60), st.integers(1, 60)), st.integers(0, 1000))
def test_a_rectangle_lies_in_the_image_and_leaves_some_of_it(size: tuple[int, int], seed: int) -> None:
    place = erased_place(size, sample_rng(seed, 0, 0))
    if place is not None:
        top, left, rows, columns = place
        assert 0 <= top <= top + rows <= size[0]
        assert 0 <= left <= left + columns <= size[1]
        assert rows < size[0]
        assert columns < size[1]


def test_outside_the_rectangle_nothing_changes_and_the_input_never() -> None:
    image = gradient(24, 40)
    image.flags.writeable = False
    for index in range(20):
        place = erased_place((24, 40), sample_rng(0, 0, index))
        assert place is not None
        top, left, rows, columns = place
        changed = (erased(image, sample_rng(0, 0, index), FRAME) != image).any(-1)
        assert not changed[:top].any()
        assert not changed[top + rows :].any()
        assert not changed[:, :left].any()
        assert not changed[:, left + columns :].any()


def test_a_pixel_has_nothing_to_erase() -> None:
    image = np.full((1, 1, 3), 7, np.uint8)
    assert (erased(image, sample_rng(0, 0, 0), FRAME) == image).all()


def test_it_happens_as_often_as_asked() -> None:
    config = AugmentConfig(crop="centre", flip=False, erase=0.25)
    frame = PreprocessConfig(image_size=(24, 40), resize="squash", crop_ratio=1.0)
    changed = sum((augment(IMAGE, sample_rng(0, 0, i), config, frame) != IMAGE).any() for i in range(1000))
    assert abs(changed - 250) < 5 * math.sqrt(1000 * 0.25 * 0.75)

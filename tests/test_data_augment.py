"""Augmentation is a pure function of (seed, epoch, index), stays within its bounds, and shows the image."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import gradient

from vitreous.config import AugmentConfig, PreprocessConfig
from vitreous.data.augmenting.augment import augment, sample_rng
from vitreous.data.augmenting.colour import jittered, three
from vitreous.data.augmenting.crops import cut, inception_box
from vitreous.data.augmenting.erase import erased
from vitreous.picture.preprocess import fit

STILL = AugmentConfig(crop="centre", flip=False)
FRAME = PreprocessConfig(image_size=(24, 40), crop_ratio=1.0, interpolation="bilinear")
SQUASH = replace(FRAME, resize="squash")


def views(image: np.ndarray, config: AugmentConfig, frame: PreprocessConfig, count: int) -> list[np.ndarray]:
    return [augment(image, sample_rng(0, epoch, 5), config, frame) for epoch in range(count)]


configs = {
    "crop": st.sampled_from(["inception", "centre", "padded", "resmall", "squash"]),
    "crop_area": st.sampled_from([(0.05, 1.0), (0.35, 1.0), (1.0, 1.0), (0.001, 0.01)]),
    "crop_aspect": st.sampled_from([(3 / 4, 4 / 3), (1.0, 1.0), (0.1, 0.2)]),
    "flip": st.booleans(),
    "rotate": st.sampled_from([0.0, 10.0, 180.0]),
    "shift": st.sampled_from([0.0, 0.1, 0.9]),
    "zoom": st.sampled_from([0.0, 0.1, 0.9]),
}
frames = {
    "image_size": st.tuples(st.integers(1, 40), st.integers(1, 40)),
    "resize": st.sampled_from(["cover", "squash"]),
    "crop_ratio": st.sampled_from([0.5, 0.875, 1.0]),
    "interpolation": st.sampled_from(["nearest", "bilinear", "bicubic", "box", "lanczos"]),
}


@settings(max_examples=300, deadline=None)
@given(
    st.fixed_dictionaries(configs),
    st.fixed_dictionaries(frames),
    st.tuples(st.integers(1, 70), st.integers(1, 70)),
    st.integers(0, 2**31),
)
def test_every_setting_works_on_every_image(
    config: dict[str, Any], frame: dict[str, Any], shape: tuple[int, int], seed: int
) -> None:
    """Never another size, never a colour the image does not have."""
    augmentation, view_of = AugmentConfig(**config), PreprocessConfig(**frame)
    image = np.full((*shape, 3), (10, 130, 250), np.uint8)
    view = augment(image, sample_rng(seed, 1, 2), augmentation, view_of)
    assert view.shape == (*view_of.image_size, 3)
    assert view.dtype == np.uint8
    assert np.abs(view.astype(int) - (10, 130, 250)).max() <= 1
    again = augment(image.copy(), sample_rng(seed, 1, 2), augmentation, view_of)
    assert (again == view).all()


def test_seed_epoch_and_index_all_matter() -> None:
    draws = {sample_rng(*key).random() for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1), (1, 1, 0)]}
    assert len(draws) == 6
    assert sample_rng(3, 4, 5).random() == sample_rng(3, 4, 5).random()


def test_repeats_of_an_image_differ_and_the_first_is_the_only_one_s() -> None:
    assert len({sample_rng(3, 4, 5, repeat).random() for repeat in range(4)}) == 4
    assert sample_rng(3, 4, 5, 0).random() == sample_rng(3, 4, 5).random()


def test_without_augmentation_it_is_evaluation_s_view() -> None:
    image = np.random.default_rng(0).integers(0, 256, (50, 37, 3), np.uint8)
    frame = replace(FRAME, crop_ratio=0.8, interpolation="bicubic")
    assert (augment(image, sample_rng(0, 0, 0), STILL, frame) == fit(image, frame)).all()


def test_half_of_the_images_are_mirrored() -> None:
    image = gradient(24, 40)
    shown = views(image, replace(STILL, flip=True), SQUASH, 400)
    mirrored = [(view == image[:, ::-1]).all() for view in shown]
    assert all(mirror or (view == image).all() for view, mirror in zip(shown, mirrored, strict=True))
    assert abs(sum(mirrored) - 200) < 5 * 10  # five standard deviations


@pytest.mark.parametrize("policy", ["none", "randaugment", "randaugment-timm", "three"])
@pytest.mark.parametrize("crop", ["inception", "centre", "padded", "resmall", "squash"])
def test_every_policy_is_a_pure_function_of_image_and_numbers(policy: str, crop: str) -> None:
    """uint8 in the frame's size, the same for the same numbers, another for others; its image is never written to."""
    config = AugmentConfig(crop=crop, policy=policy, rand_magnitude=9.0, rand_std=0.5, jitter=0.3, erase=0.5)  # type: ignore[arg-type]
    image = gradient(50, 37)
    image.flags.writeable = False
    shown = views(image, config, FRAME, 12)
    again = views(image.copy(), config, FRAME, 12)
    for view, twin in zip(shown, again, strict=True):
        assert view.shape == (24, 40, 3)
        assert view.dtype == np.uint8
        assert (view == twin).all()
    assert len({view.tobytes() for view in shown}) == 12


def test_things_happen_in_the_order_of_deit() -> None:
    """Crop, mirror, policy, jitter, erasing: each by hand, from one stream of numbers."""
    config = AugmentConfig(policy="three", jitter=0.3, erase=0.9, crop_area=(0.3, 1.0))
    image = gradient(50, 37)
    for index in range(20):
        rng = sample_rng(0, 0, index)
        view = cut(image, inception_box((50, 37), rng, config), (24, 40), "bilinear")
        view = view[:, ::-1] if rng.random() < 0.5 else view
        view = jittered(three(view, rng), rng, 0.3)
        view = erased(view, rng, FRAME) if rng.random() < 0.9 else view
        assert (augment(image, sample_rng(0, 0, index), config, FRAME) == view).all()


def test_the_image_itself_is_never_changed() -> None:
    image = gradient(24, 40)
    image.flags.writeable = False
    for config in (STILL, replace(STILL, rotate=25.0, shift=0.2), AugmentConfig(), AugmentConfig(rotate=10.0)):
        augment(image, sample_rng(0, 0, 0), config, SQUASH)

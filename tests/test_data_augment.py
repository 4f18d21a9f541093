"""Augmentation is a pure function of (seed, epoch, index), stays within its bounds, and shows the image."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import gradient
from PIL import Image
from scipy import ndimage

from vitreous.config import AugmentConfig, PreprocessConfig
from vitreous.data.augment import augment, inception_box, motion, sample_rng
from vitreous.picture.preprocess import fit

STILL = AugmentConfig(crop="centre", flip=False)
FRAME = PreprocessConfig(image_size=(24, 40), crop_ratio=1.0, interpolation="bilinear")
SQUASH = replace(FRAME, resize="squash")


def views(image: np.ndarray, config: AugmentConfig, frame: PreprocessConfig, count: int) -> list[np.ndarray]:
    return [augment(image, sample_rng(0, epoch, 5), config, frame) for epoch in range(count)]


configs = {
    "crop": st.sampled_from(["inception", "centre"]),
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


# ---------------------------------------------------------------- crops


@settings(max_examples=200, deadline=None)
@given(
    st.tuples(st.integers(1, 500), st.integers(1, 500)),
    st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)),
    st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)),
    st.integers(0, 1000),
)
def test_a_crop_lies_in_the_image_and_keeps_its_aspect(
    shape: tuple[int, int], area: tuple[float, float], aspect: tuple[float, float], seed: int
) -> None:
    config = AugmentConfig(crop_area=(min(area), max(area)), crop_aspect=(min(aspect), max(aspect)))
    left, top, right, bottom = inception_box(shape, sample_rng(seed, 0, 0), config)
    assert 0 <= left < right <= shape[1] + 1e-9
    assert 0 <= top < bottom <= shape[0] + 1e-9
    assert min(aspect) * (1 - 1e-9) <= (right - left) / (bottom - top) <= max(aspect) * (1 + 1e-9)


def test_areas_aspects_and_places_are_drawn_evenly() -> None:
    """Area uniform, logarithm of the aspect uniform, place uniform: 2,000 draws against their means."""
    config = AugmentConfig(crop_area=(0.1, 0.5))
    boxes = np.array([inception_box((300, 400), sample_rng(0, 0, index), config) for index in range(2000)])
    wide, high = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    area, aspect = wide * high / (300 * 400), np.log(wide / high)
    for values, low, high_end in (
        (area, 0.1, 0.5),
        (aspect, math.log(3 / 4), math.log(4 / 3)),
        (boxes[:, 0] / (400 - wide), 0, 1),
        (boxes[:, 1] / (300 - high), 0, 1),
    ):
        deciles = np.histogram(values, bins=10, range=(low, high_end))[0]
        assert deciles.sum() == 2000
        assert np.abs(deciles - 200).max() < 5 * math.sqrt(2000 * 0.1 * 0.9)


def test_a_crop_that_cannot_fit_is_the_largest_centred_one() -> None:
    config = AugmentConfig(crop_area=(1.0, 1.0), crop_aspect=(3 / 4, 4 / 3))
    assert inception_box((300, 900), sample_rng(0, 0, 0), config) == (250.0, 0.0, 650.0, 300.0)
    assert inception_box((900, 300), sample_rng(0, 0, 0), config) == (0.0, 250.0, 300.0, 650.0)


def test_a_crop_shows_what_lies_in_its_box() -> None:
    """The image's red is the column, its green the row: the view's mean tells where it was cut."""
    y, x = np.mgrid[0:200, 0:250]
    image = np.stack([x, y, 0 * x], axis=-1).astype(np.uint8)
    config = AugmentConfig(crop_area=(0.1, 0.4), flip=False)
    for index in range(20):
        left, top, right, bottom = inception_box((200, 250), sample_rng(0, 0, index), config)
        view = augment(image, sample_rng(0, 0, index), config, SQUASH)
        assert abs(view[..., 0].mean() - ((left + right) / 2 - 0.5)) < 1
        assert abs(view[..., 1].mean() - ((top + bottom) / 2 - 0.5)) < 1
        assert abs(np.ptp(view[..., 0].astype(int)) - (right - left) * 39 / 40) < 3


def test_reducing_first_changes_photos_imperceptibly() -> None:
    image = np.asarray(Image.fromarray(gradient(30, 40)).resize((800, 600), Image.Resampling.BICUBIC))
    config = AugmentConfig(crop_area=(0.8, 1.0), flip=False)
    box = inception_box((600, 800), sample_rng(0, 0, 0), config)
    exact = Image.fromarray(image).resize((40, 24), Image.Resampling.BILINEAR, box=box)
    view = augment(image, sample_rng(0, 0, 0), config, SQUASH)
    assert np.abs(view.astype(int) - np.asarray(exact)).max() <= 2


# ---------------------------------------------------------------- rotation, shift, zoom

MOVING = replace(STILL, rotate=25.0, shift=0.2, zoom=0.3)


@pytest.mark.parametrize("index", range(8))
def test_the_affine_map_equals_scipy_s(index: int) -> None:
    """SciPy's spline of order 1 with the border going on, in pixel centres, from the same six numbers."""
    image = gradient(24, 40)
    a, b, c, d, e, f = motion(sample_rng(1, 2, index), MOVING, (24, 40))
    matrix = np.array([[e, d], [b, a]])  # SciPy counts (row, column)
    offset = np.array([d * 0.5 + e * 0.5 + f - 0.5, a * 0.5 + b * 0.5 + c - 0.5])
    expected = np.stack(
        [
            ndimage.affine_transform(image[..., channel].astype(float), matrix, offset, order=1, mode="nearest")
            for channel in range(3)
        ],
        axis=-1,
    )
    view = augment(image, sample_rng(1, 2, index), MOVING, SQUASH)
    assert np.abs(view - expected).max() <= 1.01


def test_the_map_does_what_its_bounds_say() -> None:
    for index in range(200):
        a, b, c, d, e, f = motion(sample_rng(0, 0, index), MOVING, (24, 40))
        assert (a, b) == (e, -d)  # a rotation and a scale, no shear
        assert 1 / 1.3 <= math.hypot(a, b) <= 1 / 0.7
        assert abs(math.degrees(math.atan2(b, a))) <= 25
        solve = np.linalg.solve([[a, b], [d, e]], [20 - c, 12 - f])  # where the centre of the image goes
        assert abs(solve[0] - 20) <= 0.2 * 40 + 1e-9
        assert abs(solve[1] - 12) <= 0.2 * 24 + 1e-9


def test_a_digit_s_black_border_stays_black() -> None:
    digit = np.zeros((28, 28, 3), np.uint8)
    digit[8:20, 10:18] = 255
    frame = PreprocessConfig(image_size=(28, 28), resize="squash", interpolation="bilinear")
    for view in views(digit, replace(STILL, rotate=15.0, shift=0.1, zoom=0.1), frame, 50):
        border = np.concatenate([view[0], view[-1], view[:, 0], view[:, -1]])
        assert border.max() == 0
        assert view.max() == 255


def test_around_a_crop_the_photograph_goes_on() -> None:
    """The centre is red, the rest blue: a shifted centre crop must show blue, not more of the red border."""
    image = np.full((60, 100, 3), (0, 0, 255), np.uint8)
    image[15:45, 25:75] = (255, 0, 0)
    frame = PreprocessConfig(image_size=(24, 40), crop_ratio=0.5, interpolation="bilinear")
    assert (fit(image, frame)[3:-3, 3:-3] == (255, 0, 0)).all()
    blues = [view[..., 2].mean() for view in views(image, replace(STILL, shift=0.3), frame, 30)]
    assert max(blues) > 60


def test_beyond_the_photograph_its_border_goes_on() -> None:
    """Red is the column, so that every row of the view must rise to the image's ends and then stay there."""
    image = np.repeat(np.linspace(0, 255, 40).astype(np.uint8)[None, :, None], 24, axis=0).repeat(3, axis=2)
    for view in views(image, replace(STILL, shift=0.5), SQUASH, 30):
        assert (np.diff(view[..., 0].astype(int), axis=1) >= 0).all()
        assert (view == view[:1]).all()


def test_the_image_itself_is_never_changed() -> None:
    image = gradient(24, 40)
    image.flags.writeable = False
    for config in (STILL, MOVING, AugmentConfig(), AugmentConfig(rotate=10.0)):
        augment(image, sample_rng(0, 0, 0), config, SQUASH)

"""Rotation, shift and zoom are one map with SciPy's pixels, within their bounds, and show what is really there."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from image_files import gradient
from scipy import ndimage

from vitreous.config import AugmentConfig, PreprocessConfig
from vitreous.data.augmenting.affine import motion
from vitreous.data.augmenting.augment import augment, sample_rng
from vitreous.picture.preprocess import fit

STILL = AugmentConfig(crop="centre", flip=False)
FRAME = PreprocessConfig(image_size=(24, 40), crop_ratio=1.0, interpolation="bilinear")
SQUASH = replace(FRAME, resize="squash")
MOVING = replace(STILL, rotate=25.0, shift=0.2, zoom=0.3)


def views(image: np.ndarray, config: AugmentConfig, frame: PreprocessConfig, count: int) -> list[np.ndarray]:
    return [augment(image, sample_rng(0, epoch, 5), config, frame) for epoch in range(count)]


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

"""Preprocessing equals what the reference pipelines do, pixel for pixel."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import timm, torchvision
from PIL import Image

from vitreous.config import PreprocessConfig
from vitreous.picture.preprocess import centre_box, fit, normalise, preprocess, resized

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def noise(height: int, width: int) -> np.ndarray:
    """White noise: every misplaced tap of a filter shows."""
    return np.random.default_rng((height, width)).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos", "nearest", "box"])
@pytest.mark.parametrize("shape", [(37, 61), (61, 37), (48, 48), (500, 375), (9, 200)])
@pytest.mark.parametrize(("size", "crop_ratio"), [((32, 32), 0.875), ((48, 24), 0.9), ((24, 40), 1.0)])
def test_cover_equals_timm(
    interpolation: str, shape: tuple[int, int], size: tuple[int, int], crop_ratio: float
) -> None:
    image = noise(*shape)
    config = PreprocessConfig(
        image_size=size,
        crop_ratio=crop_ratio,
        interpolation=interpolation,  # type: ignore[arg-type]
        mean=MEAN,
        std=STD,
    )
    transform = timm().data.create_transform(
        input_size=(3, *size), crop_pct=crop_ratio, interpolation=interpolation, mean=MEAN, std=STD
    )
    expected = transform(Image.fromarray(image)).numpy()
    actual = preprocess(image, config)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)  # ToTensor divides by 255; pixels are equal
    levels = expected * np.array(STD)[:, None, None] + np.array(MEAN)[:, None, None]
    assert (fit(image, config) == np.round(levels * 255).astype(np.uint8).transpose(1, 2, 0)).all()


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.integers(8, 40),
    st.floats(0.5, 1.0),
    st.sampled_from(["bilinear", "bicubic"]),
)
def test_cover_equals_torchvision_to_the_last_bit(
    shape: tuple[int, int], size: int, crop_ratio: float, interpolation: str
) -> None:
    image = noise(*shape)
    v2 = torchvision().transforms.v2
    mode = torchvision().transforms.InterpolationMode(interpolation)
    transform = v2.Compose(
        [
            v2.Resize(int(size / crop_ratio), interpolation=mode),
            v2.CenterCrop(size),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    config = PreprocessConfig(
        image_size=(size, size),
        crop_ratio=crop_ratio,
        interpolation=interpolation,  # type: ignore[arg-type]
        mean=MEAN,
        std=STD,
    )
    assert (preprocess(image, config) == transform(Image.fromarray(image)).numpy()).all()


@pytest.mark.parametrize("shape", [(37, 61), (61, 37), (24, 40)])
def test_squash_equals_torchvision(shape: tuple[int, int]) -> None:
    image = noise(*shape)
    v2 = torchvision().transforms.v2
    mode = torchvision().transforms.InterpolationMode.BILINEAR
    expected = np.asarray(v2.Resize((24, 40), interpolation=mode)(Image.fromarray(image)))
    config = PreprocessConfig(image_size=(24, 40), resize="squash", crop_ratio=0.5, interpolation="bilinear")
    assert (fit(image, config) == expected).all()


def test_normalise_treats_every_image_of_a_batch_alike() -> None:
    batch = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 11, 3), np.uint8)
    config = PreprocessConfig(mean=MEAN, std=STD)
    values = normalise(batch, config)
    assert values.shape == (2, 5, 3, 7, 11)
    assert values.flags.c_contiguous
    assert (values[1, 3] == normalise(batch[1, 3], config)).all()
    exact = (batch.astype(np.float64) / 255 - MEAN) / STD
    np.testing.assert_allclose(values, np.moveaxis(exact, -1, 2), rtol=0, atol=1e-6)


def test_an_image_of_the_right_size_is_not_resampled() -> None:
    image = noise(24, 40)
    assert (fit(image, PreprocessConfig(image_size=(24, 40), crop_ratio=1.0)) == image).all()


@pytest.mark.parametrize("shape", [(1, 20_000), (20_000, 1)])
def test_a_thread_like_image_needs_little_memory(shape: tuple[int, int]) -> None:
    """Covering 224 x 224 with 1 x 20,000 would pass through 1.3 gigapixels."""
    image = np.broadcast_to(np.uint8(77), (*shape, 3)).copy()
    tracemalloc.start()
    fitted = fit(image, PreprocessConfig(image_size=(224, 224)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (fitted == 77).all()
    assert peak < 10e6


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(20, 120), st.integers(20, 120)),
    st.tuples(st.integers(8, 40), st.integers(8, 40)),
    st.floats(0.5, 1.0),
)
def test_the_short_cut_for_long_images_shows_the_same_pixels(
    shape: tuple[int, int], size: tuple[int, int], crop_ratio: float
) -> None:
    """Pillow's `box` resizes the part alone. It may do columns before rows then, and round once more or less.

    The noise leaves room for the filter's overshoot, so that no rounding is a clipping.
    """
    image = noise(*shape) // 2 + 64
    config = PreprocessConfig(image_size=size, crop_ratio=crop_ratio)
    part = resized(image, size, config.interpolation, box=centre_box(shape, config))
    assert np.abs(part.astype(int) - fit(image, config)).max() <= 2

"""Where a training view is cut from: within the image, evenly, and where the reference's own code cuts it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import gradient
from PIL import Image

from vitreous.config import AugmentConfig, PreprocessConfig
from vitreous.data.augmenting.augment import augment, sample_rng
from vitreous.data.augmenting.crops import crop, cut, inception_box
from vitreous.errors import ConfigError

FRAME = PreprocessConfig(image_size=(24, 40), crop_ratio=1.0, interpolation="bilinear")
SQUASH = replace(FRAME, resize="squash")
BICUBIC = PreprocessConfig(image_size=(28, 28), interpolation="bicubic")


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


# ---------------------------------------------------------------- padded, resmall, squash

NOISE = {shape: np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8) for shape in [(50, 37), (31, 84)]}


def corner(image: np.ndarray, index: int, config: AugmentConfig, frame: PreprocessConfig) -> tuple[int, int]:
    """(top, left) of the frame that is cut out."""
    _, box = crop(image, sample_rng(0, 0, index), config, frame)
    return round(box[1]), round(box[0])


@pytest.mark.parametrize("shape", NOISE)
@pytest.mark.parametrize("index", range(5))
def test_a_padded_crop_is_torchvision_s(shape: tuple[int, int], index: int) -> None:
    """deit/augment.py with --src: Resize of the shorter side, then RandomCrop with 4 reflected pixels around."""
    transforms = oracles.torchvision().transforms
    config = AugmentConfig(crop="padded", flip=False)
    top, left = corner(NOISE[shape], index, config, BICUBIC)
    small = transforms.Resize(28, transforms.InterpolationMode.BICUBIC)(Image.fromarray(NOISE[shape]))
    padded = transforms.functional.pad(small, 4, padding_mode="reflect")
    expected = transforms.functional.crop(padded, top, left, 28, 28)
    assert (augment(NOISE[shape], sample_rng(0, 0, index), config, BICUBIC) == np.asarray(expected)).all()


@pytest.mark.parametrize("shape", NOISE)
@pytest.mark.parametrize("resize", [None, 28, 45])
def test_a_resmall_crop_is_big_vision_s(shape: tuple[int, int], resize: int | None) -> None:
    """`resize_small(32)|random_crop(28)`: one factor for both sides, rounded; the filter is ours."""
    config = AugmentConfig(crop="resmall", flip=False, resize=resize)
    top, left = corner(NOISE[shape], 3, config, BICUBIC)
    factor = (resize or 32) / min(shape)
    rows, columns = (round(side * factor) for side in shape)
    small = Image.fromarray(NOISE[shape]).resize((columns, rows), Image.Resampling.BICUBIC)
    expected = np.asarray(small)[top : top + 28, left : left + 28]
    assert (augment(NOISE[shape], sample_rng(0, 0, 3), config, BICUBIC) == expected).all()


def test_a_squash_crop_is_bit_s() -> None:
    """BiT's hyperrule: Resize((160, 160)), RandomCrop((128, 128)); here with a frame that is no square."""
    config, frame = AugmentConfig(crop="squash", flip=False, resize=30), replace(FRAME, interpolation="bicubic")
    image = NOISE[50, 37]
    top, left = corner(image, 2, config, frame)
    expected = np.asarray(Image.fromarray(image).resize((50, 30), Image.Resampling.BICUBIC))
    assert (augment(image, sample_rng(0, 0, 2), config, frame) == expected[top : top + 24, left : left + 40]).all()


@pytest.mark.parametrize(("how", "room"), [("padded", (8, 8)), ("resmall", (3, 25)), ("squash", (3, 6))])
def test_every_place_of_the_frame_comes_equally_often(how: str, room: tuple[int, int]) -> None:
    image = np.zeros((54, 130, 3) if how == "resmall" else (48, 80, 3), np.uint8)
    config = AugmentConfig(crop=how, flip=False)  # type: ignore[arg-type]
    corners = np.array([corner(image, index, config, FRAME) for index in range(1500)])
    for axis, extra in enumerate(room):
        counts = np.bincount(corners[:, axis], minlength=extra + 1)
        expected = 1500 / (extra + 1)
        assert len(counts) == extra + 1
        assert np.abs(counts - expected).max() < 5 * math.sqrt(expected)


@pytest.mark.parametrize("how", ["padded", "resmall"])
def test_a_sliver_is_cut_without_a_giant_in_between(how: str) -> None:
    """1 x 90,000 pixels at 24 x 40 would be 24 x 2,160,000 in between: 150 MB."""
    image = np.zeros((1, 90_000, 3), np.uint8)
    image[:, 60_000:] = 255
    config = AugmentConfig(crop=how, flip=False)  # type: ignore[arg-type]
    for index in range(20):
        source, box = crop(image, sample_rng(0, 0, index), config, FRAME)
        assert source is image
        assert 0 <= box[0] < box[2] <= 90_000
        assert (box[1] >= 0, box[3] <= 1) == (True, True)
        assert cut(source, box, (24, 40), "bilinear").shape == (24, 40, 3)


def test_a_frame_larger_than_what_it_is_cut_from_is_refused() -> None:
    config = AugmentConfig(crop="resmall", resize=20)
    with pytest.raises(ConfigError, match="resize 20 is smaller than the 24 x 40 pixels") as caught:
        augment(NOISE[50, 37], sample_rng(0, 0, 0), config, FRAME)
    assert caught.value.remedy == "give resize at least 24, or leave it out for 27"

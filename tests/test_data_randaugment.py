"""Both RandAugments: timm's bit for bit from one stream of numbers, the original against its formulas in NumPy."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import gradient
from PIL import Image

from vitreous.config import AugmentConfig, PreprocessConfig
from vitreous.data.augmenting import randaugment as policies
from vitreous.data.augmenting.augment import augment, sample_rng
from vitreous.data.augmenting.operations import Warp
from vitreous.data.augmenting.randaugment import (
    INCREASING,
    ORIGINAL,
    increasing,
    original,
    randaugment,
    randaugment_timm,
)

PHOTO = np.clip(gradient(48, 70) + np.random.default_rng(0).integers(-20, 21, (48, 70, 3)), 0, 255).astype(np.uint8)
WARP = Warp(Image.Resampling.BICUBIC, (124, 116, 104))

# ---------------------------------------------------------------- timm's


def older_posterize(image: Image.Image, bits: int, **_: object) -> Image.Image:
    """Pillow's before version 13, which refuses to keep no bits; timm at its greatest strength asks for that."""
    return Image.fromarray(np.asarray(image) & np.uint8(256 - 2 ** (8 - bits)))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("magnitude", [9, 10])
def test_the_whole_policy_is_timm_s(interpolation: str, magnitude: int) -> None:
    """`create_transform`'s own rand-m9-mstd0.5-inc1, drawing from our stream; 300 images, every pixel."""
    module = oracles.timm().data.auto_augment
    frame = PreprocessConfig(
        image_size=(48, 70), resize="squash", crop_ratio=1.0, interpolation=interpolation, mean=(0.485, 0.456, 0.406)
    )
    config = AugmentConfig(
        crop="centre", flip=False, policy="randaugment-timm", rand_magnitude=float(magnitude), rand_std=0.5
    )
    filters = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    settings_of_timm = {"img_mean": (124, 116, 104), "interpolation": filters[interpolation]}
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(module.NAME_TO_OP, "PosterizeIncreasing", older_posterize)
        theirs = module.rand_augment_transform(f"rand-m{magnitude}-mstd0.5-inc1", settings_of_timm)
        for index in range(300):
            twin = sample_rng(0, 0, index)
            patched.setattr(module.random, "random", twin.random)
            patched.setattr(module.random, "gauss", lambda mean, std, twin=twin: mean + std * twin.standard_normal())
            patched.setattr(
                module.np.random,
                "choice",
                lambda ops, count, twin=twin, **_: [ops[int(twin.random() * len(ops))] for _ in range(count)],
            )
            expected = np.asarray(theirs(Image.fromarray(PHOTO)))
            assert (augment(PHOTO, sample_rng(0, 0, index), config, frame) == expected).all(), index


def test_timm_s_list_of_operations_is_ours() -> None:
    assert oracles.timm().data.auto_augment._RAND_INCREASING_TRANSFORMS == list(INCREASING)


@pytest.mark.parametrize("name", sorted(set(INCREASING) - {"AutoContrast", "Equalize", "Invert"}))
def test_timm_s_operations_grow_from_nothing(name: str) -> None:
    """At level 0 all leave the image alone, but for posterising, which keeps 4 bits."""
    view = np.asarray(increasing(Image.fromarray(PHOTO), name, 0.0, sample_rng(0, 0, 0), WARP))
    assert (view == (PHOTO & 0xF0 if "Posterize" in name else PHOTO)).all()


# ---------------------------------------------------------------- the original, written down anew from its formulas


def blend(one: np.ndarray, other: np.ndarray, factor: float) -> np.ndarray:
    mixed = one.astype(np.float32) + np.float32(factor) * (other.astype(np.float32) - one.astype(np.float32))
    return np.trunc(mixed.clip(0, 255)).astype(np.uint8)


def to_grey(image: np.ndarray) -> np.ndarray:
    """tf.image.rgb_to_grayscale: in floats, back by `x * 255.5` without its fraction."""
    grey = (image / 255) @ np.array([0.2989, 0.5870, 0.1140])
    return np.trunc(grey * 255.5).astype(np.uint8)[..., None].repeat(3, -1)


def smoothed(image: np.ndarray) -> np.ndarray:
    result = image.copy()
    for y in range(1, image.shape[0] - 1):
        for x in range(1, image.shape[1] - 1):
            around = image[y - 1 : y + 2, x - 1 : x + 2].astype(float)
            result[y, x] = (around.sum((0, 1)) + 4 * around[1, 1]) / 13
    return result


def seen_through(image: np.ndarray, source: np.ndarray) -> np.ndarray:
    """tfa.image.transform: the nearest pixel's middle; 128 beyond the image. `source` gives (y, x) of every pixel."""
    result = np.full_like(image, 128)
    height, width = image.shape[:2]
    for y in range(height):
        for x in range(width):
            row, column = (math.floor(value + 0.5) for value in source[y, x])
            if 0 <= row < height and 0 <= column < width:
                result[y, x] = image[row, column]
    return result


def source_of(name: str, level: float, index: int) -> np.ndarray | None:
    """(y, x) in PHOTO of what every pixel shows; None for operations that move nothing."""
    height, width = PHOTO.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(float)
    sign = -1 if sample_rng(0, 0, index).random() > 0.5 else 1
    shear, shift, angle = sign * level * 0.03, sign * level * 10, math.radians(sign * level * 3)
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    match name:
        case "Rotate":
            away_y, away_x, sin, cos = y - middle_y, x - middle_x, math.sin(angle), math.cos(angle)
            return np.stack([sin * away_x + cos * away_y + middle_y, cos * away_x - sin * away_y + middle_x], -1)
        case "ShearX":
            return np.stack([y, x + shear * y], -1)
        case "ShearY":
            return np.stack([y + shear * x, x], -1)
        case "TranslateX":
            return np.stack([y, x + shift], -1)
        case "TranslateY":
            return np.stack([y + shift, x], -1)
    return None


def expected_of(name: str, image: np.ndarray, level: float, index: int) -> np.ndarray:
    """big_vision/pp/archive/autoaugment.py, operation by operation."""
    enhance = level / 10 * 1.8 + 0.1
    match name:
        case "AutoContrast":
            low, high = image.min((0, 1)).astype(float), image.max((0, 1)).astype(float)
            return np.trunc((image - low) * (255 / (high - low)) + 1e-9).astype(np.uint8)
        case "Equalize":
            return np.stack([equalised(image[..., channel]) for channel in range(3)], -1)
        case "Invert":
            return 255 - image
        case "Posterize":
            shift = min((8 - int(level / 10 * 4)) % 256, 7)
            return image >> shift << shift
        case "Solarize":
            return np.where(image < int(level / 10 * 256) % 256, image, 255 - image)
        case "SolarizeAdd":
            return np.where(image < 128, (image.astype(int) + int(level * 11)).clip(0, 255), image).astype(np.uint8)
        case "Color":
            return blend(to_grey(image), image, enhance)
        case "Contrast":
            return blend(np.full_like(image, int(to_grey(image)[..., 0].mean())), image, enhance)
        case "Brightness":
            return blend(np.zeros_like(image), image, enhance)
        case "Sharpness":
            return blend(smoothed(image), image, enhance)
    assert name == "Cutout"
    twin = sample_rng(0, 0, index)
    height, width = image.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    row, column = int(twin.random() * height), int(twin.random() * width)
    half = int(level / 10 * 40)
    near = (y >= row - half) & (y < row + half) & (x >= column - half) & (x < column + half)
    return np.where(near[..., None], np.uint8(128), image)


def equalised(channel: np.ndarray) -> np.ndarray:
    histogram = np.bincount(channel.ravel(), minlength=256)
    step = (histogram.sum() - histogram[histogram > 0][-1]) // 255
    if step == 0:
        return channel
    return (np.concatenate([[0], (histogram.cumsum() + step // 2)[:-1] // step]).clip(0, 255)).astype(np.uint8)[channel]


INEXACT = {"Color": 1, "Contrast": 2, "Sharpness": 1}  # by how much the image blended with may differ, of 255


@pytest.mark.parametrize("level", [0, 3, 5, 10, 15, 20])
@pytest.mark.parametrize("name", ORIGINAL)
def test_an_operation_is_what_its_formula_says(name: str, level: int) -> None:
    """Exact, but for what Pillow rounds where TensorFlow drops fractions, and for ties between two nearest pixels."""
    for index in range(2):
        view = np.asarray(original(Image.fromarray(PHOTO), name, float(level), sample_rng(0, 0, index)))
        source = source_of(name, level, index)
        if source is None:
            difference = np.abs(view.astype(int) - expected_of(name, PHOTO, float(level), index))
            factor = level / 10 * 1.8 + 0.1
            assert difference.max() <= math.ceil(abs(1 - factor) * INEXACT.get(name, 0))
        else:
            tie = (np.abs(source % 1 - 0.5) < 1e-3).any(-1)
            assert (view == seen_through(PHOTO, source))[~tie].all()


@pytest.mark.parametrize("name", ["Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY", "Cutout", "SolarizeAdd"])
def test_no_magnitude_changes_nothing(name: str) -> None:
    assert (np.asarray(original(Image.fromarray(PHOTO), name, 0.0, sample_rng(0, 0, 0))) == PHOTO).all()


def test_every_operation_of_the_original_comes_equally_often() -> None:
    """Also that each of the layers is one operation, and that none is skipped."""
    assert len(set(ORIGINAL)) == 16
    seen: Counter[str] = Counter()

    def note(image: Image.Image, name: str, level: float, rng: np.random.Generator) -> Image.Image:
        seen[name] += 1
        assert level == 15.0
        assert isinstance(rng, np.random.Generator)
        return image

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(policies, "original", note)
        for index in range(800):
            assert (randaugment(PHOTO, sample_rng(0, 0, index), layers=4, magnitude=15.0) == PHOTO).all()
    assert sum(seen.values()) == 3200
    assert all(abs(seen[name] - 200) < 5 * math.sqrt(3200 / 16) for name in ORIGINAL)


# ---------------------------------------------------------------- both


@settings(max_examples=150, deadline=None)
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.integers(0, 2**31),
    st.sampled_from([0.0, 2.5, 9.0, 10.0, 20.0, 30.0]),
    st.integers(1, 3),
)
def test_any_image_keeps_its_size_and_is_never_written_to(
    size: tuple[int, int], seed: int, magnitude: float, layers: int
) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    image.flags.writeable = False

    def both() -> list[np.ndarray]:
        return [
            randaugment(image, sample_rng(seed, 0, 0), layers=layers, magnitude=magnitude),
            randaugment_timm(image, sample_rng(seed, 0, 0), layers=layers, magnitude=magnitude, std=0.5, warp=WARP),
        ]

    for view, again in zip(both(), both(), strict=True):
        assert (view.shape, view.dtype) == ((*size, 3), np.uint8)
        assert (view == again).all()

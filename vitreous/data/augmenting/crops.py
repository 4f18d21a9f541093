"""Which part of an image a training view shows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from vitreous.architecture import Size
from vitreous.config import AugmentConfig, PreprocessConfig
from vitreous.errors import ConfigError
from vitreous.picture.preprocess import Box, centre_box, resized

_ATTEMPTS = 10  # at a crop that fits into the image

_REDUCING_GAP = 3.0  # Pillow: "indistinguishable from fair resampling in most cases", several times faster on photos

_MARGIN = 4  # mirrored pixels around an image that is to be shifted: DeiT-III's simple random crop, CIFAR's before it

_ENLARGED = 8 / 7  # a frame of 224 is cut from 256

_LARGEST_INTERMEDIATE = 32 * 2**20  # pixels; an image of 1 x 5000 at 224 px would otherwise pass through gigabytes


@dataclass(frozen=True, slots=True)
class Frame:
    """Which part of an image a view shows."""

    size: Size | None
    """(height, width) that the image is resized to first; None where it is not."""
    margin: int
    """Mirrored pixels that are put around it then."""
    box: Box
    """The part of what has become of it."""


def crop(
    image: UInt8[np.ndarray, "H W 3"],
    rng: np.random.Generator,
    config: AugmentConfig,
    preprocess: PreprocessConfig,
) -> tuple[UInt8[np.ndarray, "H2 W2 3"], Box]:
    """A random part of an image: what to cut it from, the image itself or a resized one, and where.

    Args:
        image: RGB.
        rng: drawn from.
        config: `crop` says how.
        preprocess: gives the frame that is to be filled, and the interpolation.

    Raises:
        ConfigError: the frame is to be cut from something smaller than it.
    """
    frame = drawn_frame((image.shape[0], image.shape[1]), rng, config, preprocess)
    if frame.size is None:
        return image, frame.box
    whole = resized(image, frame.size, preprocess.interpolation)
    if frame.margin:
        down, across = (np.pad(np.arange(side), frame.margin, mode="reflect") for side in frame.size)
        whole = whole.take(down, axis=0).take(across, axis=1)
    return whole, frame.box


def drawn_frame(
    image_size: Size, rng: np.random.Generator, config: AugmentConfig, preprocess: PreprocessConfig
) -> Frame:
    """Which part of an image a random view shows; its size alone decides, and the random numbers.

    Args:
        image_size: (height, width).
        rng: drawn from.
        config: `crop` says how.
        preprocess: gives the frame that is to be filled.

    Raises:
        ConfigError: the frame is to be cut from something smaller than it.
    """
    match config.crop:
        case "inception":
            return Frame(None, 0, inception_box(image_size, rng, config))
        case "centre":
            return Frame(None, 0, centre_box(image_size, preprocess))
    size, margin = _resized_first(image_size, config, preprocess), _MARGIN if config.crop == "padded" else 0
    (rows, columns), (height, width) = size, preprocess.image_size
    top = int(rng.random() * (rows + 2 * margin - height + 1))
    left = int(rng.random() * (columns + 2 * margin - width + 1))
    if rows * columns > _LARGEST_INTERMEDIATE:  # then without margins, straight from the image
        y, x = image_size[0] / rows, image_size[1] / columns
        top, left = min(max(top - margin, 0), rows - height), min(max(left - margin, 0), columns - width)
        return Frame(None, 0, (left * x, top * y, (left + width) * x, (top + height) * y))
    return Frame(size, margin, (float(left), float(top), float(left + width), float(top + height)))


def ground_size(image_size: Size, config: AugmentConfig, preprocess: PreprocessConfig) -> Size | None:
    """The size that an image has before any view is cut from it; None where views are cut from the image itself.

    An image of this size has this very size as its own: to resize it in advance changes no view.

    Args:
        image_size: (height, width).
        config: `crop` says how.
        preprocess: gives the frame that is to be filled.

    Raises:
        ConfigError: the frame is to be cut from something smaller than it.
    """
    if config.crop in ("inception", "centre"):
        return None
    rows, columns = _resized_first(image_size, config, preprocess)
    return None if rows * columns > _LARGEST_INTERMEDIATE else (rows, columns)


def inception_box(image_size: Size, rng: np.random.Generator, config: AugmentConfig) -> Box:
    """A random part of an image: its area uniform, its aspect log-uniform, its place uniform.

    Where ten draws in a row do not fit into the image, it is the largest centred part whose aspect is allowed.
    Source: Szegedy et al., CVPR 2015, section 6; torchvision's RandomResizedCrop, but in fractions of pixels, which
    matter to small images.

    Args:
        image_size: (height, width).
        rng: drawn from.
        config: `crop_area` as a share of the image, `crop_aspect` as width / height.
    """
    height, width = image_size
    (least, most), (tall, wide) = config.crop_area, config.crop_aspect
    for _ in range(_ATTEMPTS):
        area = height * width * (least + (most - least) * rng.random())
        aspect = tall * (wide / tall) ** rng.random()
        columns, rows = math.sqrt(area * aspect), math.sqrt(area / aspect)
        if columns <= width and rows <= height:
            left, top = (width - columns) * rng.random(), (height - rows) * rng.random()
            return left, top, left + columns, top + rows
    aspect = min(max(width / height, tall), wide)
    columns, rows = min(width, height * aspect), min(height, width / aspect)
    left, top = (width - columns) / 2, (height - rows) / 2
    return left, top, left + columns, top + rows


def cut(image: UInt8[np.ndarray, "H W 3"], box: Box, size: Size, interpolation: str) -> UInt8[np.ndarray, "h w 3"]:
    """The part `box` of an image at another size; the pixels themselves where the size is the same.

    Args:
        image: RGB.
        box: within it.
        size: (height, width) of the result.
        interpolation: one of PreprocessConfig's.
    """
    height, width = image.shape[:2]
    left, top = max(math.floor(box[0]), 0), max(math.floor(box[1]), 0)
    part = image[top : min(math.ceil(box[3]), height), left : min(math.ceil(box[2]), width)]  # spares Pillow the rest
    inside = (
        max(box[0] - left, 0.0),
        max(box[1] - top, 0.0),
        min(box[2] - left, float(part.shape[1])),
        min(box[3] - top, float(part.shape[0])),
    )
    return resized(part, size, interpolation, box=inside, reducing_gap=_REDUCING_GAP)


def _resized_first(image_size: Size, config: AugmentConfig, preprocess: PreprocessConfig) -> Size:
    """The size that an image is resized to before a frame is cut out, by those crops that do."""
    frame = preprocess.image_size
    match config.crop:
        case "padded":
            return _covering(image_size, frame, int)
        case "resmall":
            return _covering(image_size, _enlarged(frame, config.resize), round)
        case "squash":
            return _enlarged(frame, config.resize)
    raise AssertionError(f"no size for {config.crop}")


def _covering(image_size: Size, frame: Size, whole: Callable[[float], int]) -> Size:
    """The smallest size of the image's own proportions that covers a frame; torchvision's Resize for a square one.

    `whole` makes a side a whole number: torchvision drops the fraction, big_vision rounds.
    """
    (height, width), (rows, columns) = image_size, frame
    if rows / height >= columns / width:
        return rows, max(columns, whole(rows * width / height))
    return max(rows, whole(columns * height / width)), columns


def _enlarged(frame: Size, shorter: int | None) -> Size:
    """A frame scaled so that its shorter side is `shorter`."""
    scale = _ENLARGED if shorter is None else shorter / min(frame)
    if scale < 1:
        raise ConfigError(
            f"resize {shorter} is smaller than the {frame[0]} x {frame[1]} pixels that are to be cut from it",
            remedy=f"give resize at least {min(frame)}, or leave it out for {round(_ENLARGED * min(frame))}",
        )
    return round(frame[0] * scale), round(frame[1] * scale)

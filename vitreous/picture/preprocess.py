"""From decoded RGB to what the model is given: the one place where evaluation's resizing and scaling are done.

Pixel for pixel what torchvision's and timm's evaluation transforms make of a Pillow image, without either.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from vitreous.architecture import Size
from vitreous.config import PreprocessConfig

Box = tuple[float, float, float, float]
"""(left, top, right, bottom) in pixels of the source, as Pillow has it."""

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
    "lanczos": Image.Resampling.LANCZOS,
}

_LARGEST_INTERMEDIATE = 32 * 2**20  # pixels; an image of 1 x 5000 at 224 px would otherwise pass through a gigabyte


def preprocess(image: UInt8[np.ndarray, "H W 3"], config: PreprocessConfig) -> Float32[np.ndarray, "3 h w"]:
    """What the model is given for one decoded image.

    Args:
        image: RGB.
        config: from the model's card.
    """
    return normalise(fit(image, config), config)


def fit(image: UInt8[np.ndarray, "H W 3"], config: PreprocessConfig) -> UInt8[np.ndarray, "h w 3"]:
    """The image at the model's resolution: resized and cut to its centre ("cover"), squashed, or both.

    Args:
        image: RGB of any size.
        config: `image_size` is the resolution of the result.
    """
    height, width = config.image_size
    size = whole_size(image.shape[:2], config)
    if size is None:
        return resized(image, config.image_size, config.interpolation, box=centre_box(image.shape[:2], config))
    whole = resized(image, size, config.interpolation)
    if size == config.image_size:
        return whole
    top, left = round((size[0] - height) / 2), round((size[1] - width) / 2)
    return np.ascontiguousarray(whole[top : top + height, left : left + width])


def whole_size(image_size: Size, config: PreprocessConfig) -> Size | None:
    """The size that `fit` resizes an image to before it cuts the centre out; None where it has to cut first.

    Args:
        image_size: (height, width) of the decoded image.
        config: as for `fit`.
    """
    rows, columns = _resized_size(image_size, config)
    return None if rows * columns > _LARGEST_INTERMEDIATE else (rows, columns)


def normalise(
    pixels: UInt8[np.ndarray, "*batch h w 3"], config: PreprocessConfig
) -> Float32[np.ndarray, "*batch 3 h w"]:
    """`(pixels / 255 - mean) / std`, channels first.

    Args:
        pixels: one image or a batch, RGB.
        config: `mean` and `std` are per channel, of values in [0, 1].
    """
    values = np.empty((*pixels.shape[:-3], 3, *pixels.shape[-3:-1]), np.float32)
    # times 1/255, not divided by 255: torchvision's v2 transforms do the same, to the last bit
    np.multiply(np.moveaxis(pixels, -1, -3), np.float32(1 / 255), out=values)
    values -= np.array(config.mean, np.float32)[:, None, None]
    values /= np.array(config.std, np.float32)[:, None, None]
    return values


def resized(
    image: UInt8[np.ndarray, "H W 3"],
    size: Size,
    interpolation: str,
    *,
    box: Box | None = None,
    reducing_gap: float | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """The image, or a part of it, at another size; antialiased when it shrinks.

    Args:
        image: RGB.
        size: (height, width) of the result.
        interpolation: one of PreprocessConfig's.
        box: the part to take; by default all.
        reducing_gap: as Pillow's: shrink by a whole factor first, for speed; None for exactness.
    """
    height, width = image.shape[:2]
    if (height, width) == size and box in (None, (0, 0, width, height)):
        return image
    shrunk = Image.fromarray(image).resize(size[::-1], _FILTERS[interpolation], box=box, reducing_gap=reducing_gap)
    return np.asarray(shrunk)


def centre_box(image_size: Size, config: PreprocessConfig) -> Box:
    """The part of an image that `fit` shows.

    Args:
        image_size: (height, width) of the decoded image.
        config: as for `fit`.
    """
    (height, width), (out_height, out_width) = image_size, config.image_size
    if config.resize == "squash":
        return 0.0, 0.0, float(width), float(height)
    rows, columns = _resized_size(image_size, config)
    top, left = round((rows - out_height) / 2), round((columns - out_width) / 2)
    y, x = height / rows, width / columns
    right, bottom = min((left + out_width) * x, float(width)), min((top + out_height) * y, float(height))
    return left * x, top * y, right, bottom


def _resized_size(image_size: Size, config: PreprocessConfig) -> Size:
    """The size an image is resized to before the centre is cut out, rounded as timm rounds it.

    Source: timm/data/transforms_factory.py `transforms_imagenet_eval` (crop modes "center" and "squash"), which takes
    torchvision's Resize of the shorter side for square targets and its own ResizeKeepRatio for others.
    """
    height, width = image_size
    if config.resize == "squash":
        return config.image_size
    rows, columns = (math.floor(side / config.crop_ratio) for side in config.image_size)
    if config.resize == "squash-cut":
        return rows, columns
    if rows == columns:
        short, long = min(image_size), max(image_size)
        other = int(rows * long / short)
        return (rows, other) if height <= width else (other, rows)
    ratio = min(height / rows, width / columns)
    return round(height / ratio), round(width / ratio)

"""Small rotations, shifts and zooms: one affine map, so that pixels are interpolated once.

Around a crop the map sees what the photograph really shows there, and beyond the photograph its border goes on.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from vitreous.architecture import Size
from vitreous.config import AugmentConfig
from vitreous.data.augmenting.crops import cut
from vitreous.picture.preprocess import Box

Affine = tuple[float, float, float, float, float, float]
"""(a, b, c, d, e, f): the output pixel (x, y) shows the source at (a x + b y + c, d x + e y + f)."""


def motion(rng: np.random.Generator, config: AugmentConfig, size: Size) -> Affine:
    """A random rotation and zoom about the centre, and a shift, as one map from output to source.

    Args:
        rng: drawn from.
        config: how far each may go.
        size: (height, width) of the image.
    """
    height, width = size
    turn, grow, right, down = (2 * rng.random(4) - 1).tolist()
    angle, scale = math.radians(config.rotate * turn), 1 + config.zoom * grow
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    x, y = width / 2, height / 2
    to_x, to_y = x + config.shift * width * right, y + config.shift * height * down  # where the centre goes
    return cos, sin, x - cos * to_x - sin * to_y, -sin, cos, y + sin * to_x - cos * to_y


def moved(
    image: UInt8[np.ndarray, "H W 3"], box: Box, affine: Affine, size: Size, interpolation: str
) -> UInt8[np.ndarray, "h w 3"]:
    """The part `box` of an image at another size, seen through an affine map of that frame.

    Args:
        image: RGB.
        box: within it.
        affine: from `motion`.
        size: (height, width) of the result.
        interpolation: one of PreprocessConfig's, for the resizing; the map itself is bilinear.
    """
    height, width = size
    a, b, c, d, e, f = affine
    xs = [a * x + b * y + c for x in (0, width) for y in (0, height)]
    ys = [d * x + e * y + f for x in (0, width) for y in (0, height)]
    left, right = max(0, math.ceil(-min(xs))), max(0, math.ceil(max(xs) - width))
    top, bottom = max(0, math.ceil(-min(ys))), max(0, math.ceil(max(ys) - height))
    window = _window(image, box, size, (left, top, right, bottom), interpolation)
    view = Image.fromarray(window).transform(
        (width, height),
        Image.Transform.AFFINE,
        (a, b, c + left, d, e, f + top),
        Image.Resampling.BILINEAR,
    )
    return np.asarray(view)


def _window(
    image: UInt8[np.ndarray, "H W 3"],
    box: Box,
    size: Size,
    margins: tuple[int, int, int, int],
    interpolation: str,
) -> UInt8[np.ndarray, "h w 3"]:
    """The part `box` at `size`, with margins around it: the image itself while it lasts, then its border repeated."""
    height, width = size
    left, top, right, bottom = box
    x, y = (right - left) / width, (bottom - top) / height  # source pixels per output pixel
    ends = (left / x, top / y, (image.shape[1] - right) / x, (image.shape[0] - bottom) / y)
    real = [min(margin, int(end + 1e-6)) for margin, end in zip(margins, ends, strict=True)]
    wider = (left - real[0] * x, top - real[1] * y, right + real[2] * x, bottom + real[3] * y)
    shown = cut(image, wider, (height + real[1] + real[3], width + real[0] + real[2]), interpolation)
    columns = np.arange(real[0] - margins[0], width + real[0] + margins[2]).clip(0, shown.shape[1] - 1)
    rows = np.arange(real[1] - margins[1], height + real[1] + margins[3]).clip(0, shown.shape[0] - 1)
    return shown.take(rows, axis=0).take(columns, axis=1)

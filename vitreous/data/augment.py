"""What happens to a training image: a random crop, a mirror, a small rotation, shift and zoom.

A pure function of the run's seed, the epoch and the image's index, so that workers, restarts and micro-batches change
nothing. Rotation, shift and zoom are one affine map, so that pixels are interpolated once; around the crop it sees
what the photograph really shows there, and beyond the photograph its border goes on.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from vitreous.architecture import Size
from vitreous.config import AugmentConfig, PreprocessConfig
from vitreous.picture.preprocess import Box, centre_box, fit, resized

_PURPOSE = 2  # sets this stream apart from that of the order of images (data/order.py)

_ATTEMPTS = 10  # at a crop that fits into the image

_REDUCING_GAP = 3.0  # Pillow: "indistinguishable from fair resampling in most cases", several times faster on photos

Affine = tuple[float, float, float, float, float, float]
"""(a, b, c, d, e, f): the output pixel (x, y) shows the source at (a x + b y + c, d x + e y + f)."""


def sample_rng(seed: int, epoch: int, index: int, repeat: int = 0) -> np.random.Generator:
    """The random numbers of one view of one image in one epoch.

    Args:
        seed: of the run.
        epoch: from 0.
        index: of the image in its set.
        repeat: which view of it, from 0, where a batch shows it several times.
    """
    key = (seed, epoch, index, repeat) if repeat else (seed, epoch, index)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key, spawn_key=(_PURPOSE,))))


def augment(
    image: UInt8[np.ndarray, "H W 3"],
    rng: np.random.Generator,
    config: AugmentConfig,
    preprocess: PreprocessConfig,
) -> UInt8[np.ndarray, "h w 3"]:
    """One random view of an image, at the model's resolution.

    Args:
        image: RGB.
        rng: from `sample_rng`.
        config: what may happen.
        preprocess: gives the resolution, the interpolation, and the crop where none is drawn.
    """
    size, interpolation = preprocess.image_size, preprocess.interpolation
    moves = config.rotate > 0 or config.shift > 0 or config.zoom > 0
    if config.crop == "inception":
        box = inception_box(image.shape[:2], rng, config)
    else:
        box = centre_box(image.shape[:2], preprocess)
    if moves:
        view = _moved(image, box, motion(rng, config, size), size, interpolation)
    elif config.crop == "inception":
        view = _cut(image, box, size, interpolation)
    else:
        view = fit(image, preprocess)
    return view[:, ::-1] if config.flip and rng.random() < 0.5 else view


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


def _moved(
    image: UInt8[np.ndarray, "H W 3"], box: Box, affine: Affine, size: Size, interpolation: str
) -> UInt8[np.ndarray, "h w 3"]:
    """The part `box` of the image at `size`, seen through an affine map of that frame."""
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
    shown = _cut(image, wider, (height + real[1] + real[3], width + real[0] + real[2]), interpolation)
    columns = np.arange(real[0] - margins[0], width + real[0] + margins[2]).clip(0, shown.shape[1] - 1)
    rows = np.arange(real[1] - margins[1], height + real[1] + margins[3]).clip(0, shown.shape[0] - 1)
    return shown.take(rows, axis=0).take(columns, axis=1)


def _cut(image: UInt8[np.ndarray, "H W 3"], box: Box, size: Size, interpolation: str) -> UInt8[np.ndarray, "h w 3"]:
    """The part `box` of the image at `size`."""
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

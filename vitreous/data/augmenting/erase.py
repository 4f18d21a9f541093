"""Random erasing: a rectangle of the image replaced by noise (Zhong et al., AAAI 2020)."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import UInt8

from vitreous.architecture import Size
from vitreous.config import PreprocessConfig

_AREA = (0.02, 1 / 3)  # share of the image
_ASPECT = (0.3, 1 / 0.3)  # height / width
_ATTEMPTS = 10  # at a rectangle that fits into the image


def erased(
    image: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator, preprocess: PreprocessConfig
) -> UInt8[np.ndarray, "h w 3"]:
    """The image with noise in a random rectangle: timm's RandomErasing in its mode "pixel", as DeiT and MAE use it.

    The noise is normal with mean 0 and deviation 1 in the numbers that the model is given; as the image has yet to
    become those, it is rounded to 8 bits, and cut off where it would be darker than black or lighter than white.

    Args:
        image: RGB.
        rng: drawn from.
        preprocess: gives the mean and deviation that pixels are normalised by.
    """
    place = erased_place((image.shape[0], image.shape[1]), rng)
    if place is None:
        return image
    top, left, rows, columns = place
    mean, std = (np.array(values, np.float32) for values in (preprocess.mean, preprocess.std))
    noise = rng.standard_normal((rows, columns, 3), np.float32) * std + mean
    result = image.copy()
    result[top : top + rows, left : left + columns] = np.rint(255 * noise).clip(0, 255)
    return result


def erased_place(size: Size, rng: np.random.Generator) -> tuple[int, int, int, int] | None:
    """(top, left, rows, columns) of a random rectangle; None where ten draws in a row do not fit into the image.

    Args:
        size: (height, width) of the image.
        rng: drawn from.
    """
    height, width = size
    for _ in range(_ATTEMPTS):
        area = height * width * (_AREA[0] + (_AREA[1] - _AREA[0]) * rng.random())
        aspect = _ASPECT[0] * (_ASPECT[1] / _ASPECT[0]) ** rng.random()
        rows, columns = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if rows < height and columns < width:
            return int(rng.random() * (height - rows + 1)), int(rng.random() * (width - columns + 1)), rows, columns
    return None

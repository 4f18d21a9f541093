"""What was in the patches that are hidden: their colours in 3 bits a channel, or their pixels (appendix B.1.2).

The paper does not say how a colour becomes 3 bits; here level = floor(8 * mean) with the mean in [0, 1], 8 itself
taken down to 7, and class = 64 * red + 8 * green + blue. Sums are whole numbers, so a mean that lies exactly between
two levels falls on the same side on every machine.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

from vitreous.architecture import Size

MaskedTarget = Literal["mean-colour", "downsampled", "pixels"]

NUM_COLOURS = 512
"""Colours of 3 bits a channel."""

_LEVELS = 8  # of a channel


def cells(target: MaskedTarget) -> int:
    """Colours that are said of one patch: of the whole, or of 4 x 4 cells.

    Args:
        target: what is said; for pixels the colour is worked out from them.
    """
    return 16 if target == "downsampled" else 1


def num_outputs(target: MaskedTarget, patch: Size) -> int:
    """Numbers that are said of one patch.

    Args:
        target: what is said.
        patch: (height, width) in pixels.
    """
    return 3 * patch[0] * patch[1] if target == "pixels" else cells(target) * NUM_COLOURS


def colour_classes(images: UInt8[np.ndarray, "b H W 3"], grid: Size, patch: Size, side: int) -> Int64[Tensor, "b N C"]:
    """Mean colours of every patch, or of its cells, as classes from 0 to 511; patches and cells in reading order.

    A cell may cover parts of pixels; they count by their area.

    Args:
        images: RGB; pixels behind the last whole patch count for nothing.
        grid: (rows, columns) of patches.
        patch: (height, width) in pixels.
        side: a patch is cut into side x side cells; 1 for its mean colour.
    """
    (rows, columns), times = grid, [side // math.gcd(length, side) for length in patch]
    pixels = torch.from_numpy(_whole_patches(images, grid, patch))
    pixels = pixels.repeat_interleave(times[0], 1).repeat_interleave(times[1], 2) if max(times) > 1 else pixels
    height, width = (length * more // side for length, more in zip(patch, times, strict=True))  # of a cell
    down = pixels.reshape(-1, height, pixels.shape[2] * 3).sum(1, dtype=torch.int32)  # (b * h * i, W * 3)
    sums = down.reshape(-1, rows, side, columns, side, width, 3).sum(-2).transpose(2, 3)  # (b, h, w, i, j, 3)
    return _class_of((8 * sums // (255 * height * width)).long()).flatten(3).flatten(1, 2)


def patch_pixels(images: UInt8[np.ndarray, "b H W 3"], grid: Size, patch: Size) -> Float32[Tensor, "b N P"]:
    """The pixels of every patch from -1 for black to 1 for white, row by row, red, green and blue next to each other.

    Args:
        images: RGB.
        grid: (rows, columns) of patches.
        patch: (height, width) in pixels.
    """
    (rows, columns), (height, width) = grid, patch
    pieces = torch.from_numpy(_whole_patches(images, grid, patch)).reshape(-1, rows, height, columns, width, 3)
    return pieces.movedim(3, 2).reshape(len(images), rows * columns, -1).float() / 127.5 - 1  # (b, h * w, p * q * 3)


def colour_of_pixels(pixels: Float32[Tensor, "*b P"]) -> Int64[Tensor, "*b"]:
    """The class of the mean colour of patches that are given as pixels.

    Args:
        pixels: as `patch_pixels` gives them, or as a model says them.
    """
    mean = pixels.unflatten(-1, (-1, 3)).mean(dim=-2)
    return _class_of((4 * (mean + 1)).floor().long().clamp(min=0))


def colours(classes: Int64[np.ndarray, "*b"]) -> UInt8[np.ndarray, "*b 3"]:
    """The RGB colour in the middle of each class.

    Args:
        classes: from 0 to 511.
    """
    levels = np.stack([classes // 64, classes // 8 % 8, classes % 8], axis=-1)
    return np.round((levels + 0.5) * 255 / _LEVELS).astype(np.uint8)


def _class_of(levels: Int64[Tensor, "*b 3"]) -> Int64[Tensor, "*b"]:
    """64 * red + 8 * green + blue; white, whose level is 8, is taken down."""
    red, green, blue = levels.clamp(max=_LEVELS - 1).unbind(-1)
    return 64 * red + 8 * green + blue


def _whole_patches(images: UInt8[np.ndarray, "b H W 3"], grid: Size, patch: Size) -> UInt8[np.ndarray, "b y x 3"]:
    return np.ascontiguousarray(images[:, : grid[0] * patch[0], : grid[1] * patch[1]])

"""Single operations on an image with their strength given: what the policies of randaugment.py choose from.

Pillow does the arithmetic wherever it has the operation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

Colour = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""


@dataclass(frozen=True)
class Warp:
    """How images are turned, slanted and shifted."""

    resampling: Image.Resampling
    """NEAREST, BILINEAR or BICUBIC."""
    fill: Colour
    """What is seen beyond the image."""

    def rotated(self, image: Image.Image, degrees: float) -> Image.Image:
        """Turned counter-clockwise about its centre.

        Args:
            image: RGB.
            degrees: either way.
        """
        return image.rotate(degrees, resample=self.resampling, fillcolor=self.fill)

    def slanted(self, image: Image.Image, axis: Literal["x", "y"], amount: float, *, about: float = 0.0) -> Image.Image:
        """Its rows (x) or columns (y) moved in proportion to their distance from the first.

        Args:
            image: RGB.
            axis: along which pixels move.
            amount: pixels per row or column; positive moves left or up.
            about: the row or column that stays, counted from the image's edge: 0.5 is the middle of the first.
        """
        shift = -amount * about
        moves = (1, amount, shift, 0, 1, 0) if axis == "x" else (1, 0, 0, amount, 1, shift)
        return self._mapped(image, moves)

    def shifted(self, image: Image.Image, axis: Literal["x", "y"], pixels: float) -> Image.Image:
        """Moved as a whole.

        Args:
            image: RGB.
            axis: along which.
            pixels: positive moves left or up.
        """
        return self._mapped(image, (1, 0, pixels, 0, 1, 0) if axis == "x" else (1, 0, 0, 0, 1, pixels))

    def _mapped(self, image: Image.Image, affine: tuple[float, ...]) -> Image.Image:
        return image.transform(
            image.size, Image.Transform.AFFINE, affine, resample=self.resampling, fillcolor=self.fill
        )


def posterised(image: Image.Image, bits: int) -> Image.Image:
    """Only the highest bits of each value kept; none makes the image black, which Pillow's own refuses since 13.

    Args:
        image: RGB.
        bits: 0 to 8.
    """
    mask = 0xFF & ~(2 ** (8 - bits) - 1)
    return image.point([value & mask for value in range(256)] * 3)


def lifted(image: Image.Image, amount: int) -> Image.Image:
    """Its darker half made lighter, up to white ("SolarizeAdd").

    Args:
        image: RGB.
        amount: added to values below 128.
    """
    return image.point([min(value + amount, 255) if value < 128 else value for value in range(256)] * 3)


def cut_out(image: Image.Image, half: int, rng: np.random.Generator, fill: Colour) -> Image.Image:
    """A square about a random pixel filled, cut off at the border (DeVries & Taylor, 2017).

    Args:
        image: RGB.
        half: of the square's side, in pixels.
        rng: drawn from.
        fill: with what.
    """
    width, height = image.size
    y, x = int(rng.random() * height), int(rng.random() * width)
    result = image.copy()
    result.paste(fill, (max(x - half, 0), max(y - half, 0), min(x + half, width), min(y + half, height)))
    return result

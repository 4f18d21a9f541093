"""Pixels to pages: pictures as data URIs, attention drawn over them, patches cut out, perceptual colour maps.

Colours are chosen for eyes of every kind: both maps rise evenly in lightness, so they read in grey as well.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from vitreous.architecture import Size

_SMALL = 64  # pixels; pictures up to this side are kept exact and shown with hard pixels
_SIDE = 320  # pixels; larger pictures are reduced to this longer side
_OVERLAY_SIDE = 224  # pixels; small pictures are enlarged about to this side under an attention map
_BYTES = 22_000  # a picture larger than this is compressed harder: 36 of them keep a page under 2 MB
_TILES = 20  # rows or columns of patches shown at most

# Every sixteenth of the maps inferno and viridis (van der Walt and Smith, 2015, CC0).
_INFERNO = (
    "000004 0b0724 210c4a 3d0965 57106e 71196e 8a226a a32c61 bc3754 "
    "d24644 e45a31 f1731d f98e09 fcac11 f9cb35 f2ea69 fcffa4"
)
_VIRIDIS = (
    "440154 48186a 472d7b 424086 3b528b 33638d 2c728e 26828e 21918c "
    "1fa088 28ae80 3fbc73 5ec962 84d44b addc30 d8e219 fde725"
)


def colour_map(values: NDArray[np.floating], anchors: str = _VIRIDIS) -> NDArray[np.uint8]:
    """RGB colours (..., 3) for values in [0, 1]; values outside are clipped.

    Args:
        values: of any shape.
        anchors: hexadecimal colours, evenly spaced from 0 to 1.
    """
    table = np.array([list(bytes.fromhex(colour)) for colour in anchors.split()], dtype=np.float64)
    places = np.linspace(0, 1, len(table))
    mixed = [np.interp(np.clip(values, 0, 1), places, table[:, channel]) for channel in range(3)]
    return np.stack(mixed, axis=-1).round().astype(np.uint8)


def is_small(pixels: NDArray[np.uint8]) -> bool:
    """Whether a picture is shown with hard pixels (digits, icons) instead of smoothed."""
    return max(pixels.shape[:2]) <= _SMALL


def data_uri(pixels: NDArray[np.uint8]) -> Markup:
    """A picture as a `data:` address: exact PNG when it is small, otherwise a JPEG of bounded size.

    Args:
        pixels: (height, width, 3) RGB, or (height, width, 4) RGBA, which is always PNG.
    """
    height, width, channels = pixels.shape
    if is_small(pixels) or channels == 4:
        return _encode(pixels, "PNG", 0)
    scale = min(1.0, _SIDE / max(height, width))
    for shrink in (1.0, 0.75, 0.5):
        size = (max(1, round(width * scale * shrink)), max(1, round(height * scale * shrink)))
        smaller = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
        for quality in (88, 75, 60):
            uri = _encode(smaller, "JPEG", quality)
            if len(uri) * 3 / 4 <= _BYTES:
                return uri
    return uri


def _encode(pixels: NDArray[np.uint8], form: str, quality: int) -> Markup:
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if form == "PNG":
        image.save(buffer, form, optimize=True)
    else:
        image.save(buffer, form, quality=quality, optimize=True)
    return Markup(f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}")


def overlay(pixels: NDArray[np.uint8], attention: NDArray[np.floating]) -> NDArray[np.uint8]:
    """The picture in dim grey under a glow where the attention is, as (height, width, 3); small ones are enlarged.

    Args:
        pixels: (height, width, 3) RGB.
        attention: (rows, columns) of patches; stretched so that the least is dark and the most is bright.
    """
    factor = max(1, -(-_OVERLAY_SIDE // max(pixels.shape[:2]))) if is_small(pixels) else 1
    enlarged = pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    if max(enlarged.shape[:2]) > _SIDE:
        shrink = _SIDE / max(enlarged.shape[:2])
        size = [max(1, round(side * shrink)) for side in enlarged.shape[1::-1]]
        enlarged = np.asarray(Image.fromarray(enlarged).resize((size[0], size[1]), Image.Resampling.LANCZOS))
    height, width = enlarged.shape[:2]
    glow = Image.fromarray(_stretch(attention)).resize((width, height), Image.Resampling.BICUBIC)
    heat = np.clip(np.asarray(glow, dtype=np.float64), 0, 1)
    grey = enlarged @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601 luma
    dim, light = 0.55 * grey[..., None] / 255, 0.9 * colour_map(heat, _INFERNO) / 255
    screened = 1 - (1 - dim) * (1 - light)  # light added to light: the picture stays legible under the glow
    return (255 * screened).round().astype(np.uint8)


def _stretch(values: NDArray[np.floating]) -> NDArray[np.float32]:
    low, high = float(values.min()), float(values.max())
    spread = high - low
    return ((values - low) / spread if spread > 0 else np.zeros_like(values)).astype(np.float32)


def patches(pixels: NDArray[np.uint8], patch_size: Size) -> Iterator[NDArray[np.uint8]]:
    """The patches of a picture in reading order, each (patch height, patch width, 3).

    Args:
        pixels: (height, width, 3) RGB; what does not fill a patch at the right and bottom edge is left out.
        patch_size: (height, width) in pixels.
    """
    rows, columns = pixels.shape[0] // patch_size[0], pixels.shape[1] // patch_size[1]
    for row in range(rows):
        for column in range(columns):
            top, left = row * patch_size[0], column * patch_size[1]
            yield pixels[top : top + patch_size[0], left : left + patch_size[1]]


def tiles(pieces: NDArray[np.uint8], gap: int) -> NDArray[np.uint8]:
    """Pieces laid out as a grid with transparent gaps, as (height, width, 4) RGBA.

    Args:
        pieces: (rows, columns, height, width, 3); at most 20 rows and columns are shown, evenly chosen.
        gap: between pieces, in pixels.
    """
    rows, columns = (_evenly(length) for length in pieces.shape[:2])
    height, width = pieces.shape[2:4]
    sheet = np.zeros((len(rows) * (height + gap) - gap, len(columns) * (width + gap) - gap, 4), np.uint8)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            place = sheet[i * (height + gap) :][:height, j * (width + gap) :][:, :width]
            place[..., :3], place[..., 3] = pieces[row, column], 255
    return sheet


def _evenly(length: int) -> list[int]:
    shown = min(length, _TILES)
    return [place * length // shown for place in range(shown)]


def cut(pixels: NDArray[np.uint8], patch_size: Size) -> NDArray[np.uint8]:
    """The picture cut into its patches, a little apart, as (height, width, 4) RGBA.

    Args:
        pixels: (height, width, 3) RGB.
        patch_size: (height, width) in pixels.
    """
    factor = max(1, _OVERLAY_SIDE // max(pixels.shape[:2])) if is_small(pixels) else 1
    grid = pixels.shape[0] // patch_size[0], pixels.shape[1] // patch_size[1]
    pieces = np.stack(list(patches(pixels, patch_size))).reshape(*grid, *patch_size, 3)
    enlarged = pieces.repeat(factor, axis=2).repeat(factor, axis=3)
    return tiles(enlarged, gap=max(2, max(pixels.shape[:2]) * factor // 40))


def similarity(positions: NDArray[np.floating]) -> NDArray[np.uint8]:
    """The position embeddings' similarity as a grid of small maps, as (height, width, 4) RGBA.

    Args:
        positions: (rows, columns, rows, columns) cosine similarities; the scale runs from the least to 1.
    """
    low = float(positions.min())
    scaled = (positions - low) / max(1.0 - low, 1e-9)
    return tiles(colour_map(scaled), gap=1)

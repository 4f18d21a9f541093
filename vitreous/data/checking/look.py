"""One image looked at once: the digests, sizes and signs that everything else is found from, in 62 bytes."""

from __future__ import annotations

import hashlib
import io

import numpy as np
from jaxtyping import Int64, UInt8

from vitreous.picture.frames import num_frames
from vitreous.picture.sniff import HEADER_BYTES, kind_of

KINDS = ("", "JPEG", "PNG", "WebP", "BMP", "GIF", "TIFF")
"""What `kind` counts through; the first stands for images that are no files."""

PLAIN, CONSTANT = 1, 2
"""Signs: too little to be seen to tell it from others by its look; one colour all over."""

LOOK = np.dtype(
    [
        ("file", "S16"),  # SHA-256 of the file's bytes, its first half; of the pixels where there is no file
        ("pixels", "S16"),  # SHA-256 of height, width and decoded pixels, its first half
        ("across", "<u8"),  # whether it gets brighter from cell to cell to the right
        ("down", "<u8"),  # and downwards
        ("height", "<u4"),  # a PNG may be wider than 65,535 pixels
        ("width", "<u4"),
        ("frames", "<u4"),
        ("kind", "u1"),
        ("signs", "u1"),
    ]
)
"""What is known of an image that can be read."""

Look = np.ndarray
"""One LOOK, as an array without axes."""

_CELLS = 8
_ROWS = 72  # of a picture that are added up, 9 or 8 in a cell: the others look like their neighbours
_STEP = 1_000  # thousandths of a grey level; smaller steps come from noise, as in a white sky
_STEPS_SEEN = 16  # of 128; with fewer, what is left of a picture is too little to compare
_FEW_BITS = 4  # equal or nearly equal hashes of that few bits say "it fades to the right", not "the same picture"


def look_at(pixels: UInt8[np.ndarray, "H W 3"], file: bytes | None) -> Look:
    """What there is to know of an image.

    Args:
        pixels: decoded.
        file: the bytes it was decoded from, where there are any.
    """
    height, width = pixels.shape[:2]
    content = hashlib.sha256(f"{height} {width} ".encode())
    content.update(np.ascontiguousarray(pixels).data)
    found = np.zeros((), LOOK)
    found["pixels"] = content.digest()[:16]
    found["file"] = found["pixels"] if file is None else hashlib.sha256(file).digest()[:16]
    found["height"], found["width"], found["frames"] = height, width, 1
    if file is not None and (kind := kind_of(file[:HEADER_BYTES])):
        found["kind"] = KINDS.index(kind)
        found["frames"] = num_frames(kind, io.BytesIO(file))
    found["across"], found["down"], seen = difference_hashes(pixels)
    few = any(not _FEW_BITS <= int(found[side]).bit_count() <= 64 - _FEW_BITS for side in ("across", "down"))
    found["signs"] = PLAIN * (few or seen < _STEPS_SEEN)
    if not seen and (pixels == pixels[0, 0]).all():
        found["signs"] |= CONSTANT
    return found


def difference_hashes(pixels: UInt8[np.ndarray, "H W 3"]) -> tuple[int, int, int]:
    """dHash of a picture to the right and downwards, 64 bits each, and how many of the 128 steps can be seen.

    72 rows of the picture, evenly chosen, are cut into 8 rows of 9 cells (9 of 8 for the second). A bit says whether
    the next cell is brighter by more than one grey level: dHash as Krawetz described it (hackerfactor.com, "Kind of
    Like That", 2013), but for that level, without which noise would decide the bits of a white sky. Everything is
    integers, so that every machine finds the same bits.

    Args:
        pixels: RGB of any size.
    """
    rows = (2 * np.arange(_ROWS) + 1) * len(pixels) // (2 * _ROWS)
    some = pixels[rows]
    across, down = _cells(some, _CELLS, _CELLS + 1), _cells(some, _CELLS + 1, _CELLS)
    steps = np.stack([np.diff(across, axis=1).ravel(), np.diff(down, axis=0).ravel()])
    bits = np.packbits(steps > _STEP, axis=1)
    seen = int((abs(steps) > _STEP).sum())
    return int.from_bytes(bits[0].tobytes(), "big"), int.from_bytes(bits[1].tobytes(), "big"), seen


def _cells(some: UInt8[np.ndarray, "72 W 3"], rows: int, columns: int) -> Int64[np.ndarray, "rows columns"]:
    """Mean luma of each cell in thousandths of a grey level (ITU-R BT.601: 299, 587, 114), rounded down."""
    width, high = some.shape[1], _ROWS // rows
    sums = some.reshape(rows, high, -1).sum(axis=1, dtype=np.uint32).reshape(rows, width, 3)
    lefts = np.arange(columns) * width // columns
    # with fewer pixels than cells some cells begin where the next does: reduceat gives these that one pixel
    sums = np.add.reduceat(sums, lefts, axis=1, dtype=np.int64)
    wide = np.maximum(np.diff(np.append(lefts, width)), 1)
    luma: Int64[np.ndarray, "rows columns"] = (sums @ np.array([299, 587, 114])) // (high * wide)
    return luma

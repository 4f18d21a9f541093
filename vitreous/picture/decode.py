"""Any picture a person may have, decoded to RGB: the one place where image files are opened.

Training, evaluation and prediction all come here, so that the same file gives the same pixels everywhere. Six formats
are read, told by their first bytes and never by the file's name; no other decoder of Pillow's can be reached. Nothing
damaged is passed on.
"""

from __future__ import annotations

import os
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFile

from vitreous.errors import ImageError, UsageError
from vitreous.picture.array import Array, pixels_of
from vitreous.picture.colour import to_rgb
from vitreous.picture.intact import check_intact
from vitreous.picture.opening import MAX_PIXELS, damaged, header_of, name_of, named, opened, refuse_large
from vitreous.picture.opening import Source as Source

MAX_FILE = 2**30
"""Larger files are not read whole: four times the largest picture that is decoded, uncompressed."""


def decode(
    source: Source,
    *,
    name: str | None = None,
    background: tuple[int, int, int] = (255, 255, 255),
    max_pixels: int = MAX_PIXELS,
    profile: Literal["ignore", "convert"] = "ignore",
) -> UInt8[np.ndarray, "H W 3"]:
    """The image as upright RGB; read-only where it was decoded here.

    Of an animation or a document of several pages it is the first picture.

    Args:
        source: a path, the bytes of a file, a Pillow image; or an array, NumPy's or one that becomes NumPy's such as a
            tensor: (H, W, 3) uint8, which is returned as it is, or (3, H, W) floating-point in [0, 1], which is
            rounded to 255 steps. Arrays are RGB: that one is BGR, as OpenCV reads it, cannot be noticed.
        name: what to call the image in errors; by default its path.
        background: RGB that shows through where the image is transparent.
        max_pixels: larger images are refused before they are decoded.
        profile: "convert" takes colours from the image's own profile to sRGB; by default the numbers in the file are
            the colours, as all published checkpoints were trained (see `colour`).

    Raises:
        ImageError: the image cannot be read; `where` is its name.
        UsageError: Pillow has been told to fill damaged images with grey.
    """
    name = name_of(source) if name is None else name
    with named(name):
        if isinstance(source, Image.Image):
            return _pixels(source, "image", background, max_pixels, profile)
        if isinstance(source, Array) and not isinstance(source, str | bytes):  # NumPy has strings, too
            return pixels_of(source)
        with opened(source) as file:
            kind, image = header_of(file)
            refuse_large(image.size, max_pixels)
            check_intact(kind, file)
            return _pixels(image, f"{kind} file", background, max_pixels, profile)


def file_bytes(path: str | os.PathLike[str]) -> bytes:
    """An image file as it is stored, undecoded.

    Args:
        path: of an ordinary file of at most `MAX_FILE` bytes.

    Raises:
        ImageError: the file cannot be read, or is larger.
    """
    with named(os.fspath(path)), opened(path) as file:
        if (size := os.fstat(file.fileno()).st_size) > MAX_FILE:
            raise ImageError(f"the file is too large: {size:,} bytes", why=f"the limit is {MAX_FILE:,}")
        return file.read()


def reason(error: ImageError) -> str:
    """Why an image cannot be read, in one line.

    Args:
        error: as raised by `decode`.
    """
    return " ".join((f"{error.what} ({error.why})" if error.why else error.what).split())


def _pixels(
    image: Image.Image,
    what: str,
    background: tuple[int, int, int],
    max_pixels: int,
    profile: Literal["ignore", "convert"],
) -> UInt8[np.ndarray, "H W 3"]:
    """The pixels of an image whose header has been read."""
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise UsageError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is switched on in this process",
            why="damaged images would silently be filled with grey",
            remedy="PIL.ImageFile.LOAD_TRUNCATED_IMAGES = False",
        )
    refuse_large(image.size, max_pixels)
    try:
        image.load()
        return to_rgb(image, background, profile)
    except (ImageError, UsageError):
        raise
    except Exception as error:
        raise damaged(what, error) from error

"""From a path or bytes to an image whose header has been read and whose size is within limits: no pixels yet.

Six formats are opened, told by their first bytes and never by the file's name; no other decoder of Pillow's can be
reached. What would cost memory or time before a size is known is refused here.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from vitreous.errors import ImageError
from vitreous.picture.array import Array
from vitreous.picture.sniff import HEADER_BYTES, advice, kind_of, looks_like
from vitreous.picture.structure import BinaryFile, check_structure

Source = str | os.PathLike[str] | bytes | Image.Image | Array
"""A path, the bytes of a file, an image opened with Pillow, (H, W, 3) uint8 RGB, or (3, H, W) floats in [0, 1]."""

MAX_PIXELS = 64 * 2**20
"""Larger images are refused before they are decoded: 8192 x 8192."""

MAX_SIDE = 20_000
"""The longest side that is decoded, in pixels."""

# The decoders are called directly: Image.open would offer the file to 43 of them, and only warns of bombs.
_DECODERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
}
_DISK_FAILED = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN)
_SUBFILE_TAG = 254
_PREVIEW_BIT = 1


@contextmanager
def opened(path: str | os.PathLike[str] | bytes) -> Iterator[BinaryFile]:
    """The file behind a path, or the bytes of one, to read from.

    Args:
        path: of an ordinary file; or its content.

    Raises:
        ImageError: there is no such file, or it is a folder or a pipe; OSError where the system refuses.
    """
    if isinstance(path, bytes):
        yield io.BytesIO(path)
        return
    with open(_ordinary(path), "rb") as file:
        yield file


def header_of(file: BinaryFile) -> tuple[str, ImageFile.ImageFile]:
    """The format of an image file (JPEG, PNG, WebP, BMP, GIF, TIFF), and the image with its header read.

    Args:
        file: from its beginning.

    Raises:
        ImageError: it is empty, damaged, or no image in one of these formats.
    """
    head = file.read(HEADER_BYTES)
    if not head:
        raise ImageError("the file is empty (0 bytes)")
    kind = kind_of(head)
    if kind is None:
        raise ImageError(
            "this is not an image that can be read",
            why=f"it holds {looks_like(head)}",
            remedy=advice(head),
        )
    size = check_structure(kind, file)
    if size is not None:
        refuse_large(size, MAX_PIXELS)  # before Pillow makes the canvas
    try:
        image = _DECODERS[kind](file)
    except Exception as error:
        raise damaged(f"{kind} file", error) from error
    if kind == "TIFF":
        _refuse_preview(image)
    if kind == "PNG":
        _scale_clear_colour(image)
    return kind, image


def refuse_large(size: tuple[int, int], max_pixels: int) -> None:
    """An error for an image that is not to be decoded.

    Args:
        size: (width, height).
        max_pixels: the limit.

    Raises:
        ImageError: it is above the limit, or a side is longer than MAX_SIDE.
    """
    width, height = size
    if width * height > max_pixels or max(width, height) > MAX_SIDE:
        raise ImageError(
            f"the image is too large: {width} x {height} pixels",
            why=f"the limit is {max_pixels / 2**20:g} megapixels and {MAX_SIDE:,} pixels a side",
            remedy="save it smaller",
        )


def damaged(what: str, error: Exception) -> ImageError:
    """What to say of a decoder's failure: on damaged files Pillow's raise nearly every exception there is.

    Where it was the disk that failed, the file may be sound, and nobody is told to take it away.

    Args:
        what: "JPEG file".
        error: as it was raised.
    """
    if isinstance(error, OSError) and error.errno in _DISK_FAILED:
        return ImageError("the file cannot be read", why=error.strerror)
    return ImageError(
        f"the {what} cannot be decoded: it is cut off, damaged or of a rare kind",
        why=str(error) or type(error).__name__,
        remedy="fetch or save it again, or take it away",
    )


def name_of(source: Source) -> str:
    """What to call an image in errors.

    Args:
        source: a path gives itself; anything else says what it is.
    """
    if isinstance(source, Image.Image):
        return str(getattr(source, "filename", "") or "image given as a Pillow image")
    if isinstance(source, Array) and not isinstance(source, str | bytes):  # NumPy has strings, too
        return "image given as an array"
    if isinstance(source, bytes):
        return "image given as bytes"
    return os.fspath(source)


@contextmanager
def named(name: str) -> Iterator[None]:
    """Within it every ImageError gets its `where`, and the system's errors become one.

    Args:
        name: of the image.
    """
    try:
        yield
    except ImageError as error:
        raise ImageError(error.what, where=name, why=error.why, remedy=error.remedy) from error.__cause__
    except OSError as error:
        raise ImageError("the file cannot be read", where=name, why=error.strerror or str(error)) from error


def _ordinary(path: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """The path, if it leads to an ordinary file: opening a pipe would wait for ever."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as error:
        why = "the link leads nowhere" if os.path.islink(path) else None
        raise ImageError("there is no such file", why=why) from error
    except ValueError as error:
        raise ImageError("this cannot be the name of a file", why=str(error)) from error
    if stat.S_ISDIR(mode):
        raise ImageError("this is a folder, not an image")
    if not stat.S_ISREG(mode):
        raise ImageError("this is not an ordinary file")
    return path


def _refuse_preview(image: ImageFile.ImageFile) -> None:
    """Camera raw files (DNG, NEF, ARW) are TIFF files whose first picture is a small preview."""
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    if int(tags.get(_SUBFILE_TAG, 0)) & _PREVIEW_BIT:
        raise ImageError(
            "the first picture in this TIFF file is only the preview of another",
            why="so it is in camera raw files",
            remedy="convert it to JPEG or PNG",
        )


def _scale_clear_colour(image: ImageFile.ImageFile) -> None:
    """The colour that means transparent, in the 8 bits of the pixels: Pillow leaves it in those of the file.

    Of 16-bit colours the high bytes are compared, since no others are kept.
    """
    stored = image.tile[0][3] if image.tile else None
    clear = image.info.get("transparency")
    if stored == "RGB;16B" and isinstance(clear, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    elif stored in ("L;2", "L;4") and isinstance(clear, int):
        top = 3 if stored == "L;2" else 15
        image.info["transparency"] = (clear & top) * (255 // top)

"""Any picture a person may have, decoded to RGB: the one place where image files are opened.

Training, evaluation and prediction all come here, so that the same file gives the same pixels everywhere. Six formats
are read, told by their first bytes and never by the file's name; no other decoder of Pillow's can be reached. Nothing
damaged is passed on.
"""

from __future__ import annotations

import io
import os
import stat

import numpy as np
from jaxtyping import UInt8
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

from vitreous.errors import ImageError, UsageError
from vitreous.picture.colour import to_rgb
from vitreous.picture.sniff import HEADER_BYTES, kind_of, looks_like
from vitreous.picture.sniff import IMAGE_SUFFIXES as IMAGE_SUFFIXES

Source = str | os.PathLike[str] | bytes | Image.Image | np.ndarray
"""A path, the bytes of a file, an image opened with Pillow, or (H, W, 3) uint8 RGB."""

MAX_PIXELS = 64 * 2**20
"""Larger images are refused before they are decoded: 8192 x 8192."""

MAX_SIDE = 20_000
"""The longest side that is decoded, in pixels."""

MAX_FILE = 2**30
"""Larger files are not read whole: four times the largest picture that is decoded, uncompressed."""

# The decoders are called directly: Image.open would offer the file to 43 of them, and only warns of bombs.
_DECODERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
}
_SUBFILE_TAG = 254
_PREVIEW_BIT = 1


def decode(
    source: Source,
    *,
    name: str | None = None,
    background: tuple[int, int, int] = (255, 255, 255),
    max_pixels: int = MAX_PIXELS,
) -> UInt8[np.ndarray, "H W 3"]:
    """The image as upright RGB; read-only where it was decoded here.

    Of an animation or a document of several pages it is the first picture.

    Args:
        source: a path, the bytes of a file, a Pillow image, or an array, which is returned as it is.
        name: what to call the image in errors; by default its path.
        background: RGB that shows through where the image is transparent.
        max_pixels: larger images are refused before they are decoded.

    Raises:
        ImageError: the image cannot be read; `where` is its name.
        UsageError: Pillow has been told to fill damaged images with grey.
    """
    if name is None:
        name = _name_of(source)
    if isinstance(source, np.ndarray):
        return _checked(source, name)
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise UsageError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is switched on in this process",
            why="damaged images would silently be filled with grey",
            remedy="PIL.ImageFile.LOAD_TRUNCATED_IMAGES = False",
        )
    try:
        if isinstance(source, Image.Image):
            return _pixels(source, "image", background, max_pixels)
        if isinstance(source, bytes):
            return _decode_file(io.BytesIO(source), background, max_pixels)
        with open(_ordinary(source), "rb") as file:
            return _decode_file(file, background, max_pixels)
    except ImageError as error:
        raise ImageError(error.what, where=name, why=error.why, remedy=error.remedy) from error.__cause__
    except OSError as error:
        raise ImageError("the file cannot be read", where=name, why=error.strerror or str(error)) from error


def file_bytes(path: str | os.PathLike[str]) -> bytes:
    """An image file as it is stored, undecoded.

    Args:
        path: of an ordinary file of at most `MAX_FILE` bytes.

    Raises:
        ImageError: the file cannot be read, or is larger.
    """
    try:
        with open(_ordinary(path), "rb") as file:
            if (size := os.fstat(file.fileno()).st_size) > MAX_FILE:
                raise ImageError(f"the file is too large: {size:,} bytes", why=f"the limit is {MAX_FILE:,}")
            return file.read()
    except ImageError as error:
        raise ImageError(error.what, where=os.fspath(path), why=error.why, remedy=error.remedy) from error.__cause__
    except OSError as error:
        raise ImageError("the file cannot be read", where=os.fspath(path), why=error.strerror or str(error)) from error


def reason(error: ImageError) -> str:
    """Why an image cannot be read, in one line.

    Args:
        error: as raised by `decode`.
    """
    return " ".join((f"{error.what} ({error.why})" if error.why else error.what).split())


def _name_of(source: Source) -> str:
    if isinstance(source, np.ndarray):
        return "image given as an array"
    if isinstance(source, bytes):
        return "image given as bytes"
    if isinstance(source, Image.Image):
        return str(getattr(source, "filename", "") or "image given as a Pillow image")
    return os.fspath(source)


def _checked(array: np.ndarray, name: str) -> UInt8[np.ndarray, "H W 3"]:
    """The array itself, if it is what an image has to be."""
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3 and array.size:
        return array
    raise ImageError(
        "an image given as an array must be (height, width, 3) uint8 RGB",
        where=name,
        why=f"got shape {array.shape} of {array.dtype}",
    )


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


def _decode_file(
    file: io.BufferedReader | io.BytesIO, background: tuple[int, int, int], max_pixels: int
) -> UInt8[np.ndarray, "H W 3"]:
    head = file.read(HEADER_BYTES)
    if not head:
        raise ImageError("the file is empty (0 bytes)")
    kind = kind_of(head)
    if kind is None:
        raise ImageError(
            "this is not an image that can be read",
            why=f"it holds {looks_like(head)}",
            remedy=f"convert it to JPEG or PNG; read are {', '.join(_DECODERS)}",
        )
    file.seek(0)
    try:
        image = _DECODERS[kind](file)
    except Exception as error:
        raise _damaged(f"{kind} file", error) from error
    if kind == "TIFF":
        _refuse_preview(image)
    return _pixels(image, f"{kind} file", background, max_pixels)


def _pixels(
    image: Image.Image, what: str, background: tuple[int, int, int], max_pixels: int
) -> UInt8[np.ndarray, "H W 3"]:
    """The pixels of an image whose header has been read."""
    width, height = image.size
    if width * height > max_pixels or max(width, height) > MAX_SIDE:
        raise ImageError(
            f"the image is too large: {width} x {height} pixels",
            why=f"the limit is {max_pixels / 2**20:g} megapixels and {MAX_SIDE:,} pixels a side",
            remedy="save it smaller",
        )
    try:
        image.load()
        return to_rgb(image, background)
    except ImageError:
        raise
    except Exception as error:
        raise _damaged(what, error) from error


def _damaged(what: str, error: Exception) -> ImageError:
    """What to say of a decoder's failure: on damaged files Pillow's raise nearly every exception there is."""
    return ImageError(
        f"the {what} cannot be decoded: it is cut off, damaged or of a rare kind",
        why=str(error) or type(error).__name__,
        remedy="fetch or save it again, or take it away",
    )


def _refuse_preview(image: ImageFile.ImageFile) -> None:
    """Camera raw files (DNG, NEF, ARW) are TIFF files whose first picture is a small preview."""
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    if int(tags.get(_SUBFILE_TAG, 0)) & _PREVIEW_BIT:
        raise ImageError(
            "the first picture in this TIFF file is only the preview of another",
            why="so it is in camera raw files",
            remedy="convert it to JPEG or PNG",
        )

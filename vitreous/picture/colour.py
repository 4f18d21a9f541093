"""From any of Pillow's pixel modes to upright 8-bit RGB.

Pillow's own `convert("RGB")` is quietly wrong for learning in three ways that are put right here: it clips 16-bit
samples to white, shows the hidden colour of transparent pixels, and ignores the camera's rotation.

Colour profiles are left alone unless asked for. torchvision, timm, Hugging Face and Google's pipelines, and so every
published checkpoint, were trained on the numbers in the file, whatever profile stood beside them; converting them would
change the images of evaluation away from all of these, and the same photograph with and without its profile would no
longer be the same. `vitreous check` counts the images that carry a wide one, and `profile="convert"` is there for
people whose cameras differ in it.
"""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageCms, TiffImagePlugin

from vitreous.errors import ImageError, UsageError

_UPRIGHT = {  # EXIF orientation -> what turns the stored pixels upright (EXIF 2.32, tag 0x0112)
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ORIENTATION_TAG = 0x0112
_LONG = 4
_BITS_PER_SAMPLE_TAG = 258
_PHOTOMETRIC_TAG = 262
_WHITE_IS_ZERO = 0


def to_rgb(
    image: Image.Image, background: tuple[int, int, int], profile: Literal["ignore", "convert"] = "ignore"
) -> UInt8[np.ndarray, "H W 3"]:
    """Upright RGB pixels of a decoded image, read-only.

    16-bit samples keep their high byte, as Pillow does for 16-bit colour; floats in [0, 1] are rounded to 255 steps;
    CMYK, YCbCr, HSV and LAB go through Pillow's plain conversion.

    Args:
        image: with its pixels loaded.
        background: RGB that shows through where the image is transparent.
        profile: "convert" takes the colours from the image's profile to sRGB, by Little CMS, perceptually; 16-bit
            grey has no colours, and stays.

    Raises:
        ImageError: the numbers in the image have no known range, or its profile is damaged.
        UsageError: this Pillow was built without Little CMS, and a conversion was asked for.
    """
    turn = _UPRIGHT.get(orientation_in(image.info.get("exif", b"")))
    if image.mode == "F" or image.mode.startswith("I"):
        image = _deep_grey(image, background)
    elif profile == "convert" and image.info.get("icc_profile"):
        image = _to_srgb(image)
    if image.has_transparency_data:
        image = _on_background(image, background)
    if image.mode != "RGB":
        image = image.convert("RGB")
    return np.asarray(image.transpose(turn) if turn is not None else image)


def _to_srgb(image: Image.Image) -> Image.Image:
    """The image in sRGB's colours; transparency stays as it is."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    except ImportError as error:
        raise UsageError(
            "colour profiles cannot be converted", why=str(error), remedy="pip install --force-reinstall pillow"
        ) from error
    except OSError as error:
        raise ImageError(
            "the colour profile is damaged", why=str(error), remedy='decode(..., profile="ignore")'
        ) from error
    if image.mode == "La":  # with grey multiplied by it, as TIFF has; Pillow converts it to nothing else
        image = image.convert("LA")
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    if image.mode not in ("RGB", "CMYK", "L", "LAB"):
        image = image.convert("L" if image.mode in ("1", "LA") else "RGB")
    try:
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except ImageCms.PyCMSError as error:
        raise ImageError(
            f"the colour profile does not fit a picture in {image.mode}",
            why=str(error),
            remedy='decode(..., profile="ignore")',
        ) from error
    assert converted is not None  # only in place it gives nothing
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def _on_background(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """The image as an eye sees it lying on the background."""
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode != "RGBA":
        image = image.convert("RGBA")
    canvas = Image.new("RGB", image.size, background)
    canvas.paste(image, mask=image.getchannel("A"))
    return canvas


def _deep_grey(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """Grey with more than 8 bits a sample as RGB, scaled by its declared depth, never clipped."""
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    samples = np.asarray(image)
    if image.mode == "F":
        if not (samples.size and 0.0 <= float(samples.min()) <= float(samples.max()) <= 1.0):
            raise ImageError(
                "the image holds floating-point numbers outside 0 to 1",
                why=f"from {samples.min():g} to {samples.max():g}: what is black and what is white is not known",
                remedy="scale them to 0 to 1, or save the image with 8 or 16 bits",
            )
        grey = np.rint(samples * 255).astype(np.uint8)
    elif image.mode.startswith("I;16"):
        depth = int(np.max(tags.get(_BITS_PER_SAMPLE_TAG, 16)))
        grey = (samples >> (depth - 8)).astype(np.uint8)
    else:
        raise ImageError(
            "the image holds signed or 32-bit integers",
            why="what is black and what is white is not known",
            remedy="save it with 8 or 16 unsigned bits",
        )
    if tags.get(_PHOTOMETRIC_TAG) == _WHITE_IS_ZERO:
        grey = 255 - grey
    pixels = np.repeat(grey[:, :, None], 3, axis=2)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        see_through: Bool[np.ndarray, "H W"] = samples == clear
        pixels[see_through] = background
    return Image.fromarray(pixels)


def orientation_in(exif: bytes) -> int:
    """The orientation in an EXIF block, 1 to 8; 1, which is upright, where there is none or the block is damaged.

    Read here rather than by Pillow, whose parser warns and raises in many ways on damaged blocks.

    Args:
        exif: with or without its `Exif` signature.
    """
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    if exif[:2] not in (b"II", b"MM"):
        return 1
    order: Literal["little", "big"] = "little" if exif[:2] == b"II" else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(exif[at : at + size], order)

    directory = number(4, 4)
    for entry in range(number(directory, 2)):
        at = directory + 2 + 12 * entry  # tag (2 bytes), type (2), count (4), value (4)
        if at + 12 > len(exif):
            break
        if number(at, 2) == ORIENTATION_TAG:
            is_long = number(at + 2, 2) == _LONG  # a short by the standard, but long values are met with
            value = number(at + 8, 4 if is_long else 2)
            return value if 1 <= value <= 8 else 1
    return 1

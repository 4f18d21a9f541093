"""Training views straight from JPEG files, three times as fast as exact ones: decoded small, interpolated once.

libjpeg-turbo (simplejpeg) decodes a photograph at a half, a quarter or an eighth of its size where the crop allows it,
and OpenCV maps the crop, with rotation, shift and zoom, onto the frame in one bilinear step at fractions of pixels. The
random numbers drawn are those of the exact path, so a view shows the same part of the image; its pixels differ a
little (benchmarks/README.md has by how much). Whatever is no ordinary colour JPEG takes the exact path, and so does
evaluation always.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, UInt8

from vitreous.architecture import Size
from vitreous.config import AugmentConfig, PreprocessConfig
from vitreous.data.augmenting.affine import motion
from vitreous.data.augmenting.augment import moves
from vitreous.data.augmenting.crops import Frame, drawn_frame
from vitreous.errors import ImageError, UsageError
from vitreous.picture.colour import orientation_in
from vitreous.picture.opening import MAX_PIXELS, header_of, refuse_large

_HALVINGS = (1, 2, 4)  # eighths of the size that are fast to decode: the others lack vector instructions


@dataclass(frozen=True, slots=True)
class Jpeg:
    """A colour JPEG file that can be decoded fast."""

    blob: bytes
    size: Size
    """(height, width) as stored."""
    orientation: int
    """How the camera was held, 1 to 8 (EXIF 0x0112)."""

    @property
    def upright_size(self) -> Size:
        """(height, width) of the picture as it is seen."""
        return self.size if self.orientation < 5 else (self.size[1], self.size[0])


@dataclass(frozen=True, slots=True)
class Plan:
    """How to make a view of a JPEG file."""

    jpeg: Jpeg
    eighths: int
    """Of its size to decode it at."""
    affine: Float64[np.ndarray, "2 3"]
    """From the middle of an output pixel (x, y) to that of a pixel of the decoded image."""
    mirrored_margin: bool
    """Whether the image goes on mirrored beyond its border, rather than as its border."""


def require_fast() -> None:
    """Refuse to begin without the libraries of the fast path; one thread of ours needs no more than one of theirs.

    Raises:
        UsageError: they are not installed.
    """
    try:
        import cv2
        import simplejpeg  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"fast decoding needs a package that is not installed: {error.name}",
            remedy='pip install "vitreous[fast]", or leave --decode fast out',
        ) from error
    cv2.setNumThreads(1)


def fast_jpeg(blob: bytes) -> Jpeg | None:
    """The image in a file, if it is a JPEG that the fast path decodes: in colour, of 8 bits, without an oddity.

    What must not be decoded at all, such as an image that is too large, is left to the exact path, which says so.

    Args:
        blob: an image file.
    """
    import simplejpeg

    try:
        kind, image = header_of(io.BytesIO(blob))
        if kind != "JPEG" or image.mode != "RGB":
            return None
        refuse_large(image.size, MAX_PIXELS)
        found = simplejpeg.decode_jpeg_header(blob)
    except (ImageError, ValueError):
        return None
    width, height = image.size
    if found[:3] != (height, width, "YCbCr"):
        return None
    return Jpeg(blob, (height, width), orientation_in(image.info.get("exif", b"")))


def planned(jpeg: Jpeg, rng: np.random.Generator, config: AugmentConfig, preprocess: PreprocessConfig) -> Plan | None:
    """How to make one random view of a JPEG; None, with nothing drawn, where only the exact path will do.

    Args:
        jpeg: from `fast_jpeg`.
        rng: from `sample_rng`; what `framed` would draw from it is drawn.
        config: how the image is cropped and moved.
        preprocess: gives the resolution.

    Raises:
        ConfigError: the frame is to be cut from something smaller than it.
    """
    moved = moves(config)
    if (config.crop == "centre" and not moved) or (config.crop == "padded" and moved):
        return None
    if preprocess.interpolation == "nearest":
        return None
    frame, size = drawn_frame(jpeg.upright_size, rng, config, preprocess), preprocess.image_size
    affine = _to_image(frame, size, jpeg.upright_size)
    eighths = _eighths(affine)
    if moved:
        a, b, c, d, e, f = motion(rng, config, size)
        affine = affine @ np.array([[a, b, c], [d, e, f], [0, 0, 1]])
    affine = _to_stored(jpeg) @ affine
    affine[:2] *= eighths / 8
    affine[:2, 2] += affine[:2, :2] @ (0.5, 0.5) - 0.5  # from corners to middles of pixels, on both sides
    return Plan(jpeg, eighths, affine[:2], frame.margin > 0)


def decoded(plan: Plan) -> UInt8[np.ndarray, "H W 3"] | None:
    """The stored pixels that a view is made of; None where the file is damaged in any way: let the exact path judge.

    Args:
        plan: from `planned`.
    """
    import simplejpeg

    height, width = (math.ceil(side * plan.eighths / 8) for side in plan.jpeg.size)
    try:
        return np.asarray(simplejpeg.decode_jpeg(plan.jpeg.blob, min_height=height, min_width=width))
    except ValueError:  # strict: what libjpeg only warns of, such as a file that is cut off, is an error too
        return None


def mapped(pixels: UInt8[np.ndarray, "H W 3"], plan: Plan, size: Size) -> UInt8[np.ndarray, "h w 3"]:
    """The view, upright and at the model's resolution.

    Args:
        pixels: from `decoded`.
        plan: from `planned`.
        size: (height, width) of the view.
    """
    import cv2

    beyond = cv2.BORDER_REFLECT_101 if plan.mirrored_margin else cv2.BORDER_REPLICATE
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(pixels, plan.affine, size[::-1], flags=flags, borderMode=beyond))


def _to_image(frame: Frame, size: Size, upright: Size) -> Float64[np.ndarray, "3 3"]:
    """From the view's coordinates, in pixels from its corner, to the upright image's."""
    (height, width), (left, top, right, bottom) = size, frame.box
    rows, columns = frame.size or upright
    x, y = upright[1] / columns, upright[0] / rows
    return np.array(
        [
            [(right - left) / width * x, 0.0, (left - frame.margin) * x],
            [0.0, (bottom - top) / height * y, (top - frame.margin) * y],
            [0.0, 0.0, 1.0],
        ]
    )


def _eighths(affine: Float64[np.ndarray, "3 3"]) -> int:
    """The smallest size to decode at that still has a pixel for each of the view's, in both directions."""
    least = min(affine[0, 0], affine[1, 1])
    return next((eighths for eighths in _HALVINGS if least * eighths / 8 >= 1), 8)


def _to_stored(jpeg: Jpeg) -> Float64[np.ndarray, "3 3"]:
    """From the upright image's coordinates to those of the image as stored (EXIF 2.32, tag 0x0112)."""
    height, width = jpeg.size
    across, back = (1, 0, 0), (-1, 0, width)
    x, y = {
        1: (across, (0, 1, 0)),
        2: (back, (0, 1, 0)),
        3: (back, (0, -1, height)),
        4: (across, (0, -1, height)),
        5: ((0, 1, 0), across),
        6: ((0, 1, 0), (-1, 0, height)),
        7: ((0, -1, width), (-1, 0, height)),
        8: ((0, -1, width), across),
    }[jpeg.orientation]
    return np.array([x, y, (0, 0, 1)], np.float64)

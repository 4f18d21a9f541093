"""What an image file says about itself, read from its header: no pixels are decoded."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, TiffImagePlugin

from vitreous.errors import ImageError
from vitreous.picture.array import Array, pixels_of
from vitreous.picture.colour import ORIENTATION_TAG, orientation_in
from vitreous.picture.frames import num_frames
from vitreous.picture.opening import Source, damaged, header_of, name_of, named, opened
from vitreous.picture.profile import Profile, profile_of


@dataclass(frozen=True, slots=True)
class Description:
    """What a header says; the pixels behind it may still be damaged, or more than `decode` takes."""

    format: str
    """JPEG, PNG, WebP, BMP, GIF, TIFF; Pillow or array where there is no file."""

    width: int
    """Pixels from left to right of the upright picture, as `decode` gives it."""

    height: int
    """Pixels from top to bottom of the upright picture."""

    mode: str
    """How the pixels are stored, in Pillow's words: RGB, L, P, CMYK, I;16."""

    frames: int
    """Pictures in the file, of which `decode` gives the first: of an animation, pages, or shots."""

    profile: Profile | None
    """The colour profile, where there is a sound one."""

    orientation: int
    """How the camera was held, 1 to 8 (EXIF 0x0112); 1 is upright. What it says is undone by `decode`."""


def describe(source: Source, *, name: str | None = None) -> Description:
    """What an image says about itself, without its pixels being decoded.

    Args:
        source: as for `decode`.
        name: what to call the image in errors; by default its path.

    Raises:
        ImageError: there is no image, or its header is damaged; `where` is its name.
    """
    with named(name_of(source) if name is None else name):
        if isinstance(source, Image.Image):
            return _described("Pillow", source, 1)
        if isinstance(source, Array) and not isinstance(source, str | bytes):  # NumPy has strings, too
            height, width, _ = pixels_of(source).shape
            return Description("array", width, height, "RGB", 1, None, 1)
        with opened(source) as file:
            kind, image = header_of(file)
            try:
                return _described(kind, image, num_frames(kind, file))
            except ImageError:
                raise
            except Exception as error:
                raise damaged(f"{kind} file", error) from error


def _described(kind: str, image: Image.Image, frames: int) -> Description:
    width, height = image.size
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        turned = image.tag_v2.get(ORIENTATION_TAG, 1)  # Pillow has turned the size already
        turned = turned if turned in range(1, 9) else 1
    else:
        turned = orientation_in(image.info.get("exif", b""))
        width, height = (height, width) if turned >= 5 else (width, height)
    profile = profile_of(image.info.get("icc_profile") or b"")
    return Description(kind, width, height, image.mode, frames, profile, turned)

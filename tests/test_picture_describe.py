"""A file's header is described as it is, quickly, and without its pixels."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from image_files import exif, gradient, icc, png, png_claiming, tiff
from PIL import Image, ImageCms

from vitreous.errors import ImageError
from vitreous.picture.decode import decode
from vitreous.picture.describe import Description, describe
from vitreous.picture.frames import num_frames
from vitreous.picture.profile import profile_of

H, W = 24, 40
PICTURE = gradient(H, W)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_the_six_formats_are_described(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(encode(Image.fromarray(PICTURE), kind))
    mode = "P" if kind == "GIF" else "RGB"
    expected = Description("WebP" if kind == "WEBP" else kind, W, H, mode, 1, None, 1)
    assert expected == describe(tmp_path / "a.bin") == describe((tmp_path / "a.bin").read_bytes())


@pytest.mark.parametrize("number", [2, 3, 7])
@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_pictures_in_a_file_are_counted(kind: str, number: int) -> None:
    """The number is Pillow's own, which goes through all of them."""
    some = [Image.new("RGB", (W, H), (30 * place, 200 - place, 60)) for place in range(number)]
    data = encode(some[0], kind, save_all=True, append_images=some[1:])
    assert number == describe(data).frames == Image.open(io.BytesIO(data)).n_frames  # type: ignore[attr-defined]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_size_is_that_of_the_upright_picture(kind: str, orientation: int) -> None:
    if kind == "TIFF":
        data = tiff(PICTURE.tobytes(), H, W, photometric=2, samples=3, orientation=orientation)
    else:
        data = encode(Image.fromarray(PICTURE), kind, exif=exif(orientation))
    found = describe(data)
    assert orientation == found.orientation
    assert (found.height, found.width) == decode(data).shape[:2]


def test_a_header_is_enough() -> None:
    found = describe(png_claiming(30_000, 20_001))
    assert (30_000, 20_001) == (found.width, found.height)
    assert "I;16" == describe(png(np.zeros((H, W), np.uint16), 0)).mode


def test_arrays_and_pillow_s_images_are_described() -> None:
    assert Description("array", W, H, "RGB", 1, None, 1) == describe(PICTURE)
    assert Description("Pillow", W, H, "CMYK", 1, None, 1) == describe(Image.new("CMYK", (W, H)))


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"<!DOCTYPE html>")
    with pytest.raises(ImageError, match="a web page") as caught:
        describe(tmp_path / "a.jpg")
    assert str(tmp_path / "a.jpg") == caught.value.where


def test_directories_in_a_ring_are_counted_once() -> None:
    data = bytearray(tiff(PICTURE.tobytes(), H, W, photometric=2, samples=3))
    count = struct.unpack_from("<H", data, 8)[0]
    struct.pack_into("<I", data, 10 + 12 * count, 8)  # the next directory is this one
    assert 1 == describe(bytes(data)).frames


@pytest.mark.parametrize("size", [0, 1])
def test_a_block_shorter_than_its_own_length_ends_the_counting(size: int, tmp_path: Path) -> None:
    """It stands where the index of several pictures would be; Pillow passes over it."""
    index = b"MPF\0II*\0" + struct.pack("<IHHHII", 8, 1, 0xB001, 4, 1, 5)
    jpeg = tmp_path / "a.jpg"
    for length, number in ((len(index) + 2, 5), (size, 1)):
        jpeg.write_bytes(b"\xff\xd8\xff\xe2" + struct.pack(">H", length) + index)
        with jpeg.open("rb") as file:
            assert number == num_frames("JPEG", file)


# primaries (x, y) and white: IEC 61966-2-1; SMPTE EG 432-1 with D65; Adobe RGB (1998) encoding
SPACES = {
    "sRGB": (((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)), False),
    "Display P3": (((0.68, 0.32), (0.265, 0.69), (0.15, 0.06)), True),
    "Adobe RGB (1998)": (((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), True),
}


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("version", [2, 4])
def test_profiles_say_their_name_and_whether_they_are_wide(name: str, version: int) -> None:
    primaries, wide = SPACES[name]
    block = icc(name, primaries, version=version)
    found = describe(encode(Image.fromarray(PICTURE), "JPEG", icc_profile=block)).profile
    assert found is not None
    assert (name, "RGB", wide) == (found.name, found.space, found.wide)
    assert name == ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(block))).strip()


def test_little_cms_s_own_profile_is_not_wide() -> None:
    block = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    found = profile_of(block)
    assert found is not None
    assert not found.wide


@pytest.mark.parametrize("block", [b"", b"acsp", bytes(4000), bytes(36) + b"acsp" + b"\xff" * 4000])
def test_a_damaged_profile_is_none_or_harmless(block: bytes) -> None:
    found = profile_of(block)
    assert found is None or not found.wide

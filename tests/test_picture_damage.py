"""A file that was cut off, or whose bytes are not those that were written, is named; never filled up with grey."""

from __future__ import annotations

import contextlib
import errno
import io
import os

import numpy as np
import pytest
from image_bombs import progressive
from image_fuzz import corpus
from PIL import Image

from vitreous.errors import ImageError
from vitreous.picture.decode import decode

H, W = 121, 203


def structured() -> Image.Image:
    chance = np.random.default_rng(5)
    return Image.fromarray(chance.integers(0, 256, (17, 29, 3), np.uint8)).resize((W, H), Image.Resampling.BICUBIC)


WAYS: dict[str, tuple[str, dict[str, object]]] = {
    "jpeg": ("JPEG", {}),
    "progressive": ("JPEG", {"progressive": True}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {}),
    "webp-lossless": ("WEBP", {"lossless": True}),
    "gif": ("GIF", {}),
    "bmp": ("BMP", {}),
    "tiff": ("TIFF", {}),
    "tiff-lzw": ("TIFF", {"compression": "tiff_lzw"}),
    "tiff-deflate": ("TIFF", {"compression": "tiff_deflate"}),
    "tiff-jpeg": ("TIFF", {"compression": "jpeg"}),
    "tiff-packbits": ("TIFF", {"compression": "packbits"}),
}


def file_of(way: str) -> bytes:
    kind, options = WAYS[way]
    file = io.BytesIO()
    structured().save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("way", WAYS)
def test_a_file_cut_off_at_10_50_or_99_percent_is_named(way: str) -> None:
    data = file_of(way)
    assert decode(data).shape == (H, W, 3)
    for share in (0.1, 0.5, 0.99):
        with pytest.raises(ImageError) as caught:
            decode(data[: int(len(data) * share)], name="holiday.jpg")
        assert caught.value.where == "holiday.jpg"
        assert caught.value.why


@pytest.mark.parametrize("way", ["jpeg", "progressive", "png", "webp", "webp-lossless", "gif", "tiff-deflate"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_an_end_that_was_never_written_is_noticed(way: str, share: float) -> None:
    """A broken download of known length, or a full disk, leaves zeros. BMP and plain TIFF would be black there."""
    data = file_of(way)
    written = int(len(data) * share)
    with pytest.raises(ImageError):
        decode(data[:written] + bytes(len(data) - written))


@pytest.mark.parametrize(
    "options", [{"quality": 80}, {"quality": 100, "method": 0}, {"lossless": True, "quality": 0, "method": 0}]
)
def test_a_webp_picture_that_ends_in_a_flat_area_is_sound(options: dict[str, int]) -> None:
    """Its coders write a white ground as zeros, which are no sign that the end was never written."""
    picture = Image.new("RGB", (1500, 1100), "white")
    picture.paste(structured().resize((1500, 300)))
    file = io.BytesIO()
    picture.save(file, "WEBP", **options)
    data = file.getvalue()
    assert data.endswith(bytes(64)), "nothing is tried otherwise"
    with Image.open(file) as expected:
        assert (decode(data) == np.asarray(expected.convert("RGB"))).all()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_cut_off_is_named_or_its_first_picture_whole(kind: str) -> None:
    frames = [structured(), structured().transpose(Image.Transpose.ROTATE_180), structured()]
    file = io.BytesIO()
    frames[0].save(
        file, kind, save_all=True, append_images=frames[1:], **({"lossless": True} if kind == "WEBP" else {})
    )
    whole = decode(file.getvalue())
    for share in (0.1, 0.3, 0.5, 0.9, 0.99):
        try:
            decoded = decode(file.getvalue()[: int(len(file.getvalue()) * share)])
        except ImageError:
            continue
        assert (decoded == whole).all(), share


def test_a_flipped_bit_in_a_png_is_noticed_wherever_it_is() -> None:
    """Every chunk has a check sum, which Pillow does not compare for pixels."""
    data = file_of("png")
    for at in range(8, len(data), 131):
        flipped = bytearray(data)
        flipped[at] ^= 4
        with pytest.raises(ImageError):
            decode(bytes(flipped))


@pytest.mark.parametrize("way", ["jpeg", "progressive"])
def test_a_film_behind_a_photograph_is_not_taken_for_its_scans(way: str) -> None:
    """Telephones put one there; among 13 million random bytes there are 200 that begin a scan."""
    data = file_of(way)
    assert (decode(data + b"\xff\xda" * 1000) == decode(data)).all()


class FailingDisk(io.BytesIO):
    """Its reads end in an error after some."""

    sound = 0

    def read(self, size: int | None = -1, /) -> bytes:
        if self.sound <= 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.sound -= 1
        return super().read(size)


@pytest.mark.parametrize("way", ["jpeg", "png", "webp", "gif", "bmp"])
def test_a_disk_that_fails_is_not_called_a_damaged_file(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever of the reads it is; but of a TIFF file's directory Pillow hands on what it made of the half of it."""
    disk = FailingDisk(file_of(way))
    monkeypatch.setattr("vitreous.picture.decode.opened", lambda _: contextlib.nullcontext(disk))
    disk.sound = enough = 10_000
    decode("a picture")
    enough -= disk.sound
    assert enough > 3
    for sound in range(enough):
        disk.seek(0)
        disk.sound = sound
        with pytest.raises(ImageError, match="the file cannot be read") as caught:
            decode("a picture")
        assert caught.value.why == os.strerror(errno.EIO)


def test_an_end_within_a_comment_hides_no_scans() -> None:
    comment = b"\xff\xfe\0\4\xff\xd9"
    assert decode(progressive(W, H, scans=150, before_scan=comment)).shape == (H, W, 3)
    with pytest.raises(ImageError, match="hundreds of scans"):
        decode(progressive(W, H, scans=201, before_scan=comment))


def test_markers_without_end_among_scans_are_named() -> None:
    """Comments between scans cost 64 KiB of reading each, and a file has room for millions."""
    for number in (100, 20_000):
        data = progressive(W, H, scans=150, before_scan=b"\xff\xfe\0\4\xff\xda")
        end = data.rindex(b"\xff\xd9")
        crowded = data[:end] + b"\xff\xfe\0\4\xff\xda" * number + data[end:]
        if number == 100:
            assert (decode(crowded) == decode(data)).all()
        else:
            with pytest.raises(ImageError, match="thousands of markers"):
                decode(crowded)


def test_a_webp_file_of_chunks_without_end_is_named() -> None:
    data = file_of("webp-lossless")
    for number in (9, 100_000):
        canvas = bytes(4) + (W - 1).to_bytes(3, "little") + (H - 1).to_bytes(3, "little")
        body = b"WEBPVP8X\x0a\0\0\0" + canvas + b"none\0\0\0\0" * number + data[12:]
        content = b"RIFF" + len(body).to_bytes(4, "little") + body
        if number == 9:
            assert (decode(content) == decode(data)).all()
        else:
            with pytest.raises(ImageError, match="thousands of chunks"):
                decode(content)


@pytest.mark.parametrize(
    ("content", "words", "remedy"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC image", "magick mogrify -format jpg"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "an AVIF image", "magick mogrify -format jpg"),
        (b"II*\0\x10\0\0\0CR\2\0", "a Canon camera raw file", "develop it"),
        (b"FUJIFILMCCD-RAW 0201", "a Fujifilm camera raw file", "develop it"),
        (b"IIRO\x08\0\0\0", "an Olympus camera raw file", "develop it"),
        (b"SIMPLE  =                    T", "a FITS file", "convert it"),
        (b"\xff\x0a\xfa\x1f", "a JPEG XL image", "convert it"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image", "convert it"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image", "convert it"),
        (b"8BPS\0\1", "a Photoshop document", "convert it"),
        (b"%!PS-Adobe-3.0 EPSF", "a PostScript document", "convert it"),
        (bytes(128) + b"DICM", "a DICOM file", "convert it"),
        (b"\x93NUMPY\x01\0", "a NumPy array", "convert it"),
        (b"P6\n4 4\n255\n", "a PPM image", "convert it"),
    ],
)
def test_what_is_not_read_is_named_with_what_helps(content: bytes, words: str, remedy: str) -> None:
    with pytest.raises(ImageError, match=words) as caught:
        decode(content)
    assert str(caught.value.remedy).startswith(remedy)


def test_the_sample_files_of_all_kinds_are_whole() -> None:
    """What the tests of damage and of threads begin with can be read."""
    assert len([decode(data) for data in corpus()]) >= 25

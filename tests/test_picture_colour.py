"""Depth, inks, transparency and profiles: the colours of a picture are right, or it says why not."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from image_files import exif, gradient, icc, png, tiff
from PIL import Image

from vitreous.errors import ImageError, UsageError
from vitreous.picture.decode import decode

H, W = 24, 40
PICTURE = gradient(H, W)
DEEP = np.random.default_rng(3).integers(0, 65536, (H, W, 3), np.uint16)
HIGH = (DEEP >> 8).astype(np.uint8)
ORDERS = pytest.mark.parametrize("order", ["<", ">"])


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


# ---------------------------------------------------------------- depth


@ORDERS
@pytest.mark.parametrize("compression", [1, 8])
def test_16_bit_colour_tiff_keeps_the_high_byte(order: str, compression: int) -> None:
    stored = DEEP.astype(order + "u2").tobytes()
    data = zlib.compress(stored) if compression == 8 else stored
    file = tiff(data, H, W, order=order, bits=16, samples=3, photometric=2, compression=compression)
    assert (decode(file) == HIGH).all()


@ORDERS
def test_16_bit_transparent_tiff_keeps_the_high_byte(order: str) -> None:
    stored = np.dstack([DEEP, np.full((H, W), 65535, np.uint16)]).astype(order + "u2").tobytes()
    assert (decode(tiff(stored, H, W, order=order, bits=16, samples=4, photometric=2, extra=2)) == HIGH).all()


@ORDERS
@pytest.mark.parametrize("depth", [8, 16])
def test_inks_of_8_and_16_bits_are_the_same(order: str, depth: int) -> None:
    """(255 - ink) (255 - black) / 255: Pillow's plain conversion."""
    inks = np.dstack([DEEP, DEEP[:, :, 0] // 2])
    stored = inks.astype(order + "u2") if depth == 16 else (inks >> 8).astype(np.uint8)
    decoded = decode(tiff(stored.tobytes(), H, W, order=order, bits=depth, samples=4, photometric=5))
    light = 255 - (inks >> 8).astype(float)
    assert np.abs(decoded - light[:, :, :3] * light[:, :, 3:] / 255).max() <= 1


@ORDERS
def test_channels_of_16_bits_one_after_the_other_are_refused(order: str) -> None:
    """Pillow gives the pixels of other places, without a word."""
    stored = np.moveaxis(DEEP, 2, 0).astype(order + "u2").tobytes()
    with pytest.raises(ImageError, match="channels of 16 bits one after the other"):
        decode(tiff(stored, H, W, order=order, bits=16, samples=3, photometric=2, planar=2))


@pytest.mark.parametrize(("bits", "samples"), [(16, 1), (64, 1), (32, 3)])
def test_other_floating_point_numbers_are_refused_in_words(bits: int, samples: int) -> None:
    file = tiff(bytes(H * W * bits // 8 * samples), H, W, bits=bits, samples=samples, sample_format=3)
    with pytest.raises(ImageError, match=f"{samples} channels of {bits}-bit floating-point") as caught:
        decode(file)
    assert caught.value.remedy


def test_compressed_floats_whose_bytes_pillow_swaps_twice_are_refused() -> None:
    values = np.linspace(0, 1, H * W, dtype=">f4")
    assert decode(
        tiff(zlib.compress(values.astype("<f4").tobytes()), H, W, bits=32, sample_format=3, compression=8)
    ).any()
    with pytest.raises(ImageError, match="big-endian"):
        decode(tiff(zlib.compress(values.tobytes()), H, W, order=">", bits=32, sample_format=3, compression=8))


@pytest.mark.parametrize("compression", [6, 34712, 50001])
def test_rare_compressions_are_not_tried(compression: int) -> None:
    with pytest.raises(ImageError, match=f"method {compression}"):
        decode(tiff(bytes(H * W), H, W, compression=compression))


# ---------------------------------------------------------------- transparency


def test_premultiplied_colours_are_divided_by_their_alpha() -> None:
    """TIFF's associated alpha: what is stored is colour times alpha."""
    alpha = np.tile(np.linspace(0, 255, W).round().astype(np.uint8), (H, 1))[..., None]
    stored = np.dstack([(PICTURE * (alpha / 255)).round().astype(np.uint8), alpha])
    decoded = decode(tiff(stored.tobytes(), H, W, samples=4, photometric=2, extra=1))
    assert np.abs(decoded - (stored[:, :, :3] + 255.0 - alpha)).max() <= 2


def test_a_clear_colour_of_16_bits_is_found_among_8() -> None:
    """The high bytes are compared, since Pillow keeps no others."""
    key = DEEP[3, 5]
    decoded = decode(png(DEEP, 2, (b"tRNS", struct.pack(">HHH", *map(int, key)))), background=(1, 2, 3))
    clear = (HIGH[3, 5] == HIGH).all(axis=-1)
    assert (decoded == np.where(clear[..., None], (1, 2, 3), HIGH)).all()


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_a_clear_grey_of_few_bits_is_found_at_every_level(depth: int) -> None:
    top = 2**depth - 1
    samples = (np.arange(H * W).reshape(H, W) % (top + 1)).astype(np.uint8)
    for key in range(top + 1):
        decoded = decode(png(samples, 0, (b"tRNS", struct.pack(">H", key)), depth=depth), background=(1, 2, 3))
        grey = np.repeat((samples * (255 // top))[..., None], 3, axis=2)
        assert (decoded == np.where((samples == key)[..., None], (1, 2, 3), grey)).all(), key


# ---------------------------------------------------------------- profiles

SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
P3 = ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))
ADOBE = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))


def by_hand(pixels: np.ndarray, primaries: tuple[tuple[float, float], ...]) -> np.ndarray:
    """From one set of primaries under D65 with a gamma of 2.2 to sRGB (IEC 61966-2-1), cut off at its limits."""

    def to_xyz(corners: tuple[tuple[float, float], ...]) -> np.ndarray:
        columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in corners]).T
        x, y = 0.3127, 0.3290
        return columns * np.linalg.solve(columns, np.array([x / y, 1, (1 - x - y) / y]))

    light = (pixels / 255) ** (563 / 256) @ (np.linalg.inv(to_xyz(SRGB)) @ to_xyz(primaries)).T
    light = light.clip(0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("primaries", [P3, ADOBE])
def test_profiles_are_ignored_as_in_every_reference_and_converted_on_request(
    primaries: tuple[tuple[float, float], ...],
) -> None:
    soft = (PICTURE // 2 + 60).astype(np.uint8)  # within sRGB, so that nothing is a matter of gamut mapping
    data = encode(Image.fromarray(soft), "PNG", icc_profile=icc("wide", primaries))
    assert (decode(data) == soft).all()
    converted = decode(data, profile="convert")
    assert np.abs(converted - by_hand(soft, primaries)).max() <= 3
    assert np.abs(converted.astype(int) - soft).max() > 5
    assert (converted == decode(data, profile="convert")).all()


def test_converting_changes_nothing_without_a_profile_or_with_srgb_s() -> None:
    plain = encode(Image.fromarray(PICTURE), "PNG")
    assert (decode(plain, profile="convert") == PICTURE).all()
    image = Image.fromarray(np.dstack([PICTURE, PICTURE[:, :, 0]]))
    clear = encode(image, "PNG", icc_profile=icc("sRGB, nearly", SRGB), exif=exif(3))
    assert np.abs(decode(clear, profile="convert").astype(int) - decode(clear)).max() <= 12  # 2.2 is not sRGB's curve


def test_a_damaged_profile_is_told_only_when_it_is_needed() -> None:
    data = encode(Image.fromarray(PICTURE), "PNG", icc_profile=b"no profile at all")
    assert (decode(data) == PICTURE).all()
    with pytest.raises(ImageError, match="colour profile is damaged") as caught:
        decode(data, name="a.png", profile="convert")
    assert "ignore" in str(caught.value.remedy)
    assert "a.png" == caught.value.where


def test_a_profile_of_other_inks_does_not_fit() -> None:
    data = encode(Image.new("CMYK", (W, H), (40, 90, 160, 30)), "JPEG", icc_profile=icc("screen", P3))
    with pytest.raises(ImageError, match="does not fit a picture in CMYK"):
        decode(data, profile="convert")
    grey = Image.new("La", (W, H), (40, 90))  # as TIFF stores grey that is multiplied by its transparency
    grey.info["icc_profile"] = icc("screen", P3)
    with pytest.raises(ImageError, match="does not fit a picture in L"):
        decode(grey, profile="convert")


def test_without_little_cms_conversion_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: object) -> None:
        raise ImportError("The _imagingcms C module is not installed")

    monkeypatch.setattr("vitreous.picture.colour.ImageCms.ImageCmsProfile", missing)
    data = encode(Image.fromarray(PICTURE), "PNG", icc_profile=icc("wide", P3))
    assert (decode(data) == PICTURE).all()
    with pytest.raises(UsageError, match="cannot be converted"):
        decode(data, profile="convert")


# ---------------------------------------------------------------- metadata


def test_nothing_but_pixels_is_passed_on() -> None:
    """Where a photograph was taken does not leave by a thumbnail: an array has no room for it."""
    place = b"GPS 52.5163 N 13.3777 E"
    image = Image.fromarray(PICTURE)
    data = encode(image, "JPEG", exif=exif(1) + place, comment=place, icc_profile=icc("wide", P3))
    assert place in data
    for pixels in (decode(data, profile="ignore"), decode(data, profile="convert")):
        assert type(pixels) is np.ndarray
        for kind in ("JPEG", "PNG", "WEBP"):
            again = encode(Image.fromarray(pixels), kind)
            assert place not in again
            assert not Image.open(io.BytesIO(again)).getexif()


@pytest.mark.parametrize("size", [100, 65_000])
def test_large_and_strange_exif_costs_nothing(size: int) -> None:
    block = exif(6) + np.random.default_rng(0).integers(0, 256, size, np.uint8).tobytes()
    for kind in ("PNG", "WEBP", "JPEG"):
        options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
        upright = decode(encode(Image.fromarray(PICTURE), kind, exif=block, **options))
        expected = np.rot90(decode(encode(Image.fromarray(PICTURE), kind, **options)), -1)
        assert (upright == expected).all()

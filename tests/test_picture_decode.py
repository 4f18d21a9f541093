"""Whatever file a picture comes in, its pixels are right or it is named as unreadable."""

from __future__ import annotations

import io
import os
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import exif, gradient, png, png_claiming, tiff
from PIL import Image, ImageFile, ImageOps

from vitreous.errors import ImageError, UsageError
from vitreous.picture.decode import MAX_PIXELS, decode, reason

H, W = 24, 40
PICTURE = gradient(H, W)


def encode(pixels: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def solid(mode: str, colour: object) -> Image.Image:
    return Image.new(mode, (W, H), colour)  # type: ignore[arg-type]


# ---------------------------------------------------------------- formats


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_deflate"}),
        ("WEBP", {"lossless": True, "exact": True}),
    ],
)
def test_lossless_formats_give_back_every_pixel(kind: str, options: dict[str, object]) -> None:
    assert (decode(encode(PICTURE, kind, **options)) == PICTURE).all()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 95, "subsampling": 0}),
        ("JPEG", {"quality": 95, "progressive": True}),
        ("WEBP", {"quality": 95}),
        ("TIFF", {"compression": "jpeg", "quality": 95}),
    ],
)
def test_lossy_formats_come_close(kind: str, options: dict[str, object]) -> None:
    decoded = decode(encode(PICTURE, kind, **options)).astype(int)
    assert decoded.shape == (H, W, 3)
    assert np.abs(decoded - PICTURE).mean() < 3


def test_a_gif_has_its_palette_s_colours() -> None:
    image = solid("P", 1)
    image.putpalette([0, 0, 0, 12, 200, 77])
    assert decode(encode(image, "GIF"))[3, 5].tolist() == [12, 200, 77]


def test_a_picture_is_the_same_from_a_path_bytes_pillow_and_an_array(tmp_path: Path) -> None:
    data = encode(PICTURE, "JPEG", exif=exif(6))
    (tmp_path / "a photo.jpg").write_bytes(data)
    expected = decode(data)
    assert expected.shape == (W, H, 3)
    for source in (tmp_path / "a photo.jpg", str(tmp_path / "a photo.jpg"), Image.open(io.BytesIO(data)), expected):
        assert (decode(source) == expected).all()


def test_content_wins_over_the_name(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(encode(PICTURE, "PNG"))
    (tmp_path / "photo").write_bytes(encode(PICTURE, "BMP"))
    assert (decode(tmp_path / "photo.jpg") == PICTURE).all()
    assert (decode(tmp_path / "photo") == PICTURE).all()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_the_first_picture_of_several_is_taken(kind: str) -> None:
    first, second = solid("RGB", (200, 30, 60)), solid("RGB", (10, 220, 90))
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind == "MPO" else {}
    decoded = decode(encode(first, kind, save_all=True, append_images=[second], **options))
    assert np.abs(decoded.astype(int) - (200, 30, 60)).max() <= 2
    assert decoded.shape == (H, W, 3)


def test_decoded_pixels_cannot_be_written_over_by_accident() -> None:
    assert not decode(encode(PICTURE, "PNG")).flags.writeable


# ---------------------------------------------------------------- rotation


def stored_for(orientation: int, upright: np.ndarray) -> np.ndarray:
    """What the camera stores so that `orientation` makes it upright (EXIF 2.32: the 0th row and 0th column lie ...)."""
    return {
        1: upright,  # top, left
        2: upright[:, ::-1],  # top, right
        3: upright[::-1, ::-1],  # bottom, right
        4: upright[::-1],  # bottom, left
        5: upright.swapaxes(0, 1),  # left, top
        6: upright[:, ::-1].swapaxes(0, 1),  # right, top
        7: upright[::-1, ::-1].swapaxes(0, 1),  # right, bottom
        8: upright[::-1].swapaxes(0, 1),  # left, bottom
    }[orientation]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG"])
def test_the_camera_s_rotation_is_undone(kind: str, orientation: int) -> None:
    stored = np.ascontiguousarray(stored_for(orientation, PICTURE))
    if kind == "TIFF":
        data = tiff(stored.tobytes(), *stored.shape[:2], photometric=2, samples=3, orientation=orientation)
    else:
        options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
        data = encode(stored, kind, exif=exif(orientation), **options)
    decoded = decode(data)
    assert PICTURE.shape == decoded.shape
    assert np.abs(decoded.astype(int) - PICTURE).max() <= (40 if kind == "JPEG" else 0)
    assert np.abs(decoded.astype(int) - PICTURE).mean() < 4


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [3, 4])
@pytest.mark.parametrize("before", [0, 3])
def test_orientation_is_read_as_pillow_reads_it(order: str, kind: int, before: int) -> None:
    data = encode(PICTURE, "PNG", exif=exif(6, order=order, kind=kind, before=before))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert (decode(data) == expected).all()


@pytest.mark.parametrize(
    "block",
    [
        b"Exif\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
        b"not exif at all",
        exif(6)[:-8],
        exif(9),
        exif(0),
        b"Exif\0\0" + bytes(60_000),
    ],
)
def test_damaged_exif_costs_nothing(block: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (decode(encode(PICTURE, "PNG", exif=block)) == PICTURE).all()


# ---------------------------------------------------------------- depth and colour

DEEP = np.linspace(0, 65535, H * W, dtype=np.uint16).reshape(H, W)


def test_16_bit_grey_png_is_scaled_not_clipped() -> None:
    assert (decode(png(DEEP, 0)) == (DEEP // 256)[..., None]).all()


@pytest.mark.parametrize(("order", "white_is_zero"), [("<", False), ("<", True), (">", False)])
def test_16_bit_grey_tiff_is_scaled_not_clipped(order: str, white_is_zero: bool) -> None:
    data = tiff(DEEP.astype(order + "u2").tobytes(), H, W, order=order, bits=16, photometric=int(not white_is_zero))
    expected = 255 - DEEP // 256 if white_is_zero else DEEP // 256
    assert (decode(data) == expected[..., None]).all()


def test_12_bit_tiff_is_scaled_by_its_own_depth() -> None:
    packed = bytes([0xFF, 0xF1, 0x23, 0x80, 0x00, 0x01])  # 4095, 291, 2048, 1 of 4095
    assert decode(tiff(packed, 1, 4, bits=12))[0, :, 1].tolist() == [255, 18, 128, 0]


def test_16_bit_colour_agrees_with_16_bit_grey() -> None:
    colour = np.stack([DEEP, DEEP[::-1], DEEP[:, ::-1]], axis=-1)
    assert (decode(png(colour, 2)) == colour // 256).all()
    opaque = np.concatenate([colour, np.full((H, W, 1), 65535, np.uint16)], axis=-1)
    assert (decode(png(opaque, 6)) == colour // 256).all()


@pytest.mark.parametrize("order", ["<", ">"])
def test_float_tiff_in_0_to_1_is_scaled(order: str) -> None:
    values = np.linspace(0, 1, H * W, dtype=np.float32).reshape(H, W)
    data = tiff(values.astype(order + "f4").tobytes(), H, W, order=order, bits=32, sample_format=3)
    assert (decode(data) == np.round(values * 255).astype(np.uint8)[..., None]).all()


@pytest.mark.parametrize("bad", [-0.1, 1.01, 255.0, np.nan, np.inf])
def test_float_tiff_outside_0_to_1_is_refused(bad: float) -> None:
    values = np.zeros((H, W), np.float32)
    values[3, 7] = bad
    with pytest.raises(ImageError, match="outside 0 to 1"):
        decode(tiff(values.tobytes(), H, W, bits=32, sample_format=3))


@pytest.mark.parametrize(("bits", "sample_format"), [(32, 1), (32, 2), (16, 2)])
def test_integers_without_a_range_are_refused(bits: int, sample_format: int) -> None:
    data = tiff(bytes(H * W * bits // 8), H, W, bits=bits, sample_format=sample_format)
    with pytest.raises(ImageError, match="signed or 32-bit integers"):
        decode(data)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_few_bits_of_grey_span_black_to_white(depth: int) -> None:
    top = 2**depth - 1
    samples = (np.arange(H * W).reshape(H, W) % (top + 1)).astype(np.uint8)
    assert (decode(png(samples, 0, depth=depth)) == (samples * (255 // top))[..., None]).all()


def test_one_bit_tiff_follows_its_photometric_tag() -> None:
    rows = bytes([0b10110000, 0b01000000])
    black_is_zero = decode(tiff(rows, 2, 4, bits=1, photometric=1))[:, :, 0]
    assert black_is_zero.tolist() == [[255, 0, 255, 255], [0, 255, 0, 0]]
    assert (decode(tiff(rows, 2, 4, bits=1, photometric=0))[:, :, 0] == 255 - black_is_zero).all()


def test_grey_is_the_same_in_all_channels() -> None:
    grey = PICTURE[:, :, 0]
    for data in (encode(grey, "PNG"), encode(grey, "TIFF"), png(grey, 0)):
        assert (decode(data) == grey[..., None]).all()
    jpeg = decode(encode(grey, "JPEG", quality=95))
    assert (jpeg == jpeg[:, :, :1]).all()
    assert np.abs(jpeg[:, :, 0].astype(int) - grey).max() < 8


def test_palette_png_is_looked_up() -> None:
    index = np.arange(H * W, dtype=np.uint8).reshape(H, W) % 4
    palette = np.array([[9, 8, 7], [250, 0, 10], [1, 99, 200], [128, 64, 32]], np.uint8)
    assert (decode(png(index, 3, (b"PLTE", palette.tobytes()))) == palette[index]).all()


CMYK = (40, 90, 160, 30)
CMYK_AS_RGB = [(255 - c) * (255 - CMYK[3]) / 255 for c in CMYK[:3]]  # without a colour profile


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 100}), ("TIFF", {})])
def test_cmyk_is_ink_not_light(kind: str, options: dict[str, object]) -> None:
    decoded = decode(encode(solid("CMYK", CMYK), kind, **options))
    assert np.abs(decoded - np.array(CMYK_AS_RGB)).max() <= 3


def test_ycck_jpeg_is_converted() -> None:
    """Adobe's marker turned from CMYK to YCCK: the stored, inverted inks are then Y, Cb, Cr (JFIF) and K."""
    data = encode(solid("CMYK", CMYK), "JPEG", quality=100)
    at = data.index(b"Adobe") + 11
    assert data[at] == 0
    y, cb, cr, k = (255 - ink for ink in CMYK)
    light = [y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), y + 1.772 * (cb - 128)]
    # the RGB of YCCK are inverted inks that are stored inverted once more: two wrongs make the light itself
    inks = [255 - np.clip(value, 0, 255) for value in light]
    expected = [(255 - (255 - ink)) * k / 255 for ink in inks]
    decoded = decode(data[:at] + b"\x02" + data[at + 1 :])
    assert np.abs(decoded - np.array(expected)).max() <= 4


def test_lab_is_converted() -> None:
    """CIE Lab of three colours (D50 white), from the definition: grey has a = b = 0, red and blue their signs."""
    pixels = np.array([[[136, 0, 0], [138, 81, 70], [77, 68, 144]]], np.uint8)  # L 53.4; 54.3 81 70; 30 68 -112
    data = tiff(pixels.tobytes(), 1, 3, photometric=8, samples=3)
    grey, red, blue = decode(data)[0].astype(int)
    assert np.abs(grey - 128).max() <= 3
    assert np.abs(red - (255, 0, 0)).max() <= 12
    assert np.abs(blue - (0, 0, 255)).max() <= 30


# ---------------------------------------------------------------- transparency

ALPHA = np.tile(np.linspace(0, 255, W).round().astype(np.uint8), (H, 1))


def over(colour: np.ndarray, alpha: np.ndarray, background: tuple[int, int, int]) -> np.ndarray:
    share = alpha[..., None] / 255
    return colour * share + np.array(background) * (1 - share)


@pytest.mark.parametrize("background", [(255, 255, 255), (10, 20, 30)])
def test_transparency_shows_the_background(background: tuple[int, int, int]) -> None:
    rgba = np.concatenate([PICTURE, ALPHA[..., None]], axis=-1)
    expected = over(PICTURE, ALPHA, background)
    for data in (png(rgba, 6), encode(rgba, "TIFF"), encode(rgba, "WEBP", lossless=True, exact=True)):
        assert np.abs(decode(data, background=background) - expected).max() <= 1
    la = np.stack([PICTURE[:, :, 0], ALPHA], axis=-1)
    expected = over(np.repeat(PICTURE[:, :, :1], 3, axis=-1), ALPHA, background)
    assert np.abs(decode(png(la, 4), background=background) - expected).max() <= 1


def test_the_hidden_colour_of_clear_pixels_stays_hidden() -> None:
    clear = np.concatenate([PICTURE, np.zeros((H, W, 1), np.uint8)], axis=-1)
    assert (decode(png(clear, 6)) == 255).all()


def test_palette_transparency_is_a_table_of_alphas() -> None:
    index = np.arange(H * W, dtype=np.uint8).reshape(H, W) % 3
    palette = np.array([[9, 8, 7], [250, 0, 10], [1, 99, 200]], np.uint8)
    alphas = np.array([0, 128, 255], np.uint8)  # the last one is left out of the file: opaque
    data = png(index, 3, (b"PLTE", palette.tobytes()), (b"tRNS", alphas[:2].tobytes()))
    assert np.abs(decode(data) - over(palette[index], alphas[index], (255, 255, 255))).max() <= 1


def test_one_colour_may_mean_transparent() -> None:
    key = PICTURE[5, 7]
    clear = (key == PICTURE).all(axis=-1)
    decoded = decode(png(PICTURE, 2, (b"tRNS", struct.pack(">HHH", *map(int, key)))), background=(1, 2, 3))
    assert (decoded == np.where(clear[..., None], (1, 2, 3), PICTURE)).all()

    grey = decode(png(PICTURE[:, :, 0], 0, (b"tRNS", struct.pack(">H", PICTURE[0, 0, 0]))), background=(1, 2, 3))
    assert grey[0, 0].tolist() == [1, 2, 3]
    assert grey[0, W - 1].tolist() == [PICTURE[0, W - 1, 0]] * 3

    deep = decode(png(DEEP, 0, (b"tRNS", struct.pack(">H", DEEP[2, 3]))), background=(1, 2, 3))
    assert deep[2, 3].tolist() == [1, 2, 3]
    assert [DEEP[2, 4] // 256] * 3 == deep[2, 4].tolist()


def test_a_clear_gif_shows_the_background() -> None:
    image = solid("P", 0)
    image.putpalette([90, 10, 10, 12, 200, 77])
    image.putpixel((3, 2), 1)
    decoded = decode(encode(image, "GIF", transparency=0))
    assert decoded[0, 0].tolist() == [255, 255, 255]
    assert decoded[2, 3].tolist() == [12, 200, 77]


# ---------------------------------------------------------------- what cannot be read


FILES = {
    "jpeg": encode(PICTURE, "JPEG", quality=90),
    "progressive": encode(PICTURE, "JPEG", quality=90, progressive=True),
    "png": encode(np.random.default_rng(0).integers(0, 256, (H, W, 3), np.uint8), "PNG"),
    "webp": encode(PICTURE, "WEBP", quality=90),
    "gif": encode(PICTURE, "GIF"),
    "tiff": encode(PICTURE, "TIFF"),
    "lzw": encode(PICTURE, "TIFF", compression="tiff_lzw"),
    "bmp": encode(PICTURE, "BMP"),
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_file_cut_off_is_refused(kind: str, share: float) -> None:
    data = FILES[kind]
    with pytest.raises(ImageError) as caught:
        decode(data[: int(len(data) * share)], name="holiday.jpg")
    assert caught.value.where == "holiday.jpg"


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(FILES)), st.floats(0, 1))
def test_a_file_cut_off_anywhere_is_refused_or_whole(kind: str, share: float) -> None:
    """Only what follows the last pixel can go unmissed: there is never a grey band."""
    data = FILES[kind]
    whole = decode(data)
    try:
        decoded = decode(data[: int(len(data) * share)])
    except ImageError:
        return
    assert (decoded == whole).all()


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(FILES)), st.data())
def test_a_damaged_file_gives_pixels_or_an_image_error(kind: str, data: st.DataObject) -> None:
    damaged = bytearray(FILES[kind])
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            decoded = decode(bytes(damaged))
        except ImageError:
            return
    assert np.uint8 == decoded.dtype
    assert decoded.shape[2] == 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "a web page"),
        (b"\n<html lang=en>", "a web page"),
        (b'{"error": "not found"}', "text"),
        (b"Dear diary,\n", "text"),
        (b"<?xml version='1.0'?><svg/>", "an XML file"),
        (b"<svg xmlns='x'/>", "an SVG drawing"),
        (b"%PDF-1.7 ...", "a PDF document"),
        (b"%!PS-Adobe-3.0 EPSF", "a PostScript document"),
        (b"8BPS\0\1", "a Photoshop document"),
        (b"PK\3\4....", "a zip archive"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC image"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "an AVIF image"),
        (b"\0\0\0\x1cftypisom\0\0\0\0", "a film"),
        (b"II*\0\x10\0\0\0CR\2\0", "a Canon camera raw file"),
        (bytes(400), "nothing but zero bytes"),
        (b"\x07\x01\x02\x99\xfe", "no image format known here"),
    ],
)
def test_what_is_not_an_image_is_called_by_its_name(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "cat.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=words) as caught:
        decode(tmp_path / "cat.jpg")
    assert str(tmp_path / "cat.jpg") == caught.value.where
    assert "\n" not in reason(caught.value)
    assert words in reason(caught.value)


def test_other_decoders_of_pillow_are_out_of_reach() -> None:
    for kind in ("ICO", "PPM", "TGA", "PCX", "SGI", "EPS", "PDF", "AVIF", "JPEG2000"):
        try:
            data = encode(PICTURE, kind)
        except (KeyError, OSError):
            continue  # not built into this Pillow
        with pytest.raises(ImageError):
            decode(data)


def test_the_preview_in_a_camera_raw_file_is_not_the_picture() -> None:
    with pytest.raises(ImageError, match="only the preview"):
        decode(tiff(PICTURE.tobytes(), H, W, photometric=2, samples=3, subfile=1))


@pytest.mark.parametrize("size", [(30_000, 30_000), (1, 20_001), (10_000, 10_000)])
def test_a_bomb_is_refused_before_it_goes_off(size: tuple[int, int]) -> None:
    """Only the header is there; decoding it would need gigabytes. Not even Pillow's warning is left to the user."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match=f"too large: {size[0]} x {size[1]}"):
            decode(png_claiming(*size))


def test_the_limit_is_the_caller_s_to_lower() -> None:
    data = encode(PICTURE, "PNG")
    assert H * W <= MAX_PIXELS
    assert (decode(data, max_pixels=H * W) == PICTURE).all()
    with pytest.raises(ImageError, match=f"{W} x {H}"):
        decode(data, max_pixels=H * W - 1)
    with pytest.raises(ImageError, match=f"{W} x {H}"):
        decode(Image.open(io.BytesIO(data)), max_pixels=H * W - 1)


def test_one_pixel_is_an_image() -> None:
    assert decode(png(np.array([[[7, 8, 9]]], np.uint8), 2)).tolist() == [[[7, 8, 9]]]


def test_paths_that_are_no_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "gone.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    for path, words in [
        (tmp_path / "missing.jpg", "no such file"),
        (tmp_path / "broken.jpg", "leads nowhere"),
        (tmp_path, "a folder"),
        (tmp_path / "pipe.jpg", "not an ordinary file"),
        (tmp_path / "x\0y.jpg", "cannot be the name"),
        (tmp_path / ("x" * 300), "too long"),
    ]:
        with pytest.raises(ImageError, match=words) as caught:
            decode(path)
        assert str(path) == caught.value.where


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, H, W), np.uint8),
        np.zeros((H, W), np.uint8),
        np.zeros((H, W, 4), np.uint8),
        np.zeros((H, W, 3), np.float32),
        np.zeros((0, W, 3), np.uint8),
        np.zeros((2, H, W, 3), np.uint8),
    ],
)
def test_arrays_are_taken_as_they_are_or_refused(array: np.ndarray) -> None:
    with pytest.raises(ImageError, match="height, width, 3"):
        decode(array)
    assert decode(PICTURE) is PICTURE


def test_grey_filling_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(UsageError, match="LOAD_TRUNCATED_IMAGES"):
        decode(encode(PICTURE, "JPEG"))


def test_a_pillow_image_is_not_changed() -> None:
    image = Image.fromarray(np.concatenate([PICTURE, ALPHA[..., None]], axis=-1))
    before = image.tobytes()
    decode(image)
    assert image.mode == "RGBA"
    assert before == image.tobytes()

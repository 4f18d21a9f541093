"""Run as a script with a number and a seed: decodes so many mutated image files, and says what that came to.

Anything but pixels or an ImageError ends it with a traceback; a crash ends it too.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import random
import struct
import sys
import time
import warnings
import zlib

import numpy as np
from image_files import exif, gradient, icc, png, tiff
from peak_memory import peak_memory
from PIL import Image

from vitreous.errors import ImageError
from vitreous.picture.decode import decode
from vitreous.picture.describe import describe

H, W = 24, 40
PICTURE = gradient(H, W)
SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
NUMBERS = [0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]


def corpus() -> list[bytes]:
    """One file of every kind that decoders treat in a way of its own."""
    colour = Image.fromarray(PICTURE)
    clear = Image.fromarray(np.dstack([PICTURE, PICTURE[:, :, 0]]))
    others = [Image.new("RGB", (W, H), (9 * n, 200, 60)) for n in range(3)]
    wanted: list[tuple[Image.Image, str, dict[str, object]]] = [
        (colour, "JPEG", {"exif": exif(6), "icc_profile": icc("sRGB", SRGB)}),
        (colour, "JPEG", {"progressive": True, "subsampling": 2}),
        (colour.convert("L"), "JPEG", {"restart_marker_rows": 1}),
        (colour.convert("CMYK"), "JPEG", {}),
        (colour, "MPO", {"save_all": True, "append_images": [one.copy() for one in others]}),
        (clear, "PNG", {"exif": exif(5), "icc_profile": icc("sRGB", SRGB, version=4)}),
        (colour.quantize(16), "PNG", {"transparency": 3}),
        (colour, "PNG", {"save_all": True, "append_images": [one.copy() for one in others]}),
        (clear, "WEBP", {"lossless": True, "exif": exif(3)}),
        (colour, "WEBP", {}),
        (clear, "WEBP", {"save_all": True, "append_images": [one.copy() for one in others]}),
        (colour.quantize(16), "GIF", {"transparency": 3}),
        (colour, "GIF", {"save_all": True, "append_images": [one.copy() for one in others], "comment": b"a comment"}),
        (colour, "BMP", {}),
        (colour.quantize(16), "BMP", {}),
        (clear, "TIFF", {"icc_profile": icc("sRGB", SRGB)}),
        (colour.convert("LAB"), "TIFF", {}),
        (colour, "TIFF", {"compression": "tiff_lzw"}),
        (colour, "TIFF", {"save_all": True, "append_images": [one.copy() for one in others]}),
        (colour, "TIFF", {"compression": "tiff_deflate"}),
        (colour, "TIFF", {"compression": "jpeg"}),
        (colour, "TIFF", {"compression": "packbits"}),
        (colour.convert("1"), "TIFF", {"compression": "group4"}),
    ]
    files = []
    for image, kind, options in wanted:
        file = io.BytesIO()
        image.copy().save(file, kind, **options)  # a copy: saving as MPO leaves settings behind that TIFF trips over
        files.append(file.getvalue())
    deep = np.linspace(0, 65535, H * W, dtype=np.uint16).reshape(H, W)
    files += [png(deep, 0), tiff(deep.astype(">u2").tobytes(), H, W, order=">", bits=16)]
    files.append(tiff((deep / 65535).astype("<f4").tobytes(), H, W, bits=32, sample_format=3))
    return files


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The file with one to six things done to it; half of them where the header is."""
    content = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(min(len(content), 200) if chance.random() < 0.5 else len(content))
        what = chance.randrange(7)
        if what == 0:
            content[at] ^= 1 << chance.randrange(8)
        elif what == 1:
            content[at] = chance.randrange(256)
        elif what == 2:
            layout = chance.choice(["<H", ">H", "<I", ">I"])
            value = chance.choice(NUMBERS) % (1 << 8 * struct.calcsize(layout))
            content[at : at + struct.calcsize(layout)] = struct.pack(layout, value)
        elif what == 3:
            del content[at : at + chance.randint(1, 40)]
        elif what == 4:
            content[at:at] = content[at : at + chance.randint(1, 200)]
        elif what == 5:
            content[at : at + chance.randint(1, 60)] = bytes(chance.randint(1, 60))
        elif chance.random() < 0.3:
            del content[at:]
        if not content:
            break
    return _sealed(bytes(content)) if content[1:4] == b"PNG" and chance.random() < 0.7 else bytes(content)


def _sealed(data: bytes) -> bytes:
    """The PNG with its check sums mended, so that what was done to it reaches the decoder."""
    content, at = bytearray(data), 8
    while at + 12 <= len(content):
        end = at + 8 + int.from_bytes(content[at : at + 4], "big")
        if end + 4 > len(content):
            break
        struct.pack_into(">I", content, end, zlib.crc32(content[at + 4 : end]))
        at = end + 4
    return bytes(content)


if __name__ == "__main__":
    faulthandler.enable()
    warnings.simplefilter("ignore")  # of Pillow's, on damaged files
    number, seed = int(sys.argv[1]), int(sys.argv[2])
    files = corpus()
    for file in files:
        decode(file)
    slowest, decoded, start = 0.0, 0, time.perf_counter()
    for place in range(number):
        case = mutated(files[place % len(files)], random.Random(seed * 1_000_003 + place))
        begin = time.perf_counter()
        for profile in ("ignore", "convert"):
            try:
                pixels = decode(case, profile=profile)
                assert pixels.dtype == np.uint8, place
                assert pixels.shape[2] == 3, place
                decoded += profile == "ignore"
            except ImageError:
                pass
        with contextlib.suppress(ImageError):
            describe(case)
        slowest = max(slowest, time.perf_counter() - begin)
    seconds = time.perf_counter() - start
    print(json.dumps({"decoded": decoded, "slowest": slowest, "peak_mb": peak_memory() / 2**20, "seconds": seconds}))

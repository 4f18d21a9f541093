"""Image files written by hand for tests, without Pillow: what is in them is known byte by byte."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np


def gradient(height: int, width: int) -> np.ndarray:
    """(height, width, 3) uint8: a smooth picture without any symmetry."""
    y, x = np.mgrid[0:height, 0:width]
    red = 20 + 200 * x / max(width - 1, 1)
    green = 235 - 180 * y / max(height - 1, 1)
    blue = 40 + 60 * x / max(width - 1, 1) + 90 * y / max(height - 1, 1)
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def png(samples: np.ndarray, colour_type: int, *chunks: tuple[bytes, bytes], depth: int | None = None) -> bytes:
    """A PNG file of (H, W) or (H, W, C) samples, uint8 or uint16; `chunks` go before the pixels.

    Args:
        samples: what is stored, row by row.
        colour_type: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA.
        chunks: (type, content), such as tRNS, PLTE or eXIf.
        depth: bits a sample; by default those of the dtype. Below 8 the samples of a row are packed.
    """
    height, width = samples.shape[:2]
    depth = depth or samples.dtype.itemsize * 8
    if depth < 8:
        bits = (samples[:, :, None] >> np.arange(depth)[::-1]) & 1
        rows = np.packbits(bits.reshape(height, -1), axis=1)
    else:
        rows = samples.reshape(height, -1).astype(samples.dtype.newbyteorder(">"))
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in parts)


def png_claiming(width: int, height: int) -> bytes:
    """A PNG file whose header speaks of a large RGB image, with next to nothing behind it."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(bytes(100)))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def tiff(pixels: bytes, height: int, width: int, *, order: str = "<", **tags: int) -> bytes:
    """An uncompressed TIFF file with one strip; tags are grey, 8 bits, black is zero unless given.

    Args:
        pixels: as they lie in the file.
        height: rows.
        width: columns.
        order: "<" little or ">" big endian.
        tags: bits, photometric, compression, sample_format, samples, planar, extra, subfile, orientation.
    """
    ids = {"subfile": 254, "orientation": 274, "planar": 284, "extra": 338, "sample_format": 339}
    entries = {
        **{
            256: width,
            257: height,
            258: tags.pop("bits", 8),
            259: tags.pop("compression", 1),
            262: tags.pop("photometric", 1),
        },
        **{273: 0, 277: tags.pop("samples", 1), 278: height, 279: len(pixels)},
        **{ids[name]: value for name, value in tags.items()},
    }
    start = 8 + 2 + 12 * len(entries) + 4
    entries[273] = start
    directory = b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(entries))
    return head + directory + struct.pack(order + "I", 0) + pixels


def exif(orientation: int, *, order: str = "<", kind: int = 3, before: int = 0) -> bytes:
    """An EXIF block that says how the camera was held.

    Args:
        orientation: 1 to 8.
        order: "<" little or ">" big endian.
        kind: TIFF type of the value: 3 short, 4 long.
        before: number of other entries in front of it.
    """
    others = b"".join(struct.pack(order + "HHII", 0x0100 + i, 4, 1, 6) for i in range(before))
    value = struct.pack(order + {3: "Hxx", 4: "I"}[kind], orientation)
    entry = struct.pack(order + "HHI", 0x0112, kind, 1) + value
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, before + 1)
    return b"Exif\0\0" + head + others + entry + struct.pack(order + "I", 0)


def plant(root: Path, counts: dict[str, int], *, first: int = 0) -> Path:
    """A folder of class folders with small PNG images, all different; returns `root`.

    Args:
        root: made where it is missing; class names may hold `/`, for folders above or below the class.
        counts: images per class folder.
        first: number of each folder's first image, which is also in its pixels.
    """
    for place, (name, count) in enumerate(counts.items()):
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(first, first + count):
            pixels = np.full((6, 9, 3), (17 * place % 256, number % 256, number // 256), np.uint8)
            (folder / f"{number}.png").write_bytes(png(pixels, 2))
    return root


def icc(name: str, primaries: tuple[tuple[float, float], ...], *, gamma: float = 2.2, version: int = 2) -> bytes:
    """An ICC display profile of three primaries under D65, adapted to D50 as the standard demands.

    Args:
        name: its description.
        primaries: (x, y) of red, green and blue.
        gamma: of all three curves.
        version: 2 or 4: how the description is written.
    """
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    light = {white: np.array([x / y, 1, (1 - x - y) / y]) for white, (x, y) in _WHITES.items()}
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    columns = columns * np.linalg.solve(columns, light["D65"])
    scale = np.diag((bradford @ light["D50"]) / (bradford @ light["D65"]))
    columns = np.linalg.inv(bradford) @ scale @ bradford @ columns

    def xyz(values: np.ndarray) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(65536 * float(value)) for value in values))

    if version == 2:
        text = name.encode() + b"\0"
        description = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78)
    else:
        text = name.encode("utf-16-be")
        description = b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(text), 28) + text
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(256 * gamma))
    tags = {b"desc": description, b"wtpt": xyz(light["D50"])}
    tags |= {b"rXYZ": xyz(columns[:, 0]), b"gXYZ": xyz(columns[:, 1]), b"bXYZ": xyz(columns[:, 2])}
    tags |= {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    table, body, at = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        content += bytes(-len(content) % 4)
        table += tag + struct.pack(">II", at + len(body), len(content))
        body += content
    size = at + len(body)
    header = struct.pack(">I4sI4s4s4s", size, bytes(4), version << 24, b"mntr", b"RGB ", b"XYZ ") + bytes(12) + b"acsp"
    header += bytes(28) + struct.pack(">3i", *(round(65536 * float(v)) for v in light["D50"])) + bytes(48)
    return header + struct.pack(">I", len(tags)) + table + body


_WHITES = {"D50": (0.34567, 0.35850), "D65": (0.31270, 0.32900)}

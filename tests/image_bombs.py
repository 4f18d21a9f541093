"""Image files made to hurt whoever opens them: small on the disk, large or slow in the decoder. Written by hand."""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from image_files import png_claiming, tiff

SIDE = 30_000
_LARGE = 256 << 20


def bombs() -> Iterator[tuple[str, bytes]]:
    """(name, content) of each, one at a time."""
    yield "png-header", png_claiming(SIDE, SIDE)
    yield "png-zlib", _png(SIDE, SIDE, idat=_zeros(_LARGE), depth=1)
    yield "png-more-pixels-than-said", _png(60, 40, idat=_zeros(_LARGE))
    yield "png-text-10-mb", _png(60, 40, (b"tEXt", b"Comment\0" + b"a" * (10 << 20)))
    yield "png-ztxt", _png(60, 40, (b"zTXt", b"Comment\0\0" + _zeros(_LARGE)))
    yield "png-itxt", _png(60, 40, (b"iTXt", b"Comment\0\1\0\0\0" + _zeros(_LARGE)))
    yield "png-ztxt-in-many", _png(60, 40, *((b"zTXt", b"Comment\0\0" + _zeros(1 << 20)) for _ in range(300)))
    yield "png-iccp", _png(60, 40, (b"iCCP", b"Profile\0\0" + _zeros(_LARGE)))
    yield "png-a-million-chunks", _png(60, 40, *[(b"prVt", b"")] * 1_000_000)
    yield "jpeg-header", _jpeg(SIDE, SIDE)
    yield "jpeg-markers", _jpeg(60, 40, before=b"\xff\xfe\0\2" * 1_000_000)
    yield "jpeg-scans", progressive(8000, 8000, scans=4000)
    yield "gif-screen", b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + _gif_frame(0, 0, 1, 1)
    yield "gif-extents", b"GIF89a" + struct.pack("<HHBBB", 8, 6, 0, 0, 0) + _gif_frame(65_000, 65_000, 500, 500)
    yield "gif-comments", b"GIF89a" + struct.pack("<HHBBB", 8, 6, 0, 0, 0) + b"\x21\xfe\1a\0" * 1_000_000
    yield "webp-canvas", _webp(b"VP8X", bytes(4) + (16382).to_bytes(3, "little") * 2)
    yield "webp-lossless", _webp(b"VP8L", b"\x2f" + (16383 | 16383 << 14).to_bytes(4, "little") + bytes(40))
    yield "webp-lossy", _webp(b"VP8 ", b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", 16383, 16383) + bytes(40))
    yield "bmp-header", b"BM" + struct.pack("<IIIIiiHHIIIIII", 99, 0, 54, 40, SIDE, SIDE, 1, 24, 0, 0, 0, 0, 0, 0)
    yield "tiff-header", tiff(bytes(99), SIDE, SIDE)
    yield "tiff-strip-size", _with_tag(tiff(bytes(60 * 40), 40, 60), 279, 0xFFFFFFF0)
    yield "tiff-deflate", _with_tag(tiff(_zeros(_LARGE), 40, 60), 259, 8)
    yield "tiff-overlapping-values", _overlapping(count=65_000)
    yield "tiff-overlapping-fewer-values", _overlapping(count=900)
    yield "tiff-a-million-tags", _million_tags()
    yield "tiff-a-million-tiles", _tiles(1_000_000)
    yield "tiff-ring", _ring()


@functools.cache
def _zeros(size: int) -> bytes:
    """Compressed nothing: a thousandth of the size."""
    packer = zlib.compressobj(1)
    block = bytes(1 << 20)
    parts = [packer.compress(block) for _ in range(size >> 20)]
    return b"".join([*parts, packer.compress(bytes(size % (1 << 20))), packer.flush()])


def _png(width: int, height: int, *chunks: tuple[bytes, bytes], idat: bytes = b"", depth: int = 8) -> bytes:
    row = 1 + (width * depth + 7) // 8
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", idat or zlib.compress(bytes(row * height))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in parts
    )


def _jpeg(width: int, height: int, before: bytes = b"") -> bytes:
    frame = struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0"
    return b"\xff\xd8" + before + b"\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame + b"\xff\xd9"


def progressive(width: int, height: int, scans: int, before_scan: bytes = b"") -> bytes:
    """Each scan says of all blocks, in runs of 32,767, that nothing follows: little to read, all to go through."""
    quant = b"\xff\xdb\0\x43\0" + b"\1" * 64
    frame = b"\xff\xc2" + struct.pack(">HBHHB", 11, 8, height, width, 1) + b"\1\x11\0"
    table = b"\xff\xc4\0\x14\x10" + b"\1" + bytes(15) + b"\xe0"  # one code, of one bit: a run of 2^14 and 14 bits more
    blocks = -(-width // 8) * -(-height // 8)
    bits = ("0" + "1" * 14) * (blocks // 32767 + 1)
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    scan = before_scan + b"\xff\xda\0\x08\1\1\0\1\x3f\0" + data
    return b"\xff\xd8" + quant + frame + table + scan * scans + b"\xff\xd9"


def _gif_frame(left: int, top: int, width: int, height: int) -> bytes:
    return b"\x2c" + struct.pack("<HHHHB", left, top, width, height, 0x80) + bytes(6) + b"\2\2\x44\1\0;"


def _webp(kind: bytes, content: bytes) -> bytes:
    body = b"WEBP" + kind + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _with_tag(data: bytes, tag: int, value: int) -> bytes:
    changed = bytearray(data)
    for at in range(10, 10 + 12 * struct.unpack_from("<H", data, 8)[0], 12):
        if struct.unpack_from("<H", data, at)[0] == tag:
            struct.pack_into("<I", changed, at + 8, value)
    return bytes(changed)


def _overlapping(count: int) -> bytes:
    """Every tag has the whole file as its value: a megabyte becomes sixty gigabytes."""
    data = bytearray(tiff(bytes(60 * 40), 40, 60))
    entries = bytes(data[10 : 10 + 12 * struct.unpack_from("<H", data, 8)[0]])
    size = 1 << 20
    more = b"".join(struct.pack("<HHII", 40_000 + n % 25_000, 7, size, 8) for n in range(count))
    at = len(data)
    struct.pack_into("<I", data, 4, at)
    number = len(entries) // 12 + count
    return bytes(data) + struct.pack("<H", number) + entries + more + bytes(size)


def _million_tags() -> bytes:
    """BigTIFF counts its tags in 64 bits."""
    tags = np.zeros(1_000_000, np.dtype([("tag", "<u2"), ("kind", "<u2"), ("count", "<u8"), ("value", "<u8")]))
    tags["tag"], tags["kind"], tags["count"] = np.arange(1_000_000) % 65_535, 3, 1
    return b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, len(tags)) + tags.tobytes() + bytes(8)


def _tiles(count: int) -> bytes:
    """Each of a million tiles of one pixel would be an object."""
    entries = {256: (4, 1, 1000), 257: (4, 1, 1000), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 277: (3, 1, 1)}
    entries |= {322: (4, 1, 1), 323: (4, 1, 1), 324: (4, count, 200), 325: (4, count, 200)}
    directory = b"".join(struct.pack("<HHII", tag, *rest) for tag, rest in sorted(entries.items()))
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4)
    return head + bytes(200 - len(head)) + struct.pack("<I", 1) * count * 2


def _ring() -> bytes:
    data = bytearray(tiff(bytes(60 * 40), 40, 60))
    struct.pack_into("<I", data, 10 + 12 * struct.unpack_from("<H", data, 8)[0], 8)
    return bytes(data)

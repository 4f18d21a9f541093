"""Damage that Pillow's decoders pass over in silence, looked for in the file itself.

Pillow names what is cut off in all six formats. It does not compare a PNG's check sums, takes a WebP whose end was
never written (zeros, as a broken download leaves them), and works for minutes on a JPEG of thousands of scans. Bits
that flipped inside a JPEG, GIF, WebP, BMP or TIFF cannot be noticed by anybody: these formats carry no check sums.
"""

from __future__ import annotations

import io
import struct
import zlib

from vitreous.errors import ImageError
from vitreous.picture.structure import MOST_BLOCKS, BinaryFile

_MOST_SCANS = 200  # libjpeg's default for a progressive file is 10, and no script in use has 100
_ZEROS = 64  # bytes at the end of WebP's data: both its coders write none such


def check_intact(kind: str, file: BinaryFile) -> None:
    """Refuse a file whose pixels would be wrong, or never ready.

    Args:
        kind: as `kind_of` gives it.
        file: read from any place.

    Raises:
        ImageError: it is damaged.
    """
    if kind == "PNG":
        _check_png(file)
    elif kind == "JPEG":
        file.seek(0)
        if file.read().count(b"\xff\xda") > _MOST_SCANS:  # never within compressed data, where ff is followed by 00
            raise ImageError("the JPEG file has hundreds of scans", why="decoding it would take minutes")
    elif kind == "WebP":
        _check_webp(file)


def _check_png(file: BinaryFile) -> None:
    """Every chunk to the last, with its check sum (PNG 3rd edition, 5.5)."""
    end = file.seek(0, io.SEEK_END)
    file.seek(8)
    for _ in range(100 * MOST_BLOCKS):
        head = file.read(8)
        size = int.from_bytes(head[:4], "big")
        if len(head) < 8 or size + 4 > end - file.tell():
            raise _damaged("PNG", "it is cut off")
        content = file.read(size)
        if zlib.crc32(content, zlib.crc32(head[4:])) != int.from_bytes(file.read(4), "big"):
            raise _damaged("PNG", f"the check sum of a chunk {head[4:].decode('ascii', 'replace')!r} is wrong")
        if head[4:] == b"IEND":
            return


def _check_webp(file: BinaryFile) -> None:
    """The first picture's data does not end in nothing."""
    file.seek(12)
    while len(head := file.read(8)) == 8:
        kind, size = struct.unpack("<4sI", head)
        if kind == b"ANMF":
            file.seek(16, io.SEEK_CUR)  # its own header; the frame's chunks follow
            continue
        if kind in (b"VP8 ", b"VP8L"):
            if size > 2 * _ZEROS:
                file.seek(size - _ZEROS, io.SEEK_CUR)
                if not file.read(_ZEROS).strip(b"\0"):
                    raise _damaged("WebP", "its end is nothing but zeros")
            return
        file.seek(size + size % 2, io.SEEK_CUR)


def _damaged(kind: str, why: str) -> ImageError:
    return ImageError(f"the {kind} file is damaged", why=why, remedy="fetch or save it again, or take it away")

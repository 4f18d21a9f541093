"""Damage that Pillow's decoders pass over in silence, looked for in the file itself.

Pillow names what is cut off in all six formats. It does not compare a PNG's check sums, takes a WebP whose end was
never written (zeros, as a broken download leaves them), and works for minutes on a JPEG of thousands of scans. Bits
that flipped inside a JPEG, GIF, WebP, BMP or TIFF cannot be noticed by anybody: these formats carry no check sums.
"""

from __future__ import annotations

import io
import re
import struct
import zlib

from PIL import WebPImagePlugin

from vitreous.errors import ImageError
from vitreous.picture.structure import MOST_BLOCKS, BinaryFile

_MOST_SCANS = 200  # libjpeg's default for a progressive file is 10, and no script in use has 100
_SCAN, _END = b"\xff\xda", b"\xff\xd9"
_MARKER = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")  # those without a length do not matter: restarts, padding
_BLOCK = 1 << 16
_ZEROS = 64  # bytes at the end of WebP's data, from which on it is looked at closely


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
        if _may_have_many_scans(file) and _num_scans(file) > _MOST_SCANS:
            raise ImageError("the JPEG file has hundreds of scans", why="decoding it would take minutes")
    elif kind == "WebP":
        _check_webp(file)


def _may_have_many_scans(file: BinaryFile) -> bool:
    """Whether the bytes that begin a scan occur that often, in whatever meaning; quick, and nearly always no."""
    file.seek(0)
    found, last = 0, b""
    while block := file.read(_BLOCK):
        found += (last + block).count(_SCAN)
        last = block[-1:]
    return found > _MOST_SCANS


def _num_scans(file: BinaryFile) -> int:
    """Scans up to the end of the picture, or one more than too many: behind it a telephone's film may follow.

    Raises:
        ImageError: there are more markers than anybody writes.
    """
    scans = 0
    file.seek(2)
    for _ in range(MOST_BLOCKS):
        if scans > _MOST_SCANS or (marker := _next_marker(file)) in (None, _END):
            return scans
        scans += marker == _SCAN
        file.seek(max(0, int.from_bytes(file.read(2), "big") - 2), io.SEEK_CUR)
    raise ImageError("the JPEG file has thousands of markers", why="so many take minutes to read")


def _next_marker(file: BinaryFile) -> bytes | None:
    """The next marker that is not part of compressed data (T.81, B.1.1.2 and B.1.1.5); the file is left behind it."""
    while len(block := file.read(_BLOCK)) > 1:
        if found := _MARKER.search(block):
            file.seek(found.end() - len(block), io.SEEK_CUR)
            return found.group()
        if block.endswith(b"\xff"):
            file.seek(-1, io.SEEK_CUR)
    return None


def _check_png(file: BinaryFile) -> None:
    """Every chunk to the last, with its check sum (PNG 3rd edition, 5.5)."""
    end = file.seek(0, io.SEEK_END)
    file.seek(8)
    for _ in range(100 * MOST_BLOCKS):
        head = file.read(8)
        size = int.from_bytes(head[:4], "big")
        if len(head) < 8 or size + 4 > end - file.tell():
            raise _damaged("PNG", "it is cut off")
        found = zlib.crc32(head[4:])
        for start in range(0, size, _BLOCK):  # a chunk may be 4 GB
            found = zlib.crc32(file.read(min(_BLOCK, size - start)), found)
        if found != int.from_bytes(file.read(4), "big"):
            raise _damaged("PNG", f"the check sum of a chunk {head[4:].decode('ascii', 'replace')!r} is wrong")
        if head[4:] == b"IEND":
            return
    raise _damaged("PNG", "it is cut into a million pieces")


def _check_webp(file: BinaryFile) -> None:
    """The first picture's data does not end in nothing, but for a picture that does."""
    file.seek(12)
    for _ in range(MOST_BLOCKS):
        head = file.read(8)
        if len(head) < 8:
            return  # Pillow names it
        kind, size = struct.unpack("<4sI", head)
        if kind == b"ANMF":
            file.seek(16, io.SEEK_CUR)  # its own header; the frame's chunks follow
            continue
        if kind in (b"VP8 ", b"VP8L"):
            if size > 2 * _ZEROS:
                file.seek(size - _ZEROS, io.SEEK_CUR)
                end = file.read(_ZEROS)
                if end == bytes(_ZEROS) and _never_read(file, file.tell() - _ZEROS):
                    raise _damaged("WebP", "its end is nothing but zeros")
            return
        file.seek(size + size % 2, io.SEEK_CUR)
    raise _damaged("WebP", "thousands of chunks stand before its picture")


def _never_read(file: BinaryFile, at: int) -> bool:
    """Whether zeros at the end of WebP's data mean nothing: other bytes in their place give the same picture.

    Both coders write a flat area, such as a white ground, as zeros, sometimes thousands; a decoder comes to the last of
    them. Where zeros took the place of data it needs fewer, and never does.
    """
    file.seek(0)
    data = bytearray(file.read())
    pixels = []
    for _ in range(2):
        try:
            pixels.append(WebPImagePlugin.WebPImageFile(io.BytesIO(data)).tobytes())
        except Exception:  # as many as there are ways to be damaged; of the file itself Pillow's is told later
            return False
        data[at : at + _ZEROS] = b"\xff" * _ZEROS
    return pixels[0] == pixels[1]


def _damaged(kind: str, why: str) -> ImageError:
    return ImageError(f"the {kind} file is damaged", why=why, remedy="fetch or save it again, or take it away")

"""Whether a file's structure is one that Pillow may be given: bounded in time and memory, and read rightly.

Here stands what Pillow's decoders do not look after: headers of a million entries, directories whose values overlap so
that a small file fills the memory, canvases that are made before a size can be refused, and the few kinds of TIFF that
are decoded to wrong pixels without a word. Sources: TIFF 6.0, section 2; PNG 3rd edition, 5.3; RFC 9649 (WebP); GIF89a;
ITU-T T.81, B.1 (JPEG).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import NoReturn

from vitreous.errors import ImageError

BinaryFile = io.BufferedReader | io.BytesIO
"""A file that can be read from any place."""

MOST_BLOCKS = 10_000
"""Markers, chunks, extensions in front of the pixels; photographs have dozens."""

_MOST_TAGS = 1_000
_MOST_NUMBERS = 1 << 19  # of one tag: a strip for each row of the longest image, or tiles of 16 x 16 of the largest
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_BYTES_TYPES = {1, 2, 6, 7}
_COMPRESSIONS = {
    **{1: "none", 2: "CCITT", 3: "CCITT", 4: "CCITT", 5: "LZW", 7: "JPEG", 8: "Deflate", 32946: "Deflate"},
    **{32773: "PackBits", 34925: "LZMA", 50000: "Zstandard"},
}
_SINGLE = {254, 256, 257, 259, 262, 266, 274, 277, 278, 284, 317, 322, 323}  # tags of one number; Pillow warns of more
_FLOAT = 3
_SEPARATE = 2


def check_structure(kind: str, file: BinaryFile) -> tuple[int, int] | None:
    """Refuse what must not reach Pillow; the size (width, height) where it is known already, for WebP and GIF.

    Args:
        kind: as `kind_of` gives it.
        file: read from any place; it is left at its beginning.

    Raises:
        ImageError: the structure is damaged or made to hurt.
    """
    size = None
    try:
        if kind == "JPEG":
            _check_jpeg(file)
        elif kind == "PNG":
            _check_png(file)
        elif kind == "TIFF":
            _check_tiff(file)
        elif kind == "WebP":
            size = _webp_size(file)
        elif kind == "GIF":
            size = _gif_size(file)
    except (struct.error, IndexError, OverflowError) as error:
        raise _broken(kind, "its header is cut off") from error
    file.seek(0)
    return size


def gif_frames(file: BinaryFile, most: int) -> Iterator[tuple[int, int]]:
    """(right edge, lower edge) of each picture of a GIF file (GIF89a, section 20).

    Args:
        file: read from any place.
        most: blocks looked at.
    """
    file.seek(0)
    flags = _read(file, 13)[10]
    if flags & 0x80:
        file.seek(3 << (flags & 7) + 1, io.SEEK_CUR)
    for _ in range(most):
        introducer = file.read(1)
        if introducer == b"\x21":  # an extension: its label, then sub-blocks
            file.seek(1, io.SEEK_CUR)
        elif introducer == b"\x2c":
            left, top, width, height, flags = struct.unpack("<HHHHB", _read(file, 9))
            yield left + width, top + height
            file.seek((3 << (flags & 7) + 1 if flags & 0x80 else 0) + 1, io.SEEK_CUR)
        else:
            return
        while (size := file.read(1)) not in (b"", b"\0"):
            file.seek(size[0], io.SEEK_CUR)
            most -= 1
            if most < 0:
                return


def _check_jpeg(file: BinaryFile) -> None:
    file.seek(2)
    for _ in range(MOST_BLOCKS):
        head = file.read(4)
        if len(head) < 4 or head[0] != 0xFF:
            return  # stray bytes between markers: Pillow's to judge
        if head[1] == 0xDA:
            return
        if head[1] in (0xFF, 0x01) or 0xD0 <= head[1] <= 0xD8:  # padding, or markers without a length
            file.seek(-3 if head[1] == 0xFF else -2, io.SEEK_CUR)
            continue
        file.seek(max(0, int.from_bytes(head[2:], "big") - 2), io.SEEK_CUR)
    _refuse_crowd("JPEG", "markers")


def _check_png(file: BinaryFile) -> None:
    file.seek(8)
    for _ in range(MOST_BLOCKS):
        head = file.read(8)
        if len(head) < 8 or head[4:] in (b"IDAT", b"IEND"):
            return
        file.seek(int.from_bytes(head[:4], "big") + 4, io.SEEK_CUR)
    _refuse_crowd("PNG", "chunks")


def _gif_size(file: BinaryFile) -> tuple[int, int]:
    """The canvas, which Pillow lets the first picture extend."""
    file.seek(6)
    width, height = struct.unpack("<HH", _read(file, 4))
    first = next(gif_frames(file, MOST_BLOCKS), None)
    if first is None:
        raise _broken("GIF", "it holds no picture")
    return max(width, first[0]), max(height, first[1])


def _webp_size(file: BinaryFile) -> tuple[int, int]:
    file.seek(12)
    kind, _ = struct.unpack("<4sI", _read(file, 8))
    if kind == b"VP8X":
        head = _read(file, 10)
        return 1 + int.from_bytes(head[4:7], "little"), 1 + int.from_bytes(head[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(_read(file, 5)[1:], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack("<6xHH", _read(file, 10))
        return width & 0x3FFF, height & 0x3FFF
    raise _broken("WebP", "it begins with no picture")


def _check_tiff(file: BinaryFile) -> None:
    """The first directory: its values lie within the file, and together take no more room than there is."""
    end = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = _read(file, 16) if end >= 16 else _read(file, 8) + bytes(8)
    order = "<" if head[:2] == b"II" else ">"
    big = 43 in (head[2], head[3])
    file.seek(struct.unpack_from(order + ("8xQ" if big else "4xI"), head)[0])
    count = struct.unpack(order + ("Q" if big else "H"), _read(file, 8 if big else 2))[0]
    if count > _MOST_TAGS:
        _refuse_crowd("TIFF", "tags")
    if big and order == ">":
        raise _rare("BigTIFF in big-endian order", "Pillow does not read it")
    size, inline = (20, 8) if big else (12, 4)
    directory = _read(file, size * count)
    tags: dict[int, tuple[int, ...]] = {}
    room = end
    for at in range(0, len(directory), size):
        tag, kind, length = struct.unpack_from(order + ("HHQ" if big else "HHI"), directory, at)
        taken = _TYPE_SIZES.get(kind, 0) * length
        if tag in _SINGLE and length != 1:
            raise _broken("TIFF", f"tag {tag} has {length} values, not one")
        if length > _MOST_NUMBERS and kind not in _BYTES_TYPES:
            _refuse_crowd("TIFF", "values of one tag")
        if taken <= inline:
            value = directory[at + size - inline : at + size]
        else:
            start = struct.unpack_from(order + ("Q" if big else "I"), directory, at + size - inline)[0]
            room -= taken
            if start + taken > end:
                raise _broken("TIFF", f"the values of tag {tag} lie behind its end")
            if room < 0:
                raise _broken("TIFF", "the values of its tags overlap")
            file.seek(start)
            value = file.read(min(taken, 64))
        if kind in (3, 4):
            step = 2 if kind == 3 else 4
            tags[tag] = tuple(
                struct.unpack_from(order + "HI"[kind - 3], value, step * place)[0]
                for place in range(min(length, len(value) // step))
            )
    _refuse_rare_tiff(tags, big_endian=order == ">")


def _refuse_rare_tiff(tags: dict[int, tuple[int, ...]], *, big_endian: bool) -> None:
    def one(tag: int, missing: int) -> int:
        return next(iter(tags.get(tag, ())), missing)

    bits, compression, samples = max(tags.get(258, (1,)) or (1,)), one(259, 1), one(277, 1)
    if compression not in _COMPRESSIONS:
        raise _rare(
            f"compressed by method {compression}", f"read are {', '.join(dict.fromkeys(_COMPRESSIONS.values()))}"
        )
    if one(339, 1) == _FLOAT and (samples, bits) != (1, 32):
        raise _rare(f"{samples} channels of {bits}-bit floating-point numbers", "read is one channel of 32 bits")
    if one(339, 1) == _FLOAT and big_endian and compression != 1:
        raise _rare("compressed floating-point numbers in big-endian order", "Pillow mistakes their order")
    if one(284, 1) == _SEPARATE and samples > 1 and bits > 8:
        raise _rare(f"channels of {bits} bits one after the other", "Pillow mixes them up")


def _rare(what: str, why: str) -> ImageError:
    return ImageError(f"the TIFF file is of a rare kind: {what}", why=why, remedy="save it as PNG, or as plain TIFF")


def _refuse_crowd(kind: str, things: str) -> NoReturn:
    raise ImageError(f"the {kind} file has thousands of {things}", why="so many take minutes or gigabytes to read")


def _broken(kind: str, why: str) -> ImageError:
    return ImageError(
        f"the {kind} file cannot be decoded: it is cut off or damaged",
        why=why,
        remedy="fetch or save it again, or take it away",
    )


def _read(file: BinaryFile, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise IndexError(f"{size} bytes wanted, {len(data)} there")
    return data

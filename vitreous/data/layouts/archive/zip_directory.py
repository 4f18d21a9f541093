"""The files in a zip archive, found by its central directory alone: nothing is unpacked, and no name becomes a path.

Only ordinary files and folders count. Links, devices and names that lead out of a folder are left out and counted.
Format: PKWARE's APPNOTE.TXT, with zip64. A directory of a million members is a few arrays, not a million objects.
"""

from __future__ import annotations

import re
import struct
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Int64

from vitreous.data.layouts.storage import Storage
from vitreous.errors import DataError, ImageError

LARGEST = 2**30
"""Bytes that a member may have unpacked: four times the largest picture that is decoded, uncompressed."""

STORED, DEFLATED = 0, 8

_METHODS = {1: "Shrink", 6: "Implode", 9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "XZ", 99: "AES"}
_END, _END_64, _LOCATOR, _ENTRY, _LOCAL = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x01\x02", b"PK\x03\x04"
_TAIL = 22 + 65_535  # bytes: the record that ends an archive, and its comment
_LARGEST_DIRECTORY = 2**29  # bytes; a million members need a fifth
_UNIX, _MAC = 3, 19  # where an archive was made, which says how to take its names and modes
_KINDS = {0x1000: "pipes", 0x2000: "devices", 0x6000: "devices", 0xA000: "links", 0xC000: "pipes"}
_WIDE = 0xFFFFFFFF  # stands where a number is too large; it lies in the entry's zip64 record
_FREE_UNPACKED = 64 << 20  # bytes that any member may unpack to
_MAX_RATIO = 200  # of larger ones: deflate reaches 1,000 for zeros, a blank drawing 100
_SLACK = 128  # bytes read beyond a member, for what its local header has more than its entry
_HEAD = 512  # packed bytes that are read to know what a file is


class Place(NamedTuple):
    """Where a member lies, and what its bytes must be."""

    offset: int
    """Of its local header in the file."""
    packed: int
    """Bytes it takes in the file."""
    size: int
    """Bytes it has unpacked."""
    crc: int
    """CRC-32 of these."""
    method: int
    """STORED or DEFLATED."""
    name_length: int
    """Bytes of its name as it is written before it."""


@dataclass(frozen=True, eq=False)
class Directory:
    """The members of a zip archive, in the order of its directory."""

    content: bytes
    """The directory as it lies in the file."""
    names: Int64[np.ndarray, " N"]
    """Where each name begins in it."""
    name_lengths: Int[np.ndarray, " N"]
    """In bytes."""
    offsets: Int64[np.ndarray, " N"]
    """Of local headers in the file."""
    packed: Int64[np.ndarray, " N"]
    """Bytes in the file."""
    sizes: Int64[np.ndarray, " N"]
    """Bytes unpacked."""
    crcs: Int64[np.ndarray, " N"]
    """CRC-32 of each content."""
    methods: Int[np.ndarray, " N"]
    """How each is packed."""
    encrypted: Bool[np.ndarray, " N"]
    """Whether a password is needed."""
    modern: Bool[np.ndarray, " N"]
    """Whether its name is UTF-8; otherwise it is code page 437."""
    modes: Int[np.ndarray, " N"]
    """Kind of file in Unix's numbers; 0 where nobody told."""

    def __len__(self) -> int:
        return len(self.names)

    def files(self, left_out: Counter[str]) -> Iterator[tuple[int, str]]:
        """Each ordinary file and folder: its place in the directory, and its path in NFC, with `/` behind a folder's.

        Args:
            left_out: what counts as neither is added here, by kind.
        """
        ends = (self.names + self.name_lengths).tolist()
        rows = zip(self.names.tolist(), ends, self.modern.tolist(), self.modes.tolist(), strict=True)
        for index, (start, end, modern, mode) in enumerate(rows):
            if mode in _KINDS:
                left_out[_KINDS[mode]] += 1
                continue
            path = _path(_decoded(self.content[start:end], modern))
            if path is None:
                left_out["names that lead out of the folder"] += 1
            elif path:
                yield index, path

    def name(self, index: int) -> str:
        """A member's name as it is written.

        Args:
            index: of the member.
        """
        start = int(self.names[index])
        return _decoded(self.content[start : start + int(self.name_lengths[index])], bool(self.modern[index]))

    def place(self, index: int) -> Place:
        """Where a member lies.

        Args:
            index: of the member.
        """
        arrays = (self.offsets, self.packed, self.sizes, self.crcs, self.methods, self.name_lengths)
        return Place(*(int(array[index]) for array in arrays))


def method_name(method: int) -> str:
    """What a way of packing is called.

    Args:
        method: its number.
    """
    return _METHODS.get(method, f"method {method}")


def read_directory(storage: Storage, where: str) -> Directory:
    """The directory of a zip archive, read with two or three calls.

    Args:
        storage: the file.
        where: its path, for errors.

    Raises:
        DataError: this is no zip archive, or it is cut off, damaged, or one of several volumes.
        OSError: the file cannot be read.
    """
    start, size, count, shift = _end(storage, where)
    if size > _LARGEST_DIRECTORY:
        raise _damaged(where, f"its directory has {size:,} bytes, more than ten million members would need")
    content = storage.read(start, size)
    if len(content) != size:
        raise _damaged(where, "its directory is cut off")
    return _columns(content, _starts(content, count, where), shift, where)


def unpacked(storage: Storage, place: Place, where: str) -> bytes:
    """The content of a member, checked: its length, its CRC-32, and never a byte beyond its declared size.

    Args:
        storage: the file.
        place: of the member.
        where: what to call it in errors.

    Raises:
        ImageError: the archive is damaged or cannot be read, or the member is a bomb.
    """
    if place.size > max(_FREE_UNPACKED, place.packed * _MAX_RATIO) or place.size > LARGEST:
        why = f"{place.packed:,} bytes would unpack to {place.size:,}"
        raise ImageError("the file is not unpacked: it looks like a zip bomb", where=where, why=why)
    if place.packed > min(storage.size, 2 * LARGEST):  # deflate makes hardly anything longer
        raise _bad_member(where, f"its directory says it takes {place.packed:,} bytes in a file of {storage.size:,}")
    try:
        start, held = _behind_header(storage, place, place.packed, where)
        content = (
            held if len(held) == place.packed else held + storage.read(start + len(held), place.packed - len(held))
        )
    except OSError as error:
        raise ImageError("the archive cannot be read", where=where, why=error.strerror or str(error)) from error
    if place.method == DEFLATED:
        try:
            content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, place.size + 1)
        except zlib.error as error:
            raise _bad_member(where, str(error)) from error
    if len(content) != place.size:
        raise _bad_member(where, f"its directory says it has {place.size:,} bytes, which it has not")
    if zlib.crc32(content) != place.crc:
        raise _bad_member(where, "its checksum is wrong")
    return content


def first_bytes(storage: Storage, place: Place, most: int) -> bytes:
    """The first bytes of a member, by which its kind is known; none where they cannot be had.

    Args:
        storage: the file.
        place: of the member.
        most: how many bytes.
    """
    try:
        held = _behind_header(storage, place, min(place.packed, _HEAD), "")[1]
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(held, most) if place.method == DEFLATED else held[:most]
    except (OSError, ImageError, zlib.error):
        return b""


def _behind_header(storage: Storage, place: Place, wanted: int, where: str) -> tuple[int, bytes]:
    """Where a member's data begins, and as much of what is wanted as came with the same call."""
    held = storage.read(place.offset, 30 + place.name_length + _SLACK + wanted)
    if not held.startswith(_LOCAL) or len(held) < 30:
        raise _bad_member(where, "it is not where the directory says")
    name, extra = struct.unpack_from("<HH", held, 26)
    start = 30 + name + extra
    return place.offset + start, held[start : start + wanted]


def _end(storage: Storage, where: str) -> tuple[int, int, int, int]:
    """Where the directory begins, its bytes and entries, and how many bytes stand before the archive (4.3.14-16)."""
    tail = storage.read(max(0, storage.size - _TAIL), _TAIL)
    at = len(tail)
    while (at := tail.rfind(_END, 0, at)) >= 0:
        if at + 22 <= len(tail) and at + 22 + int.from_bytes(tail[at + 20 : at + 22], "little") == len(tail):
            break
    else:
        whole = storage.read(0, 4) in (_LOCAL, _END)
        raise DataError(
            "the zip archive is cut off" if whole else "this is not a zip archive",
            where=where,
            why="its directory, which stands at the end, is missing" if whole else None,
            remedy="copy or download it again",
        )
    disk, directory_disk, _, count, size, offset = struct.unpack_from("<HHHHII", tail, at + 4)
    behind = storage.size - len(tail) + at
    if at >= 20 and tail[at - 20 : at - 16] == _LOCATOR:
        record_at = int.from_bytes(tail[at - 12 : at - 4], "little")
        record = storage.read(record_at, 56) if record_at < behind else b""
        if not record.startswith(_END_64):  # something stands before the archive: the record lies right here
            record_at = behind - 20 - 56
            record = storage.read(max(0, record_at), 56)
        if len(record) < 56 or not record.startswith(_END_64):
            raise _damaged(where, "its zip64 record is not where it should be")
        disk, directory_disk, _, count, size, offset = struct.unpack_from("<IIQQQQ", record, 16)
        behind = record_at
    if disk or directory_disk:
        raise DataError(
            "this is one of several volumes of a zip archive", where=where, remedy="join them: zip -s 0 IN --out OUT"
        )
    start = behind - size
    if start < offset:
        raise _damaged(where, f"its directory should begin at byte {offset:,} and have {size:,}")
    return start, size, count, start - offset


def _starts(content: bytes, count: int, where: str) -> Int64[np.ndarray, " N"]:
    """Where each entry begins: the one thing that must be found entry by entry."""
    unpack, starts, at, size = struct.Struct("<4s24xHHH").unpack_from, [], 0, len(content)
    while at + 46 <= size:
        mark, name, extra, comment = unpack(content, at)
        if mark != _ENTRY:
            break
        starts.append(at)
        at += 46 + name + extra + comment
    if at != size or (len(starts) - count) % 2**16:  # old writers count modulo 65,536
        raise _damaged(where, f"its directory has {len(starts):,} entries that can be read, and should have {count:,}")
    return np.array(starts, np.int64)


def _columns(content: bytes, starts: Int64[np.ndarray, " N"], shift: int, where: str) -> Directory:
    raw = np.frombuffer(content, np.uint8)

    def column(at: int, width: int) -> Int64[np.ndarray, " N"]:
        number = np.zeros(len(starts), np.int64)
        for byte in range(width):
            number |= raw[starts + (at + byte)].astype(np.int64) << (8 * byte)
        return number

    flags, made = column(8, 2), column(5, 1)
    packed, sizes, offsets = column(20, 4), column(24, 4), column(42, 4)
    lengths, extras = column(28, 2), column(30, 2)
    for index in np.flatnonzero((packed == _WIDE) | (sizes == _WIDE) | (offsets == _WIDE)).tolist():
        begin = int(starts[index] + 46 + lengths[index])
        _widen(content[begin : begin + int(extras[index])], index, (sizes, packed, offsets), where)
    unix = (made == _UNIX) | (made == _MAC)
    return Directory(
        content=content,
        names=starts + 46,
        name_lengths=lengths,
        offsets=offsets + shift,
        packed=packed,
        sizes=sizes,
        crcs=column(16, 4),
        methods=column(10, 2),
        encrypted=(flags & 0x2041) != 0,
        modern=unix | ((flags & 0x800) != 0),
        modes=np.where(unix, column(40, 2) & 0xF000, 0),
    )


def _widen(extra: bytes, index: int, columns: tuple[Int64[np.ndarray, " N"], ...], where: str) -> None:
    """Put the large numbers of an entry's zip64 record (4.5.3) in their places: those that are missing, in order."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        record = extra[at + 4 : at + 4 + length]
        if kind == 1:
            for column in columns:
                if column[index] == _WIDE:
                    number, record = int.from_bytes(record[:8], "little"), record[8:]
                    if number >= 2**62:
                        break
                    column[index] = number
            else:
                return
        at += 4 + length
    raise _damaged(where, f"entry {index + 1:,} lacks its zip64 record")


def _decoded(name: bytes, modern: bool) -> str:
    if modern or name.isascii():
        try:
            return name.decode("utf-8")
        except UnicodeDecodeError:  # archives that were made on Unix may hold any older code
            pass
    return name.decode("cp437")


_UNUSUAL = re.compile(r"[\\:\0]|^/|//|(^|/)\.\.?(/|$)")


def _path(name: str) -> str | None:
    """A name as a path below the archive, with `/` behind a folder's; empty for the top, None where it leads out."""
    if not name.isascii():
        name = unicodedata.normalize("NFC", name)
    if not _UNUSUAL.search(name):
        return name
    name = name.replace("\\", "/")  # as some programs of Windows write
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name or re.match("[A-Za-z]:", name):
        return None
    return "/".join(parts) + "/" * (bool(parts) and name.endswith(("/", "/.")))


def _damaged(where: str, why: str) -> DataError:
    return DataError("the zip archive is damaged", where=where, why=why, remedy="copy or download it again")


def _bad_member(where: str, why: str) -> ImageError:
    remedy = "copy or download the archive again"
    return ImageError("the file in the archive is damaged", where=where, why=why, remedy=remedy)

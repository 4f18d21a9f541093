"""Files as views: a file mapped into memory, and a zip archive whose directory is judged before anything is unpacked.

Only weights lie in these archives, hundreds of members at most, stored or deflated; whatever a bomb needs beyond that
(many members, one over the other, vast ones from a few bytes) is refused from the directory at the archive's end.
"""

from __future__ import annotations

import math
import mmap
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from vitreous.errors import ModelFileError

_MAX_MEMBERS = 10_000
_MAX_DIRECTORY = 4 << 20  # bytes; a thousand members need a tenth of a MB
_MAX_MEMBER = 64 << 30  # bytes unpacked; the largest array of ViT-G has 0.1 GB
_MAX_UNPACKED = 256 << 30
_MAX_RATIO = 20  # whole archive; trained weights hardly shrink, a head of zeros shrinks a thousandfold
_FREE_UNPACKED = 16 << 20  # bytes that any archive may unpack to, however small it is
_PIECE = 1 << 16  # packed bytes inflated at a time
_TAIL = 65_557 + 76  # bytes: the longest comment and the records that end an archive


@dataclass(frozen=True)
class Member:
    """One file of an archive; offsets and sizes in bytes."""

    name: str
    start: int
    """Where its data begins in the archive."""
    packed: int
    size: int
    stored: bool
    """Whether it lies there as it is, not deflated."""
    crc: int


def damaged(path: Path, why: str) -> ModelFileError:
    """The error for a file of a known kind that is not whole.

    Args:
        path: of the file.
        why: what was found, in one clause.
    """
    return ModelFileError("the model file is damaged", where=str(path), why=why, remedy="copy or download it again")


def map_file(path: Path) -> mmap.mmap:
    """A file as memory; writing to it changes this process's copy, never the file.

    Args:
        path: a regular file that is not empty.
    """
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


def view(data: mmap.mmap | bytearray, dtype: torch.dtype, shape: tuple[int, ...], offset: int) -> Tensor:
    """A tensor that lies in `data`, without a copy, at any offset.

    Neither .npy nor .pt promises an alignment; x86-64 and ARM64 read floats anywhere.

    Args:
        data: kept alive by the tensor.
        dtype: of the values, in the machine's byte order.
        shape: in C order.
        offset: of the first value, in bytes.
    """
    count = math.prod(shape)
    if not count:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(data, dtype=dtype, count=count, offset=offset).reshape(shape)


def read_directory(path: Path, data: mmap.mmap) -> list[Member]:
    """The members of a zip archive in the order of its directory, none of them unpacked yet.

    Args:
        path: for messages.
        data: the archive.

    Raises:
        ModelFileError: damaged, encrypted, or of a shape that no archive of weights has.
    """
    if (length := _directory_length(data)) > _MAX_DIRECTORY:
        raise _refused(path, f"its directory has {length:,} bytes, weights need less than {_MAX_DIRECTORY:,}")
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError, OverflowError) as error:
        raise damaged(path, f"its zip directory cannot be read ({error})") from error
    if len(infos) > _MAX_MEMBERS:
        raise _refused(path, f"it has {len(infos):,} members, weights have less than {_MAX_MEMBERS:,}")
    seen: set[str] = set()
    for info in infos:
        _check_member(path, info, seen)
        seen.add(info.filename)
    unpacked, allowed = sum(info.file_size for info in infos), len(data) * _MAX_RATIO + _FREE_UNPACKED
    if unpacked > min(allowed, _MAX_UNPACKED):
        raise _refused(path, f"its {len(data):,} bytes would unpack to {unpacked:,}: a zip bomb")
    members = [_locate(path, data, info) for info in infos]
    _check_apart(path, members)
    return members


def contents(
    path: Path, data: mmap.mmap, member: Member, *, unsigned: bool = False
) -> tuple[mmap.mmap | bytearray, int]:
    """Where the bytes of a member are, and at which offset, after its checksum: a stored one stays in the file.

    Args:
        path: for messages.
        data: the archive.
        member: from `read_directory`.
        unsigned: a checksum of 0 means that none was written (torch.serialization.set_crc32_options).

    Raises:
        ModelFileError: it cannot be inflated, or its checksum is wrong.
    """
    source, offset = (data, member.start) if member.stored else (_inflate(path, data, member), 0)
    if unsigned and not member.crc:
        return source, offset
    with memoryview(source) as whole, whole[offset : offset + member.size] as part:
        if zlib.crc32(part) != member.crc:
            raise damaged(path, f"the checksum of {member.name} is wrong: a bit has changed on disk or on the way")
    return source, offset


def _refused(path: Path, why: str) -> ModelFileError:
    return ModelFileError(
        "this archive is not unpacked", where=str(path), why=why, remedy="take it from another source"
    )


def _directory_length(data: mmap.mmap) -> int:
    """Bytes of the directory as the archive's end states it, so that a vast one is never parsed (APPNOTE 4.3.14-16)."""
    tail = data[-_TAIL:]
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or end + 22 > len(tail):
        return 0  # zipfile finds the words for it
    lengths = [int.from_bytes(tail[end + 12 : end + 16], "little")]
    locator = tail[max(0, end - 20) : end]
    if locator.startswith(b"PK\x06\x07"):
        lengths = [length for length in lengths if length != 0xFFFFFFFF]  # then the wide record alone knows it
        near = len(data) - len(tail) + end - 76  # where zipfile looks; others follow the locator
        for record in (near, int.from_bytes(locator[8:16], "little")):
            if data[max(0, record) : record + 4] == b"PK\x06\x06":
                lengths.append(int.from_bytes(data[record + 40 : record + 48], "little"))
    return max(lengths, default=0)


def _check_member(path: Path, info: zipfile.ZipInfo, seen: set[str]) -> None:
    name = PurePosixPath(info.filename)
    if info.filename != info.orig_filename or name.is_absolute() or {"..", "."} & {*re.split(r"[/\\]", info.filename)}:
        raise _refused(path, f"a member is called {info.orig_filename!r}")
    if info.filename in seen:
        raise _refused(path, f"it has two members called {info.filename}")
    if info.flag_bits & 0x1:
        raise _refused(path, f"{info.filename} is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _refused(path, f"{info.filename} is packed by method {info.compress_type}; NumPy and PyTorch use 0 and 8")
    if info.file_size > _MAX_MEMBER:
        raise _refused(path, f"{info.filename} would unpack to {info.file_size:,} bytes")
    if info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size:
        raise damaged(path, f"{info.filename} is stored, yet its two sizes differ")


def _locate(path: Path, data: mmap.mmap, info: zipfile.ZipInfo) -> Member:
    """The member behind its local header, which has lengths of its own (APPNOTE 4.3.7)."""
    header = data[info.header_offset : info.header_offset + 30]
    if len(header) < 30 or not header.startswith(b"PK\x03\x04"):
        raise damaged(path, f"{info.filename} is not where the directory says")
    name, extra = struct.unpack("<HH", header[26:30])
    start = info.header_offset + 30 + name + extra
    if start + info.compress_size > len(data):
        raise damaged(path, f"cut short: {info.filename} ends behind the end of the file")
    stored = info.compress_type == zipfile.ZIP_STORED
    return Member(info.filename, start, info.compress_size, info.file_size, stored, info.CRC)


def _check_apart(path: Path, members: list[Member]) -> None:
    """Members that share their bytes are how a small archive pretends to hold much."""
    end = 0
    for member in sorted(members, key=lambda member: member.start):
        if member.start < end:
            raise _refused(path, f"{member.name} lies over another member")
        end = member.start + member.packed


def _inflate(path: Path, data: mmap.mmap, member: Member) -> bytearray:
    """The member unpacked, never a byte more than its directory entry says."""
    whole, filled, engine = bytearray(member.size), 0, zlib.decompressobj(-zlib.MAX_WBITS)
    for begin in range(member.start, member.start + member.packed, _PIECE):
        end = min(begin + _PIECE, member.start + member.packed)
        try:
            piece = engine.decompress(data[begin:end], member.size - filled + 1)
        except zlib.error as error:
            raise damaged(path, f"{member.name} cannot be inflated") from error
        if filled + len(piece) > member.size:
            raise damaged(path, f"{member.name} unpacks to more than the {member.size:,} bytes it should have")
        whole[filled : filled + len(piece)] = piece
        filled += len(piece)
    if filled != member.size:
        raise damaged(path, f"{member.name} unpacks to {filled:,} bytes, it should have {member.size:,}")
    return whole

"""Zip archives written by hand for tests, by the format's own description: anything can be put into a header."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One member; what is None is as it should be."""

    name: bytes
    content: bytes = b""
    packed: bytes | None = None
    method: int = 0
    flags: int = 0
    made_by: int = 0
    mode: int = 0
    size: int | None = None
    crc: int | None = None
    local_extra: bytes = b""
    wide: bool = False


def zip_bytes(entries: Iterable[Entry], *, before: bytes = b"", comment: bytes = b"", wide: bool = False) -> bytes:
    """A whole archive.

    Args:
        entries: in their order.
        before: what stands before the archive in its file, such as a program that unpacks it.
        comment: behind the archive.
        wide: whether its end is told by a zip64 record.
    """
    body, directory, count = bytearray(), bytearray(), 0
    for entry in entries:
        packed = entry.content if entry.packed is None else entry.packed
        crc = zlib.crc32(entry.content) if entry.crc is None else entry.crc
        size = len(entry.content) if entry.size is None else entry.size
        facts = (20, entry.flags, entry.method, 0, 0, crc, len(packed), min(size, 2**32 - 1))
        offset, extra = len(body), b""
        if entry.wide:
            extra = struct.pack("<HHHHQQQ", 0xCAFE, 0, 1, 24, size, len(packed), offset)
            facts = (*facts[:-2], 2**32 - 1, 2**32 - 1)
            offset = 2**32 - 1
        lengths = (len(entry.name), len(entry.local_extra))
        body += struct.pack("<4sHHHHHIIIHH", b"PK\3\4", *facts, *lengths) + entry.name + entry.local_extra + packed
        directory += struct.pack("<4sBB", b"PK\1\2", 20, entry.made_by) + struct.pack("<HHHHHIII", *facts)
        directory += struct.pack("<HHHHHII", len(entry.name), len(extra), 0, 0, 0, entry.mode << 16, offset)
        directory += entry.name + extra
        count += 1
    end = (count % 2**16, count % 2**16, len(directory), len(body))
    record = b""
    if wide:
        record = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(directory), len(body))
        record += struct.pack("<4sIQI", b"PK\6\7", 0, len(body) + len(directory), 1)
        end = (2**16 - 1, 2**16 - 1, 2**32 - 1, 2**32 - 1)
    last = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, *end, len(comment))
    return bytes(before + body + directory + record + last + comment)

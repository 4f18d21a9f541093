"""The members of a tar file, found by its headers alone: nothing is unpacked, and no name in it becomes a path.

Only ordinary files count. Links, devices, sparse files and names that lead out of a folder are left out and counted.
Formats: POSIX.1-1988 (ustar), POSIX.1-2001 (pax), GNU (long names, large sizes) and what came before them.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from vitreous.data.layouts.storage import Read
from vitreous.errors import DataError

UNENDED = "without an end mark"
"""Counted for a tar file that ends behind a whole member, but without the zeros that should follow."""

_BLOCK = 512
_RUN = 2**18  # bytes that are looked through at once where members are small
_SMALL, _PATIENCE = 4096, 16  # that is after so many members in a row of at most so many bytes
_SULKING = 1000  # and so many more after it was in vain, as where each member has an extended header
_EXTENSION_LIMIT = 2**20  # bytes of a pax or long-name header, far beyond any real one

_FILES, _FOLDER, _SPARSE = (b"0", b"\0", b"7"), b"5", b"S"
_BODILESS = {b"1": "links", b"2": "links", b"3": "devices", b"4": "devices", b"6": "pipes"}
_LONG_NAME, _PAX = b"L", (b"x", b"X")
_EXTENSIONS = frozenset({_LONG_NAME, *_PAX, b"K", b"g"})  # K: a long target of a link; g: what holds for all members


class Member(NamedTuple):
    """One ordinary file in a tar file."""

    name: str
    """With `/` between; never absolute, never with `..`."""
    start: int
    """Offset of its content in the tar file."""
    size: int
    """In bytes."""


class _Entry(NamedTuple):
    """What a header says, and the extension headers before it."""

    kind: bytes
    name: str
    start: int
    size: int
    end: int
    """Where the next header is."""
    sparse: bool


def members(read: Read, length: int, where: str, left_out: Counter[str]) -> Iterator[Member]:
    """Every ordinary file in a tar file, in the order they lie in it.

    Args:
        read: of the tar file.
        length: of the tar file, in bytes.
        where: its path, for errors.
        left_out: what does not count as a file is added here, by kind.

    Raises:
        DataError: this is no tar file, or it is damaged or cut off.
    """
    at, small = 0, 0
    while True:
        if small >= _PATIENCE:
            plain, after = _run(read(at, _RUN), at)
            if plain:
                _check_end(plain[-1].name, plain[-1].start + plain[-1].size, length, where)
                yield from plain
            small, at = (small if len(plain) > _PATIENCE else -_SULKING), after
        if (entry := _entry(read, at, where)) is None:
            break
        _check_end(entry.name, entry.start + entry.size, length, where)
        small = small + 1 if entry.end - at <= _SMALL else 0
        name, at = entry.name, entry.end
        if entry.kind in _BODILESS:
            left_out[_BODILESS[entry.kind]] += 1
        elif entry.sparse:
            left_out["sparse files"] += 1
        elif entry.kind not in (*_FILES, _FOLDER):
            left_out["members of unknown kinds"] += 1
        elif name.startswith("/") or ".." in name.split("/"):
            left_out["names that lead out of the folder"] += 1
        elif entry.kind != _FOLDER and not name.endswith("/"):
            yield Member(name.removeprefix("./"), entry.start, entry.size)
    if at >= length:
        left_out[UNENDED] += 1


def _check_end(name: str, end: int, length: int, where: str) -> None:
    if end > length:
        raise _cut_off(where, f"{name} ends at byte {end:,} of {length:,}")


def _run(content: bytes, first: int) -> tuple[list[Member], int]:
    """Ordinary files from the beginning of a piece of a tar file on, up to the first thing that needs a closer look.

    This is the quick way through millions of small members: nothing here is an error, and whatever is not as plain as
    can be is left to `_entry`. Returns the members and the offset behind them.
    """
    starts, sizes, at = [], [], 0
    while at + _BLOCK <= len(content):
        try:
            size = int(content[at + 124 : at + 135], 8)
        except ValueError:
            break
        starts.append(at)
        sizes.append(size)
        at += _BLOCK + ((size + _BLOCK - 1) & -_BLOCK if size > 0 else 0)
    if not starts:
        return [], first
    blocks = np.frombuffer(content, np.uint8, len(content) // _BLOCK * _BLOCK).reshape(-1, _BLOCK)
    headers = blocks[np.array(starts) // _BLOCK]
    digits = headers[:, 148:154] - ord("0")
    sums = headers.sum(axis=1, dtype=np.int64) - headers[:, 148:156].sum(axis=1, dtype=np.int64) + 8 * ord(" ")
    plain = (
        (np.array(sizes) >= 0)
        & ((headers[:, 135] | 32) == 32)
        & (digits < 8).all(axis=1)
        & ((headers[:, 154] | 32) == 32)
        & (digits @ np.array([8**5, 8**4, 512, 64, 8, 1], np.int64) == sums)
        & ((headers[:, 156] == 0) | (headers[:, 156] == ord("0")))
        & (headers[:, 345] == 0)  # no longer name in two parts
        & (headers[:, 0] != 0)
    )
    count = len(plain) if plain.all() else int(plain.argmin())
    names = np.ascontiguousarray(headers[:count, :100]).view("S100")[:, 0].tolist()
    texts = _text(b"\n".join(names)).split("\n")  # and with a line end or a zero within a name, not as many as names
    odd = (place for place, name in enumerate(texts) if name[0] == "/" or name[-1] == "/" or ".." in name)
    count = next(odd, count) if len(texts) == count else 0
    end = starts[count] if count < len(starts) else at
    behind = first + _BLOCK
    chosen = zip(texts[:count], starts, sizes, strict=False)
    return [
        Member(name[2:] if name[:2] == "./" else name, behind + start, size) for name, start, size in chosen
    ], first + end


def _entry(read: Read, at: int, where: str) -> _Entry | None:
    """The member whose first header is at an offset; None at the end of the tar file."""
    told: dict[str, str] = {}  # by extension headers, of the header behind them
    while header := read(at, _BLOCK):
        if not header.strip(b"\0"):
            return None
        size = _checked_size(header, where, at)
        kind, start = header[156:157], at + _BLOCK
        if kind in _EXTENSIONS:
            if size > _EXTENSION_LIMIT:
                raise _damaged(where, at, f"an extended header of {size:,} bytes")
            content = read(start, size)
            if kind == _LONG_NAME:
                told["path"] = _text(content)
            elif kind in _PAX:
                told |= _records(content, where, at)
            at = start + _padded(size)
            continue
        if "size" in told:
            size = _number(told["size"].encode(), 10, where, at)
        name = told.get("path") or _short_name(header)
        if kind == _SPARSE:
            start = _behind_sparse_map(read, header, start)
        if kind in _BODILESS or kind == _FOLDER or name.endswith("/"):
            size = 0  # such headers may state a size, but nothing follows them
        sparse = kind == _SPARSE or bool(told and any(key.startswith("GNU.sparse.") for key in told))
        return _Entry(kind, name, start, size, start + _padded(size), sparse)
    if at == 0 or told:
        raise _cut_off(where, "it is empty (0 bytes)" if at == 0 else "the last header is only half there")
    return None


def _checked_size(header: bytes, where: str, at: int) -> int:
    """The size a header states, if its checksum holds."""
    if len(header) < _BLOCK:
        raise _cut_off(where, "the last header is only half there")
    # the lower half of Adler-32 is one more than the sum of all bytes, modulo 65521, and far faster than Python's sum
    found = zlib.adler32(header) % 2**16 - 1 - sum(header[148:156]) + 8 * ord(" ")
    if (found - _number(header[148:156], 8, where, at)) % 65521:
        raise _damaged(where, at, "the header's checksum is wrong")
    if header[124] == 0x80:  # GNU: larger than eleven octal digits can say
        return int.from_bytes(header[125:136], "big")
    return _number(header[124:136], 8, where, at)


def _number(field: bytes, base: int, where: str, at: int) -> int:
    try:
        number = int(field.partition(b"\0")[0].strip() or b"0", base)
    except ValueError as error:
        raise _damaged(where, at, str(error)) from error
    if number < 0:
        raise _damaged(where, at, f"{number} where a size should be")
    return number


def _short_name(header: bytes) -> str:
    name = _text(header[:100])
    split = header[345] and header[257:263] == b"ustar\0"
    return f"{_text(header[345:500])}/{name}" if split else name


def _records(content: bytes, where: str, at: int) -> dict[str, str]:
    """The records of a pax header, each `LENGTH KEY=VALUE` and a line end."""
    records = {}
    while content.strip(b"\0"):
        length = _number(content.partition(b" ")[0], 10, where, at)
        key, equals, value = content[:length].partition(b" ")[2].partition(b"=")
        if not equals or not value.endswith(b"\n"):
            raise _damaged(where, at, "an extended header that cannot be read")
        records[_text(key)] = _text(value[:-1])
        content = content[length:]
    return records


def _behind_sparse_map(read: Read, header: bytes, start: int) -> int:
    """Where the content of a GNU sparse file begins: its map may go on for any number of blocks."""
    goes_on = header[482:483]
    while goes_on == b"\1":
        goes_on = read(start, _BLOCK)[504:505]
        start += _BLOCK
    return start


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _damaged(where: str, at: int, why: str) -> DataError:
    if at == 0:
        return DataError("this is not a tar file", where=where, why=why, remedy="shards are tar files, not compressed")
    return DataError(
        "the shard is damaged", where=where, why=f"at byte {at:,}: {why}", remedy="fetch or write it again"
    )


def _cut_off(where: str, why: str) -> DataError:
    return DataError("the shard is cut off", where=where, why=why, remedy="fetch or write it again")

"""Where each value of an uncompressed column lies in a Parquet file, so that one can be read without the others.

`datasets` stores images so, in row groups of 100 MB, and pyarrow can only decode a row group as a whole. Whatever is
stored in another way is not understood here, and left to pyarrow.
Format: github.com/apache/parquet-format, parquet.thrift and Encodings.md; Thrift's compact protocol.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Int

from vitreous.data.layouts.storage import Read

_HEADER = 2**13  # bytes read for a page's header at first: statistics may lie in it
_LARGEST_HEADER = 2**20
_DEEPEST = 8  # structs within structs; the format has three
DATA_PAGE, DICTIONARY_PAGE, DATA_PAGE_2 = 0, 2, 3
PLAIN, RLE = 0, 3
DICTIONARY_CODED = (2, 8)


class OtherwiseStoredError(Exception):
    """The column is stored in a way that is not understood here, or is damaged."""


def places_of_values(
    read: Read, start: int, end: int, rows: int, max_level: int
) -> tuple[Int[np.ndarray, " rows"], Int[np.ndarray, " rows"]]:
    """Offset and size in bytes of every row's value in one column of one row group; the size of a null is -1.

    Args:
        read: of the file.
        start: where the column's first page begins.
        end: where its last page ends.
        rows: in the row group.
        max_level: the column's largest definition level, which says of a row that its value is there.

    Raises:
        OtherwiseStoredError: it is stored in another way, or damaged.
        OSError: the file cannot be read.
    """
    offsets, sizes = np.zeros(rows, np.int64), np.full(rows, -1, np.int64)
    entries = None
    row, at = 0, start
    while row < rows:
        header, body = page_header(read, at, end)
        size = header.get(3)
        if not isinstance(size, int) or not 0 <= size <= end - body or size != header.get(2):
            raise OtherwiseStoredError("a page of an impossible size, or compressed")
        at = body + size
        if header.get(1) == DICTIONARY_PAGE and entries is None:
            entries = _walk(read, body, at, number_in(header, 7, 1))
            continue
        present, encoding, values = _present(read, header, body, size, max_level)
        here = np.flatnonzero(present) + row
        row += len(present)
        if row > rows:
            raise OtherwiseStoredError("more values than rows")
        if encoding == PLAIN:
            offsets[here], sizes[here] = _walk(read, values, at, len(here))
        elif encoding in DICTIONARY_CODED and entries is not None:
            codes = dictionary_codes(read(values, at - values), len(here), len(entries[0]))
            offsets[here], sizes[here] = entries[0][codes], entries[1][codes]
        else:
            raise OtherwiseStoredError("another encoding")
    return offsets, sizes


def footer(read: Read, size: int) -> dict[int, object]:
    """A file's metadata by field number, lists and structs within.

    Args:
        read: of the file.
        size: of the file, in bytes.

    Raises:
        OtherwiseStoredError: it is damaged, encrypted, or no Parquet file.
        OSError: the file cannot be read.
    """
    tail = read(max(size - 8, 0), 8)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != b"PAR1" or length > size - 8:
        raise OtherwiseStoredError("no footer")
    try:
        return _struct(read(size - 8 - length, length), 0, _DEEPEST)[0]
    except (IndexError, struct.error) as error:
        raise OtherwiseStoredError("the footer is cut off") from error


def page_header(read: Read, at: int, end: int) -> tuple[dict[int, object], int]:
    """A page's header by field number, and where the page begins behind it.

    Args:
        read: of the file.
        at: where the header begins.
        end: where the column's last page ends.

    Raises:
        OtherwiseStoredError: it is cut off, or no header.
        OSError: the file cannot be read.
    """
    length = _HEADER
    while True:
        content = read(at, min(length, end - at))
        try:
            header, used = _struct(content, 0, _DEEPEST)
            return header, at + used
        except (IndexError, struct.error) as error:
            if length >= min(_LARGEST_HEADER, end - at):
                raise OtherwiseStoredError("a page's header is cut off") from error
            length *= 16


def _present(
    read: Read, header: dict[int, object], body: int, size: int, max_level: int
) -> tuple[Bool[np.ndarray, " n"], int, int]:
    """Which rows of a data page have a value, how values are encoded, and where they begin."""
    if header.get(1) == DATA_PAGE:
        count, encoding, level_encoding = (number_in(header, 5, field) for field in (1, 2, 3))
        if max_level and level_encoding != RLE:
            raise OtherwiseStoredError("another encoding of levels")
        if not max_level:
            return np.ones(count, bool), encoding, body
        length = int.from_bytes(read(body, 4), "little")
        start = body + 4
    elif header.get(1) == DATA_PAGE_2:
        count, encoding, length, repetition = (number_in(header, 8, field) for field in (1, 4, 5, 6))
        if repetition:
            raise OtherwiseStoredError("several values in a row")
        start = body
        if not max_level:
            return np.ones(count, bool), encoding, body + length
    else:
        raise OtherwiseStoredError("a page of another kind")
    if start + length > body + size:
        raise OtherwiseStoredError("levels of an impossible size")
    levels = small_numbers(read(start, length), count, max_level.bit_length())
    return levels == max_level, encoding, start + length


def number_in(header: dict[int, object], field: int, inner: int) -> int:
    """A number from 0 in a struct within a header.

    Args:
        header: by field number.
        field: number of the struct.
        inner: number of its field.

    Raises:
        OtherwiseStoredError: there is none.
    """
    inside = header.get(field)
    number = inside.get(inner) if isinstance(inside, dict) else None
    if not isinstance(number, int) or not 0 <= number < 2**31:
        raise OtherwiseStoredError(f"no field {field}.{inner}")
    return number


def dictionary_codes(content: bytes, count: int, entries: int) -> Int[np.ndarray, " n"]:
    """The places of values in a dictionary, each below the number of its entries.

    Args:
        content: begins with the width of a number.
        count: of the values.
        entries: in the dictionary.

    Raises:
        OtherwiseStoredError: they are cut off, or lead beyond the dictionary.
    """
    if not count:
        return np.zeros(0, np.int64)
    if not content or not 0 <= content[0] <= 32:
        raise OtherwiseStoredError("numbers of an impossible width")
    codes = small_numbers(content[1:], count, content[0])
    if codes.max() >= entries:
        raise OtherwiseStoredError("a code beyond the dictionary")
    return codes


def small_numbers(content: bytes, count: int, width: int) -> Int[np.ndarray, " n"]:
    """Numbers in Parquet's hybrid of runs and packed bits.

    Args:
        content: nothing else, but for what follows the last number.
        count: of the numbers.
        width: bits of a number, 0 to 32.

    Raises:
        OtherwiseStoredError: they are cut off.
    """
    parts, known, at = [np.zeros(0, np.int64)], 0, 0
    try:
        while known < count:
            head, at = varint(content, at)
            if head & 1:
                packed = np.frombuffer(content, np.uint8, (head >> 1) * width, at)
                bits = np.unpackbits(packed, bitorder="little").reshape(-1, width)
                part, at = bits @ (1 << np.arange(width)), at + len(packed)
            else:
                wide = -(-width // 8)
                number = int.from_bytes(content[at : at + wide], "little")
                part, at = np.full(min(head >> 1, count - known), number), at + wide
            parts.append(part[: count - known])
            known += len(parts[-1])
            if not len(part) or at > len(content):
                raise OtherwiseStoredError("an empty run, or one that is cut off")
    except (IndexError, ValueError) as error:
        raise OtherwiseStoredError("numbers are cut off") from error
    return np.concatenate(parts).astype(np.int64)


def _walk(read: Read, start: int, end: int, count: int) -> tuple[Int[np.ndarray, " count"], Int[np.ndarray, " count"]]:
    """Offset and size of values that lie one behind the other, each behind its length in four bytes."""
    offsets, sizes, at = [], [], start
    for _ in range(count):
        size = int.from_bytes(read(at, 4), "little")
        offsets.append(at + 4)
        sizes.append(size)
        at += 4 + size
        if at > end:
            raise OtherwiseStoredError("values reach beyond their page")
    if at != end:
        raise OtherwiseStoredError("values end before their page")
    return np.array(offsets, np.int64), np.array(sizes, np.int64)


# ---------------------------------------------------------------- Thrift's compact protocol


def _struct(content: bytes, at: int, depth: int) -> tuple[dict[int, object], int]:
    """A struct's fields by number, and where it ends; IndexError where the content is cut off."""
    if not depth:
        raise OtherwiseStoredError("structs too deep")
    fields: dict[int, object] = {}
    number = 0
    while head := content[at]:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _zigzag(content, at)
        fields[number], at = _value(content, at, head & 15, depth)
    return fields, at + 1


def _value(content: bytes, at: int, kind: int, depth: int) -> tuple[object, int]:
    if kind in (1, 2):
        return kind == 1, at
    if kind == 8:
        size, at = varint(content, at)
        if at + size > len(content):
            raise IndexError("cut off")
        return content[at : at + size], at + size
    if kind == 12:
        return _struct(content, at, depth - 1)
    if kind in (9, 10):
        return _list(content, at, depth)
    simple: dict[int, Callable[[bytes, int], tuple[object, int]]] = {
        3: lambda content, at: (content[at], at + 1),
        4: _zigzag,
        5: _zigzag,
        6: _zigzag,
        7: lambda content, at: (struct.unpack_from("<d", content, at)[0], at + 8),
    }
    if kind not in simple:
        raise OtherwiseStoredError("a field of an unknown kind")
    return simple[kind](content, at)


def _list(content: bytes, at: int, depth: int) -> tuple[list[object], int]:
    head, at = content[at], at + 1
    size, kind = head >> 4, head & 15
    if size == 15:
        size, at = varint(content, at)
    found: list[object] = []
    for _ in range(size):
        value, at = (content[at] == 1, at + 1) if kind in (1, 2) else _value(content, at, kind, depth)
        found.append(value)
    return found, at


def _zigzag(content: bytes, at: int) -> tuple[int, int]:
    number, at = varint(content, at)
    return (number >> 1) ^ -(number & 1), at


def varint(content: bytes, at: int) -> tuple[int, int]:
    """A number of any length, seven bits a byte, and where it ends.

    Args:
        content: that holds it.
        at: where it begins.

    Raises:
        IndexError: the content is cut off.
        OtherwiseStoredError: it has more than 64 bits.
    """
    number = shift = 0
    while True:
        byte = content[at]
        number, at, shift = number | (byte & 127) << shift, at + 1, shift + 7
        if byte < 128:
            return number, at
        if shift > 63:
            raise OtherwiseStoredError("a number of impossible length")

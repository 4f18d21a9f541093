"""One value of a Parquet column that is compressed with Snappy, without decompressing the others.

pyarrow and pandas compress so unless told otherwise, and put all images of a row group into one page. Snappy cuts what
it compresses into blocks of 64 KB that know nothing of each other, so that a few blocks behind a length of their own
are a whole stream again: github.com/google/snappy, format_description.txt, and kBlockSize in snappy.h. Where the
blocks begin is found once, from the tags alone. What was not written so is left to pyarrow.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from vitreous.data.layouts.storage import Read
from vitreous.data.layouts.tables.parquet_pages import (
    DATA_PAGE,
    DICTIONARY_CODED,
    DICTIONARY_PAGE,
    PLAIN,
    RLE,
    OtherwiseStoredError,
    dictionary_codes,
    number_in,
    page_header,
    small_numbers,
    varint,
)

Decompress = Callable[[bytes, int], bytes]
"""Of Snappy: what was compressed, and how many bytes it was; raises OtherwiseStoredError where it is damaged."""

_BLOCK = 2**16


@dataclass(frozen=True, eq=False)
class _Page:
    """Compressed bytes in a file, and where their blocks begin."""

    start: int
    """Offset in the file."""
    size: int
    """Bytes when decompressed."""
    blocks: Int[np.ndarray, " _"]
    """Where each block begins, from `start`; and where the last ends."""


@dataclass(frozen=True, eq=False)
class CompressedValues:
    """Where the values of one column in one row group lie; 16 bytes for each, and 8 for each 64 KB."""

    pages: tuple[_Page, ...]
    page: Int[np.ndarray, " rows"]
    """Place of each row's page."""
    offset: Int[np.ndarray, " rows"]
    """Where its value begins in the decompressed page."""
    size: Int[np.ndarray, " rows"]
    """In bytes; -1 for null."""

    def value(self, row: int, read: Read, decompress: Decompress) -> bytes | None:
        """One row's value; None for null.

        Args:
            row: in the row group.
            read: of the file.
            decompress: of Snappy.

        Raises:
            OtherwiseStoredError: the blocks cannot be decompressed alone.
            OSError: the file cannot be read.
        """
        size, offset = int(self.size[row]), int(self.offset[row])
        if size <= 0:
            return b"" if size == 0 else None
        page = self.pages[int(self.page[row])]
        first, last = offset // _BLOCK, (offset + size - 1) // _BLOCK + 1
        start, end = int(page.blocks[first]), int(page.blocks[last])
        whole = min(last * _BLOCK, page.size) - first * _BLOCK
        found = decompress(_length(whole) + read(page.start + start, end - start), whole)
        return found[offset - first * _BLOCK :][:size]


def compressed_values(
    read: Read, start: int, end: int, rows: int, max_level: int, decompress: Decompress
) -> CompressedValues:
    """Where all values of one column in one row group lie.

    Args:
        read: of the file.
        start: where the column's first page begins.
        end: where its last page ends.
        rows: in the row group.
        max_level: the column's largest definition level, which says of a row that its value is there.
        decompress: of Snappy.

    Raises:
        OtherwiseStoredError: it is stored in another way, or damaged.
        OSError: the file cannot be read.
    """
    pages: list[_Page] = []
    page, offset, size = np.zeros(rows, np.int32), np.zeros(rows, np.int64), np.full(rows, -1, np.int32)
    entries = None
    row, at = 0, start
    while row < rows:
        header, body = page_header(read, at, end)
        kind, whole, length = (header.get(field) for field in (1, 2, 3))
        if not isinstance(length, int) or not isinstance(whole, int) or not 0 <= length <= end - body or whole < 0:
            raise OtherwiseStoredError("a page of an impossible size")
        compressed, at = read(body, length), body + length
        if isinstance(crc := header.get(4), int) and crc % 2**32 != zlib.crc32(compressed):
            raise OtherwiseStoredError("a page's checksum is wrong")
        content = decompress(compressed, whole)
        if kind == DICTIONARY_PAGE and entries is None and not pages:
            entries = _entries(content, 0, number_in(header, 7, 1))
            pages.append(_Page(body, whole, _blocks(compressed, whole)))
            continue
        if kind != DATA_PAGE:
            raise OtherwiseStoredError("a page of another kind")
        present, behind = _present(header, content, max_level)
        if row + len(present) > rows:
            raise OtherwiseStoredError("more values than rows")
        here = np.flatnonzero(present) + row
        row += len(present)
        encoding = number_in(header, 5, 2)
        if encoding == PLAIN:
            offset[here], size[here] = _entries(content, behind, len(here))
            page[here] = len(pages)
            pages.append(_Page(body, whole, _blocks(compressed, whole)))
        elif encoding in DICTIONARY_CODED and entries is not None:
            codes = dictionary_codes(content[behind:], len(here), len(entries[0]))
            offset[here], size[here] = entries[0][codes], entries[1][codes]
        else:
            raise OtherwiseStoredError("another encoding")
    return CompressedValues(tuple(pages), page, offset, size)


def _present(header: dict[int, object], content: bytes, max_level: int) -> tuple[Bool[np.ndarray, " n"], int]:
    """Which rows of a data page have a value, and where the values begin."""
    count = number_in(header, 5, 1)
    if not max_level:
        return np.ones(count, bool), 0
    if number_in(header, 5, 3) != RLE:
        raise OtherwiseStoredError("another encoding of levels")
    end = 4 + int.from_bytes(content[:4], "little")
    if end > len(content):
        raise OtherwiseStoredError("levels of an impossible size")
    return small_numbers(content[4:end], count, max_level.bit_length()) == max_level, end


def _entries(content: bytes, at: int, count: int) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Offset and size of values that lie one behind the other to the end, each behind its length in four bytes."""
    offsets, sizes = [], []
    for _ in range(count):
        size = int.from_bytes(content[at : at + 4], "little")
        offsets.append(at + 4)
        sizes.append(size)
        at += 4 + size
        if at > len(content):
            raise OtherwiseStoredError("values reach beyond their page")
    if at != len(content):
        raise OtherwiseStoredError("values end before their page")
    return np.array(offsets, np.int64), np.array(sizes, np.int64)


def _blocks(compressed: bytes, whole: int) -> Int[np.ndarray, " blocks"]:
    """Where each block begins, and where the last ends: tags are gone through, one after the other."""
    try:
        length, at = varint(compressed, 0)
        found, done = [at], 0
        while at < len(compressed):
            tag = compressed[at]
            kind, number = tag & 3, tag >> 2
            if kind == 0:
                wide = max(number - 59, 0)
                if wide:
                    number = int.from_bytes(compressed[at + 1 : at + 1 + wide], "little")
                at += 2 + wide + number
            elif kind == 1:
                number, at = (number & 7) + 3, at + 2
            else:
                at += 3 if kind == 2 else 5
            done += number + 1
            if done >= len(found) * _BLOCK:
                if done > len(found) * _BLOCK:
                    raise OtherwiseStoredError("blocks of another size")
                found.append(at)
    except IndexError as error:
        raise OtherwiseStoredError("it is cut off") from error
    if not length == done == whole or at != len(compressed):
        raise OtherwiseStoredError("it is damaged")
    if done % _BLOCK:
        found.append(at)
    return np.array(found, np.int64)


def _length(number: int) -> bytes:
    """How a Snappy stream begins: with the length of what was compressed, seven bits a byte."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])

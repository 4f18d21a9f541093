"""Tables and arrays of numbers in MATLAB files: as much as ImageNet's meta.mat, SVHN and Oxford's flowers need.

Source: MathWorks, "MAT-File Format", version 5: elements of a type, a size and content, compressed with zlib or not.
"""

from __future__ import annotations

import math
import mmap
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vitreous.errors import DataError

_HEADER_BYTES = 128
_LIMIT = 2**26  # bytes of one element unpacked, a hundred times what meta.mat takes
_HEAD_BYTES = 4096  # of an array, before its numbers: flags, sides and name
_PIECE = 2**16  # packed bytes at a time
_ZLIB_RATIO = 1032  # zlib cannot shrink anything further
_COMPLEX = 0x800

_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_UTF = {16: "utf-8", 17: "utf-16", 18: "utf-32"}
_LETTERS = frozenset({1, 2, 3, 4, 5, 6})
_STRUCT, _CHAR, _NUMERIC = 2, 4, range(6, 16)  # classes of arrays

Value = str | tuple[float, ...] | None
"""A text, numbers in MATLAB's order, or None for what is neither."""


class _Element(NamedTuple):
    kind: int
    content: memoryview


class _Damaged(Exception):
    """What is wrong with the file."""


def table_columns(content: bytes, name: str, fields: Sequence[str], where: str) -> list[tuple[Value, ...]]:
    """For each row of a table (a struct array), the values of some of its fields.

    Args:
        content: the file.
        name: of the table.
        fields: which ones, in the order to give them.
        where: the file's path, for errors.

    Raises:
        DataError: it is no such file, is damaged, or holds no such table.
    """
    order = _byte_order(content[:_HEADER_BYTES], where)
    try:
        for element in _elements(memoryview(content)[_HEADER_BYTES:], order):
            opened = _unpacked(element, order)
            if opened.kind == _MATRIX and opened.content:
                parts = _elements(opened.content, order)
                flags, _dims, label = _next(parts), _next(parts), _next(parts)
                if bytes(label.content).decode("latin-1") == name and _class_of(flags, order) == _STRUCT:
                    return _rows(parts, fields, order)
    except (_Damaged, ValueError, OverflowError, zlib.error) as error:
        raise DataError("the file is damaged", where=where, why=str(error), remedy="fetch it again") from error
    raise DataError(f"there is no table called {name} in this file", where=where, remedy="fetch it again")


def numeric_arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Arrays of numbers by their names, read-only, with the sides that MATLAB shows.

    What is stored unpacked stays on the disk until it is read; what is packed is unpacked into memory.

    Args:
        path: of the file.
        names: of the arrays.

    Raises:
        DataError: the file is no such file or is damaged, or lacks one of the arrays.
    """
    where = str(path)
    try:
        with path.open("rb") as file:
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:  # an empty file cannot be mapped
        raise DataError("the file cannot be read", where=where, why=str(error), remedy="fetch it again") from error
    order = _byte_order(bytes(content[:_HEADER_BYTES]), where)
    found: dict[str, np.ndarray] = {}
    try:
        for element in _elements(content[_HEADER_BYTES:], order):
            for name, array in _numbers_in(element, order, names):
                found[name] = array
    except MemoryError as error:
        raise DataError("the array does not fit into memory", where=where) from error
    except (_Damaged, ValueError, OverflowError, zlib.error) as error:
        raise DataError("the file is damaged", where=where, why=str(error), remedy="fetch it again") from error
    if missing := [name for name in names if name not in found]:
        raise DataError(f"there is no array called {missing[0]} in this file", where=where, remedy="fetch it again")
    return found


def _numbers_in(element: _Element, order: str, names: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
    """The array in an element, with its name, if it is one of those wanted."""
    packed = _Packed(element.content) if element.kind == _COMPRESSED else None
    head = memoryview(packed.read(_HEAD_BYTES)) if packed else element.content
    kind, _, at = _tag(head, 0, order) if packed else (element.kind, 0, 0)
    if kind != _MATRIX or not head:
        return
    parts = []
    for _ in range(3):  # flags, sides, name
        _, size, start = _tag(head, at, order)
        if start + size > len(head):
            raise _Damaged("the head of an array goes on and on")
        parts.append(head[start : start + size])
        at = _behind(at, start, size)
    flags = _first(_Element(6, parts[0]), order)
    name = bytes(parts[2]).decode("latin-1")
    if name not in names:
        return
    if (flags & 0xFF) not in _NUMERIC or flags & _COMPLEX:
        raise _Damaged(f"{name} is no array of real numbers")
    sides = tuple(np.frombuffer(parts[1], f"{order}i4").tolist())
    kind, size, start = _tag(head, at, order)
    if kind not in _NUMBERS:
        raise _Damaged(f"the numbers of {name} are of no known kind")
    dtype = np.dtype(order + _NUMBERS[kind])
    if min(sides, default=0) < 0 or math.prod(sides) * dtype.itemsize != size:
        raise _Damaged(f"{name} has sides {sides}, which {size:,} bytes do not make")
    if packed is None:
        if start + size > len(head):
            raise _Damaged(f"{name} ends behind its container")
        numbers: np.ndarray = np.frombuffer(head[start : start + size], dtype)
    else:
        if size > _ZLIB_RATIO * len(element.content):
            raise _Damaged(f"{len(element.content):,} bytes cannot unpack to {size:,}")
        begun = bytes(head[start : start + size])
        rest = packed.read(size - len(begun), before=begun)
        if len(rest) < size:
            raise _Damaged(f"{name} is cut off")
        packed.finish()
        numbers = np.frombuffer(memoryview(rest).toreadonly(), dtype)
    yield name, numbers.reshape(sides, order="F")


class _Packed:
    """An element packed by zlib, unpacked as far as it is asked for.

    Args:
        content: packed.
    """

    def __init__(self, content: memoryview) -> None:
        self._content, self._at, self._stream = content, 0, zlib.decompressobj()

    def read(self, size: int, *, before: bytes = b"") -> bytearray:
        """The next bytes, fewer only at the end.

        Args:
            size: how many.
            before: what to put in front of them.
        """
        found = bytearray(before)
        while (lacking := len(before) + size - len(found)) and not self._stream.eof:
            # fed in pieces: zlib copies what it has not used yet with every call
            packed: bytes | memoryview = self._stream.unconsumed_tail
            if not packed:
                packed = self._content[self._at : self._at + _PIECE]
                self._at += len(packed)
            unpacked = self._stream.decompress(packed, lacking)
            if not packed and not unpacked:
                break
            found += unpacked
        return found

    def finish(self) -> None:
        """Unpacks what fills the last eight bytes up, and compares zlib's checksum, which stands behind it."""
        self.read(8)
        if not self._stream.eof:
            raise _Damaged("an array goes on behind its numbers, or its checksum is cut off")


def _byte_order(header: bytes, where: str) -> str:
    order = {b"IM": "<", b"MI": ">"}.get(header[126:128])
    if order is None or header[124:126] not in (b"\0\1", b"\1\0"):
        raise DataError("this is not a MATLAB file of version 5", where=where, remedy="fetch it again")
    return order


def _elements(content: memoryview, order: str) -> Iterator[_Element]:
    at = 0
    while at < len(content):
        kind, size, start = _tag(content, at, order)
        if start + size > len(content):
            raise _Damaged(f"an element ends {start + size - len(content):,} bytes behind its container")
        yield _Element(kind, content[start : start + size])
        at = start + size if kind == _COMPRESSED else _behind(at, start, size)


def _tag(content: memoryview, at: int, order: str) -> tuple[int, int, int]:
    """An element's kind, the size of its content in bytes, and where that begins."""
    if at + 8 > len(content):
        raise _Damaged("it ends within the head of an element")
    kind, size = np.frombuffer(content[at : at + 8], f"{order}u4").tolist()
    if small := kind >> 16:  # up to four bytes lie in the head itself
        if small > 4:
            raise _Damaged(f"an element claims {small} bytes in a head of four")
        return kind & 0xFFFF, small, at + 4
    return kind, size, at + 8


def _behind(at: int, start: int, size: int) -> int:
    """Where the next element begins: content is filled up to whole eights, the head included where it is small."""
    return at + 8 if start == at + 4 else start + -(-size // 8) * 8


def _next(elements: Iterator[_Element]) -> _Element:
    if (element := next(elements, None)) is None:
        raise _Damaged("an element lacks its parts")
    return element


def _unpacked(element: _Element, order: str) -> _Element:
    if element.kind != _COMPRESSED:
        return element
    content = zlib.decompressobj().decompress(element.content, _LIMIT)
    if len(content) == _LIMIT:
        raise _Damaged(f"it unpacks to more than {_LIMIT:,} bytes")
    return _next(_elements(memoryview(content), order))


def _class_of(flags: _Element, order: str) -> int:
    return _first(flags, order) & 0xFF


def _first(element: _Element, order: str) -> int:
    """The first of an element's whole numbers of four bytes, none of which is negative here."""
    if len(element.content) < 4:
        raise _Damaged("an element lacks its number")
    return int(np.frombuffer(element.content[:4], f"{order}u4")[0])


def _rows(parts: Iterator[_Element], fields: Sequence[str], order: str) -> list[tuple[Value, ...]]:
    """What follows the name of a struct array: the fields' names, then every field of every row."""
    length = _first(_next(parts), order)
    text = bytes(_next(parts).content)
    if not 0 < length <= len(text):
        raise _Damaged("the table's fields have no names")
    names = [text[at : at + length].partition(b"\0")[0].decode("latin-1") for at in range(0, len(text), length)]
    if missing := [field for field in fields if field not in names]:
        raise _Damaged(f"the table has no field {missing[0]}, but {', '.join(names)}")
    values = list(parts)
    if len(values) % len(names):
        raise _Damaged(f"{len(values):,} values are no whole number of rows of {len(names)}")
    wanted = [names.index(field) for field in fields]
    return [tuple(_value(values[row + at], order) for at in wanted) for row in range(0, len(values), len(names))]


def _value(element: _Element, order: str) -> Value:
    if element.kind != _MATRIX or not element.content:
        return None
    parts = _elements(element.content, order)
    flags, _dims, _name = _next(parts), _next(parts), _next(parts)
    kind, content = next(parts, _Element(2, memoryview(b"")))
    array_class = _class_of(flags, order)
    if array_class == _CHAR and kind in _UTF:
        form = _UTF[kind] + ("" if kind == 16 else "-le" if order == "<" else "-be")
        return bytes(content).decode(form)
    if kind not in (_LETTERS if array_class == _CHAR else _NUMBERS if array_class in _NUMERIC else ()):
        return None
    # MATLAB stores numbers in the smallest type that holds them, whatever the class of the array
    numbers = np.frombuffer(content, order + _NUMBERS[kind]).tolist()
    return "".join(map(chr, numbers)) if array_class == _CHAR else tuple(map(float, numbers))

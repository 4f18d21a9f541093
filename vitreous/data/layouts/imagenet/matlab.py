"""Columns of a table in a MATLAB file: as much of the format as ImageNet's meta.mat needs.

Source: MathWorks, "MAT-File Format", version 5: elements of a type, a size and content, compressed with zlib or not.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from vitreous.errors import DataError

_HEADER_BYTES = 128
_LIMIT = 2**26  # bytes of one element unpacked, a hundred times what meta.mat takes

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
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None or content[124:126] not in (b"\0\1", b"\1\0"):
        raise DataError("this is not a MATLAB file of version 5", where=where, remedy="fetch it again")
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


def _elements(content: memoryview, order: str) -> Iterator[_Element]:
    at = 0
    while at < len(content):
        if at + 8 > len(content):
            raise _Damaged("it ends within the head of an element")
        kind, size = np.frombuffer(content[at : at + 8], f"{order}u4").tolist()
        small = kind >> 16  # up to four bytes lie in the head itself
        start, size, kind = (at + 4, small, kind & 0xFFFF) if small else (at + 8, size, kind)
        if start + size > len(content) or (small and size > 4):
            raise _Damaged(f"an element ends {start + size - len(content):,} bytes behind its container")
        yield _Element(kind, content[start : start + size])
        end = start + size if kind == _COMPRESSED else start + -(-size // 8) * 8
        at = at + 8 if small else end


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

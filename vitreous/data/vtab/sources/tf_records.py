"""TensorFlow's records of examples, read where they lie, without TensorFlow.

A record is its length (uint64, little-endian), a checksum of that, the content and its checksum; the content a protobuf
tf.train.Example: lists of bytes, floats or whole numbers by name. tensorflow/core/lib/io/record_writer.h and
core/example/{example,feature}.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TypeAlias

Span: TypeAlias = tuple[int, int]
"""Where bytes begin and end in the file."""

_BYTES, _INTEGERS = 1, 3  # kinds of lists
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5  # how a field is written
_POLYNOMIAL = 0x82F63B78  # of CRC-32C, bits reversed
_HEAD, _TAIL = 12, 4


class RecordError(ValueError):
    """What is wrong with a file of records."""


def records(content: memoryview) -> Iterator[Span]:
    """Where the content of each record lies; only the heads are read.

    Args:
        content: of the file.

    Raises:
        RecordError: it is no such file, or is cut off.
    """
    at = 0
    while at < len(content):
        if at + _HEAD > len(content):
            raise RecordError("it ends within the head of a record")
        head = bytes(content[at : at + _HEAD])
        (length, told), found = struct.unpack("<QI", head), _masked_crc(head[:8])
        if told != found:
            raise RecordError(f"the checksum at byte {at:,} is wrong")
        start = at + _HEAD
        if start + length + _TAIL > len(content):
            raise RecordError(f"the record at byte {at:,} is cut off")
        yield start, start + length
        at = start + length + _TAIL


def single_values(content: memoryview, span: Span) -> dict[str, int | Span]:
    """The features of an example that have one value: a whole number, or where bytes lie.

    Args:
        content: of the file.
        span: from `records`.

    Raises:
        RecordError: it is no example.
    """
    found: dict[str, int | Span] = {}
    for features in _messages(content, span, 1):
        for entry in _messages(content, features, 1):
            names = list(_messages(content, entry, 1))
            for feature in _messages(content, entry, 2):
                if len(names) != 1:
                    raise RecordError("a feature has no name")
                name = bytes(content[slice(*names[0])]).decode("utf-8", "replace")
                blobs = [blob for each in _messages(content, feature, _BYTES) for blob in _messages(content, each, 1)]
                numbers = [n for each in _messages(content, feature, _INTEGERS) for n in _integers(content, each)]
                if len(blobs) + len(numbers) == 1:
                    found[name] = (blobs or numbers)[0]
    return found


def _messages(content: memoryview, span: Span, number: int) -> Iterator[Span]:
    """The fields of one number that have a length."""
    for field, value in _fields(content, span):
        if field == number and isinstance(value, tuple):
            yield value


def _integers(content: memoryview, span: Span) -> Iterator[int]:
    """Whole numbers, packed or one by one."""
    for field, value in _fields(content, span):
        if field != 1:
            continue
        if isinstance(value, int):
            yield value
            continue
        at, end = value
        while at < end:
            number, at = _varint(content, at, end)
            yield number


def _fields(content: memoryview, span: Span) -> Iterator[tuple[int, int | Span]]:
    """Number and value of each field of a message."""
    at, end = span
    while at < end:
        tag, at = _varint(content, at, end)
        number, written = tag >> 3, tag & 7
        if written == _VARINT:
            value, at = _varint(content, at, end)
            yield number, value
            continue
        size = {_FIXED64: 8, _FIXED32: 4}.get(written)
        if written == _LENGTH:
            size, at = _varint(content, at, end)
        if size is None or at + size > end:
            raise RecordError(f"a field at byte {at:,} goes beyond its message")
        yield number, (at, at + size)
        at += size


def _varint(content: memoryview, at: int, end: int) -> tuple[int, int]:
    """A number in groups of seven bits, and where it ends."""
    number = shift = 0
    while at < end and shift < 64:
        byte = content[at]
        number, at = number | (byte & 0x7F) << shift, at + 1
        if byte < 0x80:
            return number, at
        shift += 7
    raise RecordError(f"a number at byte {at:,} has no end")


def _table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _table()


def _masked_crc(content: bytes) -> int:
    """CRC-32C, turned and shifted as TensorFlow stores it."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF

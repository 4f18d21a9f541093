"""The image files in a column of Parquet files, each read at any place, from any number of threads.

Where the column is stored uncompressed, as `datasets` does, or compressed with Snappy, as pyarrow does, an image is
read where it lies. Otherwise its row group is decoded as a whole, and the row groups used last are kept, up to a bound
in bytes.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from vitreous.data.layouts.storage import OpenFile, nearby
from vitreous.data.layouts.tables.columns import pyarrow_for
from vitreous.data.layouts.tables.parquet_pages import OtherwiseStoredError, footer, places_of_values
from vitreous.data.layouts.tables.parquet_snappy import CompressedValues, compressed_values
from vitreous.errors import ImageError
from vitreous.picture.decode import MAX_FILE

KEPT = 2**29
"""Bytes of decoded row groups that a set keeps: 512 MB."""

_OPEN_FILES = 128
_LARGE = 2**26  # bytes of a row group; larger ones are decoded one at a time


@dataclass(frozen=True, slots=True)
class Group:
    """One row group's column of images."""

    file: int
    """Place of its file."""
    number: int
    """In its file, from 0."""
    rows: int
    start: int
    """Where the column's pages begin, in bytes."""
    end: int
    size: int
    """Bytes when decoded."""
    max_level: int
    """The column's largest definition level."""


def groups_in(opened: OpenFile, column: str, max_level: int, file: int) -> list[Group]:
    """The row groups of a file.

    The footer is read here: of a damaged one pyarrow's RowGroupMetaData and ColumnChunkMetaData end the process.

    Args:
        opened: the file.
        column: of images, as Parquet names it.
        max_level: the column's largest definition level.
        file: the file's place among all.

    Raises:
        OtherwiseStoredError: the footer is damaged.
        LookupError: there is no such column.
        OSError: the file cannot be read.
    """
    groups = footer(opened.read, opened.size).get(4)
    found = []
    for number, group in enumerate(groups if isinstance(groups, list) else ()):
        chunks = _field(group, 1)
        named = {}
        for chunk in chunks if isinstance(chunks, list) else ():
            path = _field(_field(chunk, 3), 3)
            named[b".".join(each for each in path if isinstance(each, bytes)) if isinstance(path, list) else b""] = (
                chunk
            )
        chunk = _field(named[column.encode()], 3)
        rows, size, stored, start = _field(group, 3), _field(chunk, 6), _field(chunk, 7), _field(chunk, 9)
        first = _field(chunk, 11)
        numbers = [each for each in (rows, size, stored, start) if isinstance(each, int) and 0 <= each < 2**48]
        if len(numbers) < 4:
            raise OtherwiseStoredError("a row group that cannot be")
        rows, size, stored, start = numbers
        start = min(start, first) if isinstance(first, int) and first > 0 else start
        found.append(Group(file, number, rows, start, start + stored, size, max_level))
    return found


def _field(inside: object, number: int) -> object:
    """A field of a struct; None where there is none, or no struct."""
    return inside.get(number) if isinstance(inside, dict) else None


class _Uncompressed(NamedTuple):
    """Where the values of one column in one row group lie in the file."""

    offsets: Int[np.ndarray, " _"]
    sizes: Int[np.ndarray, " _"]


class StoredImages:
    """The image files in a column of Parquet files.

    Args:
        paths: of the files.
        states: of the files when their footers were read, as `OpenFile` gives them.
        groups: all row groups, in the order of the files and within them.
        column: of images, as Parquet names it: `image` or `image.bytes`.
    """

    def __init__(
        self, paths: Sequence[Path], states: Sequence[tuple[int, int]], groups: Sequence[Group], column: str
    ) -> None:
        self._paths, self._states, self._groups, self._column = paths, states, groups, column
        self._ends = np.cumsum([group.rows for group in groups])
        self._opened = functools.lru_cache(_OPEN_FILES)(self._open)
        self._values: dict[int, _Uncompressed | CompressedValues | None] = {}
        self._one_by_one = threading.Lock()
        self._decoded = _Decoded(KEPT, self._decode)

    def content(self, place: int, name: str) -> bytes | None:
        """The image file in a row; None where the row has none.

        Args:
            place: of the row, over all files.
            name: what to call the image in errors.

        Raises:
            ImageError: it cannot be read.
        """
        number = int(np.searchsorted(self._ends, place, side="right"))
        row = place - int(self._ends[number]) + self._groups[number].rows
        group = self._groups[number]
        try:
            file = self._opened(group.file)
            try:
                found = self._located(number)
                if isinstance(found, CompressedValues):
                    return found.value(row, file.read, self._snappy)
            except OtherwiseStoredError:  # pyarrow reads it, or says what is wrong
                found = self._values[number] = None
            if found is None:
                return self._decoded.row_of(number, group.size, row)
            size = int(found.sizes[row])
            if size > MAX_FILE:
                raise ImageError(f"the file is too large: {size:,} bytes", where=name, why=f"the limit is {MAX_FILE:,}")
            return None if size < 0 else file.read(int(found.offsets[row]), size)
        except OSError as error:
            why = error.strerror or str(error)
            raise ImageError("the Parquet file cannot be read", where=name, why=why) from error

    def decodes_whole(self) -> bool:
        """Whether the first row group has to be decoded as a whole for one image.

        Raises:
            OSError: the file cannot be read.
        """
        return bool(self._groups) and self._located(0) is None

    def _open(self, place: int) -> OpenFile:
        file = OpenFile(self._paths[place])
        if file.state != self._states[place]:
            raise OSError(errno.ESTALE, "it has changed since its footer was read")
        return file

    def _located(self, number: int) -> _Uncompressed | CompressedValues | None:
        """Where the images of a row group lie; None where it has to be decoded as a whole."""
        if number not in self._values:
            with self._one_by_one:  # for a compressed row group is read and decompressed once for it
                if number not in self._values:
                    self._values[number] = self._locate(self._groups[number])
        return self._values[number]

    def _locate(self, group: Group) -> _Uncompressed | CompressedValues | None:
        file, pages = self._opened(group.file), (group.start, group.end, group.rows, group.max_level)
        with contextlib.suppress(OtherwiseStoredError):
            return _Uncompressed(*places_of_values(nearby(file), *pages))
        with contextlib.suppress(OtherwiseStoredError):
            return compressed_values(file.read, *pages, self._snappy)
        return None

    def _snappy(self, compressed: bytes, size: int) -> bytes:
        arrow = pyarrow_for(str(self._paths[0]))
        try:
            return arrow.decompress(compressed, size, codec="snappy", asbytes=True)
        except (arrow.ArrowException, OSError, ValueError) as error:
            raise OtherwiseStoredError("it cannot be decompressed") from error

    def _decode(self, number: int) -> Any:
        group = self._groups[number]
        arrow = pyarrow_for(str(self._paths[group.file]))
        try:
            with arrow.parquet.ParquetFile(self._paths[group.file], page_checksum_verification=True) as file:
                table = file.read_row_group(group.number, columns=[self._column], use_threads=False)
        except (arrow.ArrowException, OSError, ValueError) as error:
            raise OSError(errno.EIO, f"row group {group.number} cannot be read: {error}") from error
        self._open(group.file)  # pyarrow opened the path anew: it may be another file than the one held open
        column = table.column(0)
        if arrow.types.is_struct(column.type):
            column = column.flatten()[0]
        if len(column) != group.rows:
            raise OSError(errno.EIO, f"row group {group.number} has {len(column)} rows of {group.rows}")
        return column


class _Decoded:
    """Row groups as pyarrow decodes them; those used last are kept."""

    def __init__(self, kept: int, decode: Any) -> None:
        self._kept, self._decode = kept, decode
        self._columns: OrderedDict[int, Any] = OrderedDict()
        self._held = 0
        self._at_work: dict[int, threading.Lock] = {}
        self._lock, self._one_large = threading.Lock(), threading.Lock()

    def row_of(self, number: int, size: int, row: int) -> bytes | None:
        """The bytes in one row of a row group; decoded by one thread, while others that want it wait."""
        with self._lock:
            if number in self._columns:
                self._columns.move_to_end(number)
                column = self._columns[number]
                return column[row].as_py()
            mine = self._at_work.setdefault(number, threading.Lock())
        with mine:
            with self._lock:
                column = self._columns.get(number)
            if column is None:
                with self._one_large if size > _LARGE else nullcontext():
                    column = self._decode(number)
                self._keep(number, column)
        return column[row].as_py()

    def _keep(self, number: int, column: Any) -> None:
        with self._lock:
            # one that was dropped while others waited for it may be decoded by two threads at once
            if (replaced := self._columns.pop(number, None)) is not None:
                self._held -= replaced.nbytes
            self._columns[number] = column
            self._held += column.nbytes
            self._at_work.pop(number, None)
            while self._held > self._kept and len(self._columns) > 1:
                self._held -= self._columns.popitem(last=False)[1].nbytes

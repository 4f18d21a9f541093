"""The rows of a CSV, TSV or JSON Lines file with their line numbers, one by one; and the writer of a clean one.

Formats: RFC 4180 with `,`, `;` or tab between; JSON Lines, one object a line. UTF-8, or UTF-16 with its mark.
"""

from __future__ import annotations

import codecs
import csv
import itertools
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vitreous.data.layouts.manifests.listed_files import IMAGE_ENDINGS, Faults, shown
from vitreous.errors import DataError
from vitreous.files import write_atomically

TABLE_ENDINGS = frozenset({".csv", ".tsv", ".jsonl", ".ndjson"})
"""Endings, in lower case, of the names of files that are read here."""

_JSON = frozenset({".jsonl", ".ndjson"})
_LOOKED_AT = 50  # records, to learn what lies between cells
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_PATH_NAMES = (
    *("file_name", "filename", "file", "filepath", "file_path", "path", "relative_path", "image_path", "img_path"),
    *("image_file", "image_filename", "image_name", "img_name", "image", "img", "image_index", "image_id", "img_id"),
    "id",
)

Row = tuple[int, list[str]]
"""The line a record begins on, counted from 1, and its cells."""


def plain_name(name: str) -> str:
    """A column's name in one spelling: `Image Index` is `image_index`.

    Args:
        name: as it is written.
    """
    return "_".join(name.strip().casefold().replace("-", " ").replace("_", " ").split())


def path_column(header: list[str]) -> int | None:
    """The column that holds paths by its name, of several the likeliest; None where none does.

    Args:
        header: names of the columns.
    """
    plain = [plain_name(name) for name in header]
    return next((plain.index(name) for name in _PATH_NAMES if name in plain), None)


@dataclass(frozen=True, eq=False)
class Table:
    """A file of records that can be read from its beginning any number of times."""

    path: Path
    header: list[str] | None
    """Names of the columns; None where the first line is a record already."""
    delimiter: str
    """What lies between cells; empty for JSON Lines."""
    encoding: str

    def rows(self, faults: Faults) -> Iterator[Row]:
        """All records that can be read, one after the other.

        Args:
            faults: what is wrong with the others is added here.

        Raises:
            DataError: the file is damaged from some line on, or in another encoding.
        """
        return _json_rows(self, faults) if not self.delimiter else _csv_rows(self, faults)

    @property
    def notes(self) -> list[str]:
        """What is unusual in how it is written, in words."""
        said = [] if self.delimiter in ("", ",") else [f"{_DELIMITERS[self.delimiter]} between cells"]
        said += ["in UTF-16"] if self.encoding == "utf-16" else []
        return said + (["no header"] if self.header is None else [])


def open_table(path: Path) -> Table:
    """A CSV, TSV or JSON Lines file, its header read.

    Args:
        path: with one of TABLE_ENDINGS.

    Raises:
        DataError: it is empty, or cannot be read as what its name says.
    """
    encoding = _encoding(path)
    if path.suffix.lower() in _JSON:
        first = next(_json_objects(path, encoding, Faults(str(path))), None)
        if first is None:
            raise DataError("there is no record in the manifest", where=str(path), remedy="one JSON object a line")
        return Table(path, list(first[1]), "", encoding)
    delimiter = _delimiter(path, encoding)
    first_row = next(_records(path, encoding, delimiter), None)
    if first_row is None:
        raise DataError("the manifest is empty", where=str(path), remedy="a header such as path,label and a row each")
    header = first_row[1]
    if path_column(header) is None and len(header) == 2 and any(map(_looks_like_image, header)):
        return Table(path, None, delimiter, encoding)
    if twice := sorted({name for name in header if name.strip() and header.count(name) > 1}):
        raise DataError(f"two columns are called {twice[0]}", where=f"{path}, line {first_row[0]}")
    return Table(path, [name.strip() for name in header], delimiter, encoding)


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One image of a manifest that is written."""

    path: str
    """Relative to the folder of the manifest, with `/` between; or absolute."""
    labels: tuple[str, ...]
    """One class name, or several; none only where other images have several."""
    split: str = ""
    """train, val or test; empty where nothing is divided."""
    group: str = ""
    """What it belongs to; empty where nothing was said."""


def write_manifest(path: Path, rows: Iterable[ManifestRow]) -> None:
    """Write a CSV manifest that reads back to the same: path, label, and where there are any split and group.

    Several labels stand with `|` between; all labels are JSON lists where one could be misunderstood.

    Args:
        path: of the file, replaced if it is there.
        rows: in the order to write them.

    Raises:
        DataError: a path or label cannot be written as UTF-8, or has a NUL in it.
    """
    kept = list(rows)
    several = any(len(row.labels) != 1 for row in kept)
    as_lists = any(_misleading(label) for row in kept for label in row.labels) or any(not row.labels for row in kept)
    has_split, has_group = any(row.split for row in kept), any(row.group for row in kept)
    header = ["path", "labels" if several else "label", *["split"] * has_split, *["group"] * has_group]

    def cells(row: ManifestRow) -> list[str]:
        label = json.dumps(row.labels, ensure_ascii=False) if as_lists else "|".join(row.labels)
        # a `/` somewhere says that a backslash is no separator
        place = f"./{row.path}" if "\\" in row.path and not row.path.startswith("/") else row.path
        return [place, label, *[row.split] * has_split, *[row.group] * has_group]

    content = b"".join(_csv_line(line) for line in itertools.chain([header], map(cells, kept)))
    write_atomically(path, [content], len(content))


def _misleading(label: str) -> bool:
    """Whether a label, written as it is, would be read as another."""
    return not label or label != label.strip() or label[0] in "[{" or any(sign in label for sign in "|;,\r\n")


def _csv_line(cells: list[str]) -> bytes:
    quoted = ('"' + cell.replace('"', '""') + '"' if any(sign in cell for sign in '",\r\n') else cell for cell in cells)
    if any("\0" in cell for cell in cells):
        raise DataError(f"a path or label has a NUL in it: {cells[0]!r}", remedy="rename the file, or its class")
    try:
        line = ",".join(quoted).encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"a name cannot be written as UTF-8: {cells[0]!r}", remedy="rename the file; its name is not in UTF-8"
        ) from error
    return line + b"\n"


def _encoding(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            head = file.read(1024)
    except OSError as error:
        raise DataError("the manifest cannot be read", where=str(path), why=error.strerror) from error
    if head.startswith(_UTF16):
        return "utf-16"
    if b"\0" in head:
        raise DataError(
            "the manifest is not text in UTF-8",
            where=str(path),
            why="it has zero bytes, as UTF-16 without its mark has, or a file of another kind",
            remedy='save it as "CSV UTF-8"',
        )
    return "utf-8-sig"


def _delimiter(path: Path, encoding: str) -> str:
    """What lies between cells: what makes columns out of a header, or as many of them in all records."""
    if path.suffix.lower() == ".tsv":
        return "\t"

    def merit(delimiter: str) -> tuple[bool, bool, bool, int]:
        try:
            records = [cells for _, cells in itertools.islice(_records(path, encoding, delimiter), _LOOKED_AT)]
        except DataError:
            return (False, False, False, 0)
        if not records or len(records[0]) < 2:
            return (False, False, False, 0)
        named = path_column(records[0]) is not None
        even = all(len(cells) == len(records[0]) for cells in records)
        return (named, any(map(_looks_like_image, records[0])), even, len(records[0]))

    return max(_DELIMITERS, key=merit)  # of equals the first: a comma


def _looks_like_image(cell: str) -> bool:
    return os.path.splitext(cell.strip())[1].lower() in IMAGE_ENDINGS


def _records(path: Path, encoding: str, delimiter: str) -> Iterator[Row]:
    """The records of a CSV file; lines without anything are passed over."""
    with open(path, encoding=encoding, newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except UnicodeError as error:
                raise _not_utf8(path, encoding) from error
            except csv.Error as error:
                raise DataError(
                    "the manifest cannot be read from some line on",
                    where=f"{path}, line {line:,}",
                    why=f"a quotation mark that is not closed, or one too many ({error})",
                    remedy='a cell with " in it stands in quotation marks, and each of its own is doubled',
                ) from error
            if cells:
                yield line, cells


def _csv_rows(table: Table, faults: Faults) -> Iterator[Row]:
    records = _records(table.path, table.encoding, table.delimiter)
    if table.header is not None:
        next(records)
    wanted = 2 if table.header is None else len(table.header)
    for line, cells in records:
        if len(cells) == wanted:
            yield line, cells
        else:
            faults.add(line, f"{len(cells)} cells, and not {wanted} as in the first line")


def _json_rows(table: Table, faults: Faults) -> Iterator[Row]:
    assert table.header is not None
    known = set(table.header)
    for line, record in _json_objects(table.path, table.encoding, faults):
        if record.keys() <= known:
            yield line, [_cell(record.get(name)) for name in table.header]
        else:
            strange = next(name for name in record if name not in known)
            faults.add(line, f"{shown(strange)} is no key of the first record, which names the columns")


def _json_objects(path: Path, encoding: str, faults: Faults) -> Iterator[tuple[int, dict[str, object]]]:
    with open(path, encoding=encoding, newline="") as file:
        try:
            for line, text in enumerate(file, 1):
                if not text.strip():
                    continue
                try:
                    record = json.loads(text)
                except (ValueError, RecursionError) as error:
                    faults.add(line, f"no JSON: {error}")
                    continue
                if isinstance(record, dict):
                    yield line, record
                else:
                    faults.add(line, f"no JSON object in braces: {shown(text.strip()[:40])}")
        except UnicodeError as error:
            raise _not_utf8(path, encoding) from error


def _cell(value: object) -> str:
    """A value of JSON as it would stand in a CSV file."""
    match value:
        case None:
            return ""
        case str():
            return value
        case float() if value.is_integer():
            return str(int(value))
        case _:
            return json.dumps(value, ensure_ascii=False)


def _not_utf8(path: Path, encoding: str) -> DataError:
    """The error that names the first line in another encoding."""
    if encoding == "utf-16":
        return DataError("the manifest begins as UTF-16 and does not go on so", where=str(path), remedy="write it anew")
    with open(path, "rb") as file:
        for line, content in enumerate(file, 1):
            try:
                content.decode()
            except UnicodeDecodeError as error:
                return DataError(
                    "the manifest is not text in UTF-8",
                    where=f"{path}, line {line:,}",
                    why=f"byte {content[error.start]:#04x}; perhaps it is in Latin-1 or Windows-1252",
                    remedy='save it as "CSV UTF-8", or: iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW',
                )
    return DataError("the manifest is not text in UTF-8", where=str(path))

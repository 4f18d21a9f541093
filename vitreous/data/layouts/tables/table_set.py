"""Rows of a table, in several files, as one set of labelled images: what Parquet and saved Arrow files share."""

from __future__ import annotations

import bisect
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
from jaxtyping import Int, UInt8

from vitreous.data.imageset import ImageSet, Names, fingerprint
from vitreous.data.layouts.tables.column_labels import Labelled, codes_of, read_labels
from vitreous.data.layouts.tables.columns import Columns, by_split
from vitreous.data.words import some
from vitreous.errors import DataError, ImageError
from vitreous.picture.decode import decode, file_bytes

Content = Callable[[int, str], bytes | None]
"""The image file in a row, by the row's place over all files and its name for errors; None where there is none."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Table:
    """Rows of images and what is known of each, without the images."""

    name: str
    """What to call it."""
    files: Sequence[Path]
    """Where the rows lie."""
    rows: Sequence[int]
    """How many in each file."""
    columns: Columns
    small: Any
    """All columns but the images, as one table of pyarrow; of a struct of images the path."""
    shards: Sequence[int]
    """How many consecutive rows lie beside each other."""
    sizes: Sequence[int]
    """Of what the images take in the files, which tells one file from another."""


def set_of(table: Table, content: Content | None) -> tuple[ImageSet, list[str]]:
    """The labelled images of a table, and what to tell about them.

    Args:
        table: of one row or more.
        content: gives a row's image file; None where there are only paths.

    Raises:
        DataError: rows have no label, or one that means nothing.
    """
    columns, small = table.columns, table.small
    above = os.path.commonpath([path.parent.absolute() for path in table.files])
    files = [normalize("NFC", path.absolute().relative_to(above).as_posix()) for path in table.files]
    ends = np.cumsum(table.rows).tolist()
    paths = _paths(small, columns)

    def named(names: Sequence[str], place: int) -> str:
        file = bisect.bisect_right(ends, place)
        path = paths[place].as_py() if paths is not None else None
        below = f"/{normalize('NFC', path)}" if path and not os.path.isabs(path) else ""
        return f"{names[file]}#{place - ends[file] + table.rows[file]}{below}"

    if not ends or not ends[-1]:
        raise DataError("there are no rows", where=table.name)
    where = f"{table.name}, column `{columns.label}`"
    labelled = read_labels(small[columns.label], columns.names, lambda place: named(files, place), where)
    full = [str(path) for path in table.files]
    ids = Names(len(labelled.labels), lambda place: named(full, place))

    def encoded(place: int) -> bytes:
        file = content(place, ids[place]) if content is not None else None
        if file is not None:
            return file
        path = paths[place].as_py() if paths is not None else None
        if not path:
            raise ImageError("the row holds no image", where=ids[place])
        return file_bytes(table.files[bisect.bisect_right(ends, place)].parent / path)

    def read(place: int) -> UInt8[np.ndarray, "H W 3"]:
        return decode(encoded(place), name=ids[place])

    images = ImageSet(
        name=table.name,
        classes=labelled.classes,
        ids=ids,
        labels=labelled.labels,
        read=read,
        encoded=encoded,
        fingerprint=fingerprint(files, list(table.rows), list(table.sizes), _digest(labelled, paths)),
        keys=Names(len(ids), lambda place: named(files, place)),
        shards=tuple(rows for rows in table.shards if rows),
        targets=labelled.targets,
        groups=_groups(small[columns.group], table.name) if columns.group else None,
    )
    return images, [f"{table.name}: {note}" for note in labelled.notes]


def divided(images: ImageSet, table: Table) -> dict[str, ImageSet]:
    """The parts that a column `split` divides a table into.

    Args:
        images: of the table.
        table: with a column of splits.

    Raises:
        DataError: a split's name is not understood, or rows have none.
    """
    columns = table.columns
    assert columns.split is not None, "asked only where there is such a column"
    where = f"{table.name}, column `{columns.split}`"
    codes, values = codes_of(table.small[columns.split], where)
    if (codes < 0).any():
        raise DataError(f"{int((codes < 0).sum()):,} rows belong to no split", where=where)
    names = [
        columns.split_names[value] if columns.split_names and 0 <= value < len(columns.split_names) else str(value)
        for value in values
    ]
    parts, others = by_split(names)
    if others:
        raise DataError(
            f"splits are called {some(others)}",
            where=where,
            why="understood are train, validation and test",
            remedy="rename the column, if it says something else",
        )
    if "all" in parts.values():
        return {"all": images}
    found = {}
    for part in dict.fromkeys(parts.values()):
        meant = [place for place, name in enumerate(names) if parts[name] == part]
        found[part] = images.subset(np.flatnonzero(np.isin(codes, meant)), f"{table.name} ({part})")
    return found


def without_labels(sets: dict[str, Table]) -> tuple[dict[str, Table], list[str]]:
    """The parts that have labels, and which test part was left out because no row of it has one.

    Args:
        sets: by part.
    """
    kept, notes = {}, []
    for part, table in sets.items():
        column = table.small[table.columns.label]
        if part == "test" and len(sets) > 1 and len(column) and _all_hidden(column):
            notes.append(f"{table.name}: left out {len(column):,} test images, of which none has a label")
        else:
            kept[part] = table
    return kept, notes


def _all_hidden(column: Any) -> bool:
    """Whether every label is null, or -1, which Hugging Face's data sets have where labels are kept secret."""
    if column.null_count == len(column):
        return True
    text = str(column.type)
    return text.startswith("int") and column.null_count == 0 and bool((np.asarray(column) == -1).all())


def _paths(small: Any, columns: Columns) -> Any:
    """The path of every row, as one array of pyarrow; None where there are none."""
    if columns.path is None:
        return None
    column = small[columns.image]
    if str(column.type).startswith("struct"):
        names = [field.name for field in column.type]
        column = column.flatten()[names.index("path")]
    return column if column.null_count < len(column) else None


def _groups(column: Any, where: str) -> Int[np.ndarray, " N"]:
    """A number for each group; rows without one are each a group of their own."""
    codes, _ = codes_of(column, where)
    lonely = np.flatnonzero(codes < 0)
    codes[lonely] = codes.max(initial=-1) + 1 + np.arange(len(lonely))
    return codes


def _digest(labelled: Labelled, paths: Any) -> list[str]:
    """SHA-256 of labels and paths."""
    digest = hashlib.sha256(labelled.labels.astype("<i8").tobytes())
    for chunk in paths.chunks if paths is not None else ():
        for text in chunk.to_pylist():
            digest.update(f"{text}\n".encode("utf-8", "surrogateescape"))
    targets = [labelled.targets.digest] if labelled.targets is not None else []
    return [*labelled.classes, digest.hexdigest(), *targets]

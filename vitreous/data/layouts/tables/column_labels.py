"""What a column of labels says of every row: one class, several, or shares of them; without a Python object per row."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from vitreous.data.layouts.shards.shard_labels import classes_of
from vitreous.data.layouts.tables.columns import pyarrow_for
from vitreous.data.targets import Targets
from vitreous.data.words import some
from vitreous.errors import DataError

_SHOWN = 10
_SUM_TOLERANCE = 1e-3  # shares are typed with three decimals

RowName = Callable[[int], str]
"""What a person calls a row, such as train-00000-of-00001.parquet#123."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """The labels of some rows."""

    classes: tuple[str, ...]
    labels: Int[np.ndarray, " N"]
    """Places in `classes`."""
    targets: Targets | None = None
    """Where rows have several labels, or shares of them."""
    notes: tuple[str, ...] = ()
    """What was understood, where it could be something else."""


def read_labels(column: Any, names: Sequence[str] | None, row_name: RowName, where: str) -> Labelled:
    """The labels that a column holds: whole numbers, texts, lists of them, or lists of probabilities.

    Classes are in the order of `names`, where there are any; else numbers by value, and texts in natural order.
    Classes of `names` that no row has are left out, but not where rows have a number for each.

    Args:
        column: a chunked array of pyarrow.
        names: what the numbers stand for, or None.
        row_name: of each row, for errors.
        where: the column, for errors.

    Raises:
        DataError: rows have no label, or one that means nothing; the first ten are named.
    """
    arrow = pyarrow_for(where)
    types, column = arrow.types, _plain(arrow, column)
    _refuse(np.asarray(column.is_null()), "have no label", row_name, where)
    if not (types.is_list(column.type) or types.is_large_list(column.type) or types.is_fixed_size_list(column.type)):
        classes, labels, notes = _classes(arrow, column, names, np.arange(len(column)), row_name, where)
        return Labelled(classes, labels, notes=notes)
    lengths = np.asarray(arrow.compute.list_value_length(column)).astype(np.int64)
    rows, inside = np.repeat(np.arange(len(lengths)), lengths), _plain(arrow, column.flatten())
    missing = np.asarray(inside.is_null())
    _refuse(np.bincount(rows[missing], minlength=len(lengths)) > 0, "have a label that is null", row_name, where)
    if types.is_floating(inside.type):
        table = _table(lengths, np.asarray(inside).astype(np.float32, copy=False), "lists of numbers", where)
        return _shares(table, names, row_name, where)
    if names is None and types.is_integer(inside.type) and _is_multi_hot(np.asarray(inside), lengths):
        table = _table(lengths, np.asarray(inside).astype(np.float32, copy=False), "lists of 0 and 1", where)
        return _shares(table, names, row_name, where)
    classes, found, notes = _classes(arrow, inside, names, rows, row_name, where)
    double = np.zeros(len(lengths), bool)
    order = np.lexsort((found, rows))
    double[rows[order][1:][(np.diff(rows[order]) == 0) & (np.diff(found[order]) == 0)]] = True
    _refuse(double, "have a label twice", row_name, where)
    return _with_targets(classes, lengths, found, np.ones(len(found), np.float32), soft=False, notes=notes)


def codes_of(column: Any, where: str) -> tuple[Int[np.ndarray, " N"], list[Any]]:
    """A number for each different value, in the order they come, and the values; -1 for null.

    Args:
        column: a chunked array of pyarrow, of numbers or texts.
        where: the column, for errors.

    Raises:
        DataError: it holds something else.
    """
    arrow = pyarrow_for(where)
    try:
        encoded = _plain(arrow, column).dictionary_encode()
    except (arrow.ArrowInvalid, arrow.ArrowNotImplementedError) as error:
        raise DataError("a column holds neither numbers nor texts", where=where, why=f"{column.type}") from error
    return np.asarray(encoded.indices.fill_null(-1)).astype(np.int64), encoded.dictionary.to_pylist()


def _plain(arrow: Any, column: Any) -> Any:
    """One array of plain values, where there were several, or codes of a dictionary."""
    kind = column.type
    if arrow.types.is_dictionary(kind):
        kind = kind.value_type
    if arrow.types.is_string(kind) or arrow.types.is_string_view(kind):
        kind = arrow.large_string()  # more than 2 GB of texts are fine
    column = column.cast(kind) if kind != column.type else column
    if isinstance(column, arrow.ChunkedArray):
        column = arrow.concat_arrays(column.chunks) if column.num_chunks else arrow.array([], column.type)
    return column


def _classes(
    arrow: Any, column: Any, names: Sequence[str] | None, rows: Int[np.ndarray, " N"], row_name: RowName, where: str
) -> tuple[tuple[str, ...], Int[np.ndarray, " N"], tuple[str, ...]]:
    """The classes of single labels, the place of each label's class, and what to say."""
    types = arrow.types
    if types.is_floating(column.type):
        column = _whole(arrow, column, where)
    if not (types.is_integer(column.type) or types.is_large_string(column.type) or types.is_boolean(column.type)):
        raise DataError(
            "the labels are neither numbers nor texts",
            where=where,
            why=f"the type of the column is {column.type}",
            remedy="whole numbers, names of classes, or lists of them",
        )
    codes, values = codes_of(column, where)

    def refuse(bad: Sequence[bool], what: str) -> None:
        if any(bad):
            _refuse_rows(np.unique(rows[np.asarray(bad)[codes]]), what, row_name, where)

    if types.is_integer(column.type):
        refuse([value < 0 for value in values], "have a label below 0, which stands for none")
        if names is not None:
            most = f"have a label beyond the {len(names)} classes that the table names"
            refuse([value >= len(names) for value in values], most)
            return _named(codes, values, names)
    texts = [unicodedata.normalize("NFC", str(value)) for value in values]
    refuse([not text.strip() for text in texts], "have an empty label")
    different = list(dict.fromkeys(texts))  # two spellings of one text in Unicode are one class
    classes, table = classes_of(different, None, where)
    places = {text: int(place) for text, place in zip(different, table, strict=True)}
    return classes, np.array([places[text] for text in texts], np.int64)[codes], ()


def _named(
    codes: Int[np.ndarray, " N"], values: Sequence[int], names: Sequence[str]
) -> tuple[tuple[str, ...], Int[np.ndarray, " N"], tuple[str, ...]]:
    """The classes of numbers that stand for names, in the order of the names."""
    used = sorted(values)
    table = np.searchsorted(used, values).astype(np.int64)
    present = set(used)
    unused = [name for number, name in enumerate(names) if number not in present]
    said = f"no images of {len(unused):,} of {len(names):,} classes: {some(unused)}"
    return tuple(names[value] for value in used), table[codes], (said,) if unused else ()


def _whole(arrow: Any, column: Any, where: str) -> Any:
    """Whole numbers that were written as floats."""
    try:
        return column.cast(arrow.int64())
    except arrow.ArrowInvalid as error:
        raise DataError(
            "the labels are numbers with fractions",
            where=where,
            why=str(error),
            remedy="whole numbers, names of classes, or lists of probabilities, one for each class",
        ) from error


def _is_multi_hot(values: np.ndarray, lengths: Int[np.ndarray, " N"]) -> bool:
    """Whether lists of numbers say yes or no for each class: as lists of classes they would name some twice."""
    if not len(values) or values.min() < 0 or values.max() > 1 or lengths.min() != lengths.max():
        return False
    return int(lengths[0]) > 1


def _table(lengths: Int[np.ndarray, " N"], values: np.ndarray, what: str, where: str) -> np.ndarray:
    """The numbers of all rows, (N, Y), if all have as many."""
    if len(lengths) and lengths.min() != lengths.max():
        raise DataError(
            f"{what} are of different lengths, from {lengths.min()} to {lengths.max()}",
            where=where,
            why="there must be one number for each class",
        )
    return values.reshape(len(lengths), -1)


def _shares(table: np.ndarray, names: Sequence[str] | None, row_name: RowName, where: str) -> Labelled:
    """Labels from a number for each class: one-hot, shares that sum to one, or a yes or no for each."""
    num_classes = table.shape[1]
    if names is not None and len(names) != num_classes:
        raise DataError(f"there are {num_classes} numbers in a row, but {len(names)} class names", where=where)
    classes = tuple(names) if names is not None else tuple(map(str, range(num_classes)))
    if not num_classes:
        raise DataError("the lists of numbers are empty", where=where, why="there must be one for each class")
    outside = np.any(~((table >= 0) & (table <= 1)), axis=1)  # which a NaN is too
    _refuse(np.asarray(outside), "have a number that is not between 0 and 1", row_name, where)
    sums, hard = table.sum(axis=1), bool(((table == 0) | (table == 1)).all())
    if hard and (sums == 1).all():
        return Labelled(classes, table.argmax(axis=1), notes=(f"one-hot lists of {num_classes} classes",))
    rows, places = np.nonzero(table)
    lengths = np.bincount(rows, minlength=len(table))
    soft = not hard and bool((abs(sums - 1) <= _SUM_TOLERANCE).all())
    said = "shares of" if soft else "yes or no for each of" if hard else "a probability of its own for each of"
    note = f"lists are {said} {num_classes} classes"
    return _with_targets(classes, lengths, places, table[rows, places].astype(np.float32), soft=soft, notes=(note,))


def _with_targets(
    classes: tuple[str, ...],
    lengths: Int[np.ndarray, " N"],
    places: Int[np.ndarray, " E"],
    weights: np.ndarray,
    *,
    soft: bool,
    notes: tuple[str, ...],
) -> Labelled:
    targets = Targets(np.cumsum(lengths), places, weights, len(classes), soft)
    return Labelled(classes, targets.main, targets, notes)


def _refuse(bad: Bool[np.ndarray, " N"], what: str, row_name: RowName, where: str) -> None:
    _refuse_rows(np.flatnonzero(bad), what, row_name, where)


def _refuse_rows(rows: Int[np.ndarray, " n"], what: str, row_name: RowName, where: str) -> None:
    if len(rows):
        raise DataError(
            f"{len(rows):,} rows {what}",
            where=where,
            why=some([row_name(int(row)) for row in rows[:_SHOWN]], _SHOWN)
            + (f" and {len(rows) - _SHOWN:,} more" if len(rows) > _SHOWN else ""),
            remedy="give these rows a label, or leave them out of the file",
        )

"""What the cells of a manifest say of each image: a class, several, or shares of them; one way for a whole column."""

from __future__ import annotations

import itertools
import json
import math
import re
import unicodedata
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64, Int

from vitreous.data.layouts.manifests.listed_files import Faults, shown
from vitreous.data.layouts.shards.shard_labels import classes_of
from vitreous.data.targets import Targets
from vitreous.data.words import natural_key, some
from vitreous.errors import DataError

_TOLERANCE = 1e-3  # of a sum of shares; they are typed with three decimals
_SEPARATORS = "|;"
_PYTHON_LIST = re.compile(r"[\[{]\s*'")
_WHOLE_NUMBER = re.compile("-?[0-9]+")


class Cells:
    """A column of texts, each different one kept once."""

    def __init__(self) -> None:
        self.codes = array("i")
        self.texts: list[str] = []
        self._code_of: dict[str, int] = {}

    def append(self, text: str) -> None:
        """Add one.

        Args:
            text: as it is written.
        """
        code = self._code_of.setdefault(text, len(self.texts))
        if code == len(self.texts):
            self.texts.append(text)
        self.codes.append(code)


class Numbers:
    """Columns of numbers, one for each class.

    Args:
        names: of the classes.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = [unicodedata.normalize("NFC", name) for name in names]
        self._values = array("d")

    def append(self, cells: Sequence[str], line: int, faults: Faults) -> None:
        """Add a row.

        Args:
            cells: of the row, in the order of the classes.
            line: where they stand.
            faults: what is wrong with it is added here.
        """
        for name, cell in zip(self.names, cells, strict=True):
            number = number_of(cell)
            if not 0 <= number <= 1:
                faults.add(line, f"{shown(cell) or 'nothing'} in column {name}, and no number from 0 to 1")
                number = 0.0
            self._values.append(number)

    @property
    def table(self) -> Float64[np.ndarray, "N Y"]:
        """All rows."""
        return np.frombuffer(self._values, np.float64).reshape(-1, len(self.names))


def number_of(cell: str) -> float:
    """The number that a cell holds; NaN where it holds none.

    Args:
        cell: as it is written.
    """
    try:
        return float(cell)
    except ValueError:
        return math.nan


@dataclass(frozen=True, eq=False)
class Labels:
    """What N images show: for each some classes, and how much of it."""

    kind: str
    """one, several or shares."""
    ends: Int[np.ndarray, " N"]
    """Where each image's entries end; an image of kind `one` has one."""
    entries: Int[np.ndarray, " E"]
    """Places in `texts`."""
    weights: Float64[np.ndarray, " E"]
    """From 0 to 1, never 0."""
    texts: list[str]
    """What stands for the classes, as it is written."""
    ordered: bool = False
    """Whether `texts` are the classes in an order of their own, as columns are."""
    notes: list[str] = field(default_factory=list)
    """How they were understood, in words."""

    def of(
        self, places: Int[np.ndarray, " n"], known: Sequence[str] | None, where: str
    ) -> tuple[tuple[str, ...], Int[np.ndarray, " n"], Targets | None]:
        """The classes of some images, the label of each, and where they have several their targets.

        Args:
            places: of the images.
            known: all class names in the order of their numbers; None where nobody told.
            where: whose labels they are, for errors.

        Raises:
            DataError: a label could mean two classes.
        """
        starts = np.concatenate([[0], self.ends[:-1]])[places]
        counts = self.ends[places] - starts
        chosen = np.repeat(starts - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        entries, weights = self.entries[chosen], self.weights[chosen]
        there = np.unique(entries)
        classes, meant = self._classes([self.texts[code] for code in there.tolist()], known, where)
        labels = meant[np.searchsorted(there, entries)]
        if self.kind == "one":
            return classes, labels, None
        ends = np.cumsum(counts)
        targets = Targets(ends, labels, weights.astype(np.float32), len(classes), self.kind == "shares")
        return classes, targets.main, targets

    def _classes(
        self, texts: list[str], known: Sequence[str] | None, where: str
    ) -> tuple[tuple[str, ...], Int[np.ndarray, " texts"]]:
        """As `classes_of`, but without known names a label is called as it is written."""
        if known is not None:
            return classes_of(texts, known, where)
        if self.ordered:
            return tuple(texts), np.arange(len(texts))
        numbers = {text: int(text) for text in texts if _WHOLE_NUMBER.fullmatch(text)}
        same = sorted(texts, key=lambda text: (numbers.get(text, -1), natural_key(text)))
        for one, other in itertools.pairwise(same):
            if one in numbers and numbers[one] == numbers.get(other):
                raise DataError(
                    f"labels {one} and {other} are the same number", where=where, remedy="write one of them"
                )
        classes = sorted(texts, key=natural_key)
        places = {name: place for place, name in enumerate(classes)}
        return tuple(classes), np.array([places[text] for text in texts], np.int64)


def labels_from_cells(
    columns: Sequence[tuple[Cells, Sequence[int], Faults]], known: Sequence[str] | None, heading: str
) -> list[Labels]:
    """What one column says in some manifests that belong together, understood alike in all of them.

    Args:
        columns: for each manifest its cells, their lines, and where faults are added.
        known: all class names in the order of their numbers; None where nobody told.
        heading: the column's name, for what is said.

    Raises:
        DataError: the column can be read in two ways.
    """
    distinct = dict.fromkeys(text for cells, _, _ in columns for text in cells.texts)
    reader = _reader(distinct, set(known or ()), heading)
    read = {text: reader.read(text) for text in distinct}
    usable = [entries for entries in read.values() if isinstance(entries, dict)]
    kind = "one" if all(len(entries) == 1 for entries in usable) else "several"
    if any(weight < 1 for entries in usable for weight in entries.values()):
        kind = "shares"
    return [_gathered(cells, lines, faults, read, kind, known, reader.notes) for cells, lines, faults in columns]


def labels_from_numbers(columns: Sequence[tuple[Numbers, Sequence[int], Faults]]) -> list[Labels]:
    """What columns of numbers say in some manifests that belong together: one-hot, multi-hot, or shares.

    Args:
        columns: for each manifest its numbers, their lines, and where faults are added.
    """
    tables = [numbers.table for numbers, _, _ in columns]
    whole = all(bool(np.isin(table, (0, 1)).all()) for table in tables)
    if not whole:
        kind = "shares"
    elif all(bool((table.sum(axis=1) == 1).all()) for table in tables):
        kind = "one"
    else:
        kind = "several"
    found = []
    for (numbers, lines, faults), table in zip(columns, tables, strict=True):
        if kind == "shares":
            sums = table.sum(axis=1)
            for place in np.flatnonzero(np.abs(sums - 1) > _TOLERANCE).tolist():
                faults.add(lines[place], f"the shares of its classes make {sums[place]:.4g} together, and not 1")
        rows, entries = np.nonzero(table)
        ends = np.cumsum(np.bincount(rows, minlength=len(table)))
        said = [f"{len(numbers.names)} columns of classes, read as {_WORDS[kind]}"]
        found.append(Labels(kind, ends, entries, table[rows, entries], numbers.names, ordered=True, notes=said))
    return found


_WORDS = {"one": "one class an image", "several": "several classes an image", "shares": "shares of classes"}


def _gathered(
    cells: Cells,
    lines: Sequence[int],
    faults: Faults,
    read: dict[str, dict[str, float] | str],
    kind: str,
    known: Sequence[str] | None,
    notes: list[str],
) -> Labels:
    """The entries of one manifest's cells, with faults told by line."""
    named = frozenset(known or ())
    outcomes = [_checked(read[text], kind, known, named) for text in cells.texts]
    codes = np.frombuffer(cells.codes, np.int32)
    wrong = np.array([isinstance(outcome, str) for outcome in outcomes], bool)
    for place in np.flatnonzero(wrong[codes]).tolist():
        faults.add(lines[place], str(outcomes[codes[place]]))
    entries_of = [outcome if isinstance(outcome, dict) else {} for outcome in outcomes]
    code_of: dict[str, int] = {}
    flat = [code_of.setdefault(label, len(code_of)) for entries in entries_of for label in entries]
    weights = [weight for entries in entries_of for weight in entries.values()]
    lengths = np.array([len(entries) for entries in entries_of], np.int64)
    starts = np.cumsum(lengths) - lengths
    counts = lengths[codes]
    ends = np.cumsum(counts)
    chosen = np.repeat(starts[codes] - ends + counts, counts) + np.arange(counts.sum())
    said = [*notes, *([f"read as {_WORDS[kind]}"] if kind != "one" else [])]
    return Labels(kind, ends, np.array(flat, np.int64)[chosen], np.array(weights)[chosen], list(code_of), notes=said)


def _checked(
    entries: dict[str, float] | str, kind: str, known: Sequence[str] | None, named: frozenset[str]
) -> dict[str, float] | str:
    """The entries of a cell, or what is wrong with them."""
    if isinstance(entries, str):
        return entries
    if kind == "shares" and abs(sum(entries.values()) - 1) > _TOLERANCE:
        return f"the shares of its classes make {sum(entries.values()):.4g} together, and not 1"
    for label in entries:
        number = int(label) if _WHOLE_NUMBER.fullmatch(label) else None
        if number is not None and number < 0:
            return f"label {label} is below 0"
        if known is not None and label not in named and (number is None or number >= len(known)):
            return f"label {shown(label)} is none of the {len(known):,} classes that are listed ({some(known)})"
    return entries


@dataclass(frozen=True)
class _Reader:
    """How the cells of a column are read."""

    separator: str | None
    lists: bool
    """Whether some are JSON lists; all others are one label each then."""
    whole: set[str]
    """Cells that are a class as they stand."""
    notes: list[str]

    def read(self, cell: str) -> dict[str, float] | str:
        """Weights of classes, or what is wrong with the cell."""
        text = unicodedata.normalize("NFC", cell.strip())
        if not text:
            return "no label"
        if text in self.whole:
            return {text: 1.0}
        if _PYTHON_LIST.match(text):
            return f"{shown(text[:40])} is a list as Python writes it; write cat|dog, or JSON with double quotes"
        value = _json_in(text)
        if isinstance(value, dict):
            return _weights(value)
        if isinstance(value, list):
            return _several([unicodedata.normalize("NFC", str(label)) for label in value], text)
        if self.separator is None or self.lists or self.separator not in text:
            return {text: 1.0}
        return _several([part.strip() for part in text.split(self.separator)], text)


def _several(labels: Sequence[str], text: str) -> dict[str, float] | str:
    if any(not label for label in labels):
        return f"an empty label in {shown(text)}"
    if len(set(labels)) < len(labels):
        return f"a label comes twice in {shown(text)}"
    return dict.fromkeys(labels, 1.0)


def _weights(value: dict[str, object]) -> dict[str, float] | str:
    for label, number in value.items():
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= 1 or not label.strip():
            return f"{shown(label)} has the share {number!r}, and no number from 0 to 1"
    return {
        unicodedata.normalize("NFC", label): float(number)
        for label, number in value.items()
        if isinstance(number, int | float) and number > 0
    }


def _json_in(text: str) -> dict[str, object] | list[str | int] | None:
    """The JSON list of labels, or object of shares, that a cell is; None where it is neither."""
    if text[0] not in "[{":
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, list):
        plain = all(isinstance(label, str | int) and not isinstance(label, bool) for label in value)
        return value if plain else None
    return value if isinstance(value, dict) else None


def _reader(cells: Iterable[str], whole: set[str], heading: str) -> _Reader:
    """How a column is read, from all different cells in it.

    Raises:
        DataError: two signs could stand between labels.
    """
    texts = [unicodedata.normalize("NFC", cell.strip()) for cell in cells]
    plain = [text for text in texts if text and text not in whole and _json_in(text) is None]
    lists = any(text and _json_in(text) is not None for text in texts)
    if lists:
        return _Reader(None, True, whole, [])
    there = [sign for sign in _SEPARATORS if any(sign in text for text in plain)]
    if len(there) > 1:
        raise DataError(
            f"both | and ; stand in the column {heading}, and either may lie between labels",
            where=next(text for text in plain if "|" in text),
            remedy='keep one of them, or write JSON lists: ["cat","dog"]',
        )
    if there:
        return _Reader(there[0], False, whole, [f"{heading}: {there[0]} lies between labels"])
    with_commas = [text for text in plain if "," in text]
    if not with_commas:
        return _Reader(None, False, whole, [])
    alone = whole or {text for text in plain if "," not in text}
    parts = {part.strip() for text in with_commas for part in text.split(",")}
    if heading.casefold() in ("labels", "tags", "classes", "categories") or parts <= alone:
        return _Reader(",", False, whole, [f"{heading}: commas lie between labels"])
    return _Reader(None, False, whole, [f"{heading}: commas belong to the names of classes, as in {with_commas[0]}"])

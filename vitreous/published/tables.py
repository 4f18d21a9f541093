"""What a published table is made of: rows of cells, each with the number as printed and with what repeats it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from vitreous.errors import unknown_name

_NUMBER = re.compile(r"(?P<value>-?\d[\d,]*(?:\.\d+)?)(?P<scale>[kM]?)(?: ± (?P<spread>\d+(?:\.\d+)?))?")
_SCALES = {"": 1.0, "k": 1e3, "M": 1e6}


@dataclass(frozen=True, kw_only=True, slots=True)
class Repeat:
    """What gives one number again."""

    commands: tuple[str, ...] = ()
    """To be typed in this order; empty where nothing that can be typed gives the number."""
    remark: str = ""
    """What the commands do otherwise than the authors did, or why there is none; empty for most."""
    data: str = ""
    """The images that this needs, and whether anybody can have them."""
    hardware: str = ""
    """What the authors trained on, as far as they say."""
    core_days: float | None = None
    """Days of one TPUv3 core that pre-training took (Table 2 of the ViT paper)."""
    exaflops: float | None = None
    """10^18 floating-point operations of pre-training, as printed (Table 6 of the ViT paper)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One number of a table."""

    printed: str
    """As the source prints it: "88.55 ± 0.04"; a few cells hold words."""
    repeat: Repeat = field(default_factory=Repeat)

    @property
    def value(self) -> float | None:
        """The number, in the table's own unit; None for words."""
        match = _NUMBER.fullmatch(self.printed)
        return float(match["value"].replace(",", "")) * _SCALES[match["scale"]] if match else None

    @property
    def spread(self) -> float | None:
        """Its standard deviation over runs, where one is printed."""
        match = _NUMBER.fullmatch(self.printed)
        return float(match["spread"]) if match and match["spread"] else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column of a table."""

    name: str
    """Its head, and what to type after --cell."""
    about: str = ""
    """More than its head says; empty for most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row of a table."""

    name: str
    """Its head, and what to type after --cell."""
    cells: tuple[Cell | None, ...]
    """One for each column; None where the source prints nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """One published table."""

    name: str
    """What to type: vit-table2."""
    title: str
    """What it shows, in a phrase."""
    source: str
    """Paper or page, and which table of it."""
    unit: str
    """What its numbers are: "% top-1" and the like."""
    corner: str
    """What the rows are, in a word."""
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    """Sentences that belong under it."""

    def __post_init__(self) -> None:
        assert all(len(row.cells) == len(self.columns) for row in self.rows), f"{self.name} has rows of another length"
        for heads in ([row.name for row in self.rows], [column.name for column in self.columns]):
            assert len({head.casefold() for head in heads}) == len(heads), f"{self.name} has two heads of one name"

    def cells(self) -> Iterator[tuple[Row, Column, Cell]]:
        """Every cell that holds something, row by row."""
        for row in self.rows:
            for column, cell in zip(self.columns, row.cells, strict=True):
                if cell is not None:
                    yield row, column, cell

    def find(self, row: str, column: str) -> tuple[Row, Column, Cell | None]:
        """The cell where a row and a column meet; the names may be shortened while only one begins or fits so.

        Args:
            row: its head, in any case.
            column: its head, in any case.

        Raises:
            UnknownNameError: the table has none, or several, of that name; carries the nearest names.
        """
        place = _place(column, [each.name for each in self.columns], f"column of {self.name}")
        found = self.rows[_place(row, [each.name for each in self.rows], f"row of {self.name}")]
        return found, self.columns[place], found.cells[place]

    def value(self, row: str, column: str) -> float:
        """The number where a row and a column meet.

        Args:
            row: its head.
            column: its head.

        Raises:
            UnknownNameError: there is no such row, column or number.
        """
        cell = self.find(row, column)[2]
        number = None if cell is None else cell.value
        if number is None:
            numbers = [f"{one.name}, {other.name}" for one, other, each in self.cells() if each.value is not None]
            raise unknown_name(f"number in {self.name}", f"{row}, {column}", numbers)
        return number


def _place(asked: str, heads: Sequence[str], kind: str) -> int:
    folded, word = [head.casefold() for head in heads], asked.strip().casefold()
    if word in folded:
        return folded.index(word)
    # CIFAR-10 is no short form of CIFAR-100
    part = re.compile(re.escape(word) + (r"(?!\d)" if word[-1:].isdigit() else ""))
    for fits in (part.match, part.search):
        places = [place for place, head in enumerate(folded) if word and fits(head)]
        if len(places) == 1:
            return places[0]
    raise unknown_name(kind, asked, heads)


def cells(line: str) -> tuple[Cell | None, ...]:
    """Cells without commands from one line of numbers; `-` leaves a cell empty.

    Args:
        line: numbers with spaces between them, a spread behind its number after ±: "88.55±0.04 87.76±0.03 -".
    """
    words = (word.replace("±", " ± ") for word in line.split())
    return tuple(None if word == "-" else Cell(printed=word) for word in words)


def grid(text: str) -> dict[str, tuple[Cell | None, ...]]:
    """Rows of numbers as they stand under each other: a name, `|`, and the line of its numbers.

    Args:
        text: one row a line.
    """
    rows = [line.partition("|") for line in text.strip().splitlines()]
    return {name.strip(): cells(line) for name, _, line in rows}

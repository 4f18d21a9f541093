"""What `vitreous paper` tells: a published table with what was measured here, and what repeating a cell takes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnValue:
    """What was measured here beside a published number."""

    value: float
    """In the table's own unit."""
    spread: float | None
    """Standard deviation over seeds."""
    what: str
    """What was measured instead: model, data, that it is in miniature."""
    date: str
    versions: str
    command: str
    """What repeats it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperCell:
    """One published number, and how to get it again."""

    row: str
    column: str
    printed: str
    """As the source prints it."""
    value: float | None
    """The number, in the table's own unit; None for words."""
    spread: float | None
    """Its standard deviation over runs, where one is printed."""
    commands: tuple[str, ...]
    """To be typed in this order; empty where nothing that can be typed gives the number."""
    remark: str
    """What the commands do otherwise than the authors did, or why there is none."""
    data: str
    """The images that this needs, and whether anybody can have them."""
    hardware: str
    """What the authors trained on."""
    core_days: float | None
    """Days of one TPUv3 core that pre-training took, as published."""
    exaflops: float | None
    """10^18 floating-point operations of pre-training, as published."""
    computed_exaflops: float | None
    """Of all training that the commands do, counted here; None where a command trains nothing or cannot be counted."""
    h100_days: float | None
    """Days of one H100 that so many operations take at 35 % of its peak."""
    ours: OwnValue | None
    """What was measured here; None where nothing was."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperTable:
    """One published table."""

    name: str
    """What to type after `vitreous paper`."""
    title: str
    source: str
    unit: str
    """What its numbers are."""
    corner: str
    """What its rows are."""
    columns: tuple[str, ...]
    about: tuple[str, ...]
    """What each column means beyond its name; empty texts for most."""
    rows: tuple[str, ...]
    cells: tuple[PaperCell, ...]
    """Every cell that holds something, row by row."""
    notes: tuple[str, ...]

    def at(self, row: str, column: str) -> PaperCell | None:
        """The cell where a row and a column meet, or None where the source prints nothing.

        Args:
            row: exactly as in `rows`.
            column: exactly as in `columns`.
        """
        return next((cell for cell in self.cells if (cell.row, cell.column) == (row, column)), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperFiles:
    """What `vitreous paper --out` wrote."""

    html: str
    """The page."""
    figures: tuple[str, ...]
    """Each figure as .svg and as .png."""
    tables: tuple[PaperTable, ...]
    """What the page shows."""

"""What was measured here for cells of the published tables: runs in miniature on embedded images, and what is small.

The numbers lie in `measured.json`, a list of objects with the fields of `Measured`; the run that measured writes it.
"""

from __future__ import annotations

import functools
import importlib.resources
import json
from dataclasses import dataclass

from vitreous.schema import from_json


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """A number of ours that belongs beside a published one."""

    table: str
    """Which table: vit-table8."""
    row: str
    """The row's name in it."""
    column: str
    """The column's name in it."""
    value: float
    """In the table's own unit: percent where it prints percent."""
    spread: float | None = None
    """Standard deviation over seeds."""
    what: str
    """What was measured instead of what the paper measured: "ViT of 4 blocks, 64 wide, on mnist-5k, in miniature"."""
    date: str = ""
    """When, as 2026-11-30."""
    versions: str = ""
    """With which vitreous and PyTorch."""
    command: str = ""
    """What repeats it."""


@functools.cache
def measured() -> tuple[Measured, ...]:
    """Everything measured here; empty where nothing was written yet.

    Raises:
        ConfigError: the file is not as this module describes it.
    """
    file = importlib.resources.files("vitreous.published").joinpath("measured.json")
    if not file.is_file():
        return ()
    return tuple(from_json(Measured, entry) for entry in json.loads(file.read_text(encoding="utf-8")))


def measured_at(table: str, row: str, column: str) -> Measured | None:
    """What was measured here for one cell.

    Args:
        table: its name.
        row: name of the row, in any case.
        column: name of the column, in any case.
    """
    asked = (table.casefold(), row.casefold(), column.casefold())
    same = (one for one in measured() if (one.table.casefold(), one.row.casefold(), one.column.casefold()) == asked)
    return next(same, None)

"""What the page of published tables is made of: tables, figures, and what repeats each number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vitreous.report.chart import figure
from vitreous.report.content import Command
from vitreous.report.paper_charts import PaperChart
from vitreous.results.paper import PaperCell, PaperTable


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperReport:
    """Everything the page shows."""

    title: str
    summary: str
    """One sentence under the title."""
    tables: tuple[PaperTable, ...]
    charts: tuple[PaperChart, ...]
    command: str
    written: str = ""
    next_steps: tuple[Command, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Together:
    """Cells of one table that the same commands repeat."""

    where: str
    """Which cells, in words."""
    cell: PaperCell
    """One of them."""


def repeats(table: PaperTable) -> tuple[Together, ...]:
    """What repeats the cells of a table, cells with the same commands together.

    Args:
        table: with its cells.
    """
    kinds: dict[tuple[Any, ...], list[PaperCell]] = {}
    for cell in table.cells:
        kinds.setdefault((cell.commands, cell.remark, cell.data), []).append(cell)
    return tuple(Together(where=_where(table, cells), cell=cells[0]) for cells in kinds.values())


def needs(cell: PaperCell) -> list[str]:
    """What repeating a cell takes: data, operations and days, each a phrase.

    Args:
        cell: of a table.
    """
    said = [cell.data] if cell.data else []
    if cell.core_days is not None:
        said.append(f"pre-training took the authors {cell.core_days:,.0f} TPUv3-core-days")
    if cell.exaflops is not None:
        said.append(f"{cell.exaflops:,.0f} exaFLOPs as published")
    if cell.computed_exaflops is not None and cell.h100_days is not None:
        said.append(f"{_few(cell.computed_exaflops)} exaFLOPs by these commands, {_time(cell.h100_days)} of one H100")
    return said


def _few(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"


def _time(days: float) -> str:
    if days >= 2:
        return f"about {days:,.0f} days"
    return f"about {24 * days:.0f} hours" if 24 * days >= 1.5 else f"about {max(1.0, 24 * 60 * days):.0f} minutes"


def _where(table: PaperTable, cells: list[PaperCell]) -> str:
    rows, columns = (list(dict.fromkeys(names)) for names in zip(*((c.row, c.column) for c in cells), strict=True))
    if len(cells) == len(table.cells):
        return "every number"
    if len(columns) == 1 and len(rows) > 1:
        every = len(rows) == sum(cell.column == columns[0] for cell in table.cells)
        return f"{columns[0]}: {'every row' if every else _some(rows)}"
    if len(rows) == 1 and len(columns) > 1:
        every = len(columns) == sum(cell.row == rows[0] for cell in table.cells)
        return f"{rows[0]}: {'every column' if every else _some(columns)}"
    if len(rows) == len(columns) == 1:
        return f"{rows[0]}, {columns[0]}: {cells[0].printed}"
    if len(rows) * len(columns) == len(cells):
        return f"{_some(columns)}: {_some(rows)}"
    return "; ".join(f"{row}: {_some(c.column for c in cells if c.row == row)}" for row in rows)


def _some(names: Iterable[str]) -> str:
    known = list(names)
    more = f" and {len(known) - 4} more" if len(known) > 4 else ""
    return ", ".join(known[:4]) + more


def paper_view(report: PaperReport) -> dict[str, Any]:
    """Values for `paper.html.j2`.

    Args:
        report: what to show.
    """
    measured = sum(cell.ours is not None for table in report.tables for cell in table.cells)
    return {
        "title": report.title,
        "summary": report.summary,
        "written": report.written,
        "figures": [(each.name, figure(each.chart), each.words) for each in report.charts],
        "tables": [_table(table) for table in report.tables],
        "single": len(report.tables) == 1,
        "numbers": sum(len(table.cells) for table in report.tables),
        "measured": measured,
        "command": report.command,
        "next_steps": report.next_steps,
    }


def _table(table: PaperTable) -> dict[str, Any]:
    cells = {(cell.row, cell.column): cell for cell in table.cells}
    return {
        "id": table.name,
        "title": table.title,
        "source": table.source,
        "unit": table.unit,
        "corner": table.corner,
        "columns": list(zip(table.columns, table.about, strict=True)),
        "rows": [(row, [cells.get((row, column)) for column in table.columns]) for row in table.rows],
        "notes": table.notes,
        "ours": [cell for cell in table.cells if cell.ours is not None],
        "repeats": [{"where": each.where, "cell": each.cell, "needs": needs(each.cell)} for each in repeats(table)],
    }

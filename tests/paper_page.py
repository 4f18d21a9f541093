"""The page of published numbers, docs/paper.md, made of the tables themselves; run as a script, this writes it."""

from __future__ import annotations

import re
from pathlib import Path

from vitreous.report.paper import repeats
from vitreous.results.paper import PaperCell, PaperTable
from vitreous.study.paper import paper

PAGE = Path(__file__).resolve().parent.parent / "docs" / "paper.md"


def page() -> str:
    """All tables in Markdown, each with what repeats it."""
    lines = [
        "# The published numbers",
        "",
        "Every table of the Vision Transformer paper, AugReg's settings and scores, VTAB's public leaderboard, and",
        "what others reached with models that are built here. Under each table stands what repeats it; which number",
        "takes how many operations, days and whose data, `vitreous paper TABLE --commands` tells. None of the printed",
        "numbers was repeated here; where something was measured here, it stands beside the number as `ours`. The",
        "paper's comparisons are run in miniature, on embedded images, by `vitreous paper --miniature`, which writes a",
        "page of its own.",
        "Written by `python tests/paper_page.py`.",
    ]
    for table in paper():
        lines += ["", f"## {table.name}: {table.title}", "", f"{table.source}. {table.unit}.", "", *_grid(table)]
        lines += ["", *_under(table)] if _under(table) else []
        lines += ["", "<details><summary>What repeats these numbers</summary>", "", *_commands(table), "</details>"]
    return "\n".join(lines) + "\n"


def _grid(table: PaperTable) -> list[str]:
    cells = {(cell.row, cell.column): cell for cell in table.cells}
    lines = [f"| {table.corner} | {' | '.join(table.columns)} |", "|---|" + "---:|" * len(table.columns)]
    for row in table.rows:
        lines.append(f"| {row} | {' | '.join(_text(cells.get((row, column))) for column in table.columns)} |")
    return [line.replace("*", "\\*") for line in lines]


def _text(cell: PaperCell | None) -> str:
    if cell is None:
        return "-"
    return cell.printed if cell.ours is None else f"{cell.printed}, ours {cell.ours.value:g}"


def _under(table: PaperTable) -> list[str]:
    about = [f"{column}: {words}" for column, words in zip(table.columns, table.about, strict=True) if words]
    lines = ["; ".join(about) + "."] if about else []
    ours = {cell.ours.what: cell.ours.command for cell in table.cells if cell.ours is not None}
    lines += [note.replace("*", "\\*") for note in table.notes]
    return lines + [f"Ours: {what}{f' (`{command}`)' if command else ''}." for what, command in ours.items()]


def _commands(table: PaperTable) -> list[str]:
    """Each command once, under the first numbers that it helps to repeat; then data, and why others have none."""
    said: set[str] = set()
    script, without, data = [], [], []
    for each in repeats(table):
        cell = each.cell
        data += [cell.data] if cell.data else []
        if not cell.commands:
            without.append(f"- {each.where}: no command: {cell.remark}.")
            continue
        lines = [line for line in cell.commands if line not in said]
        said |= set(lines)
        script += [f"# {each.where}", *lines] if lines else []
    lines = ["```sh", *script, "```", ""] if script else []
    lines += [*without, ""] if without else []
    remarks = dict.fromkeys(cell.remark for cell in table.cells if cell.remark and cell.commands)
    lines += [f"{remark[0].upper()}{remark[1:]}.\n" for remark in remarks]
    needed = dict.fromkeys(name for names in data for name in re.split(r", (?![^(]*\))", names))
    lines += [f"Needs {', '.join(needed)}.", ""] if needed else []
    return [line.replace("*", "\\*") if not line.startswith(("#", "vitreous")) else line for line in lines]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

"""The verb `paper`: the published tables, what repeats each number, and the paper's comparisons in miniature."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vitreous import console
from vitreous.cli.answer import NOTHING_WRITTEN, Answer, Common
from vitreous.cli.flags import option, positional
from vitreous.cli.words import columns, command, harmless, next_steps, table
from vitreous.errors import UsageError
from vitreous.results.paper import PaperCell, PaperTable

_WIDTH = 100  # of a terminal
_PAPERS = (
    ("vit-table", "the Vision Transformer paper"),
    ("augreg", "AugReg"),
    ("vtab", "VTAB"),
    ("", "others, for models that are built here"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Paper:
    """The published tables, each number with the command that repeats it.

    Without a name the list of tables. Beside a published number stands what was
    measured here, where something was. With --miniature the paper's comparisons
    are run on embedded images, on this machine.
    """

    table: str | None = positional(None)
    """One table: vit-table2, augreg-table3, vtab-leaderboard and the like; left out, the list of them all."""
    cell: tuple[str, ...] = option((), metavar="ROW COLUMN")
    """One number of the table: its row and its column, in as few letters as tell them from the others."""
    commands: bool = False
    """Show what repeats each number, and what data, hardware and days that takes."""
    out: str | None = option(None, metavar="DIR")
    """Write paper.html here, and every figure as SVG and PNG; with --miniature its report."""
    miniature: bool = False
    """Run the paper's comparisons in miniature, in under an hour on two CPU cores; stopped runs go on."""
    only: tuple[str, ...] = option((), metavar="STUDY...")
    """With --miniature: these comparisons alone."""
    seeds: int | None = None
    """With --miniature: how often everything is trained; 3 unless given."""
    threads: int | None = None
    """With --miniature: processes at work, each with one thread; by default one for each core."""
    minutes: float | None = None
    """With --miniature: stop after so long; the same command goes on."""
    dry_run: bool = False
    """With --miniature: print the plan, and stop before anything is written."""
    common: Common = field(default_factory=Common)

    def __post_init__(self) -> None:
        for name in ("seeds", "threads", "minutes"):
            if (value := getattr(self, name)) is not None and value <= 0:
                raise UsageError(f"--{name} must be above 0, got {value}")
        if self.miniature and (self.table or self.cell or self.commands):
            raise UsageError(
                "--miniature runs all comparisons, and takes no table", remedy="vitreous paper --miniature"
            )
        if not self.miniature:
            for name in ("only", "seeds", "threads", "minutes", "dry_run"):
                if getattr(self, name):
                    flag = f"--{name.replace('_', '-')}"
                    raise UsageError(f"{flag} goes with --miniature", remedy=f"vitreous paper --miniature {flag}")
        if self.cell and len(self.cell) != 2:
            raise UsageError(
                f"--cell takes a row and a column, got {len(self.cell)} words",
                why="names with spaces need quotes",
                remedy='vitreous paper vit-table2 --cell CIFAR-100 "L/16 JFT"',
            )
        if self.table is None and (self.cell or self.commands):
            flag = "--cell" if self.cell else "--commands"
            raise UsageError(f"{flag} needs the table", remedy=f"vitreous paper vit-table2 {flag}")
        if self.out is not None and self.cell:
            raise UsageError("--out writes whole tables", remedy="leave --cell out")

    def answer(self) -> Answer:
        """Show, write or run what was asked for."""
        if self.miniature:
            return self._miniature()
        if self.table is None and self.out is None:
            return _list()
        from vitreous.study.paper import paper, paper_cell, write_paper

        if self.out is not None:
            files = write_paper(self.out, self.table, command=self._typed())
            console.say(f"page     {harmless(files.html)}", *(f"figure   {harmless(path)}" for path in files.figures))
            console.say(*next_steps(("vitreous paper vit-table2 --commands", "what repeats each number of a table")))
            return Answer(value=files)
        (found,) = paper(self.table)
        if self.cell:
            one = paper_cell(found.name, *self.cell)
            console.say(*_one(found, one))
            return Answer(value=one)
        console.say(*_head(found), *shown(found), *_under(found))
        if self.commands:
            console.say(*_all_commands(found))
        else:
            console.say(*next_steps(*_next(found)))
        return Answer(value=found)

    def _miniature(self) -> Answer:
        from vitreous.study.miniature.run import SEEDS, miniature, plan

        seeds = self.seeds or SEEDS
        if self.dry_run:
            lines = plan(seeds=seeds, threads=self.threads, only=self.only)
            console.say(*lines, *NOTHING_WRITTEN)
            return Answer(value={"plan": lines})
        done = miniature(self.out, seeds=seeds, threads=self.threads, minutes=self.minutes, only=self.only)
        page = Path(self.out or "runs/miniature") / "report.html"
        console.say("", f"page  {harmless(str(page))}")
        console.say(*next_steps(("vitreous paper vit-table8", "a published table, with what was measured here")))
        return Answer(value=done)

    def _typed(self) -> str:
        return command("paper", *([self.table] if self.table else []), "--out", Path(self.out or ""))


def _list() -> Answer:
    """A line for each table, under the paper it is from."""
    from vitreous.published.find import published_tables
    from vitreous.published.measured import measured

    brief: list[dict[str, str | int]] = [
        {
            "name": one.name,
            "title": one.title,
            "source": one.source,
            "unit": one.unit,
            "numbers": sum(1 for _ in one.cells()),
            "ours": sum(own.table == one.name for own in measured()),
        }
        for one in published_tables()
    ]
    left = list(brief)
    for prefix, title in _PAPERS:
        here = [one for one in left if str(one["name"]).startswith(prefix)]
        left = [one for one in left if one not in here]
        rows = [(str(one["name"]), str(one["numbers"]), _titled(one)) for one in here]
        console.say(title, *table(rows, right=(1,)), "")
    console.say(f"  {len(brief)} tables: name, how many numbers, what they are")
    console.say(
        *next_steps(
            ("vitreous paper vit-table2", "one of them"),
            ("vitreous paper --out paper/", "all of them as a page, with figures"),
            ("vitreous paper --miniature", "the paper's comparisons, run here on embedded images"),
        )
    )
    return Answer(value=brief)


def _titled(one: dict[str, str | int]) -> str:
    return f"{one['title']} ({one['ours']} of ours)" if one["ours"] else str(one["title"])


def _head(found: PaperTable) -> list[str]:
    return [f"{found.name}: {found.title}", *_wrapped(found.source, 0), found.unit, ""]


def shown(found: PaperTable) -> list[str]:
    """The table in lines of at most 100 columns: where it is wider, its columns come in several pieces.

    Args:
        found: with its cells.
    """
    cells = {(cell.row, cell.column): cell for cell in found.cells}
    stripes: list[list[str]] = []
    for column in found.columns:
        texts = [_text(cells.get((row, column))) for row in found.rows]
        stripes.append([*_heads(column, max(map(columns, texts))), *texts])
    lines: list[str] = []
    for piece in _pieces(stripes, 2 + max(map(columns, (found.corner, *found.rows)))):
        tall = max(map(len, piece))  # heads stand on the numbers
        first = [*[""] * (tall - len(found.rows) - 1), found.corner, *found.rows]
        level = [[*[""] * (tall - len(stripe)), *stripe] for stripe in piece]
        lines += [
            *([""] if lines else []),
            *table(list(zip(first, *level, strict=True)), right=range(1, 1 + len(level))),
        ]
    return lines


def _heads(name: str, wide: int) -> list[str]:
    """A column's name in as many lines as keep it no wider than its numbers, or than its longest word."""
    return textwrap.wrap(name, max(wide, *map(columns, name.split())), break_on_hyphens=False)


def _pieces(stripes: Sequence[list[str]], left: int) -> list[list[list[str]]]:
    """Columns in pieces that fit beside the names of the rows, which take `left`."""
    pieces: list[list[list[str]]] = [[]]
    room = _WIDTH - left
    for stripe in stripes:
        wide = 2 + max(map(columns, stripe))
        if pieces[-1] and wide > room:
            pieces.append([])
            room = _WIDTH - left
        pieces[-1].append(stripe)
        room -= wide
    return pieces


def _text(cell: PaperCell | None) -> str:
    """What stands in a cell, our own number behind the published one."""
    if cell is None:
        return "-"
    return cell.printed if cell.ours is None else f"{cell.printed} | ours {_value(cell)}"


def _value(cell: PaperCell) -> str:
    assert cell.ours is not None
    digits = 4 if abs(cell.ours.value) < 1 else 2
    spread = "" if cell.ours.spread is None else f" ± {cell.ours.spread:.{digits}f}"
    return f"{cell.ours.value:.{digits}f}{spread}"


def _under(found: PaperTable) -> list[str]:
    """What belongs under a table: what its columns mean, its notes, and what of it is ours."""
    lines = [f"{column}: {about}" for column, about in zip(found.columns, found.about, strict=True) if about]
    lines += found.notes
    wrapped = [part for line in lines for part in _wrapped(line, 2)]
    told: dict[tuple[str, str, str, str], None] = {}
    for cell in found.cells:
        if cell.ours is not None:
            told[cell.ours.what, cell.ours.date, cell.ours.versions, cell.ours.command] = None
    for what, date, versions, line in told:
        first = f"ours: {', '.join(filter(None, (what, date, versions)))}"
        wrapped += [*_wrapped(first, 2), *([f"      {line}"] if line else [])]
    return ["", *(f"  {line}" for line in wrapped)] if wrapped else []


def _all_commands(found: PaperTable) -> list[str]:
    from vitreous.report.paper import repeats

    lines = ["", "What repeats these numbers"]
    for each in repeats(found):
        lines += ["", *(f"  {line}" for line in _wrapped(each.where, 2)), *_how(each.cell)]
    return lines


def _one(found: PaperTable, cell: PaperCell) -> list[str]:
    lines = [f"{found.name}: {cell.row}, {cell.column}", "", f"  printed  {cell.printed}  ({found.unit})"]
    if cell.ours is not None:
        lines += [f"  ours     {_value(cell)}", *(f"           {line}" for line in _wrapped(cell.ours.what, 11))]
    return [*lines, *(f"  {line}" for line in _wrapped(f"source   {found.source}", 2)), "", *_how(cell)]


def _how(cell: PaperCell) -> list[str]:
    """Commands, what they do otherwise, and what they need."""
    from vitreous.report.paper import needs

    lines = [f"      {line}" for line in cell.commands]
    why = cell.remark if cell.commands else f"no command: {cell.remark}"
    needed = needs(cell)
    for text in ([why] if why else []) + ([f"needs {'; '.join(needed)}"] if needed else []):
        lines += [f"          {line}" for line in _wrapped(text, 10)]
    return lines


def _wrapped(text: str, indent: int) -> list[str]:
    """Lines that fit behind an indent; words keep their hyphens."""
    return textwrap.wrap(text, _WIDTH - indent, break_on_hyphens=False)


def _next(found: PaperTable) -> list[tuple[str, str]]:
    some = next((cell for cell in found.cells if cell.commands), found.cells[0])
    return [
        (command("paper", found.name, "--commands"), "what repeats each of these numbers, and what it takes"),
        (command("paper", found.name, "--cell", some.row, some.column), "the same for one of them"),
        (command("paper", found.name, "--out", "paper/"), "as a page"),
    ]

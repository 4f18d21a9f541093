"""Published tables beside what was measured here, and what each number takes to repeat: data, operations, days.

Operations are counted from the commands themselves: recipe, model and data set are those that a cell tells to type.
"""

from __future__ import annotations

import dataclasses
import functools
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from vitreous.architecture import Architecture
from vitreous.config import Recipe
from vitreous.cost.budget import as_trained, budget, find_data_set
from vitreous.cost.hardware import ASSUMED, DEVICES
from vitreous.errors import UsageError
from vitreous.files import cannot_write
from vitreous.pretrained import find_pretrained, is_pretrained_name
from vitreous.published.find import find_table, published_tables
from vitreous.published.measured import measured_at
from vitreous.published.tables import Cell, Column, Row, Table
from vitreous.published.vtab import TASKS
from vitreous.recipe import find_recipe, hyperrule
from vitreous.report.chart import save
from vitreous.report.content import Command
from vitreous.report.html import write_paper_report
from vitreous.report.paper import PaperReport
from vitreous.report.paper_charts import charts
from vitreous.results.paper import OwnValue, PaperCell, PaperFiles, PaperTable
from vitreous.zoo import find_model, is_model_name

_DAY = 86_400
_VTAB_RUNS = 3  # of each task, unless --seeds says otherwise


def paper(name: str | None = None) -> tuple[PaperTable, ...]:
    """Published tables, each cell with our own value where there is one, and with what repeating it takes.

    Args:
        name: of one table, such as `vit-table2`; all of them where none is given.

    Raises:
        UnknownNameError: no published table has that name.
    """
    return tuple(_joined(table) for table in (published_tables() if name is None else (find_table(name),)))


def paper_cell(table: str, row: str, column: str) -> PaperCell:
    """One cell of a published table.

    Args:
        table: its name.
        row: name of the row, or as much of it as tells it from the others.
        column: name of the column, likewise.

    Raises:
        UnknownNameError: there is no such table, row or column; carries the nearest names.
        UsageError: the source prints nothing there.
    """
    found = find_table(table)
    in_row, in_column, cell = found.find(row, column)
    if cell is None:
        raise UsageError(
            f"{found.name} prints nothing for {in_row.name}, {in_column.name}", remedy=f"vitreous paper {found.name}"
        )
    return _cell(found, in_row, in_column, cell)


def write_paper(out: str | Path, name: str | None = None, *, command: str | None = None) -> PaperFiles:
    """Write paper.html with the tables, and every figure as SVG and PNG beside it.

    Args:
        out: the folder; it is made where it is not there, and files of an earlier call are replaced.
        name: of one table; all of them where none is given.
        command: what was typed, for the page.

    Raises:
        UnknownNameError: no published table has that name.
        ResourceError: a file cannot be written.
    """
    tables, target = paper(name), Path(out)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise cannot_write(target, 0, error) from error
    shown = charts(None if name is None else tables[0].name)
    files = [str(path) for each in shown for path in save(each.chart, target, each.name)]
    single = tables[0] if name is not None else None
    report = PaperReport(
        title="The published numbers" if single is None else single.title,
        summary="Every table of the Vision Transformer paper, AugReg's settings and scores, VTAB's leaderboard, and"
        " what others reached, with what repeats each number."
        if single is None
        else f"{single.source}.",
        tables=tables,
        charts=shown,
        command=command or f"vitreous paper{'' if single is None else f' {single.name}'} --out {shlex.quote(str(out))}",
        written=time.strftime("%Y-%m-%d %H:%M"),
        next_steps=(
            Command(text="vitreous paper vit-table2 --commands", explained="what repeats each number of one table"),
            Command(text="vitreous paper --miniature", explained="the paper's comparisons, run here in miniature"),
        ),
    )
    html = write_paper_report(target / "paper.html", report)
    return PaperFiles(html=str(html), figures=tuple(files), tables=tables)


def _joined(table: Table) -> PaperTable:
    return PaperTable(
        name=table.name,
        title=table.title,
        source=table.source,
        unit=table.unit,
        corner=table.corner,
        columns=tuple(column.name for column in table.columns),
        about=tuple(column.about for column in table.columns),
        rows=tuple(row.name for row in table.rows),
        cells=tuple(_cell(table, row, column, cell) for row, column, cell in table.cells()),
        notes=table.notes,
    )


def _cell(table: Table, row: Row, column: Column, cell: Cell) -> PaperCell:
    again, here = cell.repeat, measured_at(table.name, row.name, column.name)
    work = training_flops(again.commands)
    return PaperCell(
        row=row.name,
        column=column.name,
        printed=cell.printed,
        value=cell.value,
        spread=cell.spread,
        commands=again.commands,
        remark=again.remark,
        data=again.data,
        hardware=again.hardware,
        core_days=again.core_days,
        exaflops=again.exaflops,
        computed_exaflops=None if work is None else work / 1e18,
        h100_days=None if work is None else work / (DEVICES["h100"].peak * ASSUMED * _DAY),
        ours=None
        if here is None
        else OwnValue(
            value=here.value,
            spread=here.spread,
            what=here.what,
            date=here.date,
            versions=here.versions,
            command=here.command,
        ),
    )


@functools.cache
def training_flops(commands: tuple[str, ...]) -> int | None:
    """Floating-point operations of all training that some commands do; None for none, or where one cannot be counted.

    Args:
        commands: as a cell tells them, in their order: a run folder stands for the model trained before.
    """
    runs: dict[str, Architecture] = {}
    total = 0
    for line in commands:
        _, verb, data, *words = shlex.split(line)
        if verb in ("cost", "models", "paper"):
            return None
        flags = _flags(words)
        if verb == "vtab":
            config, recipe = runs.get(data) or _model(data), find_recipe("paper-finetune-vtab", "finetune")
            times = len(TASKS) * _VTAB_RUNS
            if "protocol" in flags:  # a sweep, whose length is its own business
                return None
        elif verb in ("pretrain", "finetune"):
            config, recipe = runs.get(flags["model"]) or _model(flags["model"]), find_recipe(flags["recipe"], verb)
            times = 1 + len(recipe.sweep) if "--sweep" in words else 1
            if config is not None and "run" in flags:
                runs[flags["run"]] = config
        else:
            continue  # forward passes alone: nothing beside the training
        work = None if config is None else _work(config, recipe, data, flags.get("epochs"), flags.get("image-size"))
        if work is None:
            return None
        total += times * work
    return total or None


def _flags(words: Sequence[str]) -> dict[str, str]:
    """Values by flag, of a command that is known to be right; a flag without a value has none."""
    pairs = zip(words, [*words[1:], "--"], strict=True)
    return {word[2:]: value for word, value in pairs if word.startswith("--") and not value.startswith("--")}


@functools.cache
def _model(name: str) -> Architecture | None:
    """The architecture of published weights, or by name; None where it is not one of the zoo's."""
    if is_model_name(name):
        return find_model(name)
    architecture = find_pretrained(name).architecture if is_pretrained_name(name) else ""
    return find_model(architecture) if is_model_name(architecture) else None


@functools.cache
def _work(config: Architecture, recipe: Recipe, data: str, epochs: str | None, pixels: str | None) -> int | None:
    """Operations of one run; None where nobody knows of how many images."""
    if epochs is not None:
        recipe = dataclasses.replace(recipe, epochs=float(epochs), steps=None)
    if pixels is not None:
        recipe = dataclasses.replace(recipe, image_size=(int(pixels), int(pixels)))
    known = find_data_set(data.rstrip("/")) if data.endswith("/") else None
    if known is None and recipe.steps is None:
        return None
    images, classes = known or (0, None)
    if recipe.name == "bit-hyperrule":  # which is another for each number of images
        if known is None:
            return None
        recipe = hyperrule(images, recipe.image_size or config.image_size)
    size, patch = recipe.image_size, getattr(config, "stride", (1, 1))
    if size is not None and any(side % each for side, each in zip(size, patch, strict=True)):
        smaller = (size[0] // patch[0] * patch[0], size[1] // patch[1] * patch[1])
        recipe = dataclasses.replace(recipe, image_size=smaller)
    return budget(as_trained(config, recipe, classes), recipe, images).flops

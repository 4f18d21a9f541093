"""The files of a run of VTAB: vtab.json, vtab.csv, vtab.md, vtab.tex, vtab.svg, vtab.png and report.html."""

from __future__ import annotations

import csv
import io
import json
import platform
import time
from pathlib import Path

import torch

import vitreous
from vitreous.files import write_text
from vitreous.report.chart import save
from vitreous.report.content import Command
from vitreous.report.html import write_vtab_report
from vitreous.report.vtab import VtabReport, chart, latex, markdown
from vitreous.report.words import spreadsheet_cell
from vitreous.results import VtabResult
from vitreous.schema import to_json
from vitreous.study.vtab.beside import published

_COLUMNS = ("task", "group", "seed", "setting", "chosen_by", "val", "test", "n_test", "expected", "regenerated", "run")


def write_files(result: VtabResult, out: Path, command: str, next_steps: tuple[Command, ...]) -> None:
    """Write everything that can be read of a result, each file whole or not at all.

    Args:
        result: with at least one score.
        out: a folder that exists.
        command: what to type to do this again.
        next_steps: for the page.

    Raises:
        ResourceError: a file cannot be written.
    """
    beside = published("full" if result.vtab == "full" else "1k")
    write_text(out / "vtab.json", json.dumps(to_json(result), indent=1) + "\n")
    write_text(out / "vtab.csv", as_csv(result))
    write_text(out / "vtab.md", markdown(result, beside))
    write_text(out / "vtab.tex", latex(result, beside))
    save(chart(result, beside), out, "vtab")
    report = VtabReport(
        result=result,
        beside=beside,
        command=command,
        environment={
            "vitreous": vitreous.__version__,
            "Python": platform.python_version(),
            "PyTorch": torch.__version__,
            "system": f"{platform.system()} {platform.machine()}",
        },
        written=time.strftime("%Y-%m-%d %H:%M"),
        next_steps=next_steps,
    )
    write_vtab_report(out / "report.html", report)


def as_csv(result: VtabResult) -> str:
    """One row for each task and seed; accuracies are fractions.

    Args:
        result: whose runs to list.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_COLUMNS)
    for each in result.details:
        for run in each.runs:
            rows.writerow(
                [
                    each.task,
                    each.group,
                    run.seed,
                    spreadsheet_cell(run.setting),
                    run.chosen_by,
                    "" if run.val is None else f"{run.val:.6f}",
                    f"{run.top1:.6f}",
                    run.seen,
                    run.expected,
                    int(each.regenerated),
                    spreadsheet_cell(run.run),
                ]
            )
    return text.getvalue()

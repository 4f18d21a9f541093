"""A score on one of ImageNet's variants as files: report.html, robustness.json, a table, and the chart."""

from __future__ import annotations

import json
import platform
import time
from pathlib import Path
from typing import Literal

import torch

import vitreous
from vitreous.evaluation.robustness import evaluate_variant
from vitreous.evaluation.severities import SEVERITIES
from vitreous.files import write_text
from vitreous.predict import Model, Predictor
from vitreous.report.chart import save
from vitreous.report.content import Command
from vitreous.report.html import write_robustness_report
from vitreous.report.robustness import RobustnessReport, chart, markdown
from vitreous.results.robustness import RobustnessResult
from vitreous.schema import to_json
from vitreous.study.folder import result_folder

_SCORES = "robustness.json"


def score_variant(
    name: str,
    model: Model | Predictor,
    root: str | Path,
    *,
    out: str | Path | None = None,
    clean: bool = True,
    called: str | None = None,
    device: str = "auto",
    precision: Literal["float32", "bfloat16"] = "float32",
    batch_size: int | None = None,
    command: str = "",
    next_steps: tuple[Command, ...] = (),
) -> RobustnessResult:
    """A model's score on ImageNet or one of its variants, with a page that shows it.

    Args:
        name: as `variant_names` lists them.
        model: whatever `Predictor` takes, or one that is ready.
        root: the folder of the data set, or one above.
        out: folder for the page and the other files; ImageNet-C's scores are kept there as they come, so that a run
            that was stopped goes on. None writes nothing.
        clean: whether to score the validation images as well, where they are there.
        called: what to call the model.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        precision: of the matrix products.
        batch_size: images per forward pass.
        command: what was typed, for the page.
        next_steps: for the page.

    Raises:
        UnknownNameError: there is no variant of that name.
        UsageError: the model does not answer with ImageNet's thousand classes.
        DataError: the images are not there, are something else, or not one of them can be read.
        ResourceError: a file cannot be written.
    """
    folder = None if out is None else result_folder(Path(out), _SCORES, SEVERITIES)
    result = evaluate_variant(
        name,
        model,
        root,
        device=device,
        precision=precision,
        batch_size=batch_size,
        clean=clean,
        called=called,
        keep=folder,
    )
    if folder is not None:
        _write(result, folder, command, next_steps)
    return result


def _write(result: RobustnessResult, folder: Path, command: str, next_steps: tuple[Command, ...]) -> None:
    write_text(folder / _SCORES, json.dumps(to_json(result), indent=1) + "\n")
    write_text(folder / "robustness.md", markdown(result))
    save(chart(result), folder, "robustness")
    report = RobustnessReport(
        result=result,
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
    write_robustness_report(folder / "report.html", report)

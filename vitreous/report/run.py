"""The values that fill a run's page: everything it says that is worked out from its report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vitreous.console import duration
from vitreous.report.content import (
    MISTAKES_SHOWN,
    DataSheet,
    RunReport,
)
from vitreous.report.facts import model_facts, recipe_facts
from vitreous.report.figure import reliability_diagram
from vitreous.report.pieces import (
    attended,
    exhibit_view,
    failures_view,
    headline_view,
    matrix_view,
    mistakes_in_words,
    rests_on,
    row_view,
    training_charts,
    weakness,
)
from vitreous.report.words import (
    calibration_in_words,
    name,
    percent,
    points,
    reliability,
    sentence,
)
from vitreous.results import EpochRecord

_RECORDS_SHOWN = 120


def run_view(report: RunReport) -> dict[str, Any]:
    """Values for `run.html.j2`.

    Args:
        report: what to show.
    """
    evaluation = report.evaluation
    classes = evaluation.classes
    mistakes = [exhibit_view(exhibit, classes) for exhibit in report.mistakes[:MISTAKES_SHOWN]]
    looks = [exhibit_view(exhibit, classes) for exhibit in attended(report.looks)]
    return {
        "title": name(report.title),
        "summary": report.summary,
        "written": report.written,
        "links": _run_links(report),
        "random_weights": report.random_weights,
        "optimistic": report.result.optimistic,
        "optimistic_because": report.optimistic_because.rstrip("."),
        **headline_view(evaluation),
        "comparison": _comparison(report),
        "rests_on": rests_on(evaluation),
        "small_facts": _small_facts(report),
        "failed": failures_view(evaluation.failed),
        "mistakes": mistakes,
        "mistakes_words": mistakes_in_words(evaluation),
        "any_attention": any(exhibit["overlay"] for exhibit in mistakes),
        "looks": looks,
        "all_right": all(exhibit["right"] for exhibit in looks),
        "matrix": matrix_view(evaluation),
        "classes": sorted(evaluation.per_class, key=weakness),
        "reliability": reliability_diagram(reliability(evaluation)),
        "calibration_words": calibration_in_words(evaluation),
        "calibration_error": evaluation.calibration_error,
        "charts": training_charts(report.records, "Accuracy", ceiling=1.0),
        **_records(report.records),
        "data": report.data,
        "counts": _counts(report.data, report.card.classes or classes),
        "left_out": failures_view(report.data.failed),
        "command": report.command,
        "recipe": recipe_facts(report.recipe),
        "recipe_caption": f"The recipe {report.recipe.name}: {report.recipe.source or 'source not stated'}",
        "model": model_facts(report.card),
        "environment": [(key, str(value)) for key, value in report.environment.items()],
        "next_steps": report.next_steps,
    }


def _run_links(report: RunReport) -> list[tuple[str, str]]:
    links = [("mistakes", "Mistakes")]
    if attended(report.looks):
        links.append(("attention", "Attention"))
    links += [("confusions", "Confusions"), ("classes", "Classes"), ("calibration", "Calibration")]
    links += [("training", "Training"), ("data", "Data"), ("provenance", "Provenance")]
    if report.next_steps:
        links.append(("next", "How to go on"))
    return links


def _comparison(report: RunReport) -> list[dict[str, Any]]:
    evaluation = report.evaluation
    rows = [
        row_view("this model", evaluation.top1, "The marked tip is the 95 % interval.", "first", evaluation.interval)
    ]
    for baseline in report.baselines:
        gain = points(evaluation.top1 - baseline.top1)
        why = f"{sentence(baseline.explained)} This model: {gain}."
        rows.append(row_view(baseline.name, baseline.top1, why, "third"))
    return rows


def _small_facts(report: RunReport) -> list[tuple[str, str]]:
    evaluation = report.evaluation
    facts = [("balanced accuracy", percent(evaluation.balanced))]
    if evaluation.mean_average_precision is not None:
        facts.append(("mean average precision", percent(evaluation.mean_average_precision)))
    if len(evaluation.classes) > 5:
        facts.append(("among its first five", percent(evaluation.top5)))
    facts.append(("classes", f"{len(evaluation.classes):,}"))
    facts.append(("training took", duration(report.result.seconds)))
    return facts


def _records(records: Sequence[EpochRecord]) -> dict[str, Any]:
    stride = -(-len(records) // _RECORDS_SHOWN) or 1
    shown = [*records[:-1:stride], *records[-1:]]
    kept = "every record" if stride == 1 else f"one of {stride} records"
    return {"records": shown, "records_caption": f"Means since the record before; {kept}"}


def _counts(data: DataSheet, classes: Sequence[str]) -> dict[str, Any]:
    rows = [
        {"name": label, "numbers": [part.per_class[place] for part in data.counts]}
        for place, label in enumerate(classes if data.counts else ())
    ]
    parts = [part.name for part in data.counts]
    return {"rows": rows, "parts": parts, "totals": [part.total for part in data.counts]}

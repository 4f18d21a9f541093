"""What the page of `vitreous evaluate --out` is made of: every figure of a model on labelled images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vitreous.report.chart import Line, Lines
from vitreous.report.content import MISTAKES_SHOWN, Command, Exhibit
from vitreous.report.figure import reliability_diagram
from vitreous.report.pieces import (
    exhibit_view,
    failures_view,
    headline_view,
    matrix_view,
    mistakes_in_words,
    rests_on,
    weakness,
)
from vitreous.report.words import calibration_in_words, count, name, percent, reliability
from vitreous.results import Calibration, Evaluation


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationReport:
    """Everything the page of one evaluation shows."""

    title: str
    """What was evaluated on, in a word or two."""
    model: str
    """As it was typed."""
    evaluation: Evaluation
    """Of the model as it is."""
    command: str
    mistakes: tuple[Exhibit, ...] = ()
    """The most confident wrong answers, worst first."""
    calibrated: Evaluation | None = None
    """With the temperature."""
    calibration: Calibration | None = None
    random_weights: bool = False
    written: str = ""
    next_steps: tuple[Command, ...] = ()


def evaluation_view(report: EvaluationReport) -> dict[str, Any]:
    """Values for `evaluation.html.j2`.

    Args:
        report: what to show.
    """
    found = report.evaluation
    links = [("figures", "Figures"), ("mistakes", "Mistakes"), ("confusions", "Confusions"), ("classes", "Classes")]
    diagrams = [("", found)]
    if report.calibrated is not None:
        diagrams = [("As it is", found), ("Calibrated", report.calibrated)]
    return {
        "title": name(report.title),
        "summary": f"{name(report.model)}, asked about {count(found.expected, 'image')} of"
        f" {count(sum(score.support > 0 for score in found.per_class), 'class', 'classes')}.",
        "written": report.written,
        "random_weights": report.random_weights,
        "links": [*links, ("calibration", "Calibration"), ("next", "How to go on")],
        **headline_view(found),
        "rests_on": rests_on(found),
        "figures": figures(found),
        "notes": found.notes,
        "failed": failures_view(found.failed),
        "mistakes": [exhibit_view(exhibit, found.classes) for exhibit in report.mistakes[:MISTAKES_SHOWN]],
        "mistakes_words": mistakes_in_words(found),
        "matrix": matrix_view(found),
        "classes": sorted(found.per_class, key=weakness),
        "diagrams": [(title, reliability_diagram(reliability(one))) for title, one in diagrams],
        "calibration_words": calibration_in_words(found),
        "calibration_error": found.calibration_error,
        "calibration": None if report.calibration is None else calibration_view(report.calibration),
        "command": report.command,
        "next_steps": report.next_steps,
    }


def figures(found: Evaluation) -> list[dict[str, Any]]:
    """Every figure with its interval and what it means, for people.

    Args:
        found: the evaluation.
    """
    several = found.mean_average_precision is not None
    macro, weighted = found.macro, found.weighted
    right = "answers that the image shows" if several else "the surest answer is right"
    rows = [
        _row(found, "top1", "top-1 accuracy", right),
        _row(found, "top5", "top-5 accuracy", "right within the five surest answers")
        if len(found.classes) > 5
        else None,
        _row(found, "balanced", "balanced accuracy", "mean recall over the classes that have images"),
        _row(found, "mean_average_precision", "mean average precision", "of each class's ranking of the images"),
        _row(found, "auroc", "area under the ROC curve", _roc_words(found)),
    ]
    for title, mean, how in (("macro", macro, "each class once"), ("weighted", weighted, "by number of images")):
        if mean is not None:
            for field, what in (("precision", "precision"), ("recall", "recall"), ("f1", "F1")):
                over = count(mean.over[("precision", "recall", "f1").index(field)], "class", "classes")
                value = percent(getattr(mean, field))
                rows.append({"name": f"{title} {what}", "value": value, "interval": "", "why": f"{how}; over {over}"})
    rows += [
        _row(found, "calibration_error", "calibration error", "expected, over 15 bins of equal width"),
        _row(
            found, "rms_calibration_error", "RMS calibration error", "over bins of 100 images, larger gaps weigh more"
        ),
        _row(found, "log_loss", "log loss", "nats; the less the better", spell=_nats),
        _row(found, "brier", "Brier score", "squared distance of probabilities and truth", spell=_nats),
    ]
    return [row for row in rows if row is not None]


def reliability_chart(found: Evaluation, calibrated: Evaluation | None) -> Lines:
    """The reliability diagram for a paper or a slide.

    Args:
        found: the evaluation.
        calibrated: the same with a temperature, where there is one.
    """
    pairs = [("as it is", found), ("calibrated", calibrated)] if calibrated is not None else [("the model", found)]
    lines = tuple(
        Line(
            name=title,
            points=tuple((100 * one.confidence, 100 * one.accuracy) for one in bins),
            band=tuple((100 * one.interval[0], 100 * one.interval[1]) for one in bins),
            colour=place,
        )
        for place, (title, bins) in enumerate((title, reliability(one)) for title, one in pairs)
    )
    error = percent(found.calibration_error)
    return Lines(
        title="Are stated probabilities true?",
        lines=lines,
        across="probability the model gave its answer, %",
        up="share that is right, %",
        alt=f"Reliability diagram; the expected calibration error is {error}",
        diagonal=True,
    )


def calibration_view(found: Calibration) -> dict[str, Any]:
    """A temperature in words and numbers.

    Args:
        found: what it is and what it changed.
    """
    low, high = found.log_loss_change
    change = found.log_loss[1] - found.log_loss[0]
    verdict = "less" if high < 0 else "more" if low > 0 else "no different within noise"
    left = f"; {count(found.left_out, 'image')} that are scored too chose nothing" if found.left_out else ""
    return {
        "temperature": f"{found.temperature:.3g}",
        "too_sure": found.temperature > 1,
        "fitted_on": f"{name(found.fitted_on)}, {count(found.images, 'image')}{left}",
        "rows": [
            ("calibration error", *_before_after(found.calibration_error, found.calibration_error_intervals, percent)),
            ("log loss", *_before_after(found.log_loss, found.log_loss_intervals, _nats)),
        ],
        "verdict": f"On the scored images the log loss is {verdict}: it changes by {change:+.4f} (95 % interval"
        f" {low:+.4f} to {high:+.4f}).",
        "saved": None if found.saved is None else name(found.saved, 300),
        "saved_log_loss": None if found.saved_log_loss is None else _nats(found.saved_log_loss),
    }


def _before_after(
    values: tuple[float, float],
    intervals: tuple[tuple[float, float], tuple[float, float]],
    spell: Callable[[float], str],
) -> list[str]:
    return [
        f"{spell(value)} ({spell(low)} to {spell(high)})" for value, (low, high) in zip(values, intervals, strict=True)
    ]


def _row(
    found: Evaluation, field: str, title: str, why: str, *, spell: Callable[[float], str] = percent
) -> dict[str, Any] | None:
    value, interval = getattr(found, field), found.intervals.get(field)
    if value is None:
        return None
    between = "" if interval is None else f"{spell(interval[0])} to {spell(interval[1])}"
    return {"name": title, "value": spell(value), "interval": between, "why": why}


def _roc_words(found: Evaluation) -> str:
    if len(found.classes) == 2 and found.mean_average_precision is None:
        return "how often an image of one class outscores one of the other"
    return f"each class against the rest; mean over {count(found.auroc_classes, 'class', 'classes')}"


def _nats(value: float) -> str:
    return f"{value:.4f}"

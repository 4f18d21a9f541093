"""What `vitreous probe` leaves to be read: the page, and charts of the scores, the few-shot curves and the blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vitreous.console import count, duration
from vitreous.report.chart import Bar, BarPanels, Chart, Line, Lines, Panel, figure
from vitreous.report.content import Command
from vitreous.report.words import name, percent, plain, points
from vitreous.results import FinetunePrice, LayerScore, ModelProbe, ProbeResult, ProbeScore

_FAILURES_SHOWN = 200
_COLOURS = 6  # of the palette; a seventh model begins again, with another mark
_LONGEST = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeReport:
    """Everything the page of one probe shows."""

    result: ProbeResult
    command: str
    written: str = ""
    next_steps: tuple[Command, ...] = ()


def probe_charts(result: ProbeResult) -> dict[str, Chart]:
    """The charts by the names of their files: scores, few-shot, layers; each where there is something to draw.

    Args:
        result: of the probe.
    """
    charts: dict[str, Chart] = {"scores": _scores_chart(result)}
    if any(len(_shots(model)) > 1 for model in result.models):
        charts["few-shot"] = _shots_chart(result)
    if any(len(model.layers) > 1 for model in result.models):
        charts["layers"] = _layers_chart(result)
    return charts


def probe_view(report: ProbeReport) -> dict[str, Any]:
    """Values for `probe.html.j2`.

    Args:
        report: what to show.
    """
    result = report.result
    charts = probe_charts(result)
    best = _best(result)
    by = result.differences[0].by if result.differences else _deciding(best)
    links = [("scores", "Scores")]
    links += [("few-shot", "Few examples")] if "few-shot" in charts else []
    links += [("layers", "Layer by layer")] if "layers" in charts else []
    links += [("settings", "What was chosen, and how"), ("images", "Images"), ("next", "How to go on")]
    score = next(one for one in best.scores if one.name == by)
    several = len(result.models) > 1
    return {
        "title": name(result.data),
        "several": several,
        "models": [_model(model) for model in result.models],
        "summary": _summary(result),
        "written": report.written,
        "links": links,
        "score": f"{100 * score.top1:.1f}",
        "score_label": f"{by}: {score.setting}" + (f"; {name(best.model)}, the best of them" if several else ""),
        "interval": f"95 % interval {percent(score.interval[0])} to {percent(score.interval[1])}",
        "verdict": result.recommendation or _verdict(result),
        "random": [name(model.model) for model in result.models if model.random],
        "charts": {key.replace("-", "_"): figure(chart) for key, chart in charts.items()},
        "table": _table(result),
        "differences": [
            {
                "words": f"{name(one.better)} beside {name(one.other)}",
                "gap": points(one.difference),
                "interval": f"{points(one.interval[0])} to {points(one.interval[1])}",
                "verdict": "within noise" if one.within_noise else "more than noise",
            }
            for one in result.differences
        ],
        "by": by,
        "layer_words": [(name(model.model), model.layer_words) for model in result.models if model.layer_words],
        "layer_rows": [(name(model.model), [_layer_row(one) for one in model.layers]) for model in result.models],
        "facts": _facts(result),
        "failed": {"count": len(result.failed), "rows": result.failed[:_FAILURES_SHOWN]},
        "notes": result.notes,
        "command": report.command,
        "next_steps": report.next_steps,
    }


def price_words(price: FinetunePrice | None) -> str:
    """What fine-tuning takes, in words.

    Args:
        price: None where nobody knows.
    """
    if price is None:
        return "–"
    power, unit = next(
        (power, unit)
        for power, unit in ((15, "PFLOP"), (12, "TFLOP"), (9, "GFLOP"))
        if price.flops >= 10**power or power == 9
    )
    work = f"{price.flops / 10**power:,.3g} {unit}"
    return work if price.seconds is None else f"{work}, {duration(price.seconds)} here"


def _best(result: ProbeResult) -> ModelProbe:
    if not result.differences:
        return result.models[0]
    return next(model for model in result.models if model.model == result.differences[0].better)


def _deciding(model: ModelProbe) -> str:
    """The score that stands at the top of the page, by the same rule as the recommendation."""
    names = [score.name for score in model.scores]
    return next((wanted for wanted in ("linear", "k-NN") if wanted in names), names[-1])


def _summary(result: ProbeResult) -> str:
    who = "One frozen model" if len(result.models) == 1 else f"{len(result.models)} frozen models"
    return (
        f"{who} asked about {count(result.seen, 'image')} of {len(result.classes):,} classes after a look at the"
        f" features of {result.train:,} others. No weight of a model was trained."
    )


def _verdict(result: ProbeResult) -> str:
    model = result.models[0]
    return f"The features are {model.reads}: {model.width:,} numbers for each image."


def _model(model: ModelProbe) -> dict[str, Any]:
    return {
        "name": name(model.model),
        "random": model.random,
        "facts": [
            ("features", f"{model.reads}, {model.width:,} numbers"),
            ("parameters", f"{model.parameters:,}"),
            ("predicted cost of fine-tuning", price_words(model.price)),
            ("took", duration(model.seconds)),
        ],
        "scores": [_row(score) for score in model.scores],
        "knn": [_row(score) for score in model.knn],
        "grid": _grid(model),
        "logistic": [(f"{c:.3g}", percent(top1)) for c, top1 in model.logistic_grid],
        "notes": model.notes,
    }


def _row(score: ProbeScore) -> dict[str, Any]:
    low, high = score.interval
    draws = "" if score.spread is None else f"± {100 * score.spread:.1f} over draws"
    return {
        "name": score.name,
        "setting": score.setting,
        "share": score.top1,
        "top1": percent(score.top1),
        "top5": "–" if score.top5 is None else percent(score.top5),
        "interval": f"{percent(low)} to {percent(high)}",
        "bounds": score.interval,
        "spread": draws,
        "learned": f"{score.learned:,}",
        "seen": f"{score.seen:,} of {score.expected:,}",
    }


def _grid(model: ModelProbe) -> dict[str, Any] | None:
    """Accuracy on the images that choose, inputs down and rates across."""
    if not model.linear_grid:
        return None
    rates = sorted({point.rate for point in model.linear_grid})
    inputs = list(dict.fromkeys(point.reads for point in model.linear_grid))
    found = {(point.reads, point.rate): point.top1 for point in model.linear_grid}
    best = max((share for share in found.values() if share is not None), default=None)
    rows = []
    for reads in inputs:
        shares = [found.get((reads, rate)) for rate in rates]
        cells = [{"text": "–" if share is None else f"{100 * share:.1f}", "best": share == best} for share in shares]
        rows.append({"reads": reads, "cells": cells})
    return {"rates": [plain(rate) for rate in rates], "rows": rows}


def _table(result: ProbeResult) -> dict[str, Any]:
    """Scores down, models across, and what fine-tuning takes at the end."""
    names = list(dict.fromkeys(score.name for model in result.models for score in model.scores))
    found = [{score.name: _row(score) for score in model.scores} for model in result.models]
    return {
        "models": [{"name": name(model.model), "random": model.random} for model in result.models],
        "rows": [{"name": row, "scores": [one.get(row) for one in found]} for row in names],
        "prices": [price_words(model.price) for model in result.models],
    }


def _layer_row(one: LayerScore) -> dict[str, str]:
    return {
        "block": f"{one.layer + 1}",
        "knn": percent(one.knn),
        "knn_interval": " to ".join(map(percent, one.knn_interval)),
        "least_squares": percent(one.least_squares),
        "interval": " to ".join(map(percent, one.least_squares_interval)),
    }


def _facts(result: ProbeResult) -> list[tuple[str, str]]:
    return [
        ("learned from", count(result.train, "image")),
        ("scored on", f"{result.held_out}; {result.seen:,} of {result.expected:,} seen"),
        ("classes", f"{len(result.classes):,}"),
        ("took", duration(result.seconds)),
    ]


def _scores_chart(result: ProbeResult) -> BarPanels:
    names = list(dict.fromkeys(score.name for model in result.models for score in model.scores))
    shown = [column for column in names if not column.endswith("-shot")]
    if shots := [column for column in names if column.endswith("-shot")]:
        shown.append("10-shot" if "10-shot" in shots else shots[-1])
    panels = []
    for column in shown:
        bars = []
        for place, model in enumerate(result.models):
            score = next((one for one in model.scores if one.name == column), None)
            if score is not None:
                half = (score.interval[1] - score.interval[0]) / 2
                label = name(model.model, _LONGEST)
                bars.append(Bar(name=label, value=100 * score.top1, error=100 * half, colour=place % _COLOURS))
        panels.append(Panel(title=column, bars=tuple(bars)))
    spoken = "; ".join(
        f"{name(model.model, _LONGEST)}: " + ", ".join(f"{one.name} {percent(one.top1)}" for one in model.scores)
        for model in result.models
    )
    return BarPanels(
        title=f"Frozen features on {name(result.data)}: accuracy on {count(result.seen, 'held-out image')},"
        " whiskers 95 %",
        panels=tuple(panels),
        unit="accuracy, %",
        alt=spoken,
    )


def _shots(model: ModelProbe) -> list[tuple[int, ProbeScore]]:
    return [(int(one.name.split("-")[0]), one) for one in model.scores if one.name.endswith("-shot")]


def _shots_chart(result: ProbeResult) -> Lines:
    lines = []
    for place, model in enumerate(result.models):
        found = _shots(model)
        lines.append(
            Line(
                name=name(model.model, _LONGEST),
                points=tuple((float(number), 100 * score.top1) for number, score in found),
                band=tuple((100 * score.interval[0], 100 * score.interval[1]) for _, score in found),
                colour=place % _COLOURS,
            )
        )
    spoken = "; ".join(
        f"{name(model.model, _LONGEST)}: "
        + ", ".join(f"{number} shots {percent(one.top1)}" for number, one in _shots(model))
        for model in result.models
    )
    return Lines(
        title="Few-shot least squares on frozen features: mean over the draws, with 95 % intervals",
        lines=tuple(lines),
        across="examples per class",
        up="accuracy, %",
        alt=spoken,
        log_across=True,
    )


def _layers_chart(result: ProbeResult) -> Lines:
    """Both scores of one model; of several only least squares, since twice as many lines would hide each other."""
    lines: list[Line] = []
    several = len(result.models) > 1
    for place, model in enumerate(result.models):
        if model.layers:
            label = name(model.model, _LONGEST) if several else "least squares"
            lines.append(_curve(label, model.layers, place % _COLOURS, squares=True))
    if not several:
        lines.append(_curve("20 nearest neighbours", result.models[0].layers, 1, squares=False))
    return Lines(
        title=f"Block by block{', least squares' if several else ''}, with 95 % intervals",
        lines=tuple(lines),
        across="block",
        up="accuracy, %",
        alt=" ".join(f"{name(model.model, _LONGEST)}: {model.layer_words}" for model in result.models if model.layers),
    )


def _curve(label: str, layers: Sequence[LayerScore], colour: int, *, squares: bool) -> Line:
    shares = [
        (one.least_squares, one.least_squares_interval) if squares else (one.knn, one.knn_interval) for one in layers
    ]
    return Line(
        name=label,
        points=tuple((float(one.layer + 1), 100 * share) for one, (share, _) in zip(layers, shares, strict=True)),
        band=tuple((100 * low, 100 * high) for _, (low, high) in shares),
        colour=colour,
        dashed=not squares,
    )

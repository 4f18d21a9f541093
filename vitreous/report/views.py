"""The values that fill the templates: everything a page says that is worked out from its report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from vitreous.console import duration
from vitreous.report import images
from vitreous.report.content import (
    LOOKS_SHOWN,
    MISTAKES_SHOWN,
    Arm,
    CurveSet,
    DataSheet,
    DemoReport,
    Exhibit,
    Picture,
    RunReport,
    Strip,
)
from vitreous.report.facts import model_facts, recipe_facts
from vitreous.report.figure import Series, interval_strip, line_chart, reliability_diagram
from vitreous.report.matrix import chosen_classes, heat_map
from vitreous.report.words import (
    calibration_in_words,
    confusions,
    count,
    name,
    percent,
    plain,
    points,
    reliability,
    sentence,
)
from vitreous.results import ClassScore, EpochRecord, Evaluation, Failure

_FAILURES_SHOWN = 50
_RECORDS_SHOWN = 120
_WORDS_SHOWN = 50
_PICTURES_A_STRIP = 12


def run_view(report: RunReport) -> dict[str, Any]:
    """Values for `run.html.j2`.

    Args:
        report: what to show.
    """
    evaluation = report.evaluation
    classes = evaluation.classes
    mistakes = [_exhibit(exhibit, classes) for exhibit in report.mistakes[:MISTAKES_SHOWN]]
    looks = [_exhibit(exhibit, classes) for exhibit in _attended(report.looks)]
    return {
        "title": name(report.title),
        "summary": report.summary,
        "written": report.written,
        "links": _run_links(report),
        "random_weights": report.random_weights,
        "optimistic": report.result.optimistic,
        "optimistic_because": report.optimistic_because.rstrip("."),
        **_headline(evaluation),
        "comparison": _comparison(report),
        "rests_on": _rests_on(evaluation),
        "small_facts": _small_facts(report),
        "failed": _failures(evaluation.failed),
        "mistakes": mistakes,
        "mistakes_words": _mistakes_in_words(evaluation),
        "any_attention": any(exhibit["overlay"] for exhibit in mistakes),
        "looks": looks,
        "all_right": all(exhibit["right"] for exhibit in looks),
        "matrix": _matrix(evaluation),
        "classes": sorted(evaluation.per_class, key=_weakness),
        "reliability": reliability_diagram(reliability(evaluation)),
        "calibration_words": calibration_in_words(evaluation),
        "calibration_error": evaluation.calibration_error,
        "charts": _charts(report.records),
        **_records(report.records),
        "data": report.data,
        "counts": _counts(report.data, report.card.classes or classes),
        "left_out": _failures(report.data.failed),
        "command": report.command,
        "recipe": recipe_facts(report.recipe),
        "recipe_caption": f"The recipe {report.recipe.name}: {report.recipe.source or 'source not stated'}",
        "model": model_facts(report.card),
        "environment": [(key, str(value)) for key, value in report.environment.items()],
        "next_steps": report.next_steps,
    }


def _run_links(report: RunReport) -> list[tuple[str, str]]:
    links = [("mistakes", "Mistakes")]
    if _attended(report.looks):
        links.append(("attention", "Attention"))
    links += [("confusions", "Confusions"), ("classes", "Classes"), ("calibration", "Calibration")]
    links += [("training", "Training"), ("data", "Data"), ("provenance", "Provenance")]
    if report.next_steps:
        links.append(("next", "How to go on"))
    return links


def _headline(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "score": percent(evaluation.top1).rstrip("%").strip(),
        "several": evaluation.mean_average_precision is not None,
        "seen": evaluation.seen,
        "interval": evaluation.interval,
        "strip": interval_strip(evaluation.top1, evaluation.interval),
    }


def _row(label: str, share: float, why: str, style: str, interval: tuple[float, float] | None = None) -> dict[str, Any]:
    strong = style == "first"
    return {"name": label, "share": share, "why": why, "style": style, "interval": interval, "strong": strong}


def _comparison(report: RunReport) -> list[dict[str, Any]]:
    evaluation = report.evaluation
    rows = [_row("this model", evaluation.top1, "The marked tip is the 95 % interval.", "first", evaluation.interval)]
    for baseline in report.baselines:
        gain = points(evaluation.top1 - baseline.top1)
        why = f"{sentence(baseline.explained)} This model: {gain}."
        rows.append(_row(baseline.name, baseline.top1, why, "third"))
    return rows


def _rests_on(evaluation: Evaluation) -> str:
    failed = len(evaluation.failed)
    source = f" ({name(evaluation.data, 200)})" if evaluation.data else ""
    read = f"{evaluation.seen:,} of {count(evaluation.expected, 'image')} were read{source}"
    return f"{read}; {count(failed, 'file')} could not be." if failed else f"{read}; none failed."


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


def _mistakes_in_words(evaluation: Evaluation) -> str:
    wrong = sum(outcome.predicted != outcome.label for outcome in evaluation.outcomes)
    if not wrong:
        return f"Nothing: all {count(evaluation.seen, 'image')} were named rightly."
    return f"It named {wrong:,} of {count(evaluation.seen, 'image')} wrongly."


def _weakness(score: ClassScore) -> tuple[bool, float, str]:
    return score.f1 is not None, score.f1 or 0.0, score.name


def _exhibit(exhibit: Exhibit, classes: Sequence[str]) -> dict[str, Any]:
    outcome = exhibit.outcome
    label, predicted = name(classes[outcome.label]), name(classes[outcome.predicted])
    right = outcome.label == outcome.predicted
    alt = f"an image of {label}" if right else f"an image of {label}, taken for {predicted}"
    attention = exhibit.picture.attention
    return {
        **_picture(exhibit.picture),
        "overlay": None if attention is None else images.data_uri(images.overlay(exhibit.picture.pixels, attention)),
        "alt": alt,
        "right": right,
        "label": label,
        "predicted": predicted,
        "probability": outcome.probability,
        "label_probability": outcome.label_probability,
        "path": name(outcome.path),
    }


def _attended(looks: Sequence[Exhibit]) -> Sequence[Exhibit]:
    """What there is to see of where the model looks: nothing for a model without attention."""
    return [look for look in looks if look.picture.attention is not None][:LOOKS_SHOWN]


def _picture(picture: Picture) -> dict[str, Any]:
    height, width = picture.pixels.shape[:2]
    crisp = images.is_small(picture.pixels)
    return {"image": images.data_uri(picture.pixels), "crisp": crisp, "width": width, "height": height}


def _matrix(evaluation: Evaluation) -> dict[str, Any]:
    shown = len(chosen_classes(evaluation.confusion))
    return {
        "drawing": heat_map(evaluation.confusion, evaluation.classes),
        "pairs": confusions(evaluation),
        "classes": f"{len(evaluation.classes):,}",
        "shown": shown,
        "cut": shown < len(evaluation.classes),
    }


def _charts(records: Sequence[EpochRecord]) -> list[tuple[str, Markup]]:
    def series(label: str, field: str, style: str) -> Series:
        return Series(name=label, points=_points(records, field), style=style)

    loss = [series("training", "loss", "third"), series("held-out", "val_loss", "first")]
    accuracy = [series("training", "accuracy", "third"), series("held-out", "val_accuracy", "first")]
    rate = [series("learning rate", "learning_rate", "second")]
    return [
        ("Loss", line_chart("Loss", loss, across="epoch", floor=0.0)),
        ("Accuracy", line_chart("Accuracy", accuracy, across="epoch", spell=_share, ceiling=1.0)),
        ("Learning rate", line_chart("Learning rate", rate, across="epoch", floor=0.0)),
    ]


def _points(records: Sequence[EpochRecord], field: str) -> tuple[tuple[float, float], ...]:
    """One column of the records over epochs, without the records that lack it."""
    values = [(record.epoch, getattr(record, field)) for record in records]
    return tuple((epoch, float(value)) for epoch, value in values if value is not None)


def _share(share: float) -> str:
    """A share on an axis or in a tooltip: whole percents stay whole."""
    return percent(share, 0 if round(100 * share, 3) % 1 == 0 else 1)


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


def _failures(failed: Sequence[Failure]) -> dict[str, Any]:
    return {"count": len(failed), "rows": failed[:_FAILURES_SHOWN]}


def demo_view(report: DemoReport) -> dict[str, Any]:
    """Values for `demo.html.j2`.

    Args:
        report: what to show.
    """
    evaluation = report.evaluation
    best = next((arm for arm in report.arms if arm.highlight), report.arms[0])
    others = [arm for arm in report.arms if arm is not best]
    gains = [f"{points(best.top1 - arm.top1)} against “{arm.name}”" for arm in others]
    return {
        "title": "An image is worth a few words",
        "summary": (
            "A small Vision Transformer learns from many images, then from very few others at a higher resolution. "
            "What it learned first is what makes the second possible."
        ),
        "written": report.written,
        "links": _demo_links(report),
        "score": percent(best.top1).rstrip("%").strip(),
        "score_label": f"of {count(best.seen, 'image')} named rightly after {best.name}",
        "strip": interval_strip(best.top1, best.interval),
        "gain": f"On the same test images, that is {' and '.join(gains)}." if gains else "",
        "comparison": [_arm(arm) for arm in report.arms],
        "pretraining": [_arm(report.pretraining)],
        "comparison_title": f"On {best.seen:,} test images nobody trained on",
        "word": _word(report.word, report.patch_size),
        "strips": [_strip(strip) for strip in report.strips],
        "curve": _demo_curve(report.curves),
        "positions": _positions(report),
        "looks": [_exhibit(exhibit, evaluation.classes) for exhibit in _attended(report.looks)],
        "mistakes": [_exhibit(exhibit, evaluation.classes) for exhibit in report.mistakes[:LOOKS_SHOWN]],
        "mistakes_words": _mistakes_in_words(evaluation),
        "matrix": _matrix(evaluation),
        "command": report.command,
        "took": duration(report.result.seconds),
        "facts": [(key, str(value)) for key, value in report.facts.items()],
        "environment": [(key, str(value)) for key, value in report.environment.items()],
        "next_steps": report.next_steps,
    }


def _demo_links(report: DemoReport) -> list[tuple[str, str]]:
    links = [("words", "Patches"), ("data", "Data"), ("learning", "Learning"), ("positions", "Positions")]
    links += [
        ("attention", "Attention"),
        ("mistakes", "Mistakes"),
        ("provenance", "Provenance"),
        ("next", "Your photos"),
    ]
    absent = {
        "data": report.strips,
        "learning": report.curves,
        "attention": _attended(report.looks),
        "next": report.next_steps,
    }
    return [(place, title) for place, title in links if absent.get(place, True)]


def _arm(arm: Arm) -> dict[str, Any]:
    rests = f"{arm.seen:,} of {count(arm.expected, 'image')}"
    why = f"{sentence(arm.explained)} {rests}."
    return _row(arm.name, arm.top1, why, "first" if arm.highlight else "third", arm.interval)


def _strip(strip: Strip) -> dict[str, Any]:
    pictures = [(name(label), _picture(picture)) for label, picture in strip.pictures[:_PICTURES_A_STRIP]]
    return {"title": strip.title, "explained": sentence(strip.explained), "pictures": pictures}


def _word(picture: Picture, patch_size: tuple[int, int]) -> dict[str, Any]:
    rows, columns = (picture.pixels.shape[axis] // patch_size[axis] for axis in (0, 1))
    pieces = [images.data_uri(piece) for piece in images.patches(picture.pixels, patch_size)]
    return {
        **_picture(picture),
        "cut": images.data_uri(images.cut(picture.pixels, patch_size)),
        "rows": rows,
        "columns": columns,
        "patch": patch_size,
        "pieces": pieces[:_WORDS_SHOWN],
        "more": max(0, len(pieces) - _WORDS_SHOWN),
    }


def _demo_curve(curves: Sequence[CurveSet]) -> dict[str, Any] | None:
    if not curves:
        return None
    styles = ("first", "second", "fourth", "third")
    held_out = any(record.val_accuracy is not None for curve in curves for record in curve.records)
    field, on = ("val_accuracy", "held-out") if held_out else ("accuracy", "training")
    lines = [
        Series(name=curve.name, points=_points(curve.records, field), style=style)
        for curve, style in zip(curves, styles, strict=False)
    ]
    title = f"Accuracy on {on} images"
    return {"title": title, "drawing": line_chart(title, lines, across="epoch", spell=_share, floor=0.0, ceiling=1.0)}


def _positions(report: DemoReport) -> dict[str, Any]:
    sheet = images.similarity(report.position_similarity)
    rows, columns = report.position_similarity.shape[:2]
    ramp = images.colour_map(np.linspace(0, 1, 64))[None]
    return {
        "image": images.data_uri(sheet),
        "height": sheet.shape[0],
        "width": sheet.shape[1],
        "rows": rows,
        "columns": columns,
        "low": plain(round(float(report.position_similarity.min()), 2)).replace("-", "−"),
        "scale": images.data_uri(ramp),
    }

"""The values that fill the demo's page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vitreous.console import duration
from vitreous.report import images
from vitreous.report.content import (
    LOOKS_SHOWN,
    Arm,
    CurveSet,
    DemoReport,
    Picture,
    Strip,
)
from vitreous.report.figure import Series, interval_strip, line_chart
from vitreous.report.pieces import (
    attended,
    exhibit_view,
    matrix_view,
    mistakes_in_words,
    picture_view,
    points_over_epochs,
    row_view,
    share_in_words,
)
from vitreous.report.words import (
    count,
    name,
    percent,
    plain,
    points,
    sentence,
)

_WORDS_SHOWN = 50
_PICTURES_A_STRIP = 12


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
        "looks": [exhibit_view(exhibit, evaluation.classes) for exhibit in attended(report.looks)],
        "mistakes": [exhibit_view(exhibit, evaluation.classes) for exhibit in report.mistakes[:LOOKS_SHOWN]],
        "mistakes_words": mistakes_in_words(evaluation),
        "matrix": matrix_view(evaluation),
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
        "attention": attended(report.looks),
        "next": report.next_steps,
    }
    return [(place, title) for place, title in links if absent.get(place, True)]


def _arm(arm: Arm) -> dict[str, Any]:
    rests = f"{arm.seen:,} of {count(arm.expected, 'image')}"
    why = f"{sentence(arm.explained)} {rests}."
    return row_view(arm.name, arm.top1, why, "first" if arm.highlight else "third", arm.interval)


def _strip(strip: Strip) -> dict[str, Any]:
    pictures = [(name(label), picture_view(picture)) for label, picture in strip.pictures[:_PICTURES_A_STRIP]]
    return {"title": strip.title, "explained": sentence(strip.explained), "pictures": pictures}


def _word(picture: Picture, patch_size: tuple[int, int]) -> dict[str, Any]:
    rows, columns = (picture.pixels.shape[axis] // patch_size[axis] for axis in (0, 1))
    pieces = [images.data_uri(piece) for piece in images.patches(picture.pixels, patch_size)]
    return {
        **picture_view(picture),
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
        Series(name=curve.name, points=points_over_epochs(curve.records, field), style=styles[place % len(styles)])
        for place, curve in enumerate(curves)
    ]
    title = f"Accuracy on {on} images"
    return {
        "title": title,
        "drawing": line_chart(title, lines, across="epoch", spell=share_in_words, floor=0.0, ceiling=1.0),
    }


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

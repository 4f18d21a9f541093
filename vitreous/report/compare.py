"""What the page of `vitreous compare` is made of: two models side by side, and the images only one gets right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vitreous.report.content import Command, Picture
from vitreous.report.figure import reliability_diagram
from vitreous.report.pieces import failures_view, picture_view
from vitreous.report.words import count, name, percent, points, reliability, sentence
from vitreous.results import ClassDifference, Comparison, Contrast, Duel, Evaluation

DUELS_SHOWN = 9
"""Pictures of images that only one model gets right, for each of the two."""

_CLEAR = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonReport:
    """Everything the page of one comparison shows."""

    result: Comparison
    command: str
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    """By path; an image that is not in it is left out of the gallery."""
    written: str = ""
    next_steps: tuple[Command, ...] = ()


def duels_shown(result: Comparison) -> tuple[tuple[Duel, ...], tuple[Duel, ...]]:
    """The images that only A, and that only B gets right, as many as a page shows of each.

    Args:
        result: of the comparison.
    """
    only_a = [duel for duel in result.duels if duel.right == "A"]
    only_b = [duel for duel in result.duels if duel.right == "B"]
    return tuple(only_a[:DUELS_SHOWN]), tuple(only_b[:DUELS_SHOWN])


def comparison_view(report: ComparisonReport) -> dict[str, Any]:
    """Values for `compare.html.j2`.

    Args:
        report: what to show.
    """
    result = report.result
    galleries = [_gallery(report, duels, who) for duels, who in zip(duels_shown(result), "AB", strict=True)]
    return {
        "title": "A or B?",
        "summary": f"Two models asked about the same {count(result.seen, 'image')} ({name(result.data, 200)}).",
        "written": report.written,
        "links": [
            ("figures", "Figures"),
            ("classes", "Classes"),
            ("images", "Images"),
            ("calibration", "Calibration"),
            ("next", "How to go on"),
        ],
        "name_a": name(result.name_a, 300),
        "name_b": name(result.name_b, 300),
        "score": _bare(result.top1.difference),
        "words": sentence(result.words),
        "clear": result.verdict != "within noise",
        "verdict": result.verdict,
        "rows": [_bar_row("A", result.a, "third"), _bar_row("B", result.b, "first")],
        "interval": result.top1.interval,
        "p_words": _p_words(result),
        "needed": _needed(result),
        "table": _table(result),
        "contrasts": _contrasts(result),
        "failed": failures_view(result.failed),
        "seen": result.seen,
        "classes": [_class(row) for row in result.by_class],
        "clear_classes": sum(row.p_value < _CLEAR for row in result.by_class),
        "galleries": [gallery for gallery in galleries if gallery["items"]],
        "duels": len(result.duels),
        "diagrams": [
            (title, reliability_diagram(reliability(one))) for title, one in (("A", result.a), ("B", result.b))
        ],
        "command": report.command,
        "next_steps": report.next_steps,
    }


def _bar_row(title: str, found: Evaluation, style: str) -> dict[str, Any]:
    low, high = found.interval
    return {
        "name": title,
        "share": found.top1,
        "why": f"Top-1 accuracy; 95 % interval {percent(low)} to {percent(high)} by itself.",
        "style": style,
        "interval": found.interval,
        "strong": False,
    }


def _p_words(result: Comparison) -> str:
    apart = result.only_a + result.only_b
    if not apart:
        return "There is no image that only one of them gets right, so that nothing speaks for either."
    chance = "less than once in 10,000 times" if result.p_value < 1e-4 else f"in {percent(result.p_value)} of cases"
    return (
        f"They differ on {count(apart, 'image')}: {result.only_a:,} only A gets right, {result.only_b:,} only B. Were "
        f"both equally good, so uneven a division would come about by chance {chance} (McNemar's exact test)."
    )


def _needed(result: Comparison) -> str:
    if result.verdict != "within noise":
        return f"{count(result.seen, 'image')} are enough to tell a difference of this size."
    if result.images_needed is None:
        return "They stand even here: no number of images like these would tell them apart."
    return (
        f"If the difference really is as large as it looks, about {result.images_needed:,} such images would tell it"
        " in four of five cases."
    )


def _table(result: Comparison) -> list[tuple[str, int, float]]:
    rows = [
        ("both right", result.both),
        ("only A right", result.only_a),
        ("only B right", result.only_b),
        ("both wrong", result.neither),
    ]
    return [(title, number, number / result.seen) for title, number in rows]


def _contrasts(result: Comparison) -> list[dict[str, str]]:
    rows = [
        _contrast("top-1 accuracy, points", result.top1, shares=True),
        _contrast("calibration error, points", result.calibration_error, shares=True),
    ]
    if result.log_loss is not None:
        rows.append(_contrast("log loss, nats", result.log_loss, shares=False))
    return rows


def _contrast(title: str, found: Contrast, *, shares: bool) -> dict[str, str]:
    low, high = found.interval
    if shares:
        values = percent(found.a), percent(found.b), _bare(found.difference)
        between = f"{_bare(low)} to {_bare(high)}"
    else:
        values = f"{found.a:.4f}", f"{found.b:.4f}", f"{found.difference:+.4f}".replace("-", "−")
        between = f"{low:+.4f} to {high:+.4f}".replace("-", "−")
    return {"name": title, "a": values[0], "b": values[1], "difference": values[2], "interval": between}


def _bare(difference: float) -> str:
    """Percentage points without the word."""
    return points(difference).removesuffix("\N{NO-BREAK SPACE}points")


def _class(row: ClassDifference) -> dict[str, Any]:
    gap = row.recall_b - row.recall_a
    return {
        "name": row.name,
        "support": row.support,
        "a": row.recall_a,
        "b": row.recall_b,
        "gap": gap,
        "points": _bare(gap),
        "only_a": row.only_a,
        "only_b": row.only_b,
        "told_apart": row.p_value < _CLEAR,
    }


def _gallery(report: ComparisonReport, duels: tuple[Duel, ...], who: str) -> dict[str, Any]:
    items = [
        {
            **picture_view(picture),
            "alt": f"an image of {name(duel.label)}",
            "label": name(duel.label),
            "a": name(duel.said_a),
            "sure_a": duel.probability_a,
            "b": name(duel.said_b),
            "sure_b": duel.probability_b,
            "path": name(duel.path),
        }
        for duel in duels
        if (picture := report.pictures.get(duel.path)) is not None
    ]
    number = report.result.only_a if who == "A" else report.result.only_b
    return {"who": who, "items": items, "number": number}

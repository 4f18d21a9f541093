"""The page of a score on one of ImageNet's variants, its chart, and its table in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vitreous.report.chart import Bar, BarPanels, Panel, figure
from vitreous.report.content import Command
from vitreous.report.words import count, name, percent, points
from vitreous.results.images import Failure
from vitreous.results.robustness import CorruptionScore, RobustnessResult

_FAILURES_SHOWN = 50
_OURS, _THEIRS, _EXTRA = 1, 0, 6


@dataclass(frozen=True, kw_only=True, slots=True)
class RobustnessReport:
    """Everything the page shows."""

    result: RobustnessResult
    command: str
    environment: Mapping[str, str]
    written: str = ""
    next_steps: tuple[Command, ...] = ()


def chart(result: RobustnessResult) -> BarPanels:
    """This model beside published ones; for ImageNet-C its error under each corruption.

    Args:
        result: what to draw.
    """
    return _error_chart(result) if result.corruptions else _score_chart(result)


def _score_chart(result: RobustnessResult) -> BarPanels:
    ours, panels = name(result.model, 40), []
    for title, mine, of in (("top-1", result.top1, "top1"), ("top-5", result.top5, "top5")):
        others = [(name(row.model, 40), getattr(row, of)) for row in result.published]
        bars = [Bar(name=ours, value=100 * mine, error=None, colour=_OURS)]
        if title == "top-1" and result.clean is not None:
            bars.append(Bar(name="the same, clean images", value=100 * result.clean.top1, colour=_EXTRA))
        elif result.clean is not None:
            bars.append(Bar(name="the same, clean images", value=100 * result.clean.top5, colour=_EXTRA))
        bars += [Bar(name=label, value=100 * value, colour=_THEIRS) for label, value in others if value is not None]
        panels.append(Panel(title=title, bars=tuple(bars)))
    return BarPanels(
        title=f"{result.title}: this model and published ones",
        panels=tuple(panels),
        unit="accuracy, %",
        alt=f"Accuracy on {result.title}: {ours} has {percent(result.top1)} top-1 and {percent(result.top5)} top-5,"
        f" beside {count(len(result.published), 'published model')}.",
    )


def _error_chart(result: RobustnessResult) -> BarPanels:
    bars = [
        Bar(name=words(score.name), value=100 * score.error, colour=colour)
        for scores, colour in ((result.corruptions, _OURS), (result.extra, _EXTRA))
        for score in scores
        if score.error is not None
    ]
    relative = [
        Bar(name=words(score.name), value=100 * score.ce, colour=_OURS)
        for score in result.corruptions
        if score.ce is not None
    ]
    panels = [Panel(title="error", bars=tuple(bars)), Panel(title="of AlexNet's", bars=tuple(relative))]
    mce = "" if result.mce is None else f"; mCE {100 * result.mce:.1f} %"
    return BarPanels(
        title=f"{result.title}: mean error over five severities, and that error as a share of AlexNet's{mce}",
        panels=tuple(panels),
        unit="%; grey corruptions count for nothing",
        alt=f"Error of {name(result.model, 40)} under {count(len(bars), 'corruption')}{mce}.",
        most=100.0 if all(bar.value <= 110 for bar in relative) else 150.0,
    )


def markdown(result: RobustnessResult) -> str:
    """The scores as a table in Markdown.

    Args:
        result: what to write.
    """
    lines = [f"# {_plain(result.model)} on {result.title}", "", "| | |", "|---|---:|"]
    lines += [f"| {key} | {value} |" for key, value in facts(result)]
    if result.corruptions:
        lines += ["", f"| {' | '.join(HEADS)} |", f"|---|{'---:|' * (len(HEADS) - 1)}"]
        lines += [f"| {' | '.join(row)} |" for row in corruption_rows(result)]
    lines += ["", *(f"- {note}" for note in result.notes)]
    return "\n".join(lines) + "\n"


def facts(result: RobustnessResult) -> list[tuple[str, str]]:
    """The scores as names and values, the most important first.

    Args:
        result: what to tell.
    """
    rows = []
    if result.corruptions:
        lacking = f"none: {count(len(result.missing), 'part')} of it missing"
        rows.append(("mCE", lacking if result.mce is None else f"{100 * result.mce:.1f} %"))
        if result.relative_mce is not None:
            rows.append(("relative mCE", f"{100 * result.relative_mce:.1f} %"))
    rows.append(("top-1", percent(result.top1)))
    if result.interval is not None:
        rows.append(("95 % interval", "{} to {}".format(*map(percent, result.interval))))
    rows.append(("top-5", percent(result.top5)))
    if result.clean is not None:
        clean = result.clean
        rows.append(("clean top-1", percent(clean.top1)))
        rows.append(("clean images", f"{clean.seen:,} of {clean.expected:,}"))
    if result.drop is not None:
        rows.append(("against clean", points(-result.drop)))
    rows.append(("answers among", count(result.answers, "class", "classes")))
    rows.append(("images seen", f"{result.seen:,} of {result.expected:,}"))
    return rows


HEADS = ("corruption", "1", "2", "3", "4", "5", "error", "of AlexNet's", "relative")
"""What `corruption_rows` holds; the numbers are severities."""


def corruption_rows(result: RobustnessResult) -> list[tuple[str, ...]]:
    """The errors on ImageNet-C by severity, a row for each corruption.

    Args:
        result: of ImageNet-C.
    """
    rows = [_row(score, words(score.name)) for score in result.corruptions]
    return rows + [_row(score, f"{words(score.name)} (extra)") for score in result.extra]


def words(corruption: str) -> str:
    """A corruption as people write it.

    Args:
        corruption: as its folder is called.
    """
    return "JPEG" if corruption == "jpeg_compression" else corruption.replace("_", " ")


def robustness_view(report: RobustnessReport) -> dict[str, Any]:
    """Values for `robustness.html.j2`.

    Args:
        report: what to show.
    """
    result = report.result
    corrupted = bool(result.corruptions)
    links = [("chart", "Errors" if corrupted else "Beside others")]
    links += [("corruptions", "By severity")] if corrupted else []
    links += [("published", "Published")] if result.published else []
    links += [("how", "How it was done"), ("next", "How to go on")]
    main = result.mce if corrupted else result.top1
    return {
        "title": name(result.model, 60),
        "on": result.title,
        "written": report.written,
        "summary": _summary(result),
        "links": links,
        "score": None if main is None else f"{100 * main:.1f}",
        "score_label": _score_label(result),
        "facts": facts(result),
        "notice": _notice(result),
        "drawing": figure(chart(result)),
        "heads": HEADS,
        "rows": corruption_rows(result) if corrupted else [],
        "kinds": ["mCE"] if corrupted else ["top-1", "top-5"],
        "published": [
            {
                "model": row.model,
                "source": row.source,
                "scores": [share(row.mce)] if corrupted else [share(row.top1), share(row.top5)],
            }
            for row in result.published
        ],
        "notes": result.notes,
        "missing": ", ".join(result.missing),
        "failed": {"count": len(result.failed), "rows": _first(result.failed)},
        "environment": [("command", report.command), *report.environment.items()],
        "next_steps": report.next_steps,
    }


def _row(score: CorruptionScore, label: str) -> tuple[str, ...]:
    errors = {each.severity: 1.0 - each.top1 for each in score.severities}
    each = [percent(errors.get(level)) for level in range(1, 6)]
    return (label, *each, percent(score.error), share(score.ce), share(score.relative_ce))


def share(value: float | None) -> str:
    """In percent, with one digit after the point; unlike an accuracy it may lie below 0 or above 100.

    Args:
        value: as a fraction; None where it is not known.
    """
    return percent(None) if value is None else f"{100 * value:.1f} %".replace("-", "\N{MINUS SIGN}")


def _first(failed: tuple[Failure, ...]) -> tuple[Failure, ...]:
    return failed[:_FAILURES_SHOWN]


def _summary(result: RobustnessResult) -> str:
    said = f"{result.seen:,} of {count(result.expected, 'image')} answered"
    return f"{said}, each with one of {count(result.answers, 'class', 'classes')}."


def _score_label(result: RobustnessResult) -> str:
    if result.corruptions:
        lacking = f"no mCE: {count(len(result.missing), 'part')} of ImageNet-C missing"
        return lacking if result.mce is None else "mCE: mean error over 15 corruptions, AlexNet's being 100 %"
    return f"top-1 on {result.title}"


def _notice(result: RobustnessResult) -> str:
    if result.complete:
        return ""
    return (
        f"Not the published score: {result.seen:,} images were scored, and the published data set has"
        f" {result.published_images:,}."
    )


def _plain(text: str) -> str:
    return name(text, 80).replace("|", "/")

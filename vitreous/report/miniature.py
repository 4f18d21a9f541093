"""The studies in miniature as they are read: a page, a page in Markdown, and a chart for each study."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from vitreous.console import duration
from vitreous.files import write_text
from vitreous.report.chart import Bar, BarPanels, Chart, Line, Lines, Panel, figure, save
from vitreous.report.content import Command
from vitreous.report.words import count, percent
from vitreous.results.miniature import MiniatureArm, MiniatureResult, MiniatureScore, MiniatureStudy

TITLE = "The paper's studies, in miniature"
LABEL = (
    "In miniature: networks of 24,000 to 820,000 weights, thousands of handwritten digits and minutes on a CPU, where "
    "the paper has up to 632 million, 300 million photographs and TPU-years. These numbers show how its studies are "
    "done and what they give at this size; they neither confirm nor refute what it found at its own."
)

_LINES = {
    "compute": "GFLOPs of training",
    "data": "images that were pre-trained on",
}
_ORDER = ("5-shot", "10-shot", "fine-tuned", "held-out")
_WORDS = {
    "5-shot": "few-shot, 5 a class",
    "10-shot": "few-shot, 10 a class",
    "held-out": "digits held out",
    "fine-tuned": "fine-tuned",
    "hidden colours": "hidden colours",
}


def chart(study: MiniatureStudy) -> Chart | None:
    """The chart of one study; None where nothing of it is finished.

    Args:
        study: as far as it is there.
    """
    if not study.arms:
        return None
    title = f"{study.title}, in miniature"
    said = "; ".join(f"{arm.name} {percent(arm.scores[study.measure].mean)}" for arm in study.arms)
    alt = f"{title}: {_WORDS[study.measure]} accuracy. {said}."
    if study.name in _LINES:
        return _lines(study, title, alt)
    measures = [measure for measure in _ORDER if measure in study.arms[0].scores]
    panels = []
    for measure in measures:
        bars = tuple(_bar(arm.name, arm.scores[measure], int(measure != study.measure)) for arm in study.arms)
        panels.append(Panel(title=_WORDS[measure], bars=bars))
    return BarPanels(title=title, panels=tuple(panels), unit="accuracy, %", alt=alt)


def _bar(name: str, score: MiniatureScore, colour: int) -> Bar:
    error = None if score.spread is None else 100 * score.spread
    return Bar(name=name, value=100 * score.mean, error=error, colour=colour)


def _lines(study: MiniatureStudy, title: str, alt: str) -> Lines:
    families: dict[str, list[MiniatureArm]] = {}
    for arm in study.arms:
        families.setdefault(arm.name.partition(",")[0], []).append(arm)
    lines = []
    for place, (family, arms) in enumerate(families.items()):
        across = [arm.flops / 1e9 if study.name == "compute" else float(arm.learned) for arm in arms]
        scores = [arm.scores[study.measure] for arm in arms]
        around = [(100 * score.mean, 100 * (score.spread or 0.0)) for score in scores]
        lines.append(
            Line(
                name=family,
                points=tuple((x, mean) for x, (mean, _) in zip(across, around, strict=True)),
                band=tuple((mean - spread, mean + spread) for mean, spread in around),
                colour=place,
            )
        )
    return Lines(
        title=title,
        lines=tuple(lines),
        across=_LINES[study.name],
        up=f"accuracy, %: {_WORDS[study.measure]}",
        alt=alt,
        log_across=True,
    )


def caption(study: MiniatureStudy) -> str:
    """What a study's table rests on: on how many images, scored on how many, with how many seeds.

    Args:
        study: as far as it is there.
    """
    learned = sorted({arm.learned for arm in study.arms})
    few = f"{learned[0]:,}" if len(learned) == 1 else f"{learned[0]:,} to {learned[-1]:,}"
    seeds = sorted({arm.seeds for arm in study.arms})
    runs = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    many = "each the mean ± sample standard deviation of " if seeds[-1] > 1 else "each of "
    scored = "; ".join(
        f"{_WORDS[measure]}: {_seen([arm.scores[measure] for arm in study.arms])}" for measure in _measures(study)
    )
    taught = "Fine-tuned" if study.measure == "fine-tuned" else "Trained"
    return (
        f"In miniature. {taught} on {few} images, {many}{runs} {'seed' if seeds[-1] == 1 else 'seeds'}; scored on"
        f" {scored}. Percent." + (f" The paper's own: {study.theirs}." if study.theirs else "")
    )


def _seen(scores: list[MiniatureScore]) -> str:
    numbers = sorted({score.seen for score in scores})
    words = f"{numbers[0]:,}" if len(numbers) == 1 else f"{numbers[0]:,} or {numbers[-1]:,}"
    short = sum(score.expected - score.seen for score in scores)
    return f"{words} images" + (f", {short:,} could not be scored" if short else "")


def _measures(study: MiniatureStudy) -> list[str]:
    return [measure for measure in _ORDER if study.arms and measure in study.arms[0].scores]


def _value(score: MiniatureScore) -> str:
    return f"{100 * score.mean:.1f}" + ("" if score.spread is None else f" ± {100 * score.spread:.1f}")


def miniature_view(result: MiniatureResult) -> dict[str, Any]:
    """Values for `miniature.html.j2`.

    Args:
        result: what to show.
    """
    shown = [study for study in result.studies if study.arms]
    return {
        "title": TITLE,
        "label": LABEL,
        "summary": _summary(result),
        "written": result.written,
        "links": [*((study.name, study.title) for study in shown), ("how", "How it was done")],
        "score": f"{result.runs:,}",
        "score_label": f"runs, {duration(result.cpu_seconds)} of processor time",
        "complete": result.complete,
        "missing": ""
        if result.complete
        else f"{result.planned - result.runs} of {result.planned} runs are not done "
        "yet; the same command goes on with them.",
        "tally": tally(result),
        "studies": [_study(study) for study in shown],
        "facts": _facts(result),
        "command": result.command,
        "next_steps": (Command(text=result.command, explained="all of this again, or what is not done yet"),),
    }


def _study(study: MiniatureStudy) -> dict[str, Any]:
    drawn, measures = chart(study), _measures(study)
    return {
        "id": study.name,
        "title": study.title,
        "place": study.place,
        "about": study.about,
        "here": study.here,
        "figure": "" if drawn is None else figure(drawn),
        "caption": caption(study),
        "measures": [_WORDS[measure] for measure in measures],
        "paper": any(arm.paper for arm in study.arms),
        "rows": [
            {
                "name": arm.name,
                "trained": arm.trained,
                "learned": f"{arm.learned:,}",
                "flops": f"{arm.flops / 1e9:,.0f}",
                "values": [_value(arm.scores[measure]) for measure in measures],
                "paper": arm.paper or "-",
            }
            for arm in study.arms
        ],
        "findings": [finding.sentence for finding in study.findings],
        "missing": count(study.missing, "run") if study.missing else "",
    }


def tally(result: MiniatureResult) -> str:
    """How many of the paper's findings were seen here, in a sentence; pairs of which it says nothing do not count.

    Args:
        result: what was measured.
    """
    said = [finding.agrees for study in result.studies for finding in study.findings if finding.claimed]
    return (
        f"Of {count(len(said), 'comparison')} of the paper's, {said.count(True)} came out as there, {said.count(False)}"
        f" the other way, and {said.count(None)} not clearly either way."
    )


def _summary(result: MiniatureResult) -> str:
    return (
        f"{count(len(result.studies), 'study', 'studies')} of the Vision Transformer paper on two sets of handwritten "
        f"digits, {count(result.seeds, 'seed')} each. Small networks learn mnist-5k at 20 x 20 pixels and are moved to "
        "scikit-learn's digits, which other people wrote."
    )


def _facts(result: MiniatureResult) -> list[tuple[str, str]]:
    return [
        ("runs", f"{result.runs} of {result.planned}"),
        ("processor time", duration(result.cpu_seconds)),
        ("few-shot", "least squares in closed form on frozen features (section 4.1 of the paper, as big_vision does "
         "it), the mean of ten draws; every second digit may be drawn from, the others are scored on"),
        ("held out", "1,000 digits of mnist-5k that chose nothing"),
        ("clear", "a difference of two means beyond Student's t at 95 % for the spread of the seeds; comparisons are "
         "many, and one in twenty comes out clear by chance"),
        *result.environment.items(),
    ]  # fmt: skip


def markdown(result: MiniatureResult, charts: str) -> str:
    """The same in Markdown.

    Args:
        result: what was measured.
        charts: where the charts lie, as the page says it: a folder's name.
    """
    lines = [f"# {TITLE}", "", _summary(result), "", f"**{LABEL}**", "", tally(result)]
    if not result.complete:
        lines += ["", f"{result.planned - result.runs} of {result.planned} runs are not done yet."]
    for study in (study for study in result.studies if study.arms):
        measures = _measures(study)
        heads = ["", *(_WORDS[measure] for measure in measures), "GFLOPs", "the paper"]
        lines += ["", f"## {study.title}", "", f"{study.place[0].upper()}{study.place[1:]}. {study.about} {study.here}"]
        lines += ["", f"![{study.title}, in miniature]({charts}/{study.name}.png)", "", caption(study), ""]
        lines += [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
        for arm in study.arms:
            values = [_value(arm.scores[measure]) for measure in measures]
            lines.append(f"| {arm.name} | {' | '.join(values)} | {arm.flops / 1e9:,.0f} | {arm.paper or '-'} |")
        lines += ["", *(f"- {finding.sentence}" for finding in study.findings)]
    lines += ["", "## How it was done", "", *(f"- {key}: {value}" for key, value in _facts(result))]
    lines += ["", f"Written on {result.written} by", "", f"    {result.command}", ""]
    return "\n".join(lines)


def write_charts(folder: Path, result: MiniatureResult) -> MiniatureResult:
    """Write charts/ and miniature.md into the folder of the studies, and give the result with the charts' paths.

    Args:
        folder: one that exists.
        result: what was measured.

    Raises:
        ResourceError: a file cannot be written.
    """
    charts = folder / "charts"
    charts.mkdir(exist_ok=True)
    drawn = [(study.name, picture) for study in result.studies if (picture := chart(study)) is not None]
    paths = [str(path) for name, picture in drawn for path in save(picture, charts, name)]
    write_text(folder / "miniature.md", markdown(result, "charts"))
    return dataclasses.replace(result, charts=tuple(paths))

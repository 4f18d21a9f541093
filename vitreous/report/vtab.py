"""What a run of VTAB leaves to be read: the page, the chart of four panels, and tables in Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from vitreous.console import count, duration
from vitreous.published.vtab import TASKS, groups
from vitreous.report.card import safe
from vitreous.report.chart import Bar, BarPanels, Panel, figure
from vitreous.report.content import Command
from vitreous.report.words import name, percent
from vitreous.results import VtabResult, VtabTaskScore
from vitreous.results.vtab import DAGGER

ALL = "All"
_KINDS = {"ours": 1, "ViT": 0, "BiT": 2, "leaderboard": 6}
_NO_MARK = "-"
_LATEX = str.maketrans(
    {c: rf"\{c}" for c in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\^{}", "\\": r"\textbackslash{}"}
    | {"|": r"\textbar{}", "<": r"\textless{}", ">": r"\textgreater{}"}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Beside:
    """A published model to compare with; scores are fractions."""

    name: str
    source: str
    tasks: Mapping[str, float] = field(default_factory=dict)
    groups: Mapping[str, float] = field(default_factory=dict)
    mean19: float | None = None
    spread: float | None = None
    """Of mean19, standard deviation over runs, where published."""
    kind: Literal["ViT", "BiT", "leaderboard"] = "ViT"


@dataclass(frozen=True, kw_only=True, slots=True)
class VtabReport:
    """Everything the page of one run of VTAB shows."""

    result: VtabResult
    beside: tuple[Beside, ...]
    command: str
    environment: Mapping[str, str]
    written: str = ""
    next_steps: tuple[Command, ...] = ()


def chart(result: VtabResult, beside: Sequence[Beside]) -> BarPanels:
    """The bars of Figure 2 of the ViT paper: all tasks, and each group, of this model and of published ones.

    A panel shows a model only where its mean is known; whiskers are standard deviations over runs.

    Args:
        result: of this model.
        beside: published ones, in the order to show them.
    """
    means: dict[str, float | None] = {ALL: result.mean19, **result.groups}
    panels = []
    for title, mean in means.items():
        bars = []
        if mean is not None:
            spread = result.spread.get("mean19" if title == ALL else title)
            label = name(result.model, 28) + result.dagger  # one name in all panels: a row for each name
            error = None if spread is None else 100 * spread
            bars.append(Bar(name=label, value=100 * mean, error=error, colour=_KINDS["ours"]))
        for row in beside:
            theirs = row.mean19 if title == ALL else row.groups.get(title)
            if theirs is not None:
                error = 100 * row.spread if title == ALL and row.spread is not None else None
                bars.append(Bar(name=row.name, value=100 * theirs, error=error, colour=_KINDS[row.kind]))
        number = 19 if title == ALL else sum(task.group == title for task in TASKS)
        panels.append(Panel(title=f"{title} ({number})", bars=tuple(bars)))
    ours = ", ".join(f"{title} {percent(mean)}" for title, mean in means.items() if mean is not None)
    drawn = [title for title in means if _drawn_anew(result, title)]
    note = f"; {DAGGER} in {' and '.join(drawn)} with images drawn anew" if drawn else ""
    return BarPanels(
        title=f"VTAB{'-1k' if result.vtab == '1k' else ', all training images'}: mean accuracy{note}",
        panels=tuple(panels),
        unit="accuracy, %",
        alt=f"Accuracy of {name(result.model)} beside {count(len(beside), 'published model')}. "
        + (f"This model: {ours}." if ours else "Too many tasks are missing for a mean of this model."),
    )


def markdown(result: VtabResult, beside: Sequence[Beside]) -> str:
    """A table in Markdown: a row for each task, and the means.

    Args:
        result: of this model.
        beside: published ones.
    """
    model = safe(result.model)
    heads = [model, *(row.name for row in beside)]
    lines = [
        f"# VTAB{'-1k' if result.vtab == '1k' else ''}: {model}",
        "",
        *(safe(line, 900) for line in _said(result)),
        "",
    ]
    lines += [f"| | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    for label, values in _rows(result, beside):
        lines.append(f"| {label} | {' | '.join(values)} |")
    lines += ["", "Top-1 accuracy in percent. " + _footnote(result)]
    return "\n".join(lines) + "\n"


def latex(result: VtabResult, beside: Sequence[Beside]) -> str:
    """A table in LaTeX (booktabs, graphicx): a row for each model, 19 columns with turned heads, and the mean.

    Args:
        result: of this model.
        beside: published ones; those without scores for the tasks have only a mean.
    """
    heads = [rf"\rotatebox{{90}}{{{_escaped(title)}}}" for title in (*(task.title for task in TASKS), "Mean of 19")]
    sizes = [len(members) for members in groups().values()]
    spans, first = [], 2
    for group, size in zip(groups(), sizes, strict=True):
        spans.append((rf"\multicolumn{{{size}}}{{c}}{{{group}}}", rf"\cmidrule(lr){{{first}-{first + size - 1}}}"))
        first += size
    rows = [(result.model, result.tasks, result.mean19, {each.task for each in result.details if each.regenerated})]
    rows += [(row.name, dict(row.tasks), row.mean19, set[str]()) for row in beside]
    lines = [
        "% booktabs, graphicx",
        *(f"% {line}" for line in _said(result)),
        rf"\begin{{tabular}}{{l{'r' * sizes[0]}{'r' * sizes[1]}{'r' * sizes[2]}r}}",
        r"\toprule",
        " & " + " & ".join(span for span, _ in spans) + r" & \\",
        "".join(rule for _, rule in spans),
        " & " + " & ".join(heads) + r" \\",
        r"\midrule",
    ]
    for label, scores, mean, drawn in rows:
        cells = [_number(scores.get(task.name)) + (r"$^\dagger$" if task.name in drawn else "") for task in TASKS]
        total = _number(mean) + (r"$^\dagger$" if drawn and mean is not None else "")
        lines.append(f"{_escaped(label)} & {' & '.join(cells)} & {total} " + r"\\")
    lines += [r"\bottomrule", r"\end{tabular}", f"% {_footnote(result)}"]
    return "\n".join(lines) + "\n"


def vtab_view(report: VtabReport) -> dict[str, Any]:
    """Values for `vtab.html.j2`.

    Args:
        report: what to show.
    """
    result = report.result
    score = result.mean19
    links = [("chart", "Beside others"), ("tasks", "Task by task")]
    links += [("missing", "Missing")] if result.missing else []
    links += [("runs", "Seeds and settings"), ("how", "How it was done"), ("next", "How to go on")]
    return {
        "title": name(result.model),
        "summary": f"{result.setting}.",
        "written": report.written,
        "links": links,
        "score": None if score is None else f"{100 * score:.1f}",
        "dagger": result.dagger,
        "score_label": _score_label(result),
        "notices": _notices(result),
        "means": _means(result),
        "drawing": figure(chart(result, report.beside)),
        "beside": [row for row in report.beside if row.tasks],
        "blocks": _blocks(result, report.beside),
        "missing": result.missing,
        "details": result.details,
        "several": len(result.seeds) > 1,
        "facts": _facts(report),
        "sources": list(dict.fromkeys(row.source for row in report.beside)),
        "command": report.command,
        "next_steps": report.next_steps,
    }


def _drawn_anew(result: VtabResult, title: str) -> bool:
    return any(each.regenerated and title in (ALL, each.group) for each in result.details)


def _score_label(result: VtabResult) -> str:
    if result.mean19 is None:
        there, all_ = len(result.details), len(TASKS)
        return f"no VTAB score: {there} of {all_} tasks have one"
    spread = result.spread.get("mean19")
    about = "" if spread is None else f" ± {100 * spread:.2f} over {count(len(result.seeds), 'seed')}"
    return f"mean of all 19 tasks{about}"


def _notices(result: VtabResult) -> list[str]:
    said = []
    if result.random:
        said.append("The model began from random weights: this is what it reaches without any pre-training.")
    if result.regenerated:
        drawn = [each.title for each in result.details if each.regenerated]
        said.append(
            f"{DAGGER} The images of {' and '.join(drawn)} are drawn anew, not the published files: their scores, and"
            " every mean with them in it, are not those of the published benchmark."
        )
    if result.deviations:
        said.append(f"Not the protocol's setting: {'; '.join(result.deviations)}.")
    inexact = [each.title for each in result.details if not each.exact and not each.regenerated]
    if inexact:
        said.append(f"Not the published images for {', '.join(inexact)}: the notes below say why.")
    return said


def _means(result: VtabResult) -> list[dict[str, Any]]:
    rows: list[tuple[str, float | None, float | None, str]] = [
        (f"{group} ({len(members)} tasks)", result.groups[group], result.spread.get(group), group)
        for group, members in groups().items()
    ]
    rows.append(
        ("mean of the three groups, another number", result.mean_of_groups, result.spread.get("mean_of_groups"), ALL)
    )
    return [
        {
            "name": label,
            "share": mean,
            "value": percent(mean) + (DAGGER if mean is not None and _drawn_anew(result, group) else ""),
            "spread": "" if spread is None else f"± {100 * spread:.1f}",
        }
        for label, mean, spread, group in rows
    ]


def _blocks(result: VtabResult, beside: Sequence[Beside]) -> list[dict[str, Any]]:
    """The three groups with their tasks, and what others have on each."""
    own = {each.task: each for each in result.details}
    lacking = {each.task for each in result.missing}
    rivals = [row for row in beside if row.tasks]
    return [
        {
            "group": group,
            "mean": percent(result.groups[group])
            + (DAGGER if result.groups[group] is not None and _drawn_anew(result, group) else ""),
            "beside": [percent(row.groups.get(group)) for row in rivals],
            "rows": [
                {
                    "label": own[task.name].label if task.name in own else task.title,
                    "mine": "missing" if task.name in lacking else _own(own.get(task.name)),
                    "share": own[task.name].top1 if task.name in own else None,
                    "beside": [percent(row.tasks[task.name]) for row in rivals],
                }
                for task in members
            ],
        }
        for group, members in groups().items()
    ]


def _own(score: VtabTaskScore | None) -> str:
    if score is None:
        return _NO_MARK
    return percent(score.top1) + ("" if score.spread is None else f" ± {100 * score.spread:.1f}")


def _facts(report: VtabReport) -> list[tuple[str, str]]:
    result = report.result
    seeds = f"{', '.join(map(str, result.seeds))}; spreads are sample standard deviations" if result.seeds else "none"
    failed = f", {result.failed:,} could not be read" if result.failed else ""
    return [
        ("protocol", result.setting),
        ("seeds", seeds),
        ("test images", f"{result.seen:,} of {result.expected:,} scored, once for each seed{failed}"),
        ("training and scoring", duration(result.seconds)),
        *report.environment.items(),
    ]


def _said(result: VtabResult) -> list[str]:
    said = [result.setting + "."]
    if result.random:
        said.append("The model began from random weights.")
    if result.deviations:
        said.append(f"Not the protocol's setting: {'; '.join(result.deviations)}.")
    return said


def _footnote(result: VtabResult) -> str:
    notes = [f"{DAGGER} images drawn anew, not the published files."] if result.regenerated else []
    missing = [each.title for each in result.missing]
    if missing:
        notes.append(f"Missing: {', '.join(missing)}; without them there is no VTAB score.")
    return " ".join(notes)


def _rows(result: VtabResult, beside: Sequence[Beside]) -> list[tuple[str, list[str]]]:
    own = {each.task: each for each in result.details}
    rows = []
    for group, members in groups().items():
        for task in members:
            mine = own.get(task.name)
            value = _NO_MARK if mine is None else _number(mine.top1)
            if mine is not None and mine.spread is not None:
                value += f" ± {100 * mine.spread:.1f}"
            label = task.title if mine is None else mine.label
            rows.append((label, [value, *(_number(row.tasks.get(task.name)) for row in beside)]))
        mark = DAGGER if _drawn_anew(result, group) and result.groups[group] is not None else ""
        means = [_number(result.groups[group]) + mark, *(_number(row.groups.get(group)) for row in beside)]
        rows.append((f"**{group}**", means))
    both = [_mean_of_groups(row.groups) for row in beside]
    total = _number(result.mean19) + (result.dagger if result.mean19 is not None else "")
    rows.append(("**Mean of 19 (VTAB)**", [total, *(_number(row.mean19) for row in beside)]))
    rows.append(("Mean of the three groups", [_number(result.mean_of_groups), *map(_number, both)]))
    return rows


def _mean_of_groups(means: Mapping[str, float]) -> float | None:
    return sum(means.values()) / len(means) if len(means) == len(groups()) else None


def _number(share: float | None) -> str:
    return _NO_MARK if share is None else f"{100 * share:.1f}"


def _escaped(text: str) -> str:
    return name(text, 80).translate(_LATEX).replace(DAGGER, r"$^\dagger$")

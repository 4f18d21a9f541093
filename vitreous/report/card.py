"""The model card: what a stranger must know about a model file, in Markdown, with no placeholder left in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from vitreous.report.content import RunReport
from vitreous.report.facts import model_facts, recipe_facts
from vitreous.report.words import calibration_in_words, confusions, count, name, percent
from vitreous.results import Evaluation

UNKNOWN = "not stated"

_CLASSES_LISTED = 200


def model_card(report: RunReport) -> str:
    """The text of MODEL_CARD.md for a training run; what is unknown reads "not stated".

    Args:
        report: of the run that made the model.
    """
    evaluation = report.evaluation
    blocks = [
        f"# {safe(report.title)}",
        safe(report.summary, 2000) if report.summary else UNKNOWN,
        "## The model",
        markdown_table(("what", "value"), [*model_facts(report.card), ("file", report.result.model or UNKNOWN)]),
        _origin(report),
        "## Intended use",
        f"Naming one of {count(len(evaluation.classes), 'class', 'classes')} for images like those it was tested on. "
        f"Use beyond that: {UNKNOWN}.",
        "## Score",
        *_score(report),
        "## Class by class",
        *_classes(evaluation),
        "## Limits",
        *_limits(report),
        "## Data",
        *_data(report),
        "## How it was made",
        fenced(report.command),
        markdown_table(("recipe", "value"), [("name", report.recipe.name), *recipe_facts(report.recipe)]),
        markdown_table(("environment", "value"), report.environment.items())
        if report.environment
        else f"Environment: {UNKNOWN}.",
        "## Licence and contact",
        f"Licence of the weights: {safe(report.card.licence or UNKNOWN)}. Contact: {UNKNOWN}.",
        f"Written: {safe(report.written or UNKNOWN)}.",
    ]
    return "\n\n".join(blocks) + "\n"


def _origin(report: RunReport) -> str:
    start = "random weights, not a pre-trained model" if report.random_weights else "a pre-trained model"
    rows = [(key, str(value)) for key, value in report.card.provenance.items() if not isinstance(value, dict | list)]
    text = f"Training began from {start}."
    return f"{text}\n\n{markdown_table(('provenance', 'value'), rows)}" if rows else text


def _score(report: RunReport) -> list[str]:
    evaluation = report.evaluation
    low, high = (percent(edge) for edge in evaluation.interval)
    headline = f"**{percent(evaluation.top1)}** of {count(evaluation.seen, 'image')} named rightly (top-1)"
    rests = f"{evaluation.seen:,} of {evaluation.expected:,} seen, {len(evaluation.failed):,} failed"
    source = safe(evaluation.data) if evaluation.data else f"images {UNKNOWN}"
    if report.result.optimistic:
        neutral = f"**Optimistic**: these images are not neutral: {safe(report.optimistic_because.rstrip('.'), 600)}."
    else:
        neutral = "These images chose nothing: no epoch, setting or threshold was picked by looking at them."
    rows = [("this model", percent(evaluation.top1), f"95 % interval {low} to {high}")]
    rows += [(baseline.name, percent(baseline.top1), baseline.explained) for baseline in report.baselines]
    rows.append(("balanced accuracy", percent(evaluation.balanced), "mean recall over the classes"))
    if evaluation.mean_average_precision is not None:
        rows.append(("mean average precision", percent(evaluation.mean_average_precision), "mean over the classes"))
    rows.append(("expected calibration error", percent(evaluation.calibration_error), "15 equal-width bins"))
    return [
        f"{headline}; 95 % confidence interval {low} to {high}. Measured on: {source} ({rests}).",
        neutral,
        markdown_table(("what", "score", "explained"), rows),
    ]


def _classes(evaluation: Evaluation) -> list[str]:
    rows = [
        (score.name, f"{score.support:,}", percent(score.recall), percent(score.precision), percent(score.f1))
        for score in evaluation.per_class[:_CLASSES_LISTED]
    ]
    table = markdown_table(("class", "images", "recall", "precision", "F1"), rows)
    more = len(evaluation.per_class) - len(rows)
    return [table, f"and {count(more, 'class', 'classes')} more"] if more > 0 else [table]


def _limits(report: RunReport) -> list[str]:
    pairs = confusions(report.evaluation, 3)
    said = [
        f"- {safe(pair.true)} is taken for {safe(pair.predicted)} in {percent(pair.share, 0)} of its images."
        for pair in pairs
    ]
    said.append(f"- {calibration_in_words(report.evaluation)}")
    if report.evaluation.mean_average_precision is None:
        said.append("- It always answers with one of its classes, also for an image that shows none of them.")
    return ["\n".join(said), f"Bias, fairness and safety beyond these figures: {UNKNOWN}."]


def _data(report: RunReport) -> list[str]:
    data = report.data
    notes = [f"- {safe(note, 600)}" for note in data.notes]
    notes += [f"- {safe(part.name)}: {count(part.total, 'image')}" for part in data.counts]
    notes.append(f"- left out because unreadable: {count(len(data.failed), 'image')}")
    notes.append(f"- fingerprint: {data.fingerprint or UNKNOWN}")
    return [f"Source: {safe(data.source or UNKNOWN)}. Licence and consent of the images: {UNKNOWN}.", "\n".join(notes)]


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose cells mean nothing but themselves.

    Args:
        heads: of the columns.
        rows: as many cells each.
    """
    lines = [heads, ["---"] * len(heads), *([safe(cell, 600) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def safe(text: str, length: int = 200) -> str:
    """One line of text in which Markdown and HTML mean nothing.

    Args:
        text: anything.
        length: the longest result, in characters, before escapes.
    """
    return re.sub(r"[\\`*{}\[\]<>|#&~]|\b_|_\b", r"\\\g<0>", name(text, length))


def fenced(text: str) -> str:
    """A fenced block that its content cannot close.

    Args:
        text: of one line.
    """
    ticks = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, ticks + 1)
    return f"{fence}\n{name(text, 4000)}\n{fence}"

"""What the page and the model card of a run without labels are made of: hidden patches, and what was said of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitreous.config import ModelCard, Recipe
from vitreous.console import duration
from vitreous.report import images
from vitreous.report.card import UNKNOWN, fenced, markdown_table, safe
from vitreous.report.content import Command, DataSheet
from vitreous.report.facts import model_facts, recipe_facts
from vitreous.report.figure import interval_strip
from vitreous.report.pieces import training_charts
from vitreous.report.words import count, name, percent, plain, points, sentence
from vitreous.results import Baseline, EpochRecord, Failure, RunResult

_TARGETS = {
    "mean-colour": "the mean colour of each hidden patch, one of 512",
    "downsampled": "the colours of 4 x 4 cells of each hidden patch, one of 512 each",
    "pixels": "every pixel of each hidden patch",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Guess:
    """One held-out image, what was hidden of it, and what the model said stands there."""

    path: str
    """The image, as the person named it."""
    share: float
    """Of its hidden patches, those whose colour was said rightly."""
    image: NDArray[np.uint8]
    """(height, width, 3) RGB, as the model saw it before anything was hidden."""
    hidden: NDArray[np.uint8]
    """Corrupted patches painted over, those too that the model saw swapped or as they are."""
    said: NDArray[np.uint8]
    """What the model says painted in their place."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskedScore:
    """A model's score on the hidden patches of held-out images; shares are means over images."""

    share: float
    """Hidden patches (with "downsampled" their cells) whose colour in 3 bits a channel is said rightly."""
    interval: tuple[float, float]
    """95 % interval of that over images: the patches of one image are no independent trials."""
    loss: float
    seen: int
    """Images."""
    expected: int
    failed: tuple[Failure, ...]
    hidden: int
    """Patches that were asked for."""
    commonest: float
    """What always saying one colour would give at best: the one that is commonest among these very patches."""
    nearest: float
    """What saying the mean colour of the patches around that show would give."""
    guesses: tuple[Guess, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskedReport:
    """Everything the page of one run of masked patch prediction shows."""

    title: str
    summary: str
    """One sentence under the title: what was trained, on what, for how long."""
    result: RunResult
    score: MaskedScore
    records: tuple[EpochRecord, ...]
    data: DataSheet
    card: ModelCard
    recipe: Recipe
    command: str
    """The exact command, ready to be typed again."""
    environment: Mapping[str, str]
    random_weights: bool = False
    """True when training began from random numbers instead of a pre-trained model."""
    written: str = ""
    next_steps: tuple[Command, ...] = ()


def masked_view(report: MaskedReport) -> dict[str, Any]:
    """Values for `masked.html.j2`.

    Args:
        report: what to show.
    """
    score = report.score
    links = [("hidden", "Hidden patches"), ("training", "Training"), ("data", "Data"), ("provenance", "Provenance")]
    return {
        "title": name(report.title),
        "summary": report.summary,
        "written": report.written,
        "links": links + ([("next", "How to go on")] if report.next_steps else []),
        "random_weights": report.random_weights,
        "score": percent(score.share).rstrip("%").strip(),
        "asked": count(score.hidden, "hidden patch", "hidden patches"),
        "images_seen": count(score.seen, "image"),
        "rests_on": f"{score.seen:,} of {count(score.expected, 'image')} were read ({name(report.data.source, 200)}).",
        "interval": score.interval,
        "strip": interval_strip(score.share, score.interval),
        "comparison": _comparison(score),
        "small_facts": _small_facts(report),
        "failed": {"count": len(score.failed), "rows": score.failed[:50]},
        "share_hidden": percent(report.recipe.masked_share, 0),
        "guesses": [_guess(guess) for guess in score.guesses],
        "charts": training_charts(report.records, "Colours said rightly", floor=0.0),
        "data": report.data,
        "left_out": {"count": len(report.data.failed), "rows": report.data.failed[:50]},
        "command": report.command,
        "recipe": _recipe(report.recipe),
        "recipe_caption": f"The recipe {report.recipe.name}: {report.recipe.source or 'source not stated'}",
        "model": model_facts(report.card),
        "environment": [(key, str(value)) for key, value in report.environment.items()],
        "next_steps": report.next_steps,
    }


def masked_card(report: MaskedReport) -> str:
    """The text of MODEL_CARD.md for a run without labels; what is unknown reads "not stated".

    Args:
        report: of the run that made the model.
    """
    score, data = report.score, report.data
    provenance = [(key, str(value)) for key, value in report.card.provenance.items()]
    low, high = (percent(edge) for edge in score.interval)
    notes = [f"- {safe(note, 600)}" for note in data.notes]
    notes += [f"- {safe(part.name)}: {count(part.total, 'image')}, their labels not looked at" for part in data.counts]
    notes += [f"- left out because unreadable: {count(len(data.failed), 'image')}"]
    notes += [f"- fingerprint: {data.fingerprint or UNKNOWN}"]
    blocks = [
        f"# {safe(report.title)}",
        safe(report.summary, 2000) if report.summary else UNKNOWN,
        "## The model",
        markdown_table(("what", "value"), [*model_facts(report.card), ("file", report.result.model or UNKNOWN)]),
        markdown_table(("provenance", "value"), provenance),
        "## Intended use",
        f"To be fine-tuned: it has no head and names no classes; it answers with features. Use beyond that: {UNKNOWN}.",
        "## Score",
        f"**{percent(score.share)}** of the colours of {score.hidden:,} hidden patches said rightly, on "
        f"{score.seen:,} of {count(score.expected, 'held-out image')}; 95 % interval over images {low} to {high}.",
        markdown_table(
            ("what", "score", "explained"),
            [(baseline.name, percent(baseline.top1), baseline.explained) for baseline in _baselines(score)],
        ),
        "## Limits",
        "The score says how well gaps are filled, not how well classes can be told apart afterwards. "
        f"Bias, fairness and safety: {UNKNOWN}.",
        "## Data",
        f"Source: {safe(data.source or UNKNOWN)}. Licence and consent of the images: {UNKNOWN}.",
        "\n".join(notes),
        "## How it was made",
        fenced(report.command),
        markdown_table(("recipe", "value"), [("name", report.recipe.name), *_recipe(report.recipe)]),
        markdown_table(("environment", "value"), report.environment.items()),
        "## Licence and contact",
        f"Licence of the weights: {safe(report.card.licence or UNKNOWN)}. Contact: {UNKNOWN}.",
        f"Written: {safe(report.written or UNKNOWN)}.",
    ]
    return "\n\n".join(blocks) + "\n"


def _baselines(score: MaskedScore) -> tuple[Baseline, Baseline]:
    return (
        Baseline(
            name="the patches around",
            top1=score.nearest,
            explained="says the mean colour of the patches around the gap that show",
        ),
        Baseline(
            name="always one colour",
            top1=score.commonest,
            explained="says the colour that is commonest among these very patches, the best that a constant can do",
        ),
    )


def _comparison(score: MaskedScore) -> list[dict[str, Any]]:
    own = {"name": "this model", "share": score.share, "why": "The marked tip is the 95 % interval.", "style": "first"}
    rows: list[dict[str, Any]] = [{**own, "interval": score.interval, "strong": True}]
    for baseline in _baselines(score):
        why = f"{sentence(baseline.explained)} This model: {points(score.share - baseline.top1)}."
        row = {"name": baseline.name, "share": baseline.top1, "why": why, "style": "third"}
        rows.append({**row, "interval": None, "strong": False})
    return rows


def _small_facts(report: MaskedReport) -> list[tuple[str, str]]:
    facts = [("loss", plain(report.score.loss)), ("patches asked for", f"{report.score.hidden:,}")]
    return [*facts, ("training took", duration(report.result.seconds))]


def _recipe(recipe: Recipe) -> list[tuple[str, str]]:
    objective = f"{percent(recipe.masked_share, 0)} of the patches hidden; predicts {_TARGETS[recipe.masked_target]}"
    return [("objective", objective), *recipe_facts(recipe)]


def _guess(guess: Guess) -> dict[str, Any]:
    height, width = guess.image.shape[:2]
    plates = (
        (guess.image, "a held-out image"),
        (guess.hidden, "the same image, its hidden patches painted over"),
        (guess.said, "the same image, its hidden patches as the model says they look"),
    )
    return {
        "plates": [(images.data_uri(pixels), words) for pixels, words in plates],
        "crisp": images.is_small(guess.image),
        "width": width,
        "height": height,
        "share": guess.share,
        "path": guess.path,
    }

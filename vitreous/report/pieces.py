"""What several pages show: headline, comparison, mistakes, confusions, failures, as values for templates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from vitreous.report import images
from vitreous.report.content import (
    LOOKS_SHOWN,
    Exhibit,
    Picture,
)
from vitreous.report.figure import Series, interval_strip, line_chart
from vitreous.report.matrix import chosen_classes, heat_map
from vitreous.report.words import (
    confusions,
    count,
    name,
    percent,
)
from vitreous.results import NO_CLASS, ClassScore, EpochRecord, Evaluation, Failure

_FAILURES_SHOWN = 50


def headline_view(evaluation: Evaluation) -> dict[str, Any]:
    """The score, its interval, and how many images it rests on.

    Args:
        evaluation: what came out.
    """
    return {
        "score": percent(evaluation.top1).rstrip("%").strip(),
        "several": evaluation.mean_average_precision is not None,
        "seen": evaluation.seen,
        "interval": evaluation.interval,
        "strip": interval_strip(evaluation.top1, evaluation.interval),
    }


def row_view(
    label: str, share: float, why: str, style: str, interval: tuple[float, float] | None = None
) -> dict[str, Any]:
    """One bar of a comparison; those in the style `first` stand out.

    Args:
        label: what is compared.
        share: its score, in [0, 1].
        why: what to say below it.
        style: CSS class of the bar.
        interval: of the score, where it is known.
    """
    strong = style == "first"
    return {"name": label, "share": share, "why": why, "style": style, "interval": interval, "strong": strong}


def rests_on(evaluation: Evaluation) -> str:
    """How many images were read, from where, and how many were not.

    Args:
        evaluation: what came out.
    """
    failed = len(evaluation.failed)
    source = f" ({name(evaluation.data, 200)})" if evaluation.data else ""
    read = f"{evaluation.seen:,} of {count(evaluation.expected, 'image')} were read{source}"
    return f"{read}; {count(failed, 'file')} could not be." if failed else f"{read}; none failed."


def mistakes_in_words(evaluation: Evaluation) -> str:
    """How many images were named wrongly.

    Args:
        evaluation: what came out.
    """
    wrong = sum(outcome.predicted != outcome.label for outcome in evaluation.outcomes)
    if not wrong:
        return f"Nothing: all {count(evaluation.seen, 'image')} were named rightly."
    return f"It named {wrong:,} of {count(evaluation.seen, 'image')} wrongly."


def weakness(score: ClassScore) -> tuple[bool, float, str]:
    """Sorts classes from the weakest to the strongest; those without a score come first.

    Args:
        score: of a class.
    """
    return score.f1 is not None, score.f1 or 0.0, score.name


def exhibit_view(exhibit: Exhibit, classes: Sequence[str]) -> dict[str, Any]:
    """One image with what was said of it.

    Args:
        exhibit: the image and its outcome.
        classes: their names.
    """
    outcome = exhibit.outcome
    label = name(classes[outcome.label] if outcome.label >= 0 else NO_CLASS)
    predicted = name(classes[outcome.predicted])
    right = outcome.label == outcome.predicted
    alt = f"an image of {label}" if right else f"an image of {label}, taken for {predicted}"
    attention = exhibit.picture.attention
    return {
        **picture_view(exhibit.picture),
        "overlay": None if attention is None else images.data_uri(images.overlay(exhibit.picture.pixels, attention)),
        "alt": alt,
        "right": right,
        "label": label,
        "predicted": predicted,
        "probability": outcome.probability,
        "label_probability": outcome.label_probability,
        "path": name(outcome.path),
    }


def attended(looks: Sequence[Exhibit]) -> Sequence[Exhibit]:
    """What there is to see of where the model looks: nothing for a model without attention.

    Args:
        looks: images, perhaps with attention.
    """
    return [look for look in looks if look.picture.attention is not None][:LOOKS_SHOWN]


def picture_view(picture: Picture) -> dict[str, Any]:
    """One picture, for an img element.

    Args:
        picture: its pixels.
    """
    height, width = picture.pixels.shape[:2]
    crisp = images.is_small(picture.pixels)
    return {"image": images.data_uri(picture.pixels), "crisp": crisp, "width": width, "height": height}


def matrix_view(evaluation: Evaluation) -> dict[str, Any]:
    """The confusion matrix and its most frequent confusions.

    Args:
        evaluation: what came out.
    """
    shown = len(chosen_classes(evaluation.confusion))
    return {
        "drawing": heat_map(evaluation.confusion, evaluation.classes),
        "pairs": confusions(evaluation),
        "classes": f"{len(evaluation.classes):,}",
        "shown": shown,
        "cut": shown < len(evaluation.classes),
    }


def points_over_epochs(records: Sequence[EpochRecord], field: str) -> tuple[tuple[float, float], ...]:
    """One column of the records over epochs, without the records that lack it.

    Args:
        records: lines of metrics.jsonl.
        field: of EpochRecord.
    """
    values = [(record.epoch, getattr(record, field)) for record in records]
    return tuple((epoch, float(value)) for epoch, value in values if value is not None)


def training_charts(
    records: Sequence[EpochRecord], right: str, *, floor: float | None = None, ceiling: float | None = None
) -> list[tuple[str, Markup]]:
    """Loss, share of right answers and learning rate over epochs, each with its title.

    Args:
        records: lines of metrics.jsonl.
        right: what the share of right answers is called.
        floor: of its axis.
        ceiling: of its axis.
    """

    def series(label: str, field: str, style: str) -> Series:
        return Series(name=label, points=points_over_epochs(records, field), style=style)

    loss = [series("training", "loss", "third"), series("held-out", "val_loss", "first")]
    share = [series("training", "accuracy", "third"), series("held-out", "val_accuracy", "first")]
    rate = [series("learning rate", "learning_rate", "second")]
    return [
        ("Loss", line_chart("Loss", loss, across="epoch", floor=0.0)),
        (right, line_chart(right, share, across="epoch", spell=share_in_words, floor=floor, ceiling=ceiling)),
        ("Learning rate", line_chart("Learning rate", rate, across="epoch", floor=0.0)),
    ]


def share_in_words(share: float) -> str:
    """A share on an axis or in a tooltip: whole percents stay whole.

    Args:
        share: in [0, 1].
    """
    return percent(share, 0 if round(100 * share, 3) % 1 == 0 else 1)


def failures_view(failed: Sequence[Failure]) -> dict[str, Any]:
    """Images that could not be read, the first fifty by name.

    Args:
        failed: all of them.
    """
    return {"count": len(failed), "rows": failed[:_FAILURES_SHOWN]}

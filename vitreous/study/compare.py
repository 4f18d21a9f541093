"""Two models on the same images: which is better, whether that is more than chance, and where they differ."""

from __future__ import annotations

import dataclasses
import json
import shlex
import time
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int

from vitreous.config import PreprocessConfig
from vitreous.console import count, say
from vitreous.data.classes import match_classes
from vitreous.data.imageset import ImageSet, Splits
from vitreous.data.sources import open_images
from vitreous.errors import DataError
from vitreous.evaluation.evaluate import Answers, Asked, ask, score
from vitreous.evaluation.intervals import Statistic, calibration_of, mean_of, resamples
from vitreous.evaluation.paired import difference, holm, images_needed, in_accord, mcnemar, share_difference
from vitreous.files import write_text
from vitreous.predict import Model, Predictor
from vitreous.report.compare import DUELS_SHOWN, ComparisonReport, duels_shown
from vitreous.report.content import Command, Picture
from vitreous.report.html import write_comparison_report
from vitreous.results import ClassDifference, Comparison, Contrast, Duel, Evaluation
from vitreous.schema import to_json
from vitreous.study.evaluated import pictures_of, without_outcomes
from vitreous.study.folder import result_folder

PAGE, FIGURES = "report.html", "comparison.json"

_LEVEL = 0.05


@dataclass(frozen=True, eq=False)
class _Side:
    """One model's answers to the images that both could answer."""

    predictor: Predictor
    evaluation: Evaluation
    answers: Answers
    means: Int[np.ndarray, " N"]
    """What each answer means: a class of the data, -1 for a class that the data lacks."""

    @property
    def said(self) -> list[str]:
        """The name of each answer."""
        return [self.predictor.classes[place] for place in self.answers.best[:, 0].tolist()]


def compare(
    a: Model | Predictor,
    b: Model | Predictor,
    data: str | Path | ImageSet | Splits,
    *,
    split: str | None = None,
    root: str | None = None,
    device: str = "auto",
    precision: Literal["float32", "bfloat16"] = "float32",
    batch_size: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    names: tuple[str, str] = ("A", "B"),
    command: str | None = None,
) -> Comparison:
    """Two models on the same images, with a paired test: is B better than A, or is that noise?

    Classes are matched by name, so that the models may know them in another order.

    Args:
        a: whatever `Predictor` takes, or one that is ready; its device, precision and batch size then hold.
        b: the same; differences are B minus A.
        data: labelled images; whatever `evaluate` takes.
        split: which part of it; by default test, then val, then train.
        root: where the files of a built-in set lie.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        precision: of the matrix products.
        batch_size: images per forward pass; see `Predictor`.
        seed: of the bootstrap intervals.
        out: folder for report.html and comparison.json; by default neither is written.
        names: what to call the two.
        command: what was typed, for the page.

    Raises:
        DataError: there are no such images, or a class that one of the models does not know.
        UsageError: `out` holds something else.
        ModelFileError: a model cannot be used.
    """
    folder = None if out is None else result_folder(Path(out), FIGURES)
    images = open_images(data, split=split, root=root)
    asked, predictors = [], []
    for model, name in ((a, names[0]), (b, names[1])):
        predictor = (
            model
            if isinstance(model, Predictor)
            else Predictor(model, device=device, precision=precision, batch_size=batch_size)
        )
        say(f"{name}: {count(len(predictor.classes), 'class', 'classes')}")
        known = match_classes(images, predictor.classes, known_to=name)
        asked.append((ask(predictor, known), known))
        predictors.append(predictor)
    sides = _sides(images, predictors, asked, seed)
    found = _compared(sides, images, names, seed)
    if folder is None:
        return found
    found = dataclasses.replace(found, html=str(folder / PAGE))
    called = str(data) if isinstance(data, str | Path) else images.name
    typed = command or shlex.join(["vitreous", "compare", *names, called])
    write_comparison_report(folder / PAGE, _report(found, images, predictors[0].preprocess, typed, called))
    write_text(folder / FIGURES, json.dumps(brief(found), indent=1, allow_nan=False) + "\n")
    return found


def brief(found: Comparison) -> dict[str, object]:
    """A comparison as plain JSON values, without the entries per image of both evaluations.

    Args:
        found: the comparison.
    """
    whole = dataclasses.replace(
        found, a=dataclasses.replace(found.a, outcomes=()), b=dataclasses.replace(found.b, outcomes=())
    )
    values: dict[str, object] = to_json(whole)
    return {**values, "a": without_outcomes(found.a), "b": without_outcomes(found.b)}


def _sides(
    images: ImageSet, predictors: list[Predictor], asked: list[tuple[Asked, ImageSet]], seed: int
) -> tuple[_Side, _Side]:
    """Both models' answers to the images that both could read."""
    both = np.intersect1d(asked[0][0].answers.places, asked[1][0].answers.places)
    if not len(both):
        raise DataError("there is no image that could be read both times", where=images.name)
    sides = []
    for predictor, (said, known) in zip(predictors, asked, strict=True):
        kept = _kept(said, both)
        table = _meanings(images, predictor)
        evaluation = score(kept, known, predictor.classes, seed=seed)
        sides.append(_Side(predictor, evaluation, kept.answers, table[kept.answers.best[:, 0]]))
    return sides[0], sides[1]


def _kept(asked: Asked, places: Int[np.ndarray, " n"]) -> Asked:
    """The answers to some images; both models mostly read the same."""
    rows = np.flatnonzero(np.isin(asked.answers.places, places))
    if len(rows) == len(asked.answers.places):
        return asked
    logits = None if asked.logits is None else asked.logits[rows]
    return dataclasses.replace(asked, answers=asked.answers.some(rows), logits=logits)


def _meanings(images: ImageSet, predictor: Predictor) -> Int[np.ndarray, " Y"]:
    """For each class of a model the class of the data with its name, -1 for those without."""
    places = np.flatnonzero(images.counts > 0)
    blank = ImageSet(
        name=images.name,
        classes=images.classes,
        ids=[images.classes[place] for place in places.tolist()],
        labels=places,
        read=images.read,
    )
    table = np.full(len(predictor.classes), -1, np.int64)
    table[match_classes(blank, predictor.classes, known_to="the model").labels] = places
    return table


def _compared(sides: tuple[_Side, _Side], images: ImageSet, names: tuple[str, str], seed: int) -> Comparison:
    a, b = sides
    right_a, right_b = a.answers.correct, b.answers.correct
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    seen, p_value = len(right_a), mcnemar(only_a, only_b)
    verdict: Literal["A is better", "B is better", "within noise"] = "within noise"
    if p_value < _LEVEL:
        verdict = "B is better" if only_b > only_a else "A is better"
    between = share_difference(only_a, only_b, seen, seed=seed)
    top1 = Contrast(
        a=a.evaluation.top1,
        b=b.evaluation.top1,
        difference=(only_b - only_a) / seen,
        interval=in_accord(between, within_noise=verdict == "within noise"),
    )
    contrasts = _contrasts(sides, seed)
    failed = {failure.path: failure for side in sides for failure in side.evaluation.failed}
    return Comparison(
        name_a=names[0],
        name_b=names[1],
        data=a.evaluation.data,
        seen=seen,
        expected=len(images),
        failed=tuple(failed.values()),
        top1=top1,
        p_value=p_value,
        verdict=verdict,
        words=in_words(top1, verdict),
        both=int((right_a & right_b).sum()),
        only_a=only_a,
        only_b=only_b,
        neither=int((~right_a & ~right_b).sum()),
        agreement=float(_agree(a, b).mean()),
        images_needed=images_needed(only_a, only_b, seen),
        calibration_error=contrasts["calibration_error"],
        log_loss=contrasts.get("log_loss"),
        by_class=_by_class(sides, images, right_a, right_b),
        duels=_duels(sides, images, right_a, right_b),
        a=a.evaluation,
        b=b.evaluation,
    )


def in_words(top1: Contrast, verdict: str) -> str:
    """The outcome as a sentence: `B is 0.4 points better (95 % interval -0.2 to 1.0): within noise`.

    Args:
        top1: of both models.
        verdict: of the test.
    """
    points, (low, high) = 100 * top1.difference, (100 * edge for edge in top1.interval)
    between = f"(95 % interval {low:.1f} to {high:.1f})"
    more = "within noise" if verdict == "within noise" else "more than chance"
    if top1.difference == 0:
        return f"both get as many images right {between}: {more}"
    size = f"{abs(points):.1f}" if abs(points) >= 0.05 else "less than 0.1"
    return f"B is {size} points {'better' if points > 0 else 'worse'} {between}: {more}"


def _contrasts(sides: tuple[_Side, _Side], seed: int) -> dict[str, Contrast]:
    """Figures that are no share of right answers, over the same bootstrap samples for both models."""
    pairs: dict[str, tuple[Statistic, Statistic]] = {
        "calibration_error": (_calibration(sides[0]), _calibration(sides[1]))
    }
    losses = [side.answers.log_loss for side in sides]
    if losses[0] is not None and losses[1] is not None:
        pairs["log_loss"] = mean_of(losses[0]), mean_of(losses[1])
    seen = len(sides[0].answers.places)
    whole = np.ones(seen, np.int64)
    samples = [
        [(of_a(weights), of_b(weights)) for of_a, of_b in pairs.values()]
        for weights in resamples(seen, seed=seed, purpose="intervals")
    ]
    table = np.array(samples)  # (samples, figures, 2)
    found = {}
    for place, (name, (of_a, of_b)) in enumerate(pairs.items()):
        value_a, value_b = of_a(whole), of_b(whole)
        gap = value_b - value_a
        between = difference(table[:, place, 0], table[:, place, 1], gap)
        found[name] = Contrast(a=value_a, b=value_b, difference=gap, interval=between)
    return found


def _calibration(side: _Side) -> Statistic:
    return calibration_of(side.answers.probability, side.answers.correct)


def _agree(a: _Side, b: _Side) -> Bool[np.ndarray, " N"]:
    """Which images both name alike; answers that are no class of the data are compared by their names."""
    alike = (a.means == b.means) & (a.means >= 0)
    elsewhere = np.flatnonzero((a.means < 0) & (b.means < 0)).tolist()
    said_a, said_b = a.said, b.said
    for place in elsewhere:
        alike[place] = unicodedata.normalize("NFC", said_a[place]) == unicodedata.normalize("NFC", said_b[place])
    return alike


def _truth(side: _Side, images: ImageSet) -> Int[np.ndarray, " N"]:
    """The class of each image by its main label, -1 where it shows none."""
    places = side.answers.places
    if images.targets is None or not images.several:
        return images.labels[places]
    return np.where(images.targets.rows(places).any(axis=1), images.labels[places], -1)


def _by_class(
    sides: tuple[_Side, _Side], images: ImageSet, right_a: Bool[np.ndarray, " N"], right_b: Bool[np.ndarray, " N"]
) -> tuple[ClassDifference, ...]:
    truth = _truth(sides[0], images)
    known = truth >= 0

    def counted(some: Bool[np.ndarray, " N"]) -> list[int]:
        found: list[int] = np.bincount(truth[known & some], minlength=len(images.classes)).tolist()
        return found

    support = counted(known)
    hits_a, hits_b = counted(right_a), counted(right_b)
    alone_a, alone_b = counted(right_a & ~right_b), counted(right_b & ~right_a)
    there = [place for place, number in enumerate(support) if number]
    corrected = holm([mcnemar(alone_a[place], alone_b[place]) for place in there])
    rows = [
        ClassDifference(
            name=images.classes[place],
            support=support[place],
            recall_a=hits_a[place] / support[place],
            recall_b=hits_b[place] / support[place],
            only_a=alone_a[place],
            only_b=alone_b[place],
            p_value=p_value,
        )
        for place, p_value in zip(there, corrected, strict=True)
    ]
    return tuple(sorted(rows, key=lambda row: (-abs(row.recall_b - row.recall_a), row.name)))


def _duels(
    sides: tuple[_Side, _Side], images: ImageSet, right_a: Bool[np.ndarray, " N"], right_b: Bool[np.ndarray, " N"]
) -> tuple[Duel, ...]:
    a, b = sides
    apart = np.flatnonzero(right_a != right_b)
    wrong = np.where(right_a, b.answers.probability, a.answers.probability)  # how sure the one that errs is
    order = apart[np.argsort(-wrong[apart], kind="stable")].tolist()
    said_a, said_b, truth = a.said, b.said, _truth(a, images)
    return tuple(
        Duel(
            path=images.ids[int(a.answers.places[row])],
            label=images.classes[int(truth[row])],
            said_a=said_a[row],
            probability_a=float(a.answers.probability[row]),
            said_b=said_b[row],
            probability_b=float(b.answers.probability[row]),
            right="A" if right_a[row] else "B",
        )
        for row in order
    )


def _report(
    found: Comparison, images: ImageSet, preprocess: PreprocessConfig, command: str, data: str
) -> ComparisonReport:
    shown = [duel.path for duels in duels_shown(found) for duel in duels]
    assert len(shown) <= 2 * DUELS_SHOWN, "a page shows a few"
    pictures = pictures_of(images, preprocess, shown)
    better = found.name_a if found.verdict == "A is better" else found.name_b
    steps = [
        Command(
            text=shlex.join(["vitreous", "evaluate", better, data, "--out", "evaluation"]),
            explained="everything about one of them",
        ),
    ]
    return ComparisonReport(
        result=found,
        pictures={path: Picture(pixels=pixels) for path, pixels in pictures.items()},
        command=command,
        written=time.strftime("%Y-%m-%d %H:%M"),
        next_steps=tuple(steps),
    )

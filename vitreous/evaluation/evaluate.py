"""A model scored on labelled images, by the same path that predicts."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int

from vitreous.console import Progress, count
from vitreous.data.classes import match_classes
from vitreous.data.feeding.loader import evaluation_batches
from vitreous.data.feeding.threads import num_readers
from vitreous.data.sources import ImageSet, Splits, open_images
from vitreous.errors import DataError
from vitreous.evaluation.intervals import (
    Statistic,
    balanced_of,
    bootstrap,
    calibration_of,
    mean_of,
    precision_of,
    precision_samples,
)
from vitreous.evaluation.metrics import (
    RocArea,
    area_under_roc,
    balanced_accuracy,
    brier_scores,
    calibration_error,
    class_means,
    class_scores,
    confusion_matrix,
    cross_entropies,
    log_losses,
    log_normaliser,
    mean_average_precision,
    rms_calibration_error,
    top_k_accuracy,
    wilson_interval,
)
from vitreous.predict import Model, Predictor, ranked
from vitreous.results import ClassScore, Evaluation, Failure, Outcome

_TOP = 5
_READ = 64  # images read together; the Predictor cuts them into its passes
_BLOCK = 1024  # images whose kept logits are looked at together
MOST_SCORES = 1 << 26
"""Logits that are kept for the ROC curve: 256 MiB, more than 50,000 images of 1,000 classes have."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model said about images that could be read, in their order."""

    places: Int[np.ndarray, " N"]
    """In the image set."""
    best: Int[np.ndarray, "N top"]
    """Classes, most probable first."""
    probability: Float[np.ndarray, " N"]
    """Of the most probable class."""
    labels: Int[np.ndarray, " N"]
    """True classes; of several, the one that the model comes nearest to; -1 where the image shows none."""
    label_probability: Float[np.ndarray, " N"]
    """0 where the image shows none."""
    log_loss: Float64[np.ndarray, " N"] | None
    """None where one class is wanted of images that show several."""
    brier: Float64[np.ndarray, " N"] | None
    normaliser: Float64[np.ndarray, " N"] | None
    """Logarithm of softmax's denominator; None where each class is a question of its own."""
    shown: Bool[np.ndarray, "N Y"] | None
    """Which classes each image shows, where that may be several."""

    @property
    def correct(self) -> Bool[np.ndarray, " N"]:
        """Which images are answered rightly."""
        return self.best[:, 0] == self.labels

    def some(self, rows: Int[np.ndarray, " n"]) -> Answers:
        """Those to some of the images.

        Args:
            rows: which, in the order wanted.
        """
        columns: dict[str, Any] = {
            spec.name: None if (column := getattr(self, spec.name)) is None else column[rows]
            for spec in dataclasses.fields(self)
        }
        return Answers(**columns)


@dataclass(frozen=True, eq=False)
class Asked:
    """The answers to all images, and which could not be read."""

    answers: Answers
    logits: Float32[np.ndarray, "N Y"] | None
    """None where there would be too many to keep."""
    failed: tuple[Failure, ...]
    pictures: frozenset[bytes]
    """Digests of the pixels that the model was given, where they were asked for."""


def evaluate(
    model: Model | Predictor,
    data: str | Path | ImageSet | Splits,
    *,
    split: str | None = None,
    device: str = "auto",
    precision: Literal["float32", "bfloat16"] = "float32",
    batch_size: int | None = None,
    root: str | None = None,
) -> Evaluation:
    """How often a model is right on labelled images, and where not.

    Classes are matched by name: the data may lack some of the model's, but not have others.

    Args:
        model: whatever `Predictor` takes, or one that is ready; its device, precision and batch size then hold.
        data: a folder of class folders, perhaps with train, val and test above; a built-in name; or an image set.
        split: which part of the data; by default test, then val, then train.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        precision: of the matrix products.
        batch_size: images per forward pass; see `Predictor`.
        root: where a built-in data set lies, if not in its usual place.

    Raises:
        DataError: there is nothing to evaluate on, or a class that the model does not know.
        ModelFileError: the model cannot be used.
    """
    predictor = (
        model
        if isinstance(model, Predictor)
        else Predictor(model, device=device, precision=precision, batch_size=batch_size)
    )
    images = match_classes(open_images(data, split=split, root=root), predictor.classes, known_to="the model")
    return score(ask(predictor, images), images, predictor.classes)


def ask(
    predictor: Predictor,
    images: ImageSet,
    *,
    keep: bool | None = None,
    pictures: bool = False,
    but: frozenset[bytes] = frozenset(),
) -> Asked:
    """What a model says about every image that can be read.

    Args:
        predictor: the model.
        images: labelled by its classes; see `match_classes`.
        keep: whether to keep all logits; by default where images show several classes, or where they take no more than
            256 MiB.
        pictures: whether to give digests of all pictures too.
        but: digests of pictures that are passed over.

    Raises:
        DataError: not one of the images can be read.
    """
    if keep is None:
        keep = images.several or len(images) * len(predictor.classes) <= MOST_SCORES
    logits = np.empty((len(images) if keep else 0, len(predictor.classes)), np.float32)
    parts: list[Answers] = []
    failures: list[Failure] = []
    met: set[bytes] = set()
    seen = 0
    batches = evaluation_batches(
        images,
        preprocess=predictor.preprocess,
        batch_size=max(_READ, predictor.batch_size),
        workers=num_readers(images),
    )
    with Progress("evaluating", len(images)) as progress:
        for places, pixels, failed in batches:
            failures += failed
            progress.advance(len(places) + len(failed))
            if pictures or but:
                digests = [hashlib.blake2b(one.tobytes(), digest_size=16).digest() for one in pixels]
                met.update(digests)
                left = np.array([digest not in but for digest in digests], bool)
                places, pixels = places[left], pixels[left]
            if len(places):
                said = predictor.logits(pixels)
                parts.append(judge(predictor, images, places, said))
                if keep:
                    logits[seen : seen + len(places)] = said
                seen += len(places)
    if not parts and met:
        raise DataError("these are the images that are scored", where=images.name, remedy="other labelled images")
    if not parts:
        raise DataError(
            "not one of the images can be read",
            where=images.name,
            why="; ".join(f"{failure.path}: {failure.reason}" for failure in failures[:3]) or "there are none",
        )
    return Asked(_joined(parts), logits[:seen] if keep else None, tuple(failures), frozenset(met))


def cooled(asked: Asked, predictor: Predictor, images: ImageSet, temperature: float) -> Asked:
    """The same answers with every logit divided by a temperature.

    Args:
        asked: with its logits.
        predictor: whose answers they are.
        images: what was asked about.
        temperature: above 0; above 1 it makes the model less sure.
    """
    assert asked.logits is not None, "the logits are kept"
    logits = asked.logits / np.float32(temperature)
    places = asked.answers.places
    blocks = [slice(first, first + _BLOCK) for first in range(0, len(places), _BLOCK)]
    parts = [judge(predictor, images, places[block], logits[block]) for block in blocks]
    return Asked(_joined(parts), logits, asked.failed, asked.pictures)


def judge(
    predictor: Predictor, images: ImageSet, places: Int[np.ndarray, " N"], logits: Float32[np.ndarray, "N Y"]
) -> Answers:
    """Answers beside the truth.

    Args:
        predictor: whose they are.
        images: labelled by its classes.
        places: of the images that the answers are about.
        logits: the answers.
    """
    probabilities = predictor.probabilities(logits)
    best = ranked(logits, _TOP).copy()  # a view would keep the order of all classes
    rows, labels, shown = np.arange(len(places)), images.labels[places], None
    one = predictor.card.answers == "one"
    if images.targets is not None and images.several:
        shown = images.targets.rows(places) > 0
        labels = _nearest(labels, best, shown)
    log_loss = brier = None
    if not one:
        wanted = np.arange(logits.shape[1]) == labels[:, None] if shown is None else shown
        log_loss, brier = cross_entropies(logits, wanted), brier_scores(probabilities, wanted)
    elif shown is None:
        log_loss, brier = log_losses(logits, labels), brier_scores(probabilities, labels)
    return Answers(
        places=places,
        best=best,
        probability=probabilities[rows, best[:, 0]],
        labels=labels,
        label_probability=np.where(labels >= 0, probabilities[rows, labels], 0.0),
        log_loss=log_loss,
        brier=brier,
        normaliser=log_normaliser(logits) if one else None,
        shown=shown,
    )


def score(asked: Asked, images: ImageSet, classes: tuple[str, ...], *, seed: int = 0) -> Evaluation:
    """Every figure about a model's answers.

    Args:
        asked: what it said.
        images: what it was asked about, labelled by its classes.
        classes: their names.
        seed: of the bootstrap intervals.
    """
    answers = asked.answers
    labels, predicted, correct = answers.labels, answers.best[:, 0], answers.correct
    confusion = confusion_matrix(labels, predicted, len(classes))
    per_class = class_scores(confusion, classes, np.bincount(predicted[labels < 0], minlength=len(classes)))
    macro, weighted = class_means(per_class)
    area = _area(asked)
    intervals = _intervals(asked, area, len(classes), seed)
    top5 = top_k_accuracy(answers.best, labels, _TOP)
    return Evaluation(
        top1=float(correct.mean()),
        top5=top5,
        balanced=balanced_accuracy(confusion),
        interval=wilson_interval(int(correct.sum()), len(correct)),
        calibration_error=calibration_error(answers.probability, correct),
        seen=len(labels),
        expected=len(images),
        failed=asked.failed,
        classes=classes,
        per_class=per_class,
        confusion=tuple(map(tuple, confusion.tolist())),
        outcomes=_outcomes(answers, images),
        data=f"{images.name}, {len(images):,} images",
        mean_average_precision=mean_average_precision(asked.logits, answers.shown)
        if asked.logits is not None and answers.shown is not None
        else None,
        unlabelled=int((labels < 0).sum()),
        log_loss=None if answers.log_loss is None else float(answers.log_loss.mean()),
        brier=None if answers.brier is None else float(answers.brier.mean()),
        rms_calibration_error=rms_calibration_error(answers.probability, correct),
        auroc=None if area is None else area.mean,
        auroc_classes=0 if area is None else area.classes,
        macro=macro,
        weighted=weighted,
        intervals={
            "top1": wilson_interval(int(correct.sum()), len(correct)),
            "top5": wilson_interval(round(top5 * len(correct)), len(correct)),
            **intervals,
        },
        notes=tuple(_notes(answers, area, per_class, intervals)),
    )


def _area(asked: Asked) -> RocArea | None:
    answers = asked.answers
    if asked.logits is None:
        return None
    return area_under_roc(asked.logits, answers.labels if answers.shown is None else answers.shown, answers.normaliser)


def _intervals(asked: Asked, area: RocArea | None, num_classes: int, seed: int) -> dict[str, tuple[float, float]]:
    """Bootstrap intervals, by field of the Evaluation; none where no resample could come out otherwise."""
    answers, correct = asked.answers, asked.answers.correct
    statistics: dict[str, Statistic] = {
        "balanced": balanced_of(answers.labels, correct, num_classes),
        "calibration_error": calibration_of(answers.probability, correct),
    }
    if answers.log_loss is not None and answers.brier is not None:
        statistics |= {"log_loss": mean_of(answers.log_loss), "brier": mean_of(answers.brier)}
    if area is not None and area.mean is not None:
        statistics["auroc"] = mean_of(area.influence + area.mean)
    found = bootstrap(statistics, len(correct), seed=seed)
    if asked.logits is not None and answers.shown is not None and answers.shown.any():
        samples = precision_samples(*asked.logits.shape)
        precision = {"mean_average_precision": precision_of(asked.logits, answers.shown)} if samples else {}
        found |= bootstrap(precision, len(correct), seed=seed, samples=samples)
    if "auroc" in found:
        found["auroc"] = max(0.0, found["auroc"][0]), min(1.0, found["auroc"][1])
    for name in ("balanced", "auroc", "mean_average_precision"):  # all right, or all wrong: resampling knows nothing
        if name in found and found[name][0] == found[name][1]:
            del found[name]
    return found


def _notes(
    answers: Answers, area: RocArea | None, per_class: Sequence[ClassScore], intervals: dict[str, tuple[float, float]]
) -> list[str]:
    """What is undefined here, and why."""
    notes = []
    if none := int((answers.labels < 0).sum()):
        shows = "1 image shows" if none == 1 else f"{none:,} images show"
        notes.append(f"{shows} none of the classes: no answer is right for them, and they count for no class")
    if (answers.labels < 0).all():
        notes.append("no image shows any class, so that there is no recall to take the mean of: balanced stands at 0")
    absent = sum(score.recall is None for score in per_class)
    if absent:
        notes.append(f"{count(absent, 'class has', 'classes have')} no images here, and no recall")
    if silent := sum(score.precision is None for score in per_class):
        notes.append(f"{count(silent, 'class is', 'classes are')} never the answer, and without a precision")
    if area is None:
        notes.append("the area under the ROC curve is not worked out: the scores of so many classes are not kept")
    elif area.mean is None:
        notes.append("there is no ROC curve: no class has images that show it and images that do not")
    if "balanced" not in intervals:
        notes.append("every answer is right, or every one wrong: resampling has nothing to tell how far that is luck")
    if answers.log_loss is None:
        notes.append("there is no log loss: the model names one class, and images show several")
    if answers.shown is not None and answers.shown.any() and "mean_average_precision" not in intervals:
        notes.append("the mean average precision has no interval: resampling tells nothing here, or takes too long")
    return notes


def _outcomes(answers: Answers, images: ImageSet) -> tuple[Outcome, ...]:
    columns = (answers.places, answers.labels, answers.best[:, 0], answers.probability, answers.label_probability)
    return tuple(
        Outcome(path=images.ids[place], label=label, predicted=said, probability=sure, label_probability=own)
        for place, label, said, sure, own in zip(*(column.tolist() for column in columns), strict=True)
    )


def _joined(parts: Sequence[Answers]) -> Answers:
    columns: dict[str, Any] = {}
    for spec in dataclasses.fields(Answers):
        values = [getattr(part, spec.name) for part in parts]
        columns[spec.name] = None if values[0] is None else np.concatenate(values)
    return Answers(**columns)


def _nearest(
    labels: Int[np.ndarray, " b"], best: Int[np.ndarray, "b top"], shown: Bool[np.ndarray, "b Y"]
) -> Int[np.ndarray, " b"]:
    """For each image the first of the best answers that it shows; its main label where it shows none of them, -1 where
    it shows nothing at all."""
    right = np.take_along_axis(shown, best, axis=1)
    near = np.where(right.any(axis=1), best[np.arange(len(best)), right.argmax(axis=1)], labels)
    return np.where(shown.any(axis=1), near, -1)

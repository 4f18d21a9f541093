"""A model scored on labelled images, by the same path that predicts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from vitreous.console import Progress
from vitreous.data.classes import match_classes
from vitreous.data.feeding.loader import evaluation_batches
from vitreous.data.feeding.threads import num_readers
from vitreous.data.sources import ImageSet, Splits, open_images
from vitreous.errors import DataError
from vitreous.evaluation.metrics import (
    balanced_accuracy,
    calibration_error,
    class_scores,
    confusion_matrix,
    mean_average_precision,
    top_k_accuracy,
    wilson_interval,
)
from vitreous.predict import Model, Predictor, ranked
from vitreous.results import Evaluation, Failure, Outcome

_TOP = 5
_READ = 64  # images read together; the Predictor cuts them into its passes


@dataclass
class _Answers:
    """What the model said about the images that could be read, batch by batch."""

    places: list[Int[np.ndarray, " b"]] = field(default_factory=list)
    """In the image set."""
    best: list[Int[np.ndarray, "b top"]] = field(default_factory=list)
    """Classes, most probable first."""
    probability: list[Float[np.ndarray, " b"]] = field(default_factory=list)
    """Of the most probable class."""
    label_probability: list[Float[np.ndarray, " b"]] = field(default_factory=list)
    labels: list[Int[np.ndarray, " b"]] = field(default_factory=list)
    """True classes; of several, the one that the model comes nearest to."""
    scores: list[Float32[np.ndarray, "b Y"]] = field(default_factory=list)
    """Logits of all classes, where images have several labels."""
    shown: list[Bool[np.ndarray, "b Y"]] = field(default_factory=list)
    """And which classes they show."""
    failed: list[Failure] = field(default_factory=list)

    def add(self, places: Int[np.ndarray, " b"], images: ImageSet, predictor: Predictor, pixels: np.ndarray) -> None:
        logits = predictor.logits(pixels)
        probabilities = predictor.probabilities(logits)
        best = ranked(logits, _TOP)
        rows, labels = np.arange(len(places)), images.labels[places]
        if images.targets is not None and images.several:
            shown = images.targets.rows(places) > 0
            labels = _nearest(labels, best, shown)
            self.scores.append(logits)
            self.shown.append(shown)
        self.labels.append(labels)
        self.places.append(places)
        self.best.append(best)
        self.probability.append(probabilities[rows, best[:, 0]])
        self.label_probability.append(probabilities[rows, labels])


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
    answers = _ask(predictor, images)
    if not answers.places:
        raise DataError(
            "not one of the images can be read",
            where=images.name,
            why="; ".join(f"{failure.path}: {failure.reason}" for failure in answers.failed[:3]) or "there are none",
        )
    return _score(answers, images, predictor.classes)


def _ask(predictor: Predictor, images: ImageSet) -> _Answers:
    answers = _Answers()
    batches = evaluation_batches(
        images,
        preprocess=predictor.preprocess,
        batch_size=max(_READ, predictor.batch_size),
        workers=num_readers(images),
    )
    with Progress("evaluating", len(images)) as progress:
        for places, pixels, failed in batches:
            answers.failed += failed
            if len(places):
                answers.add(places, images, predictor, pixels)
            progress.advance(len(places) + len(failed))
    return answers


def _score(answers: _Answers, images: ImageSet, classes: tuple[str, ...]) -> Evaluation:
    places, best = np.concatenate(answers.places), np.concatenate(answers.best)
    probability = np.concatenate(answers.probability)
    label_probability = np.concatenate(answers.label_probability)
    labels, predicted = np.concatenate(answers.labels), best[:, 0]
    known = np.where(np.concatenate(answers.shown).any(axis=1), labels, -1) if answers.shown else labels
    correct = predicted == known
    confusion = confusion_matrix(labels, predicted, len(classes))
    return Evaluation(
        top1=float(correct.mean()),
        top5=top_k_accuracy(best, known, _TOP),
        balanced=balanced_accuracy(confusion),
        interval=wilson_interval(int(correct.sum()), len(correct)),
        calibration_error=calibration_error(probability, correct),
        seen=len(places),
        expected=len(images),
        failed=tuple(answers.failed),
        classes=classes,
        per_class=class_scores(confusion, classes),
        confusion=tuple(map(tuple, confusion.tolist())),
        outcomes=tuple(
            Outcome(
                path=images.ids[place],
                label=int(labels[i]),
                predicted=int(predicted[i]),
                probability=float(probability[i]),
                label_probability=float(label_probability[i]),
            )
            for i, place in enumerate(places)
        ),
        data=f"{images.name}, {len(images):,} images",
        mean_average_precision=mean_average_precision(np.concatenate(answers.scores), np.concatenate(answers.shown))
        if answers.scores
        else None,
    )


def _nearest(
    labels: Int[np.ndarray, " b"], best: Int[np.ndarray, "b top"], shown: Bool[np.ndarray, "b Y"]
) -> Int[np.ndarray, " b"]:
    """For each image the first of the best answers that it shows; its main label where it shows none of them."""
    right = np.take_along_axis(shown, best, axis=1)
    return np.where(right.any(axis=1), best[np.arange(len(best)), right.argmax(axis=1)], labels)

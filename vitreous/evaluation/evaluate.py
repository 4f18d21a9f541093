"""A model's score on labelled images, by the very path that `predict` takes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from vitreous import console
from vitreous.data.classes import match_classes
from vitreous.data.loader import evaluation_batches
from vitreous.data.sources import ImageSet, Splits, open_images
from vitreous.errors import DataError
from vitreous.evaluation.metrics import (
    balanced_accuracy,
    calibration_error,
    class_scores,
    confusion_matrix,
    top_k_accuracy,
    wilson_interval,
)
from vitreous.predict import Model, Predictor, softmax
from vitreous.results import Evaluation, Failure, Outcome


def evaluate(
    model: Model,
    data: str | Path | ImageSet | Splits,
    *,
    split: str | None = None,
    device: str = "auto",
    precision: Literal["float32", "bfloat16"] = "float32",
    batch_size: int | None = None,
    root: str | None = None,
) -> Evaluation:
    """Top-1, top-5, per-class scores, calibration and confusion on every image of `data`; none is dropped.

    Classes of the data are matched with the model's by name, never by place.

    Args:
        model: a model file, a run folder, a name, or a module with a `card`.
        data: a folder of class folders (with or without train, val and test above them), a built-in name, or images.
        split: which part, where there are parts; by default test, else val, else train.
        device: as in `Predictor`.
        precision: as in `Predictor`.
        batch_size: images per forward pass.
        root: where a built-in data set lies.

    Raises:
        DataError: a class that the model does not know, or not one image that can be read.
        ModelFileError: the model cannot be used.
    """
    predictor = Predictor(model, device=device, precision=precision, batch_size=batch_size)
    images = match_classes(open_images(data, split=split, root=root), predictor.classes, known_to="the model")
    indices, probabilities, failed = _probabilities(predictor, images)
    if not len(indices):
        why = f"{failed[0].path}: {failed[0].reason}" if failed else "there are none"
        raise DataError("not one image could be evaluated", where=images.name, why=why)
    return _evaluation(images, indices, probabilities, failed)


def _probabilities(predictor: Predictor, images: ImageSet) -> tuple[np.ndarray, np.ndarray, tuple[Failure, ...]]:
    """Places of the readable images, their probabilities, and the others."""
    places: list[np.ndarray] = []
    rows: list[np.ndarray] = []
    failed: list[Failure] = []
    size = predictor.batch_size
    with console.Progress("evaluating", len(images)) as progress:
        for indices, pixels, lost in evaluation_batches(images, preprocess=predictor.preprocess, batch_size=size):
            failed += lost
            if len(indices):
                places.append(indices)
                rows.append(softmax(predictor.logits(pixels)))
            progress.advance(len(indices) + len(lost))
    if not places:
        return np.empty(0, np.int64), np.empty((0, len(predictor.classes))), tuple(failed)
    return np.concatenate(places), np.concatenate(rows), tuple(failed)


def _evaluation(
    images: ImageSet, indices: np.ndarray, probabilities: np.ndarray, failed: tuple[Failure, ...]
) -> Evaluation:
    labels = images.labels[indices]
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities[np.arange(len(labels)), predicted]
    given = probabilities[np.arange(len(labels)), labels]
    correct = predicted == labels
    confusion = confusion_matrix(labels, predicted, len(images.classes))
    scores = class_scores(confusion, images.classes)
    return Evaluation(
        top1=float(correct.mean()),
        top5=top_k_accuracy(probabilities, labels, 5),
        balanced=balanced_accuracy(scores),
        interval=wilson_interval(int(correct.sum()), len(labels)),
        calibration_error=calibration_error(confidence, correct),
        seen=len(labels),
        expected=len(images),
        failed=failed,
        classes=images.classes,
        per_class=scores,
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        outcomes=tuple(
            Outcome(
                path=images.ids[int(place)],
                label=int(label),
                predicted=int(answer),
                probability=float(sure),
                label_probability=float(truth),
            )
            for place, label, answer, sure, truth in zip(indices, labels, predicted, confidence, given, strict=True)
        ),
        data=f"{images.name}, {len(images):,} images",
    )

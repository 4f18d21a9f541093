"""One temperature by which logits are divided, so that stated probabilities come true (Guo et al., ICML 2017).

It is fitted by the log loss on images that are not scored, changes no answer, and can be written into a model's head,
where every dialect carries it.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int

import vitreous
from vitreous.config import ModelCard
from vitreous.data.imageset import ImageSet
from vitreous.errors import DataError, ModelFileError, UsageError
from vitreous.evaluation.evaluate import Asked, ask, cooled, score
from vitreous.evaluation.intervals import bootstrap, mean_of
from vitreous.predict import Predictor, sigmoid, softmax
from vitreous.results import Calibration, Evaluation
from vitreous.weights.load import adapt, build_from, read_any
from vitreous.weights.native import golden_of, save_native

_HEADS = ("head.weight", "head.bias", "head_dist.weight", "head_dist.bias", "head.fc.weight", "head.fc.bias")
_LEAST, _MOST = 1e-3, 1e3  # of 1 / temperature
_STEPS = 200
_BLOCK = 1024
_TOLERANCE = 1e-3  # nats that the log loss of a saved model may differ by


def calibrate(
    predictor: Predictor, scored: ImageSet, others: ImageSet, *, seed: int = 0
) -> tuple[Evaluation, Evaluation, Calibration]:
    """The model on `scored` as it is and with the temperature that `others` chose, and what that changed.

    The logits of both sets are kept, four bytes each. Images of `others` that the model is given on `scored` too, pixel
    for pixel, choose nothing.

    Args:
        predictor: the model.
        scored: what both scores come from, labelled by the model's classes.
        others: what the temperature is fitted on, labelled so too.
        seed: of the intervals.

    Raises:
        DataError: `others` are the scored images, or no temperature is the best on them.
        UsageError: the model names one class, and images show several.
    """
    if predictor.card.answers == "one" and (scored.several or others.several):
        raise UsageError("the model names one class, and images show several: its probabilities cannot be calibrated")
    if scored.fingerprint == others.fingerprint:
        raise DataError("these are the images that are scored", where=others.name, remedy="other labelled images")
    found = ask(predictor, scored, keep=True, pictures=True)
    chosen = ask(predictor, others, keep=True, but=found.pictures)
    temperature = _fitted(chosen, predictor, others)
    after = cooled(found, predictor, scored, temperature)
    first, last = (score(one, scored, predictor.classes, seed=seed) for one in (found, after))
    return first, last, _change(temperature, chosen, others, (found, after), (first, last), seed)


def fit_temperature(
    logits: Float32[np.ndarray, "N Y"], truth: Int[np.ndarray, " N"] | Bool[np.ndarray, "N Y"]
) -> float | None:
    """The temperature with the least log loss; None where none has it: all answers are right, or as good as chance.

    The log loss is convex in 1 / temperature, so that a Newton step kept between two bounds always gets there.

    Args:
        logits: of each image.
        truth: true classes (softmax), or which classes each image shows (sigmoid).
    """
    low, high = _LEAST, _MOST
    if _slope(logits, truth, low)[0] >= 0 or _slope(logits, truth, high)[0] <= 0:
        return None
    scale = 1.0
    for _ in range(_STEPS):
        slope, bend = _slope(logits, truth, scale)
        low, high = (scale, high) if slope < 0 else (low, scale)
        step = scale - slope / bend if bend > 0 else low
        following = step if low < step < high else (low * high) ** 0.5
        if abs(following - scale) <= 1e-10 * scale:
            break
        scale = following
    return 1 / scale


def save_calibrated(source: str | Path, file: str | Path, found: Calibration) -> None:
    """Write a model whose logits are those of `source` divided by the temperature: its head's weights and bias are.

    Args:
        source: a model file in any dialect, a run folder or published weights.
        file: the native model file to write; `vitreous convert` takes it to any dialect.
        found: the temperature, and where it comes from.

    Raises:
        UsageError: `source` is somebody's own module.
        ModelFileError: `source` cannot be read.
    """
    loaded, path = read_any(source)
    if loaded.card.architecture is None:
        raise UsageError(
            "the head of somebody's own module is not known",
            where=str(path),
            remedy=f"divide its logits by {found.temperature:.6g}",
        )
    adapted = adapt(loaded)
    for name in _HEADS:
        if name in adapted.tensors:
            exact = adapted.tensors[name].to(torch.float64) / found.temperature
            adapted.tensors[name] = exact.to(adapted.tensors[name].dtype)
    adapted = dataclasses.replace(adapted, card=_with_provenance(adapted.card, found))
    model = build_from(adapted, path)
    save_native(file, model.state_dict(), adapted.card, golden_of(model, adapted.card))


def check_saved(file: str | Path, predictor: Predictor, scored: ImageSet, found: Calibration) -> Calibration:
    """The same with what the saved model scores, once it answers as it should; a file that does not is removed.

    Args:
        file: the model that was saved.
        predictor: of the model it was made from; the device is its device.
        scored: the images that `found` was scored on.
        found: what it should score.

    Raises:
        ModelFileError: it scores something else.
    """
    again = Predictor(Path(file), device=predictor.device, batch_size=predictor.batch_size)
    losses = ask(again, scored, keep=False).answers.log_loss
    assert losses is not None, "calibrate refuses what has no log loss"
    loss = float(losses.mean())
    if not abs(loss - found.log_loss[1]) <= _TOLERANCE * max(1.0, found.log_loss[1]):
        Path(file).unlink()
        raise ModelFileError(
            "the saved model does not answer as the calibrated one does, so it was not kept",
            where=str(file),
            why=f"its log loss is {loss:.5f}, and should be {found.log_loss[1]:.5f}",
        )
    return dataclasses.replace(found, saved=str(file), saved_log_loss=loss)


def _fitted(chosen: Asked, predictor: Predictor, others: ImageSet) -> float:
    answers = chosen.answers
    assert chosen.logits is not None, "the logits are kept"
    truth: Int[np.ndarray, " N"] | Bool[np.ndarray, "N Y"] = answers.labels
    if predictor.card.answers == "several":
        classes = np.arange(len(predictor.classes))
        truth = classes == answers.labels[:, None] if answers.shown is None else answers.shown
    temperature = fit_temperature(chosen.logits, truth)
    if temperature is None:
        raise DataError(
            "no temperature is the best on these images",
            where=others.name,
            why="every answer to them is right, or the answers are no better than chance"
            f" ({int(answers.correct.sum()):,} of {len(answers.correct):,} are right)",
            remedy="calibrate on more, or harder, images",
        )
    return temperature


def _change(
    temperature: float,
    chosen: Asked,
    others: ImageSet,
    asked: tuple[Asked, Asked],
    scores: tuple[Evaluation, Evaluation],
    seed: int,
) -> Calibration:
    before, after = scores
    losses = [one.answers.log_loss for one in asked]
    assert losses[0] is not None, "calibrate refuses what has no log loss"
    assert losses[1] is not None, "and so it is afterwards"
    assert before.log_loss is not None, "and its mean is there"
    assert after.log_loss is not None, "both times"
    change = bootstrap({"change": mean_of(losses[1] - losses[0])}, before.seen, seed=seed)["change"]
    used = len(chosen.answers.places)
    return Calibration(
        temperature=temperature,
        fitted_on=others.name,
        images=used,
        left_out=len(others) - used - len(chosen.failed),
        seen=before.seen,
        expected=before.expected,
        log_loss=(before.log_loss, after.log_loss),
        log_loss_intervals=(before.intervals["log_loss"], after.intervals["log_loss"]),
        log_loss_change=change,
        calibration_error=(before.calibration_error, after.calibration_error),
        calibration_error_intervals=(before.intervals["calibration_error"], after.intervals["calibration_error"]),
    )


def _slope(
    logits: Float32[np.ndarray, "N Y"], truth: Int[np.ndarray, " N"] | Bool[np.ndarray, "N Y"], scale: float
) -> tuple[float, float]:
    """First and second derivative of the log loss by 1 / temperature, summed over images."""
    slope = bend = 0.0
    for first in range(0, len(logits), _BLOCK):
        exact = logits[first : first + _BLOCK].astype(np.float64)
        part = _softmax_slope if truth.ndim == 1 else _sigmoid_slope
        one, two = part(exact, truth[first : first + _BLOCK], scale)
        slope, bend = slope + one, bend + two
    return slope, bend


def _softmax_slope(
    logits: Float64[np.ndarray, "B Y"], labels: Int[np.ndarray, " B"], scale: float
) -> tuple[float, float]:
    probabilities = softmax(scale * logits)
    away = logits - logits[np.arange(len(labels)), labels][:, None]
    mean = (probabilities * away).sum(axis=1)
    return float(mean.sum()), float(((probabilities * away**2).sum(axis=1) - mean**2).sum())


def _sigmoid_slope(
    logits: Float64[np.ndarray, "B Y"], shown: Bool[np.ndarray, "B Y"], scale: float
) -> tuple[float, float]:
    probabilities = sigmoid(scale * logits)
    return float((logits * (probabilities - shown)).sum()), float(
        (logits**2 * probabilities * (1 - probabilities)).sum()
    )


def _with_provenance(card: ModelCard, found: Calibration) -> ModelCard:
    said = {
        "temperature": found.temperature,
        "fitted_on": found.fitted_on,
        "images": found.images,
        "vitreous": vitreous.__version__,
    }
    return dataclasses.replace(card, provenance={**card.provenance, "calibration": said})

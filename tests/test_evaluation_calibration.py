"""A temperature: the one scipy finds, from other images, in the head of a model that every dialect carries."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from native_files import card_for, saved
from scipy import optimize, special
from sklearn import metrics as theirs

import vitreous as vt
from vitreous.data.imageset import ImageSet, array_set
from vitreous.data.targets import targets_from
from vitreous.errors import DataError, UsageError
from vitreous.evaluation.calibration import calibrate, check_saved, fit_temperature, save_calibrated
from vitreous.evaluation.evaluate import ask, evaluate, score
from vitreous.picture.preprocess import fit
from vitreous.predict import Predictor
from vitreous.results import Calibration, Evaluation
from vitreous.study.evaluated import Wanted, evaluated
from vitreous.weights.golden import golden_of
from vitreous.weights.native import read_native, save_native

CLASSES = tuple("abcdefghijk")


def _noise(count: int, seed: int, predictor: Predictor | None = None) -> ImageSet:
    """Images of noise; with a predictor, most of them labelled by what it says."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, 24, 40, 3), dtype=np.uint8)
    labels = rng.integers(0, 11, count)
    if predictor is not None:
        said = predictor.logits(np.stack([fit(one, predictor.preprocess) for one in pixels])).argmax(axis=1)
        labels = np.where(rng.random(count) < 0.7, said, labels)
    return array_set(f"noise {seed}", pixels, labels, CLASSES)


def _logits(predictor: Predictor, images: ImageSet) -> np.ndarray:
    """Without the way that is tested."""
    return predictor.logits(np.stack([fit(images.read(i), predictor.preprocess) for i in range(len(images))]))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small random model whose logits are large, so that it is too sure."""
    built: Any = saved(tmp_path / "model.safetensors")
    card = dataclasses.replace(card_for(built), classes=CLASSES)
    with torch.no_grad():
        built.head.weight *= 8
        built.head.bias *= 8
    save_native(tmp_path / "model.safetensors", built.state_dict(), card, golden_of(built, card))
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize(("scale", "seed"), [(1.0, 0), (6.0, 1), (0.2, 2)])
def test_the_temperature_is_scipys(scale: float, seed: int) -> None:
    """By scikit-learn's log loss and Brent's method, whatever the scale of the logits."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, 300)
    logits = (scale * (rng.normal(size=(300, 5)) + 1.3 * np.eye(5)[labels])).astype(np.float32)

    def loss(log_temperature: float) -> float:
        probabilities = special.softmax(logits.astype(float) / np.exp(log_temperature), axis=1)
        return float(theirs.log_loss(labels, probabilities, labels=range(5)))

    best = optimize.minimize_scalar(loss, bounds=(-4, 4), method="bounded", options={"xatol": 1e-10})
    assert fit_temperature(logits, labels) == pytest.approx(np.exp(best.x), rel=1e-5)


def test_the_temperature_of_questions_is_scipys() -> None:
    rng = np.random.default_rng(3)
    logits = (5 * rng.normal(size=(200, 4))).astype(np.float32)
    shown = rng.random((200, 4)) < special.expit(logits / 2.5)

    def loss(log_temperature: float) -> float:
        return float(
            theirs.log_loss(shown.ravel(), special.expit(logits.astype(float) / np.exp(log_temperature)).ravel())
        )

    best = optimize.minimize_scalar(loss, bounds=(-4, 4), method="bounded", options={"xatol": 1e-10})
    assert fit_temperature(logits, shown) == pytest.approx(np.exp(best.x), rel=1e-5)


def test_there_is_no_temperature_for_perfect_answers_or_for_none() -> None:
    """All right: the surer the better, without end. As good as chance, or worse: the less sure the better."""
    labels = np.arange(12) % 3
    right = np.eye(3, dtype=np.float32)[labels]
    assert fit_temperature(right, labels) is None
    assert fit_temperature(100 * right, labels) is None
    assert fit_temperature(-right, labels) is None
    assert fit_temperature(np.zeros((12, 3), np.float32), labels) is None


def test_calibrated_figures_are_those_of_divided_logits(model: Path) -> None:
    predictor = Predictor(model)
    scored, others = _noise(97, 1, predictor), _noise(120, 2, predictor)
    before, after, found = calibrate(predictor, scored, others)
    assert before == evaluate(predictor, scored)
    logits = _logits(predictor, others)
    assert found.temperature == fit_temperature(logits, others.labels)
    assert found.temperature > 1
    own = _logits(predictor, scored).astype(float)
    probabilities = special.softmax(own / found.temperature, axis=1)
    assert found.log_loss[1] == pytest.approx(theirs.log_loss(scored.labels, probabilities, labels=range(11)), abs=1e-5)
    assert found.log_loss[0] == before.log_loss
    assert (before.top1, before.confusion) == (after.top1, after.confusion)
    assert found.log_loss_change[0] < found.log_loss[1] - found.log_loss[0] < found.log_loss_change[1] < 0
    assert (120, 0, 97, 97) == (found.images, found.left_out, found.seen, found.expected)


def test_scored_images_choose_nothing(model: Path) -> None:
    """By their pixels, under whatever name; what is left decides, and nothing left is an error."""
    predictor = Predictor(model)
    scored, others = _noise(40, 1, predictor), _noise(60, 2, predictor)
    pixels = np.stack([*(scored.read(i) for i in range(9)), *(others.read(i) for i in range(60))])
    mixed = array_set("copies", pixels, np.concatenate([scored.labels[:9], others.labels]), CLASSES)
    _, _, found = calibrate(predictor, scored, mixed)
    assert (60, 9) == (found.images, found.left_out)
    assert found.temperature == pytest.approx(calibrate(predictor, scored, others)[2].temperature)
    for same in (scored, array_set("elsewhere", pixels[:9], scored.labels[:9], CLASSES)):
        with pytest.raises(DataError, match="these are the images that are scored"):
            calibrate(predictor, scored, same)


def test_a_saved_model_carries_its_temperature_into_every_dialect(model: Path, tmp_path: Path) -> None:
    predictor = Predictor(model)
    scored, others = _noise(50, 1, predictor), _noise(80, 2, predictor)
    found = calibrate(predictor, scored, others)[2]
    save_calibrated(model, tmp_path / "cool.safetensors", found)
    checked = check_saved(tmp_path / "cool.safetensors", predictor, scored, found)
    assert checked.saved_log_loss == pytest.approx(found.log_loss[1], abs=1e-5)
    card = read_native(tmp_path / "cool.safetensors").card
    assert card.provenance["calibration"]["temperature"] == found.temperature
    assert card.provenance["steps"] == 120
    vt.convert(tmp_path / "cool.safetensors", tmp_path / "timm", to="timm")
    save_calibrated(tmp_path / "timm", tmp_path / "twice.safetensors", dataclasses.replace(found, temperature=2.0))
    twice = _logits(Predictor(tmp_path / "twice.safetensors"), scored)
    np.testing.assert_allclose(twice, _logits(predictor, scored) / found.temperature / 2, rtol=1e-4, atol=1e-4)


def test_images_without_a_class_stand_in_no_row(model: Path) -> None:
    """They are wrong, and their answers count against a class's precision; nothing counts them as the first class."""
    predictor = Predictor(model)
    pixels = np.random.default_rng(5).integers(0, 256, (30, 24, 40, 3), dtype=np.uint8)
    blank = array_set("several", pixels, np.zeros(30, int), CLASSES)
    said = _logits(predictor, blank).argmax(axis=1).tolist()
    rows = [{} if i % 3 == 0 else {said[i]: 1.0} for i in range(30)]
    targets = targets_from(rows, 11, soft=False)
    images = dataclasses.replace(blank, labels=targets.main, targets=targets)
    asked = ask(predictor, images)
    found = score(asked, images, CLASSES)
    assert (10, 20) == (found.unlabelled, sum(score.support for score in found.per_class))
    assert found.top1 == pytest.approx(20 / 30)
    assert found.balanced == 1.0
    assert 20 == sum(map(sum, found.confusion))
    precise = [(one.precision, said.count(place)) for place, one in enumerate(found.per_class) if said.count(place)]
    assert 20 == pytest.approx(sum(share * count for share, count in precise if share is not None))
    assert [-1] * 10 == [outcome.label for outcome in found.outcomes[::3]]
    assert "(none of the classes)" == found.class_name(-1)
    assert "10 images show none of the classes" in found.notes[0]
    assert found.log_loss is None  # one class is wanted, and images show several


def test_a_share_of_the_images_or_other_data_chooses(model: Path, tmp_path: Path) -> None:
    from PIL import Image

    predictor = Predictor(model)
    for part, seed, number in (("test", 1, 110), ("val", 2, 66)):
        images = _noise(number, seed, predictor)
        for place in np.flatnonzero(np.bincount(images.labels)[images.labels] > 1).tolist():
            folder = tmp_path / "data" / part / CLASSES[int(images.labels[place])]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(images.read(place)).save(folder / f"{place}.png")
    data, out = str(tmp_path / "data"), tmp_path / "out"
    wanted = Wanted(out=str(out), calibrate_on="val", save_calibrated=str(tmp_path / "c.safetensors"), command="c")
    found, calibration = _run(predictor, str(model), data, wanted)
    assert calibration is not None
    assert found.seen == found.expected == len(list((tmp_path / "data" / "test").rglob("*.png")))
    assert calibration.images == len(list((tmp_path / "data" / "val").rglob("*.png")))
    assert {"report.html", "evaluation.json", "predictions.csv", "reliability.png", "reliability.svg"} == {
        path.name for path in out.iterdir()
    }
    figures = json.loads((out / "evaluation.json").read_text())
    assert (figures["top1"], figures["calibration"]["temperature"]) == (found.top1, calibration.temperature)
    assert 1 + found.seen == len(list(csv.reader((out / "predictions.csv").read_text().splitlines())))
    assert "One temperature for all answers" in (out / "report.html").read_text(encoding="utf-8")
    rest, calibration = _run(predictor, str(model), data, Wanted(calibrate_on="0.4"))
    assert calibration is not None
    assert found.seen == rest.seen + calibration.images


def _run(predictor: Predictor, model: str, data: str, wanted: Wanted) -> tuple[Evaluation, Calibration | None]:
    return evaluated(predictor, model, data, split=None, root=None, wanted=wanted)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Wanted(save_calibrated="c.safetensors"), "needs images that choose the temperature"),
        (Wanted(save_calibrated="c.pt", calibrate_on="x"), "ends in .safetensors, got 'c.pt'"),
        (Wanted(save_calibrated="no/c.safetensors", calibrate_on="x"), "no folder to write the model to"),
    ],
)
def test_what_cannot_be_saved_is_refused_at_once(wanted: Wanted, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        wanted.check("model")
    with pytest.raises(UsageError, match="random weights"):
        Wanted(save_calibrated="c.safetensors", calibrate_on="x").check("vit-test")

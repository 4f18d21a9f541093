"""Evaluation: what predict says, counted; nothing dropped, nothing guessed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from native_files import card_for, saved
from PIL import Image
from scipy import special
from sklearn import metrics as theirs
from torch import nn

from vitreous.config import ModelCard, PreprocessConfig
from vitreous.data.imageset import ImageSet, array_set
from vitreous.errors import DataError, ImageError, UsageError
from vitreous.evaluation.evaluate import evaluate
from vitreous.picture.preprocess import preprocess
from vitreous.predict import Predictor
from vitreous.results import Failure

NAMES = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda")


def _images(count: int = 83, classes: tuple[str, ...] = NAMES, seed: int = 0) -> ImageSet:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, 30, 44, 3), dtype=np.uint8)
    return array_set("noise", pixels, rng.integers(0, len(classes), count), classes)


def _model(path: Path) -> Any:
    model = saved(path)
    model.card = dataclasses.replace(card_for(model), classes=NAMES)
    return model


def _slow_logits(model: Any, images: ImageSet) -> np.ndarray:
    """One image at a time through the plain model, in float64."""
    double = model.double()
    rows = []
    for index in range(len(images)):
        pixels = preprocess(images.read(index), model.card.preprocess)
        with torch.no_grad():
            rows.append(double(torch.from_numpy(pixels)[None].double())[0].numpy())
    model.float()
    return np.array(rows)


def test_every_figure_equals_scikit_learn_on_the_plain_models_logits(tmp_path: Path) -> None:
    model, images = _model(tmp_path / "model.safetensors"), _images()
    found = evaluate(model, images)
    probabilities = special.softmax(_slow_logits(model, images), axis=1)
    predicted, labels = probabilities.argmax(axis=1), images.labels
    assert found.top1 == pytest.approx(theirs.accuracy_score(labels, predicted), abs=1e-12)
    assert found.top5 == pytest.approx(theirs.top_k_accuracy_score(labels, probabilities, k=5, labels=range(11)))
    assert found.balanced == pytest.approx(theirs.balanced_accuracy_score(labels, predicted), abs=1e-12)
    assert np.array(found.confusion).tolist() == theirs.confusion_matrix(labels, predicted, labels=range(11)).tolist()
    assert NAMES == found.classes == tuple(score.name for score in found.per_class)
    assert (83, 83, ()) == (found.seen, found.expected, found.failed)
    assert found.interval[0] < found.top1 < found.interval[1]
    assert found.data == "noise, 83 images"
    for index, outcome in enumerate(found.outcomes):
        assert (images.ids[index], labels[index], predicted[index]) == (
            outcome.path,
            outcome.label,
            outcome.predicted,
        )
        assert outcome.probability == pytest.approx(probabilities[index].max(), abs=1e-5)
        assert outcome.label_probability == pytest.approx(probabilities[index, labels[index]], abs=1e-5)


def test_evaluate_and_predict_say_the_same(tmp_path: Path) -> None:
    """From the file, for images alone and together: the same class, and the same probability to the last bit."""
    saved(tmp_path / "model.safetensors")
    predictor = Predictor(tmp_path)
    for place, name in enumerate(predictor.classes[:3]):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i, image in enumerate(np.random.default_rng(place).integers(0, 256, (5, 33, 47, 3), dtype=np.uint8)):
            Image.fromarray(image).save(tmp_path / "data" / name / f"{i}.png")
    found = evaluate(tmp_path, tmp_path / "data")
    together = list(predictor.stream([outcome.path for outcome in found.outcomes]))
    assert len(together) == 15
    for outcome, streamed in zip(found.outcomes, together, strict=True):
        alone = predictor(outcome.path)
        assert alone == streamed
        assert (alone.index, alone.probability) == (outcome.predicted, outcome.probability)


def test_classes_are_matched_by_name_not_by_place(tmp_path: Path) -> None:
    """Data that has fewer classes, in another order, gives the same outcomes for the same images."""
    model, images = _model(tmp_path / "model.safetensors"), _images()
    whole = evaluate(model, images)
    some = ("kappa", "beta", "lambda")
    chosen = [i for i in range(len(images)) if NAMES[images.labels[i]] in some]
    labels = np.array([some.index(NAMES[images.labels[i]]) for i in chosen])
    shuffled = dataclasses.replace(images.subset(chosen), classes=some, labels=labels)
    found = evaluate(model, shuffled)
    assert [whole.outcomes[i] for i in chosen] == list(found.outcomes)
    assert found.per_class[0].support == 0
    assert found.per_class[0].recall is None


def test_a_class_the_model_does_not_know_is_an_error(tmp_path: Path) -> None:
    model = _model(tmp_path / "model.safetensors")
    images = _images(classes=(*NAMES[:10], "Lambda "))
    with pytest.raises(DataError, match=r"the model does not know: Lambda.*\n.*differs from 'lambda' only in case"):
        evaluate(model, images)


def test_unreadable_images_are_counted_and_named(tmp_path: Path) -> None:
    model, images = _model(tmp_path / "model.safetensors"), _images(30)
    whole = evaluate(model, images)
    real = images.read

    def read(index: int) -> np.ndarray:
        if index in (4, 29):
            raise ImageError("the file is empty", where=images.ids[index])
        return real(index)

    found = evaluate(model, dataclasses.replace(images, read=read))
    assert (28, 30) == (found.seen, found.expected)
    assert (Failure(path="noise/00004", reason="the file is empty"), "noise/00029") == (
        found.failed[0],
        found.failed[1].path,
    )
    assert [o for i, o in enumerate(whole.outcomes) if i not in (4, 29)] == list(found.outcomes)
    with pytest.raises(DataError, match=r"(?s)not one of the images can be read.*noise/00004: the file is empty"):
        evaluate(model, dataclasses.replace(images, read=read).subset([4, 29]))


def test_a_predictor_that_is_ready_is_used_as_it_is(tmp_path: Path) -> None:
    model, images = _model(tmp_path / "model.safetensors"), _images(10)
    assert evaluate(Predictor(model), images) == evaluate(model, images)


class _Brightness(nn.Module):
    """Somebody's own classifier: dark or bright, by the mean of the pixels."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean = images.mean((1, 2, 3))
        return 9 * torch.stack([-mean, mean], dim=1)


def test_somebodys_own_module_is_evaluated_with_its_card() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 21, 17, 3), dtype=np.uint8) // 3
    labels = np.arange(40) % 2
    pixels[labels == 1] += 160
    images = array_set("light", pixels, labels, ("dark", "bright"))
    module: Any = _Brightness()
    with pytest.raises(UsageError, match="the _Brightness has no card"):
        evaluate(module, images)
    module.card = ModelCard(preprocess=PreprocessConfig(image_size=(8, 12)), classes=("dark", "bright"))
    found = evaluate(module, images)
    assert found.top1 == 1
    assert evaluate((_Brightness(), module.card), images) == found
    module.card = dataclasses.replace(module.card, classes=("bright", "dark"))
    assert evaluate(module, images).top1 == 0


def test_random_weights_are_as_good_as_chance() -> None:
    """A zoo name against digits: a head of zeros always says the first class, and is not called right elsewhere."""
    found = evaluate("vit-test", "digits")
    assert found.seen == 1797
    assert found.top1 == pytest.approx(178 / 1797)
    assert found.balanced == pytest.approx(0.1)

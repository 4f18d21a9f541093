"""Several labels, or shares of labels, from the image set through training to the score."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

import vitreous as vt
from vitreous.data.classes import match_classes
from vitreous.data.imageset import ImageSet, Splits, array_set
from vitreous.data.targets import targets_from
from vitreous.errors import DataError
from vitreous.evaluation.metrics import mean_average_precision
from vitreous.predict import sigmoid
from vitreous.training.learning.objective import LabelObjective, targets_of, wanted

COLOURS = ("red", "green", "blue")


def bars(count: int, seed: int) -> ImageSet:
    """32 px images whose thirds are lit in red, green and blue, each or not: three questions for each image."""
    rng = np.random.default_rng(seed)
    shown = rng.random((count, 3)) < 0.5
    pixels = rng.integers(0, 40, (count, 32, 32, 3), np.uint8)
    for place, row in enumerate(shown):
        for colour in np.flatnonzero(row):
            pixels[place, 2 + 10 * colour : 10 + 10 * colour, 4:28, colour] = 230
    targets = targets_from([dict.fromkeys(np.flatnonzero(row).tolist(), 1.0) for row in shown], 3, soft=False)
    return dataclasses.replace(array_set("bars", pixels, targets.main, COLOURS), targets=targets)


rows = st.lists(
    st.dictionaries(st.integers(0, 4), st.sampled_from((0.25, 0.5, 1.0)), max_size=5), min_size=1, max_size=9
)


@settings(deadline=None)
@given(rows, st.data())
def test_targets_are_the_rows_they_were_made_of(given_rows: list[dict[int, float]], data: st.DataObject) -> None:
    dense = np.zeros((len(given_rows), 5), np.float32)
    for place, row in enumerate(given_rows):
        for label, weight in row.items():
            dense[place, label] = weight
    targets = targets_from(given_rows, 5, soft=False)
    some = np.array(data.draw(st.lists(st.integers(0, len(dense) - 1), max_size=12)), np.int64)
    np.testing.assert_array_equal(targets.rows(some), dense[some])
    subset = targets.subset(some)
    np.testing.assert_array_equal(subset.rows(np.arange(len(some))), dense[some])
    np.testing.assert_array_equal(subset.counts, (dense[some] > 0).sum(axis=0))
    assert dense[np.arange(len(dense)), targets.main].tolist() == dense.max(axis=1).tolist()
    table = np.array([6, 3, 0, 1, 5])
    np.testing.assert_array_equal(targets.renamed(table, 7).rows(some)[:, table], dense[some])


def test_a_subset_and_other_class_places_keep_what_each_image_shows() -> None:
    images = bars(20, 1)
    assert images.targets is not None
    chosen = images.subset([7, 3, 11])
    renamed = match_classes(chosen, ("blue", "black", "green", "red"), known_to="the model")
    assert renamed.targets is not None
    expected = images.targets.rows(np.array([7, 3, 11]))
    np.testing.assert_array_equal(renamed.targets.rows(np.arange(3))[:, [3, 2, 0]], expected)
    other = dataclasses.replace(images, targets=targets_from([{0: 1.0}] * 20, 3, soft=False), fingerprint="")
    assert other.fingerprint != dataclasses.replace(images, fingerprint="").fingerprint


def test_smoothing_of_rows_is_that_of_labels() -> None:
    labels = torch.tensor([2, 0, 4])
    rows = targets_of(labels, 5).numpy()
    torch.testing.assert_close(wanted(labels.numpy(), rows, 5, 0.1), targets_of(labels, 5, 0.1))


def test_right_is_an_answer_that_the_image_shows() -> None:
    targets = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    outputs = torch.tensor([[0.1, 3.0, 0.2], [3.0, 0.1, 0.2], [3.0, 0.1, 0.2]])
    assert LabelObjective("sigmoid").correct(outputs, targets) == 1.0


@settings(deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 30), st.integers(1, 5))
def test_mean_average_precision_is_scikit_learns(seed: int, images: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    scores, shown = rng.integers(0, 6, (images, classes)) / 7.0, rng.random((images, classes)) < 0.4
    kept = shown.any(axis=0)
    found = mean_average_precision(scores, shown)
    if not kept.any():
        assert found is None
        return
    assert found == pytest.approx(average_precision_score(shown[:, kept], scores[:, kept], average="macro"))


def test_sigmoid_is_pytorchs() -> None:
    logits = np.linspace(-800, 800, 33)[None]
    np.testing.assert_allclose(sigmoid(logits), torch.from_numpy(logits).sigmoid().numpy(), rtol=1e-12, atol=0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> vt.Run:
    splits = Splits(bars(96, 2), bars(32, 3), bars(48, 4))
    run = str(tmp_path_factory.mktemp("several") / "run")
    return vt.pretrain(
        splits, model="vit-test", set="loss=sigmoid", steps=60, batch_size=32, learning_rate=1e-2, run=run
    )


def test_a_model_learns_several_labels_of_an_image(trained: vt.Run) -> None:
    """Three independent questions: chance is a mean average precision of one half."""
    found = vt.evaluate(trained.result.model, bars(48, 5))
    assert found.mean_average_precision is not None
    assert found.mean_average_precision > 0.9
    assert found.seen == 48


def test_no_answer_is_right_for_images_that_show_no_class(trained: vt.Run) -> None:
    """Red is the first class, and said of red images; they are then said to show nothing."""
    images = bars(48, 5)
    red = dataclasses.replace(images, targets=targets_from([{0: 1.0}] * 48, 3, soft=False), labels=np.zeros(48, int))
    none = dataclasses.replace(red, targets=targets_from([{}] * 48, 3, soft=False))
    assert vt.evaluate(trained.result.model, red).top1 > 0.1
    found = vt.evaluate(trained.result.model, none)
    assert (found.top1, found.top5, found.mean_average_precision) == (0.0, 0.0, None)


def test_the_page_says_what_right_means(trained: vt.Run) -> None:
    page = Path(trained.result.report).read_text(encoding="utf-8")
    assert "to say which of 3 classes an image shows" in page
    assert "the surest answer is one of theirs" in page
    assert "mean average precision" in page


def test_each_class_is_answered_for_itself(trained: vt.Run) -> None:
    predictor = vt.Predictor(trained.result.model)
    assert predictor.card.answers == "several"
    everything = np.full((32, 32, 3), 10, np.uint8)
    for colour in range(3):
        everything[2 + 10 * colour : 10 + 10 * colour, 4:28, colour] = 230
    answer = predictor(everything, top=3)
    assert sum(probability for _, probability in answer.top) > 1.5


def test_several_labels_under_a_softmax_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="several labels each") as caught:
        vt.pretrain(Splits(bars(32, 2), bars(16, 3), None), model="vit-test", steps=1, run=str(tmp_path / "run"))
    assert caught.value.remedy == "--set loss=sigmoid"


def test_shares_of_labels_are_learned_under_a_softmax(tmp_path: Path) -> None:
    images = bars(64, 6)
    soft = targets_from([{place % 3: 0.75, (place + 1) % 3: 0.25} for place in range(64)], 3, soft=True)
    shared = dataclasses.replace(images, targets=soft, labels=soft.main)
    run = vt.pretrain(Splits(shared, shared, None), model="vit-test", steps=3, batch_size=16, run=str(tmp_path / "run"))
    assert vt.Predictor(run.result.model).card.answers == "one"
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(line["loss"] > entropy for line in lines)
    assert lines

"""`compare` says who is better and how surely, whatever order the models know the classes in."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import vitreous as vt
from vitreous.cli import main
from vitreous.config import ModelCard, PreprocessConfig
from vitreous.data.imageset import ImageSet, array_set
from vitreous.errors import DataError, UsageError
from vitreous.results import Contrast
from vitreous.study.compare import compare, in_words

CLASSES = ("dark", "middling", "bright")


class Brightness(nn.Module):
    """Answers by the mean of the pixels; `bias` favours brighter answers."""

    def __init__(self, bias: float, order: tuple[int, ...] = (0, 1, 2), sharpness: float = 9.0) -> None:
        super().__init__()
        self.bias, self.order, self.sharpness = bias, order, sharpness
        self.card = ModelCard(
            preprocess=PreprocessConfig(image_size=(8, 12)), classes=tuple(CLASSES[place] for place in order)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean = images.mean((1, 2, 3)) + self.bias
        logits = -self.sharpness * (mean[:, None] - torch.tensor([-0.6, 0.0, 0.6])) ** 2
        return logits[:, list(self.order)]


def shades(count: int = 211, seed: int = 0) -> ImageSet:
    """Grey images, their classes a little mixed up at the borders; named in an order of their own."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    level = (np.array([45, 128, 211])[labels] + rng.normal(0, 30, count)).clip(0, 255)
    pixels = np.repeat(level.astype(np.uint8), 15 * 10 * 3).reshape(count, 15, 10, 3)
    order = (2, 0, 1)
    return array_set("shades", pixels, np.argsort(order)[labels], tuple(CLASSES[place] for place in order))


def test_the_counts_and_figures_are_those_of_the_two_evaluations() -> None:
    images = shades()
    a, b = Brightness(-0.35), Brightness(0.05, sharpness=30)
    found = compare(a, b, images)
    one, two = vt.evaluate(a, images), vt.evaluate(b, images)
    right = [np.array([o.label == o.predicted for o in each.outcomes]) for each in (one, two)]
    assert (found.top1.a, found.top1.b) == (one.top1, two.top1)
    assert found.a == one
    assert [found.both, found.only_a, found.only_b, found.neither] == [
        int((right[0] & right[1]).sum()),
        int((right[0] & ~right[1]).sum()),
        int((~right[0] & right[1]).sum()),
        int((~right[0] & ~right[1]).sum()),
    ]
    assert (211, 211, ()) == (found.seen, found.expected, found.failed)
    expected = stats.binomtest(found.only_a, found.only_a + found.only_b).pvalue
    assert found.p_value == pytest.approx(expected, rel=1e-8)
    assert "B is better" == found.verdict
    assert found.log_loss is not None
    assert found.log_loss.difference == pytest.approx(two.log_loss - one.log_loss)
    assert found.log_loss.interval[0] < found.log_loss.difference < found.log_loss.interval[1]
    assert found.calibration_error.a == pytest.approx(one.calibration_error)
    same = np.mean([x.predicted == y.predicted for x, y in zip(one.outcomes, two.outcomes, strict=True)])
    assert found.agreement == pytest.approx(same)


def test_an_interval_never_denies_what_the_test_says() -> None:
    """Five images that only B gets right, none that only A does: a coin falls so in one of sixteen cases."""
    labels = np.repeat([0, 1], [5, 35])
    pixels = np.broadcast_to(np.array([82, 128], np.uint8)[labels, None, None, None], (40, 8, 12, 3)).copy()
    found = compare(Brightness(0.1), Brightness(0.0), array_set("few", pixels, labels, CLASSES))
    assert (0, 5) == (found.only_a, found.only_b)
    assert found.p_value == pytest.approx(0.0625)
    assert "within noise" == found.verdict
    assert 0 == found.top1.interval[0] < found.top1.difference


def test_the_order_in_which_a_model_knows_its_classes_changes_nothing() -> None:
    images = shades()
    plain = compare(Brightness(-0.3), Brightness(0.1), images)
    shuffled = compare(Brightness(-0.3, (1, 2, 0)), Brightness(0.1, (2, 1, 0)), images)
    for name in ("top1", "p_value", "both", "only_a", "agreement", "by_class", "images_needed"):
        assert getattr(plain, name) == getattr(shuffled, name), name
    facts = [[(duel.path, duel.label, duel.said_a, duel.said_b) for duel in one.duels] for one in (plain, shuffled)]
    assert sorted(facts[0]) == sorted(facts[1])


def test_a_model_is_as_good_as_itself() -> None:
    found = compare(Brightness(0.1), Brightness(0.1), shades(60))
    assert ("within noise", 1.0, 1.0, None) == (found.verdict, found.p_value, found.agreement, found.images_needed)
    assert () == found.duels
    assert found.words.startswith("both get as many images right")
    assert found.calibration_error.interval == (0, 0)


def test_classes_and_images_on_which_they_differ() -> None:
    images = shades()
    found = compare(Brightness(-0.5), Brightness(0.0), images)
    assert 211 == sum(row.support for row in found.by_class)
    assert found.only_b == sum(row.only_b for row in found.by_class)
    gaps = [abs(row.recall_b - row.recall_a) for row in found.by_class]
    assert gaps == sorted(gaps, reverse=True)
    assert len(found.duels) == found.only_a + found.only_b
    labels = dict(zip(images.ids, images.labels.tolist(), strict=True))
    for duel in found.duels:
        assert images.classes[labels[duel.path]] == duel.label
        assert duel.label == (duel.said_a if duel.right == "A" else duel.said_b)
        assert duel.label != (duel.said_b if duel.right == "A" else duel.said_a)
    sure = [duel.probability_b if duel.right == "A" else duel.probability_a for duel in found.duels]
    assert sure == sorted(sure, reverse=True)


@pytest.mark.parametrize(
    ("gap", "interval", "verdict", "words"),
    [
        (0.004, (-0.002, 0.010), "within noise", "B is 0.4 points better (95 % interval -0.2 to 1.0): within noise"),
        (-0.1, (-0.15, -0.05), "A is better", "B is 10.0 points worse (95 % interval -15.0 to -5.0): more than chance"),
        (0.0, (-0.01, 0.01), "within noise", "both get as many images right (95 % interval -1.0 to 1.0): within noise"),
        (
            1e-4,
            (-0.01, 0.01),
            "within noise",
            "B is less than 0.1 points better (95 % interval -1.0 to 1.0): within noise",
        ),
    ],
)
def test_the_outcome_in_words(gap: float, interval: tuple[float, float], verdict: str, words: str) -> None:
    assert words == in_words(Contrast(a=0.5, b=0.5 + gap, difference=gap, interval=interval), verdict)


def test_a_class_that_one_model_does_not_know_is_an_error() -> None:
    other = Brightness(0.0)
    other.card = dataclasses.replace(other.card, classes=("dark", "middling", "Bright"))
    with pytest.raises(DataError, match="classes that B does not know: bright"):
        compare(Brightness(0.0), other, shades(30))


def test_a_page_shows_images_that_only_one_gets_right(tmp_path: Path) -> None:
    found = compare(Brightness(-0.4), Brightness(0.0), shades(), out=tmp_path / "out", names=("old <b>", "new"))
    page = Path(found.html or "").read_text(encoding="utf-8")
    assert "Only B is right" in page
    assert "old &lt;b&gt;" in page
    assert "<b>old" not in page
    marked = sum(row.p_value < 0.05 for row in found.by_class)
    assert 0 < marked < 3
    assert page.count('<strong class="badge">clear</strong>') == marked
    figures = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert figures["top1"]["difference"] == found.top1.difference
    assert "outcomes" not in figures["a"]
    compare(Brightness(0), Brightness(0), shades(30), out=tmp_path / "out")  # written over an earlier one
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="the folder is not empty"):
        compare(Brightness(0), Brightness(0), shades(30), out=tmp_path / "mine")


def test_the_verb_says_it_to_people_and_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from native_files import saved

    monkeypatch.chdir(tmp_path)
    for name, seed in (("a.safetensors", 0), ("b.safetensors", 1)):
        saved(tmp_path / name, seed)
    from PIL import Image

    rng: Any = np.random.default_rng(0)
    for place in range(3):
        folder = tmp_path / "data" / "train" / f"classe n° {place} «é»"
        folder.mkdir(parents=True)
        for number in range(4):
            Image.fromarray(rng.integers(0, 256, (30, 44, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    assert 0 == main(["compare", "a.safetensors", "b.safetensors", "data", "--split", "train", "--out", "page"])
    said = capfd.readouterr().out
    assert "vitreous evaluate b.safetensors data --split train --out evaluation" in said
    assert "12 of 12 images seen by both" in said
    assert "McNemar's exact test: p = " in said
    assert "page/report.html" in said
    assert 0 == main(["compare", "a.safetensors", "b.safetensors", "data", "--json"])
    answer = json.loads(capfd.readouterr().out)
    assert {"top1", "p_value", "verdict", "agreement", "images_needed", "seen", "expected", "failed"} <= answer.keys()
    assert 2 == main(["compare", "a.safetensors", "b.safetensors", "data", "--seed", "-1"])

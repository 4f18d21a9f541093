"""Hidden patches scored beside what needs no model, shown on a page, and a file that fine-tuning can begin from."""

from __future__ import annotations

import dataclasses
import html
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from random_vit import random_vit
from small_photos import write_photos_with_test
from tiny_architectures import TINY
from torch import Tensor

import vitreous as vt
from vitreous.config import ModelCard, PreprocessConfig, Recipe
from vitreous.data.imageset import array_set
from vitreous.errors import DataError, ImageError
from vitreous.evaluation.metrics import wilson_interval
from vitreous.model import prepare
from vitreous.model.prepare import Policy, Prepared
from vitreous.report.content import Command, DataSheet
from vitreous.report.html import write_masked_report, write_model_card
from vitreous.report.masked import Guess, MaskedReport, MaskedScore
from vitreous.results import Failure, RunResult
from vitreous.training.masked.patch import MaskedPatch
from vitreous.training.masked.score import interval_of_mean, score_masked, surroundings
from vitreous.training.masked.targets import MaskedTarget, colour_classes, num_outputs
from vitreous.weights.load import load

PLAIN = PreprocessConfig(image_size=(24, 40), crop_ratio=1.0)
HERE = Policy(device="cpu", precision="float32", attention="fused", kept_heap=False, reason="for a test")
TARGETS: tuple[MaskedTarget, ...] = ("mean-colour", "downsampled", "pixels")


def recipe(target: MaskedTarget = "mean-colour", share: float = 0.5) -> Recipe:
    return Recipe(
        name="hidden", purpose="pretrain", objective="masked-patch", steps=2, masked_target=target, masked_share=share
    )


class Always(MaskedPatch):
    """Says the same of every patch, and remembers which it was asked for."""

    def __init__(self, target: MaskedTarget, answer: Tensor) -> None:
        super().__init__(random_vit(num_classes=0), target, 0)
        self.answer, self.asked = answer, []

    def forward(self, _images: Tensor, places: Tensor, _masked: Tensor, _source: Tensor) -> Tensor:
        self.asked += list(places.numpy())
        return self.answer.expand(*places.shape, -1)


def saying(target: MaskedTarget, colour: tuple[int, int, int]) -> Always:
    """Always this colour."""
    number = int(colour_classes(np.full((1, 1, 1, 3), colour, np.uint8), (1, 1), (1, 1), side=1))
    if target == "pixels":
        return Always(target, (torch.tensor(colour).repeat(64) / 127.5 - 1).float())
    answer = torch.zeros(num_outputs(target, (8, 8)) // 512, 512)
    answer[:, number] = 1
    return Always(target, answer.flatten())


RED, BLUE = (250, 10, 10), (10, 10, 250)


def halves() -> np.ndarray:
    """Nine images of 3 x 5 patches: all red, but for the three left columns of three, which are blue."""
    pixels = np.empty((9, 24, 40, 3), np.uint8)
    pixels[:] = RED
    pixels[::3, :, :24] = BLUE
    return pixels


@pytest.mark.parametrize("target", TARGETS)
def test_the_score_of_a_constant_is_what_can_be_counted(target: MaskedTarget) -> None:
    """A model that always says red is right where patches are red, and as good as the best constant."""
    images = array_set("halves", halves(), np.zeros(9, np.int64), ("any",))
    model = saying(target, RED)
    score = score_masked(Prepared(model, HERE).eval(), images, PLAIN, recipe(target), 4, shown=[0, 8])
    each = [1.0 if i % 3 else float((places % 5 >= 3).mean()) for i, places in enumerate(model.asked)]
    assert np.mean(each) == pytest.approx(score.share)
    assert score.share == pytest.approx(score.commonest)
    assert (9, 9, 9 * 8, ()) == (score.seen, score.expected, score.hidden, score.failed)
    assert score.interval[0] < score.share < score.interval[1]
    first, last = score.guesses
    assert (each[0], each[8]) == (pytest.approx(first.share), 1.0)
    assert ["halves/00000", "halves/00008"] == [first.path, last.path]
    for patch in range(15):
        top, left = 8 * (patch // 5), 8 * (patch % 5)
        original, veiled, said = (
            picture[top : top + 8, left : left + 8] for picture in (first.image, first.hidden, first.said)
        )
        hidden = patch in model.asked[0]
        assert hidden == (veiled != original).any()
        if hidden:
            assert abs(said.astype(int) - RED).max() <= 16, "painted in the middle of the class"
        else:
            assert (said == original).all()


def test_the_patches_around_are_a_mean_of_those_that_show() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 24, 40, 3), dtype=np.uint8)
    places = np.array([[0, 1, 2, 5, 6, 8, 14], [0, 3, 4, 7, 9, 12, 13]])
    found = surroundings(pixels, places, (3, 5), (8, 8))
    means = pixels.reshape(2, 3, 8, 5, 8, 3).mean(axis=(2, 4))
    for b, k in np.ndindex(2, 7):
        row, column = divmod(int(places[b, k]), 5)
        showing = [p for p in range(15) if p not in places[b]]
        near = [p for p in showing if abs(p // 5 - row) <= 1 and abs(p % 5 - column) <= 1]
        mean = np.mean([means[b, p // 5, p % 5] for p in near or showing], axis=0)
        red, green, blue = (8 * mean / 255).astype(int)
        assert red * 64 + green * 8 + blue == found[b, k]
    assert not set(range(15)) - set(places[0]) & {0, 1, 5, 6}, "place 0 has nothing around it that shows"


def test_where_nothing_shows_the_guess_is_grey() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 24, 40, 3), dtype=np.uint8)
    assert {292} == set(surroundings(pixels, np.arange(15)[None], (3, 5), (8, 8)).flatten().tolist())


def test_the_interval_is_that_of_a_mean() -> None:
    shares = np.random.default_rng(0).beta(2, 3, size=400).tolist()
    low, high = interval_of_mean(shares)
    half = 1.959963984540054 * np.std(shares, ddof=1) / 20
    assert (np.mean(shares) - half, np.mean(shares) + half) == (pytest.approx(low), pytest.approx(high))
    assert wilson_interval(30, 30) == interval_of_mean([1.0] * 30)
    assert wilson_interval(1, 1) == interval_of_mean([0.7])


def test_images_that_cannot_be_read_are_counted() -> None:
    images = array_set("halves", halves(), np.zeros(9, np.int64), ("any",))

    def failing(index: int) -> np.ndarray:
        if index in broken:
            raise ImageError("the image cannot be read", where=images.ids[index])
        return images.read(index)

    broken = {2, 8}
    some = dataclasses.replace(images, read=failing, in_memory=False)
    score = score_masked(Prepared(saying("mean-colour", RED), HERE).eval(), some, PLAIN, recipe(), 1)
    assert (7, 9) == (score.seen, score.expected)
    assert ["halves/00002", "halves/00008"] == [failure.path for failure in score.failed]
    broken = set(range(9))
    with pytest.raises(DataError, match="not one of the images can be read"):
        score_masked(Prepared(saying("mean-colour", RED), HERE).eval(), some, PLAIN, recipe(), 4)


HOSTILE = '<script>alert(1)</script>"&'


def report(path: str = "photos/a.png") -> MaskedReport:
    picture = np.zeros((8, 12, 3), np.uint8)
    guess = Guess(path=path, share=0.625, image=picture, hidden=picture, said=picture)
    score = MaskedScore(
        share=0.52, interval=(0.5, 0.54), loss=1.5, seen=40, expected=41, failed=(Failure(path=path, reason=path),),
        hidden=960, commonest=0.25, nearest=0.61, guesses=(guess,) * 8,
    )  # fmt: skip
    result = RunResult(
        run="runs/x", model="runs/x/model.safetensors", top1=0.52, interval=(0.5, 0.54), seen=40, expected=41,
        seconds=3.0, report="runs/x/report.html",
    )  # fmt: skip
    return MaskedReport(
        title=path, summary=path, result=result, score=score, records=(), data=DataSheet(source=path, notes=(path,)),
        card=ModelCard(architecture=random_vit().config, provenance={"data": path}), recipe=recipe(), command=path,
        environment={"system": path}, next_steps=(Command(text=path, explained=path),),
    )  # fmt: skip


def test_the_page_says_the_score_beside_what_needs_no_model(tmp_path: Path) -> None:
    page = write_masked_report(tmp_path / "report.html", report()).read_text(encoding="utf-8")
    text = html.unescape(page).replace("\N{NO-BREAK SPACE}", " ")
    for told in ("960 hidden patches", "40 images", "61.0 %", "25.0 %", "−9.0 points", "+27.0 points", "62 %"):
        assert told in text
    assert 24 == page.count("<img src=")
    card = write_model_card(tmp_path / "MODEL_CARD.md", report()).read_text(encoding="utf-8")
    assert "**52.0\N{NO-BREAK SPACE}%** of the colours of 960 hidden patches" in card


def test_no_name_disturbs_the_page(tmp_path: Path) -> None:
    page = write_masked_report(tmp_path / "report.html", report(HOSTILE)).read_text(encoding="utf-8")
    friendly = write_masked_report(tmp_path / "plain.html", report()).read_text(encoding="utf-8")
    assert "alert(1)" in page
    assert friendly.count("<script") == page.count("<script")
    card = write_model_card(tmp_path / "MODEL_CARD.md", report(HOSTILE)).read_text(encoding="utf-8")
    assert "<script>" not in card.replace(f"```\n{HOSTILE}\n```", "")


def test_what_is_left_behind_can_be_fine_tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A headless file, a report with eight images, a card, a headline that says of what; then a head is put on."""
    monkeypatch.setattr(prepare, "_PROBE_FLOPS", 1e5)  # what is fastest here is not what this is about
    photos = write_photos_with_test(tmp_path / "photos", per_class=8, test=4)
    asked: Any = {"steps": 2, "batch_size": 12, "micro_batch": 12, "threads": 1, "precision": "float32"}
    bare = tmp_path / "bare"
    run = vt.pretrain(photos, model=TINY["tiny-root-hybrid"], recipe="paper-masked-jft300m", run=str(bare), **asked)
    result = run.result
    assert ("hidden colours", 12, 12) == (result.score, result.seen, result.expected)
    assert 0 <= result.interval[0] <= result.top1 <= result.interval[1] <= 1
    assert 24 == Path(result.report).read_text(encoding="utf-8").count("<img src=")
    assert (bare / "MODEL_CARD.md").exists()
    model = load(bare, check=True)
    assert run.model.state_dict().keys() == model.state_dict().keys()
    assert all(value.requires_grad for value in run.model.parameters())
    assert (2, 24) == model(torch.zeros(2, 3, 32, 48)).shape
    tuned = vt.finetune(photos, model=bare, run=str(tmp_path / "tuned"), **asked)
    assert ("ant", "bee", "cow") == tuned.model.card.classes

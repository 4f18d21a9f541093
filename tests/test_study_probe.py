"""`vitreous probe`: which model suits some images, on the same held-out ones, and whether that is more than chance."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vitreous as vt
from vitreous.cli import main
from vitreous.data.imageset import ImageSet, Splits, array_set
from vitreous.data.targets import Targets
from vitreous.errors import DataError, UsageError
from vitreous.evaluation import linear
from vitreous.evaluation.layers import Layer
from vitreous.results import ModelProbe, ProbeResult, ProbeScore
from vitreous.study import probe_scores
from vitreous.study.probe import _differences
from vitreous.study.probe_scores import Scored, best_layer_words, is_noise, paired


def striped(count: int, seed: int, first: int = 0) -> ImageSet:
    """Bright, dark and middling images in noise: easy for any network."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    pixels = draw.integers(0, 60, (count, 12, 10, 3)) + 80 * labels[:, None, None, None]
    return array_set(f"grey-{seed}", pixels.astype(np.uint8), labels, ("dark", "middle", "bright"), first=first)


@pytest.fixture(scope="module")
def splits() -> Splits:
    return Splits(striped(48, 1), striped(12, 2), striped(30, 3))


@pytest.fixture(scope="module")
def found(splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> ProbeResult:
    folder = tmp_path_factory.mktemp("probe")
    return vt.probe(
        ["vit-test", vt.create_model("vit-test", seed=3)],
        splits,
        only=("knn", "fewshot"),
        shots=(1, 4),
        seeds=(0, 1),
        layers=True,
        out=folder / "out",
        cache=folder / "cache",
    )


def test_both_models_are_asked_about_the_same_images(found: ProbeResult) -> None:
    assert ["vit-test", "vit-test (2)"] == [model.model for model in found.models]
    assert [True, False] == [model.random for model in found.models]
    assert (60, 30, 30) == (found.train, found.seen, found.expected)
    for model in found.models:
        assert ["k-NN", "1-shot", "4-shot"] == [score.name for score in model.scores]
        assert {(30, 30)} == {(score.seen, score.expected) for score in model.scores}
        assert all(low <= score.top1 <= high + 1e-9 for score in model.scores for low, high in [score.interval])
        assert [0, 1] == [layer.layer for layer in model.layers]
        assert "of 2 transfers best" in model.layer_words
        assert model.price is not None
        assert model.price.flops > 0
        assert model.price.seconds is None  # nothing was measured
    assert found.models[0].scores[0].top1 > 0.8


def test_the_recommendation_rests_on_pairs(found: ProbeResult) -> None:
    (difference,) = found.differences
    assert "k-NN" == difference.by
    low, high = difference.interval
    assert low <= difference.difference <= high
    assert difference.within_noise == (low <= 0 <= high)
    assert difference.better in found.recommendation
    assert difference.other in found.recommendation
    assert "Random weights are here to compare with" in found.recommendation


def test_a_difference_is_told_from_chance_by_the_images_that_both_saw() -> None:
    a, b = np.ones(60), np.ones(60)
    b[:20] = 0
    a[-3:] = np.nan
    gap = paired(a, b)
    assert np.isclose(20 / 57, gap.difference)
    assert 0 < gap.interval[0] < gap.difference < gap.interval[1]
    assert np.isclose(2 * 0.5**20, gap.p_value)
    assert not is_noise(gap, gap.p_value)
    b = np.where(np.arange(60) % 10 == 0, 0.0, 1.0)
    gap = paired(np.roll(b, 1), b)
    assert gap.interval[0] <= 0 <= gap.interval[1]
    assert is_noise(gap, gap.p_value)
    a, b = np.ones(20), np.ones(20)
    b[:5] = 0  # five heads of a fair coin, or five tails: one in sixteen, whatever the bootstrap thinks of it
    gap = paired(a, b)
    assert 0 < gap.interval[0]
    assert np.isclose(0.0625, gap.p_value)
    assert is_noise(gap, gap.p_value)


def test_the_best_of_several_models_is_ahead_by_luck_too() -> None:
    whole = np.ones(90)

    def model(name: str, *wrong: int) -> Scored:
        right = whole.copy()
        right[list(wrong)] = 0
        score = ProbeScore(
            name="k-NN", setting="", top1=right.mean(), interval=(0.0, 1.0), learned=1, seen=90, expected=90
        )
        probed = ModelProbe(
            model=name, reads="", width=1, parameters=1, random=False, scores=(score,), knn=(), linear_grid=(),
            logistic_grid=(), layers=(), layer_words="", price=None, seconds=0.0, notes=(),
        )  # fmt: skip
        return Scored(found=probed, right={"k-NN": right}, seen=90, failed=())

    best, behind = model("best", 0), model("behind", *range(1, 9))  # 1 and 8: p is 0.039
    (told,) = _differences([behind, best], best, "k-NN")
    assert np.isclose(20 / 512, told.p_value)
    assert (False, "best", "behind") == (told.within_noise, told.better, told.other)
    many = [behind, best, model("third", *range(1, 9)), model("last", *range(1, 29))]
    found = {one.other: one for one in _differences(many, best, "k-NN")}
    assert {"behind": True, "third": True, "last": False} == {key: one.within_noise for key, one in found.items()}
    assert 0 == found["behind"].interval[0] < found["behind"].difference


def test_what_is_written_says_the_same(found: ProbeResult) -> None:
    assert found.html is not None
    folder = Path(found.html).parent
    charts = {f"{chart}.{kind}" for chart in ("scores", "few-shot", "layers") for kind in ("svg", "png")}
    names = {"report.html", "probe.json"} | charts
    assert names == {path.name for path in folder.iterdir()}
    told = json.loads((folder / "probe.json").read_text(encoding="utf-8"))
    assert found.models[1].scores[2].top1 == told["models"][1]["scores"][2]["top1"]
    page = Path(found.html).read_text(encoding="utf-8")
    assert "has random weights" in page
    assert found.models[0].layer_words.split(":")[0] in page
    assert f"{100 * found.models[0].scores[0].top1:.1f}" in page


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linear layers that learn for a moment only."""
    monkeypatch.setattr(linear, "_LEAST_STEPS", 4)
    monkeypatch.setattr(linear, "_EPOCHS", 8)
    monkeypatch.setattr(linear, "penalties", lambda: (0.01, 1.0))


@pytest.mark.usefixtures("brief")
def test_everything_linear_chooses_by_images_that_are_not_scored(splits: Splits, tmp_path: Path) -> None:
    result = vt.probe("vit-test", splits, only=["linear"], cache=tmp_path, out=tmp_path / "page")
    (model,) = result.models
    assert {"report.html", "probe.json", "scores.svg", "scores.png"} == {f.name for f in (tmp_path / "page").iterdir()}
    assert "of which the 12 images held out choose" in " ".join(result.notes)
    assert ["linear", "logistic"] == [score.name for score in model.scores]
    assert [60, 60] == [score.learned for score in model.scores]  # refitted to those that chose as well
    assert 2 * 2 * 13 == len(model.linear_grid)  # two blocks are all there are: the last, or both
    assert [0.01, 1.0] == [value for value, _ in model.logistic_grid]
    assert all(share is None or np.isclose(share * 12, round(share * 12)) for _, share in model.logistic_grid)
    assert () == result.differences
    assert "" == result.recommendation


@pytest.mark.usefixtures("brief")
def test_where_logistic_regression_would_take_long_it_is_left_out_and_said(
    splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_scores, "_MOST_OPERATIONS", 1.0)
    (model,) = vt.probe("vit-test", splits, only=["linear"], cache=tmp_path).models
    assert ["linear"] == [score.name for score in model.scores]
    assert "logistic regression left out" in model.notes[0]


def test_images_of_several_labels_are_refused() -> None:
    one = striped(9, 5)
    every = np.tile(np.array([0, 1]), 9)
    shown = Targets(np.arange(2, 20, 2), every, np.ones(18, np.float32), 3, False)
    several = dataclasses.replace(one, labels=shown.main, targets=shown)
    with pytest.raises(DataError, match="one class per image"):
        vt.probe("vit-test", Splits(several, several, None))


def test_nothing_to_do_is_said(splits: Splits, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing to measure\n.*knn, linear, fewshot"):
        vt.probe("vit-test", splits, only=[])
    with pytest.raises(UsageError, match="no model"):
        vt.probe([], splits)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        vt.probe("vit-test", splits, out=tmp_path)


def test_the_sentence_of_the_best_block_tells_chance_from_more() -> None:
    def block(layer: int, right: np.ndarray) -> Layer:
        share = float(right.mean())
        nothing = (0.0, 1.0)
        return Layer(
            layer=layer, knn=share, knn_interval=nothing, least_squares=share, least_squares_interval=nothing,
            knn_right=right, right=right,
        )  # fmt: skip

    many, few = np.arange(80) % 8 > 0, np.arange(80) % 2 > 0
    words = best_layer_words([block(0, few), block(1, many), block(2, few)])
    assert "Block 2 of 3 transfers best: 87.5" in words
    assert "better than the last block's 50.0" in words
    fewer = many[::-1] & (np.arange(80) > 0)
    assert "within noise of" in best_layer_words([block(0, np.roll(many, 1)), block(1, fewer)])
    assert "The last block of 2 transfers best" in best_layer_words([block(0, few), block(1, many)])


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(8)
    for label, name in enumerate(("ant", "bee")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for place in range(10):
            pixels = draw.integers(0, 90, (14, 11, 3)) + 120 * label
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "photos" / name / f"{place}.png")
    return tmp_path / "photos"


def test_the_verb_says_what_it_holds_out_and_which_image_it_could_not_read(
    photos: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (photos / "bee" / "7.png").write_bytes(b"no image")
    words = ["probe", "vit-test", "photos", "--only", "knn,fewshot", "--shots", "2", "--seeds", "4", "--json"]
    assert 3 == main(words)
    assert "7.png" in capfd.readouterr().err
    assert 0 == main([*words, "--bad-images", "skip"])
    out, err = capfd.readouterr()
    told = json.loads(out)
    assert (15, 4, 4) == (told["train"], told["seen"], told["expected"])
    assert ["photos/bee/7.png"] == [one["path"] for one in told["failed"]]
    assert "held out (20% of each class, seed 0)" in err
    assert "random weights: this is what pixels give away untrained" in err
    assert "2-shot" in err
    assert "mean of 1 draw" in err
    steps = [line.strip() for line in err.partition("Next")[2].splitlines() if line.strip().startswith("vitreous ")]
    assert 2 == len(steps)
    assert all("photos --bad-images skip" in step for step in steps)  # else the same image stops them


def test_a_dry_run_opens_no_model(photos: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["probe", "nowhere.safetensors", "photos", "--dry-run"])
    said = capfd.readouterr().out
    assert "16 images to learn from and 4 images to score" in said
    assert "Nothing was written" in said
    assert photos.is_dir()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["vit-test"], "one model or more, and then the images"),
        (["vit-test", "photos", "--only", "knm"], "knn"),
        (["vit-test", "photos", "--shots", "1,x"], "whole numbers with commas"),
        (["vit-test", "photos", "--seeds", "1,1"], "different numbers"),
        (["vit-test", "photos", "--val", "1"], "between 0 and 1"),
    ],
)
def test_a_mistyped_verb_is_one_clear_error(words: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert 2 == main(["probe", *words])
    assert message in capfd.readouterr().err

"""What a few steps decide before a run: how long it may be, how fast it learns, and which rate of several it takes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from small_photos import write_photos_with_test

import vitreous as vt
from vitreous.recipe import find
from vitreous.training.saving.checkpoint_folder import best, found, step_of
from vitreous.training.sweep import best_rate

QUICK: dict[str, Any] = {
    "model": "vit-test", "image_size": 32, "batch_size": 6, "threads": 1, "precision": "float32", "micro_batch": 6,
}  # fmt: skip


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos_with_test(tmp_path_factory.mktemp("photos"), per_class=10, test=4)


def facts(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "run.json").read_text()))


def test_a_time_limit_sets_the_length(photos: Path, tmp_path: Path) -> None:
    """As many steps as fit, and the schedule ends with them; twice the time, about twice the steps."""
    done = vt.pretrain(photos, run=str(tmp_path / "r"), time="2s", **QUICK)
    steps = facts(done.folder)["total_steps"]
    assert steps > 3
    assert (steps, None) == (facts(done.folder)["recipe"]["steps"], facts(done.folder)["recipe"]["epochs"])
    assert facts(done.folder)["choices"]["steps"] == steps
    assert done.result.seconds < 20  # a busy machine may take longer than it measured, by a factor and not by tens
    last = json.loads((done.folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert (steps, pytest.approx(0.0, abs=1e-9)) == (last["step"], last["learning_rate"])


def test_a_range_test_finds_a_rate_and_leaves_the_run_alone(photos: Path, tmp_path: Path) -> None:
    """The run with the rate that was found is the run that is asked for that rate."""
    found_rate = vt.pretrain(photos, run=str(tmp_path / "a"), learning_rate="find", steps=3, **QUICK)
    rate = facts(found_rate.folder)["recipe"]["learning_rate"]
    assert 1e-5 < rate < 1
    asked = vt.pretrain(photos, run=str(tmp_path / "b"), learning_rate=rate, steps=3, **QUICK)
    curves = [(run.folder / "metrics.jsonl").read_text().splitlines() for run in (found_rate, asked)]
    losses = [[json.loads(line)["loss"] for line in lines] for lines in curves]
    assert losses[0] == losses[1]


def test_a_sweep_chooses_on_training_images_and_trains_on_all(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One try for each rate, on fewer images; the best by its slice trains on all, and the headline chose nothing."""
    tried = dataclasses.replace(find._recipes()["small-finetune"], sweep=(0.1, 1e-6), sweep_share=0.3)
    known = {**find._recipes(), "small-finetune": tried}
    monkeypatch.setattr(find, "_recipes", lambda: known)
    done = vt.finetune(photos, run=str(tmp_path / "r"), sweep=True, steps=25, **QUICK)
    scores = facts(done.folder)["sweep"]
    assert {"0.1", "1e-06"} == set(scores)
    inner = {rate: facts(done.folder / "sweep" / rate) for rate in scores}
    assert {rate: one["result"]["top1"] for rate, one in inner.items()} == scores
    assert {18} == {one["images"]["train"] for one in inner.values()}
    assert {6} == {one["images"]["held_out"] for one in inner.values()}
    assert 24 == facts(done.folder)["images"]["train"]  # two of ten in each class are held out before anything
    chosen = f"{facts(done.folder)['recipe']['learning_rate']:g}"
    assert scores[chosen] == max(scores.values())
    assert (12, False) == (done.result.seen, done.result.optimistic)


def test_of_equal_rates_the_smaller_is_taken() -> None:
    assert 0.01 == best_rate({0.1: 0.8, 0.01: 0.8, 0.001: 0.7})


def test_the_best_checkpoint_stays_and_may_be_the_result(photos: Path, tmp_path: Path) -> None:
    """Its score on validation images is the highest of all; with no test images the headline is called optimistic."""
    images = photos / "train"
    options = {**QUICK, "learning_rate": 0.02, "steps": 40, "checkpoint_minutes": 0.0, "keep": 1}
    done = vt.pretrain(images, run=str(tmp_path / "r"), result="best", **options)
    chosen = best(done.folder / "checkpoints")
    assert chosen is not None
    assert {40, step_of(chosen)} == {step_of(path) for path in found(done.folder / "checkpoints")}
    records = [json.loads(line) for line in (done.folder / "metrics.jsonl").read_text().splitlines()]
    scores = {record["step"]: record["val_accuracy"] for record in records if record["val_accuracy"] is not None}
    assert scores[step_of(chosen)] == max(scores.values())
    assert done.result.optimistic
    assert done.result.top1 == pytest.approx(scores[step_of(chosen)])

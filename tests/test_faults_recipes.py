"""Every option of a recipe, stopped halfway: what it ends with is what was never stopped, to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_runs import digest, interrupted, live, of_tensors, tiny_plan
from torch import Tensor, nn


def moved(**changes: Any) -> dict[str, Any]:
    return {f"augment.{name}": value for name, value in {"crop": "centre", "flip": False, **changes}.items()}


RECIPES: dict[str, dict[str, Any]] = {
    "crop inception": moved(crop="inception", crop_area=(0.2, 0.9)),
    "crop padded": moved(crop="padded"),
    "crop resmall": moved(crop="resmall", resize=19),
    "crop squash": moved(crop="squash", resize=29),
    "centre, turned, moved, scaled, mirrored": moved(flip=True, rotate=30.0, shift=0.2, zoom=0.3),
    "randaugment": moved(policy="randaugment", rand_layers=2, rand_magnitude=15.0),
    "randaugment-timm": moved(policy="randaugment-timm", rand_magnitude=9.0, rand_std=0.5),
    "three": moved(policy="three"),
    "jitter": moved(jitter=0.4),
    "erase": moved(erase=0.6),
    "mixup": {"mixup": 0.8},
    "cutmix": {"cutmix": 1.0},
    "mixup or cutmix": {"mixup": 0.8, "cutmix": 1.0, "label_smoothing": 0.1, "loss": "sigmoid-mean"},
    "repeats": {"repeats": 3},
    "drop path": {"drop_path": 0.4},
    "drop path constant": {"drop_path": 0.3, "drop_path_schedule": "constant"},
    "dropout": {"dropout": 0.3},
    "adam, cosine, no average": {"optimizer": "adam", "weight_decay": 0.1, "schedule": "cosine", "average_decay": None},
    "average": {"average_decay": 0.5},
    "linear": {"schedule": "linear", "warmup_epochs": 0.5, "warmup_fraction": None, "warmup_from": 1e-5},
    "steps": {"schedule": "steps", "milestones": (0.4, 0.8)},
    "sgd": {"optimizer": "sgd", "momentum": 0.9},
    "sgd without momentum": {"optimizer": "sgd", "momentum": 0.0},
    "lamb": {"optimizer": "lamb", "weight_decay": 0.05},
    "layer decay": {"layer_decay": 0.6},
    "clipped": {"clip_norm": 0.01},
    "sigmoid": {"loss": "sigmoid", "head_bias": -10.0},
    "class weights": {"class_weights": "balanced"},
    "hidden head": {"hidden_head": True},
    "head": {"train": "head"},
    "head first": {"train": "head-first", "head_first": 0.5},
    "lora": {"train": "lora", "lora_rank": 2},
    "bitfit": {"train": "bitfit"},
    "masked colours": {"named": "paper-masked-jft300m", "average_decay": 0.5},
    "masked cells": {"named": "paper-masked-jft300m-downsampled"},
    "masked pixels": {"named": "paper-masked-jft300m-pixels"},
}
OPTIONS: dict[str, dict[str, Any]] = {
    "accumulation": {"micro_batch": 4},
    "bfloat16": {"precision": "bfloat16"},
    "blocks computed again": {"gradient_checkpointing": True},
    "two threads": {"threads": 2},
    "the best": {"result": "best"},
}


def resumed_and_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: dict[str, Any], options: dict[str, Any], model: Any = None
) -> list[dict[str, str]]:
    """What a run ends with that was stopped halfway, and one that was not; both with dropout, whatever else."""
    recipe = {"dropout": 0.1, "average_decay": 0.9, **recipe}
    made = [] if model is None else [model]

    def life(run: Path) -> dict[str, str]:
        plan = tiny_plan(recipe, options, *[make() for make in made])
        live(plan, run)
        return {**digest(run), "model in memory": of_tensors(plan.model.state_dict())}

    interrupted(lambda: life(tmp_path / "stopped"), monkeypatch, 1)
    return [life(tmp_path / "stopped"), life(tmp_path / "whole")]


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_every_part_of_a_recipe_resumes_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: dict[str, Any]
) -> None:
    resumed, whole = resumed_and_whole(tmp_path, monkeypatch, recipe, {})
    assert whole == resumed


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_every_way_to_compute_resumes_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    resumed, whole = resumed_and_whole(tmp_path, monkeypatch, {"mixup": 0.5}, options)
    assert whole == resumed


class Normed(nn.Module):
    """A network of somebody's own whose running statistics are no parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.head = nn.Linear(3 * 16 * 24, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.norm(images).flatten(1))


def test_running_statistics_resume_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch_model = Normed()
    start = torch_model.state_dict()

    def fresh() -> Normed:
        model = Normed()
        model.load_state_dict(start)
        return model

    resumed, whole = resumed_and_whole(tmp_path, monkeypatch, {}, {"micro_batch": 4}, fresh)
    assert whole == resumed


def test_the_comparison_can_fail(tmp_path: Path) -> None:
    """Another seed, or a step more or less, is another digest in every part of the state."""
    found = []
    for number, options in enumerate([{}, {"seed": 1}]):
        live(tiny_plan({"average_decay": 0.9}, options), tmp_path / str(number))
        found.append(digest(tmp_path / str(number)))
    assert all(found[0][part] != found[1][part] for part in ("model", "optimizer", "average", "curve"))

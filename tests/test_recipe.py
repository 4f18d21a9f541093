"""Recipes carry the numbers of the paper's tables 3 and 4."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from vitreous.config import Recipe
from vitreous.errors import ConfigError, UnknownNameError, UsageError
from vitreous.recipe import find_recipe, recipe_names

# Table 3 of the paper. Every row: Adam 0.9 / 0.999, batch 4096, 10k steps of warm-up, 224 px, tanh hidden layer.
PRETRAINING = ("epochs", "learning_rate", "schedule", "weight_decay", "dropout", "clip_norm")
TABLE_3: dict[str, tuple[Any, ...]] = {
    "paper-jft300m": (7, 8e-4, "linear", 0.1, 0.0, None),
    "paper-imagenet21k": (90, 1e-3, "linear", 0.03, 0.1, None),
    "paper-imagenet": (300, 3e-3, "cosine", 0.3, 0.1, 1.0),
}

# Table 4: steps, and the learning rates that were swept. Every row: SGD 0.9, batch 512, cosine, clip 1, 384 px.
TABLE_4: dict[str, tuple[int, set[float]]] = {
    "paper-finetune-imagenet": (20_000, {0.003, 0.01, 0.03, 0.06}),
    "paper-finetune-cifar": (10_000, {0.001, 0.003, 0.01, 0.03}),
    "paper-finetune-small": (500, {0.001, 0.003, 0.01, 0.03}),
    "paper-finetune-vtab": (2_500, {0.01}),
}

# Table 5 (Table 2 for VTAB), ViT-B/16 unless said: what each recipe's `expected` must quote.
SCORES = {
    "paper-jft300m": ["84.15"],
    "paper-imagenet21k": ["83.97"],
    "paper-imagenet": ["77.91"],
    "paper-finetune-imagenet": ["83.97"],
    "paper-finetune-cifar": ["98.95", "91.67"],
    "paper-finetune-small": ["94.43", "99.38"],
    "paper-finetune-vtab": ["77.63"],
}


@pytest.mark.parametrize(("name", "row"), TABLE_3.items())
def test_pretraining_is_table_3(name: str, row: tuple[Any, ...]) -> None:
    """Optimiser, batch, warm-up, decay and rates of each row."""
    recipe = find_recipe(name, "pretrain")
    common = {
        "optimizer": "adam",
        "betas": (0.9, 0.999),
        "batch_size": 4096,
        "warmup_steps": 10_000,
        "warmup_fraction": None,
        "image_size": (224, 224),
        "hidden_head": True,
        "steps": None,
        "average_decay": None,
        "label_smoothing": 0.0,
    }
    for field, expected in (common | dict(zip(PRETRAINING, row, strict=True))).items():
        if field == "dropout":  # no number in the recipe leaves the model's own, which is 0
            assert expected == (recipe.dropout or 0.0)
        else:
            assert expected == getattr(recipe, field), field


@pytest.mark.parametrize(("name", "steps", "rates"), [(name, *row) for name, row in TABLE_4.items()])
def test_finetuning_is_table_4(name: str, steps: int, rates: set[float]) -> None:
    """Steps are the table's, the rate is one that was swept, and the rest is common to all rows."""
    recipe = find_recipe(name, "finetune")
    assert steps == recipe.steps
    assert recipe.learning_rate in rates
    common = {
        "optimizer": "sgd",
        "momentum": 0.9,
        "batch_size": 512,
        "schedule": "cosine",
        "weight_decay": 0.0,
        "clip_norm": 1.0,
        "image_size": (384, 384),
        "hidden_head": False,
        "epochs": None,
        "average_decay": None,
        "label_smoothing": 0.0,
    }
    assert common == {field: getattr(recipe, field) for field in common}
    assert recipe.warmup_steps is not None
    assert 0 < recipe.warmup_steps < steps


@pytest.mark.parametrize(("name", "scores"), SCORES.items())
def test_expected_scores_are_the_papers(name: str, scores: list[str]) -> None:
    """Each recipe quotes the score its source reports, and names the source."""
    recipe = next(r for r in everything() if r.name == name)
    assert all(score in recipe.expected for score in scores)
    assert "Dosovitskiy et al., ICLR 2021, Table" in recipe.source


def test_every_paper_recipe_is_held_against_a_table() -> None:
    """A recipe cannot call itself the paper's without a row above."""
    assert set(TABLE_3 | TABLE_4) == {name for name in recipe_names() if name.startswith("paper")}


def test_papers_images_are_cropped_and_flipped_only() -> None:
    """Inception crops of 5-100 % of the area and mirroring, nothing more."""
    for name in TABLE_3 | TABLE_4:
        augment = next(r for r in everything() if r.name == name).augment
        assert (augment.crop, augment.crop_area, augment.flip) == ("inception", (0.05, 1.0), True)
        assert (augment.rotate, augment.shift, augment.zoom) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("purpose", ["pretrain", "finetune"])
def test_each_verb_has_a_recipe_for_small_data(purpose: str) -> None:
    """No name means the one for small data."""
    assert f"small-{purpose}" == find_recipe(None, purpose).name
    assert set(recipe_names(purpose)) == {r.name for r in everything() if r.purpose == purpose}


def test_every_recipe_can_be_told_apart_and_explained() -> None:
    """Names are unique; summary, source and kind are filled in."""
    assert len(set(recipe_names())) == len(recipe_names())
    assert all(recipe.summary and recipe.source for recipe in everything())


def test_unknown_names_suggest_the_nearest() -> None:
    """A slip is answered with what was meant among the recipes for that verb."""
    with pytest.raises(UnknownNameError) as caught:
        find_recipe("paper-finetune-cifr", "finetune")
    assert "there is no recipe called 'paper-finetune-cifr'" in str(caught.value)
    assert "did you mean paper-finetune-cifar" in str(caught.value)
    assert "paper-imagenet21k" not in str(caught.value)


def test_a_recipe_for_the_other_verb_is_named_as_such() -> None:
    """Fine-tuning with a pre-training recipe says so, and lists those that fit."""
    with pytest.raises(UsageError, match="recipe paper-imagenet is for pretrain, not for finetune") as caught:
        find_recipe("paper-imagenet", "finetune")
    assert "small-finetune" in str(caught.value.remedy)


def test_a_recipe_says_how_long_once() -> None:
    """Epochs and steps, or neither, are refused."""
    recipe = find_recipe(None, "finetune")
    with pytest.raises(ConfigError, match="give either epochs or steps"):
        dataclasses.replace(recipe, steps=100)
    with pytest.raises(ConfigError, match="give either epochs or steps"):
        dataclasses.replace(recipe, epochs=None)


def everything() -> list[Recipe]:
    """All recipes."""
    return [find_recipe(name, purpose) for purpose in ("pretrain", "finetune") for name in recipe_names(purpose)]

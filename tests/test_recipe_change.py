"""Any number of a recipe can be changed by name, and nonsense is refused with what would have been understood."""

from __future__ import annotations

import dataclasses

import jaxtyping
import pytest

from vitreous.config import AugmentConfig, Recipe
from vitreous.errors import ConfigError, UnknownNameError, UsageError
from vitreous.recipe import find_recipe
from vitreous.recipe.change import changed, settable

RECIPE = find_recipe("small-finetune", "finetune")


def test_numbers_words_pairs_and_nothing() -> None:
    text = "weight_decay=0.05, mixup=1,betas=0.8:0.95,schedule=linear,clip_norm=nothing,augment.policy=three,steps=7"
    new = changed(RECIPE, text)
    assert (0.05, 1, (0.8, 0.95), "linear", None) == (
        new.weight_decay, new.mixup, new.betas, new.schedule, new.clip_norm,
    )  # fmt: skip
    assert ("three", RECIPE.augment.crop_area) == (new.augment.policy, new.augment.crop_area)
    assert (7, None) == (new.steps, new.epochs)
    assert changed(new, "augment.flip=false,augment.policy=none").augment.flip is False
    assert changed(RECIPE, "") == RECIPE


def test_every_setting_has_a_name() -> None:
    """Whatever a recipe holds but its words: a new field is settable by itself."""
    words = {"name", "purpose", "summary", "source", "expected", "hardware", "model", "data", "measured", "augment"}
    own = {field.name for field in dataclasses.fields(Recipe)} - words
    assert own | {f"augment.{field.name}" for field in dataclasses.fields(AugmentConfig)} == set(settable())


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("mixup", UsageError, "takes pairs"),
        ("mixpu=1", UnknownNameError, "mixup"),
        ("source=me", UnknownNameError, "source"),
        ("augment.flop=1", UnknownNameError, "augment.flip"),
        ("mixup=often", ConfigError, "mixup must be float"),
        ("momentum=1.5", ConfigError, "momentum must lie in"),
    ],
)
def test_what_cannot_be_set_is_told(
    monkeypatch: pytest.MonkeyPatch, text: str, error: type[Exception], words: str
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # outside the tests the config speaks first
    with pytest.raises(error, match=words):
        changed(RECIPE, text)

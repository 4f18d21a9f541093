"""A recipe with some of its numbers changed by name, as `--set mixup=0.2,augment.flip=false` asks."""

from __future__ import annotations

import dataclasses
from typing import Any

from vitreous.config import Recipe
from vitreous.config.augment import AugmentConfig
from vitreous.errors import UsageError, unknown_name

_WORDS = ("name", "purpose", "summary", "source", "expected", "hardware", "model", "data", "measured")
_NESTED = "augment."


def changed(recipe: Recipe, text: str) -> Recipe:
    """The recipe with the settings that `text` names.

    Args:
        recipe: any.
        text: pairs of field and value with commas between, as weight_decay=0.05,augment.policy=three.

    Raises:
        UsageError: a pair without =, or a field that cannot be set.
        ConfigError: a value that the recipe refuses.
    """
    own, augment = {}, {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals:
            raise UsageError(f"--set takes pairs, got {part!r}", remedy="--set mixup=0.2,augment.flip=false")
        if name not in settable():
            raise unknown_name("setting of a recipe", name, settable())
        if name.startswith(_NESTED):
            augment[name.removeprefix(_NESTED)] = _value(value)
        else:
            own[name] = _value(value)
    if "steps" in own:
        own.setdefault("epochs", None)
    if "epochs" in own:
        own.setdefault("steps", None)
    return dataclasses.replace(recipe, augment=dataclasses.replace(recipe.augment, **augment), **own)


def settable() -> list[str]:
    """Names of the settings that can be changed."""
    own = [field.name for field in dataclasses.fields(Recipe) if field.name not in (*_WORDS, "augment")]
    return own + [_NESTED + field.name for field in dataclasses.fields(AugmentConfig)]


def _value(text: str) -> Any:
    """A number, yes or no, nothing, several numbers (0.9:0.999) or a word."""
    words = {"true": True, "false": False, "nothing": None}
    if text in words:  # "none" is a word: of policies, class weights
        return words[text]
    if ":" in text:
        return tuple(_value(part) for part in text.split(":"))
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text

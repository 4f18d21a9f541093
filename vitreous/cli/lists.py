"""Verbs that look things up: `models` and `recipes`."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vitreous import console
from vitreous.architecture import Size
from vitreous.cli.answer import Answer, Common
from vitreous.cli.flags import positional
from vitreous.cli.words import command, next_steps, table
from vitreous.config import AugmentConfig, Recipe
from vitreous.errors import unknown_name
from vitreous.recipe import find_recipe, recipe_names
from vitreous.zoo import find_model, model_names

_SPELLING = (
    "A name alone means random weights. -gap pools the mean of the patches in",
    "place of the class token, and a final number sets the image size:",
    "vit-b16-gap-384. The spellings of the paper and of timm mean the same.",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Models:
    """The architectures that go by a name, or all about one of them."""

    name: str | None = positional(None)
    """A name in any of its spellings: vit-b16, ViT-B/16, vit_base_patch16_384."""
    common: Common = field(default_factory=Common)

    def answer(self) -> Answer:
        """Print the table, or one architecture."""
        if self.name is not None:
            config = find_model(self.name)
            console.say(*_facts(config))
            console.say(*next_steps((command("pretrain", "photos/", "--model", config.name), "train it from scratch")))
            return Answer(value=config)
        configs = [find_model(name) for name in model_names()]
        head = ("name", "patch", "image", "width", "depth", "heads", "mlp")
        rows = [
            (c.name, _by(c.patch_size), _by(c.image_size), *map(str, (c.embed_dim, c.depth, c.num_heads, c.mlp_dim)))
            for c in configs
        ]
        console.say(*table([head, *rows], right=range(1, len(head))))
        console.say("", *(f"  {line}" for line in _SPELLING))
        console.say(*next_steps((command("models", configs[-1].name), "all about one of them")))
        return Answer(value=configs)


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipes:
    """The training recipes, each with its source, or every number in one of them."""

    name: str | None = positional(None)
    """As the list shows it."""
    common: Common = field(default_factory=Common)

    def answer(self) -> Answer:
        """Print the table, or one recipe."""
        if self.name is not None:
            recipe = _any_recipe(self.name)
            console.say(*_facts(recipe))
            start = command(recipe.purpose, "photos/", "--model", "MODEL", "--recipe", recipe.name)
            console.say(*next_steps((start, "train with it")))
            return Answer(value=recipe)
        recipes = [_any_recipe(name) for name in recipe_names()]
        for purpose in ("pretrain", "finetune"):
            console.say(f"for vitreous {purpose}")
            for recipe in (r for r in recipes if r.purpose == purpose):
                first, *rest = textwrap.wrap(recipe.summary, 52)
                console.say(f"  {recipe.name:<26}{first}", *(f"  {'':<26}{line}" for line in rest))
        console.say(*next_steps((command("recipes", recipes[0].name), "every number in one of them, and its source")))
        return Answer(value=recipes)


def _any_recipe(name: str) -> Recipe:
    purpose = next((p for p in ("pretrain", "finetune") if name in recipe_names(p)), None)
    if purpose is None:
        raise unknown_name("recipe", name, recipe_names(), remedy="vitreous recipes lists them all")
    return find_recipe(name, purpose)


def _facts(config: Any) -> list[str]:
    """`name  value` lines for a config; those of a config inside it follow with its name in front."""
    values: Mapping[str, Any] = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    rows = []
    for name, value in values.items():
        if isinstance(value, AugmentConfig):
            rows += [(f"{name}.{f.name}", _spell(getattr(value, f.name))) for f in dataclasses.fields(value)]
        elif value is not None and value != "":
            rows.append((name, _spell(value)))
    return table(rows)


def _spell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return (" x " if all(isinstance(item, int) for item in value) else " ").join(map(_spell, value))
    return str(value)


def _by(size: Size) -> str:
    return str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"

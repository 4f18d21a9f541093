"""Verbs that look things up: `models` and `recipes`."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from vitreous import console
from vitreous.architecture import Architecture, Size, ViTConfig
from vitreous.cli.answer import Answer, Common
from vitreous.cli.flags import positional
from vitreous.cli.words import command, next_steps, table
from vitreous.config import Recipe
from vitreous.console import count
from vitreous.cost import macs, parameters
from vitreous.pretrained import Pretrained, find_pretrained, is_pretrained_name, pretrained_names
from vitreous.recipe import Family, find_listed, recipe_families, recipe_names
from vitreous.zoo import find_model, is_model_name, model_names

_SPELLING = (
    "A name alone means random weights. -gap pools the mean of the patches in",
    "place of the class token, and a final number sets the image size:",
    "vit-b16-gap-384. The spellings of the paper and of timm mean the same,",
    "other hybrids and ResNets go by the same pattern: r101.2+vit-s16, bit-r50x2.",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Models:
    """The named architectures, the published weights, or all about one of them."""

    name: str | None = positional(None)
    """An architecture in any of its spellings (vit-b16, ViT-B/16), or published weights (vit-b16.augreg_in21k)."""
    weights: bool = False
    """List published weights instead of architectures."""
    family: str | None = None
    """Only weights of this family: vit, augreg, sam, bit, deit, deit3, mae, dino, dinov2, dinov3, clip, siglip, ..."""
    dialect: str | None = None
    """Only weights in files of this dialect: timm, google, huggingface, torchvision, dinov2, openclip."""
    text: str = ""
    """Only names that contain this."""
    common: Common = field(default_factory=Common)

    def answer(self) -> Answer:
        """Print a table, or one entry."""
        if self.name is not None and is_pretrained_name(self.name) and not is_model_name(self.name):
            return _one_pretrained(find_pretrained(self.name))
        if self.name is not None:
            return _one_architecture(find_model(self.name), self.name)
        if self.weights or self.family or self.dialect:
            return _weights(pretrained_names(family=self.family, dialect=self.dialect, text=self.text))
        return _architectures([name for name in model_names() if self.text.casefold() in name.casefold()])


def _architectures(names: Sequence[str]) -> Answer:
    entries = [_entry(find_model(name)) for name in names]
    head = ("name", "M params", "GMACs", "patch", "image", "weights")
    rows = [
        (
            entry["name"],
            f"{entry['params'] / 1e6:,.2f}",
            f"{entry['gmacs']:,.2f}",
            _by(entry["patch_size"]) if entry["patch_size"] else "",
            _by(entry["image_size"]),
            str(len(entry["pretrained"]) or ""),
        )
        for entry in entries
    ]
    console.say(*table([head, *rows], right=range(1, len(head))))
    console.say("", *(f"  {line}" for line in _SPELLING))
    console.say(
        *next_steps(
            (command("models", "vit-b16"), "all about one of them, with its published weights"),
            (command("models", "--weights"), "the published weights"),
        )
    )
    return Answer(value=entries)


def _entry(config: Architecture) -> dict[str, Any]:
    """What the list says of an architecture."""
    return {
        "name": config.name,
        "params": parameters(config),
        "gmacs": macs(config) / 1e9,
        "patch_size": config.stride if isinstance(config, ViTConfig) else None,
        "image_size": config.image_size,
        "pretrained": pretrained_names(architecture=config.name),
    }


def _one_architecture(config: Architecture, typed: str) -> Answer:
    entry = _entry(config)
    counted = [("params", f"{entry['params']:,}"), ("GMACs", f"{entry['gmacs']:,.2f} for an image of that size")]
    console.say(*table([*_rows(config, brief=True), *counted]))
    if entry["pretrained"]:
        console.say("", "published weights", *(f"  {name}" for name in entry["pretrained"]))
    steps = [(command("pretrain", "photos/", "--model", typed), "train it from scratch")]
    if entry["pretrained"]:
        start = command("finetune", "photos/", "--model", entry["pretrained"][0], "--fetch")
        steps.insert(0, (start, "fetch published weights and transfer them to your photos"))
    console.say(*next_steps(*steps))
    return Answer(value=[{**entry, "config": config}])


def _weights(names: Sequence[str]) -> Answer:
    found = [find_pretrained(name) for name in names]
    head = ("name", "image", "outputs", "MB", "top-1", "licence")
    rows = [
        (
            weights.name,
            _by(weights.image_size),
            f"{weights.num_classes:,}" if weights.num_classes else "none",
            f"{weights.num_bytes / 1e6:,.0f}" if weights.num_bytes else "",
            f"{weights.accuracy.top1:g}" if weights.accuracy else "",
            weights.licence + (" (gated)" if weights.gated else ""),
        )
        for weights in found
    ]
    console.say(*table([head, *rows], right=range(1, len(head) - 1)))
    console.say("", "  top-1 as reported for these files; vitreous has not repeated it")
    console.say(*next_steps((command("models", names[0] if names else "vit-b16"), "source, licence, preprocessing")))
    return Answer(value=found)


def _one_pretrained(weights: Pretrained) -> Answer:
    console.say(*_facts(weights))
    console.say(
        *next_steps(
            (command("finetune", "photos/", "--model", weights.name, "--fetch"), "transfer them to your photos"),
            (command("convert", weights.name, f"{weights.tag}/", "--to", "native", "--fetch"), "write them as a file"),
        )
    )
    return Answer(value=[weights])


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipes:
    """The training recipes, each with its source, or every number in one of them."""

    name: str | None = positional(None)
    """A recipe, or a family of them as the list shows it: paper, augreg, deit3."""
    common: Common = field(default_factory=Common)

    def answer(self) -> Answer:
        """Print the families, the recipes of some, or one recipe."""
        if self.name is None:
            return _recipe_families()
        found = find_listed(self.name)
        return _one_recipe(found) if isinstance(found, Recipe) else _recipe_list(found)


def _recipe_families() -> Answer:
    """A line for each family, under the verb it is for."""
    families = recipe_families()
    for purpose in ("pretrain", "finetune"):
        console.say(f"for vitreous {purpose}")
        paper = ""
        here = [family for family in families if family.purpose == purpose]
        rows = [(family.name, str(len(family.recipes)), family.title, family.recipes[0].name) for family in here]
        for family, line in zip(here, table(rows, right=(1,), indent="    "), strict=True):
            if family.paper != paper:
                paper = family.paper
                console.say(f"  {paper}")
            console.say(line)
        console.say("")
    console.say(f"  {count(len(recipe_names()), 'recipe')}: name, how many, what for, and one of them to start from")
    console.say(
        *next_steps(
            (command("recipes", "paper"), "those whose family begins so, each with its score"),
            (command("recipes", "small-finetune"), "every number in one of them, and its source"),
        )
    )
    return Answer(value=[recipe for family in families for recipe in family.recipes])


def _recipe_list(families: Sequence[Family]) -> Answer:
    """Each recipe of some families with the score of its source."""
    for family in families:
        console.say(f"{family.title}, for vitreous {family.purpose} ({family.paper})")
        for recipe in family.recipes:
            score = f"run here: {recipe.measured}" if recipe.measured else recipe.expected
            lines = [*textwrap.wrap(recipe.summary, _WIDTH), *textwrap.wrap(score, _WIDTH)]
            console.say(f"  {recipe.name}", *(f"      {line}" for line in lines))
        console.say("")
    recipes = [recipe for family in families for recipe in family.recipes]
    console.say(*next_steps((command("recipes", recipes[0].name), "every number in one of them, and its source"))[1:])
    return Answer(value=recipes)


def _one_recipe(recipe: Recipe) -> Answer:
    """Where a recipe comes from, how to run it, and every number in it."""
    told = (
        ("recipe", f"{recipe.name}, for vitreous {recipe.purpose}"),
        ("what", recipe.summary),
        ("source", recipe.source),
        ("trained", f"{recipe.model} on {recipe.data}"),
        ("hardware", recipe.hardware or "not stated"),
        ("expected", recipe.expected or "no published score"),
        ("run here", recipe.measured or "no: only configured here"),
    )
    for name, value in told:
        first, *rest = textwrap.wrap(value, _WIDTH)
        console.say(f"  {name:<10}{first}", *(f"  {'':<10}{line}" for line in rest))
    described = {"name", "purpose", "summary", "source", "expected", "hardware", "model", "data", "measured"}
    console.say("", *table([row for row in _rows(recipe) if row[0] not in described and row[1]]))
    fetch = ("--fetch",) if is_pretrained_name(recipe.model) and not is_model_name(recipe.model) else ()
    start = command(recipe.purpose, _folder(recipe.data), "--model", recipe.model, "--recipe", recipe.name, *fetch)
    console.say(*next_steps((start, "train with it, on your copy of the images")))
    return Answer(value=recipe)


_WIDTH = 88  # of wrapped text, before its indent


def _folder(data: str) -> str:
    """A folder's name for the images that `data` stands for; built-in sets go by their own."""
    from vitreous.data.layouts.builtin import builtin_names

    return data if data in builtin_names() else data.casefold().replace(" ", "-") + "/"


def _facts(config: Any) -> list[str]:
    """`name  value` lines for a config."""
    return table(_rows(config))


def _rows(config: Any, *, brief: bool = False) -> list[tuple[str, str]]:
    """Names and values of a config; those of a config inside it follow with its name in front.

    Args:
        config: any dataclass.
        brief: leave out what is as usual.
    """
    rows = []
    for spec in dataclasses.fields(config):
        value = getattr(config, spec.name)
        if brief and value == spec.default and spec.name not in _ALWAYS:
            continue
        if dataclasses.is_dataclass(value):
            rows += [(f"{spec.name}.{name}", words) for name, words in _rows(value, brief=brief)]
        elif value is not None and value != "":
            rows.append((spec.name, _spell(value)))
    return rows


_ALWAYS = ("image_size", "patch_size", "num_classes", "pool", "gelu", "style")
"""What is always told of an architecture, as usual or not."""


def _spell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        size = len(value) == 2 and all(isinstance(item, int) for item in value)
        return (" x " if size else " ").join(map(_spell, value))
    return str(value)


def _by(size: Size) -> str:
    return str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"

"""From names to recipes and families of recipes."""

from __future__ import annotations

import functools

from vitreous.config import Recipe
from vitreous.errors import UsageError, unknown_name
from vitreous.recipe import augreg, bigvision, bit, deit, deit3, mae, masked, ours, plain_vit, vit_paper
from vitreous.recipe.family import Family

_SOURCES = (ours, vit_paper, masked, augreg, bigvision, plain_vit, deit, deit3, mae, bit)

# A row of the paper's tables by its data alone: the one for ViT-B/16, or for the first of the row's data sets.
_SHORT = {
    "paper-jft300m": "paper-jft300m-vit-b16",
    "paper-imagenet21k": "paper-imagenet21k-vit-b16",
    "paper-imagenet": "paper-imagenet-vit-b16",
    "paper-finetune-cifar": "paper-finetune-cifar10",
    "paper-finetune-small": "paper-finetune-pets",
}
_QUALITY = {"fast": "fast", "good": "small", "best": "best"}
_REMEDY = "`vitreous recipes` lists them all"


@functools.cache
def recipe_families() -> tuple[Family, ...]:
    """All families of recipes, ours first; made when first asked for."""
    return tuple(family for source in _SOURCES for family in source.families())


@functools.cache
def _recipes() -> dict[str, Recipe]:
    return {recipe.name: recipe for family in recipe_families() for recipe in family.recipes}


def recipe_names(purpose: str | None = None) -> tuple[str, ...]:
    """The names of all recipes, or of those for one verb.

    Args:
        purpose: "pretrain", "finetune", or None for both.
    """
    return tuple(recipe.name for recipe in _recipes().values() if purpose in (None, recipe.purpose))


def find_recipe(name: str | None, purpose: str) -> Recipe:
    """The recipe called `name`, or the one for small data where no name is given.

    Args:
        name: as listed by `recipe_names`; a row of the ViT paper by its data alone, as paper-imagenet; or None.
        purpose: the verb it is for, "pretrain" or "finetune".

    Raises:
        UnknownNameError: no recipe has that name.
        UsageError: the recipe is for the other verb.
    """
    name = name or f"small-{purpose}"
    found = _recipes().get(_SHORT.get(name, name))
    if found is None:
        short = (alias for alias, full in _SHORT.items() if full in recipe_names(purpose))
        raise unknown_name("recipe", name, [*short, *recipe_names(purpose)], remedy=_REMEDY)
    if found.purpose != purpose:
        raise UsageError(
            f"recipe {name} is for {found.purpose}, not for {purpose}",
            remedy=f"--recipe small-{purpose}, or another that `vitreous recipes` lists",
        )
    return found


def quality_recipe(quality: str, purpose: str) -> str:
    """The name of the recipe for people who do not want to choose one.

    Args:
        quality: "fast", "good" or "best".
        purpose: the verb it is for, "pretrain" or "finetune".
    """
    return f"{_QUALITY[quality]}-{purpose}"


def find_listed(name: str) -> Recipe | tuple[Family, ...]:
    """The recipe called `name`, or else the families that are called so or whose name begins so.

    Args:
        name: of a recipe, of a family, or the first words of families': `augreg`.

    Raises:
        UnknownNameError: neither a recipe nor a family.
    """
    found = _recipes().get(_SHORT.get(name, name))
    if found is not None:
        return found
    families = tuple(family for family in recipe_families() if f"{family.name}-".startswith(f"{name}-"))
    if not families:
        known = [*(family.name for family in recipe_families()), *_SHORT, *recipe_names()]
        raise unknown_name("recipe", name, known, remedy=_REMEDY)
    return families

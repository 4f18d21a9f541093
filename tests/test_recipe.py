"""Recipes are found by name, by verb and by quality, and the command lists, explains and offers to run them."""

from __future__ import annotations

import dataclasses
import json
import shlex

import pytest
from recipe_page import PAGE, page

from vitreous.cli import main
from vitreous.config import Recipe
from vitreous.errors import ConfigError, UnknownNameError, UsageError
from vitreous.pretrained import is_pretrained_name
from vitreous.recipe import find_listed, find_recipe, quality_recipe, recipe_families, recipe_names
from vitreous.zoo import is_model_name


def everything() -> list[Recipe]:
    """All recipes."""
    return [find_recipe(name, purpose) for purpose in ("pretrain", "finetune") for name in recipe_names(purpose)]


@pytest.mark.parametrize("purpose", ["pretrain", "finetune"])
def test_each_verb_has_a_recipe_for_small_data(purpose: str) -> None:
    """No name means the one for small data."""
    assert f"small-{purpose}" == find_recipe(None, purpose).name
    assert set(recipe_names(purpose)) == {r.name for r in everything() if r.purpose == purpose}


@pytest.mark.parametrize("purpose", ["pretrain", "finetune"])
def test_each_verb_has_three_qualities(purpose: str) -> None:
    """Better takes longer, and the good one is what comes without asking; fast transfer trains the head alone."""
    fast, good, best = (find_recipe(quality_recipe(q, purpose), purpose) for q in ("fast", "good", "best"))
    assert good == find_recipe(None, purpose)
    assert (fast.epochs or 0) < (good.epochs or 0) < (best.epochs or 0)
    assert (best.mixup > 0, best.augment.policy) == (True, "randaugment")
    if purpose == "finetune":
        assert (fast.train, good.train, best.train) == ("head", "all", "all")
        assert best.learning_rate in best.sweep


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("paper-jft300m", "paper-jft300m-vit-b16"),
        ("paper-imagenet21k", "paper-imagenet21k-vit-b16"),
        ("paper-imagenet", "paper-imagenet-vit-b16"),
        ("paper-finetune-cifar", "paper-finetune-cifar10"),
        ("paper-finetune-small", "paper-finetune-pets"),
    ],
)
def test_short_names_of_the_papers_rows(short: str, full: str) -> None:
    """They stand for a recipe of the list and are not listed themselves."""
    purpose = "finetune" if "finetune" in short else "pretrain"
    assert find_recipe(full, purpose) is find_recipe(short, purpose)
    assert short not in recipe_names()


def test_every_recipe_can_be_told_apart_and_explained() -> None:
    """Names are unique; what a person wants to know is filled in; no two have the same settings and start."""
    assert len(set(recipe_names())) == len(recipe_names()) == sum(len(family.recipes) for family in recipe_families())
    for recipe in everything():
        told = (recipe.summary, recipe.source, recipe.model, recipe.data)
        assert all(told), recipe.name
        assert "this project" in recipe.source or (recipe.expected and recipe.hardware), recipe.name
        assert shlex.quote(recipe.name) == recipe.name or "+" in recipe.name


def test_every_model_of_a_recipe_is_understood() -> None:
    """An architecture for pre-training; for fine-tuning published weights, or the run of another recipe."""
    for recipe in everything():
        if recipe.purpose == "pretrain":
            assert is_model_name(recipe.model), recipe.name
        elif recipe.model.startswith("runs/"):
            assert recipe.model.removeprefix("runs/") in (*recipe_names("pretrain"), "demo-1/pretrain"), recipe.name
        else:
            assert is_pretrained_name(recipe.model), recipe.name


def test_families_keep_to_one_verb_and_one_name() -> None:
    """A family's name is no recipe's, so that both can be typed."""
    names = [family.name for family in recipe_families()]
    assert len(set(names)) == len(names)
    assert set() == set(names) & {*recipe_names(), "paper-imagenet", "paper-jft300m"}
    for family in recipe_families():
        assert {family.purpose} == {recipe.purpose for recipe in family.recipes}


def test_unknown_names_suggest_the_nearest() -> None:
    """A slip is answered with what was meant among the recipes for that verb."""
    with pytest.raises(UnknownNameError) as caught:
        find_recipe("paper-finetune-cifr", "finetune")
    assert "there is no recipe called 'paper-finetune-cifr'" in str(caught.value)
    assert "did you mean paper-finetune-cifar" in str(caught.value)
    assert "paper-imagenet21k" not in str(caught.value)
    with pytest.raises(UnknownNameError, match="did you mean augreg"):
        find_listed("augrg")


def test_a_recipe_for_the_other_verb_is_named_as_such() -> None:
    """Fine-tuning with a pre-training recipe says so, and names one that fits."""
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


def test_the_list_is_short_and_its_json_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each family; as JSON every recipe with every field."""
    assert main(["recipes"]) == 0
    said = capsys.readouterr()
    text = said.out + said.err
    assert all(f" {family.name} " in text for family in recipe_families())
    assert len(text.splitlines()) < 60
    assert max(map(len, text.splitlines())) <= 120
    assert main(["recipes", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [recipe["name"] for recipe in listed] == list(recipe_names())
    assert {field.name for field in dataclasses.fields(Recipe)} == set(listed[0])


def test_a_family_is_listed_with_its_scores(capsys: pytest.CaptureFixture[str]) -> None:
    """By its name or its first words: `deit` is not DeiT III."""
    assert main(["recipes", "deit", "--json"]) == 0
    said = capsys.readouterr()
    names = [recipe["name"] for recipe in json.loads(said.out)]
    assert names == ["deit-vit-ti16", "deit-vit-s16", "deit-vit-b16", "deit-finetune-384-vit-b16"]
    assert "79.9 % ImageNet top-1" in said.err
    assert main(["recipes", "augreg", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 12 + 28 + 56 + 20


@pytest.mark.parametrize(
    ("name", "start", "here"),
    [
        ("mae-finetune-vit-b16", "vitreous finetune imagenet-1k/ --model vit-b16.mae --recipe NAME --fetch", "only"),
        ("plain-vit-90ep", "vitreous pretrain imagenet-1k/ --model vit-s16-gap --recipe NAME", "only configured here"),
        (
            "demo-transfer",
            "vitreous finetune digits --model runs/demo-1/pretrain --recipe NAME",
            "93.3 % of 1,697 digits",
        ),
    ],
)
def test_one_recipe_says_how_to_run_it_and_whether_it_was(
    name: str, start: str, here: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every number that is set, the source, the score, the machine, and the whole command."""
    assert main(["recipes", name]) == 0
    said = capsys.readouterr()
    lines = [line.strip() for line in (said.out + said.err).splitlines()]
    assert start.replace("NAME", name) in lines
    assert any(line.startswith("run here") and here in line for line in lines)
    recipe = next(recipe for recipe in everything() if recipe.name == name)
    numbers = dict(line.split(maxsplit=1) for line in lines if len(line.split()) > 1)
    assert f"{recipe.learning_rate:g}" == numbers["learning_rate"]
    assert str(recipe.batch_size) == numbers["batch_size"]
    assert recipe.augment.crop == numbers["augment.crop"]


def test_the_page_of_recipes_is_up_to_date() -> None:
    """`python tests/recipe_page.py` writes it."""
    assert page() == PAGE.read_text(encoding="utf-8")

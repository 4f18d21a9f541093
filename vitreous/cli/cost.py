"""The verb `cost`: what a model and its training take, before anything is begun."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vitreous import console
from vitreous.architecture import Architecture, Size, ViTConfig, as_pair
from vitreous.cli import cost_page as pages
from vitreous.cli.answer import Answer, Common
from vitreous.cli.flags import positional
from vitreous.cli.words import command, next_steps
from vitreous.config import Recipe
from vitreous.cost import flops, parameters, parts, tokens, training_flops, training_memory
from vitreous.cost.budget import Budget, as_trained, budget, file_bytes, find_data_set
from vitreous.cost.hardware import (
    ASSUMED,
    DEVICES,
    PAPER_RUNS,
    Device,
    Estimate,
    estimate,
    find_hardware,
    implied_utilisation,
)
from vitreous.cost.pixels import attention_rows
from vitreous.errors import ModelFileError, UsageError, unknown_name
from vitreous.pretrained import find_pretrained, is_pretrained_name
from vitreous.recipe import find_listed
from vitreous.schema import to_json
from vitreous.study.alternatives import Alternative, alternatives
from vitreous.zoo import find_model, is_model_name, model_names

_SHOWN = (("l4", 1), ("a100-80", 1), ("h100", 8))
"""Devices that a run is priced for where none is named."""
_READ = 300  # images a second; more than that a core can hardly decode and augment
_PLAIN = Recipe(name="Adam", purpose="finetune", optimizer="adam", steps=1, batch_size=pages.TOGETHER)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What a model and its training take, before anything is begun.

    Parameters, operations, memory and cheaper ways; with a recipe also steps,
    disk, and time on this machine or on a named one. A run folder tells what was
    predicted of it beside what it took.
    """

    model: str | None = positional(None)
    """A name that `vitreous models` lists, a model file, or a run folder; left out, the model of --recipe."""
    image_size: int | Size | None = None
    """Resolution in pixels: one number, or height and width."""
    classes: int | None = None
    """Answers to choose from, in place of the model's or the data's."""
    pixels: bool = False
    """Attention between pixels beside attention between patches, as a table."""
    recipe: str | None = None
    """Price a whole run by this recipe (see `vitreous recipes`)."""
    data: str | None = None
    """Its images: a folder, a built-in set, or a published one by name (imagenet-1k, jft-300m)."""
    images: int | None = None
    """How many training images, where there is no DATA to count."""
    epochs: float | None = None
    """Passes over the training images, in place of the recipe's."""
    steps: int | None = None
    """Optimiser steps, in place of the recipe's."""
    batch_size: int | None = None
    """Images per optimiser step, in place of the recipe's."""
    gradient_checkpointing: bool = False
    """Compute each block twice in place of keeping it."""
    measure: bool = False
    """Measure some passes on this machine, and tell how long the run takes here."""
    hardware: str | None = None
    """Tell how long it takes on this device: h100, a100-80, l4, t4, tpu-v3-core and others."""
    count: int = 1
    """How many of them share each batch."""
    utilisation: float | None = None
    """Share of the published peak that is reached; 0.35 unless given."""
    common: Common = field(default_factory=Common)

    def __post_init__(self) -> None:
        for name in ("classes", "images", "epochs", "steps", "batch_size", "count"):
            if getattr(self, name) is not None and getattr(self, name) <= 0:
                raise UsageError(f"--{name.replace('_', '-')} must be above 0, got {getattr(self, name)}")
        if self.epochs is not None and self.steps is not None:
            raise UsageError("--epochs and --steps exclude each other", remedy="give one of them")
        if self.recipe is None:
            asked = ("data", "images", "epochs", "steps", "batch_size", "measure", "hardware")
            if given := [f"--{name.replace('_', '-')}" for name in asked if getattr(self, name)]:
                raise UsageError(f"{given[0]} prices a run, and a run needs --recipe", remedy="--recipe small-finetune")
            if self.model is None:
                raise UsageError(
                    "vitreous cost needs a model, or a recipe that names one", remedy="vitreous cost vit-b16"
                )

    def answer(self) -> Answer:
        """Count, and say what it comes to."""
        recipe = None if self.recipe is None else _recipe(self)
        price = _price(self.model)
        config = _architecture(self.model or (recipe.model if recipe else ""), price)
        if config is None:
            console.say(f"{self.model} has no model yet", *pages.price_lines(price))
            return Answer(value={"price": price})
        images, classes = _images(self, recipe) if recipe else (0, None)
        config = _asked(config, self, recipe, classes)
        if self.pixels:
            return _pixels(config)
        ways = alternatives(config, recipe or _PLAIN)
        found = _facts(config, recipe or _PLAIN, ways) | ({"price": price} if price else {})
        top = [*pages.head(config), *pages.price_lines(price)]
        if recipe is None:
            self._model_page(config, top, ways)
            return Answer(value=found)
        work = budget(config, recipe, images, gradient_checkpointing=self.gradient_checkpointing)
        return Answer(value=found | {"run": self._run_page(config, recipe, work, top, ways)})

    def _model_page(self, config: Architecture, top: list[str], ways: Sequence[Alternative]) -> None:
        console.say(*top, *pages.share_table(config), *pages.memory_table(config, _PLAIN), *pages.cheaper_table(ways))
        if isinstance(config, ViTConfig):
            console.say(*pages.pixel_line(config))
        here = command("cost", self.model or "", "--recipe", "small-finetune", "--images", "1000", "--measure")
        there = command("cost", self.model or "", "--recipe", "paper-imagenet", "--hardware", "h100", "--count", "8")
        console.say(*next_steps((here, "what a run takes on this machine"), (there, "what it takes there")))

    def _run_page(
        self, config: Architecture, recipe: Recipe, work: Budget, top: list[str], ways: Sequence[Alternative]
    ) -> dict[str, Any]:
        """Say what the run takes; gives it as --json tells it."""
        there = [self._there(config, recipe, work, *place) for place in self._places(recipe)]
        data = self.data or ("" if self.images else recipe.data)
        console.say(*top, *pages.run_lines(recipe, data, work), *pages.hardware_table(there, work))
        told = {"recipe": recipe.name, **to_json(work), "hardware": [_told(each) for each in there]}
        if published := _published(config, recipe, work):
            console.say(published[0])
            told["implied_utilisation"] = published[1]
        if self.measure:
            told["here"] = self._here(config, recipe, work)
        console.say(*pages.memory_table(config, recipe), *pages.cheaper_table(ways))
        console.say(*next_steps(self._next(recipe)))
        return told

    def _places(self, recipe: Recipe) -> list[tuple[Device, int]]:
        """The devices that were named, or some that can share the recipe's batch."""
        if self.hardware is not None:
            return [(find_hardware(self.hardware), self.count)]
        return [(DEVICES[name], count) for name, count in _SHOWN if recipe.batch_size % count == 0]

    def _next(self, recipe: Recipe) -> tuple[str, str]:
        model = self.model or recipe.model
        if self.measure:
            data = self.data if self.data and find_data_set(self.data) is None else "photos/"
            return command(recipe.purpose, data, "--model", model, "--recipe", recipe.name), "begin it"
        counted = [] if self.images is None else ["--images", str(self.images)]
        counted += [] if self.data is None else ["--data", self.data]
        counted += [] if self.image_size is None else ["--image-size", "x".join(map(str, as_pair(self.image_size)))]
        step = command("cost", model, "--recipe", recipe.name, *counted, "--measure")
        return step, "how long it takes on this machine"

    def _there(self, config: Architecture, recipe: Recipe, work: Budget, device: Device, count: int) -> Estimate:
        return estimate(
            config,
            recipe,
            work.images,
            device,
            count=count,
            utilisation=ASSUMED if self.utilisation is None else self.utilisation,
            gradient_checkpointing=self.gradient_checkpointing,
        )

    def _here(self, config: Architecture, recipe: Recipe, work: Budget) -> dict[str, Any]:
        """Seconds of the run on this machine, from measured passes."""
        from vitreous.study.price import measure

        taken = measure(config, recipe, gradient_checkpointing=self.gradient_checkpointing)
        seconds = work.steps * taken.step_seconds(recipe.batch_size)
        rate = taken.images_per_second(recipe.batch_size)
        shown = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2f}"
        console.say(
            "",
            f"here      {pages.time_words(seconds)} on {taken.device} in {taken.precision}, {shown} images/s:",
            f"          median of {taken.passes} passes of {taken.micro_batch}; reading and scoring images come on top",
        )
        if rate > _READ:
            console.say("          so many images a second are held up by reading them: expect longer")
        return {"seconds": seconds, "images_per_second": rate, **to_json(taken)}


def _recipe(asked: Cost) -> Recipe:
    """The recipe with what was asked put in its place."""
    recipe = find_listed(asked.recipe or "")
    if not isinstance(recipe, Recipe):
        names = [each.name for family in recipe for each in family.recipes]
        raise UsageError(f"{asked.recipe} is a family of recipes", remedy=f"one of: {', '.join(names[:8])}")
    changes: dict[str, Any] = {}
    if asked.epochs is not None:
        changes |= {"epochs": asked.epochs, "steps": None}
    if asked.steps is not None:
        changes |= {"steps": asked.steps, "epochs": None}
    if asked.batch_size is not None:
        changes["batch_size"] = asked.batch_size
    return dataclasses.replace(recipe, **changes)


def _images(asked: Cost, recipe: Recipe) -> tuple[int, int | None]:
    """How many training images there are, and how many classes they have where that is known."""
    known = find_data_set(asked.data or recipe.data)
    if asked.images is not None:
        return asked.images, None if asked.data is None or known is None else known.classes
    if known is not None:
        return known
    if asked.data is not None:
        from vitreous.data.sources import open_splits

        train = open_splits(asked.data, val=0.2, seed=0).train
        return len(train), len(train.classes)
    if recipe.steps is not None:
        return 0, None
    raise UsageError(
        f"recipe {recipe.name} runs for {recipe.epochs:g} epochs, and nobody knows of how many images",
        remedy="--images 1000, or --data FOLDER",
    )


def _architecture(name: str, price: dict[str, Any]) -> Architecture | None:
    """The architecture that a name, a file or a run folder stands for; None for a run that has only a price yet."""
    if not os.path.exists(name):
        if is_model_name(name):
            return find_model(name)
        if is_pretrained_name(name) and is_model_name(architecture := find_pretrained(name).architecture):
            return find_model(architecture)
        if not is_pretrained_name(name):
            raise unknown_name("model", name, model_names(), remedy="`vitreous models` lists them all, or a model file")
    from vitreous.weights.load import read_any

    try:
        loaded, path = read_any(name, verify=False)
    except ModelFileError:
        if price:
            return None
        raise
    if loaded.card.architecture is None:
        raise ModelFileError(
            "the file holds the weights of somebody's own module, whose operations only its code knows", where=str(path)
        )
    return loaded.card.architecture


def _asked(config: Architecture, asked: Cost, recipe: Recipe | None, classes: int | None) -> Architecture:
    """The architecture with the head and the resolution that were asked for."""
    classes = asked.classes if asked.classes is not None else classes
    size = None if asked.image_size is None else as_pair(asked.image_size)
    if recipe is not None:
        recipe = recipe if size is None else dataclasses.replace(recipe, image_size=size)
        return as_trained(config, recipe, classes)
    return dataclasses.replace(
        config,
        image_size=size or config.image_size,
        num_classes=config.num_classes if classes is None else classes,
    )


def _price(model: str | None) -> dict[str, Any]:
    """What a run folder says of its own price; empty for anything else."""
    if model is None or not (Path(model) / "run.json").is_file():
        return {}
    from vitreous.training.run import read_facts

    found = read_facts(Path(model)).get("price")
    return found if isinstance(found, dict) else {}


def _pixels(config: Architecture) -> Answer:
    if not isinstance(config, ViTConfig):
        raise UsageError(f"{config.name} is a ResNet, and attends to nothing", remedy="vitreous cost vit-b16 --pixels")
    console.say(*pages.pixel_table(config))
    return Answer(value=[row._asdict() for row in attention_rows(config)])


def _facts(config: Architecture, recipe: Recipe, ways: Sequence[Alternative]) -> dict[str, Any]:
    """What --json tells of a model."""
    memory = {
        f"{precision}{', gradient checkpointing' if again else ''}": to_json(
            training_memory(config, recipe, pages.TOGETHER, precision, again)
        )
        for precision in ("float32", "bfloat16")
        for again in (False, True)
    }
    return {
        "model": config.name,
        "image_size": list(config.image_size),
        "tokens": tokens(config),
        "parameters": parameters(config),
        "flops": flops(config),
        "training_flops": training_flops(config),
        "file_bytes": file_bytes(config),
        "parts": [
            {
                "name": part.name,
                "parameters": part.parameters,
                "flops": 2 * part.macs,
                "backward_flops": 2 * part.backward,
            }
            for part in parts(config)
        ],
        "images_together": pages.TOGETHER,
        "memory": memory,
        "alternatives": [to_json(way) for way in ways],
        "pixels": [row._asdict() for row in attention_rows(config)] if isinstance(config, ViTConfig) else [],
    }


def _published(config: Architecture, recipe: Recipe, work: Budget) -> tuple[str, float] | tuple[()]:
    """What share of its hardware's peak the paper's own run reached, where Table 2 tells its core-days."""
    for run in PAPER_RUNS:
        if (run.model, run.epochs) == (config.name, recipe.epochs) and work.images == getattr(
            find_data_set(run.data), "images", None
        ):
            share = implied_utilisation(work.flops, DEVICES["tpu-v3-core"], run.core_days)
            words = (
                f"published: {run.core_days:,} TPUv3-core-days (Table 2), which is {share:.0%} of that hardware's peak"
            )
            return words, share
    return ()


def _told(each: Estimate) -> dict[str, Any]:
    facts: dict[str, Any] = {spec.name: getattr(each, spec.name) for spec in dataclasses.fields(each)}
    return facts | {"device": each.device._asdict(), "fits": each.fits, "device_days": each.device_days}

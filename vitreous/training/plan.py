"""From what was asked to what will be done: recipe, data, model and machine resolved before anything is trained."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from vitreous.architecture import ResNetConfig, ViTConfig, as_pair
from vitreous.config import ModelCard, Recipe, TrainOptions
from vitreous.data.feeding.fast import require_fast
from vitreous.data.layouts.remote.address import shown
from vitreous.data.sources import ImageSet, Splits, open_splits
from vitreous.distributed import Group, World, share
from vitreous.errors import DataError, UsageError
from vitreous.model.prepare import Policy, choose_policy, choose_threads
from vitreous.model.recompute import recompute_blocks
from vitreous.recipe import find_recipe, hyperrule, quality_recipe
from vitreous.recipe.change import changed
from vitreous.training.compilation import Compilation, as_asked, choose_compilation
from vitreous.training.learning import transfer
from vitreous.training.masked.patch import MaskedPatch
from vitreous.training.memory import How, image_bytes, peak_memory
from vitreous.training.microbatch import choose_micro_batch
from vitreous.training.spelled import spelled_config
from vitreous.training.start import Model as Model
from vitreous.training.start import Start, followed, resolve_start
from vitreous.training.start import Verb as Verb
from vitreous.weights.hub.choose import RECOMMENDED, best_cached
from vitreous.zoo import find_model, is_model_name

Data = str | Path | ImageSet | Splits

ALONE = Group(World(0, 1, 0), "auto")
"""One process that trains by itself, on whatever device it finds."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything a run depends on, resolved."""

    verb: Verb
    data: str
    """The data as the person named it."""
    options: TrainOptions
    recipe: Recipe
    splits: Splits
    model: nn.Module
    """What is trained."""
    source: str
    """The model as the person named it."""
    spelled: tuple[str, str] | None
    """Data and model as Python spells them, where one of them is an object that no shell can name."""
    random: bool
    """Whether training begins from random weights."""
    card: ModelCard
    policy: Policy
    compilation: Compilation
    micro_batch: int
    memory: float
    """Bytes that training takes at its height, about, in each process."""
    total_steps: int
    threads: int
    world_size: int = 1
    """Processes that share out every batch."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the logits."""
        return self.splits.train.classes

    @property
    def held_out(self) -> ImageSet:
        """The images the headline comes from: a test set, or else the validation images, which choose nothing."""
        held_out = self.splits.test or self.splits.val
        assert held_out is not None, "data is always opened with something held out"
        return held_out

    @property
    def guess(self) -> float | None:
        """The loss of a model that knows nothing; None where that depends on the images or the head's bias."""
        alone = self.recipe.loss == "softmax" and self.recipe.class_weights == "none"
        return math.log(len(self.classes)) if alone and self.recipe.objective == "labels" else None

    @property
    def steps_per_epoch(self) -> float:
        """Optimiser steps in one pass over the training images."""
        return len(self.splits.train) / self.recipe.batch_size

    @property
    def strategy(self) -> Literal["ddp", "fsdp"]:
        """How several processes hold the model: each a whole copy, or each a part of it."""
        return "fsdp" if self.options.parallel == "fsdp" else "ddp"

    def choices(self) -> dict[str, Any]:
        """What was chosen by measuring or by this machine's size, for run.json; `make_plan` takes it back."""
        tried = self.options.learning_rate == "find" or self.options.sweep
        return {
            "policy": dataclasses.asdict(self.policy),
            "compilation": dataclasses.asdict(self.compilation),
            "micro_batch": self.micro_batch,
            "threads": self.threads,
            "learning_rate": self.recipe.learning_rate if tried else None,
            "steps": self.total_steps,
        }


def make_plan(
    verb: Verb,
    data: Data,
    model: Model | None,
    options: TrainOptions,
    *,
    choices: dict[str, Any] | None = None,
    group: Group = ALONE,
) -> Plan:
    """Resolve everything; the data is opened and every image read once, nothing is trained.

    Args:
        verb: "pretrain" or "finetune".
        data: a folder, a built-in name, or images already opened.
        model: a name, a config, a model file or run folder, or the person's own module.
        options: what was asked.
        choices: of the run that is being resumed, or of the first process, taken over as they are.
        group: the processes that train together; measured choices are the first one's.
    """
    recipe = resolve_recipe(verb, options)
    model = choose_model(verb, options) if model is None else model
    if fixed := choices["threads"] if choices else options.threads:
        torch.set_num_threads(fixed)
    if isinstance(model, str) and verb == "pretrain":
        find_model(model)  # a misspelt name is told before the data is read
    splits = _opened(data, options)
    recipe = _for_data(recipe, options, splits)
    start = resolve_start(verb, model, recipe, splits.train.classes, options.seed)
    if splits.train.several and recipe.objective == "labels":
        start = dataclasses.replace(start, card=dataclasses.replace(start.card, answers="several"))
    recipe = followed(recipe, start.module)
    device = group.device if group.world.size > 1 else options.device
    _, count = share(recipe.batch_size, group.world)
    transfer.begin(start.module, recipe, seed=options.seed)
    if options.gradient_checkpointing:
        recompute_blocks(start.module)
    if choices is None:
        choices = _measured(start, recipe, options, device, count, len(splits.train))
    policy = _policy(choices["policy"], group)
    micro_batch = min(options.micro_batch or int(choices["micro_batch"]), count)
    if choices.get("learning_rate"):
        recipe = dataclasses.replace(recipe, learning_rate=choices["learning_rate"], learning_rate_for=None)
    if options.time is not None and choices.get("steps"):
        recipe = dataclasses.replace(recipe, steps=choices["steps"], epochs=None)
    return Plan(
        verb=verb,
        data=shown(str(data)) if isinstance(data, str | Path) else splits.train.name,
        options=options,
        recipe=recipe,
        splits=splits,
        model=start.module,
        source=str(model) if isinstance(model, str | Path) else getattr(model, "name", type(model).__name__),
        spelled=None if isinstance(data, str | Path) and isinstance(model, str | Path) else _spelled(data, model),
        random=start.random,
        card=start.card,
        policy=policy,
        compilation=_compilation(choices, options),
        micro_batch=micro_batch,
        memory=peak_memory(
            start.module,
            start.card.architecture,
            start.card.preprocess.image_size,
            recipe,
            micro_batch,
            _how(policy, options),
        ),
        total_steps=_total_steps(recipe, len(splits.train)),
        threads=torch.get_num_threads(),
        world_size=group.world.size,
    )


def _opened(data: Data, options: TrainOptions) -> Splits:
    """The images of the run."""
    if options.decode == "fast":
        require_fast()
    return open_splits(
        data,
        val=options.val,
        seed=options.seed,
        folds=options.folds,
        fold=options.fold,
        group_by=options.group_by,
        dedupe=options.dedupe,
        root=options.root,
        bad_images=options.bad_images,
    )


def choose_model(verb: Verb, options: TrainOptions) -> str:
    """The name of the model to start from where none was given.

    Args:
        verb: "pretrain" takes the model of the recipe that was asked for, "finetune" the best published weights in the
            cache.
        options: what was asked.

    Raises:
        UsageError: there is nothing to choose from.
    """
    if verb == "pretrain":
        if options.recipe is not None and is_model_name(model := resolve_recipe(verb, options).model):
            return model
        raise UsageError("pretrain needs a model", remedy="--model vit-ti16, or another name of `vitreous models`")
    if (weights := best_cached()) is None:
        raise UsageError(
            "finetune needs a model",
            why="no pretrained weights are in the cache to choose from",
            remedy=f"--model {RECOMMENDED} --fetch   fetches some; --model vit-ti16 begins from random weights",
        )
    return weights.name


def resolve_recipe(verb: Verb, options: TrainOptions) -> Recipe:
    """The named recipe with what was asked put in its place.

    Args:
        verb: "pretrain" or "finetune".
        options: what was asked.
    """
    named = quality_recipe(options.quality, verb) if options.quality else options.recipe
    if options.objective == "masked-patch":
        named = "small-masked"
    return _overridden(find_recipe(named, verb), options)


def _overridden(recipe: Recipe, options: TrainOptions) -> Recipe:
    changes: dict[str, Any]
    recipe, changes = changed(recipe, options.set), {}
    if options.epochs is not None:
        changes |= {"epochs": options.epochs, "steps": None}
    if options.steps is not None:
        changes |= {"steps": options.steps, "epochs": None}
    if isinstance(options.learning_rate, float | int):
        changes |= {"learning_rate": float(options.learning_rate), "learning_rate_for": None}
    for name in ("batch_size", "train", "class_weights"):
        if getattr(options, name) is not None:
            changes[name] = getattr(options, name)
    if options.image_size is not None:
        changes["image_size"] = as_pair(options.image_size)
    if options.sweep and not recipe.sweep:
        raise UsageError(f"recipe {recipe.name} has no learning rates to try", remedy="--learning-rate find")
    return dataclasses.replace(recipe, **changes)


def _for_data(recipe: Recipe, options: TrainOptions, splits: Splits) -> Recipe:
    """The recipe once the images are known."""
    train = splits.train
    if train.several and recipe.objective == "labels" and recipe.loss == "softmax":
        raise DataError(
            "the images have several labels each, and this recipe teaches one for each image",
            where=train.name,
            why=f"the softmax of recipe {recipe.name} lets classes exclude each other",
            remedy="--set loss=sigmoid",
        )
    if recipe.name == "bit-hyperrule":
        height, width = train.read(0).shape[:2]
        recipe = _overridden(hyperrule(len(train), (height, width)), options)
    if recipe.augment.flip and not train.mirror_safe:
        recipe = dataclasses.replace(recipe, augment=dataclasses.replace(recipe.augment, flip=False))
    return recipe


def _measured(
    start: Start, recipe: Recipe, options: TrainOptions, device: str, share: int, num_images: int
) -> dict[str, Any]:
    """Threads, precision, micro-batch and compilation, chosen by measuring the network that does the work."""
    worker = start.module.vit if isinstance(start.module, MaskedPatch) else start.module
    if options.threads is None:
        torch.set_num_threads(choose_threads(worker, for_="training", device=device))
    policy = choose_policy(worker, for_="training", device=device, precision=options.precision)
    size = start.card.preprocess.image_size
    each = image_bytes(worker, start.card.architecture, size, _how(policy, options))
    micro = options.micro_batch or choose_micro_batch(worker, size, policy, largest=share, bytes_each=each)
    passes = _total_steps(recipe, num_images) * math.ceil(share / micro)
    untried = isinstance(start.module, MaskedPatch) or options.gradient_checkpointing or options.parallel == "fsdp"
    compilation = choose_compilation(
        worker,
        size,
        policy,
        "off" if untried and options.compile == "auto" else options.compile,
        micro_batch=micro,
        passes=passes,
        seconds=options.seconds,
    )
    return {
        "policy": dataclasses.asdict(policy),
        "compilation": dataclasses.asdict(compilation),
        "micro_batch": micro,
        "threads": torch.get_num_threads(),
    }


def _compilation(choices: dict[str, Any], options: TrainOptions) -> Compilation:
    """As asked, or as it was chosen before; runs of versions that did not choose were not compiled."""
    if options.compile != "auto":
        return as_asked(options.compile)
    return Compilation(**choices.get("compilation", {"chosen": False, "reason": ""}))


def _how(policy: Policy, options: TrainOptions) -> How:
    return How(policy.precision, policy.attention, options.gradient_checkpointing)


def _policy(facts: dict[str, Any], group: Group) -> Policy:
    """A policy that was chosen before, on this process's own device."""
    policy = Policy(**facts)
    return dataclasses.replace(policy, device=group.device) if group.world.size > 1 else policy


def _spelled(data: Data, model: Model) -> tuple[str, str]:
    """Data and model as Python spells them; images and modules that were made before by a word for them."""
    images = repr(str(data)) if isinstance(data, str | Path) else "images"
    match model:
        case str() | Path():
            return images, repr(str(model))
        case ViTConfig() | ResNetConfig():
            return images, spelled_config(model)
    return images, "model"


def _total_steps(recipe: Recipe, count: int) -> int:
    if recipe.steps is not None:
        return recipe.steps
    return max(1, round((recipe.epochs or 0) * count / recipe.batch_size))

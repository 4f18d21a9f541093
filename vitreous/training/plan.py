"""From what was asked to what will be done: recipe, data, model and machine resolved before anything is trained."""

from __future__ import annotations

import dataclasses
import math
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from vitreous.architecture import Architecture, ResNetConfig, Size, ViTConfig, as_pair
from vitreous.config import ModelCard, PreprocessConfig, Recipe, TrainOptions
from vitreous.cost import macs
from vitreous.data.sources import ImageSet, Splits, open_splits
from vitreous.errors import ConfigError, UsageError
from vitreous.model.attention import Attention
from vitreous.model.create import create_model
from vitreous.model.prepare import Policy, choose_policy, choose_threads
from vitreous.model.resnet import ResNet
from vitreous.model.vit import ViT
from vitreous.recipe import find_recipe
from vitreous.training.memory import kept_bytes, training_bytes
from vitreous.training.schedule import warmup_steps
from vitreous.training.spelled import spelled_config
from vitreous.weights.hub.choose import RECOMMENDED, best_cached
from vitreous.weights.load import open_model
from vitreous.zoo import find_model

Verb = Literal["pretrain", "finetune"]
Model = str | Path | Architecture | nn.Module
Data = str | Path | ImageSet | Splits

_CPU_BUDGET = 2e9  # bytes of activations per micro-batch: past some hundred megabytes a CPU gains nothing
_GPU_SHARE = 0.5  # of the card's free memory


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
    source: str
    """The model as the person named it."""
    spelled: tuple[str, str] | None
    """Data and model as Python spells them, where one of them is an object that no shell can name."""
    random: bool
    """Whether training begins from random weights."""
    card: ModelCard
    policy: Policy
    micro_batch: int
    memory: float
    """Bytes that training takes at its height, about."""
    total_steps: int
    threads: int

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

    def choices(self) -> dict[str, Any]:
        """What was chosen by measuring or by this machine's size, for run.json; `make_plan` takes it back."""
        return {
            "policy": dataclasses.asdict(self.policy),
            "micro_batch": self.micro_batch,
            "threads": self.threads,
        }


def make_plan(
    verb: Verb, data: Data, model: Model | None, options: TrainOptions, *, choices: dict[str, Any] | None = None
) -> Plan:
    """Resolve everything; the data is opened and every image read once, nothing is trained.

    Args:
        verb: "pretrain" or "finetune".
        data: a folder, a built-in name, or images already opened.
        model: a name, a config, a model file or run folder, or the person's own module.
        options: what was asked.
        choices: of the run that is being resumed, taken over as they are.
    """
    recipe = resolve_recipe(verb, options)
    model = choose_model(verb) if model is None else model
    if fixed := choices["threads"] if choices else options.threads:
        torch.set_num_threads(fixed)
    if isinstance(model, str) and verb == "pretrain":
        find_model(model)  # a misspelt name is told before the data is read
    splits = open_splits(data, val=options.val, seed=options.seed, root=options.root, bad_images=options.bad_images)
    if recipe.augment.flip and not splits.train.mirror_safe:
        recipe = dataclasses.replace(recipe, augment=dataclasses.replace(recipe.augment, flip=False))
    module, random, card = _resolve_model(verb, model, recipe, options, splits)
    recipe = _without_what_it_lacks(recipe, module)
    each = kept_bytes(module, card.preprocess.image_size)
    if choices:
        policy, micro_batch = Policy(**choices["policy"]), int(choices["micro_batch"])
    else:
        if options.threads is None:
            torch.set_num_threads(choose_threads(module, for_="training", device=options.device))
        policy = choose_policy(module, for_="training", device=options.device, precision=options.precision)
        micro_batch = options.micro_batch or _micro_batch(recipe.batch_size, each, policy)
    micro_batch = min(micro_batch, recipe.batch_size)
    return Plan(
        verb=verb,
        data=str(data) if isinstance(data, str | Path) else splits.train.name,
        options=options,
        recipe=recipe,
        splits=splits,
        model=module,
        source=str(model) if isinstance(model, str | Path) else getattr(model, "name", type(model).__name__),
        spelled=None if isinstance(data, str | Path) and isinstance(model, str | Path) else _spelled(data, model),
        random=random,
        card=card,
        policy=policy,
        micro_batch=micro_batch,
        memory=training_bytes(module, recipe, micro_batch, each),
        total_steps=_total_steps(recipe, len(splits.train)),
        threads=torch.get_num_threads(),
    )


def choose_model(verb: Verb) -> str:
    """The name of the model to start from where none was given.

    Args:
        verb: only "finetune" can choose: the best published weights in the cache.

    Raises:
        UsageError: there is nothing to choose from.
    """
    if verb == "pretrain":
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
    recipe = find_recipe(options.recipe, verb)
    changes: dict[str, Any] = {}
    if options.epochs is not None:
        changes |= {"epochs": options.epochs, "steps": None}
    if options.steps is not None:
        changes |= {"steps": options.steps, "epochs": None}
    for name in ("batch_size", "learning_rate"):
        if getattr(options, name) is not None:
            changes[name] = getattr(options, name)
    if options.image_size is not None:
        changes["image_size"] = as_pair(options.image_size)
    return dataclasses.replace(recipe, **changes)


def describe(plan: Plan, folder: Path | None) -> list[str]:
    """The plan in words, for the person to read before anything is trained.

    Args:
        plan: what will be done.
        folder: the run folder, where it is known.
    """
    recipe, size = plan.recipe, plan.card.preprocess.image_size
    parameters = sum(p.numel() for p in plan.model.parameters())
    weights = "random weights" if plan.random else f"weights from {plan.source}"
    pieces = math.ceil(recipe.batch_size / plan.micro_batch)
    batch = f"batch {recipe.batch_size}" + (f" as {pieces} x {plan.micro_batch}" if pieces > 1 else "")
    epochs = plan.total_steps * recipe.batch_size / len(plan.splits.train)
    warmup = warmup_steps(recipe, plan.total_steps, len(plan.splits.train) / recipe.batch_size)
    lines = [f"data     {note}" for note in plan.splits.notes]
    lines += [f"         left out: {failure.path}: {failure.reason}" for failure in plan.splits.failed[:10]]
    lines += [
        f"model    {plan.source}: {weights}, {parameters / 1e6:.2f} M parameters, {size[0]} x {size[1]} px",
        f"recipe   {recipe.name}: {recipe.optimizer}, learning rate {recipe.learning_rate:g} ({recipe.schedule}),"
        f" {batch}, {plan.total_steps:,} steps = {epochs:.1f} epochs, warm-up {warmup:,}",
        f"price    {_price(plan)}",
        f"machine  {plan.policy.device}, {_threads(plan.threads)}, {plan.policy.reason}",
    ]
    named = find_recipe(recipe.name, plan.verb)
    if named.hidden_head and not recipe.hidden_head:
        lines.append("         without the recipe's tanh layer: the head of this model is linear")
    if named.dropout and recipe.dropout is None:
        lines.append(f"         without the recipe's dropout of {named.dropout:g}: this model has no place for it")
    if recipe.warmup_steps and warmup != recipe.warmup_steps:
        lines.append(f"         the recipe's warm-up of {recipe.warmup_steps:,} steps does not fit; cut to {warmup:,}")
    if not plan.splits.train.mirror_safe:
        lines.append("         no mirrored images: these read differently in a mirror")
    if plan.policy.kept_heap:
        lines.append("         freed memory is kept for the next step (VITREOUS_KEEP_HEAP=0 forbids it)")
    if plan.threads > 1 and (spins := os.environ.get("GOMP_SPINCOUNT")):
        lines.append(f"         waiting threads sleep after {spins} spins (GOMP_SPINCOUNT sets it)")
    if folder is not None:
        lines.append(f"run      {folder}   (Ctrl-C is safe: it saves)")
    return lines


def environment(plan: Plan) -> dict[str, str]:
    """Versions and machine: whatever the result may depend on.

    Args:
        plan: gives threads, device and precision.
    """
    attends = any(isinstance(part, Attention) for part in plan.model.modules())
    return {
        "Python": platform.python_version(),
        "PyTorch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": torch.backends.cpu.get_cpu_capability(),
        "device": plan.policy.device,
        "threads": str(plan.threads),
        "precision": plan.policy.precision,
        **({"attention": plan.policy.attention} if attends else {}),
        "micro-batch": str(plan.micro_batch),
    }


def _resolve_model(
    verb: Verb, model: Model, recipe: Recipe, options: TrainOptions, splits: Splits
) -> tuple[nn.Module, bool, ModelCard]:
    """The module to train, whether its weights are random, and the card its file will carry."""
    classes = splits.train.classes
    module: nn.Module
    if verb == "pretrain" and isinstance(model, str | ViTConfig | ResNetConfig):
        module, random = _fresh(model, recipe, options, len(classes)), True
    elif verb == "pretrain" and isinstance(model, Path):
        raise UsageError(
            "pretrain starts from random weights", where=str(model), remedy=f"vitreous finetune DATA --model {model}"
        )
    else:
        module, random = open_model(
            model, num_classes=len(classes), image_size=recipe.image_size, head="new", seed=options.seed
        )
    if isinstance(module, ViT) and recipe.dropout is not None:
        _set_dropout(module, recipe.dropout)
    given = getattr(module, "card", None)
    before = given.preprocess if isinstance(given, ModelCard) and not random else None
    architecture = module.config if isinstance(module, ViT | ResNet) else None
    if architecture is not None:
        _check_trainable(architecture)
    native = architecture.image_size if architecture else before.image_size if before else (224, 224)
    size = recipe.image_size or native
    if isinstance(model, nn.Module):
        _check_outputs(module, size, len(classes))
    return module, random, ModelCard(architecture=architecture, preprocess=_preprocess(size, before), classes=classes)


def _fresh(model: str | Architecture, recipe: Recipe, options: TrainOptions, num_classes: int) -> ViT | ResNet:
    config = find_model(model) if isinstance(model, str) else model
    # the hidden layer is the Vision Transformer's; BiT and DeiT train with linear heads (Kolesnikov et al., 2020)
    hidden = recipe.hidden_head and isinstance(config, ViTConfig) and not config.distill_token
    return create_model(
        config,
        num_classes=num_classes,
        image_size=recipe.image_size,
        representation_size=config.pooled_dim if hidden and isinstance(config, ViTConfig) else None,
        seed=options.seed,
    )


def _check_trainable(config: Architecture) -> None:
    """What is built for other uses is told before an hour of training begins."""
    if config.in_channels != 3:
        raise ConfigError(
            f"{config.name} takes images with in_channels={config.in_channels}, and they are read as RGB",
            remedy="give it three, in_channels=3, also where it is loaded from a file",
        )
    if isinstance(config, ViTConfig) and config.pool == "none":
        raise ConfigError(
            f"{config.name} answers for every token, and images have one label each",
            remedy="another pool, such as 'cls'",
        )


def _without_what_it_lacks(recipe: Recipe, module: nn.Module) -> Recipe:
    """The recipe as it can be followed: dropout and the tanh layer are a Vision Transformer's."""
    if not isinstance(module, ViT):
        return dataclasses.replace(recipe, dropout=None, hidden_head=False)
    return dataclasses.replace(recipe, hidden_head=recipe.hidden_head and module.pre_logits is not None)


def _spelled(data: Data, model: Model) -> tuple[str, str]:
    """Data and model as Python spells them; images and modules that were made before by a word for them."""
    images = repr(str(data)) if isinstance(data, str | Path) else "images"
    match model:
        case str() | Path():
            return images, repr(str(model))
        case ViTConfig() | ResNetConfig():
            return images, spelled_config(model)
    return images, "model"


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _preprocess(size: Size, before: PreprocessConfig | None) -> PreprocessConfig:
    if before is not None:
        return dataclasses.replace(before, image_size=size)
    # nothing is cut off small images: a digit fills its frame
    return PreprocessConfig(image_size=size, crop_ratio=1.0 if min(size) <= 96 else 0.875)


def _set_dropout(module: nn.Module, rate: float) -> None:
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = rate


def _check_outputs(module: nn.Module, size: Size, num_classes: int) -> None:
    """A person's own module must answer (1, Y) before an hour of reading and training begins."""
    was_training = module.training
    with torch.no_grad():
        logits = module.eval()(torch.zeros(1, 3, *size))
    module.train(was_training)
    if not isinstance(logits, torch.Tensor) or logits.shape != (1, num_classes):
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ConfigError(
            f"the model must answer images (1, 3, {size[0]}, {size[1]}) with logits (1, {num_classes}), got {got}",
            why=f"the data has {num_classes} classes",
        )


def _total_steps(recipe: Recipe, count: int) -> int:
    if recipe.steps is not None:
        return recipe.steps
    return max(1, round((recipe.epochs or 0) * count / recipe.batch_size))


def _price(plan: Plan) -> str:
    """What the run costs, in words: arithmetic and memory; for somebody's own module only memory."""
    memory = f"about {plan.memory / 1e9:.2g} GB of memory besides the images"
    if plan.card.architecture is None:
        return memory
    each = macs(plan.card.architecture, plan.card.preprocess.image_size)
    # going back takes two products of matrices for every one on the way forward
    whole = 3 * each * plan.recipe.batch_size * plan.total_steps
    return f"{_scaled(each)} multiply-adds an image, {_scaled(whole)} to train; {memory}"


def _scaled(number: float) -> str:
    """12,345,678 as "12.3 M"."""
    power = min(max(int(math.log10(max(number, 1))) // 3, 0), 7)
    return f"{number / 1000**power:.3g} {' KMGTPEZ'[power]}".rstrip()


def _micro_batch(batch_size: int, bytes_each: float, policy: Policy) -> int:
    """Images per forward pass that fit comfortably; the batch is cut into equal pieces of at most that many."""
    budget = _CPU_BUDGET
    if policy.device.startswith("cuda"):
        budget = _GPU_SHARE * torch.cuda.mem_get_info(torch.device(policy.device))[0]
    pieces = math.ceil(batch_size * bytes_each / budget)
    return math.ceil(batch_size / max(1, pieces))

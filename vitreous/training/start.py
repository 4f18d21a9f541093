"""What training begins from: the module with its weights, and the card that its file will carry."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from vitreous.architecture import Architecture, ResNetConfig, Size, ViTConfig
from vitreous.config import ModelCard, PreprocessConfig, Recipe
from vitreous.errors import ConfigError, UsageError
from vitreous.model.create import create_model
from vitreous.model.layers import DropPath
from vitreous.model.resnet import ResNet
from vitreous.model.vit import ViT
from vitreous.training.masked.patch import MaskedPatch, masked_patch
from vitreous.weights.load import open_model
from vitreous.zoo import find_model

Verb = Literal["pretrain", "finetune"]
Model = str | Path | Architecture | nn.Module


@dataclasses.dataclass(frozen=True, kw_only=True)
class Start:
    """A module about to be trained."""

    module: nn.Module
    random: bool
    """Whether its weights are random."""
    card: ModelCard


def resolve_start(verb: Verb, model: Model, recipe: Recipe, classes: tuple[str, ...], seed: int) -> Start:
    """The module that `model` stands for, its head as wide as there are classes, its rates those of the recipe.

    Args:
        verb: "pretrain" or "finetune".
        model: a name, a config, a model file or run folder, or the person's own module.
        recipe: gives resolution, rates and hidden layer.
        classes: of the training images; a model that predicts hidden patches has none.
        seed: fixes random weights.

    Raises:
        ConfigError: the model cannot be trained on such images.
        UsageError: `pretrain` was given weights.
    """
    hidden = recipe.objective == "masked-patch"
    num_classes = 0 if hidden else len(classes)
    module: nn.Module
    if verb == "pretrain" and isinstance(model, str | ViTConfig | ResNetConfig):
        module, random = _fresh(model, recipe, num_classes, seed), True
    elif verb == "pretrain" and isinstance(model, Path):
        raise UsageError(
            "pretrain starts from random weights", where=str(model), remedy=f"vitreous finetune DATA --model {model}"
        )
    else:
        head: Literal["new", "keep", "drop"] = "drop" if hidden else recipe.head
        wanted = num_classes if head == "new" else None
        module, random = open_model(model, num_classes=wanted, image_size=recipe.image_size, head=head, seed=seed)
        if head == "keep":
            _check_same_classes(module, classes)
    if isinstance(module, ViT):
        _set_rates(module, recipe)
    if recipe.head_bias and not hidden:
        _set_head_bias(module, recipe.head_bias)
    given = getattr(module, "card", None)
    before = given.preprocess if isinstance(given, ModelCard) and not random else None
    architecture = module.config if isinstance(module, ViT | ResNet) else None
    if architecture is not None:
        _check_trainable(architecture)
    native = architecture.image_size if architecture else before.image_size if before else (224, 224)
    size = recipe.image_size or native
    if hidden:
        module = masked_patch(module, recipe, seed)
    elif isinstance(model, nn.Module):
        _check_outputs(module, size, num_classes)
    card = ModelCard(architecture=architecture, preprocess=_preprocess(size, before), classes=() if hidden else classes)
    return Start(module=module, random=random, card=card)


def followed(recipe: Recipe, module: nn.Module) -> Recipe:
    """The recipe as it can be followed: dropout, stochastic depth and the tanh layer are a Vision Transformer's.

    Args:
        recipe: as asked for.
        module: as `resolve_start` gives it.
    """
    if isinstance(module, MaskedPatch):
        return dataclasses.replace(recipe, hidden_head=False)
    if not isinstance(module, ViT):
        return dataclasses.replace(recipe, dropout=None, drop_path=None, hidden_head=False)
    return dataclasses.replace(recipe, hidden_head=recipe.hidden_head and module.pre_logits is not None)


def _fresh(model: str | Architecture, recipe: Recipe, num_classes: int, seed: int) -> ViT | ResNet:
    config = find_model(model) if isinstance(model, str) else model
    # the hidden layer is the Vision Transformer's; BiT and DeiT train with linear heads (Kolesnikov et al., 2020)
    hidden = recipe.hidden_head and num_classes and isinstance(config, ViTConfig) and not config.distill_token
    return create_model(
        config,
        num_classes=num_classes,
        image_size=recipe.image_size,
        representation_size=config.pooled_dim if hidden and isinstance(config, ViTConfig) else None,
        seed=seed,
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


def _check_same_classes(module: nn.Module, classes: tuple[str, ...]) -> None:
    """A head that is kept answers for the classes that it was trained on, in their order."""
    card = getattr(module, "card", None)
    known = card.classes if isinstance(card, ModelCard) else ()
    outputs = module.config.num_classes if isinstance(module, ViT | ResNet) else len(classes)
    if (known and known != classes) or outputs != len(classes):
        raise ConfigError(
            f"this recipe keeps the head, which answers for {outputs:,} classes, and the data has {len(classes):,}",
            why="they must be the same, in the same order" if outputs == len(classes) else None,
            remedy="a recipe that begins with a new head, such as --recipe small-finetune",
        )


def _preprocess(size: Size, before: PreprocessConfig | None) -> PreprocessConfig:
    if before is not None:
        return dataclasses.replace(before, image_size=size)
    # nothing is cut off small images: a digit fills its frame
    return PreprocessConfig(image_size=size, crop_ratio=1.0 if min(size) <= 96 else 0.875)


def _set_rates(module: ViT, recipe: Recipe) -> None:
    """Dropout and stochastic depth as the recipe has them; what it leaves open stays the model's."""
    if recipe.dropout is not None:
        for part in module.modules():
            if isinstance(part, nn.Dropout):
                part.p = recipe.dropout
    if recipe.drop_path is not None:
        last = max(1, len(module.blocks) - 1)
        for place, block in enumerate(module.blocks):
            share = 1.0 if recipe.drop_path_schedule == "constant" else place / last
            for part in block.modules():
                if isinstance(part, DropPath):
                    part.rate = recipe.drop_path * share


def _set_head_bias(module: nn.Module, value: float) -> None:
    heads = [getattr(module, name, None) for name in ("head", "head_dist")]
    found = [head.named_parameters() for head in heads if head is not None]
    biases = [parameter for named in found for name, parameter in named if name.endswith("bias")]
    if not biases:
        raise ConfigError(f"this recipe begins with a head bias of {value:g}, and the model has no head with a bias")
    with torch.no_grad():
        for bias in biases:
            bias.fill_(value)


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

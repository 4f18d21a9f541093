"""From a name or a config to a model with random weights."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from vitreous.architecture import Architecture, ResNetConfig, Size, as_pair
from vitreous.errors import ConfigError
from vitreous.model.init import init_weights
from vitreous.model.resnet import ResNet, init_resnet
from vitreous.model.vit import ViT
from vitreous.zoo import find_model

Model = ViT | ResNet
"""Every model of the package: plain modules with `config` and `card`, `forward` and `features`."""


def build(config: Architecture) -> Model:
    """The modules of an architecture; under `torch.device("meta")` without any memory.

    Args:
        config: of a Vision Transformer, a hybrid or a ResNet.
    """
    return ResNet(config) if isinstance(config, ResNetConfig) else ViT(config)


def create_model(
    model: str | Architecture,
    *,
    num_classes: int | None = None,
    image_size: int | Size | None = None,
    dropout: float | None = None,
    representation_size: int | None = None,
    seed: int | None = None,
) -> Model:
    """A model with random weights, initialised as the paper's authors did.

    Args:
        model: a zoo name ("vit-b16", "r50+vit-b16", "bit-r50x1", "vit_base_patch16_224") or a config.
        num_classes: outputs of the head; 0 for none; None keeps the config's.
        image_size: resolution of the position table; None keeps the config's.
        dropout: drop rate; None keeps the config's.
        representation_size: width of a tanh hidden layer before the head; None keeps the config's.
        seed: fixes the weights; None draws from PyTorch's global generator.
    """
    config = find_model(model) if isinstance(model, str) else model
    changes: dict[str, Any] = {
        "num_classes": num_classes,
        "image_size": None if image_size is None else as_pair(image_size),
        "dropout": dropout,
        "representation_size": representation_size,
    }
    changes = {name: value for name, value in changes.items() if value is not None}
    known = {field.name for field in dataclasses.fields(config)}
    if lacking := [name for name in changes if name not in known]:
        raise ConfigError(f"{config.name} has no {' and no '.join(lacking)}", why="it is a ResNet")
    with torch.device("meta"):
        made = build(dataclasses.replace(config, **changes))
    draw(made.to_empty(device="cpu"), None if seed is None else torch.Generator().manual_seed(seed))
    return made


def draw(model: Model, generator: torch.Generator | None = None) -> None:
    """Draw every parameter anew.

    Args:
        model: changed in place.
        generator: source of randomness; None takes PyTorch's global one.
    """
    if isinstance(model, ResNet):
        init_resnet(model, generator)
    else:
        init_weights(model, generator)

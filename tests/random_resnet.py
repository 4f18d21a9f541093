"""Small ResNets whose every number is random: nothing is zero or one by birth, so no swap goes unseen."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from random_vit import tensors
from torch import nn

from vitreous.architecture import ResNetConfig
from vitreous.model.resnet import ResNet

Model = TypeVar("Model", bound=nn.Module)

SIZES: dict[str, Any] = {"layers": (1, 2), "num_classes": 11, "image_size": (40, 56)}  # both odd after three halvings


def config(**changes: Any) -> ResNetConfig:
    """The small architecture, with some fields changed."""
    return ResNetConfig(**{**SIZES, **changes})


def random_resnet(seed: int = 0, **changes: Any) -> ResNet:
    """The small architecture with every parameter drawn, in evaluation mode."""
    return draw(ResNet(config(**changes)), seed).eval()


def draw(model: Model, seed: int = 0) -> Model:
    """`model` with every parameter drawn; each filter with a mean and scale of its own, some of a size that epsilons
    show in."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in tensors(model).items():
        noise = torch.randn(value.shape, generator=generator)
        if value.ndim == 1:
            drawn = 1 + 0.4 * noise if name.endswith("weight") else 0.4 * noise
        elif name.startswith("head."):
            drawn = 3 * noise / value[0].numel() ** 0.5
        else:
            each = (len(value), 1, 1, 1)
            scale = 10 ** (-3 + 2 * torch.rand(each, generator=generator))
            drawn = scale * (noise + torch.randn(each, generator=generator))
        value.data.copy_(drawn)
    for name, value in tensors(model).items():
        assert value.std() > 0.01, f"{name} is not random"
        assert not ((value == 0) | (value == 1)).any(), f"{name} holds zeros or ones"
    return model

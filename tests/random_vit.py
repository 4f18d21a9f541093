"""Small Vision Transformers whose every number is random: nothing is zero or one by birth, so no swap goes unseen."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from vitreous.architecture import ViTConfig
from vitreous.model.vit import ViT

Model = TypeVar("Model", bound=nn.Module)

BATCH = 2
SIZES: dict[str, Any] = {  # all different, so that a transposition cannot pass
    "image_size": (24, 40),
    "patch_size": (8, 8),
    "embed_dim": 28,
    "depth": 3,
    "num_heads": 4,
    "mlp_dim": 44,
    "num_classes": 11,
}


def config(**changes: Any) -> ViTConfig:
    """The small architecture, with some fields changed."""
    return ViTConfig(**{**SIZES, **changes})


def random_vit(seed: int = 0, **changes: Any) -> ViT:
    """The small architecture with every parameter drawn, in evaluation mode."""
    return draw(ViT(config(**changes)), seed).eval()


def draw(model: Model, seed: int = 0) -> Model:
    """`model` with every parameter and floating buffer drawn at random, scaled so that activations stay near 1."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in tensors(model).items():
        noise = torch.randn(value.shape, generator=generator)
        if value.ndim == 1:
            drawn = 1 + 0.4 * noise if name.endswith("weight") else 0.4 * noise
        elif value.shape[0] == 1:  # class token and positions
            drawn = 0.7 * noise
        else:
            drawn = noise / math.sqrt(value[0].numel())
        value.data.copy_(drawn)
    for name, value in tensors(model).items():
        assert value.std() > 0.05, f"{name} is not random"
        assert not ((value == 0) | (value == 1)).any(), f"{name} holds zeros or ones"
    return model


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """All parameters and floating buffers by name, non-persistent ones included."""
    return dict(model.named_parameters()) | {k: b for k, b in model.named_buffers() if b.is_floating_point()}


def arrays(model: nn.Module) -> dict[str, np.ndarray]:
    """The state of a model for `numpy_vit.forward`."""
    return {name: value.detach().double().numpy() for name, value in model.state_dict().items()}


def random_images(height: int = 24, width: int = 40, *, batch: int = BATCH, channels: int = 3, seed: int = 1) -> Tensor:
    """Normal noise (batch, channels, height, width)."""
    return torch.randn(batch, channels, height, width, generator=torch.Generator().manual_seed(seed))

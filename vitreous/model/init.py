"""The original initialisation (vit_jax/models_vit.py), drawn from one generator so that a seed fixes it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor, nn

from vitreous.model.attention import Attention
from vitreous.model.layers import Mlp, PatchEmbed

if TYPE_CHECKING:
    from vitreous.model.vit import ViT

_TRUNCATED_STD = 0.87962566103423978  # standard deviation of a unit normal cut off at +-2


@torch.no_grad()
def init_weights(model: ViT, generator: Generator | None = None) -> None:
    """Draw every parameter of `model` anew.

    Matrices of attention and MLP: Xavier uniform (q, k and v each as a matrix of its own). MLP biases: normal 1e-6.
    Patch embedding and hidden head layer: LeCun normal. Positions: normal 0.02. Class token, head and all other biases:
    zero.

    Args:
        model: changed in place.
        generator: source of randomness; None takes PyTorch's global one.
    """
    nn.init.normal_(model.pos_embed, std=0.02, generator=generator)
    if model.cls_token is not None:
        nn.init.zeros_(model.cls_token)
    for module in model.modules():
        match module:
            case PatchEmbed():
                lecun_normal(module.proj.weight, generator)
                _zero_bias(module.proj)
            case Attention():
                for matrix in (*module.qkv.weight.chunk(3), module.proj.weight):
                    nn.init.xavier_uniform_(matrix, generator=generator)
                _zero_bias(module.qkv)
                _zero_bias(module.proj)
            case Mlp():
                for layer in (module.fc1, module.fc2):
                    nn.init.xavier_uniform_(layer.weight, generator=generator)
                    nn.init.normal_(layer.bias, std=1e-6, generator=generator)
            case nn.LayerNorm():
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
    init_head(model, generator)


@torch.no_grad()
def init_head(model: ViT, generator: Generator | None = None) -> None:
    """Draw only the head anew: zeros, and LeCun normal for the tanh layer where there is one.

    Args:
        model: changed in place.
        generator: source of randomness; None takes PyTorch's global one.
    """
    if model.pre_logits is not None:
        lecun_normal(model.pre_logits.fc.weight, generator)
        _zero_bias(model.pre_logits.fc)
    if isinstance(model.head, nn.Linear):
        nn.init.zeros_(model.head.weight)
        _zero_bias(model.head)


def lecun_normal(weight: Tensor, generator: Generator | None) -> None:
    """Fill in place with a normal cut off at two standard deviations, variance 1 / fan_in after the cut.

    Args:
        weight: output axis first.
        generator: source of randomness; None takes PyTorch's global one.
    """
    std = math.sqrt(1.0 / weight[0].numel()) / _TRUNCATED_STD
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std, generator=generator)


def _zero_bias(layer: nn.Linear | nn.Conv2d) -> None:
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)

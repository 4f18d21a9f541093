"""The original initialisation (vit_jax/models_vit.py), drawn from one generator so that a seed fixes it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Generator, nn

from vitreous.model.attention import Attention
from vitreous.model.draw import lecun_normal
from vitreous.model.layers import LayerScale, Mlp, PatchEmbed, SemanticFilter
from vitreous.model.pool import AttentionPool
from vitreous.model.resnet import Trunk, init_trunk

if TYPE_CHECKING:
    from vitreous.model.vit import ViT

_TABLES = ("pos_embed", "pos_embed_y", "pos_embed_x", "pos_embed_prefix", "rel_pos", "reg_token", "dist_token")
"""What is drawn from a normal of 0.02: positions, as vit_jax does; registers and the distillation token, which would
otherwise begin as twins of each other and of the class token, and without positions stay so."""


@torch.no_grad()
def init_weights(model: ViT, generator: Generator | None = None) -> None:
    """Draw every parameter of `model` anew.

    Matrices of attention and MLP: Xavier uniform (q, k and v each as a matrix of its own). MLP biases: normal 1e-6.
    Patch embedding and hidden head layer: LeCun normal. Positions, registers and distillation token: normal 0.02. Probe
    of attention pooling: Xavier uniform (big_vision). Semantic filters: normal 1 / sqrt(D). Class token, head and all
    other biases: zero. LayerScale: what the config says.

    Args:
        model: changed in place.
        generator: source of randomness; None takes PyTorch's global one.
    """
    if next(model.parameters()).is_meta:  # nothing to draw into; and a normal there would import half of PyTorch
        return
    for name in _TABLES:
        table = getattr(model, name)
        if table is not None:
            nn.init.normal_(table, std=0.02, generator=generator)
    if model.cls_token is not None:
        nn.init.zeros_(model.cls_token)
    for module in model.modules():
        _init_part(module, model, generator)
    init_head(model, generator)


def _init_part(module: nn.Module, model: ViT, generator: Generator | None) -> None:
    """Draw what a module holds itself, not what is in its parts."""
    match module:
        case Trunk():
            init_trunk(module, generator)
        case PatchEmbed():
            lecun_normal(module.proj.weight, generator)
            _zero_bias(module.proj)
        case SemanticFilter():
            nn.init.normal_(module.weight, std=1 / math.sqrt(module.weight.shape[1]), generator=generator)
        case Attention():
            for matrix in (*module.qkv.weight.chunk(3), module.proj.weight):
                nn.init.xavier_uniform_(matrix, generator=generator)
            for bias in (module.qkv.bias, module.proj.bias, module.q_bias, module.v_bias):
                if bias is not None:
                    nn.init.zeros_(bias)
            if module.rel_pos is not None:
                nn.init.normal_(module.rel_pos, std=0.02, generator=generator)
        case AttentionPool():
            for matrix in (module.latent[0], module.q.weight, *module.kv.weight.chunk(2), module.proj.weight):
                nn.init.xavier_uniform_(matrix, generator=generator)
            for layer in (module.q, module.kv, module.proj):
                _zero_bias(layer)
        case Mlp():
            gated = 2 if model.config.mlp == "swiglu" else 1
            for layer, parts in ((module.fc1, gated), (module.fc2, 1)):
                for matrix in layer.weight.chunk(parts):
                    nn.init.xavier_uniform_(matrix, generator=generator)
                if layer.bias is not None:
                    nn.init.normal_(layer.bias, std=1e-6, generator=generator)
        case LayerScale():
            nn.init.constant_(module.gamma, model.config.layer_scale or 1.0)
        case nn.LayerNorm():
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


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
    for head in (model.head, model.head_dist):
        if isinstance(head, nn.Linear):
            nn.init.zeros_(head.weight)
            _zero_bias(head)


def _zero_bias(layer: nn.Linear | nn.Conv2d) -> None:
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)

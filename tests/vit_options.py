"""Every option of the Vision Transformer as a small architecture, each weight of it random."""

from __future__ import annotations

import math
from typing import Any

import torch
from random_vit import config, tensors
from torch import nn

from vitreous.architecture import ResNetConfig, ViTConfig
from vitreous.model.vit import ViT

FORMS = ("fused", "matmul")
WIDE: dict[str, Any] = {"embed_dim": 48}  # heads 12 wide, which rotary embeddings can quarter
TILES: dict[str, Any] = {"image_size": (32, 48), "attention": "window", "window": (2, 3)}  # 4 x 6 patches
V1 = ResNetConfig(style="v1", layers=(1,), num_classes=0)
V2 = ResNetConfig(style="v2", layers=(1, 2), num_classes=0)
STEM = ResNetConfig(style="v1", layers=(), num_classes=0)

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    # Table 8
    "no positions": {"position": "none"},
    "learned at every block": {"position_at": "every", "registers": 2},
    "learned, shared by all blocks": {"position_at": "shared", "distill_token": True},
    "rows and columns": {"position": "learned-2d", "patch_size": (8, 10)},
    "rows and columns at every block": {"position": "learned-2d", "position_at": "every", "registers": 3},
    "rows and columns, shared": {"position": "learned-2d", "position_at": "shared", "pool": "mean"},
    "relative": {"position": "relative"},
    "relative, shared": {"position": "relative", "position_at": "shared", "registers": 2, "qk_norm": True},
    # and beyond
    "patches alone have positions": {"prefix_position": False, "distill_token": True, "registers": 3},
    "rows and columns of patches alone": {"position": "learned-2d", "prefix_position": False},
    "sines": {"position": "sincos", "pool": "mean"},
    "sines beside tokens in front": {"position": "sincos", "registers": 3, "position_at": "shared"},
    "sines of MAE": {"position": "sincos-mae"},
    "rotary of EVA": {**WIDE, "rotary": "eva", "registers": 2},
    "rotary of EVA on another grid": {**WIDE, "rotary": "eva", "rotary_base": 10000.0, "rotary_grid": (5, 4)},
    "rotary of DINOv3": {**WIDE, "rotary": "dinov3", "position": "none", "registers": 2, "qk_norm": True},
    # tokens
    "registers": {"registers": 4},
    "distillation": {"distill_token": True},
    "distillation, normalised after": {"distill_token": True, "pool_norm": "after"},
    "class token beside the mean": {"pool": "cls+mean", "registers": 2},
    "class token and mean, normalised after": {"pool": "cls+mean", "pool_norm": "after"},
    "mean, normalised after": {"pool": "mean", "pool_norm": "after", "class_token": True},
    "attention pooling": {"pool": "map", "norm_eps": 1e-2},
    "attention pooling, everything on": {"pool": "map", "class_token": True, "pool_norm": "after", "mlp": "swiglu"},
    "a row per token": {"pool": "none", "registers": 2, "representation_size": 19},
    "tanh layer": {"pool": "cls+mean", "representation_size": 19},
    "no head": {"num_classes": 0, "pool": "cls+mean"},
    # blocks
    "layer scale": {"layer_scale": 0.3},
    "gated": {"mlp": "swiglu", "mlp_norm": True},
    "quick gelu, norm before the blocks": {"gelu": "quick", "pre_norm": True, "norm_eps": 1e-5},
    "tanh gelu": {"gelu": "tanh"},
    "norms everywhere": {"qk_norm": True, "attn_norm": True, "mlp_norm": True},
    "no key bias": {"qkv_bias": "query-value"},
    "no bias at all": {
        "patch_bias": False, "qkv_bias": "none", "proj_bias": False, "mlp_bias": False, "head_bias": False,
    },
    "one channel": {"in_channels": 1},
    "four channels": {"in_channels": 4},
    "cropped edge": {"image_size": (29, 47), "edge": "crop"},
    # near attention
    "windows": {**TILES, "pool": "mean"},
    "windows and tokens in front": {**TILES, "registers": 2, "qk_norm": True},
    "windows and rotary": {**TILES, **WIDE, "rotary": "dinov3", "registers": 2},
    "axial": {"attention": "axial", "pool": "mean", "layer_scale": 0.3},
    "axial and tokens in front": {"attention": "axial", "registers": 2, "position_at": "every"},
    "pixels": {"image_size": (4, 6), "patch_size": (1, 1), "attention": "window", "window": (2, 3)},
    # tokens from feature maps
    "hybrid": {"stem": V1, "image_size": (24, 40), "patch_size": (2, 1)},
    "hybrid of the other style": {"stem": V2, "image_size": (32, 48), "patch_size": (1, 2), "pool": "mean"},
    "hybrid with a root alone": {"stem": STEM, "image_size": (24, 40), "patch_size": (3, 2)},
    "cropped hybrid": {"stem": V1, "image_size": (27, 45), "patch_size": (2, 2), "edge": "crop"},
    "semantic tokens": {"tokenizer": "filter", "num_tokens": 6},
    "semantic tokens of a hybrid": {
        "stem": V1, "tokenizer": "filter", "num_tokens": 6, "image_size": (24, 40), "patch_size": (1, 1),
        "registers": 2, "position_at": "every",
    },
}  # fmt: skip

_TABLES = ("pos_embed", "pos_embed_y", "pos_embed_x", "pos_embed_prefix", "rel_pos", "latent")


def option(name: str, **changes: Any) -> ViTConfig:
    """The small architecture with one option of the list."""
    return config(**{**OPTIONS[name], **changes})


def drawn(made: ViTConfig, seed: int = 0, form: Any = "fused") -> ViT:
    """A model in evaluation mode whose every number is random, and none zero or one by birth."""
    model, generator = ViT(made), torch.Generator().manual_seed(seed)
    for name, value in tensors(model).items():
        noise = torch.randn(value.shape, generator=generator)
        if value.ndim == 1:
            value.data.copy_(1 + 0.4 * noise if name.endswith("weight") else 0.4 * noise)
        else:
            plain = name.rpartition(".")[2] in _TABLES or len(value) == 1
            value.data.copy_(0.7 * noise if plain else noise / math.sqrt(value[0].numel()))
    for value in tensors(model).values():
        assert value.std() > 0.01
        assert not ((value == 0) | (value == 1)).any()
    return in_form(model, form).eval()


def in_form(model: ViT, form: str) -> ViT:
    """The same model, its attention computed in one kernel or in two products."""
    for part in model.modules():
        if hasattr(part, "form"):
            part.form = form
    return model


def names_in(model: nn.Module) -> list[str]:
    """Names of all parameters."""
    return [name for name, _ in model.named_parameters()]

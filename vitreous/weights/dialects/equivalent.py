"""The same function written with other parameters: for targets that know fewer options than the source.

Nothing here changes what a model computes, beyond the rounding of one multiplication.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vitreous.architecture import ViTConfig

_BIASES = {  # field of the config: names whose bias is absent where it is False
    "proj_bias": ("attn.proj",),
    "mlp_bias": ("mlp.fc1", "mlp.fc2"),
}


def rewritten(tensors: dict[str, Tensor], old: ViTConfig, new: ViTConfig) -> dict[str, Tensor]:
    """Tensors of a model under another config that computes the same: zero biases added, LayerScale multiplied in.

    Args:
        tensors: every tensor of the model.
        old: what they are.
        new: differs only in absent biases, in LayerScale, or in whether the class token has a position.
    """
    changed = dict(tensors)
    for i in range(old.depth):
        for block in _blocks(old, i):
            _block(changed, block, old, new)
    if new.patch_bias and not old.patch_bias:
        changed["patch_embed.proj.bias"] = torch.zeros(old.embed_dim)
    if new.num_classes and new.head_bias and not old.head_bias:
        changed["head.bias"] = torch.zeros(old.num_classes)
    if new.num_prefix_positions > old.num_prefix_positions and "pos_embed" in changed:
        table = changed["pos_embed"]
        rows = new.num_prefix_positions - old.num_prefix_positions
        changed["pos_embed"] = torch.cat([table.new_zeros(table.shape[0], rows, table.shape[2]), table], dim=1)
    return changed


def _blocks(config: ViTConfig, i: int) -> list[str]:
    axes = ("rows.", "columns.") if config.attention == "axial" else ("",)
    return [f"blocks.{i}.{axis}" for axis in axes]


def _block(tensors: dict[str, Tensor], at: str, old: ViTConfig, new: ViTConfig) -> None:
    if new.qkv_bias == "all" and old.qkv_bias != "all":  # a bias of the keys changes nothing, so zero is any bias
        zero = torch.zeros(old.embed_dim)
        q, v = (tensors.pop(f"{at}attn.{name}_bias", zero) for name in ("q", "v"))
        tensors[f"{at}attn.qkv.bias"] = torch.cat([q, torch.zeros_like(q), v])
    if new.qkv_bias == "query-value" and old.qkv_bias == "none":
        tensors[f"{at}attn.q_bias"] = tensors[f"{at}attn.v_bias"] = torch.zeros(old.embed_dim)
    for field, names in _BIASES.items():
        if getattr(new, field) and not getattr(old, field):
            for name in names:
                tensors[f"{at}{name}.bias"] = torch.zeros(tensors[f"{at}{name}.weight"].shape[0])
    if new.layer_scale is None and old.layer_scale is not None:
        for scale, name in (("ls1", "attn.proj"), ("ls2", "mlp.fc2")):
            gamma = tensors.pop(f"{at}{scale}.gamma")
            tensors[f"{at}{name}.weight"] = tensors[f"{at}{name}.weight"] * gamma[:, None]
            if f"{at}{name}.bias" in tensors:
                tensors[f"{at}{name}.bias"] = tensors[f"{at}{name}.bias"] * gamma

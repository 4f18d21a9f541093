"""Where a ViT looks: the last block's attention, and attention rollout through all blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vitreous.config import grid_of
from vitreous.model.vit import ViT


@dataclass(frozen=True, eq=False)
class AttentionMaps:
    """How much each patch counts, per image; every map sums to at most 1, the rest went to the class token itself."""

    rollout: Float[np.ndarray, "B h w"]
    """Through all blocks, residual connections included (Abnar & Zuidema 2020)."""
    last: Float[np.ndarray, "B h w"]
    """In the last block alone, mean over heads."""


@torch.no_grad()
def attention_maps(model: ViT, images: Float[Tensor, "B C H W"]) -> AttentionMaps:
    """What the pooled token, or for mean pooling the average patch, attends to.

    Args:
        model: in evaluation mode; its output is not changed by being watched.
        images: preprocessed; each needs (N, N) numbers per block and head, so give few at a time.
    """
    names = [f"blocks.{index}.attn.weights" for index in range(len(model.blocks))]
    taps = model.features(images, taps=names).taps
    layers = [taps[name].double().mean(dim=1) for name in names]  # (B, A, N, N) -> (B, N, N)
    grid = grid_of((images.shape[2], images.shape[3]), model.config.patch_size)

    def seen(attention: Tensor) -> np.ndarray:
        rows = attention[:, :1] if model.config.pool == "cls" else attention[:, model.num_prefix :]
        patches = rows.mean(dim=1)[:, model.num_prefix :]  # (B, N, N) -> (B, h * w)
        return patches.reshape(-1, *grid).cpu().numpy()

    return AttentionMaps(rollout=seen(rollout(layers)), last=seen(layers[-1]))


def rollout(layers: list[Tensor]) -> Float[Tensor, "B N N"]:
    """Attention multiplied through the blocks, with half of every token carried on by the residual connection.

    Args:
        layers: (B, N, N) per block, rows summing to 1, first block first.
    """
    identity = torch.eye(layers[0].shape[-1], dtype=layers[0].dtype, device=layers[0].device)
    total = identity.expand_as(layers[0])
    for attention in layers:
        total = (0.5 * attention + 0.5 * identity) @ total
    return total

"""Where a Vision Transformer looks: attention rollout, and the last block's attention.

Attention shows what was mixed into the answer, not why; read it as a hint.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from vitreous.model.vit import ViT

_ROOM = 128 << 20  # bytes of attention weights held at once, where one block allows it
_MOST = 2 << 30  # bytes of one block's attention weights; near attention on single pixels would need far more


@dataclass(frozen=True)
class AttentionMaps:
    """One number per patch, in reading order, for each image; all are 0 or more."""

    rollout: Float32[np.ndarray, "B h w"]
    """Share of each patch in what the head reads, followed through all blocks."""
    last: Float32[np.ndarray, "B h w"]
    """Attention paid to each patch in the last block, mean over its heads."""


def has_attention_maps(model: ViT) -> bool:
    """Whether rollout has a meaning for this model: tokens that lie in the image, one attention matrix per block.

    Args:
        model: any Vision Transformer.
    """
    config = model.config
    if config.attention == "axial" or config.tokenizer != "patch" or config.pool == "none":
        return False
    return 4 * config.num_heads * config.tokens_at(config.image_size) ** 2 <= _MOST


def attention_maps(model: ViT, pixels: Float[Tensor, "B C H W"]) -> AttentionMaps:
    """What the tokens that the head reads have looked at: class token, mean of all patches, or both in equal parts.

    Rollout is Abnar and Zuidema (2020), section 3: each block's attention, averaged over heads, counts half, the
    residual connection the other half, and the blocks are multiplied. A row over all tokens sums to 1; the patches'
    part is given.

    Args:
        model: one that `has_attention_maps`; left as it is found.
        pixels: preprocessed images, on any device.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        pixels = pixels.to(next(model.parameters()).device)
        rows = [_look(model, image[None]) for image in pixels]
    finally:
        for module, training in modes.items():
            module.training = training
    shape = (len(rows), *model.config.grid_at((pixels.shape[2], pixels.shape[3])))
    rollout, last = (np.array([row[which] for row in rows], np.float32).reshape(shape) for which in (0, 1))
    return AttentionMaps(rollout, last)


@torch.inference_mode()
def _look(model: ViT, image: Float[Tensor, "1 C H W"]) -> tuple[list[float], list[float]]:
    """Rollout and last attention of one image, the reader's row only.

    Going from the last block to the first, a row times a matrix is enough. Blocks are taken in groups, so that memory
    stays bounded; a large model on a large image is run more than once.
    """
    depth, prefix = len(model.blocks), model.num_prefix
    tokens = model.config.tokens_at((image.shape[2], image.shape[3]))
    patches = tokens - prefix
    reader = torch.zeros(tokens, dtype=torch.float64)
    match model.config.pool:
        case "cls" if model.config.distill_token:  # two heads, and the logits are their mean
            reader[:2] = 1 / 2
        case "cls":
            reader[0] = 1
        case "cls+mean":
            reader[0], reader[prefix:] = 1 / 2, 1 / (2 * patches)
        case "map":  # the probe's own look at the tokens after the last block, averaged over heads
            reader = model.features(image, "pool.weights").taps["pool.weights"][0, :, 0].mean(dim=0).cpu().double()
        case _:
            reader[prefix:] = 1 / patches
    group = max(1, _ROOM // (4 * model.config.num_heads * tokens * tokens))
    row, last = reader, reader
    for stop in range(depth, 0, -group):
        blocks = range(max(0, stop - group), stop)
        taps = model.features(image, [f"blocks.{i}.attn.weights" for i in blocks]).taps
        for i in reversed(blocks):
            attention = taps[f"blocks.{i}.attn.weights"][0].mean(dim=0, dtype=torch.float32).cpu().double()  # (N, N)
            if i == depth - 1:
                last = reader @ attention
            row = 0.5 * (row @ attention) + 0.5 * row
    return row[prefix:].tolist(), last[prefix:].tolist()

"""Why images are cut into patches: what attention between pixels would cost, beside attention between patches."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from vitreous.architecture import Size, ViTConfig, as_pair
from vitreous.cost.arithmetic import attention_pairs, flops, parts

PATCHES = (1, 2, 4, 8, 14, 16, 32)


class Row(NamedTuple):
    """What one patch size costs."""

    patch: int
    """Pixels along a side."""
    tokens: int
    """Patches of the image; tokens in front are not counted."""
    pairs: int
    """Pairs of patches that one head of one block compares."""
    matrix_bytes: int
    """The weights of all heads and blocks in bfloat16, for one image."""
    attention_flops: int
    """Operations of both products with those weights, in all blocks."""
    flops: int
    """Operations of the whole model for one image."""


def attention_rows(config: ViTConfig, image_size: int | Size | None = None) -> tuple[Row, ...]:
    """The same encoder on patches of other sizes; those that do not tile the image are left out.

    Args:
        config: of a Vision Transformer; a hybrid is taken without its ResNet, near attention as full.
        image_size: in pixels; None for the config's own.
    """
    size = config.image_size if image_size is None else as_pair(image_size)
    found = []
    for patch in sorted({*PATCHES, *(config.patch_size if config.stem is None else ())}):
        if any(side % patch for side in size):
            continue
        made = dataclasses.replace(
            config, patch_size=(patch, patch), image_size=size, stem=None, attention="full", window=None
        )
        pairs = attention_pairs(size, patch)
        found.append(
            Row(
                patch=patch,
                tokens=made.grid[0] * made.grid[1],
                pairs=pairs,
                matrix_bytes=2 * config.num_heads * config.depth * pairs,
                attention_flops=2 * sum(part.macs for part in parts(made) if part.name == "attention"),
                flops=flops(made),
            )
        )
    return tuple(found)

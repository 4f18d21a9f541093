"""Gradient checkpointing: blocks are computed again on the way back, in place of being kept on the way forward."""

from __future__ import annotations

import types
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from vitreous.model.resnet import Unit
from vitreous.model.vit import AxialBlock, Block


def recompute_blocks(model: nn.Module) -> int:
    """Make every block forget what it computed until the backward pass asks for it; gives how many blocks there are.

    About a third more arithmetic for the memory of one block and the tokens between blocks (Chen et al., 2016). What
    is computed stays the same to the bit: dropout draws the same numbers again.

    Args:
        model: a ViT, hybrid or ResNet, or a module that holds one; changed in place. Copies of it do the same.
    """
    inside: set[nn.Module] = set()
    count = 0
    for part in model.modules():
        if isinstance(part, AxialBlock | Block | Unit) and part not in inside:
            inside.update(part.modules())
            # bound to the block, so that a deep copy's method belongs to the copy
            part.forward = types.MethodType(_recomputed, part)  # type: ignore[method-assign]
            count += 1
    return count


def _recomputed(self: nn.Module, *inputs: Any) -> Any:
    if not self.training:
        return type(self).forward(self, *inputs)
    return checkpoint(type(self).forward, self, *inputs, use_reentrant=False)

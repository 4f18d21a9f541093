"""What a model hands out besides logits."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from vitreous.architecture import Size


@dataclass(frozen=True)
class Features:
    """What a model knows about its images after its last norm."""

    cls: Float[Tensor, "B D"] | None
    """The class token, where there is one."""
    registers: Float[Tensor, "B S D"]
    """Register tokens; S is 0 for most models."""
    patches: Float[Tensor, "B hw D"]
    """One token per patch, or per cell of a ResNet's last feature map, in reading order."""
    grid: Size
    """(rows, columns) of patches; (1, tokens) where tokens have no place in the image."""
    taps: dict[str, Tensor]
    """The named intermediates that were asked for."""
    distill: Float[Tensor, "B D"] | None = None
    """The distillation token, where there is one."""

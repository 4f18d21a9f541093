"""Distributions that PyTorch does not have, drawn into tensors."""

from __future__ import annotations

import math

from torch import Generator, Tensor, nn

_TRUNCATED_STD = 0.87962566103423978  # standard deviation of a unit normal cut off at +-2


def lecun_normal(weight: Tensor, generator: Generator | None) -> None:
    """Fill in place with a normal cut off at two standard deviations, variance 1 / fan_in after the cut.

    Args:
        weight: output axis first.
        generator: source of randomness; None takes PyTorch's global one.
    """
    std = math.sqrt(1.0 / weight[0].numel()) / _TRUNCATED_STD
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std, generator=generator)

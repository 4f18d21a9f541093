"""The running average of the weights (Polyak averaging), whose result is often better than the last weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Average:
    """A running mean of the weights that forgets slowly; early steps are forgotten faster.

    Weights that stay as they are, frozen ones too, are their own mean to the bit.

    Args:
        model: its parameters are followed, starting from their present values.
        decay: share of the old mean kept at each step, approached as (1 + t) / (10 + t).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.mean = {name: value.detach().clone() for name, value in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after a step.

        Args:
            model: the one given at the start.
            step: 0 for the first.
        """
        decay = min(self.decay, (1 + step) / (10 + step))
        parameters = [value.detach() for _, value in model.named_parameters()]
        torch._foreach_lerp_(list(self.mean.values()), parameters, 1.0 - decay)

    @torch.no_grad()
    def swap(self, model: nn.Module) -> None:
        """Exchange the mean and the model's weights; a second call undoes the first.

        Args:
            model: the one given at the start.
        """
        for name, value in model.named_parameters():
            kept: Tensor = value.detach().clone()
            value.copy_(self.mean[name])
            self.mean[name].copy_(kept)

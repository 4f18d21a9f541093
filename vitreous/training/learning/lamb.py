"""LAMB: Adam whose step in each matrix is as long, relative to that matrix, as the learning rate says."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class Lamb(Optimizer):
    """LAMB (You et al., "Large Batch Optimization for Deep Learning", 2020, algorithm 2), as DeiT-III runs it.

    Weight decay is part of the update and so of its length. Parameters without decay take Adam's step unscaled, as in
    timm.optim.Lamb and apex's FusedLAMB. Those two also clip gradients at global norm 1, which here is the loop's.

    Args:
        params: parameters or groups of them.
        lr: learning rate, usually set anew at each step.
        betas: decay rates of the two moments.
        eps: added to the denominator.
        weight_decay: of groups that say nothing else.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move every parameter that has a gradient.

        Args:
            closure: computes the loss anew, where PyTorch's interface asks for it.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            counted: dict[int, list[Tensor]] = {}  # parameters by steps taken: one that was frozen at first has fewer
            for parameter in group["params"]:
                if parameter.grad is not None:
                    step = self._state_of(parameter)["step"].add_(1.0)
                    counted.setdefault(int(step), []).append(parameter)
            for count, moved in counted.items():
                # one call for many tensors saves a GPU time; a CPU is faster while one of them stays in its cache
                size = 1 if moved[0].device.type == "cpu" else len(moved)
                for place in range(0, len(moved), size):
                    self._move(moved[place : place + size], group, count)
        return loss

    def _move(self, moved: list[Tensor], group: dict[str, Any], count: int) -> None:
        """Step number `count` of some parameters.

        Both bias corrections are one factor of the update, m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) =
        factor * m / (sqrt(v) + eps * root), which spares a pass over every tensor.
        """
        first, second = group["betas"]
        gradients = [parameter.grad for parameter in moved if parameter.grad is not None]
        means = [self.state[parameter]["exp_avg"] for parameter in moved]
        squares = [self.state[parameter]["exp_avg_sq"] for parameter in moved]
        torch._foreach_lerp_(means, gradients, 1.0 - first)
        torch._foreach_mul_(squares, second)
        torch._foreach_addcmul_(squares, gradients, gradients, 1.0 - second)

        root = math.sqrt(1.0 - second**count)
        factor = root / (1.0 - first**count)
        updates = torch._foreach_sqrt(squares)
        torch._foreach_add_(updates, group["eps"] * root)
        torch._foreach_reciprocal_(updates)
        torch._foreach_mul_(updates, means)
        if not group["weight_decay"]:
            torch._foreach_add_(moved, updates, alpha=-group["lr"] * factor)
            return
        torch._foreach_add_(updates, moved, alpha=group["weight_decay"] / factor)
        lengths, paces = torch._foreach_norm(moved), torch._foreach_norm(updates)
        for parameter, update, length, pace in zip(moved, updates, lengths, paces, strict=True):
            parameter.addcmul_(update, -group["lr"] * factor * _trust(length, factor * pace))

    def _state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        """The moments of a parameter and how many steps they have seen, all of them tensors."""
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        return state


def _trust(length: Tensor, pace: Tensor) -> Tensor:
    """The length of a parameter over that of its update; 1 where one of them is 0."""
    return torch.where((length > 0) & (pace > 0), length / pace, 1.0)

"""LAMB: Adam whose step in each matrix is as long, relative to that matrix, as the learning rate says."""

from __future__ import annotations

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
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            if moved:
                self._move(moved, group)
        return loss

    def _move(self, moved: list[Tensor], group: dict[str, Any]) -> None:
        """One step of one group, in a few calls for all of its tensors."""
        first, second = group["betas"]
        states = [self._state_of(parameter) for parameter in moved]
        gradients = [parameter.grad for parameter in moved if parameter.grad is not None]
        means, squares = [state["exp_avg"] for state in states], [state["exp_avg_sq"] for state in states]
        torch._foreach_add_([state["step"] for state in states], 1.0)
        torch._foreach_lerp_(means, gradients, 1.0 - first)
        torch._foreach_mul_(squares, second)
        torch._foreach_addcmul_(squares, gradients, gradients, 1.0 - second)

        # each parameter counts its own steps: one that was frozen at first begins like any other
        counts = [float(state["step"]) for state in states]
        updates = torch._foreach_div(means, [1.0 - first**count for count in counts])
        roots = torch._foreach_sqrt(torch._foreach_div(squares, [1.0 - second**count for count in counts]))
        torch._foreach_add_(roots, group["eps"])
        torch._foreach_div_(updates, roots)
        if group["weight_decay"]:
            torch._foreach_add_(updates, moved, alpha=group["weight_decay"])
            for parameter, update in zip(moved, updates, strict=True):
                update.mul_(_trust(parameter, update))
        torch._foreach_add_(moved, updates, alpha=-group["lr"])

    def _state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        """The moments of a parameter and how many steps they have seen, all of them tensors."""
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        return state


def _trust(parameter: Tensor, update: Tensor) -> Tensor:
    """The length of the parameter over that of its update; 1 where one of them is 0."""
    length, pace = torch.linalg.vector_norm(parameter), torch.linalg.vector_norm(update)
    return torch.where((length > 0) & (pace > 0), length / pace, 1.0)

"""Which parameters decay, which optimiser moves them, how fast at which step, and their running average."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from vitreous.config import Recipe

_NEVER_DECAYED: tuple[str, ...] = ("cls_token", "dist_token", "reg_token", "latent", "rel_pos")
_NEVER_DECAYED += ("pos_embed", "pos_embed_y", "pos_embed_x", "pos_embed_prefix")


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Every trainable parameter in exactly one of two groups.

    Matrices and convolution kernels decay; biases, norms, class token and positions do not (big_vision decays
    `.*/kernel$`, which is the same set).

    Args:
        model: any module.
        weight_decay: of the first group.
    """
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            spared = parameter.ndim < 2 or name.rpartition(".")[2] in _NEVER_DECAYED
            (kept if spared else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over all trainable parameters of `model`; its learning rate is set at every step.

    Args:
        model: already on its device.
        recipe: names the optimiser and its constants.
    """
    groups = parameter_groups(model, recipe.weight_decay)
    fused = all(p.device.type in ("cpu", "cuda") for group in groups for p in group["params"])
    if recipe.optimizer == "adam":  # AdamW is Adam with the decay decoupled, as the paper's is
        return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas, fused=fused)
    return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum, fused=fused)


def warmup_steps(recipe: Recipe, total: int) -> int:
    """Steps of linear warm-up; one longer than half the run is cut to a tenth of it.

    Args:
        recipe: gives steps or a fraction, or neither.
        total: steps of the whole run.
    """
    if recipe.warmup_steps is not None:
        return recipe.warmup_steps if recipe.warmup_steps <= total // 2 else total // 10
    return round((recipe.warmup_fraction or 0.0) * total)


def learning_rate(recipe: Recipe, step: int, total: int) -> float:
    """The learning rate at a step: linear warm-up, then cosine to 0 or linear to 1e-5 (vit_jax/utils.py).

    Args:
        recipe: peak, schedule and warm-up.
        step: 0 for the first.
        total: steps of the whole run.
    """
    now, warmup = step + 1, warmup_steps(recipe, total)  # the authors count from 1
    progress = min(max((now - warmup) / max(total - warmup, 1), 0.0), 1.0)
    if recipe.schedule == "cosine":
        share = 0.5 * (1.0 + math.cos(math.pi * progress))
        peak = recipe.learning_rate
    else:  # linear, to an end that the authors fix at 1e-5
        end = min(1e-5, recipe.learning_rate)
        share = 1.0 - progress * (1.0 - end / recipe.learning_rate)
        peak = recipe.learning_rate
    return peak * share * (min(1.0, now / warmup) if warmup else 1.0)


class Average:
    """Polyak averaging: a running mean of the weights that forgets slowly; early steps are forgotten faster.

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

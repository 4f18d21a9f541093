"""How fast the weights move at which step: a linear warm-up, then cosine, a straight line, or steps.

A step counts from 0 for the program and from 1 in the formulas, as the authors count: the first step moves already,
and the last is the schedule's end. The fall begins where the warm-up ends, so that the rate is unbroken there
(vit_jax/utils.py, MAE, big_vision; timm's `warmup_prefix=True` with its step t for our t - 1). timm's default lets the
fall begin at the first step, under the warm-up, and jumps from the peak to where the fall then is.
"""

from __future__ import annotations

import math

from vitreous.config import Recipe

_LINEAR_END = 1e-5  # where vit_jax ends its linear schedule


def warmup_steps(recipe: Recipe, total: int, steps_per_epoch: float) -> int:
    """Steps of linear warm-up; steps or epochs that would be more than half the run are cut to a tenth of it.

    Args:
        recipe: gives steps, epochs or a fraction, or none of them.
        total: steps of the whole run.
        steps_per_epoch: steps in one pass over the training images.
    """
    if recipe.warmup_fraction is not None:
        return round(recipe.warmup_fraction * total)
    steps = recipe.warmup_steps or 0
    if recipe.warmup_epochs is not None:
        steps = round(recipe.warmup_epochs * steps_per_epoch)
    return steps if steps <= total // 2 else total // 10


def learning_rate(recipe: Recipe, step: int, total: int, steps_per_epoch: float) -> float:
    """The learning rate at a step; neither end of the schedule lies above its peak.

    Args:
        recipe: peak, schedule, ends and warm-up.
        step: 0 for the first.
        total: steps of the whole run.
        steps_per_epoch: steps in one pass over the training images.
    """
    now, warmup, peak = step + 1, warmup_steps(recipe, total, steps_per_epoch), recipe.peak
    if now < warmup:
        start = min(recipe.warmup_from, peak)
        return start + (peak - start) * (now / warmup)
    progress = min((now - warmup) / max(total - warmup, 1), 1.0)
    end = min(recipe.final_learning_rate, peak)
    match recipe.schedule:
        case "cosine":
            return end + (peak - end) * (0.5 * (1.0 + math.cos(math.pi * progress)))
        case "linear":
            end = min(max(end, _LINEAR_END), peak)
            return end + (peak - end) * (1.0 - progress)
        case "steps":  # a milestone's own step still has the rate before it (bit_hyperrule.py, get_lr)
            passed = sum(now > round(share * total) for share in recipe.milestones)
            return max(end, peak / 10**passed)

"""A learning rate found by measuring: raised at every step until the loss flies off (Smith, WACV 2017, section 3.3).

A third of the rate at which the loss was lowest is taken: by then it was still falling fast. On a quadratic the loss
falls up to 2 / curvature, and a third of that lies just below 1 / curvature, where gradient descent is fastest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from vitreous.errors import DivergedError

_BELOW = 3.0  # the chosen rate times this is where the loss was lowest
_FORGETS = 0.8  # the running mean that says when to stop; two or three steps behind
_REACH = 3  # steps to either side in the mean that the choice rests on: 60 steps have 8 of them a decade
_FELL = 0.99  # the lowest smoothed loss must be below this part of the first: anything less is scatter


@dataclass(frozen=True, kw_only=True, slots=True)
class RangeTest:
    """The curve, and what it says."""

    rates: tuple[float, ...]
    """Learning rates, rising."""
    losses: tuple[float, ...]
    """The loss of each step, before it was done; the last may be infinite."""
    smoothed: tuple[float, ...]
    """Their local mean, which the choice rests on."""
    lowest: float
    """The rate at which the smoothed loss was lowest."""
    chosen: float
    """The learning rate to train with."""

    def words(self) -> str:
        """What came out, for a person."""
        ended = "flew off" if len(self.losses) > len(self.smoothed) or self.losses[-1] > self.losses[0] else "held"
        return (
            f"learning rate {self.chosen:.2g}, found in {len(self.rates)} steps: the loss was lowest at "
            f"{self.lowest:.2g} and {ended} at {self.rates[-1]:.2g}"
        )


def find_rate(
    step: Callable[[float], float],
    *,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 60,
    worse: float = 4.0,
) -> RangeTest:
    """Try rates from low to high, each for one step, until the loss is `worse` times its best; then choose.

    PyTorch's random numbers are as they were afterwards; where the steps are a function of a seed, so is the result.

    Args:
        step: does one step of the optimiser at a learning rate, and gives the loss as it was before it moved.
        lowest: the first learning rate.
        highest: the last one, unless the loss ends the test before.
        steps: how many rates are tried, each the same factor above the one before.
        worse: times the best running mean of the loss.

    Raises:
        DivergedError: at no rate did the loss fall.
    """
    rates = np.geomspace(lowest, highest, steps).tolist()
    losses: list[float] = []
    running, best = 0.0, math.inf
    with torch.random.fork_rng():
        for count, rate in enumerate(rates, 1):
            loss = step(rate)
            losses.append(loss if math.isfinite(loss) else math.inf)
            running = _FORGETS * running + (1 - _FORGETS) * losses[-1]
            mean = running / (1 - _FORGETS**count)
            best = min(best, mean)
            if not mean <= worse * best:
                break
    finite = np.array([loss for loss in losses if math.isfinite(loss)])
    smoothed = _smooth(finite) if len(finite) else finite
    if not len(finite) or smoothed.min() >= _FELL * smoothed[0]:
        raise DivergedError(
            "no learning rate was found: at none of them did the loss fall",
            why=f"{len(losses)} steps from {lowest:g} to {rates[len(losses) - 1]:.2g}",
            remedy="--learning-rate auto, the recipe's own",
        )
    turned = rates[int(smoothed.argmin())]
    return RangeTest(
        rates=tuple(rates[: len(losses)]),
        losses=tuple(losses),
        smoothed=tuple(smoothed.tolist()),
        lowest=turned,
        chosen=turned / _BELOW,
    )


def stepping(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    gradients: Callable[[int], float],
    *,
    clip_norm: float | None = None,
) -> Callable[[float], float]:
    """The `step` of `find_rate` for a model: gradients, clipping, and one move at the rate it is given.

    Args:
        model: a deep copy of the one that will be trained: its weights are spoilt.
        optimizer: over its parameters; a group's `lr_scale` counts as in training.
        gradients: adds up the gradients of batch 0, 1, ... in `model`, and gives its mean loss.
        clip_norm: the recipe's.
    """
    done = 0

    def step(rate: float) -> float:
        nonlocal done
        optimizer.zero_grad(set_to_none=True)
        loss = gradients(done)
        if clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)
        optimizer.step()
        done += 1
        return loss

    return step


def _smooth(losses: np.ndarray) -> np.ndarray:
    """Their local mean with triangular weights, about each step, so that the curve is not moved to higher rates."""
    weights = np.minimum(np.arange(1, 2 * _REACH + 2), np.arange(2 * _REACH + 1, 0, -1)).astype(float)
    # one loss out of all proportion must not raise its neighbours past recognition
    held = np.minimum(losses, 4 * losses.min())
    total = np.convolve(held, weights)[_REACH : _REACH + len(held)]
    return total / np.convolve(np.ones(len(held)), weights)[_REACH : _REACH + len(held)]

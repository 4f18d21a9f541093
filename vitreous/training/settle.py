"""What a few steps on a copy of the model decide: how many steps fit into the time, and which learning rate.

Everything is as in the run itself (its images, its order, its machine), and nothing of the run is touched.
"""

from __future__ import annotations

import copy
import dataclasses
import statistics
import time
from typing import Any

from vitreous import console
from vitreous.training.loop import reproducible
from vitreous.training.plan import ALONE, Plan
from vitreous.training.range_test import RangeTest, find_rate
from vitreous.training.step import Engine
from vitreous.training.trouble.divergence import Verdict

_WARM, _MEASURED = 4, 20  # steps that are not yet like the others, and those that count
_LONGEST = 0.1  # of the time that training may take: large models are measured by fewer steps
_LOOKING = 1.1  # scores on held-out images come on top of the steps
_PATIENCE = 60  # steps of a range test


def settle(plan: Plan) -> Plan:
    """The plan with what its options leave to a few measured steps: --time and --learning-rate find.

    Args:
        plan: as resolved.
    """
    options = plan.options
    if options.learning_rate == "find":
        found = range_test(plan)
        console.say(found.words())
        plan = with_rate(plan, found.chosen)
    if options.seconds is not None:
        each = seconds_per_step(plan, within=_LONGEST * options.seconds)
        steps = max(1, int(options.seconds / (each * _LOOKING)))
        epochs = steps / plan.steps_per_epoch
        console.say(f"{options.time} is enough for {steps:,} steps of {console.duration(each)} = {epochs:.1f} epochs")
        plan = _with_steps(plan, steps)
    return plan


def chosen(plan: Plan, choices: dict[str, Any]) -> Plan:
    """The plan with what another process chose by measuring.

    Args:
        plan: as resolved.
        choices: of that process.
    """
    if choices["learning_rate"] is not None:
        plan = with_rate(plan, choices["learning_rate"])
    return _with_steps(plan, choices["steps"]) if plan.options.seconds is not None else plan


def with_rate(plan: Plan, rate: float) -> Plan:
    """The plan with another peak learning rate.

    Args:
        plan: as resolved.
        rate: taken as it is, whatever the batch.
    """
    return dataclasses.replace(
        plan, recipe=dataclasses.replace(plan.recipe, learning_rate=rate, learning_rate_for=None)
    )


def _with_steps(plan: Plan, steps: int) -> Plan:
    recipe = dataclasses.replace(plan.recipe, steps=steps, epochs=None)
    return dataclasses.replace(plan, total_steps=steps, recipe=recipe)


def seconds_per_step(plan: Plan, *, within: float) -> float:
    """What one step takes on this machine, the median of twenty, or of more where steps are short.

    Args:
        plan: left as it is.
        within: seconds that the measuring itself should not exceed by much; it goes on for a tenth of them at least.
    """
    taken: list[float] = []
    with reproducible(plan.policy.device):
        # one process's share of each batch, which the others work on at the same time
        share = dataclasses.replace(plan.recipe, batch_size=plan.recipe.batch_size // plan.world_size)
        engine = Engine(_copy(dataclasses.replace(plan, recipe=share)), ALONE)
        began = tick = time.perf_counter()
        for _ in engine.steps(0, _always):
            now = time.perf_counter()
            taken.append(now - tick)
            tick = now
            enough = len(taken) >= _WARM + _MEASURED and now - began > within / 10
            if enough or (now - began > within and len(taken) > 1):
                break
    warm = min(_WARM, len(taken) - 1)
    return statistics.median(taken[warm:])


def range_test(plan: Plan) -> RangeTest:
    """Which learning rate suits this run's model and images.

    Args:
        plan: left as it is.
    """
    with reproducible(plan.policy.device):
        # no schedule: the test itself says how fast each step goes
        engine = Engine(_copy(plan), ALONE)
        done = engine.steps(0, _always, last=_PATIENCE)

        def step(rate: float) -> float:
            engine.fixed_rate = rate
            return next(done).loss

        return find_rate(step, steps=_PATIENCE)


def _copy(plan: Plan) -> Plan:
    return dataclasses.replace(plan, model=copy.deepcopy(plan.model), total_steps=max(plan.total_steps, 1000))


def _always(step: int, loss: float, norm: float) -> Verdict:  # noqa: ARG001  whatever they are
    return Verdict.FINE

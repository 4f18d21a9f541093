"""Learning rates at every step, against the authors' formulas and timm's scheduler."""

from __future__ import annotations

import dataclasses
import importlib
import math
from typing import Any

import pytest
import torch
from oracles import timm

from vitreous.config import Recipe
from vitreous.recipe import find_recipe
from vitreous.training.learning.schedule import learning_rate, warmup_steps

COSINE = dataclasses.replace(find_recipe("paper-finetune-small", "finetune"), warmup_steps=100)  # 0.01, 500 steps
LINEAR = find_recipe("paper-imagenet21k", "pretrain")  # 1e-3, 10,000 steps of warm-up


def recipe(**changes: Any) -> Recipe:
    return Recipe(**{"name": "any", "purpose": "pretrain", "steps": 500, **changes})


def rates(given: Recipe, total: int, steps_per_epoch: float = 7.0) -> list[float]:
    return [learning_rate(given, step, total, steps_per_epoch) for step in range(total)]


def vit_jax(step: int, *, total: int, base: float, decay: str, warmup: int, linear_end: float = 1e-5) -> float:
    """vit_jax/utils.py, create_learning_rate_schedule, in plain Python; steps from 1."""
    progress = (step - warmup) / float(total - warmup)
    progress = min(max(progress, 0.0), 1.0)
    rate = base
    if decay == "linear":
        rate = linear_end + (rate - linear_end) * (1.0 - progress)
    else:
        rate = rate * 0.5 * (1.0 + math.cos(math.pi * progress))
    return rate * min(1.0, step / warmup) if warmup else rate


def bit_hyperrule(step: int, dataset_size: int, base: float = 0.003) -> float | None:
    """big_transfer/bit_hyperrule.py, get_schedule and get_lr; None says that training is over."""
    if dataset_size < 20_000:
        supports = [100, 200, 300, 400, 500]
    elif dataset_size < 500_000:
        supports = [500, 3000, 6000, 9000, 10_000]
    else:
        supports = [500, 6000, 12_000, 18_000, 20_000]
    if step < supports[0]:
        return base * step / supports[0]
    if step >= supports[-1]:
        return None
    for support in supports[1:]:
        if support < step:
            base /= 10
    return base


@pytest.mark.parametrize("decay", ["cosine", "linear"])
@pytest.mark.parametrize(("total", "warmup"), [(500, 100), (211, 0), (90, 45)])
def test_the_authors_schedules_step_for_step(decay: str, total: int, warmup: int) -> None:
    """vit_jax counts steps from 1, warms up linearly and ends its line at 1e-5."""
    ours = rates(recipe(schedule=decay, learning_rate=0.013, warmup_steps=warmup), total)
    theirs = [vit_jax(t, total=total, base=0.013, decay=decay, warmup=warmup) for t in range(1, total + 1)]
    assert theirs == pytest.approx(ours, rel=1e-12, abs=1e-17)


@pytest.mark.parametrize(
    ("dataset_size", "total", "warmup", "milestones"),
    [
        (6_000, 500, 100, (0.4, 0.6, 0.8)),
        (60_000, 10_000, 500, (0.3, 0.6, 0.9)),
        (1_200_000, 20_000, 500, (0.3, 0.6, 0.9)),
    ],
)
def test_steps_are_bits_hyperrule(dataset_size: int, total: int, warmup: int, milestones: tuple[float, ...]) -> None:
    """Warm-up, and a tenth of the rate after each milestone, at every step of BiT's three schedules."""
    given = recipe(schedule="steps", milestones=milestones, learning_rate=0.003, warmup_steps=warmup)
    ours = rates(given, total)
    theirs = [bit_hyperrule(step, dataset_size) for step in range(1, total)]
    assert theirs == pytest.approx(ours[:-1], rel=1e-12)
    assert bit_hyperrule(total, dataset_size) is None  # where BiT stops, a run here does its last step
    assert ours[-2] == ours[-1]


def timm_rates(total: int, **settings: Any) -> list[float]:
    """What timm's CosineLRScheduler says for steps 0 to total."""
    timm()
    cosine = importlib.import_module("timm.scheduler.cosine_lr").CosineLRScheduler
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.004)
    scheduler = cosine(optimizer, t_in_epochs=False, **settings)
    said = []
    for step in range(total + 1):
        scheduler.step_update(step)
        said.append(optimizer.param_groups[0]["lr"])
    return said


def test_cosine_is_timms_with_the_warm_up_before_it() -> None:
    """timm's warmup_prefix=True: its step t is ours counted from 1, and its cosine is as long as what is left."""
    total, warmup = 130, 20
    given = recipe(learning_rate=0.004, warmup_steps=warmup, warmup_from=1e-4, final_learning_rate=3e-5)
    theirs = timm_rates(
        total, t_initial=total - warmup, lr_min=3e-5, warmup_t=warmup, warmup_lr_init=1e-4, warmup_prefix=True
    )
    assert theirs[1:] == pytest.approx(rates(given, total), rel=1e-12)


def test_timms_other_convention_jumps_where_the_warm_up_ends() -> None:
    """warmup_prefix=False lets the cosine run under the warm-up: it is ours without one from there on."""
    total, warmup = 130, 20
    given = recipe(learning_rate=0.004, warmup_steps=0, final_learning_rate=3e-5)
    theirs = timm_rates(total, t_initial=total, lr_min=3e-5, warmup_t=warmup, warmup_lr_init=1e-4, warmup_prefix=False)
    assert theirs[warmup:] == pytest.approx(rates(given, total)[warmup - 1 :], rel=1e-12)
    assert 0.00377 == pytest.approx(theirs[warmup], abs=1e-5)  # not 0.004, which ours reaches there


def test_rates_by_hand() -> None:
    """The ends and the middle of both schedules of the paper."""
    assert 0.0 == pytest.approx(learning_rate(COSINE, 499, 500, 3.0), abs=1e-12)
    assert 0.005 == pytest.approx(learning_rate(COSINE, 299, 500, 3.0))
    total = 90_000
    said = [learning_rate(LINEAR, step, total, 3.0) for step in (4_999, 9_999, 49_999, total - 1)]
    assert [0.5e-3, 1e-3, (1e-3 + 1e-5) / 2, 1e-5] == pytest.approx(said)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_the_ends_of_a_schedule(schedule: str) -> None:
    """It begins above `warmup_from`, reaches the peak at the end of the warm-up, and ends at `final_learning_rate`."""
    given = recipe(schedule=schedule, learning_rate=0.02, warmup_steps=10, warmup_from=0.005, final_learning_rate=0.004)
    said = rates(given, 60)
    assert [0.0065, 0.0185, 0.02, 0.004] == pytest.approx([said[0], said[8], said[9], said[-1]])
    assert said[:10] == sorted(said[:10])
    assert said[9:] == sorted(said[9:], reverse=True)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_no_end_lies_above_the_peak(schedule: str) -> None:
    """DeiT's 1e-6 and 1e-5 at a peak that a small batch has made smaller still."""
    given = recipe(schedule=schedule, learning_rate=4e-7, warmup_steps=10, warmup_from=1e-6, final_learning_rate=1e-5)
    assert [4e-7] * 60 == pytest.approx(rates(given, 60))


def test_the_peak_follows_the_batch() -> None:
    """DeiT: 5e-4 for a batch of 512, in proportion for others."""
    given = recipe(learning_rate=5e-4, learning_rate_for=512, batch_size=96, warmup_steps=4)
    assert 5e-4 * 96 / 512 == pytest.approx(max(rates(given, 50)))


def test_warm_up_in_steps_epochs_or_a_share() -> None:
    """One that would be more than half the run is cut to a tenth of it; a share of the run is taken as it is."""
    assert 10_000 == warmup_steps(LINEAR, 20_000, 3.0)
    assert 30 == warmup_steps(LINEAR, 300, 3.0)
    assert 0 == warmup_steps(recipe(), 300, 3.0)
    assert 38 == warmup_steps(recipe(warmup_epochs=5.0), 300, 7.6)
    assert 7 == warmup_steps(recipe(warmup_epochs=5.0), 75, 7.6)
    assert 75 == warmup_steps(recipe(warmup_fraction=0.25), 300, 7.6)


def test_a_run_of_one_step_moves() -> None:
    """Whatever the schedule, a single step has a rate, and the steps before the last one have more than none."""
    for schedule, milestones in (("cosine", ()), ("linear", ()), ("steps", (0.5,))):
        given = recipe(schedule=schedule, milestones=milestones, warmup_steps=100)
        assert all(rate > 0 for rate in rates(given, 7)[:-1])
        assert rates(given, 1)[0] >= 0

"""Mixup and cutmix are what timm does with the same numbers, and the same for every cut of a batch."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vitreous.config import Recipe
from vitreous.training.learning.mix import Mix, cut_box, mix_of, mixed, mixed_targets

SIZE = (24, 40)
PLAIN = Recipe(name="plain", purpose="pretrain", epochs=1)


def recipe(mixup: float = 0.0, cutmix: float = 0.0) -> Recipe:
    return dataclasses.replace(PLAIN, mixup=mixup, cutmix=cutmix)


def draws(asked: Recipe, count: int = 2000) -> list[Mix]:
    found = [mix_of(3, step, asked, SIZE) for step in range(count)]
    assert None not in found
    return found  # type: ignore[return-value]


def batch(count: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 3, *SIZE, generator=generator), torch.eye(5)[torch.arange(count) % 5]


def test_a_recipe_without_mixing_mixes_nothing() -> None:
    assert mix_of(0, 0, recipe(), SIZE) is None


def test_seed_and_step_decide() -> None:
    asked = recipe(0.8, 1.0)
    assert mix_of(1, 2, asked, SIZE) == mix_of(1, 2, asked, SIZE)
    assert len({mix_of(seed, step, recipe(0.8), SIZE) for seed in range(3) for step in range(3)}) == 9


@pytest.mark.parametrize("alpha", [0.2, 0.8, 1.0, 2.0])
def test_mixup_s_share_is_the_larger_part_of_a_beta_draw(alpha: float) -> None:
    """The distribution function of max(a, 1 - a) is 2 F(x) - 1 from a half on."""
    shares = [mix.share for mix in draws(recipe(mixup=alpha))]
    assert min(shares) >= 0.5
    assert stats.kstest(shares, lambda x: 2 * stats.beta(alpha, alpha).cdf(x) - 1).pvalue > 1e-3


def test_cutmix_s_share_is_exactly_the_area_that_is_left() -> None:
    for mix in draws(recipe(cutmix=1.0)):
        assert mix.box is not None
        top, bottom, left, right = mix.box
        shown = torch.zeros(SIZE)
        shown[top:bottom, left:right] = 1
        assert mix.share == 1 - float(shown.sum()) / (24 * 40)


def test_a_batch_is_mixed_by_one_of_the_two_drawn_evenly() -> None:
    cuts = sum(mix.box is not None for mix in draws(recipe(0.8, 1.0)))
    assert abs(cuts - 1000) < 5 * math.sqrt(2000 * 0.25)
    assert all(mix.box is None for mix in draws(recipe(0.8), 50))
    assert all(mix.box is not None for mix in draws(recipe(0.0, 1.0), 50))


@settings(max_examples=200, deadline=None)
@given(st.floats(0, 1), st.integers(0, 2**31), st.tuples(st.integers(1, 70), st.integers(1, 70)))
def test_the_box_is_timm_s(share: float, seed: int, size: tuple[int, int]) -> None:
    """timm's rand_bbox, told to draw the centre that ours drew."""
    rng = np.random.default_rng(seed)
    twin = np.random.default_rng(seed)
    centre = iter([int(twin.random() * size[0]), int(twin.random() * size[1])])
    mixup = oracles.timm().data.mixup
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(mixup.np.random, "randint", lambda *_, **__: next(centre))
        top, bottom, left, right = mixup.rand_bbox((3, *size), share)
    assert cut_box(share, rng, size) == (top, bottom, left, right)


@pytest.mark.parametrize("step", range(8))
def test_pixels_and_targets_are_timm_s(step: int) -> None:
    """timm's Mixup pairs place p with place B-1-p: ours is given those as mates, and timm our numbers."""
    images, targets = batch()
    mix = mix_of(0, step, recipe(0.8, 1.0), SIZE)
    assert mix is not None
    mixup = oracles.timm().data.mixup
    theirs = mixup.Mixup(mixup_alpha=0.8, cutmix_alpha=1.0, label_smoothing=0.0, num_classes=5)
    box = mix.box
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(theirs, "_params_per_batch", lambda: (mix.share, mix.box is not None))
        patched.setattr(mixup, "rand_bbox", lambda *_, **__: box)
        expected, expected_targets = theirs(images.clone(), targets.argmax(1))
    assert torch.equal(expected, mixed(images, images.flip(0), mix))
    assert torch.equal(expected_targets, mixed_targets(targets, targets.flip(0), mix))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 100), st.integers(1, 6))
def test_any_cut_gives_the_undivided_batch(step: int, micro_batch: int) -> None:
    """big_vision rolls the whole batch by one."""
    images, targets = batch()
    mix = mix_of(0, step, recipe(0.8, 1.0), SIZE)
    assert mix is not None
    whole = mixed(images, images.roll(1, 0), mix), mixed_targets(targets, targets.roll(1, 0), mix)
    for start in range(0, 6, micro_batch):
        part = torch.arange(start, min(start + micro_batch, 6))
        assert torch.equal(whole[0][part], mixed(images[part], images[part - 1], mix))
        assert torch.equal(whole[1][part], mixed_targets(targets[part], targets[part - 1], mix))


def test_mixing_leaves_its_input_and_the_sum_of_targets_alone() -> None:
    images, targets = batch()
    for step in range(6):
        mix = mix_of(0, step, recipe(0.8, 1.0), SIZE)
        assert mix is not None
        before = images.clone()
        mixed(images, images.roll(1, 0), mix)
        assert torch.equal(images, before)
        sums = mixed_targets(targets, targets.roll(1, 0), mix).sum(1)
        assert torch.allclose(sums, torch.ones(6), atol=1e-6)

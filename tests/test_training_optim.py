"""Optimiser groups, schedules, averaging and the loss, against closed forms and PyTorch's own."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import nn

import vitreous as vt
from vitreous.recipe import find_recipe
from vitreous.training.objective import cross_entropy
from vitreous.training.optim import Average, build_optimizer, learning_rate, parameter_groups, warmup_steps

COSINE = dataclasses.replace(find_recipe("paper-finetune-small", "finetune"), warmup_steps=100)  # 0.01, 500 steps
LINEAR = find_recipe("paper-imagenet21k", "pretrain")  # 1e-3, 10,000 steps of warm-up


def test_every_parameter_is_in_one_group_and_only_kernels_decay() -> None:
    """big_vision decays `.*/kernel$`: matrices and convolutions, not biases, norms, class token or positions."""
    model = vt.create_model("vit-test", representation_size=20)
    groups = parameter_groups(model, 0.3)
    names = {id(p): name for name, p in model.named_parameters()}
    members = [[names[id(p)] for p in group["params"]] for group in groups]
    assert sorted(names.values()) == sorted(members[0] + members[1])
    assert [0.3, 0.0] == [group["weight_decay"] for group in groups]
    assert all(name.endswith(".weight") and "norm" not in name for name in members[0])
    assert {"cls_token", "pos_embed", "blocks.1.norm2.weight", "head.bias"} <= set(members[1])


def test_cosine_schedule_equals_the_authors_formula() -> None:
    """vit_jax/utils.py: lr * 0.5 * (1 + cos(pi * clip((t - w) / (T - w), 0, 1))) * min(1, t / w), t from 1."""
    for step in (0, 1, 49, 99, 100, 123, 300, 498, 499):
        t, w, total = step + 1, 100, 500
        rest = min(max((t - w) / (total - w), 0), 1)
        expected = 0.01 * 0.5 * (1 + math.cos(math.pi * rest)) * min(1, t / w)
        assert expected == pytest.approx(learning_rate(COSINE, step, 500), abs=1e-15)
    assert 0.0 == pytest.approx(learning_rate(COSINE, 499, 500), abs=1e-12)


def test_linear_schedule_ends_at_the_authors_floor() -> None:
    """From the peak after 10,000 steps straight down to 1e-5."""
    total = 90_000
    assert 1e-3 == pytest.approx(learning_rate(LINEAR, 9_999, total))
    assert 0.5e-3 == pytest.approx(learning_rate(LINEAR, 4_999, total))
    assert (1e-3 + 1e-5) / 2 == pytest.approx(learning_rate(LINEAR, 49_999, total))
    assert 1e-5 == pytest.approx(learning_rate(LINEAR, total - 1, total))


def test_a_warm_up_that_does_not_fit_is_cut_to_a_tenth() -> None:
    """The paper's 10,000 steps on a run of 300."""
    assert 30 == warmup_steps(LINEAR, 300)
    assert 10_000 == warmup_steps(LINEAR, 20_000)


def test_adam_step_is_the_papers_with_decoupled_decay() -> None:
    """One step by hand: p - lr * (m / (sqrt(v) + eps) + decay * p), with m and v unbiased."""
    layer = nn.Linear(3, 2)
    recipe = dataclasses.replace(LINEAR, weight_decay=0.1, learning_rate=0.01)
    optimizer = build_optimizer(layer, recipe)
    before = layer.weight.detach().clone()
    layer(torch.tensor([[1.0, -2.0, 3.0]])).sum().backward()
    gradient = layer.weight.grad.clone()
    optimizer.step()
    expected = before - 0.01 * (gradient / (gradient.abs() + 1e-8) + 0.1 * before)
    torch.testing.assert_close(expected, layer.weight.detach())


def test_average_equals_a_running_mean_by_hand_and_swaps_back() -> None:
    """decay_t = min(decay, (1 + t) / (10 + t))."""
    layer = nn.Linear(2, 3)
    average = Average(layer, 0.4)
    expected = layer.weight.detach().clone()
    for step in range(5):
        with torch.no_grad():
            layer.weight.add_(step + 1.0)
        average.update(layer, step)
        decay = min(0.4, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * layer.weight.detach()
    last = layer.weight.detach().clone()
    average.swap(layer)
    torch.testing.assert_close(expected, layer.weight.detach())
    average.swap(layer)
    assert torch.equal(last, layer.weight.detach())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_micro_batches_add_up_to_the_undivided_batch(smoothing: float) -> None:
    """Loss and gradient of 11 images as 4 + 4 + 3 equal those of all 11 at once."""
    torch.manual_seed(0)
    logits, labels = torch.randn(11, 5, dtype=torch.float64), torch.randint(0, 5, (11,))
    whole = logits.clone().requires_grad_()
    nn.functional.cross_entropy(whole, labels, label_smoothing=smoothing).backward()
    parts = logits.clone().requires_grad_()
    for piece in (slice(0, 4), slice(4, 8), slice(8, 11)):
        cross_entropy(parts[piece], labels[piece], label_smoothing=smoothing, batch_size=11).backward()
    torch.testing.assert_close(whole.grad, parts.grad)

"""LAMB against timm's, against the algorithm by hand, and through a state dict."""

from __future__ import annotations

import copy
import importlib
from typing import Any

import pytest
import torch
from oracles import timm
from torch import Tensor, nn

from vitreous.training.learning.lamb import Lamb

STEPS = 20


def network(seed: int = 0) -> nn.Module:
    """Matrices, a bias that begins at zero, a convolution and a norm."""
    torch.manual_seed(seed)
    made = nn.Sequential(nn.Conv2d(3, 5, 2), nn.Flatten(), nn.Linear(30, 7), nn.LayerNorm(7), nn.Linear(7, 4))
    nn.init.zeros_(made[2].weight)  # a length of 0 has no ratio
    return made


def groups(model: nn.Module, decay: float) -> list[dict[str, Any]]:
    matrices = [p for p in model.parameters() if p.ndim > 1]
    return [
        {"params": matrices, "weight_decay": decay},
        {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]


def batches() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(3)
    return [
        (torch.randn(6, 3, 3, 4, generator=generator), torch.randint(0, 4, (6,), generator=generator))
        for _ in range(STEPS)
    ]


def train(model: nn.Module, optimizer: torch.optim.Optimizer, clip: float | None = None) -> list[Tensor]:
    for step, (images, labels) in enumerate(batches()):
        for group in optimizer.param_groups:
            group["lr"] = 0.02 * (1 + step) / STEPS
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
    return [parameter.detach() for parameter in model.parameters()]


@pytest.mark.parametrize("decay", [0.05, 0.0])
@pytest.mark.parametrize("clip", [None, 0.1])
def test_twenty_steps_are_timms(decay: float, clip: float | None) -> None:
    """timm.optim.Lamb with its own clipping off, or on where the loop here clips; the learning rate moves."""
    timm()
    theirs = network()
    ours = copy.deepcopy(theirs)
    reference = importlib.import_module("timm.optim.lamb").Lamb
    settings: dict[str, Any] = {"betas": (0.9, 0.98), "eps": 1e-6}
    expected = train(theirs, reference(groups(theirs, decay), max_grad_norm=clip, **settings))
    got = train(ours, Lamb(groups(ours, decay), **settings), clip)
    begun = list(network().parameters())
    for one, other, start in zip(expected, got, begun, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
        assert (one - start).abs().max() > 1e-3


def test_a_step_is_as_long_as_the_learning_rate_says() -> None:
    """Algorithm 2: a matrix moves by lr times its own length, whatever the gradient's scale."""
    for scale in (1e-3, 1e3):
        weight = nn.Parameter(torch.randn(4, 7, generator=torch.Generator().manual_seed(1)))
        before = weight.detach().clone()
        weight.grad = scale * torch.randn(4, 7, generator=torch.Generator().manual_seed(2))
        Lamb([weight], lr=0.01, weight_decay=0.1).step()
        assert 0.01 * float(before.norm()) == pytest.approx(float((weight.detach() - before).norm()), rel=1e-5)


def test_what_is_frozen_at_first_begins_like_any_other() -> None:
    """A parameter without gradients is left alone, and its first step is corrected as a first step."""
    late, alone = (nn.Parameter(torch.tensor([[1.0, -2.0, 3.0]])) for _ in range(2))
    other, gradient = nn.Parameter(torch.ones(2, 2)), torch.tensor([[0.5, 0.1, -0.2]])
    optimizer = Lamb([late, other], lr=0.01, weight_decay=0.1)
    for _ in range(5):
        other.grad = torch.ones(2, 2)
        optimizer.step()
    assert late not in optimizer.state
    late.grad = alone.grad = gradient
    optimizer.step()
    Lamb([alone], lr=0.01, weight_decay=0.1).step()
    assert torch.equal(alone, late)


def test_a_state_of_tensors_goes_on_to_the_bit() -> None:
    """Its state is tensors only; loaded into another optimiser, the next steps are the same."""
    model = network()
    optimizer = Lamb(groups(model, 0.05))
    train(model, optimizer)
    twin = copy.deepcopy(model)
    state = optimizer.state_dict()
    assert all(isinstance(value, Tensor) for kept in state["state"].values() for value in kept.values())
    resumed = Lamb(groups(twin, 0.05))
    resumed.load_state_dict(copy.deepcopy(state))
    for one, other in zip(train(model, optimizer), train(twin, resumed), strict=True):
        assert torch.equal(one, other)

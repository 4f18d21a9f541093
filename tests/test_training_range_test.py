"""The range test finds rates known in closed form, and one at which a small model learns best."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import vitreous as vt
from vitreous.errors import DivergedError
from vitreous.training.range_test import find_rate, stepping


class Valley:
    """Gradient descent on c x^2 / 2 + 1, whose best learning rate is 1 / c, with some noise in what is told of it."""

    def __init__(self, curvature: float, noise: float = 0.0, seed: int = 1) -> None:
        self.c, self.noise, self.rng, self.x = curvature, noise, np.random.default_rng(seed), 10 / curvature**0.5

    def step(self, rate: float) -> float:
        loss = self.c * self.x**2 / 2 + 1
        self.x -= rate * self.c * self.x
        return float(loss * self.rng.lognormal(0, self.noise))


@pytest.mark.parametrize("curvature", [3.0, 13.0, 400.0, 2e4])
def test_the_best_rate_of_a_quadratic_is_found_within_a_factor_of_three(curvature: float) -> None:
    """1 / curvature; at 2 / curvature it would diverge. With noise the flat ground of the valley is found."""
    test = find_rate(Valley(curvature).step)
    assert 1 / 3 < test.chosen * curvature < 1.5
    for seed in range(5):
        noisy = find_rate(Valley(curvature, 0.1, seed).step)
        assert 1 / 4 < noisy.chosen * curvature < 1.5
    assert test.chosen == pytest.approx(test.lowest / 3)


def test_rates_rise_evenly_and_stop_when_the_loss_has_flown_off() -> None:
    """From 1e-6 by the same factor; the last loss is far above the best."""
    test = find_rate(Valley(50.0).step)
    ratios = np.diff(np.log(test.rates))
    assert 1e-6 == pytest.approx(test.rates[0])
    np.testing.assert_allclose(ratios, math.log(1e7) / 59, rtol=1e-9)
    assert len(test.rates) == len(test.losses) < 60
    assert max(test.losses[:-3]) < test.losses[-1]
    assert f"learning rate {test.chosen:.2g}, found in {len(test.rates)} steps" in test.words()


def test_the_running_mean_stops_it_and_a_spike_does_not() -> None:
    """One batch of hard images in the middle, three times the loss."""
    valley, count = Valley(50.0), 0

    def step(rate: float) -> float:
        nonlocal count
        count += 1
        return valley.step(rate) * (3.0 if count == 20 else 1.0)

    spiked, plain = find_rate(step), find_rate(Valley(50.0).step)
    assert spiked.chosen == plain.chosen


@pytest.mark.parametrize("end", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_it(end: float) -> None:
    """What was learned before still counts."""
    valley = Valley(2.0)
    test = find_rate(lambda rate: end if rate > 1.5 else valley.step(rate))
    assert math.inf == test.losses[-1]
    assert 1 / 6 < test.chosen < 1
    assert "flew off" in test.words()


@pytest.mark.parametrize("loss", [math.nan, 2.3])
def test_where_nothing_helps_it_is_told(loss: float) -> None:
    """No rate is made up."""
    with pytest.raises(DivergedError, match="at none of them did the loss fall"):
        find_rate(lambda _rate: loss)


def batch(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Twelve images of noise in one of three colours."""
    rng = torch.Generator().manual_seed(number)
    labels = torch.randint(3, (12,), generator=rng)
    images = torch.randn(12, 3, 16, 16, generator=rng)
    images[torch.arange(12), labels] += 0.6
    return images, labels


def mean_loss(model: torch.nn.Module, number: int) -> float:
    images, labels = batch(number)
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    return float(loss.detach())


def test_a_small_vit_learns_best_near_the_rate_found() -> None:
    """Better than at a thirtieth and at thirty times of it; found twice alike, with nothing touched."""
    model = vt.create_model("vit-test", num_classes=3, image_size=16, dropout=0.1, seed=1).train()
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(5)
    randomness = torch.get_rng_state()

    def found() -> float:
        other = copy.deepcopy(model)

        def gradients(number: int) -> float:
            torch.manual_seed(number)
            return mean_loss(other, number)

        optimizer = torch.optim.AdamW([{"params": list(other.parameters()), "lr_scale": 1.0}])
        return find_rate(stepping(other, optimizer, gradients, clip_norm=1.0)).chosen

    chosen = found()
    assert chosen == found()
    assert torch.equal(randomness, torch.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    ends = []
    for rate in (chosen / 30, chosen, chosen * 30):
        other = copy.deepcopy(model)
        step = stepping(other, torch.optim.AdamW(other.parameters()), lambda n, other=other: mean_loss(other, n))
        losses = [step(rate) for _ in range(40)]
        ends.append(float(np.mean(losses[-10:])))
    assert ends[1] < min(ends[0], ends[2])


def test_layers_scale_their_rate() -> None:
    """A group's lr_scale counts as in training; each batch comes once, in order."""
    layers = torch.nn.ModuleList([torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)])
    groups = [{"params": list(layers[0].parameters()), "lr_scale": 0.5}, {"params": list(layers[1].parameters())}]
    optimizer, seen = torch.optim.SGD(groups, lr=1.0), []

    def gradients(number: int) -> float:
        seen.append(number)
        for parameter in layers.parameters():
            parameter.grad = torch.ones_like(parameter)
        return 1.5

    before = copy.deepcopy(layers.state_dict())
    step = stepping(layers, optimizer, gradients)
    assert [1.5, 1.5] == [step(0.25), step(0.25)]
    torch.testing.assert_close(before["0.weight"] - 0.25, layers[0].weight.detach())
    torch.testing.assert_close(before["1.weight"] - 0.5, layers[1].weight.detach())
    assert [0, 1] == seen

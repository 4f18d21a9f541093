"""What is called divergence, and what is not: on curves of every shape, and on small models that really diverge."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import vitreous as vt
from vitreous.errors import DivergedError
from vitreous.training.trouble.divergence import Setting, Verdict, Watch

LOG10 = math.log(10)


def judged(losses: list[float], guess: float | None = LOG10, norm: float = 1.0) -> int | None:
    """The step at which a curve is stopped."""
    watch = Watch(guess)
    for step, loss in enumerate(losses):
        if watch.judge(step, loss, norm) is Verdict.STOP:
            return step
    return None


def noisy(curve: np.ndarray, seed: int = 3) -> list[float]:
    """With the scatter that small batches give a loss."""
    return (curve * np.random.default_rng(seed).lognormal(0, 0.3, len(curve))).tolist()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_numbers_that_are_not_finite_are_skipped_and_the_third_in_a_row_stops(bad: float, where: str) -> None:
    """F1: a sound step between them begins the count again."""
    watch, numbers = Watch(LOG10), ((bad, 1.0) if where == "loss" else (2.3, bad))
    verdicts = [watch.judge(0, 2.3, 1.0), watch.judge(1, *numbers), watch.judge(2, *numbers), watch.judge(3, 2.2, 1.0)]
    verdicts += [watch.judge(step, *numbers) for step in (4, 5, 6)]
    assert ["fine", "skip", "skip", "fine", "skip", "skip", "stop"] == verdicts
    assert 5 == watch.skipped


@pytest.mark.parametrize(
    ("name", "guess", "curve"),
    [
        ("from a guess down", LOG10, np.geomspace(2.3, 0.01, 200)),
        ("warm-up, then down", LOG10, np.r_[np.full(80, 2.3), np.geomspace(2.3, 0.05, 120)]),
        ("never learns", LOG10, np.full(200, 2.31)),
        ("label smoothing has a floor", LOG10, np.r_[np.geomspace(2.3, 0.9, 100), np.full(100, 0.9)]),
        ("sigmoid over 1000 classes", math.log(1000), np.r_[np.geomspace(693.1, 7.5, 60), np.full(140, 7.0)]),
        ("sigmoid with head_bias -10", math.log(1000), np.r_[np.full(20, 10.05), np.geomspace(10.05, 5.0, 180)]),
        ("sigmoid-mean", math.log(10), np.geomspace(0.69, 0.1, 200)),
        ("masked patches, squared error", None, np.r_[np.full(30, 1.1), np.geomspace(1.1, 0.3, 170)]),
        ("fine-tuning what is nearly right", LOG10, np.r_[np.full(100, 0.02), np.full(100, 0.4)]),
        ("an own model that begins badly", LOG10, np.geomspace(60.0, 2.0, 200)),
        ("high for some steps, but falling", math.log(2), np.r_[0.69, np.geomspace(30.0, 0.5, 18), np.full(100, 0.5)]),
    ],
)
def test_what_is_rightly_uneven_is_no_divergence(name: str, guess: float | None, curve: np.ndarray) -> None:
    """Each of these is what a healthy run of some recipe looks like."""
    for seed in range(8):
        assert judged(noisy(curve, seed), guess) is None, f"{name}, seed {seed}"


@pytest.mark.parametrize("height", [1e3, 1e9])
@pytest.mark.parametrize("width", [1, 4])
def test_a_spike_is_no_divergence(height: float, width: int) -> None:
    """However high, where it is over within a few steps; at the start as in the middle."""
    for at in (1, 5, 57):
        curve = np.geomspace(2.3, 0.2, 120)
        curve[at : at + width] = height
        assert judged(noisy(curve)) is None
        assert judged(noisy(curve), None) is None


def test_mixed_targets_and_uneven_batches_are_no_divergence() -> None:
    """With mixup and balanced weights one batch's loss may be ten times another's."""
    rng = np.random.default_rng(5)
    assert judged((2.3 * rng.choice([0.3, 1.0, 3.5], 300, p=[0.4, 0.4, 0.2])).tolist()) is None


@pytest.mark.parametrize("after", [1, 30, 400])
@pytest.mark.parametrize(
    ("guess", "level"), [(LOG10, 12.0), (LOG10, 1e3), (LOG10, 1e8), (None, 100.0), (None, 1e3), (None, 1e8)]
)
def test_a_loss_that_rises_and_stays_is_noticed_within_fifty_steps(
    after: int, guess: float | None, level: float
) -> None:
    """Finite all along, as clipping keeps it; whether it comes at once or after long learning."""
    step = judged(noisy(np.r_[np.geomspace(2.3, 1.0, after), np.full(100, level)]), guess)
    assert step is not None
    assert after <= step < after + 50


def test_what_it_remembers_is_json_and_enough() -> None:
    """A run resumed after every step judges as one that was never stopped."""
    curve = [*noisy(np.geomspace(2.3, 1.0, 25)), math.nan, 2.0, math.inf, math.nan, *noisy(np.full(40, 50.0))]
    for guess in (LOG10, None):
        whole, resumed = Watch(guess), Watch(guess)
        for step, loss in enumerate(curve):
            kept = json.loads(json.dumps(resumed.state(), allow_nan=False))
            resumed = Watch(guess, kept)
            assert whole.judge(step, loss, 1.5) == resumed.judge(step, loss, 1.5)
            assert whole.state() == resumed.state()
            assert len(json.dumps(kept)) < 1500


def setting(step: int, loss: float, norm: float = 7.5, clip: float | None = None, warmup: int = 0) -> Setting:
    return Setting(step=step, loss=loss, grad_norm=norm, rate=0.25, peak=0.3, warmup=warmup, clip_norm=clip)


def explained(losses: list[float], at: Setting, evidence: Path | None = Path("runs/a b/diverged/x")) -> str:
    watch = Watch(LOG10)
    for step, loss in enumerate(losses):
        watch.judge(step, loss, 4.5)
    error = watch.explain(at, run=Path("runs/a b"), evidence=evidence)
    assert isinstance(error, DivergedError)
    assert 5 == error.exit_code
    return str(error)


def test_a_risen_loss_is_explained() -> None:
    """What, at which step, since when, with which learning rate and norm, what to do, and where to look."""
    told = explained([2.3, 2.0, 1.9, *[90.0] * 10], setting(12, 90.0))
    assert "the loss has risen to 90 at step 13, 39 times that of the start" in told
    assert "since step 4; learning rate 0.25, gradient norm 7.5" in told
    assert "--learning-rate 0.1, or a recipe with clip_norm=1, or a warm-up" in told
    assert "vitreous replay 'runs/a b'" in told
    assert "runs/a b/diverged/x" in told
    assert "--learning-rate 0.003, or" in explained([2.3, *[9e7] * 10], setting(11, 9e7))


def test_numbers_that_are_not_finite_are_explained() -> None:
    """With the last sound step; a recipe that clips already is not told to."""
    told = explained([2.3, 1.9, *[math.nan] * 3], setting(4, math.nan, math.nan, clip=1.0, warmup=100))
    assert "the loss is not a number at step 5, nor was it in the 2 steps before" in told
    assert "until step 2 all was well; learning rate 0.25, gradient norm nan" in told
    assert "at the last sound step loss 1.9 and gradient norm 4.5" in told
    assert "clip_norm" not in told
    assert "a longer warm-up" in told
    told = explained([2.3, 1.9, *[1.8] * 3], setting(4, 1.8, math.inf), evidence=None)
    assert "the gradient is not finite at step 5" in told
    assert "replay" not in told


def test_a_run_that_never_did_a_step_is_not_told_to_learn_slower() -> None:
    """Nothing was learned yet: the images or the weights are at fault."""
    told = explained([math.nan] * 3, setting(2, math.nan))
    assert "the weights or the images are at fault" in told
    assert "--learning-rate" not in told
    assert "vitreous replay" in told


def small_run(optimizer: str, rate: float, *, clip: float | None, sigmoid: bool, warmup: int, steps: int) -> int | None:
    """Train a tiny ViT on noise of three colours; the step at which it is stopped."""
    model = vt.create_model("vit-test", num_classes=3, image_size=16, seed=1).train()
    make = {"adam": torch.optim.AdamW, "sgd": lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9)}[optimizer]
    moved = make(model.parameters(), lr=rate)
    watch, rng = Watch(math.log(3)), torch.Generator().manual_seed(2)
    for step in range(steps):
        labels = torch.randint(3, (7,), generator=rng)
        images = torch.randn(7, 3, 16, 16, generator=rng) * 0.5
        images[torch.arange(7), labels] += 1.0
        logits = model(images)
        if sigmoid:
            targets = F.one_hot(labels, 3).float()
            loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / 7
        else:
            loss = F.cross_entropy(logits, labels)
        moved.zero_grad()
        loss.backward()
        norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), clip or math.inf))
        verdict = watch.judge(step, float(loss.detach()), norm)
        if verdict is Verdict.STOP:
            return step
        if verdict is Verdict.FINE:
            moved.param_groups[0]["lr"] = rate * min(1.0, (step + 1) / warmup) if warmup else rate
            moved.step()
    return None


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize(("sigmoid", "warmup"), [(False, 0), (True, 0), (False, 10_000)])
def test_a_learning_rate_of_a_thousand_is_noticed_within_fifty_steps(
    optimizer: str, clip: float | None, sigmoid: bool, warmup: int
) -> None:
    """F2: on a real model; clipped too. In a long warm-up, clipped SGD diverges only as the rate comes to 5 or 10."""
    late = optimizer == "sgd" and warmup and clip
    step = small_run(optimizer, 1000.0, clip=clip, sigmoid=sigmoid, warmup=warmup, steps=120 if late else 50)
    assert step is not None


@pytest.mark.parametrize(
    ("optimizer", "rate", "sigmoid"),
    [("adam", 0.02, False), ("adam", 0.02, True), ("sgd", 0.15, False), ("sgd", 0.15, True)],
)
def test_bold_learning_rates_are_let_be(optimizer: str, rate: float, sigmoid: bool) -> None:
    """Rates at which the loss jumps about, and learning still goes on."""
    assert small_run(optimizer, rate, clip=None, sigmoid=sigmoid, warmup=0, steps=60) is None

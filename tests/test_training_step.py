"""One step: its gradient is the undivided batch's however it is cut, and what runs out of memory is done in halves."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vitreous.architecture import ViTConfig
from vitreous.config import AugmentConfig, TrainOptions
from vitreous.data.imageset import Splits, array_set
from vitreous.errors import ResourceError
from vitreous.training import tell
from vitreous.training.microbatch import is_out_of_memory
from vitreous.training.plan import ALONE, Plan, make_plan
from vitreous.training.step import Done, Engine
from vitreous.training.trouble.divergence import Verdict

CONFIG = ViTConfig(
    name="tiny", image_size=(16, 24), patch_size=(8, 4), embed_dim=20, depth=2, num_heads=5, mlp_dim=28, num_classes=3
)
BATCH = 12


def images(count: int = 30) -> Splits:
    """Images of noise, their brightness rising with their class; the classes are unevenly many."""
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1, 2], [count // 2, count // 3, count - count // 2 - count // 3])
    pixels = (rng.integers(0, 120, (count, 20, 30, 3)) + 60 * labels[:, None, None, None]).astype(np.uint8)
    train = array_set("noise", pixels, labels.astype(np.int64), ("a", "b", "c"))
    return Splits(train=train, val=train.subset(range(6)), test=None)


def plan_of(model: Any = CONFIG, micro_batch: int = BATCH, steps: int = 4, **recipe: Any) -> Plan:
    """A run of a tiny network whose recipe differs from small-pretrain in what is given."""
    options = TrainOptions(
        steps=steps, batch_size=BATCH, micro_batch=micro_batch, image_size=(16, 24), threads=1, precision="float32"
    )
    if "named" in recipe:
        options = dataclasses.replace(options, recipe=recipe.pop("named"))
    plan = make_plan("pretrain", images(), model, options)
    return dataclasses.replace(plan, recipe=dataclasses.replace(plan.recipe, **recipe))


def fine(*_: float) -> Verdict:
    return Verdict.FINE


def gradients(plan: Plan, step: int = 2) -> tuple[float, float, dict[str, Tensor]]:
    """Loss, right answers and gradients of one step at weights that are all random."""
    engine = Engine(plan, ALONE)
    generator = torch.Generator().manual_seed(1)
    for parameter in plan.model.parameters():
        nn.init.normal_(parameter, std=0.2, generator=generator)
    seen: list[Done] = []
    kept: dict[str, Tensor] = {}

    def judge(*_: float) -> Verdict:
        kept.update({n: p.grad.clone() for n, p in plan.model.named_parameters() if p.grad is not None})
        return Verdict.SKIP

    seen += engine.steps(step, judge, last=step + 1)
    return seen[0].loss, seen[0].correct, kept


RECIPES: dict[str, dict[str, Any]] = {
    "softmax": {},
    "smoothed": {"label_smoothing": 0.1},
    "sigmoid": {"loss": "sigmoid"},
    "sigmoid-mean": {"loss": "sigmoid-mean", "label_smoothing": 0.1},
    "weighted": {"class_weights": "balanced"},
    "weighted sigmoid": {"class_weights": "balanced", "loss": "sigmoid"},
    "mixup": {"mixup": 0.5},
    "cutmix": {"cutmix": 1.0, "loss": "sigmoid"},
    "both": {"mixup": 0.8, "cutmix": 1.0, "class_weights": "balanced", "label_smoothing": 0.1},
    "repeated": {"repeats": 3, "mixup": 0.3},
    "augmented": {"augment": AugmentConfig(policy="randaugment", jitter=0.3, erase=0.5)},
    "masked colours": {"named": "paper-masked-jft300m"},
    "masked cells": {"named": "paper-masked-jft300m-downsampled"},
    "masked pixels": {"named": "paper-masked-jft300m-pixels"},
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("micro_batch", [1, 5])
def test_gradients_are_those_of_the_undivided_batch(recipe: dict[str, Any], micro_batch: int) -> None:
    """For every loss, mixed images included; 5 does not divide the batch of 12."""
    recipe = {"clip_norm": None, **recipe}
    loss, correct, whole = gradients(plan_of(**recipe))
    cut_loss, cut_correct, cut = gradients(plan_of(micro_batch=micro_batch, **recipe))
    assert cut_loss == pytest.approx(loss, rel=1e-6)
    assert cut_correct == pytest.approx(correct, abs=1e-6)
    assert whole.keys() == cut.keys()
    largest = max(float(gradient.abs().max()) for gradient in whole.values())
    assert largest > 1e-4
    for name, gradient in whole.items():
        torch.testing.assert_close(cut[name], gradient, rtol=0, atol=2e-6 * max(largest, 1.0), msg=name)


def test_the_loss_is_the_mean_over_the_batch() -> None:
    """A network of zeros answers every class alike: log 3 whatever the images, and its gradient norm is measured."""
    plan = plan_of(micro_batch=5, clip_norm=0.25, label_smoothing=0.1)
    engine = Engine(plan, ALONE)
    for parameter in plan.model.parameters():
        nn.init.zeros_(parameter)
    done = next(engine.steps(0, fine))
    assert done.loss == pytest.approx(math.log(3), rel=1e-6)
    counts = np.bincount(np.concatenate([part.labels for part in done.parts]), minlength=3) / BATCH
    # only the head's bias has a gradient: softmax of zeros minus the smoothed targets' mean
    expected = np.linalg.norm(1 / 3 - (0.9 * counts + 0.1 / 3))
    assert done.norm == pytest.approx(expected, rel=1e-5)


def test_a_skipped_step_leaves_everything_as_it_was() -> None:
    plan = plan_of()
    engine = Engine(plan, ALONE)
    before = {name: value.clone() for name, value in plan.model.state_dict().items()}
    done = next(engine.steps(0, lambda *_: Verdict.SKIP))
    assert done.verdict is Verdict.SKIP
    assert all(torch.equal(value, before[name]) for name, value in plan.model.state_dict().items())
    assert not engine.optimizer.state
    assert all(parameter.grad is None for parameter in plan.model.parameters())


class Hungry(nn.Module):
    """A network for whose device more than `limit` images at once are too many."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit, self.seen = limit, list[int]()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 24, 3))

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self.seen.append(len(images))
            if len(images) > self.limit:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.body(images)


@pytest.mark.parametrize("recipe", [{}, {"mixup": 0.5, "repeats": 2}], ids=["plain", "mixed"])
def test_memory_that_runs_out_halves_the_micro_batch_with_the_same_result(recipe: dict[str, Any]) -> None:
    """The step begins again with its own images; weights and losses are those of a run with memory enough."""
    results = []
    for limit, micro_batch in ((BATCH, 3), (3, BATCH)):
        torch.manual_seed(0)
        model = Hungry(limit)
        plan = plan_of(model, micro_batch=micro_batch, average_decay=None, **recipe)
        model.seen.clear()
        engine = Engine(plan, ALONE)
        losses = [(done.step, done.loss) for done in engine.steps(0, fine)]
        results.append((losses, model.body.state_dict(), engine.micro_batch))
        assert [0, 1, 2, 3] == [step for step, _ in losses]
    assert [12, 6, 3] == model.seen[:3]
    (losses, weights, _), (halved_losses, halved_weights, micro_batch) = results
    assert (losses, 3) == (halved_losses, micro_batch)
    assert all(torch.equal(weights[name], halved_weights[name]) for name in weights)


def test_memory_that_is_too_small_for_one_image_is_told() -> None:
    plan = plan_of(Hungry(0))
    with pytest.raises(ResourceError, match="not enough memory for 1 images at once"):
        list(Engine(plan, ALONE).steps(0, fine))


def test_other_errors_are_no_lack_of_memory() -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(5, 3)

        def forward(self, images: Tensor) -> Tensor:
            return self.body(images) if self.training else self.body(images.new_zeros(len(images), 5))

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        list(Engine(plan_of(Broken()), ALONE).steps(0, fine))


@pytest.mark.parametrize(
    "words",
    [
        "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory",
        "could not create a primitive",  # both as oneDNN says it under RLIMIT_AS
        "could not create a memory object",
    ],
)
def test_lack_of_memory_is_known_by_its_words(words: str) -> None:
    assert is_out_of_memory(RuntimeError(words))
    assert not is_out_of_memory(ValueError(words))


def test_the_libraries_of_fast_decoding_are_recorded_by_their_own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV is in four distributions, and whoever has another than ours can train."""
    plan = plan_of()
    plan = dataclasses.replace(plan, options=dataclasses.replace(plan.options, decode="fast"))
    monkeypatch.setattr(
        tell, "packages_distributions", lambda: {"cv2": ["opencv-python"], "simplejpeg": ["simplejpeg"]}
    )
    monkeypatch.setattr(tell, "version", {"opencv-python": "4.13", "simplejpeg": "1.9"}.__getitem__)
    assert {"opencv-python": "4.13", "simplejpeg": "1.9"}.items() <= tell.environment(plan).items()

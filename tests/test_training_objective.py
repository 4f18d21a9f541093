"""Losses and targets, against PyTorch's, timm's and scikit-learn's own and big_vision's formulas."""

from __future__ import annotations

import importlib
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracles import timm
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from vitreous.errors import DataError
from vitreous.training.learning.objective import LabelObjective, Loss, balanced_weights, targets_of

B, Y = 11, 5
KINDS: list[Loss] = ["softmax", "sigmoid", "sigmoid-mean"]


def timm_loss() -> ModuleType:
    timm()
    return importlib.import_module("timm.loss")


def drawn(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits and labels, in double precision so that a formula is told from rounding."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(B, Y, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, Y, (B,), generator=generator)


def mixed(seed: int = 1) -> Tensor:
    """Soft targets that sum to 1, as mixup makes them."""
    return torch.rand(B, Y, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).softmax(dim=1)


def khot(seed: int = 2) -> Tensor:
    """Several classes to an image, and to the first image none."""
    rows = (torch.rand(B, Y, generator=torch.Generator().manual_seed(seed)) < 0.4).double()
    rows[0] = 0.0
    rows[1] = torch.tensor([1.0, 0, 1, 0, 1])
    return rows


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_targets_are_timms(smoothing: float) -> None:
    """timm.data.mixup.one_hot as its mixup_target calls it."""
    timm()
    one_hot = importlib.import_module("timm.data.mixup").one_hot
    labels = drawn()[1]
    theirs = one_hot(labels, Y, on_value=1 - smoothing + smoothing / Y, off_value=smoothing / Y)
    assert torch.equal(theirs, targets_of(labels, Y, smoothing))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_softmax_is_pytorchs(smoothing: float, weighted: bool) -> None:
    """Hard labels, smoothed and weighted, as torch.nn.functional.cross_entropy sums them."""
    logits, labels = drawn()
    weights = torch.tensor([0.3, 2.0, 1.0, 0.7, 1.4], dtype=torch.float64) if weighted else None
    theirs = F.cross_entropy(logits, labels, weight=weights, label_smoothing=smoothing, reduction="sum")
    ours = LabelObjective("softmax", weights).loss(logits, targets_of(labels, Y, smoothing))
    torch.testing.assert_close(theirs, ours, rtol=1e-6, atol=0)
    soft = F.cross_entropy(logits, mixed(), weight=weights, reduction="sum")
    torch.testing.assert_close(soft, LabelObjective("softmax", weights).loss(logits, mixed()))


def test_softmax_is_timms_and_big_visions() -> None:
    """timm's LabelSmoothing- and SoftTargetCrossEntropy are means; the formula is big_vision/utils.py, softmax_xent."""
    logits, labels = drawn()
    objective = LabelObjective("softmax")
    smoothed = timm_loss().LabelSmoothingCrossEntropy(0.1)(logits, labels)
    torch.testing.assert_close(B * smoothed, objective.loss(logits, targets_of(labels, Y, 0.1)), rtol=1e-6, atol=0)
    soft = timm_loss().SoftTargetCrossEntropy()(logits, mixed())
    torch.testing.assert_close(B * soft, objective.loss(logits, mixed()))
    formula = -(khot() * logits.log_softmax(dim=-1)).sum(dim=-1)
    torch.testing.assert_close(formula.sum(), objective.loss(logits, khot()))


@pytest.mark.parametrize("targets", [mixed(), khot()], ids=["mixed", "k-hot"])
def test_sigmoid_is_big_visions(targets: Tensor) -> None:
    """big_vision/utils.py, sigmoid_xent: -sum(labels log p + (1 - labels) log(1 - p)) over classes."""
    logits = drawn()[0]
    log_p, log_not_p = F.logsigmoid(logits), F.logsigmoid(-logits)
    formula = -(targets * log_p + (1.0 - targets) * log_not_p).sum(dim=-1)
    torch.testing.assert_close(formula.sum(), LabelObjective("sigmoid").loss(logits, targets))


def test_sigmoid_mean_is_pytorchs_and_timms() -> None:
    """DeiT-III's loss: the mean over images and classes."""
    logits, labels = drawn()
    ours = LabelObjective("sigmoid-mean").loss(logits, mixed())
    torch.testing.assert_close(B * torch.nn.BCEWithLogitsLoss()(logits, mixed()), ours)
    torch.testing.assert_close(B * timm_loss().BinaryCrossEntropy(smoothing=0.0)(logits, mixed()), ours)
    smoothed = timm_loss().BinaryCrossEntropy(smoothing=0.1)(logits, labels)
    ours = LabelObjective("sigmoid-mean").loss(logits, targets_of(labels, Y, 0.1))
    torch.testing.assert_close(B * smoothed, ours, rtol=1e-6, atol=0)
    summed = timm_loss().BinaryCrossEntropy(smoothing=0.0, sum_classes=True)(logits, mixed())
    torch.testing.assert_close(B * summed, LabelObjective("sigmoid").loss(logits, mixed()))


@pytest.mark.parametrize("kind", KINDS)
def test_a_weight_is_a_repetition(kind: Loss) -> None:
    """An image whose class counts three times as much weighs as three such images."""
    logits, labels = drawn()
    weights = torch.tensor([1.0, 2.0, 3.0, 1.0, 4.0], dtype=torch.float64)
    times = weights[labels].long()
    repeated = LabelObjective(kind).loss(
        logits.repeat_interleave(times, dim=0), targets_of(labels, Y).repeat_interleave(times, dim=0)
    )
    torch.testing.assert_close(repeated, LabelObjective(kind, weights).loss(logits, targets_of(labels, Y)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("targets", [mixed(), khot()], ids=["mixed", "k-hot"])
def test_weights_of_one_change_nothing(kind: Loss, targets: Tensor) -> None:
    """Also for images with several classes or with none."""
    logits, ones = drawn()[0], torch.ones(Y, dtype=torch.float64)
    plain, weighted = LabelObjective(kind), LabelObjective(kind, ones)
    torch.testing.assert_close(plain.loss(logits, targets), weighted.loss(logits, targets))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weighted", [False, True])
def test_micro_batches_add_up_to_the_undivided_batch(kind: Loss, weighted: bool) -> None:
    """Loss and gradient of 11 images as 4 + 4 + 3 equal those of all 11 at once."""
    weights = torch.tensor([0.3, 2.0, 1.0, 0.7, 1.4], dtype=torch.float64) if weighted else None
    objective, targets = LabelObjective(kind, weights), mixed()
    whole, parts = (drawn()[0].requires_grad_() for _ in range(2))
    (objective.loss(whole, targets) / B).backward()
    losses = []
    for piece in (slice(0, 4), slice(4, 8), slice(8, 11)):
        losses.append(objective.loss(parts[piece], targets[piece]) / B)
        losses[-1].backward()
    torch.testing.assert_close(whole.grad, parts.grad)
    torch.testing.assert_close(objective.loss(whole, targets) / B, sum(losses))


def test_balanced_weights_are_scikit_learns() -> None:
    """And 1 in the mean over the images."""
    counts = torch.tensor([3, 17, 1, 40, 8])
    labels = torch.repeat_interleave(torch.arange(Y), counts)
    theirs = compute_class_weight("balanced", classes=np.arange(Y), y=labels.numpy())
    ours = balanced_weights(counts)
    assert theirs == pytest.approx(ours.numpy(), rel=1e-6)
    assert 1.0 == pytest.approx(float(ours[labels].mean()))


def test_a_class_without_images_cannot_be_balanced() -> None:
    with pytest.raises(DataError, match="2 of 4 classes have no training images, class number 1"):
        balanced_weights(torch.tensor([3, 0, 2, 0]))


def test_correct_counts_the_largest() -> None:
    """The largest output meets the largest target; where several classes share it, any of them will do."""
    outputs = torch.tensor([[0.1, 2.0, 0.3], [5.0, 1.0, 0.0], [0.0, 1.0, 3.0], [0.0, 0.0, 1.0]])
    targets = torch.tensor([[0.2, 0.7, 0.1], [0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0.4, 0.6, 0.0]])
    assert 2.0 == LabelObjective().correct(outputs, targets)
    hard = torch.tensor([1, 2, 2, 2])
    assert float((outputs.argmax(1) == hard).sum()) == LabelObjective().correct(outputs, targets_of(hard, 3))

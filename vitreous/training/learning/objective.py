"""What training minimises, as sums over images: micro-batches of one batch add up to the undivided batch.

Targets are soft: a row of numbers per image, one for each class, whether it shows one class (one-hot, smoothed),
two mixed images or several classes (k-hot). DeiT's distillation from a teacher is not here: a model with a
distillation token answers with the mean of its two heads, and that mean learns from the labels.
"""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int
from torch import Tensor

from vitreous.errors import DataError

Loss = Literal["softmax", "sigmoid", "sigmoid-mean"]


class Objective(Protocol):
    """What a step minimises, and what it counts as right."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Float[Tensor, ""]:
        """Sum over the images of this micro-batch."""
        ...

    def correct(self, outputs: Tensor, targets: Tensor) -> float:
        """How many images of this micro-batch are answered right."""
        ...


class LabelObjective:
    """Cross-entropy against the classes of the images.

    softmax: -sum_y w_y t_y log softmax(x)_y, as torch.nn.functional.cross_entropy with soft targets. sigmoid: the
    cross-entropies of all classes, each by itself, summed (big_vision/utils.py, sigmoid_xent); sigmoid-mean: their mean
    (timm.loss.BinaryCrossEntropy, DeiT-III). A sigmoid loss also rests on the classes that an image does not show, so
    there the whole image counts by the mean weight of those that it shows.

    Args:
        loss: which cross-entropy.
        weights: what each class counts, or None for 1 each (see `balanced_weights`).
    """

    def __init__(self, loss: Loss = "softmax", weights: Float[Tensor, " Y"] | None = None) -> None:
        self.kind: Loss = loss
        self.weights = weights

    def loss(self, outputs: Float[Tensor, "B Y"], targets: Float[Tensor, "B Y"]) -> Float[Tensor, ""]:
        """Sum over the images."""
        targets = targets.to(outputs)
        weights = None if self.weights is None else self.weights.to(outputs)
        if self.kind == "softmax":
            return F.cross_entropy(outputs, targets, weight=weights, reduction="sum")
        each = F.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
        rows = each.sum(dim=1) if self.kind == "sigmoid" else each.mean(dim=1)
        return rows.sum() if weights is None else rows @ _mean_weight(targets, weights)

    def correct(self, outputs: Float[Tensor, "B Y"], targets: Float[Tensor, "B Y"]) -> float:
        """How many images have their largest output where their target is largest, which may be in several places.

        An image that shows no class is answered right by none.
        """
        targets = targets.to(outputs.device)
        answers, largest = targets.gather(1, outputs.argmax(dim=1, keepdim=True)).squeeze(1), targets.amax(dim=1)
        return float(((answers == largest) & (largest > 0)).sum())


def targets_of(labels: Int[Tensor, " B"], num_classes: int, label_smoothing: float = 0.0) -> Float[Tensor, "B Y"]:
    """Labels as rows of probabilities: smoothing / Y for every class, the rest for the true one (timm/data/mixup.py).

    Args:
        labels: class indices.
        num_classes: Y.
        label_smoothing: probability taken from the true class and spread over all.
    """
    off = label_smoothing / num_classes
    rows = torch.full((len(labels), num_classes), off, device=labels.device)
    return rows.scatter_(1, labels[:, None].long(), 1.0 - label_smoothing + off)


def wanted(
    labels: Int[np.ndarray, " B"],
    targets: Float32[np.ndarray, "B Y"] | None,
    num_classes: int,
    label_smoothing: float = 0.0,
) -> Float[Tensor, "B Y"]:
    """What the model should answer: one class for each image, or what the images' own targets say, smoothed alike.

    Args:
        labels: class indices.
        targets: shares of classes, or ones where an image shows a class; None where each image has its label only.
        num_classes: Y.
        label_smoothing: taken from each and spread over all.
    """
    if targets is None:
        return targets_of(torch.from_numpy(labels), num_classes, label_smoothing)
    return torch.from_numpy(targets) * (1.0 - label_smoothing) + label_smoothing / num_classes


def balanced_weights(counts: Int[Tensor, " Y"]) -> Float[Tensor, " Y"]:
    """What an image of each class counts so that all classes count alike: N / (Y n_y), 1 in the mean over the images.

    The rule of sklearn.utils.class_weight.compute_class_weight("balanced") (King and Zeng, 2001).

    Args:
        counts: training images of each class, n_y.

    Raises:
        DataError: a class has no images.
    """
    if missing := (counts == 0).nonzero().flatten().tolist():
        raise DataError(
            f"{len(missing)} of {len(counts)} classes have no training images, class number {missing[0]} among them",
            why="balanced class weights divide by the number of images",
            remedy="--class-weights none",
        )
    return (counts.sum() / (len(counts) * counts.double())).float()


def _mean_weight(targets: Float[Tensor, "B Y"], weights: Float[Tensor, " Y"]) -> Float[Tensor, " B"]:
    """What each image counts: the weights of its classes by their share of its target; 1 where it shows none."""
    shown = targets.sum(dim=1)
    return torch.where(shown > 0, targets @ weights / shown.clamp(min=torch.finfo(shown.dtype).tiny), 1.0)

"""Which block of a frozen model knows most about some images: nearest neighbours and least squares on each."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from vitreous.console import Progress
from vitreous.errors import UsageError
from vitreous.evaluation.features import FrozenFeatures
from vitreous.evaluation.fewshot import least_squares
from vitreous.evaluation.knn import HEADLINE, knn
from vitreous.evaluation.metrics import wilson_interval


@dataclass(frozen=True, eq=False, kw_only=True)
class Layer:
    """What one block knows."""

    layer: int
    """Its place from 0."""
    knn: float
    """Accuracy of the 20 nearest neighbours."""
    knn_interval: tuple[float, float]
    least_squares: float
    """Accuracy of regularised least squares on all training images, in closed form."""
    least_squares_interval: tuple[float, float]
    knn_right: Bool[np.ndarray, " N"]
    right: Bool[np.ndarray, " N"]
    """Which test images least squares named rightly."""


def layer_by_layer(train: FrozenFeatures, test: FrozenFeatures) -> tuple[Layer, ...]:
    """Every block's class token, or the mean of its patches where there is none, scored in two ways that tune nothing.

    Args:
        train: features to learn from, with blocks in `by_layer`.
        test: features to score on, with the same blocks.

    Raises:
        UsageError: there are no features of blocks.
    """
    if not train.by_layer:
        raise UsageError("there are no blocks to look at", why="only a ViT's and a ResNet's blocks are known")
    found = []
    with Progress("layer by layer", len(train.by_layer), "blocks") as progress:
        for layer in sorted(train.by_layer):
            one = dataclasses.replace(train, pooled=train.by_layer[layer][0])
            other = dataclasses.replace(test, pooled=test.by_layer[layer][0])
            near = knn(one, other, neighbours=(HEADLINE,)).headline
            fitted = least_squares(one.pooled, one.labels, len(one.classes))
            right = fitted.predict(other.pooled) == other.labels
            found.append(
                Layer(
                    layer=layer,
                    knn=near.top1,
                    knn_interval=near.interval,
                    least_squares=float(right.mean()),
                    least_squares_interval=wilson_interval(int(right.sum()), len(right)),
                    knn_right=near.right,
                    right=right,
                )
            )
            progress.advance(1)
    return tuple(found)

"""What can be had without a network on the same images: the commonest class, and logistic regression on pixels."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image

from vitreous.data.sources import ImageSet
from vitreous.errors import ImageError
from vitreous.results import Baseline

_SIDE = 16  # photos are shrunk to this many pixels a side; smaller images are taken as they are
_NATIVE = 32
_MOST_TRAIN = 4_000
_MOST_TEST = 20_000


def majority_baseline(train: ImageSet, test: ImageSet) -> Baseline:
    """The score of always answering the class that is commonest in training.

    Args:
        train: decides which class that is.
        test: is scored.
    """
    commonest = int(np.bincount(train.labels, minlength=len(train.classes)).argmax())
    name = train.classes[commonest]
    share = float((test.labels == commonest).mean()) if len(test) else 0.0
    return Baseline(name="always the commonest class", top1=share, explained=f"every image is called {name!r}")


def pixel_baseline(train: ImageSet, test: ImageSet, *, seed: int = 0) -> Baseline:
    """The score of multinomial logistic regression on raw pixels (L2, C = 1, as scikit-learn's default).

    Args:
        train: fitted on, or on a seeded part of it where it is large.
        test: scored on, or on a seeded part of it where it is very large.
        seed: decides which parts.
    """
    fitted, scored = _sample(train, _MOST_TRAIN, seed), _sample(test, _MOST_TEST, seed)
    side = _side(train, fitted)
    x, y = _pixels(train, fitted, side)
    inputs, labels = _pixels(test, scored, side)
    if (x == x[..., :1]).all():  # grey: one channel, or the penalty would be a third of scikit-learn's
        x, inputs = x[..., :1], inputs[..., :1]
    weight, bias = fit_logistic(x.reshape(len(x), -1), y, len(train.classes))
    answers = (inputs.reshape(len(inputs), -1) @ weight.T + bias).argmax(axis=1)
    share = float((answers == labels).mean()) if len(labels) else 0.0
    size = f"{side[0]} x {side[1]} pixels"
    return Baseline(
        name="logistic regression on pixels",
        top1=share,
        explained=f"fitted to {size} of {len(y):,} training images, scored on {len(labels):,}",
    )


def fit_logistic(
    inputs: Float[np.ndarray, "N P"], labels: Int[np.ndarray, " N"], num_classes: int, *, strength: float = 1.0
) -> tuple[Float[np.ndarray, "Y P"], Float[np.ndarray, " Y"]]:
    """Weights and biases that minimise |W|^2 / 2 + C * sum of cross-entropies; biases are not penalised.

    Args:
        inputs: features.
        labels: classes.
        num_classes: Y.
        strength: C.
    """
    x, y = torch.from_numpy(inputs).double(), torch.from_numpy(labels)
    weight = torch.zeros(num_classes, x.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(num_classes, dtype=torch.float64, requires_grad=True)
    # divided by N * C, which moves no minimum and keeps the steps of a sensible size
    scale = 1.0 / (strength * max(len(y), 1))
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=300, tolerance_grad=1e-6, tolerance_change=1e-10, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        solver.zero_grad()
        value = torch.nn.functional.cross_entropy(x @ weight.T + bias, y) + 0.5 * scale * weight.square().sum()
        value.backward()
        return value

    solver.step(loss)
    return weight.detach().numpy(), bias.detach().numpy()


def _sample(images: ImageSet, most: int, seed: int) -> np.ndarray:
    if len(images) <= most:
        return np.arange(len(images))
    return np.sort(np.random.default_rng([seed, most]).permutation(len(images))[:most])


def _side(images: ImageSet, chosen: np.ndarray) -> tuple[int, int]:
    """Their own size where all of a few are small and alike; 16 x 16 otherwise."""
    height, width = images.read(int(chosen[0])).shape[:2]
    return (height, width) if max(height, width) <= _NATIVE else (_SIDE, _SIDE)


def _pixels(images: ImageSet, chosen: np.ndarray, side: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, h, w, 3) in [0, 1] and labels."""
    rows, labels = [], []
    for index in chosen:
        try:
            image = images.read(int(index))
        except ImageError:  # the evaluation that this stands beside has named it
            continue
        if image.shape[:2] != side:
            small = Image.fromarray(image).resize((side[1], side[0]), Image.Resampling.BOX)
            image = np.asarray(small)
        rows.append(image)
        labels.append(int(images.labels[int(index)]))
    return np.stack(rows) / 255.0, np.array(labels, np.int64)

"""One linear layer on frozen features, tuned as DINOv2 tunes it: a grid trained together, chosen on images held out.

facebookresearch/dinov2, dinov2/eval/linear.py and dinov2/eval/log_regression.py. No test image chooses anything: a
tenth of the training images does, then the chosen point learns from all of them and is tested once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int, Int64
from torch import Tensor

from vitreous.console import Progress
from vitreous.errors import DataError, UsageError
from vitreous.evaluation.baseline import fit_logistic
from vitreous.evaluation.features import FrozenFeatures
from vitreous.evaluation.metrics import wilson_interval

RATES = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1)
"""DINOv2's learning rates, for a batch of 256."""
BATCH = 128
BLOCKS = (1, 4)
"""How many of the last blocks a head may read."""
HELD_OUT = 0.1

_MOMENTUM, _DEVIATION = 0.9, 0.01
_MOST_STEPS, _LEAST_STEPS, _EPOCHS = 12_500, 250, 100
_BLOCK = 4096  # images scored at a time, or fewer
_SCORES = 1 << 22  # of all heads together at a time: 32 MB in float64
_LOOKED_AT = 64  # rows that show whether two kinds of features are the same


@dataclass(frozen=True, kw_only=True, slots=True)
class GridPoint:
    """One head of the grid."""

    reads: str
    """What it reads, in words."""
    blocks: int
    """How many of the last blocks; 0 for what the model's own head reads."""
    mean: bool
    """Whether the mean of the last block's patches is read as well."""
    rate: float
    """Learning rate for a batch of 256; it is scaled to the batch in use."""
    top1: float | None
    """Accuracy on the images held out to choose; None where training diverged."""
    loss: float | None
    """Mean cross-entropy there."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LinearProbe:
    """A linear layer chosen among many, and tested once."""

    top1: float
    interval: tuple[float, float]
    """95 % Wilson interval."""
    chosen: GridPoint
    grid: tuple[GridPoint, ...]
    steps: int
    learned: int
    """Images that the chosen point learned from."""
    chose: int
    """Images that chose it, which are among those."""
    seen: int
    expected: int
    right: Bool[np.ndarray, " N"]


@dataclass(frozen=True, eq=False, kw_only=True)
class LogisticProbe:
    """L2-penalised logistic regression, its penalty chosen on images held out, tested once."""

    top1: float
    interval: tuple[float, float]
    """95 % Wilson interval."""
    inverse_penalty: float
    """C."""
    grid: tuple[tuple[float, float], ...]
    """(C, accuracy on the images held out to choose)."""
    learned: int
    chose: int
    seen: int
    expected: int
    right: Bool[np.ndarray, " N"]


@dataclass(frozen=True, eq=False)
class _Input:
    """What some heads read: parts of features side by side."""

    reads: str
    blocks: int
    mean: bool
    train: tuple[np.ndarray, ...]
    test: tuple[np.ndarray, ...]


def linear_probe(
    train: FrozenFeatures,
    test: FrozenFeatures,
    *,
    choose_on: Int[np.ndarray, " c"] | None = None,
    rates: Sequence[float] = RATES,
    steps: int | None = None,
    seed: int = 0,
) -> LinearProbe:
    """DINOv2's grid: rates x the last 1 or 4 blocks' class tokens x with or without the mean of the patches.

    SGD with momentum 0.9, rates times batch / 256, cosine to 0, weights from N(0, 0.01^2), no penalty. A model without
    a class token has no grid over means, which its heads read anyway; features without blocks have one input, and where
    a model's own head reads something else than its last block (attention pooling, a tanh layer), that is one more.

    Args:
        train: features to learn from, with the last four blocks in `by_layer`, or none.
        test: features to score on once.
        choose_on: rows of `train` that choose; by default a tenth of each class, drawn by the seed.
        rates: learning rates for a batch of 256.
        steps: of SGD; by default 100 passes over the training images, at least 250 and at most DINOv2's 12,500.
        seed: of the weights, the order and the choice.

    Raises:
        DataError: classes differ, too few images to hold any out, or training diverged.
        UsageError: there is nothing to try.
    """
    if not rates or min(rates) <= 0 or (steps is not None and steps < 1):
        raise UsageError("a linear probe needs learning rates above 0, and steps")
    held = _held(train, test, choose_on, seed)
    learn = np.flatnonzero(~held)
    choose = np.flatnonzero(held)
    if steps is None:
        steps = min(_MOST_STEPS, max(_LEAST_STEPS, math.ceil(_EPOCHS * len(train.labels) / BATCH)))
    inputs = _inputs(train, test)
    num_classes, grid = len(train.classes), list[GridPoint]()
    with Progress("linear probe", steps * (len(inputs) + 1), "steps") as progress:
        for one in inputs:
            heads = _trained(one.train, train.labels, learn, num_classes, rates, steps, seed, progress)
            grid += _points(one, heads, train.labels, choose, rates)
        best = max(grid, key=lambda point: (-1.0, 0.0) if point.top1 is None else (point.top1, -(point.loss or 0.0)))
        if best.top1 is None:
            raise DataError("no linear probe could be trained: every learning rate diverged")
        one = next(one for one in inputs if (one.blocks, one.mean) == (best.blocks, best.mean))
        every = np.arange(len(train.labels))
        heads = _trained(one.train, train.labels, every, num_classes, [best.rate], steps, seed, progress)
    answers = []
    for _, logits in heads.scores(one.test, np.arange(len(test.labels))):
        if not logits.isfinite().all():
            raise DataError("the linear probe diverged when it learned from all images")
        answers.append(logits[:, 0].argmax(dim=1).numpy())
    right = np.concatenate(answers) == test.labels
    return LinearProbe(
        top1=float(right.mean()),
        interval=wilson_interval(int(right.sum()), len(right)),
        chosen=best,
        grid=tuple(grid),
        steps=steps,
        learned=len(every),
        chose=len(choose),
        seen=len(right),
        expected=test.expected,
        right=right,
    )


def penalties(count: int = 45) -> tuple[float, ...]:
    """DINOv2's values of C: 10^-6 to 10^5, evenly on a logarithmic scale.

    Args:
        count: how many.
    """
    return tuple(np.logspace(-6, 5, count).tolist())


def logistic_probe(
    train: FrozenFeatures,
    test: FrozenFeatures,
    *,
    choose_on: Int[np.ndarray, " c"] | None = None,
    inverse_penalties: Sequence[float] | None = None,
    seed: int = 0,
) -> LogisticProbe:
    """Logistic regression with the penalty that does best on a tenth of the training images, fitted to all of them.

    Of equally good values the smallest C, the most cautious, is taken.

    Args:
        train: features to learn from.
        test: features to score on once.
        choose_on: rows of `train` that choose; by default a tenth of each class, drawn by the seed.
        inverse_penalties: values of C; by default DINOv2's 45.
        seed: of the choice.

    Raises:
        DataError: classes differ, or too few images to hold any out.
    """
    held = _held(train, test, choose_on, seed)
    values = sorted(inverse_penalties or penalties())
    x, y = np.asarray(train.pooled, np.float64), train.labels
    learn, choose = x[~held], x[held]
    grid = []
    with Progress("logistic regression", len(values), "penalties") as progress:
        for value in values:
            named = _fitted(learn, y[~held], choose, value)
            grid.append((value, float((named == y[held]).mean())))
            progress.advance(1)
    del learn, choose
    best = max(grid, key=lambda point: (point[1], -point[0]))[0]
    right = _fitted(x, y, test.pooled, best) == test.labels
    return LogisticProbe(
        top1=float(right.mean()),
        interval=wilson_interval(int(right.sum()), len(right)),
        inverse_penalty=best,
        grid=tuple(grid),
        learned=len(y),
        chose=int(held.sum()),
        seen=len(right),
        expected=test.expected,
        right=right,
    )


def logistic_operations(images: int, width: int, num_classes: int) -> float:
    """Floating-point operations that `logistic_probe` takes at most, about.

    Args:
        images: to learn from.
        width: of the features.
        num_classes: Y.
    """
    return 45 * 250 * 4.0 * images * width * num_classes


def held_out_rows(labels: Int[np.ndarray, " N"], share: float, seed: int) -> Int64[np.ndarray, " c"]:
    """Rows that choose and do not teach meanwhile: a share of each class, at least one, none where a class has one.

    Args:
        labels: classes.
        share: between 0 and 1.
        seed: another seed, another choice.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for label in np.unique(labels):
        places = generator.permutation(np.flatnonzero(labels == label))
        rows.append(places[: min(max(int(share * len(places) + 0.5), 1), len(places) - 1)])
    return np.sort(np.concatenate(rows)).astype(np.int64)


class _Heads:
    """Linear heads that read the same features, trained together.

    Args:
        width: of what they read.
        num_classes: Y.
        rates: one head for each, already scaled to the batch.
        generator: draws the weights.
    """

    def __init__(self, width: int, num_classes: int, rates: Sequence[float], generator: torch.Generator) -> None:
        drawn = torch.empty(width, 1, num_classes).normal_(0.0, _DEVIATION, generator=generator)
        self.weights = drawn.repeat(1, len(rates), 1)
        self.bias = torch.zeros(len(rates), num_classes)
        self._rates = torch.tensor(rates)[:, None]
        self._speeds = (torch.zeros_like(self.weights), torch.zeros_like(self.bias))

    def step(self, x: Float32[Tensor, "B D"], y: Int64[Tensor, " B"], decay: float) -> None:
        """One step of SGD with momentum on the mean cross-entropy of each head by itself.

        Args:
            x: features.
            y: classes.
            decay: what the rates are multiplied by.
        """
        slope = self(x).softmax(dim=2)
        slope[torch.arange(len(y)), :, y] -= 1.0
        slope /= len(y)
        gradients = ((x.T @ slope.flatten(1)).view_as(self.weights), slope.sum(dim=0))
        for value, speed, gradient in zip((self.weights, self.bias), self._speeds, gradients, strict=True):
            speed.mul_(_MOMENTUM).add_(gradient)
            value.sub_(speed * (self._rates * decay))

    def __call__(self, x: Float32[Tensor, "B D"]) -> Float32[Tensor, "B R Y"]:
        """Logits of every head."""
        return (x @ self.weights.flatten(1)).view(len(x), *self.bias.shape) + self.bias

    def scores(
        self, parts: tuple[np.ndarray, ...], rows: Int[np.ndarray, " n"]
    ) -> Iterator[tuple[Int[np.ndarray, " b"], Float32[Tensor, "b R Y"]]]:
        """Rows and their logits, block by block.

        Args:
            parts: features side by side.
            rows: which of them.
        """
        size = max(1, min(_BLOCK, _SCORES // self.bias.numel()))
        for first in range(0, len(rows), size):
            block = rows[first : first + size]
            yield block, self(_gathered(parts, block))


def _trained(
    parts: tuple[np.ndarray, ...],
    labels: Int[np.ndarray, " N"],
    rows: Int[np.ndarray, " n"],
    num_classes: int,
    rates: Sequence[float],
    steps: int,
    seed: int,
    progress: Progress,
) -> _Heads:
    batch = min(BATCH, len(rows))
    scaled = [rate * batch / 256 for rate in rates]
    width = sum(part.shape[1] for part in parts)
    heads = _Heads(width, num_classes, scaled, torch.Generator().manual_seed(seed))
    order, epoch = np.empty(0, np.int64), 0
    for step in range(steps):
        if len(order) < batch:  # epochs follow each other without a short batch in between
            order = np.concatenate([order, np.random.default_rng((seed, epoch)).permutation(rows)])
            epoch += 1
        some, order = order[:batch], order[batch:]
        decay = (1 + math.cos(math.pi * step / steps)) / 2
        heads.step(_gathered(parts, some), torch.from_numpy(labels[some]), decay)
        progress.advance(1)
    return heads


def _points(
    one: _Input, heads: _Heads, labels: Int[np.ndarray, " N"], rows: Int[np.ndarray, " n"], rates: Sequence[float]
) -> list[GridPoint]:
    losses, right = torch.zeros(len(rates), dtype=torch.float64), torch.zeros(len(rates), dtype=torch.float64)
    for block, logits in heads.scores(one.train, rows):
        truth = torch.from_numpy(labels[block])
        losses -= logits.double().log_softmax(dim=2)[torch.arange(len(truth)), :, truth].sum(dim=0)
        right += (logits.argmax(dim=2) == truth[:, None]).sum(dim=0)
    return [
        GridPoint(
            reads=one.reads,
            blocks=one.blocks,
            mean=one.mean,
            rate=rate,
            top1=float(share) if math.isfinite(loss) else None,
            loss=float(loss) if math.isfinite(loss) else None,
        )
        for rate, share, loss in zip(rates, (right / len(rows)).tolist(), (losses / len(rows)).tolist(), strict=True)
    ]


def _inputs(train: FrozenFeatures, test: FrozenFeatures) -> list[_Input]:
    """What heads may read: DINOv2's create_linear_input, and what the model's own head reads where that differs."""
    if not train.by_layer:
        return [_Input(train.reads, 0, False, (train.pooled,), (test.pooled,))]
    layers = sorted(train.by_layer)
    found = []
    final = train.by_layer[layers[-1]]
    token = not np.array_equal(final[0][:_LOOKED_AT], final[1][:_LOOKED_AT])
    for count in sorted({min(blocks, len(layers)) for blocks in BLOCKS}):
        last = layers[-count:]
        what = "class token" if token else "mean of the patches"
        words = f"{what} of the last block" if count == 1 else f"{what}s of the last {count} blocks"
        for mean in (False, True) if token else (False,):
            extra = [layers[-1]] if mean else []
            found.append(
                _Input(
                    words + (", mean of the patches" if mean else ""),
                    count,
                    mean,
                    *(
                        (*(side.by_layer[i][0] for i in last), *(side.by_layer[i][1] for i in extra))
                        for side in (train, test)
                    ),
                )
            )
    if not any(np.array_equal(train.pooled[:_LOOKED_AT], part[:_LOOKED_AT]) for part in final):
        found.append(_Input(train.reads, 0, False, (train.pooled,), (test.pooled,)))
    return found


def _gathered(parts: tuple[np.ndarray, ...], rows: Int[np.ndarray, " b"]) -> Float32[Tensor, "b W"]:
    return torch.from_numpy(np.concatenate([part[rows] for part in parts], axis=1))


def _held(
    train: FrozenFeatures, test: FrozenFeatures, choose_on: Int[np.ndarray, " c"] | None, seed: int
) -> Bool[np.ndarray, " N"]:
    if train.classes != test.classes:
        raise DataError("the classes of the training and of the test features differ")
    rows = held_out_rows(train.labels, HELD_OUT, seed) if choose_on is None else choose_on
    held = np.zeros(len(train.labels), bool)
    held[rows] = True
    if not held.any() or held.all():
        raise DataError(
            "there are too few training images to hold some out that choose",
            why=f"{len(train.labels):,} images in {len(np.unique(train.labels)):,} classes",
            remedy="two images or more of a class; nearest neighbours and few-shot need no choice",
        )
    return held


def _fitted(
    x: Float64[np.ndarray, "N D"], y: Int[np.ndarray, " N"], asked: Float[np.ndarray, "M D"], value: float
) -> Int64[np.ndarray, " M"]:
    """Classes of `asked`; a class without an example to learn from is never the answer."""
    known, targets = np.unique(y, return_inverse=True)
    if len(known) == 1:
        return np.full(len(asked), known[0], np.int64)
    fitted = fit_logistic(x, targets, inverse_penalty=value)
    blocks = [asked[first : first + _BLOCK] for first in range(0, len(asked), _BLOCK)]
    return np.concatenate(
        [known[fitted.probabilities(np.asarray(some, np.float64)).argmax(axis=1)] for some in blocks]
    ).astype(np.int64)

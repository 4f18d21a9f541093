"""Few-shot linear classification in closed form, as the ViT paper's Figures 3 and 4 measure representations.

Regularised least squares to {-1, 1}^Y on frozen features (section 4.1 of the paper), in every number as
big_vision/evaluators/fewshot_lsr.py: which images are learned from, how features are scaled, the bias, the penalty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int64

from vitreous.errors import DataError, UsageError
from vitreous.evaluation.features import FrozenFeatures
from vitreous.evaluation.metrics import wilson_interval

BIAS = 100.0
"""A feature that is the same for every image; so large that the penalty hardly holds its weight."""

L2 = 1024.0
"""big_vision's penalty, 2^10."""

SHOTS, SEEDS = (1, 5, 10, 25), (0, 1, 2)

_EPSILON = 1e-5  # added to standard deviations
_BLOCK = 4096  # images scored at a time


@dataclass(frozen=True, eq=False, kw_only=True)
class LeastSquares:
    """A fitted linear map from standardised features to one score per class."""

    mean: Float64[np.ndarray, " D"]
    deviation: Float64[np.ndarray, " D"]
    """Population standard deviation of the training features, plus 1e-5."""
    weights: Float64[np.ndarray, "D1 Y"]
    """One row per feature, and a last one for the bias feature."""

    def scores(self, x: Float[np.ndarray, "N D"]) -> Float64[np.ndarray, "N Y"]:
        """Near 1 for the class of an image, near -1 for others.

        Args:
            x: features as those it was fitted on.
        """
        standard = (np.asarray(x, np.float64) - self.mean) / self.deviation
        return standard @ self.weights[:-1] + BIAS * self.weights[-1]

    def predict(self, x: Float[np.ndarray, "N D"]) -> Int64[np.ndarray, " N"]:
        """The class of the largest score for each image, block by block; the first of equal ones.

        Args:
            x: features as those it was fitted on; may be a memory map.
        """
        answers = np.empty(len(x), np.int64)
        for first in range(0, len(x), _BLOCK):
            answers[first : first + _BLOCK] = self.scores(x[first : first + _BLOCK]).argmax(axis=1)
        return answers


@dataclass(frozen=True, eq=False, kw_only=True)
class Shots:
    """What so many examples of each class teach."""

    shots: int
    """Examples per class."""
    top1: float
    """Mean accuracy over the seeds."""
    spread: float
    """Sample standard deviation over the seeds; 0 for one."""
    per_seed: tuple[float, ...]
    interval: tuple[float, float]
    """95 % Wilson interval of the mean, as if the test images were the only chance in it."""
    learned: int
    """Images learned from, of all classes together."""
    right: Bool[np.ndarray, "S N"]
    """For each seed which test images were named rightly."""


@dataclass(frozen=True, eq=False, kw_only=True)
class FewShot:
    """Few-shot accuracies of one model on one set of images."""

    points: tuple[Shots, ...]
    seeds: tuple[int, ...]
    l2: float
    seen: int
    """Test images scored."""
    expected: int
    notes: tuple[str, ...] = ()
    """Classes with too few examples and the like, one sentence each."""


def few_shot(
    train: FrozenFeatures,
    test: FrozenFeatures,
    *,
    shots: Sequence[int] = SHOTS,
    seeds: Sequence[int] = SEEDS,
    l2: float = L2,
) -> FewShot:
    """Accuracy on all test images after so many training images per class, for each seed.

    A class with fewer images than asked gives all it has, as in big_vision, and a note says so; a number of shots that
    no class has is left out, since it would repeat the one before.

    Args:
        train: features to draw examples from.
        test: features to score on, with the same classes.
        shots: examples per class, each 1 or more.
        seeds: of the draw; for one seed the examples of fewer shots are among those of more.
        l2: penalty.

    Raises:
        UsageError: shots or seeds make no sense.
        DataError: classes differ.
    """
    _check(train, test, shots, seeds)
    num_classes = len(train.classes)
    counts = np.bincount(train.labels, minlength=num_classes)
    asked = sorted(set(shots))
    possible = [number for number in asked if number <= counts.max()] or asked[:1]
    notes = _notes(counts, asked, possible)
    drawn = {seed: draw(train.labels, num_classes, seed) for seed in seeds}
    points = []
    for number in possible:
        right, learned = [], 0
        for seed in seeds:
            rows = np.concatenate([places[:number] for places in drawn[seed]])
            fitted = least_squares(train.pooled[rows], train.labels[rows], num_classes, l2=l2)
            right.append(fitted.predict(test.pooled) == test.labels)
            learned = len(rows)
        points.append(_point(number, learned, np.stack(right)))
    return FewShot(
        points=tuple(points),
        seeds=tuple(seeds),
        l2=l2,
        seen=len(test.labels),
        expected=test.expected,
        notes=tuple(notes),
    )


def draw(labels: Int[np.ndarray, " N"], num_classes: int, seed: int) -> list[Int64[np.ndarray, " _"]]:
    """For each class its images in a drawn order: the first k of each are a draw of k shots, and part of that of k + 1.

    One generator goes through the classes in their order, as in big_vision.

    Args:
        labels: of all images that may be drawn.
        num_classes: of which some may have no images.
        seed: of numpy.random.default_rng.
    """
    generator = np.random.default_rng(seed)
    return [generator.permutation(np.flatnonzero(labels == label)) for label in range(num_classes)]


def least_squares(
    x: Float[np.ndarray, "N D"], y: Int[np.ndarray, " N"], num_classes: int, *, l2: float = L2
) -> LeastSquares:
    """Ridge regression on one-hot targets of -1 and 1, in closed form in float64.

    Features are standardised by the mean and standard deviation of these images (population, plus 1e-5) and get a
    constant one of 100. W = (X'X + l2 I)^-1 X'Y by the eigenvectors of X'X or, with fewer images than features,
    X'(XX' + l2 I)^-1 Y by those of XX'. Memory grows with the square of the features, not with the images.

    Args:
        x: features of the examples; may be a memory map.
        y: their classes.
        num_classes: Y; a class without an example is never the answer where another fits better.
        l2: penalty, above 0; it holds the bias as well.
    """
    if l2 <= 0:
        raise UsageError(f"the penalty must be above 0, got {l2:g}")
    blocks = [slice(first, first + _BLOCK) for first in range(0, len(x), _BLOCK)]
    mean = sum((x[block].sum(axis=0, dtype=np.float64) for block in blocks), np.zeros(x.shape[1])) / len(x)
    squares = (np.square(x[block] - mean).sum(axis=0) for block in blocks)
    deviation = np.sqrt(sum(squares, np.zeros(x.shape[1])) / len(x)) + _EPSILON

    def part(block: slice) -> tuple[Float64[np.ndarray, "b D1"], Float64[np.ndarray, "b Y"]]:
        X = np.concatenate([(x[block] - mean) / deviation, np.full((len(x[block]), 1), BIAS)], axis=1)
        return X, np.where(np.arange(num_classes) == y[block, None], 1.0, -1.0)

    if len(x) > x.shape[1]:  # N >= D, the bias counted among the features
        gram, moment = np.zeros((x.shape[1] + 1,) * 2), np.zeros((x.shape[1] + 1, num_classes))
        for block in blocks:
            X, Y = part(block)
            gram += X.T @ X
            moment += X.T @ Y
        values, vectors = np.linalg.eigh(gram)
        weights = vectors @ ((vectors.T @ moment) / (values + l2)[:, None])
    else:
        X, Y = part(slice(None))
        values, vectors = np.linalg.eigh(X @ X.T)
        weights = X.T @ (vectors @ ((vectors.T @ Y) / (values + l2)[:, None]))
    return LeastSquares(mean=mean, deviation=deviation, weights=weights)


def _point(number: int, learned: int, right: Bool[np.ndarray, "S N"]) -> Shots:
    per_seed = right.mean(axis=1)
    tested = right.shape[1]
    return Shots(
        shots=number,
        top1=float(per_seed.mean()),
        spread=float(per_seed.std(ddof=1)) if len(per_seed) > 1 else 0.0,
        per_seed=tuple(per_seed.tolist()),
        interval=wilson_interval(round(float(per_seed.mean()) * tested), tested),
        learned=learned,
        right=right,
    )


def _notes(counts: Int[np.ndarray, " Y"], asked: Sequence[int], possible: Sequence[int]) -> list[str]:
    notes = []
    if len(possible) < len(asked):
        left_out = ", ".join(map(str, asked[len(possible) :]))
        notes.append(f"few-shot with {left_out} left out: no class has more than {counts.max():,} training images")
    for number in possible:
        if few := int((counts < number).sum()):
            notes.append(
                f"{number}-shot: {few:,} of {len(counts):,} classes have fewer than {number} training images, and give"
                " all they have"
            )
    return notes


def _check(train: FrozenFeatures, test: FrozenFeatures, shots: Sequence[int], seeds: Sequence[int]) -> None:
    if not shots or min(shots) < 1:
        raise UsageError(f"shots must be 1 or more, got {', '.join(map(str, shots)) or 'none'}")
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise UsageError(f"seeds must be different numbers from 0, got {', '.join(map(str, seeds)) or 'none'}")
    if train.classes != test.classes:
        raise DataError("the classes of the training and of the test features differ")

"""What can be had without the model: the majority class, and logistic regression on pixels."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float64, Int, UInt8
from torch import Tensor

from vitreous.architecture import Size
from vitreous.config import PreprocessConfig
from vitreous.data.classes import match_classes
from vitreous.data.feeding.loader import evaluation_batches
from vitreous.data.feeding.threads import num_readers
from vitreous.data.imageset import ImageSet
from vitreous.errors import DataError, ImageError
from vitreous.results import Baseline

_SIDE = 16  # pixels that larger images are shrunk to
_MOST_IMAGES = 5000  # to learn from
_MOST_SCORED = 20_000
_MOST_STEPS = 200


@dataclasses.dataclass(frozen=True)
class LogisticRegression:
    """A fitted multinomial logistic regression."""

    weights: Float64[Tensor, "D Y"]
    bias: Float64[Tensor, " Y"]

    def probabilities(self, features: Float64[np.ndarray, "N D"]) -> Float64[np.ndarray, "N Y"]:
        """One row per example, summing to 1.

        Args:
            features: as those it was fitted on.
        """
        return (torch.from_numpy(features) @ self.weights + self.bias).softmax(dim=1).numpy()


def majority_baseline(train: ImageSet, test: ImageSet) -> Baseline:
    """Always say the most frequent class of the training images.

    Args:
        train: what may be learned from.
        test: what is scored on; its classes are matched by name.
    """
    test = match_classes(test, train.classes, known_to=train.name)
    most = int(np.argmax(train.counts))
    right = test.counts[most] if test.several else (test.labels == most).sum()
    return Baseline(
        name="majority class",
        top1=float(right / len(test)),
        explained=f"always answers {train.classes[most]}, the most frequent class among the training images",
    )


def pixel_baseline(train: ImageSet, test: ImageSet, *, seed: int) -> Baseline:
    """Multinomial logistic regression on pixels, at a bounded cost.

    Images up to 16 px keep their pixels, larger ones are squashed to 16 x 16; of more than 5,000 training images that
    many are drawn, and of more than 20,000 others that many are scored. Features are RGB in [0, 1]; the penalty is
    scikit-learn's default, C = 1.

    Args:
        train: what may be learned from.
        test: what is scored on; its classes are matched by name.
        seed: decides which training images are drawn.

    Raises:
        DataError: not one image of either can be read.
    """
    test = match_classes(test, train.classes, known_to=train.name)
    size = _pixel_size(train)
    drawn, scored = _drawn(train, seed, _MOST_IMAGES), _drawn(test, seed, _MOST_SCORED)
    pixels, labels = _pixels(drawn, size)
    test_pixels, truth = _pixels(scored, size)
    grey = _is_grey(pixels) and _is_grey(test_pixels)
    known, targets = np.unique(labels, return_inverse=True)  # a class may have lost all of its images in the draw
    fitted = fit_logistic(_features(pixels, grey=grey), targets)
    predicted = known[fitted.probabilities(_features(test_pixels, grey=grey)).argmax(axis=1)]
    part = (
        f"{len(labels):,}" if len(drawn) == len(train) else f"{len(labels):,} of {len(train):,}, drawn by seed {seed},"
    )
    return Baseline(
        name="logistic regression on pixels",
        top1=float((predicted == truth).mean()),
        explained=f"multinomial logistic regression (C = 1) on {size[0]} x {size[1]} RGB pixels, "
        f"fitted to {part} training images"
        + (f", scored on {len(scored):,} of {len(test):,}" if len(scored) < len(test) else ""),
    )


def fit_logistic(
    features: Float64[np.ndarray, "N D"], labels: Int[np.ndarray, " N"], *, inverse_penalty: float = 1.0
) -> LogisticRegression:
    """Multinomial logistic regression with an L2 penalty on the weights: scikit-learn's LogisticRegression.

    Minimises `C * sum of log losses + 0.5 * sum of squared weights` by L-BFGS in float64; the bias is free. For two
    classes scikit-learn penalises the difference of their weights instead, and so does this.

    Args:
        features: one row per example.
        labels: classes from 0, each with an example or more.
        inverse_penalty: C; the larger, the freer.
    """
    x = torch.from_numpy(features)
    centre = x.mean(dim=0)  # the free bias makes up for it, and the path to the optimum gets shorter
    x = x - centre
    y = torch.from_numpy(labels)
    weights = torch.zeros(x.shape[1], int(labels.max()) + 1, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(weights.shape[1], dtype=torch.float64, requires_grad=True)
    # |u - v|^2 is twice |u|^2 + |v|^2 where v = -u, as it is at the optimum
    penalty = (1.0 if weights.shape[1] == 2 else 0.5) / (inverse_penalty * len(y))
    optimizer = torch.optim.LBFGS(
        [weights, bias],
        max_iter=_MOST_STEPS,
        history_size=10,
        tolerance_grad=1e-6,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(x @ weights + bias, y) + penalty * weights.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    weights, bias = weights.detach(), bias.detach()
    return LogisticRegression(weights, bias - centre @ weights)


def _pixel_size(images: ImageSet) -> Size:
    """The first image's size where it is small; one size for all others."""
    try:
        height, width = images.read(0).shape[:2]
    except ImageError:  # counted and left out when its turn comes
        return _SIDE, _SIDE
    return (height, width) if max(height, width) <= _SIDE else (_SIDE, _SIDE)


def _drawn(images: ImageSet, seed: int, most: int) -> ImageSet:
    if len(images) <= most:
        return images
    return images.subset(np.sort(np.random.default_rng(seed).choice(len(images), most, replace=False)))


def _pixels(images: ImageSet, size: Size) -> tuple[UInt8[np.ndarray, "N h w 3"], Int[np.ndarray, " N"]]:
    """Every image that can be read at one size, and its true class."""
    preprocess = PreprocessConfig(image_size=size, resize="squash", interpolation="box")
    batches = evaluation_batches(images, preprocess=preprocess, batch_size=256, workers=num_readers(images))
    found = [(pixels, images.labels[places]) for places, pixels, _ in batches if len(places)]
    if not found:
        raise DataError("not one of the images can be read", where=images.name)
    return np.concatenate([pixels for pixels, _ in found]), np.concatenate([labels for _, labels in found])


def _features(pixels: UInt8[np.ndarray, "N h w 3"], *, grey: bool) -> Float64[np.ndarray, "N D"]:
    """RGB in [0, 1], one row per image."""
    if grey:  # three equal columns and one of sqrt(3) times their value have the same best fit, at a third of the cost
        return pixels[..., 0].reshape(len(pixels), -1) * (3**0.5 / 255)
    return pixels.reshape(len(pixels), -1) / 255


def _is_grey(pixels: UInt8[np.ndarray, "N h w 3"]) -> bool:
    return bool((pixels == pixels[..., :1]).all())

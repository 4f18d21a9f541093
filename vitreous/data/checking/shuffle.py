"""Whether labels have to do with images at all: a simple model with the labels as they are, and with shuffled ones.

The model is linear: least squares with a small penalty from 16 x 16 RGB thumbnails to one number for each class. What
it gets right by chance is known exactly: if its answers and the labels were matched at random, how many would agree has
the mean and variance of a matching of two lists (Hoeffding, Annals of Mathematical Statistics 22, 1951, theorem 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

import numpy as np
from jaxtyping import Float64, Int, UInt8

from vitreous.console import Progress
from vitreous.data.classes import match_classes
from vitreous.data.feeding.threads import at_work, in_order, num_cores
from vitreous.data.imageset import ImageSet
from vitreous.data.split import check_divisible, hold_out
from vitreous.errors import DataError, ImageError
from vitreous.picture.preprocess import resized
from vitreous.results import ShuffleTest

_SIDE = 16
_MOST = 5_000  # images to learn from, and as many to be scored on
_SHARE = 0.3  # held out where nobody has divided the images
_PENALTY = 1.0  # of features that lie between -0.5 and 0.5
_TELLING = 0.3  # the widest interval of chance that a failure can be read from
_DEVIATIONS = 3.29  # 99.9 % of a normal distribution


def shuffle_test(sets: Mapping[str, ImageSet], seed: int) -> ShuffleTest:
    """How often a simple model is right with the labels as they are, and with the same labels shuffled.

    Args:
        sets: by part, without images that cannot be read; of more than 5,000 in a part that many are drawn.
        seed: decides what is held out, drawn and shuffled.

    Raises:
        DataError: there are too few images or classes, or parts do not know the same classes.
    """
    train, held = _divided(sets, seed)
    rng = np.random.default_rng([seed, 12])  # a stream of its own
    train, held = _drawn(train, rng), _drawn(held, rng)
    with Progress("shuffle test", len(train) + len(held)) as progress:
        known, labels = _thumbnails(train, progress)
        asked, truth = _thumbnails(held, progress)
    centre = known.mean(axis=0)
    shuffled = rng.permutation(np.concatenate([labels, truth]))
    answers = _fit(known - centre, np.stack([labels, shuffled[: len(labels)]]), asked - centre)
    right = float((answers[0] == truth).mean())
    wrong = float((answers[1] == shuffled[len(labels) :]).mean())
    chance, shuffled_chance = (
        chance_interval(answers[0], truth),
        chance_interval(answers[1], shuffled[len(labels) :]),
    )
    above, quiet = right > chance[1], shuffled_chance[0] <= wrong <= shuffled_chance[1]
    telling = chance[1] - chance[0] < _TELLING
    return ShuffleTest(
        top1=right,
        chance=chance,
        shuffled_top1=wrong,
        shuffled_chance=shuffled_chance,
        passed=None if quiet and not above and not telling else above and quiet,
        explained=_explained(above=above, quiet=quiet, telling=telling),
        seen=len(truth),
    )


def chance_interval(answers: Int[np.ndarray, " n"], labels: Int[np.ndarray, " n"]) -> tuple[float, float]:
    """Where the share of right answers lies, 999 times of 1000, when answers have nothing to do with labels.

    Args:
        answers: classes.
        labels: classes.
    """
    total = len(labels)
    most = 1 + max(int(answers.max()), int(labels.max()))
    said, true = np.bincount(answers, minlength=most) / total, np.bincount(labels, minlength=most) / total
    mean = float(said @ true)
    # the sum over all cells of (agrees - row's mean - column's mean + mean) squared, over n - 1, by classes
    spread = mean - float((said * true) @ true) - float((said * said) @ true) + mean * mean
    half = _DEVIATIONS * (max(spread, 0.0) / max(total - 1, 1)) ** 0.5
    half += 0.5 / total  # counts are whole numbers
    return max(0.0, mean - half), min(1.0, mean + half)


def _divided(sets: Mapping[str, ImageSet], seed: int) -> tuple[ImageSet, ImageSet]:
    train = next(iter(sets.values()))
    if int((train.counts > 0).sum()) < 2:
        raise DataError("the shuffle test needs two classes with images", where=train.name)
    held = sets.get("test") or sets.get("val")
    if held is not None and len(held):
        return train, match_classes(held, train.classes, known_to=train.name)
    check_divisible(train)
    return hold_out(train, _SHARE, seed)


def _drawn(images: ImageSet, rng: np.random.Generator) -> ImageSet:
    if len(images) <= _MOST:
        return images
    return images.subset(np.sort(rng.choice(len(images), _MOST, replace=False)))


def _thumbnails(images: ImageSet, progress: Progress) -> tuple[Float64[np.ndarray, "n D"], Int[np.ndarray, " n"]]:
    """Every image that can be read as one row of numbers from 0 to 1, and its class."""

    def thumbnail(place: int) -> UInt8[np.ndarray, "16 16 3"] | None:
        at_work(images.ids[place])
        try:
            return resized(images.read(place), (_SIDE, _SIDE), "box")
        except ImageError:  # it was readable a moment ago; the check itself names such images
            return None

    rows, labels, workers = [], [], num_cores()
    with closing(in_order(thumbnail, range(len(images)), workers=workers, ahead=64 * workers)) as outcomes:
        for place, outcome in enumerate(outcomes):
            progress.advance()
            if outcome is not None:
                rows.append(outcome.ravel())
                labels.append(int(images.labels[place]))
    if not rows:
        raise DataError("not one of the images can be read", where=images.name)
    return np.stack(rows) / 255, np.array(labels, np.int64)


def _fit(
    known: Float64[np.ndarray, "n D"],
    labels: Int[np.ndarray, "ways n"],
    asked: Float64[np.ndarray, "m D"],
) -> Int[np.ndarray, "ways m"]:
    """Answers for the images asked, for each way in which those that are known are labelled."""
    inner = known.T @ known + _PENALTY * np.eye(known.shape[1])
    answers = []
    for row in labels:
        classes, places = np.unique(row, return_inverse=True)  # one that was never seen is never the answer
        wanted = np.zeros((len(row), len(classes)))
        wanted[np.arange(len(row)), places] = 1
        means = wanted.mean(axis=0)
        weights = np.linalg.solve(inner, known.T @ (wanted - means))
        answers.append(classes[(asked @ weights + means).argmax(axis=1)])
    return np.stack(answers)


def _explained(*, above: bool, quiet: bool, telling: bool) -> str:
    if not quiet:
        return (
            "Shuffled labels were guessed better or worse than chance allows, which happens once in a thousand times"
            " by accident. Run it with another --seed; if it happens again, whatever reads these images lets the labels"
            " through, and no score measured here can be trusted."
        )
    if not above and not telling:
        return "There are too few held-out images to tell a good guess from a lucky one."
    if not above:
        return (
            "With the labels as they are, a simple model does no better than chance. Either the classes differ in ways"
            " too fine for it, or the labels belong to other images: look whether a table of labels has slipped by a"
            " row, or names and labels were sorted apart."
        )
    return "The labels belong to the images: they are guessed better than by chance, and shuffled ones are not."

"""One model on some images, measured without training it: every score, and which images it rests on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from vitreous import console
from vitreous.data.imageset import ImageSet
from vitreous.evaluation.features import FrozenFeatures, extract, module_of, num_layers
from vitreous.evaluation.fewshot import few_shot
from vitreous.evaluation.intervals import bootstrap, mean_of
from vitreous.evaluation.knn import Knn, Neighbours, knn
from vitreous.evaluation.layers import Layer, layer_by_layer
from vitreous.evaluation.linear import LinearProbe, linear_probe, logistic_operations, logistic_probe
from vitreous.evaluation.paired import holm, in_accord, mcnemar
from vitreous.predict import Predictor
from vitreous.report.words import percent, points
from vitreous.results import Failure, FinetunePrice, GridScore, LayerScore, ModelProbe, ProbeScore

Kind = Literal["knn", "linear", "fewshot"]
KINDS: tuple[Kind, ...] = ("knn", "linear", "fewshot")

_MOST_OPERATIONS = 2e13  # that logistic regression with every penalty may take: minutes on some cores
_LEVEL = 0.05
_BLOCKS_READ = 4  # the last of them, by the linear probe


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to measure."""

    only: tuple[Kind, ...]
    layers: bool
    shots: tuple[int, ...]
    seeds: tuple[int, ...]
    seed: int
    """Of what is held out to choose, and of the linear probe's weights and order."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Material:
    """The images that every model is asked about."""

    train: ImageSet
    test: ImageSet
    choose: int
    """How many images at the end of `train` choose settings; 0 to draw a tenth of each class."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Scored:
    """What was found of one model, with the answers behind each score."""

    found: ModelProbe
    right: dict[str, Float64[np.ndarray, " N"]]
    """By score, for each image of the test set the share of draws that named it rightly; NaN where it was not read."""
    seen: int
    failed: tuple[Failure, ...]


def scored(
    predictor: Predictor,
    material: Material,
    wanted: Wanted,
    *,
    name: str,
    random: bool,
    price: FinetunePrice | None,
    cache: Path,
) -> Scored:
    """Everything that was asked for of one model.

    Args:
        predictor: from `features.frozen`.
        material: the images.
        wanted: what to measure.
        name: of the model, as typed.
        random: whether its weights are random.
        price: what fine-tuning it would take.
        cache: folder of features.
    """
    began = time.monotonic()
    depth = num_layers(predictor)
    last = range(max(0, depth - _BLOCKS_READ), depth) if "linear" in wanted.only else range(0)
    layers = range(depth) if wanted.layers else last
    train = extract(predictor, material.train, layers=layers, cache=cache)
    test = extract(predictor, material.test, layers=layers, cache=cache)
    measured = _Measured(train, test, len(material.test))
    if "knn" in wanted.only:
        measured.neighbours()
    if "linear" in wanted.only:
        rows = np.flatnonzero(train.places >= len(material.train) - material.choose) if material.choose else None
        measured.linear(rows, wanted.seed)
    if "fewshot" in wanted.only:
        measured.few(wanted.shots, wanted.seeds)
    if wanted.layers and depth:
        measured.each_layer()
    elif wanted.layers:
        measured.notes.append("somebody's own module: only a ViT's and a ResNet's blocks are known")
    found = ModelProbe(
        model=name,
        reads=train.reads,
        width=train.pooled.shape[1],
        parameters=sum(value.numel() for value in module_of(predictor).parameters()),
        random=random,
        scores=tuple(measured.scores),
        knn=measured.knn,
        linear_grid=measured.linear_grid,
        logistic_grid=measured.logistic_grid,
        layers=measured.layers,
        layer_words=measured.layer_words,
        price=price,
        seconds=time.monotonic() - began,
        notes=tuple(measured.notes),
    )
    return Scored(found=found, right=measured.right, seen=test.seen, failed=(*train.failed, *test.failed))


@dataclass(frozen=True, kw_only=True)
class Paired:
    """How far one way of naming images is ahead of another on the same images."""

    difference: float
    """Mean over the images that both tell of."""
    interval: tuple[float, float]
    """95 % paired bootstrap interval."""
    p_value: float
    """McNemar's exact test; where answers are shares of draws, the sign test on the images where they differ."""


def paired(a: Float[np.ndarray, " N"], b: Float[np.ndarray, " N"], seed: int = 0) -> Paired:
    """How much a is ahead of b.

    Args:
        a: for each image how often one named it rightly, NaN where it was not read.
        b: the same of the other.
        seed: of the bootstrap.
    """
    difference = a - b
    difference = difference[~np.isnan(difference)]
    interval = bootstrap({"difference": mean_of(difference)}, len(difference), seed=seed)["difference"]
    return Paired(
        difference=float(difference.mean()),
        interval=interval,
        p_value=mcnemar(int((difference > 0).sum()), int((difference < 0).sum())),
    )


def is_noise(found: Paired, p_value: float) -> bool:
    """Whether chance may explain a difference: the interval holds 0, or the test does not tell at the 5 % level.

    Args:
        found: the difference.
        p_value: of its test, corrected for all that were made.
    """
    low, high = found.interval
    return low <= 0 <= high or p_value >= _LEVEL


def signed(difference: float) -> str:
    """A difference of two fractions in percentage points, without its unit: `−1.3`.

    Args:
        difference: in [-1, 1].
    """
    return f"{100 * difference:.1f}".replace("-", "−")


class _Measured:
    """Scores of one model, as they come.

    Args:
        train: features to learn from.
        test: features to score on.
        total: images in the test set, those that could not be read included.
    """

    def __init__(self, train: FrozenFeatures, test: FrozenFeatures, total: int) -> None:
        self.train, self.test, self._total = train, test, total
        self.scores: list[ProbeScore] = []
        self.right: dict[str, Float64[np.ndarray, " N"]] = {}
        self.knn: tuple[ProbeScore, ...] = ()
        self.linear_grid: tuple[GridScore, ...] = ()
        self.logistic_grid: tuple[tuple[float, float], ...] = ()
        self.layers: tuple[LayerScore, ...] = ()
        self.layer_words = ""
        self.notes: list[str] = []

    def neighbours(self) -> None:
        """Nearest neighbours, for every k."""
        found = knn(self.train, self.test)
        self.notes += found.notes
        self.knn = tuple(_of_neighbours(found, point) for point in found.points)
        self._add(_of_neighbours(found, found.headline), found.headline.right)

    def linear(self, rows: Int[np.ndarray, " c"] | None, seed: int) -> None:
        """The linear layer by SGD, and logistic regression where it does not take too long."""
        train, test = self.train, self.test
        found = linear_probe(train, test, choose_on=rows, seed=seed)
        self.linear_grid = tuple(
            GridScore(reads=one.reads, blocks=one.blocks, mean=one.mean, rate=one.rate, top1=one.top1)
            for one in found.grid
        )
        self._add(_of_linear(found), found.right)
        if logistic_operations(len(train.labels), train.pooled.shape[1], len(train.classes)) > _MOST_OPERATIONS:
            self.notes.append(
                "logistic regression left out: with every penalty it would take long on so many images;"
                " vitreous.evaluation.linear.logistic_probe does it"
            )
            return
        chosen = logistic_probe(train, test, choose_on=rows, seed=seed)
        self.logistic_grid = chosen.grid
        score = ProbeScore(
            name="logistic",
            setting=f"C = {chosen.inverse_penalty:.3g}",
            top1=chosen.top1,
            interval=chosen.interval,
            learned=chosen.learned,
            seen=chosen.seen,
            expected=chosen.expected,
        )
        self._add(score, chosen.right)

    def few(self, shots: Sequence[int], seeds: Sequence[int]) -> None:
        """Least squares on a few examples of each class."""
        found = few_shot(self.train, self.test, shots=shots, seeds=seeds)
        self.notes += found.notes
        for point in found.points:
            score = ProbeScore(
                name=f"{point.shots}-shot",
                setting=f"mean of {console.count(len(found.seeds), 'draw')}",
                top1=point.top1,
                interval=point.interval,
                learned=point.learned,
                seen=found.seen,
                expected=found.expected,
                per_seed=point.per_seed,
                spread=point.spread if len(found.seeds) > 1 else None,
            )
            self._add(score, point.right.mean(axis=0))

    def each_layer(self) -> None:
        """Every block, and which of them transfers best."""
        found = layer_by_layer(self.train, self.test)
        self.layers = tuple(
            LayerScore(
                layer=one.layer,
                knn=one.knn,
                knn_interval=one.knn_interval,
                least_squares=one.least_squares,
                least_squares_interval=one.least_squares_interval,
            )
            for one in found
        )
        self.layer_words = best_layer_words(found)

    def _add(self, score: ProbeScore, right: Bool[np.ndarray, " n"] | Float[np.ndarray, " n"]) -> None:
        whole = np.full(self._total, np.nan)
        whole[self.test.places] = right
        self.scores.append(score)
        self.right[score.name] = whole
        spread = "" if score.spread is None else f" ± {100 * score.spread:.1f}"
        console.say(f"  {score.name:<10}{percent(score.top1)}{spread}   {score.setting}")


def best_layer_words(layers: Sequence[Layer]) -> str:
    """Which block transfers best by least squares, and whether the last does as well but for chance.

    The best of many is ahead by luck too: the test is corrected for all blocks by Holm's method.

    Args:
        layers: as `layer_by_layer` gives them.
    """
    depth, last = len(layers), layers[-1]
    found = [paired(one.right.astype(float), last.right.astype(float)) for one in layers[:-1]]
    corrected = holm([one.p_value for one in found])
    best = max(layers, key=lambda one: (one.least_squares, one.layer))
    if best is last:
        words = f"The last block of {depth} transfers best: {percent(best.least_squares)} by least squares"
    else:
        place = layers.index(best)
        within_noise = is_noise(found[place], corrected[place])
        noise = "within noise of" if within_noise else "better than"
        gap, (low, high) = found[place].difference, in_accord(found[place].interval, within_noise=within_noise)
        words = (
            f"Block {best.layer + 1} of {depth} transfers best: {percent(best.least_squares)} by least squares, {noise}"
            f" the last block's {percent(last.least_squares)} ({points(gap)}, 95 % interval {signed(low)} to"
            f" {signed(high)}; the images that chose the block also scored it)"
        )
    near = max(layers, key=lambda one: (one.knn, one.layer))
    if near.layer != best.layer:
        words += f"; by nearest neighbours it is block {near.layer + 1}, {percent(near.knn)}"
    return words + "."


def _of_neighbours(found: Knn, point: Neighbours) -> ProbeScore:
    return ProbeScore(
        name="k-NN",
        setting=f"k = {point.k}, T = {found.temperature:g}",
        top1=point.top1,
        top5=point.top5,
        interval=point.interval,
        learned=found.learned,
        seen=found.seen,
        expected=found.expected,
    )


def _of_linear(found: LinearProbe) -> ProbeScore:
    return ProbeScore(
        name="linear",
        setting=f"{found.chosen.reads}; rate {found.chosen.rate:g}",
        top1=found.top1,
        interval=found.interval,
        learned=found.learned,
        seen=found.seen,
        expected=found.expected,
    )

"""What frozen features are worth on some images, for one model or several."""

from __future__ import annotations

from dataclasses import dataclass

from vitreous.results.images import Failure


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeScore:
    """One way of naming images by frozen features, scored on images that chose nothing."""

    name: str
    """k-NN, linear, logistic, or 5-shot and the like."""
    setting: str
    """How, in words: `k = 20`."""
    top1: float
    interval: tuple[float, float]
    """95 % Wilson interval; over seeds, of their mean."""
    learned: int
    """Images learned from."""
    seen: int
    """Images scored."""
    expected: int
    top5: float | None = None
    per_seed: tuple[float, ...] = ()
    """Where examples are drawn: the accuracy of each draw."""
    spread: float | None = None
    """Sample standard deviation over the draws."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GridScore:
    """One point of the linear probe's grid, on the images held out to choose."""

    reads: str
    blocks: int
    """How many of the last blocks; 0 for what the model's own head reads."""
    mean: bool
    rate: float
    top1: float | None
    """None where training diverged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerScore:
    """What one block knows."""

    layer: int
    """Its place from 0."""
    knn: float
    knn_interval: tuple[float, float]
    least_squares: float
    least_squares_interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetunePrice:
    """What fine-tuning a model on these images is predicted to cost."""

    recipe: str
    flops: int
    """Floating-point operations of the whole run."""
    seconds: float | None
    """On this machine, by passes that were measured here; None where none were."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelProbe:
    """Everything that was measured of one model."""

    model: str
    """As typed."""
    reads: str
    """What the features are: what the model's head reads, in words."""
    width: int
    """Numbers in a feature."""
    parameters: int
    random: bool
    """Whether the weights are random."""
    scores: tuple[ProbeScore, ...]
    knn: tuple[ProbeScore, ...]
    """Nearest neighbours for every k; `scores` holds the one that stands for them."""
    linear_grid: tuple[GridScore, ...]
    logistic_grid: tuple[tuple[float, float], ...]
    """(C, accuracy on the images held out to choose)."""
    layers: tuple[LayerScore, ...]
    layer_words: str
    """Which block transfers best, in a sentence; empty unless blocks were looked at."""
    price: FinetunePrice | None
    seconds: float
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeDifference:
    """The model that did best beside another, on the same images."""

    better: str
    other: str
    by: str
    """The score that decides."""
    difference: float
    """Of the accuracies, 0 or more."""
    interval: tuple[float, float]
    """95 % paired bootstrap interval of the difference; it holds 0 wherever `within_noise` is true."""
    within_noise: bool
    """Whether chance may explain it: the interval holds 0, or the test does not tell at the 5 % level."""
    p_value: float
    """McNemar's exact test (of few-shot, the sign test), corrected for all pairs of models by Holm's method."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeResult:
    """What `vitreous probe` found."""

    data: str
    classes: tuple[str, ...]
    train: int
    """Images to learn from."""
    seen: int
    """Held-out images that were scored."""
    expected: int
    """Held-out images there are."""
    failed: tuple[Failure, ...]
    """Images of either kind that could not be read."""
    held_out: str
    """Where the held-out images come from, in words."""
    models: tuple[ModelProbe, ...]
    differences: tuple[ProbeDifference, ...]
    recommendation: str
    """One sentence or two; empty for one model."""
    notes: tuple[str, ...]
    seconds: float
    html: str | None = None
    files: tuple[str, ...] = ()
    """Everything else that was written."""

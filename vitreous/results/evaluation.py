"""How a model fares on labelled images."""

from __future__ import annotations

from dataclasses import dataclass

from vitreous.results.images import Failure


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassScore:
    """How one class fares. Undefined ratios (no images, or none predicted) are None."""

    name: str
    support: int
    """Images whose true class this is."""
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One evaluated image."""

    path: str
    label: int
    """True class."""
    predicted: int
    """Most probable class."""
    probability: float
    """Probability given to the predicted class."""
    label_probability: float
    """Probability given to the true class."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """A model's score on labelled images."""

    top1: float
    top5: float
    """Share of images whose true class is among the five most probable (all, when there are five or fewer)."""
    balanced: float
    """Mean recall over the classes that have images."""
    interval: tuple[float, float]
    """95 % Wilson score interval of top1."""
    calibration_error: float
    """Expected calibration error, 15 equal-width bins."""
    seen: int
    expected: int
    failed: tuple[Failure, ...]
    classes: tuple[str, ...]
    per_class: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    """confusion[true][predicted] counts."""
    outcomes: tuple[Outcome, ...]
    data: str = ""
    """What was evaluated on, in words ("photos/test, 240 images")."""
    mean_average_precision: float | None = None
    """Where images have several labels: the mean over classes of the average precision. An answer counts as right
    when it is one of the image's classes, and that class then stands for its true one; no answer is right for an image
    that shows none, which `per_class` and `confusion` count with the first class."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """What can be had without the model, on the same test images."""

    name: str
    top1: float
    explained: str
    """One sentence: how this number comes about."""

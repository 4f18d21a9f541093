"""What a report is made of, as plain frozen dataclasses: results, words and pictures, no torch and no HTML.

Fill a `RunReport` or a `DemoReport`, then hand it to `vitreous.report.html`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vitreous.architecture import Size
from vitreous.config import ModelCard, Recipe
from vitreous.results import Baseline, DemoResult, EpochRecord, Evaluation, Failure, Outcome, RunResult

MISTAKES_SHOWN = 12
LOOKS_SHOWN = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """An image as the model saw it (resized and cropped), and where it looked."""

    pixels: NDArray[np.uint8]
    """(height, width, 3) RGB."""
    attention: NDArray[np.floating] | None = None
    """(rows, columns) of patches, 0 or more; only the proportions matter, the brightest is the largest."""

    def __post_init__(self) -> None:
        assert self.pixels.ndim == 3, f"a picture is (height, width, 3), got {self.pixels.shape}"
        assert self.pixels.shape[2] == 3, f"a picture is (height, width, 3), got {self.pixels.shape}"
        assert min(self.pixels.shape) > 0, f"a picture has pixels, got {self.pixels.shape}"
        if self.attention is not None:
            assert self.attention.ndim == 2, f"attention is (rows, columns), got {self.attention.shape}"
            assert np.isfinite(self.attention).all(), "attention must be finite"


@dataclass(frozen=True, kw_only=True, slots=True)
class Exhibit:
    """One evaluated image, shown."""

    outcome: Outcome
    picture: Picture


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitCount:
    """How many images of each class one part of the data holds."""

    name: str
    """What the part is used for: train, validation, test."""
    per_class: tuple[int, ...]
    """Images per class, in the order of the model's classes."""

    @property
    def total(self) -> int:
        """Images in this part."""
        return sum(self.per_class)


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSheet:
    """Where the images came from and how they were divided."""

    source: str
    """The folder or built-in name, as the person gave it."""
    notes: tuple[str, ...] = ()
    """What was recognised, one sentence each."""
    counts: tuple[SplitCount, ...] = ()
    failed: tuple[Failure, ...] = ()
    """Images left out of training because they could not be read."""
    fingerprint: str = ""
    """SHA-256 over what identifies the images, in hexadecimal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """A command to type, and what it does."""

    text: str
    explained: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RunReport:
    """Everything the page of one training run shows."""

    title: str
    """What the run is called, in a word or two (often the name of the data)."""
    summary: str
    """One sentence under the title: what was trained, on what, for how long."""
    result: RunResult
    evaluation: Evaluation
    """The model on the images the headline rests on."""
    records: tuple[EpochRecord, ...]
    data: DataSheet
    card: ModelCard
    recipe: Recipe
    command: str
    """The exact command, ready to be typed again."""
    environment: Mapping[str, str]
    """Versions, machine, precision, threads: whatever the result may depend on."""
    baselines: tuple[Baseline, ...] = ()
    mistakes: tuple[Exhibit, ...] = ()
    """The most confident wrong answers, worst first; `worst_mistakes` names them."""
    looks: tuple[Exhibit, ...] = ()
    """A few images to see what the model looks at; `typical_images` names some."""
    random_weights: bool = False
    """True when training began from random numbers instead of a pre-trained model."""
    optimistic_because: str = "they also chose something during training, so the number is likely a little too high"
    """What the images chose, to end the sentence "These images are not neutral: ..."; used when optimistic."""
    written: str = ""
    """Date and time as a person reads it."""
    next_steps: tuple[Command, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """One row of the demo's comparison."""

    name: str
    """Two or three words: "transfer", "from scratch"."""
    top1: float
    interval: tuple[float, float]
    """95 % Wilson score interval of top1."""
    seen: int
    expected: int
    explained: str
    """One sentence: what was trained on what."""
    highlight: bool = False
    """True for the row the comparison is about."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveSet:
    """The training curve of one arm of the demo."""

    name: str
    records: tuple[EpochRecord, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Strip:
    """A few images of one data set, to see what it is about."""

    title: str
    explained: str
    pictures: tuple[tuple[str, Picture], ...]
    """(label, picture) pairs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoReport:
    """Everything the demo's page shows."""

    result: DemoResult
    arms: tuple[Arm, ...]
    """The rows that were measured on the same images, best explained first."""
    pretraining: Arm
    """The pre-trained model on its own held-out images, which are others."""
    evaluation: Evaluation
    """The transferred model on the shared test images."""
    word: Picture
    """The image that is cut into patches."""
    patch_size: Size
    """(height, width) in pixels of `word`."""
    position_similarity: NDArray[np.floating]
    """(rows, columns, rows, columns): cosine similarity of each patch's position embedding with every other's."""
    command: str
    environment: Mapping[str, str]
    strips: tuple[Strip, ...] = ()
    curves: tuple[CurveSet, ...] = ()
    """Drawn together: the same score over epochs, one line an arm."""
    mistakes: tuple[Exhibit, ...] = ()
    looks: tuple[Exhibit, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    """What was trained, as name and value: layers, width, parameters, epochs."""
    written: str = ""
    next_steps: tuple[Command, ...] = ()


def worst_mistakes(evaluation: Evaluation, count: int = MISTAKES_SHOWN) -> tuple[Outcome, ...]:
    """The most confident wrong answers, most confident first.

    Args:
        evaluation: whose outcomes to look through.
        count: how many at most.
    """
    wrong = [outcome for outcome in evaluation.outcomes if outcome.predicted != outcome.label]
    return tuple(sorted(wrong, key=lambda outcome: (-outcome.probability, outcome.path))[:count])


def typical_images(evaluation: Evaluation, count: int = LOOKS_SHOWN) -> tuple[Outcome, ...]:
    """Rightly answered images of different classes, each of middling confidence within its class.

    Classes are taken evenly over the list; where nothing was answered rightly, wrong answers stand in.

    Args:
        evaluation: whose outcomes to look through.
        count: how many at most.
    """
    by_class: dict[int, list[Outcome]] = {}
    for outcome in evaluation.outcomes:
        if outcome.label < 0:  # shows none of the classes
            continue
        by_class.setdefault(outcome.label, []).append(outcome)
    middles = []
    for label in sorted(by_class):
        right = [outcome for outcome in by_class[label] if outcome.predicted == label]
        ranked = sorted(right or by_class[label], key=lambda outcome: (outcome.probability, outcome.path))
        middles.append(ranked[len(ranked) // 2])
    if len(middles) <= count:
        return tuple(middles)
    return tuple(middles[place * len(middles) // count] for place in range(count))

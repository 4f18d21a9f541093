"""How two models fare on the same images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vitreous.results.evaluation import Evaluation
from vitreous.results.images import Failure


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassDifference:
    """One class as two models name it."""

    name: str
    support: int
    """Images whose true class this is."""
    recall_a: float
    recall_b: float
    only_a: int
    """Of them, those that only A gets right."""
    only_b: int
    p_value: float
    """McNemar's exact test, corrected for the number of classes by Holm's method."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contrast:
    """One figure of two models on the same images, and how far they differ."""

    a: float
    b: float
    difference: float
    """B minus A."""
    interval: tuple[float, float]
    """95 % paired bootstrap interval of the difference; that of top-1 holds 0 wherever the test finds noise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Duel:
    """One image that only one of the two models gets right."""

    path: str
    label: str
    said_a: str
    probability_a: float
    said_b: str
    probability_b: float
    right: Literal["A", "B"]
    """Which of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Two models on the same images; whatever has a sign is B minus A."""

    name_a: str
    name_b: str
    data: str
    """What they were compared on, in words."""
    seen: int
    """Images that both answered."""
    expected: int
    failed: tuple[Failure, ...]
    top1: Contrast
    p_value: float
    """McNemar's exact test, two-sided: how often chance alone divides the images they disagree on at least so."""
    verdict: Literal["A is better", "B is better", "within noise"]
    """At the 5 % level."""
    words: str
    """The same as a sentence."""
    both: int
    """Images that both get right."""
    only_a: int
    only_b: int
    neither: int
    agreement: float
    """Share of images that both give the same answer to."""
    images_needed: int | None
    """Images for a test that tells such a difference at 5 % with 80 % power; None where they do not differ at all."""
    calibration_error: Contrast
    log_loss: Contrast | None
    by_class: tuple[ClassDifference, ...]
    """Classes that have images, the largest difference first."""
    duels: tuple[Duel, ...]
    """Images that only one of them gets right, those first on which the wrong one is surest."""
    a: Evaluation
    b: Evaluation
    html: str | None = None
    """The page, where one was written."""

"""The list of runs: named, each a model, a recipe, images and a seed; nothing is trained here.

Two studies that need the same run name the same run, for a run is called after what it is made of.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from vitreous.architecture import Architecture
from vitreous.config import TrainOptions
from vitreous.cost import training_flops
from vitreous.schema import to_json

SHOTS = (5, 10)
"""Labelled images per class of the few-shot scores."""

MEASURES = (*(f"{k}-shot" for k in SHOTS), "held-out")
"""How a pre-trained model is scored; one that is fine-tuned has the measure `fine-tuned`."""

BATCH, STEPS = 32, 1000
USUAL_RATE = 3e-3
PLAIN = "augment.erase=0,average_decay=nothing"
"""What is changed of the recipe small-images: nothing is erased, and so short a run has nothing to average."""

NUM_IMAGES = 4000
"""Of mnist-5k, to learn from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Images:
    """Which images a run learns from; it is scored on others of the same set."""

    name: Literal["mnist-5k", "digits"] = "mnist-5k"
    per_class: int | None = None
    """So many of each class, another choice for each seed; None for all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """One run: what is trained, and how."""

    verb: Literal["pretrain", "finetune"] = "pretrain"
    model: Architecture
    after: Work | None = None
    """The run whose weights it begins from; None for random ones."""
    images: Images = field(default_factory=Images)
    recipe: str = "small-images"
    steps: int = STEPS
    batch_size: int = BATCH
    learning_rate: float = USUAL_RATE
    change: str = PLAIN
    """What `--set` changes of the recipe."""
    seed: int = 0

    @property
    def name(self) -> str:
        """What its folder is called: the model, and a digest of all that it is made of."""
        digest = hashlib.sha256(json.dumps(to_json(self), sort_keys=True).encode()).hexdigest()[:10]
        return f"{self.model.name}-{digest}"

    @property
    def learned(self) -> int:
        """Training images."""
        return NUM_IMAGES if self.images.per_class is None else 10 * self.images.per_class

    @property
    def flops(self) -> float:
        """Floating-point operations of this run's own training."""
        return float(training_flops(self.model)) * self.batch_size * self.steps

    @property
    def predicted(self) -> float:
        """CPU seconds it takes, about: what was measured on one core of a server, rounded."""
        return 3.0 + self.batch_size * self.steps * 2.5e-4 + self.flops / 30e9

    def options(self, folder: str) -> TrainOptions:
        """What the verb is asked; nothing is left to measuring, so that equal plans are equal runs.

        Args:
            folder: of the run.
        """
        return TrainOptions(
            run=folder,
            recipe=self.recipe,
            steps=self.steps,
            batch_size=self.batch_size,
            micro_batch=self.batch_size,
            learning_rate=self.learning_rate,
            set=self.change,
            seed=self.seed,
            threads=1,
            precision="float32",
            device="cpu",
            compile="off",
            keep=1,
        )

    def chain(self) -> tuple[Work, ...]:
        """The runs that must be done for this one, first things first, itself included."""
        return (*(self.after.chain() if self.after else ()), self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """One line of a study: the same run for every seed."""

    name: str
    trained: str
    work: Work
    """For seed 0."""
    paper: str = ""
    """What the paper prints for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """What the paper says of two arms."""

    first: str
    second: str
    expected: Literal["above", "below", "equal"] | None
    """Where the paper found the first; None where it says nothing of this pair."""
    words: str = ""
    """The paper's finding as half a sentence, behind "the paper found"."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """One study of the paper."""

    name: str
    title: str
    place: str
    about: str
    here: str
    measure: str
    """What its findings rest on; a key of the scores."""
    arms: tuple[Arm, ...]
    claims: tuple[Claim, ...]
    theirs: str = ""
    """What the paper's own numbers are, where it prints some."""

    def runs(self, seeds: int) -> tuple[Work, ...]:
        """Every run it needs, what others begin from first.

        Args:
            seeds: how many of each.
        """
        return unique(part for seed in range(seeds) for arm in self.arms for part in seeded(arm.work, seed).chain())


def all_runs(chosen: Iterable[Study], seeds: int) -> tuple[Work, ...]:
    """The runs of several studies, each once, seed after seed, so that a first seed is whole before the second begins.

    Args:
        chosen: the studies.
        seeds: how many runs of each arm.
    """
    chosen = tuple(chosen)
    return unique(
        part
        for seed in range(seeds)
        for study in chosen
        for arm in study.arms
        for part in seeded(arm.work, seed).chain()
    )


def seeded(work: Work, seed: int) -> Work:
    """The same run, and what it begins from, with another seed.

    Args:
        work: for any seed.
        seed: fixes weights, the order of images, and which of them where a run takes a part.
    """
    return dataclasses.replace(work, seed=seed, after=seeded(work.after, seed) if work.after else None)


def unique(works: Iterable[Work]) -> tuple[Work, ...]:
    """Each run once, in the order of their first appearance.

    Args:
        works: some of them several times.
    """
    return tuple(dict.fromkeys(works))

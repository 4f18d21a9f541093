"""What can be configured, as frozen dataclasses that refuse nonsense when they are made, to and from JSON.

They are the one source of flags, help texts, `run.json` and the header of a model file. Nothing here does any work;
the architectures have a file of their own, `architecture.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from vitreous.architecture import Architecture, Size, as_pair
from vitreous.errors import ConfigError
from vitreous.schema import check_types, positive, share


@dataclass(frozen=True, kw_only=True, slots=True)
class PreprocessConfig:
    """How a decoded RGB image becomes the model's input; it travels inside the model file."""

    image_size: Size = (224, 224)
    """What the model is given, (height, width) in pixels."""
    resize: Literal["cover", "squash"] = "cover"
    """Keep the aspect ratio and cut the centre out, or squash the whole image into the frame."""
    crop_ratio: float = 0.875
    """With resize="cover": the part of the resized image's shorter side that the crop keeps, in (0, 1]."""
    interpolation: Literal["nearest", "bilinear", "bicubic", "box", "lanczos"] = "bicubic"
    """Pillow's resampling filter (antialiased when shrinking)."""
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    """Subtracted per channel after scaling to [0, 1]."""
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    """Divided by per channel after the mean is subtracted."""

    def __post_init__(self) -> None:
        check_types(self)
        if min(self.image_size) < 1:
            raise ConfigError(f"image_size must be positive, got {self.image_size}")
        if not 0.0 < self.crop_ratio <= 1.0:
            raise ConfigError(f"crop_ratio must lie in (0, 1], got {self.crop_ratio}")
        if len(self.mean) != len(self.std) or min(self.std) <= 0:
            raise ConfigError(f"mean {self.mean} and std {self.std} must have one entry per channel, std above 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentConfig:
    """What happens to a training image, as a pure function of (seed, epoch, index of the image)."""

    crop: Literal["inception", "centre"] = "inception"
    """A random rectangle of random area and aspect, or the same crop that evaluation uses."""
    crop_area: tuple[float, float] = (0.05, 1.0)
    """Share of the image's area an Inception crop keeps, drawn uniformly."""
    crop_aspect: tuple[float, float] = (3 / 4, 4 / 3)
    """Width / height of an Inception crop before resizing, drawn log-uniformly."""
    flip: bool = True
    """Mirror left and right half of the time; switched off for images that read differently in a mirror."""
    rotate: float = 0.0
    """Rotate by up to this many degrees either way."""
    shift: float = 0.0
    """Move by up to this share of the side, either way, in both directions."""
    zoom: float = 0.0
    """Scale by up to this share, either way."""

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("crop_area", "crop_aspect"):
            low, high = getattr(self, name)
            if not 0.0 < low <= high:
                raise ConfigError(f"{name} must be a rising pair of positive numbers, got {(low, high)}")
        if self.crop_area[1] > 1.0:
            raise ConfigError(f"crop_area cannot exceed the whole image, got {self.crop_area}")
        if not (0.0 <= self.shift < 1.0 and 0.0 <= self.zoom < 1.0 and 0.0 <= self.rotate <= 180.0):
            raise ConfigError(f"rotate {self.rotate}, shift {self.shift} or zoom {self.zoom} is out of range")


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How to train: optimiser, schedule, batch, regularisation and augmentation, with its source."""

    name: str
    """What to type after --recipe."""
    purpose: Literal["pretrain", "finetune"]
    """Which verb it is for."""
    summary: str = ""
    """One sentence for a person."""
    source: str = ""
    """Paper and table, or repository and file."""
    expected: str = ""
    """The score its source reports, or what was measured, and on what."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """Adam with decoupled weight decay, or stochastic gradient descent with momentum."""
    learning_rate: float = 1e-3
    """Peak learning rate, reached at the end of the warm-up."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Adam's decay rates."""
    momentum: float = 0.9
    """SGD's momentum."""
    weight_decay: float = 0.0
    """Decoupled; each step takes learning_rate * weight_decay of every matrix (PyTorch's AdamW units)."""
    schedule: Literal["cosine", "linear"] = "cosine"
    """How the learning rate falls after the warm-up."""
    warmup_steps: int | None = None
    """Steps of linear warm-up; give this or warmup_fraction."""
    warmup_fraction: float | None = None
    """Linear warm-up as a share of all steps."""
    epochs: float | None = None
    """Passes over the training images; give this or steps."""
    steps: int | None = None
    """Optimiser steps; give this or epochs."""
    batch_size: int = 512
    """Images per optimiser step, whatever fits in memory: smaller micro-batches are accumulated."""
    clip_norm: float | None = None
    """Largest global gradient norm; None leaves gradients alone."""
    label_smoothing: float = 0.0
    """Probability taken from the true class and spread over all."""
    dropout: float | None = None
    """Overrides the model's drop rate; None keeps it."""
    hidden_head: bool = False
    """Put the paper's tanh hidden layer before the head (pre-training)."""
    average_decay: float | None = None
    """Polyak averaging of the weights with this decay, warmed up; the average is the result."""
    image_size: Size | None = None
    """Resolution to train at; None keeps the model's."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """What happens to each training image."""

    def __post_init__(self) -> None:
        check_types(self)
        positive(self, "learning_rate", "batch_size", "clip_norm", "epochs", "steps")
        share(self, "momentum", "label_smoothing", "dropout", "warmup_fraction")
        if (self.epochs is None) == (self.steps is None):
            raise ConfigError(f"recipe {self.name}: give either epochs or steps, got {self.epochs} and {self.steps}")
        if self.warmup_steps is not None and self.warmup_fraction is not None:
            raise ConfigError(f"recipe {self.name}: give warmup_steps or warmup_fraction, not both")
        if self.warmup_steps is not None and self.warmup_steps < 0:
            raise ConfigError(f"warmup_steps must be 0 or more, got {self.warmup_steps}")
        if not 0 <= self.weight_decay < math.inf:
            raise ConfigError(f"weight_decay must be 0 or more, got {self.weight_decay}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"betas must lie in [0, 1), got {self.betas}")
        if self.average_decay is not None and not 0.0 < self.average_decay < 1.0:
            raise ConfigError(f"average_decay must lie in (0, 1), got {self.average_decay}")
        if self.image_size is not None and min(self.image_size) < 1:
            raise ConfigError(f"image_size must be positive, got {self.image_size}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainOptions:
    """What the person asked of one training run; None leaves the choice to the recipe or the machine."""

    run: str | None = None
    """Folder for everything the run writes; by default runs/NAME-N."""
    recipe: str | None = None
    """Named recipe (see `vitreous recipes`); by default one that suits small data."""
    epochs: float | None = None
    """Passes over the training images, in place of the recipe's."""
    steps: int | None = None
    """Optimiser steps, in place of the recipe's."""
    batch_size: int | None = None
    """Images per optimiser step, in place of the recipe's."""
    learning_rate: float | None = None
    """Peak learning rate, in place of the recipe's."""
    image_size: int | Size | None = None
    """Resolution in pixels: one number, or height and width."""
    val: float = 0.2
    """Share of the training images held out, per class, when there is no val folder."""
    bad_images: Literal["error", "skip"] = "error"
    """Stop before training when images cannot be read, or leave them out and name them."""
    seed: int = 0
    """Fixes the split, the order of images, augmentation, dropout and initial weights."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    threads: int | None = None
    """CPU threads for the arithmetic; by default all, or one for a model too narrow to share out."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto measures which is faster for this model on this machine."""
    micro_batch: int | None = None
    """Images per forward pass; the batch is made of several. It changes memory and speed only."""
    checkpoint_minutes: float = 2.0
    """Minutes between checkpoints; 0 saves after every step. It never changes the result."""
    root: str | None = None
    """Where a built-in data set lies, if not in its usual place."""

    def __post_init__(self) -> None:
        check_types(self)
        if self.checkpoint_minutes < 0:
            raise ConfigError(f"--checkpoint-minutes must be 0 or more, got {self.checkpoint_minutes}")
        if self.epochs is not None and self.steps is not None:
            raise ConfigError("--epochs and --steps exclude each other", remedy="give one of them")
        positive(self, "epochs", "steps", "batch_size", "learning_rate", "threads", "micro_batch")
        if self.image_size is not None and min(as_pair(self.image_size)) < 1:
            raise ConfigError(f"--image-size must be positive, got {self.image_size}")
        if not 0.0 < self.val < 1.0:
            raise ConfigError(f"--val must lie between 0 and 1, got {self.val}", remedy="--val 0.2")
        if self.seed < 0:
            raise ConfigError(f"--seed must be 0 or more, got {self.seed}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCard:
    """Everything needed to use a model that is not its weights; it travels in the model file's header."""

    architecture: Architecture | None = None
    """The architecture; None for a user's own module, which the file cannot rebuild."""
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    """How a decoded image becomes the model's input."""
    classes: tuple[str, ...] = ()
    """Class names in the order of the logits."""
    features: str = "final-norm class token"
    """What `features()` gives that the head reads."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Where the weights come from: command, recipe, data, parent model, versions."""
    licence: str = "not stated"
    """Licence of the weights."""

    def __post_init__(self) -> None:
        check_types(self)

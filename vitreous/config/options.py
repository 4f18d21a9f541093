"""What a person asks of one training run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from vitreous.architecture import Size, as_pair
from vitreous.config.recipe import Trained
from vitreous.errors import ConfigError
from vitreous.schema import check_types, positive


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainOptions:
    """What the person asked of one training run; None leaves the choice to the recipe or the machine."""

    run: str | None = None
    """Folder for everything the run writes; by default runs/NAME-N."""
    recipe: str | None = None
    """Named recipe (see `vitreous recipes`); by default one that suits small data."""
    quality: Literal["fast", "good", "best"] | None = None
    """In place of a recipe: fast trains the head only, good everything, best longer with more augmentation."""
    objective: Literal["labels", "masked-patch"] | None = None
    """Without a recipe: masked-patch learns from images without their labels, by what hidden patches look like."""
    time: str | None = None
    """How long training may take, as 90s, 10m or 2h: a few measured steps say how many fit."""
    epochs: float | None = None
    """Passes over the training images, in place of the recipe's."""
    steps: int | None = None
    """Optimiser steps, in place of the recipe's."""
    batch_size: int | None = None
    """Images per optimiser step, in place of the recipe's."""
    learning_rate: float | Literal["auto", "find"] | None = None
    """Peak learning rate; auto is the recipe's, by its own rule for other batches; find measures one (range test)."""
    set: str = ""
    """Other numbers of the recipe, as weight_decay=0.05,mixup=0.2,augment.policy=three (see vitreous recipes NAME)."""
    sweep: bool = False
    """Try the recipe's learning rates on a slice of the training images first, then train on all with the best."""
    train: Trained | None = None
    """all weights; the head only; the head first and then all; low-rank updates (lora) and head; biases and head."""
    class_weights: Literal["none", "balanced"] | None = None
    """balanced: rare classes count as much as frequent ones."""
    image_size: int | Size | None = None
    """Resolution in pixels: one number, or height and width."""
    val: float = 0.2
    """Share of the training images held out, per class, when there is no val folder."""
    folds: int | None = None
    """Divide the images into so many equal parts and hold one of them out, in place of --val: cross-validation."""
    fold: int = 1
    """With --folds: the part that is held out, from 1."""
    group_by: str | None = None
    """Keep images together that share what this regular expression matches in their paths; or a manifest's column."""
    dedupe: bool = False
    """Leave out of the training images exact copies of those that the score comes from."""
    result: Literal["last", "best"] = "last"
    """Which weights are the result: the last, or those that scored best on validation images, called optimistic."""
    bad_images: Literal["error", "skip"] = "error"
    """Stop before training when images cannot be read, or leave them out and name them."""
    decode: Literal["exact", "fast"] = "exact"
    """fast reads JPEG training images with other libraries, at about the size needed: some pixels differ slightly."""
    cache: Literal["auto", "none", "memory", "disk"] = "auto"
    """Keep decoded training images in memory or on disk from epoch to epoch; auto does where they fit into memory."""
    seed: int = 0
    """Fixes the split, the order of images, augmentation, dropout and initial weights."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    threads: int | None = None
    """CPU threads for the arithmetic; by default all, or one for a model too narrow to share out."""
    workers: int | None = None
    """Threads that read images; by default one for each core. Network drives and slow disks want more."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto measures which is faster for this model on this machine."""
    micro_batch: int | None = None
    """Images per forward pass; the batch is made of several. It changes memory and speed only."""
    gradient_checkpointing: bool = False
    """Compute each block twice in place of keeping it: about a third more time, far less memory."""
    compile: Literal["auto", "on", "off"] = "auto"
    """auto tries PyTorch's compiler before runs of half an hour or more, and takes it where that saves time."""
    parallel: Literal["auto", "ddp", "fsdp"] = "auto"
    """Under torchrun: whole copies of the model (ddp), or its weights shared out too (fsdp); auto takes copies."""
    checkpoint_minutes: float = 2.0
    """Minutes between checkpoints; 0 saves after every step. It never changes the result."""
    keep: int = 2
    """Newest checkpoints to keep, besides the best."""
    log: Literal["none", "tensorboard", "wandb"] = "none"
    """Where else the lines of metrics.jsonl go."""
    root: str | None = None
    """Where a built-in data set lies, if not in its usual place."""

    def __post_init__(self) -> None:
        check_types(self)
        if self.checkpoint_minutes < 0:
            raise ConfigError(f"--checkpoint-minutes must be 0 or more, got {self.checkpoint_minutes}")
        given = [f"--{name}" for name in ("epochs", "steps", "time") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ConfigError(f"{' and '.join(given)} exclude each other", remedy="give one of them")
        ways = [f"--{name}" for name in ("quality", "recipe", "objective") if getattr(self, name) is not None]
        if len(ways) > 1:
            raise ConfigError(f"{' and '.join(ways)} exclude each other", remedy="give one of them")
        if isinstance(self.learning_rate, str) and self.sweep:
            raise ConfigError(f"--sweep and --learning-rate {self.learning_rate} exclude each other")
        if not isinstance(self.learning_rate, str):
            positive(self, "learning_rate")
        positive(self, "epochs", "steps", "batch_size", "threads", "workers", "micro_batch", "keep")
        if self.image_size is not None and min(as_pair(self.image_size)) < 1:
            raise ConfigError(f"--image-size must be positive, got {self.image_size}")
        if not 0.0 < self.val < 1.0:
            raise ConfigError(f"--val must lie between 0 and 1, got {self.val}", remedy="--val 0.2")
        if self.folds is not None and self.folds < 2:
            raise ConfigError(f"--folds must be 2 or more, got {self.folds}", remedy="--folds 5")
        if not 1 <= self.fold <= (self.folds or 1):
            raise ConfigError(f"--fold must lie between 1 and {self.folds or 1}", remedy="--folds 5 --fold 1")
        if self.seed < 0:
            raise ConfigError(f"--seed must be 0 or more, got {self.seed}")
        if self.time is not None:
            self.seconds  # noqa: B018  refuses what is no time

    @property
    def seconds(self) -> float | None:
        """`time` in seconds."""
        if self.time is None:
            return None
        number, unit = self.time[:-1], {"s": 1, "m": 60, "h": 3600, "d": 86400}.get(self.time[-1:])
        try:
            seconds = float(number) * (unit or math.nan)
        except ValueError:
            seconds = math.nan
        if not 0 < seconds < math.inf:
            raise ConfigError(f"--time must be a number and s, m, h or d, got {self.time!r}", remedy="--time 10m")
        return seconds

"""How to train, with its source."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from vitreous.architecture import Size
from vitreous.config.augment import AugmentConfig
from vitreous.errors import ConfigError
from vitreous.schema import check_types, positive, share

Trained = Literal["all", "head", "head-first", "lora", "bitfit"]
"""Which weights a transfer moves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How to train: optimiser, schedule, batch, loss, regularisation and augmentation, with its source."""

    name: str
    """What to type after --recipe."""
    purpose: Literal["pretrain", "finetune"]
    """Which verb it is for."""
    summary: str = ""
    """One sentence for a person."""
    source: str = ""
    """Paper and table, or repository and file."""
    expected: str = ""
    """The score its source reports, and on what."""
    hardware: str = ""
    """What its source trained on, and for how long."""
    model: str = ""
    """The model its source trained, as --model takes it."""
    data: str = ""
    """The images its source trained on."""
    measured: str = ""
    """What this project measured with it, on what; empty where it is only configured."""

    objective: Literal["labels", "masked-patch"] = "labels"
    """Tell classes apart, or say what the patches were that are hidden (appendix B.1.2)."""
    masked_target: Literal["mean-colour", "downsampled", "pixels"] = "mean-colour"
    """What is said of a hidden patch: its mean colour in 3 bits a channel, that of each of 4 x 4 cells, its pixels."""
    masked_share: float = 0.5
    """Share of the patches that are corrupted."""

    optimizer: Literal["adam", "sgd", "lamb"] = "adam"
    """Adam with decoupled weight decay, stochastic gradient descent with momentum, or LAMB."""
    learning_rate: float = 1e-3
    """Peak learning rate, reached at the end of the warm-up."""
    learning_rate_for: int | None = None
    """The batch that learning_rate is meant for, other batches in proportion; None takes it as it is."""
    sweep: tuple[float, ...] = ()
    """Learning rates to choose from on a held-out slice of the training images, before training on all."""
    sweep_share: float = 0.1
    """That slice's share of the training images."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Adam's and LAMB's decay rates."""
    eps: float = 1e-8
    """Added to Adam's denominator."""
    momentum: float = 0.9
    """SGD's momentum."""
    weight_decay: float = 0.0
    """Decoupled; each step takes learning_rate * weight_decay of every matrix (PyTorch's AdamW units). big_vision's
    wd is this times the peak learning rate."""
    layer_decay: float | None = None
    """The learning rate of each block as a share of the next one's (MAE, BEiT)."""
    schedule: Literal["cosine", "linear", "steps"] = "cosine"
    """How the learning rate falls after the warm-up; steps: to a tenth at each of `milestones`."""
    milestones: tuple[float, ...] = ()
    """With steps: when the learning rate falls, as shares of the whole run."""
    warmup_steps: int | None = None
    """Steps of linear warm-up; give this, warmup_epochs or warmup_fraction."""
    warmup_epochs: float | None = None
    """Linear warm-up in passes over the training images."""
    warmup_fraction: float | None = None
    """Linear warm-up as a share of all steps."""
    warmup_from: float = 0.0
    """Learning rate that the warm-up begins with."""
    final_learning_rate: float = 0.0
    """Learning rate that the schedule ends with; linear ends at 1e-5 or here, whatever is more."""
    epochs: float | None = None
    """Passes over the training images; give this or steps."""
    steps: int | None = None
    """Optimiser steps; give this or epochs."""
    batch_size: int = 512
    """Images per optimiser step, whatever fits in memory: smaller micro-batches are accumulated."""
    repeats: int = 1
    """How often each image comes in a batch, each time augmented anew (Hoffer et al., 2020)."""
    clip_norm: float | None = None
    """Largest global gradient norm; None leaves gradients alone."""
    average_decay: float | None = None
    """Polyak averaging of the weights with this decay, warmed up; the average is the result."""

    loss: Literal["softmax", "sigmoid", "sigmoid-mean"] = "softmax"
    """Cross-entropy of one choice among the classes; of each class by itself, summed over them (big_vision); or their
    mean (timm, DeiT-III)."""
    label_smoothing: float = 0.0
    """Probability taken from the true class and spread over all."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: each image counts by how rare its class is, 1 in the mean."""
    mixup: float = 0.0
    """Alpha of the Beta distribution that two images are mixed by; 0 for never (Zhang et al., 2018)."""
    cutmix: float = 0.0
    """Alpha of the Beta distribution of the area that comes from another image; 0 for never (Yun et al., 2019). With
    mixup too, each batch is mixed by one of the two, drawn evenly."""

    train: Trained = "all"
    """all weights; the head only; the head first and then all; low-rank updates (LoRA) and head; biases and head."""
    head_first: float = 0.2
    """With head-first: share of the run in which only the head learns."""
    lora_rank: int = 8
    """With lora: rank of the update of every attention and MLP matrix."""

    dropout: float | None = None
    """Overrides the model's drop rate; None keeps it."""
    drop_path: float | None = None
    """Overrides the model's stochastic depth; None keeps it."""
    drop_path_schedule: Literal["linear", "constant"] = "linear"
    """With drop_path: rising from 0 in the first block, or the same in all."""
    hidden_head: bool = False
    """Put the paper's tanh hidden layer before the head (pre-training)."""
    head: Literal["new", "keep"] = "new"
    """With fine-tuning: a new head of zeros, or the one that the weights come with, for the same classes."""
    head_bias: float = 0.0
    """What the head's bias begins with; AugReg's -10 makes every class unlikely under the sigmoid loss."""
    image_size: Size | None = None
    """Resolution to train at; None keeps the model's."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """What happens to each training image."""

    def __post_init__(self) -> None:
        check_types(self)
        positive(self, "learning_rate", "batch_size", "clip_norm", "epochs", "steps", "learning_rate_for")
        positive(self, "repeats", "eps", "lora_rank", "layer_decay", *(["warmup_epochs"] if self.warmup_epochs else []))
        share(self, "momentum", "label_smoothing", "dropout", "drop_path", "warmup_fraction", "head_first")
        if (self.epochs is None) == (self.steps is None):
            raise ConfigError(f"recipe {self.name}: give either epochs or steps, got {self.epochs} and {self.steps}")
        self._check_schedule()
        for name in ("weight_decay", "mixup", "cutmix", "warmup_from", "final_learning_rate"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"betas must lie in [0, 1), got {self.betas}")
        if not 0 < self.sweep_share < 1 or not all(0 < rate < math.inf for rate in self.sweep):
            raise ConfigError(f"sweep {self.sweep} or sweep_share {self.sweep_share} is out of range")
        if not 0 < self.masked_share <= 1:
            raise ConfigError(f"masked_share must lie in (0, 1], got {self.masked_share}")
        if self.layer_decay is not None and self.layer_decay > 1:
            raise ConfigError(f"layer_decay must lie in (0, 1], got {self.layer_decay}")
        if self.average_decay is not None and not 0.0 < self.average_decay < 1.0:
            raise ConfigError(f"average_decay must lie in (0, 1), got {self.average_decay}")
        if self.image_size is not None and min(self.image_size) < 1:
            raise ConfigError(f"image_size must be positive, got {self.image_size}")
        if self.batch_size % self.repeats:
            raise ConfigError(f"batch_size {self.batch_size} is not a multiple of repeats {self.repeats}")

    def _check_schedule(self) -> None:
        """One way to say how long the warm-up is; milestones where they mean something."""
        given = [
            name for name in ("warmup_steps", "warmup_epochs", "warmup_fraction") if getattr(self, name) is not None
        ]
        if len(given) > 1:
            raise ConfigError(f"recipe {self.name}: give warmup_steps or warmup_fraction, not both")
        for name in ("warmup_steps", "warmup_epochs"):
            if (getattr(self, name) or 0) < 0:
                raise ConfigError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if bool(self.milestones) != (self.schedule == "steps"):
            raise ConfigError(f"milestones belong to schedule='steps', got {self.milestones} with {self.schedule!r}")
        if list(self.milestones) != sorted(self.milestones) or not all(0 < share < 1 for share in self.milestones):
            raise ConfigError(f"milestones must rise between 0 and 1, got {self.milestones}")

    @property
    def mixes(self) -> bool:
        """Whether images of a batch are mixed with each other."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def peak(self) -> float:
        """The peak learning rate for this recipe's own batch."""
        return self.learning_rate * (self.batch_size / self.learning_rate_for if self.learning_rate_for else 1.0)

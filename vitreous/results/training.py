"""What training leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochRecord:
    """One line of metrics.jsonl that the curves are drawn from."""

    step: int
    epoch: float
    loss: float
    """Mean training loss since the last record."""
    accuracy: float
    """Mean training accuracy since the last record, on augmented images with dropout on."""
    learning_rate: float
    images_per_second: float
    waiting: float = 0.0
    """Share of the time spent waiting for images."""
    val_loss: float | None = None
    val_accuracy: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """What `pretrain`, `finetune` and `resume` leave behind."""

    run: str
    """The run folder."""
    model: str
    """The model file."""
    top1: float
    """Headline accuracy."""
    interval: tuple[float, float]
    seen: int
    expected: int
    seconds: float
    """Wall time of the training itself, over all the processes that took part in the run."""
    report: str
    data: str = ""
    """What top1 was measured on, in words."""
    optimistic: bool = False
    """True when the images that gave top1 also chose something."""
    score: str = "top-1"
    """What top1 is the share of, in a word."""

    @property
    def names_classes(self) -> bool:
        """Whether the model has a head; one that learned without labels has none yet."""
        return self.score == "top-1"


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoResult:
    """What `vitreous demo` measured."""

    pretrain_top1: float
    transfer_top1: float
    scratch_top1: float
    baseline_top1: float
    seconds: float
    report: str
    seen: dict[str, int] = field(default_factory=dict)
    """How many test images each of the four numbers rests on."""

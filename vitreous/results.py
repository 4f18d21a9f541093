"""What the verbs answer with: the same values that JSON, the report, the command and (later) the server show.

Scores are fractions in [0, 1], never percentages. Every score carries how many images were seen and expected, and
which ones failed.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """One image that could not be used."""

    path: str
    """The image, as the person named it."""
    reason: str
    """Why, in one line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What a model says about one image."""

    path: str
    """The image, as the person named it; empty for an image given as pixels."""
    label: str
    """Name of the most probable class."""
    index: int
    """Its place in the model's class list."""
    probability: float
    """Its softmax probability."""
    top: tuple[tuple[str, float], ...]
    """The most probable classes with their probabilities, best first."""


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
    when it is one of the image's classes, and that class then stands for its true one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """What can be had without the model, on the same test images."""

    name: str
    top1: float
    explained: str
    """One sentence: how this number comes about."""


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Resizing:
    """One tensor that was interpolated to fit."""

    name: str
    source: str
    """Its grid or shape before: "14 x 14"."""
    target: str
    """And after."""
    how: str
    """The convention: "bilinear-corners"."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversion:
    """What `vitreous convert` did."""

    source: str
    source_dialect: str
    target_dialect: str
    architecture: str
    mapped: tuple[str, ...]
    """Tensors of the source that are in the target."""
    resized: tuple[Resizing, ...]
    dropped: dict[str, str]
    """Tensors of the source that are not in the target, with the reason."""
    ignored: tuple[str, ...]
    """What lay in the source beside the weights."""
    assumed: tuple[str, ...]
    """What neither names nor shapes of the source tell."""
    differences: tuple[str, ...]
    """What the target cannot express; empty unless differences were allowed."""
    max_difference: float
    """Largest difference of a logit between the source and the target read back."""
    left_behind: tuple[str, ...]
    """What of the card the target has no place for, such as class names."""
    verified_by: str | None
    """Name and version of the target ecosystem's own code, where it was asked."""
    target: str

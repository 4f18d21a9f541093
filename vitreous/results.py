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
    when it is one of the image's classes, and that class then stands for its true one; no answer is right for an image
    that shows none, which `per_class` and `confusion` count with the first class."""


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


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedImage:
    """One image that `vitreous check` has something to say about."""

    path: str
    """The image, as a person reads it."""
    part: str
    """train, val, test, or all where nothing is divided."""
    label: str
    """Its class; of several labels or shares, all of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageGroup:
    """Images that show the same picture, or nearly."""

    how: str
    """bytes: equal files; pixels: equal pictures in different files; near: pictures that look the same."""
    images: tuple[CheckedImage, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class OddImage:
    """One image that is unlike what a model can learn from."""

    path: str
    part: str
    kind: str
    """tiny, narrow, constant, animated, or misnamed."""
    what: str
    """In words: `3 x 4 pixels`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Concern:
    """Something about the images as a whole that a person should know before training."""

    kind: str
    """imbalance, few images, missing classes, class names, conflicts, frames, odd images, or labels."""
    what: str
    """One sentence."""
    remedy: str
    """What to do about it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShuffleTest:
    """How well a simple model does with the labels as they are, and with the same labels shuffled."""

    top1: float
    """Accuracy on held-out images, with the labels as they are."""
    chance: tuple[float, float]
    """Where it would lie, 999 times of 1000, if labels had nothing to do with images."""
    shuffled_top1: float
    """Accuracy with shuffled labels."""
    shuffled_chance: tuple[float, float]
    """Where that lies, 999 times of 1000."""
    passed: bool | None
    """Whether the labels beat chance, and shuffled ones do not; None where too few images can tell."""
    explained: str
    """What that means, in a sentence or two."""
    seen: int
    """Held-out images that both rest on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    """What `vitreous check` found."""

    data: str
    """What was checked, as a person calls it."""
    images: int
    """How many there are, those that cannot be read included."""
    classes: dict[str, dict[str, int]]
    """For each class how many images each part holds: {"cat": {"train": 80, "val": 20}}."""
    unreadable: tuple[Failure, ...]
    duplicates: tuple[ImageGroup, ...]
    """Images with equal pixels, within a part and across parts; each group names all of its images."""
    near: tuple[ImageGroup, ...]
    """Pictures that look the same, within a part and across parts, though their pixels differ."""
    leaks: tuple[ImageGroup, ...]
    """Those of both kinds that lie in more than one part."""
    conflicts: tuple[ImageGroup, ...]
    """Duplicates that are labelled in more than one way."""
    odd: tuple[OddImage, ...]
    warnings: tuple[Concern, ...]
    notes: tuple[str, ...]
    """What was recognised and how it was looked at, one sentence each."""
    seconds: float
    shuffle_test: ShuffleTest | None = None
    html: str | None = None
    """The page that shows all this."""
    manifest: str | None = None
    """The clean list of images, where one was asked for."""
    kept: int | None = None
    """How many images it lists."""

    @property
    def faulty(self) -> bool:
        """Whether anything was found that should be mended; near pictures within one part need not be."""
        return bool(self.unreadable or self.duplicates or self.leaks or self.conflicts or self.warnings)

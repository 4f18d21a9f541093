"""How a model fares on labelled images."""

from __future__ import annotations

from dataclasses import dataclass, field

from vitreous.results.images import Failure

NO_CLASS = "(none of the classes)"
"""What stands where a class is named, for an image that shows none."""


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
class ClassMean:
    """Means over classes of what is defined: a class without a ratio is left out, never counted as 0."""

    precision: float | None
    recall: float | None
    f1: float | None
    over: tuple[int, int, int]
    """How many classes each of the three is a mean of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One evaluated image."""

    path: str
    label: int
    """True class; -1 for an image that shows none of the classes."""
    predicted: int
    """Most probable class."""
    probability: float
    """Probability given to the predicted class."""
    label_probability: float
    """Probability given to the true class; 0 where there is none."""


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
    unlabelled: int = 0
    """Images that show none of the classes: no answer is right for them, and they stand in no row of `confusion`."""
    log_loss: float | None = None
    """Mean negative log-likelihood in nats; where each class is a question of its own, mean binary cross-entropy."""
    brier: float | None = None
    """Mean squared distance of probabilities and truth, summed over the classes (Brier 1950), from 0 to 2; where each
    class is a question of its own, the mean over classes."""
    rms_calibration_error: float | None = None
    """Root mean square calibration error over bins of 100 images, the last bin included (Hendrycks et al. 2019)."""
    auroc: float | None = None
    """Area under the ROC curve, each class against the rest, mean over the classes that have both."""
    auroc_classes: int = 0
    """How many classes that is."""
    macro: ClassMean | None = None
    """Means over classes, each class counting once."""
    weighted: ClassMean | None = None
    """Means over classes, each counting as often as it has images."""
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    """95 % intervals by field: Wilson's for top1 and top5, the percentiles of 1,000 bootstrap samples for others."""
    notes: tuple[str, ...] = ()
    """What is undefined here and why, one sentence each."""

    def class_name(self, place: int) -> str:
        """The name of a class; `(none of the classes)` for the label of an image that shows none.

        Args:
            place: of the class, or -1.
        """
        return self.classes[place] if place >= 0 else NO_CLASS


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """What can be had without the model, on the same test images."""

    name: str
    top1: float
    explained: str
    """One sentence: how this number comes about."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """One temperature by which logits are divided, and what it does to a model's probabilities."""

    temperature: float
    """Above 1 where the model was too sure."""
    fitted_on: str
    """Which images chose it, in words."""
    images: int
    """How many."""
    left_out: int
    """Images that were not used because they are among the scored ones too."""
    seen: int
    """Images that `before` and `after` are scored on."""
    expected: int
    log_loss: tuple[float, float]
    """Before and after, on the scored images."""
    log_loss_intervals: tuple[tuple[float, float], tuple[float, float]]
    log_loss_change: tuple[float, float]
    """95 % interval of after minus before, on the same images."""
    calibration_error: tuple[float, float]
    calibration_error_intervals: tuple[tuple[float, float], tuple[float, float]]
    saved: str | None = None
    """The model file with the temperature in its head."""
    saved_log_loss: float | None = None
    """Of that file, read back and run on the scored images."""

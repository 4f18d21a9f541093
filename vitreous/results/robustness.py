"""How a classifier of ImageNet's thousand classes fares on the data sets made to try such models."""

from __future__ import annotations

from dataclasses import dataclass

from vitreous.results.images import Failure


@dataclass(frozen=True, kw_only=True, slots=True)
class CleanScore:
    """The same model, answering in the same way, on ImageNet's validation images."""

    top1: float
    top5: float
    answers: int
    """Among how many classes the answer was chosen."""
    seen: int
    expected: int
    failed: tuple[Failure, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SeverityScore:
    """One severity of one corruption."""

    severity: int
    """1 (slight) to 5."""
    top1: float
    top5: float
    seen: int
    expected: int
    failed: tuple[Failure, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class CorruptionScore:
    """One corruption of ImageNet-C in all the severities that are there."""

    name: str
    severities: tuple[SeverityScore, ...]
    error: float | None
    """Mean over the five severities of 1 - top1; None where one is missing."""
    ce: float | None = None
    """The error divided by AlexNet's; None for the four extra corruptions."""
    relative_ce: float | None = None
    """What is lost against clean images, divided by what AlexNet loses; None where the clean error is not known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedScore:
    """What others report for a model on the same data set; fractions, as measured ones."""

    model: str
    source: str
    """Paper and table, or repository and file."""
    top1: float | None = None
    top5: float | None = None
    mce: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RobustnessResult:
    """A model's score on ImageNet or one of its variants, by its name."""

    name: str
    """As it is typed ("imagenet-a")."""
    title: str
    """As it is written ("ImageNet-A")."""
    model: str
    top1: float
    """Share of the images that were answered rightly. For ImageNet-C over all images of the 15 corruptions; what is
    reported for it is `mce`."""
    top5: float
    interval: tuple[float, float] | None
    """95 % Wilson score interval of top1; None for ImageNet-C, which shows the same photographs 75 times."""
    answers: int
    """Among how many classes the answer is chosen: 1,000, or the 200 or 113 that the data set has."""
    seen: int
    expected: int
    """Images that were found and count."""
    failed: tuple[Failure, ...]
    published_images: int
    """How many the published data set has; a score on fewer is not the published one."""
    clean: CleanScore | None = None
    """On validation images of the same classes, where they lie below the same folder."""
    drop: float | None = None
    """clean.top1 - top1."""
    corruptions: tuple[CorruptionScore, ...] = ()
    """The 15 of ImageNet-C that are there, in the order of its paper."""
    extra: tuple[CorruptionScore, ...] = ()
    """Its four further corruptions, which count for nothing."""
    missing: tuple[str, ...] = ()
    """What ImageNet-C lacks here ("fog/3"): with anything missing there is no mCE."""
    mce: float | None = None
    """Mean over the 15 corruptions of ce, as a fraction: AlexNet has 1."""
    relative_mce: float | None = None
    """Mean over the 15 corruptions of relative_ce."""
    published: tuple[PublishedScore, ...] = ()
    """What others report, to compare with."""
    notes: tuple[str, ...] = ()
    """What was found, taken for granted or done to the images, one sentence each."""

    @property
    def complete(self) -> bool:
        """Whether every image of the published data set was answered."""
        return self.seen == self.published_images

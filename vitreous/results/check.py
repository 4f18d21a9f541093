"""What is wrong with a set of labelled images."""

from __future__ import annotations

from dataclasses import dataclass

from vitreous.results.images import Failure


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

"""Names that look like frames of films: such images belong together, and a split has to know it."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from dataclasses import dataclass

from vitreous.data.imageset import ImageSet
from vitreous.results import Concern

_FRAME = re.compile(r"([^/]*[^/\d])(\d{1,99})(?:\.\w+)?$")  # no number of a frame is longer
_ENDS = re.compile(r"(?:[-_. ]*(?:frame|frm|img|image))?[-_. ]*$", re.IGNORECASE)
_FEWEST = 3  # frames that make a film
_LARGEST_STEP = 30  # from one frame's number to the next: one frame a second
_SHARE = 0.5  # of the images that have to be frames


@dataclass(slots=True)
class _Film:
    """What is known of a film: its numbers themselves are not kept, as each of a million names may be a film."""

    label: int
    """Of its first frame."""
    lowest: int
    highest: int
    frames: int = 0
    more_labels: set[int] | None = None
    """Of its other frames, where they differ."""

    def add(self, number: int, label: int) -> None:
        """Count one frame.

        Args:
            number: of the frame.
            label: of the image.
        """
        self.frames += 1
        self.lowest, self.highest = min(self.lowest, number), max(self.highest, number)
        if label != self.label:
            self.more_labels = {label} if self.more_labels is None else self.more_labels | {label}

    @property
    def labels(self) -> set[int]:
        """Of all frames."""
        return {self.label} | (self.more_labels or set())


def frame_concerns(images: ImageSet) -> list[Concern]:
    """That images look like frames of several films of one class, with the `--group-by` that keeps them together.

    Args:
        images: with keys; where they have groups already there is nothing to say.
    """
    if images.groups is not None:
        return []
    films: dict[tuple[str, str], _Film] = {}
    for key, label in zip(images.keys, images.labels.tolist(), strict=True):
        if match := _FRAME.search(key):
            joint = _ENDS.search(match[1])
            assert joint is not None, "it matches nothing at all, at least"
            names, number = (match[1][: joint.start()], joint[0]), int(match[2])
            if (film := films.get(names)) is None:
                film = films[names] = _Film(label, number, number)
            film.add(number, label)
    found = {names: film for names, film in films.items() if names[0] and _is_film(names[0], film)}
    frames = sum(film.frames for film in found.values())
    per_class = Counter(label for film in found.values() for label in film.labels)
    if frames < _SHARE * len(images) or max(per_class.values(), default=0) < 2:
        return []
    joint_text, _ = Counter(joint for _, joint in found).most_common(1)[0]
    pattern = rf"([^/]+){re.escape(joint_text)}\d+" if joint_text else r"([^/]*[^/\d])\d+"
    example = next(key for key in images.keys if re.search(pattern, key))
    what = (
        f"{images.name}: {frames:,} images look like frames of {len(found):,} films, such as {example}; a split that"
        " parts the frames of one film makes every score too high"
    )
    return [Concern(kind="frames", what=what, remedy=f"--group-by {shlex.quote(pattern)} keeps them together")]


def _is_film(name: str, film: _Film) -> bool:
    """Whether numbers run as those of frames do, close to each other; a name without a number has to count by ones."""
    if film.frames < _FEWEST:
        return False
    step = (film.highest - film.lowest) / (film.frames - 1)
    return 0 < step <= (_LARGEST_STEP if any(map(str.isdigit, name)) else 1)

"""Names that look like frames of films: such images belong together, and a split has to know it."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from vitreous.data.imageset import ImageSet
from vitreous.results import Concern

_FRAME = re.compile(r"([^/]*[^/\d])(\d+)(?:\.\w+)?$")
_ENDS = re.compile(r"(?:[-_. ]*(?:frame|frm|img|image))?[-_. ]*$", re.IGNORECASE)
_FEWEST = 3  # frames that make a film
_LARGEST_STEP = 30  # from one frame's number to the next: one frame a second
_SHARE = 0.5  # of the images that have to be frames


@dataclass
class _Film:
    numbers: list[int] = field(default_factory=list)
    labels: Counter[int] = field(default_factory=Counter)


def frame_concerns(images: ImageSet) -> list[Concern]:
    """That images look like frames of several films of one class, with the `--group-by` that keeps them together.

    Args:
        images: with keys; where they have groups already there is nothing to say.
    """
    if images.groups is not None:
        return []
    films: dict[tuple[str, str], _Film] = {}
    for place, key in enumerate(images.keys):
        if match := _FRAME.search(key):
            joint = _ENDS.search(match[1])
            assert joint is not None, "it matches nothing at all, at least"
            film = films.setdefault((match[1][: joint.start()], joint[0]), _Film())
            film.numbers.append(int(match[2]))
            film.labels[int(images.labels[place])] += 1
    found = {names: film for names, film in films.items() if names[0] and _is_film(names[0], film.numbers)}
    frames = sum(len(film.numbers) for film in found.values())
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


def _is_film(name: str, numbers: Sequence[int]) -> bool:
    """Whether numbers run as those of frames do, close to each other; a name without a number has to count by ones."""
    if len(numbers) < _FEWEST:
        return False
    step = (max(numbers) - min(numbers)) / (len(numbers) - 1)
    return 0 < step <= (_LARGEST_STEP if any(map(str.isdigit, name)) else 1)

"""Images put in order before they are divided: without those that cannot be read, and no picture on both sides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Int

from vitreous.console import count
from vitreous.data.checking.before_training import Inspection
from vitreous.data.checking.copies import Copies, Spot, label_of
from vitreous.data.checking.readable import first_few, unreadable_error
from vitreous.data.imageset import ImageSet
from vitreous.data.split import together
from vitreous.errors import DataError
from vitreous.results import Failure

_SHOWN = 5
_RANK = {"train": 0, "val": 1, "test": 2}  # a picture stays where it judges most


def tidy(
    sets: Mapping[str, ImageSet],
    found: Inspection,
    where: str,
    *,
    bad_images: Literal["error", "skip"],
    dedupe: bool,
) -> tuple[dict[str, ImageSet], list[str], tuple[Failure, ...]]:
    """The images to go on with, what to say of the others, and those that cannot be read.

    Copies of a picture within one part stay together when that is divided.

    Args:
        sets: by train, val and test.
        found: by `inspect`, in these very sets.
        where: the data, for errors.
        bad_images: stop at images that cannot be read, or leave them out.
        dedupe: leave out copies that lie in a part that judges more; otherwise they stop everything.

    Raises:
        DataError: images cannot be read, or one picture lies in two parts.
    """
    failed = tuple(failure for failures in found.failures.values() for failure in failures.values())
    if failed and bad_images == "error":
        raise unreadable_error(failed, found.checked, where)
    across = [group for group in found.copies if len(group.parts) > 1]
    if across and not dedupe:
        raise _leak(across, sets, where)
    out = {part: set(failures) for part, failures in found.failures.items()}
    for group in across:
        stays = max(group.parts, key=_RANK.__getitem__)
        for spot in group.spots:
            if spot.part != stays:
                out[spot.part].add(spot.place)
    dropped = sum(map(len, out.values())) - len(failed)
    notes = [f"left out {count(len(failed), 'image')} that cannot be read"] if failed else []
    if dropped:
        notes.append(f"left out {count(dropped, 'copy', 'copies')} of images that the score comes from")
    notes += _contradictions(found.conflicts, sets)
    return {part: _rest(images, part, out[part], found.copies) for part, images in sets.items()}, notes, failed


def _rest(images: ImageSet, part: str, out: set[int], copies: tuple[Copies, ...]) -> ImageSet:
    """One part without some of its images, copies of one picture in one group."""
    kept = np.setdiff1d(np.arange(len(images)), np.fromiter(out, np.int64, len(out)))
    if out:
        images = images.subset(kept)
    groups = [[spot.place for spot in group.spots if spot.part == part and spot.place not in out] for group in copies]
    return together(images, [_now_at(kept, places) for places in groups if len(places) > 1])


def _now_at(kept: Int[np.ndarray, " n"], places: list[int]) -> list[int]:
    """Where images are once others are left out."""
    return np.searchsorted(kept, places).tolist()


def _leak(across: list[Copies], sets: Mapping[str, ImageSet], where: str) -> DataError:
    pairs = [" = ".join(_named(sets, spot) for spot in group.spots[:3]) for group in across[:_SHOWN]]
    lie = count(len(across), "picture lies", "pictures lie")
    return DataError(
        f"{lie} in more than one part, so that the score would be too good",
        where=where,
        why=first_few(pairs, len(across)),
        remedy="--dedupe leaves them out of the part that learns; `vitreous check` shows them",
    )


def _contradictions(conflicts: tuple[Copies, ...], sets: Mapping[str, ImageSet]) -> list[str]:
    if not conflicts:
        return []
    first = conflicts[0].spots[:2]
    example = " and ".join(f"{_named(sets, spot)} ({label_of(sets[spot.part], spot.place)})" for spot in first)
    count = "one picture has" if len(conflicts) == 1 else f"{len(conflicts):,} pictures have"
    return [f"{count} more than one label, such as {example}; `vitreous check` shows them"]


def _named(sets: Mapping[str, ImageSet], spot: Spot) -> str:
    return str(sets[spot.part].ids[spot.place])

"""The check before training that images can be read: one full decode of each, or of a sample of those in shards."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from vitreous.console import Progress
from vitreous.data.feeding.threads import at_work, in_order, num_cores
from vitreous.data.imageset import ImageSet
from vitreous.errors import DataError, ImageError
from vitreous.picture.decode import reason
from vitreous.results import Failure

_SHOWN = 10
_SAMPLE = 1_000  # images of a sharded set: finds, with 99 %, a fault that one image in 200 has
_SEED = 17


def places_to_check(images: ImageSet) -> Int[np.ndarray, " n"]:
    """Which images are read before training: all, or the same thousand each time of a set in shards, rising.

    Args:
        images: of any number.
    """
    if not images.shards or len(images) <= _SAMPLE:
        return np.arange(len(images))
    return np.sort(np.random.default_rng(_SEED).permutation(len(images))[:_SAMPLE])


def unreadable(sets: Sequence[ImageSet]) -> list[dict[int, Failure]]:
    """For each set, the images that cannot be read among those to check, by index; progress is shown meanwhile.

    Args:
        sets: checked one after the other; those in memory are passed over.
    """
    doubtful = [images for images in sets if not images.in_memory]
    found: dict[int, dict[int, Failure]] = {}
    workers = num_cores()
    wanted = [places_to_check(images).tolist() for images in doubtful]
    with Progress("checking that images can be read", sum(map(len, wanted))) as progress:
        for images, places in zip(doubtful, wanted, strict=True):
            failures = found[id(images)] = {}
            attempt = functools.partial(_failure, images)
            outcomes = in_order(attempt, places, workers=workers, ahead=4 * workers)
            for index, failure in zip(places, outcomes, strict=True):
                if failure is not None:
                    failures[index] = failure
                progress.advance()
    return [found.get(id(images), {}) for images in sets]


def unreadable_error(failures: Sequence[Failure], total: int, where: str) -> DataError:
    """The error that names images that cannot be read: the first ten, and how many more.

    Args:
        failures: one or more.
        total: images looked at.
        where: the data.
    """
    listed = [f"{failure.path}: {failure.reason}" for failure in failures[:_SHOWN]]
    if len(failures) > _SHOWN:
        listed.append(f"... and {len(failures) - _SHOWN:,} more")
    return DataError(
        f"{len(failures):,} of {total:,} images cannot be read",
        where=where,
        why="\n        ".join(listed),
        remedy="mend or remove them, or leave them out with --bad-images skip",
    )


def _failure(images: ImageSet, index: int) -> Failure | None:
    at_work(images.ids[index])
    try:
        images.read(index)
    except ImageError as error:
        return Failure(path=images.ids[index], reason=reason(error))
    return None

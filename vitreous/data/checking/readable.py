"""Which images are read before training, all or a sample of those in shards, and what is said when some cannot be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from vitreous.data.imageset import ImageSet
from vitreous.errors import DataError
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


def first_few(lines: Sequence[str], total: int) -> str:
    """The first of many finds below each other, and how many more there are, as the reason of an error.

    Args:
        lines: one for each of the first finds.
        total: of all finds.
    """
    more = [f"... and {total - len(lines):,} more"] if total > len(lines) else []
    return "\n        ".join([*lines, *more])


def unreadable_error(failures: Sequence[Failure], total: int, where: str) -> DataError:
    """The error that names images that cannot be read: the first ten, and how many more.

    Args:
        failures: one or more.
        total: images looked at.
        where: the data.
    """
    return DataError(
        f"{len(failures):,} of {total:,} images cannot be read",
        where=where,
        why=first_few([f"{failure.path}: {failure.reason}" for failure in failures[:_SHOWN]], len(failures)),
        remedy="mend or remove them, or leave them out with --bad-images skip",
    )

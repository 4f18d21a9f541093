"""Batches of pixels, prepared by threads a bounded distance ahead; what is in them never depends on the threads.

Threads suffice: Pillow lets go of Python's lock while it decodes and resizes.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int, UInt8

from vitreous.config import AugmentConfig, PreprocessConfig
from vitreous.data.feeding.cache import ImageCache
from vitreous.data.feeding.fast import require_fast
from vitreous.data.feeding.order import batch_members
from vitreous.data.feeding.threads import at_work, in_order
from vitreous.data.feeding.views import Views
from vitreous.data.imageset import ImageSet
from vitreous.errors import ImageError
from vitreous.picture.decode import reason
from vitreous.picture.preprocess import fit
from vitreous.results import Failure

_CHUNK = 16  # images a thread prepares in one go: enough to outweigh the handing over, few enough to share out

Readable = tuple[Int[np.ndarray, " b"], UInt8[np.ndarray, "b h w 3"], tuple[Failure, ...]]
"""Places in the image set, their pixels, and the images of the batch that cannot be read."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Part of one training step's images, ready but for scaling."""

    step: int
    """From 0."""
    first: int
    """Place of its first image in the step's batch, from 0."""
    last: bool
    """Whether it is the last part of the places asked for."""
    images: UInt8[np.ndarray, "b h w 3"]
    labels: Int[np.ndarray, " b"]
    epochs: Int[np.ndarray, " b"]
    indices: Int[np.ndarray, " b"]
    """Places in the image set."""
    mates: UInt8[np.ndarray, "b h w 3"] | None = None
    """For each image the one a place before it in the step's batch, around its end: whom mixup and cutmix mix it
    with. None unless asked for."""
    mate_labels: Int[np.ndarray, " b"] | None = None
    targets: Float32[np.ndarray, "b Y"] | None = None
    """Where images have several labels, or shares of them."""
    mate_targets: Float32[np.ndarray, "b Y"] | None = None


@dataclass(frozen=True, eq=False)
class _Job:
    """A batch, and what has to be shown in it; `pixels` is what its images, and its mates, are views of."""

    batch: Batch
    pixels: UInt8[np.ndarray, "n h w 3"]
    views: list[tuple[int, int, int]]
    """(epoch, index, repeat) of each row of pixels."""


def training_batches(
    images: ImageSet,
    *,
    preprocess: PreprocessConfig,
    augment: AugmentConfig,
    seed: int,
    batch_size: int,
    micro_batch: int,
    first_step: int,
    num_steps: int,
    workers: int = 2,
    places: range | None = None,
    mates: bool = False,
    repeats: int = 1,
    fast: bool = False,
    cache: ImageCache | None = None,
) -> Generator[Batch, None, None]:
    """Every step's batch in parts of at most `micro_batch` images, from `first_step` to the end of the run.

    Neither the parts nor the places asked for change what lies at a place. Closing the iterator ends its threads.

    Args:
        images: to learn from.
        preprocess: gives the resolution.
        augment: what happens to each image, as a function of (seed, epoch, index, repeat).
        seed: decides order and augmentation.
        batch_size: images per step.
        micro_batch: images per part; it decides how a batch is cut, never what is in it.
        first_step: from 0; a resumed run starts here, with the very batches it would have had.
        num_steps: of the whole run; the steps before `num_steps` come.
        workers: threads; 0 prepares in the caller's own.
        places: the part of every step's batch to prepare, such as one process's share; None for all of it.
        mates: whether to give each image's mate too; this prepares one more image per part.
        repeats: how often a batch shows each image, each time augmented anew.
        fast: whether JPEGs are decoded by the fast path: other pixels, though few and little.
        cache: where images are kept from epoch to epoch; it changes no pixel.

    Raises:
        ImageError: an image can no longer be read; `where` names it.
        UsageError: the fast path's packages are not installed.
    """
    wanted = range(batch_size) if places is None else places
    assert 0 <= wanted.start < wanted.stop <= batch_size, f"places {wanted} of a batch of {batch_size}"

    if fast:
        require_fast()
    views = Views(images, preprocess, augment, seed, fast, cache)

    def prepare(chunk: tuple[_Job, range]) -> tuple[_Job, range]:
        job, rows = chunk
        for row in rows:
            epoch, index, repeat = job.views[row]
            at_work(images.ids[index])
            job.pixels[row] = views.view(epoch, index, repeat)
        return chunk

    def plan() -> Iterator[_Job]:
        for step in range(first_step, num_steps):
            members = batch_members(
                seed=seed, step=step, batch_size=batch_size, count=len(images), repeats=repeats, shards=images.shards
            )
            for part in _pieces(wanted, micro_batch):
                last = part.stop == wanted.stop
                yield _job(images, preprocess, step, part, members, mates=mates, repeats=repeats, last=last)

    chunks = ((job, rows) for job in plan() for rows in _pieces(range(len(job.views)), _CHUNK))
    with closing(in_order(prepare, chunks, workers=workers, ahead=_ahead(workers, micro_batch))) as prepared:
        for job, rows in prepared:
            if rows.stop == len(job.views):
                yield job.batch


def evaluation_batches(
    images: ImageSet, *, preprocess: PreprocessConfig, batch_size: int, workers: int = 2
) -> Generator[Readable, None, None]:
    """Every image once, in order, as evaluation shows it; those that cannot be read come back as failures.

    Closing the iterator ends its threads.

    Args:
        images: to evaluate on.
        preprocess: how an image becomes the model's input.
        batch_size: images considered per batch; failures make a batch smaller, never another larger.
        workers: threads; 0 prepares in the caller's own.
    """

    def prepare(places: range) -> tuple[range, list[np.ndarray | Failure]]:
        return places, [_fitted(images, index, preprocess) for index in places]

    batches = _pieces(range(len(images)), batch_size)
    chunks = (places for batch in batches for places in _pieces(batch, _CHUNK))
    outcomes: list[np.ndarray | Failure] = []
    with closing(in_order(prepare, chunks, workers=workers, ahead=_ahead(workers, batch_size))) as prepared:
        for places, found in prepared:
            outcomes += found
            if places.stop % batch_size == 0 or places.stop == len(images):
                yield _collected(places.stop - len(outcomes), outcomes, preprocess)
                outcomes = []


def _job(
    images: ImageSet,
    preprocess: PreprocessConfig,
    step: int,
    part: range,
    members: tuple[Int[np.ndarray, " batch"], Int[np.ndarray, " batch"]],
    *,
    mates: bool,
    repeats: int,
    last: bool,
) -> _Job:
    """The places `part` of a step's batch, with room for their images."""
    epochs, indices = members
    total = len(indices)
    shown = np.arange(part.start - mates, part.stop) % total
    pixels = np.empty((len(shown), *preprocess.image_size, 3), np.uint8)
    labels = images.labels[indices[shown]]
    targets = None if images.targets is None else images.targets.rows(indices[shown])
    own = slice(int(mates), None)
    batch = Batch(
        step=step,
        first=part.start,
        last=last,
        images=pixels[own],
        labels=labels[own],
        epochs=epochs[shown[own]],
        indices=indices[shown[own]],
        mates=pixels[:-1] if mates else None,
        mate_labels=labels[:-1] if mates else None,
        targets=None if targets is None else targets[own],
        mate_targets=targets[:-1] if mates and targets is not None else None,
    )
    repeat = shown // (total // repeats)
    return _Job(batch, pixels, list(zip(epochs[shown].tolist(), indices[shown].tolist(), repeat.tolist(), strict=True)))


def _fitted(images: ImageSet, index: int, preprocess: PreprocessConfig) -> np.ndarray | Failure:
    at_work(images.ids[index])
    try:
        return fit(images.read(index), preprocess)
    except ImageError as error:
        return Failure(path=images.ids[index], reason=reason(error))


def _collected(first: int, outcomes: list[np.ndarray | Failure], preprocess: PreprocessConfig) -> Readable:
    good = [(index, found) for index, found in enumerate(outcomes, first) if isinstance(found, np.ndarray)]
    pixels = np.empty((len(good), *preprocess.image_size, 3), np.uint8)
    for place, (_, found) in enumerate(good):
        pixels[place] = found
    failed = tuple(found for found in outcomes if isinstance(found, Failure))
    return np.array([index for index, _ in good], np.int64), pixels, failed


def _pieces(whole: range, size: int) -> Iterator[range]:
    """A range cut into ranges of `size`; the last may be shorter."""
    return (whole[start : start + size] for start in range(0, len(whole), size))


def _ahead(workers: int, batch: int) -> int:
    """Chunks to start before their turn: two batches' worth, and work for every thread."""
    return max(2 * workers, 2 * -(-batch // _CHUNK))

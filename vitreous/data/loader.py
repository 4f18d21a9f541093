"""Batches of pixels, prepared by threads a bounded distance ahead; what is in them never depends on the threads.

Threads suffice: Pillow lets go of Python's lock while it decodes and resizes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt8

from vitreous.config import AugmentConfig, PreprocessConfig
from vitreous.data.augment import augment as augmented
from vitreous.data.augment import sample_rng
from vitreous.data.imageset import ImageSet
from vitreous.data.order import batch_members
from vitreous.data.threads import in_order
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
    micro: int
    """Which part of the step's batch, from 0."""
    last: bool
    """Whether it is the step's last part."""
    images: UInt8[np.ndarray, "b h w 3"]
    labels: Int[np.ndarray, " b"]
    epochs: Int[np.ndarray, " b"]
    indices: Int[np.ndarray, " b"]
    """Places in the image set."""


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
) -> Iterator[Batch]:
    """Every step's batch in parts of at most `micro_batch` images, from `first_step` to the end of the run.

    Closing the iterator ends its threads.

    Args:
        images: to learn from.
        preprocess: gives the resolution.
        augment: what happens to each image, as a function of (seed, epoch, index).
        seed: decides order and augmentation.
        batch_size: images per step.
        micro_batch: images per part; it decides how a batch is cut, never what is in it.
        first_step: from 0; a resumed run starts here, with the very batches it would have had.
        num_steps: of the whole run; the steps before `num_steps` come.
        workers: threads; 0 prepares in the caller's own.

    Raises:
        ImageError: an image can no longer be read; `where` names it.
    """

    def prepare(chunk: tuple[Batch, range]) -> tuple[Batch, range]:
        batch, places = chunk
        for place in places:
            epoch, index = int(batch.epochs[place]), int(batch.indices[place])
            rng = sample_rng(seed, epoch, index)
            batch.images[place] = augmented(images.read(index), rng, augment, preprocess)
        return chunk

    plan = _plan(images, preprocess, seed, batch_size, micro_batch, range(first_step, num_steps))
    chunks = ((batch, places) for batch in plan for places in _pieces(range(len(batch.indices)), _CHUNK))
    with closing(in_order(prepare, chunks, workers=workers, ahead=_ahead(workers, micro_batch))) as prepared:
        for batch, places in prepared:
            if places.stop == len(batch.indices):
                yield batch


def evaluation_batches(
    images: ImageSet, *, preprocess: PreprocessConfig, batch_size: int, workers: int = 2
) -> Iterator[Readable]:
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


def _plan(
    images: ImageSet,
    preprocess: PreprocessConfig,
    seed: int,
    batch_size: int,
    micro_batch: int,
    steps: range,
) -> Iterator[Batch]:
    """The batches to come, with room for their images."""
    for step in steps:
        epochs, indices = batch_members(seed=seed, step=step, batch_size=batch_size, count=len(images))
        for micro, places in enumerate(_pieces(range(batch_size), micro_batch)):
            part = slice(places.start, places.stop)
            yield Batch(
                step=step,
                micro=micro,
                last=places.stop == batch_size,
                images=np.empty((len(places), *preprocess.image_size, 3), np.uint8),
                labels=images.labels[indices[part]],
                epochs=epochs[part],
                indices=indices[part],
            )


def _fitted(images: ImageSet, index: int, preprocess: PreprocessConfig) -> np.ndarray | Failure:
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

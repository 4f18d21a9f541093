"""Which images make up which batch of training: a pure function of seed and step.

Training reads one endless stream, the concatenation over epochs of shuffled passes over all images; step s takes the
places from s * batch_size on. So every image is seen once per epoch, batches cross the border between epochs, none is
smaller than the others, and a run can start anywhere. With repeated augmentation a step takes fewer places and shows
each of them several times.
"""

from __future__ import annotations

import functools

import numpy as np
from jaxtyping import Int

_PURPOSE = 1  # sets the stream of the order apart from that of augmentation, for the same seed and epoch


def batch_members(
    *, seed: int, step: int, batch_size: int, count: int, repeats: int = 1
) -> tuple[Int[np.ndarray, " batch"], Int[np.ndarray, " batch"]]:
    """Epoch and index of every image in one batch.

    With repeats the whole list comes again and again, so that neighbours are different images: mixup and cutmix mix
    neighbours. Source: Hoffer et al., CVPR 2020, "Augment your batch".

    Args:
        seed: of the run.
        step: from 0.
        batch_size: images per step; may exceed `count`.
        count: images in the set, 1 or more.
        repeats: how often the batch shows each image, a divisor of batch_size.
    """
    assert batch_size % repeats == 0, "the recipe allows only whole repeats"
    distinct = batch_size // repeats
    positions = np.arange(step * distinct, (step + 1) * distinct)
    epochs, places = np.divmod(positions, count)
    indices = np.empty_like(places)
    for epoch in range(int(epochs[0]), int(epochs[-1]) + 1):
        here = epochs == epoch
        indices[here] = epoch_order(seed, epoch, count)[places[here]]
    return np.tile(epochs, repeats), np.tile(indices, repeats)


@functools.lru_cache(maxsize=4)
def epoch_order(seed: int, epoch: int, count: int) -> Int[np.ndarray, " count"]:
    """The images of one epoch in the order they are seen, read-only.

    Made by sorting raw PCG64 numbers, which NumPy promises never to change, unlike its shuffles.

    Args:
        seed: of the run.
        epoch: from 0.
        count: images in the set.
    """
    stream = np.random.PCG64(np.random.SeedSequence((seed, epoch), spawn_key=(_PURPOSE,)))
    order = np.argsort(stream.random_raw(count), kind="stable")
    order.flags.writeable = False
    return order

"""Which images make up which batch of training: a pure function of seed and step.

Training reads one endless stream, the concatenation over epochs of shuffled passes over all images; step s takes the
places from s * batch_size on. So every image is seen once per epoch, batches cross the border between epochs, none is
smaller than the others, and a run can start anywhere.
"""

from __future__ import annotations

import functools

import numpy as np
from jaxtyping import Int

_PURPOSE = 1  # sets the stream of the order apart from that of augmentation, for the same seed and epoch


def batch_members(
    *, seed: int, step: int, batch_size: int, count: int
) -> tuple[Int[np.ndarray, " batch"], Int[np.ndarray, " batch"]]:
    """Epoch and index of every image in one batch.

    Args:
        seed: of the run.
        step: from 0.
        batch_size: images per step; may exceed `count`.
        count: images in the set, 1 or more.
    """
    positions = np.arange(step * batch_size, (step + 1) * batch_size)
    epochs, places = np.divmod(positions, count)
    indices = np.empty_like(places)
    for epoch in range(int(epochs[0]), int(epochs[-1]) + 1):
        here = epochs == epoch
        indices[here] = epoch_order(seed, epoch, count)[places[here]]
    return epochs, indices


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

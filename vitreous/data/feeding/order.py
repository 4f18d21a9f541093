"""Which images make up which batch of training: a pure function of seed and step.

Training reads one endless stream, the concatenation over epochs of passes over all images; step s takes the places
from s * batch_size on. So every image is seen once per epoch, batches cross the border between epochs, none is
smaller than the others, and a run can start anywhere. With repeated augmentation a step takes fewer places and shows
each of them several times.

Images that lie apart are shuffled one by one. Images in shards lie beside each other in large files, where jumping
about is slow; they are shuffled in three parts that keep neighbours near:

1. Shards are cut into regions of at most 256 neighbouring images, and every epoch all regions are put in a new order.
2. The places of a batch are cut into equal parts, the lanes, as many as the largest power of two that divides the
   batch, at most 64. The epoch's row of regions is cut too: each lane gets a piece that is exactly as long as its
   places in the epoch, so that no lane ends before another.
3. A lane goes through its piece in windows, within which images come in any order. The windows of all lanes hold
   65,536 images together, so that a batch is as well mixed by few lanes as by many.

A process that takes part of every batch reads the regions of its own lanes one after another, and as lanes belong to
the batch and never to the machine, any number of processes sees the same batches. Canonical lanes are the idea of
MosaicML Streaming ("canonical nodes", streaming/base/partition); the exact cut and the windows are not.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from jaxtyping import Int, UInt16

LANES = 64
"""The most lanes a batch is cut into."""

REGION = 256
"""The most images of one shard that stay neighbours: some 25 MB of photographs, which any storage reads in one go."""

POOL = 65_536
"""Images that the windows of all lanes hold together."""

_PURPOSE = 1  # sets the stream of the order apart from that of augmentation, for the same seed and epoch
_REGIONS, _WINDOW = 1, 2  # what of a sharded order is drawn


def batch_members(
    *, seed: int, step: int, batch_size: int, count: int, repeats: int = 1, shards: tuple[int, ...] = ()
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
        shards: how many consecutive images lie in each shard, `count` in all; empty for images that lie apart.
    """
    assert batch_size % repeats == 0, "the recipe allows only whole repeats"
    assert sum(shards) in (0, count), f"shards of {sum(shards)} images for a set of {count}"
    distinct = batch_size // repeats
    positions = np.arange(step * distinct, (step + 1) * distinct)
    epochs = positions // count
    indices = np.empty_like(positions)
    for epoch in range(int(epochs[0]), int(epochs[-1]) + 1):
        here = positions[epochs == epoch]
        indices[epochs == epoch] = (
            _sharded(seed, epoch, shards, here, distinct)
            if shards
            else epoch_order(seed, epoch, count)[here - epoch * count]
        )
    return np.tile(epochs, repeats), np.tile(indices, repeats)


@functools.lru_cache(maxsize=4)
def epoch_order(seed: int, epoch: int, count: int) -> Int[np.ndarray, " count"]:
    """The images of one epoch in the order they are seen, read-only; for images that lie apart.

    Args:
        seed: of the run.
        epoch: from 0.
        count: images in the set.
    """
    order = _permutation(count, seed, epoch)
    order.flags.writeable = False
    return order


def num_lanes(distinct: int) -> int:
    """How many lanes a batch is cut into.

    Args:
        distinct: images in a batch, repeats not counted.
    """
    return math.gcd(distinct, LANES)


def _sharded(
    seed: int, epoch: int, shards: tuple[int, ...], positions: Int[np.ndarray, " n"], distinct: int
) -> Int[np.ndarray, " n"]:
    """The images at some positions of the stream, all in one epoch."""
    count, lanes = sum(shards), num_lanes(distinct)
    every = np.arange(lanes)
    before = _places_before(epoch * count, every, distinct)
    lengths = _places_before((epoch + 1) * count, every, distinct) - before
    starts = np.cumsum(lengths) - lengths  # of the lanes' pieces in the epoch's row of regions

    lane = positions % distinct // (distinct // lanes)
    rank = _places_before(positions, lane, distinct) - before[lane]
    size = POOL // lanes
    late = lane * size // lanes  # lanes enter their windows one after another: not all of them fetch at once
    window = (rank + late) // size
    first = np.maximum(window * size - late, 0)
    length = np.minimum((window + 1) * size - late, lengths[lane]) - first

    row = np.empty_like(positions)
    for n in np.flatnonzero(np.diff(lane, prepend=-1) | np.diff(window, prepend=-1)):  # where a lane or window begins
        here = (lane == lane[n]) & (window == window[n])
        order = _window_order(int(length[n]), seed, epoch, int(lane[n]), int(window[n]))
        row[here] = starts[lane[n]] + first[n] + order[rank[here] - first[n]]
    ends, shift = _regions(seed, epoch, shards)
    return row + shift[np.searchsorted(ends, row, side="right")]


def _places_before(
    position: int | Int[np.ndarray, " n"], lane: Int[np.ndarray, " n"], distinct: int
) -> Int[np.ndarray, " n"]:
    """How many of the stream's places before a position belong to a lane."""
    share = distinct // num_lanes(distinct)
    whole, rest = np.divmod(position, distinct)
    return whole * share + np.clip(rest - lane * share, 0, share)


@functools.lru_cache(maxsize=4)
def _regions(
    seed: int, epoch: int, shards: tuple[int, ...]
) -> tuple[Int[np.ndarray, " regions"], Int[np.ndarray, " regions"]]:
    """An epoch's row of regions: where in the row each ends, and what turns a place in the row into an image."""
    sizes = np.asarray(shards)
    cuts = -(-sizes // REGION)  # regions of each shard, of equal length within one image
    shard = np.repeat(np.arange(len(sizes)), cuts)
    part = np.arange(len(shard)) - (np.cumsum(cuts) - cuts)[shard]
    start, stop = part * sizes[shard] // cuts[shard], (part + 1) * sizes[shard] // cuts[shard]
    order = _permutation(len(shard), seed, epoch, _REGIONS)
    ends = np.cumsum((stop - start)[order])
    return ends, ((np.cumsum(sizes) - sizes)[shard] + stop)[order] - ends


@functools.lru_cache(maxsize=2 * LANES)
def _window_order(length: int, seed: int, epoch: int, lane: int, window: int) -> UInt16[np.ndarray, " length"]:
    """The order within a window, as places from its beginning."""
    return _permutation(length, seed, epoch, _WINDOW, lane, window).astype(np.uint16)


def _permutation(count: int, seed: int, epoch: int, *what: int) -> Int[np.ndarray, " count"]:
    """Made by sorting raw PCG64 numbers, which NumPy promises never to change, unlike its shuffles."""
    stream = np.random.PCG64(np.random.SeedSequence((seed, epoch), spawn_key=(_PURPOSE, *what)))
    return np.argsort(stream.random_raw(count), kind="stable")

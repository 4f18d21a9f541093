"""The stream of training images is the concatenation of shuffled epochs, and can be entered anywhere."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitreous.data.feeding import order
from vitreous.data.feeding.order import batch_members, epoch_order

sizes = st.integers(1, 60)


@settings(deadline=None)
@given(sizes, sizes, st.integers(0, 5), st.integers(0, 2**63))
def test_batches_are_the_stream_cut_into_equal_pieces(count: int, batch_size: int, first: int, seed: int) -> None:
    """The stream written down anew: all epochs, one after the other."""
    steps = range(first, first + 3)
    epochs_needed = -(-steps.stop * batch_size // count)
    stream = [(epoch, i) for epoch in range(epochs_needed) for i in epoch_order(seed, epoch, count)]
    for step in steps:
        epochs, indices = batch_members(seed=seed, step=step, batch_size=batch_size, count=count)
        expected = stream[step * batch_size : (step + 1) * batch_size]
        assert list(zip(epochs.tolist(), indices.tolist(), strict=True)) == expected
        assert len(indices) == batch_size


@settings(deadline=None)
@given(sizes, st.integers(0, 1000), st.integers(0, 2**63))
def test_every_epoch_is_a_permutation(count: int, epoch: int, seed: int) -> None:
    assert sorted(epoch_order(seed, epoch, count)) == list(range(count))


def test_epochs_and_seeds_differ() -> None:
    orders = {tuple(epoch_order(seed, epoch, 50)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


def test_the_shuffle_is_fair() -> None:
    """Where image 0 lands over 4,000 epochs of 5 images: uniform within five standard deviations."""
    places = np.bincount([int(np.argmin(epoch_order(1, epoch, 5))) for epoch in range(4000)], minlength=5)
    assert np.abs(places - 800).max() < 5 * np.sqrt(4000 * 0.2 * 0.8)


def test_batches_cross_the_border_between_epochs() -> None:
    epochs, _ = batch_members(seed=0, step=1, batch_size=6, count=10)
    assert epochs.tolist() == [0, 0, 0, 0, 1, 1]


def test_a_set_smaller_than_a_batch_fills_it_by_epochs() -> None:
    epochs, indices = batch_members(seed=0, step=0, batch_size=7, count=3)
    assert epochs.tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert sorted(indices[:3]) == sorted(indices[3:6]) == [0, 1, 2]


def test_orders_cannot_be_changed_by_accident() -> None:
    with pytest.raises(ValueError, match="read-only"):
        epoch_order(0, 0, 5)[0] = 1


@settings(deadline=None)
@given(sizes, st.integers(1, 5), st.integers(1, 20), st.integers(0, 3))
def test_repeats_show_a_smaller_batch_several_times(count: int, repeats: int, distinct: int, step: int) -> None:
    shown = batch_members(seed=2, step=step, batch_size=distinct * repeats, count=count, repeats=repeats)
    once = batch_members(seed=2, step=step, batch_size=distinct, count=count)
    for found, expected in zip(shown, once, strict=True):
        assert found.tolist() == expected.tolist() * repeats


# ---------------------------------------------------------------- shards


batches_of = st.integers(1, 9).flatmap(lambda odd: st.sampled_from([odd * 2**k for k in range(8)]))
shard_sizes = st.lists(st.integers(1, 900), min_size=1, max_size=12).map(tuple)

LARGE = (4096,) * 64
"""Shards of a set so large that a lane of a batch of 512 passes through several windows: 4,096 images a lane."""


def members(shards: tuple[int, ...], batch_size: int, step: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    return batch_members(seed=seed, step=step, batch_size=batch_size, count=sum(shards), shards=shards)


def stream(shards: tuple[int, ...], batch_size: int, steps: range, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Epochs and images, (steps, batch_size) each."""
    epochs, indices = zip(*(members(shards, batch_size, step, seed) for step in steps), strict=True)
    return np.stack(epochs), np.stack(indices)


@pytest.fixture(scope="module")
def epoch_of_large() -> np.ndarray:
    """One whole epoch of LARGE, (512 steps, 512 places)."""
    return stream(LARGE, 512, range(512))[1]


@settings(deadline=None, max_examples=25)
@given(shard_sizes, batches_of, st.integers(0, 2**63))
def test_every_image_comes_once_an_epoch(shards: tuple[int, ...], batch_size: int, seed: int) -> None:
    """Whatever the sizes, and however epochs' borders cut batches and lanes."""
    count = sum(shards)
    epochs, indices = stream(shards, batch_size, range(-(-3 * count // batch_size)), seed)
    assert (epochs.ravel() == np.arange(epochs.size) // count).all()
    for epoch in range(3):
        assert sorted(indices[epochs == epoch]) == list(range(count))


@settings(deadline=None, max_examples=30)
@given(shard_sizes, batches_of, st.permutations(range(12)))
def test_a_run_over_shards_can_start_anywhere(shards: tuple[int, ...], batch_size: int, steps: list[int]) -> None:
    """Steps asked for in any order, with nothing remembered, are those of the run from the beginning."""
    _, running = stream(shards, batch_size, range(12))
    order._regions.cache_clear()
    order._window_order.cache_clear()
    for step in steps:
        assert (members(shards, batch_size, step)[1] == running[step]).all()


def test_epochs_and_seeds_differ_in_regions_and_within_them() -> None:
    shards = (300,) * 8
    seen = {(seed, epoch): stream(shards, 240, range(10 * epoch, 10 * epoch + 10), seed)[1]
            for seed in range(3) for epoch in range(3)}  # fmt: skip
    assert len({indices.tobytes() for indices in seen.values()}) == 9
    regions = {tuple(dict.fromkeys((indices[:, 0] // 150).tolist())) for indices in seen.values()}
    assert len(regions) > 1


def test_a_lane_is_what_the_definition_says(epoch_of_large: np.ndarray) -> None:
    """Written down anew: a lane's places in the epoch, one window after another, hold a row of whole regions."""
    for lane in (0, 1, 37, 63):
        reads = epoch_of_large[:, 8 * lane : 8 * lane + 8].ravel()
        first = 1024 - 1024 * lane // 64
        windows = np.split(reads, [first, first + 1024, first + 2048, first + 3072])
        assert [len(window) for window in windows] == [first, 1024, 1024, 1024, 1024 - first]
        rows = [set((window // 256).tolist()) for window in windows if len(window)]
        assert len(set.union(*rows)) == 16  # as many regions as make up 4,096 images
        assert all(len(one & other) <= 1 for one, other in itertools.combinations(rows, 2))


def test_a_process_reads_few_regions_at_a_time(epoch_of_large: np.ndarray) -> None:
    """Between its first and its last image, a region counts as open; with a full shuffle all always are."""

    def most_open(reads: np.ndarray) -> int:
        regions = reads // 256
        ends = {region: place for place, region in enumerate(regions.tolist())}
        starts = {region: place for place, region in reversed(list(enumerate(regions.tolist())))}
        change = np.zeros(len(reads) + 1, int)
        for region, place in starts.items():
            change[place] += 1
            change[ends[region]] -= 1
        return int(np.cumsum(change).max())

    for ranks in (1, 2, 4, 8):
        share = 512 // ranks
        own = epoch_of_large[:, :share].ravel()
        assert most_open(own) <= 64 // ranks * 6
    assert most_open(epoch_order(3, 0, 2**18)[: 512 * 64]) > 1000


def test_a_lane_moves_little_between_two_reads(epoch_of_large: np.ndarray) -> None:
    """Blocks of 256 images fetched by a process that keeps 64 of them: nearly each once, not one for every image."""

    def fetched(reads: np.ndarray) -> int:
        held: dict[int, None] = {}
        count = 0
        for block in (reads // 256).tolist():
            if block in held:
                del held[block]
            else:
                count += 1
                if len(held) == 64:
                    del held[next(iter(held))]
            held[block] = None
        return count

    own = epoch_of_large[:, :64].ravel()  # one process of eight
    assert fetched(own) <= 1.1 * len(own) / 256
    assert fetched(epoch_order(3, 0, 2**18)[: len(own)]) > 0.9 * len(own)


def test_a_batch_is_a_mixture_of_shards(epoch_of_large: np.ndarray) -> None:
    for indices in epoch_of_large[::37]:
        shards = np.bincount(indices // 4096, minlength=64)
        assert (shards > 0).sum() >= 48
        assert shards.max() <= 40  # 8 of 512 would be even
    _, small = stream((50,) * 40, 48, range(41))  # lanes of 125 images
    for indices in small:
        shards = np.bincount(indices // 50, minlength=40)
        assert (shards > 0).sum() >= 16
        assert shards.max() <= 16


@pytest.mark.parametrize("batch_size", [15, 48])
def test_a_single_shard_is_shuffled_too(batch_size: int) -> None:
    """Few lanes have long windows: 15 images in a batch are one lane, which mixes all 2,000."""
    _, indices = stream((2000,), batch_size, range(2000 // batch_size))
    assert np.corrcoef(np.arange(indices.size), indices.ravel())[0, 1] < 0.1
    assert np.abs(np.diff(np.sort(indices, axis=1), axis=1)).max(axis=1).min() > 2000 / batch_size / 4


def test_where_an_image_lands_is_fair() -> None:
    """The places of 8 images over 200 epochs of 320: uniform within five standard deviations of the mean."""
    _, indices = stream((40,) * 8, 16, range(20 * 200))
    places = np.argsort(indices.reshape(200, 320), axis=1)[:, ::41]
    deviation = 320 / np.sqrt(12 * 200)
    assert np.abs(places.mean(axis=0) - 159.5).max() < 5 * deviation
    assert np.abs(places.std(axis=0) - 320 / np.sqrt(12)).max() < 5 * deviation


def test_repeats_show_shards_several_times() -> None:
    once = batch_members(seed=2, step=7, batch_size=24, count=500, shards=(200, 300))
    shown = batch_members(seed=2, step=7, batch_size=72, count=500, repeats=3, shards=(200, 300))
    for found, expected in zip(shown, once, strict=True):
        assert found.tolist() == expected.tolist() * 3


def test_300_million_images_take_no_memory() -> None:
    """Nothing is as long as the set, and a run begins in its middle as soon as at its start."""
    shards = (10_000,) * 30_000
    tracemalloc.start()
    epochs, indices = members(shards, 4096, step=100_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert set(epochs) == {1}
    assert len(set(indices.tolist())) == 4096
    assert peak < 150e6

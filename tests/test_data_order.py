"""The stream of training images is the concatenation of shuffled epochs, and can be entered anywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitreous.data.order import batch_members, epoch_order

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

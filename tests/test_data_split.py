"""What is held out is decided per class by seed and key alone."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitreous.data.imageset import ImageSet
from vitreous.data.split import few_per_class, hold_out
from vitreous.errors import DataError


def image_set(keys: list[str]) -> ImageSet:
    """Images of the class before the slash of each key; each is one pixel that tells its place."""
    classes = tuple(sorted({key.split("/")[0] for key in keys}))
    labels = np.array([classes.index(key.split("/")[0]) for key in keys], np.int64)
    return ImageSet("set", classes, keys, labels, lambda index: np.full((1, 1, 3), index % 256, np.uint8))


def named(**counts: int) -> ImageSet:
    return image_set([f"{name}/{number}.png" for name, count in counts.items() for number in range(count)])


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(2, 40), min_size=1),
    st.floats(0.01, 0.99),
    st.integers(0, 2**31),
)
def test_every_class_is_on_both_sides_and_nothing_is_lost(counts: dict[str, int], share: float, seed: int) -> None:
    images = named(**counts)
    rest, held = hold_out(images, share, seed)
    assert sorted([*rest.keys, *held.keys]) == sorted(images.keys)
    assert rest.classes == held.classes == images.classes
    for here, there in zip(rest.counts, held.counts, strict=True):
        assert here >= 1
        assert there >= 1
        assert abs(there - share * (here + there)) <= 1


@settings(deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 100))
def test_the_order_of_the_images_does_not_matter(shuffler: random.Random, seed: int) -> None:
    keys = list(named(a=15, b=9, c=2).keys)
    _, expected = hold_out(image_set(keys), 0.3, seed)
    shuffler.shuffle(keys)
    _, held = hold_out(image_set(keys), 0.3, seed)
    assert set(held.keys) == set(expected.keys)


def test_the_held_out_images_are_those_of_the_documented_rule() -> None:
    """Written down anew: the first by SHA-256 of seed and key, in every class."""
    images = named(a=30, b=20)
    _, held = hold_out(images, 0.2, 7)
    expected = set()
    for name, count in (("a", 6), ("b", 4)):
        keys = [key for key in images.keys if key.startswith(name)]
        expected |= set(sorted(keys, key=lambda key: hashlib.sha256(f"7:{key}".encode()).digest())[:count])
    assert set(held.keys) == expected


def test_seeds_choose_differently() -> None:
    images = named(a=100, b=100)
    _, first = hold_out(images, 0.2, 0)
    _, second = hold_out(images, 0.2, 1)
    common = len(set(first.keys) & set(second.keys))
    assert common < 20  # 8 expected of 40; equal choices would give 40


def test_a_photo_keeps_its_side_when_others_are_added() -> None:
    _, before = hold_out(named(a=1000, b=1000), 0.2, 0)
    _, after = hold_out(named(a=1050, b=1000), 0.2, 0)
    assert len(set(before.keys) - set(after.keys)) <= 15  # only those at the border; a fresh draw would lose 80 %


def test_the_place_of_the_folder_does_not_matter() -> None:
    keys = list(named(a=9, b=9).keys)
    labels = image_set(keys).labels
    one = ImageSet("x", ("a", "b"), [f"/home/eva/{key}" for key in keys], labels, lambda _: None, keys=keys)  # type: ignore[arg-type, return-value]
    two = ImageSet("x", ("a", "b"), [f"D:\\{key}" for key in keys], labels, lambda _: None, keys=keys)  # type: ignore[arg-type, return-value]
    assert hold_out(one, 0.3, 0)[1].keys == hold_out(two, 0.3, 0)[1].keys
    assert hold_out(one, 0.3, 0)[1].fingerprint == hold_out(two, 0.3, 0)[1].fingerprint


def test_a_class_with_one_image_cannot_be_split() -> None:
    with pytest.raises(DataError, match="only one image in 1 of 3 classes: b") as caught:
        hold_out(named(a=5, b=1, c=4), 0.2, 0)
    assert caught.value.where == "set"
    with pytest.raises(DataError, match="a, b, c, d, e and 2 more"):
        hold_out(named(**dict.fromkeys("abcdefg", 1)), 0.2, 0)


def test_few_per_class_and_all_the_others() -> None:
    images = named(a=12, b=30, c=10)
    few, others = few_per_class(images, 10, 3)
    assert few.counts.tolist() == [10, 10, 10]
    assert others.counts.tolist() == [2, 20, 0]
    assert sorted([*few.keys, *others.keys]) == sorted(images.keys)
    assert (few.read(0) == images.read(list(images.keys).index(few.keys[0]))).all()
    assert set(few_per_class(images, 10, 4)[0].keys) != set(few.keys)
    with pytest.raises(DataError, match="fewer than 13 images in 2 of 3 classes: a, c"):
        few_per_class(images, 13, 3)


def test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="2 images but 1 labels"):
        ImageSet("x", ("a",), ["1", "2"], np.array([0]), lambda _: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(DataError, match="labels from 0 to 1"):
        ImageSet("x", ("a",), ["1", "2"], np.array([0, 1]), lambda _: None)  # type: ignore[arg-type, return-value]

"""What is held out is decided per class by seed and key alone."""

from __future__ import annotations

import dataclasses
import hashlib
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitreous.data.imageset import ImageSet
from vitreous.data.split import few_per_class, grouped, hold_out, hold_out_fold, together
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


def films(sizes: dict[str, list[int]]) -> ImageSet:
    """Images called CLASS/filmF_0001.jpg; a film may be seen in several classes."""
    keys = [
        f"{name}/film{film}_{frame:04d}.jpg"
        for name, films in sizes.items()
        for film, frames in enumerate(films)
        for frame in range(frames)
    ]
    return grouped(image_set(keys), r"film\d+")


def of(images: ImageSet) -> set[str]:
    return {key.split("/")[1].split("_")[0] for key in images.keys}


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 9), min_size=5, max_size=12), st.lists(st.integers(1, 7), min_size=5, max_size=9))
def test_groups_come_whole_to_one_side(a: list[int], b: list[int]) -> None:
    images = films({"a": a, "b": b})
    rest, held = hold_out(images, 0.25, 3)
    assert not of(rest) & of(held)
    assert sorted([*rest.keys, *held.keys]) == sorted(images.keys)
    assert rest.counts.min() > 0
    assert len(held)


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(2, 40), min_size=1), st.floats(0.01, 0.99))
def test_groups_of_one_image_each_change_nothing(counts: dict[str, int], share: float) -> None:
    images = named(**counts)
    alone = dataclasses.replace(images, groups=np.arange(len(images)) * 3)
    assert [part.keys for part in hold_out(images, share, 5)] == [part.keys for part in hold_out(alone, share, 5)]


def test_groups_of_equal_frames_give_the_share_that_was_asked() -> None:
    """40 films of 5 frames in each of two classes: a quarter is ten films of each."""
    images = image_set(
        [f"{name}/{name}film{film}_{frame}.jpg" for name in "ab" for film in range(40) for frame in range(5)]
    )
    _, held = hold_out(grouped(images, r"[ab]film\d+"), 0.25, 1)
    assert held.counts.tolist() == [50, 50]


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(st.sampled_from("abcde"), st.integers(7, 40), min_size=2), st.integers(2, 7), st.integers(0, 99))
def test_every_image_is_held_out_in_one_fold(counts: dict[str, int], folds: int, seed: int) -> None:
    images = named(**counts)
    parts = [hold_out_fold(images, folds, fold, seed) for fold in range(1, folds + 1)]
    assert sorted(key for _, held in parts for key in held.keys) == sorted(images.keys)
    for rest, held in parts:
        assert sorted([*rest.keys, *held.keys]) == sorted(images.keys)
        for whole, there in zip(images.counts, held.counts, strict=True):
            assert whole // folds <= there <= -(-whole // folds)
    sizes = [len(held) for _, held in parts]
    assert max(sizes) - min(sizes) <= 1


def test_folds_keep_groups_whole_and_classes_even_as_scikit_learn_does() -> None:
    """The spread of class shares over folds is no wider than that of StratifiedGroupKFold."""
    from sklearn.model_selection import StratifiedGroupKFold

    sizes = random.Random(4)
    images = image_set(
        [
            f"{name}/{name}{film}_{frame}.jpg"
            for name in "abc"
            for film in range(25)
            for frame in range(sizes.randint(1, 9))
        ]
    )
    images = grouped(images, r"[abc]\d+_")
    parts = [hold_out_fold(images, 5, fold, 0)[1] for fold in range(1, 6)]
    assert len(set().union(*(of(part) for part in parts))) == sum(len(of(part)) for part in parts) == 75
    theirs = StratifiedGroupKFold(5).split(np.zeros(len(images)), images.labels, images.groups)
    spread = np.std([part.counts for part in parts], axis=0).sum()
    assert spread <= np.std([np.bincount(images.labels[held], minlength=3) for _, held in theirs], axis=0).sum() + 1e-9


@pytest.mark.parametrize(
    ("pattern", "what"),
    [("film[", "no regular expression"), ("scene", "matches no image"), ("film", "puts all images into one group")],
)
def test_group_patterns_that_cannot_be_meant(pattern: str, what: str) -> None:
    with pytest.raises(DataError, match=what):
        grouped(image_set([f"a/film{n}.jpg" for n in range(4)]), pattern)


def test_a_group_with_all_of_a_class_is_never_held_out() -> None:
    images = films({"a": [4, 4, 4], "b": [5]})
    rest, _ = hold_out(images, 0.3, 0)
    assert rest.counts[1] == 5
    with pytest.raises(DataError, match="no group of images can be held out"):
        hold_out(films({"a": [6], "b": [0, 5]}), 0.3, 0)
    with pytest.raises(DataError, match="holds all images of"):
        hold_out_fold(films({"a": [6], "b": [0, 5]}), 2, 1, 0)


def test_few_per_class_are_so_many_whatever_their_groups() -> None:
    few, _ = few_per_class(films({"a": [4, 4], "b": [5, 3]}), 3, 0)
    assert few.counts.tolist() == [3, 3]


def test_copies_join_their_groups() -> None:
    images = dataclasses.replace(named(a=7), groups=np.array([0, 0, 1, 1, 2, 3, 4]))
    joined = together(images, [(1, 2), (4, 6)])
    assert joined.groups is not None
    assert [np.flatnonzero(joined.groups == group).tolist() for group in np.unique(joined.groups)] == [
        [0, 1, 2, 3],
        [4, 6],
        [5],
    ]
    alone = together(named(a=3), [(0, 2)])
    assert alone.groups is not None
    assert alone.groups[0] == alone.groups[2] != alone.groups[1]

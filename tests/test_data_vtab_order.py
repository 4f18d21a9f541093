"""TFDS's order is found from keys alone, and VTAB's parts are the published slices of it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence

import numpy as np
import pytest

from vitreous.data.vtab.order import CUTS, Part, part_places, tfds_order
from vitreous.errors import DataError
from vitreous.published.vtab import TASKS, find_task


def numbers(count: int) -> range:
    return range(count)


def test_order_is_the_one_public_prints_of_cifar10_show() -> None:
    """TFDS's documentation of cifar10 prints ids train_16399, train_01680, train_47917, ..."""
    expected = [16399, 1680, 47917, 17307, 27051, 48736, 26263, 1456]
    assert expected == tfds_order("train", numbers(50_000))[:8].tolist()


def test_order_is_by_the_hash_as_a_whole_number() -> None:
    keys: list[str | int] = ["banded/banded_0002.jpg", "Ærø/1.png", 7, "10_left", 123]
    by_number = sorted(range(5), key=lambda place: int(hashlib.md5(f"salt{keys[place]}".encode()).hexdigest(), 16))
    assert by_number == tfds_order("salt", keys).tolist()
    assert tfds_order("salt", []).tolist() == []


def test_a_key_that_comes_twice_is_told() -> None:
    with pytest.raises(DataError, match=r"1 keys of the test images come twice\n  why   a\.png"):
        tfds_order("test", ["a.png", "b.png", "a.png"])


@pytest.mark.parametrize(
    ("task", "keys", "part", "first"),
    [
        ("cifar100", {"train": numbers(50_000), "test": numbers(10_000)}, "val", [13431, 9237, 17462, 32685, 9518]),
        (
            "smallnorb_azi",
            {"train": numbers(24_300), "test": numbers(24_300)},
            "train",
            [16399, 1680, 17307, 1456],
        ),
        ("smallnorb_azi", {"train": numbers(24_300), "test": numbers(24_300)}, "val", [23018, 16932, 19084, 9933]),
        ("smallnorb_ele", {"train": numbers(24_300), "test": numbers(24_300)}, "test", [299, 2838, 15595, 9948]),
        ("svhn", {"train": numbers(73_257), "test": numbers(26_032)}, "train", [16399, 1680, 47917]),
        (
            "clevr_count",
            {
                "train": [f"CLEVR_train_{number:06d}.png" for number in range(70_000)],
                "validation": [f"CLEVR_val_{number:06d}.png" for number in range(15_000)],
            },
            "train",
            [43876, 33421, 62025, 21419],
        ),
    ],
)
def test_parts_begin_as_published(task: str, keys: dict[str, Sequence[str]], part: Part, first: list[int]) -> None:
    wanted = find_task(task)
    found = part_places(wanted, keys)
    assert first == found[part][1][: len(first)].tolist()
    assert (wanted.train, wanted.val, wanted.test) == tuple(len(found[name][1]) for name in ("train", "val", "test"))


def test_camelyon_begins_as_published() -> None:
    order = tfds_order("train", [f"train_{number}" for number in range(262_144)])
    assert [251464, 132287, 133786] == order[:3].tolist()


def test_three_quarters_of_a_million_keys_take_seconds() -> None:
    """All parts of dSprites, which has 737,280 images, begin as published."""
    began = time.process_time()
    found = {
        part: places
        for part, (_, places) in part_places(find_task("dsprites_loc"), {"train": numbers(737_280)}).items()
    }
    assert time.process_time() - began < 8
    assert [16399, 634903, 206287, 470425, 352707, 688889, 488958, 372070] == found["train"][:8].tolist()
    assert [220697, 85843, 84902, 106270] == found["val"][:4].tolist()
    assert [493443, 195884, 225768, 246626] == found["test"][:4].tolist()
    assert [589_824, 73_728, 73_728] == [len(found[part]) for part in ("train", "val", "test")]
    assert np.array_equal(np.arange(737_280), np.sort(np.concatenate([found[part] for part in found])))


WHOLE = {  # images of TFDS's splits, where parts are cut from them
    "caltech101": {"train": 3060, "test": 6084},
    "pets": {"train": 3680, "test": 3669},
    "eurosat": {"train": 27_000},
    "resisc45": {"train": 31_500},
}


@pytest.mark.parametrize("name", WHOLE)
def test_slices_have_the_published_sizes(name: str) -> None:
    task = find_task(name)
    sizes = {part: len(cut.of(np.arange(WHOLE[name][cut.split]))) for part, cut in CUTS[name].items()}
    assert sizes == {"train": task.train, "val": task.val, "test": task.test}


def test_other_tasks_are_whole_splits() -> None:
    cut = {*WHOLE, "cifar100", "svhn", "clevr_count", "clevr_dist", "dsprites_loc", "dsprites_ori"}
    cut |= {"smallnorb_azi", "smallnorb_ele"}
    for task in TASKS:
        if task.name not in cut:
            parts = CUTS[task.name]
            assert [("train", 0, 100), ("validation", 0, 100), ("test", 0, 100)] == [
                (each.split, each.start, each.stop) for each in (parts["train"], parts["val"], parts["test"])
            ]

"""No picture comes to be on both sides: copies stop a divided set, or are left out, and stay together in others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vitreous.data.sources import open_splits
from vitreous.errors import DataError, UsageError


def write(path: Path, seed: int) -> None:
    """A picture of its own for every seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 11, 3), np.uint8)).save(path)


def plant(root: Path, parts: dict[str, int]) -> None:
    for first, (folder, count) in enumerate(parts.items()):
        for number in range(count):
            write(root / folder / f"{number}.png", 100 * first + number)


def test_a_picture_in_two_parts_stops_everything_and_is_named(tmp_path: Path) -> None:
    plant(tmp_path, {"train/a": 4, "train/b": 4, "val/a": 2, "val/b": 2})
    write(tmp_path / "train" / "a" / "copy.png", 300)  # val/b/0.png
    with pytest.raises(DataError, match="1 picture lies in more than one part") as caught:
        open_splits(tmp_path, val=0.2, seed=0)
    assert caught.value.why == f"{tmp_path}/train/a/copy.png = {tmp_path}/val/b/0.png"
    splits = open_splits(tmp_path, val=0.2, seed=0, dedupe=True)
    assert "a/copy.png" not in splits.train.keys
    assert len(splits.train) == 8
    assert splits.val is not None
    assert len(splits.val) == 4
    assert "left out 1 copy of images that the score comes from" in splits.notes


def test_a_picture_stays_where_it_judges_most(tmp_path: Path) -> None:
    plant(tmp_path, {"train/a": 3, "train/b": 3, "val/a": 3, "val/b": 2, "test/a": 2, "test/b": 2})
    for part in ("train", "val"):
        write(tmp_path / part / "a" / "copy.png", 400)  # test/a/0.png
    splits = open_splits(tmp_path, val=0.2, seed=0, dedupe=True)
    assert {part: len(images) for part, images in splits.sets.items()} == {"train": 6, "val": 5, "test": 4}


def test_copies_within_a_part_come_to_the_same_side(tmp_path: Path) -> None:
    plant(tmp_path, {"a": 9, "b": 8})
    for number in range(9):
        write(tmp_path / "a" / f"again{number}.png", number)
    for seed in range(4):
        splits = open_splits(tmp_path, val=0.3, seed=seed)
        assert splits.val is not None
        both = [
            {key.removeprefix("a/again").removeprefix("a/") for key in part.keys} for part in (splits.train, splits.val)
        ]
        assert not {name for name in both[0] & both[1] if not name.startswith("b/")}
        assert "copies that were found together" in splits.notes[-1]


def test_copies_and_unreadable_images_are_left_out_together(tmp_path: Path) -> None:
    plant(tmp_path, {"train/a": 5, "train/b": 5, "val/a": 2, "val/b": 2})
    (tmp_path / "train" / "a" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n cut off")
    write(tmp_path / "train" / "a" / "3.png", 200)  # val/a/0.png
    write(tmp_path / "train" / "b" / "x.png", 104)  # train/b/4.png: copies within the part
    splits = open_splits(tmp_path, val=0.2, seed=0, dedupe=True, bad_images="skip")
    assert sorted(splits.train.keys) == ["a/1.png", "a/2.png", "a/4.png", *(f"b/{n}.png" for n in range(5)), "b/x.png"]
    assert splits.train.groups is not None
    groups = dict(zip(splits.train.keys, splits.train.groups.tolist(), strict=True))
    assert groups["b/4.png"] == groups["b/x.png"]
    assert len(set(groups.values())) == 8
    assert [Path(failure.path).name for failure in splits.failed] == ["0.png"]


def test_a_picture_with_two_labels_is_told(tmp_path: Path) -> None:
    plant(tmp_path, {"a": 4, "b": 4})
    write(tmp_path / "b" / "same.png", 2)
    notes = open_splits(tmp_path, val=0.25, seed=0).notes
    assert any("one picture has more than one label" in note and "a/2.png (a)" in note for note in notes)


def test_groups_and_folds_are_asked_for_by_name(tmp_path: Path) -> None:
    for film in range(6):
        for frame in range(3):
            write(tmp_path / "ab"[film % 2] / f"film{film}_{frame}.png", 10 * film + frame)
    splits = open_splits(tmp_path, val=0.3, seed=0, group_by=r"film\d")
    assert splits.val is not None
    sides = [{key[:7] for key in images.keys} for images in (splits.train, splits.val)]
    assert not sides[0] & sides[1]
    assert "whole groups of 6" in splits.notes[-1]
    with pytest.raises(UsageError, match="--folds and --group-by can only divide"):
        open_splits(splits, val=0.3, seed=0, folds=3, group_by="film")
    held = []
    for fold in (1, 2, 3):
        splits = open_splits(tmp_path, val=0.2, seed=0, folds=3, fold=fold)
        assert splits.val is not None
        held += list(splits.val.keys)
    assert len(held) == len(set(held)) == 18


@pytest.mark.parametrize("how", [{"folds": 3}, {"group_by": "."}])
def test_what_is_divided_is_not_divided_again(tmp_path: Path, how: dict[str, Any]) -> None:
    plant(tmp_path, {"train/a": 4, "train/b": 4, "val/a": 2, "val/b": 2})
    with pytest.raises(UsageError, match="can only divide images that nobody has divided") as caught:
        open_splits(tmp_path, val=0.2, seed=0, **how)
    assert caught.value.where == f"{tmp_path}/val"

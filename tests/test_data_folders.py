"""Folders of class folders are understood as a person would, in the same order on every machine."""

from __future__ import annotations

import os
import random
import unicodedata
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import gradient, plant, png

from vitreous.data.layouts.folders.folders import class_folders, split_folders
from vitreous.data.words import natural_key
from vitreous.errors import DataError


def test_images_carry_the_name_of_their_class_folder(tmp_path: Path) -> None:
    plant(tmp_path, {"dog": 3, "cat": 2, "bird": 4})
    images, notes = class_folders(tmp_path, "pets", keep_empty=True)
    assert images.name == "pets"
    assert images.classes == ("bird", "cat", "dog")
    assert images.labels.tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 2]
    assert images.ids[0] == str(tmp_path / "bird" / "0.png")
    assert images.keys[-1] == "dog/2.png"
    assert images.read(8)[0, 0].tolist() == [0, 2, 0]  # dog was planted first, and this is its image 2
    assert images.mirror_safe
    assert notes == []


def test_numbers_in_names_count_by_value(tmp_path: Path) -> None:
    plant(tmp_path, {str(number): 12 for number in (10, 2, 0, 11, 1)})
    images, _ = class_folders(tmp_path, "x", keep_empty=True)
    assert images.classes == ("0", "1", "2", "10", "11")
    assert [key for key in images.keys if key.startswith("2/")] == [f"2/{number}.png" for number in range(12)]


@given(st.lists(st.text(), max_size=8))
def test_natural_order_is_total_and_keeps_names_apart(names: list[str]) -> None:
    expected = sorted(names, key=natural_key)
    random.Random(0).shuffle(names)
    assert sorted(names, key=natural_key) == expected


def test_numbers_of_any_length_have_their_place() -> None:
    numbers = ["9" * 5000, "1" + "0" * 5000, "007", "12"]
    assert sorted(numbers, key=natural_key) == ["007", "12", "9" * 5000, "1" + "0" * 5000]


def test_natural_order_is_a_person_s() -> None:
    names = ["img12", "Img2", "img1", "a10b", "a9c", "B", "007", "7", "10"]
    assert sorted(names, key=natural_key) == ["007", "7", "10", "a9c", "a10b", "B", "img1", "Img2", "img12"]


def test_the_order_of_listing_does_not_matter(tmp_path: Path) -> None:
    plant(tmp_path, {"b/left": 5, "b": 4, "a/2": 3, "a/10": 3, "c": 2})
    expected, _ = class_folders(tmp_path, "x", keep_empty=True)
    scandir = os.scandir
    shuffler = random.Random(4)

    class Shuffled:
        def __init__(self, path: str) -> None:
            with scandir(path) as listing:
                self.entries = list(listing)
            shuffler.shuffle(self.entries)

        def __enter__(self) -> list[os.DirEntry[str]]:
            return self.entries

        def __exit__(self, *_: object) -> None:
            pass

    for _ in range(5):
        with mock.patch("os.scandir", Shuffled):
            images, _ = class_folders(tmp_path, "x", keep_empty=True)
        assert list(images.ids) == list(expected.ids)
        assert images.fingerprint == expected.fingerprint


def test_a_class_folder_may_hold_folders(tmp_path: Path) -> None:
    plant(tmp_path, {"cat/2019/may": 2, "cat/2020": 1, "cat": 1, "dog": 1})
    images, _ = class_folders(tmp_path, "x", keep_empty=True)
    assert images.classes == ("cat", "dog")
    assert list(images.keys) == ["cat/0.png", "cat/2019/may/0.png", "cat/2019/may/1.png", "cat/2020/0.png", "dog/0.png"]


def test_the_fingerprint_knows_names_and_sizes_not_the_place(tmp_path: Path) -> None:
    one, _ = class_folders(plant(tmp_path / "one", {"a": 3, "b": 2}), "one", keep_empty=True)
    two, _ = class_folders(plant(tmp_path / "elsewhere/two", {"a": 3, "b": 2}), "two", keep_empty=True)
    assert one.fingerprint == two.fingerprint
    (tmp_path / "one/a/1.png").write_bytes(png(gradient(5, 7), 2))
    assert class_folders(tmp_path / "one", "one", keep_empty=True)[0].fingerprint != one.fingerprint
    (tmp_path / "elsewhere/two/b/1.png").rename(tmp_path / "elsewhere/two/b/2.png")
    assert class_folders(tmp_path / "elsewhere/two", "two", keep_empty=True)[0].fingerprint != two.fingerprint


def test_a_mac_s_spelling_of_a_name_is_the_same_name(tmp_path: Path) -> None:
    composed, decomposed = unicodedata.normalize("NFC", "Käfer"), unicodedata.normalize("NFD", "Käfer")
    assert composed != decomposed
    linux, _ = class_folders(plant(tmp_path / "linux", {composed: 2, "a": 1}), "x", keep_empty=True)
    mac, _ = class_folders(plant(tmp_path / "mac", {decomposed: 2, "a": 1}), "x", keep_empty=True)
    assert mac.classes == linux.classes
    assert mac.fingerprint == linux.fingerprint
    assert mac.read(1).shape == (6, 9, 3)
    plant(tmp_path / "mac", {composed: 1})
    with pytest.raises(DataError, match="two spellings of Unicode"):
        class_folders(tmp_path / "mac", "x", keep_empty=True)


def test_what_systems_leave_behind_is_not_seen(tmp_path: Path) -> None:
    plant(tmp_path, {"cat": 1, "dog": 1, ".git": 2, "__MACOSX/cat": 2, "cat/@eaDir": 3, ".ipynb_checkpoints": 1})
    for litter in (".DS_Store", "Thumbs.db", "desktop.ini", "cat/.DS_Store", "cat/._0.png", "cat/Thumbs.db"):
        (tmp_path / litter).write_bytes(b"\0\1\2")
    images, notes = class_folders(tmp_path, "x", keep_empty=True)
    assert list(images.keys) == ["cat/0.png", "dog/0.png"]
    assert notes == []


def test_whatever_else_is_left_out_is_told(tmp_path: Path) -> None:
    plant(tmp_path, {"cat": 2, "dog": 1})
    (tmp_path / "cat" / "list.txt").write_text("0.png")
    (tmp_path / "dog" / "LICENCE").write_text("free")
    (tmp_path / "dog" / "more.TXT").write_text("")
    (tmp_path / "stray.png").write_bytes(png(gradient(5, 7), 2))
    (tmp_path / "readme.md").write_text("# Pets")
    images, notes = class_folders(tmp_path, "pets", keep_empty=True)
    assert len(images) == 3
    assert notes == [
        "pets: left out files without an image (.txt 2, no ending 1)",
        "pets: left out images outside class folders (1)",
    ]


def test_content_tells_an_image_where_the_name_does_not(tmp_path: Path) -> None:
    plant(tmp_path, {"cat": 1, "dog": 1})
    (tmp_path / "cat" / "9f86d081").write_bytes(png(gradient(5, 7), 2))
    (tmp_path / "cat" / "scan.2020-05-01").write_bytes(png(gradient(5, 7), 2))
    images, notes = class_folders(tmp_path, "x", keep_empty=True)
    assert [key for key in images.keys if key[4] in "9s"] == ["cat/9f86d081", "cat/scan.2020-05-01"]
    assert notes == []


def test_pictures_that_cannot_be_read_are_not_passed_over(tmp_path: Path) -> None:
    """They are counted here, so that the check before training names them."""
    plant(tmp_path, {"cat": 1, "dog": 1})
    (tmp_path / "cat" / "a.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "cat" / "b.jpg").symlink_to(tmp_path / "gone.jpg")
    os.mkfifo(tmp_path / "cat" / "c.jpg")
    os.mkfifo(tmp_path / "cat" / "pipe")
    images, _ = class_folders(tmp_path, "x", keep_empty=True)
    assert list(images.keys) == ["cat/0.png", "cat/a.heic", "cat/b.jpg", "cat/c.jpg", "dog/0.png"]


def test_links_that_lead_in_circles_are_survived(tmp_path: Path) -> None:
    plant(tmp_path, {"cat/deep": 2, "dog": 1})
    (tmp_path / "cat" / "up").symlink_to(tmp_path)
    (tmp_path / "cat" / "deep" / "again").symlink_to(tmp_path / "cat")
    (tmp_path / "cat" / "self.png").symlink_to(tmp_path / "cat" / "self.png")
    (tmp_path / "dog" / "root").symlink_to("/")
    (tmp_path / "whole").symlink_to(tmp_path)
    images, notes = class_folders(tmp_path, "x", keep_empty=True)
    assert list(images.keys) == ["cat/deep/0.png", "cat/deep/1.png", "cat/self.png", "dog/0.png"]
    assert "x: left out links to folders that were already read (4)" in notes


def test_a_linked_class_folder_is_a_class(tmp_path: Path) -> None:
    plant(tmp_path / "store", {"a": 2, "b": 3})
    (tmp_path / "data").mkdir()
    for name in "ab":
        (tmp_path / "data" / name).symlink_to(tmp_path / "store" / name)
    images, _ = class_folders(tmp_path / "data", "x", keep_empty=True)
    assert images.counts.tolist() == [2, 3]


def test_empty_class_folders_count_only_where_asked(tmp_path: Path) -> None:
    plant(tmp_path, {"cat": 1, "dog": 0, "bird": 2})
    images, _ = class_folders(tmp_path, "x", keep_empty=True)
    assert images.classes == ("bird", "cat", "dog")
    assert images.counts.tolist() == [2, 1, 0]
    images, notes = class_folders(tmp_path, "x", keep_empty=False)
    assert images.classes == ("bird", "cat")
    assert notes == ["x: left out folders without images: dog"]


def test_nothing_to_learn_from_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there are no images in"):
        class_folders(tmp_path, "x", keep_empty=True)
    plant(tmp_path, {"cat": 0, "dog": 0})
    with pytest.raises(DataError, match="there are no images in"):
        class_folders(tmp_path, "x", keep_empty=True)
    plant(tmp_path, {".": 2})
    with pytest.raises(DataError, match="lie in no class folders") as caught:
        class_folders(tmp_path, "x", keep_empty=True)
    assert caught.value.why == "2 of them lie there directly"


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    plant(tmp_path, {"cat": 1, "dog": 1})
    scandir = os.scandir

    def locked(path: str) -> object:
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    with mock.patch("os.scandir", locked), pytest.raises(DataError, match="Permission denied") as caught:
        class_folders(tmp_path, "x", keep_empty=True)
    assert caught.value.where == str(tmp_path / "dog")


# ---------------------------------------------------------------- train, val, test


@pytest.mark.parametrize(
    "names",
    [
        {"train": "train", "val": "val", "test": "test"},
        {"train": "Train", "val": "valid"},
        {"train": "training", "val": "validation", "test": "testing"},
        {"test": "test"},
    ],
)
def test_parts_are_known_by_their_usual_names(tmp_path: Path, names: dict[str, str]) -> None:
    plant(tmp_path, {f"{folder}/{name}": 1 for folder in names.values() for name in "ab"})
    (tmp_path / "notes").mkdir()
    assert split_folders(tmp_path) == {part: tmp_path / folder for part, folder in names.items()}


def test_class_folders_are_no_parts(tmp_path: Path) -> None:
    assert split_folders(plant(tmp_path, {"cat": 1, "dog": 1})) == {}


def test_train_may_be_a_class_of_vehicles(tmp_path: Path) -> None:
    assert split_folders(plant(tmp_path, {"train": 2, "bus": 2, "car/red": 1})) == {}


def test_parts_without_class_folders_are_refused(tmp_path: Path) -> None:
    plant(tmp_path, {"train": 2, "val": 1})
    with pytest.raises(DataError, match="the images in train and val lie in no class folders"):
        split_folders(tmp_path)


def test_what_can_be_read_in_two_ways_is_refused(tmp_path: Path) -> None:
    plant(tmp_path, {"train/a": 1, "train/b": 1, "bus": 2})
    with pytest.raises(DataError, match="but bus beside them hold images too"):
        split_folders(tmp_path)
    plant(tmp_path / "two", {"train/a": 1, "val/a": 1, "valid/a": 1})
    with pytest.raises(DataError, match="both val and valid could be the val images"):
        split_folders(tmp_path / "two")


def test_a_subset_reads_the_images_it_names(tmp_path: Path) -> None:
    images, _ = class_folders(plant(tmp_path, {"a": 4, "b": 3}), "x", keep_empty=True)
    some = images.subset([5, 1], "some")
    assert (some.name, list(some.ids)) == ("some", [images.ids[5], images.ids[1]])
    assert some.labels.tolist() == [1, 0]
    assert (some.read(0) == images.read(5)).all()
    nested = some.subset(np.array([1]))
    assert (nested.read(0) == images.read(1)).all()
    assert list(nested.keys) == ["a/1.png"]
    assert len({images.fingerprint, some.fingerprint, images.subset([1, 5]).fingerprint}) == 3
    assert len(images.subset([])) == 0

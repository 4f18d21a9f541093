"""A VTAB task is found below a folder in whatever form people have it, and what is not as published is said."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest
from tar_shards import number_in
from vtab_files import write_clip_shards, write_lists

from vitreous.data.imageset import ImageSet, array_set
from vitreous.data.vtab import find
from vitreous.data.vtab.dsprites import binned
from vitreous.data.vtab.find import Missing, TaskData, open_task
from vitreous.data.vtab.lists import open_lists
from vitreous.data.vtab.parts import Parts, together
from vitreous.errors import DataError
from vitreous.published.vtab import TASKS, VtabTask, find_task

CIFAR = find_task("cifar100")
RARE = (0, 7, 98)  # the only classes of a hundred among the 1,000 images


def opened(name: str, root: Path) -> TaskData:
    found = open_task(find_task(name), root)
    assert isinstance(found, TaskData)
    return found


def missing(name: str, root: Path | None, protocol: find.Protocol = "1k") -> Missing:
    found = open_task(find_task(name), root, protocol=protocol)
    assert isinstance(found, Missing)
    return found


def shown(images: ImageSet) -> list[int]:
    """The numbers in the pixels of all images."""
    return [number_in(images.read(place)) for place in range(len(images))]


def labels_of(count: int) -> list[int]:
    return [RARE[place % 3] for place in range(count)]


def test_lists_are_read_whole(tmp_path: Path) -> None:
    """The classes are the task's hundred, though three have images to train on; both parts are trained on at last."""
    write_lists(tmp_path / "vtab-1k/cifar", {"train800": labels_of(800), "val200": labels_of(200), "test": [99, 5, 7]})
    data = opened("cifar100", tmp_path)
    assert [len(images) for images in (data.train, data.val, data.trainval, data.test)] == [800, 200, 1000, 3]
    assert {tuple(map(str, range(100)))} == {images.classes for images in (data.train, data.trainval, data.test)}
    assert data.test.labels.tolist() == [99, 5, 7]
    assert data.trainval.labels.tolist() == labels_of(800) + labels_of(200)
    assert shown(data.trainval) == list(range(1000))
    assert shown(data.test) == [1000, 1001, 1002]
    assert data.trainval.keys[799:801] == ["images/train800/000799.jpg", "images/val200/000000.jpg"]
    assert (data.exact, data.regenerated, data.source) == (False, False, f"lists in {tmp_path}/vtab-1k/cifar")
    assert open_lists(tmp_path / "vtab-1k/cifar", dataclasses.replace(CIFAR, test=3)).exact
    assert data.notes == (
        "CIFAR-100: these images were saved once more, as JPEG; scores may differ a little from those on the original"
        " files",
        "CIFAR-100: 3 images in test, where 10,000 are published",
    )


def test_a_folder_may_be_the_task_itself_and_name_its_classes(tmp_path: Path) -> None:
    folder = write_lists(tmp_path / "dsprites_loc", {"train800": [3] * 4, "val200": [15] * 2, "test": [0]})
    (folder / "classnames.txt").write_text("".join(f"column {number}\n" for number in range(16)))
    data = opened("dsprites_loc", folder)
    assert data.train.classes[15] == "column 15"
    assert not data.train.mirror_safe
    (folder / "classnames.txt").write_text("left\nright\n")
    with pytest.raises(DataError, match="2 classes are named, and dSpr-Loc has 16"):
        open_task(find_task("dsprites_loc"), folder)


def test_the_union_alone_is_cut_where_the_parts_meet(tmp_path: Path) -> None:
    write_lists(tmp_path / "caltech_102", {"train800val200": [*range(102), *[0] * 898], "test": [101]})
    data = opened("caltech101", tmp_path)
    assert shown(data.train) == list(range(800))
    assert shown(data.val) == list(range(800, 1000))
    assert data.train.name != data.val.name
    assert "train800val200.txt: its first 800 images are taken to learn from, the others to choose by" in data.notes


def test_lists_of_another_task_are_refused(tmp_path: Path) -> None:
    write_lists(tmp_path / "svhn", {"train800": [0, 25], "val200": [1], "test": [2]})
    with pytest.raises(DataError, match=r"labels go up to 25, and SVHN has 10 classes, from 0 to 9\n.*train800\.txt"):
        open_task(find_task("svhn"), tmp_path)


def test_a_line_of_blanks_in_a_list_is_refused_at_once(tmp_path: Path) -> None:
    folder = write_lists(tmp_path / "dtd", {"train800": [0], "val200": [1], "test": [2]})
    with (folder / "val200.txt").open("a") as file:
        file.write("a" + " " * 40_000 + "b\x0cc d\x0be\n")
    began = time.process_time()
    with pytest.raises(DataError, match="no path and number"):
        open_task(find_task("dtd"), tmp_path)
    assert time.process_time() - began < 3


def test_half_a_folder_of_lists_is_refused(tmp_path: Path) -> None:
    write_lists(tmp_path / "dtd", {"train800": [0, 46], "val200": [1]})
    with pytest.raises(DataError, match=r"test\.txt is missing"):
        open_task(find_task("dtd"), tmp_path)


def test_shards_stand_for_the_thousand_and_say_so(tmp_path: Path) -> None:
    names = [str(number) for number in range(3, 11)]
    train = [place % 5 for place in range(1007)]
    write_clip_shards(tmp_path / "wds_vtab-clevr_count_all", {"train": train, "test": [7, 1]}, names)
    data = opened("clevr_count", tmp_path)
    assert data.train.classes == data.test.classes == tuple(names)
    assert (data.train.labels.tolist(), data.val.labels.tolist()) == (train[:800], train[800:1000])
    assert shown(data.trainval) == list(range(1000))
    assert data.test.labels.tolist() == [7, 1]
    assert not data.exact
    assert data.notes == (
        "Clevr-Count: tar shards lack the 7,000 images of the validation part and may keep another order, so the first"
        " 1,000 of their 1,007 training images stand for the 1,000 that VTAB-1k trains on",
        "Clevr-Count: 1,007 images in train, where 63,000 are published",
        "Clevr-Count: 2 images in test, where 15,000 are published",
    )


ORIENTATIONS = np.repeat(np.arange(16), [3, 2] * 8).tolist()  # 0 0 0 1 1 2 2 2 ...


def test_sprites_in_shards_have_their_classes_taken_together(tmp_path: Path) -> None:
    """Shards keep 40 orientations, which VTAB takes to 16: three, two, three, two, ..."""
    everything = {"train": [place % 40 for place in range(1000)], "test": [39, 2, 3]}
    folder = tmp_path / "wds/vtab/dsprites_label_orientation"
    write_clip_shards(folder, everything, [str(number) for number in range(40)])
    data = opened("dsprites_ori", tmp_path)
    assert data.trainval.labels.tolist() == ORIENTATIONS * 25
    assert data.test.labels.tolist() == [15, 0, 1]
    assert len(data.test.classes) == 16
    assert "dSpr-Ori: 40 classes in the shards are taken together to VTAB's 16" in data.notes


def test_labels_that_were_taken_together_before_stay_as_they_are(tmp_path: Path) -> None:
    everything = {"train": [place % 16 for place in range(1000)], "test": [15, 2, 3]}
    folder = tmp_path / "dsprites_loc"
    write_clip_shards(folder, everything, [f"column {number}" for number in range(16)])
    data = opened("dsprites_loc", tmp_path)
    assert data.test.labels.tolist() == [15, 2, 3]
    assert data.test.classes[15] == "column 15"


def test_neighbours_are_taken_together_as_published() -> None:
    assert binned(np.arange(32), find_task("dsprites_loc"))[0].tolist() == np.repeat(np.arange(16), 2).tolist()
    assert binned(np.arange(40), find_task("dsprites_ori"))[0].tolist() == ORIENTATIONS


@pytest.mark.parametrize(
    ("train", "names", "told"),
    [
        ([0, 3] * 300, None, "there are 600 images to train on, and VTAB-1k takes 1,000"),
        ([0, 17] * 500, None, "there are 18 classes, and SVHN has 10"),
        ([0, 1] * 500, ["a", "b", "c"], "there are 3 classes, and SVHN has 10"),
    ],
)
def test_shards_that_cannot_be_the_task_are_refused(
    tmp_path: Path, train: list[int], names: list[str] | None, told: str
) -> None:
    write_clip_shards(tmp_path / "wds_svhn", {"train": train, "test": [1]}, names)
    with pytest.raises(DataError, match=told):
        open_task(find_task("svhn"), tmp_path)


def test_a_lost_shard_is_told(tmp_path: Path) -> None:
    folder = write_clip_shards(tmp_path / "wds_vtab-svhn", {"train": [0] * 1000, "test": [1]})
    (folder / "train/2.tar").unlink()
    with pytest.raises(DataError, match=r"there are 2 of 3 shards\n.*svhn/train"):
        open_task(find_task("svhn"), tmp_path)


def test_lists_come_before_files_and_files_before_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could have been read too is told. For the full protocol only files serve."""
    pixels = np.zeros((1300, 2, 3), np.uint8)
    drawn = array_set("svhn", pixels, np.arange(1300) % 10, tuple(map(str, range(10))))

    def files(root: Path, task: VtabTask) -> Parts | None:
        assert task.name == "svhn"
        return Parts(drawn, drawn, drawn, "files") if (root / "files").exists() else None

    monkeypatch.setitem(find._RAW, "svhn", (files,))
    shards = write_clip_shards(tmp_path / "wds_vtab-svhn", {"train": [0] * 1000, "test": [1]})
    assert opened("svhn", tmp_path).source == f"tar shards in {shards}"
    (tmp_path / "files").mkdir()
    by_files = opened("svhn", tmp_path)
    assert by_files.notes == (f"SVHN: read from files; {shards} could be read too, and was not",)
    assert [len(images) for images in (by_files.train, by_files.val, by_files.trainval)] == [800, 200, 1000]
    lists = write_lists(tmp_path / "svhn", {"train800": [1], "val200": [2], "test": [0]})
    assert (
        opened("svhn", tmp_path)
        .notes[-1]
        .endswith(f"read from lists in {lists}; {shards} could be read too, and was not")
    )
    full = open_task(find_task("svhn"), tmp_path, protocol="full")
    assert isinstance(full, TaskData)
    assert [len(images) for images in (full.train, full.val, full.trainval, full.test)] == [1300, 1300, 2600, 1300]
    assert not full.train.mirror_safe
    (tmp_path / "files").rmdir()
    assert missing("svhn", tmp_path, "full").looked == (
        f"original files below {tmp_path}: train_32x32.mat and test_32x32.mat",
        f"{lists} has lists of VTAB-1k, which name 1,000 images to train on",
        f"{shards} has tar shards, which lack the images of the validation part",
    )


def test_shards_that_are_not_needed_stop_nothing(tmp_path: Path) -> None:
    """Nobody can tell which of two folders they are to test with; where there are lists, nobody needs to."""
    shards = write_clip_shards(tmp_path / "wds_vtab-svhn", {"train": [0], "test": [1]})
    (shards / "test").rename(shards / "testing")
    write_clip_shards(shards, {"test": [1]})
    with pytest.raises(DataError, match="could be the test images"):
        open_task(find_task("svhn"), tmp_path)
    assert missing("svhn", tmp_path, "full").looked == (
        f"original files below {tmp_path}: train_32x32.mat and test_32x32.mat",
    )
    lists = write_lists(tmp_path / "svhn", {"train800": [1], "val200": [2], "test": [0]})
    data = opened("svhn", tmp_path)
    assert data.source == f"lists in {lists}"
    assert not any("could be read too" in note for note in data.notes)


def test_what_is_drawn_comes_last_and_needs_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = array_set("drawn", np.zeros((17, 2, 3), np.uint8), np.arange(17) % 16, tuple(map(str, range(16))))
    parts = Parts(drawn, drawn, drawn, "drawn", regenerated=True)
    monkeypatch.setitem(find._DRAWN, "dsprites_loc", {find_task("dsprites_loc"): parts}.__getitem__)
    for root in (None, tmp_path):
        found = open_task(find_task("dsprites_loc"), root)
        assert isinstance(found, TaskData)
        assert found.regenerated
        assert found.source == "drawn"


@pytest.mark.parametrize("task", [task for task in TASKS if task.builder != "dsprites"], ids=lambda task: task.name)
def test_a_task_without_data_says_where_to_get_it(tmp_path: Path, task: VtabTask) -> None:
    lacking = missing(task.name, tmp_path)
    assert lacking.task is task
    assert len(lacking.looked) == 3
    assert task.source in lacking.remedy
    assert f"clip-benchmark/{task.shards} --repo-type dataset --local-dir {tmp_path}/{task.shards}" in lacking.remedy
    assert f"as {tmp_path}/vtab-1k/" in lacking.remedy
    folder = lacking.remedy.split("vtab-1k/")[1].split(";")[0]
    assert find_task(folder) is task
    assert "--root" in missing(task.name, None).remedy
    assert "hf download" not in missing(task.name, tmp_path, "full").remedy


def test_shards_to_test_with_alone_are_told(tmp_path: Path) -> None:
    folder = write_clip_shards(tmp_path / "pcam", {"test": [1, 0]})
    assert missing("camelyon", tmp_path).looked[-1] == f"{folder} has tar shards to test with, and none to train on"


def test_a_link_to_itself_beside_the_data_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "old").symlink_to(tmp_path / "old")
    lists = write_lists(tmp_path / "svhn", {"train800": [1], "val200": [2], "test": [0]})
    assert opened("svhn", tmp_path).source == f"lists in {lists}"


def test_a_wrong_root_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such folder"):
        open_task(CIFAR, tmp_path / "nowhere")


def test_sets_behind_each_other_keep_files_and_shards() -> None:
    first = array_set("a", np.arange(18, dtype=np.uint8).reshape(3, 2, 3), np.array([0, 1, 0]), ("x", "y"))
    second = array_set("b", np.arange(24, dtype=np.uint8).reshape(4, 2, 3), np.array([1, 1, 0, 0]), ("x", "y"))
    stored = dataclasses.replace(first, encoded=lambda place: b"a%d" % place, shards=(3,))
    both = together(stored, dataclasses.replace(second, encoded=lambda place: b"b%d" % place, shards=(1, 3)), "both")
    assert (both.name, both.labels.tolist(), both.shards) == ("both", [0, 1, 0, 1, 1, 0, 0], (3, 1, 3))
    assert both.ids[2:4] == ["a/00002", "b/00000"]
    assert both.encoded is not None
    assert [both.encoded(place) for place in (2, 3)] == [b"a2", b"b0"]
    assert np.array_equal(both.read(6), second.read(3))
    assert both.fingerprint != together(second, first).fingerprint
    assert together(first, second).encoded is None

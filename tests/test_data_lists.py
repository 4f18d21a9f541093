"""Text files that list images: VTAB-1k's folders, NOAH's few-shot lists, and one list alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_files import gradient, png

from vitreous.data.layouts.found import Asked, Found
from vitreous.data.layouts.manifests.lists import find_lists, read_list
from vitreous.errors import DataError

VTAB = {
    "train800.txt": (("images/train800/000000.jpg", 2), ("images/train800/000001.jpg", 0)),
    "val200.txt": (("images/val200/000000.jpg", 0),),
    "test.txt": (
        ("images/test/000000.jpg", 4),
        ("images/test/000001.jpg", 0),
        ("images/test/a b.jpg", 2),
    ),
}
UNION = VTAB["train800.txt"] + VTAB["val200.txt"]


def plant(folder: Path, lists: dict[str, tuple[tuple[str, int], ...]], *, images: bool = True) -> Path:
    """Lists as the published scripts write them: one space, LF, paths relative to the folder of the task."""
    for name, rows in lists.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("".join(f"{path} {label}\n" for path, label in rows))
        for place, (path, _) in enumerate(rows if images else ()):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(png(gradient(7 + place, 5 + 2 * place), 2))
    return folder


def found(path: Path) -> Found:
    answer = find_lists(str(path), Asked())
    assert answer is not None
    return answer


def refused(path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        find_lists(str(path), Asked())
    assert caught.value.exit_code == 3
    return caught.value


def test_a_folder_of_vtab(tmp_path: Path) -> None:
    """800 to learn from, 200 to choose by, all test images; the label stands behind the last space."""
    answer = found(plant(tmp_path, {**VTAB, "train800val200.txt": UNION}))
    assert {
        part: list(zip(images.keys, images.labels.tolist(), strict=True)) for part, images in answer.sets.items()
    } == {
        part: list(VTAB[name])
        for part, name in (("train", "train800.txt"), ("val", "val200.txt"), ("test", "test.txt"))
    }
    assert answer.sets["train"].classes == answer.sets["test"].classes == ("0", "1", "2", "3", "4")
    assert np.array_equal(answer.sets["test"].read(2), gradient(9, 9))
    assert answer.sets["test"].ids[2] == str(tmp_path / "images/test/a b.jpg")
    assert answer.notes == [
        "train800val200.txt: left out; it is train800 and val200 together, for the final training of VTAB-1k:"
        f" type {tmp_path}/train800val200.txt",
        "train800.txt: 2 images, 2 classes",
        "val200.txt: 1 images, 1 classes",
        "test.txt: 3 images, 3 classes",
    ]


def test_the_union_trains_with_the_test_images(tmp_path: Path) -> None:
    plant(tmp_path, {**VTAB, "train800val200.txt": UNION})
    answer = found(tmp_path / "train800val200.txt")
    assert list(answer.sets) == ["train", "test"]
    assert list(answer.sets["train"].keys) == [path for path, _ in UNION]
    (tmp_path / "train800.txt").unlink()
    (tmp_path / "val200.txt").unlink()
    assert found(tmp_path).sets["train"].fingerprint == answer.sets["train"].fingerprint


def test_one_list_is_read_to_paths_and_numbers(tmp_path: Path) -> None:
    (tmp_path / "any.txt").write_bytes(b"\xef\xbb\xbfimages/one file.jpg 12\r\n\r\nimages/2.jpg\t007\r\n")
    paths, labels = read_list(tmp_path / "any.txt")
    assert list(paths) == ["images/one file.jpg", "images/2.jpg"]
    assert labels.tolist() == [12, 7]


def test_names_of_classes_lie_beside(tmp_path: Path) -> None:
    plant(tmp_path, VTAB)
    (tmp_path / "classes.txt").write_text("ant\nbee\ncat\ndog\neel\n")
    assert found(tmp_path).sets["val"].classes == ("ant", "bee", "cat", "dog", "eel")
    (tmp_path / "classes.txt").write_text("ant\nbee\ncat\ndog\n")
    assert refused(tmp_path).what == "labels go up to 4, but only 4 classes are listed"


def test_lists_of_few_images(tmp_path: Path) -> None:
    """NOAH's: the images lie in `images` beside `annotations`; which list is a person's choice."""
    few = {"annotations/train_meta.list.num_shot_1.seed_0": (("x/1.jpg", 0), ("x/2.jpg", 1))}
    few |= {"annotations/train_meta.list.num_shot_2.seed_0": (("x/1.jpg", 0), ("x/2.jpg", 1))}
    few |= {"annotations/test_meta.list": (("y/1.jpg", 1), ("y/2.jpg", 0), ("y/3.jpg", 1))}
    plant(tmp_path, few, images=False)
    plant(tmp_path / "images", dict(few.items()))
    error = refused(tmp_path)
    assert error.what == "there are 2 lists to learn from, of few images each"
    assert error.remedy == f"type one of them: {tmp_path}/annotations/train_meta.list.num_shot_1.seed_0"
    answer = found(tmp_path / "annotations/train_meta.list.num_shot_2.seed_0")
    assert {part: len(images) for part, images in answer.sets.items()} == {"train": 2, "test": 3}
    assert answer.sets["test"].read(2).shape == (9, 9, 3)
    assert answer.notes[0] == "test_meta.list beside it is read too"


def test_one_list_alone_and_lists_named_by_parts(tmp_path: Path) -> None:
    rows = (("a/1.png", 0), ("a/2.png", 1), ("b/1.png", 1))
    plant(tmp_path, {"mine.list": rows})
    assert found(tmp_path / "mine.list").sets["all"].labels.tolist() == [0, 1, 1]
    assert find_lists(str(tmp_path), Asked()) is None
    plant(tmp_path, {"train.txt": rows[:2], "val.txt": rows[2:]})
    assert {part: len(images) for part, images in found(tmp_path).sets.items()} == {"train": 2, "val": 1}


def test_other_texts_are_no_lists(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("These are 3 photographs of 2019\n")
    (tmp_path / "train.txt").write_text("class_a/1005755\n")
    assert find_lists(str(tmp_path / "notes.txt"), Asked()) is None
    assert find_lists(str(tmp_path), Asked()) is None
    assert find_lists(str(tmp_path / "nothing"), Asked()) is None


def test_images_that_are_missing_are_one_message(tmp_path: Path) -> None:
    """The published lists come without images."""
    rows = tuple((f"images/train800/{number:06d}.jpg", 0) for number in range(800))
    plant(tmp_path, {"train800.txt": rows}, images=False)
    error = refused(tmp_path)
    assert error.what == "800 of 800 images are missing"
    assert error.where == str(tmp_path / "train800.txt")
    assert error.why is not None
    assert error.why.startswith("images/train800/000000.jpg, images/train800/000001.jpg, ")


def test_lines_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    plant(tmp_path, VTAB)
    with open(tmp_path / "train800.txt", "a") as file:
        file.write("images/2.jpg\n\nimages/3.jpg cat\nimages/4.jpg -1\n")
    assert refused(tmp_path).why == (
        "line 3: no path and number: images/2.jpg\n"
        "        line 5: cat is no number of a class\n"
        "        line 6: -1 is no number of a class"
    )


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("../../etc/1.jpg 0\n", "1 paths lead out of the folder"),
        ("images/train800/../train800/000001.jpg 1\n", "1 images are listed twice"),
    ],
)
def test_paths_that_cannot_be_meant(tmp_path: Path, line: str, what: str) -> None:
    plant(tmp_path, VTAB)
    with open(tmp_path / "train800.txt", "a") as file:
        file.write(line)
    assert refused(tmp_path).what == what


def test_half_a_folder_of_vtab(tmp_path: Path) -> None:
    plant(tmp_path, {"val200.txt": VTAB["val200.txt"]})
    assert refused(tmp_path).what == "train800.txt is missing"

"""Whatever DATA a person names becomes images to learn from, or one clear message."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from image_files import gradient, plant, png

from vitreous.data.classes import match_classes
from vitreous.data.imageset import ImageSet, array_set
from vitreous.data.sources import Splits, open_images, open_splits
from vitreous.errors import DataError


def refused(data: object, **options: object) -> DataError:
    with pytest.raises(DataError) as caught:
        open_splits(data, **{"val": 0.2, "seed": 0, **options})  # type: ignore[arg-type]
    assert caught.value.exit_code == 3
    return caught.value


# ---------------------------------------------------------------- for training


def test_a_folder_of_class_folders_is_split_per_class(tmp_path: Path) -> None:
    splits = open_splits(str(plant(tmp_path, {"cat": 20, "dog": 10, "bird": 5})), val=0.2, seed=0)
    assert splits.val is not None
    assert splits.train.classes == splits.val.classes == ("bird", "cat", "dog")
    assert splits.val.counts.tolist() == [1, 4, 2]
    assert splits.train.counts.tolist() == [4, 16, 8]
    assert not set(splits.train.ids) & set(splits.val.ids)
    assert splits.test is None
    assert splits.notes == (
        f"{tmp_path}: 35 images in 3 classes (bird: 5, cat: 20, dog: 10)",
        f"{tmp_path}: 28 to learn from, 7 held out (20% of each class, seed 0)",
    )
    again = open_splits(tmp_path, val=0.2, seed=0)
    assert again.fingerprint == splits.fingerprint
    assert open_splits(tmp_path, val=0.2, seed=1).fingerprint != splits.fingerprint


def test_folders_above_the_classes_are_the_split(tmp_path: Path) -> None:
    plant(tmp_path, {"train/a": 4, "train/b": 3, "valid/b": 2, "test/a": 1, "test/b": 2, "train/c": 1})
    splits = open_splits(tmp_path, val=0.2, seed=0)
    assert {part: images.counts.tolist() for part, images in splits.sets.items()} == {
        "train": [4, 3, 1],  # one image of c is enough: nothing needs to be held out
        "val": [0, 2, 0],
        "test": [1, 2, 0],
    }
    assert all(images.classes == ("a", "b", "c") for images in splits.sets.values())
    assert splits.val is not None
    assert splits.val.name == str(tmp_path / "valid")
    assert f"{tmp_path}/valid: no images of a, c" in splits.notes


def test_without_val_some_of_train_is_held_out_and_test_stays_whole(tmp_path: Path) -> None:
    plant(tmp_path, {"train/a": 10, "train/b": 10, "test/a": 3, "test/b": 2})
    splits = open_splits(tmp_path, val=0.3, seed=0)
    assert {part: len(images) for part, images in splits.sets.items()} == {"train": 14, "val": 6, "test": 5}


def test_labels_are_mapped_by_name_never_by_place(tmp_path: Path) -> None:
    plant(tmp_path, {"train/a": 2, "train/b": 2, "train/c": 2, "val/c": 1, "val/b": 1})
    splits = open_splits(tmp_path, val=0.2, seed=0)
    assert splits.val is not None
    assert [splits.val.classes[label] for label in splits.val.labels] == ["b", "c"]
    assert list(splits.val.keys) == ["b/0.png", "c/0.png"]


def test_classes_that_train_does_not_know_are_refused(tmp_path: Path) -> None:
    plant(tmp_path, {"train/cat": 2, "train/dog": 2, "val/cat": 1, "val/wolf": 1})
    error = refused(tmp_path)
    assert error.what == f"{tmp_path}/val has images of classes that {tmp_path}/train does not know: wolf"
    assert error.remedy is not None
    assert error.remedy.endswith("knows cat, dog")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Cat", "'Cat' differs from 'cat' only in case, spaces or Unicode form"),
        ("cat ", "'cat ' differs from 'cat' only in case, spaces or Unicode form"),
        ("ﬁreﬂy", "'ﬁreﬂy' differs from 'firefly' only in case, spaces or Unicode form"),
        ("Sea_Lion", "'Sea_Lion' differs from 'sea lion' only in case, spaces or Unicode form"),
        ("firefyl", "did you mean 'firefly' by 'firefyl'?"),
        ("zebra", None),
    ],
)
def test_a_class_that_is_nearly_known_is_pointed_out(tmp_path: Path, name: str, hint: str | None) -> None:
    plant(tmp_path, {"train/cat": 2, "train/firefly": 2, "train/sea lion": 2, f"test/{name}": 1})
    assert refused(tmp_path).why == hint


def test_two_unicode_spellings_are_one_name() -> None:
    """A model from elsewhere may have stored its names decomposed."""
    images = array_set("mine", np.zeros((4, 4, 6), np.uint8), np.array([0, 1, 1, 0]), ("Käse", "Öl"))
    decomposed = [unicodedata.normalize("NFD", name) for name in ("Zeh", "Öl", "Käse")]
    assert match_classes(images, decomposed, known_to="the model").labels.tolist() == [2, 1, 1, 2]


def test_one_class_is_nothing_to_tell_apart(tmp_path: Path) -> None:
    assert refused(plant(tmp_path / "one", {"cat": 3})).what == "there is only one class: cat"
    error = refused(plant(tmp_path / "wrapped", {"photos/cat": 3, "photos/dog": 3}))
    assert error.remedy == f"{tmp_path}/wrapped/photos, if the classes are cat, dog"


def test_an_empty_class_is_refused(tmp_path: Path) -> None:
    assert refused(plant(tmp_path, {"cat": 3, "dog": 0, "eel": 2})).what == "no images in 1 of 3 classes: dog"


def test_a_class_with_one_image_is_refused_where_it_must_be_split(tmp_path: Path) -> None:
    plant(tmp_path, {"cat": 3, "dog": 1})
    assert refused(tmp_path).what == "only one image in 1 of 2 classes: dog"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    plant(tmp_path, {"photos/cat": 1})
    error = refused(tmp_path / "photso")
    assert (error.what, error.where) == ("there is no such file or folder", str(tmp_path / "photso"))
    assert error.why == f"did you mean {tmp_path / 'photos'}?"
    assert refused("mnist_5k").why == "did you mean mnist-5k?"
    assert refused(tmp_path / "no" / "where").why is None
    assert refused(tmp_path / "photos" / "cat" / "0.png").what == "this is not a data set that can be read"


def test_parts_without_train_cannot_be_trained_on(tmp_path: Path) -> None:
    plant(tmp_path, {"test/a": 2, "test/b": 2, "val/a": 1, "val/b": 1})
    assert refused(tmp_path).what == "there are val and test images but no train images"


def test_unreadable_images_stop_everything_and_are_named(tmp_path: Path) -> None:
    plant(tmp_path, {"cat": 15, "dog": 15})
    whole = png(gradient(30, 50), 2)
    for number in range(12):
        (tmp_path / "cat" / f"{number}.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "dog" / "note.jpg").write_text("<html>404</html>")
    error = refused(tmp_path)
    assert error.what == "13 of 31 images cannot be read"
    assert error.why is not None
    lines = error.why.splitlines()
    assert len(lines) == 11
    assert lines[0].startswith(f"{tmp_path}/cat/0.png: the PNG file is damaged")
    assert lines[-1].strip() == "... and 3 more"
    assert error.remedy is not None
    assert "--bad-images skip" in error.remedy


def test_unreadable_images_can_be_left_out(tmp_path: Path) -> None:
    plant(tmp_path, {"train/cat": 5, "train/dog": 5, "test/cat": 2})
    (tmp_path / "train" / "dog" / "3.png").write_bytes(b"")
    (tmp_path / "test" / "cat" / "1.png").write_bytes(b"GIF89a")
    splits = open_splits(tmp_path, val=0.2, seed=0, bad_images="skip")
    assert {part: len(images) for part, images in splits.sets.items()} == {"train": 7, "val": 2, "test": 1}
    assert [Path(failure.path).relative_to(tmp_path).as_posix() for failure in splits.failed] == [
        "train/dog/3.png",
        "test/cat/1.png",
    ]
    assert splits.failed[0].reason == "the file is empty (0 bytes)"
    assert "left out 2 images that cannot be read" in splits.notes
    for images in splits.sets.values():
        for index in range(len(images)):
            assert images.read(index).shape == (6, 9, 3)


def test_a_class_may_not_vanish_with_its_unreadable_images(tmp_path: Path) -> None:
    plant(tmp_path, {"cat": 5, "dog": 2})
    for number in range(2):
        (tmp_path / "dog" / f"{number}.png").write_bytes(b"")
    what = refused(tmp_path, bad_images="skip").what
    assert what == "no images in 1 of 2 classes once unreadable images are left out: dog"
    (tmp_path / "dog" / "0.png").write_bytes(png(gradient(5, 7), 2))
    assert refused(tmp_path, bad_images="skip").what == "only one image in 1 of 2 classes: dog"


def test_what_cannot_be_trained_on_is_said_before_anything_is_decoded() -> None:
    def read(_: int) -> np.ndarray:
        raise AssertionError("decoded")

    single = ImageSet("x", ("a", "b"), ["1", "2", "3"], np.array([0, 0, 1]), read)
    assert "only one image" in refused(single).what


def test_own_image_sets_and_splits_are_welcome() -> None:
    images = array_set("mine", np.zeros((20, 4, 6), np.uint8), np.arange(20) % 2, ("odd", "even"))
    splits = open_splits(images, val=0.2, seed=0)
    assert {part: len(part_images) for part, part_images in splits.sets.items()} == {"train": 16, "val": 4}
    assert open_splits(splits, val=0.9, seed=5) is splits


def test_a_folder_called_like_a_built_in_set_is_pointed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    plant(tmp_path / "digits", {"a": 2, "b": 2})
    monkeypatch.chdir(tmp_path)
    assert len(open_images("digits")) == 1797
    assert "for the folder of that name type ./digits" in capfd.readouterr().err
    assert len(open_images("./digits")) == 4
    assert len(open_images(Path("digits"))) == 4


# ---------------------------------------------------------------- for evaluation


def test_evaluation_takes_the_images_that_chose_least(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plant(tmp_path, {"train/a": 4, "train/b": 3, "val/a": 2, "val/b": 1})
    assert open_images(tmp_path).name == str(tmp_path / "val")
    assert f"{tmp_path}: there is no test part; these are its val images" in capfd.readouterr().err
    plant(tmp_path, {"test/b": 5})
    images = open_images(str(tmp_path))
    assert (images.name, images.classes, len(images)) == (str(tmp_path / "test"), ("b",), 5)
    assert len(open_images(tmp_path, split="train")) == 7
    with pytest.raises(DataError, match="there are no test images"):
        open_images(tmp_path / "train", split="test")


def test_evaluation_reads_a_plain_folder_of_one_class(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    images = open_images(plant(tmp_path, {"cat": 3, "dog": 0}))
    assert images.classes == ("cat",)
    assert "left out folders without images: dog" in capfd.readouterr().err
    with pytest.raises(DataError, match="there are no images"):
        open_images(plant(tmp_path / "none", {"cat": 0}))


def test_evaluation_takes_splits_and_sets() -> None:
    images = array_set("mine", np.zeros((6, 4, 6), np.uint8), np.arange(6) % 2, ("odd", "even"))
    assert open_images(images) is images
    assert open_images(Splits(images.subset([0, 1]), None, images.subset([2]))).labels.tolist() == [0]


def test_an_unknown_part_is_refused(tmp_path: Path) -> None:
    plant(tmp_path, {"train/a": 1, "test/a": 1})
    with pytest.raises(DataError, match="there are no val images") as caught:
        open_images(tmp_path, split="val")
    assert caught.value.why == "there are train and test images"


@pytest.mark.parametrize(
    ("typed", "what"),
    [("x" * 300, "the data cannot be reached"), ("~nobody-of-this-name/images", "there is no such home folder")],
)
def test_a_place_that_cannot_be_reached_is_told(typed: str, what: str) -> None:
    error = refused(typed)
    assert (error.what, error.where) == (what, typed)


def test_a_loop_of_links_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("a")
    assert refused(tmp_path / "a" / "images").where == str(tmp_path / "a" / "images")

"""IDX files as MNIST and its kin come: found where people have them, read as torchvision reads them, never beyond."""

from __future__ import annotations

import gzip
import struct
import time
from pathlib import Path

import numpy as np
import oracles
import pytest
from peak_memory import forget_peak, peak_memory
from storage_faults import in_child

from vitreous.data.imageset import ImageSet
from vitreous.data.layouts.arrays.idx import find_idx, read_idx
from vitreous.data.layouts.found import Asked, Found
from vitreous.data.recognise import recognise
from vitreous.data.sources import open_images, open_splits
from vitreous.errors import DataError


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    """An IDX file, written by the format's definition."""
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_set(folder: Path, family: str = "", *, packed: bool = True, test: str = "t10k") -> dict[str, np.ndarray]:
    """30 and 20 pictures of 5 x 7 pixels in 10 classes; returns the arrays by file name, without .gz."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(family))
    written = {}
    for part, count in (("train", 30), (test, 20)):
        written[f"{family}{part}-images-idx3-ubyte"] = rng.integers(0, 256, (count, 5, 7), np.uint8)
        written[f"{family}{part}-labels-idx1-ubyte"] = rng.permutation(count).astype(np.uint8) % 10
    for name, array in written.items():
        (folder / (name + ".gz" * packed)).write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    return written


def stacked(images: ImageSet) -> np.ndarray:
    return np.stack([images.read(place) for place in range(len(images))])


def found(typed: str | Path) -> Found:
    answer = find_idx(str(typed), Asked())
    assert answer is not None
    return answer


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("below", ["", "raw", "MNIST/raw"])
def test_every_picture_and_label_is_there(tmp_path: Path, packed: bool, below: str) -> None:
    written = write_set(tmp_path / below, packed=packed)
    (tmp_path / ".DS_Store").write_bytes(b"litter")
    answer = recognise(str(tmp_path), Asked())
    assert list(answer.sets) == ["train", "test"]
    for part, stem in (("train", "train"), ("test", "t10k")):
        images = answer.sets[part]
        pixels = stacked(images)
        assert (pixels == written[f"{stem}-images-idx3-ubyte"][..., None]).all()
        assert pixels.shape == (len(images), 5, 7, 3)
        assert (images.labels == written[f"{stem}-labels-idx1-ubyte"]).all()
        assert images.keys[3] == f"{part}/00003"
    assert answer.sets["train"].classes == tuple("0123456789")
    assert "50 images in 10 classes" in answer.notes[0]
    assert open_images(tmp_path).name == f"{tmp_path} (test)"


def test_torchvision_reads_the_same(tmp_path: Path) -> None:
    mnist = oracles.torchvision().datasets.mnist
    write_set(tmp_path, packed=False)
    for name, sides in (("train-images-idx3-ubyte", 3), ("t10k-labels-idx1-ubyte", 1)):
        theirs = mnist.read_sn3_pascalvincent_tensor(str(tmp_path / name)).numpy()
        assert (read_idx(tmp_path / name, dimensions=sides) == theirs).all()


def test_the_same_files_anywhere_have_the_same_fingerprint(tmp_path: Path) -> None:
    for folder, packed in (("a", True), ("b/MNIST/raw", False)):
        write_set(tmp_path / folder, packed=packed)
    prints = [found(tmp_path / folder).sets["train"].fingerprint for folder in ("a", "b")]
    assert prints[0] == prints[1]
    path = tmp_path / "b/MNIST/raw/train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    assert found(tmp_path / "b").sets["train"].fingerprint != prints[0]


def test_one_file_is_its_own_images(tmp_path: Path) -> None:
    written = write_set(tmp_path, "emnist-letters-", test="test")
    write_set(tmp_path, "emnist-digits-", test="test")
    answer = found(tmp_path / "emnist-letters-train-images-idx3-ubyte.gz")
    assert list(answer.sets) == ["all"]
    assert (stacked(answer.sets["all"])[..., 1] == written["emnist-letters-train-images-idx3-ubyte"]).all()
    assert any("rows and columns exchanged" in note for note in answer.notes)
    with pytest.raises(DataError, match="this file holds labels") as caught:
        find_idx(str(tmp_path / "emnist-letters-train-labels-idx1-ubyte.gz"), Asked())
    assert "emnist-letters-train-images-idx3-ubyte.gz" in str(caught.value.remedy)


def test_what_a_mac_leaves_beside_the_files_is_no_second_set(tmp_path: Path) -> None:
    write_set(tmp_path)
    for path in list(tmp_path.iterdir()):
        (tmp_path / f"._{path.name}").write_bytes(b"\0\5\x16\7\0\2\0\0")
    assert list(found(tmp_path).sets) == ["train", "test"]


def test_a_file_whose_labels_cannot_be_told_is_refused(tmp_path: Path) -> None:
    """Among too many others, or where two sets differ by a sign only."""
    (tmp_path / "alike").mkdir()
    (tmp_path / "many").mkdir()
    for folder in (tmp_path / "alike", tmp_path / "many"):
        write_set(folder, packed=False)
    write_set(tmp_path / "alike", "_", packed=False)
    for number in range(1000):
        (tmp_path / "many" / f"{number}.txt").touch()
    for name, why in (("alike", "called alike"), ("many", "1,000 files or more")):
        with pytest.raises(DataError, match="belong together") as refused:
            found(tmp_path / name / "train-images-idx3-ubyte")
        assert why in str(refused.value)


def test_of_several_sets_in_a_folder_one_is_named(tmp_path: Path) -> None:
    letters = write_set(tmp_path, "emnist-letters-", test="test")
    write_set(tmp_path, "emnist-balanced-", test="test")
    with pytest.raises(DataError, match="2 sets in one folder: emnist-balanced, emnist-letters") as caught:
        find_idx(str(tmp_path), Asked())
    typed = str(caught.value.remedy).removeprefix("name one of them: ")
    assert typed == str(tmp_path / "emnist-letters")
    answer = recognise(typed, Asked())
    assert (stacked(answer.sets["test"])[..., 2] == letters["emnist-letters-test-images-idx3-ubyte"]).all()
    assert find_idx(str(tmp_path / "emnist"), Asked()) is None


def test_letters_are_called_by_emnist_s_mapping(tmp_path: Path) -> None:
    write_set(tmp_path, "emnist-letters-", test="test")
    lines = [f"{label} {65 + label} {97 + label}" for label in range(10)]
    (tmp_path / "emnist-letters-mapping.txt").write_text("\n".join(lines) + "\n")
    assert found(tmp_path).sets["train"].classes == ("Aa", "Bb", "Cc", "Dd", "Ee", "Ff", "Gg", "Hh", "Ii", "Jj")
    (tmp_path / "emnist-letters-mapping.txt").write_text("\n".join(lines[:8]))
    with pytest.raises(DataError, match="labels without a name: 8, 9"):
        find_idx(str(tmp_path), Asked())


def test_class_names_may_lie_beside_the_files(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / "classes.txt").write_text("\n".join(f"kind {letter}" for letter in "jihgfedcba"))
    images = found(tmp_path).sets["test"]
    assert (images.classes[0], images.classes[9]) == ("kind j", "kind a")


def test_labels_that_begin_above_nought_are_classes_all_the_same(tmp_path: Path) -> None:
    written = write_set(tmp_path)
    labels = written["train-labels-idx1-ubyte"] % 2 + 25
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    (tmp_path / "t10k-images-idx3-ubyte.gz").unlink()
    splits = open_splits(tmp_path, val=0.2, seed=0)
    assert splits.train.classes == ("25", "26")
    whole = found(tmp_path).sets["train"]
    assert [whole.classes[label] for label in whole.labels] == [str(label) for label in labels]


def test_files_of_digits_are_not_mirrored(tmp_path: Path) -> None:
    write_set(tmp_path)
    assert not found(tmp_path).sets["train"].mirror_safe


@pytest.mark.parametrize(
    ("kind", "name", "type_"), [(9, "int8", "i1"), (0x0B, "int16", ">i2"), (0x0C, "int32", ">i4"),
                                (0x0D, "float32", ">f4"), (0x0E, "float64", ">f8")],
)  # fmt: skip
def test_other_numbers_than_bytes_are_refused_by_name(tmp_path: Path, kind: int, name: str, type_: str) -> None:
    write_set(tmp_path)
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(idx(np.arange(30).astype(type_), kind)))
    with pytest.raises(DataError, match=f"numbers in this IDX file are {name}") as caught:
        find_idx(str(tmp_path), Asked())
    assert caught.value.where == str(path)


@pytest.mark.parametrize("packed", [True, False])
def test_wherever_a_file_is_cut_off_it_is_told(tmp_path: Path, packed: bool) -> None:
    whole = idx(np.random.default_rng(0).integers(0, 256, (3, 5, 7), np.uint8))
    whole = gzip.compress(whole) if packed else whole
    path = tmp_path / "cut"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError):
            read_idx(path, dimensions=3)
    path.write_bytes(whole)
    assert read_idx(path, dimensions=3).shape == (3, 5, 7)


def test_damage_in_a_packed_file_is_told_or_harmless(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 7), np.uint8)
    whole, told = gzip.compress(idx(pixels)), 0
    for place in range(10, len(whole)):
        (tmp_path / "a").write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        try:
            assert (read_idx(tmp_path / "a", dimensions=3) == pixels).all()
        except DataError:
            told += 1
    assert told >= len(whole) - 12  # the last byte of deflate ends in bits that mean nothing


def test_a_bomb_is_never_unpacked_beyond_its_header(tmp_path: Path) -> None:
    """A header that declares 12 bytes before a gigabyte of zeros; headers that declare what cannot be there."""
    tail = gzip.compress(bytes(2**24)) * 64
    (tmp_path / "a").write_bytes(gzip.compress(idx(np.zeros((1, 3, 4), np.uint8))) + tail)
    vast = bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 2**32 - 1)
    (tmp_path / "b").write_bytes(vast)
    (tmp_path / "c").write_bytes(gzip.compress(vast + bytes(1000)))
    (tmp_path / "d").write_bytes(gzip.compress(vast[:4] + struct.pack(">3I", 2**10, 2**10, 2**10)))

    def cost() -> tuple[float, int]:
        before, began = forget_peak(), time.perf_counter()
        with pytest.raises(DataError, match="damaged") as caught:
            read_idx(tmp_path / "a", dimensions=3)
        assert caught.value.why == "its header declares 1 x 3 x 4 bytes, and more follow"
        for name in ("b", "c", "d"):
            with pytest.raises(DataError, match="damaged"):
                read_idx(tmp_path / name, dimensions=3)
        return time.perf_counter() - began, peak_memory() - before

    seconds, grown = in_child(cost).ok()
    assert seconds < 3
    assert grown < 20e6  # bytes


def test_what_does_not_fit_together_is_told(tmp_path: Path) -> None:
    write_set(tmp_path)
    labels, images = tmp_path / "train-labels-idx1-ubyte.gz", tmp_path / "train-images-idx3-ubyte.gz"
    good = images.read_bytes()
    for path, content, words in (
        (labels, idx(np.zeros(29, np.uint8)), "30 images do not go with 29 labels"),
        (images, idx(np.zeros((30, 5, 7, 3), np.uint8)), "has 4 sides"),
        (labels, idx(np.zeros((30, 1), np.uint8)), "has 2 sides"),
        (images, b"<html>404</html>", "not an IDX file"),
        (images, b"", "not an IDX file"),
    ):
        labels.write_bytes(gzip.compress(idx(np.zeros(30, np.uint8))))
        images.write_bytes(good)
        path.write_bytes(content)
        with pytest.raises(DataError, match=words):
            find_idx(str(tmp_path), Asked())
    labels.write_bytes(idx(np.zeros(0, np.uint8)))
    images.write_bytes(idx(np.zeros((0, 5, 7), np.uint8)))
    with pytest.raises(DataError, match="no images in the file"):
        find_idx(str(tmp_path), Asked())
    labels.unlink()
    with pytest.raises(DataError, match=r"labels that belong to train-images-idx3-ubyte\.gz are missing"):
        find_idx(str(tmp_path), Asked())


def test_other_things_are_left_to_others(tmp_path: Path) -> None:
    for name in ("MNIST/cat", "MNIST/dog", "MNIST/raw"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    for typed in (tmp_path, tmp_path / "MNIST", tmp_path / "photo.jpg", tmp_path / "none", tmp_path / "no/ne"):
        assert find_idx(str(typed), Asked()) is None
    (tmp_path / "pictures").write_bytes(idx(np.zeros((2, 5, 7), np.uint8)))
    with pytest.raises(DataError, match="its name does not say where its labels are"):
        find_idx(str(tmp_path / "pictures"), Asked())

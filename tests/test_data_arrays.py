"""NumPy's arrays of images, written by NumPy: read image by image, or refused before memory is spent."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vitreous.data.layouts.arrays.arrays import find_arrays
from vitreous.data.layouts.arrays.npy import stored_in
from vitreous.data.layouts.found import Asked, Found
from vitreous.data.sources import open_splits
from vitreous.errors import DataError


def photos(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, *shape), np.uint8)


def found(path: Path) -> Found:
    answer = find_arrays(str(path), Asked())
    assert answer is not None
    return answer


def refused(path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        find_arrays(str(path), Asked())
    assert caught.value.exit_code == 3
    return caught.value


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_keras_mnist(tmp_path: Path, save: Callable[..., None]) -> None:
    x, y, more, labels = photos(6, 5, 7), np.array([3, 0, 3, 10, 0, 10]), photos(2, 5, 7), np.array([0, 3])
    save(tmp_path / "mnist.npz", x_train=x, y_train=y, x_test=more, y_test=labels)
    answer = found(tmp_path / "mnist.npz")
    train, test = answer.sets["train"], answer.sets["test"]
    assert (train.classes, test.classes) == (("0", "3", "10"), ("0", "3"))
    assert [train.classes[label] for label in train.labels] == ["3", "0", "3", "10", "0", "10"]
    for place in range(6):
        assert np.array_equal(train.read(place), np.stack([x[place]] * 3, axis=-1))
    assert np.array_equal(test.read(1)[:, :, 2], more[1])
    assert train.keys[4] == "train/00004"
    assert answer.notes[0] == f"{tmp_path}/mnist.npz (train): 6 images of 5 x 7 pixels"


def test_medmnist(tmp_path: Path) -> None:
    """Labels are (N, 1); of chestmnist 14 columns of 0 and 1, and many images show nothing."""
    images = {f"{part}_images": photos(count, 9, 6, 3) for part, count in (("train", 5), ("val", 3), ("test", 2))}
    single = {
        f"{part}_labels": np.arange(count, dtype=np.uint8)[:, None]
        for part, count in (("train", 5), ("val", 3), ("test", 2))
    }
    np.savez(tmp_path / "pathmnist.npz", **images, **single)
    answer = found(tmp_path / "pathmnist.npz")
    assert {part: each.labels.tolist() for part, each in answer.sets.items()} == {
        "train": [0, 1, 2, 3, 4],
        "val": [0, 1, 2],
        "test": [0, 1],
    }
    assert np.array_equal(answer.sets["val"].read(2), images["val_images"][2])
    several = {key: np.eye(len(value), 14, dtype=np.uint8) for key, value in single.items()}
    several["train_labels"][1] = 0
    several["train_labels"][2, 7] = 1
    np.savez(tmp_path / "chestmnist.npz", **images, **several)
    train = found(tmp_path / "chestmnist.npz").sets["train"]
    assert train.targets is not None
    assert not train.targets.soft
    columns = [int(name) for name in train.classes]
    assert columns == [0, 2, 3, 4, 7]
    assert np.array_equal(train.targets.rows(np.arange(5)), several["train_labels"][:, columns])


def test_one_hot_columns_are_one_label_and_shares_are_shares(tmp_path: Path) -> None:
    table = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]])
    np.savez(tmp_path / "a.npz", images=photos(4, 5, 7, 3), labels=table)
    assert found(tmp_path / "a.npz").sets["all"].labels.tolist() == [1, 2, 0, 1]
    assert found(tmp_path / "a.npz").sets["all"].targets is None
    shares = np.array([[0.25, 0.75, 0], [0, 0, 1], [1, 0, 0], [0.5, 0.25, 0.25]], np.float32)
    np.savez(tmp_path / "a.npz", images=photos(4, 5, 7, 3), labels=shares)
    targets = found(tmp_path / "a.npz").sets["all"].targets
    assert targets is not None
    assert targets.soft
    assert np.array_equal(targets.rows(np.arange(4)), shares)
    np.savez(tmp_path / "a.npz", images=photos(4, 5, 7, 3), labels=shares * np.array([[1], [1], [0.5], [1]]))
    assert refused(tmp_path / "a.npz").what == "the shares of image 2 make 0.5 together, and not 1"


def test_names_of_classes(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=photos(3, 5, 7), y=[2, 0, 2], class_names=["ant", "bee", "cat"])
    images = found(tmp_path / "a.npz").sets["all"]
    assert images.classes == ("ant", "cat")
    assert images.labels.tolist() == [1, 0, 1]
    np.savez(tmp_path / "a.npz", x=photos(3, 5, 7), y=["dog", "cat", "dog"])
    assert found(tmp_path / "a.npz").sets["all"].classes == ("cat", "dog")


@pytest.mark.parametrize("names", [("images", "labels"), ("X", "y"), ("X_train", "Y_train")])
def test_a_folder_of_arrays_stays_on_the_disk(tmp_path: Path, names: tuple[str, str]) -> None:
    """Opening takes no memory for pixels, and an image only its own."""
    pixels = photos(50, 160, 170, 3)
    np.save(tmp_path / names[0], pixels)
    np.save(tmp_path / names[1], np.arange(50) % 4)
    tracemalloc.start()
    try:
        images = next(iter(found(tmp_path).sets.values()))
        assert np.array_equal(images.read(49), pixels[49])
        assert tracemalloc.get_traced_memory()[1] < pixels.nbytes // 3
    finally:
        tracemalloc.stop()
    assert images.counts.tolist() == [13, 13, 12, 12]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_order_of_axes_in_memory_does_not_matter(tmp_path: Path, save: Callable[..., None]) -> None:
    pixels = photos(4, 5, 7, 3)
    save(tmp_path / "a.npz", x=np.asfortranarray(pixels), y=np.arange(4))
    assert np.array_equal(found(tmp_path / "a.npz").sets["all"].read(3), pixels[3])


def test_colours_before_rows(tmp_path: Path) -> None:
    pixels = photos(4, 3, 5, 7)
    np.savez(tmp_path / "a.npz", x=pixels, y=np.arange(4))
    answer = found(tmp_path / "a.npz")
    assert np.array_equal(answer.sets["all"].read(2), np.moveaxis(pixels[2], 0, -1))
    assert "x: colours are axis 1, as PyTorch has them" in answer.notes
    np.savez(tmp_path / "a.npz", x=photos(4, 3, 5, 3), y=np.arange(4))
    assert refused(tmp_path / "a.npz").why == (
        "its shape is (4, 3, 5, 3), in which axis 1 or axis 3 may be the colours"
    )


def test_fractions_from_0_to_1_become_the_bytes_they_were(tmp_path: Path) -> None:
    pixels = photos(4, 5, 7, 3)
    for kind in (np.float16, np.float32, np.float64):
        np.savez(tmp_path / "a.npz", x=(pixels / 255).astype(kind), y=np.arange(4))
        answer = found(tmp_path / "a.npz")
        if kind != np.float16:
            assert np.array_equal(answer.sets["all"].read(1), pixels[1])
        assert np.abs(answer.sets["all"].read(1).astype(int) - pixels[1]).max() <= 1
        assert any("of which 0 to 1 becomes 0 to 255" in note for note in answer.notes)


@pytest.mark.parametrize("bad", [np.nan, -0.01, 1.01, 254.0])
def test_other_fractions_are_refused(tmp_path: Path, bad: float) -> None:
    pixels = np.full((4, 5, 7, 3), 0.5, np.float32)
    pixels[3, 4, 6, 2] = bad
    np.savez(tmp_path / "a.npz", x=pixels, y=np.arange(4))
    error = refused(tmp_path / "a.npz")
    assert error.why == "floating-point images must lie between 0 and 1"
    assert "astype('uint8')" in str(error.remedy)


@pytest.mark.parametrize(
    ("arrays", "what"),
    [
        ({"x": np.zeros((4, 5, 7), np.int64), "y": np.arange(4)}, "this array does not hold images"),
        ({"x": np.zeros((4, 5, 7, 4), np.uint8), "y": np.arange(4)}, "this array does not hold images"),
        ({"x": np.zeros((4, 5), np.uint8), "y": np.arange(4)}, "this array does not hold images"),
        ({"x": np.zeros((0, 5, 7), np.uint8), "y": np.arange(0)}, "this array does not hold images"),
        ({"x": np.zeros((4, 5, 7), np.uint8), "y": np.arange(3)}, "4 images, but labels of shape (3,)"),
        ({"x": np.zeros((4, 5, 7), np.uint8), "y": np.arange(4) - 1}, "label -1 of image 0 is below 0"),
        ({"x": np.zeros((4, 5, 7), np.uint8), "y": np.arange(4) / 2}, "labels are float64"),
        ({"x": np.zeros((4, 5, 7), np.uint8)}, "there are no images with labels in the arrays"),
        ({"u": np.zeros((4, 5, 7), np.uint8), "v": np.arange(4)}, "there are no images with labels in the arrays"),
        ({"x": np.zeros((4, 5, 7), np.uint8), "y": np.full((4, 3), 2)}, "labels in columns must be numbers"),
        ({"x": np.zeros((2, 5, 7), np.uint8), "images": np.zeros((2, 5, 7), np.uint8), "y": [0, 1]}, "both "),
    ],
)
def test_arrays_that_are_no_labelled_images(tmp_path: Path, arrays: dict[str, np.ndarray], what: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    assert refused(tmp_path / "a.npz").what.startswith(what)


def test_python_objects_are_refused_unopened(tmp_path: Path) -> None:
    """An array of objects is a pickle inside, and would run on loading."""

    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (tmp_path.joinpath("ran").touch, ())

    np.savez(tmp_path / "a.npz", x=np.array([Trap(), Trap()], object), y=np.arange(2))
    assert refused(tmp_path / "a.npz").what == "the array holds Python objects, which are not read"
    assert not (tmp_path / "ran").exists()


# ---------------------------------------------------------------- damage, and claims that are not believed


def header(shape: tuple[int, ...], kind: str = "|u1") -> bytes:
    """The header of an .npy file, by the format's description."""
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def test_a_header_that_claims_more_than_there_is(tmp_path: Path) -> None:
    """Nothing is allocated: the claim is compared with the file first."""
    np.save(tmp_path / "labels.npy", np.arange(3))
    (tmp_path / "images.npy").write_bytes(header((10**6, 1000, 1000, 3)) + bytes(100))
    tracemalloc.start()
    try:
        error = refused(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    assert error.why == "its header speaks of 3,000,000,000,000 bytes, and there are 100"


def test_a_zip_bomb(tmp_path: Path) -> None:
    """80 MB of zeros in 80 kB are not unpacked."""
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("x.npy", "w", force_zip64=True) as file:
            file.write(header((80, 1000, 1000)))
            for _ in range(80):
                file.write(bytes(1_000_000))
        labels = io.BytesIO()
        np.save(labels, np.arange(80))
        archive.writestr("y.npy", labels.getvalue())
    tracemalloc.start()
    try:
        error = refused(tmp_path / "a.npz")
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    assert error.why == "more than 100 times as many are not believed"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_files_that_are_cut_off(tmp_path: Path, save: Callable[..., None], share: float) -> None:
    save(tmp_path / "a.npz", x=photos(9, 15, 17, 3), y=np.arange(9))
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(content[: int(share * len(content))])
    assert refused(tmp_path / "a.npz").what == "the file of arrays is damaged, cut off or no such file"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_flipped_bit_is_found(tmp_path: Path, save: Callable[..., None]) -> None:
    """The archive's checksum is compared, of arrays that are mapped too."""
    save(tmp_path / "a.npz", x=photos(9, 15, 17, 3), y=np.arange(9))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[3000] ^= 4
    (tmp_path / "a.npz").write_bytes(content)
    assert refused(tmp_path / "a.npz").what == "the file of arrays is damaged, cut off or no such file"


def test_a_cut_npy_and_a_text_of_that_name(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", photos(9, 15, 17, 3))
    content = (tmp_path / "images.npy").read_bytes()
    for bad in (b"", b"no array", content[:40], content[:-1], content + b"x"):
        (tmp_path / "images.npy").write_bytes(bad)
        with pytest.raises(DataError, match="damaged, cut off or no such file"):
            stored_in(tmp_path / "images.npy")
    assert refused(tmp_path / "images.npy").what.startswith("this file holds one array")


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "weights.npy", np.zeros(3))
    assert find_arrays(str(tmp_path), Asked()) is None
    assert find_arrays(str(tmp_path / "none"), Asked()) is None


def test_arrays_train(tmp_path: Path) -> None:
    pixels, labels = photos(20, 8, 9, 3), np.arange(20) % 2
    np.savez(tmp_path / "a.npz", images=pixels, labels=labels)
    splits = open_splits(tmp_path / "a.npz", val=0.2, seed=0)
    assert {part: len(images) for part, images in splits.sets.items()} == {"train": 16, "val": 4}
    again = open_splits(tmp_path / "a.npz", val=0.2, seed=0)
    assert again.fingerprint == splits.fingerprint
    pixels[7, 3, 4, 1] ^= 1
    np.savez(tmp_path / "a.npz", images=pixels, labels=labels)
    assert open_splits(tmp_path / "a.npz", val=0.2, seed=0).fingerprint != splits.fingerprint


@pytest.mark.parametrize(("method", "name"), [(zipfile.ZIP_LZMA, "LZMA"), (zipfile.ZIP_BZIP2, "bzip2")])
def test_arrays_packed_in_other_ways_are_refused_by_name(tmp_path: Path, method: int, name: str) -> None:
    np.save(tmp_path / "x.npy", np.zeros((5, 3, 4), np.uint8))
    with zipfile.ZipFile(tmp_path / "set.npz", "w", method) as archive:
        archive.write(tmp_path / "x.npy", "x.npy")
    with pytest.raises(DataError, match=f"packed by {name}"):
        stored_in(tmp_path / "set.npz")


def test_no_flipped_bit_of_a_header_ends_otherwise_than_in_an_answer(tmp_path: Path) -> None:
    """NumPy reads a header that is no Python as one of Python 2's, and then stumbles otherwise."""
    np.save(tmp_path / "images.npy", photos(3, 5, 7))
    whole, told = (tmp_path / "images.npy").read_bytes(), 0
    for place in range(128):
        (tmp_path / "images.npy").write_bytes(whole[:place] + bytes([whole[place] ^ 0x01]) + whole[place + 1 :])
        try:
            stored_in(tmp_path / "images.npy")
        except DataError:
            told += 1
    assert told > 40


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        (np.array([0, np.inf, 1]), "a label is inf"),
        (np.array([0, 1e300, 1]), "a label is 1e+300"),
        (np.array([0, 2**63 + 5, 1], np.uint64), "a label is 9223372036854775813"),
    ],
)
def test_labels_beyond_any_number_of_classes_are_told_as_they_are(
    tmp_path: Path, labels: np.ndarray, what: str
) -> None:
    np.savez(tmp_path / "a.npz", x=photos(3, 4, 5), y=labels)
    assert refused(tmp_path / "a.npz").what == what


def test_classes_of_one_name_in_two_spellings_are_not_made_one(tmp_path: Path) -> None:
    names = np.array(["caf\u00e9", "cafe\u0301"])
    np.savez(tmp_path / "a.npz", x=photos(3, 4, 5), y=np.array([0, 1, 1]), classes=names)
    assert refused(tmp_path / "a.npz").what == "class names come twice: caf\u00e9"

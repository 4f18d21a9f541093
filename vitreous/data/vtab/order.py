"""The order in which TensorFlow Datasets keeps images, and the slices of it that VTAB's parts are.

TFDS writes each split sorted by the MD5 hash of the split's name and the image's key, as a number of 128 bits
(tensorflow/datasets, core/hashing.py and core/shuffle.py; the salt is the name of the split). So VTAB's parts follow
from the original files alone. A slice that spans several of TFDS's files is read there with the files interleaved: the
set of images is the same, their order within it may differ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Int

from vitreous.errors import DataError
from vitreous.published.vtab import TASKS, VtabTask

Part: TypeAlias = Literal["train", "val", "test"]


@dataclass(frozen=True, slots=True)
class Cut:
    """A slice of one of TFDS's splits, in whole percent."""

    split: str
    """What TFDS calls it: train, validation or test; the salt of its order."""
    start: int = 0
    stop: int = 100

    def of(self, order: Int[np.ndarray, " N"]) -> Int[np.ndarray, " n"]:
        """The places in the slice.

        Args:
            order: all places of the split, in TFDS's order.
        """
        return order[len(order) * self.start // 100 : len(order) * self.stop // 100]


_OWN = {"train": Cut("train"), "val": Cut("validation"), "test": Cut("test")}


def _held_out(percent: int, test: str = "test") -> dict[str, Cut]:
    return {"train": Cut("train", 0, percent), "val": Cut("train", percent), "test": Cut(test)}


def _all_of_train(train: int, val: int) -> dict[str, Cut]:
    return {"train": Cut("train", 0, train), "val": Cut("train", train, train + val), "test": Cut("train", train + val)}


_BY_BUILDER: dict[str, dict[str, Cut]] = {
    "caltech101": _held_out(90),
    "cifar100": _held_out(90),
    "svhn_cropped": _held_out(90),
    "oxford_iiit_pet": _held_out(80),
    "clevr": _held_out(90, test="validation"),  # the labels of its test images were never published
    "dtd": _OWN,
    "oxford_flowers102": _OWN,
    "sun397/tfds": _OWN,
    "patch_camelyon": _OWN,
    "diabetic_retinopathy_detection/btgraham-300": _OWN,
    "dmlab": _OWN,
    "kitti": _OWN,
    "eurosat/rgb": _all_of_train(60, 20),
    "resisc45": _all_of_train(60, 20),
    "dsprites": _all_of_train(80, 10),
    "smallnorb": {"train": Cut("train"), "val": Cut("test", 0, 50), "test": Cut("test", 50)},
}

CUTS: dict[str, dict[Part, Cut]] = {
    task.name: {part: _BY_BUILDER[task.builder][part] for part in ("train", "val", "test")} for task in TASKS
}
"""By task and part, which slice of which split it is (google-research/task_adaptation, task_adaptation/data)."""


def tfds_order(split: str, keys: Sequence[str | int]) -> Int[np.ndarray, " N"]:
    """The places of images in the order of TFDS: the first is that of the image it gives first.

    Args:
        split: what TFDS calls it: train, validation, test.
        keys: what the builder yields with each image: a file's name, or a number.

    Raises:
        DataError: a key comes twice.
    """
    salt = split.encode()
    digests = [hashlib.md5(salt + str(key).encode(), usedforsecurity=False).digest() for key in keys]
    hashes = np.frombuffer(b"".join(digests), "S16")  # compared byte by byte, as big-endian numbers are
    order = np.argsort(hashes, kind="stable")
    again = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
    if len(again):
        raise DataError(f"{len(again):,} keys of the {split} images come twice", why=str(keys[int(order[again[0]])]))
    return order


def part_places(
    task: VtabTask, keys: Mapping[str, Sequence[str | int]]
) -> dict[Part, tuple[str, Int[np.ndarray, " n"]]]:
    """For each part of a task the TFDS split that it is cut from, and its places there, in TFDS's order.

    Args:
        task: which.
        keys: by the names of all splits that the parts are cut from, the keys of their images.
    """
    orders = {split: tfds_order(split, keys[split]) for split in {cut.split for cut in CUTS[task.name].values()}}
    return {part: (cut.split, cut.of(orders[cut.split])) for part, cut in CUTS[task.name].items()}

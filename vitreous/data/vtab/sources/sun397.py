"""SUN397, from its folders and the three lists of its parts that lie in the package tensorflow-datasets.

tensorflow_datasets/image_classification/sun.py: a random 70, 10 and 20 percent; images of more than 120,000 pixels are
made that small by OpenCV. There they are packed as JPEG once more, which is left out here. Key: /a/abbey/sun_xxx.jpg.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from vitreous.data.imageset import ImageSet, fingerprint
from vitreous.data.vtab.parts import Parts
from vitreous.data.vtab.sources.opencv import opencv_for, resized_by
from vitreous.data.vtab.sources.whole import file_set, folders, inside, text_lines, whole
from vitreous.errors import DataError
from vitreous.published.vtab import VtabTask

_LISTS = {"train": "sun397_tfds_tr.txt", "validation": "sun397_tfds_va.txt", "test": "sun397_tfds_te.txt"}
_MOST_PIXELS = 120_000
_NOTE = "images of SUN397 are resized as in TensorFlow Datasets, without being packed as JPEG once more"


def open_sun397(root: Path, task: VtabTask) -> Parts | None:
    """The 397 scenes, from the folder SUN397 with the lists in it or beside it.

    Args:
        root: the folder of data sets.
        task: sun397.

    Raises:
        DataError: the lists or images that they name are missing.
        UsageError: OpenCV is not installed.
    """
    for folder in folders(root, task, "SUN397"):
        if not (folder / "a" / "abbey").is_dir():
            continue
        lists = _lists_beside(folder, root)
        keys = {split: text_lines(lists / name) for split, name in _LISTS.items()}
        lines = [line for each in keys.values() for line in each]
        if strange := [line for line in lines if line.count("/") < 3 or not inside(line[1:]) or line[0] != "/"]:
            raise DataError(
                f"a line of the lists is not like /a/abbey/sun_x.jpg: {strange[0][:80]!r}", where=str(lists)
            )
        classes = sorted({_scene(line) for line in lines})
        if len(classes) != task.classes:
            raise DataError(f"the lists name {len(classes)} scenes, not {task.classes}", where=str(lists))
        place, cv2 = {name: label for label, name in enumerate(classes)}, opencv_for(task.title)
        splits = {}
        for split, lines in keys.items():
            files, labels = [line[1:] for line in lines], [place[_scene(line)] for line in lines]
            splits[split] = _small(file_set(f"sun397/{split}", classes, folder, files, labels), cv2)
        return whole(task, splits, keys, f"raw files in {folder}", notes=(_NOTE,))
    return None


def _scene(line: str) -> str:
    return line.rpartition("/")[0]


def _lists_beside(folder: Path, root: Path) -> Path:
    for place in (folder, folder.parent, root, root / "image_classification", folder.parent / "image_classification"):
        if (place / _LISTS["train"]).is_file():
            return place
    raise DataError(
        "the lists are missing that say which images of SUN397 are for training and testing",
        where=str(folder),
        why="VTAB's parts are those of TensorFlow Datasets",
        remedy=f"copy image_classification/sun397_tfds_*.txt from the package tensorflow-datasets to {folder}",
    )


def _small(images: ImageSet, cv2: Any) -> ImageSet:
    """Images that are resized as they are read."""

    def read(index: int) -> UInt8[np.ndarray, "H W 3"]:
        image = images.read(index)
        pixels = image.shape[0] * image.shape[1]
        if pixels <= _MOST_PIXELS:
            return image
        factor = math.sqrt(_MOST_PIXELS / pixels)
        return resized_by(cv2, image, factor, str(images.ids[index]))

    made = fingerprint(images.fingerprint, _MOST_PIXELS)
    return dataclasses.replace(images, read=read, encoded=None, fingerprint=made)

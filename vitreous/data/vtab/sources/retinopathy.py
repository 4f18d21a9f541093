"""Kaggle's photographs of retinas, prepared as the winner of the contest did (btgraham-300).

tensorflow_datasets/image_classification/diabetic_retinopathy_detection.py: each photograph is scaled so that the eye's
radius is 300 pixels, freed of its local mean, masked and cut to nine tenths of the radius, and packed as JPEG of
quality 72. Train is Kaggle's train; of Kaggle's test the public rows are for choosing, the private ones for testing.
Key: 10_left.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from vitreous.data.imageset import ImageSet, fingerprint
from vitreous.data.vtab.parts import Parts
from vitreous.data.vtab.sources.opencv import opencv_for, resized_by
from vitreous.data.vtab.sources.whole import file_set, folders, inside, text_lines, whole
from vitreous.errors import DataError, ImageError
from vitreous.picture.decode import decode
from vitreous.published.vtab import VtabTask

_CLASSES = ("no retinopathy", "mild", "moderate", "severe", "proliferative")
_TRAIN, _TEST = "trainLabels.csv", "retinopathy_solution.csv"
_PREPARED = "btgraham-300"
_SPLITS = {
    "train": ("train", _TRAIN, None),
    "validation": ("test", _TEST, "Public"),
    "test": ("test", _TEST, "Private"),
}
_RADIUS, _KEPT, _QUALITY = 300, 0.9, 72
_MOST_SCALED = 2**26  # pixels of a photograph once it is scaled; those of an eye that fills it have 0.5 million


def open_retinopathy(root: Path, task: VtabTask) -> Parts | None:
    """The five grades, from Kaggle's files as they are, or from a folder btgraham-300 of prepared images beside them.

    Args:
        root: the folder of data sets.
        task: retinopathy.

    Raises:
        DataError: lists or images are missing or damaged.
        UsageError: photographs are to be prepared, and OpenCV is not installed.
    """
    for folder in folders(root, task, "diabetic-retinopathy-detection"):
        if not (folder / _TRAIN).is_file():
            continue
        if not (folder / _TEST).is_file():
            raise DataError(
                f"{_TEST} is missing beside {_TRAIN}",
                where=str(folder),
                why="it says which test images are public and which private, and their grades",
                remedy="fetch it from the discussions of the contest",
            )
        prepared = (folder / _PREPARED).is_dir()
        images = folder / _PREPARED if prepared else folder
        cv2 = None if prepared else opencv_for(task.title)
        splits, keys = {}, {}
        for split, (part, table, usage) in _SPLITS.items():
            rows = _rows(folder / table, usage)
            keys[split] = [name for name, _ in rows]
            files = [f"{part}/{name}.jpeg" for name in keys[split]]
            found = file_set(f"retinopathy/{split}", _CLASSES, images, files, [grade for _, grade in rows])
            splits[split] = found if cv2 is None else _made(found, cv2)
        return whole(task, splits, keys, f"{'prepared images' if prepared else 'raw files'} in {images}")
    return None


def _rows(path: Path, usage: str | None) -> list[tuple[str, int]]:
    """Name and grade of each image, of the rows of one usage."""
    found = []
    try:
        rows = list(csv.DictReader(io.StringIO("\n".join(text_lines(path)))))
    except csv.Error as error:
        raise _strange(path, str(error)) from error
    for number, row in enumerate(rows, 2):
        name, grade, used = row.get("image"), row.get("level"), row.get("Usage")
        if not name or not inside(name) or "/" in name or grade not in {"0", "1", "2", "3", "4"}:
            raise _strange(path, f"line {number} has no name and grade from 0 to 4")
        if usage is None or used == usage:
            found.append((name, int(grade)))
        elif used not in ("Public", "Private"):
            raise _strange(path, f"line {number} has no Usage of Public or Private")
    return found


def _strange(path: Path, why: str) -> DataError:
    return DataError("this is no list of Kaggle's retinas", where=str(path), why=why, remedy="fetch it again")


def _made(images: ImageSet, cv2: Any) -> ImageSet:
    """Images that are prepared as they are read."""

    def read(index: int) -> UInt8[np.ndarray, "H W 3"]:
        return prepared_eye(images.read(index), cv2, str(images.ids[index]))

    made = fingerprint(images.fingerprint, _PREPARED)
    return dataclasses.replace(images, read=read, encoded=None, fingerprint=made)


def prepared_eye(image: UInt8[np.ndarray, "H W 3"], cv2: Any, name: str) -> UInt8[np.ndarray, "h w 3"]:
    """A photograph of a retina as the winner of the contest prepared it, at a radius of 300 pixels.

    Args:
        image: RGB.
        cv2: the module.
        name: what to call the image in errors.

    Raises:
        ImageError: there is no eye in it that could be scaled.
    """
    middle = image[image.shape[0] // 2].sum(axis=1, dtype=np.int64)
    radius = (middle > middle.mean() / 10).sum() / 2
    if radius < 1:  # a black image: half its height, as TFDS does
        radius = image.shape[0] / 2
    scale = _RADIUS / radius
    if image.shape[0] * image.shape[1] * scale**2 > _MOST_SCALED:
        raise ImageError("there is no eye in this image", where=name, why=f"its radius would be {radius} pixels")
    # OpenCV's image is blue, green, red; each of these steps treats them alike
    scaled = resized_by(cv2, image, scale, name)
    even = cv2.addWeighted(scaled, 4, cv2.GaussianBlur(scaled, (0, 0), _RADIUS / 30), -4, 128)
    height, width = even.shape[:2]
    across, up, kept = width // 2, height // 2, int(_RADIUS * _KEPT)
    mask = np.zeros((height, width), np.uint8)
    cv2.circle(mask, center=(across, up), radius=kept, color=1, thickness=-1)
    even[mask == 0] = 128
    cut = even[max(up - kept, 0) : min(up + kept, height), max(across - kept, 0) : min(across + kept, width)]
    done, packed = cv2.imencode(".jpg", cut[:, :, ::-1], [int(cv2.IMWRITE_JPEG_QUALITY), _QUALITY])
    assert done, "any image can be packed as JPEG"
    return decode(packed.tobytes(), name=name)

"""Three data sets that are a folder for each class: EuroSAT, Resisc45 and Caltech101."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from vitreous.data.vtab.parts import Parts
from vitreous.data.vtab.sources.whole import class_files, file_set, folders, whole
from vitreous.errors import DataError
from vitreous.published.vtab import VtabTask

_EUROSAT = (
    *("AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial"),
    *("Pasture", "PermanentCrop", "Residential", "River", "SeaLake"),
)
_JPEG = re.compile(r"[^.].*\.jpe?g", re.IGNORECASE)
_CALTECH_TRAIN = 30  # images of each class


def open_eurosat(root: Path, task: VtabTask) -> Parts | None:
    """Ten uses of land, from the folder 2750 or EuroSAT_RGB. Key: AnnualCrop_AnnualCrop_1.jpg.

    Args:
        root: the folder of data sets.
        task: eurosat.

    Raises:
        DataError: class folders are missing or empty.
    """
    for folder in folders(root, task, "EuroSAT_RGB", "2750", "EuroSAT/2750", "EuroSAT"):
        if (folder / _EUROSAT[0]).is_dir():
            return _one_split(folder, task, _EUROSAT)
    return None


def open_resisc45(root: Path, task: VtabTask) -> Parts | None:
    """45 scenes from above, from the folder NWPU-RESISC45. Key: airplane_airplane_001.jpg.

    Args:
        root: the folder of data sets.
        task: resisc45.

    Raises:
        DataError: class folders are missing or empty.
    """
    for folder in folders(root, task, "NWPU-RESISC45"):
        if (folder / "airplane").is_dir() and (folder / "wetland").is_dir():
            return _one_split(folder, task, _class_names(folder, task))
    return None


def open_caltech101(root: Path, task: VtabTask) -> Parts | None:
    """101 things and a background, from the folder 101_ObjectCategories; 30 images of each class to train with.

    Which 30 TensorFlow Datasets took hangs on the order in which a disk gave the names of files, so that nobody can
    take the same: here they are drawn from sorted names. Key: accordion/image_0001.jpg.

    Args:
        root: the folder of data sets.
        task: caltech101.

    Raises:
        DataError: class folders are missing, or hold too few images.
    """
    for folder in folders(root, task, "101_ObjectCategories", "caltech-101/101_ObjectCategories"):
        if not (folder / "accordion").is_dir():
            continue
        names = sorted(_class_names(folder, task), key=str.lower)
        files, labels = class_files(folder, names, _JPEG)
        train = _drawn(np.array(labels), names, folder)
        classes = [name.lower() for name in names]
        keys = {
            split: [files[place] for place in np.flatnonzero(train == (split == "train"))]
            for split in ("train", "test")
        }
        place = dict(zip(files, labels, strict=True))
        splits = {
            split: file_set(f"caltech101/{split}", classes, folder, chosen, [place[file] for file in chosen])
            for split, chosen in keys.items()
        }
        note = "which 30 images of each class of Caltech101 are for training was never published: these are 30 others"
        return whole(task, splits, keys, f"raw files in {folder}", exact=False, notes=(note,))
    return None


def _drawn(labels: np.ndarray, names: list[str], folder: Path) -> np.ndarray:
    """Which images are for training."""
    rng, train = np.random.RandomState(1234), np.zeros(len(labels), bool)
    for label, name in enumerate(names):
        places = np.flatnonzero(labels == label)
        if len(places) <= _CALTECH_TRAIN:
            raise DataError(
                f"there are {len(places)} images in {name}, too few for {_CALTECH_TRAIN} to train and any to test with",
                where=str(folder),
                remedy="unpack 101_ObjectCategories.tar.gz again",
            )
        train[rng.choice(places, _CALTECH_TRAIN, replace=False)] = True
    return train


def _one_split(folder: Path, task: VtabTask, classes: tuple[str, ...]) -> Parts:
    """All parts cut from one split, as TensorFlow Datasets has it."""
    files, labels = class_files(folder, classes, _JPEG)
    images = file_set(f"{task.name}/train", classes, folder, files, labels)
    return whole(
        task, {"train": images}, {"train": [file.replace("/", "_") for file in files]}, f"raw files in {folder}"
    )


def _class_names(folder: Path, task: VtabTask) -> tuple[str, ...]:
    """The folders there are, which must be as many as the task has classes."""
    try:
        found = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise DataError("a folder cannot be read", where=str(folder), why=error.strerror) from error
    if len(found) != task.classes:
        raise DataError(
            f"there are {len(found)} class folders, not {task.classes}",
            where=str(folder),
            remedy="unpack the archive again",
        )
    return tuple(found)

"""KITTI: the labelled images of its object benchmark, divided by the films they are from.

How far away is the nearest vehicle? task_adaptation/data/kitti.py has the question; the division of
tensorflow_datasets/object_detection/kitti.py draws a tenth of the films for testing, a tenth to choose by, after
numpy.random.seed(123). Which film an image is from stands in the development kit. Key: 000123.png.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from vitreous.data.vtab.parts import Parts
from vitreous.data.vtab.sources.whole import file_set, folders, text_lines, whole
from vitreous.errors import DataError
from vitreous.published.vtab import VtabTask

_VEHICLES = frozenset({"Car", "Van", "Truck"})
_OTHERS = frozenset({"Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc", "DontCare"})
_COLUMNS, _DEPTH = 15, 13
_LIMITS = np.array([-100, 8, 20, 999], np.float32)
_NOTHING = np.float32(1000)
_CLASSES = ("up to 8 m", "8 to 20 m", "over 20 m", "no vehicle")
_PERCENT = 10  # of the films, once for testing and once to choose by
_IMAGES = ("training/image_2", "data_object_image_2/training/image_2")
_LABELS = ("training/label_2", "data_object_label_2/training/label_2")
_MAPPINGS = ("mapping", "devkit_object/mapping", "devkit/mapping")


def open_kitti(root: Path, task: VtabTask) -> Parts | None:
    """The 7,481 labelled images in four classes of distance.

    Args:
        root: the folder of data sets.
        task: kitti.

    Raises:
        DataError: files are missing or damaged.
    """
    for folder in folders(root, task, "KITTI", "Kitti", "Kitti/raw"):
        if (images := _first(folder, _IMAGES)) is None or (labels := _first(folder, _LABELS)) is None:
            continue
        if (mapping := _first(folder, _MAPPINGS)) is None:
            raise DataError(
                "KITTI's development kit is missing, which says what film an image is from",
                where=str(folder),
                why="VTAB divides the images by their films",
                remedy=f"unpack devkit_object.zip there, so that there is {folder}/mapping/train_rand.txt",
            )
        splits, keys = {}, {}
        for split, numbers in _divided(_films(mapping), mapping).items():
            names = [f"{number:06d}" for number in numbers]
            classes = [_label(labels / f"{name}.txt") for name in names]
            keys[split] = [f"{name}.png" for name in names]
            splits[split] = file_set(f"kitti/{split}", _CLASSES, images, keys[split], classes)
        return whole(task, splits, keys, f"raw files in {folder}")
    return None


def _first(folder: Path, names: Iterable[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def _films(mapping: Path) -> dict[str, list[int]]:
    """The numbers of the images of each film, by the film's name, in the order they are told."""
    order, lines = mapping / "train_rand.txt", text_lines(mapping / "train_mapping.txt")
    films: dict[str, list[int]] = {}
    try:
        places = [int(text) - 1 for text in "".join(text_lines(order)).split(",") if text.strip()]
        for number, place in enumerate(places):
            if place < 0:
                raise ValueError(f"line {place + 1}")
            films.setdefault(lines[place].split(" ")[1], []).append(number)
    except (ValueError, IndexError) as error:
        why = f"an entry is no number of a line of train_mapping.txt, or that line names no film: {error}"
        raise DataError("KITTI's mapping is damaged", where=str(order), why=why, remedy="unpack it again") from error
    return films


def _divided(films: dict[str, list[int]], mapping: Path) -> dict[str, list[int]]:
    """The numbers of the images of each split."""
    count = max(1, len(films) * _PERCENT // 100)
    if len(films) < 3:
        raise DataError(f"KITTI's mapping names {len(films)} films, too few to divide", where=str(mapping))
    rng = np.random.RandomState(123)  # what numpy.random.seed(123) makes of the global one, which stays as it is
    test = set(rng.choice(sorted(films), count, replace=False).tolist())
    validation = set(rng.choice(sorted(set(films) - test), count, replace=False).tolist())
    chosen: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for film, numbers in films.items():
        chosen["test" if film in test else "validation" if film in validation else "train"] += numbers
    return chosen


def _label(path: Path) -> int:
    """The last limit that lies strictly below the depth of the nearest vehicle, in metres."""
    nearest = _NOTHING
    for line in text_lines(path):
        fields = line.split(" ")
        try:
            if len(fields) != _COLUMNS or fields[0] not in _VEHICLES | _OTHERS:
                raise ValueError(f"{len(fields)} columns, the first {fields[0][:40]!r}")
            if fields[0] in _VEHICLES:
                depth = float(fields[_DEPTH])
                if not _LIMITS[0] < depth < _NOTHING:
                    raise ValueError(f"a vehicle {depth} m away")
                nearest = min(nearest, np.float32(depth))
        except ValueError as error:
            raise DataError(
                "this is no label of KITTI's",
                where=str(path),
                why=str(error),
                remedy="unpack data_object_label_2.zip again",
            ) from error
    return int((_LIMITS < nearest).sum()) - 1

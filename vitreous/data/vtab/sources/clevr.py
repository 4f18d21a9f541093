"""CLEVR: rendered toys, from its scenes (JSON) and its PNG images.

Its test images have no labels, so its validation images are VTAB's test images. Key: the name of the image's file.
task_adaptation/data/clevr.py has both questions. The scenes of the training images are one line of 300 MB, and are read
one after the other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vitreous.data.imageset import ImageSet
from vitreous.data.vtab.parts import Parts
from vitreous.data.vtab.sources.whole import file_set, folders, whole
from vitreous.errors import DataError
from vitreous.published.vtab import VtabTask

_SPLITS = {"train": "train", "validation": "val"}
_SCENES = re.compile(r'"scenes"\s*:\s*\[')
_PIECE = 2**20  # characters read at a time
_LARGEST = 2**24  # characters of one scene; they have some 5,000
_FEWEST = 3  # objects
_COUNTS = tuple(f"{count} objects" for count in range(_FEWEST, 11))
_LIMITS = np.array([0, 8, 8.5, 9, 9.5, 10, 100], np.float32)
_DISTANCES = ("up to 8", "8 to 8.5", "8.5 to 9", "9 to 9.5", "9.5 to 10", "over 10")


def open_clevr(root: Path, task: VtabTask) -> Parts | None:
    """How many objects there are, or how far away the nearest is.

    Args:
        root: the folder of data sets.
        task: clevr_count or clevr_dist.

    Raises:
        DataError: files are missing or damaged.
    """
    for folder in folders(root, task, "CLEVR_v1.0", "clevr", "CLEVR"):
        if any(_scenes_file(folder, part).is_file() for part in _SPLITS.values()):
            splits, keys = {}, {}
            for split, part in _SPLITS.items():
                splits[split], keys[split] = _split(folder, part, task)
            return whole(task, splits, keys, f"raw files in {folder}")
    return None


def _scenes_file(folder: Path, part: str) -> Path:
    return folder / "scenes" / f"CLEVR_{part}_scenes.json"


def _split(folder: Path, part: str, task: VtabTask) -> tuple[ImageSet, list[str]]:
    path, counting = _scenes_file(folder, part), task.name == "clevr_count"
    question: Callable[[list[Any]], int] = _count if counting else _distance
    classes = _COUNTS if counting else _DISTANCES
    name_of = re.compile(rf"CLEVR_{part}_\d{{6}}\.png", re.ASCII)
    names: list[str] = []
    labels: list[int] = []
    for scene in _scenes(path):
        try:
            name, label = scene["image_filename"], question(scene["objects"])
        except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
            raise _strange(path, f"scene {len(names)} is none: {error!r}") from error
        if not isinstance(name, str) or not name_of.fullmatch(name):
            raise _strange(path, f"the image of scene {len(names)} is called {str(name)[:80]!r}")
        if not 0 <= label < len(classes):
            raise _strange(path, f"{name} would be of class {label} of {len(classes)}")
        names.append(name)
        labels.append(label)
    images = folder / "images" / part
    return file_set(f"clevr/{part}", classes, images, names, labels), names


def _count(objects: list[Any]) -> int:
    if not isinstance(objects, list):
        raise TypeError("its objects are no list")
    return len(objects) - _FEWEST


def _distance(objects: list[Any]) -> int:
    """The last limit that lies strictly below the depth of the nearest object, in the precision that TFDS stores."""
    nearest = min(float(each["pixel_coords"][2]) for each in objects)
    if not _LIMITS[0] < nearest <= _LIMITS[-1]:
        raise ValueError(f"the nearest object is {nearest} away")
    return int((_LIMITS < np.float32(nearest)).sum()) - 1


def _scenes(path: Path) -> Iterator[dict[str, Any]]:
    """One scene after the other, without holding them all."""
    decoder, buffer, at, ended = json.JSONDecoder(), "", -1, False
    try:
        with path.open(encoding="utf-8") as file:
            while True:
                if at < 0 and (begin := _SCENES.search(buffer)):
                    at = begin.end()
                while at >= 0:
                    at = _next_place(buffer, at)
                    if buffer[at : at + 1] == "]":
                        return
                    try:
                        scene, behind = decoder.raw_decode(buffer, at)
                    except ValueError:
                        break  # the rest of it is still to be read
                    yield scene
                    at = behind
                if ended:
                    raise _strange(path, "it ends within its scenes")
                if len(buffer) - max(at, 0) > _LARGEST:
                    raise _strange(path, "there are no scenes in it" if at < 0 else "one of its scenes is damaged")
                piece = file.read(_PIECE)
                ended = not piece
                buffer, at = buffer[max(at, 0) :] + piece, min(at, 0)
    except FileNotFoundError as error:
        raise DataError("the scenes are missing", where=str(path), remedy="unpack CLEVR_v1.0.zip again") from error
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise _strange(path, str(error)) from error


def _next_place(buffer: str, at: int) -> int:
    while at < len(buffer) and buffer[at] in ", \t\r\n":
        at += 1
    return at


def _strange(path: Path, why: str) -> DataError:
    return DataError("these are no scenes of CLEVR's", where=str(path), why=why, remedy="unpack CLEVR_v1.0.zip again")

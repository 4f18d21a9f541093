"""ObjectNet: 113 of its 313 classes stand for one or several of ImageNet's, as the files that come with it say.

Source: Barbu et al. 2019; objectnet-1.0/mappings: folder_to_objectnet_label.json (folder: class),
objectnet_to_imagenet_1k.json (class: names of ImageNet's, between "; "), imagenet_to_label_2012_v2 (a name a line) and
pytorch_to_imagenet_2012_id.json (place among the logits: line of that file, from 0). Every image has a red border of 2
pixels, so that a search engine can tell it; it is cut off before anything else happens to the image.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from vitreous.data.imageset import ImageSet, fingerprint
from vitreous.data.layouts.folders.folders import class_folders
from vitreous.data.layouts.imagenet.imagenet_labels import NUM_CLASSES, imagenet_place
from vitreous.data.words import some
from vitreous.errors import DataError, ImageError

BORDER = 2
"""Pixels of red on each side of an image."""

NUM_SHARED = 113
"""Classes that ImageNet has too."""

_CLASS_OF_FOLDER = "folder_to_objectnet_label.json"
_NAMES_OF_CLASS = "objectnet_to_imagenet_1k.json"
_LINE_OF_PLACE = "pytorch_to_imagenet_2012_id.json"
_NAMES = "imagenet_to_label_2012_v2"
_LIMIT = 2**24  # bytes, a hundred times what they take


class _Folders(NamedTuple):
    images: Path
    mappings: Path


def find_objectnet(root: Path) -> _Folders | None:
    """Where images and mappings lie in ObjectNet's folder; None for other folders.

    Args:
        root: objectnet-1.0, or what it was called since.
    """
    mappings = next((folder for folder in (root / "mappings", root) if (folder / _NAMES_OF_CLASS).is_file()), None)
    if mappings is None:
        return None
    return _Folders(root / "images" if (root / "images").is_dir() else root, mappings)


def objectnet_images(root: Path) -> tuple[ImageSet, tuple[tuple[int, ...], ...], list[str]]:
    """The images of the classes that ImageNet has, without their borders; the ids of each; and what to tell about them.

    Args:
        root: of which `find_objectnet` knows the folders.

    Raises:
        DataError: a file of the mappings is missing or damaged, or there is no image of such a class.
    """
    found = find_objectnet(root)
    assert found is not None, "looked for before"
    ids = objectnet_ids(found.mappings)
    images, notes = class_folders(found.images, str(found.images), keep_empty=False)
    folders = list(ids)
    place_of = {folder: place for place, folder in enumerate(folders)}
    table = np.array([place_of.get(name, -1) for name in images.classes], np.int64)
    kept = np.flatnonzero(table[images.labels] >= 0)
    if not kept.size:
        raise DataError(
            "none of the folders holds images of a class that ImageNet has",
            where=str(found.images),
            why=f"there are folders called {some(list(images.classes))}; looked for {some(folders)}",
        )
    labels = table[images.labels[kept]]
    chosen = dataclasses.replace(images.subset(kept), classes=tuple(folders), labels=labels)
    cut = dataclasses.replace(
        chosen,
        read=lambda index: cut_border(chosen.read(index)),
        encoded=None,
        fingerprint=fingerprint(chosen.fingerprint, folders, labels.tolist(), f"without a border of {BORDER} pixels"),
    )
    there = len(np.unique(labels))
    said = f"{found.images}: {len(kept):,} images in {there:,} of the {len(folders):,} classes that ImageNet has too"
    left = len(images) - len(kept)
    said += f"; {left:,} images of classes that it has not do not count" if left else ""
    if len(ids) != NUM_SHARED:
        said += f"; the mappings name {len(ids):,} such classes, the published ones {NUM_SHARED}: scores are others"
    return cut, tuple(ids[folder] for folder in folders), [said, *notes]


def cut_border(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """The image without the outermost 2 pixels on each side.

    Args:
        image: RGB.

    Raises:
        ImageError: nothing would be left.
    """
    if min(image.shape[:2]) <= 2 * BORDER:
        raise ImageError("nothing is left of the image without its border", why=f"{image.shape[1]} x {image.shape[0]}")
    return np.ascontiguousarray(image[BORDER:-BORDER, BORDER:-BORDER])


def objectnet_ids(mappings: Path) -> dict[str, tuple[int, ...]]:
    """For each folder of a class that ImageNet has too, the places of ImageNet's classes that stand for it.

    Args:
        mappings: the folder of the four files.

    Raises:
        DataError: one is missing, damaged, or they contradict each other or the names of ImageNet's classes.
    """
    class_of_folder, names_of_class = _texts(mappings / _CLASS_OF_FOLDER), _texts(mappings / _NAMES_OF_CLASS)
    folder_of = {name: folder for folder, name in class_of_folder.items()}
    names = [line.strip() for line in _content(mappings / _NAMES).splitlines()]
    place_of_line = _places(mappings / _LINE_OF_PLACE)
    place_of_name = {name: place_of_line[line] for line, name in enumerate(names) if line in place_of_line}
    found: dict[str, tuple[int, ...]] = {}
    contradicted: list[str] = []
    for name, meant in names_of_class.items():
        each = meant.split("; ")
        unknown = [one for one in each if one not in place_of_name]
        if name not in folder_of or unknown:
            why = f"{_NAMES} has no line {unknown[0]!r}" if unknown else f"{_CLASS_OF_FOLDER} has no folder for it"
            raise DataError(f"the mappings do not say what {name!r} is", where=str(mappings), why=why)
        found[folder_of[name]] = tuple(place_of_name[one] for one in each)
        contradicted += [one for one in each if imagenet_place(one) not in (None, place_of_name[one])]
    if 2 * len(contradicted) > sum(map(len, found.values())):  # one may be spelled otherwise; most of them, never
        raise DataError(
            "the mappings contradict the names of ImageNet's classes",
            where=str(mappings / _LINE_OF_PLACE),
            why=f"{contradicted[0]!r} would be class {place_of_name[contradicted[0]]}, which is another",
            remedy="take the mappings that come with objectnet-1.0",
        )
    return dict(sorted(found.items()))


def _places(path: Path) -> dict[int, int]:
    """Place among the thousand classes by line of the names."""
    table = _table(path)
    places: dict[int, int] = {}
    for place, line in table.items():
        if not place.isdecimal() or int(place) >= NUM_CLASSES or type(line) is not int or line in places:
            raise _damaged(path, f"{place[:20]}: {str(line)[:20]}")
        places[line] = int(place)
    return places


def _texts(path: Path) -> dict[str, str]:
    table = _table(path)
    for name, text in table.items():
        if not isinstance(text, str):
            raise _damaged(path, f"{name[:40]}: {str(text)[:40]}")
    return {name: str(text) for name, text in table.items()}


def _table(path: Path) -> dict[str, object]:
    try:
        table = json.loads(_content(path))
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(table, dict) or not table:
        raise _damaged(path, "it is no table of names")
    return table


def _content(path: Path) -> str:
    try:
        if path.stat().st_size > _LIMIT:
            raise _damaged(path, f"it has more than {_LIMIT:,} bytes")
        return path.read_text("utf-8")
    except OSError as error:
        raise DataError(
            f"{path.name} cannot be read",
            where=str(path),
            why=error.strerror,
            remedy="it lies in objectnet-1.0/mappings, and says which of ImageNet's classes each folder means",
        ) from error
    except UnicodeDecodeError as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, why: str) -> DataError:
    return DataError("a file of ObjectNet's mappings is damaged", where=str(path), why=why)

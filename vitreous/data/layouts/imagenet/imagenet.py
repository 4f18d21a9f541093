"""ImageNet and its variants as people have them: wherever folders are named by WordNet ids, or images by number.

Known are ILSVRC 2012 (train in class folders, val in class folders or flat with labels beside it), the same as Kaggle
packs it, ImageNet-A, -R and -Sketch, -V2, and one severity of -C. Classes carry their names, not their ids.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int

from vitreous.console import count
from vitreous.data.imageset import ImageSet, fingerprint
from vitreous.data.layouts.folders.file_table import FileTable, size_of
from vitreous.data.layouts.folders.folders import class_folders, folder_set
from vitreous.data.layouts.folders.walk import (
    LeftOut,
    is_folder,
    is_image,
    subfolders,
    unordered_entries,
    visible_entries,
)
from vitreous.data.layouts.found import PART_OF, Asked, Found
from vitreous.data.layouts.imagenet.devkit import Truth, find_truth, val_number
from vitreous.data.layouts.imagenet.imagenet_labels import imagenet_wnids, wnid_places
from vitreous.data.layouts.imagenet.variants import refuse_several, v2_places
from vitreous.data.words import natural_key, some
from vitreous.errors import DataError
from vitreous.pretrained import imagenet_names

_PART_OF = PART_OF | {f"ilsvrc2012_img_{part}": part for part in ("train", "val", "test")}
_KAGGLE_HOMES = ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")

Kind = Literal["ids", "numbered", "unlabelled", "other"]
"""How the images of a folder are labelled: by folders named after WordNet ids, by their numbers, or not at all."""


def find_imagenet(typed: str, asked: Asked) -> Found | None:
    """The images of ImageNet or of one of its variants, if DATA is a folder of these.

    Args:
        typed: a folder; for ILSVRC 2012 the one that train and val lie in, or one of these.
        asked: whether empty folders count as classes.

    Raises:
        DataError: labels are missing or contradict each other, or there are several sets to choose from.
    """
    root = Path(typed).expanduser()
    if not root.is_dir():
        return None
    refuse_several(root, typed)
    if v2_places(root) is not None:
        images, notes = images_by_class_number(root, typed)
        return Found(typed, {"all": images}, notes)
    home = next((root / below for below in _KAGGLE_HOMES if (root / below).is_dir()), root)
    parts = _parts(home)
    kinds = {part: _kind(folder) for part, folder in (parts or {"all": home}).items()}
    if "other" in kinds.values() or not {"ids", "numbered"} & set(kinds.values()):
        return None
    found = Found(typed, {})
    for part, kind in kinds.items():
        folder = parts[part] if parts else home
        name = os.path.join(typed, folder.relative_to(root)) if folder != root else typed
        if kind == "unlabelled":
            found.notes.append(f"{name}: left out, as nobody outside knows the labels of ImageNet's test images")
            continue
        keep_empty = asked.keep_empty and part in ("train", "all")
        images, notes = _by_id(folder, name, keep_empty) if kind == "ids" else _by_number(folder, name, None)
        found.sets[part] = images
        found.notes += notes
    found.notes += _beside(home, typed, list(parts.values()))
    return Found(typed, found.sets, found.notes)


def images_by_wnid(folder: Path, name: str) -> tuple[ImageSet, list[str]]:
    """The images in class folders named after WordNet ids, in the classes that have any, and what to tell about them.

    Args:
        folder: holds the class folders.
        name: what to call the set.

    Raises:
        DataError: there is no image in any class folder, or some lie in a folder that is no class of ImageNet's.
    """
    return _by_id(folder, name, keep_empty=False)


def images_by_class_number(folder: Path, name: str) -> tuple[ImageSet, list[str]]:
    """The images in folders named 0 to 999, as those of ImageNet-V2 are, and what to tell about them.

    Args:
        folder: holds the class folders, and no others.
        name: what to call the set.

    Raises:
        DataError: there is no image in any class folder.
    """
    images, notes = class_folders(folder, name, keep_empty=True)
    numbers = np.array([int(each) for each in images.classes], np.int64)
    return _with_names(images, numbers), [_meaning(name, len(numbers), "number"), *notes]


def validation_images(folder: Path, name: str, truth: Truth | None = None) -> tuple[ImageSet, list[str]]:
    """ILSVRC 2012's validation images, in class folders or flat with labels beside them, and what to tell about them.

    Args:
        folder: the images or their class folders lie in it.
        name: what to call the set.
        truth: labels for images that lie flat; by default those found beside them.

    Raises:
        DataError: it holds something else, or images without labels.
    """
    kind = _kind(folder)
    if kind in ("other", "unlabelled"):
        raise DataError("these are not ImageNet's validation images", where=name)
    return images_by_wnid(folder, name) if kind == "ids" else _by_number(folder, name, truth)


def holds_validation_images(folder: Path) -> bool:
    """Whether a folder looks like ILSVRC 2012's validation images, in class folders or flat.

    Args:
        folder: one that is there.
    """
    return _kind(folder) in ("ids", "numbered")


def _parts(home: Path) -> dict[str, Path]:
    """The folders of train, val and test images; none where two could be the same part."""
    named = [(part, folder) for folder in subfolders(home) if (part := _PART_OF.get(folder.name.casefold()))]
    parts = dict(named)
    return parts if len(parts) == len(named) else {}


def _kind(folder: Path) -> Kind:
    """By the names in a folder, of which there may be a million: none is opened, and they are not put in order."""
    entries = unordered_entries(folder)
    below = [entry.name for entry in entries if is_folder(entry)]
    if any(val_number(entry.name) for entry in entries):
        if below:
            raise DataError(
                f"some validation images lie in {folder} itself, others in folders in it",
                why=f"there are folders called {some(sorted(below, key=natural_key))}",
                remedy="finish sorting them into class folders, or put all into one folder",
            )
        return "numbered"
    if below:
        return "ids" if all(name in wnid_places() for name in below) else "other"
    test = [entry for entry in entries if entry.name.casefold().startswith("ilsvrc2012_test_")]
    return "unlabelled" if test else "other"


def _by_id(folder: Path, name: str, keep_empty: bool) -> tuple[ImageSet, list[str]]:
    """Images in class folders named after WordNet ids."""
    images, notes = class_folders(folder, name, keep_empty=keep_empty)
    if strange := [each for each in images.classes if each not in wnid_places()]:
        raise DataError(
            f"{count(len(strange), 'folder')} of images without a WordNet id of ImageNet's 1,000 classes",
            where=name,
            why=f"there are folders called {some(strange)}",
            remedy="move them away",
        )
    places = np.array([wnid_places()[wnid] for wnid in images.classes], np.int64)
    return _with_names(images, places), [_meaning(name, len(places), "WordNet id"), *notes]


def _with_names(images: ImageSet, places: Int[np.ndarray, " Y"]) -> ImageSet:
    """The same images in classes called by the names of ImageNet's, in its order.

    Args:
        images: in classes called otherwise.
        places: of these among the thousand, each another.
    """
    order = np.argsort(places)
    table = np.empty(len(places), np.int64)
    table[order] = np.arange(len(places))
    names = imagenet_names()
    classes = tuple(names[place] for place in places[order])
    found = fingerprint(images.fingerprint, classes)
    return dataclasses.replace(images, classes=classes, labels=table[images.labels], fingerprint=found)


def _meaning(name: str, classes: int, what: str) -> str:
    example = (
        f"{imagenet_wnids()[0]} is {imagenet_names()[0]}" if what == "WordNet id" else f"0 is {imagenet_names()[0]}"
    )
    return f"{name}: {classes:,} of ImageNet's 1,000 classes, each folder named by its {what} ({example})"


def _by_number(folder: Path, name: str, truth: Truth | None) -> tuple[ImageSet, list[str]]:
    """Validation images in one folder, labelled by a list, which is looked for where none is given."""
    truth = truth or find_truth(folder)
    if truth is None:
        raise DataError(
            f"the images in {name} lie in no class folders, and there is no list of their labels",
            why="looked for val.txt, LOC_val_solution.csv and ILSVRC2012_validation_ground_truth.txt in and above it",
            remedy=f"unpack ILSVRC2012_devkit_t12.tar.gz into {folder.parent}",
        )
    left_out, table, labels = LeftOut(), FileTable(str(folder)), []
    others = 0
    for entry in visible_entries(folder):
        if (number := val_number(entry.name)) is not None:
            table.add(entry.name, size_of(entry))
            labels.append(_label(truth, number, entry.path))
        elif is_image(entry):
            others += 1
        else:
            left_out.add_file(entry.name)
    images = folder_set(name, imagenet_names(), table, np.array(labels, np.int64))
    notes = [f"{name}: {len(table):,} images of ImageNet's 1,000 classes, labelled by {truth.source}"]
    if others:
        notes.append(f"{name}: left out images that are no ILSVRC2012_val images ({others:,})")
    return images, notes + left_out.notes(name)


def _label(truth: Truth, number: int, path: str) -> int:
    label = int(truth.labels[number - 1])
    if label < 0:
        raise DataError("an image has no label", where=path, why=f"{truth.source} leaves it out")
    return label


def _beside(home: Path, typed: str, parts: list[Path]) -> list[str]:
    """What to say of folders beside train and val, such as those of ImageNet-A."""
    others = [folder.name for folder in subfolders(home) if parts and folder not in parts]
    others = [name for name in others if "devkit" not in name.casefold()]
    return [f"{typed}: left out the folders {some(others)}, which are no part of it"] if others else []

"""Variants of ImageNet that need more than their folders' names: -V2, -C, and the second opinion ReaL.

Sources: Recht et al., 2019 (modestyachts/ImageNetV2: folders numbered by class); Hendrycks and Dietterich, 2019
(hendrycks/robustness: CORRUPTION/SEVERITY/WNID); Beyer et al., 2020 (google-research/reassessed-imagenet: real.json).
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np

from vitreous.data.imageset import ImageSet, fingerprint
from vitreous.data.layouts.folders.walk import subfolders
from vitreous.data.layouts.imagenet.devkit import NUM_VAL, val_number
from vitreous.data.layouts.imagenet.imagenet_labels import NUM_CLASSES, wnid_places
from vitreous.data.targets import Targets
from vitreous.data.words import some
from vitreous.errors import DataError
from vitreous.pretrained import imagenet_names

_SEVERITIES = ("1", "2", "3", "4", "5")
_GROUPS = frozenset({"noise", "blur", "weather", "digital", "extra"})  # the archives in which ImageNet-C is published
_CLASS_NUMBER = re.compile(r"0|[1-9]\d{0,2}", re.ASCII)
_REAL_LIMIT = 2**26  # bytes, fifty times what it takes


def v2_places(root: Path) -> dict[str, int] | None:
    """The classes of an ImageNet-V2 folder by the names of its folders, which are their numbers; None for others.

    Sorted as text, 10 would come before 2: most wrong figures for ImageNet-V2 have this cause. Folders called 0 to 999
    mean ImageNet's classes only where the folder they lie in says imagenetv2.

    Args:
        root: a folder.
    """
    if not _is_v2(root.resolve().name) or not has_class_numbers(root):
        return None
    return {folder.name: int(folder.name) for folder in subfolders(root)}


def has_class_numbers(root: Path) -> bool:
    """Whether the folders in a folder are all called by numbers from 0 to 999.

    Args:
        root: a folder.
    """
    names = [folder.name for folder in subfolders(root)]
    return bool(names) and all(map(_CLASS_NUMBER.fullmatch, names))


def corruptions(root: Path) -> dict[str, dict[int, Path]]:
    """The folder of every corruption and severity of ImageNet-C below a folder; nothing where it is something else.

    Each is DATA of its own; a model sees their images as they are, cropped to 224 pixels and not resized.

    Args:
        root: holds folders of corruptions, or the groups in which they are published (noise, blur, weather, digital,
            extra).
    """
    inside = subfolders(root)
    grouped = [below for folder in inside if folder.name in _GROUPS for below in subfolders(folder)]
    found = {folder.name: severities(folder) for folder in (*inside, *grouped)}
    return {name: levels for name, levels in found.items() if levels}


def severities(folder: Path) -> dict[int, Path]:
    """The folders of the severities of one corruption, 1 to 5; nothing where a folder is something else.

    Args:
        folder: of a corruption.
    """
    if not any((folder / level).is_dir() for level in _SEVERITIES):  # a thousand class folders are asked this
        return {}
    levels = subfolders(folder)
    if not all(level.name in _SEVERITIES for level in levels):
        return {}
    known = wnid_places()
    inside = [below.name for level in levels for below in subfolders(level)]
    return {int(level.name): level for level in levels} if inside and all(name in known for name in inside) else {}


def refuse_several(root: Path, typed: str) -> None:
    """Stop where a folder holds several sets of ImageNet-C or -V2: their names would be taken for classes.

    Args:
        root: a folder.
        typed: what a person called it.

    Raises:
        DataError: it does; one of the sets is the remedy.
    """
    if levels := severities(root):
        raise DataError(
            f"these are {len(levels)} severities of one corruption of ImageNet-C",
            where=typed,
            remedy=f"choose one: {typed}/{max(levels)}",
        )
    if found := corruptions(root):
        levels = next(iter(found.values()))
        raise DataError(
            f"this is ImageNet-C: {len(found)} corruptions ({some(found, 19)}) in up to 5 severities each",
            where=typed,
            remedy=f"choose one: {typed}/{levels[max(levels)].relative_to(root).as_posix()}",
        )
    sets = [folder.name for folder in subfolders(root) if v2_places(folder)]
    if sets:
        raise DataError(
            f"these are {len(sets)} sets of ImageNet-V2", where=typed, remedy=f"choose one: {typed}/{sets[0]}"
        )


def find_real(root: Path) -> Path | None:
    """real.json in or above a folder of validation images.

    Args:
        root: the folder, or the one it lies in.
    """
    folders = (root, root / "reassessed-imagenet", root.resolve().parent, root.resolve().parent / "reassessed-imagenet")
    return next((folder / "real.json" for folder in folders if (folder / "real.json").is_file()), None)


def real_labels(path: Path) -> Targets:
    """What people saw in each of the 50,000 validation images: none, one or several of the thousand classes.

    Images in which they saw none of them (3,163) have no entry, and do not count.

    Args:
        path: of real.json: a list of 50,000 lists of classes, 0 to 999, by the numbers of the images.

    Raises:
        DataError: it is something else.
    """
    try:
        if path.stat().st_size > _REAL_LIMIT:
            raise _no_real(path, f"it has more than {_REAL_LIMIT:,} bytes")
        rows = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError("the labels cannot be read", where=str(path), why=error.strerror) from error
    except (ValueError, RecursionError) as error:
        raise _no_real(path, str(error)) from error
    if not isinstance(rows, list) or len(rows) != NUM_VAL:
        raise _no_real(path, f"a list of {len(rows):,}" if isinstance(rows, list) else "it is no list")
    for number, row in enumerate(rows, 1):
        whole = isinstance(row, list) and all(type(place) is int and 0 <= place < NUM_CLASSES for place in row)
        if not whole or len(set(row)) != len(row):
            raise _no_real(path, f"entry {number:,} is {str(row)[:60]}")
    entries = np.array([place for row in rows for place in row], np.int64)
    ends = np.cumsum([len(row) for row in rows], dtype=np.int64)
    return Targets(ends, entries, np.ones(len(entries), np.float32), NUM_CLASSES, soft=False)


def real_targets(images: ImageSet, real: Targets) -> Targets:
    """ReaL's labels of each image of a set, in its order; those that do not count have no entry.

    Args:
        images: validation images of ILSVRC 2012, known by their files' names.
        real: of all 50,000, from `real_labels`.

    Raises:
        DataError: an image is none of them.
    """
    numbers = np.empty(len(images), np.int64)
    for index, key in enumerate(images.keys):
        if (number := val_number(key.rpartition("/")[2])) is None:
            raise DataError(
                "ReaL has labels for the validation images of ILSVRC 2012 only",
                where=images.ids[index],
                why="its name is not of the form ILSVRC2012_val_00000001.JPEG",
            )
        numbers[index] = number
    return real.subset(numbers - 1)


def real_images(images: ImageSet, path: Path) -> tuple[ImageSet, list[str]]:
    """The images that count for ReaL, with its labels instead of their own, and how many do not.

    Args:
        images: validation images of ILSVRC 2012, known by their files' names; they stay as they are.
        path: of real.json.

    Raises:
        DataError: it is something else, an image is none of the 50,000, or none counts.
    """
    targets = real_targets(images, real_labels(path))
    counted = np.flatnonzero(np.diff(targets.ends, prepend=0))
    if not counted.size:
        raise DataError(f"none of the {len(images):,} images counts for ReaL", where=images.name)
    kept, chosen = targets.subset(counted), images.subset(counted)
    relabelled = dataclasses.replace(
        chosen,
        classes=imagenet_names(),
        labels=kept.main,
        targets=kept,
        fingerprint=fingerprint(chosen.fingerprint, kept.digest, imagenet_names()),
    )
    left_out = len(images) - len(counted)
    note = f"{images.name}: {len(counted):,} images with the labels of {path}"
    return relabelled, [note + (f"; {left_out:,} in which people saw no class do not count" if left_out else "")]


def _is_v2(name: str) -> bool:
    return "imagenetv2" in re.sub(r"[^a-z0-9]", "", name.casefold())


def _no_real(path: Path, why: str) -> DataError:
    return DataError(
        "this is not ReaL's list of labels",
        where=str(path),
        why=why,
        remedy="real.json of google-research/reassessed-imagenet: 50,000 lists of numbers from 0 to 999",
    )

"""Labelled images in folders named after their classes, with or without train, val and test folders above them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from vitreous.data.imageset import ImageSet, fingerprint
from vitreous.data.layouts.folders.file_table import FileTable, size_of
from vitreous.data.layouts.folders.walk import (
    LeftOut,
    composed,
    folder_identity,
    folders_above,
    images_below,
    is_folder,
    is_image,
    subfolders,
    unordered_entries,
)
from vitreous.data.layouts.found import PART_OF, Asked, Found
from vitreous.data.layouts.manifests.manifest_rows import TABLE_ENDINGS
from vitreous.data.words import natural_key, some
from vitreous.errors import DataError
from vitreous.picture.decode import decode, file_bytes


def find_folders(typed: str, asked: Asked) -> Found | None:
    """The images in class folders, if DATA is a folder at all.

    Args:
        typed: a folder, with or without train, val and test above the class folders.
        asked: whether empty folders count as classes.

    Raises:
        DataError: there is no image in any class folder, or the folders can be read in two ways.
    """
    path = Path(typed).expanduser()
    if not path.is_dir():
        return None
    sets, notes = {}, []
    for part, folder in (split_folders(path) or {"all": path}).items():
        name = typed if part == "all" else str(Path(typed) / folder.name)
        must_learn = part in ("train", "all")
        sets[part], said = class_folders(folder, name, keep_empty=asked.keep_empty and must_learn)
        notes += said
    beside = (entry.name for entry in unordered_entries(path))
    if tables := sorted(name for name in beside if os.path.splitext(name)[1].lower() in TABLE_ENDINGS):
        notes.append(f"{typed}: labels are the folders' names; left out {some(tables)}")
    return Found(typed, sets, notes)


def split_folders(root: Path) -> dict[str, Path]:
    """The train, val and test folders below `root`, or nothing where class folders lie there directly.

    Args:
        root: the data folder.

    Raises:
        DataError: the folders can be read in two ways.
    """
    folders = subfolders(root)
    splits: dict[str, Path] = {}
    for folder in folders:
        if split := PART_OF.get(folder.name.casefold()):
            if split in splits:
                raise DataError(
                    f"both {splits[split].name} and {folder.name} could be the {split} images",
                    where=str(root),
                    remedy="keep one of the two folders",
                )
            splits[split] = folder
    if not splits:
        return {}
    others = [folder for folder in folders if folder not in splits.values()]
    if not any(subfolders(folder) for folder in splits.values()):
        if others:
            return {}  # classes, one of which happens to be called "train" or "test"
        raise DataError(
            f"the images in {' and '.join(folder.name for folder in splits.values())} lie in no class folders",
            where=str(root),
            remedy=f"one folder per class: {root}/{next(iter(splits.values())).name}/CLASS/IMAGE",
        )
    strange = [folder.name for folder in others if next(images_below(folder, LeftOut()), None)]
    if strange:
        raise DataError(
            f"{' and '.join(folder.name for folder in splits.values())} look like the parts of a split data set,"
            f" but {some(strange)} beside them hold images too",
            where=str(root),
            remedy="give the folder of one part, or move the others away",
        )
    return splits


def class_folders(root: Path, name: str, *, keep_empty: bool) -> tuple[ImageSet, list[str]]:
    """The images below `root`, labelled by the folder they lie in, and what to tell about them.

    Classes are in natural order (2 before 10). Class names and keys are in Unicode's composed form, so that a folder
    copied between a Mac and Linux keeps its meaning.

    Args:
        root: holds one folder per class; images may lie deeper.
        name: what to call the set.
        keep_empty: whether folders without images count as classes.

    Raises:
        DataError: there is no image in any class folder, or a folder may not be read.
    """
    left_out, table = LeftOut(), FileTable(str(root))
    counts: dict[str, int] = {}
    upwards = folders_above(root) | {folder_identity(root)}
    for folder in subfolders(root):
        if folder_identity(folder) in upwards:
            left_out.loops += 1
            continue
        class_name = composed(folder.name)
        if class_name in counts:
            raise DataError(f"two folders in {root} are called {class_name!r}", why="in two spellings of Unicode")
        before = len(table)
        for relative, size in _in_order(folder, left_out):
            table.add(f"{folder.name}/{relative}", size)
        counts[class_name] = len(table) - before
    empty = [class_name for class_name, count in counts.items() if not count]
    notes = left_out.notes(name)
    if empty and not keep_empty:
        notes.append(f"{name}: left out folders without images: {some(empty)}")
        counts = {class_name: count for class_name, count in counts.items() if count}
    stray = sum(1 for entry in unordered_entries(root) if not is_folder(entry) and is_image(entry))
    if not len(table):
        raise _nothing_found(root, stray)
    if stray:
        notes.append(f"{name}: left out images outside class folders ({stray:,})")
    labels = np.repeat(np.arange(len(counts)), list(counts.values()))
    return folder_set(name, tuple(counts), table, labels), notes


def folder_set(name: str, classes: tuple[str, ...], table: FileTable, labels: Int[np.ndarray, " N"]) -> ImageSet:
    """The images in files of a folder; two machines agree on them where keys, sizes and labels do.

    Args:
        name: what to call the set.
        classes: class names.
        table: the files.
        labels: the place of each in `classes`.
    """
    paths, keys = table.paths, table.keys

    def read(index: int) -> UInt8[np.ndarray, "H W 3"]:
        return decode(paths[index])

    def encoded(index: int) -> bytes:
        return file_bytes(paths[index])

    return ImageSet(
        name=name,
        classes=classes,
        ids=paths,
        labels=labels,
        read=read,
        encoded=encoded,
        fingerprint=fingerprint(classes, keys, labels.tolist(), table.sizes.tolist()),
        keys=keys,
    )


def _in_order(folder: Path, left_out: LeftOut) -> list[tuple[str, int]]:
    """Path below the folder and size of each image in it, in the order a person expects of whole paths."""
    found = [(relative, size_of(entry)) for entry, relative in images_below(folder, left_out)]
    if any("/" in relative for relative, _ in found):  # otherwise they come in that order
        found.sort(key=lambda file: natural_key(composed(file[0])))
    return found


def _nothing_found(root: Path, stray: int) -> DataError:
    if stray:
        return DataError(
            f"the images in {root} lie in no class folders",
            why=f"{stray:,} of them lie there directly" if stray > 1 else "one lies there directly",
            remedy=f"one folder per class: {root}/cat/1.jpg, {root}/dog/2.jpg",
        )
    return DataError(
        f"there are no images in {root}",
        remedy=f"one folder per class: {root}/cat/1.jpg, {root}/dog/2.jpg",
    )

"""Describable Textures, by the lists of the first of its ten divisions. Key: a line, such as banded/banded_0002.jpg."""

from __future__ import annotations

from pathlib import Path

from vitreous.data.vtab.parts import Parts
from vitreous.data.vtab.sources.whole import file_set, folders, inside, text_lines, whole
from vitreous.errors import DataError
from vitreous.published.vtab import VtabTask

_LISTS = {"train": "train1.txt", "validation": "val1.txt", "test": "test1.txt"}


def open_dtd(root: Path, task: VtabTask) -> Parts | None:
    """The 47 textures, from the folders labels and images.

    Args:
        root: the folder of data sets.
        task: dtd.

    Raises:
        DataError: files are missing or damaged.
    """
    for folder in folders(root, task, "dtd", "dtd-r1.0.1", "dtd/dtd"):
        if not (folder / "labels" / _LISTS["train"]).is_file():
            continue
        keys = {split: text_lines(folder / "labels" / name) for split, name in _LISTS.items()}
        lines = [line for each in keys.values() for line in each]
        if strange := [line for line in lines if line.count("/") != 1 or not inside(line)]:
            raise DataError(
                f"a line of the lists is no texture/image: {strange[0][:80]!r}", where=str(folder / "labels")
            )
        classes = sorted({line.split("/")[0] for line in lines})
        if len(classes) != task.classes:
            raise DataError(
                f"the lists name {len(classes)} textures, not {task.classes}",
                where=str(folder / "labels"),
                remedy="unpack dtd-r1.0.1.tar.gz again",
            )
        place = {name: label for label, name in enumerate(classes)}
        splits = {
            split: file_set(f"dtd/{split}", classes, folder / "images", names, [place[n.split("/")[0]] for n in names])
            for split, names in keys.items()
        }
        return whole(task, splits, keys, f"raw files in {folder}")
    return None

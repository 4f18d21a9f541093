"""Oxford's pets, by annotations/trainval.txt and test.txt: lines of name, class, species, breed. Key: NAME.jpg."""

from __future__ import annotations

from pathlib import Path

from vitreous.data.vtab.parts import Parts
from vitreous.data.vtab.sources.whole import file_set, folders, inside, text_lines, whole
from vitreous.errors import DataError
from vitreous.published.vtab import VtabTask

_LISTS = {"train": "trainval.txt", "test": "test.txt"}


def open_pets(root: Path, task: VtabTask) -> Parts | None:
    """The 37 breeds, from the folders annotations and images.

    Args:
        root: the folder of data sets.
        task: pets.

    Raises:
        DataError: files are missing or damaged.
    """
    for folder in folders(root, task, "oxford-iiit-pet", "pets"):
        if not (folder / "annotations" / _LISTS["train"]).is_file():
            continue
        listed = {split: _listed(folder / "annotations" / name, task.classes) for split, name in _LISTS.items()}
        names: dict[int, str] = {}
        for image, label in (pair for pairs in listed.values() for pair in pairs):
            breed = image.rpartition("_")[0].replace("_", " ")
            if names.setdefault(label, breed) != breed:
                raise DataError(
                    f"class {label + 1} is both {names[label]} and {breed}",
                    where=str(folder / "annotations"),
                    remedy="unpack annotations.tar.gz again",
                )
        if len(names) != task.classes:
            raise DataError(
                f"the lists name {len(names)} breeds, not {task.classes}",
                where=str(folder / "annotations"),
                remedy="unpack annotations.tar.gz again",
            )
        classes = [names[label] for label in range(task.classes)]
        keys = {split: [f"{name}.jpg" for name, _ in pairs] for split, pairs in listed.items()}
        splits = {
            split: file_set(f"pets/{split}", classes, folder / "images", keys[split], [label for _, label in pairs])
            for split, pairs in listed.items()
        }
        return whole(task, splits, keys, f"raw files in {folder}")
    return None


def _listed(path: Path, classes: int) -> list[tuple[str, int]]:
    """Names of images, with their labels from 0."""
    found = []
    for line in text_lines(path):
        if line.startswith("#"):
            continue
        fields = line.split(" ")
        number = fields[1] if len(fields) == 4 and inside(fields[0]) else ""
        if not (number.isascii() and number.isdecimal() and len(number) < 4 and 1 <= int(number) <= classes):
            raise DataError(
                f"a line of the list is not name, class, species and breed: {line[:80]!r}",
                where=str(path),
                remedy="unpack annotations.tar.gz again",
            )
        found.append((fields[0], int(number) - 1))
    return found

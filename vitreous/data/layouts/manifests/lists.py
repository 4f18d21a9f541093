"""Images that text files list, `PATH NUMBER` a line: VTAB-1k's folders of lists, NOAH's few-shot lists, Caffe's.

In VTAB-1k's folders lie train800.txt, val200.txt, train800val200.txt (both together) and test.txt.
"""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from vitreous.data.imageset import ImageSet
from vitreous.data.layouts.found import PART_OF, Asked, Found
from vitreous.data.layouts.manifests.listed_files import (
    IMAGE_ENDINGS,
    Faults,
    Texts,
    leads_out,
    listed_set,
    look_up,
    normal_path,
    repeated,
    shown,
)
from vitreous.data.layouts.shards.shard_labels import class_names
from vitreous.errors import DataError

_UNION = "train800val200.txt"
_VTAB = {"train": "train800.txt", "val": "val200.txt", "test": "test.txt"}
_ENDINGS = (".txt", ".list")  # in lower case
_NOAH = re.compile(r"(train|val|test)_meta\.list(\..*)?")
_LINE = re.compile(r"(.*\S)[ \t]+(\S+)\s*")  # the path may have spaces; what follows the last one is the label
_MOST_CLASSES = 1_000_000


def find_lists(typed: str, asked: Asked) -> Found | None:
    """The images that lists name, if DATA is one, or a folder of them.

    Args:
        typed: a VTAB-1k folder, a folder with train.txt, val.txt and test.txt, or one list.
        asked: not needed.

    Raises:
        DataError: a line cannot be understood, or images are missing.
    """
    del asked
    path = Path(typed).expanduser()
    notes: list[str] = []
    if path.is_dir():
        lists = _in_folder(path, notes)
    elif path.is_file() and _is_list(path):
        lists = _beside(path, notes)
    else:
        return None
    if not lists:
        return None
    folder = path if path.is_dir() else path.parent
    read = {part: read_list(each) for part, each in lists.items()}
    most = max(int(labels.max()) for _, labels in read.values())
    if (union := folder / _UNION).is_file() and union not in lists.values():
        most = max(most, int(read_list(union)[1].max()))
    classes = _classes(folder, most, typed)
    sets = {}
    for part, (names, labels) in read.items():
        name = typed if part == "all" else f"{typed} ({part})"
        sets[part] = list_set(name, lists[part], names, labels, classes)
        notes.append(f"{lists[part].name}: {len(labels):,} images, {len(np.unique(labels)):,} classes")
    return Found(typed, sets, notes, listed=True)


def read_list(path: Path) -> tuple[Sequence[str], Int[np.ndarray, " N"]]:
    """The paths that a list names and the number of each one's class, in the order of its lines.

    Args:
        path: of a text file with `PATH NUMBER` lines; the number stands behind the last space.

    Raises:
        DataError: the file cannot be read, is empty, or has lines of another kind: the first ten are named.
    """
    names, labels, faults, total = Texts(), array("q"), Faults(str(path)), 0
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            for line, text in enumerate(file, 1):
                if not text.strip():
                    continue
                total += 1
                parts = _LINE.fullmatch(text)
                if parts is None:
                    faults.add(line, f"no path and number: {shown(text.strip()[:60])}")
                elif not re.fullmatch("[0-9]{1,9}", parts[2]) or int(parts[2]) >= _MOST_CLASSES:
                    faults.add(line, f"{shown(parts[2])} is no number of a class")
                else:
                    names.append(parts[1])
                    labels.append(int(parts[2]))
    except OSError as error:
        raise DataError("the list cannot be read", where=str(path), why=error.strerror) from error
    except UnicodeDecodeError as error:
        raise DataError("the list is not text in UTF-8", where=str(path), why=str(error)) from error
    faults.raise_any(total, "lines", "images/0001.jpg 3 on each line; where labels are names, write a CSV file")
    if not total:
        raise DataError("the list is empty", where=str(path))
    return names, np.array(labels, np.int64)


def _in_folder(folder: Path, notes: list[str]) -> dict[str, Path]:
    """The lists of a folder by part; none where it is a folder of another kind."""
    with os.scandir(folder) as listing:
        named = (entry for entry in listing if os.path.splitext(entry.name)[1].lower() in _ENDINGS)
        files = sorted(Path(entry.path) for entry in named if entry.is_file())
    there = {path.name for path in files}
    if there & {_VTAB["train"], _VTAB["val"], _UNION}:
        return _vtab(folder, there, notes)
    few = [path for name in ("", "annotations") for path in sorted((folder / name).glob("train_meta.list*"))]
    if few:
        raise DataError(
            f"there are {len(few)} lists to learn from, of few images each",
            where=str(folder),
            remedy=f"type one of them: {few[0]}",
        )
    found: dict[str, Path] = {}
    for path in files:
        part = PART_OF.get(path.stem.casefold())
        if part is None or not _is_list(path):
            continue
        if part in found:
            raise DataError(f"both {found[part].name} and {path.name} could list the {part} images", where=str(folder))
        found[part] = path
    return found


def _vtab(folder: Path, there: set[str], notes: list[str]) -> dict[str, Path]:
    """VTAB-1k's lists: 800 to learn from, 200 to choose by, and the test images."""
    lists = {part: folder / name for part, name in _VTAB.items() if name in there}
    if "train" not in lists:
        if "val" in lists or _UNION not in there:
            raise DataError(
                "train800.txt is missing", where=str(folder), remedy="VTAB-1k's folders hold it beside val200.txt"
            )
        lists["train"] = folder / _UNION
        notes.append(f"{_UNION}: both parts together, as for the final training of VTAB-1k")
    elif _UNION in there:
        notes.append(
            f"{_UNION}: left out; it is train800 and val200 together, for the final training of VTAB-1k:"
            f" type {folder / _UNION}"
        )
    return lists


def _beside(path: Path, notes: list[str]) -> dict[str, Path]:
    """The list that was typed; with a train list of few images, also the val and test lists that go with it."""
    if path.name == _UNION:
        test = path.with_name(_VTAB["test"])
        return {"train": path, **({"test": test} if test.is_file() else {})}
    noah = _NOAH.fullmatch(path.name)
    if noah is None or noah[1] != "train":
        return {"all": path}
    others = {part: path.with_name(f"{part}_meta.list") for part in ("val", "test")}
    others = {part: each for part, each in others.items() if each.is_file()}
    if others:
        notes.append(f"{' and '.join(each.name for each in others.values())} beside it is read too")
    return {"train": path, **others}


def _is_list(path: Path) -> bool:
    """Whether the first line names an image and a number."""
    if path.suffix.lower() not in _ENDINGS and not _NOAH.fullmatch(path.name):
        return False
    try:
        with open(path, encoding="utf-8-sig") as file:
            first = next((line for line in file if line.strip()), "")
    except (OSError, UnicodeDecodeError):
        return False
    parts = _LINE.fullmatch(first)
    return parts is not None and os.path.splitext(parts[1])[1].lower() in IMAGE_ENDINGS


def _classes(folder: Path, most: int, typed: str) -> list[str]:
    """The names of classes.txt, or 0 to the largest number there is in any of the lists."""
    known = class_names(folder, folder.parent)
    if known is None:
        return [str(number) for number in range(most + 1)]
    if most >= len(known):
        raise DataError(
            f"labels go up to {most}, but only {len(known)} classes are listed",
            where=typed,
            why="the numbers of classes begin at 0",
        )
    return known


def list_set(
    name: str, path: Path, written: Sequence[str], labels: Int[np.ndarray, " N"], classes: Sequence[str]
) -> ImageSet:
    """The images of one list, all of which must be there.

    Args:
        name: what to call them.
        path: of the list; images are looked for beside it and above it, and in folders called images there.
        written: their paths, as the list names them.
        labels: places in `classes`.
        classes: class names.

    Raises:
        DataError: images are missing, listed twice, or lie outside.
    """
    names = Texts()
    for text in written:
        names.append(normal_path(text))
    outside = [text for text in names if leads_out(text)]
    if outside:
        raise DataError(f"{len(outside):,} paths lead out of the folder", where=str(path), why=shown(outside[0]))
    first = Texts()
    for text, _ in zip(names, range(20), strict=False):
        first.append(text)
    bases = [path.parent, path.parent.parent, path.parent / "images", path.parent.parent / "images"]
    base = next((each for each in bases if (look_up(each, first).sizes >= 0).any()), path.parent)
    files = look_up(base, names)
    lacking = np.flatnonzero(files.sizes < 0)
    if len(lacking):
        told = ", ".join(shown(names[place]) for place in lacking[:5].tolist())
        raise DataError(
            f"{len(lacking):,} of {len(names):,} images are missing",
            where=str(path),
            why=f"{told}{' ...' if len(lacking) > 5 else ''}",
            remedy=f"put the images below {base}, or below the folder above it",
        )
    if again := repeated(names):
        first_place, place = again[0]
        raise DataError(
            f"{len(again):,} images are listed twice",
            where=str(path),
            why=f"{shown(names[place])} as number {first_place + 1:,} and as number {place + 1:,} of the list",
        )
    return listed_set(name, files, np.arange(len(labels)), classes, labels)

"""Which column of a manifest says what: by the usual names, and where those are missing by what is left."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from vitreous.data.layouts.manifests.listed_files import IMAGE_ENDINGS, Faults
from vitreous.data.layouts.manifests.manifest_labels import number_of
from vitreous.data.layouts.manifests.manifest_rows import Table, path_column, plain_name
from vitreous.data.words import some
from vitreous.errors import DataError

_LABELS = (
    *("label", "labels", "class", "classes", "class_name", "label_name", "category", "categories", "target", "targets"),
    *("tag", "tags", "finding_labels", "diagnosis", "dx", "species", "breed"),
)
SPLIT_NAMES = ("split", "part", "set", "subset", "partition")
"""What columns are usually called that say which part an image belongs to, as `plain_name` gives them."""

_THINGS = (
    "group",
    "patient",
    "subject",
    "person",
    "individual",
    "session",
    "lesion",
    "video",
    "clip",
    "scene",
    "burst",
)
GROUP_NAMES = tuple(name for thing in _THINGS for name in (thing, f"{thing}_id"))
"""What columns are usually called that say what belongs together, the likeliest first, as `plain_name` gives them."""

_INDEX = ("", "unnamed:_0", "index")  # what pandas writes before the columns
_LOOKED_AT = 50


@dataclass(frozen=True)
class Columns:
    """Which columns of a manifest are used, by place."""

    path: int
    labels: tuple[int, ...]
    """One column of labels, or one of numbers for each class; empty where there is none."""
    numbers: bool
    """Whether the columns of labels are numbers, one for each class."""
    split: int | None
    group: int | None
    left_out: tuple[str, ...]
    """Names of the columns that are not used."""


def columns_of(table: Table, group_by: str | None) -> Columns:
    """Which columns of a manifest are used.

    Args:
        table: the manifest.
        group_by: name of the column of groups, or a regular expression that is no column's name.

    Raises:
        DataError: the columns cannot be understood.
    """
    if table.header is None:
        return _without_header(table)
    plain = [plain_name(name) for name in table.header]
    path = path_column(table.header)
    if path is None:
        raise DataError(
            "no column holds the paths of images",
            where=str(table.path),
            why=f"there are {some(table.header, 10)}",
            remedy="call the column path, and the one of labels label",
        )
    split = _named(plain, SPLIT_NAMES)
    group = _named(plain, (plain_name(group_by),)) if group_by is not None else _named(plain, GROUP_NAMES)
    taken = {path, split, group}
    label = _named([name if place not in taken else "" for place, name in enumerate(plain)], _LABELS)
    rest = [place for place, name in enumerate(plain) if place not in taken and name not in _INDEX]
    labels, numbers = ((label,), False) if label is not None else _by_content(table, rest)
    used = {*taken, *labels}
    left_out = tuple(name for place, name in enumerate(table.header) if place not in used and name.strip())
    return Columns(path, labels, numbers, split, group, left_out)


def _named(plain: Sequence[str], names: Sequence[str]) -> int | None:
    return next((plain.index(name) for name in names if name in plain), None)


def _by_content(table: Table, rest: list[int]) -> tuple[tuple[int, ...], bool]:
    """The columns of labels where none is called so: the only one, or one of numbers for each class."""
    assert table.header is not None
    if len(rest) < 2:
        return tuple(rest), False
    sample = [cells for _, cells in itertools.islice(table.rows(Faults("")), _LOOKED_AT)]
    wordy = [place for place in rest if any(not 0 <= number_of(cells[place]) <= 1 for cells in sample)]
    if not wordy:
        return tuple(rest), True
    raise DataError(
        "no column is called label",
        where=str(table.path),
        why=f"any of {some([table.header[place] for place in rest], 10)} could be it",
        remedy="call the column of labels label; or leave no other columns than one of 0 and 1 for each class",
    )


def _without_header(table: Table) -> Columns:
    """Which of two columns holds paths: the one whose cells end as the names of images do."""
    first = next(table.rows(Faults("")))[1]
    path = 0 if first[0].strip().lower().endswith(tuple(IMAGE_ENDINGS)) else 1
    return Columns(path, (1 - path,), False, None, None, ())

"""Images that a manifest names: a CSV, TSV or JSON Lines file with a row for each, typed or found in a folder.

Also Hugging Face's `imagefolder` (`metadata.jsonl` or `metadata.csv` with `file_name`), Kaggle's names without endings,
and one column of 0 and 1 for each class as in ISIC's. Names count from the folder of the manifest.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int

from vitreous.data.imageset import ImageSet
from vitreous.data.layouts.found import PART_OF, PARTS, Asked, Found
from vitreous.data.layouts.manifests.listed_files import (
    IMAGE_ENDINGS,
    NO_FILE,
    SEVERAL,
    Faults,
    Files,
    Texts,
    is_absolute,
    leads_out,
    listed_set,
    look_up,
    normal_path,
    repeated,
    shown,
)
from vitreous.data.layouts.manifests.manifest_columns import Columns, columns_of
from vitreous.data.layouts.manifests.manifest_labels import (
    Cells,
    Labels,
    Numbers,
    labels_from_cells,
    labels_from_numbers,
)
from vitreous.data.layouts.manifests.manifest_rows import TABLE_ENDINGS, Table, open_table
from vitreous.data.layouts.shards.shard_labels import class_names
from vitreous.data.words import natural_key, some
from vitreous.errors import DataError

_USUAL = frozenset({"labels", "label", "metadata", "manifest", "annotations", "index", "data"})
_TRIED = 20  # rows whose files show where names count from, and whether a manifest speaks of this folder
_UNDIVIDED = -1


@dataclass(eq=False)
class _Manifest:
    """What one file says, row by row."""

    table: Table
    columns: Columns
    faults: Faults
    names: Texts = field(default_factory=Texts)
    lines: array[int] = field(default_factory=lambda: array("q"))
    cells: Cells = field(default_factory=Cells)
    numbers: Numbers = field(default_factory=lambda: Numbers([]))
    parts: array[int] = field(default_factory=lambda: array("b"))
    """Places in PARTS; _UNDIVIDED without a column of parts."""
    groups: array[int] = field(default_factory=lambda: array("q"))
    ungrouped: int = 0
    """Rows without a group, each of which is one of its own."""
    rows: int = 0
    """Records there are, those at fault included."""
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Of the file, as a person says it."""
        return self.table.path.name


def find_manifest(typed: str, asked: Asked) -> Found | None:
    """The images that a manifest names, if DATA is one or a folder that holds one.

    Args:
        typed: a .csv, .tsv, .jsonl or .ndjson file; or a folder with exactly one, with train, val and test ones, or
            with folders of these names that hold one each.
        asked: `group_by` may name a column.

    Raises:
        DataError: rows cannot be used, named by line; or there are two ways to read the manifest.
    """
    path = Path(typed).expanduser()
    notes: list[str] = []
    if path.is_file() and path.suffix.lower() in TABLE_ENDINGS:
        tables = {"all": open_table(path)}
    elif path.is_dir():
        tables = _in_folder(path, asked, notes)
    else:
        return None
    if not tables:
        return None
    group_of: dict[str, int] = {}
    manifests = {part: _parsed(table, asked, group_of) for part, table in tables.items()}
    folder = path if path.is_dir() else path.parent
    known = class_names(*(table.path.parent for table in tables.values()), folder)
    labels = _understood(manifests, known)
    sets: dict[str, ImageSet] = {}
    for part, manifest in manifests.items():
        files = _files(manifest)
        _check(manifest, labels[part], files)
        for divided, places in _divided(manifest, part).items():
            name = typed if divided == "all" else f"{typed} ({divided})"
            sets[divided] = _as_set(name, manifest, labels[part], files, places, known, notes)
        notes[:0] = [f"{manifest.name}: {line}" for line in _said(manifest, labels[part], sets, part)]
    return Found(typed, sets, notes + _shared_groups(sets))


def _in_folder(folder: Path, asked: Asked, notes: list[str]) -> dict[str, Table]:
    """The manifests that a folder holds, by part; none where it is a folder of another kind."""
    with os.scandir(folder) as listing:
        entries = [entry for entry in listing if not entry.name.startswith(".")]  # a million images may lie there too
    folders = sorted(Path(entry.path) for entry in entries if entry.is_dir())
    named = (entry for entry in entries if os.path.splitext(entry.name)[1].lower() in TABLE_ENDINGS)
    tables = sorted(Path(entry.path) for entry in named if entry.is_file())
    parts = [path for path in tables if path.stem.casefold() in PART_OF]
    usual = [path for path in tables if path.stem.casefold() in _USUAL]
    flat = any(os.path.splitext(entry.name)[1].lower() in IMAGE_ENDINGS for entry in entries)
    if not parts and not usual and len(tables) == 1 and (flat or not folders):
        usual = tables
    candidates = [path for path in (*parts, *usual) if not folders or _speaks_of(path, asked)]
    if folders and not candidates:
        return _in_part_folders(folders, asked, notes)
    parts, usual = [path for path in candidates if path in parts], [path for path in candidates if path in usual]
    if not parts and len(usual) == 1:
        return {"all": open_table(usual[0])}
    found: dict[str, Table] = {}
    for path in parts:
        part = PART_OF[path.stem.casefold()]
        table = open_table(path)
        if part == "test" and not columns_of(table, asked.group_by).labels:
            notes.append(f"{path.name}: left out, it has no column of labels")
        elif part in found or usual:
            raise _too_many(folder, [found[part].path, path] if part in found else [path, *usual])
        else:
            found[part] = table
    if len(usual) > 1:
        raise _too_many(folder, usual)
    return found


def _in_part_folders(folders: Sequence[Path], asked: Asked, notes: list[str]) -> dict[str, Table]:
    """The manifests of folders called train, val and test, as in Hugging Face's imagefolder; all have one, or none."""
    found: dict[str, Table] = {}
    for folder in (folder for folder in folders if folder.name.casefold() in PART_OF):
        tables = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in TABLE_ENDINGS]
        tables = [path for path in tables if path.stem.casefold() in _USUAL and _speaks_of(path, asked)]
        if len(tables) > 1 or (tables and PART_OF[folder.name.casefold()] in found):
            raise _too_many(folder, tables)
        if tables:
            found[PART_OF[folder.name.casefold()]] = open_table(tables[0])
        else:
            notes.append(f"{folder.name}: left out, it holds no manifest")
    if not found:
        notes.clear()
    return found


def _too_many(folder: Path, tables: Sequence[Path]) -> DataError:
    return DataError(
        f"{' and '.join(path.name for path in tables)} could both be the manifest",
        where=str(folder),
        remedy=f"type the one that counts: {tables[0]}",
    )


def _speaks_of(path: Path, asked: Asked) -> bool:
    """Whether a table is a manifest of images that are there; in a folder with folders it may be anything.

    Raises:
        DataError: it cannot be read at all: called as a manifest is, it may not be passed over.
    """
    table = open_table(path)
    try:
        columns = columns_of(table, asked.group_by)
    except DataError:
        return False
    first = Texts()
    for (_, cells), _ in zip(table.rows(Faults("")), range(_TRIED), strict=False):
        first.append(_windows(normal_path(cells[columns.path])))
    return _base(path.parent, first) is not None


def _windows(path: str) -> str:
    return path.replace("\\", "/") if "/" not in path else path


def _base(folder: Path, first: Texts) -> tuple[Path, bool] | None:
    """The folder that names count from, the manifest's or the only one in it that fits; whether they lack endings."""
    if not len(first):
        return folder, False
    stems = not any(os.path.splitext(name)[1].lower() in IMAGE_ENDINGS for name in first)
    for lacking in (False, True) if stems else (False,):
        if (look_up(folder, first, stems=lacking).sizes != -1).any():
            return folder, lacking
        below = sorted(entry.path for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
        fitting = [Path(path) for path in below if (look_up(Path(path), first, stems=lacking).sizes >= 0).any()]
        if len(fitting) == 1:
            return fitting[0], lacking
    return None


def _parsed(table: Table, asked: Asked, group_of: dict[str, int]) -> _Manifest:
    """All rows of a manifest, in arrays."""
    columns = columns_of(table, asked.group_by)
    if not columns.labels:
        raise DataError(
            "no column holds the labels", where=str(table.path), remedy="add a column called label, a class in each row"
        )
    manifest = _Manifest(table, columns, Faults(str(table.path)))
    if columns.numbers:
        assert table.header is not None
        manifest.numbers = Numbers([table.header[place] for place in columns.labels])
    usable_at_fault = 0  # told here, besides the records that are no rows at all
    for line, cells in table.rows(manifest.faults):
        told = manifest.faults.count
        manifest.lines.append(line)
        manifest.names.append(normal_path(cells[columns.path]))
        if columns.numbers:
            manifest.numbers.append([cells[place] for place in columns.labels], line, manifest.faults)
        else:
            manifest.cells.append(cells[columns.labels[0]])
        manifest.parts.append(_part(cells, columns, line, manifest.faults))
        if columns.group is not None:
            group = cells[columns.group].strip()
            alone = f"\0{table.path}\0{line}"
            manifest.ungrouped += not group
            manifest.groups.append(group_of.setdefault(group or alone, len(group_of)))
        usable_at_fault += manifest.faults.count - told
    manifest.rows = len(manifest.lines) + manifest.faults.count - usable_at_fault
    if not manifest.rows:
        raise DataError("there is no image in the manifest", where=str(table.path), why="it has a header and no rows")
    _in_one_spelling(manifest)
    return manifest


def _part(cells: Sequence[str], columns: Columns, line: int, faults: Faults) -> int:
    if columns.split is None:
        return _UNDIVIDED
    part = PART_OF.get(cells[columns.split].strip().casefold())
    if part is None:
        faults.add(line, f"the split is {shown(cells[columns.split]) or 'empty'}, and none of train, val and test")
        return _UNDIVIDED
    return PARTS.index(part)


def _in_one_spelling(manifest: _Manifest) -> None:
    """Paths of Windows are understood where no path has a `/`."""
    if any("/" in name for name in manifest.names) or not any("\\" in name for name in manifest.names):
        return
    names = Texts()
    for name in manifest.names:
        names.append(normal_path(name.replace("\\", "/")))
    manifest.names = names
    manifest.notes.append("paths of Windows, each \\ read as /")


def _understood(manifests: dict[str, _Manifest], known: Sequence[str] | None) -> dict[str, Labels]:
    """The labels of all manifests, in one way."""
    several = list(manifests.values())
    if len({manifest.columns.numbers for manifest in several}) > 1:
        raise DataError("the manifests hold labels in different ways", where=some(each.name for each in several))
    if several[0].columns.numbers:
        found = labels_from_numbers([(each.numbers, each.lines, each.faults) for each in several])
    else:
        header = several[0].table.header
        heading = "label" if header is None else header[several[0].columns.labels[0]]
        found = labels_from_cells([(each.cells, each.lines, each.faults) for each in several], known, heading)
    return dict(zip(manifests, found, strict=True))


def _files(manifest: _Manifest) -> Files:
    """Where the files of all rows lie."""
    first = Texts()
    for name, _ in zip(manifest.names, range(_TRIED), strict=False):
        first.append(name)
    folder = manifest.table.path.parent
    base, stems = _base(folder, first) or (folder, False)
    if base != folder:
        manifest.notes.append(f"its images lie in {base.name}")
    if stems:
        manifest.notes.append("names without endings, found by what lies there")
    return look_up(base, manifest.names, stems=stems)


def _check(manifest: _Manifest, labels: Labels, files: Files) -> None:
    """Refuse a manifest with rows that cannot be used: the first ten are named."""
    faults, lines = manifest.faults, manifest.lines
    outside = [place for place, name in enumerate(manifest.names) if leads_out(name)]
    for place in outside:
        faults.add(lines[place], f"{shown(manifest.names[place])} leads out of {files.folder}")
    lacking = np.setdiff1d(np.flatnonzero(files.sizes < 0), outside)
    for place in lacking.tolist():
        faults.add(lines[place], _lacks(manifest.names[place], int(files.sizes[place])))
    for first, again in repeated(manifest.names):
        name = shown(manifest.names[again])
        if _entries(labels, first) != _entries(labels, again):
            faults.add(lines[again], f"{name} has another label here than in line {lines[first]:,}")
        elif manifest.parts[first] != manifest.parts[again]:
            faults.add(lines[again], f"{name} is in another part here than in line {lines[first]:,}")
        else:
            faults.add(lines[again], f"{name} stands already in line {lines[first]:,}")
    remedy = None
    if len(lacking):
        remedy = f"names count from {files.folder}" + _in_other_case(files, lacking)
    faults.raise_any(manifest.rows, "rows", remedy)


def _entries(labels: Labels, place: int) -> list[tuple[int, float]]:
    start, end = (int(labels.ends[place - 1]) if place else 0), int(labels.ends[place])
    pairs = zip(labels.entries[start:end].tolist(), labels.weights[start:end].tolist(), strict=True)
    return sorted(pairs)


def _lacks(name: str, size: int) -> str:
    if not name:
        return "no path"
    if size == NO_FILE:
        return f"{shown(name)} is no ordinary file"
    if size == SEVERAL:
        return f"several files could be meant by {shown(name)}"
    there = " (a path of Windows)" if "\\" in name or (is_absolute(name) and not name.startswith("/")) else ""
    return f"there is no file {shown(name)}{there}"


def _in_other_case(files: Files, lacking: Int[np.ndarray, " n"]) -> str:
    """A hint where the first name that is lacking is there in other letters."""
    path = Path(files.path(int(lacking[0])))
    try:
        close = [name for name in os.listdir(path.parent) if name.casefold() == path.name.casefold()]
    except (OSError, ValueError):
        return ""
    return f"; {close[0]} is there: capital letters count" if close else ""


def _divided(manifest: _Manifest, part: str) -> dict[str, Int[np.ndarray, " n"]]:
    """The places of each part."""
    parts = np.frombuffer(manifest.parts, np.int8)
    if part != "all" or manifest.columns.split is None:
        return {part: np.arange(len(parts))}
    return {PARTS[number]: np.flatnonzero(parts == number) for number in np.unique(parts).tolist()}


def _as_set(
    name: str,
    manifest: _Manifest,
    labels: Labels,
    files: Files,
    places: Int[np.ndarray, " n"],
    known: Sequence[str] | None,
    notes: list[str],
) -> ImageSet:
    classes, numbers, targets = labels.of(places, known, str(manifest.table.path))
    listed = known if known is not None else (labels.texts if labels.ordered else classes)
    if unused := sorted(set(listed) - set(classes), key=natural_key):
        notes.append(f"{name}: no images of {len(unused):,} of {len(listed):,} classes: {some(unused)}")
    groups = np.frombuffer(manifest.groups, np.int64)[places] if manifest.columns.group is not None else None
    return listed_set(name, files, places, classes, numbers, targets=targets, groups=groups)


def _said(manifest: _Manifest, labels: Labels, sets: dict[str, ImageSet], part: str) -> Iterator[str]:
    """What was recognised in one manifest, in words."""
    made = [images for name, images in sets.items() if part in ("all", name)]
    classes = len({name for images in made for name in images.classes})
    yield ", ".join([f"{len(manifest.lines):,} images, {classes:,} classes", *manifest.table.notes])
    yield from (*labels.notes, *manifest.notes)
    columns = manifest.columns
    if columns.group is not None and manifest.table.header is not None:
        alone = (
            f"; {count:,} without one {'stands' if count == 1 else 'stand'} alone"
            if (count := manifest.ungrouped)
            else ""
        )
        groups = len(set(manifest.groups)) - manifest.ungrouped
        yield f"{groups:,} groups by {manifest.table.header[columns.group]}{alone}"
    if absolute := sum(is_absolute(name) for name in manifest.names):
        yield f"{absolute:,} paths are absolute and hold on this machine only"
    left_out = [*columns.left_out]
    if part != "all" and columns.split is not None and manifest.table.header is not None:
        left_out.append(manifest.table.header[columns.split])
    if left_out:
        yield f"left out columns: {some(left_out)}"


def _shared_groups(sets: dict[str, ImageSet]) -> list[str]:
    """Where groups lie in two parts, which should not be."""
    grouped = {part: images.groups for part, images in sets.items() if images.groups is not None}
    said = []
    for one, other in ((a, b) for a in grouped for b in grouped if PARTS.index(a) < PARTS.index(b)):
        if both := len(np.intersect1d(grouped[one], grouped[other])):
            said.append(f"groups that lie in {one} and in {other}, so that {other} flatters: {both:,}")
    return said

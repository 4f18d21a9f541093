"""Labelled images in Parquet files, laid out as Hugging Face datasets or in any table with images and labels.

Labels are read once, without the images; an image is read when it is asked for.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import zip_longest
from pathlib import Path
from typing import Any

from vitreous.console import Progress
from vitreous.data.feeding.threads import in_order, num_cores
from vitreous.data.layouts.found import PART_OF, Asked, Found
from vitreous.data.layouts.storage import OpenFile
from vitreous.data.layouts.tables.columns import (
    Columns,
    by_split,
    class_names,
    features_in,
    find_columns,
    pyarrow_for,
    split_in_name,
)
from vitreous.data.layouts.tables.parquet_pages import OtherwiseStoredError
from vitreous.data.layouts.tables.parquet_rows import KEPT, Group, StoredImages, groups_in
from vitreous.data.layouts.tables.table_set import Table, divided, set_of, without_labels
from vitreous.data.words import natural_key, some
from vitreous.errors import DataError

_SUFFIX = ".parquet"
_WILD = re.compile(r"[*?\[]")
_WAITING = 8  # threads: reading footers is waiting for a disk, hardly work
_LARGE_GROUP = 2**21  # bytes: decoding more for one image takes longer than decoding the image

_State = tuple[int, int]


def find_parquet(typed: str, asked: Asked) -> Found | None:
    """The images in Parquet files, if DATA means some.

    Args:
        typed: a Parquet file, a pattern such as data/train-*.parquet, or a folder of Parquet files: directly in it, in
            data, or in folders called train, val and test.
        asked: `group_by` may name a column.

    Raises:
        DataError: files are missing or damaged, or it cannot be told which column is what.
        UsageError: pyarrow is not installed.
    """
    files, notes = _files(typed)
    if not files:
        return None
    tables: dict[str, Table] = {}
    stored: dict[str, StoredImages] = {}
    for part, paths in files.items():
        name = typed if len(files) == 1 else f"{typed} ({part})"
        if not tables and Path(typed).expanduser().is_dir() and not _is_ours(paths[0], typed):
            return None
        tables[part], stored[part], said = _opened(paths, name, asked.group_by)
        notes += said
    tables, said = without_labels(tables)
    notes += said
    sets = {}
    for part, table in tables.items():
        sets[part], said = set_of(table, stored[part].content if table.columns.content else None)
        notes += said
    if list(sets) == ["all"] and tables["all"].columns.split:
        sets = divided(sets["all"], tables["all"])
    return Found(typed, sets, notes)


def _files(typed: str) -> tuple[dict[str, list[Path]], list[str]]:
    """Parquet files by part, and what was left out; empty where DATA means none."""
    path = Path(typed).expanduser()
    if path.is_dir():
        return _in_folder(path)
    if not typed.lower().endswith(_SUFFIX):
        return {}, []
    if path.is_file():
        return {"all": [path]}, []
    if not _WILD.search(typed):
        return {}, []
    found = sorted((Path(each) for each in glob.glob(str(path))), key=lambda each: natural_key(each.as_posix()))
    if not found:
        raise DataError("no file has such a name", where=typed)
    return _by_name(found, typed)


def _in_folder(folder: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """Parquet files directly in a folder, in `data`, in train, val and test folders, or in the one folder there is."""
    if direct := _parquets(folder):
        return _by_name(direct, str(folder), whole=True)
    folders = [entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    folders = sorted((entry for entry in folders if _parquets(entry)), key=lambda entry: natural_key(entry.name))
    if parts := [entry for entry in folders if entry.name.casefold() in PART_OF]:
        return _in_parts(parts, folder)
    if len(folders) > 1:
        raise DataError(
            f"Parquet files lie in several folders: {some(entry.name for entry in folders)}",
            where=str(folder),
            why="each may be a data set of its own",
            remedy=f"give one of them: {folders[0]}",
        )
    return _by_name(_parquets(folders[0]), str(folders[0]), whole=True) if folders else ({}, [])


def _in_parts(folders: Sequence[Path], above: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """All Parquet files in folders that are called train, val and test."""
    found: dict[str, list[Path]] = {}
    for folder in folders:
        part = PART_OF[folder.name.casefold()]
        if part in found:
            both = f"{found[part][0].parent.name} and {folder.name}"
            raise DataError(f"both {both} could be the {part} images", where=str(above), remedy="keep one of the two")
        found[part] = _parquets(folder)
        _check_complete(_splits(found[part]), str(folder))
    return found, []


def _parquets(folder: Path) -> list[Path]:
    found = [
        entry
        for entry in folder.iterdir()
        if entry.name.lower().endswith(_SUFFIX) and not entry.name.startswith((".", "_")) and entry.is_file()
    ]
    return sorted(found, key=lambda entry: natural_key(entry.name))


def _by_name(paths: Sequence[Path], where: str, *, whole: bool = False) -> tuple[dict[str, list[Path]], list[str]]:
    """Files by the part that their names say, as in train-00000-of-00002.parquet; or all together.

    Args:
        paths: in order.
        where: they lie, for errors.
        whole: whether all files of a split should be there.
    """
    splits = _splits(paths)
    if whole:
        _check_complete(splits, where)
    parts, others = by_split(splits)
    if others and (not parts or "" in others):
        strange = splits[""] if "" in others else [files[0] for files in splits.values()]
        raise DataError(
            f"the names of files do not say what they are: {some(path.name for path in strange)}",
            where=where,
            why=f"others are named after {' and '.join(parts)}" if parts else "each begins with another word",
            remedy="name the files that belong together with a pattern: train-*.parquet",
        )
    notes = [f"{where}: left out the split {split} ({len(splits[split]):,} Parquet files)" for split in others]
    found: dict[str, list[Path]] = {}
    for split, part in parts.items():
        found.setdefault(part, []).extend(splits[split])
    return found, notes


def _splits(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Files by the split that their names say; under "" those that say none."""
    splits: dict[str, list[Path]] = {}
    for path in paths:
        numbered = split_in_name(path.stem)
        word = re.match(r"[a-z]*", path.name.casefold())
        plain = word[0] if word and word[0] in PART_OF else ""
        splits.setdefault(numbered[0] if numbered else plain, []).append(path)
    return splits


def _check_complete(splits: Mapping[str, Sequence[Path]], where: str) -> None:
    """Refuse a split that lacks files by the count in their names."""
    for split, files in splits.items():
        counts = {numbered[2] for path in files if (numbered := split_in_name(path.stem))}
        if counts and counts != {len(files)}:
            raise DataError(
                f"of the split {split} there are {len(files):,} files, and by their names there should be"
                f" {' or '.join(f'{count:,}' for count in sorted(counts))}",
                where=where,
                remedy="fetch those that are missing, or name the files with a pattern: train-*.parquet",
            )


def _is_ours(path: Path, typed: str) -> bool:
    """Whether a Parquet file in a folder is what DATA means: beside folders of images it may be anything."""
    arrow = pyarrow_for(typed)
    beside = path.parent == Path(typed).expanduser() and any(
        entry.is_dir() and not entry.name.startswith(".") for entry in path.parent.iterdir()
    )
    if not beside:
        return True
    try:
        schema = arrow.parquet.read_schema(path)
        find_columns(schema, features_in(schema, str(path)), str(path), None)
    except (DataError, OSError, arrow.ArrowException):
        return False
    return True


def _opened(paths: Sequence[Path], name: str, group_by: str | None) -> tuple[Table, StoredImages, list[str]]:
    """The rows of some files without their images, what reads these, and what to tell."""
    schema = _schema(paths[0])
    columns = find_columns(schema, features_in(schema, str(paths[0])), name, group_by)
    wanted = [columns.label, columns.path, columns.group, columns.split]
    projection = list(dict.fromkeys(column for column in wanted if column))

    def read(numbered: tuple[int, Path]) -> tuple[Any, list[Group], _State]:
        place, path = numbered
        return _small(path, place, schema, columns, projection)

    smalls, groups, states, rows = [], [], [], []
    workers = max(_WAITING, num_cores())
    with (
        Progress("reading the labels in Parquet files", len(paths), "files") as progress,
        closing(in_order(read, enumerate(paths), workers=workers, ahead=2 * workers)) as parts,
    ):
        for small, found, state in parts:
            smalls.append(small)
            groups += found
            states.append(state)
            rows.append(small.num_rows)
            progress.advance()
    table = Table(
        name=name,
        files=paths,
        rows=rows,
        columns=columns,
        small=pyarrow_for(name).concat_tables(smalls),
        shards=[group.rows for group in groups] if columns.content else (),
        sizes=[group.size for group in groups],
    )
    label = f"labels in `{columns.label}`"
    said = f"{name}: {len(paths):,} Parquet file{'s' * (len(paths) > 1)}, images in `{columns.image}`, {label}"
    stored = StoredImages(paths, states, groups, columns.content or "")
    notes = [said, *(f"{name}: {note}" for note in columns.notes), *_slow(stored, groups, name)]
    return table, stored, notes


def _slow(stored: StoredImages, groups: Sequence[Group], name: str) -> list[str]:
    """What to say of row groups that are decoded whole for one image, and of which not all can be kept."""
    large = max((group.size for group in groups), default=0)
    if large <= _LARGE_GROUP or sum(group.size for group in groups) <= KEPT or not stored.decodes_whole():
        return []
    return [
        f"{name}: images lie compressed in row groups of up to {large / 2**20:,.0f} MB, which makes shuffled reading"
        " slow; Dataset.to_parquet of the package `datasets` writes files that are read fast"
    ]


def _schema(path: Path) -> Any:
    """A file's schema."""
    arrow = pyarrow_for(str(path))
    try:
        with arrow.parquet.ParquetFile(path) as file:
            return file.schema_arrow
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _small(
    path: Path, place: int, expected: Any, columns: Columns, projection: list[str]
) -> tuple[Any, list[Group], _State]:
    """A file's columns but the images, its row groups, and its state."""
    arrow = pyarrow_for(str(path))
    try:
        opened = OpenFile(path)
        with arrow.parquet.ParquetFile(path, page_checksum_verification=True) as file:
            schema = file.schema_arrow
            for name in {columns.image, columns.label, columns.group, columns.split} - {None}:
                if name not in schema.names or schema.field(name).type != expected.field(name).type:
                    raise DataError(
                        f"files differ in their column `{name}`",
                        where=str(path),
                        why=f"here it is {schema.field(name).type if name in schema.names else 'missing'},"
                        f" elsewhere {expected.field(name).type}",
                    )
            _check_names(features_in(schema, str(path)), columns, path)
            small = file.read(columns=projection, use_threads=False).replace_schema_metadata()
            small.validate(full=True)  # texts that are none would be met later
            level = _max_level(schema.field(columns.image))
            groups = groups_in(opened, columns.content, level, place) if columns.content else []
            if groups and sum(group.rows for group in groups) != small.num_rows:
                raise ValueError("its columns are of different lengths")
            return small, groups, opened.state
    except (arrow.ArrowException, OtherwiseStoredError, OSError, ValueError, LookupError) as error:
        raise _damaged(path, error) from error


def _check_names(features: Mapping[str, Any], columns: Columns, path: Path) -> None:
    """Refuse a file whose numbers stand for other names than those of the first file."""
    for column, expected in ((columns.label, columns.names), (columns.split, columns.split_names)):
        names = class_names(features.get(column), str(path)) if column else None
        if names and expected and names != expected:
            pairs = enumerate(zip_longest(names, expected, fillvalue="nothing"))
            place, (here, there) = next((place, pair) for place, pair in pairs if pair[0] != pair[1])
            raise DataError(
                f"files differ in the names of their column `{column}`",
                where=str(path),
                why=f"{place} stands for {here} here, and for {there} elsewhere",
                remedy="give the files one by one, or write them again with the same names",
            )


def _max_level(image: Any) -> int:
    """The largest definition level of the images' bytes: one for each thing that may be null."""
    inside = [image.type.field(place) for place in range(image.type.num_fields)]
    return sum(bool(field.nullable) for field in (image, *inside) if field is image or field.name == "bytes")


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        "the Parquet file is damaged, cut off, or none",
        where=str(path),
        why=(str(error) or type(error).__name__).splitlines()[0][:200],
        remedy="fetch or write it again",
    )

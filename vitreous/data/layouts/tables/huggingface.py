"""Labelled images in a folder that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` of Hugging Face wrote.

Its Arrow files are understood with pyarrow alone, mapped into memory; then an image is read where it lies.
"""

from __future__ import annotations

import errno
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from vitreous.data.layouts.found import Asked, Found
from vitreous.data.layouts.storage import OpenFile
from vitreous.data.layouts.tables.columns import (
    Columns,
    by_split,
    checked_features,
    features_in,
    find_columns,
    pyarrow_for,
)
from vitreous.data.layouts.tables.table_set import Content, Table, divided, set_of, without_labels
from vitreous.errors import DataError, ImageError
from vitreous.picture.decode import MAX_FILE

_Places = tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"]]  # of each file its own number of rows

_DICT, _STATE, _INFO = "dataset_dict.json", "state.json", "dataset_info.json"
_END = b"\xff\xff\xff\xff\0\0\0\0"  # of a stream: arrow.apache.org/docs/format/Columnar.html
_OPEN_FILES = 128
_TO_SAVE = "datasets.load_dataset(NAME).save_to_disk(FOLDER)"


def find_saved(typed: str, asked: Asked) -> Found | None:
    """The images in a saved Hugging Face dataset, if DATA is one.

    Args:
        typed: the folder given to `save_to_disk`.
        asked: `group_by` may name a column.

    Raises:
        DataError: files are missing or damaged, it is a folder of the cache of `datasets`, or it cannot be told which
            column is what.
        UsageError: pyarrow is not installed.
    """
    path = Path(typed).expanduser()
    if path.is_file() and path.suffix == ".arrow":
        raise DataError(
            "a single Arrow file is not read", where=typed, remedy=f"give its folder, as written by {_TO_SAVE}"
        )
    if not path.is_dir():
        return None
    folders, notes = _folders(path)
    if not folders:
        return None
    opened = {}
    for part, folder in folders.items():
        opened[part] = _opened(folder, typed if len(folders) == 1 else f"{typed} ({part})", asked.group_by)
    tables, said = without_labels({part: table for part, (table, _) in opened.items()})
    notes += said
    sets = {}
    for part, table in tables.items():
        columns = table.columns
        held = f"images in `{columns.image}`, labels in `{columns.label}`"
        notes += [f"{table.name}: a saved Hugging Face dataset, {held}"]
        notes += [f"{table.name}: {note}" for note in columns.notes]
        sets[part], said = set_of(table, opened[part][1])
        notes += said
    if list(sets) == ["all"] and tables["all"].columns.split:
        sets = divided(sets["all"], tables["all"])
    return Found(typed, sets, notes)


def _folders(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """The folders of saved datasets by part, and what was left out; empty where there are none."""
    if (folder / _DICT).is_file():
        names = _json(folder / _DICT).get("splits")
        if not isinstance(names, list) or not names or not all(_is_plain(name) for name in names):
            raise DataError("the splits are not a list of names", where=str(folder / _DICT))
        if missing := [name for name in names if not (folder / name / _STATE).is_file()]:
            raise DataError(f"the split {missing[0]} is missing", where=str(folder), remedy="save the dataset again")
        parts, others = by_split(names)
        if not parts:
            raise DataError(
                f"splits are called {', '.join(names)}",
                where=str(folder),
                why="understood are train, validation and test",
                remedy=f"give one of them: {folder / names[0]}",
            )
        found: dict[str, Path] = {}
        for name, part in parts.items():
            if part in found:
                both = f"{found[part].name} and {name}"
                raise DataError(f"both {both} could be the {part} images", where=str(folder), remedy="keep one of them")
            found[part] = folder / name
        return found, [f"{folder}: left out the split {name}" for name in others]
    if (folder / _STATE).is_file() and (folder / _INFO).is_file():
        return {"all": folder}, []
    entries = list(folder.iterdir())
    alone = (folder / _INFO).is_file() or not any(entry.is_dir() for entry in entries)
    if alone and any(entry.suffix == ".arrow" for entry in entries):
        raise DataError(
            "this is a folder of the cache of `datasets`, not a saved dataset",
            where=str(folder),
            why=f"there are Arrow files, but no {_STATE}",
            remedy=_TO_SAVE,
        )
    return {}, []


def _opened(folder: Path, name: str, group_by: str | None) -> tuple[Table, Content | None]:
    """The rows of a saved dataset without their images, and what reads these."""
    arrow = pyarrow_for(name)
    files = _data_files(folder)
    smalls, places, states = [], [], []
    columns, schema = None, None
    for file in files:
        state = OpenFile(file).state
        with _mapped(arrow, file) as source:
            table = _table(arrow, source, file)
            if columns is None or schema is None:
                schema = table.schema
                written = _json(folder / _INFO).get("features")
                told = checked_features(written, str(folder / _INFO)) if written else features_in(schema, str(file))
                columns = find_columns(schema, told, name, group_by)
            if not table.schema.equals(schema):
                raise DataError("files differ in their columns", where=str(file), why=f"from {files[0].name}")
            _check(arrow, table, columns, file)
            smalls.append(_copied(arrow, table, columns))
            places.append(_places(arrow, source, table[columns.image], columns, file))
            states.append(state)
    assert columns is not None, "there is at least one file"
    small, rows = arrow.concat_tables(smalls), [each.num_rows for each in smalls]
    table = Table(
        name=name,
        files=files,
        rows=rows,
        columns=columns,
        small=small,
        shards=rows if columns.content else (),
        sizes=[int(sizes.sum()) for _, sizes in places],
    )
    return table, _content(files, states, rows, places) if columns.content else None


def _content(
    files: Sequence[Path], states: Sequence[object], rows: Sequence[int], places: Sequence[_Places]
) -> Content:
    """What reads the image file in a row. Files are read, not mapped: one that is cut off meanwhile would kill us."""
    ends = np.cumsum(rows)

    @functools.lru_cache(_OPEN_FILES)
    def opened(number: int) -> OpenFile:
        file = OpenFile(files[number])
        if file.state != states[number]:
            raise OSError(errno.ESTALE, "it has changed since it was opened")
        return file

    def content(place: int, name: str) -> bytes | None:
        number = int(np.searchsorted(ends, place, side="right"))
        row = place - int(ends[number]) + rows[number]
        offset, size = (int(each[row]) for each in places[number])
        if size < 0:
            return None
        if size > MAX_FILE:
            raise ImageError(f"the file is too large: {size:,} bytes", where=name, why=f"the limit is {MAX_FILE:,}")
        try:
            return opened(number).read(offset, size)
        except OSError as error:
            why = error.strerror or str(error)
            raise ImageError("the Arrow file cannot be read", where=name, why=why) from error

    return content


def _places(arrow: Any, source: Any, column: Any, columns: Columns, file: Path) -> _Places:
    """Offset and size in bytes of every row's image in a file; the size of a null is -1."""
    if columns.content is None:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    if columns.kind == "struct":
        column = column.flatten()[[field.name for field in column.type].index("bytes")]
    kinds = {arrow.binary(): np.int32, arrow.large_binary(): np.int64}
    widths = {arrow.binary(): 4, arrow.large_binary(): 8}
    source.seek(0)
    base = source.read_buffer(1).address
    offsets, sizes = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for chunk in column.chunks:
        if not len(chunk):
            continue
        _, ends, data = chunk.buffers() if column.type in kinds else (None, None, None)
        bounds = np.zeros(0, np.int64)
        if ends is not None and (count := chunk.offset + len(chunk) + 1) * widths[column.type] <= ends.size:
            bounds = np.frombuffer(ends, kinds[column.type], count)
        bounds = bounds[chunk.offset :].astype(np.int64)
        start = data.address - base if data is not None and data.size else 0
        if not len(bounds) or not 0 <= start + int(bounds[0]) <= start + int(bounds[-1]) <= source.size():
            raise DataError(
                "the Arrow file is compressed, or holds images in another way than `datasets` does",
                where=str(file),
                remedy="save it again with Dataset.save_to_disk",
            )
        offsets.append(bounds[:-1] + start)
        sizes.append(np.where(np.asarray(chunk.is_valid()), np.diff(bounds), -1))
    return np.concatenate(offsets), np.concatenate(sizes)


def _copied(arrow: Any, table: Any, columns: Columns) -> Any:
    """The columns but the images, in memory of their own."""
    wanted = [columns.label, columns.group, columns.split]
    found = {name: table[name] for name in wanted if name}
    if columns.path:
        paths = table[columns.image]
        if columns.kind == "struct":
            paths = paths.flatten()[[field.name for field in paths.type].index("path")]
        found[columns.image] = paths
    sink = arrow.BufferOutputStream()
    small = arrow.table(found)
    with arrow.ipc.new_stream(sink, small.schema) as writer:
        writer.write_table(small)
    with arrow.ipc.open_stream(sink.getvalue()) as reader:
        return reader.read_all()


def _data_files(folder: Path) -> list[Path]:
    """The Arrow files of a saved dataset, in order."""
    state = _json(folder / _STATE)
    if state.get("_indices_data_files"):
        raise DataError(
            "the rows are chosen by a table of indices, as old versions of `datasets` wrote",
            where=str(folder),
            remedy="open it with datasets.load_from_disk and save it again",
        )
    listed = state.get("_data_files")
    names = [each.get("filename") if isinstance(each, dict) else None for each in listed or ()]
    if not isinstance(listed, list) or not names or not all(_is_plain(name) for name in names):
        raise DataError("the data files are not a list of names", where=str(folder / _STATE))
    found = [folder / str(name) for name in names]
    if missing := [path.name for path in found if not path.is_file()]:
        raise DataError(
            f"{len(missing):,} of {len(found):,} Arrow files are missing: {missing[0]}",
            where=str(folder),
            remedy="copy or save the dataset again",
        )
    return found


def _mapped(arrow: Any, path: Path) -> Any:
    """A file mapped into memory."""
    try:
        return arrow.memory_map(str(path))
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _table(arrow: Any, source: Any, path: Path) -> Any:
    """The table in a file of Arrow's streaming format, which stays where it is."""
    try:
        source.seek(max(source.size() - len(_END), 0))
        if source.read() != _END:  # pyarrow takes a file that is cut off behind a batch of rows for a shorter one
            raise ValueError("the mark of its end is missing")
        source.seek(0)
        with arrow.ipc.open_stream(source) as reader:
            return reader.read_all()
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _check(arrow: Any, table: Any, columns: Columns, path: Path) -> None:
    """Refuse columns whose inner offsets lead out of the file, which pyarrow would follow."""
    wanted: Sequence[str | None] = (columns.image, columns.label, columns.group, columns.split)
    for name in wanted:
        if name is not None:
            try:
                table[name].validate(full=True)
            except (arrow.ArrowException, ValueError) as error:
                raise _damaged(path, error) from error


def _json(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError("a file of the saved dataset cannot be read", where=str(path), why=str(error)) from error
    if not isinstance(told, dict):
        raise DataError("a file of the saved dataset is not understood", where=str(path), why="no table of names")
    return told


def _is_plain(name: object) -> bool:
    """Whether a name can only mean something in the folder itself."""
    return isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\:\0")


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        "the saved dataset is damaged or cut off",
        where=str(path),
        why=(str(error) or type(error).__name__).splitlines()[0][:200],
        remedy="copy or save it again",
    )

"""Parquet and Arrow files as the package `datasets` 5.2 writes them, written by pyarrow alone.

The JSON is what `datasets` wrote, letter for letter; its files differ from these only in page sizes and order of keys.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tar_shards import dot

NAMES = ["zebra", "ant", "10", "2"]
IMAGE = {"_type": "Image"}
CLASS_LABEL = {"names": NAMES, "_type": "ClassLabel"}
CLASS_LABELS = {"feature": CLASS_LABEL, "_type": "List"}
OLD_CLASS_LABELS = {"feature": {**CLASS_LABEL, "id": None}, "length": -1, "id": None, "_type": "Sequence"}


def images(numbers: Sequence[int], paths: Sequence[str | None] | None = None) -> pa.Array:
    """A struct of bytes and path with a dot for each number."""
    paths = paths if paths is not None else [f"{number}.png" for number in numbers]
    found = [{"bytes": dot(number), "path": path} for number, path in zip(numbers, paths, strict=True)]
    return pa.array(found, pa.struct({"bytes": pa.binary(), "path": pa.string()}))


def table(features: dict[str, Any] | None = None, **columns: Any) -> pa.Table:
    """A table, with features in its schema where there are any."""
    found = pa.table(columns)
    if features is None:
        return found
    written = json.dumps({"info": {"features": features}})
    return found.replace_schema_metadata({"huggingface": written})


def labelled(numbers: Sequence[int], **more: Any) -> pa.Table:
    """A dot for each number, labelled by number modulo 4, with the names of classes."""
    features = {"image": IMAGE, "label": CLASS_LABEL}
    return table(features, image=images(numbers), label=pa.array([number % 4 for number in numbers]), **more)


def write(path: Path, found: pa.Table, *, rows: int = 3, as_datasets: bool = True) -> Path:
    """A Parquet file: images uncompressed and plain, as `datasets` 5 writes them, or as pyarrow does by itself."""
    path.parent.mkdir(parents=True, exist_ok=True)
    leaves = found.schema.names
    options: dict[str, Any] = {}
    if as_datasets:
        options = {
            "compression": {name: "snappy" for name in leaves if name != "image"}
            | {"image.bytes": "none", "image.path": "none"},
            "use_dictionary": [name for name in leaves if name != "image"],
            "write_page_index": True,
            "use_content_defined_chunking": True,
        }
    pq.write_table(found, path, row_group_size=rows, **options)
    return path


def save(folder: Path, tables: Sequence[pa.Table], features: dict[str, Any]) -> Path:
    """What `Dataset.save_to_disk` writes, a file for each table."""
    folder.mkdir(parents=True)
    files = [f"data-{number:05d}-of-{len(tables):05d}.arrow" for number in range(len(tables))]
    for name, found in zip(files, tables, strict=True):
        with pa.OSFile(str(folder / name), "wb") as sink, pa.ipc.new_stream(sink, found.schema) as writer:
            writer.write_table(found, max_chunksize=2)
    info = {"citation": "", "description": "", "features": features, "homepage": "", "license": ""}
    (folder / "dataset_info.json").write_text(json.dumps(info, indent=2))
    state = {
        "_data_files": [{"filename": name} for name in files],
        "_fingerprint": "c82cee2c9faac2d7",
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    (folder / "state.json").write_text(json.dumps(state, indent=2))
    return folder


def save_dict(folder: Path, splits: dict[str, Sequence[pa.Table]], features: dict[str, Any]) -> Path:
    """What `DatasetDict.save_to_disk` writes."""
    for name, tables in splits.items():
        save(folder / name, tables, features)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}))
    return folder

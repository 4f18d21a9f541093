"""Which column of a table holds what: the image, its label, what it belongs to; by type and name, and said aloud.

The tables are Parquet files and saved Hugging Face datasets. What the package `datasets` writes about its columns
("features": ClassLabel with names, Image) is understood from its JSON; the package itself is not needed.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from vitreous.data.layouts.found import PART_OF
from vitreous.data.layouts.manifests.manifest_columns import GROUP_NAMES, SPLIT_NAMES
from vitreous.data.layouts.manifests.manifest_rows import plain_name
from vitreous.data.words import some
from vitreous.errors import DataError, UsageError

_IMAGE_NAMES = ("image", "img", "images", "picture", "photo", "pixel_values")
_PATH_NAMES = ("image", "img", "image_path", "path", "file_path", "filepath", "file_name", "filename", "file")
_LABEL_NAMES = ("label", "labels", "target", "targets", "class", "classes", "fine_label", "coarse_label")
_NUMBERED = re.compile(r"(?P<split>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<rest>.*)", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """What the columns of a table are called that are read."""

    image: str
    kind: Literal["struct", "binary", "path"]
    """A struct of bytes and path, the bytes of an image file, or its path."""
    parts: frozenset[str]
    """Of a struct: which of bytes and path there are."""
    label: str
    names: tuple[str, ...] | None
    """Class names in the order of the numbers that stand for them, if the table tells."""
    group: str | None
    split: str | None
    split_names: tuple[str, ...] | None
    """What the numbers of a split column stand for, if the table tells."""
    notes: tuple[str, ...]
    """What was decided where there was a choice."""

    @property
    def content(self) -> str | None:
        """The column of image files' bytes, as Parquet names it; None where there are only paths."""
        if self.kind == "binary":
            return self.image
        return f"{self.image}.bytes" if "bytes" in self.parts else None

    @property
    def path(self) -> str | None:
        """The column of image files' paths, as Parquet names it; None where there are none."""
        if self.kind == "path":
            return self.image
        return f"{self.image}.path" if "path" in self.parts else None


def pyarrow_for(where: str) -> Any:
    """The package pyarrow with the parts that are needed here; it comes with the extra `data`.

    Args:
        where: what has to be read with it.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError as error:
        raise UsageError(
            "Parquet and Arrow files are read with the package pyarrow, which is not installed",
            where=where,
            remedy='pip install "vitreous[data]"',
        ) from error
    return pyarrow


def features_in(schema: Any, where: str) -> dict[str, Any]:
    """What `datasets` wrote about the columns into a schema; empty where it wrote nothing.

    Args:
        schema: of pyarrow.
        where: whose it is, for errors.

    Raises:
        DataError: it is there, but cannot be read.
    """
    written = (schema.metadata or {}).get(b"huggingface")
    if written is None:
        return {}
    try:
        return checked_features(json.loads(written)["info"]["features"], where)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise DataError(
            "what `datasets` wrote about the columns cannot be read",
            where=where,
            why=f"the schema's key `huggingface`: {error or type(error).__name__}",
            remedy="write the file again",
        ) from error


def checked_features(features: object, where: str) -> dict[str, Any]:
    """Features as `datasets` writes them, by column.

    Args:
        features: from JSON.
        where: whose they are, for errors.

    Raises:
        DataError: these are none.
    """
    if not isinstance(features, dict):
        raise DataError("the features are not a table of columns", where=where, why=f"{str(features)[:60]!r}")
    return features


def find_columns(schema: Any, features: Mapping[str, Any], where: str, group_by: str | None) -> Columns:
    """Which column is what.

    Args:
        schema: of pyarrow.
        features: by column, as `datasets` writes them; may be empty.
        where: whose columns they are, for errors.
        group_by: the column that says what belongs together, or something else that is no column.

    Raises:
        DataError: it cannot be told; all columns are named.
    """
    try:
        names, _ = schema.names, [_children(field.type) for field in schema]
    except UnicodeDecodeError as error:
        raise DataError("the names of columns are damaged", where=where, why=str(error)) from error
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"columns come twice: {some(twice)}", where=where)
    image, kind, parts = _image_column(schema, features, where)
    label, notes = _label_column(schema, features, image, where)
    others = {name: name for name in schema.names if name not in (image, label)}
    if group_by is None:
        types = pyarrow_for(where).types
        # a column called video may hold the video itself
        files = {plain_name(name): name for name in others if _holds_files(types, schema.field(name).type)}
        plain = {plain_name(name): name for name in others if name not in files.values()}
        group = next((plain[name] for name in GROUP_NAMES if name in plain), None)
        if mute := [files[name] for name in GROUP_NAMES if name in files]:
            notes.append(f"nothing is kept together by {some(mute)}, which holds files or tables")
        if group:
            notes.append(f"images with the same `{group}` stay together")
    else:
        group = others.get(group_by)
    split = others.get("split")
    if split is None and (unread := [name for name in others if plain_name(name) in SPLIT_NAMES]):
        notes.append(f"not divided by {some(unread)}: only a column called `split` divides a table")
    return Columns(
        image=image,
        kind=kind,
        parts=parts,
        label=label,
        names=class_names(features.get(label), where),
        group=group,
        split=split,
        split_names=class_names(features.get("split"), where) if split else None,
        notes=tuple(notes),
    )


def class_names(feature: object, where: str) -> tuple[str, ...] | None:
    """The names of a ClassLabel, or of a list of them, in Unicode's composed form; None for any other feature.

    Args:
        feature: as `datasets` writes it.
        where: whose it is, for errors.

    Raises:
        DataError: names come twice, or are no names.
    """
    if isinstance(feature, list) and len(feature) == 1:  # how old versions write a sequence
        return class_names(feature[0], where)
    if not isinstance(feature, dict):
        return None
    if feature.get("_type") in ("Sequence", "List", "LargeList"):
        return class_names(feature.get("feature"), where)
    names = feature.get("names")
    if feature.get("_type") != "ClassLabel" or names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError("the names of a ClassLabel are not a list of texts", where=where, why=f"{str(names)[:60]!r}")
    composed = [unicodedata.normalize("NFC", name) for name in names]
    if twice := [name for name, count in Counter(composed).items() if count > 1]:
        raise DataError(f"class names come twice: {some(twice)}", where=where)
    return tuple(composed)


def by_split(names: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Which part of a data set each split's name means, and the names that mean none.

    A single name that means none, or nothing but `all`, is all there is.

    Args:
        names: such as train, validation and test, in any case.
    """
    names = list(dict.fromkeys(names))
    parts = {name: PART_OF[name.casefold()] for name in names if name.casefold() in PART_OF}
    if not parts and len(names) == 1:
        return {names[0]: "all"}, []
    return parts, [name for name in names if name not in parts]


def split_in_name(stem: str) -> tuple[str, int, int] | None:
    """The split, number and count in a file's name as `datasets` writes it; None for other names.

    Args:
        stem: such as train-00000-of-00002 or test-00001-of-00002-9c4a1b.
    """
    if not (match := _NUMBERED.fullmatch(stem)):
        return None
    return match["split"], int(match["number"]), int(match["count"])


def _image_column(
    schema: Any, features: Mapping[str, Any], where: str
) -> tuple[str, Literal["struct", "binary", "path"], frozenset[str]]:
    """The column of images, how it holds them, and of a struct which of bytes and path there are."""
    types = pyarrow_for(where).types
    structs, binaries, paths = {}, [], []
    for field in schema:
        if types.is_struct(field.type):
            inside = dict(_children(field.type))
            parts = {"bytes"} if "bytes" in inside and _is_binary(types, inside["bytes"]) else set()
            parts |= {"path"} if "path" in inside and _is_text(types, inside["path"]) else set()
            if parts:
                structs[field.name] = frozenset(parts)
        elif _is_binary(types, field.type):
            binaries.append(field.name)
        elif _is_text(types, field.type) and (
            field.name.casefold() in _PATH_NAMES or _is_feature(features.get(field.name), "Image")
        ):
            paths.append(field.name)
    declared = {name for name in structs if _is_feature(features.get(name), "Image")}
    if name := _only(sorted(declared) or list(structs), _IMAGE_NAMES, "image", schema, where):
        return name, "struct", structs[name]
    if name := _only(binaries, _IMAGE_NAMES, "image", schema, where):
        return name, "binary", frozenset()
    if name := _only(paths, _PATH_NAMES, "image", schema, where):
        return name, "path", frozenset()
    raise DataError(
        "no column holds images",
        where=where,
        why=f"the columns are {_listed(schema)}",
        remedy="a column `image` with the bytes of image files, with a struct of bytes and path, or with paths",
    )


def _label_column(schema: Any, features: Mapping[str, Any], image: str, where: str) -> tuple[str, list[str]]:
    """The column of labels, and what to say where there was a choice."""
    by_fold = {name.casefold(): name for name in schema.names if name != image}
    known = [by_fold[name] for name in _LABEL_NAMES if name in by_fold]
    folded = {name.casefold() for name in known}
    if "fine_label" in folded and folded <= {"fine_label", "coarse_label"}:
        left = by_fold.get("coarse_label")
        return by_fold["fine_label"], [f"`{by_fold['fine_label']}` is the label, not `{left}`"] if left else []
    declared = [name for name in schema.names if name != image and class_names(features.get(name), where)]
    declared = [name for name in declared if name.casefold() != "split"]
    chosen = _only(known or declared, (), "label", schema, where)
    if chosen is None:
        raise DataError(
            "no column holds labels",
            where=where,
            why=f"the columns are {_listed(schema)}",
            remedy=f"call one of them `label`; understood are {', '.join(_LABEL_NAMES)}",
        )
    return chosen, []


def _only(found: Sequence[str], preferred: Sequence[str], what: str, schema: Any, where: str) -> str | None:
    """The one column that qualifies, or the only one of those with a telling name; None where there is none."""
    if len(found) > 1:
        telling = [name for name in found if name.casefold() in preferred]
        found = telling if len(telling) == 1 else found
    if len(found) > 1:
        raise DataError(
            f"any of the columns {' and '.join(f'`{name}`' for name in found)} could be the {what}",
            where=where,
            why=f"the columns are {_listed(schema)}",
            remedy=f"keep one of them, or call the one that counts `{what}` and the others something else",
        )
    return found[0] if found else None


def _listed(schema: Any) -> str:
    return some([f"{field.name} ({field.type})" for field in schema], 20)


def _children(kind: Any) -> list[tuple[str, Any]]:
    """Name and type of what a struct or a list holds."""
    return [(kind.field(place).name, kind.field(place).type) for place in range(kind.num_fields)]


def _is_feature(feature: object, kind: str) -> bool:
    return isinstance(feature, dict) and feature.get("_type") == kind


def _is_binary(types: Any, kind: Any) -> bool:
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))


def _holds_files(types: Any, kind: Any) -> bool:
    return bool(types.is_nested(kind)) or _is_binary(types, kind)


def _is_text(types: Any, kind: Any) -> bool:
    kind = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))

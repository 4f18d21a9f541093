"""Which layout DATA has: each is asked in turn, and the first that says it is its own reads it."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from vitreous.data.imageset import ImageSet, Splits
from vitreous.data.layouts.archive.archive import find_archive
from vitreous.data.layouts.arrays.arrays import find_arrays
from vitreous.data.layouts.arrays.cifar import find_cifar
from vitreous.data.layouts.arrays.idx import find_idx
from vitreous.data.layouts.builtin import builtin_names, find_builtin
from vitreous.data.layouts.folders.folders import find_folders
from vitreous.data.layouts.found import Asked, Found
from vitreous.data.layouts.imagenet.imagenet import find_imagenet
from vitreous.data.layouts.manifests.lists import find_lists
from vitreous.data.layouts.manifests.manifest import find_manifest
from vitreous.data.layouts.remote.remote import find_remote
from vitreous.data.layouts.shards.shards import find_shard_sets
from vitreous.data.layouts.tables.huggingface import find_saved
from vitreous.data.layouts.tables.parquet import find_parquet
from vitreous.errors import DataError, UsageError

_NOT_REACHED = frozenset({errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP})

_LAYOUTS: tuple[Callable[[str, Asked], Found | None], ...] = (
    find_cifar,  # before shards: cifar-10-python.tar.gz holds none
    find_remote,
    find_shard_sets,
    find_archive,
    find_parquet,
    find_saved,
    find_idx,
    find_imagenet,
    find_arrays,
    find_lists,
    find_manifest,
    find_folders,  # last: any folder with folders in it may be one of class folders
)


def recognise(data: str | Path | ImageSet | Splits, asked: Asked) -> Found:
    """The labelled images that DATA means.

    Args:
        data: what a person typed, or images that are there already.
        asked: what was said besides.

    Raises:
        DataError: there is nothing, or it cannot be understood.
        UsageError: a built-in set is not installed, or `root` means nothing here.
    """
    if isinstance(data, Splits):
        return Found("the splits given", data.sets)
    if isinstance(data, ImageSet):
        return Found(data.name, {"all": data})
    typed = url2pathname(urlsplit(data).path) if isinstance(data, str) and data.startswith("file://") else str(data)
    if isinstance(data, str) and (found := find_builtin(typed, asked)):
        return found
    if asked.root is not None:
        raise UsageError(f"--root is for built-in sets ({', '.join(builtin_names())}), and {typed} is none")
    try:
        path = Path(typed).expanduser()
    except RuntimeError as error:
        raise DataError("there is no such home folder", where=typed) from error
    try:
        for find in _LAYOUTS:
            if found := find(typed, asked):
                return found
        raise _unknown(path, typed)
    except OSError as error:
        if error.errno not in _NOT_REACHED:
            raise
        raise DataError("the data cannot be reached", where=str(error.filename or typed), why=error.strerror) from error


def _unknown(path: Path, typed: str) -> DataError:
    if path.exists():
        return DataError(
            "this is not a data set that can be read",
            where=typed,
            why="a file, and none of the kinds that hold labelled images" if path.is_file() else None,
            remedy="a folder with one folder per class in it, a manifest, zip, tar shards, Parquet (see docs/data.md)",
        )
    beside = [sibling.name for sibling in path.parent.iterdir()] if path.parent.is_dir() else []
    close = [str(path.parent / name) for name in difflib.get_close_matches(path.name, beside, n=2)]
    close += difflib.get_close_matches(typed, builtin_names(), n=1)
    return DataError(
        "there is no such file or folder",
        where=typed,
        why=f"did you mean {' or '.join(close)}?" if close else None,
        remedy=f"a folder with one folder per class in it, or a built-in set: {', '.join(builtin_names())}",
    )

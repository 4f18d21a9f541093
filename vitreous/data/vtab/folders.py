"""Folders that are named after a VTAB task, however people and tools spell it."""

from __future__ import annotations

import os
from pathlib import Path

from vitreous.data.words import natural_key
from vitreous.errors import DataError
from vitreous.published.vtab import VtabTask, folded

_BETWEEN = frozenset({"vtab", "1k", "1000", "vtab1k", "wds", "clip_benchmark", "datasets", "data"})  # as folded
_DEEPEST = 3  # clip-benchmark/wds/vtab


def folders_of(root: Path, task: VtabTask) -> list[Path]:
    """The folders below `root` that are called after a task; `root` itself counts too.

    Between may lie folders such as vtab-1k, wds/vtab and clip-benchmark.

    Args:
        root: where all tasks lie, or one.
        task: which.

    Raises:
        DataError: a folder cannot be looked into.
    """
    found = [root] if folded(root.resolve().name) in task.names else []
    return found + _below(root, task, _DEEPEST)


def _below(folder: Path, task: VtabTask, deepest: int) -> list[Path]:
    called = task.names
    try:
        with os.scandir(folder) as entries:
            # what is called otherwise is not even looked at: it may be a link to itself, or to where nobody may look
            meant = (entry for entry in entries if folded(entry.name) in called or folded(entry.name) in _BETWEEN)
            names = sorted((entry.name for entry in meant if entry.is_dir()), key=natural_key)
    except OSError as error:
        raise DataError("the folder cannot be looked into", where=str(folder), why=error.strerror) from error
    found = [folder / name for name in names if folded(name) in called]
    for name in names if deepest else ():
        if folded(name) in _BETWEEN:
            found += _below(folder / name, task, deepest - 1)
    return found

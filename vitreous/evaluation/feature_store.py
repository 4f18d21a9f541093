"""Frozen features on disk: a folder of .npy files that is whole or not there, read back through memory maps.

All of them together take at most half of what is free on their disk: those that were not used for longest give way.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from jaxtyping import Float32, Int64

from vitreous.errors import ResourceError
from vitreous.files import cannot_write, require_room
from vitreous.results import Failure

_FACTS = "facts.json"
_PLACES = "places.npy"
_ASIDE = ".writing-"

_DISK_SHARE = 2  # all features together may take half of what is free where they lie
_ABANDONED = 86_400  # seconds without a write after which unfinished features are nobody's any more


@dataclass(frozen=True, eq=False)
class Stored:
    """Features of one set of images, as they lie in a folder."""

    parts: Mapping[str, Float32[np.ndarray, "N _"]]
    """Memory maps by name, one row per image that could be read."""
    places: Int64[np.ndarray, " N"]
    """Of these images in their set."""
    failed: tuple[Failure, ...]


def read_stored(folder: Path) -> Stored | None:
    """What lies in the folder; None where nothing does, or what does is damaged.

    Args:
        folder: as `Writing` leaves it.
    """
    try:
        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        places = np.load(folder / _PLACES, allow_pickle=False)
        parts = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in facts["parts"]}
        failed = tuple(Failure(path=path, reason=reason) for path, reason in facts["failed"])
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    sound = all(part.shape == (facts["seen"], facts["parts"][name]) for name, part in parts.items())
    if not sound or places.shape != (facts["seen"],):
        return None
    with contextlib.suppress(OSError):  # somebody else's folder may be read, too
        os.utime(folder / _FACTS)  # in use: those that were not for longest go first
    return Stored(parts, places, failed)


def forget(folder: Path) -> None:
    """Remove stored features; whoever reads them goes on doing so.

    Args:
        folder: as `Writing` leaves it.
    """
    shutil.rmtree(folder, ignore_errors=True)


class Writing:
    """Features on their way to a folder: rows are appended, and the folder is there once all of them are.

    The files are written, not mapped: where a disk is full, a write fails with a message and a mapped page kills.

    Args:
        folder: where they are to lie; what is there already is damaged and gives way.
        rows: how many will come at most, to tell a full disk early.
    """

    def __init__(self, folder: Path, rows: int) -> None:
        self._folder, self._most = folder, rows
        self._aside = folder.with_name(f"{_ASIDE}{os.getpid()}-{secrets.token_hex(4)}")
        self._files: dict[str, BinaryIO] = {}
        self._widths: dict[str, int] = {}
        self._rows = 0

    def __enter__(self) -> Writing:
        try:
            self._aside.mkdir(parents=True)
        except OSError as error:
            raise self._unwritable(error) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with contextlib.ExitStack() as stack:  # closing writes what is left in a buffer, which may fail
            for file in self._files.values():
                stack.push(lambda *_, file=file: _closed(file))
        shutil.rmtree(self._aside, ignore_errors=True)

    def add(self, parts: Mapping[str, Float32[np.ndarray, "b _"]]) -> None:
        """Append rows to every part.

        Args:
            parts: the same names and widths each time.

        Raises:
            ResourceError: the disk is full or cannot be written.
        """
        try:
            if not self._files:
                self._open({name: rows.shape[1] for name, rows in parts.items()})
            for name, rows in parts.items():
                self._files[name].write(np.ascontiguousarray(rows).data)
        except OSError as error:
            raise self._unwritable(error) from error
        self._rows += len(next(iter(parts.values())))

    def finish(self, places: Int64[np.ndarray, " N"], failed: Sequence[Failure]) -> None:
        """Put the folder in its place; another that came there meanwhile stays, since it holds the same.

        Args:
            places: of the rows in the image set.
            failed: images without a row.

        Raises:
            ResourceError: the disk is full or cannot be written.
        """
        facts = {
            "parts": self._widths,
            "seen": self._rows,
            "failed": [(failure.path, failure.reason) for failure in failed],
        }
        try:
            for name, file in self._files.items():
                self._head(file, self._widths[name], self._rows)  # as long as the first: NumPy leaves room to grow
                file.flush()
                os.fsync(file.fileno())
                file.close()
            np.save(self._aside / _PLACES, places, allow_pickle=False)
            (self._aside / _FACTS).write_text(json.dumps(facts), encoding="utf-8")
            if self._folder.exists() and read_stored(self._folder) is None:
                shutil.rmtree(self._folder)
            with contextlib.suppress(FileExistsError):
                os.replace(self._aside, self._folder)
        except OSError as error:
            if read_stored(self._folder) is None:  # a folder that is not empty: somebody was sooner
                raise self._unwritable(error) from error

    def _open(self, widths: dict[str, int]) -> None:
        self._widths = widths
        coming = 4 * self._most * sum(widths.values())
        _make_room(self._folder.parent, coming)
        require_room(self._aside, coming)
        for name, width in widths.items():
            self._files[name] = (self._aside / f"{name}.npy").open("xb")
            self._head(self._files[name], width, self._most)

    def _head(self, file: BinaryIO, width: int, rows: int) -> None:
        file.seek(0)
        head = {"descr": "<f4", "fortran_order": False, "shape": (rows, width)}
        np.lib.format.write_array_header_1_0(file, head)

    def _unwritable(self, error: OSError) -> ResourceError:
        told = cannot_write(self._folder, 4 * self._most * sum(self._widths.values()), error)
        remedy = "make room, or another folder: VITREOUS_CACHE=DIR in the environment moves it"
        return ResourceError(told.what, where=told.where, why=told.why, remedy=remedy)


def _make_room(cache: Path, coming: int) -> None:
    """Remove what a process that was killed left, and features that were not used for longest, within the bound."""
    kept: list[tuple[float, int, Path]] = []
    for folder in cache.iterdir():
        with contextlib.suppress(OSError):  # gone meanwhile, or not to be read
            if folder.name.startswith(_ASIDE):
                if time.time() - max(one.stat().st_mtime for one in (folder, *folder.iterdir())) > _ABANDONED:
                    forget(folder)
            elif (folder / _FACTS).is_file():
                size = sum(one.stat().st_size for one in folder.iterdir())
                kept.append(((folder / _FACTS).stat().st_mtime, size, folder))
    held = sum(size for _, size, _ in kept)
    room = shutil.disk_usage(cache).free + held
    for _, size, folder in sorted(kept):
        if held + coming <= room // _DISK_SHARE or coming > room:  # what fits nowhere costs nothing that is there
            break
        forget(folder)
        held -= size


def _closed(file: BinaryIO) -> None:
    with contextlib.suppress(OSError):
        file.close()

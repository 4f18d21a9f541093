"""What was seen in images that have not changed since, so that nobody waits for them to be decoded again.

One file in the person's cache folder for each data set, 78 bytes an image. A file on disk is known by its path,
size and time of change; an image in an archive, a shard or a table by its bytes, which are read again. Nothing in it is
needed: a file that is missing, damaged or of another version only means that images are decoded once more.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import PIL
from jaxtyping import Bool

import vitreous
from vitreous.data.checking.look import LOOK
from vitreous.errors import ResourceError
from vitreous.files import write_atomically
from vitreous.machine import cache_folder

_FORMAT = 2
_ENTRY = np.dtype([("key", "S16"), ("look", LOOK)])
_MOST_FILES = 64  # those to which something was added longest ago are forgotten
_MOST_ENTRIES = 16_000_000  # a gigabyte


class Remembered:
    """What is remembered of one data set.

    Args:
        names: of its sets of images; the same names in the same folder mean the same file.
    """

    def __init__(self, names: Iterable[str]) -> None:
        text = "\0".join(map(os.path.abspath, names))
        where = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        self._path = cache_folder() / "looks" / where
        self._known = _read(self._path)
        self._used = np.zeros(len(self._known), bool)

    def find(self, keys: np.ndarray) -> tuple[Bool[np.ndarray, " n"], np.ndarray]:
        """Which of some images are known, and what is known of them; called from several threads at once.

        Args:
            keys: S16, of any images; empty where an image has none.
        """
        if not len(self._known):
            return np.zeros(len(keys), bool), np.zeros(len(keys), LOOK)
        places = np.minimum(np.searchsorted(self._known["key"], keys), len(self._known) - 1)
        entries = self._known[places]
        hit = (entries["key"] == keys) & (keys != b"")
        self._used[places[hit]] = True
        return hit, entries["look"]

    def keep(self, keys: np.ndarray, looks: np.ndarray, *, whole: bool) -> None:
        """Remember more, and forget what was not asked for; a home that cannot be written to costs a second look only.

        Args:
            keys: S16, of images that were not known; those that are empty are passed over.
            looks: what was seen in them.
            whole: whether every image of the data set was asked for.
        """
        fresh = np.zeros(len(keys), _ENTRY)
        fresh["key"], fresh["look"] = keys, looks
        fresh = fresh[keys != b""]
        if not len(fresh):
            return
        old = self._known[self._used] if whole else self._known
        entries = np.concatenate([fresh, old])
        _, first = np.unique(entries["key"], return_index=True)  # sorts them too
        with contextlib.suppress(OSError, ResourceError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            _forget_old(self._path.parent)
            _write(self._path, entries[first][:_MOST_ENTRIES])


def _header() -> bytes:
    """What the outcome of decoding may depend on."""
    return f"vitreous looks {_FORMAT} {vitreous.__version__} Pillow {PIL.__version__}\n".encode()


def _read(path: Path) -> np.ndarray:
    header = _header()
    try:
        content = path.read_bytes()
    except OSError:
        return np.zeros(0, _ENTRY)
    digest, payload = content[len(header) : len(header) + 32], memoryview(content)[len(header) + 32 :]
    sound = content.startswith(header) and not len(payload) % _ENTRY.itemsize
    if not sound or hashlib.sha256(payload).digest() != digest:
        return np.zeros(0, _ENTRY)
    return np.frombuffer(payload, _ENTRY)


def _write(path: Path, entries: np.ndarray) -> None:
    header, payload = _header(), entries.view(np.uint8).data
    write_atomically(path, [header, hashlib.sha256(payload).digest(), payload], len(header) + 32 + payload.nbytes)


def _forget_old(folder: Path) -> None:
    files = sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime)
    for file in files[: max(0, len(files) - _MOST_FILES)]:
        file.unlink(missing_ok=True)

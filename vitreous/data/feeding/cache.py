"""Images kept from epoch to epoch, so that small data is decoded once: in memory, or in one file on disk.

What is kept is what all views of an image begin with: its decoded pixels, or these resized, where the crop is cut from
a resized image; and with fast decoding the file itself, which helps where reading is slow. So views are the same with
a cache as without, bit for bit. An image whose file has changed is read anew.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import threading
from pathlib import Path
from typing import Literal

import numpy as np

from vitreous import console
from vitreous.config import AugmentConfig, PreprocessConfig
from vitreous.data.augmenting.augment import ground
from vitreous.data.feeding.cache_file import CacheFile, Stamp, held_bytes, open_cache_file
from vitreous.data.imageset import ImageSet, fingerprint
from vitreous.errors import ImageError
from vitreous.machine import cache_folder

Kind = Literal["none", "memory", "disk", "auto"]

_MEMORY_SHARE = 4  # a quarter of the memory that is free may be taken
_DISK_SHARE = 2  # and half of the disk
_SAMPLE = 16  # images that are read to tell how large all of them are
_ROOM_ABOVE = 1.25  # and how much more than the estimate a file has room for
_UNKNOWN_MEMORY = 4 * 2**30  # where the system does not say how much is free

_CGROUP = Path("/sys/fs/cgroup")


class _Memory:
    """Images in memory, until it is full: as each epoch asks for each once, none is worth more than another."""

    def __init__(self, limit: int) -> None:
        self._limit, self._taken = limit, 0
        self._images: dict[int, tuple[Stamp | None, np.ndarray]] = {}
        self._lock = threading.Lock()

    def find(self, index: int, stamp: Stamp | None) -> np.ndarray | None:
        """The image, if it is there as it is now.

        Args:
            index: of the image.
            stamp: of its file now.
        """
        kept = self._images.get(index)
        return kept[1] if kept is not None and kept[0] == stamp else None

    def keep(self, index: int, stamp: Stamp | None, image: np.ndarray) -> None:
        """Put it there, if there is room.

        Args:
            index: of the image.
            stamp: of its file before it was read.
            image: nobody may change it afterwards.
        """
        with self._lock:
            before = self._images.pop(index, None)
            self._taken -= 0 if before is None else before[1].nbytes
            if self._taken + image.nbytes <= self._limit:
                self._images[index] = (stamp, image)
                self._taken += image.nbytes


class ImageCache:
    """What has been read of a set's images, for `Views`; used by several threads at once.

    Args:
        images: the set whose images are kept.
        store: where.
        told: in words, where and how much.
    """

    def __init__(self, images: ImageSet, store: _Memory | CacheFile, told: str) -> None:
        self._images, self._store, self.told = images, store, told
        self._pending = threading.local()

    @staticmethod
    def for_training(
        images: ImageSet,
        preprocess: PreprocessConfig,
        augment: AugmentConfig,
        *,
        kind: Kind,
        limit: int | None = None,
        epochs: float = 2.0,
        fast: bool = False,
        sharers: int = 1,
    ) -> ImageCache | None:
        """A cache for a run's training images, or None where none was asked for or none would help.

        Args:
            images: to learn from.
            preprocess: gives the resolution.
            augment: decides what views are cut from.
            kind: memory or disk; auto takes memory where all images fit into it and more than one epoch is trained.
            limit: bytes to take; by default a quarter of the free memory, or half of the free disk.
            epochs: of the whole run.
            fast: whether JPEGs are decoded by the fast path.
            sharers: processes that each keep images in this machine's memory.
        """
        if kind == "none" or images.in_memory or not len(images) or (kind == "auto" and epochs <= 1):
            return None
        if kind == "disk":
            return _on_disk(images, preprocess, augment, limit, fast)
        limit = free_memory() // _MEMORY_SHARE // sharers if limit is None else limit
        expected = _expected_bytes(images, preprocess, augment, fast)
        if kind == "auto" and expected > limit:
            return None
        told = f"images are kept in memory: about {_size(min(expected, limit))}"
        if expected > limit:
            told += f", room for {limit / expected:.0%} of them"
        return ImageCache(images, _Memory(limit), told)

    def find(self, index: int) -> np.ndarray | None:
        """What is kept of an image: its pixels (h, w, 3), or its file as one row of bytes. None where nothing is.

        Args:
            index: of the image in its set.
        """
        stamp = stamp_of(self._images.ids[index])
        self._pending.stamp = (index, stamp)  # taken before the image is read: a change meanwhile is noticed later
        return self._store.find(index, stamp)

    def keep(self, index: int, image: np.ndarray) -> None:
        """Keep an image that this thread has just looked for and not found, if there is room.

        Args:
            index: of the image in its set.
            image: as `find` shall give it.
        """
        looked_for, stamp = self._pending.stamp
        assert looked_for == index, "an image is looked for before it is kept"
        self._store.keep(index, stamp, image)


def stamp_of(name: str) -> Stamp | None:
    """Size and time of the file that an image lies in: its own, or the archive's that its name begins with.

    Args:
        name: of the image, such as photos/cat/1.jpg or shards/000.tar/000001.jpg.
    """
    path = name
    while path:
        try:
            found = os.stat(path)
        except (NotADirectoryError, FileNotFoundError):
            above = os.path.dirname(path)
            if above == path:
                return None
            path = above
            continue
        except (OSError, ValueError):
            return None
        return (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None
    return None


def free_memory() -> int:
    """Bytes that may still be taken, by the system's account and the container's."""
    free = _UNKNOWN_MEMORY
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]) * 1024
    with contextlib.suppress(OSError, ValueError):  # no container, or "max"
        allowed = int((_CGROUP / "memory.max").read_text(encoding="ascii"))
        free = min(free, max(0, allowed - int((_CGROUP / "memory.current").read_text(encoding="ascii"))))
    return free


def _on_disk(
    images: ImageSet, preprocess: PreprocessConfig, augment: AugmentConfig, limit: int | None, fast: bool
) -> ImageCache | None:
    """A cache on disk; where there can be none it is said once, and training goes on without."""
    if stamp_of(images.ids[0]) is None:
        console.say(f"{images.name} is not kept on disk: its images lie in no files whose changes could be noticed")
        return None
    folder = cache_folder() / "images"
    expected = _expected_bytes(images, preprocess, augment, fast)
    # beside files of JPEGs, fast decoding leaves pixels of whatever it does not decode, which depend on the views too
    key = fingerprint(images.fingerprint, list(images.ids[:1]), _ground_key(preprocess, augment), fast)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        room = (shutil.disk_usage(folder).free + held_bytes(folder)) // _DISK_SHARE if limit is None else limit
        size = min(room, int(expected * _ROOM_ABOVE))
        store: CacheFile = open_cache_file(folder, key, count=len(images), size=size, bound=room)
    except OSError as error:
        reason = error.strerror or str(error)
        console.say(f"images are not kept on disk: {folder}: {reason}; training goes on without")
        return None
    told = f"images are kept in {store.path}: about {_size(min(expected, size))}"
    return ImageCache(images, store, told)


def _size(number: int) -> str:
    """Bytes in words."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{max(1, round(number / 1e6)):,} MB"


def _ground_key(preprocess: PreprocessConfig, augment: AugmentConfig) -> str:
    """Equal for all runs whose views begin with the same pixels."""
    if augment.crop == "inception":
        return "whole"
    size = [preprocess.image_size, preprocess.resize, preprocess.crop_ratio, preprocess.interpolation]
    moved = [augment.rotate > 0, augment.shift > 0, augment.zoom > 0]
    return fingerprint(augment.crop, augment.resize, any(moved), size)


def _expected_bytes(images: ImageSet, preprocess: PreprocessConfig, augment: AugmentConfig, fast: bool) -> int:
    """What all images take, by a few of them from all over the set."""
    sizes = []
    for index in np.linspace(0, len(images) - 1, min(_SAMPLE, len(images))).astype(int).tolist():
        with contextlib.suppress(ImageError):  # reported when its turn comes
            if fast and images.encoded is not None:
                sizes.append(len(images.encoded(index)))
            else:
                sizes.append(ground(images.read(index), augment, preprocess).nbytes)
    return int(np.mean(sizes) * len(images)) if sizes else 0

"""Images in one memory-mapped file that several processes share and that a kill or a full disk never spoils.

The file is sized when it is made: a page of header, a table with one entry for each image of the set, and room for
pixels. An image is put where nothing lies yet, and its entry is written last; entry and pixels each carry a CRC-32. So
whatever is half written, by a killed process or a lost write, does not count, and a flipped bit is noticed: the image
is then read anew. Writing is done under a lock that all processes share.

Writing goes through the file and not through the map: on a full disk that is an error, where a map would end the
process.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import mmap
import os
import secrets
import struct
import threading
import time
import weakref
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL
from filelock import FileLock, Timeout
from PIL import features

from vitreous import console
from vitreous.data.imageset import fingerprint
from vitreous.files import require_room

Stamp = tuple[int, int]
"""Size in bytes and time of the last change in nanoseconds of the file that an image lies in."""

_MAGIC = b"vitreous images 1\n"
_HEADER = struct.Struct("<18s6xQQ")  # magic, number of images, bytes for pixels
_CURSOR_AT, _CURSOR = 64, struct.Struct("<QI")  # bytes for pixels that have been given out, and their CRC
_PAGE = 4096
_ENTRY = struct.Struct("<QQQIII")  # place, stamp (2), height and width or length and 0, CRC of the pixels
_CHECKED = struct.Struct("<I")  # CRC of the entry and of the image's number
_ROW = _ENTRY.size + _CHECKED.size
_ALIGNED = 64

_UNUSED_SECONDS = 30 * 24 * 3600.0  # after a month that nobody used it a file is removed
_LOCK_SECONDS = 10.0
_SUFFIX = ".images"


class CacheFile:
    """The images of one set, as far as they are there.

    Args:
        path: of a file that `open_cache_file` has made.
        count: images in the set.
    """

    def __init__(self, path: Path, count: int) -> None:
        self.path, self._count = path, count
        self._file = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._file)
        self._map = mmap.mmap(self._file, 0, access=mmap.ACCESS_READ)
        self._size = _HEADER.unpack_from(self._map)[2]
        self._first = _pixels_begin(count)
        self._writing, self._shared = threading.Lock(), FileLock(_lock_path(path), timeout=_LOCK_SECONDS)
        self._open = True

    def find(self, index: int, stamp: Stamp | None) -> np.ndarray | None:
        """The image, read-only, if it is there whole and of this stamp.

        Args:
            index: of the image.
            stamp: of its file now.
        """
        at = _PAGE + index * _ROW
        entry = self._map[at : at + _ROW]
        if _CHECKED.unpack_from(entry, _ENTRY.size)[0] != _entry_crc(index, entry[: _ENTRY.size]):
            return None
        place, size, changed, height, width, crc = _ENTRY.unpack_from(entry)
        if (size, changed) != stamp:
            return None
        shape = (height, width, 3) if width else (height,)
        length = int(np.prod(shape, dtype=np.int64))
        if place < self._first or place + length > len(self._map):
            return None
        pixels = np.frombuffer(self._map, np.uint8, length, place)
        return pixels.reshape(shape) if zlib.crc32(pixels.data) == crc else None

    def keep(self, index: int, stamp: Stamp | None, image: np.ndarray) -> None:
        """Put an image there, if there is room; where the disk fails it is said once, and none is kept from then on.

        Args:
            index: of the image.
            stamp: of its file before it was read; without one it is not kept.
            image: (h, w, 3) uint8, or (n,) bytes.
        """
        if stamp is None or not self._open:
            return
        pixels = np.ascontiguousarray(image)
        height, width = (pixels.shape[0], 0) if pixels.ndim == 1 else pixels.shape[:2]
        try:
            with self._writing, self._shared:
                if self.find(index, stamp) is not None:
                    return  # another process had the same image to read: twice there, it would take others' room
                place = self._place_for(pixels.nbytes)
                if place is None:
                    return
                self._write(place, pixels.data.cast("B"))
                entry = _ENTRY.pack(place, *stamp, height, width, zlib.crc32(pixels.data))
                self._write(_PAGE + index * _ROW, entry + _CHECKED.pack(_entry_crc(index, entry)))
        except (OSError, Timeout) as error:
            if self._open:
                self._open = False
                reason = getattr(error, "strerror", None) or str(error)
                console.say(f"  no more images are kept in {self.path}: {reason}; training goes on without")

    def _place_for(self, length: int) -> int | None:
        """Where nothing lies and nobody else will write; None where the file is full."""
        taken, crc = _CURSOR.unpack_from(self._map, _CURSOR_AT)
        if crc != zlib.crc32(taken.to_bytes(8, "little")):
            raise OSError(None, "its header is damaged; delete it")
        begins = -(-taken // _ALIGNED) * _ALIGNED
        if begins + length > self._size:
            self._open = False
            return None
        self._write(_CURSOR_AT, _cursor(begins + length))
        return self._first + begins

    def _write(self, at: int, content: bytes | memoryview) -> None:
        os.lseek(self._file, at, os.SEEK_SET)
        while content:
            content = content[os.write(self._file, content) :]


def open_cache_file(folder: Path, key: str, *, count: int, size: int, bound: int) -> CacheFile:
    """The file for a set's images, as other runs have left it, or a new one; what nobody uses any more is removed.

    Args:
        folder: of all such files; it exists.
        key: what is kept, of which set; versions of the decoders are added.
        count: images in the set.
        size: bytes of pixels to make room for in a new file.
        bound: bytes that all files in the folder may take together.

    Raises:
        OSError: the folder cannot be written to, or the disk has no room for so much.
    """
    path = folder / f"{fingerprint(key, _versions())[:32]}{_SUFFIX}"
    try:
        with FileLock(_lock_path(path), timeout=_LOCK_SECONDS):
            if not _is_sound(path, count, bound):
                _remove_old(folder, keep=path, bound=max(0, bound - size))
                _make(path, count, size)
            os.utime(path)
            return CacheFile(path, count)  # under the lock: nobody removes it meanwhile
    except Timeout as error:
        raise OSError(None, "another process holds its lock") from error


def held_bytes(folder: Path) -> int:
    """What the files in a folder take on disk.

    Args:
        folder: of such files.
    """
    return sum(_on_disk(status) for _, status in _files(folder))


def _make(path: Path, count: int, size: int) -> None:
    """An empty file of the whole length; where the system can, what is not written yet takes no room."""
    require_room(path.parent, size)
    temporary = path.with_name(f".making-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.write(_HEADER.pack(_MAGIC, count, size))
            file.seek(_CURSOR_AT)
            file.write(_cursor(0))
            file.truncate(_pixels_begin(count) + size)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _is_sound(path: Path, count: int, bound: int) -> bool:
    """Whether there is a file for so many images, of the length that it says and within the bound."""
    try:
        with path.open("rb") as file:
            magic, images, size = _HEADER.unpack(file.read(_HEADER.size))
            file.seek(_CURSOR_AT)
            taken, crc = _CURSOR.unpack(file.read(_CURSOR.size))
            whole = os.fstat(file.fileno()).st_size == _pixels_begin(count) + size
    except (OSError, struct.error):
        return False
    return (
        (magic, images) == (_MAGIC, count)
        and size <= bound
        and whole
        and crc == zlib.crc32(taken.to_bytes(8, "little"))
    )


def _remove_old(folder: Path, *, keep: Path, bound: int) -> None:
    """Remove files unused for a month, and the longest unused of the others while they take more than the bound."""
    now, held = time.time(), 0
    others = [(path, status) for path, status in _files(folder) if path != keep]
    for path, status in sorted(others, key=lambda file: -file[1].st_mtime):
        held += _on_disk(status)
        if held > bound or now - status.st_mtime > _UNUSED_SECONDS:
            # Windows keeps what somebody has open; a file whose lock is held is in use. The lock's own file stays: were
            # it removed, one process could hold the lock of the file that is gone and another that of its successor.
            with contextlib.suppress(OSError, Timeout), FileLock(_lock_path(path), timeout=0):
                if path.stat().st_mtime_ns == status.st_mtime_ns:  # otherwise somebody has begun to use it
                    path.unlink()


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The files of images in a folder, but for those that another process removes at this moment."""
    for path in folder.glob(f"*{_SUFFIX}"):
        with contextlib.suppress(FileNotFoundError):
            yield path, path.stat()


def _on_disk(status: os.stat_result) -> int:
    blocks: int | None = getattr(status, "st_blocks", None)  # there are none on Windows
    return status.st_size if blocks is None else 512 * blocks


def _pixels_begin(count: int) -> int:
    return _PAGE + -(-count * _ROW // _PAGE) * _PAGE


def _cursor(taken: int) -> bytes:
    return _CURSOR.pack(taken, zlib.crc32(taken.to_bytes(8, "little")))


def _entry_crc(index: int, entry: bytes) -> int:
    """Of an entry in its place; never that of the zeros in a new file, whose CRC field says 0."""
    return zlib.crc32(entry, zlib.crc32(index.to_bytes(8, "little"))) or 1


def _lock_path(path: Path) -> Path:
    return path.with_suffix(".lock")


def _versions() -> list[str]:
    """What may change the pixels of a decoded file."""
    own = importlib.metadata.version("vitreous")
    return [own, PIL.__version__, *(str(features.version(name)) for name in ("jpg", "webp", "libtiff", "zlib"))]

"""smallNORB: toys on a turntable, from the binary files of its authors, which are called .mat and are not MATLAB's.

Little-endian: a magic number for the kind of values, the number of sides, at least three sides, then the values.
https://cs.nyu.edu/~ylclab/data/norb-v1.0-small. Of the two cameras the first is taken. A key is the number of a pair.
"""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import Int, UInt8

from vitreous.data.imageset import ImageSet
from vitreous.data.vtab.parts import Parts
from vitreous.data.vtab.sources.whole import folders, some_pixels, stored_set, whole
from vitreous.errors import DataError
from vitreous.published.vtab import VtabTask

_STEMS = {
    "train": "smallnorb-5x46789x9x18x6x2x96x96-training",
    "test": "smallnorb-5x01235x9x18x6x2x96x96-testing",
}
_KINDS = {0x1E3D4C55: np.dtype("u1"), 0x1E3D4C54: np.dtype("<i4")}
_MOST = 10**6  # pairs; each part has 24,300
_GZIP_RATIO = 1032  # zlib cannot shrink anything further
_SIDE, _CAMERAS = 96, 2
Opened: TypeAlias = io.BufferedReader | gzip.GzipFile

_ELEVATION, _AZIMUTH = 1, 2  # columns of info, behind the instance and before the lighting


def open_smallnorb(root: Path, task: VtabTask) -> Parts | None:
    """The 18 azimuths or 9 elevations; files packed by gzip are held in memory (450 MB), others stay on the disk.

    Args:
        root: the folder of data sets.
        task: smallnorb_azi or smallnorb_ele.

    Raises:
        DataError: a file is missing or damaged.
    """
    for folder in folders(root, task, "smallnorb", "norb-v1.0-small", "smallNORB"):
        if any(_found(folder, stem, "dat") for stem in _STEMS.values()):
            splits = {split: _split(folder, split, task) for split in _STEMS}
            keys = {split: range(len(images)) for split, images in splits.items()}
            return whole(task, splits, keys, f"raw files in {folder}")
    return None


def _split(folder: Path, split: str, task: VtabTask) -> ImageSet:
    pixels = _first_camera(_file(folder, split, "dat"))
    path = _file(folder, split, "info")
    info = _values(path, np.dtype("<i4"), 2)
    if info.shape != (len(pixels), 4):
        raise _strange(path, f"its sides are {info.shape}, and {len(pixels):,} pairs of images go with (N, 4)")
    azimuth = task.name == "smallnorb_azi"
    if azimuth:
        labels, odd = info[:, _AZIMUTH] // 2, bool((info[:, _AZIMUTH] % 2).any())
        classes = [f"azimuth {20 * place} degrees" for place in range(18)]
    else:
        labels, odd = info[:, _ELEVATION], False
        classes = [f"elevation {30 + 5 * place} degrees" for place in range(9)]
    if odd or labels.min(initial=0) < 0 or labels.max(initial=0) >= len(classes):
        raise _strange(path, "an angle is none of those that were photographed")

    def read(index: int) -> UInt8[np.ndarray, "H W 3"]:
        return np.repeat(pixels[index][:, :, None], 3, axis=2)

    return stored_set(
        f"smallnorb/{split}",
        classes,
        labels.astype(np.int64),
        read,
        identity=[some_pixels(pixels)],
        mirror_safe=not azimuth,
    )


def _found(folder: Path, stem: str, what: str) -> Path | None:
    plain = folder / f"{stem}-{what}.mat"
    return next((path for path in (plain, plain.with_name(f"{plain.name}.gz")) if path.is_file()), None)


def _file(folder: Path, split: str, what: str) -> Path:
    if (path := _found(folder, _STEMS[split], what)) is None:
        raise DataError(
            f"{_STEMS[split]}-{what}.mat is missing", where=str(folder), remedy="fetch it too, packed or not"
        )
    return path


def _first_camera(path: Path) -> UInt8[np.ndarray, "N H W"]:
    """Mapped where it lies, or unpacked into memory."""
    with _opened(path) as (file, packed):
        sides, start = _header(file, path, np.dtype("u1"), 4)
        if sides[1:] != (_CAMERAS, _SIDE, _SIDE):
            raise _strange(path, f"its sides are {sides}, where (N, 2, 96, 96) are right")
        if not packed:
            _whole(path, start + math.prod(sides))
            return np.asarray(np.memmap(path, np.uint8, "r", start, sides))[:, 0]
        _believable(path, math.prod(sides))
        pixels = np.empty((sides[0], _SIDE, _SIDE), np.uint8)
        for place in range(sides[0]):
            pixels[place] = np.frombuffer(_exactly(file, _SIDE * _SIDE, path), np.uint8).reshape(_SIDE, _SIDE)
            _exactly(file, _SIDE * _SIDE, path)
        _at_end(file, path)
        pixels.flags.writeable = False
        return pixels


def _values(path: Path, dtype: np.dtype, sides: int) -> Int[np.ndarray, "N M"]:
    """All values of a short file."""
    with _opened(path) as (file, packed):
        shape, start = _header(file, path, dtype, sides)
        size = math.prod(shape) * dtype.itemsize
        if packed:
            _believable(path, size)
        else:
            _whole(path, start + size)
        values = np.frombuffer(_exactly(file, size, path), dtype).reshape(shape)
        _at_end(file, path)
        return values


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Opened, bool]]:
    """The file unpacked, and whether it is packed."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not packed:
                yield file, False
                return
            with gzip.GzipFile(fileobj=file) as content:
                yield content, True
    except (OSError, EOFError, zlib.error) as error:
        raise _strange(path, str(error)) from error


def _header(file: Opened, path: Path, dtype: np.dtype, sides: int) -> tuple[tuple[int, ...], int]:
    """The sides, and where the values begin."""
    magic, count = struct.unpack("<II", _exactly(file, 8, path))
    if _KINDS.get(magic) != dtype or count != sides:
        raise _strange(path, f"it begins with {magic:#010x} and {count}, not as {dtype.name} of {sides} sides")
    written = max(3, count)  # those beyond the last are 1
    shape = struct.unpack(f"<{written}i", _exactly(file, 4 * written, path))[:count]
    if min(shape) <= 0 or shape[0] > _MOST:
        raise _strange(path, f"its sides are {shape}")
    return shape, 8 + 4 * written


def _exactly(file: Opened, size: int, path: Path) -> bytes:
    content = file.read(size)
    if len(content) < size:
        raise _strange(path, "it is cut off")
    return content


def _at_end(file: Opened, path: Path) -> None:
    if file.read(1):
        raise _strange(path, "it goes on behind its values")


def _whole(path: Path, size: int) -> None:
    if (there := path.stat().st_size) != size:
        raise _strange(path, f"its header speaks of {size:,} bytes, and there are {there:,}")


def _believable(path: Path, size: int) -> None:
    if size > _GZIP_RATIO * path.stat().st_size:
        raise _strange(path, f"{path.stat().st_size:,} bytes cannot unpack to {size:,}")


def _strange(path: Path, why: str) -> DataError:
    return DataError("this is no whole file of smallNORB's", where=str(path), why=why, remedy="fetch it again")

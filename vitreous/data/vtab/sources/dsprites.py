"""dSprites from the file of its authors, .npz or .hdf5: 3 GB of pixels once unpacked, packed anew in some 10 MB.

The .npz holds pickled metadata, which is never touched. Key: the number of an image.
"""

from __future__ import annotations

import math
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from vitreous.data.imageset import ImageSet, Names, fingerprint
from vitreous.data.vtab.dsprites import COUNT, SIDES, binned
from vitreous.data.vtab.parts import Parts
from vitreous.data.vtab.sources.hdf5 import dataset, opened_hdf5
from vitreous.data.vtab.sources.whole import folders, whole
from vitreous.errors import DataError
from vitreous.published.vtab import VtabTask

_STEM = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64"
_SIDE = 64
_TOGETHER = 64  # images packed together: 32 KB, unpacked in a tenth of a millisecond
_AT_ONCE = 4096  # images read at a time; whole packs
_ORIENTATION, _ACROSS = 3, 4  # columns of the latent classes: colour, shape, scale, orientation, x, y

Pieces = Callable[[], Iterator[UInt8[np.ndarray, "n 64 64"]]]
"""Begins to read the pixels of a file from its first image on, some at a time."""


def open_dsprites(root: Path, task: VtabTask) -> Parts | None:
    """The sixteen classes of places across, or of orientations.

    The pixels are read from the file when the first image is asked for, which takes some seconds.

    Args:
        root: the folder of data sets.
        task: dsprites_loc or dsprites_ori.

    Raises:
        DataError: the file is damaged.
        UsageError: it is .hdf5, and the package h5py is not installed.
    """
    for folder in folders(root, task, "dsprites-dataset"):
        for path in (folder / f"{_STEM}.npz", folder / f"{_STEM}.hdf5", folder / f"{_STEM}.h5"):
            if path.is_file():
                count, latents, pieces = (_from_npz if path.suffix == ".npz" else _from_hdf5)(path)
                images = _set(path, count, latents, pieces, task)
                return whole(task, {"train": images}, {"train": range(count)}, f"raw file {path}")
    return None


def _set(path: Path, count: int, latents: np.ndarray, pieces: Pieces, task: VtabTask) -> ImageSet:
    if latents.shape != (count, 6) or not 0 < count <= COUNT or latents.dtype.kind not in "iu":
        raise _damaged(path, f"{count:,} images are beside classes of {latents.shape}")
    if latents.min() < 0 or (latents.max(axis=0) >= (1, *SIDES)).any():
        raise _damaged(path, "a class is none of those that were drawn")
    column = _ACROSS if task.name == "dsprites_loc" else _ORIENTATION
    labels, classes = binned(latents[:, column].astype(np.int64), task)
    packed = _Packed(path, count, pieces)
    return ImageSet(
        name="dsprites",
        classes=classes,
        ids=Names(count, lambda place: f"dsprites/{place:06d}"),
        labels=labels,
        read=packed.read,
        fingerprint=fingerprint("dsprites", task.name, path.name, path.stat().st_size, count),
        mirror_safe=False,
    )


class _Packed:
    """Black and white images, a bit a pixel and packed some together; read once, when the first is asked for.

    Args:
        path: of the file, for errors.
        count: how many images there are.
        pieces: begins to read them.
    """

    def __init__(self, path: Path, count: int, pieces: Pieces) -> None:
        self._path, self._count, self._pieces = path, count, pieces
        self._packs: list[bytes] | None = None
        self._lock = threading.Lock()

    def read(self, index: int) -> UInt8[np.ndarray, "H W 3"]:
        """One image.

        Args:
            index: its number in the file.
        """
        with self._lock:
            if self._packs is None:
                self._packs = self._packed()
        size = _SIDE * _SIDE // 8
        place = index % _TOGETHER
        bits = zlib.decompress(self._packs[index // _TOGETHER])[place * size : (place + 1) * size]
        grey = np.unpackbits(np.frombuffer(bits, np.uint8)).reshape(_SIDE, _SIDE, 1) * np.uint8(255)
        return np.repeat(grey, 3, axis=2)

    def _packed(self) -> list[bytes]:
        packs: list[bytes] = []
        seen = 0
        for pixels in self._pieces():
            if pixels.max(initial=0) > 1:
                raise _damaged(self._path, "a pixel is neither 0 nor 1")
            bits = np.packbits(pixels.reshape(len(pixels), -1), axis=1)
            packs += [zlib.compress(bits[at : at + _TOGETHER].tobytes(), 1) for at in range(0, len(bits), _TOGETHER)]
            seen += len(pixels)
        if seen != self._count:
            raise _damaged(self._path, f"{seen:,} images are there, {self._count:,} were to be")
        return packs


def _from_npz(path: Path) -> tuple[int, Int[np.ndarray, "N 6"], Pieces]:
    shape, dtype = _header(path, "imgs")
    if dtype != np.uint8 or shape[1:] != (_SIDE, _SIDE) or len(shape) != 3:
        raise _damaged(path, f"imgs is {dtype} of {shape}, where bytes of (N, 64, 64) are right")
    (rows, *rest), kind = _header(path, "latents_classes")
    if rest != [6] or rows != shape[0] or rows > COUNT or kind.kind not in "iu":
        raise _damaged(path, f"latents_classes is {kind} of {(rows, *rest)}")
    latents = np.concatenate(list(_members(path, "latents_classes", kind, (rows, 6))))
    return shape[0], latents, lambda: _members(path, "imgs", dtype, shape)


def _header(path: Path, name: str) -> tuple[tuple[int, ...], np.dtype]:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            shape, dtype = _npy_header(file, path)
    except (KeyError, OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(path, str(error)) from error
    return shape, dtype


def _npy_header(file: Any, path: Path) -> tuple[tuple[int, ...], np.dtype]:
    if np.lib.format.read_magic(file) != (1, 0):
        raise _damaged(path, "an array is of a format that its authors did not use")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    if fortran or dtype.hasobject or not shape or min(shape) <= 0:
        raise _damaged(path, f"an array is {dtype} of {shape}")
    return shape, dtype


def _members(path: Path, name: str, dtype: np.dtype, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """The rows of an array in the archive, some at a time; at the end zipfile compares the checksum."""
    row = math.prod(shape[1:]) * dtype.itemsize
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            _npy_header(file, path)
            for start in range(0, shape[0], _AT_ONCE):
                count = min(_AT_ONCE, shape[0] - start)
                content = file.read(count * row)
                if len(content) != count * row:
                    raise _damaged(path, f"{name} is cut off")
                yield np.frombuffer(content, dtype).reshape(count, *shape[1:])
            if file.read(1):
                raise _damaged(path, f"{name} goes on behind its last image")
    except (KeyError, OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(path, str(error)) from error


def _from_hdf5(path: Path) -> tuple[int, Int[np.ndarray, "N 6"], Pieces]:
    file = opened_hdf5(path)
    pixels, latents = dataset(file, "imgs", path), dataset(file, "latents/classes", path)
    if pixels.dtype != np.uint8 or pixels.shape[1:] != (_SIDE, _SIDE):
        raise _damaged(path, f"imgs is {pixels.dtype} of {pixels.shape}, where bytes of (N, 64, 64) are right")
    if latents.shape[1:] != (6,) or len(latents) != len(pixels) or len(pixels) > COUNT:
        raise _damaged(path, f"{len(pixels):,} images are beside classes of {latents.shape}")

    def pieces() -> Iterator[np.ndarray]:
        try:
            for start in range(0, len(pixels), _AT_ONCE):
                yield np.asarray(pixels[start : start + _AT_ONCE])
        except (OSError, RuntimeError) as error:
            raise _damaged(path, str(error)) from error

    try:
        return len(pixels), np.asarray(latents), pieces
    except (OSError, RuntimeError) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, why: str) -> DataError:
    return DataError("this is no whole file of dSprites", where=str(path), why=why, remedy="fetch it again")

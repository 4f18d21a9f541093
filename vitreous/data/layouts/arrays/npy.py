"""NumPy's files, .npy and .npz: arrays are mapped where they lie, and never larger than the file can be.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. Arrays of Python objects are pickles
inside, and are refused. An array that an .npz stores unpacked, as `numpy.savez` does, is mapped too.
"""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vitreous.data.layouts.archive.zip_directory import method_name
from vitreous.errors import DataError

_FREE_UNPACKED = 64 << 20  # bytes that any packed array may unpack to
_MAX_RATIO = 100  # of larger ones; photographs hardly shrink, digits 5 times
_CHECKED = 1 << 30  # bytes of a mapped array whose checksum is computed
_ZIP_HEADER = 30
_ENCRYPTED = 1


@dataclass(frozen=True)
class Stored:
    """An array in a file: what its header says, and where it lies."""

    path: Path
    key: str
    """Its name in an .npz; of an .npy the file's name without ending."""
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    """Whether the first axis varies fastest."""
    start: int | None
    """Offset of its numbers in the file; None where it is packed."""

    @property
    def where(self) -> str:
        """What to call it in errors."""
        return str(self.path) if self.path.suffix.lower() == ".npy" else f"{self.path}, {self.key}"

    def array(self) -> np.ndarray:
        """Its numbers, read-only: mapped, or unpacked into memory.

        Raises:
            DataError: it is damaged, or does not fit into memory.
        """
        if math.prod(self.shape) == 0:
            return np.zeros(self.shape, self.dtype)
        try:
            if self.start is not None:
                order = "F" if self.fortran else "C"
                return np.memmap(self.path, self.dtype, "r", self.start, self.shape, order)  # type: ignore[call-overload]
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{self.key}.npy") as file:
                found = np.lib.format.read_array(file, allow_pickle=False)
                file.read(1)  # at the end zipfile compares the checksum
        except MemoryError as error:
            raise DataError(
                "the array does not fit into memory",
                where=self.where,
                remedy="save it with numpy.savez, unpacked, or with numpy.save: then it is read from the disk",
            ) from error
        except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise _damaged(self.where, str(error)) from error
        found.flags.writeable = False
        return found


def stored_in(path: Path) -> dict[str, Stored]:
    """The arrays in an .npy or .npz file by their names; only headers are read.

    Args:
        path: of the file.

    Raises:
        DataError: the file is damaged, declares more than it holds, or holds Python objects.
    """
    try:
        if path.suffix.lower() == ".npy":
            with path.open("rb") as file:
                return {path.stem: _from_header(file, path, path.stem, 0, path.stat().st_size)}
        with zipfile.ZipFile(path) as archive:
            return _members(archive, path)
    except (OSError, EOFError, ValueError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(str(path), str(error)) from error


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, Stored]:
    found: dict[str, Stored] = {}
    for info in archive.infolist():
        key = info.filename.removesuffix(".npy")
        if key == info.filename or info.is_dir():
            continue  # arrays only; np.load passes over other files too
        where = f"{path}, {key}"
        if info.flag_bits & _ENCRYPTED:
            raise DataError("the array is encrypted", where=where)
        if key in found:
            raise _damaged(where, "two arrays have this name")
        if info.compress_type == zipfile.ZIP_STORED:
            found[key] = _unpacked_member(archive, info, path, key)
            continue
        if info.compress_type != zipfile.ZIP_DEFLATED:
            raise DataError(
                f"the array is packed by {method_name(info.compress_type)}",
                where=where,
                why="stored and deflated arrays are read",
                remedy="save it with numpy.savez or numpy.savez_compressed",
            )
        if info.file_size > max(_FREE_UNPACKED, _MAX_RATIO * info.compress_size):
            raise DataError(
                f"{info.compress_size:,} bytes claim to unpack to {info.file_size:,}",
                where=where,
                why=f"more than {_MAX_RATIO} times as many are not believed",
                remedy="save it with numpy.savez, unpacked",
            )
        with archive.open(info) as file:
            assert isinstance(file, zipfile.ZipExtFile)
            found[key] = _from_header(file, path, key, None, info.file_size)
    return found


def _unpacked_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, key: str) -> Stored:
    """A member that lies in the file as it is, its checksum compared unless it is very large."""
    where = f"{path}, {key}"
    length = path.stat().st_size
    with path.open("rb") as file:
        file.seek(info.header_offset)
        head = file.read(_ZIP_HEADER)
        if len(head) < _ZIP_HEADER or not head.startswith(b"PK\3\4"):
            raise _damaged(where, "its entry in the archive is not where it should be")
        start = info.header_offset + _ZIP_HEADER + sum(struct.unpack("<HH", head[26:30]))
        if info.file_size != info.compress_size or start + info.file_size > length:
            raise _damaged(where, f"it claims {info.file_size:,} bytes in a file of {length:,}")
        file.seek(start)
        stored = _from_header(file, path, key, start, info.file_size)
    if info.file_size <= _CHECKED:
        with archive.open(info) as member:
            while member.read(io.DEFAULT_BUFFER_SIZE * 64):
                pass
    return stored


def _from_header(
    file: io.BufferedReader | zipfile.ZipExtFile, path: Path, key: str, start: int | None, size: int
) -> Stored:
    """What an .npy's header says.

    Args:
        file: at its beginning.
        path: of the file, or the archive.
        key: its name.
        start: where it begins in the file; None where it is packed.
        size: in bytes, the header included.
    """
    where = str(path) if path.suffix.lower() == ".npy" else f"{path}, {key}"
    before = file.tell()
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise _damaged(where, f"its format is {version[0]}.{version[1]}, which arrays of numbers do not need")
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, fortran, dtype = read_header(file)
    except tokenize.TokenError as error:  # NumPy tries a header that it cannot read as one of Python 2's
        raise _damaged(where, f"its header cannot be read: {error.args[0]}") from error
    if dtype.hasobject:
        raise DataError(
            "the array holds Python objects, which are not read",
            where=where,
            why="a file with such objects can run code",
            remedy="save images of one size as uint8: numpy.stack(images).astype('uint8')",
        )
    header = file.tell() - before
    wanted = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or header + wanted != size:
        raise _damaged(where, f"its header speaks of {wanted:,} bytes, and there are {size - header:,}")
    return Stored(path, key, tuple(shape), dtype, fortran, None if start is None else start + header)


def _damaged(where: str, why: str) -> DataError:
    return DataError(
        "the file of arrays is damaged, cut off or no such file", where=where, why=why, remedy="fetch or write it again"
    )

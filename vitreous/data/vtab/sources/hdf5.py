"""HDF5 files, opened with h5py without following what leads out of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from vitreous.errors import DataError, UsageError

_LARGEST_CHUNK = 2**27  # bytes that are unpacked to read one image


def opened_hdf5(path: Path) -> Any:
    """An open h5py.File; it closes when nobody holds it or a data set of it. It may be read from several threads.

    Args:
        path: of the file.

    Raises:
        UsageError: h5py is not installed.
        DataError: this is no HDF5 file, or it is cut off.
    """
    try:
        import h5py
    except ImportError as error:
        raise UsageError(
            "HDF5 files are read with the package h5py, which is not installed",
            where=str(path),
            remedy='pip install "vitreous[data]"',
        ) from error
    try:
        return h5py.File(path, "r")
    except (OSError, RuntimeError) as error:
        raise _damaged(path, str(error)) from error


def dataset(file: Any, name: str, path: Path) -> Any:
    """A data set that lies in the file itself, in pieces that fit into memory.

    Args:
        file: from `opened_hdf5`.
        name: of the data set, with / between groups.
        path: of the file, for errors.

    Raises:
        DataError: there is none of this name, or its values lie in other files or in enormous pieces.
    """
    import h5py

    try:
        found = file
        for part in name.split("/"):
            link = found.get(part, getlink=True)  # all but hard ones lead to files of anybody's choice
            found = found[part] if isinstance(link, h5py.HardLink) else None
    except (KeyError, AttributeError, OSError, RuntimeError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(found, h5py.Dataset) or found.external is not None or found.is_virtual:
        raise _damaged(path, f"no array called {name} lies in it")
    if found.chunks is not None and math.prod(found.chunks) * found.dtype.itemsize > _LARGEST_CHUNK:
        raise _damaged(path, f"{name} lies in pieces of {found.chunks}, which are not unpacked")
    return found


def _damaged(path: Path, why: str) -> DataError:
    return DataError(
        "the HDF5 file is damaged, cut off or no such file", where=str(path), why=why, remedy="fetch it again"
    )

"""NumPy's .npz: arrays by name, mapped where they lie stored, and never a pickle.

The headers are NumPy's own (numpy.lib.format, version 1 and 2); the archive around them is judged by `archive.py`.
"""

from __future__ import annotations

import io
import math
import mmap
from pathlib import Path

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from vitreous.errors import ModelFileError
from vitreous.weights.formats.archive import Member, contents, damaged, view

_DTYPES = {
    "f8": torch.float64,
    "f4": torch.float32,
    "f2": torch.float16,
    "V2": torch.bfloat16,  # NumPy has no name for it, and writes two bytes of anything (big_vision utils.recover_dtype)
    "i8": torch.int64,
    "i4": torch.int32,
    "i2": torch.int16,
    "i1": torch.int8,
    "u8": torch.uint64,
    "u4": torch.uint32,
    "u2": torch.uint16,
    "u1": torch.uint8,
    "b1": torch.bool,
    "c8": torch.complex64,
    "c16": torch.complex128,
}
_MAX_HEADER = 12_000  # bytes; NumPy refuses longer ones than 10,000


def read_npz(path: Path, data: mmap.mmap, members: list[Member]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The arrays of an archive by name, `.npy` taken off, and what was left out, in words.

    Args:
        path: for messages.
        data: the archive.
        members: from `read_directory`.

    Raises:
        ModelFileError: damaged, or holding Python objects or a type that PyTorch does not have.
    """
    tensors: dict[str, Tensor] = {}
    ignored = []
    for member in members:
        name = member.name.removesuffix(".npy")
        if name == member.name:
            raise ModelFileError(
                "this archive holds more than arrays", where=str(path), why=f"{name} is not an .npy file"
            )
        array = _array(path, data, member, name)
        if array is None:
            ignored.append(f"{name}: text")
        else:
            tensors[name] = array
    return tensors, tuple(ignored)


def _array(path: Path, data: mmap.mmap, member: Member, name: str) -> Tensor | None:
    """One array, or None for text."""
    source, begin = contents(path, data, member)
    shape, fortran, dtype, length = _header(path, bytes(source[begin : begin + min(member.size, _MAX_HEADER)]), name)
    if dtype.hasobject:
        raise ModelFileError(
            "this archive holds Python objects, which are never unpickled",
            where=str(path),
            why=f"{name} is an array of objects",
            remedy="save it again with plain arrays only",
        )
    if length + math.prod(shape) * dtype.itemsize != member.size:
        raise damaged(path, f"{name} has {member.size - length:,} bytes, its shape {shape} needs another number")
    if dtype.kind in "US":
        return None
    kind = _DTYPES.get(dtype.str[1:])
    if kind is None or dtype.fields or dtype.subdtype:
        raise ModelFileError(
            "an array is of a type that PyTorch does not have", where=str(path), why=f"{name}: {dtype}"
        )
    if not dtype.isnative:
        count = math.prod(shape)
        flat = np.frombuffer(source, dtype, count, begin + length).astype(dtype.newbyteorder("="))
        tensor = torch.from_numpy(flat).reshape(shape[::-1] if fortran else shape)
    else:
        tensor = view(source, kind, shape[::-1] if fortran else shape, begin + length)
    return tensor.permute(*reversed(range(tensor.ndim))).contiguous() if fortran and tensor.ndim > 1 else tensor


def _header(path: Path, head: bytes, name: str) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, whether in Fortran order, type, and where the values begin."""
    file = io.BytesIO(head)
    try:
        version = npy.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"version {version}")
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise damaged(path, f"the header of {name} cannot be understood ({type(error).__name__})") from error
    if any(type(side) is not int or side < 0 for side in shape):
        raise damaged(path, f"the shape of {name} is {shape}")
    return shape, fortran, dtype, file.tell()

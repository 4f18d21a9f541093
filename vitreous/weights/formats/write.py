"""Foreign containers written whole or not at all, the same bytes for the same tensors."""

from __future__ import annotations

import io
import itertools
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vitreous.files import write_atomically, write_text
from vitreous.weights.native import layout, raw_bytes, safetensors_header

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The date of every member of a written archive, zip's earliest: the same content is the same bytes."""


def write_container(path: Path, kind: str, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Put tensors into a file.

    Args:
        path: the file; its folder exists.
        kind: "npz", "safetensors" or "pickle" (a plain dict of tensors, as torch.save writes it).
        tensors: contiguous, by their foreign names.
        metadata: for the header of a safetensors file.

    Raises:
        ResourceError: the disk is full or the place cannot be written.
    """
    if kind == "safetensors":
        entries = layout(tensors)
        header = safetensors_header(entries, dict(sorted(metadata.items())))
        values = (raw_bytes(tensors[entry.name]) for entry in entries)
        chunks: Iterator[bytes | memoryview] = itertools.chain([header], values)
        write_atomically(path, chunks, len(header) + sum(entry.end - entry.begin for entry in entries))
        return
    blob = _npz(tensors) if kind == "npz" else _pickle(tensors)
    write_atomically(path, [blob], len(blob))


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Put a JSON file for people and programs at `path`.

    Args:
        path: the file; its folder exists.
        value: plain data.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _npz(tensors: dict[str, Tensor]) -> bytes:
    """An archive of arrays, not compressed, so that a reader can map it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, tensor in tensors.items():
            array = tensor.float() if tensor.dtype == torch.bfloat16 else tensor  # NumPy has no bfloat16
            member = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            with archive.open(member, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array.numpy()), allow_pickle=False)
    return buffer.getvalue()


def _pickle(tensors: dict[str, Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    return buffer.getvalue()

"""The native model file: one safetensors file whose header carries everything needed to use the model.

    8 bytes   length of the header
    header    {"__metadata__": {"seal": ..., "vitreous": {format_version, card, golden, digest}}, tensors...}
    tensors   little-endian, in the order of the header, without gaps

`digest` is the SHA-256 of the tensors alone, so that two runs can be compared by it. `seal` is the SHA-256 of the
length and the header, with zeros in the seal's own place. Together they cover every byte, and the same content gives
the same bytes. Any safetensors reader can read the file.
"""

from __future__ import annotations

import hashlib
import json
import math
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitreous.config import ModelCard
from vitreous.errors import ConfigError, ModelFileError
from vitreous.files import write_atomically
from vitreous.schema import from_json, to_json
from vitreous.weights.golden import Golden as Golden
from vitreous.weights.golden import golden_image as golden_image
from vitreous.weights.golden import golden_of as golden_of
from vitreous.weights.suspect import likely_kind, nearest_path

FORMAT_VERSION = 1

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}
_MAX_HEADER = 32 << 20  # bytes; 21,841 class names need less than two
_OPENING = b'{"__metadata__":{"seal":"'  # every header begins so, which gives the seal a fixed place
_SEAL = slice(8 + len(_OPENING), 8 + len(_OPENING) + 64)


@dataclass(frozen=True, kw_only=True)
class NativeFile:
    """What a native model file holds."""

    card: ModelCard
    golden: Golden
    tensors: dict[str, Tensor]
    digest: str
    """SHA-256 of the tensors, in hexadecimal; see `tensor_digest`."""


@dataclass(frozen=True)
class Entry:
    """Where one tensor lies; offsets count from the end of the header."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


def save_native(path: str | Path, model_state: Mapping[str, Tensor], card: ModelCard, golden: Golden) -> str:
    """Write a model file, and give the digest of its tensors.

    The file is whole or not there: whatever goes wrong, what was at `path` before is untouched.

    Args:
        path: the file; its folder exists.
        model_state: a module's `state_dict()`; any device.
        card: architecture, preprocessing, classes, provenance.
        golden: from `golden_of`.

    Raises:
        ResourceError: the disk is full or the place cannot be written.
    """
    entries = layout(model_state)
    digest = tensor_digest(model_state)
    record = {"format_version": FORMAT_VERSION, "card": to_json(card), "golden": to_json(golden), "digest": digest}
    header = _sealed(_header(entries, record))
    size = len(header) + sum(entry.end - entry.begin for entry in entries)

    def chunks() -> Iterator[bytes | memoryview]:
        yield header
        for entry in entries:  # one at a time: a model on another device is never copied whole
            yield raw_bytes(model_state[entry.name])

    write_atomically(Path(path), chunks(), size)
    return digest


def read_native(path: str | Path, *, verify: bool = True) -> NativeFile:
    """Read a model file, all of it or nothing.

    Args:
        path: the file itself.
        verify: check the digest of the tensors; the header is always checked.

    Raises:
        ModelFileError: it is missing, damaged, cut short, from a later version, or something else altogether.
    """
    path = Path(path)
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):  # opening a pipe would wait for ever
            raise ModelFileError("a model file is wanted, this is something else", where=str(path))
        with path.open("rb") as file:
            header = _read_header(path, file, facts.st_size)
            listed, record = _parse(path, header)
            entries = _entries(path, listed, facts.st_size - len(header))
            tensors = _read_tensors(path, file, len(header), entries)
    except OSError as error:
        raise _unreadable(path, error) from error
    if verify and tensor_digest(tensors) != record["digest"]:
        raise _damaged(path, "its tensors are not those that were saved: a bit has changed on disk or on the way")
    return NativeFile(card=record["card"], golden=record["golden"], tensors=tensors, digest=record["digest"])


def is_native(path: Path) -> bool:
    """Whether a file is in this format, damaged or not.

    Args:
        path: any file, or none.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = file.read(length) if length <= _MAX_HEADER else b""
    except OSError:
        return False
    # either mark will do: a flipped bit in one of them makes the file a damaged one, not one of another kind
    return header.startswith(_OPENING) or b'"vitreous":"{' in header


def tensor_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values, in hexadecimal: equal for equal weights, however they came about.

    Args:
        tensors: any device; their order in the mapping does not matter.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json.dumps([name, _code(name, tensor), list(tensor.shape)]).encode())
        digest.update(raw_bytes(tensor))
    return digest.hexdigest()


def _code(name: str, tensor: Tensor) -> str:
    if tensor.dtype not in _CODES:
        raise ConfigError(f"{name} is of {tensor.dtype}, which a model file cannot hold")
    return _CODES[tensor.dtype]


def raw_bytes(tensor: Tensor) -> memoryview:
    """The values of a tensor, without a copy where it lies contiguously on the CPU.

    Args:
        tensor: any device.
    """
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def layout(tensors: Mapping[str, Tensor]) -> list[Entry]:
    """Entries by name, widest types first so that every value is aligned, as the safetensors library does.

    Args:
        tensors: by name.
    """
    entries, offset = [], 0
    for name in sorted(tensors, key=lambda name: (-tensors[name].element_size(), name)):
        tensor = tensors[name]
        _code(name, tensor)
        end = offset + tensor.numel() * tensor.element_size()
        entries.append(Entry(name, tensor.dtype, tuple(tensor.shape), offset, end))
        offset = end
    return entries


def _header(entries: list[Entry], record: dict[str, Any]) -> bytes:
    """Length and header, zeros in the seal's place."""
    meta = {"seal": "0" * 64, "vitreous": json.dumps(record, sort_keys=True, separators=(",", ":"))}
    return safetensors_header(entries, meta)


def safetensors_header(entries: list[Entry], metadata: dict[str, str]) -> bytes:
    """Length and header of a safetensors file; the same content gives the same bytes.

    Args:
        entries: from `layout`.
        metadata: written in its own order.
    """
    listed = {
        e.name: {"dtype": _CODES[e.dtype], "shape": list(e.shape), "data_offsets": [e.begin, e.end]} for e in entries
    }
    text = json.dumps({"__metadata__": metadata, **listed}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _sealed(header: bytes) -> bytes:
    return header[: _SEAL.start] + hashlib.sha256(header).hexdigest().encode() + header[_SEAL.stop :]


def _read_header(path: Path, file: BufferedReader, size: int) -> bytes:
    """Length and header, if the file begins like safetensors; otherwise what it probably is."""
    head = file.read(512)
    length = int.from_bytes(head[:8], "little")
    if head[8:9] != b"{" or not 2 <= length <= _MAX_HEADER:
        raise ModelFileError(
            "this is not a vitreous model file",
            where=str(path),
            why=likely_kind(path, head, size),
            remedy="give a run folder, or the model.safetensors inside one",
        )
    if 8 + length > size:
        raise _damaged(path, f"cut short: its header alone has {8 + length:,} bytes, the file has {size:,}")
    return head[: 8 + length] + file.read(max(0, 8 + length - len(head)))


def _parse(path: Path, header: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """The header's list of tensors and its vitreous record, with card and golden output as objects."""
    listed = _json(path, header[8:])
    meta = listed.pop("__metadata__", None)
    if not isinstance(meta, dict) or not isinstance(meta.get("vitreous"), str):
        raise ModelFileError(
            "this safetensors file was not written by vitreous",
            where=str(path),
            why=f"it has {len(listed)} tensors, but neither architecture nor preprocessing nor class names",
            remedy="give a run folder, or the model.safetensors inside one",
        )
    if (
        not header.startswith(_OPENING, 8)
        or _sealed(header[: _SEAL.start] + b"0" * 64 + header[_SEAL.stop :]) != header
    ):
        raise _damaged(path, "its header is not the one that was saved: a bit has changed on disk or on the way")
    record = _json(path, meta["vitreous"])
    version = record.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise ModelFileError(
            f"the model file is of format {version}, this vitreous reads up to {FORMAT_VERSION}",
            where=str(path),
            remedy="pip install --upgrade vitreous",
        )
    try:
        golden = from_json(Golden, record["golden"])
        record = {"digest": str(record["digest"]), "card": from_json(ModelCard, record["card"]), "golden": golden}
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"its header cannot be understood: {error}") from error
    return listed, record


def _json(path: Path, text: str | bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"its header is not JSON ({type(error).__name__})") from error
    if not isinstance(found, dict):
        raise _damaged(path, "its header is not an object")
    return found


def _entries(path: Path, listed: dict[str, Any], room: int) -> list[Entry]:
    """The tensors, checked to fill the rest of the file without gap or overlap."""
    entries = sorted((_entry(path, name, facts) for name, facts in listed.items()), key=lambda e: (e.begin, e.end))
    offset = 0
    for entry in entries:
        if entry.begin != offset:
            raise _damaged(
                path, f"tensor {entry.name} begins at byte {entry.begin:,}, the one before ends at {offset:,}"
            )
        offset = entry.end
    if offset > room:
        raise _damaged(path, f"cut short: its tensors need {offset:,} bytes, {room:,} are there")
    if offset < room:
        raise _damaged(path, f"{room - offset:,} bytes follow its last tensor")
    return entries


def _entry(path: Path, name: str, facts: Any) -> Entry:
    try:
        dtype, shape, (begin, end) = _DTYPES[facts["dtype"]], tuple(facts["shape"]), facts["data_offsets"]
        whole = all(type(number) is int and number >= 0 for number in (*shape, begin, end))
        whole = whole and math.prod(number for number in shape if number) < 2**62
        if not whole or end - begin != math.prod(shape) * dtype.itemsize:
            raise ValueError("its size does not fit its shape")
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"tensor {name} is described wrongly ({error})") from error
    return Entry(name, dtype, shape, begin, end)


def _read_tensors(path: Path, file: BufferedReader, start: int, entries: list[Entry]) -> dict[str, Tensor]:
    """Every tensor in memory of its own."""
    tensors = {}
    file.seek(start)
    for entry in entries:  # in the order of the file
        tensor = torch.empty(entry.shape, dtype=entry.dtype)
        if file.readinto(raw_bytes(tensor)) != entry.end - entry.begin:
            raise _damaged(path, "it became shorter while it was read")
        tensors[entry.name] = tensor
    return tensors


def _damaged(path: Path, why: str) -> ModelFileError:
    return ModelFileError(
        "the model file is damaged", where=str(path), why=why, remedy="copy or download it again, or train it anew"
    )


def _unreadable(path: Path, error: OSError) -> ModelFileError:
    if isinstance(error, FileNotFoundError):
        return ModelFileError("there is no such model file", where=str(path), why=nearest_path(path))
    return ModelFileError("the model file cannot be read", where=str(path), why=error.strerror or str(error))

"""Bytes to named tensors: `open_container` reads .npz, .safetensors and .pt files, sharded or not, and their folders.

It has no idea of architectures, and runs nothing: what the content is decides how it is read, whatever the file is
called, and the JSON beside it is data. Zip archives are judged in `archive.py`, pickles in `pickles.py`.
"""

from __future__ import annotations

import json
import mmap
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from vitreous.errors import ModelFileError
from vitreous.weights.formats.archive import damaged, map_file, read_directory
from vitreous.weights.formats.npz import read_npz
from vitreous.weights.formats.pickles import read_pickle
from vitreous.weights.formats.safetensors_file import read_safetensors
from vitreous.weights.suspect import likely_kind, nearest_path

FOLDER_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "open_clip_model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "open_clip_pytorch_model.bin",
)
"""What the weights are called in folders of Hugging Face, timm and OpenCLIP; the first one there is read."""

SIDECARS = ("config.json", "preprocessor_config.json", "open_clip_config.json")

_SUFFIXES = (".npz", ".safetensors", ".pt", ".pth", ".bin", ".ckpt")
_MAX_JSON = 32 << 20  # bytes; 21,841 class names, written twice, have three
_SHARD = re.compile(r"-\d{5}-of-(\d{5})\.(safetensors|bin)$")


@dataclass(frozen=True, kw_only=True)
class Raw:
    """What a file holds, as it lies there; the tensors are views of the mapped file where its format allows it."""

    path: Path
    """The file that was read: inside the folder, where a folder was given; the index, where it is sharded."""
    kind: Literal["npz", "safetensors", "pickle"]
    tensors: dict[str, Tensor]
    """On the CPU, contiguous, finite. The file must not be written to while they are in use."""
    metadata: dict[str, str]
    """Of a safetensors header."""
    sidecars: dict[str, dict[str, Any]]
    """The JSON files beside it, by file name."""
    ignored: tuple[str, ...]
    """What else was there, in words."""


def open_container(path: Path, *, root: str | None = None) -> Raw:
    """Everything in a file of weights, or in the folder that holds one, by name.

    Args:
        path: the file, the index of its shards, or their folder.
        root: which part to take: the state dict of a pickle ("model_ema"), or the names below a prefix ("params/img"),
            which is taken off. By default the one state dict there is; of several the first of `pickle_child.ROOTS`.

    Raises:
        ModelFileError: missing, damaged, of another kind, not finite, or holding what is never run.
        ResourceError: no room for the child process that opens a pickle.
    """
    path = Path(path)
    try:
        raw = _open(find_weights(path), root)
        sidecars = {name: _json(raw.path.with_name(name)) for name in SIDECARS if raw.path.with_name(name).is_file()}
    except OSError as error:
        why = nearest_path(path) if isinstance(error, FileNotFoundError) else error.strerror or str(error)
        what = "there is no such model file" if isinstance(error, FileNotFoundError) else "the file cannot be read"
        raise ModelFileError(what, where=str(path), why=why) from error
    if not raw.tensors:
        raise ModelFileError("there are no tensors in this file", where=str(raw.path))
    check_finite(raw.path, raw.tensors)
    return replace(raw, sidecars=sidecars, ignored=(*raw.ignored, *_code_never_run(sidecars)))


def find_weights(path: Path) -> Path:
    """The file of weights that a path means: itself, or the one inside a folder.

    Args:
        path: a file or a folder.

    Raises:
        ModelFileError: the folder holds none, several, or a distributed checkpoint.
    """
    if path.name == ".metadata" or path.suffix == ".distcp" or (path / ".metadata").exists():
        raise ModelFileError(
            "this is a checkpoint of torch.distributed, whose .metadata is a pickle that is never opened here",
            where=str(path),
            remedy="where it was trained: python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER FILE",
        )
    if not path.is_dir():
        return path
    for name in FOLDER_FILES:
        if (path / name).is_file():
            return path / name
    files = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES and file.is_file())
    match files:
        case [file]:
            return file
        case []:
            raise ModelFileError(
                "there is no model file in this folder", where=str(path), why=nearest_path(path / "model.safetensors")
            )
        case _:
            names = ", ".join(file.name for file in files[:8])
            raise ModelFileError(
                "there are several model files in this folder", where=str(path), why=names, remedy="name one of them"
            )


def _open(path: Path, root: str | None) -> Raw:
    if path.name.endswith(".index.json"):
        return _open_shards(path, root)
    if shard := _SHARD.search(path.name):
        raise ModelFileError(
            f"this is one shard of {int(shard[1])}",
            where=str(path),
            remedy=f"give the folder, or its {_SHARD.sub(rf'.{shard[2]}.index.json', path.name)}",
        )
    return _open_file(path, root)


def _open_file(path: Path, root: str | None) -> Raw:
    """One file, read as what it is."""
    facts = path.stat()
    if not stat.S_ISREG(facts.st_mode):  # opening a pipe would wait for ever
        raise ModelFileError("a model file is wanted, this is something else", where=str(path))
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(b"PK\x03\x04"):
        return _open_zip(path, map_file(path), head, root)
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        tensors, ignored = read_pickle(path, map_file(path), None, root)
        return Raw(path=path, kind="pickle", tensors=tensors, metadata={}, sidecars={}, ignored=ignored)
    if head[8:9] == b"{":
        everything, metadata = read_safetensors(path, head)
        tensors, ignored = _below(path, everything, root)
        return Raw(path=path, kind="safetensors", tensors=tensors, metadata=metadata, sidecars={}, ignored=ignored)
    raise ModelFileError("this is not a file of weights", where=str(path), why=likely_kind(path, head, facts.st_size))


def _open_zip(path: Path, data: mmap.mmap, head: bytes, root: str | None) -> Raw:
    members = read_directory(path, data)
    if any(member.name.endswith("data.pkl") for member in members):
        tensors, ignored = read_pickle(path, data, members, root)
        return Raw(path=path, kind="pickle", tensors=tensors, metadata={}, sidecars={}, ignored=ignored)
    if not any(member.name.endswith(".npy") for member in members):
        why = likely_kind(path, head, len(data))
        raise ModelFileError("this is not a file of weights", where=str(path), why=why)
    arrays, text = read_npz(path, data, members)
    tensors, ignored = _below(path, arrays, root)
    return Raw(path=path, kind="npz", tensors=tensors, metadata={}, sidecars={}, ignored=(*text, *ignored))


def _open_shards(index: Path, root: str | None) -> Raw:
    """The tensors of all shards together, each where the index says, none missing, none to spare."""
    listed = _json(index).get("weight_map")
    if not isinstance(listed, dict) or not all(isinstance(name, str) for name in listed.values()):
        raise damaged(index, "it lists no tensors by shard")
    names = sorted(set(listed.values()))
    if strange := [name for name in names if Path(name).name != name or name in (".", "..") or "\\" in name]:
        raise damaged(index, f"a shard is called {strange[0]!r}")
    if gone := [name for name in names if not index.with_name(name).is_file()]:
        raise damaged(index, f"{len(gone)} of {len(names)} shards are missing: {', '.join(gone[:4])}")
    shards = {name: _open_file(index.with_name(name), None) for name in names}
    for name, shard in shards.items():
        should = {tensor for tensor, file in listed.items() if file == name}
        if wrong := sorted(should ^ set(shard.tensors)):
            raise damaged(index, f"{name} and the index disagree about {len(wrong)} tensors, e.g. {wrong[0]}")
    first = shards[names[0]]
    everything = {tensor: shards[file].tensors[tensor] for tensor, file in listed.items()}
    tensors, ignored = _below(index, everything, root)
    ignored = (*(words for shard in shards.values() for words in shard.ignored), *ignored)
    return replace(first, path=index, tensors=tensors, ignored=ignored)


def _below(path: Path, tensors: dict[str, Tensor], root: str | None) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors whose names begin with `root` and a separator, without it, and how many others there are."""
    if not root:
        return tensors, ()
    prefix = root.rstrip("./")
    found = {
        name[len(prefix) + 1 :]: tensor
        for name, tensor in tensors.items()
        if re.match(rf"{re.escape(prefix)}[./].", name)
    }
    if not found:
        tops = sorted({re.split(r"[./]", name)[0] for name in tensors})
        raise ModelFileError(
            f"there is nothing below {root!r} in this file", where=str(path), why=f"it has {', '.join(tops[:12])}"
        )
    rest = len(tensors) - len(found)
    return found, (f"{rest} tensors outside {prefix}",) if rest else ()


def _json(path: Path) -> dict[str, Any]:
    """A JSON object as plain data."""
    if path.stat().st_size > _MAX_JSON:
        raise damaged(path, f"a description of more than {_MAX_JSON:,} bytes")
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"it is not JSON ({type(error).__name__})") from error
    if not isinstance(found, dict):
        raise damaged(path, "it is not a JSON object")
    return found


def _code_never_run(sidecars: Mapping[str, dict[str, Any]]) -> list[str]:
    """Where a config wants its repository's own code, which is data here."""
    wants = [
        (name, key) for name, found in sidecars.items() for key in ("auto_map", "trust_remote_code") if key in found
    ]
    return [f"{name}: {key} names code of its own, which is never run" for name, key in wants]


def check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse weights that are not numbers: one sum a tensor, and a closer look where it overflows."""
    for name, tensor in tensors.items():
        if not (tensor.is_floating_point() or tensor.is_complex()) or not tensor.numel():
            continue
        if "float4" in str(tensor.dtype):  # has neither NaN nor infinity
            continue
        if name.endswith("bias_mask") or f"{name}_mask" in tensors:  # DINOv3 marks the biases it does not have with NaN
            continue
        values = torch.view_as_real(tensor) if tensor.is_complex() else tensor
        values = values.float() if values.itemsize == 1 else values
        if torch.isfinite(values.sum(dtype=torch.float32 if values.itemsize < 4 else None)):
            continue
        if torch.isnan(values).any() or (torch.isinf(values).any() and not name.endswith("mask")):  # masks are -inf
            found = "NaN" if torch.isnan(values).any() else "infinity"
            raise ModelFileError(
                "the model file holds values that are not numbers",
                where=str(path),
                why=f"{found} in {name}",
                remedy="the training behind it diverged, or the file is damaged: take an earlier one",
            )

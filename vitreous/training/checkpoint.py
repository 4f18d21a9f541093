"""Checkpoints that are whole or not there: written aside, synced, renamed, and checked by digest when read.

    checkpoints/step-00000120/  model.safetensors optimizer.safetensors average.safetensors state.json manifest.json

The folder's name appears only when everything in it is on disk. `manifest.json` holds the size and SHA-256 of every
other file, so a damaged checkpoint is noticed and the one before it is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor, nn
from torch.optim import Optimizer

from vitreous.errors import ModelFileError
from vitreous.files import cannot_write, sync_folder
from vitreous.training.optim import Average

_NAME = re.compile(r"step-(\d{8,})")
_KEPT = 2


@dataclass
class State:
    """Everything that the next step depends on, besides the run's own settings."""

    step: int
    """Steps finished."""
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    average: dict[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0
    """Wall time spent on these steps by all processes so far."""
    meter: dict[str, float] = field(default_factory=dict)
    """Sums since the last line of metrics.jsonl."""


def capture(
    step: int,
    model: nn.Module,
    optimizer: Optimizer,
    average: Average | None,
    *,
    seconds: float,
    meter: dict[str, float],
) -> State:
    """The state after `step` finished steps; tensors are shared, not copied.

    Args:
        step: steps finished.
        model: the module itself, not a wrapper.
        optimizer: with its moments.
        average: where the recipe averages.
        seconds: wall time so far.
        meter: sums since the last record.
    """
    moments = {
        f"{index}.{name}": value
        for index, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }
    return State(step, dict(model.state_dict()), moments, dict(average.mean) if average else {}, seconds, meter)


def restore(state: State, model: nn.Module, optimizer: Optimizer, average: Average | None) -> None:
    """Put a state back into the objects it was captured from, or their like in another process.

    Args:
        state: as read by `read_latest`.
        model: strict: its keys and shapes are those of the state.
        optimizer: over the same parameters.
        average: where the recipe averages.
    """
    model.load_state_dict(state.model, strict=True)
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in state.optimizer.items():
        index, _, name = key.partition(".")
        moments.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    if average is not None:
        for name, mean in average.mean.items():
            mean.copy_(state.average[name])


def write(folder: Path, state: State) -> Path:
    """Write a checkpoint; when this returns it survives a power cut. Older ones beyond the last two go.

    Args:
        folder: the run's `checkpoints` folder; made if missing.
        state: what to keep.

    Raises:
        ResourceError: the disk is full or the folder cannot be written; earlier checkpoints are untouched.
    """
    target = folder / f"step-{state.step:08d}"
    temporary = folder / f".writing-{os.getpid()}-{target.name}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        temporary.mkdir()
        _write_files(temporary, state)
        if target.exists():  # damaged, or left by a run that was resumed from further back
            shutil.rmtree(target)
        os.rename(temporary, target)
        sync_folder(folder)
    except (OSError, safetensors.SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        told = cannot_write(target, _bytes(state), error)
        told.why = f"{told.why}; checkpoints before this one are whole"
        told.remedy = f"make room, then: vitreous resume {shlex.quote(str(folder.parent))}"
        raise told from error
    for old in _found(folder)[_KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def read_latest(folder: Path) -> tuple[State | None, list[str]]:
    """The newest checkpoint that is whole, and a line for every newer one that is not.

    Args:
        folder: the run's `checkpoints` folder.

    Raises:
        ModelFileError: there are checkpoints, and every one of them is damaged.
    """
    complaints: list[str] = []
    for path in _found(folder):
        fault = check(path)
        if fault is None:
            return _read(path), complaints
        complaints.append(f"checkpoint {path.name} is damaged and skipped: {fault}")
    if complaints:
        raise ModelFileError(
            "every checkpoint of this run is damaged",
            where=str(folder),
            why="; ".join(complaints),
            remedy="start the run again in another folder (--run)",
        )
    return None, []


def check(path: Path) -> str | None:
    """What is wrong with a checkpoint folder, in one line, or None.

    Args:
        path: a folder written by `write`.
    """
    try:
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        listed = dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return "its manifest cannot be read"
    present = {entry.name for entry in path.iterdir()} - {"manifest.json"}
    if present != set(listed):
        return f"files do not match the manifest: {', '.join(sorted(present ^ set(listed)))}"
    for name, facts in listed.items():
        if [(path / name).stat().st_size, _sha256(path / name)] != [facts.get("bytes"), facts.get("sha256")]:
            return f"{name} is not what was written"
    return None


def _write_files(folder: Path, state: State) -> None:
    for name, tensors in (("model", state.model), ("optimizer", state.optimizer), ("average", state.average)):
        blob = safetensors.torch.save({key: value.detach().contiguous().cpu() for key, value in tensors.items()})
        _write_synced(folder / f"{name}.safetensors", blob)
    facts: Mapping[str, Any] = {"step": state.step, "seconds": state.seconds, "meter": state.meter}
    _write_synced(folder / "state.json", json.dumps(facts).encode())
    files = {p.name: {"bytes": p.stat().st_size, "sha256": _sha256(p)} for p in sorted(folder.iterdir())}
    _write_synced(folder / "manifest.json", json.dumps({"format_version": 1, "files": files}, indent=1).encode())
    sync_folder(folder)


def _read(path: Path) -> State:
    parts = {
        name: safetensors.torch.load((path / f"{name}.safetensors").read_bytes())
        for name in ("model", "optimizer", "average")
    }
    facts = json.loads((path / "state.json").read_text(encoding="utf-8"))
    return State(step=facts["step"], seconds=facts["seconds"], meter=facts["meter"], **parts)


def _write_synced(path: Path, blob: bytes) -> None:
    with path.open("wb") as file:
        file.write(blob)
        file.flush()
        os.fsync(file.fileno())


def _found(folder: Path) -> list[Path]:
    """Finished checkpoints, newest first."""
    named = [(match, path) for path in folder.glob("step-*") if (match := _NAME.fullmatch(path.name))]
    return [path for match, path in sorted(named, key=lambda pair: -int(pair[0][1]))]


def _sweep(folder: Path) -> None:
    """Remove what processes that are gone were in the middle of writing; the run's lock says nobody else is here."""
    for left in folder.glob(".writing-*"):
        shutil.rmtree(left, ignore_errors=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bytes(state: State) -> int:
    tensors = [*state.model.values(), *state.optimizer.values(), *state.average.values()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

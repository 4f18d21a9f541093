"""Checkpoints: everything that the next step depends on, saved so that no moment of a crash can lose it.

    checkpoints/step-00000120/  model.safetensors optimizer.safetensors average.safetensors state.json manifest.json

How such a folder becomes whole, is checked and goes is checkpoint_folder.py's matter. Where the state is shared out
over several processes, a subfolder `shards` stands in the tensor files' place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from vitreous import console
from vitreous.errors import ModelFileError, ResourceError
from vitreous.files import retried
from vitreous.training.learning.average import Average
from vitreous.training.saving.checkpoint_folder import (
    FACTS,
    SHARDS,
    SaveError,
    cannot_save,
    check,
    found,
    placing,
    step_of,
    sweep,
)
from vitreous.training.saving.checkpoint_folder import best as best
from vitreous.training.saving.checkpoint_folder import read_score as read_score
from vitreous.weights.formats.safetensors_file import read_safetensors
from vitreous.weights.native import layout, raw_bytes, safetensors_header

_PARTS = ("model", "optimizer", "average")
_LOOKS = 100  # at a folder in which checkpoints come and go meanwhile; two are always enough in practice


class _Moved(Exception):
    """A checkpoint was removed, or another took its place, while it was read."""


@dataclass
class State:
    """Everything that the next step depends on, besides the run's own settings."""

    step: int
    """Steps finished."""
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    """Moments, as "blocks.0.attn.qkv.weight/exp_avg": by the parameter's name, so that groups may change."""
    average: dict[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0
    """Wall time spent on these steps by all processes so far."""
    meter: dict[str, float] = field(default_factory=dict)
    """Sums since the last line of metrics.jsonl."""
    watch: dict[str, Any] = field(default_factory=dict)
    """What noticing divergence remembers; plain JSON values."""
    score: float | None = None
    """Accuracy on validation images after this step, where it was measured."""
    shards: Path | None = None
    """Folder with the tensors, where several processes wrote them; the three mappings are empty then."""


def capture(
    step: int,
    model: nn.Module,
    optimizer: Optimizer,
    average: Average | None,
    *,
    seconds: float,
    meter: dict[str, float],
    watch: dict[str, Any] | None = None,
    score: float | None = None,
) -> State:
    """The state after `step` finished steps; tensors are shared, not copied.

    Args:
        step: steps finished.
        model: the module itself, not a wrapper.
        optimizer: with its moments; a parameter that never moved has none.
        average: where the recipe averages.
        seconds: wall time so far.
        meter: sums since the last record.
        watch: what noticing divergence remembers.
        score: accuracy on validation images after this step, where it was measured.
    """
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    moments = {
        f"{names[parameter]}/{kind}": value
        for parameter, values in optimizer.state.items()
        for kind, value in values.items()
        if value is not None  # as SGD without momentum has it
    }
    assert all(isinstance(value, Tensor) for value in moments.values()), "an optimiser keeps what is no tensor"
    mean = dict(average.mean) if average else {}
    return State(step, dict(model.state_dict()), moments, mean, seconds, meter, watch or {}, score)


def restore(state: State, model: nn.Module, optimizer: Optimizer, average: Average | None) -> None:
    """Put a state back into the objects it was captured from, or their like in another process.

    Args:
        state: as read by `read_latest`; its moments are taken over, not copied.
        model: strict: its keys and shapes are those of the state.
        optimizer: over the same parameters, in whatever groups.
        average: where the recipe averages.

    Raises:
        ModelFileError: the state is of another model, or of other parameters of it.
    """
    try:
        model.load_state_dict(state.model, strict=True)
    except RuntimeError as error:
        raise _unlike(str(error)) from error
    _restore_moments(state.optimizer, model, optimizer)
    if average is not None:
        if set(state.average) != set(average.mean):
            raise _unlike(f"averages of {_few(set(state.average) ^ set(average.mean))} on one side only")
        for name, mean in average.mean.items():
            mean.copy_(state.average[name])


def _restore_moments(kept: dict[str, Tensor], model: nn.Module, optimizer: Optimizer) -> None:
    moved = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    place = {parameter: index for index, parameter in enumerate(moved)}
    places = {name: place[parameter] for name, parameter in model.named_parameters() if parameter in place}
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in kept.items():
        name, _, kind = key.rpartition("/")
        if name not in places:
            raise _unlike(f"moments of {name}, which is not trained here")
        moments.setdefault(places[name], {})[kind] = value
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})


def write(folder: Path, state: State, keep: int = 2, *, environment: Mapping[str, Any] | None = None) -> Path:
    """Write a checkpoint; when this returns it has been read back, and survives a power cut. Then older ones go.

    Args:
        folder: the run's `checkpoints` folder; made if missing.
        state: what to keep.
        keep: how many of the newest stay, besides the one with the highest score.
        environment: plain JSON values: what this was written with.

    Raises:
        SaveError: the disk is full or the folder cannot be written; earlier checkpoints are untouched.
    """
    size = _size(state)

    def attempt() -> None:
        promised: dict[str, str] = {}
        with placing(folder, state.step, keep, size=size, environment=environment, promised=promised) as temporary:
            promised.update(write_files(temporary, state))

    try:
        retried(attempt)
    except OSError as error:
        raise cannot_save(folder, state.step, size, error) from error
    return folder / f"step-{state.step:08d}"


@contextmanager
def writing(
    folder: Path, step: int, keep: int = 2, *, size: int = 0, environment: Mapping[str, Any] | None = None
) -> Iterator[Path]:
    """A folder for several processes to write a checkpoint into; at the end of the block it is whole, as by `write`.

    One process enters, and tells the others the path; all of them have finished writing when the block ends. Into it
    go `write_files` by one of them, and the subfolder `shards`, with files of any names, by all.

    Args:
        folder: the run's `checkpoints` folder; made if missing.
        step: steps finished.
        keep: how many of the newest stay, besides the one with the highest score.
        size: bytes that will be written, to tell a full disk before writing to it.
        environment: plain JSON values: what this was written with.

    Raises:
        SaveError: the disk is full or the folder cannot be written; earlier checkpoints are untouched.
    """
    try:
        with placing(folder, step, keep, size=size, environment=environment) as temporary:
            yield temporary
    except OSError as error:
        raise cannot_save(folder, step, size, error) from error


def write_files(folder: Path, state: State) -> dict[str, str]:
    """Write a state into an empty folder, and give the SHA-256 of every file by name, as it was in memory.

    Args:
        folder: one that `writing` gave, or `placing`.
        state: without tensors where they are in shards.
    """
    digests = {}
    for name, chunks in _contents(state):
        digest = hashlib.sha256()
        with (folder / name).open("wb") as file:
            for chunk in chunks:
                digest.update(chunk)
                file.write(chunk)
        digests[name] = digest.hexdigest()
    return digests


def read_latest(folder: Path) -> tuple[State | None, list[str]]:
    """The newest checkpoint that is whole, and a line for every newer one that is not.

    Another process may be writing and removing checkpoints meanwhile.

    Args:
        folder: the run's `checkpoints` folder.

    Raises:
        ModelFileError: there are checkpoints, and every one of them is damaged, or one is of a later format.
    """
    for _ in range(_LOOKS):
        with suppress(_Moved):
            return _look(folder)
    raise ResourceError("checkpoints come and go faster than they can be read", where=str(folder), remedy="try again")


def _look(folder: Path) -> tuple[State | None, list[str]]:
    complaints: list[str] = []
    for path in found(folder):
        before = _identity(path)
        try:
            return _read_whole(path), complaints
        except (OSError, ValueError) as fault:
            if before is None or _identity(path) != before:
                raise _Moved from None
            complaints.append(f"checkpoint {path.name} is damaged and skipped: {fault}")
    if complaints:
        raise ModelFileError(
            "every checkpoint of this run is damaged",
            where=str(folder),
            why="; ".join(complaints),
            remedy="start the run again in another folder (--run)",
        )
    return None, []


def read(path: Path) -> State:
    """The state that one checkpoint holds.

    Args:
        path: the checkpoint's folder, such as `best` gives.

    Raises:
        ModelFileError: it is damaged, or of a later format.
    """
    try:
        return _read_whole(path)
    except (OSError, ValueError) as fault:
        raise ModelFileError(
            "the checkpoint is damaged", where=str(path), why=str(fault), remedy=f"ls {path.parent}"
        ) from fault


class Saver:
    """Saves a run's state again and again; a full disk stops the saving, but the training only at its end.

    Args:
        folder: the run's `checkpoints` folder; this process holds the run's lock.
        keep: how many of the newest stay, besides the one with the highest score.
        environment: plain JSON values for the manifests: what they were written with.
    """

    def __init__(self, folder: Path, keep: int = 2, *, environment: Mapping[str, Any] | None = None) -> None:
        self.folder, self.keep, self.environment = folder, keep, environment
        self._failing = False

    def latest(self) -> State | None:
        """The state to go on from; what interrupted saves left is removed, and what was damaged is told.

        Raises:
            ModelFileError: as by `read_latest`.
        """
        state, complaints = read_latest(self.folder)
        for line in [*complaints, *sweep(self.folder)]:
            console.say(line)
        return state

    def save(self, state: State, *, final: bool = False, shards: Callable[[Path], None] | None = None) -> Path | None:
        """Write a checkpoint. None where that failed: it was said, once, and the next call tries again.

        Args:
            state: what to keep.
            final: nothing comes after it, as at the last step or when the run is asked to stop: failing is an error.
            shards: writes the tensors, with other processes' help, into the checkpoint's folder that it is given;
                `state` has none then.

        Raises:
            SaveError: it is the final one and cannot be written.
        """
        try:
            path = self._write(state, shards)
        except SaveError as error:
            if final:
                raise
            if not self._failing:
                console.say(
                    f"step {state.step:,} is not saved: {error.what} ({error.why})",
                    "training goes on, and saving is tried again at every checkpoint",
                )
            self._failing = True
            return None
        if self._failing:
            console.say(f"saving works again: step {state.step:,} is saved")
        self._failing = False
        return path

    def _write(self, state: State, shards: Callable[[Path], None] | None) -> Path:
        if shards is None:
            return write(self.folder, state, self.keep, environment=self.environment)
        with writing(self.folder, state.step, self.keep, environment=self.environment) as temporary:
            shards(temporary)
            write_files(temporary, state)
        return self.folder / f"step-{state.step:08d}"


def _contents(state: State) -> Iterator[tuple[str, Iterator[bytes | memoryview]]]:
    """(name, content) of every file; tensors come from their device one at a time."""
    for part in _PARTS:
        tensors: dict[str, Tensor] = getattr(state, part)
        if state.model or tensors:
            yield f"{part}.safetensors", _safetensors(tensors)
    facts = {name: getattr(state, name) for name in ("step", "seconds", "meter", "watch", "score")}
    yield FACTS, iter([json.dumps(facts).encode()])


def _safetensors(tensors: dict[str, Tensor]) -> Iterator[bytes | memoryview]:
    entries = layout(tensors)
    yield safetensors_header(entries, {})
    for entry in entries:
        yield raw_bytes(tensors[entry.name])


def _size(state: State) -> int:
    """Bytes that `write` writes: the tensors, what describes them, and some room for the two small files."""
    parts = [layout(getattr(state, part)) for part in _PARTS]
    tensors = sum(len(safetensors_header(entries, {})) + (entries[-1].end if entries else 0) for entries in parts)
    return tensors + 8192


def _read_whole(path: Path) -> State:
    """The state in a folder; OSError or ValueError say what is wrong with it."""
    if fault := check(path):
        raise ValueError(fault)
    shards = path / SHARDS
    try:
        facts = json.loads((path / FACTS).read_bytes())
        model, optimizer, average = (_tensors(path / f"{part}.safetensors", shards.is_dir()) for part in _PARTS)
        state = State(
            model=model, optimizer=optimizer, average=average, shards=shards if shards.is_dir() else None, **facts
        )
    except (ValueError, TypeError, FileNotFoundError, ModelFileError) as error:
        reason = error.why if isinstance(error, ModelFileError) else error
        raise ValueError(f"its content cannot be understood: {reason}") from error
    if state.step != step_of(path):
        raise ValueError(f"it is of step {state.step}, which its name does not say")
    return state


def _tensors(path: Path, optional: bool) -> dict[str, Tensor]:
    if optional and not path.exists():
        return {}
    with path.open("rb") as file:
        mapped, _ = read_safetensors(path, file.read(8))
    # copied, because what is mapped keeps a checkpoint's room on the disk for as long as the run lasts
    return {name: tensor.clone() for name, tensor in mapped.items()}


def _identity(path: Path) -> int | None:
    with suppress(OSError):
        return path.stat().st_ino
    return None


def _unlike(why: str) -> ModelFileError:
    return ModelFileError(
        "the checkpoint does not fit this run",
        why=why,
        remedy="resume with the model and the recipe that the run began with, or start a new one (--run)",
    )


def _few(names: set[str]) -> str:
    """The first of many names."""
    return ", ".join(sorted(names)[:5]) + (" ..." if len(names) > 5 else "")

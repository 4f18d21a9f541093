"""States whose every number is their step, for tests of checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from vitreous.training.saving.checkpoint import State


def state_of(step: int, *, score: float | None = None, count: int = 350) -> State:
    """A state whose every number is its step, in tensors of several shapes and types."""
    number = float(step)
    return State(
        step=step,
        model={"head.weight": torch.full((5, count // 5), number), "seen": torch.tensor(step)},
        optimizer={"head.weight/mean": torch.full((5, count // 5), number), "head.weight/step": torch.tensor(number)},
        average={"head.weight": torch.full((5, count // 5), number)},
        seconds=number,
        meter={"loss": number},
        watch={"median": number, "recent": [number, None]},
        score=score,
    )  # fmt: skip


def assert_is(state: State | None, step: int, **more: Any) -> None:
    """The state is that of `step`, every number of it."""
    assert state is not None
    expected = state_of(step, **more)
    for part in ("model", "optimizer", "average"):
        there, wanted = getattr(state, part), getattr(expected, part)
        assert wanted.keys() == there.keys()
        assert all(torch.equal(wanted[name], there[name]) and wanted[name].dtype == there[name].dtype for name in there)
    for name in ("step", "seconds", "meter", "watch", "score", "shards"):
        assert getattr(expected, name) == getattr(state, name)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def flip(path: Path, place: int, bit: int) -> None:
    """One bit changed, in place."""
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ (1 << bit)]))

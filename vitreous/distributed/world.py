"""Which of how many processes this is, and which part of a batch it takes."""

from __future__ import annotations

import os
from dataclasses import dataclass

from vitreous.errors import ConfigError, UsageError

_SET_BY = "torchrun sets RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT"


@dataclass(frozen=True)
class World:
    """This process among all that train one model together."""

    rank: int
    """From 0."""
    size: int
    """Processes in all, on all machines."""
    local_rank: int
    """From 0 on every machine: its number among the processes there, and the number of its GPU."""


def world() -> World:
    """What torchrun says about this process; one process alone where it says nothing.

    Raises:
        UsageError: the environment contradicts itself.
    """
    if "WORLD_SIZE" not in os.environ:
        return World(0, 1, 0)
    size = _number("WORLD_SIZE")
    if size == 1:
        return World(0, 1, 0)
    here = World(_number("RANK"), size, _number("LOCAL_RANK", absent=0))
    if not 0 <= here.rank < size:
        raise UsageError(f"RANK is {here.rank}, but WORLD_SIZE says there are {size} processes", why=_SET_BY)
    return here


def share(batch_size: int, here: World) -> tuple[int, int]:
    """The first place of the global batch that this process takes, and how many it takes from there.

    Args:
        batch_size: images of the global batch.
        here: this process.

    Raises:
        ConfigError: the batch cannot be shared out evenly.
    """
    count, left = divmod(batch_size, here.size)
    if left:
        fitting = ", ".join(str(size) for size in range(1, batch_size + 1) if batch_size % size == 0)
        raise ConfigError(
            f"a batch of {batch_size} images cannot be shared out evenly among {here.size} processes",
            why="every process takes the same number of images, so that the mean of their gradients is the batch's",
            remedy=f"start one of these numbers of processes: {fitting}",
        )
    return here.rank * count, count


def _number(name: str, absent: int | None = None) -> int:
    text = os.environ.get(name, "" if absent is None else str(absent))
    if not text.isdecimal():
        raise UsageError(f"the environment variable {name} is {text!r}, which is no number", why=_SET_BY)
    return int(text)

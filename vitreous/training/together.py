"""One run, held by all the processes that train together: the first one decides, writes and speaks."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

import vitreous.errors
from vitreous import console
from vitreous.distributed import Group
from vitreous.errors import VitreousError
from vitreous.training.onlooker import Onlooker
from vitreous.training.plan import Plan
from vitreous.training.run import RunFolder
from vitreous.training.signals import StopRequests


@contextlib.contextmanager
def held(path: Path, group: Group) -> Iterator[tuple[RunFolder | Onlooker, StopRequests]]:
    """The run folder, locked for the first process, with stop signals caught; thread count is put back at the end.

    Args:
        path: an existing folder.
        group: the processes that train together; all but the first fall silent for a while.
    """
    threads = torch.get_num_threads()
    group.at_work_on(str(path))
    folder = RunFolder(path) if group.world.rank == 0 else Onlooker(path)
    with contextlib.ExitStack() as stack:
        stack.callback(torch.set_num_threads, threads)
        stack.callback(folder.close)
        if group.world.rank:
            stack.callback(console.use, console.stream())
            console.use(io.StringIO())
        yield folder, stack.enter_context(StopRequests(str(path)))


def agreed(group: Group, work: Callable[[], Any]) -> Any:
    """What the first process finds, given to all of them; its error is everybody's.

    Args:
        group: the processes that train together.
        work: done by the first one alone; its answer survives JSON.
    """
    if group.world.size == 1:
        return work()
    answer: dict[str, Any] | None = None
    mine: VitreousError | None = None
    if group.world.rank == 0:
        try:
            answer = {"value": work()}
        except VitreousError as error:
            mine, answer = error, {"error": [type(error).__name__, error.what, error.where, error.why, error.remedy]}
    answer = group.shared(answer)
    if mine is not None:
        raise mine
    if "error" in answer:
        kind, what, where, why, remedy = answer["error"]
        known: VitreousError = getattr(vitreous.errors, kind)(what, where=where, why=why, remedy=remedy)
        known.told = True
        raise known
    return answer["value"]


def planned(group: Group, make: Callable[[dict[str, Any] | None], Plan]) -> Plan:
    """The same plan for all processes: what is chosen by measuring is what the first one measured.

    Args:
        group: the processes that train together.
        make: from choices, or None for measuring, to a plan.
    """
    made: list[Plan] = []

    def first() -> dict[str, Any]:
        made.append(make(None))
        return made[0].choices()

    choices = agreed(group, first)
    return made[0] if made else make(choices)

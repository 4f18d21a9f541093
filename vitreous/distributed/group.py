"""All processes of a run as one: how they meet, what they say to each other, and how they part."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import Store

from vitreous.distributed import engine
from vitreous.distributed.heartbeat import Heartbeats, Patience
from vitreous.distributed.meeting import meet
from vitreous.distributed.world import World, world
from vitreous.errors import ResourceError, UsageError


class Group:
    """The processes that train one model together; with one process every method is the identity.

    All processes call the same methods in the same order.

    Args:
        here: this process.
        device: this process's own, such as "cuda:3".
    """

    def __init__(self, here: World, device: str) -> None:
        self.world = here
        self.device = device
        self.hearts: Heartbeats | None = None

    def at_work_on(self, run: str) -> None:
        """Say in which folder, so that the message about a lost process can name it.

        Args:
            run: the run folder.
        """
        if self.hearts is not None:
            self.hearts.run = run

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and speaks to the person."""
        return self.world.rank == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """Every value summed over the processes, in float64 and in the order of ranks: the same bits everywhere.

        Args:
            values: as many on every process.
        """
        return self._gathered(values).sum(0).tolist()

    def largest(self, value: float) -> float:
        """The largest of the processes' values; not a number where one of them is none.

        Args:
            value: of this process.
        """
        return float(self._gathered([value]).max())

    def shared(self, value: Any) -> Any:
        """What rank 0 passed, on every process.

        Args:
            value: anything that JSON keeps; that of other ranks is not looked at.
        """
        if self.world.size == 1:
            return value
        text = json.dumps(value).encode() if self.first else b""
        size = torch.tensor([len(text)])
        dist.broadcast(size, src=0)
        letters = (
            torch.frombuffer(bytearray(text), dtype=torch.uint8)
            if text
            else size.new_empty(int(size), dtype=torch.uint8)
        )
        dist.broadcast(letters, src=0)
        return json.loads(letters.numpy().tobytes())

    def barrier(self) -> None:
        """Wait until every process is here."""
        self._gathered([0.0])

    def wrap(self, module: nn.Module, strategy: engine.Strategy) -> nn.Module:
        """`module` under an engine that averages gradients over the processes; see `engine.wrap`.

        Optimiser and averages are made after it: under "fsdp" the parameters are replaced.

        Args:
            module: on `device`.
            strategy: "ddp" keeps everything on every process, "fsdp" a slice.
        """
        return module if self.world.size == 1 else engine.wrap(module, strategy, torch.device(self.device))

    def accumulating(self, module: nn.Module, last: bool) -> AbstractContextManager[None]:
        """Around forward and backward pass of a micro-batch: gradients travel with the last one only.

        Args:
            module: as `wrap` gave it.
            last: whether this is the step's last micro-batch.
        """
        return engine.accumulating(module, last)

    def clip(self, model: nn.Module, max_norm: float | None) -> float:
        """The length of the whole gradient over all processes; a longer one is shortened to `max_norm` in place.

        Args:
            model: with gradients; wrapped or not.
            max_norm: None only measures.
        """
        return engine.clip(model, max_norm)

    def _gathered(self, values: Sequence[float]) -> Tensor:
        """One row for every rank; on CPU tensors, so that no GPU need wait."""
        mine = torch.tensor(values, dtype=torch.float64)
        if self.world.size == 1:
            return mine[None]
        rows = mine.new_empty(self.world.size, len(values))
        dist.all_gather(list(rows), mine)
        return rows


@contextmanager
def joined(device: str, *, run: str | None = None, patience: Patience | None = None) -> Iterator[Group]:
    """The group of all processes that torchrun started, for as long as this is entered.

    If another process dies, hangs or fails meanwhile, this one leaves with a ResourceError that names it; where that
    is impossible because a collective never returns, the process says it on stderr and ends with the same exit code.

    Args:
        device: "cpu", "cuda" or "auto"; with one process whatever it may use.
        run: the run folder, for the message; see `Group.at_work_on`.
        patience: how long to wait for what.

    Raises:
        UsageError: the device is of a kind that cannot be used by several processes.
        ResourceError: another process never came, or was lost.
    """
    here, patience = world(), patience or Patience()
    if here.size == 1:
        yield Group(here, device)
        return
    group = Group(here, _own_device(device, here))
    hearts = group.hearts = _meet(here, patience, run)
    hearts.start()
    try:
        _connect(group, hearts.store, patience)
        yield group
        group.barrier()
    except BaseException as error:
        blamed = hearts.blame(error)
        if blamed is not None:
            raise blamed from error
        hearts.confess(error)
        raise
    finally:
        hearts.stop()
    dist.destroy_process_group()


def _own_device(device: str, here: World) -> str:
    """The device of this process on its machine."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    match torch.device(device).type:
        case "cpu":
            return "cpu"
        case "cuda":
            count = torch.cuda.device_count()
            if here.local_rank >= count:
                raise ResourceError(
                    f"process {here.local_rank + 1} of this machine has no GPU of its own",
                    why=f"PyTorch {torch.__version__} sees {count}",
                    remedy=f"torchrun --nproc-per-node {max(count, 1)}",
                )
            torch.cuda.set_device(here.local_rank)
            return f"cuda:{here.local_rank}"
        case other:
            raise UsageError(f"several processes cannot train on {other}", remedy="--device cuda or --device cpu")


def _meet(here: World, patience: Patience, run: str | None) -> Heartbeats:
    """Bring all processes together."""
    try:
        return Heartbeats(meet(here, patience.meeting), here, patience, run)
    except (dist.DistError, ValueError) as error:
        raise ResourceError(
            f"the {here.size} processes did not come together",
            why=next(iter(str(error).splitlines()), type(error).__name__),
            remedy="start every machine with the same torchrun command",
        ) from error


def _connect(group: Group, store: Store, patience: Patience) -> None:
    """Make the process group; beside NCCL there is Gloo, so that what processes tell each other waits for no GPU."""
    dist.init_process_group(
        "gloo" if group.device == "cpu" else "cpu:gloo,cuda:nccl",
        store=store,
        rank=group.world.rank,
        world_size=group.world.size,
        timeout=timedelta(seconds=patience.collective),
    )
    # Gloo's destructor waits, with Python's lock held, for threads that may want that lock to release a tensor, or that
    # hang in a collective with a process that is gone: one more reference, and it never runs
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(dist.group.WORLD))

"""Train with 1, 2 and 4 processes, kill and stop some, and print what came out as JSON: run by the distributed tests.

One process imports PyTorch and forks every world from there, so that no world costs a second import.
"""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch._dynamo  # building an optimiser imports it: once here, and not in every life
import torch.nn.functional as F
from torch.distributed import TCPStore
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from vitreous.data.feeding.order import batch_members
from vitreous.distributed import Group, Patience, full, heartbeat, joined, load_shards, save_shards, share
from vitreous.errors import DataError, InterruptedRun, ModelFileError, VitreousError
from vitreous.model.create import create_model
from vitreous.model.prepare import Policy, Prepared
from vitreous.training.learning.lamb import Lamb
from vitreous.training.signals import StopRequests

SEED, COUNT, CLASSES, BATCH, STEPS, MICRO = 3, 37, 7, 8, 10, 2
POLICY = Policy(device="cpu", precision="float32", attention="fused", kept_heap=False, reason="")
HASTY = Patience(beat=0.25, silence=4.0, doubt=2.0, grace=1.0, meeting=45.0)  # two dozen processes start at once
HASTIER = replace(HASTY, meeting=3.0)


class Training:
    """A small training loop over the group: mixed soft targets, micro-batches, clipping, an average of the weights.

    Args:
        group: the processes.
        strategy: "ddp" or "fsdp".
        optimizer: one of three.
        head_only: nothing else learns at first.
    """

    def __init__(self, group: Group, strategy: str, optimizer: str = "adamw", *, head_only: bool = False) -> None:
        torch.manual_seed(SEED + group.world.rank)  # the engine gives everyone rank 0's weights
        self.group = group
        self.model = create_model("vit-test", num_classes=CLASSES)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(not head_only or name.startswith("head"))
        self.names = [name for name, _ in self.model.named_parameters()]
        self.engine = group.wrap(Prepared(self.model, POLICY), strategy).train()
        assert [name for name, _ in self.model.named_parameters()] == self.names
        moving = list(self.model.parameters())
        self.optimizer = {
            # a key's bias has no gradient but rounding, which a smaller eps would blow up to full steps
            "adamw": lambda: torch.optim.AdamW(moving, lr=3e-3, eps=1e-4, fused=True),
            "sgd": lambda: torch.optim.SGD(moving, lr=1e-2, momentum=0.9),
            "lamb": lambda: Lamb(moving, lr=3e-3, eps=1e-4, weight_decay=0.1),
        }[optimizer]()
        self.mean = {name: value.detach().clone() for name, value in self.model.named_parameters()}
        self.losses: list[float] = []
        self.norms: list[float] = []
        self.seen: list[list[int]] = []

    def step(self, step: int) -> None:
        """One step on this process's places of the global batch; each image is mixed with the one a place before."""
        group = self.group
        begin, count = share(BATCH, group.world)
        _, indices = batch_members(seed=SEED, step=step, batch_size=BATCH, count=COUNT)
        loss_sum = 0.0
        for first in range(begin, begin + count, MICRO):
            mine, mates = indices[first : first + MICRO], indices[np.arange(first, first + MICRO) - 1]
            with group.accumulating(self.engine, last=first + MICRO == begin + count):
                outputs = self.engine(0.7 * images(mine) + 0.3 * images(mates))
                targets = 0.7 * labels(mine) + 0.3 * labels(mates)
                loss = F.cross_entropy(outputs, targets, reduction="sum") / BATCH
                (loss * group.world.size).backward()
            loss_sum += loss.item()
        self.norms.append(group.clip(self.model, 0.9))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            self.engine(images(indices[: 3 if group.first else 5]))  # a look changes nothing
            torch._foreach_lerp_(list(self.mean.values()), [p.detach() for p in self.model.parameters()], 0.1)
        self.losses.append(group.sum([loss_sum])[0])
        self.seen.append(indices[begin : begin + count].tolist())

    def state(self) -> dict[str, torch.Tensor]:
        """What a checkpoint would hold, under names that no number of processes changes."""
        weights = {f"model.{name}": value.detach() for name, value in self.model.named_parameters()}
        moments = {
            f"optimizer.{self.names[i]}.{key}": value
            for i, values in self.optimizer.state_dict()["state"].items()
            for key, value in values.items()
        }
        return weights | moments | {f"mean.{name}": value for name, value in self.mean.items()}

    def load(self, folder: Path) -> None:
        """Go on from what `save_shards` wrote; a step of length zero makes the moments that are then filled."""
        for parameter in self.model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        rate, self.optimizer.param_groups[0]["lr"] = self.optimizer.param_groups[0]["lr"], 0.0
        self.optimizer.step()
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        load_shards(folder, self.state())

    def outcome(self) -> dict[str, object]:
        """What must not depend on the number of processes, and which images this one saw."""
        sums = {name: full(value).double().sum().item() for name, value in self.state().items()}
        return {"losses": self.losses, "norms": self.norms, "seen": self.seen, "sums": sums}


def images(indices: np.ndarray) -> torch.Tensor:
    """(b, 3, 32, 32), each a function of its index alone."""
    return torch.stack([torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(int(i))) for i in indices])


def labels(indices: np.ndarray) -> torch.Tensor:
    """(b, Y), one-hot."""
    return F.one_hot(torch.from_numpy(indices) % CLASSES, CLASSES).float()


def trained(group: Group, strategy: str, optimizer: str = "adamw", steps: int = STEPS) -> dict[str, object]:
    training = Training(group, strategy, optimizer)
    for step in range(steps):
        training.step(step)
    return training.outcome()


def thawed(group: Group, strategy: str) -> dict[str, object]:
    """The head learns, then everything, then the head again."""
    training = Training(group, strategy, "sgd", head_only=True)
    for step in range(6):
        for name, parameter in training.model.named_parameters():
            parameter.requires_grad_(name.startswith("head") or 2 <= step < 4)
        training.step(step)
    return training.outcome()


def part(group: Group, first: int, last: int, before: Path | None, after: Path | None) -> dict[str, object]:
    """Steps [first, last) of `trained` from one folder to another."""
    training = Training(group, "fsdp")
    if before is not None:
        training.load(before)
    for step in range(first, last):
        training.step(step)
    if after is not None:
        save_shards(made(group, after), training.state())
    return training.outcome()


def made(group: Group, folder: Path) -> Path:
    if group.first:
        folder.mkdir()
    group.barrier()
    return folder


def many_kinds(mesh: DeviceMesh | None, *, filled: bool) -> dict[str, torch.Tensor]:
    """Tensors of many kinds, in slices where there is a mesh; -1 everywhere where they wait to be read."""
    shapes = {"odd": (7, 5), "short": (1, 3), "deep": (3, 2, 5), "whole": (4, 3)}
    kinds: dict[str, torch.Tensor] = {}
    for number, (name, shape) in enumerate(shapes.items()):
        plain = torch.arange(100.0 * number, 100 * number + math.prod(shape)).reshape(shape)
        kinds[name] = plain.to(torch.bfloat16) if name == "deep" else plain
    kinds |= {"scalar": torch.tensor(2.5), "count": torch.tensor([2**40 + 1])}
    if not filled:
        kinds = {name: torch.full_like(value, -1) for name, value in kinds.items()}
    if mesh is None:
        return kinds
    return {
        n: v if n in ("whole", "scalar", "count") else distribute_tensor(v, mesh, [Shard(0)]) for n, v in kinds.items()
    }


def mesh_of(group: Group) -> DeviceMesh | None:
    return init_device_mesh("cpu", (group.world.size,)) if group.world.size > 1 else None


def sliced(group: Group, folder: Path) -> dict[str, bool]:
    """Which tensors came back right from a folder that another number of processes wrote."""
    into = many_kinds(mesh_of(group), filled=False)
    load_shards(folder, into)
    right = many_kinds(None, filled=True)
    return {name: torch.equal(full(value), right[name]) for name, value in into.items()}


def refused(folder: Path) -> list[str]:
    """What is said of a tensor that is not there, and of one that has another shape."""
    said = []
    for wrong in ({"absent": torch.zeros(3)}, {"odd": torch.zeros(7, 6)}):
        try:
            load_shards(folder, wrong)
        except ModelFileError as error:
            said.append(str(error))
    return said


def full_disk(group: Group, folder: Path) -> str:
    """What saving raises when rank 1 alone cannot write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    tensors = {"large": distribute_tensor(torch.zeros(64, 64), mesh_of(group), [Shard(0)])}
    made(group, folder)
    if group.world.rank == 1:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))
    try:
        save_shards(folder, tensors)
    except OSError as error:
        return str(error)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    return "nothing"


def messages(group: Group) -> dict[str, object]:
    rank = group.world.rank
    return {
        "sum": group.sum([0.1 + rank, 3.0]),
        "largest": group.largest(-rank - 1.0),
        "no number": math.isnan(group.largest(math.nan if rank else 1.0)),
        "shared": group.shared({"names": ["ä", None, 0.1]} if rank == 0 else "not looked at"),
        "nothing": group.shared(None if rank == 0 else 1),
    }


def life(size: int, work: Path) -> dict[str, object]:
    """All that a world of this size is asked to do; worlds go on from what others wrote: 2, then 1, then 4."""
    out: dict[str, object] = {}
    after_3, after_6, by_2, by_1 = (work / name for name in ("after-3", "after-6", "by-2", "by-1"))
    with joined("cpu") as group:
        strategies = ("ddp", "fsdp") if size > 1 else ("alone",)
        out |= {f"trained {strategy}": trained(group, strategy) for strategy in strategies}
        out["messages"] = messages(group)
        if size < 4:
            out |= {f"thawed {strategy}": thawed(group, strategy) for strategy in strategies}
            out |= {optimizer: trained(group, "fsdp", optimizer, 4) for optimizer in ("sgd", "lamb")}
            save_shards(made(group, work / f"by-{size}"), many_kinds(mesh_of(group), filled=True))
        match size:
            case 2:
                out["part"] = part(group, 0, 3, None, after_3)
                out["full disk"] = full_disk(group, work / "disk")
            case 1:
                out["part"] = part(group, 3, 6, after_3, after_6)
                out["sliced"] = [sliced(group, by_2)]
                out["refused"] = refused(by_2)
            case 4:
                out["part"] = part(group, 6, STEPS, after_6, None)
                out["sliced"] = [sliced(group, by_2), sliced(group, by_1)]
    return out


@dataclass(frozen=True)
class End:
    """How a process ended."""

    code: int
    """Exit code, or minus the number of the signal."""
    seconds: float
    """Since the world began, or since `mark`."""
    pid: int
    said: str
    answer: object


class Forked:
    """Processes that run `job`; what each returned, or the error it left with, comes back.

    Args:
        work: a folder.
        size: of the world.
        job: called in every process.
        absent: ranks that never come.
        port: of a store that outlives the processes, as torchrun's does; by default rank 0 holds one.
    """

    def __init__(
        self, work: Path, size: int, job: Callable[[], object], absent: tuple[int, ...] = (), port: int | None = None
    ) -> None:
        self.files = {r: work / f"{time.monotonic_ns()}-{r}.json" for r in range(size) if r not in absent}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port or probe.getsockname()[1])}
        if port is not None:
            place["TORCHELASTIC_USE_AGENT_STORE"] = "True"
        self.mark()
        self.pids = {rank: self._fork(rank, size, place, job) for rank in self.files}

    def mark(self) -> None:
        """Count seconds from now on."""
        self.began = time.monotonic()

    def wait_for(self, signs: Iterable[Path], limit: float = 60.0) -> None:
        """Until all these files are there; what the processes said instead, if it takes too long."""
        absent = list(signs)
        while absent := [sign for sign in absent if not sign.exists()]:
            if time.monotonic() - self.began > limit:
                said = "".join(file.with_suffix(".err").read_text() for file in self.files.values())
                raise TimeoutError(f"{[sign.name for sign in absent]} did not appear: {said}")
            time.sleep(0.02)

    def ends(self, limit: float = 60.0, buried: int | None = None) -> list[End]:
        """Wait for all processes.

        Args:
            limit: seconds after which those left are killed.
            buried: a rank that is killed when all others have ended.
        """
        left, ends = dict(self.pids), {}
        while left:
            for rank, pid in list(left.items()):
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    ends[rank] = self._end(rank, status)
                    del left[rank]
            if time.monotonic() - self.began > limit or list(left) == [buried]:
                for pid in left.values():
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        return [ends[rank] for rank in sorted(ends)]

    def _end(self, rank: int, status: int) -> End:
        file = self.files[rank]
        answer = json.loads(file.read_text()) if file.exists() else None
        said = file.with_suffix(".err").read_text()
        return End(os.waitstatus_to_exitcode(status), time.monotonic() - self.began, self.pids[rank], said, answer)

    def _fork(self, rank: int, size: int, place: dict[str, str], job: Callable[[], object]) -> int:
        file = self.files[rank]
        file.with_suffix(".err").touch()
        if child := os.fork():
            return child
        os.dup2(os.open(file.with_suffix(".err"), os.O_WRONLY), 2)
        os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank), **place}
        code = 0
        try:
            file.write_text(json.dumps(job()))
        except VitreousError as error:
            print(error, file=sys.stderr)
            code = error.exit_code
        except BaseException:
            traceback.print_exc()
            code = 99
        sys.stderr.flush()
        os._exit(code)


def late(work: Path) -> None:
    """Rank 2 is two seconds behind rank 0, which holds the store that all meet at, and waits as long."""
    if os.environ["RANK"] == "2":
        time.sleep(2)
    endless(work, "absent", HASTIER)


def endless(work: Path, name: str, patience: Patience, strategy: str | None = None, *, far: bool = False) -> None:
    """Train, or only speak, until something happens to one of the processes; `work/NAME-RANK` says that it goes on.

    Args:
        work: a folder; all leave when "enough" lies in it.
        name: of the case.
        patience: with the others.
        strategy: trains under it; None only sums numbers.
        far: the processes behave as if each were on a machine of its own.
    """
    if far:
        heartbeat._home = lambda: ""
    with joined("cpu", run="runs/my run", patience=patience) as group:
        training = Training(group, strategy) if strategy else None
        step = 0
        while not group.largest(name == "pauses" and (work / "enough").exists()):
            if training is not None:
                training.step(step)
            step += 1
            if step == 3:
                (work / f"{name}-{group.world.rank}").touch()
                if name == "fails" and group.world.rank == 1:
                    raise DataError("the images of rank 1 are gone")
                if name == "asked":  # both were; one of them is still saving when the other has left
                    time.sleep(0 if group.world.rank else 3 * patience.grace)
                    raise InterruptedRun(f"rank {group.world.rank} has saved")


def one_life(work: Path, life: int) -> None:
    """Rank 0 is in no collective when rank 1 is killed in the first life, rank 2 is; the second life ends in peace.

    Args:
        work: `work/LIFE-RANK` says that it goes on.
        life: from 0.
    """
    with joined("cpu", patience=HASTY) as group, StopRequests("runs/my run"):
        group.at_work_on("runs/my run")
        group.barrier()
        (work / f"{life}-{group.world.rank}").write_text(str(os.getpid()))
        while life == 0 and group.world.rank < 2:
            time.sleep(0.05)
        assert group.sum([group.world.rank, life]) == [3, 3 * life]


def anew(work: Path) -> list[list[dict[str, object]]]:
    """Both lives of processes as torchrun treats them: when one is gone it asks the rest to stop, and starts all again
    with the store that they had."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    first = Forked(work, 3, lambda: one_life(work, 0), port=store.port)
    first.wait_for(work / f"0-{rank}" for rank in range(3))
    os.kill(first.pids[1], signal.SIGKILL)
    first.mark()
    time.sleep(0.1)  # the pause between two looks of torchrun
    for rank in (0, 2):
        os.kill(first.pids[rank], signal.SIGTERM)
    lives = [first.ends(), Forked(work, 3, lambda: one_life(work, 1), port=store.port).ends()]
    return [[vars(end) for end in ends] for ends in lives]


def faults(work: Path) -> dict[str, list[dict[str, object]]]:
    """How the processes ended when one of them was killed, stopped, or failed; all cases at the same time."""
    usual, kill, stop = Patience(), signal.SIGKILL, signal.SIGSTOP
    cases = {
        "killed": (2, lambda: endless(work, "killed", usual, "ddp"), (1, kill)),
        "first killed": (2, lambda: endless(work, "first killed", usual), (0, kill)),
        "far killed": (4, lambda: endless(work, "far killed", HASTY, "fsdp", far=True), (2, kill)),
        "hangs": (3, lambda: endless(work, "hangs", HASTY), (1, stop)),
        "first hangs": (2, lambda: endless(work, "first hangs", HASTY), (0, stop)),
        "pauses": (2, lambda: endless(work, "pauses", HASTY), (1, stop)),
        "fails": (2, lambda: endless(work, "fails", usual), None),
        "asked": (2, lambda: endless(work, "asked", HASTY), None),
        "absent": (3, lambda: late(work), None),
    }
    worlds = {
        name: Forked(work, size, job, absent=(1,) if name == "absent" else ()) for name, (size, job, _) in cases.items()
    }

    def befall(name: str) -> list[dict[str, object]]:
        world, (size, _, blow) = worlds[name], cases[name]
        if name != "absent":
            world.wait_for(work / f"{name}-{rank}" for rank in range(size))
        rank, number = blow or (None, None)
        if blow is not None:
            time.sleep(0.1)
            os.kill(world.pids[rank], number)
        world.mark()
        if name == "pauses":
            time.sleep(HASTY.silence / 2)
            os.kill(world.pids[rank], signal.SIGCONT)
            time.sleep(HASTY.silence)
            (work / "enough").touch()
        return [vars(end) for end in world.ends(buried=rank if number == stop and name != "pauses" else None)]

    with ThreadPoolExecutor(len(cases)) as pool:
        return dict(zip(cases, pool.map(befall, cases), strict=True))


def main() -> None:
    asked, work = sys.argv[1], Path(sys.argv[2])
    torch.set_num_threads(1)
    match asked:
        case "faults":
            print(json.dumps({"host": socket.gethostname(), "anew": anew(work), **faults(work)}))
        case "lives":
            ends = {size: Forked(work, size, lambda size=size: life(size, work)).ends() for size in (2, 1, 4)}
            print(json.dumps({size: [vars(end) for end in of_all] for size, of_all in ends.items()}))


if __name__ == "__main__":
    main()

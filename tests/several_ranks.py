"""Train with 1, 2 and 4 processes, kill and stop some, and print what came out as JSON: run by the distributed tests.

One process imports PyTorch and forks every world from there, so that no world costs a second import.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch._dynamo  # building an optimiser imports it: once here, and not in every life
import torch.distributed.fsdp
import torch.nn.functional as F

from vitreous.data.order import batch_members
from vitreous.distributed import Group, Patience, full, heartbeat, joined, load_shards, save_shards, share
from vitreous.errors import DataError, VitreousError
from vitreous.model.create import create_model
from vitreous.model.prepare import Policy, Prepared

SEED, COUNT, CLASSES, BATCH, STEPS = 3, 37, 7, 8, 10
HASTY = Patience(beat=0.2, silence=2.0, doubt=1.0, grace=1.0, meeting=20.0)
POLICY = Policy(device="cpu", precision="float32", attention="fused", kept_heap=False, reason="")


class Training:
    """A small training loop over the group: soft mixed targets, micro-batches, clipping, an average of the weights."""

    def __init__(self, group: Group, strategy: str, optimizer: str = "adamw", lr: float = 3e-3) -> None:
        torch.manual_seed(SEED + group.world.rank)  # the engine gives everyone rank 0's weights
        self.group = group
        self.model = create_model("vit-test", num_classes=CLASSES)
        self.names = [name for name, _ in self.model.named_parameters()]
        self.engine = group.wrap(Prepared(self.model, POLICY), strategy).train()
        assert [name for name, _ in self.model.named_parameters()] == self.names
        parameters = list(self.model.parameters())
        if optimizer == "adamw":
            self.optimizer = torch.optim.AdamW(parameters, lr=lr, fused=True)
        elif optimizer == "lamb":
            from vitreous.training.lamb import Lamb

            self.optimizer = Lamb(parameters, lr=lr)
        else:
            self.optimizer = torch.optim.SGD(parameters, lr=3 * lr, momentum=0.9)
        self.mean = {name: value.detach().clone() for name, value in self.model.named_parameters()}
        self.losses: list[float] = []
        self.norms: list[float] = []
        self.seen: list[list[int]] = []

    def step(self, step: int, micro: int = 2) -> None:
        group, begin = self.group, share(BATCH, self.group.world)[0]
        places = range(begin, begin + BATCH // group.world.size)
        epochs, indices = batch_members(seed=SEED, step=step, batch_size=BATCH, count=COUNT)
        loss_sum = 0.0
        for first in places[::micro]:
            mine = indices[first : first + micro]
            mates = indices[np.arange(first, first + micro) - 1]
            last = first + micro > places[-1]
            with group.accumulating(self.engine, last):
                outputs = self.engine(0.7 * images(mine) + 0.3 * images(mates))
                targets = 0.7 * labels(mine) + 0.3 * labels(mates)
                loss = F.cross_entropy(outputs, targets, reduction="sum") / BATCH
                (loss * group.world.size).backward()
            loss_sum += loss.item()
        self.norms.append(group.clip(self.model, 0.9))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_lerp_(list(self.mean.values()), [p.detach() for p in self.model.parameters()], 0.1)
        self.losses.append(group.sum([loss_sum])[0])
        self.seen.append(indices[places[0] : places[-1] + 1].tolist())

    def state(self) -> dict[str, torch.Tensor]:
        """What a checkpoint would hold, under names that no number of processes changes."""
        moments = {
            f"optimizer.{self.names[i]}.{key}": value
            for i, values in self.optimizer.state_dict()["state"].items()
            for key, value in values.items()
        }
        weights = {f"model.{name}": value.detach() for name, value in self.model.named_parameters()}
        return weights | moments | {f"mean.{name}": value for name, value in self.mean.items()}

    def whole(self) -> dict[str, torch.Tensor]:
        return {name: full(value) for name, value in self.state().items()}

    def load(self, folder: Path) -> None:
        for parameter in self.model.parameters():  # moments exist after a step that moves nothing
            parameter.grad = torch.zeros_like(parameter)
        for group in self.optimizer.param_groups:
            group["lr"], rate = 0.0, group["lr"]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        load_shards(folder, self.state())


def images(indices: np.ndarray) -> torch.Tensor:
    """(b, 3, 32, 32), each a function of its index alone."""
    return torch.stack([torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(int(i))) for i in indices])


def labels(indices: np.ndarray) -> torch.Tensor:
    """(b, Y), one-hot."""
    return F.one_hot(torch.from_numpy(indices) % CLASSES, CLASSES).float()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Forked:
    """`size` processes that run `job(rank)`; what each returns, or the error that it left with, comes back as JSON."""

    def __init__(self, work: Path, size: int, job: Callable[[int], object]) -> None:
        self.answers = [work / f"answer-{time.monotonic_ns()}-{rank}.json" for rank in range(size)]
        self.errors = [path.with_suffix(".err") for path in self.answers]
        self.began = time.monotonic()
        port = free_port()
        self.pids = [self._fork(rank, size, port, job) for rank in range(size)]

    def _fork(self, rank: int, size: int, port: int, job: Callable[[int], object]) -> int:
        child = os.fork()
        if child:
            return child
        os.dup2(os.open(self.errors[rank], os.O_WRONLY | os.O_CREAT), 2)
        os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        code = 0
        try:
            self.answers[rank].write_text(json.dumps(job(rank)))
        except VitreousError as error:
            print(error, file=sys.stderr)
            code = error.exit_code
        except BaseException:
            traceback.print_exc()
            code = 99
        sys.stderr.flush()
        os._exit(code)

    def ends(self, limit: float = 60.0) -> list[dict[str, object]]:
        """How every process ended: exit code or -signal, seconds after the last call of `mark`, words, answer."""
        left = dict(enumerate(self.pids))
        ends: dict[int, dict[str, object]] = {}
        while left:
            for rank, pid in list(left.items()):
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    code = os.waitstatus_to_exitcode(status)
                    took = time.monotonic() - self.began
                    said = self.errors[rank].read_text() if self.errors[rank].exists() else ""
                    answer = json.loads(self.answers[rank].read_text()) if self.answers[rank].exists() else None
                    ends[rank] = {"code": code, "seconds": took, "pid": pid, "said": said, "answer": answer}
                    del left[rank]
            if time.monotonic() - self.began > limit:
                for pid in left.values():
                    os.kill(pid, signal.SIGKILL)
                    os.kill(pid, signal.SIGCONT)
            time.sleep(0.01)
        return [ends[rank] for rank in sorted(ends)]

    def mark(self) -> None:
        self.began = time.monotonic()


def answers(work: Path, size: int, job: Callable[[int], object]) -> list[object]:
    """What `job` returned on every rank; all of them must have ended well."""
    ends = Forked(work, size, job).ends()
    for rank, end in enumerate(ends):
        assert end["code"] == 0, f"rank {rank} of {size}: {end['code']}\n{end['said']}"
    return [end["answer"] for end in ends]


def trained(strategy: str, optimizer: str = "adamw") -> dict[str, object]:
    with joined("cpu") as group:
        training = Training(group, strategy, optimizer)
        for step in range(STEPS):
            training.step(step)
        whole = training.whole()
        return {
            "losses": training.losses,
            "norms": training.norms,
            "seen": training.seen,
            "weights": {name: value.flatten()[:40].tolist() for name, value in whole.items()},
        }


def part(strategy: str, first: int, last: int, before: Path | None, after: Path | None) -> dict[str, object]:
    """Steps [first, last) from one folder to another."""
    with joined("cpu") as group:
        training = Training(group, strategy)
        if before is not None:
            training.load(before)
        for step in range(first, last):
            training.step(step)
        if after is not None:
            if group.first:
                after.mkdir()
            group.barrier()
            save_shards(after, training.state())
        whole = training.whole()
        return {"losses": training.losses, "weights": {n: v.flatten()[:40].tolist() for n, v in whole.items()}}


def main() -> None:
    work = Path(sys.argv[1])
    torch.set_num_threads(1)
    out: dict[str, object] = {}
    t = time.monotonic()
    for size in (1, 2, 4):
        for strategy in ("ddp", "fsdp")[: 1 if size == 1 else 2]:
            out[f"{size} {strategy}"] = answers(work, size, lambda rank, s=strategy: trained(s))
            print(size, strategy, time.monotonic() - t, file=sys.stderr)
    print(json.dumps(out))


if __name__ == "__main__":
    main()

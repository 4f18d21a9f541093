"""The engine around a model: whose gradients are averaged, when, how long they are, and which numbers move.

DistributedDataParallel keeps the whole model on every process; fully_shard (FSDP2) keeps a slice of every parameter,
its gradient and its moments, and gathers one block at a time. Either way the gradient is the mean over the processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel

from vitreous.distributed.shards import full

Strategy = Literal["ddp", "fsdp"]


class Replicas(nn.Module):
    """A module that every process holds whole; DistributedDataParallel averages its gradients.

    That settles at its making which parameters learn, and would never average one that begins to learn later. So it is
    made anew when others do. Without gradients the module alone answers: no process waits for another.

    Args:
        module: on its device; every process begins with the weights and buffers of rank 0.
        device: of this process.
    """

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.module = module
        self._ids = [device.index] if device.type == "cuda" else None
        self._learning: list[bool] = []
        self._engines: list[DistributedDataParallel] = []  # in a list, so that its parameters are not met twice
        self.engine()

    def forward(self, *inputs: Tensor) -> Tensor:
        """What the module makes of them."""
        return self.engine()(*inputs) if torch.is_grad_enabled() else self.module(*inputs)

    def engine(self) -> DistributedDataParallel:
        """The engine over the parameters that learn now."""
        learning = [parameter.requires_grad for parameter in self.module.parameters()]
        if learning != self._learning:
            self._engines.clear()  # takes its hooks off the parameters before others are put on
            self._engines.append(DistributedDataParallel(self.module, device_ids=self._ids))
            self._learning = learning
        return self._engines[0]


def wrap(module: nn.Module, strategy: Strategy, device: torch.device) -> nn.Module:
    """`module` under an engine; the parameters of what it wraps keep their names.

    Every process begins with the weights and buffers of rank 0. All parameters that learn take part in every step.

    Args:
        module: on its device; with "fsdp" its parameters become DTensors in place.
        strategy: the engine.
        device: of this process.
    """
    if strategy == "ddp":
        return Replicas(module, device)
    if not isinstance(module, FSDPModule):
        for tensor in module.state_dict().values():
            whole = tensor.contiguous()
            dist.broadcast(whole, src=0)
            tensor.copy_(whole)
        mesh = init_device_mesh(device.type, (dist.get_world_size(),))
        # what is left when the blocks are taken is freed after its forward pass too: otherwise a model that has only
        # looked, as in validation, would show whole copies in place of the slices that are trained and saved
        for part in (*units(module), module):
            fully_shard(part, mesh=mesh, reshard_after_forward=True)
    return module


def units(module: nn.Module) -> Iterator[nn.Module]:
    """The parts that are gathered one at a time: members of the outermost lists, as blocks and stages are.

    Args:
        module: any; its own class does not matter.
    """
    for part in module.children():
        if isinstance(part, nn.ModuleList | nn.Sequential):
            yield from (member for member in part if any(True for _ in member.parameters()))
        else:
            yield from units(part)


def accumulating(module: nn.Module, last: bool) -> AbstractContextManager[None]:
    """Around forward and backward pass of a micro-batch: gradients travel with the last one only.

    Args:
        module: as `wrap` gave it.
        last: whether this is the step's last micro-batch.
    """
    match module:
        case Replicas() if not last:
            return module.engine().no_sync()
        case FSDPModule():
            module.set_requires_gradient_sync(last)
    return nullcontext()


def clip(model: nn.Module, max_norm: float | None) -> float:
    """The length of the whole gradient, over all parameters and slices; a longer one is shortened to `max_norm`.

    The same number on every process, and that of torch.nn.utils.clip_grad_norm_ on one.

    Args:
        model: with gradients; wrapped or not.
        max_norm: None only measures.
    """
    moving = [parameter for parameter in model.parameters() if parameter.grad is not None]
    total = full(nn.utils.get_total_norm([p.grad for p in moving if p.grad is not None]))
    if max_norm is not None:
        nn.utils.clip_grads_with_norm_(moving, max_norm, total)
    return float(total)

"""The one door of the speed policy: where a model runs, in which precision, with which form of attention.

A model's own code knows nothing of this; it is put on from outside and can be taken off again (`prepared.model`).
"""

from __future__ import annotations

import ctypes
import dataclasses
import os
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitreous.errors import ResourceError, UsageError
from vitreous.machine import remembered
from vitreous.model.attention import Attention, Form, Span, Where
from vitreous.model.vit import Block, ViT

Precision = Literal["float32", "bfloat16"]
Purpose = Literal["training", "inference"]

_PROBE_FLOPS = 5e8  # per candidate and round: some hundredths of a second
_NARROW = 128  # tokens up to this width: only then may one thread be as fast as all
_PROBE_ROUNDS = 6  # the first only warms up
_WORTH_SHARING = 0.8  # all threads must take at most this part of one thread's time; the loader wants a core too


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """How a model is run on this machine."""

    device: str
    """As torch.device spells it."""
    precision: Precision
    """Of matrix products; weights, norms' statistics, softmax sums and the loss stay in float32."""
    attention: Form
    """One fused kernel, or two matrix products."""
    kept_heap: bool
    """Whether freed memory is kept for the next step in place of being returned (glibc only)."""
    reason: str
    """Why, in words for a person."""


class Prepared(nn.Module):
    """A model under a policy: images in on any device, float32 logits out.

    Args:
        model: any module with `forward(images, *others) -> logits`; moved and changed in place.
        policy: how to run it.
    """

    def __init__(self, model: nn.Module, policy: Policy) -> None:
        super().__init__()
        self.policy = policy
        self.model = model.to(policy.device)
        for part in model.modules():
            if isinstance(part, Attention):
                part.form = policy.attention
        if policy.kept_heap:
            keep_heap()

    def forward(self, images: Float[Tensor, "B C H W"], *others: Tensor) -> Float[Tensor, "B *N Y"]:
        """Logits in float32 on the policy's device.

        Args:
            images: preprocessed, on any device.
            others: what else the model takes beside images, on any device.
        """
        device = torch.device(self.policy.device)
        given = [value.to(device, non_blocking=True) for value in (images, *others)]
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.policy.precision == "bfloat16"):
            return self.model(*given).float()


def prepare(
    model: nn.Module,
    *,
    for_: Purpose,
    device: str = "auto",
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
) -> Prepared:
    """`model` ready to run fast here: moved to its device, with precision and attention chosen by measuring.

    What was measured is remembered for the next time on this machine.

    Args:
        model: a ViT, or any module with `forward(images) -> logits`; moved and changed in place.
        for_: what it is about to do.
        device: "auto" takes CUDA, then Apple's MPS, then the CPU.
        precision: "auto" lets measuring decide.

    Raises:
        ResourceError: the device is not there.
    """
    policy = choose_policy(model, for_=for_, device=device, precision=precision)
    return Prepared(model, policy).train(for_ == "training")


def choose_policy(
    model: nn.Module,
    *,
    for_: Purpose,
    device: str = "auto",
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
) -> Policy:
    """The policy `prepare` would apply, without touching `model`.

    Args:
        model: a ViT is measured by one of its blocks; other modules are taken as they are.
        for_: what it is about to do.
        device: "auto" takes CUDA, then Apple's MPS, then the CPU.
        precision: "auto" lets measuring decide.
    """
    where = find_device(device)
    heap = for_ == "training" and where.type == "cpu" and _heap_can_be_kept()
    if where.type == "cpu" and isinstance(model, ViT):
        chosen, form, reason = _measured(model, for_, precision)
    else:
        chosen, form, reason = _by_rule(where, precision)
    return Policy(device=str(where), precision=chosen, attention=form, kept_heap=heap, reason=reason)


def find_device(name: str) -> torch.device:
    """The device that `name` stands for.

    Args:
        name: "auto", "cpu", "cuda", "cuda:1" or "mps".

    Raises:
        UsageError: no such device exists anywhere.
        ResourceError: it is not there on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"there is no device called {name!r}", remedy="auto, cpu, cuda, cuda:1 or mps") from None
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if device.type not in count:
        raise UsageError(f"vitreous does not run on {name!r}", remedy="auto, cpu, cuda, cuda:1 or mps")
    if (device.index or 0) >= count[device.type]:
        raise ResourceError(
            f"device {name} is not there",
            why=f"PyTorch {torch.__version__} sees {count[device.type]} of that kind",
            remedy="--device auto",
        )
    return device


def keep_heap() -> None:
    """Tell glibc to keep freed memory in place of returning it: activations then cost no page faults at every step.

    It holds for the whole process; `VITREOUS_KEEP_HEAP=0` in the environment forbids it.
    """
    if _heap_can_be_kept():
        libc = ctypes.CDLL(None)
        libc.mallopt(-4, 0)  # M_MMAP_MAX: no block is a mapping of its own
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: the top of the heap is never given back


def _heap_can_be_kept() -> bool:
    if os.environ.get("VITREOUS_KEEP_HEAP") == "0" or not sys.platform.startswith("linux"):
        return False
    return hasattr(ctypes.CDLL(None), "gnu_get_libc_version") and hasattr(ctypes.CDLL(None), "mallopt")


def _by_rule(device: torch.device, precision: str) -> tuple[Precision, Form, str]:
    """Where nothing is measured: bfloat16 on CUDA cards that have it, float32 elsewhere."""
    if precision != "auto":
        return _precision(precision), "fused", f"{precision} as asked"
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return "bfloat16", "fused", f"bfloat16: {torch.cuda.get_device_name(device)} multiplies it in hardware"
    return "float32", "fused", "float32: nothing was measured for this kind of model or device"


def _precision(name: str) -> Precision:
    return "bfloat16" if name == "bfloat16" else "float32"


def _measured(model: ViT, for_: Purpose, precision: str) -> tuple[Precision, Form, str]:
    """The fastest of the candidates for one block of this model on this CPU, remembered."""
    times = _times(model, for_)
    allowed = {name: t for name, t in times.items() if precision in ("auto", name.split()[0])}
    best = min(allowed, key=lambda name: (allowed[name], name))
    kind, form = best.split()
    rest = ", ".join(f"{name} {1000 * t:.1f}" for name, t in sorted(times.items(), key=lambda item: item[1]))
    asked = "as asked" if precision != "auto" else "fastest here"
    return _precision(kind), "matmul" if form == "matmul" else "fused", f"{best} {asked} (ms per block: {rest})"


def choose_threads(model: nn.Module, *, for_: Purpose, device: str = "auto") -> int:
    """How many CPU threads the arithmetic should use: all, or one where a model is too small to share out.

    Args:
        model: a ViT is measured by one of its blocks; hybrids, ResNets and other modules get PyTorch's choice.
        for_: what it is about to do.
        device: as for `prepare`.
    """
    every = torch.get_num_threads()
    if every == 1 or not isinstance(model, ViT) or find_device(device).type != "cpu":
        return every
    if model.config.embed_dim > _NARROW or model.config.stem is not None:
        return every  # there is enough to share out, and a noisy moment must not say otherwise
    together = min(_times(model, for_).values())
    try:
        torch.set_num_threads(1)
        alone = min(_times(model, for_).values())
    finally:
        torch.set_num_threads(every)
    return every if together < _WORTH_SHARING * alone else 1


def _times(model: ViT, for_: Purpose) -> dict[str, float]:
    """Seconds per block for every candidate with the present number of threads, remembered."""
    config = model.config
    tokens = config.tokens_at(config.image_size)
    near = {"full": "", "axial": f"axial {config.grid} ", "window": f"window {config.window} "}[config.attention]
    gated = " gated" if config.mlp == "swiglu" else ""
    shape = f"{near}{tokens}x{config.embed_dim}x{config.num_heads}x{config.mlp_dim}{gated}"
    key = f"block {shape} {for_} {device_key('cpu')}"
    times: dict[str, float] = remembered(key, lambda: _time_block(model, for_, tokens))
    return times


def device_key(device: str) -> str:
    """What everything measured on a device depends on, besides what is run: its name, PyTorch, and the threads in use.

    Args:
        device: "cpu", "cuda", "cuda:1" or "mps".
    """
    name = f" {torch.cuda.get_device_name(torch.device(device))}" if device.startswith("cuda") else ""
    processor = f"{torch.backends.cpu.get_cpu_capability()}{name}"
    return f"{processor} torch {torch.__version__} threads {torch.get_num_threads()}"


@torch.random.fork_rng(devices=[])  # the person's own random numbers stay as they were, dropout or not
def _time_block(model: ViT, for_: Purpose, tokens: int) -> dict[str, float]:
    """Seconds per block and batch for every precision and form of attention, the median of a few rounds."""
    config = model.config
    flops = 2 * tokens * config.embed_dim * (4 * config.embed_dim + 2 * config.mlp_dim + 2 * tokens)
    batch = max(1, min(64, int(_PROBE_FLOPS / (3 * flops))))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, tokens, config.embed_dim, generator=generator)
    span: Span = "window" if config.attention == "window" else "row" if config.attention == "axial" else "all"
    block = Block(dataclasses.replace(config, position="none", position_at="input", rotary=None), span=span)
    for parameter in block.parameters():  # some are born as whatever lay in memory, and odd numbers take longer
        nn.init.normal_(parameter, std=0.02, generator=generator)
    where = Where(model.num_prefix, config.grid if config.num_tokens is None else (1, config.num_tokens))
    forms: tuple[Form, ...] = ("fused", "matmul")
    candidates = [(precision, form) for precision in ("float32", "bfloat16") for form in forms]
    times: dict[str, list[float]] = {f"{precision} {form}": [] for precision, form in candidates}
    for _ in range(_PROBE_ROUNDS):  # in turn, so that a noisy moment meets all of them
        for precision, form in candidates:
            block.attn.form = form
            began = time.perf_counter()
            _one_step(block, x, where, precision, for_)
            times[f"{precision} {form}"].append(time.perf_counter() - began)
    return {name: statistics.median(taken[1:]) for name, taken in times.items()}


def _one_step(block: Block, x: Tensor, where: Where, precision: str, for_: Purpose) -> None:
    """One pass through a block the way a model in training or inference makes it."""
    training = for_ == "training"
    with torch.set_grad_enabled(training):
        images = x.detach().requires_grad_(training)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            y = block(images, where)
        if training:
            block.zero_grad(set_to_none=True)
            y.sum().backward()

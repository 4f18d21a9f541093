"""Whether to compile the model first: tried where a run is long enough to get the time back, and remembered.

PyTorch's compiler takes a minute or more before the first step. What it saves depends on the model, the batch, the
precision and the machine, so it is measured on a copy; short runs are not kept waiting for it.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from vitreous import console
from vitreous.architecture import Size
from vitreous.console import duration
from vitreous.machine import remembered
from vitreous.model.prepare import Policy, Prepared
from vitreous.model.resnet import ResNet
from vitreous.model.vit import ViT
from vitreous.training.microbatch import pass_key, seconds_each

LONG = 1800.0
"""Seconds: shorter runs are not compiled, and the compiler is not even tried."""

_FEW_PASSES = 200  # no run to speak of; timing a pass of a large model would keep it waiting
_SET_UPS = 3  # in a run: for learning, for scoring, and for a smaller last batch
_WORTH_IT = 0.9  # compiled, a run must take at most this part of its time, set-ups included

Asked = Literal["auto", "on", "off"]


@dataclass(frozen=True, kw_only=True)
class Compilation:
    """A decision, and why."""

    chosen: bool
    reason: str
    """For a person; empty where there is nothing to say."""


def choose_compilation(
    module: nn.Module,
    size: Size,
    policy: Policy,
    asked: Asked = "auto",
    *,
    micro_batch: int,
    passes: int,
    seconds: float | None = None,
) -> Compilation:
    """Whether the run that is planned should be compiled.

    Args:
        module: what will be trained; only this package's own models are tried.
        size: (height, width) of the images in pixels.
        policy: how it is run.
        asked: "on" and "off" decide it; "auto" measures.
        micro_batch: images of a pass.
        passes: forward and backward passes of the whole run.
        seconds: of the whole run, where the person fixed them; then compiling buys steps in place of time.
    """
    if asked != "auto":
        return as_asked(asked)
    if not isinstance(module, ViT | ResNet) or policy.device == "mps" or passes < _FEW_PASSES:
        return Compilation(chosen=False, reason="")
    plain = _remembered("plain", module, size, policy, micro_batch)[0]
    whole = passes * plain if seconds is None else seconds
    if whole < LONG:
        return Compilation(chosen=False, reason="")
    compiled, set_up = _remembered("compiled", module, size, policy, micro_batch)
    if compiled <= 0:
        return Compilation(chosen=False, reason="not compiled: PyTorch's compiler does not work here")
    return decided(plain, compiled, set_up, whole)


def as_asked(asked: Literal["on", "off"]) -> Compilation:
    """The decision of a person.

    Args:
        asked: whether to compile.
    """
    return Compilation(chosen=asked == "on", reason="compiled as asked" if asked == "on" else "")


def decided(plain: float, compiled: float, set_up: float, whole: float) -> Compilation:
    """The decision, from what was measured.

    Args:
        plain: seconds of a pass.
        compiled: seconds of a compiled pass.
        set_up: seconds until the first compiled pass was through.
        whole: seconds of the run as it is.
    """
    share = compiled / plain + _SET_UPS * set_up / whole
    times = f"{plain / compiled:.2f} times as fast"
    if share <= _WORTH_IT:
        return Compilation(chosen=True, reason=f"compiled: {times} after {duration(set_up)}")
    return Compilation(chosen=False, reason=f"not compiled: {times} would not pay")


def _remembered(what: str, module: ViT | ResNet, size: Size, policy: Policy, micro_batch: int) -> tuple[float, float]:
    """(seconds of a pass, seconds of setting up), measured once on this machine."""
    key = f"{what} pass of {micro_batch} {pass_key(module, size, policy)}"
    a_pass, set_up = remembered(key, lambda: _measure(what == "compiled", module, size, policy, micro_batch))
    return a_pass, set_up


@torch.random.fork_rng()  # dropout draws, and the person's own random numbers stay as they were
def _measure(compiled: bool, module: ViT | ResNet, size: Size, policy: Policy, micro_batch: int) -> tuple[float, float]:
    """(seconds of a pass, seconds of setting up) of a copy; (0, 0) where the compiler fails."""
    prepared = Prepared(copy.deepcopy(module), policy).train()
    images = torch.randn(micro_batch, module.config.in_channels, *size)
    if not compiled:
        return micro_batch * seconds_each(prepared, images), 0.0
    console.say("trying PyTorch's compiler, a minute or two: this run is long enough to get them back ...")
    prepared.compile()
    began = time.perf_counter()
    try:
        prepared(images).float().square().mean().backward()
        set_up = time.perf_counter() - began
        return micro_batch * seconds_each(prepared, images), set_up
    except Exception:  # a compiler is somebody else's program, and there are many ways not to have one
        return 0.0, 0.0

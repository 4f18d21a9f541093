"""What training costs on this machine: a few passes of the real model, measured, and what follows for a whole run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import statistics
import time
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from vitreous import console
from vitreous.architecture import Architecture
from vitreous.config import Recipe
from vitreous.machine import remembered
from vitreous.model.create import create_model
from vitreous.model.prepare import Policy, Prepared, choose_policy, choose_threads, device_key
from vitreous.model.recompute import recompute_blocks
from vitreous.schema import from_json, to_json
from vitreous.training.learning import transfer
from vitreous.training.learning.optim import build_optimizer
from vitreous.training.memory import kept_bytes
from vitreous.training.microbatch import choose_micro_batch

WARM, MEASURED = 3, 20  # passes that are not yet like the others, and passes that count


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """Medians of passes measured on this machine."""

    device: str
    """As torch.device spells it."""
    threads: int
    """Of the arithmetic."""
    precision: str
    """Of matrix products."""
    micro_batch: int
    """Images in one pass."""
    passes: int
    """How many were measured."""
    pass_seconds: float
    """One pass forward and back."""
    update_seconds: float
    """One step of the optimiser, clipping and averaging included."""

    def step_seconds(self, batch_size: int) -> float:
        """One whole step; images are taken to be there when they are wanted.

        Args:
            batch_size: of the recipe.
        """
        return batch_size / self.micro_batch * self.pass_seconds + self.update_seconds

    def images_per_second(self, batch_size: int) -> float:
        """Images trained on in a second.

        Args:
            batch_size: of the recipe.
        """
        return batch_size / self.step_seconds(batch_size)


def measure(
    config: Architecture,
    recipe: Recipe,
    *,
    device: str = "auto",
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    micro_batch: int | None = None,
    gradient_checkpointing: bool = False,
) -> Measured:
    """Train the real model on random pixels for a few passes, or remember what that gave before on this machine.

    Args:
        config: as it is trained, at the recipe's resolution; see `cost.budget.as_trained`.
        recipe: batch, optimiser, what learns.
        device: "auto" takes CUDA, then Apple's MPS, then the CPU.
        precision: "auto" lets measuring decide.
        micro_batch: images in one pass; None lets measuring decide.
        gradient_checkpointing: compute blocks twice.

    Raises:
        ResourceError: the device is not there.
    """
    model: nn.Module = create_model(config, seed=0)
    threads, before = choose_threads(model, for_="training", device=device), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        policy = choose_policy(model, for_="training", device=device, precision=precision)
        transfer.begin(model, recipe)
        if gradient_checkpointing:
            recompute_blocks(model)
        if micro_batch is None:
            each, size = kept_bytes(model, config.image_size), config.image_size
            micro_batch = choose_micro_batch(model, size, policy, largest=recipe.batch_size, bytes_each=each)
        micro = min(micro_batch, recipe.batch_size)
        key = _key(config, recipe, policy, micro, gradient_checkpointing)
        return from_json(Measured, remembered(key, lambda: to_json(_passes(model, config, recipe, policy, micro))))
    finally:
        torch.set_num_threads(before)


@torch.random.fork_rng(devices=[])  # dropout draws, and the person's own random numbers stay as they were
def _passes(model: nn.Module, config: Architecture, recipe: Recipe, policy: Policy, micro: int) -> Measured:
    prepared = Prepared(model, policy).train()
    optimizer = build_optimizer(model, recipe)
    images = torch.randn(micro, config.in_channels, *config.image_size)
    mean = [value.detach().clone() for value in model.parameters()] if recipe.average_decay else []
    forward_back, update = [], []
    with console.Progress("measuring", WARM + MEASURED, "passes") as progress:
        for _ in range(WARM + MEASURED):
            began = time.perf_counter()
            logits = prepared(images).flatten(1)
            F.cross_entropy(logits, logits.detach().softmax(1)).backward()
            _wait(policy.device)
            passed = time.perf_counter()
            if recipe.clip_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if mean:
                torch._foreach_lerp_(mean, [value.detach() for value in model.parameters()], 0.001)
            _wait(policy.device)
            forward_back.append(passed - began)
            update.append(time.perf_counter() - passed)
            progress.advance(1)
    return Measured(
        device=policy.device,
        threads=torch.get_num_threads(),
        precision=policy.precision,
        micro_batch=micro,
        passes=MEASURED,
        pass_seconds=statistics.median(forward_back[WARM:]),
        update_seconds=statistics.median(update[WARM:]),
    )


def _wait(device: str) -> None:
    """Until the device has done what it was told."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(torch.device(device))
    elif device.startswith("mps"):
        torch.mps.synchronize()


def _key(config: Architecture, recipe: Recipe, policy: Policy, micro: int, again: bool) -> str:
    """Everything the outcome may depend on."""
    what: dict[str, Any] = {
        "config": to_json(config),
        "recipe": [recipe.optimizer, recipe.train, recipe.clip_norm is not None, recipe.average_decay is not None],
        "policy": dataclasses.asdict(policy) | {"reason": ""},
        "again": again,
    }
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]
    return f"training {config.name} {digest} {micro} at a time {device_key(policy.device)}"

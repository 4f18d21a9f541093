"""A plan in words, for the person to read before anything is trained, and what its outcome may depend on."""

from __future__ import annotations

import math
import os
import platform
from importlib.metadata import packages_distributions, version
from pathlib import Path

import torch

from vitreous.cost import macs
from vitreous.model.attention import Attention
from vitreous.recipe import find_recipe
from vitreous.training.learning.schedule import warmup_steps
from vitreous.training.plan import Plan

_FAST = ("simplejpeg", "cv2")  # pixels may differ in other versions


def describe(plan: Plan, folder: Path | None) -> list[str]:
    """The plan in words, for the person to read before anything is trained.

    Args:
        plan: what will be done.
        folder: the run folder, where it is known.
    """
    recipe, size = plan.recipe, plan.card.preprocess.image_size
    parameters = sum(p.numel() for p in plan.model.parameters())
    learned = sum(p.numel() for p in plan.model.parameters() if p.requires_grad)
    part = "" if recipe.train == "all" else f", {learned / 1e6:.3g} M of them trained ({recipe.train})"
    weights = "random weights" if plan.random else f"weights from {plan.source}"
    epochs, warmup = (
        plan.total_steps / plan.steps_per_epoch,
        warmup_steps(recipe, plan.total_steps, plan.steps_per_epoch),
    )
    lines = [f"data     {note}" for note in plan.splits.notes]
    lines += [f"         left out: {failure.path}: {failure.reason}" for failure in plan.splits.failed[:10]]
    lines += [
        f"model    {plan.source}: {weights}, {parameters / 1e6:.2f} M parameters{part}, {size[0]} x {size[1]} px",
        f"recipe   {recipe.name}: {recipe.optimizer}, learning rate {recipe.peak:g} ({recipe.schedule}),"
        f" {_batch(plan)}, {plan.total_steps:,} steps = {epochs:.1f} epochs, warm-up {warmup:,}",
        f"price    {_price(plan)}",
        f"machine  {_machine(plan)}",
    ]
    named = find_recipe(recipe.name, plan.verb)
    if named.hidden_head and not recipe.hidden_head:
        lines.append("         without the recipe's tanh layer: the head of this model is linear")
    for rate in ("dropout", "drop_path"):
        if getattr(named, rate) and getattr(recipe, rate) is None:
            lines.append(
                f"         without the recipe's {rate} of {getattr(named, rate):g}: this model has no place for it"
            )
    if recipe.warmup_steps and warmup != recipe.warmup_steps:
        lines.append(f"         the recipe's warm-up of {recipe.warmup_steps:,} steps does not fit; cut to {warmup:,}")
    if not plan.splits.train.mirror_safe:
        lines.append("         no mirrored images: these read differently in a mirror")
    if plan.options.decode == "fast":
        lines.append("         JPEGs are decoded fast: at about the size needed, some pixels differ slightly")
    if plan.policy.kept_heap:
        lines.append("         freed memory is kept for the next step (VITREOUS_KEEP_HEAP=0 forbids it)")
    if plan.threads > 1 and (spins := os.environ.get("GOMP_SPINCOUNT")):
        lines.append(f"         waiting threads sleep after {spins} spins (GOMP_SPINCOUNT sets it)")
    if folder is not None:
        lines.append(f"run      {folder}   (Ctrl-C is safe: it saves)")
    return lines


def environment(plan: Plan) -> dict[str, str]:
    """Versions and machine: whatever the result may depend on.

    Args:
        plan: gives threads, device and precision.
    """
    attends = any(isinstance(part, Attention) for part in plan.model.modules())
    return {
        "Python": platform.python_version(),
        "PyTorch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": torch.backends.cpu.get_cpu_capability(),
        "device": plan.policy.device,
        "threads": str(plan.threads),
        "precision": plan.policy.precision,
        **({"attention": plan.policy.attention} if attends else {}),
        "micro-batch": str(plan.micro_batch),
        "processes": str(plan.world_size),
        **(_fast_versions() if plan.options.decode == "fast" else {}),
    }


def _fast_versions() -> dict[str, str]:
    """Of the libraries of fast decoding, by the names they were installed under: of OpenCV there are four."""
    known = packages_distributions()
    return {name: version(name) for module in _FAST for name in sorted(set(known.get(module, ())))}


def _batch(plan: Plan) -> str:
    """The batch, and how it is divided among processes and passes."""
    recipe = plan.recipe
    share = recipe.batch_size // plan.world_size
    pieces = math.ceil(share / plan.micro_batch)
    words = f"batch {recipe.batch_size}"
    if plan.world_size > 1:
        words += f" on {plan.world_size} processes"
    return words + (f" as {pieces} x {plan.micro_batch}" if pieces > 1 else "")


def _machine(plan: Plan) -> str:
    words = [plan.policy.device, _threads(plan.threads), plan.policy.reason]
    if plan.options.gradient_checkpointing:
        words.append("blocks are computed again on the way back")
    if plan.compilation.reason:
        words.append(plan.compilation.reason)
    return ", ".join(words)


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _price(plan: Plan) -> str:
    """What the run costs, in words: arithmetic and memory; for somebody's own module only memory."""
    memory = f"about {plan.memory / 1e9:.2g} GB of memory besides the images"
    if plan.card.architecture is None:
        return memory
    each = macs(plan.card.architecture, plan.card.preprocess.image_size)
    # going back takes two products of matrices for every one on the way forward
    whole = 3 * each * plan.recipe.batch_size * plan.total_steps
    return f"{_scaled(each)} multiply-adds an image, {_scaled(whole)} to train; {memory}"


def _scaled(number: float) -> str:
    """12,345,678 as "12.3 M"."""
    power = min(max(int(math.log10(max(number, 1))) // 3, 0), 7)
    return f"{number / 1000**power:.3g} {' KMGTPEZ'[power]}".rstrip()

"""Small training runs that are stopped by real signals and gone on with, and what of them must be equal to the bit."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vitreous.architecture import ViTConfig
from vitreous.config import TrainOptions
from vitreous.data.imageset import Splits, array_set
from vitreous.errors import InterruptedRun
from vitreous.training.loop import train
from vitreous.training.plan import ALONE, Plan, make_plan
from vitreous.training.run import RunFolder, read_records
from vitreous.training.saving import checkpoint
from vitreous.training.signals import StopRequests
from vitreous.training.step import Done, Engine, Judge
from vitreous.weights.native import read_native

CONFIG = ViTConfig(
    name="tiny", image_size=(16, 24), patch_size=(8, 4), embed_dim=20, depth=2, num_heads=5, mlp_dim=28, num_classes=3
)
BATCH, STEPS = 6, 4

OPTIONS: dict[str, Any] = {
    "model": "vit-test", "image_size": 32, "batch_size": 6, "threads": 1, "checkpoint_minutes": 0.0,
    "precision": "float32",
}  # fmt: skip
"""Of runs on small photos, from end to end."""


def noise(count: int = 26) -> Splits:
    """Images of noise, their brightness rising with their class; the classes are unevenly many."""
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1, 2], [count // 2, count // 3, count - count // 2 - count // 3])
    pixels = (rng.integers(0, 120, (count, 20, 30, 3)) + 60 * labels[:, None, None, None]).astype(np.uint8)
    train = array_set("noise", pixels, labels.astype(np.int64), ("a", "b", "c"))
    return Splits(train=train, val=train.subset(range(5)), test=None)


def tiny_plan(recipe: dict[str, Any], options: dict[str, Any], model: Any = CONFIG, *, count: int = 26) -> Plan:
    """The plan of a tiny run, as --set asks for it: small-pretrain, or the recipe `named`, with changes."""
    changes = {"batch_size": BATCH, **recipe}
    asked = TrainOptions(
        **{"image_size": (16, 24), "threads": 1, "precision": "float32", "micro_batch": BATCH, "steps": STEPS}
        | {"recipe": changes.pop("named", None), "set": ",".join(map(_spelled, changes.items())), **options}
    )
    return make_plan("pretrain", noise(count), model, asked)


def _spelled(setting: tuple[str, Any]) -> str:
    name, value = setting
    match value:
        case None:
            return f"{name}=nothing"
        case bool():
            return f"{name}={str(value).lower()}"
        case tuple():
            return f"{name}={':'.join(map(str, value))}"
    return f"{name}={value}"


def live(plan: Plan, run: Path) -> None:
    """Train, from the newest checkpoint where there is one, to the end or to a signal."""
    run.mkdir(exist_ok=True)
    folder = RunFolder(run)
    try:
        with StopRequests(str(run)) as stop:
            train(plan, folder, stop, ALONE)
    finally:
        folder.close()


def stop_at(step: int, number: int = signal.SIGTERM) -> Callable[..., Iterator[Done]]:
    """In place of `Engine.steps`: this process gets a signal in the middle of a step, counted from 0."""
    return at_step(step, lambda _: os.kill(os.getpid(), number))


def at_step(step: int, act: Callable[[Engine], object]) -> Callable[..., Iterator[Done]]:
    """In place of `Engine.steps`: something happens when a step, counted from 0, has been done and not been told."""
    steps = Engine.steps

    def acting(engine: Engine, first: int, judge: Judge, *, last: int | None = None) -> Iterator[Done]:
        for done in steps(engine, first, judge, last=last):
            if done.step == step:
                act(engine)
            yield done

    return acting


def interrupted(
    act: Callable[[], object], monkeypatch: pytest.MonkeyPatch, step: int, number: int = signal.SIGTERM
) -> int:
    """Do `act`, which trains, and stop it in the middle of a step; the exit code that it asks for."""
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "steps", stop_at(step, number))
        with pytest.raises(InterruptedRun) as caught:
            act()
    return caught.value.exit_code


def digest(run: Path) -> dict[str, str]:
    """What must be equal: the whole last state with average and moments, the curves, and the result where it is."""
    state, complaints = checkpoint.read_latest(run / "checkpoints")
    assert state is not None
    assert [] == complaints
    found = {"step": str(state.step), "watch": str(state.watch)}
    for part in ("model", "optimizer", "average"):
        found[part] = of_tensors(getattr(state, part))
    curve = [(r.step, r.loss, r.accuracy, r.learning_rate, r.val_loss, r.val_accuracy) for r in read_records(run)]
    found["curve"] = str(curve)
    if (run / "model.safetensors").exists():
        found["result"] = read_native(run / "model.safetensors").digest
    return found


def of_tensors(tensors: dict[str, torch.Tensor]) -> str:
    """SHA-256 over names, types and bytes."""
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()

"""A kept batch goes through the model again, from what was kept alone: where it goes wrong, to the bit as it did."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from vitreous.data.feeding.loader import Batch
from vitreous.training.trouble.evidence import Kept

_SUSPECTS = 3  # images and gradients that are named where all are finite


@runtime_checkable
class Engine(Protocol):
    """What carries out a step: training's own engine, or its like in a test."""

    def gradients(self, parts: tuple[Batch, ...]) -> tuple[float, float]:
        """Add up the gradients of a batch; gives its mean loss first."""

    def loss(self, part: Batch) -> tuple[Tensor, float]:
        """Sum of the losses of a micro-batch's images first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Suspect:
    """One image of the batch."""

    place: int
    """In the batch, from 0."""
    id: str
    loss: float
    """Of this image alone, without dropout."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Replayed:
    """What came out when a kept batch went through the model again."""

    folder: str
    step: int
    """From 0."""
    loss: float
    grad_norm: float
    recorded_loss: float
    """As it was in training."""
    recorded_norm: float
    exact: bool
    """Whether loss and gradient norm are those of training, to the bit."""
    gradients: str
    """SHA-256 of all gradients."""
    module: str | None
    """The first module whose output is not finite."""
    weights: tuple[str, ...]
    """Parameters that were not finite before the step."""
    parameters: tuple[str, ...]
    """Parameters whose gradient is not finite."""
    largest: tuple[tuple[str, float], ...]
    """Parameters with the largest gradient norms, where all are finite."""
    images: tuple[Suspect, ...]
    """Images whose own loss is not finite; where there are none, those with the largest."""

    def words(self) -> list[str]:
        """What was found, for a person."""
        same = "equal to the bit to those of training" if self.exact else self._differences()
        lines = [
            f"step {self.step + 1:,} again, from {self.folder}",
            f"  loss {self.loss:.6g}, gradient norm {self.grad_norm:.6g}: {same}",
        ]
        if self.weights:
            lines.append(f"  weights that are not finite: {_few(self.weights)}")
        if self.module is not None:
            lines.append(f"  the first output that is not finite is that of {self.module or 'the whole model'}")
        if self.parameters:
            lines.append(f"  gradients that are not finite: {_few(self.parameters)}")
        lines += [f"  gradient norm {norm:.4g} in {name}" for name, norm in self.largest]
        broken = any(not math.isfinite(image.loss) for image in self.images)
        lines.append("  images whose own loss is not finite:" if broken else "  images with the largest loss:")
        lines += [f"    place {image.place}: {image.id}  loss {image.loss:.4g}" for image in self.images[:10]]
        return [*lines, f"  all of them: {Path(self.folder) / 'contact.png'}"]

    def _differences(self) -> str:
        return (
            f"in training {self.recorded_loss:.6g} and {self.recorded_norm:.6g} (other threads, processes or machine?)"
        )


def replay(
    kept: Kept, model: nn.Module, engine: Engine, *, norm: Callable[[nn.Module], float] | None = None
) -> Replayed:
    """Put a kept batch through the model as it was, and see where it goes wrong.

    Args:
        kept: as by `read`. Its weights are put into the model; where they lie in shards, they are in it already.
        model: the one that `engine` trains; has other weights, and no gradients, afterwards.
        engine: in the phase of the kept step.
        norm: the global norm of the gradients, as training takes it; by default PyTorch's.
    """
    if kept.state.model:
        model.load_state_dict(kept.state.model, strict=True)
    model.zero_grad(set_to_none=True)
    broken = tuple(name for name, value in model.named_parameters() if not _finite(value))
    with _watched(model) as not_finite:
        loss, _ = engine.gradients(kept.parts)
    total = (norm or _norm)(model)
    gradients = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
    bad = tuple(name for name, gradient in gradients.items() if not _finite(gradient))
    norms = {} if bad else {name: float(gradient.float().norm()) for name, gradient in gradients.items()}
    replayed = Replayed(
        folder=str(kept.folder),
        step=kept.at.step,
        loss=loss,
        grad_norm=total,
        recorded_loss=kept.at.loss,
        recorded_norm=kept.at.grad_norm,
        exact=_same(loss, kept.at.loss) and _same(total, kept.at.grad_norm),
        gradients=digest(gradients),
        module=not_finite[0] if not_finite else None,
        weights=broken,
        parameters=bad,
        largest=tuple(sorted(norms.items(), key=lambda pair: -pair[1])[:_SUSPECTS]),
        images=_suspects(kept, model, engine),
    )
    model.zero_grad(set_to_none=True)
    return replayed


def digest(tensors: dict[str, Tensor]) -> str:
    """SHA-256 over names and values; every NaN counts as the same one.

    Args:
        tensors: in any order.
    """
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        value = tensor.detach().cpu().float().contiguous()
        value = torch.where(value.isnan(), torch.full_like(value, math.nan), value)
        total.update(f"{name} {tuple(value.shape)}\n".encode())
        total.update(value.numpy().tobytes())
    return total.hexdigest()


def _suspects(kept: Kept, model: nn.Module, engine: Engine) -> tuple[Suspect, ...]:
    """Every image by itself: in training they only meet in the mean."""
    modes = {part: part.training for part in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            losses = [float(engine.loss(one)[0]) for part in kept.parts for one in _singles(part)]
    finally:
        for part, training in modes.items():
            part.training = training
    first = kept.parts[0].first
    seen = [
        Suspect(place=first + n, id=name, loss=loss)
        for n, (name, loss) in enumerate(zip(kept.ids, losses, strict=True))
    ]
    broken = tuple(image for image in seen if not math.isfinite(image.loss))
    return broken or tuple(sorted(seen, key=lambda image: -image.loss)[:_SUSPECTS])


def _singles(part: Batch) -> Iterator[Batch]:
    for n in range(len(part.images)):
        own = {
            name: value[n : n + 1]
            for name in ("images", "labels", "epochs", "indices", "mates", "mate_labels", "targets", "mate_targets")
            if (value := getattr(part, name)) is not None
        }
        yield dataclasses.replace(part, first=part.first + n, last=True, **own)


@contextlib.contextmanager
def _watched(model: nn.Module) -> Iterator[list[str]]:
    """Names of modules whose outputs are not finite, in the order in which they answer: the innermost first."""
    names: list[str] = []

    def looking(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def look(_module: nn.Module, _inputs: Any, output: Any) -> None:
            tensors = output if isinstance(output, tuple | list) else [output]
            if any(isinstance(tensor, Tensor) and not _finite(tensor) for tensor in tensors):
                names.append(name)

        return look

    hooks = [module.register_forward_hook(looking(name)) for name, module in model.named_modules()]
    try:
        yield names
    finally:
        for hook in hooks:
            hook.remove()


def _norm(model: nn.Module) -> float:
    return float(nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None]))


def _finite(tensor: Tensor) -> bool:
    return bool(tensor.detach().isfinite().all())


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

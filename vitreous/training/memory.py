"""How many bytes training takes: by arithmetic for this package's models, by counting for anybody else's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vitreous.architecture import Architecture, Size
from vitreous.config import Recipe
from vitreous.cost import kept, training_memory
from vitreous.model.attention import Form
from vitreous.model.prepare import Precision

_UNKNOWN = 16e6  # bytes for one image of a module that only real tensors can go through


@dataclass(frozen=True)
class How:
    """How a model is run, as far as memory depends on it."""

    precision: Precision
    attention: Form
    recompute: bool


def image_bytes(module: nn.Module, architecture: Architecture | None, size: Size, how: How) -> float:
    """About how many bytes one image leaves waiting for the backward pass.

    Args:
        module: what is trained.
        architecture: of the network in it; None for a person's own module.
        size: (height, width) of the images in pixels.
        how: it is run.
    """
    if architecture is None:
        return kept_bytes(module, size)
    each = kept(architecture, size, form=how.attention, gradient_checkpointing=how.recompute)
    return float(each.num_bytes(how.precision))


def peak_memory(
    module: nn.Module, architecture: Architecture | None, size: Size, recipe: Recipe, micro_batch: int, how: How
) -> float:
    """About how many bytes training takes at its height, besides PyTorch itself and the images.

    Args:
        module: what is trained.
        architecture: of the network in it; None for a person's own module.
        size: (height, width) of the images in pixels.
        recipe: names the optimiser, what is trained, and whether weights are averaged.
        micro_batch: images in one forward pass.
        how: it is run.
    """
    if architecture is None:
        return training_bytes(module, recipe, micro_batch, kept_bytes(module, size))
    found = training_memory(
        architecture, recipe, micro_batch, how.precision, how.recompute, image_size=size, form=how.attention
    )
    return float(found.peak)


def kept_bytes(model: nn.Module, size: Size, channels: int = 3) -> float:
    """About how many bytes one image leaves waiting for the backward pass, in float32.

    Counted, not guessed: images without numbers (PyTorch's "meta" device) go through the model, which costs neither
    memory nor arithmetic. Fused attention keeps a little less than this says, bfloat16 about half.

    Args:
        model: any module with `forward(images) -> logits`; left as it is found.
        size: (height, width) of the images in pixels.
        channels: of the images.
    """
    try:
        with _training(model):
            two, three = (_saved(model, (count, channels, *size)) for count in (2, 3))  # what weights leave cancels out
    except (RuntimeError, TypeError, ValueError):  # somebody's own module that looks at the numbers on its way
        return _UNKNOWN
    return float(three - two)


def training_bytes(model: nn.Module, recipe: Recipe, micro_batch: int, per_image: float) -> float:
    """About how many bytes training takes at its height, besides PyTorch itself and the images.

    Args:
        model: its weights and their gradients count, and what the optimiser keeps beside each.
        recipe: names the optimiser, and whether weights are averaged.
        micro_batch: images in one forward pass.
        per_image: what one image keeps waiting.
    """
    learned = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    still = sum(p.numel() * p.element_size() for p in model.parameters() if not p.requires_grad)
    copies = 2 + (1 if recipe.optimizer == "sgd" else 2) + (1 if recipe.average_decay else 0)
    return copies * learned + still + micro_batch * per_image


def _saved(model: nn.Module, shape: tuple[int, ...]) -> int:
    """Bytes that autograd holds after a forward pass of images of this shape, each piece of memory once."""
    pieces: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        pieces[storage._cdata] = storage  # views share one; held here, so that no address comes twice
        return tensor

    weights = {name: value.detach().to("meta").requires_grad_(value.requires_grad) for name, value in _state(model)}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = torch.func.functional_call(model, weights, (torch.empty(shape, device="meta"),))
    del logits
    return sum(storage.nbytes() for storage in pieces.values())


def _state(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


@contextlib.contextmanager
def _training(model: nn.Module) -> Iterator[None]:
    """The model in training mode for a while, each part back in its own afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.train()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode

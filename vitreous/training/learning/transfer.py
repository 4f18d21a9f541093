"""Which weights a transfer moves: all, the head, the head first, biases, or low-rank updates of the matrices.

    begin -> phase, step, phase, step, ... -> finish

`phase` is a function of the step alone, so a resumed run stands where it was. What is frozen costs no gradients: as
long as only the head moves, nothing before it is kept for a way back.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from vitreous.config import Recipe
from vitreous.errors import ConfigError
from vitreous.model.attention import Attention
from vitreous.model.draw import lecun_normal
from vitreous.model.layers import Mlp
from vitreous.model.pool import AttentionPool
from vitreous.model.resnet import ResNet
from vitreous.model.vit import ViT

_PURPOSE = 31  # of the seed, so that LoRA's numbers are no others' again
_ALPHA = 8.0  # of LoRA: at the usual rank of 8 the factor is 1, and other ranks need no other learning rate

_before: WeakKeyDictionary[nn.Module, frozenset[str]] = WeakKeyDictionary()
"""What was trainable before `begin`: a person may have frozen something, and gets it back so."""


class LowRank(nn.Module):
    """W + B A alpha / rank: a matrix that is kept and an update of low rank that learns (Hu et al., "LoRA", 2021).

    B (`up`) begins at zero, so the first forward pass is the old one to the bit. Of A (`down`) section 4.1 says only
    that it is normal; here it is LeCun's.

    Args:
        weight: W (out, in), which gives shape, type and device.
        rank: of the update.
        generator: source of randomness.
    """

    def __init__(self, weight: Float[Tensor, "O I"], rank: int, generator: Generator) -> None:
        super().__init__()
        down = torch.empty(rank, weight.shape[1])
        lecun_normal(down, generator)
        self.down = nn.Parameter(down.to(weight))
        self.up = nn.Parameter(weight.new_zeros(weight.shape[0], rank))
        self.scale = _ALPHA / rank

    def forward(self, weight: Float[Tensor, "O I"]) -> Float[Tensor, "O I"]:
        """The matrix that the layer multiplies with."""
        return weight + self.scale * (self.up @ self.down)


def begin(model: nn.Module, recipe: Recipe, *, seed: int = 0) -> None:
    """Put LoRA's updates on where the recipe wants them, and freeze what will never move.

    What a person had frozen before stays so. Where an earlier run broke off, its updates are merged first.

    Args:
        model: the module itself, not a wrapper; changed in place.
        recipe: `train` says which weights move.
        seed: fixes LoRA's random half.

    Raises:
        ConfigError: the model lacks what is to be trained: a head, biases, attention.
    """
    _restore(model)
    if recipe.train == "all":
        return
    heads_of(model)  # refuses a model that has none, before anything is changed
    _before[model] = frozenset(_trainable(model))
    if recipe.train == "lora":
        _put_low_rank(model, recipe.lora_rank, np.random.SeedSequence(seed, spawn_key=(_PURPOSE,)))
    _move_only(model, ever_trained(model, recipe))


def ever_trained(model: nn.Module, recipe: Recipe) -> frozenset[str]:
    """Names of the parameters that move at some step of the run: what an optimiser must know of.

    Args:
        model: the module given to `begin`, or any other, of which all that is trainable counts as so before.
        recipe: the one given to `begin`.

    Raises:
        ConfigError: see `begin`.
    """
    before = _before.get(model, frozenset(_trainable(model)))
    match recipe.train:
        case "all" | "head-first":
            return before
        case "head":
            return before & _head_names(model)
        case "bitfit":
            biases = {name for name, _ in model.named_parameters() if name.endswith("bias")}
            if not biases - _head_names(model):
                raise ConfigError(
                    "BitFit trains biases, and this model has none outside its head", remedy="--train head"
                )
            return before & (biases | _head_names(model))
        case "lora":
            return before & _head_names(model) | _low_rank_names(model)


def head_only_steps(recipe: Recipe, total: int) -> int:
    """Steps at the beginning of a run in which the head alone learns although more will.

    Args:
        recipe: gives their share.
        total: steps of the whole run.
    """
    return round(recipe.head_first * total) if recipe.train == "head-first" else 0


def phase(model: nn.Module, recipe: Recipe, step: int, total: int) -> None:
    """Make trainable what moves at this step, before its forward pass.

    Batch norms that are frozen stop taking statistics too: otherwise the frozen part would change all the same.

    Args:
        model: the module given to `begin`.
        recipe: the one given to `begin`.
        step: 0 for the first.
        total: steps of the whole run.
    """
    if recipe.train == "all":
        return
    if recipe.train == "head-first":
        now = ever_trained(model, recipe)
        first = step < head_only_steps(recipe, total)
        _move_only(model, now & _head_names(model) if first else now)
    for part in model.modules():
        if isinstance(part, _BatchNorm):
            part.train(model.training and any(parameter.requires_grad for parameter in part.parameters()))


def finish(model: nn.Module, recipe: Recipe) -> None:
    """Merge LoRA's updates into the matrices, and make trainable again what was so before `begin`.

    An average of the weights is put into the model before, while it still has the parameters that were averaged.

    Args:
        model: the module given to `begin`; its parameters have again the names they had before.
        recipe: the one given to `begin`.
    """
    if recipe.train != "all":
        _restore(model)


def heads_of(model: nn.Module) -> dict[str, nn.Module]:
    """The layers that turn features into logits, by name: `head` and `head_dist`, or else the last linear layer.

    Args:
        model: any module.

    Raises:
        ConfigError: there is none.
    """
    named = {}
    for name in ("head", "head_dist"):
        part = getattr(model, name, None)
        if isinstance(inner := getattr(part, "fc", None), nn.Module):
            part, name = inner, f"{name}.fc"
        if isinstance(part, nn.Module) and any(True for _ in part.parameters()):
            named[name] = part
    if not named and not isinstance(model, ViT | ResNet):
        named = dict([(name, part) for name, part in model.named_modules() if isinstance(part, nn.Linear)][-1:])
    if not named:
        raise ConfigError(
            "this model has no head that could be trained",
            why=f"{type(model).__name__} has neither `head` nor `head_dist` with weights, nor a last nn.Linear",
            remedy="--train all, or give the model a head (num_classes)",
        )
    return named


def _trainable(model: nn.Module) -> list[str]:
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def _move_only(model: nn.Module, names: frozenset[str]) -> None:
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in names)


def _head_names(model: nn.Module) -> frozenset[str]:
    heads = heads_of(model).items()
    return frozenset(f"{at}.{name}" if at else name for at, head in heads for name, _ in head.named_parameters())


def _low_rank_names(model: nn.Module) -> frozenset[str]:
    updates = [(at, part) for at, part in model.named_modules() if isinstance(part, LowRank)]
    return frozenset(f"{at}.{name}" for at, part in updates for name, _ in part.named_parameters())


def _put_low_rank(model: nn.Module, rank: int, seed: np.random.SeedSequence) -> None:
    """An update on every matrix of attention and MLP, all drawn from one stream."""
    layers = [
        layer
        for part in model.modules()
        if isinstance(part, Attention | AttentionPool | Mlp)
        for layer in part.children()
        if isinstance(layer, nn.Linear)
    ]
    if not layers:
        raise ConfigError(
            "LoRA updates the attention and MLP matrices of a Vision Transformer, and this model has none",
            why=f"it is a {type(model).__name__}",
            remedy="--train head, head-first or bitfit",
        )
    generator = torch.Generator().manual_seed(int(seed.generate_state(1)[0]))
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank, generator))


def _restore(model: nn.Module) -> None:
    """The model as it was before `begin`, its weights as they are now."""
    for at in [at for at, part in model.named_modules() if isinstance(part, LowRank)]:
        layer = model.get_submodule(at.removesuffix(".parametrizations.weight.0"))
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    if model in _before:
        _move_only(model, _before.pop(model))

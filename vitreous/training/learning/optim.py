"""Which parameters decay, how fast each learns beside the others, and which optimiser moves them.

Three units of weight decay are in use; a recipe's `weight_decay` is PyTorch's. AdamW takes lr * weight_decay of a
matrix at each step. The paper's and AugReg's tables mean the same. big_vision's `wd` is multiplied by the shape of the
schedule alone, so it is weight_decay times the peak learning rate (optax.py: 1e-4 there at 1e-3 is 0.1 here). SGD adds
weight_decay * weight to the gradient before the momentum.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import torch
from torch import nn

from vitreous.config import Recipe
from vitreous.errors import ConfigError
from vitreous.model.vit import ViT
from vitreous.training.learning.lamb import Lamb
from vitreous.training.learning.transfer import ever_trained

_TABLES = ("pos_embed", "pos_embed_y", "pos_embed_x", "pos_embed_prefix", "rel_pos")
_TOKENS = ("cls_token", "dist_token", "reg_token", "mask_token")
_NEVER_DECAYED = (*_TABLES, *_TOKENS, "latent")

_BLOCK = re.compile(r"blocks\.(\d+)\.")
_STEM = (*_TABLES, *_TOKENS, "patch_embed", "norm_pre")  # what tokens go through before the first block


def parameter_groups(
    model: nn.Module,
    weight_decay: float,
    layer_decay: float | None = None,
    trained: Collection[str] | None = None,
) -> list[dict[str, Any]]:
    """Every trained parameter in exactly one group; each group has a `weight_decay` and an `lr_scale`.

    Matrices and convolution kernels decay; biases, norms, tokens and positions do not (big_vision decays
    `.*/kernel$`, which is the same set). With `layer_decay` there are two such groups for each layer, from the stem up.

    Args:
        model: any module; with `layer_decay` a ViT.
        weight_decay: of matrices and kernels.
        layer_decay: the learning rate of each layer as a share of the next one's; None for one rate.
        trained: names of the parameters; None takes those that are trainable now.

    Raises:
        ConfigError: nothing is trainable, or `layer_decay` is given for a module without blocks.
    """
    layers = {} if layer_decay is None else layer_numbers(model)
    last = max(layers.values(), default=0)
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for layer in range(last + 1):
        scale = 1.0 if layer_decay is None else layer_decay ** (last - layer)
        groups[layer, True] = {"params": [], "weight_decay": weight_decay, "lr_scale": scale}
        groups[layer, False] = {"params": [], "weight_decay": 0.0, "lr_scale": scale}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad if trained is None else name in trained:
            decays = parameter.ndim > 1 and name.rpartition(".")[2] not in _NEVER_DECAYED
            groups[layers.get(name, 0), decays]["params"].append(parameter)
    filled = [group for group in groups.values() if group["params"]]
    if not filled:
        raise ConfigError("nothing in this model can be trained", why="all its parameters are frozen")
    return filled


def layer_numbers(model: nn.Module) -> dict[str, int]:
    """For layer-wise decay: 0 for what comes before the blocks, i + 1 for block i, L + 1 for what comes after.

    MAE's and BEiT's numbers (mae/util/lr_decay.py). There registers and distillation token fall among what comes after,
    by accident; here they are input, as in timm and DINOv2. timm counts the final norm with the last block.

    Args:
        model: a ViT; of a hybrid the whole ResNet is layer 0.

    Raises:
        ConfigError: it is something else.
    """
    if not isinstance(model, ViT):
        raise ConfigError(
            "layer-wise learning-rate decay needs the blocks of a Vision Transformer",
            why=f"this model is a {type(model).__name__}",
            remedy="a recipe without layer_decay",
        )
    last = len(model.blocks) + 1
    numbers = {}
    for name, _ in model.named_parameters():
        block = _BLOCK.match(name)
        numbers[name] = int(block[1]) + 1 if block else 0 if name.partition(".")[0] in _STEM else last
    return numbers


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over all parameters of `model` that move at some step.

    The loop sets each group's `lr` at every step, to the schedule's times the group's `lr_scale`.

    Args:
        model: already on its device, and wrapped where it is to be sharded.
        recipe: names the optimiser and its constants.

    Raises:
        ConfigError: see `parameter_groups`.
    """
    groups = parameter_groups(model, recipe.weight_decay, recipe.layer_decay, ever_trained(model, recipe))
    for group in groups:
        group["lr"] = recipe.peak * group["lr_scale"]
    members = [parameter for group in groups for parameter in group["params"]]
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in members)
    match recipe.optimizer:
        case "adam":  # AdamW is Adam with the decay decoupled, as the paper's is
            return torch.optim.AdamW(groups, betas=recipe.betas, eps=recipe.eps, fused=fused)
        case "sgd":
            # fused, PyTorch's refuses sharded weights, and those of which some, frozen until now, have no momentum yet
            fused = fused and recipe.train != "head-first" and all(type(each) is nn.Parameter for each in members)
            return torch.optim.SGD(groups, momentum=recipe.momentum, fused=fused)
        case "lamb":
            return Lamb(groups, betas=recipe.betas, eps=recipe.eps)

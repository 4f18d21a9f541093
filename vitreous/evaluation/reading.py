"""What of a model's inside counts as features: what its head reads, and its blocks' outputs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vitreous.errors import UsageError
from vitreous.model.resnet import ResNet
from vitreous.model.vit import ViT


def num_blocks(model: nn.Module) -> int:
    """How many blocks a model has that can be asked for; a ResNet's are its units.

    Args:
        model: any; 0 for one that is neither ViT nor ResNet.
    """
    if isinstance(model, ViT):
        return len(model.blocks)
    return sum(model.config.layers) if isinstance(model, ResNet) else 0


def what_is_read(model: nn.Module) -> str:
    """What a model's pooled features are, in words.

    Args:
        model: any.
    """
    if isinstance(model, ResNet):
        return "the mean of the last feature map"
    if not isinstance(model, ViT):
        return "what the last linear layer reads"
    words = {
        "cls": "the class token",
        "mean": "the mean of the patches",
        "cls+mean": "the class token and the mean of the patches",
        "map": "what attention pooling gathers",
    }
    pooled = words.get(model.config.pool, "the mean of the patches") + ", normed"
    return f"the tanh layer on {pooled}" if model.pre_logits is not None else pooled


class Reader(nn.Module):
    """A model that answers with its features, side by side in one row per image.

    Args:
        model: any.
        layers: blocks whose outputs to give as well, from 0.
    """

    def __init__(self, model: nn.Module, layers: tuple[int, ...]) -> None:
        super().__init__()
        self.model, self.layers = model, layers
        self.widths: dict[str, int] = {}
        """Of the parts in a row, in their order; known after the first pass."""

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F"]:
        """The features."""
        parts = self._parts(images)
        self.widths = {name: part.shape[1] for name, part in parts.items()}
        return torch.cat([part.float() for part in parts.values()], dim=1)

    def _parts(self, images: Float[Tensor, "B C H W"]) -> dict[str, Tensor]:
        match self.model:
            case ViT() as model:
                return _of_vit(model, images, self.layers)
            case ResNet() as model:
                return _of_resnet(model, images, self.layers)
        return {"pooled": _of_module(self.model, images)}


def _of_vit(model: ViT, images: Float[Tensor, "B C H W"], layers: tuple[int, ...]) -> dict[str, Tensor]:
    """As DINOv2's get_intermediate_layers(norm=True): the model's final norm on each block's output. Where that norm
    comes after pooling (pool_norm="after"), so it does here."""
    read = "pre_logits" if model.pre_logits is not None else "pool"
    taps = model.features(images, [read, *(f"blocks.{layer}" for layer in layers)]).taps
    pooled = taps[read]
    parts = {"pooled": pooled if pooled.ndim == 2 else pooled[:, model.num_prefix :].mean(dim=1)}
    after = model.fc_norm if model.config.pooled_dim == model.config.embed_dim else nn.Identity()
    for layer in layers:
        tokens = model.norm(taps[f"blocks.{layer}"])
        mean = after(tokens[:, model.num_prefix :].mean(dim=1))
        first = after(tokens[:, 0]) if model.config.class_token else mean
        parts[f"layer-{layer}"] = torch.cat([first, mean], dim=1)
    return parts


def _of_resnet(model: ResNet, images: Float[Tensor, "B C H W"], layers: tuple[int, ...]) -> dict[str, Tensor]:
    """The mean of each unit's map; v2's final norm and ReLU belong to the last one alone, which has its width."""
    names = [
        f"stages.{stage}.blocks.{unit}" for stage, depth in enumerate(model.config.layers) for unit in range(depth)
    ]
    found = model.features(images, [names[layer] for layer in layers])
    parts = {"pooled": found.patches.mean(dim=1)}
    for layer in layers:
        x = found.taps[names[layer]]
        if layer == len(names) - 1 and model.norm is not None:
            x = F.relu(model.norm(x))
        parts[f"layer-{layer}"] = x.mean(dim=(2, 3)).repeat(1, 2)
    return parts


def _of_module(model: nn.Module, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D"]:
    """What the linear layer that is called last reads."""
    read: list[Tensor] = []
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    hooks = [module.register_forward_pre_hook(lambda _, given: read.append(given[0])) for module in linear]
    try:
        model(images)
    finally:
        for hook in hooks:
            hook.remove()
    if not read or read[-1].ndim != 2 or len(read[-1]) != len(images):
        what = f"numbers of shape {tuple(read[-1].shape)}" if read else "nothing"
        raise UsageError(
            f"the {type(model).__name__} has no features that can be found",
            why=f"they are what the last nn.Linear reads, one row per image, and here it reads {what}",
            remedy="end the module with an nn.Linear on one vector per image",
        )
    return read[-1]

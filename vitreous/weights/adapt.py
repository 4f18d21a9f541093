"""Loaded weights made to fit another use: other classes, another resolution, another patch size, other channels.

Every change is a pure function from card and tensors to card and tensors, and says what it resized.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from vitreous.architecture import ResNetConfig, Size, ViTConfig
from vitreous.config import ModelCard
from vitreous.errors import ConfigError, UsageError
from vitreous.model.attention import num_offsets
from vitreous.model.position import resample, resample_line, resample_patches
from vitreous.results import Resizing

Head = Literal["keep", "new", "drop"]
"""The file's head as it is, a fresh one that begins at zero, or none."""

_HEADS = ("head.", "head_dist.", "pre_logits.")


@dataclass(frozen=True)
class Adapted:
    """Card and tensors after a change, and what was interpolated on the way."""

    card: ModelCard
    tensors: dict[str, Tensor]
    resized: tuple[Resizing, ...] = ()


def with_head(given: Adapted, head: Head, num_classes: int | None) -> Adapted:
    """The weights with their head kept, dropped, or replaced by zeros; class names go with the old one.

    The tanh layer of pre-training goes with the head too (section 3.1 of the ViT paper).

    Args:
        given: its card has an architecture.
        head: what to do.
        num_classes: outputs of a new head; with the file's own head it must be what the file has.
    """
    config = given.card.architecture
    assert config is not None
    if head == "new" and not num_classes:
        raise UsageError("a new head needs the number of its classes", remedy="num_classes=10")
    if head == "drop" and num_classes:
        raise UsageError(f"head='drop' leaves no classes, but num_classes={num_classes} asks for some")
    if head == "keep":
        if num_classes is None:
            return given
        # unless it is the file's own number, the shapes will differ, and loading says so
        config = dataclasses.replace(config, num_classes=num_classes)
        return dataclasses.replace(given, card=dataclasses.replace(given.card, architecture=config))
    tensors = {name: value for name, value in given.tensors.items() if not name.startswith(_HEADS)}
    if isinstance(config, ViTConfig):
        config = dataclasses.replace(config, representation_size=None, num_classes=num_classes or 0, head_bias=True)
    else:
        config = dataclasses.replace(config, num_classes=num_classes or 0)
    tensors |= _zero_head(config)
    return dataclasses.replace(
        given, card=dataclasses.replace(given.card, architecture=config, classes=()), tensors=tensors
    )


def _zero_head(config: ViTConfig | ResNetConfig) -> dict[str, Tensor]:
    classes = config.num_classes
    if not classes:
        return {}
    if isinstance(config, ResNetConfig):
        return {"head.fc.weight": torch.zeros(classes, config.num_features, 1, 1), "head.fc.bias": torch.zeros(classes)}
    names = ("head", "head_dist") if config.distill_token else ("head",)
    shapes = {"weight": (classes, config.pooled_dim), "bias": (classes,)}
    return {f"{name}.{part}": torch.zeros(shape) for name in names for part, shape in shapes.items()}


def with_size(given: Adapted, size: Size) -> Adapted:
    """The weights for another resolution, the position table interpolated by the family's own convention.

    Args:
        given: its card has an architecture.
        size: (height, width) in pixels.
    """
    old, tensors = given.card.architecture, dict(given.tensors)
    assert old is not None
    new = dataclasses.replace(old, image_size=size)
    resized: list[Resizing] = []
    if isinstance(old, ViTConfig) and isinstance(new, ViTConfig):
        for name in [name for name in tensors if name.rpartition(".")[2] in _TABLES]:
            changed, how = _at(tensors[name], name, old, new)
            same_rows = changed.shape == tensors[name].shape  # 2 x 8 patches have as many as 4 x 4
            if how and not (same_rows and (name != "pos_embed" or old.grid == new.grid)):
                before, after = (f"{c.grid[0]} x {c.grid[1]}" for c in (old, new))
                resized.append(Resizing(name=name, source=before, target=after, how=how))
            tensors[name] = changed
    preprocess = dataclasses.replace(given.card.preprocess, image_size=size)
    card = dataclasses.replace(given.card, architecture=new, preprocess=preprocess)
    return Adapted(card, tensors, (*given.resized, *resized))


_TABLES = ("pos_embed", "pos_embed_y", "pos_embed_x", "rel_pos")


def _at(table: Tensor, name: str, old: ViTConfig, new: ViTConfig) -> tuple[Tensor, str]:
    """One table of positions for the grid of another config, and how it came about."""
    match name.rpartition(".")[2]:
        case "pos_embed" if old.num_tokens is None:
            if table.shape[1] != old.num_prefix_positions + old.grid[0] * old.grid[1]:
                return table, ""  # not what the file says it is: loading tells, with all else that does not fit
            return resample(table, old.num_prefix_positions, old.grid, new.grid, old.resample), old.resample
        case "pos_embed_y":
            return resample_line(table, new.grid[0]), "linear"
        case "pos_embed_x":
            return resample_line(table, new.grid[1]), "linear"
        case "rel_pos":
            return resample_line(table, num_offsets(new)), "linear"
    return table, ""


def with_patch(given: Adapted, size: Size) -> Adapted:
    """The weights for another patch size at the same number of patches, by FlexiViT's pseudo-inverse resize.

    The resolution changes with the patch, so that the grid stays.

    Args:
        given: a plain Vision Transformer.
        size: (height, width) of a patch in pixels.
    """
    old = given.card.architecture
    if not isinstance(old, ViTConfig) or old.stem is not None:
        raise ConfigError("only a Vision Transformer that cuts the image itself can change its patch size")
    if old.patch_size == size:
        return given
    kernel = resample_patches(given.tensors["patch_embed.proj.weight"], size)
    image = (old.grid[0] * size[0], old.grid[1] * size[1])
    new = dataclasses.replace(old, patch_size=size, image_size=image)
    preprocess = dataclasses.replace(given.card.preprocess, image_size=image)
    before, after = (f"{p[0]} x {p[1]}" for p in (old.patch_size, size))
    resized = Resizing(name="patch_embed.proj.weight", source=before, target=after, how="pseudo-inverse")
    return Adapted(
        dataclasses.replace(given.card, architecture=new, preprocess=preprocess),
        given.tensors | {"patch_embed.proj.weight": kernel},
        (*given.resized, resized),
    )


def with_channels(given: Adapted, count: int) -> Adapted:
    """The weights for images of another number of channels.

    Grey images meet the sum of the filters, so that a grey picture has the tokens it had as RGB; more channels repeat
    them in turn, scaled so that the answer's size stays (timm/models/_manipulate.py, adapt_input_conv). Where the first
    convolution is standardised (ResNets, hybrids) that keeps the filters' directions, but not their scale.

    Args:
        given: its first convolution takes the images.
        count: channels wanted.
    """
    old = given.card.architecture
    assert old is not None
    if old.in_channels == count:
        return given
    hybrid = isinstance(old, ViTConfig) and old.stem is not None
    name = "patch_embed.backbone.stem.conv.weight" if hybrid else "stem.conv.weight"
    if isinstance(old, ViTConfig) and not hybrid:
        name = "patch_embed.proj.weight"
    kernel = given.tensors[name]
    if count == 1:
        kernel = kernel.sum(dim=1, keepdim=True)
    else:
        times = -(-count // old.in_channels)
        kernel = kernel.repeat(1, times, 1, 1)[:, :count] * (old.in_channels / count)
    changes: dict[str, Any] = {"in_channels": count}
    if isinstance(old, ViTConfig) and old.stem is not None:
        changes["stem"] = dataclasses.replace(old.stem, in_channels=count)
    new = dataclasses.replace(old, **changes)
    how = "sum" if count == 1 else "repeat"
    resized = Resizing(name=name, source=f"{old.in_channels} channels", target=f"{count} channels", how=how)
    card = dataclasses.replace(given.card, architecture=new)
    return Adapted(card, given.tensors | {name: kernel}, (*given.resized, resized))

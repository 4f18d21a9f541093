"""What torchvision's, Meta's and OpenCLIP's dialects have in common: wrappers, heads, sizes, what can be written."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from vitreous.architecture import Architecture, ResNetConfig, Size, ViTConfig, as_pair
from vitreous.errors import ModelFileError, UsageError
from vitreous.schema import from_json
from vitreous.weights.dialects.dialect import Settings, unaccounted
from vitreous.weights.formats.container import Raw

IMAGENET: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
"""Mean and standard deviation per channel that torchvision, DeiT and DINO subtract and divide by."""

EQUIVALENT: dict[str, Any] = {
    "qkv_bias": "all",
    "patch_bias": True,
    "proj_bias": True,
    "mlp_bias": True,
    "head_bias": True,
    "prefix_position": True,
}
"""What can be written by adding zeros (see `equivalent.py`), so that it is no difference."""

_NOBODY_ELSES = {  # options that a plain Vision Transformer must have so: no other way to write it comes near
    "stem": None,
    "tokenizer": "patch",
    "class_token": True,
    "distill_token": False,
    "registers": 0,
    "position": "learned",
    "position_at": "input",
    "rotary": None,
    "attention": "full",
    "qk_norm": False,
    "attn_norm": False,
    "mlp": "gelu",
    "mlp_norm": False,
    "pre_norm": False,
    "pool": "cls",
    "pool_norm": "before",
    "representation_size": None,
}


def unwrapped(tensors: Mapping[str, Tensor], *prefixes: str) -> dict[str, Tensor]:
    """The tensors without what wrapper modules put in front of every name.

    Args:
        tensors: by name.
        *prefixes: of other wrappers than DistributedDataParallel's `module.` and torch.compile's `_orig_mod.`.
    """
    found = dict(tensors)
    for _ in range(4):  # wrappers in wrappers
        for prefix in ("module.", "_orig_mod.", *prefixes):
            if found and all(name.startswith(prefix) for name in found):
                found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return found


def shape_of(raw: Raw, title: str, tensors: Mapping[str, Tensor], name: str, axes: int) -> tuple[int, ...]:
    """The shape of a tensor from which the architecture is inferred.

    Args:
        raw: for messages.
        title: of the dialect.
        tensors: by their tidy names.
        name: of the one in question.
        axes: how many it must have.

    Raises:
        ModelFileError: it is missing, or has another number of axes.
    """
    if name not in tensors:
        raise unaccounted(str(raw.path), title, [name], [], [], remedy=_TRUNCATED)
    shape = tuple(tensors[name].shape)
    if len(shape) != axes or 0 in shape:
        wrong = f"{name} is {shape}, {axes} axes are wanted"
        raise unaccounted(str(raw.path), title, [], [], [wrong], remedy=_TRUNCATED)
    return shape


_TRUNCATED = "fetch or save it again: the architecture is told by this tensor"


def count_blocks(names: Iterable[str], pattern: str) -> int:
    """How many blocks the names tell of.

    Args:
        names: of tensors.
        pattern: a regular expression whose first group is the index of a block.
    """
    return 1 + max((int(match[1]) for name in names if (match := re.match(pattern, name))), default=-1)


def count_heads(where: str, width: int, settings: Settings, known: Mapping[int, int]) -> int:
    """Number of attention heads, which no shape tells: as stated, or as published for this width.

    Args:
        where: the file.
        width: D.
        settings: what a person stated.
        known: width to heads of the published sizes.
    """
    heads = settings.get("num_heads", known.get(width))
    if isinstance(heads, int):
        return heads
    raise ModelFileError(
        "neither names nor shapes tell the number of attention heads",
        where=where,
        why=f"no published size is {width} wide",
        remedy="state it: settings={'num_heads': 6}",
    )


def find_image_size(where: str, rows: int, patch: Size, settings: Settings) -> Size:
    """(height, width) in pixels for which a position table was made: as stated, or the square that its rows make.

    Args:
        where: the file.
        rows: of the table, those of patches only.
        patch: (height, width) in pixels.
        settings: what a person stated.
    """
    if "image_size" in settings:
        return as_pair(settings["image_size"])
    side = math.isqrt(max(rows, 0))
    if side and side * side == rows:
        return side * patch[0], side * patch[1]
    raise ModelFileError(
        f"{rows} positions of patches make no square: which rectangle they are made for nothing tells",
        where=where,
        remedy="state the resolution: settings={'image_size': (384, 512)}",
    )


def settle(inferred: dict[str, Any], settings: Settings) -> ViTConfig:
    """The architecture: what was inferred, and over it what a person stated.

    Args:
        inferred: fields of a ViTConfig.
        settings: more of them; unknown names are a ConfigError.
    """
    stated = dict(settings)
    for name in ("image_size", "patch_size"):
        if name in stated:
            stated[name] = as_pair(stated[name])
    return from_json(ViTConfig, inferred | stated)


def expressible(architecture: Architecture, title: str, allowed: Mapping[str, tuple[object, ...]]) -> ViTConfig:
    """The architecture, if it is a Vision Transformer whose every option can be written.

    Args:
        architecture: to write.
        title: of the dialect.
        allowed: values of options that this dialect knows beside the plain model's; an empty tuple for any.

    Raises:
        UsageError: names every option that cannot be written.
    """
    if isinstance(architecture, ResNetConfig):
        raise UsageError(f"{title} has no ResNets with group norm", remedy="--to google or --to timm")
    wrong = [
        f"{field}={getattr(architecture, field)!r}"
        for field, plain in _NOBODY_ELSES.items()
        if getattr(architecture, field) not in (allowed.get(field, (plain,)) or (getattr(architecture, field),))
    ]
    if wrong:
        raise UsageError(
            f"{title} has no model of this kind: it cannot be written so", why=f"no room for {', '.join(wrong)}"
        )
    return architecture


def check_square(config: ViTConfig, title: str) -> None:
    """Refuse a model whose patches or images are no squares, or whose patches do not tile its images.

    Args:
        config: to write.
        title: of the dialect, whose code knows nothing else.
    """
    (high, wide), patch = config.image_size, config.patch_size
    if patch[0] != patch[1]:
        raise UsageError(f"{title} knows square patches only", why=f"the patches are {patch[0]} x {patch[1]} pixels")
    if high != wide or high % patch[0]:
        side = max(high // patch[0], 1) * patch[0]
        raise UsageError(
            f"{title} knows square images of whole patches only",
            why=f"the model is made for images of {high} x {wide} pixels, patches of {patch[0]}",
            remedy=f"--image-size {side}",
        )


def compared(config: ViTConfig, home: Mapping[str, Any]) -> tuple[ViTConfig, tuple[str, ...]]:
    """What the other side's code makes of an architecture, and where its logits differ, in words.

    How positions follow the image to another resolution is taken over without a word: at the model's own it makes no
    difference, and `convert` tells it of every dialect.

    Args:
        config: the architecture.
        home: values of fields that the other side's code has fixed.
    """
    changes = {name: value for name, value in home.items() if getattr(config, name) != value}
    words = tuple(
        f"{_WORDS.get(name, name)}: {_said(getattr(config, name))} becomes {_said(value)}"
        for name, value in changes.items()
        if name != "resample"
    )
    return dataclasses.replace(config, **changes), words


_WORDS = {
    "gelu": "GELU",
    "norm_eps": "epsilon of the norms",
    "edge": "pixels behind the last whole patch",
    "rotary_dtype": "rotary periods",
}


def _said(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)

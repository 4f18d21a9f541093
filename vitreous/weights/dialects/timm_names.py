"""What an architecture read from names and shapes is called: the zoo's name where it is one, else family and size."""

from __future__ import annotations

import dataclasses

from vitreous.architecture import Architecture, ResNetConfig, ViTConfig
from vitreous.errors import UsageError
from vitreous.weights.dialects.timm_config import family
from vitreous.zoo import find_model

_SIZES = {192: "ti", 384: "s", 512: "m", 768: "b", 1024: "l", 1152: "so400m", 1280: "h", 1408: "g", 1664: "G"}
_SIZES_BY_DEPTH = {(32, 1): "mu", (1536, 40): "g-opt", (1536, 48): "G-opt", (1792, 56): "e"}
_STEMS: dict[tuple[int, ...], str] = {(): "r", (2, 2, 2, 2): "r26", (3, 4, 9): "r50", (3, 4, 6, 3): "r50"}
_UNITS: dict[tuple[int, ...], int] = {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152, (3, 24, 36, 3): 200}
_FREE = ("image_size", "num_classes", "in_channels", "gelu", "norm_eps", "resample", "edge", "representation_size")
_FREE_RESNET = ("image_size", "num_classes", "in_channels", "norm_eps", "standardize", "standardize_eps", "padding")


def called(config: Architecture) -> str:
    """A name for people; weights are never chosen by it.

    Args:
        config: its own name is not looked at.
    """
    if isinstance(config, ResNetConfig):
        style = "bit" if config.style == "v2" else "resnet"
        depth = _UNITS.get(config.layers, "-".join(map(str, config.layers)))
        name = f"{style}-r{depth}x{config.width_factor}"
        return name if _is(name, config) else f"{name} by units"
    width, depth, kind = config.embed_dim, config.depth, family(config)
    size = _SIZES.get(width) or _SIZES_BY_DEPTH.get((width, depth), f"{width}x{depth}-")
    pool = {"mean": "-gap", "map": "-map"}.get(config.pool, "")
    stem = _STEMS.get(config.stem.layers, "resnet") + "+" if config.stem else ""
    patch = 16 if stem == "r+" else config.stride[0]
    name = f"{stem}vit-{size}{patch}{pool}"
    if _is(name, config):
        return name
    tail = f"-reg{config.registers}" if config.registers else ""
    return f"{stem}{kind}-{size}{patch}{pool if kind == 'vit' else ''}{tail}"


def _is(name: str, config: Architecture) -> bool:
    """Whether the zoo builds this architecture under this name, but for what every checkpoint may differ in."""
    try:
        known = find_model(name)
    except UsageError:
        return False
    if isinstance(config, ViTConfig) and isinstance(known, ViTConfig):
        same = {name: getattr(config, name) for name in (*_FREE, "stem")}
        if (config.stem is None) != (known.stem is None) or config.stride != known.stride:
            return False
        return dataclasses.replace(known, **same) == dataclasses.replace(config, name=known.name)
    if isinstance(config, ResNetConfig) and isinstance(known, ResNetConfig):
        same = {name: getattr(config, name) for name in _FREE_RESNET}
        return dataclasses.replace(known, **same) == dataclasses.replace(config, name=known.name)
    return False

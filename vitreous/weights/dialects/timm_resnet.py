"""timm's BiT ResNets, and the ResNets in its hybrids: architecture from names and shapes, and what it can express.

timm has numerics of its own (timm/models/resnetv2.py; timm/layers/std_conv.py, batch norm over each filter): weights
are divided by sqrt(var + 1e-8), and the epsilon of its group norms is 1e-5 everywhere.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from vitreous.architecture import ResNetConfig
from vitreous.errors import ModelFileError, UsageError

Differences = tuple[str, ...]

_HOME: dict[str, Any] = {"norm_eps": 1e-5, "standardize": "var", "standardize_eps": 1e-8}

BIT: dict[tuple[tuple[int, ...], int], str] = {  # units per stage and width: name in timm
    ((3, 4, 6, 3), 1): "resnetv2_50x1_bit",
    ((3, 4, 6, 3), 3): "resnetv2_50x3_bit",
    ((3, 4, 23, 3), 1): "resnetv2_101x1_bit",
    ((3, 4, 23, 3), 3): "resnetv2_101x3_bit",
    ((3, 8, 36, 3), 2): "resnetv2_152x2_bit",
    ((3, 8, 36, 3), 4): "resnetv2_152x4_bit",
}
HYBRIDS: dict[tuple[int, ...], str] = {  # units per stage of the stem: name in timm, whose ViT can have any size
    (): "vit_tiny_r_s16_p8_224",
    (2, 2, 2, 2): "vit_small_r26_s32_224",
    (3, 4, 9): "vit_base_r50_s16_224",
    (3, 4, 6, 3): "vit_large_r50_s32_224",
}


def is_resnet(names: Mapping[str, Any]) -> bool:
    """Whether names are those of a BiT ResNet; one with batch norm has statistics beside its norms.

    Args:
        names: by tensor.
    """
    wanted = ("stem.conv.weight", "stages.0.blocks.0.conv3.weight", "stages.0.blocks.0.norm3.weight")
    return all(name in names for name in wanted) and "stages.0.blocks.0.norm3.running_mean" not in names


def read_resnet(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Fields of the ResNetConfig that these tensors are.

    Args:
        tensors: by timm's names.
    """
    first = "stem.norm.weight" in tensors
    head = tensors.get("head.fc.weight")
    return {
        **_trunk(tensors, ""),
        **_HOME,
        "style": "v1" if first else "v2",
        "padding": "symmetric",
        "num_classes": 0 if head is None else len(head),
    }


def read_stem(tensors: Mapping[str, Tensor], where: str) -> ResNetConfig:
    """The ResNet in front of a hybrid.

    Args:
        tensors: of the hybrid, by timm's names.
        where: the file.

    Raises:
        ModelFileError: it is another network than Google's.
    """
    at = "patch_embed.backbone."
    if not {f"{at}stem.norm.weight", f"{at}norm.weight"} & tensors.keys():
        raise ModelFileError(
            "the network in front of this hybrid is none of Google's ResNets, and not known here",
            where=where,
            why=", ".join([name for name in tensors if name.startswith(at)][:3]),
        )
    return ResNetConfig(name="resnet", style="v1", padding="same", num_classes=0, **_HOME, **_trunk(tensors, at))


def _trunk(tensors: Mapping[str, Tensor], at: str) -> dict[str, Any]:
    """Units, width and channels of the ResNet whose names begin with `at`."""
    units: dict[int, set[int]] = {}
    for name in tensors:
        if found := re.match(rf"{re.escape(at)}stages\.(\d+)\.blocks\.(\d+)\.", name):
            units.setdefault(int(found[1]), set()).add(int(found[2]))
    conv = tensors[f"{at}stem.conv.weight" if f"{at}stem.conv.weight" in tensors else f"{at}conv.weight"]
    return {
        "layers": tuple(len(units[stage]) for stage in sorted(units)),
        "width_factor": max(1, len(conv) // 64),
        "in_channels": conv.shape[1],
    }


def nearest_resnet(config: ResNetConfig) -> tuple[ResNetConfig, Differences]:
    """What timm computes with these weights, and what it does differently.

    Args:
        config: of a ResNet that is no stem.

    Raises:
        UsageError: timm has no ResNet of this size.
    """
    if (config.layers, config.width_factor) not in BIT:
        sizes = ", ".join(BIT.values())
        raise UsageError(
            f"timm has no ResNet of {config.layers} units and width {config.width_factor}", why=f"it has {sizes}"
        )
    return _as_home(config, "symmetric")


def nearest_stem(config: ResNetConfig) -> tuple[ResNetConfig, Differences]:
    """What timm's hybrids compute with this stem, and what they do differently.

    Args:
        config: of the stem.

    Raises:
        UsageError: timm has no hybrid with such a stem.
    """
    if config.style != "v1" or config.width_factor != 1 or config.layers not in HYBRIDS:
        raise UsageError(
            f"timm has no hybrid with a stem of {config.layers} units, width {config.width_factor}, {config.style}",
            why=f"its stems are of style v1, width 1 and {', '.join(str(layers) for layers in HYBRIDS)} units",
        )
    return _as_home(config, "same")


def _as_home(config: ResNetConfig, padding: Literal["same", "symmetric"]) -> tuple[ResNetConfig, Differences]:
    home = dataclasses.replace(config, **_HOME, padding=padding)
    differences = []
    if config.norm_eps != home.norm_eps:
        differences.append(f"GroupNorm epsilon: {config.norm_eps:g} becomes {home.norm_eps:g}")
    if (config.standardize, config.standardize_eps) != (home.standardize, home.standardize_eps):
        differences.append(f"weight standardisation: {_divisor(config)} becomes {_divisor(home)}")
    if config.padding != home.padding:
        differences.append(f"padding: {config.padding} becomes {home.padding}")
    return home, tuple(differences)


def _divisor(config: ResNetConfig) -> str:
    eps = f"{config.standardize_eps:g}"
    return f"std + {eps}" if config.standardize == "std" else f"sqrt(var + {eps})"

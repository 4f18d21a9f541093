"""Towers that OpenCLIP borrows from timm: `visual.trunk.*`, and what it puts on top, `visual.head.*`.

The trunk is timm's in every respect, so that timm's dialect reads it (open_clip/timm_model.py). Written are SigLIP's
towers only: OpenCLIP builds a trunk by the name of a timm factory and nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from vitreous.architecture import Architecture, ViTConfig
from vitreous.errors import ModelFileError, UsageError
from vitreous.weights.dialects.dialect import Settings, Target, Understood
from vitreous.weights.dialects.mapping import Rule
from vitreous.weights.dialects.plain_vit import EQUIVALENT, compared, expressible
from vitreous.weights.dialects.timm import TIMM
from vitreous.weights.formats.container import Raw

_FORM = "trunk "
_SIGLIP: dict[tuple[int, ...], tuple[str, tuple[int, ...]]] = {  # width, depth, MLP, heads, patch: name, resolutions
    (768, 12, 3072, 12, 16): ("vit_base_patch16_siglip", (224, 256, 384, 512)),
    (768, 12, 3072, 12, 32): ("vit_base_patch32_siglip", (256,)),
    (1024, 24, 4096, 16, 16): ("vit_large_patch16_siglip", (256, 384, 512)),
    (1152, 27, 4304, 16, 14): ("vit_so400m_patch14_siglip", (224, 378, 384)),
    (1152, 27, 4304, 16, 16): ("vit_so400m_patch16_siglip", (256, 384, 512)),
    (1536, 40, 6144, 16, 16): ("vit_giantopt_patch16_siglip", (256, 384)),
}
_TANH = ("vit_base_patch32", "vit_so400m_patch16", "vit_giantopt")  # factories that came with SigLIP 2


def is_one(names: Mapping[str, Tensor], prefix: str = "visual.") -> bool:
    """Whether these are tensors of a tower from timm.

    Args:
        names: of a checkpoint.
        prefix: what stands before the tower's names.
    """
    return f"{prefix}trunk.patch_embed.proj.weight" in names


def understand(
    raw: Raw, tensors: Mapping[str, Tensor], vision: Mapping[str, Any], look: Mapping[str, Any], settings: Settings
) -> Understood:
    """What timm's dialect makes of the trunk, with OpenCLIP's projection as its head.

    Args:
        raw: the checkpoint.
        tensors: of the image tower, without `visual.`.
        vision: `vision_cfg` of the sidecar.
        look: `preprocess_cfg` of the sidecar.
        settings: what a person stated.
    """
    if any(name.startswith(("head.mlp.", "head.pool.")) for name in tensors):
        raise ModelFileError("this tower has a head of several layers, which is not known here", where=str(raw.path))
    inside = {_inside(name): tensor for name, tensor in tensors.items()}
    understood = TIMM.understand(dataclasses.replace(raw, tensors=inside, sidecars=_config(vision, look)), settings)
    projected = "head.proj.weight" in tensors
    theirs = _outside(projected)
    return dataclasses.replace(
        understood,
        form=f"{_FORM}{understood.form}{' projected' if projected else ''}",
        tensors={theirs(name): tensor for name, tensor in understood.tensors.items()},
        dropped={theirs(name): why for name, why in understood.dropped.items()},
    )


def rules(architecture: Architecture, form: str) -> list[Rule]:
    """timm's table under OpenCLIP's names.

    Args:
        architecture: of the tower.
        form: as `understand` or `nearest` gave it.
    """
    projected = form.endswith(" projected")
    form = form.removeprefix(_FORM).removesuffix(" projected")
    theirs = _outside(projected)
    return [
        dataclasses.replace(rule, foreign=tuple(theirs(name) for name in rule.foreign))
        for rule in TIMM.rules(architecture, form)
    ]


def nearest(architecture: ViTConfig) -> Target:
    """The SigLIP tower of OpenCLIP that comes near.

    Args:
        architecture: with attention pooling.

    Raises:
        UsageError: it is of no published size.
    """
    config = expressible(architecture, "OpenCLIP", {"pool": ("map",), "class_token": (False,)})
    name = _factory(config)
    kept = {"edge": config.edge, "head_bias": config.head_bias, "prefix_position": config.prefix_position}
    config = dataclasses.replace(config, **{**EQUIVALENT, **kept}, layer_scale=None)
    gelu = "tanh" if name.startswith(_TANH) or name.endswith("large_patch16_siglip_512") else "erf"
    home = {"gelu": gelu, "norm_eps": 1e-6, "resample": "bicubic-antialias"}
    config, differences = compared(config, home)
    return Target(form=f"{_FORM}vit projected", architecture=config, differences=differences)


def vision_cfg(config: ViTConfig) -> dict[str, Any]:
    """The arguments with which OpenCLIP builds this tower.

    Args:
        config: from `nearest`.
    """
    vision = {"image_size": config.image_size[0], "timm_model_name": _factory(config), "timm_pool": "map"}
    projected = config.num_classes > 0
    vision["timm_proj"] = "linear" if projected else "none"
    return vision | ({"timm_proj_bias": True} if projected and config.head_bias else {})


def _factory(config: ViTConfig) -> str:
    """The name of timm's factory for a SigLIP tower."""
    shape = config.embed_dim, config.depth, config.mlp_dim, config.num_heads, config.patch_size[0]
    name, sizes = _SIGLIP.get(shape, ("", ()))
    (high, wide), (rows, columns) = config.image_size, config.patch_size
    if high not in sizes or high != wide or rows != columns or config.in_channels != 3:
        raise UsageError(
            "OpenCLIP has attention pooling in the published sizes of SigLIP only",
            why=f"this is {config.embed_dim} wide, {config.depth} deep, patches {rows} x {columns}, {high} x {wide} px",
            remedy="--to timm or --to huggingface",
        )
    return f"{name}_{high}"


def _inside(name: str) -> str:
    return "head." + name.removeprefix("head.proj.") if name.startswith("head.proj.") else name.removeprefix("trunk.")


def _outside(projected: bool) -> Callable[[str], str]:
    """From timm's names to OpenCLIP's."""

    def named(name: str) -> str:
        if projected and name.startswith("head."):
            return "head.proj." + name.removeprefix("head.")
        return f"trunk.{name}"

    return named


def _config(vision: Mapping[str, Any], look: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What OpenCLIP's sidecar says, as timm's says it."""
    name = vision.get("timm_model_name")
    if not isinstance(name, str):
        return {}
    args = {"global_pool": vision["timm_pool"]} if vision.get("timm_pool") else {}
    cfg: dict[str, Any] = {key: look[key] for key in ("mean", "std", "interpolation") if key in look}
    if look:
        cfg |= {"crop_pct": 1.0, "crop_mode": "squash" if look.get("resize_mode") == "squash" else "center"}
    return {"config.json": {"architecture": name, "model_args": args, "pretrained_cfg": cfg}}

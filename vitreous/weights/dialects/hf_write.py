"""From an architecture to the class of transformers that computes it, and what stands around its weights."""

from __future__ import annotations

import dataclasses
from typing import Any

from vitreous.architecture import Architecture, ViTConfig
from vitreous.config import ModelCard
from vitreous.errors import UsageError
from vitreous.weights.dialects.dialect import Package, Target
from vitreous.weights.dialects.hf_config import config_json, mlp_ratio
from vitreous.weights.dialects.hf_names import TO_WRITE
from vitreous.weights.dialects.hf_preprocess import write_preprocess
from vitreous.weights.dialects.hf_read import RESAMPLE
from vitreous.weights.dialects.plain_vit import EQUIVALENT, compared, expressible

TITLE = "Hugging Face"

_TABLES = ("learned", "sincos", "sincos-mae", "none")
"""Positions that can be written as a table: sines as they are at the model's resolution, none as zeros."""

_ROOM: dict[str, dict[str, tuple[object, ...]]] = {  # family: options it knows beside a plain model's; () for any value
    "vit": {"position": _TABLES, "pool_norm": ("before", "after")},
    "deit": {"position": _TABLES, "distill_token": (True,)},
    "dinov2": {"position": _TABLES, "mlp": (), "pool": ("cls", "mean", "cls+mean")},
    "dinov2_with_registers": {"position": _TABLES, "mlp": (), "pool": ("cls", "mean", "cls+mean"), "registers": ()},
    "dinov3_vit": {"position": ("none",), "rotary": ("dinov3",), "mlp": (), "registers": ()},
    "clip_vision_model": {"position": _TABLES, "pre_norm": (True,), "pool_norm": ("before", "after")},
    "siglip_vision_model": {"position": _TABLES, "class_token": (False,), "pool": ("map", "mean")},
}


def nearest(architecture: Architecture) -> Target:
    """The class of transformers that computes an architecture, and what differs.

    Args:
        architecture: to write.

    Raises:
        UsageError: no class has its options; names them.
    """
    family = _family(architecture) if isinstance(architecture, ViTConfig) else "vit"
    room = dict(_ROOM[family])
    if family == "vit" and isinstance(architecture, ViTConfig) and not architecture.num_classes:
        room["representation_size"] = ()  # the pooler, which stands where a classifier would
    config = expressible(architecture, TITLE, room)
    _refuse(config, family)
    # positions at other resolutions follow transformers' way, as any model does in another home
    same = dataclasses.replace(config, **_equivalent(config, family), resample=RESAMPLE.get(family, "bicubic"))
    target, differences = compared(same, {"rotary_dtype": "float32"} if config.rotary else {})
    return Target(form=_class(target, family) + TO_WRITE, architecture=target, differences=differences)


def package(architecture: Architecture, card: ModelCard, form: str) -> Package:
    """The folder that `AutoModel.from_pretrained` opens.

    Args:
        architecture: as `nearest` gave it.
        card: preprocessing and names of the classes.
        form: as `nearest` gave it.
    """
    assert isinstance(architecture, ViTConfig)
    return Package(
        kind="safetensors",
        file_name="model.safetensors",
        sidecars={
            "config.json": config_json(architecture, card, form.removesuffix(TO_WRITE)),
            "preprocessor_config.json": write_preprocess(card.preprocess),
        },
        metadata={"format": "pt"},
    )


def _family(config: ViTConfig) -> str:
    """The model_type that comes nearest."""
    if config.rotary == "dinov3":
        return "dinov3_vit"
    if config.pre_norm:
        return "clip_vision_model"
    if not config.class_token or config.pool == "map":
        return "siglip_vision_model"
    if config.distill_token:
        return "deit"
    if config.registers:
        return "dinov2_with_registers"
    if config.mlp == "swiglu" or config.pool != "cls":
        return "dinov2"
    scaled = config.layer_scale is not None and not config.num_classes and config.representation_size is None
    square = config.grid[0] == config.grid[1] and config.pool_norm == "before"
    return "dinov2" if scaled and square and mlp_ratio(config) else "vit"


def _class(config: ViTConfig, family: str) -> str:
    headless = not config.num_classes
    match family:
        case "vit":
            return "ViTModel" if config.representation_size is not None else "ViTForImageClassification"
        case "deit":
            return "DeiTForImageClassificationWithTeacher"
        case "dinov2":
            return "Dinov2Model" if headless and config.pool == "cls" else "Dinov2ForImageClassification"
        case "dinov2_with_registers":
            bare = headless and config.pool == "cls"
            return "Dinov2WithRegistersModel" if bare else "Dinov2WithRegistersForImageClassification"
        case "dinov3_vit":
            return "DINOv3ViTModel"
        case "clip_vision_model":
            return "CLIPVisionModel" if headless else "CLIPVisionModelWithProjection"
    return "SiglipVisionModel" if config.pool == "map" else "SiglipForImageClassification"


def _refuse(config: ViTConfig, family: str) -> None:
    """Raise a UsageError for what `expressible` does not know of: combinations, and shapes that transformers lacks."""
    headless, wrong = not config.num_classes, []
    if family in ("dinov3_vit", "siglip_vision_model") and not headless and config.pool != "mean":
        wrong.append(f"a classifier (num_classes={config.num_classes}) in {family}")
    if family.startswith("dinov2"):
        if mlp_ratio(config) is None:
            wrong.append(f"mlp_dim={config.mlp_dim}, which is no whole multiple of the width {config.embed_dim}")
        if headless and config.pool == "mean":
            wrong.append("pool='mean' without a classifier")
    square = config.grid[0] == config.grid[1] and config.patch_size[0] == config.patch_size[1]
    if family not in ("vit", "deit", "dinov3_vit") and not (square and config.image_size[0] == config.image_size[1]):
        wrong.append(f"image_size={config.image_size} with patch_size={config.patch_size} in {family}: only squares")
    if family == "clip_vision_model":
        wrong += ["patch_bias=True in CLIP"] * config.patch_bias
        wrong += ["head_bias=True in CLIP"] * (config.head_bias and not headless)
    if wrong:
        raise UsageError(
            f"{TITLE} has no model of this kind: it cannot be written so",
            why=f"no room for {', '.join(wrong)}",
            remedy="load it with head='drop' and save it first" if "classifier" in " ".join(wrong) else None,
        )


def _equivalent(config: ViTConfig, family: str) -> dict[str, Any]:
    """Fields in which the class differs and the answer does not: see `equivalent.py`."""
    if family == "dinov3_vit":
        return {"patch_bias": True}
    changes = dict(EQUIVALENT)
    if config.qkv_bias == "none" and family not in ("clip_vision_model", "siglip_vision_model"):
        changes["qkv_bias"] = "none"
    if family == "clip_vision_model":
        changes |= {"patch_bias": False, "head_bias": config.head_bias and not config.num_classes}
    if not family.startswith("dinov2"):
        changes["layer_scale"] = None
    if family == "siglip_vision_model" or config.position != "learned":
        changes["prefix_position"] = config.prefix_position
    return changes

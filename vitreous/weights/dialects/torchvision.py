"""torchvision's `vit_b_16` and its siblings, the SWAG weights included (torchvision/models/vision_transformer.py)."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping

from torch import Tensor

from vitreous.architecture import Architecture, ViTConfig
from vitreous.config import ModelCard, PreprocessConfig
from vitreous.errors import ModelFileError
from vitreous.weights.dialects.dialect import Dialect, Package, Settings, Target, Understood
from vitreous.weights.dialects.mapping import Rule, pair, rule
from vitreous.weights.dialects.plain_vit import (
    EQUIVALENT,
    IMAGENET,
    check_square,
    compared,
    count_blocks,
    count_heads,
    expressible,
    find_image_size,
    settle,
    shape_of,
    unwrapped,
)
from vitreous.weights.formats.container import Raw

_HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16}
_SIZES = {(192, 12): "ti", (384, 12): "s", (768, 12): "b", (1024, 24): "l", (1280, 32): "h"}
_BLOCK = "encoder.layers.encoder_layer_"
_OLD_MLP = re.compile(r"(\.mlp)\.linear_([12])\.")  # renamed by torchvision's own load hook, too (MLPBlock)
_NEW_MLP = {"1": "0", "2": "3"}


def _recognises(raw: Raw) -> bool:
    names = unwrapped(raw.tensors)
    return {"class_token", "encoder.pos_embedding"} <= {*names} or f"{_BLOCK}0.ln_1.weight" in names


def _understand(raw: Raw, settings: Settings) -> Understood:
    where = str(raw.path)
    tensors, dropped = _tidy(raw.tensors)
    if any(name.startswith("conv_proj.conv") for name in tensors):
        raise ModelFileError("a stem of several convolutions (conv_stem_configs) is not known here", where=where)
    shape = functools.partial(shape_of, raw, TORCHVISION.title, tensors)
    D, channels, *patch = shape("conv_proj.weight", 4)
    rows = shape("encoder.pos_embedding", 3)[1]
    mlp_dim = shape(f"{_BLOCK}0.mlp.0.weight", 2)[0]
    hidden, head = tensors.get("heads.pre_logits.weight"), tensors.get("heads.head.weight")
    config = settle(
        {
            "image_size": find_image_size(where, rows - 1, (patch[0], patch[1]), settings),
            "patch_size": (patch[0], patch[1]),
            "in_channels": channels,
            "embed_dim": D,
            "depth": count_blocks(tensors, rf"{_BLOCK}(\d+)\."),
            "num_heads": count_heads(where, D, settings, _HEADS),
            "mlp_dim": mlp_dim,
            "num_classes": 0 if head is None else head.shape[:1].numel(),
            "representation_size": None if hidden is None else hidden.shape[:1].numel(),
            "resample": "bicubic-corners",
        },
        settings,
    )
    config = dataclasses.replace(config, name=settings.get("name", _name(config)))
    preprocess, note = _preprocess(config, raw.path.name.lower())
    return Understood(
        form="vit",
        architecture=config,
        tensors=tensors,
        preprocess=preprocess,
        dropped=dropped,
        notes=(note, "GELU: exact, and epsilon 1e-6, as torchvision computes"),
    )


def _tidy(found: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Names of today's torchvision, and what is not part of the model."""
    dropped = {"n_averaged": "how many steps an average of weights has seen"} if "n_averaged" in found else {}
    tensors = unwrapped({name: tensor for name, tensor in found.items() if name not in dropped})
    return {
        _OLD_MLP.sub(lambda match: f"{match[1]}.{_NEW_MLP[match[2]]}.", name): tensor
        for name, tensor in tensors.items()
    }, dropped


def _name(config: ViTConfig) -> str:
    size = _SIZES.get((config.embed_dim, config.depth))
    return f"vit-{size}{config.patch_size[0]}" if size else f"vit-torchvision-{config.embed_dim}x{config.depth}"


def _preprocess(config: ViTConfig, file_name: str) -> tuple[PreprocessConfig, str]:
    """What the weights' own transforms do (torchvision's `ViT_*_Weights`), and by which sign they were chosen."""
    size = config.image_size
    if "swag" in file_name or size != (224, 224) or _name(config) == "vit-h14":
        note = "preprocessing of the SWAG weights (bicubic, no border cut off), by resolution, size or file name"
        return PreprocessConfig(image_size=size, crop_ratio=1.0, interpolation="bicubic", **IMAGENET), note
    shorter = 242 if _name(config) == "vit-l16" else 256
    note = f"preprocessing of the weights trained from scratch (bilinear, {shorter} pixels, centre 224)"
    return PreprocessConfig(image_size=size, crop_ratio=224 / shorter, interpolation="bilinear", **IMAGENET), note


def _rules(architecture: Architecture, form: str) -> list[Rule]:
    assert isinstance(architecture, ViTConfig)
    assert form == "vit"
    rules = [rule("cls_token", "class_token"), *pair("patch_embed.proj", "conv_proj")]
    rules.append(rule("pos_embed", "encoder.pos_embedding"))
    for i in range(architecture.depth):
        ours, theirs = f"blocks.{i}", f"{_BLOCK}{i}"
        rules += [
            *pair(f"{ours}.norm1", f"{theirs}.ln_1"),
            rule(f"{ours}.attn.qkv.weight", f"{theirs}.self_attention.in_proj_weight"),
            rule(f"{ours}.attn.qkv.bias", f"{theirs}.self_attention.in_proj_bias"),
            *pair(f"{ours}.attn.proj", f"{theirs}.self_attention.out_proj"),
            *pair(f"{ours}.norm2", f"{theirs}.ln_2"),
            *pair(f"{ours}.mlp.fc1", f"{theirs}.mlp.0"),
            *pair(f"{ours}.mlp.fc2", f"{theirs}.mlp.3"),
        ]
    rules += pair("norm", "encoder.ln")
    if architecture.representation_size is not None:
        rules += pair("pre_logits.fc", "heads.pre_logits")
    return rules + (pair("head", "heads.head") if architecture.num_classes else [])


def _nearest(architecture: Architecture) -> Target:
    config = expressible(architecture, TORCHVISION.title, {"representation_size": ()})
    check_square(config, TORCHVISION.title)
    config = dataclasses.replace(config, **EQUIVALENT, layer_scale=None)
    # it runs at its own resolution only: positions elsewhere, and edges, are nothing that it could do otherwise
    config = dataclasses.replace(config, resample="bicubic-corners", edge="refuse")
    config, differences = compared(config, {"gelu": "erf", "norm_eps": 1e-6})
    return Target(form="vit", architecture=config, differences=differences)


def _package(architecture: Architecture, card: ModelCard, form: str) -> Package:  # noqa: ARG001 - no sidecars
    assert isinstance(architecture, ViTConfig)
    size = _SIZES.get((architecture.embed_dim, architecture.depth))
    name = f"vit_{size}_{architecture.patch_size[0]}" if size in ("b", "l", "h") else "vit"
    return Package(kind="pickle", file_name=f"{name}.pth")


TORCHVISION = Dialect(
    name="torchvision",
    title="torchvision",
    recognises=_recognises,
    understand=_understand,
    rules=_rules,
    nearest=_nearest,
    package=_package,
)
"""torchvision's Vision Transformers, both ways."""

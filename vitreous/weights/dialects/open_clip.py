"""Image towers of OpenCLIP and of OpenAI's CLIP (open_clip/transformer.py, VisionTransformer), with text or alone.

Towers that OpenCLIP borrows from timm, such as SigLIP's, are in `open_clip_trunk.py`. What the tensors do not tell
(heads, the form of GELU, pooling) stands in `open_clip_config.json`.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vitreous.architecture import Architecture, Size, ViTConfig
from vitreous.config import ModelCard, PreprocessConfig
from vitreous.errors import ConfigError, ModelFileError, UsageError
from vitreous.weights.dialects import open_clip_trunk
from vitreous.weights.dialects.dialect import Dialect, Package, Settings, Target, Understood
from vitreous.weights.dialects.mapping import DENSE, Rule, pair, reshaped, rule
from vitreous.weights.dialects.plain_vit import (
    EQUIVALENT,
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

_HEADS = {192: 3, 256: 4, 384: 6, 512: 8, 640: 10, 768: 12, 896: 14}  # heads of 64 each
_HEADS |= {1024: 16, 1280: 16, 1408: 16, 1664: 16, 1792: 16}  # 64, 80 (H), 88 (g), 104 (bigG), 112 (e)
_LETTERS = {384: "s", 512: "m", 768: "b", 896: "b-plus", 1024: "l", 1280: "h", 1408: "g", 1664: "G", 1792: "e"}
_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)

_TEXT = re.compile(
    r"(transformer\.|text\.|text_decoder\.|token_embedding\.|ln_final\.|text_projection|positional_embedding$)"
    r"|(attn_mask|logit_scale|logit_bias)$"
)
_TEXT_REASON = "text tower: only the image tower is read"
_ARCHIVE = ("input_resolution", "context_length", "vocab_size")
"""Numbers that OpenAI's own archives carry among their weights."""

_BEYOND = ("qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn", "scale_fc")
_POOLS = {"tok": "cls", "avg": "mean", "none": "none"}


def _recognises(raw: Raw) -> bool:
    names = unwrapped(raw.tensors)
    if {"visual.conv1.weight", "visual.class_embedding"} <= names.keys() or "visual.layer1.0.conv1.weight" in names:
        return True
    return {"conv1.weight", "class_embedding", "positional_embedding"} <= names.keys() or open_clip_trunk.is_one(names)


def _understand(raw: Raw, settings: Settings) -> Understood:
    where = str(raw.path)
    tensors, dropped = _tower(raw.tensors)
    model, look = _sidecar(raw)
    if open_clip_trunk.is_one(tensors, prefix=""):
        understood = open_clip_trunk.understand(raw, tensors, model.get("vision_cfg", {}), look, settings)
        return dataclasses.replace(understood, dropped=dropped | understood.dropped)
    if "layer1.0.conv1.weight" in tensors:
        raise ModelFileError(
            "this image tower is a ResNet, and CLIP's ResNets are not known here",
            where=where,
            remedy="take a ViT of the same family",
        )
    vision = model.get("vision_cfg", {})
    _refuse(where, tensors, vision)
    archive = any(name in dropped for name in _ARCHIVE) or any("TorchScript" in words for words in raw.ignored)
    fields, notes = _infer(raw, tensors, model, settings, openai=archive)
    config = settle(fields, settings)
    if "name" not in settings:
        config = dataclasses.replace(config, name=_name(config))
    return Understood(
        form="tower",
        architecture=config,
        tensors=tensors,
        preprocess=_preprocess(where, look, config),
        dropped=dropped,
        notes=notes,
    )


def _tower(found: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The image tower under its own names, and what belongs to the text."""
    names = unwrapped(found)
    if not any(name.startswith("visual.") for name in names):
        return names, {}
    dropped = {name: _TEXT_REASON for name in names if _TEXT.match(name)}
    dropped |= {name: "a number for the text tower or for checking images" for name in names if name in _ARCHIVE}
    kept = {name: tensor for name, tensor in names.items() if name not in dropped}
    return {name.removeprefix("visual."): tensor for name, tensor in kept.items()}, dropped


def _sidecar(raw: Raw) -> tuple[dict[str, Any], dict[str, Any]]:
    """`model_cfg` and `preprocess_cfg` of open_clip_config.json, empty where there is none."""
    beside = raw.sidecars.get("open_clip_config.json", {})
    model, look = beside.get("model_cfg", beside), beside.get("preprocess_cfg", {})
    if not isinstance(model, dict) or not isinstance(look, dict) or not isinstance(model.get("vision_cfg", {}), dict):
        raise ModelFileError("open_clip_config.json is not as OpenCLIP writes it", where=str(raw.path))
    return model, look


def _refuse(where: str, tensors: Mapping[str, Tensor], vision: Mapping[str, Any]) -> None:
    """A ModelFileError that names every option of the tower which no model here has."""
    wrong = [name for name in _BEYOND if vision.get(name)]
    if vision.get("attentional_pool") or any(name.startswith("attn_pool.") for name in tensors):
        wrong.append("attentional_pool")
    if str(vision.get("pool_type", "tok")) not in _POOLS:
        wrong.append(f"pool_type={vision['pool_type']!r}")
    known = {"act_kwargs": ("approximate",), "norm_kwargs": ("eps",)}
    wrong += [
        f"{key}.{name}" for key, names in known.items() for name in _kwargs(where, vision, key) if name not in names
    ]
    if wrong:
        raise ModelFileError(
            "this image tower has parts that are not known here", where=where, why=", ".join(wrong), remedy=_OTHERS
        )


_OTHERS = "OpenCLIP itself runs it; here are class token and mean, with plain attention"


def _kwargs(where: str, vision: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """`norm_kwargs` or `act_kwargs`."""
    found = vision.get(name) or {}
    if not isinstance(found, dict):
        raise ModelFileError(f"{name} in open_clip_config.json is {found!r}", where=where)
    return found


def _infer(
    raw: Raw, tensors: Mapping[str, Tensor], model: Mapping[str, Any], settings: Settings, *, openai: bool
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Every field of the architecture, and what was assumed."""
    where, notes = str(raw.path), list[str]()
    vision: Mapping[str, Any] = model.get("vision_cfg", {})
    shape = functools.partial(shape_of, raw, OPEN_CLIP.title, tensors)
    D, channels, *patch = shape("conv1.weight", 4)
    rows, size = shape("positional_embedding", 2)[0] - 1, (patch[0], patch[1])
    stated = _stated(where, vision, size, rows) | dict(settings)
    gelu, note = _gelu(model, openai)
    if note and "gelu" not in settings:
        notes.append(note)
    if not vision and "pool" not in settings:
        notes.append("pooling: the class token, as nearly all CLIP models; settings={'pool': 'mean'} for CLIPA's")
    projected = "proj" in tensors
    return {
        "image_size": find_image_size(where, rows, size, stated),
        "patch_size": size,
        "in_channels": channels,
        "embed_dim": D,
        "depth": count_blocks(tensors, r"transformer\.resblocks\.(\d+)\."),
        "num_heads": count_heads(where, D, stated, _HEADS),
        "mlp_dim": shape("transformer.resblocks.0.mlp.c_fc.weight", 2)[0],
        "num_classes": shape("proj", 2)[1] if projected else 0,
        "head_bias": not projected,
        "patch_bias": False,
        "pre_norm": "ln_pre.weight" in tensors,
        "layer_scale": 1e-5 if "transformer.resblocks.0.ls_1.gamma" in tensors else None,
        "class_token": True,
        "pool": _POOLS[vision.get("pool_type", "tok")],
        "pool_norm": "after" if vision.get("final_ln_after_pool") else "before",
        "gelu": gelu,
        "norm_eps": _kwargs(where, vision, "norm_kwargs").get("eps", 1e-5),
        "resample": "bicubic-antialias",
        "edge": "crop",
    }, tuple(notes)


def _stated(where: str, vision: Mapping[str, Any], patch: Size, rows: int) -> dict[str, Any]:
    """Heads and resolution, as far as the configuration tells them."""
    found: dict[str, Any] = {}
    match vision:
        case {"width": int(width), "head_width": int(each)} if each > 0:
            found["num_heads"] = width // each
        case {"width": int(width)} if "head_width" not in vision:  # where nothing is said, heads are 64 wide
            found["num_heads"] = width // 64
        case {"width": _} | {"head_width": _}:
            raise ModelFileError("width or head_width in open_clip_config.json is no number", where=where)
    match vision.get("image_size"):
        case int(side):
            asked = side, side
        case [int(height), int(width)]:
            asked = height, width
        case _:
            return found
    if (asked[0] // patch[0]) * (asked[1] // patch[1]) == rows:  # else it has been resized, and the rows tell
        found["image_size"] = asked
    return found


def _gelu(model: Mapping[str, Any], openai: bool) -> tuple[str, str | None]:
    """The form of GELU, and what was assumed of it."""
    acts = model.get("vision_cfg", {}).get("act_kwargs") or {}
    if model.get("quick_gelu") or openai:
        return "quick", None if model.get("quick_gelu") else "GELU: quick, as it is an archive of OpenAI's own"
    if model:
        return "tanh" if acts.get("approximate") == "tanh" else "erf", None
    return "erf", "GELU: exact; weights of OpenAI, DFN and MetaCLIP want settings={'gelu': 'quick'}"


def _name(config: ViTConfig) -> str:
    size = _LETTERS.get(config.embed_dim)
    return f"clip-{size}{config.patch_size[0]}" if size else f"clip-{config.embed_dim}x{config.depth}"


def _preprocess(where: str, look: Mapping[str, Any], config: ViTConfig) -> PreprocessConfig:
    """As `preprocess_cfg` says (open_clip/transform.py), by default OpenAI's: shorter side, then the centre."""
    try:
        return PreprocessConfig(
            image_size=config.image_size,
            resize="squash" if look.get("resize_mode") == "squash" else "cover",
            crop_ratio=1.0,
            interpolation=look.get("interpolation", "bicubic"),
            mean=tuple(float(value) for value in look.get("mean", _MEAN)),
            std=tuple(float(value) for value in look.get("std", _STD)),
        )
    except (ConfigError, TypeError, ValueError) as error:
        raise ModelFileError("preprocess_cfg is not as OpenCLIP writes it", where=where, why=str(error)) from error


def _rules(architecture: Architecture, form: str) -> list[Rule]:
    assert isinstance(architecture, ViTConfig)
    if form != "tower":
        return open_clip_trunk.rules(architecture, form)
    config, D = architecture, architecture.embed_dim
    rows = 1 + config.grid[0] * config.grid[1]
    rules = [
        rule("cls_token", "class_embedding", layout=reshaped((1, 1, D), (D,))),
        rule("pos_embed", "positional_embedding", layout=reshaped((1, rows, D), (rows, D))),
        rule("patch_embed.proj.weight", "conv1.weight"),
        *(pair("norm_pre", "ln_pre") if config.pre_norm else []),
    ]
    for i in range(config.depth):
        ours, theirs = f"blocks.{i}", f"transformer.resblocks.{i}"
        rules += [
            *pair(f"{ours}.norm1", f"{theirs}.ln_1"),
            rule(f"{ours}.attn.qkv.weight", f"{theirs}.attn.in_proj_weight"),
            rule(f"{ours}.attn.qkv.bias", f"{theirs}.attn.in_proj_bias"),
            *pair(f"{ours}.attn.proj", f"{theirs}.attn.out_proj"),
            *pair(f"{ours}.norm2", f"{theirs}.ln_2"),
            *pair(f"{ours}.mlp.fc1", f"{theirs}.mlp.c_fc"),
            *pair(f"{ours}.mlp.fc2", f"{theirs}.mlp.c_proj"),
        ]
        if config.layer_scale is not None:
            rules += [rule(f"{ours}.ls{n}.gamma", f"{theirs}.ls_{n}.gamma") for n in (1, 2)]
    rules += pair("norm" if config.pool_norm == "before" else "fc_norm", "ln_post")
    return rules + ([rule("head.weight", "proj", layout=DENSE)] if config.num_classes else [])


def _nearest(architecture: Architecture) -> Target:
    if isinstance(architecture, ViTConfig) and architecture.pool == "map":
        return open_clip_trunk.nearest(architecture)
    allowed: dict[str, tuple[object, ...]] = {"pre_norm": (), "pool": tuple(_POOLS.values()), "pool_norm": ()}
    config = expressible(architecture, OPEN_CLIP.title, allowed)
    biased = {"patch_bias": config.patch_bias, "head_bias": config.head_bias and config.num_classes > 0}
    if wrong := [name for name, there in biased.items() if there]:
        raise UsageError(
            "an image tower of OpenCLIP has no bias in its patch projection nor behind its last norm",
            why=f"the model has {' and '.join(wrong)}",
            remedy="--to timm",
        )
    if config.in_channels != 3 or config.patch_size[0] != config.patch_size[1]:
        raise UsageError(
            "an image tower of OpenCLIP takes square patches of three channels",
            why=f"patch_size={config.patch_size}, in_channels={config.in_channels}",
        )
    kept = {"patch_bias": False, "head_bias": config.head_bias, "edge": "crop"}
    config = dataclasses.replace(config, **{**EQUIVALENT, **kept})
    config, differences = compared(config, {"resample": "bicubic-antialias"})
    return Target(form="tower", architecture=config, differences=differences)


def _package(architecture: Architecture, card: ModelCard, form: str) -> Package:
    """OpenCLIP's file of the image tower alone, and its configuration without the text's part.

    `open_clip.create_model(...).visual.load_state_dict(...)` takes it; a whole CLIP model needs a text tower too.
    """
    assert isinstance(architecture, ViTConfig)
    config, look = architecture, card.preprocess
    vision = open_clip_trunk.vision_cfg(config) if form != "tower" else _vision_cfg(config)
    model: dict[str, Any] = {"embed_dim": config.num_classes or config.embed_dim, "vision_cfg": vision}
    if config.gelu == "quick":
        model["quick_gelu"] = True
    preprocess = {
        "size": list(config.image_size),
        "mean": list(look.mean),
        "std": list(look.std),
        "interpolation": look.interpolation,
        "resize_mode": "shortest" if look.resize == "cover" else "squash",
    }
    sidecar = {"model_cfg": model, "preprocess_cfg": preprocess}
    return Package(
        kind="safetensors",
        file_name="open_clip_model.safetensors",
        sidecars={"open_clip_config.json": sidecar},
        metadata={"format": "pt"},
    )


def _vision_cfg(config: ViTConfig) -> dict[str, Any]:
    """The arguments with which OpenCLIP builds this tower (open_clip/model.py, CLIPVisionCfg)."""
    height, width = config.image_size
    ratio = config.mlp_dim / config.embed_dim
    exact = int(config.embed_dim * ratio) == config.mlp_dim  # so OpenCLIP computes the width from the ratio
    vision: dict[str, Any] = {
        "image_size": height if height == width else [height, width],
        "layers": config.depth,
        "width": config.embed_dim,
        "head_width": config.head_dim,
        "mlp_ratio": ratio if exact else (config.mlp_dim + 0.5) / config.embed_dim,
        "patch_size": config.patch_size[0],
        "pool_type": next(theirs for theirs, ours in _POOLS.items() if ours == config.pool),
    }
    optional = {
        "no_ln_pre": (not config.pre_norm, True),
        "final_ln_after_pool": (config.pool_norm == "after", True),
        "ls_init_value": (config.layer_scale is not None, config.layer_scale),
        "norm_kwargs": (config.norm_eps != 1e-5, {"eps": config.norm_eps}),
        "act_kwargs": (config.gelu == "tanh", {"approximate": "tanh"}),
    }
    return vision | {name: value for name, (wanted, value) in optional.items() if wanted}


OPEN_CLIP = Dialect(
    name="openclip",
    title="OpenCLIP",
    recognises=_recognises,
    understand=_understand,
    rules=_rules,
    nearest=_nearest,
    package=_package,
)
"""Image towers of OpenCLIP and CLIP, both ways."""

"""What of an architecture timm can express, and the `config.json` with which timm's own loader builds it.

timm has a name for every model, and `model_args` for what differs from it. A norm's epsilon and a gated MLP are no
arguments, so that the name is chosen by them.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from vitreous.architecture import Architecture, ResNetConfig, Size, ViTConfig
from vitreous.config import ModelCard
from vitreous.errors import UsageError
from vitreous.weights.dialects.dialect import Package, Target
from vitreous.weights.dialects.timm_resnet import BIT, HYBRIDS, nearest_resnet, nearest_stem

_WORDS = {192: "tiny", 384: "small", 768: "base", 1024: "large", 1280: "huge", 1408: "giant", 1664: "gigantic"}
_PLAIN = (
    *("tiny16", "small8", "small16", "small32", "base8", "base16", "base32", "large14", "large16", "large32"),
    *("huge14", "giant14", "gigantic14"),
)
_CLIP = ("base16", "base32", "large14", "huge14", "giant14", "gigantic14")
_POOLS = {"cls": "token", "mean": "avg", "map": "map", "none": ""}
_GELUS = {"erf": "gelu", "tanh": "gelu_tanh", "quick": "quick_gelu"}


def nearest(architecture: Architecture) -> Target:
    """What timm computes with these weights, and what it does differently.

    Args:
        architecture: to write.

    Raises:
        UsageError: it has options that nothing in timm comes near.
    """
    if isinstance(architecture, ResNetConfig):
        resnet, words = nearest_resnet(architecture)
        return Target(form="bit", architecture=resnet, differences=words)
    config, differences = architecture, list[str]()
    _refuse(config)
    eva = _is_eva(config)
    changes: dict[str, Any] = {"head_bias": True, "resample": "bicubic-antialias"}
    if not config.pre_norm:
        changes["patch_bias"] = True
    if config.stem is not None:
        changes["stem"], words = nearest_stem(config.stem)
        differences += words
    if eva or config.proj_bias != config.mlp_bias:
        changes |= {"proj_bias": True, "mlp_bias": True}
    if config.qkv_bias == "query-value" and not eva:
        changes["qkv_bias"] = "all"
    if config.distill_token:
        changes["prefix_position"] = True
    eps = min(_epsilons(config, eva), key=lambda near: abs(math.log(near / config.norm_eps)))
    if eps != config.norm_eps:
        changes["norm_eps"] = eps
        differences.append(f"LayerNorm epsilon: {config.norm_eps:g} becomes {eps:g}")
    if eva and config.gelu != "erf" and (config.mlp == "gelu" or config.pool == "map"):
        changes["gelu"] = "erf"
        differences.append(f"GELU: {config.gelu} becomes erf")
    if config.rotary_dtype != "float32":
        changes["rotary_dtype"] = "float32"
        differences.append(f"rotary periods: {config.rotary_dtype} becomes float32")
    target = dataclasses.replace(config, **changes)
    return Target(form="eva" + _gate(target) if eva else "vit", architecture=target, differences=tuple(differences))


def _gate(config: ViTConfig) -> str:
    """Eva has a gated MLP with two first layers where a norm follows it, with a packed one elsewhere."""
    return "+gate" if config.mlp == "swiglu" and config.mlp_norm else ""


def _is_eva(config: ViTConfig) -> bool:
    """Whether timm's class is Eva: the one with rotary positions, and with biases of queries and values alone."""
    own = config.qkv_bias == "query-value" and config.gelu == "erf" and config.proj_bias and config.mlp_bias
    return config.rotary is not None or (own and config.stem is None and not config.distill_token)


def _epsilons(config: ViTConfig, eva: bool) -> tuple[float, ...]:
    """Those that some name of timm's has."""
    fixed = config.stem is not None or config.distill_token or (config.mlp == "swiglu" and not eva)
    return (1e-6,) if fixed else (1e-6, 1e-5)


def _refuse(config: ViTConfig) -> None:
    """A UsageError that names every option which timm has nothing for."""
    eva = _is_eva(config)
    mapped = config.pool == "map"
    why = {
        "representation_size": config.representation_size is not None,
        "tokenizer": config.tokenizer != "patch",
        "attention": config.attention != "full",
        "position": config.position in ("relative", "learned-2d"),
        "position_at": config.position_at != "input",
        "pool": config.pool == "cls+mean",
        "mlp": mapped and config.mlp == "swiglu",
        "mlp_norm": mapped and config.mlp_norm,
        "mlp_bias": mapped and not config.mlp_bias,
        "patch_bias": config.pre_norm and config.patch_bias,
        "registers": config.distill_token and config.registers > 0,
        "pool_norm": config.distill_token and config.pool_norm == "after",
        "distill_token": config.distill_token and (eva or config.mlp == "swiglu" or config.stem is not None),
        "stem": config.stem is not None and (eva or config.mlp == "swiglu"),
    }
    wrong = [f"{field}={getattr(config, field)!r}" for field, beyond in why.items() if beyond]
    if wrong:
        raise UsageError(
            "timm has no model of this kind: it cannot be written so",
            why=f"no room for {', '.join(wrong)}",
            remedy="load it with head='drop' and save that" if wrong[0].startswith("representation") else None,
        )


def package(architecture: Architecture, card: ModelCard, form: str) -> Package:
    """The folder around the weights, complete enough for `timm.create_model("local-dir:FOLDER", pretrained=True)`.

    Args:
        architecture: as timm computes it, from `nearest`.
        card: preprocessing, classes, licence.
        form: from `nearest`.
    """
    args: dict[str, Any]
    head: str | list[str]
    if isinstance(architecture, ResNetConfig):
        name, args = BIT[architecture.layers, architecture.width_factor], {}
        if architecture.style == "v1":
            args = {"preact": False}
        features, pool, first, head = architecture.num_features, "avg", "stem.conv", "head.fc"
    else:
        name, args = _eva(architecture) if form.startswith("eva") else _vit(architecture)
        features, pool, first = architecture.embed_dim, _POOLS[architecture.pool], "patch_embed.proj"
        head = ["head", "head_dist"] if architecture.distill_token else "head"
        if architecture.stem is not None:
            first = f"patch_embed.backbone.{'stem.' if architecture.stem.layers else ''}conv"
    if architecture.in_channels != 3:
        args["in_chans"] = architecture.in_channels
    config = {
        "architecture": name,
        "num_classes": architecture.num_classes,
        "num_features": features,
        "global_pool": pool,
        "model_args": args,
        "pretrained_cfg": {
            "input_size": [architecture.in_channels, *architecture.image_size],
            "fixed_input_size": isinstance(architecture, ViTConfig),
            "interpolation": card.preprocess.interpolation,
            "crop_pct": 1.0 if card.preprocess.resize == "squash" else card.preprocess.crop_ratio,
            "crop_mode": "center" if card.preprocess.resize == "cover" else "squash",
            "mean": list(card.preprocess.mean),
            "std": list(card.preprocess.std),
            "num_classes": architecture.num_classes,
            "first_conv": first,
            "classifier": head,
            "license": card.licence,
            **({"label_names": list(card.classes)} if card.classes else {}),
        },
    }
    return Package(
        kind="safetensors",
        file_name="model.safetensors",
        sidecars={"config.json": config},
        metadata={"format": "pt", "architecture": name},
    )


def _common(config: ViTConfig) -> dict[str, Any]:
    """Arguments that both of timm's classes have."""
    return {
        "img_size": _side(config.image_size),
        "patch_size": _side(config.patch_size),
        "embed_dim": config.embed_dim,
        "depth": config.depth,
        "num_heads": config.num_heads,
        "qkv_bias": config.qkv_bias != "none",
        "qk_norm": config.qk_norm,
        "class_token": bool(config.class_token),
        "no_embed_class": config.num_prefix_positions == 0,
        "global_pool": _POOLS[config.pool],
    }


def _vit(config: ViTConfig) -> tuple[str, dict[str, Any]]:
    """Name and arguments of a VisionTransformer."""
    gated = config.mlp == "swiglu"
    args = _common(config) | {
        "mlp_ratio": _ratio((2 if gated else 1) * config.mlp_dim, config.embed_dim),
        "proj_bias": config.proj_bias,
        "init_values": config.layer_scale or 0,
        "reg_tokens": config.registers,
        "pos_embed": "none" if config.position == "none" else "learn",
        "pre_norm": config.pre_norm,
        "fc_norm": config.pool_norm == "after",
    }
    optional = {"scale_attn_norm": config.attn_norm, "scale_mlp_norm": config.mlp_norm}
    optional["pool_include_prefix"] = config.pool == "map" and config.num_prefix > 0
    args |= {name: True for name, wanted in optional.items() if wanted}
    if not gated:
        args["act_layer"] = _GELUS[config.gelu]
    return _vit_name(config), args


def _vit_name(config: ViTConfig) -> str:
    word, patch = _WORDS.get(config.embed_dim, "base"), config.patch_size[0]
    if config.stem is not None:
        return HYBRIDS[config.stem.layers]
    if config.distill_token:
        return f"deit_{word if word in ('tiny', 'small', 'base') else 'base'}_distilled_patch16_224"
    if config.mlp == "swiglu":
        return "vit_giant_patch14_dinov2"
    listed, clip = (_CLIP, "_clip") if config.norm_eps == 1e-5 else (_PLAIN, "")
    if f"{word}{patch}" not in listed:
        word, patch = "base", 16
    return f"vit_{word}_patch{patch}{clip}_224"


def _eva(config: ViTConfig) -> tuple[str, dict[str, Any]]:
    """Name and arguments of an Eva."""
    rotary = config.rotary is not None
    args = _common(config) | {
        "mlp_ratio": _ratio(config.mlp_dim, config.embed_dim),
        "qkv_fused": True,
        "attn_type": "rope" if config.qkv_bias == "all" else "eva",  # its other class has no biases of keys
        "swiglu_mlp": config.mlp == "swiglu",
        "scale_mlp": config.mlp_norm,
        "scale_attn_inner": config.attn_norm,
        "num_reg_tokens": config.registers,
        "use_abs_pos_emb": config.position != "none",
        "use_rot_pos_emb": rotary,
        "use_pre_transformer_norm": config.pre_norm,
        "use_post_transformer_norm": config.pool_norm == "before",
        "use_fc_norm": config.pool_norm == "after",
    }
    if rotary:
        args |= {
            "rope_type": "cat" if config.rotary == "eva" else "dinov3",
            "rope_temperature": config.rotary_base,
            "rope_rotate_half": config.rotary == "dinov3",
            "rope_grid_offset": 0.0,
            "rope_grid_indexing": "ij",
        }
    if config.rotary == "eva" and config.rotary_grid is not None:
        args["ref_feat_shape"] = list(config.rotary_grid)
    if config.layer_scale is not None:
        args["init_values"] = config.layer_scale
    if config.norm_eps == 1e-6:  # of the names with this epsilon, those that set nothing which cannot be taken back
        return "eva_giant_patch14_224", args
    if config.layer_scale is not None:
        return "vit_base_patch16_dinov3", args
    # Perception Encoder's name is the only one with this epsilon and no LayerScale
    return "vit_pe_core_base_patch16_224", args | {
        "attn_pool_num_heads": config.num_heads,
        "attn_pool_mlp_ratio": args["mlp_ratio"],
        "ref_feat_shape": args.get("ref_feat_shape", list(config.grid)),
    }


def _ratio(hidden: int, width: int) -> float:
    """The ratio from which timm computes `hidden` as int(width * ratio)."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else (hidden + 0.5) / width


def _side(size: Size) -> int | list[int]:
    return size[0] if size[0] == size[1] else list(size)

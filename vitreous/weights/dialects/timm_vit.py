"""The architecture of a Vision Transformer in timm's names: what shapes show, and what timm's factories set beside."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vitreous.architecture import Size, ViTConfig, as_pair
from vitreous.errors import ModelFileError
from vitreous.weights.dialects.dialect import Settings, unaccounted
from vitreous.weights.dialects.plain_vit import count_blocks, settle
from vitreous.weights.dialects.timm_config import HEADS, HEADS_GATED, Stated, claims, stated_sizes
from vitreous.weights.dialects.timm_resnet import read_stem


def read_vit(tensors: dict[str, Tensor], form: str, known: Stated, settings: Settings, notes: list[str]) -> ViTConfig:
    """The architecture; in `tensors`, the registers take over the positions they may have.

    Args:
        tensors: by the names of the form.
        form: "vit", or "eva" with what follows.
        known: what config.json and the architecture's name say.
        settings: what a person stated, which goes before all else.
        notes: gets what was assumed.

    Raises:
        ModelFileError: nothing tells the heads, the resolution or the rotary embedding.
    """
    fields = _shown(tensors, form, known)
    guessed = _guessed(tensors, form, fields)
    assumed = {name: value for name, (value, _) in guessed.items()}
    certain = claims(known)
    fields = assumed | fields | certain
    if not known.name:
        notes += [note for name, (_, note) in guessed.items() if note and name not in certain and name not in settings]
    patch = fields["patch_size"]
    times = fields["stem"].reduction if fields["stem"] else 1
    fields |= _placed(tensors, (patch[0] * times, patch[1] * times), fields, known, settings, notes)
    if form.startswith("eva") and "rotary" not in fields | dict(settings):
        raise ModelFileError(
            "neither names nor shapes tell what the positions of this Eva are",
            where=known.where,
            remedy="state it: settings={'rotary': 'dinov3'}, 'eva' or None, or put timm's config.json beside the file",
        )
    chosen = {name: value for name, value in settings.items() if name != "stem"}
    if (fields | chosen).get("rotary") != "eva":
        fields["rotary_grid"] = None  # it was guessed along with EVA's rotation
    if "num_heads" not in fields | chosen:
        raise ModelFileError(
            "neither names nor shapes tell the number of attention heads",
            where=known.where,
            why=f"no published size is {fields['embed_dim']} wide",
            remedy="state it: settings={'num_heads': 6}",
        )
    stem = settings.get("stem", fields.pop("stem"))
    config = dataclasses.replace(settle(fields, chosen), stem=stem)
    partial = form == "vit" and config.num_prefix > 0 and not known.pools_everything and "pool" not in settings
    if config.pool == "map" and partial:
        raise ModelFileError(
            "in timm, attention pooling does not look at class token and registers; here it does",
            where=known.where,
            remedy="settings={'pool': 'map'} if the model was trained with pool_include_prefix=True",
        )
    return config


def _shown(tensors: Mapping[str, Tensor], form: str, known: Stated) -> dict[str, Any]:
    """Every field that names and shapes tell."""
    at = "blocks.0."
    has = tensors.keys()
    kernel, last = _need(tensors, "patch_embed.proj.weight", known), _need(tensors, f"{at}mlp.fc2.weight", known)
    hybrid = any(name.startswith("patch_embed.backbone.") for name in has)
    stem = read_stem(tensors, known.where) if hybrid else None
    first = tensors.get(f"{at}mlp.fc1.weight")
    gated = "+gate" in form or (first is not None and len(first) == 2 * last.shape[1])
    qkv = "none"
    if f"{at}attn.qkv.bias" in has or f"{at}attn.k_proj.bias" in has:
        qkv = "all"
    elif f"{at}attn.q_bias" in has or f"{at}attn.q_proj.bias" in has:
        qkv = "query-value"
    gamma = any(f"{at}{name}" in has for name in ("ls1.gamma", "gamma_1"))
    hidden, registers = tensors.get("pre_logits.fc.weight"), tensors.get("reg_token")
    return {
        "patch_size": tuple(kernel.shape[2:]),
        "in_channels": stem.in_channels if stem else kernel.shape[1],
        "embed_dim": len(kernel),
        "depth": count_blocks(tensors, r"blocks\.(\d+)\."),
        "mlp": "swiglu" if gated else "gelu",
        "mlp_dim": last.shape[1],
        "num_classes": len(tensors["head.weight"]) if "head.weight" in has else 0,
        "stem": stem,
        "patch_bias": "patch_embed.proj.bias" in has,
        "class_token": "cls_token" in has,
        "distill_token": "dist_token" in has,
        "registers": 0 if registers is None else registers.shape[1],
        "position": "learned" if "pos_embed" in has else "none",
        "qkv_bias": qkv,
        "qk_norm": f"{at}attn.q_norm.weight" in has,
        "attn_norm": f"{at}attn.norm.weight" in has,
        "proj_bias": f"{at}attn.proj.bias" in has,
        "mlp_norm": f"{at}mlp.norm.weight" in has,
        "mlp_bias": f"{at}mlp.fc2.bias" in has,
        "pre_norm": "norm_pre.weight" in has,
        "layer_scale": 1e-5 if gamma else None,
        "pool_norm": "after" if "fc_norm.weight" in has else "before",
        "representation_size": None if hidden is None else len(hidden),
        "head_bias": "head.bias" in has or "head.weight" not in has,
        "resample": "bicubic-antialias",
    }


def _need(tensors: Mapping[str, Tensor], name: str, known: Stated) -> Tensor:
    if name not in tensors:
        raise unaccounted(known.where, "timm", [name], [], [])
    return tensors[name]


def _guessed(tensors: Mapping[str, Tensor], form: str, shown: dict[str, Any]) -> dict[str, tuple[Any, str | None]]:
    """Fields that nothing shows: what timm's factories set for models of such shapes, and how to say so."""
    gated, eva = shown["mlp"] == "swiglu", form.startswith("eva")
    guess: dict[str, tuple[Any, str | None]] = {"norm_eps": (1e-6, None)}
    heads = (HEADS_GATED if gated else HEADS).get(shown["embed_dim"])
    if heads:
        guess["num_heads"] = heads, f"{heads} heads, as in published models of width {shown['embed_dim']}"
    if not gated:
        others = "{'gelu': 'quick'} for OpenAI's" if shown["pre_norm"] else "{'gelu': 'tanh'} for Google's"
        guess["gelu"] = "erf", f"GELU: exact, as timm's factories compute it; settings={others} weights"
    if shown["pre_norm"]:
        guess["norm_eps"] = 1e-5, "epsilon of the norms: 1e-5, as timm's CLIP models have"
    pool = "map" if "attn_pool.latent" in tensors else "mean" if "fc_norm.weight" in tensors else "cls"
    if pool == "cls" and not shown["class_token"]:
        pool = "mean"
    guess["pool"] = pool, None
    if not eva:
        return guess
    alone = shown["position"] == "none"
    if alone and shown["class_token"] and shown["registers"] and shown["qkv_bias"] != "all":
        guess["rotary"] = "dinov3", "rotary positions: DINOv3's, with periods up to 100"
        guess |= {"rotary_base": (100.0, None), "norm_eps": (1e-5, "epsilon of the norms: 1e-5, as DINOv3 has")}
        guess["pool"] = (
            "mean",
            "pooling: mean of the patches, as timm's DINOv3; settings={'pool': 'cls'} for Meta's own",
        )
    elif (alone and not shown["class_token"]) or (gated and not alone):
        guess["rotary"] = "eva", "rotary positions: EVA-02's, scaled to a grid of 16 x 16"
        guess |= {"rotary_base": (10_000.0, None), "rotary_grid": ((16, 16), None)}
    elif not alone:
        guess["rotary"] = None, "positions: the table alone, as in EVA; settings={'rotary': 'eva'} for more"
    return guess


def _placed(
    tensors: dict[str, Tensor],
    stride: Size,
    fields: dict[str, Any],
    known: Stated,
    settings: Settings,
    notes: list[str],
) -> dict[str, Any]:
    """Resolution and rows of the position table."""
    front, registers = int(fields["class_token"]) + int(fields["distill_token"]), fields["registers"]
    asked = [as_pair(settings["image_size"])] if "image_size" in settings else []
    said = [*asked, *stated_sizes(known)]
    if fields["position"] == "none":
        size = said[0] if said else (16 * stride[0], 16 * stride[1])
        if not said:
            notes.append(f"resolution: {size[0]} x {size[1]} pixels, which nothing tells and no weight depends on")
        return {"image_size": size, "edge": _edge(size, stride)}
    rows = tensors["pos_embed"].shape[1]
    extra = [front + registers, 0]
    if isinstance(alone := known.args.get("no_embed_class"), bool):
        extra = extra[1:] if alone else extra[:1]
    size, own = _grid_of(rows, extra, stride, said, known.where, bool(asked))
    if said and size not in said:
        notes.append(
            f"resolution: the position table is for {size[0]} x {size[1]} pixels, not {said[0][0]} x {said[0][1]}"
        )
    if own and registers and _fold_registers(tensors, front, registers):
        notes.append("positions of the registers are added to the registers, which have none of their own here")
    return {"image_size": size, "prefix_position": bool(own) or not front, "edge": _edge(size, stride)}


def _grid_of(rows: int, extra: list[int], stride: Size, said: list[Size], where: str, asked: bool) -> tuple[Size, int]:
    """Resolution of a table, and how many of its rows belong to no patch."""
    for height, width in said:
        for own in extra:
            if rows - own == (height // stride[0]) * (width // stride[1]):
                return (height, width), own
    if asked:
        return said[0], extra[0]  # the table does not fit, and translating says so
    for own in extra:
        side = math.isqrt(max(0, rows - own))
        if side and side * side == rows - own:
            return (side * stride[0], side * stride[1]), own
    raise ModelFileError(
        f"the position table has {rows} rows, which with or without those in front make no square",
        where=where,
        remedy="state the resolution it is for: settings={'image_size': (224, 336)}",
    )


def _edge(size: Size, stride: Size) -> str:
    return "crop" if size[0] % stride[0] or size[1] % stride[1] else "refuse"


def _fold_registers(tensors: dict[str, Tensor], front: int, count: int) -> bool:
    """Move the registers' rows of the position table into the registers, and say whether that changed any.

    x + p is the same, wherever p is added.
    """
    table = tensors["pos_embed"]
    if table[:, :count].shape != tensors["reg_token"].shape:
        return False  # neither fits the model, and translating says so
    tensors["reg_token"] = tensors["reg_token"] + table[:, front : front + count]
    empty = [torch.zeros_like(table[:, :count])] if front else []
    tensors["pos_embed"] = torch.cat([table[:, :front], *empty, table[:, front + count :]], dim=1)
    return bool(table[:, front : front + count].any())

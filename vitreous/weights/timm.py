"""timm's checkpoints: AugReg, DeiT, DeiT-III, MAE, DINO, DINOv2, DINOv3, CLIP, SigLIP, EVA-02, hybrids and BiT.

Native names are timm's, so that most rules say "the same". The forms differ where timm has two classes or two
spellings for one thing (timm/models/vision_transformer.py and timm/models/eva.py):

    vit    VisionTransformer: ls1.gamma
    eva    Eva: gamma_1; with "+qkv" three matrices in place of one, with "+gate" two first layers in place of one
    bit    ResNetV2

What names and `config.json` say stands in `timm_config.py`, what can be written in `timm_write.py`.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vitreous.architecture import Architecture, ResNetConfig, Size, ViTConfig, as_pair
from vitreous.errors import ModelFileError
from vitreous.model.create import build
from vitreous.model.position import sincos
from vitreous.schema import from_json
from vitreous.weights.container import Raw
from vitreous.weights.dialect import Dialect, Settings, Understood, unaccounted
from vitreous.weights.mapping import SAME, Layout, Rule, rule, stacked
from vitreous.weights.plain_vit import count_blocks, settle, unwrapped
from vitreous.weights.timm_config import (
    HEADS,
    HEADS_GATED,
    Stated,
    claims,
    preprocessing,
    stated,
    stated_sizes,
)
from vitreous.weights.timm_names import called
from vitreous.weights.timm_resnet import is_resnet, read_resnet, read_stem
from vitreous.weights.timm_write import nearest, package

_OTHERS = re.compile(  # names of Meta's own DINO files, which are timm's for the rest
    r"register_tokens|storage_tokens|rope_embed\.|blocks\.\d+\.\d+\.|.*\.(mlp\.w12|mlp\.weights_in)\.|.*\.qkv\.bias_mask"
)
_DROPPED = (
    (re.compile(r"mask_token"), "stands for patches that are hidden in pre-training"),
    (re.compile(r"decoder_(embed|pos_embed|norm|pred|blocks)\b.*"), "a decoder: only the encoder is used"),
    (re.compile(r"(.*\.)?rope\.(freqs_cos|freqs_sin|bands|periods|pos_embed\w*)"), "computed, and equal"),
    (re.compile(r".*\.attn\.k_bias"), "always zero"),
)
_SPELLINGS = (  # EVA-02's own names (EVA-02/asuka/modeling_finetune.py)
    (re.compile(r"\.mlp\.w1\."), ".mlp.fc1_g."),
    (re.compile(r"\.mlp\.w2\."), ".mlp.fc1_x."),
    (re.compile(r"\.mlp\.w3\."), ".mlp.fc2."),
    (re.compile(r"\.mlp\.ffn_ln\."), ".mlp.norm."),
    (re.compile(r"\.attn\.inner_attn_ln\."), ".attn.norm."),
)


_COUNT = "n_averaged"
"""What torch.optim.swa_utils.AveragedModel puts beside the model that it wraps."""


def _plain_names(raw: Raw) -> dict[str, Tensor]:
    """The tensors without what wrappers, trainers and transformers' TimmWrapper put in front of every name."""
    inside = {name: tensor for name, tensor in raw.tensors.items() if name != _COUNT}
    return unwrapped(inside, "timm_model.", "model.", "backbone.")


def _recognises(raw: Raw) -> bool:
    if raw.kind == "npz":
        return False
    names = _plain_names(raw)
    if is_resnet(names):
        return True
    mask = names.get("mask_token")
    own = {"patch_embed.proj.weight", "blocks.0.norm1.weight", "blocks.0.norm2.weight"} <= names.keys()
    return own and not any(_OTHERS.match(name) for name in names) and not (mask is not None and mask.ndim == 2)


def _understand(raw: Raw, settings: Settings) -> Understood:
    known = stated(raw)
    found = _plain_names(raw)
    dropped = {name: why for name in found for pattern, why in _DROPPED if pattern.fullmatch(name)}
    if _COUNT in raw.tensors:
        dropped[_COUNT] = "counts the models that were averaged"
    tensors = {name: tensor for name, tensor in found.items() if name not in dropped}
    notes: list[str] = []
    architecture: Architecture
    if is_resnet(tensors):
        form = "bit"
        architecture = _resnet(tensors, known, settings, notes)
    else:
        form, tensors = _respelled(tensors)
        if form == "vit" and "blocks.0.gamma_1" in found and not known.name:
            notes.append("positions: the table alone, as in DeiT-III's own files")
        architecture = _vit(tensors, form, known, settings, notes)
    if "name" not in settings:
        architecture = dataclasses.replace(architecture, name=called(architecture))
    preprocess, words = preprocessing(known, architecture)
    names = known.cfg.get("label_names") or ()
    classes = tuple(str(name) for name in names) if len(names) == architecture.num_classes else ()
    return Understood(
        form=form,
        architecture=architecture,
        tensors=tensors,
        preprocess=preprocess,
        classes=classes,
        features=_FEATURES.get(getattr(architecture, "pool", "mean"), "final-norm tokens"),
        licence=str(known.cfg.get("license") or "not stated"),
        dropped=dropped,
        notes=(*notes, words) if words else tuple(notes),
    )


_FEATURES = {"cls": "final-norm class token", "mean": "mean of the patches", "map": "attention pooling"}


def _resnet(tensors: Mapping[str, Tensor], known: Stated, settings: Settings, notes: list[str]) -> ResNetConfig:
    fields = read_resnet(tensors)
    size = next(iter(stated_sizes(known)), None)
    if size is None and "image_size" not in settings:
        notes.append("resolution: 224 x 224 pixels; it runs at any other")
    chosen = dict(settings)
    if "image_size" in chosen:
        chosen["image_size"] = as_pair(chosen["image_size"])
    return from_json(ResNetConfig, fields | {"image_size": size or (224, 224)} | chosen)


def _respelled(tensors: Mapping[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    """The form, and the tensors under the names it has in timm."""
    renewed = {}
    for name, tensor in tensors.items():
        for pattern, new in _SPELLINGS:
            name = pattern.sub(new, name)
        renewed[name] = tensor
    at = "blocks.0."
    apart, gate = f"{at}attn.q_proj.weight" in renewed, f"{at}mlp.fc1_g.weight" in renewed
    if apart:
        renewed = {re.sub(r"\.attn\.([qv])_bias$", r".attn.\1_proj.bias", name): t for name, t in renewed.items()}
    eva = apart or gate or f"{at}attn.q_bias" in renewed
    eva = eva or (f"{at}gamma_1" in renewed and "pos_embed" not in renewed)
    if not eva:  # DeiT-III's own files (deit/models_v2.py)
        return "vit", {re.sub(r"\.gamma_([12])$", r".ls\1.gamma", name): t for name, t in renewed.items()}
    return "eva" + ("+qkv" if apart else "") + ("+gate" if gate else ""), renewed


def _vit(tensors: dict[str, Tensor], form: str, known: Stated, settings: Settings, notes: list[str]) -> ViTConfig:
    """The architecture; in `tensors`, the registers take over the positions they may have."""
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
    if kernel.ndim != 4 or last.ndim != 2:
        shapes = [f"{name} {tuple(t.shape)}" for name, t in (("patch_embed.proj.weight", kernel), ("fc2", last))]
        raise unaccounted(known.where, "timm", [], [], shapes)
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
    if own and registers:
        _fold_registers(tensors, front, registers)
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


def _fold_registers(tensors: dict[str, Tensor], front: int, count: int) -> None:
    """Move the registers' rows of the position table into the registers: x + p is the same, wherever p is added."""
    table = tensors["pos_embed"]
    tensors["reg_token"] = tensors["reg_token"] + table[:, front : front + count]
    empty = [torch.zeros_like(table[:, :count])] if front else []
    tensors["pos_embed"] = torch.cat([table[:, :front], *empty, table[:, front + count :]], dim=1)


def _rules(architecture: Architecture, form: str) -> list[Rule]:
    with torch.device("meta"):
        names = build(architecture).state_dict()
    return [_rule(name, architecture, form) for name in names]


def _rule(name: str, architecture: Architecture, form: str) -> Rule:
    """The rule of one native tensor."""
    if not isinstance(architecture, ViTConfig):
        return rule(name, name)
    if name == "pos_embed" and architecture.registers and architecture.num_prefix_positions:
        return rule(name, name, layout=_register_rows(architecture.num_prefix_positions, architecture.registers))
    if name == "patch_embed.proj.weight" and architecture.position in ("sincos", "sincos-mae"):
        return rule(name, name, "pos_embed", layout=_beside_sines(architecture))
    if architecture.stem and not architecture.stem.layers:  # a stem alone has no floor of its own in timm
        return rule(name, name.replace("patch_embed.backbone.stem.", "patch_embed.backbone."))
    if form.startswith("eva") and (scale := re.fullmatch(r"(blocks\.\d+)\.ls([12])\.gamma", name)):
        return rule(name, f"{scale[1]}.gamma_{scale[2]}")
    if "+qkv" in form and (part := re.fullmatch(r"(.*\.attn)\.(?:qkv\.(weight|bias)|([qv])_bias)", name)):
        if part[3]:
            return rule(name, f"{part[1]}.{part[3]}_proj.bias")
        return rule(name, *(f"{part[1]}.{one}_proj.{part[2]}" for one in "qkv"), layout=stacked(SAME, 3))
    if "+gate" in form and (part := re.fullmatch(r"(blocks\.\d+\.mlp\.fc1)\.(weight|bias)", name)):
        return rule(name, *(f"{part[1]}_{half}.{part[2]}" for half in "gx"), layout=stacked(SAME, 2))
    return rule(name, name)


def _register_rows(own: int, count: int) -> Layout:
    """A table in which registers have rows too, all zero."""
    return Layout(
        lambda table: torch.cat([table[:, :own], table[:, own + count :]], dim=1),
        lambda table: (torch.cat([table[:, :own], table.new_zeros(1, count, table.shape[2]), table[:, own:]], dim=1),),
    )


def _beside_sines(config: ViTConfig) -> Layout:
    """A tensor beside the table of sines, which timm has for a parameter and we compute."""
    table = sincos(config.grid, config.embed_dim, "sincos" if config.position == "sincos" else "sincos-mae")

    def read(tensor: Tensor, found: Tensor) -> Tensor:
        if found.shape != table.shape or not torch.allclose(found.float(), table, atol=1e-5):
            raise RuntimeError(f"the table is none of {config.position}")
        return tensor

    return Layout(read, lambda tensor: (tensor, table))


TIMM = Dialect(
    name="timm",
    title="timm",
    recognises=_recognises,
    understand=_understand,
    rules=_rules,
    nearest=nearest,
    package=package,
)
"""PyTorch Image Models, both ways."""

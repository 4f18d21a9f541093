"""What transformers would compute with a checkpoint: inferred from names, shapes and config.json, which must agree.

Nothing of transformers is imported, and code that a config.json points to is never run.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import torch
from torch import Tensor

from vitreous.architecture import Resample, ViTConfig
from vitreous.errors import ModelFileError
from vitreous.weights.dialects.dialect import Settings, Understood
from vitreous.weights.dialects.hf_config import (
    MULTI_LABEL,
    Stated,
    activation,
    class_names,
    contradiction,
    dinov2_width,
    pair_of,
    stated_config,
)
from vitreous.weights.dialects.hf_names import FORMS
from vitreous.weights.dialects.hf_preprocess import read_preprocess
from vitreous.weights.dialects.hf_spellings import Found, renewed
from vitreous.weights.dialects.plain_vit import (
    count_blocks,
    count_heads,
    find_image_size,
    settle,
)
from vitreous.weights.formats.container import Raw
from vitreous.zoo import find_model

_HEADS = {192: 3, 384: 6, 512: 8, 768: 12, 1024: 16, 1152: 16, 1280: 16, 1408: 16, 1536: 16, 1664: 16, 1792: 16}
_OTHER_HEADS = {  # where a family's sizes are cut into other heads
    "dinov2": {1536: 24},
    "dinov2_with_registers": {1536: 24},
    "dinov3_vit": {1280: 20, 4096: 32},
}
RESAMPLE: dict[str, Resample] = {"dinov2_with_registers": "bicubic-antialias"}
"""How interpolate_pos_encoding differs from the plain bicubic of all others (transformers/models/*/modeling_*.py)."""

_SIZES = ("ti", "s", "b", "l", "so400m", "h", "g", "g-opt", "G", "e")
_SHORT = {"dinov2_with_registers": "dinov2", "dinov3_vit": "dinov3", "clip_vision_model": "clip", "deit": "deit"}


def understand(raw: Raw, settings: Settings) -> Understood:
    """Architecture and names on disk of a checkpoint.

    Args:
        raw: the checkpoint.
        settings: fields of the architecture that a person states.

    Raises:
        ModelFileError: config.json and weights contradict each other, or neither tells what is needed.
    """
    found = renewed(raw.tensors)
    assert found is not None
    where, family = str(raw.path), found.family.name
    stated = stated_config(where, family, raw.sidecars.get("config.json"))
    notes = _read_code(stated)
    form = _form(found, stated, notes)
    patches = found.encoder[f"{found.family.patches}.weight"]
    if patches.ndim != 4:
        raise ModelFileError(
            f"patches are projected by a tensor of shape {tuple(patches.shape)}, a convolution has four axes",
            where=where,
            why="probably SigLIP 2 of any aspect ratio (NaFlex); only those of a fixed resolution are read",
        )
    fields = _shapes(found, stated, form) | _numerics(stated, found, settings, notes)
    fields |= _resolution(found, stated, fields, settings, notes)
    config = settle(fields, settings)
    if "name" not in settings:
        config = dataclasses.replace(config, name=_name(config, family))
    _check(stated, config, settings)
    preprocess, more = read_preprocess(where, family, raw.sidecars.get("preprocessor_config.json"), config.image_size)
    return Understood(
        form=form,
        architecture=config,
        tensors={FORMS[form].prefix + name: tensor for name, tensor in found.encoder.items()} | found.outside,
        preprocess=preprocess,
        classes=class_names(stated, config.num_classes) if "classifier" in " ".join(FORMS[form].heads) else (),
        answers="several" if stated.values.get("problem_type") == MULTI_LABEL else "one",
        dropped=found.dropped,
        notes=(*notes, *more),
    )


def _read_code(stated: Stated) -> list[str]:
    notes = []
    if "auto_map" in stated.values:
        notes.append(f"config.json points to code of its own ({stated.values['auto_map']}): it was not run")
    if not stated.there:
        notes.append("no config.json: what names and shapes do not tell is as in the family's published models")
    return notes


def _form(found: Found, stated: Stated, notes: list[str]) -> str:
    """The class whose table fits, with what it does not read put aside."""
    family, heads = found.family.name, {name.partition(".")[0] for name in found.outside}
    match family:
        case "deit" if "cls_classifier" in heads or stated.classes_named.endswith("WithTeacher"):
            return "DeiTForImageClassificationWithTeacher"
        case "deit":
            _fold_distillation(found)
            notes.append("the distillation token has no classifier: it is read as a register")
            return "DeiTForImageClassification"
        case "clip_vision_model" if "classifier" in heads:
            raise ModelFileError(
                "CLIPForImageClassification leaves out the norm before its classifier: no model here does",
                where=stated.where,
                remedy="use the tower without the classifier",
            )
        case "clip_vision_model":
            return "CLIPVisionModelWithProjection" if "visual_projection" in heads else "CLIPVisionModel"
        case "siglip_vision_model":
            if "classifier" not in heads and "head.probe" in found.encoder:
                return "SiglipVisionModel"
            if "classifier" not in heads:
                notes.append("neither attention pooling nor a classifier: features are the mean of the patches")
            _drop(found, "head.", "attention pooling: the classifier reads the mean of the patches")
            return "SiglipForImageClassification"
    if "classifier" in heads:
        _drop(found, "pooler.", "the tanh layer: the classifier reads the class token itself")
    if family == "dinov3_vit" and not found.encoder.get("embeddings.register_tokens", torch.zeros(1, 1)).numel():
        _drop(found, "embeddings.register_tokens", "a table of no registers")
    with_head = "classifier" in heads or stated.classes_named.endswith("ForImageClassification")
    names = [name for name, form in FORMS.items() if form.family == family]
    return names[-1] if with_head else names[0]


def _drop(found: Found, prefix: str, why: str) -> None:
    for name in [name for name in found.encoder if name.startswith(prefix)]:
        del found.encoder[name]
        found.dropped[name] = why


def _fold_distillation(found: Found) -> None:
    """Give the distillation token its position, so that it is a register, which has none."""
    table, token = (found.encoder.get(f"embeddings.{n}") for n in ("position_embeddings", "distillation_token"))
    if table is None or token is None or table.ndim != 3 or table.shape[1] < 3 or token.shape[-1] != table.shape[-1]:
        return
    found.encoder["embeddings.distillation_token"] = token + table[:, 1:2]
    found.encoder["embeddings.position_embeddings"] = torch.cat([table[:, :1], table[:, 2:]], dim=1)


def _shapes(found: Found, stated: Stated, form: str) -> dict[str, Any]:
    """The fields that names and shapes tell."""
    family, tensors = found.family, found.encoder | found.outside
    width, channels, *patch = tensors[f"{family.patches}.weight"].shape
    depth = count_blocks(tensors, re.escape(family.block(0)).replace("0", r"(\d+)"))
    block = family.block(0)
    gated = f"{block}.mlp.weights_in.weight" in tensors or f"{block}.mlp.gate_proj.weight" in tensors
    fc1 = (
        f"{block}.mlp.weights_in"
        if f"{block}.mlp.weights_in.weight" in tensors
        else f"{block}.{family.parts['mlp.fc1']}"
    )
    rows = _rows(stated, tensors, f"{fc1}.weight")
    biases = [f"{block}.{name}.bias" in tensors for name in family.qkv]
    head = FORMS[form].heads[0] if FORMS[form].heads else ""
    registers = tensors.get("embeddings.register_tokens")
    fields: dict[str, Any] = {
        "patch_size": tuple(patch),
        "in_channels": channels,
        "embed_dim": width,
        "depth": depth,
        "mlp": "swiglu" if gated else "gelu",
        "mlp_dim": rows // 2 if fc1.endswith("weights_in") else rows,
        "num_classes": tensors[f"{head}.weight"].shape[0] if f"{head}.weight" in tensors else 0,
        "patch_bias": f"{family.patches}.bias" in tensors,
        "qkv_bias": "all" if all(biases) else "query-value" if biases[0] and biases[2] else "none",
        "proj_bias": f"{block}.{family.parts['attn.proj']}.bias" in tensors,
        "mlp_bias": f"{fc1}.bias" in tensors,
        "head_bias": head != "visual_projection",
        "registers": registers.shape[1] if registers is not None and registers.ndim == 3 else 0,
        "class_token": family.name != "siglip_vision_model",
        "pre_norm": family.name == "clip_vision_model",
        "pool": _POOLS.get(form, "cls"),
        "distill_token": form == "DeiTForImageClassificationWithTeacher",
    }
    if form == "DeiTForImageClassification":
        fields["registers"] = 1
    if "pooler.dense.weight" in tensors:
        fields["representation_size"] = tensors["pooler.dense.weight"].shape[0]
        if stated.values.get("pooler_act", "tanh") != "tanh":
            raise ModelFileError(f"a pooler with {stated.values['pooler_act']!r} in place of tanh", where=stated.where)
    if any(name.endswith("layer_scale1.lambda1") for name in tensors):
        fields["layer_scale"] = float(stated.number("layerscale_value", 1.0))
    return fields


_POOLS = {
    "SiglipVisionModel": "map",
    "SiglipForImageClassification": "mean",
    "Dinov2ForImageClassification": "cls+mean",
    "Dinov2WithRegistersForImageClassification": "cls+mean",
}


def _rows(stated: Stated, tensors: dict[str, Tensor], name: str) -> int:
    if name not in tensors:
        raise ModelFileError("a file of an image tower without its first block", where=stated.where, why=f"no {name}")
    return int(tensors[name].shape[0])


def _numerics(stated: Stated, found: Found, settings: Settings, notes: list[str]) -> dict[str, Any]:
    """The fields that no shape tells: from config.json, or the family's own and said so."""
    family, width = found.family.name, found.encoder[f"{found.family.patches}.weight"].shape[0]
    gated = any(".mlp.weights_in." in name or ".mlp.gate_proj." in name for name in found.encoder)
    heads = stated.number("num_attention_heads", 12) if stated.there else None
    if heads is None:
        heads = count_heads(stated.where, width, settings, _HEADS | _OTHER_HEADS.get(family, {}))
    fields: dict[str, Any] = {"num_heads": heads, "norm_eps": float(stated.number("layer_norm_eps", 1e-6))}
    if not gated:
        fields["gelu"] = activation(stated)
    elif family == "dinov3_vit" and stated.values.get("hidden_act", "silu") not in ("silu", "swish"):
        raise ModelFileError(f"a gated MLP with {stated.values['hidden_act']!r} in place of silu", where=stated.where)
    if family == "dinov3_vit":
        fields |= {"position": "none", "rotary": "dinov3", "rotary_base": float(stated.number("rope_theta", 100.0))}
    fields["resample"] = RESAMPLE.get(family, "bicubic")
    for key, field in (("hidden_dropout_prob", "dropout"), ("drop_path_rate", "drop_path")):
        fields[field] = float(stated.number(key, 0.0))
    fields["drop_path_schedule"] = "constant"
    if not stated.there:
        told = {"num_heads": "heads", "norm_eps": "epsilon of the norms", "gelu": "GELU"}
        said = [f"{word} {fields[name]}" for name, word in told.items() if name in fields and name not in settings]
        notes.append(f"assumed for want of a config.json: {', '.join(said)}")
    return fields


def _resolution(
    found: Found, stated: Stated, fields: dict[str, Any], settings: Settings, notes: list[str]
) -> dict[str, Any]:
    """The image size, from the rows of the position table and from config.json; neither may contradict the other."""
    patch, said = fields["patch_size"], pair_of(stated, "image_size")
    names = ("embeddings.position_embeddings", "embeddings.position_embedding.weight")
    table = next((found.encoder[name] for name in names if name in found.encoder), None)
    if table is None:
        size = said or (224, 224)
        if said is None and "image_size" not in settings:
            notes.append("image size 224 x 224: no tensor depends on it")
    else:
        rows = table.shape[-2] - int(fields["class_token"]) - int(fields["distill_token"])
        if said is not None and "image_size" not in settings:
            grid = said[0] // patch[0], said[1] // patch[1]
            if grid[0] * grid[1] != rows:
                raise contradiction(stated.where, "image_size", f"{said} with patch {patch}", f"{rows} patches")
        size = said or find_image_size(stated.where, rows, patch, settings)
    # a convolution leaves over what fills no patch: So400m/14 at 384 pixels sees 378
    crop = any(side % part for side, part in zip(size, patch, strict=True))
    return {"image_size": size, "edge": "crop" if crop else "refuse"}


def _check(stated: Stated, config: ViTConfig, settings: Settings) -> None:
    """Refuse a config.json that says something else than names and shapes."""
    stated.agree("hidden_size", config.embed_dim)
    stated.agree("num_hidden_layers", config.depth)
    stated.agree("num_channels", config.in_channels)
    stated.agree("use_swiglu_ffn", config.mlp == "swiglu")
    stated.agree("use_gated_mlp", config.mlp == "swiglu")
    stated.agree("qkv_bias", config.qkv_bias != "none")
    for key, there in (
        ("query_bias", config.qkv_bias != "none"),
        ("key_bias", config.qkv_bias == "all"),
        ("proj_bias", config.proj_bias),
        ("mlp_bias", config.mlp_bias),
    ):
        stated.agree(key, there)
    if config.registers and not stated.model_type.startswith("deit"):
        stated.agree("num_register_tokens", config.registers)
    patch = pair_of(stated, "patch_size")
    if patch is not None and "patch_size" not in settings and patch != config.patch_size:
        raise contradiction(stated.where, "patch_size", patch, config.patch_size)
    if stated.model_type.startswith("dinov2"):
        ratio = stated.values.get("mlp_ratio")
        if isinstance(ratio, int | float) and dinov2_width(config.embed_dim, ratio, config.mlp) != config.mlp_dim:
            raise contradiction(stated.where, "mlp_ratio", ratio, f"an MLP {config.mlp_dim} wide")
    else:
        stated.agree("intermediate_size", config.mlp_dim)


def _name(config: ViTConfig, family: str) -> str:
    """The zoo's name for it, or a description in the same manner."""
    measures = (config.embed_dim, config.depth, config.mlp_dim, config.num_heads)
    patch = "x".join(str(side) for side in dict.fromkeys(config.patch_size))
    size = next((name for name in _SIZES if _measures(name) == measures), None)
    if family.startswith("dinov2") and measures[:2] == (1536, 40):
        size = "g"
    body = f"{size}{patch}" if size else f"{config.embed_dim}x{config.depth}-p{patch}"
    match family:
        case "vit":
            return f"vit-{body}"
        case "siglip_vision_model":
            return f"vit-{body}-{'map' if config.pool == 'map' else 'gap'}"
    registers = f"-reg{config.registers}" if config.registers and family == "dinov2_with_registers" else ""
    return f"{_SHORT.get(family, family)}-{body}{registers}{'-distilled' if config.distill_token else ''}"


def _measures(size: str) -> tuple[int, int, int, int]:
    config = find_model(f"vit-{size}16")
    assert isinstance(config, ViTConfig)
    return config.embed_dim, config.depth, config.mlp_dim, config.num_heads

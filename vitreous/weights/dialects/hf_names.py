"""Hugging Face's tensor names, one table per family, as they lie on disk: version 4 has them in memory too.

Version 5 calls many tensors differently once they are loaded; those spellings are the affair of `hf_spellings.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vitreous.architecture import ViTConfig
from vitreous.model.position import sincos
from vitreous.weights.dialects.mapping import SAME, Layout, Rule, pair, reshaped, rule, stacked


@dataclass(frozen=True, kw_only=True)
class Family:
    """What the classes of one model type have in common."""

    name: str
    """Its model_type in config.json."""
    patches: str
    """The layer that projects patches; its weight betrays the family."""
    block: Callable[[int], str]
    """Prefix of a block's tensors, without the dot."""
    parts: Mapping[str, str]
    """Layers of a block: our name to theirs."""
    qkv: tuple[str, str, str]
    """Queries, keys and values of a block."""
    norm: str
    """The final norm."""
    renewals: tuple[tuple[str, str], ...] = ()
    """Version 5's names in memory, as regular expressions, and what they are on disk."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """One of Hugging Face's classes: where its encoder and its heads lie."""

    family: str
    prefix: str = ""
    """In front of every name of the encoder."""
    heads: tuple[str, ...] = ()
    """The classifier; a distilled model's two."""
    unused: tuple[str, ...] = ()
    """Parameters of the class that have no part in its answer, and must be there when it is opened."""


_VIT_PARTS = {
    "norm1": "layernorm_before",
    "attn.proj": "attention.output.dense",
    "norm2": "layernorm_after",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
_DINO_PARTS = {"norm1": "norm1", "norm2": "norm2", "ls1": "layer_scale1", "ls2": "layer_scale2"}
_DINOV2_PARTS = _DINO_PARTS | {"attn.proj": "attention.output.dense", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
_DINOV3_PARTS = _DINO_PARTS | {"attn.proj": "attention.o_proj", "mlp.fc1": "mlp.up_proj", "mlp.fc2": "mlp.down_proj"}
_CLIP_PARTS = {
    "norm1": "layer_norm1",
    "attn.proj": "self_attn.out_proj",
    "norm2": "layer_norm2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
_OLD_QKV = ("attention.attention.query", "attention.attention.key", "attention.attention.value")
_NEW_QKV = ("attention.q_proj", "attention.k_proj", "attention.v_proj")
_ATTENTION = (
    (r"\battention\.q_proj\b", "attention.attention.query"),
    (r"\battention\.k_proj\b", "attention.attention.key"),
    (r"\battention\.v_proj\b", "attention.attention.value"),
    (r"\battention\.o_proj\b", "attention.output.dense"),
)
_VIT_RENEWALS = (
    (r"^layers\.", "encoder.layer."),
    *_ATTENTION,
    (r"\bmlp\.fc1\b", "intermediate.dense"),
    (r"\bmlp\.fc2\b", "output.dense"),
)

_VIT = Family(
    name="vit",
    patches="embeddings.patch_embeddings.projection",
    block="encoder.layer.{}".format,
    parts=_VIT_PARTS,
    qkv=_OLD_QKV,
    norm="layernorm",
    renewals=_VIT_RENEWALS,
)
_DINOV2 = dataclasses.replace(
    _VIT, name="dinov2", parts=_DINOV2_PARTS, renewals=(*_ATTENTION, (r"\bmlp\.down_proj\b", "mlp.weights_out"))
)
_CLIP = Family(
    name="clip_vision_model",
    patches="embeddings.patch_embedding",
    block="encoder.layers.{}".format,
    parts=_CLIP_PARTS,
    qkv=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    norm="post_layernorm",
)
_DINOV3 = Family(
    name="dinov3_vit",
    patches="embeddings.patch_embeddings",
    block="layer.{}".format,
    parts=_DINOV3_PARTS,
    qkv=_NEW_QKV,
    norm="norm",
    renewals=((r"^model\.layer\.", "layer."),),
)

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        _VIT,
        dataclasses.replace(_VIT, name="deit"),
        _DINOV2,
        dataclasses.replace(_DINOV2, name="dinov2_with_registers"),
        _DINOV3,
        _CLIP,
        dataclasses.replace(_CLIP, name="siglip_vision_model"),
    )
}
"""By model_type."""

FORMS: dict[str, Form] = {
    "ViTModel": Form(family="vit"),
    "ViTForImageClassification": Form(family="vit", prefix="vit.", heads=("classifier",)),
    "DeiTForImageClassification": Form(family="deit", prefix="deit.", heads=("classifier",)),
    "DeiTForImageClassificationWithTeacher": Form(
        family="deit", prefix="deit.", heads=("cls_classifier", "distillation_classifier")
    ),
    "Dinov2Model": Form(family="dinov2", unused=("embeddings.mask_token",)),
    "Dinov2ForImageClassification": Form(
        family="dinov2", prefix="dinov2.", heads=("classifier",), unused=("embeddings.mask_token",)
    ),
    "Dinov2WithRegistersModel": Form(family="dinov2_with_registers", unused=("embeddings.mask_token",)),
    "Dinov2WithRegistersForImageClassification": Form(
        family="dinov2_with_registers",
        prefix="dinov2_with_registers.",
        heads=("classifier",),
        unused=("embeddings.mask_token",),
    ),
    "DINOv3ViTModel": Form(family="dinov3_vit", unused=("embeddings.mask_token",)),
    "CLIPVisionModel": Form(family="clip_vision_model", prefix="vision_model."),
    "CLIPVisionModelWithProjection": Form(
        family="clip_vision_model", prefix="vision_model.", heads=("visual_projection",)
    ),
    "SiglipVisionModel": Form(family="siglip_vision_model", prefix="vision_model."),
    "SiglipForImageClassification": Form(family="siglip_vision_model", prefix="vision_model.", heads=("classifier",)),
}
"""By the name of the class."""

TO_WRITE = ", written"
"""Behind a form's name: with the parameters that the class wants and no model here has."""


def tensor_rules(config: ViTConfig, form_name: str) -> list[Rule]:
    """The table of a class for an architecture.

    Args:
        config: the architecture.
        form_name: name of the class, with `TO_WRITE` behind it where the result is for that class to open.
    """
    name = form_name.removesuffix(TO_WRITE)
    form, family = FORMS[name], FAMILIES[FORMS[name].family]
    rules = [*_embedding(config, family), *_encoder(config, family), *_head(config, form)]
    if constants := _constants(config, form, to_write=name != form_name):
        first = next(each for each in rules if each.native == "patch_embed.proj.weight")
        rules[rules.index(first)] = Rule(
            first.native, (*first.foreign, *constants), _beside(first.layout, *constants.values())
        )
    outside = tuple(f"{head}." for head in form.heads)
    return [
        dataclasses.replace(
            each, foreign=tuple(name if name.startswith(outside) else form.prefix + name for name in each.foreign)
        )
        for each in rules
    ]


def _embedding(config: ViTConfig, family: Family) -> list[Rule]:
    """Patches, tokens in front, positions, and CLIP's norm behind them."""
    D, rules = config.embed_dim, [rule("patch_embed.proj.weight", f"{family.patches}.weight")]
    if config.patch_bias:
        rules.append(rule("patch_embed.proj.bias", f"{family.patches}.bias"))
    if family.parts is _CLIP_PARTS:
        rows = config.num_prefix_positions + config.grid[0] * config.grid[1]
        if config.class_token:
            rules.append(rule("cls_token", "embeddings.class_embedding", layout=reshaped((1, 1, D), (D,))))
        if config.position == "learned":
            table = reshaped((1, rows, D), (rows, D))
            rules.append(rule("pos_embed", "embeddings.position_embedding.weight", layout=table))
        return [*rules, *(pair("norm_pre", "pre_layrnorm") if config.pre_norm else [])]
    rules.append(rule("cls_token", "embeddings.cls_token"))
    if family.name == "deit" and not config.distill_token:  # a token like another: see `understand`
        rules.append(rule("reg_token", "embeddings.distillation_token"))
    elif config.distill_token:
        rules.append(rule("dist_token", "embeddings.distillation_token"))
    elif config.registers:
        rules.append(rule("reg_token", "embeddings.register_tokens"))
    if config.position == "learned":
        rules.append(rule("pos_embed", "embeddings.position_embeddings"))
    return rules


def _encoder(config: ViTConfig, family: Family) -> list[Rule]:
    """The blocks and the norm behind them."""
    rules, parts = [], dict(family.parts)
    if config.mlp == "swiglu" and family.name.startswith("dinov2"):
        parts |= {"mlp.fc1": "mlp.weights_in", "mlp.fc2": "mlp.weights_out"}
    for i in range(config.depth):
        ours, theirs = f"blocks.{i}", family.block(i)
        rules += _qkv(config, ours, [f"{theirs}.{name}" for name in family.qkv])
        rules += [each for norm in ("norm1", "norm2") for each in pair(f"{ours}.{norm}", f"{theirs}.{parts[norm]}")]
        for layer, bias in (
            ("attn.proj", config.proj_bias),
            ("mlp.fc1", config.mlp_bias),
            ("mlp.fc2", config.mlp_bias),
        ):
            names, layout = [f"{theirs}.{parts[layer]}"], SAME
            if layer == "mlp.fc1" and config.mlp == "swiglu" and family.name == "dinov3_vit":
                names, layout = [f"{theirs}.mlp.gate_proj", f"{theirs}.mlp.up_proj"], stacked(SAME, 2)
            for kind in ("weight", "bias") if bias else ("weight",):
                rules.append(rule(f"{ours}.{layer}.{kind}", *(f"{n}.{kind}" for n in names), layout=layout))
        if config.layer_scale is not None:
            rules += [rule(f"{ours}.{ls}.gamma", f"{theirs}.{parts[ls]}.lambda1") for ls in ("ls1", "ls2")]
    return [*rules, *pair("fc_norm" if config.pool_norm == "after" else "norm", family.norm)]


def _qkv(config: ViTConfig, ours: str, theirs: list[str]) -> list[Rule]:
    """Three projections as one, with all their biases, those of queries and values (DINOv3), or none."""
    rules = [rule(f"{ours}.attn.qkv.weight", *(f"{name}.weight" for name in theirs), layout=stacked(SAME, 3))]
    match config.qkv_bias:
        case "all":
            rules.append(rule(f"{ours}.attn.qkv.bias", *(f"{n}.bias" for n in theirs), layout=stacked(SAME, 3)))
        case "query-value":
            rules.append(rule(f"{ours}.attn.q_bias", f"{theirs[0]}.bias"))
            rules.append(rule(f"{ours}.attn.v_bias", f"{theirs[2]}.bias"))
    return rules


def _head(config: ViTConfig, form: Form) -> list[Rule]:
    """Attention pooling, tanh layer and classifiers."""
    rules, D = [], config.embed_dim
    if config.pool == "map":
        rules.append(rule("attn_pool.latent", "head.probe"))
        for kind in ("weight", "bias"):  # one matrix on their side, two on ours
            packed = f"head.attention.in_proj_{kind}"
            rules.append(rule(f"attn_pool.q.{kind}", packed, layout=_rows(0, D)))
            rules.append(rule(f"attn_pool.kv.{kind}", packed, layout=_rows(D, 3 * D)))
        rules += [*pair("attn_pool.proj", "head.attention.out_proj"), *pair("attn_pool.norm", "head.layernorm")]
        rules += [*pair("attn_pool.mlp.fc1", "head.mlp.fc1"), *pair("attn_pool.mlp.fc2", "head.mlp.fc2")]
    if config.representation_size is not None:
        rules += pair("pre_logits.fc", "pooler.dense")
    if not config.num_classes:
        return rules
    for ours, theirs in zip(("head", "head_dist"), form.heads, strict=False):
        layout = _half(config) if form.family.startswith("dinov2") else SAME
        rules.append(rule(f"{ours}.weight", f"{theirs}.weight", layout=layout))
        if config.head_bias:
            rules.append(rule(f"{ours}.bias", f"{theirs}.bias"))
    return rules


def _rows(start: int, stop: int) -> Layout:
    """A part of the rows of a matrix; who writes all parts in their order writes the matrix."""
    return Layout(lambda foreign: foreign[start:stop], lambda native: (native,))


def _half(config: ViTConfig) -> Layout:
    """DINOv2's classifier reads class token and mean side by side; who reads one of them alone weighs the other 0."""
    D = config.embed_dim
    match config.pool:
        case "cls":
            return Layout(lambda w: w[:, :D], lambda w: (torch.cat([w, torch.zeros_like(w)], dim=1),))
        case "mean":
            return Layout(lambda w: w[:, D:], lambda w: (torch.cat([torch.zeros_like(w), w], dim=1),))
    return SAME


def _beside(layout: Layout, *constants: Tensor) -> Layout:
    """A layout that writes tensors of known content besides; reading passes them over."""
    return Layout(
        lambda first, *_: layout.read(first), lambda native: (*layout.write(native), *(c.to(native) for c in constants))
    )


def _constants(config: ViTConfig, form: Form, *, to_write: bool) -> dict[str, Tensor]:
    """What the class wants and the model has no parameter for: by bare name, with the content that changes nothing."""
    D, family = config.embed_dim, FAMILIES[form.family]
    found: dict[str, Tensor] = {}
    if not to_write:
        return found
    for name in form.unused:
        found[name] = torch.zeros((1, 1, D) if family.name == "dinov3_vit" else (1, D))
    if family.name == "dinov3_vit" and not config.registers:
        found["embeddings.register_tokens"] = torch.zeros(1, 0, D)
    if family.name != "dinov3_vit" and config.position != "learned":
        prefix = int(bool(config.class_token)) + int(config.distill_token)
        table = torch.zeros(1, config.grid[0] * config.grid[1], D)
        if config.position in ("sincos", "sincos-mae"):
            table = sincos(config.grid, D, "sincos" if config.position == "sincos" else "sincos-mae")
        table = torch.cat([torch.zeros(1, prefix, D), table], dim=1)
        on_clip = family.parts is _CLIP_PARTS
        name = "embeddings.position_embedding.weight" if on_clip else "embeddings.position_embeddings"
        found[name] = table[0] if on_clip else table
    if "ls1" in family.parts and config.layer_scale is None:
        for i in range(config.depth):
            found |= {f"{family.block(i)}.{family.parts[ls]}.lambda1": torch.ones(D) for ls in ("ls1", "ls2")}
    return found

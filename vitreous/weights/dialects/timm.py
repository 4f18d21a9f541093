"""timm's checkpoints: AugReg, DeiT, DeiT-III, MAE, DINO, DINOv2, DINOv3, CLIP, SigLIP, EVA-02, hybrids and BiT.

Native names are timm's, so that most rules say "the same". The forms differ where timm has two classes or two
spellings for one thing (timm/models/vision_transformer.py and timm/models/eva.py):

    vit    VisionTransformer: ls1.gamma
    eva    Eva: gamma_1; with "+qkv" three matrices in place of one, with "+gate" two first layers in place of one
    bit    ResNetV2

What names and `config.json` say stands in `timm_config.py`, what shapes show in `timm_vit.py` and `timm_resnet.py`,
what can be written in `timm_write.py`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from vitreous.architecture import Architecture, ResNetConfig, ViTConfig, as_pair
from vitreous.model.create import build
from vitreous.model.position import sincos
from vitreous.schema import from_json
from vitreous.weights.dialects.dialect import Dialect, Settings, Understood, unaccounted
from vitreous.weights.dialects.mapping import SAME, Layout, Rule, rule, stacked
from vitreous.weights.dialects.plain_vit import unwrapped
from vitreous.weights.dialects.timm_config import Stated, preprocessing, stated, stated_sizes
from vitreous.weights.dialects.timm_names import called
from vitreous.weights.dialects.timm_resnet import is_resnet, read_resnet
from vitreous.weights.dialects.timm_vit import read_vit
from vitreous.weights.dialects.timm_write import nearest, package
from vitreous.weights.formats.container import Raw

_OTHERS = re.compile(  # names of Meta's own DINO files, which are timm's for the rest
    r"register_tokens|storage_tokens|rope_embed\.|blocks\.\d+\.\d+\.|.*\.(mlp\.w12|mlp\.weights_in)\.|.*\.qkv\.bias_mask"
)
_DROPPED = (
    (re.compile(r"mask_token"), "stands for patches that are hidden in pre-training"),
    (re.compile(r"decoder_(embed|pos_embed|norm|pred|blocks)\b.*"), "a decoder: only the encoder is used"),
    (
        re.compile(r"(.*\.)?rope\.(freqs_cos|freqs_sin|bands|periods|pos_embed\w*)"),
        "rotary angles, which are computed here",
    ),
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
    dropped = {name: why for name, why in dropped.items() if not (name.endswith(".k_bias") and found[name].any())}
    if _COUNT in raw.tensors:
        dropped[_COUNT] = "counts the models that were averaged"
    tensors = {name: tensor for name, tensor in found.items() if name not in dropped}
    _check_ranks(tensors, known.where)
    notes: list[str] = []
    architecture: Architecture
    if is_resnet(tensors):
        form = "bit"
        architecture = _resnet(tensors, known, settings, notes)
    else:
        form, tensors = _respelled(tensors)
        if form == "vit" and "blocks.0.gamma_1" in found and not known.name:
            notes.append("positions: the table alone, as in DeiT-III's own files")
        architecture = read_vit(tensors, form, known, settings, notes)
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
        licence=str(known.cfg.get("license") or "not stated"),
        dropped=dropped,
        notes=(*notes, words) if words else tuple(notes),
    )


_RANKS = {
    "head.weight": 2,
    "pre_logits.fc.weight": 2,
    "reg_token": 3,
    "pos_embed": 3,
    "blocks.0.mlp.fc1.weight": 2,
    "blocks.0.mlp.fc2.weight": 2,
    "blocks.0.mlp.w3.weight": 2,
    "patch_embed.proj.weight": 4,
    "patch_embed.backbone.conv.weight": 4,
    "patch_embed.backbone.stem.conv.weight": 4,
    "stem.conv.weight": 4,
    "head.fc.weight": 4,
}
"""Dimensions of the tensors whose shapes tell the architecture."""


def _check_ranks(tensors: Mapping[str, Tensor], where: str) -> None:
    wrong = [
        f"{name} is {tuple(tensors[name].shape)}, {rank} dimensions are wanted"
        for name, rank in _RANKS.items()
        if name in tensors and tensors[name].ndim != rank
    ]
    if wrong:
        raise unaccounted(where, "timm", [], [], wrong)


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

"""Meta's own DINOv2 and DINOv3 files (facebookresearch/dinov2 and dinov3, models/vision_transformer.py).

Their names are timm's but for a few, which tell them apart: `register_tokens`, `storage_tokens`, a `mask_token` of two
dimensions, `mlp.w12`, `qkv.bias_mask`, blocks in chunks. A file that has none of them is read as timm's.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from vitreous.architecture import Architecture, ViTConfig
from vitreous.config import ModelCard, PreprocessConfig
from vitreous.errors import ModelFileError, UsageError
from vitreous.weights.dialects.dialect import Dialect, Package, Settings, Target, Understood
from vitreous.weights.dialects.mapping import SAME, Layout, Rule, pair, rule, stacked
from vitreous.weights.dialects.plain_vit import (
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

_HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1536: 24}  # DINOv3's are counted by the periods of its rotation
_LETTERS = {192: "ti", 384: "s", 768: "b", 1024: "l", 1152: "so400m", 1280: "h", 1536: "g", 4096: "7b"}
_SATELLITE = {"mean": (0.430, 0.411, 0.296), "std": (0.213, 0.156, 0.143)}  # dinov3/README.md, SAT-493M

_MARKS = ("register_tokens", "storage_tokens", "rope_embed.periods")
_CHUNK = re.compile(r"^blocks\.\d+\.(\d+\.)")  # blocks in chunks keep the index they have without them
_DROPPED = (
    (re.compile(r"mask_token$"), "stands for patches that are hidden in pre-training"),
    (re.compile(r"(dino_head|ibot_head)\."), "a head of pre-training"),
    (re.compile(r"projectors\."), "projections of distillation"),
    (re.compile(r"local_cls_norm\."), "norm of small crops in pre-training"),
    (re.compile(r"rope_embed\.periods$"), "computed from its base, and equal"),
    (re.compile(r".*\.qkv\.bias_mask$"), "says that keys have no bias"),
)


def _recognises(raw: Raw) -> bool:
    if _is_head_alone(raw.tensors):
        return True
    names = unwrapped(raw.tensors)
    names = {name.removeprefix("backbone."): tensor for name, tensor in names.items()}
    if not {"cls_token", "patch_embed.proj.weight"} <= {*names}:
        return False
    mask = names.get("mask_token")
    return (
        any(mark in names for mark in _MARKS)
        or (mask is not None and mask.ndim == 2)
        or any(_CHUNK.match(name) or name.endswith((".mlp.w12.weight", ".qkv.bias_mask")) for name in names)
    )


def _is_head_alone(tensors: Mapping[str, Tensor]) -> bool:
    """`dinov2_vits14_linear_head.pth`: 1000 rows, as wide as class token and mean, or four class tokens and a mean."""
    if {*tensors} != {"weight", "bias"} or tensors["weight"].ndim != 2:
        return False
    rows, width = tensors["weight"].shape
    return rows == 1000 and width in {times * D for times in (2, 5) for D in _LETTERS}


def _understand(raw: Raw, settings: Settings) -> Understood:
    where = str(raw.path)
    if _is_head_alone(raw.tensors):
        raise ModelFileError(
            "this is DINOv2's linear head without its backbone",
            where=where,
            remedy="load the backbone; a file that holds both, as backbone.* and linear_head.*, is read whole",
        )
    found = {name.removeprefix("backbone."): tensor for name, tensor in unwrapped(raw.tensors).items()}
    if "cls_norm.weight" in found:
        raise ModelFileError("another norm for the class token than for the patches is not known here", where=where)
    dropped = {name: why for name in found for pattern, why in _DROPPED if pattern.match(name)}
    tensors = _tidy({name: tensor for name, tensor in found.items() if name not in dropped})
    fields, notes = _infer(raw, tensors, found, settings)
    config = settle(fields, settings)
    if "name" not in settings:
        config = dataclasses.replace(config, name=_name(config))
    if config.qkv_bias == "query-value":
        _take_bias_apart(where, tensors, found)
    preprocess, words = _preprocess(config, raw.path.name.lower())
    return Understood(
        form="read",
        architecture=config,
        tensors=tensors,
        preprocess=preprocess,
        licence="Apache-2.0" if config.rotary is None else "DINOv3 License",
        dropped=dropped,
        notes=(*notes, words),
    )


def _tidy(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Blocks out of their chunks."""
    return {_CHUNK.sub(r"blocks.\1", name): tensor for name, tensor in found.items()}


def _infer(
    raw: Raw, tensors: Mapping[str, Tensor], found: Mapping[str, Tensor], settings: Settings
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Every field of the architecture that names and shapes tell, and what was assumed."""
    where, shape = str(raw.path), functools.partial(shape_of, raw, DINO.title, tensors)
    D, channels, *patch = shape("patch_embed.proj.weight", 4)
    registers = next((shape(name, 3)[1] for name in ("register_tokens", "storage_tokens") if name in tensors), 0)
    gated = "blocks.0.mlp.w3.weight" in tensors
    fields: dict[str, Any] = {
        "patch_size": (patch[0], patch[1]),
        "in_channels": channels,
        "embed_dim": D,
        "depth": count_blocks(tensors, r"blocks\.(\d+)\."),
        "mlp": "swiglu" if gated else "gelu",
        "mlp_dim": shape(f"blocks.0.mlp.{'w3' if gated else 'fc2'}.weight", 2)[1],
        "mlp_bias": f"blocks.0.mlp.{'w3' if gated else 'fc2'}.bias" in tensors,
        "proj_bias": "blocks.0.attn.proj.bias" in tensors,
        "qkv_bias": "all" if "blocks.0.attn.qkv.bias" in tensors else "none",
        "layer_scale": 1e-5 if "blocks.0.ls1.gamma" in tensors else None,
        "registers": registers,
        **(_classifier(where, shape("linear_head.weight", 2), D) if "linear_head.weight" in tensors else _NO_HEAD),
    }
    if "pos_embed" in tensors:
        rows = shape("pos_embed", 3)[1] - 1
        return fields | {
            "image_size": find_image_size(where, rows, (patch[0], patch[1]), settings),
            "num_heads": count_heads(where, D, settings, _HEADS),
            "resample": "bicubic-antialias" if registers else "bicubic-offset",
            "norm_eps": 1e-6,
        }, ()
    if any(name.endswith(".qkv.bias_mask") for name in found):
        fields["qkv_bias"] = "query-value"
    rotary, note = _rotation(where, found, settings, D)
    size = settings.get("image_size", (224 // patch[0] * patch[0], 224 // patch[1] * patch[1]))
    fields |= {"image_size": size, "position": "none", "norm_eps": 1e-5, "edge": "crop", **rotary}
    return fields, (note, "epsilon of the norms: 1e-5, as in all published DINOv3 models")


_NO_HEAD = {"num_classes": 0}


def _classifier(where: str, head: tuple[int, ...], width: int) -> dict[str, Any]:
    """What a `linear_head` makes of the backbone (dinov2/hub/classifiers.py)."""
    if head[1] != 2 * width:
        raise ModelFileError(
            "this head reads class tokens of several blocks, which no model here hands out to a head",
            where=where,
            why=f"it is {head[1]} wide, class token and mean of the patches are {2 * width}",
            remedy="take the head of one layer: dinov2_*_linear_head.pth, not *_linear4_head.pth",
        )
    return {"num_classes": head[0], "pool": "cls+mean"}


def _rotation(where: str, found: Mapping[str, Tensor], settings: Settings, width: int) -> tuple[dict[str, Any], str]:
    """Heads, base and rounding of the rotary embedding, from the buffer of its periods: base^(k / count)."""
    periods = found.get("rope_embed.periods")
    if periods is None:
        heads = count_heads(where, width, settings, _HEADS | {1152: 18, 1280: 20, 4096: 32})
        return {"num_heads": heads, "rotary": "dinov3"}, "rotary base: 100, as in all published DINOv3 models"
    count = periods.numel()
    if periods.ndim != 1 or not count or width % (4 * count):
        raise ModelFileError(
            "the rotary periods fit no number of heads", where=where, why=f"{tuple(periods.shape)} for {width} channels"
        )
    exponents, known = torch.arange(count, dtype=torch.float32) / count, periods.float()
    likely = float(known[-1]) ** (count / (count - 1)) if count > 1 else 100.0
    for base in (base for base in (100.0, 10_000.0, round(likely), likely) if base > 1):
        exact = base**exponents
        for dtype, rounded in (("float32", exact), ("bfloat16", exact.bfloat16().float())):
            if torch.allclose(rounded, known, rtol=1e-6, atol=0.0):
                fields = {"num_heads": width // (4 * count), "rotary": "dinov3", "rotary_base": float(base)}
                return fields | {"rotary_dtype": dtype}, f"rotary periods: base {base:g} in {dtype}, as in the file"
    raise ModelFileError(
        "the rotary periods in the file are no powers of one base",
        where=where,
        why=", ".join(f"{value:.4g}" for value in known.tolist()[:6]),
    )


def _take_bias_apart(where: str, tensors: dict[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """The masked bias of queries, keys and values as the two biases that count (dinov3/layers/attention.py).

    The mask is one for queries and values and zero for keys. Before weights are initialised it is NaN.
    """
    for name, mask in found.items():
        if not name.endswith(".qkv.bias_mask"):
            continue
        if mask.ndim != 1 or len(mask) % 3:
            raise ModelFileError(f"{name} is {tuple(mask.shape)}: no mask of three biases", where=where)
        q, k, v = mask.chunk(3)
        if not mask.isnan().all() and not ((q == 1).all() and (v == 1).all() and not k.nan_to_num().any()):
            raise ModelFileError(f"{name} is another mask than one that leaves out the biases of keys", where=where)
        bias = _CHUNK.sub(r"blocks.\1", name.removesuffix("_mask"))
        if bias in tensors and tensors[bias].shape == mask.shape:
            q, _, v = tensors.pop(bias).chunk(3)
            tensors |= {f"{bias}.query": q, f"{bias}.value": v}


def _name(config: ViTConfig) -> str:
    family = "dinov2" if config.rotary is None else "dinov3"
    size = _LETTERS.get(config.embed_dim, f"{config.embed_dim}x{config.depth}-p")
    plus = "plus" if config.rotary and config.mlp == "swiglu" and config.embed_dim <= 1280 else ""
    always = 4 if config.rotary else 0  # registers of the published models that have no other kind beside them
    registers = "" if config.registers == always else f"-reg{config.registers}"
    return f"{family}-{size}{config.patch_size[0]}{plus}{registers}"


def _preprocess(config: ViTConfig, file_name: str) -> tuple[PreprocessConfig, str]:
    """DINOv2: 256 on the shorter side, 224 of it (dinov2/data/transforms.py). DINOv3: squashed (dinov3/README.md)."""
    if config.rotary is None:
        tiled = all(224 % side == 0 for side in config.patch_size)
        size = (224, 224) if tiled else config.image_size
        note = f"preprocessing: {size[0]} pixels, as DINOv2 is evaluated; positions are made for {config.image_size[0]}"
        return PreprocessConfig(image_size=size, crop_ratio=224 / 256, interpolation="bicubic", **IMAGENET), note
    satellite = "sat493m" in file_name
    size = (256, 256) if all(256 % side == 0 for side in config.patch_size) else config.image_size
    look: dict[str, Any] = _SATELLITE if satellite else IMAGENET
    note = f"mean and standard deviation of {'satellite images, by the file name' if satellite else 'ImageNet'}"
    return PreprocessConfig(image_size=size, resize="squash", interpolation="bilinear", **look), note


Form = Literal["read", "write", "write masked"]
"""What is read lacks what was dropped; what is written has it, for Meta's code loads strictly. Masked: keys no bias."""


def _rules(architecture: Architecture, form: str) -> list[Rule]:
    assert isinstance(architecture, ViTConfig)
    config, at = architecture, "backbone." if architecture.num_classes and form != "read" else ""
    rules = [*pair("patch_embed.proj", f"{at}patch_embed.proj"), *pair("norm", f"{at}norm")]
    if form == "read":
        rules.append(rule("cls_token", "cls_token"))
    elif config.rotary is None:
        rules.append(rule("cls_token", f"{at}cls_token", f"{at}mask_token", layout=_WITH_MASK))
    else:
        layout = _with_periods(config)
        rules.append(rule("cls_token", f"{at}cls_token", f"{at}mask_token", f"{at}rope_embed.periods", layout=layout))
    if config.registers:
        rules.append(rule("reg_token", f"{at}{'register' if config.rotary is None else 'storage'}_tokens"))
    if config.position == "learned":
        rules.append(rule("pos_embed", f"{at}pos_embed"))
    for i in range(config.depth):
        rules += _block(config, f"blocks.{i}", f"{at}blocks.{i}", form)
    return rules + (pair("head", "linear_head") if config.num_classes else [])


def _block(config: ViTConfig, ours: str, theirs: str, form: str) -> list[Rule]:
    rules = [
        *pair(f"{ours}.norm1", f"{theirs}.norm1"),
        rule(f"{ours}.attn.qkv.weight", f"{theirs}.attn.qkv.weight"),
        *_layer(f"{ours}.attn.proj", f"{theirs}.attn.proj", config.proj_bias),
        *pair(f"{ours}.norm2", f"{theirs}.norm2"),
    ]
    if form == "write masked":
        bias = f"{theirs}.attn.qkv.bias"
        rules.append(rule(f"{ours}.attn.qkv.bias", bias, f"{bias}_mask", layout=_MASKED))
    elif config.qkv_bias == "query-value":
        rules.append(rule(f"{ours}.attn.q_bias", f"{theirs}.attn.qkv.bias.query"))
        rules.append(rule(f"{ours}.attn.v_bias", f"{theirs}.attn.qkv.bias.value"))
    elif config.qkv_bias == "all":
        rules.append(rule(f"{ours}.attn.qkv.bias", f"{theirs}.attn.qkv.bias"))
    if config.layer_scale is not None:
        rules += [rule(f"{ours}.{scale}.gamma", f"{theirs}.{scale}.gamma") for scale in ("ls1", "ls2")]
    return [*rules, *_mlp(config, f"{ours}.mlp", f"{theirs}.mlp")]


def _mlp(config: ViTConfig, ours: str, theirs: str) -> list[Rule]:
    bias = config.mlp_bias
    if config.mlp == "gelu":
        return [*_layer(f"{ours}.fc1", f"{theirs}.fc1", bias), *_layer(f"{ours}.fc2", f"{theirs}.fc2", bias)]
    last = _layer(f"{ours}.fc2", f"{theirs}.w3", bias)
    if config.rotary is None:
        return [*_layer(f"{ours}.fc1", f"{theirs}.w12", bias), *last]
    packed = stacked(SAME, 2)  # the gate first
    kinds = ("weight", "bias") if bias else ("weight",)
    first = [rule(f"{ours}.fc1.{k}", f"{theirs}.w1.{k}", f"{theirs}.w2.{k}", layout=packed) for k in kinds]
    return [*first, *last]


def _layer(ours: str, theirs: str, bias: bool) -> list[Rule]:
    return pair(ours, theirs)[: 2 if bias else 1]


_WITH_MASK = Layout(lambda cls, _mask: cls, lambda cls: (cls, torch.zeros(1, cls.shape[-1])))
"""The class token, beside a token that hides patches in pre-training."""


def _with_periods(config: ViTConfig) -> Layout:
    """The class token, beside the mask token and the buffer of rotary periods."""
    quarter = config.head_dim // 4
    periods = config.rotary_base ** (torch.arange(quarter, dtype=torch.float32) / quarter)
    if config.rotary_dtype == "bfloat16":
        periods = periods.bfloat16()
    return Layout(lambda cls, _mask, _periods: cls, lambda cls: (cls, torch.zeros(1, cls.shape[-1]), periods))


def _masked(bias: Tensor) -> tuple[Tensor, Tensor]:
    mask = torch.ones_like(bias)
    mask.view(3, -1)[1] = 0
    return bias, mask


_MASKED = Layout(lambda bias, mask: torch.where(mask == 0, 0.0, bias), _masked)
"""The bias of queries, keys and values beside the mask that leaves out the keys'."""


def _nearest(architecture: Architecture) -> Target:
    if isinstance(architecture, ViTConfig) and architecture.rotary is not None:
        return _nearest_dinov3(architecture)
    allowed = {"registers": (), "mlp": (), "pool": ("cls", "cls+mean")}
    config = expressible(architecture, DINO.title, allowed)
    check_square(config, DINO.title)
    _check_head(config)
    config = _with_biases(config)
    config = dataclasses.replace(config, edge="refuse", prefix_position=True)
    how = "bicubic-antialias" if config.registers else "bicubic-offset"
    config, differences = compared(config, {"gelu": "erf", "norm_eps": 1e-6, "resample": how})
    return Target(form="write", architecture=config, differences=differences)


def _nearest_dinov3(architecture: ViTConfig) -> Target:
    allowed = {"registers": (), "mlp": (), "pool": ("cls", "cls+mean"), "rotary": ("dinov3",), "position": ("none",)}
    config = expressible(architecture, DINO.title, allowed)
    _check_head(config)
    form: Form = "write masked" if config.qkv_bias == "query-value" else "write"
    config, differences = compared(_with_biases(config), {"gelu": "erf", "norm_eps": 1e-5})
    return Target(form=form, architecture=dataclasses.replace(config, edge="crop"), differences=differences)


def _with_biases(config: ViTConfig) -> ViTConfig:
    """With zeros for biases that Meta's code always has; attention and MLP may go without theirs."""
    config = dataclasses.replace(config, patch_bias=True, head_bias=True)
    return config if config.qkv_bias == "none" else dataclasses.replace(config, qkv_bias="all")


def _check_head(config: ViTConfig) -> None:
    """Refuse a head that is none of DINO's, and gates of a width that its code never makes."""
    if (config.pool == "cls+mean") != bool(config.num_classes):
        raise UsageError(
            f"{DINO.title} has heads on class token and mean side by side, and on nothing else",
            why=f"pool={config.pool!r}, num_classes={config.num_classes}",
            remedy="load it with head='drop' and save that",
        )
    if config.mlp == "swiglu" and config.mlp_dim % 8:
        raise UsageError(f"{DINO.title} has gated layers of multiples of 8 only", why=f"mlp_dim={config.mlp_dim}")


def _package(architecture: Architecture, card: ModelCard, form: str) -> Package:  # noqa: ARG001 - no sidecars
    assert isinstance(architecture, ViTConfig)
    name = architecture.name.replace("-", "_") if architecture.name.startswith("dino") else _name(architecture)
    return Package(kind="pickle", file_name=f"{name.replace('-', '_')}_pretrain.pth")


DINO = Dialect(
    name="dinov2",
    title="DINO",
    recognises=_recognises,
    understand=_understand,
    rules=_rules,
    nearest=_nearest,
    package=_package,
)
"""Meta's DINOv2 and DINOv3, both ways."""

"""Google's Vision Transformers and hybrids in npz files: what they are, and which array is which of our tensors.

The table is written once, in big_vision's names; the forms "vit_jax" and "hybrid" spell them as vit_jax's files do.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from torch import Tensor

from vitreous.architecture import Size, ViTConfig
from vitreous.errors import ModelFileError, UsageError
from vitreous.model.position import resample, resample_patches
from vitreous.weights.dialects.dialect import Settings, Target
from vitreous.weights.dialects.google_names import OLD_TABLES, TABLE, count_of, root_of, shape_of, spelled
from vitreous.weights.dialects.google_resnet import google_numerics, v1_config, v1_rules
from vitreous.weights.dialects.mapping import (
    CONV,
    DENSE,
    SAME,
    Layout,
    Rule,
    heads_in,
    heads_out,
    reshaped,
    rule,
    stacked,
)
from vitreous.weights.formats.container import Raw
from vitreous.zoo import find_model, model_names

_BLOCK = "Transformer/encoderblock_"
_ATTENTION, _MLP = "MultiHeadDotProductAttention_0", "MlpBlock_0"
_ENDS = ("head", "pre_logits")
_FLEXIBLE = (240, 240)
"""Pixels that FlexiViT is trained at, with patches of 8 to 48 (big_vision/configs/proj/flexivit)."""


def vit_config(
    tensors: dict[str, Tensor], settings: Settings, raw: Raw
) -> tuple[ViTConfig, dict[str, Tensor], tuple[str, ...]]:
    """The Vision Transformer whose arrays these are; the arrays as its table has them; and what was assumed.

    Args:
        tensors: by tidy name.
        settings: fields stated by a person; another `patch_size` than the file's resizes as FlexiViT does.
        raw: for messages.

    Raises:
        ModelFileError: names and shapes do not tell the architecture.
    """
    tensors, table_grid, notes = _unfolded(tensors, settings, raw)
    fields = _shapes(tensors, raw)
    flexible = _is_flexivit(tensors)
    if flexible:
        notes.append("taken for FlexiViT: 32 x 32 patches, a 7 x 7 table, and a class token without a position")
    if flexible or table_grid:
        fields["resample"] = "bilinear-antialias"
    grid = table_grid or _stated_grid(tensors, fields, settings)
    if TABLE in tensors:
        grid, fields["prefix_position"] = _grid(tensors, grid, raw, notes)
    else:
        fields["position"] = "sincos" if fields["stem"] is None else "none"
        notes.append(f"no position table: position={settings.get('position', fields['position'])!r}")
    fields["image_size"] = _FLEXIBLE if flexible else _image_size(fields, grid)
    if grid is None and "image_size" not in settings:
        raise ModelFileError(
            "the file does not tell what image size it is for",
            where=str(raw.path),
            why="without a position table any size is possible",
            remedy="settings={'image_size': 224}",
        )
    config = ViTConfig(**{**fields, **settings})
    if "edge" not in settings and all(
        side % step == 0 for side, step in zip(config.image_size, config.stride, strict=True)
    ):
        config = dataclasses.replace(config, edge="refuse")  # Google's convolution would cut other images silently
    if config.patch_size != fields["patch_size"] and config.stem is None:
        notes += _resize(tensors, config, fields["patch_size"], grid)
    return dataclasses.replace(config, name=_name(config)), tensors, tuple(notes)


def _is_flexivit(tensors: dict[str, Tensor]) -> bool:
    """Told by what no other published file has together."""
    kernel, table = tensors["embedding/kernel"], tensors.get(TABLE)
    plain = "cls" in tensors and "conv_root/kernel" not in tensors
    return plain and table is not None and kernel.shape[:2] == (32, 32) and table.shape[:-1] == (1, 49)


def _unfolded(
    tensors: dict[str, Tensor], settings: Settings, raw: Raw
) -> tuple[dict[str, Tensor], Size | None, list[str]]:
    """NaFlex's arrays in the shapes that the others have, the grid of its table, and a note; others as they are.

    NaFlex projects flattened patches with a matrix (P * P * C, D), and its table is a picture (h, w, D).
    """
    tensors = dict(tensors)
    if "embedding/kernel" not in tensors or tensors["embedding/kernel"].ndim != 2:
        shape_of(tensors, "embedding/kernel", 4, raw)
        return tensors, None, []
    rows, width = shape_of(tensors, "embedding/kernel", 2, raw)
    channels = int(settings.get("in_channels", 3))
    side = math.isqrt(rows // max(channels, 1))
    if side * side * channels != rows:
        raise ModelFileError(
            f"embedding/kernel has {rows} rows, which are no square patch of {channels} channels",
            where=str(raw.path),
            remedy="settings={'in_channels': 1}",
        )
    tensors["embedding/kernel"] = tensors["embedding/kernel"].reshape(side, side, channels, width)
    height, width, _ = shape_of(tensors, TABLE, 3, raw)
    tensors[TABLE] = tensors[TABLE].flatten(0, 1)[None]
    return tensors, (height, width), [f"NaFlex: {rows} rows are patches of {side} x {side} pixels, {channels} channels"]


def _shapes(tensors: dict[str, Tensor], raw: Raw) -> dict[str, Any]:
    """Fields of the config that names and shapes tell, and Google's numerics."""
    height, width, channels, dim = shape_of(tensors, "embedding/kernel", 4, raw)
    first = f"{_BLOCK}0"
    stem = None
    if "conv_root/kernel" in tensors:
        stem = v1_config(tensors, {"name": "resnet", "num_classes": 0}, raw)
        channels = stem.in_channels
    ends = {name: shape_of(tensors, f"{name}/kernel", 2, raw)[1] for name in _ENDS if f"{name}/kernel" in tensors}
    return {
        "patch_size": (height, width),
        "in_channels": channels,
        "embed_dim": dim,
        "depth": count_of(tensors, _BLOCK + r"(\d{1,6})/", 0, raw),
        "num_heads": shape_of(tensors, f"{first}/{_ATTENTION}/query/kernel", 3, raw)[1],
        "mlp_dim": shape_of(tensors, f"{first}/{_MLP}/Dense_0/kernel", 2, raw)[1],
        "num_classes": ends.get("head", 0),
        "representation_size": ends.get("pre_logits"),
        "stem": stem,
        "pool": "map" if "MAPHead_0/probe" in tensors else "cls" if "cls" in tensors else "mean",
        "edge": "crop",  # the patch convolution is VALID: an image size that is stated need not divide
        "gelu": "tanh",  # jax.nn.gelu's default
    }


def _stated_grid(tensors: dict[str, Tensor], fields: dict[str, Any], settings: Settings) -> Size | None:
    """The grid at the image size that a person states, where the position table has as many rows."""
    if "image_size" not in settings:
        return None
    grid = ViTConfig(**{**fields, "image_size": settings["image_size"]}).grid
    rows = tensors[TABLE].shape[1] if TABLE in tensors and tensors[TABLE].ndim == 3 else 0
    return grid if not rows or rows - grid[0] * grid[1] in (0, 1) else None


def _grid(tensors: dict[str, Tensor], grid: Size | None, raw: Raw, notes: list[str]) -> tuple[Size, bool]:
    """The grid that the position table is made for, square unless it is known, and whether a class token has a row."""
    rows = shape_of(tensors, TABLE, 3, raw)[1]
    # inside the encoder, the table is added behind the class token; at the root, before it, but for migrated files
    root = root_of(raw.tensors) or ""
    certain = "cls" in tensors and any(root + name in raw.tensors for name in OLD_TABLES)
    if grid is None:
        side = math.isqrt(rows - int(certain))
        grid = (side, side)
    extra = rows - grid[0] * grid[1]
    if extra not in (0, 1) or (certain and not extra):
        raise ModelFileError(
            f"the position table has {rows} rows, which are no square grid of patches",
            where=str(raw.path),
            remedy="its height and width in pixels: settings={'image_size': (224, 448)}",
        )
    if extra and "cls" not in tensors:
        tensors[TABLE] = tensors[TABLE][:, 1:]
        notes.append("the position table's first row is a class token's, which the model has not: cut off (big_vision)")
        extra = 0
    return grid, bool(extra) or "cls" not in tensors


def _image_size(fields: dict[str, Any], grid: Size | None) -> Size:
    times = fields["stem"].reduction if fields["stem"] else 1
    rows, columns = grid or (1, 1)
    height, width = fields["patch_size"]
    return rows * height * times, columns * width * times


def _resize(tensors: dict[str, Tensor], config: ViTConfig, patch: Size, grid: Size | None) -> list[str]:
    """Kernel and table for another patch size, as FlexiViT does it; in words."""
    kernel = resample_patches(CONV.read(tensors["embedding/kernel"]), config.patch_size)
    tensors["embedding/kernel"] = CONV.write(kernel)[0]
    notes = [f"embedding/kernel resized from {_by(patch)} to {_by(config.patch_size)}, as FlexiViT does"]
    if TABLE in tensors and grid is not None and grid != config.grid:
        tensors[TABLE] = resample(tensors[TABLE], config.num_prefix_positions, grid, config.grid, config.resample)
        notes.append(f"{TABLE} resized from {_by(grid)} to {_by(config.grid)} ({config.resample})")
    return notes


def _by(size: Size) -> str:
    return f"{size[0]} x {size[1]}"


def _name(config: ViTConfig) -> str:
    """The zoo's name where it has one."""
    pool = {"mean": "-gap", "map": "-map"}.get(config.pool, "")
    for name in model_names():
        known = find_model(name)
        if isinstance(known, ViTConfig) and known.attention == "full" and _build(known) == _build(config):
            return name + pool
    trunk = f"r{'-'.join(map(str, config.stem.layers))}+" if config.stem else ""
    return f"{trunk}vit-{config.embed_dim}x{config.depth}-p{config.patch_size[0]}{pool}"


def _build(config: ViTConfig) -> tuple[object, ...]:
    stem = (config.stem.layers, config.stem.width_factor) if config.stem else None
    return config.embed_dim, config.depth, config.num_heads, config.mlp_dim, config.patch_size, stem


def form_of(config: ViTConfig) -> str:
    """The table that such a model is written in: vit_jax's where the class token has a position, as there.

    Args:
        config: of a model that Google's code can run.
    """
    if config.stem is not None:
        return "hybrid"
    return "vit_jax" if config.num_prefix_positions else "big_vision"


def vit_rules(config: ViTConfig, form: str) -> list[Rule]:
    """The table of a Vision Transformer.

    Args:
        config: of a model that Google's code can run.
        form: "big_vision" for its names, else vit_jax's.
    """
    rules = [] if config.stem is None else v1_rules(config.stem, "patch_embed.backbone.")
    rules += _layer("patch_embed.proj", "embedding", CONV)
    if config.class_token:
        rules.append(rule("cls_token", "cls"))
    if config.position == "learned":
        rules.append(rule("pos_embed", TABLE))
    for i in range(config.depth):
        rules += _block(config, f"blocks.{i}", f"{_BLOCK}{i}")
    rules += _norm("norm", "Transformer/encoder_norm")
    if config.pool == "map":
        rules += _map_head(config)
    if config.representation_size is not None:
        rules += _layer("pre_logits.fc", "pre_logits")
    if config.num_classes:
        rules += _layer("head", "head")
    if form == "big_vision":
        return rules
    return [Rule(each.native, tuple(spelled(name) for name in each.foreign), each.layout) for each in rules]


def _block(config: ViTConfig, ours: str, theirs: str) -> list[Rule]:
    attention = f"{theirs}/{_ATTENTION}"
    return [
        *_norm(f"{ours}.norm1", f"{theirs}/LayerNorm_0"),
        *_projections(config, f"{ours}.attn.qkv", attention, "query", "key", "value"),
        *_layer(f"{ours}.attn.proj", f"{attention}/out", heads_out(config.embed_dim, config.num_heads)),
        *_norm(f"{ours}.norm2", f"{theirs}/LayerNorm_1"),
        *_mlp(f"{ours}.mlp", f"{theirs}/{_MLP}"),
    ]


def _map_head(config: ViTConfig) -> list[Rule]:
    theirs, attention = "MAPHead_0", f"MAPHead_0/{_ATTENTION}"
    return [
        rule("attn_pool.latent", f"{theirs}/probe"),
        *_projections(config, "attn_pool.q", attention, "query"),
        *_projections(config, "attn_pool.kv", attention, "key", "value"),
        *_layer("attn_pool.proj", f"{attention}/out", heads_out(config.embed_dim, config.num_heads)),
        *_norm("attn_pool.norm", f"{theirs}/LayerNorm_0"),
        *_mlp("attn_pool.mlp", f"{theirs}/{_MLP}"),
    ]


def _projections(config: ViTConfig, native: str, attention: str, *parts: str) -> list[Rule]:
    """Queries, keys or values, each a foreign layer with an axis for the heads, under one another in ours."""
    D, A = config.embed_dim, config.num_heads
    kernels, biases = ([f"{attention}/{part}/{leaf}" for part in parts] for leaf in ("kernel", "bias"))
    return [
        rule(f"{native}.weight", *kernels, layout=stacked(heads_in(D, A), len(parts))),
        rule(f"{native}.bias", *biases, layout=stacked(reshaped((D,), (A, D // A)), len(parts))),
    ]


def _mlp(native: str, foreign: str) -> list[Rule]:
    return [*_layer(f"{native}.fc1", f"{foreign}/Dense_0"), *_layer(f"{native}.fc2", f"{foreign}/Dense_1")]


def _layer(native: str, foreign: str, kernel: Layout = DENSE) -> list[Rule]:
    return [rule(f"{native}.weight", f"{foreign}/kernel", layout=kernel), rule(f"{native}.bias", f"{foreign}/bias")]


def _norm(native: str, foreign: str) -> list[Rule]:
    return [rule(f"{native}.weight", f"{foreign}/scale", layout=SAME), rule(f"{native}.bias", f"{foreign}/bias")]


_ONLY: dict[str, object] = {  # what the files have no arrays for
    "tokenizer": "patch",
    "distill_token": False,
    "registers": 0,
    "position_at": "input",
    "rotary": None,
    "attention": "full",
    "qk_norm": False,
    "attn_norm": False,
    "mlp": "gelu",
    "mlp_norm": False,
    "pre_norm": False,
    "pool_norm": "before",
}
_EQUIVALENT: dict[str, Any] = {  # absent biases are zeros, and LayerScale is multiplied in
    "patch_bias": True,
    "qkv_bias": "all",
    "proj_bias": True,
    "mlp_bias": True,
    "head_bias": True,
    "layer_scale": None,
}


def nearest_vit(config: ViTConfig) -> Target:
    """What Google's code would compute with the written model.

    Args:
        config: any.

    Raises:
        UsageError: neither vit_jax nor big_vision has such a model.
    """
    lacking = [f"{name}={getattr(config, name)!r}" for name, only in _ONLY.items() if getattr(config, name) != only]
    if config.pool not in ("cls", "mean", "map") or config.class_token != (config.pool == "cls"):
        lacking.append(f"pool={config.pool!r} {'with' if config.class_token else 'without'} a class token")
    if config.position not in ("learned", "sincos"):
        lacking.append(f"position={config.position!r}")
    if config.stem is not None:
        lacking += [f"a hybrid with position={config.position!r}"] if config.position == "sincos" else []
        lacking += ["a hybrid with pool='map'"] if config.pool == "map" else []
        lacking += ["a stem of style v2"] if config.stem.style == "v2" else []
    if lacking:
        raise UsageError("Google's files have no place for this model", why=f"it has {', '.join(lacking)}")
    stem, differences = (None, ()) if config.stem is None else google_numerics(config.stem)
    words = list(differences)
    if config.gelu != "tanh":
        words.append(f"GELU: {config.gelu} becomes tanh")
    if config.norm_eps != 1e-6:
        words.append(f"LayerNorm epsilon: {config.norm_eps:g} becomes 1e-06")
    numerics: dict[str, Any] = {"stem": stem, "gelu": "tanh", "norm_eps": 1e-6, "resample": "bilinear-corners"}
    target = dataclasses.replace(config, **_EQUIVALENT, **numerics)
    if stem is not None:  # hybrids are vit_jax's alone, whose class token always has a position
        target = dataclasses.replace(target, prefix_position=True)
    return Target(form=form_of(target), architecture=target, differences=tuple(words))

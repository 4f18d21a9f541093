"""Google's ResNets in npz files: BiT (v2), big_vision's own (v1), and the v1 stems of hybrids."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor

from vitreous.architecture import ResNetConfig
from vitreous.errors import ModelFileError, UsageError
from vitreous.weights.dialects.dialect import Settings, Target
from vitreous.weights.dialects.google_names import count_of, shape_of
from vitreous.weights.dialects.mapping import CONV, Layout, Rule, rule
from vitreous.weights.formats.container import Raw
from vitreous.zoo import find_model, model_names

_CONV = "standardized_conv2d/kernel"
_HEAD = Layout(lambda foreign: foreign.T[:, :, None, None], lambda native: (native[:, :, 0, 0].T,))
"""Flax's dense (in, out) to our 1 x 1 convolution (out, in, 1, 1)."""

_NUMERICS = {
    "norm_eps": "GroupNorm epsilon",
    "standardize": "weight standardisation by",
    "standardize_eps": "epsilon of the weight standardisation",
    "padding": "padding of convolutions",
}


def bit_config(tensors: dict[str, Tensor], settings: Settings, raw: Raw) -> ResNetConfig:
    """The BiT whose arrays these are.

    Args:
        tensors: by tidy name.
        settings: fields stated by a person.
        raw: for messages.
    """
    root = shape_of(tensors, f"resnet/root_block/{_CONV}", 4, raw)
    head = "resnet/head/conv2d/kernel"
    classes = shape_of(tensors, head, 4, raw)[3] if head in tensors else 0
    return _config("v2", "resnet/", root, tensors, {"num_classes": classes, **settings}, raw)


def v1_config(tensors: dict[str, Tensor], settings: Settings, raw: Raw) -> ResNetConfig:
    """The v1 ResNet whose arrays these are; without classes where there is no head.

    Args:
        tensors: by tidy name.
        settings: fields stated by a person.
        raw: for messages.
    """
    root = shape_of(tensors, "conv_root/kernel", 4, raw)
    classes = shape_of(tensors, "head/kernel", 2, raw)[1] if "head/kernel" in tensors else 0
    return _config("v1", "", root, tensors, {"num_classes": classes, **settings}, raw)


def _config(
    style: str, at: str, root: tuple[int, ...], tensors: dict[str, Tensor], fields: Settings, raw: Raw
) -> ResNetConfig:
    stages = count_of(tensors, rf"{at}block(\d{{1,6}})/", 1, raw)
    layers = tuple(count_of(tensors, rf"{at}block{stage + 1}/unit(\d{{1,6}})/", 1, raw) for stage in range(stages))
    if root[3] % 64:
        raise ModelFileError(
            "the root convolution has a width that no such ResNet has",
            where=str(raw.path),
            why=f"{root[3]} is no multiple of 64",
        )
    shape = {"layers": layers, "width_factor": root[3] // 64, "in_channels": root[2], "style": style}
    config = ResNetConfig(**{**shape, **fields})
    return config if "name" in fields else dataclasses.replace(config, name=_name(config))


def _name(config: ResNetConfig) -> str:
    """The zoo's name where it has one."""
    for name in model_names():
        known = find_model(name)
        if isinstance(known, ResNetConfig) and _build(known) == _build(config):
            return name
    return f"{'bit' if config.style == 'v2' else 'resnet'}-{'-'.join(map(str, config.layers))}-x{config.width_factor}"


def _build(config: ResNetConfig) -> tuple[tuple[int, ...], int, str]:
    return config.layers, config.width_factor, config.style


def bit_rules(config: ResNetConfig) -> list[Rule]:
    """The table of a BiT, in the names of the TensorFlow release.

    Args:
        config: of style v2.
    """
    rules = [rule("stem.conv.weight", f"resnet/root_block/{_CONV}", layout=CONV)]
    for stage, depth in enumerate(config.layers):
        for unit in range(depth):
            ours, theirs = f"stages.{stage}.blocks.{unit}", f"resnet/block{stage + 1}/unit{unit + 1:02}"
            for number, letter in enumerate("abc", start=1):
                rules += _affine(f"{ours}.norm{number}", f"{theirs}/{letter}/group_norm", "gamma", "beta")
                rules.append(rule(f"{ours}.conv{number}.weight", f"{theirs}/{letter}/{_CONV}", layout=CONV))
            if unit == 0:
                rules.append(rule(f"{ours}.downsample.conv.weight", f"{theirs}/a/proj/{_CONV}", layout=CONV))
    rules += _affine("norm", "resnet/group_norm", "gamma", "beta")
    if config.num_classes:
        rules.append(rule("head.fc.weight", "resnet/head/conv2d/kernel", layout=CONV))
        rules.append(rule("head.fc.bias", "resnet/head/conv2d/bias"))
    return rules


def v1_rules(config: ResNetConfig, at: str = "") -> list[Rule]:
    """The table of a v1 ResNet, alone or as the stem of a hybrid.

    Args:
        config: of style v1.
        at: what stands before our names.
    """
    rules = _conv_and_norm(f"{at}stem.conv", "conv_root", f"{at}stem.norm", "gn_root")
    for stage, depth in enumerate(config.layers):
        for unit in range(depth):
            ours, theirs = f"{at}stages.{stage}.blocks.{unit}", f"block{stage + 1}/unit{unit + 1}"
            for n in (1, 2, 3):
                rules += _conv_and_norm(f"{ours}.conv{n}", f"{theirs}/conv{n}", f"{ours}.norm{n}", f"{theirs}/gn{n}")
            if unit == 0:
                past = f"{ours}.downsample"
                rules += _conv_and_norm(f"{past}.conv", f"{theirs}/conv_proj", f"{past}.norm", f"{theirs}/gn_proj")
    if config.num_classes:
        rules += [rule(f"{at}head.fc.weight", "head/kernel", layout=_HEAD), rule(f"{at}head.fc.bias", "head/bias")]
    return rules


def _conv_and_norm(conv: str, foreign_conv: str, norm: str, foreign_norm: str) -> list[Rule]:
    kernel = rule(f"{conv}.weight", f"{foreign_conv}/kernel", layout=CONV)
    return [kernel, *_affine(norm, foreign_norm, "scale", "bias")]


def _affine(native: str, foreign: str, scale: str, bias: str) -> list[Rule]:
    return [rule(f"{native}.weight", f"{foreign}/{scale}"), rule(f"{native}.bias", f"{foreign}/{bias}")]


def google_numerics(config: ResNetConfig) -> tuple[ResNetConfig, tuple[str, ...]]:
    """The ResNet as Google's code computes it, and what that changes, in words.

    Args:
        config: of either style.
    """
    unset: dict[str, Any] = dict.fromkeys(_NUMERICS)  # a config fills in its style's own
    own = dataclasses.replace(config, **unset)
    changed = [field for field in _NUMERICS if getattr(config, field) != getattr(own, field)]
    words = (f"{_NUMERICS[field]}: {getattr(config, field)} becomes {getattr(own, field)}" for field in changed)
    return own, tuple(words)


def nearest_resnet(config: ResNetConfig) -> Target:
    """What Google's code would compute with the written ResNet.

    Args:
        config: of either style.
    """
    if not config.layers:
        raise UsageError("a root without stages is no model of its own in Google's files")
    own, differences = google_numerics(config)
    return Target(form="bit" if config.style == "v2" else "bit-v1", architecture=own, differences=differences)

"""The same weights give the same features and logits in NumPy, straight from Google's arrays, and in timm's ResNets."""

from __future__ import annotations

import copy
import dataclasses
import functools
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy_resnet
import pytest
import torch
from numpy.typing import NDArray
from oracles import timm
from random_resnet import draw
from random_vit import random_images
from torch import Tensor, nn

from vitreous.architecture import ResNetConfig
from vitreous.model.resnet import ResNet, Trunk
from vitreous.model.taps import Taps

PARTS = {"conv_root": "stem.conv", "gn_root": "stem.norm", "conv_proj": "downsample.conv", "gn_proj": "downsample.norm"}
PARTS |= {"root_block": "stem.conv", "a/proj": "downsample.conv", "head": "head.fc", "": "norm"}
PARTS |= {f"{kind}{i}": f"{name}{i}" for kind, name in (("conv", "conv"), ("gn", "norm")) for i in (1, 2, 3)}
KINDS = {"kernel": "weight", "scale": "weight", "gamma": "weight", "beta": "bias", "bias": "bias"}

TIMMS: dict[str, Any] = {"standardize": "var", "standardize_eps": 1e-8, "norm_eps": 1e-5}
"""timm's numerics for both styles (timm.layers.StdConv2d with eps=1e-8, GroupNormAct)."""

SIZES = [(40, 56), (97, 65), (33, 47), (64, 96), (7, 9), (1, 1)]


def native(arrays: Mapping[str, NDArray]) -> dict[str, Tensor]:
    """Google's arrays, of a BiT or a hybrid, under our names and in our layout."""
    state = {}
    for name, value in arrays.items():
        place, kind = name.removeprefix("resnet/").rsplit("/", 1)
        unit = re.match(r"block(\d+)/unit(\d+)/", place)
        part = place[unit.end() if unit else 0 :]
        part = re.sub(r"/?(standardized_conv2d|group_norm|conv2d)$", "", part)
        if part in ("a", "b", "c"):
            part = ("gn" if kind in ("gamma", "beta") else "conv") + str("abc".index(part) + 1)
        at = f"stages.{int(unit[1]) - 1}.blocks.{int(unit[2]) - 1}." if unit else ""
        value = torch.from_numpy(value)
        state[f"{at}{PARTS[part]}.{KINDS[kind]}"] = value.permute(3, 2, 0, 1) if value.ndim == 4 else value
    assert len(state) == len(arrays)
    return state


def loaded(model: ResNet | Trunk, state: Mapping[str, Tensor]) -> Any:
    """The model with these weights, all of them and no others."""
    model.load_state_dict(state, strict=True)
    return model.eval()


def assert_same(actual: Tensor, expected: Tensor | NDArray, atol: float = 1e-4, least_std: float = 0.5) -> None:
    """Numbers that vary, and are equal."""
    expected = np.asarray(expected)
    assert expected.std() >= least_std, f"they vary too little to prove anything: {expected.std():.3f}"
    np.testing.assert_allclose(actual.numpy(), expected, rtol=0, atol=atol)


def double(model: Any) -> Any:
    """The model in float64, where rounding hides nothing."""
    return copy.deepcopy(model).double()


@torch.no_grad()
@pytest.mark.parametrize("layers", [(1, 2), (1, 1, 1, 1)], ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_bit_in_numpy(size: tuple[int, int], layers: tuple[int, ...]) -> None:
    """BiT's own numerics: every feature map and the logits, at even and odd sizes down to one pixel."""
    arrays = numpy_resnet.bit_arrays(layers)
    model = loaded(ResNet(ResNetConfig(layers=layers, num_classes=11)), native(arrays))
    images = random_images(*size)
    expected = numpy_resnet.bit(arrays, images.permute(0, 2, 3, 1).numpy())
    assert_same(model(images), expected["logits"])
    taps = double(model).features(images.double(), taps=model.tap_names()).taps
    assert tuple(expected) == model.tap_names()
    for name, value in expected.items():
        assert_same(taps[name] if name == "logits" else taps[name].permute(0, 2, 3, 1), value, 1e-10, least_std=0.3)


@torch.no_grad()
@pytest.mark.parametrize("layers", [(), (1,), (2, 1), (1, 1, 1, 1)], ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_hybrid_in_numpy(size: tuple[int, int], layers: tuple[int, ...]) -> None:
    """The hybrids' own numerics, SAME padding included: every feature map, at even and odd sizes down to one pixel."""
    arrays = numpy_resnet.hybrid_arrays(layers, seed=1)
    trunk = loaded(Trunk(ResNetConfig(layers=layers, style="v1", num_classes=0)), native(arrays))
    images = random_images(*size)
    expected = numpy_resnet.hybrid(arrays, images.permute(0, 2, 3, 1).numpy())
    assert tuple(expected) == trunk.tap_names()
    last = trunk.tap_names()[-1]
    assert_same(trunk(images).permute(0, 2, 3, 1), expected[last], least_std=0.3)
    taps = Taps(trunk.tap_names())
    assert torch.equal(double(trunk)(images.double(), taps), taps.values[last])
    for name, value in expected.items():
        assert_same(taps.values[name].permute(0, 2, 3, 1), value, 1e-10, least_std=0.3)


DIM = 1e-3  # contrast at which the epsilon of the first norm shows

WRONG_BIT: dict[str, dict[str, Any]] = {
    "the hybrids' standardisation": {"standardize": "std", "standardize_eps": 1e-5},
    "timm's standardisation": {"standardize_eps": 1e-8},
    "SAME padding": {"padding": "same"},
    "the hybrids' epsilon": {"norm_eps": 1e-6},
}
WRONG_HYBRID: dict[str, dict[str, Any]] = {
    "BiT's standardisation": {"standardize": "var", "standardize_eps": 1e-10},
    "timm's standardisation": {"standardize": "var", "standardize_eps": 1e-8},
    "symmetric padding": {"padding": "symmetric"},
    "BiT's epsilon": {"norm_eps": 1e-5},
}


@torch.no_grad()
@pytest.mark.parametrize("wrong", WRONG_BIT.values(), ids=WRONG_BIT.keys())
def test_bit_needs_its_own_numerics(wrong: dict[str, Any]) -> None:
    """Every field of the numerics counts: with one of them wrong the logits are ten times further off than allowed."""
    arrays = numpy_resnet.bit_arrays((1, 2))
    model = loaded(ResNet(ResNetConfig(layers=(1, 2), num_classes=11, **wrong)), native(arrays))
    images = DIM * random_images(40, 56)
    expected = numpy_resnet.bit(arrays, images.permute(0, 2, 3, 1).numpy())["logits"]
    assert np.abs(model(images).numpy() - expected).max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("wrong", WRONG_HYBRID.values(), ids=WRONG_HYBRID.keys())
def test_hybrids_need_their_own_numerics(wrong: dict[str, Any]) -> None:
    """The same for the hybrids' feature map."""
    arrays = numpy_resnet.hybrid_arrays((1, 2))
    trunk = loaded(Trunk(ResNetConfig(layers=(1, 2), style="v1", num_classes=0, **wrong)), native(arrays))
    images = DIM * random_images(40, 56)
    expected = numpy_resnet.hybrid(arrays, images.permute(0, 2, 3, 1).numpy())["stages.1"]
    assert np.abs(trunk(images).permute(0, 2, 3, 1).numpy() - expected).max() > 1e-3


@torch.no_grad()
def test_bit_pools_over_zeros() -> None:
    """Zeros beyond the edge win over negative pixels: with -inf in their place the logits are others."""
    arrays = numpy_resnet.bit_arrays((1,))
    model = loaded(ResNet(ResNetConfig(layers=(1,), num_classes=11)), native(arrays))
    images = random_images(9, 13)
    channels_last = images.permute(0, 2, 3, 1).numpy()
    assert_same(model(images), numpy_resnet.bit(arrays, channels_last)["logits"])
    other = numpy_resnet.bit(arrays, channels_last, pool_with=-np.inf)["logits"]
    assert np.abs(model(images).numpy() - other).max() > 1e-2


def timm_bit(c: ResNetConfig) -> nn.Module:
    """timm's BiT as its own names build it, in our architecture's size."""
    conv = functools.partial(timm().layers.StdConv2d, eps=1e-8)
    return timm().models.resnetv2.ResNetV2(
        layers=c.layers,
        width_factor=c.width_factor,
        num_classes=c.num_classes,
        in_chans=c.in_channels,
        stem_type="fixed",
        conv_layer=conv,
    )


def timm_hybrid(c: ResNetConfig) -> nn.Module:
    """timm's backbone of the hybrids, in our architecture's size."""
    conv = functools.partial(timm().layers.StdConv2dSame, eps=1e-8)
    if not c.layers:
        stem = timm().models.resnetv2.create_resnetv2_stem
        return stem(c.in_channels, stem_type="same", preact=False, conv_layer=conv)
    return timm().models.resnetv2.ResNetV2(
        layers=c.layers,
        width_factor=c.width_factor,
        num_classes=0,
        global_pool="",
        in_chans=c.in_channels,
        preact=False,
        stem_type="same",
        conv_layer=conv,
    )


VARIANTS: dict[str, dict[str, Any]] = {
    "two stages": {"layers": (1, 2)},
    "twice as wide": {"layers": (1, 1), "width_factor": 2},
    "one channel": {"layers": (2,), "in_channels": 1},
    "four stages": {"layers": (1, 1, 1, 1)},
}


@torch.no_grad()
@pytest.mark.parametrize("size", SIZES[:4], ids=str)
@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_bit_in_timm(changes: dict[str, Any], size: tuple[int, int]) -> None:
    """timm's state dict loads as it is, strictly, and gives its logits and its last feature map."""
    c = ResNetConfig(num_classes=11, **TIMMS, **changes)
    theirs = draw(timm_bit(c)).eval()
    ours = loaded(ResNet(c), theirs.state_dict())
    images = random_images(*size, channels=c.in_channels)
    assert_same(ours(images), theirs(images))
    assert_same(ours.features(images, taps="norm").taps["norm"], theirs.forward_features(images))
    assert_same(double(ours)(images.double()), double(theirs)(images.double()), atol=1e-10)
    assert set(theirs.state_dict()) == set(ours.state_dict())


@torch.no_grad()
def test_bit_without_head_in_timm() -> None:
    """Pooled features in place of logits."""
    c = ResNetConfig(layers=(1, 2), num_classes=0, **TIMMS)
    theirs = draw(timm_bit(c)).eval()
    ours = loaded(ResNet(c), theirs.state_dict())
    images = random_images(40, 56)
    assert_same(ours(images), theirs(images), least_std=0.2)


@torch.no_grad()
@pytest.mark.parametrize("size", SIZES[:4], ids=str)
@pytest.mark.parametrize("changes", [{"layers": ()}, *VARIANTS.values()], ids=["stem alone", *VARIANTS])
def test_hybrid_in_timm(changes: dict[str, Any], size: tuple[int, int]) -> None:
    """timm's backbone loads as it is; a stem alone lacks only the word "stem" in its names."""
    c = ResNetConfig(style="v1", num_classes=0, **TIMMS, **changes)
    theirs = draw(timm_hybrid(c)).eval()
    state = theirs.state_dict()
    ours = loaded(Trunk(c), state if c.layers else {f"stem.{name}": value for name, value in state.items()})
    images = random_images(*size, channels=c.in_channels)
    assert_same(ours(images), theirs(images))
    assert_same(double(ours)(images.double()), double(theirs)(images.double()), atol=1e-10)


@torch.no_grad()
def test_timms_numerics_are_not_googles() -> None:
    """The same weights in timm's own formula give other features than in Google's: the epsilons are no detail."""
    c = ResNetConfig(layers=(1, 2), style="v1", num_classes=0)
    theirs = draw(timm_hybrid(c)).eval()
    google = loaded(Trunk(c), theirs.state_dict())
    same = loaded(Trunk(dataclasses.replace(c, **TIMMS)), theirs.state_dict())
    images = random_images(40, 56)
    assert (same(images) - theirs(images)).abs().max() < 1e-4
    assert (google(images) - theirs(images)).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("style", ["v1", "v2"])
def test_real_sizes_in_timm(style: str) -> None:
    """R50x1 as published, and the backbone of R50+ViT-B/16, 16 units deep.

    So many random units carry float32's rounding up to 4e-4 in the backbone's feature map, timm's as much as ours.
    """
    layers = (3, 4, 9) if style == "v1" else (3, 4, 6, 3)
    c = ResNetConfig(layers=layers, style=style, num_classes=0 if style == "v1" else 1000, **TIMMS)
    theirs = draw(timm_hybrid(c) if style == "v1" else timm().create_model("resnetv2_50x1_bit")).eval()
    ours = loaded(Trunk(c) if style == "v1" else ResNet(c), theirs.state_dict())
    images = random_images(97, 65)
    assert_same(ours(images), theirs(images), atol=1e-3 if style == "v1" else 1e-4)
    assert_same(double(ours)(images.double()), double(theirs)(images.double()), atol=1e-10)

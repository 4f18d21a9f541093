"""Optimiser groups, layer-wise decay, single steps and averaging, against timm, closed forms and PyTorch's own."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

import pytest
import torch
from oracles import timm
from tiny_architectures import BIT, HYBRID, TINY
from torch import nn

import vitreous as vt
from vitreous.architecture import ViTConfig
from vitreous.config import Recipe
from vitreous.errors import ConfigError
from vitreous.model.create import build
from vitreous.recipe import find_recipe
from vitreous.training.learning.average import Average
from vitreous.training.learning.lamb import Lamb
from vitreous.training.learning.optim import build_optimizer, layer_numbers, parameter_groups

LINEAR = find_recipe("paper-imagenet21k", "pretrain")


def recipe(**changes: Any) -> Recipe:
    return Recipe(**{"name": "any", "purpose": "finetune", "steps": 500, **changes})


def settings_of(model: nn.Module, groups: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """(weight decay, share of the learning rate) of every parameter, each of which must be in one group."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = [
        (names[id(parameter)], (group["weight_decay"], group.get("lr_scale", 1.0)))
        for group in groups
        for parameter in group["params"]
    ]
    assert len(found) == len(dict(found))
    return dict(found)


def test_every_parameter_is_in_one_group_and_only_kernels_decay() -> None:
    """big_vision decays `.*/kernel$`: matrices and convolutions, not biases, norms, class token or positions."""
    model = vt.create_model("vit-test", representation_size=20)
    groups = parameter_groups(model, 0.3)
    names = {id(p): name for name, p in model.named_parameters()}
    members = [[names[id(p)] for p in group["params"]] for group in groups]
    assert sorted(names.values()) == sorted(members[0] + members[1])
    assert [(0.3, 1.0), (0.0, 1.0)] == [(group["weight_decay"], group["lr_scale"]) for group in groups]
    assert all(name.endswith(".weight") and "norm" not in name for name in members[0])
    assert {"cls_token", "pos_embed", "blocks.1.norm2.weight", "head.bias"} <= set(members[1])


@pytest.mark.parametrize("layer_decay", [None, 0.7])
@pytest.mark.parametrize("name", [name for name, made in TINY.items() if made not in (BIT,) and "resnet" not in name])
def test_every_architecture_is_grouped_whole(name: str, layer_decay: float | None) -> None:
    """With and without layer-wise decay: each trainable parameter once, frozen ones nowhere, decay the same."""
    model = build(dataclasses.replace(TINY[name], pool_norm="before"))
    plain = settings_of(model, parameter_groups(model, 0.3))
    model.norm.weight.requires_grad_(False)
    found = settings_of(model, parameter_groups(model, 0.3, layer_decay))
    assert set(found) == {name for name, _ in model.named_parameters()} - {"norm.weight"}
    assert all(plain[name][0] == decay for name, (decay, _) in found.items())


def test_layer_wise_decay_of_b16_in_closed_form() -> None:
    """MAE's numbers for B/16 at 0.75: stem 0.75^13, block 0 0.75^12, block 11 0.75, everything after 1."""
    with torch.device("meta"):
        model = build(vt.find_model("vit-b16"))
    found = settings_of(model, parameter_groups(model, 0.05, 0.75))
    assert len(found) == len(list(model.parameters()))
    for name, (decay, scale) in found.items():
        block = int(name.split(".")[1]) if name.startswith("blocks.") else None
        stem = name.startswith(("cls_token", "pos_embed", "patch_embed"))
        layer = 0 if stem else 13 if block is None else block + 1
        assert 0.75 ** (13 - layer) == scale
        assert (0.05 if name.endswith("weight") and "norm" not in name else 0.0) == decay
    assert 0.02376 == pytest.approx(found["patch_embed.proj.weight"][1], abs=5e-6)
    assert 0.03168 == pytest.approx(found["blocks.0.mlp.fc1.bias"][1], abs=5e-6)
    assert [0.75, 1.0, 1.0] == [found[name][1] for name in ("blocks.11.norm1.bias", "norm.bias", "head.weight")]


SMALL: dict[str, Any] = {"embed_dim": 48, "depth": 3, "num_heads": 4}


@pytest.mark.parametrize(
    ("named", "options"),
    [
        ("vit_base_patch16_224", {}),
        ("vit_base_patch14_reg4_dinov2", {"registers": 4, "layer_scale": 1e-5, "prefix_position": False}),
        ("vit_base_patch16_clip_224", {"pre_norm": True, "patch_bias": False}),
    ],
)
def test_layer_wise_decay_is_timms_but_for_the_final_norm(named: str, options: dict[str, Any]) -> None:
    """timm.optim.param_groups_layer_decay; it counts the final norm with the last block, MAE with the head."""
    theirs = timm().create_model(named, img_size=(24, 40), patch_size=8, mlp_ratio=1.75, num_classes=11, **SMALL)
    groups = importlib.import_module("timm.optim").param_groups_layer_decay(
        theirs, weight_decay=0.05, layer_decay=0.6, no_weight_decay_list=theirs.no_weight_decay()
    )
    expected = settings_of(theirs, groups)
    ours = build(ViTConfig(image_size=(24, 40), patch_size=(8, 8), mlp_dim=84, num_classes=11, **SMALL, **options))
    found = settings_of(ours, parameter_groups(ours, 0.05, 0.6))
    assert set(expected) == set(found)
    differing = {name for name in expected if expected[name] != pytest.approx(found[name])}
    assert {"norm.weight", "norm.bias"} == differing
    assert ((0.0, 0.6), (0.0, 1.0)) == (expected["norm.bias"], found["norm.bias"])


def test_a_hybrids_whole_stem_is_the_first_layer() -> None:
    """The ResNet that makes the patches, tokens and positions."""
    numbers = layer_numbers(build(HYBRID))
    first = {name for name, number in numbers.items() if number == 0}
    assert {name for name in numbers if name.startswith(("patch_embed.", "cls_token", "pos_embed"))} == first
    assert any("backbone.stages.0" in name for name in first)
    assert {0, 1, 2, 3} == set(numbers.values())


@pytest.mark.parametrize("model", [build(BIT), nn.Linear(3, 2)], ids=["ResNet", "Linear"])
def test_layer_wise_decay_needs_blocks(model: nn.Module) -> None:
    with pytest.raises(ConfigError, match=rf"blocks of a Vision Transformer\n.*this model is a {type(model).__name__}"):
        build_optimizer(model, recipe(layer_decay=0.75))


def test_a_model_that_is_frozen_whole_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing in this model can be trained"):
        build_optimizer(nn.Linear(3, 2).requires_grad_(False), recipe())


@pytest.mark.parametrize("name", ["adam", "sgd", "lamb"])
def test_the_optimiser_has_the_recipes_constants(name: str) -> None:
    """Each group begins at its own share of the peak for the batch."""
    given = recipe(
        optimizer=name, learning_rate=0.1, learning_rate_for=512, batch_size=64, betas=(0.8, 0.97), eps=1e-5,
        momentum=0.7, weight_decay=0.2, layer_decay=0.5,
    )  # fmt: skip
    optimizer = build_optimizer(vt.create_model("vit-test"), given)
    kind = {"adam": torch.optim.AdamW, "sgd": torch.optim.SGD, "lamb": Lamb}[name]
    assert isinstance(optimizer, kind)
    for group in optimizer.param_groups:
        assert 0.1 * 64 / 512 * group["lr_scale"] == group["lr"]
        expected = {"momentum": 0.7} if name == "sgd" else {"betas": (0.8, 0.97), "eps": 1e-5}
        assert expected == {key: group[key] for key in expected}
    assert {0.0, 0.2} == {group["weight_decay"] for group in optimizer.param_groups}


def test_adam_step_is_the_papers_with_decoupled_decay() -> None:
    """One step by hand: p - lr * (m / (sqrt(v) + eps) + decay * p), with m and v unbiased."""
    layer = nn.Linear(3, 2)
    given = dataclasses.replace(LINEAR, weight_decay=0.1, learning_rate=0.01)
    optimizer = build_optimizer(layer, given)
    before = layer.weight.detach().clone()
    layer(torch.tensor([[1.0, -2.0, 3.0]])).sum().backward()
    gradient = layer.weight.grad.clone()
    optimizer.step()
    expected = before - 0.01 * (gradient / (gradient.abs() + 1e-8) + 0.1 * before)
    torch.testing.assert_close(expected, layer.weight.detach())


def test_big_visions_weight_decay_is_ours_times_the_peak() -> None:
    """big_vision/optax.py: p - schedule * (lr * adam + wd * p), at half the schedule, equals AdamW at wd / lr."""
    layer = nn.Linear(3, 2, bias=False)
    peak, wd, shape = 1e-3, 1e-4, 0.5
    optimizer = build_optimizer(layer, recipe(learning_rate=peak, weight_decay=wd / peak))
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    adam = layer.weight.grad / (layer.weight.grad.abs() + 1e-8)
    optimizer.param_groups[0]["lr"] = peak * shape
    optimizer.step()
    torch.testing.assert_close(before - shape * (peak * adam + wd * before), layer.weight.detach())


def test_average_equals_a_running_mean_by_hand_and_swaps_back() -> None:
    """decay_t = min(decay, (1 + t) / (10 + t)); what is frozen is its own mean to the bit."""
    layer = nn.Linear(2, 3)
    layer.bias.requires_grad_(False)
    average = Average(layer, 0.4)
    expected, frozen = layer.weight.detach().clone(), layer.bias.detach().clone()
    for step in range(5):
        with torch.no_grad():
            layer.weight.add_(step + 1.0)
        average.update(layer, step)
        decay = min(0.4, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * layer.weight.detach()
    last = layer.weight.detach().clone()
    average.swap(layer)
    torch.testing.assert_close(expected, layer.weight.detach())
    assert torch.equal(frozen, layer.bias)
    assert not layer.bias.requires_grad
    average.swap(layer)
    assert torch.equal(last, layer.weight.detach())

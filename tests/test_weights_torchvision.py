"""torchvision's Vision Transformers, read and written: the same logits as torchvision's own code."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from foreign_files import draw_wide, equal_states, raw, read
from oracles import torchvision
from parity import agree
from random_vit import draw, random_images, random_vit
from torch import Tensor, nn

from vitreous.errors import ModelFileError, UsageError
from vitreous.model.vit import ViT
from vitreous.weights.dialects.mapping import written
from vitreous.weights.dialects.torchvision import TORCHVISION

SIZES: dict[str, Any] = {
    "image_size": 24, "patch_size": 6, "num_layers": 3, "num_heads": 4, "hidden_dim": 28, "mlp_dim": 44,
    "num_classes": 11,
}  # fmt: skip
HEADS = {"num_heads": 4}


def theirs(**changes: Any) -> nn.Module:
    """A small torchvision model, every number drawn; the head scaled up so that logits are not flat."""
    model = draw(torchvision().models.VisionTransformer(**{**SIZES, **changes})).eval()
    model.heads.head.weight.data.mul_(3)
    return model


def ours(tensors: Mapping[str, Tensor], **settings: Any) -> ViT:
    """Our model of a torchvision state dict."""
    return read(TORCHVISION, raw(tensors), **HEADS, **settings)[0]


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, {"representation_size": 19}], ids=["linear head", "tanh head"])
def test_reading(changes: dict[str, Any]) -> None:
    """A small model answers as torchvision's does, with and without the hidden layer of pre-training."""
    other = theirs(**changes)
    model, images = ours(other.state_dict()), random_images(24, 24)
    assert changes.get("representation_size") == model.config.representation_size
    agree("torchvision ViT", f"tiny, {'tanh' if changes else 'linear'} head", model(images), other(images),
          against=f"torchvision {torchvision().__version__}")  # fmt: skip


@torch.no_grad()
@pytest.mark.parametrize("size", [12, 42], ids=["smaller", "larger"])
def test_another_resolution(size: int) -> None:
    """Positions follow as torchvision's own `interpolate_embeddings` moves them."""
    other = theirs()
    moved = torchvision().models.vision_transformer.interpolate_embeddings(size, 6, other.state_dict())
    larger = torchvision().models.VisionTransformer(**{**SIZES, "image_size": size}).eval()
    larger.load_state_dict(moved, strict=True)
    images = random_images(size, size)
    agree("torchvision ViT", f"tiny, made for 24 px, at {size} px", ours(other.state_dict())(images), larger(images),
          against=f"torchvision {torchvision().__version__}")  # fmt: skip


@torch.no_grad()
def test_real_size() -> None:
    """ViT-B/32, the smallest that torchvision publishes, whose heads and name need no telling."""
    other = draw_wide(torchvision().models.vit_b_32()).eval()
    model, _ = read(TORCHVISION, raw(other.state_dict()))
    assert ("vit-b32", 12, (224, 224)) == (model.config.name, model.config.num_heads, model.config.image_size)
    images = random_images(224, 224)
    agree("torchvision ViT", "ViT-B/32 at 224 px", model(images), other(images),
          against=f"torchvision {torchvision().__version__}")  # fmt: skip


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, {"representation_size": 19}], ids=["linear head", "tanh head"])
def test_writing(changes: dict[str, Any]) -> None:
    """A model of ours loads strictly into torchvision's, answers alike, and comes back bit for bit."""
    model = random_vit(image_size=(24, 24), patch_size=(6, 6), resample="bicubic-corners", **changes)
    model.head.weight.data.mul_(3)
    target = TORCHVISION.nearest(model.config)
    assert ((), model.config) == (target.differences, target.architecture)
    tensors = written(TORCHVISION.rules(target.architecture, target.form), model.state_dict())
    other = torchvision().models.VisionTransformer(**SIZES, **changes).eval()
    other.load_state_dict(tensors, strict=True)
    images = random_images(24, 24)
    agree("torchvision ViT", f"written, {'tanh' if changes else 'linear'} head", model(images), other(images),
          against=f"torchvision {torchvision().__version__}")  # fmt: skip
    assert equal_states(model.state_dict(), ours(tensors).state_dict())


def _old(name: str) -> str:
    return name.replace(".mlp.0.", ".mlp.linear_1.").replace(".mlp.3.", ".mlp.linear_2.")


@pytest.mark.parametrize(
    "spell",
    [_old, lambda name: f"module.{name}", lambda name: f"_orig_mod.module.{_old(name)}"],
    ids=["before 0.13", "parallel", "compiled"],
)
def test_every_spelling_is_one(spell: Any) -> None:
    """Old names and wrappers give the same native tensors, bit for bit."""
    state = theirs().state_dict()
    expected, found = ours(state).state_dict(), ours({spell(name): value for name, value in state.items()}).state_dict()
    assert equal_states(expected, found)


def test_an_average_of_weights_loads() -> None:
    """The counter that torchvision's training script keeps beside averaged weights is dropped by name."""
    state = {f"module.{name}": value for name, value in theirs().state_dict().items()}
    understood = TORCHVISION.understand(raw(state | {"n_averaged": torch.tensor(7)}), HEADS)
    assert ["n_averaged"] == list(understood.dropped)


def test_a_model_without_head() -> None:
    """`model.heads = nn.Identity()` is a model that answers with features."""
    state = {name: value for name, value in theirs().state_dict().items() if not name.startswith("heads.")}
    assert 0 == ours(state).config.num_classes


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("vit_b_16-c867db91.pth", {}, ("bilinear", 224 / 256)),
        ("vit_b_16_lc_swag-4e70ced5.pth", {}, ("bicubic", 1.0)),
        ("vit_b_16_swag-9ac1b537.pth", {"image_size": 384}, ("bicubic", 1.0)),
    ],
)
def test_preprocessing(name: str, changes: dict[str, Any], expected: tuple[str, float]) -> None:
    """Weights trained from scratch and SWAG's are told apart by resolution and file name (reference: torchvision)."""
    other = theirs(**{"image_size": 224, "patch_size": 8} | changes)
    look = TORCHVISION.understand(raw(other.state_dict(), name), HEADS).preprocess
    assert expected == (look.interpolation, look.crop_ratio)
    assert (0.485, 0.456, 0.406) == look.mean


@pytest.mark.parametrize(
    ("key", "words"),
    [("encoder.ln.bias", "encoder.ln.bias"), ("encoder.layers.encoder_layer_1.mlp.3.weight", "mlp.3.weight")],
)
def test_missing_and_spare(key: str, words: str) -> None:
    """What is missing or left over is one error that names it."""
    state = theirs().state_dict()
    spare = {"encoder.extra": state.pop(key)}
    with pytest.raises(ModelFileError, match=f"1 missing: .*{words}; 1 spare: encoder.extra"):
        ours(state | spare)


def test_unknown_heads_are_asked_for() -> None:
    """No published size is this wide, so the number of heads is asked for."""
    with pytest.raises(ModelFileError, match="num_heads"):
        TORCHVISION.understand(raw(theirs().state_dict()), {})


def test_what_cannot_be_written_is_named() -> None:
    """Options that torchvision's model does not have are refused by name; others are differences in words."""
    config = random_vit(image_size=(24, 24)).config
    with pytest.raises(UsageError, match=r"registers=3.*pool='mean'"):
        TORCHVISION.nearest(dataclasses.replace(config, registers=3, pool="mean"))
    with pytest.raises(UsageError, match="square images"):
        TORCHVISION.nearest(random_vit().config)
    target = TORCHVISION.nearest(dataclasses.replace(config, gelu="tanh", norm_eps=1e-12, layer_scale=0.1))
    assert ("GELU: tanh becomes erf", "epsilon of the norms: 1e-12 becomes 1e-06") == target.differences
    assert (None, "erf") == (target.architecture.layer_scale, target.architecture.gelu)


@pytest.mark.parametrize("name", list(theirs(num_layers=1).state_dict()))
@pytest.mark.parametrize("shape", [(), (2, 3, 4, 5, 6)])
def test_misshapen(name: str, shape: tuple[int, ...]) -> None:
    """Any tensor of another shape is one error that names it."""
    with pytest.raises(ModelFileError, match=re.escape(name)):
        ours(theirs(num_layers=1).state_dict() | {name: torch.ones(shape)})

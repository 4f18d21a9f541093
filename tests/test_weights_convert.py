"""Conversion: every dialect written from one model and read back, with equal logits or with the difference named."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from native_files import card_for
from random_vit import draw, random_images

from vitreous.architecture import ResNetConfig, ViTConfig
from vitreous.config import PreprocessConfig
from vitreous.errors import ModelFileError, UnknownNameError, UsageError
from vitreous.model.create import Model, build
from vitreous.weights import convert as convert_module
from vitreous.weights.convert import convert
from vitreous.weights.formats.container import open_container
from vitreous.weights.golden import golden_of
from vitreous.weights.load import load
from vitreous.weights.native import save_native
from vitreous.weights.read import DIALECTS

SMALL: dict[str, Any] = {  # 192 wide: the one width whose number of heads every dialect knows; square, as many want
    "image_size": (48, 48),
    "patch_size": (8, 8),
    "embed_dim": 192,
    "depth": 2,
    "num_heads": 3,
    "mlp_dim": 320,
    "num_classes": 11,
}
OPTIONS: dict[str, dict[str, Any]] = {  # what a model must be for its dialect to hold it exactly
    "google": {"gelu": "tanh"},
    "timm": {"resample": "bicubic-antialias"},
    "huggingface": {"norm_eps": 1e-12, "resample": "bicubic"},
    "torchvision": {"resample": "bicubic-corners"},
    "dinov2": {"layer_scale": 1e-5, "num_classes": 0, "resample": "bicubic-offset"},
    "openclip": {
        "pre_norm": True, "patch_bias": False, "head_bias": False, "norm_eps": 1e-5, "resample": "bicubic-antialias",
    },
}  # fmt: skip


def saved(path: Path, **changes: Any) -> Model:
    """A native file of a small model, every number random."""
    config = ViTConfig(**{**SMALL, **changes})
    model = draw(build(config), seed=3).eval()
    model.card = card = card_for(model, preprocess=PreprocessConfig(image_size=config.image_size))
    save_native(path, model.state_dict(), card, golden_of(model, card))
    return model


@pytest.mark.parametrize("to", OPTIONS)
def test_there_and_back_every_number_is_the_same(tmp_path: Path, to: str) -> None:
    """Native to the dialect and back: equal bits, and the file is the dialect's and nobody else's."""
    model = saved(tmp_path / "model.safetensors", **OPTIONS[to])
    done = convert(tmp_path / "model.safetensors", tmp_path / "there", to)
    assert (done.source_dialect, done.target_dialect, done.differences) == ("native", to, ())
    assert done.max_difference <= 1e-5
    there = open_container(tmp_path / "there")
    assert [d.name for d in DIALECTS if d.recognises(there)] == [to]

    back = convert(tmp_path / "there", tmp_path / "back.safetensors", "native", settings={"image_size": (48, 48)})
    assert back.source_dialect == to
    assert set(back.dropped) <= {"mask_token"}  # which DINOv2's own files have, and by which they are known
    again = load(tmp_path / "back.safetensors", check=True)
    assert again.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    images = random_images(48, 48)
    assert torch.equal(model(images), again(images))
    changed = {
        f.name for f in dataclasses.fields(ViTConfig) if getattr(model.config, f.name) != getattr(again.config, f.name)
    }
    assert changed <= {"name", "resample", "drop_path", "drop_path_schedule", "dropout", "edge", "layer_scale"}


@pytest.mark.parametrize("to", ["timm", "huggingface", "torchvision", "openclip"])
def test_the_ecosystems_own_code_answers_alike(tmp_path: Path, to: str) -> None:
    """`--verify` loads the result with timm, transformers, torchvision and open_clip, and they answer alike."""
    saved(tmp_path / "model.safetensors", **OPTIONS[to])
    done = convert(tmp_path / "model.safetensors", tmp_path / "there", to, verify=True)
    assert done.verified_by is not None
    assert done.verified_by.split()[0] in ("timm", "transformers", "torchvision", "open_clip")


def test_a_verification_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "model.safetensors")

    def other(*_: object) -> tuple[torch.Tensor, str]:
        return torch.zeros(2, 11), "somebody"

    monkeypatch.setattr(convert_module, "home_logits", other)
    with pytest.raises(ModelFileError, match="somebody does not answer as the source does"):
        convert(tmp_path / "model.safetensors", tmp_path / "there", "timm", verify=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors"]


def test_native_to_native_is_the_same_file(tmp_path: Path) -> None:
    saved(tmp_path / "model.safetensors")
    done = convert(tmp_path / "model.safetensors", tmp_path / "again.safetensors", "native")
    assert (tmp_path / "model.safetensors").read_bytes() == (tmp_path / "again.safetensors").read_bytes()
    assert done.max_difference == 0.0


def test_what_the_target_cannot_express_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    """The exact GELU and another epsilon have no place in Google's files."""
    saved(tmp_path / "model.safetensors", norm_eps=1e-3)
    with pytest.raises(UsageError, match="cannot express this model exactly") as refused:
        convert(tmp_path / "model.safetensors", tmp_path / "google.npz", "google")
    assert "GELU" in str(refused.value)
    assert "epsilon" in str(refused.value)
    assert "--allow-difference" in str(refused.value)
    assert not (tmp_path / "google.npz").exists()


def test_an_allowed_difference_is_measured(tmp_path: Path) -> None:
    """The figure is that between this model and the same with the tanh GELU, on the same images."""
    model = saved(tmp_path / "model.safetensors")
    done = convert(tmp_path / "model.safetensors", tmp_path / "google.npz", "google", allow_difference=True)
    assert any("GELU" in what for what in done.differences)
    other = build(dataclasses.replace(model.config, gelu="tanh")).eval()
    other.load_state_dict(model.state_dict())
    images = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    assert abs(float((model(images) - other(images)).detach().abs().max()) - done.max_difference) < 1e-5
    assert done.max_difference > 1e-5


@pytest.mark.parametrize(
    ("changes", "to", "named"),
    [
        ({"attention": "window", "window": (3, 3)}, "timm", "window"),
        ({"rotary": "dinov3", "position": "none"}, "torchvision", "rotary"),
        ({"mlp": "swiglu"}, "google", "swiglu"),
        ({"registers": 2}, "google", "register"),
        ({"position": "relative"}, "huggingface", "relative"),
    ],
)
def test_what_cannot_be_written_at_all_is_named(tmp_path: Path, changes: dict[str, Any], to: str, named: str) -> None:
    saved(tmp_path / "model.safetensors", **changes)
    with pytest.raises(UsageError, match=f"(?i){named}"):
        convert(tmp_path / "model.safetensors", tmp_path / "there", to, allow_difference=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors"]


def test_layer_scale_is_multiplied_in_where_the_target_has_none(tmp_path: Path) -> None:
    model = saved(tmp_path / "model.safetensors", layer_scale=0.5, gelu="tanh")
    done = convert(tmp_path / "model.safetensors", tmp_path / "google.npz", "google")
    again = load(tmp_path / "google.npz")
    images = random_images(48, 48)
    assert not any("ls1" in name for name in again.state_dict())
    torch.testing.assert_close(model(images), again(images), rtol=0, atol=2e-5)
    assert done.max_difference <= 2e-5


def test_a_resnet_goes_to_google_and_back(tmp_path: Path) -> None:
    config = ResNetConfig(layers=(1, 2), num_classes=11, image_size=(64, 48))
    model = build(config).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    card = card_for(model, preprocess=PreprocessConfig(image_size=config.image_size))
    save_native(tmp_path / "model.safetensors", model.state_dict(), card, golden_of(model, card))
    convert(tmp_path / "model.safetensors", tmp_path / "bit.npz", "google")
    again = load(tmp_path / "bit.npz")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_another_resolution_is_told_as_resized(tmp_path: Path) -> None:
    saved(tmp_path / "model.safetensors", **OPTIONS["timm"])
    done = convert(tmp_path / "model.safetensors", tmp_path / "there", "timm", image_size=64)
    assert [(r.name, r.source, r.target) for r in done.resized] == [("pos_embed", "6 x 6", "8 x 8")]


@pytest.mark.parametrize(
    ("target", "to", "message"),
    [
        ("model.safetensors", "native", "something is there already"),
        ("nowhere/model.safetensors", "native", "there is no folder"),
        ("model.onnx", "native", "no ending of a weights file"),
        ("model.npz", "torchvision", "not kept in .npz files"),
        ("there.pth", "google", "not kept in .pth files"),
    ],
)
def test_targets_that_cannot_be(tmp_path: Path, target: str, to: str, message: str) -> None:
    saved(tmp_path / "model.safetensors", gelu="tanh")
    with pytest.raises(UsageError, match=message):
        convert(tmp_path / "model.safetensors", tmp_path / target, to, allow_difference=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors"]


def test_an_unknown_dialect_is_answered_with_the_nearest(tmp_path: Path) -> None:
    saved(tmp_path / "model.safetensors")
    with pytest.raises(UnknownNameError, match="did you mean torchvision"):
        convert(tmp_path / "model.safetensors", tmp_path / "there", "torchvison")


def test_the_same_source_gives_the_same_bytes(tmp_path: Path) -> None:
    saved(tmp_path / "model.safetensors", gelu="tanh")
    for name in ("one", "two"):
        for target, to in ((f"{name}.npz", "google"), (f"{name}-timm", "timm")):
            convert(tmp_path / "model.safetensors", tmp_path / target, to, allow_difference=True)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    first, second = (tmp_path / f"{name}-timm" / "model.safetensors" for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()

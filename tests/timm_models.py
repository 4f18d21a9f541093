"""timm's models, small and with every number random, and the way from them to ours and back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from oracles import timm
from parity import agree
from random_vit import random_images
from safetensors.torch import save_file
from torch import Tensor, nn

from vitreous.architecture import Architecture
from vitreous.config import ModelCard
from vitreous.model.create import Model, build
from vitreous.weights.dialects.dialect import translate
from vitreous.weights.dialects.equivalent import rewritten
from vitreous.weights.dialects.mapping import written
from vitreous.weights.dialects.timm import TIMM
from vitreous.weights.formats.container import Raw, open_container

AGAINST = f"timm {timm().__version__}"
SMALL: dict[str, Any] = {  # all different, so that a transposition cannot pass
    "img_size": (24, 40),
    "patch_size": 8,
    "embed_dim": 48,
    "depth": 3,
    "num_heads": 4,
    "mlp_ratio": 1.75,
    "num_classes": 11,
}
SETTINGS: dict[str, Any] = {"num_heads": 4, "image_size": (24, 40)}
SIZES = ((24, 40), (40, 24), (16, 56), (48, 48))


def theirs(name: str, seed: int = 0, **args: Any) -> nn.Module:
    """A model of timm's with every parameter random; its buffers are computed, none of them is saved."""
    model = timm().create_model(name, **args)
    assert model.state_dict().keys() == dict(model.named_parameters()).keys()
    return draw(model, seed).eval()


def draw(model: nn.Module, seed: int) -> nn.Module:
    """Draw every parameter, so that activations stay near 1; filters of a ResNet with scales that epsilons show in."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.named_parameters():
        noise = torch.randn(value.shape, generator=generator)
        if value.ndim == 1:
            drawn = 0.4 * noise + (1.0 if name.endswith("weight") else 0.0)
        elif re.search(r"(stem|downsample|blocks\.\d+|backbone)\.conv\d?\.weight$", name):
            each = (len(value), 1, 1, 1)
            scale = 10 ** (-3 + 2 * torch.rand(each, generator=generator))
            drawn = scale * (noise + torch.randn(each, generator=generator))
        else:
            drawn = noise * (
                0.7 if len(value) == 1 else (3.0 if name.startswith("head.fc") else 1.0) * value[0].numel() ** -0.5
            )
        value.data.copy_(drawn)
        assert value.std() > 0.002, f"{name} is not random"
        assert ((value == 0) | (value == 1)).float().mean() < 1e-4, f"{name} holds zeros or ones"
    return model


def raw(tensors: Mapping[str, Tensor], config: dict[str, Any] | None = None) -> Raw:
    """A state dict as a file of it would be read, with or without a `config.json`."""
    sidecars = {} if config is None else {"config.json": json.loads(json.dumps(config))}
    return Raw(
        path=Path("model.safetensors"),
        kind="safetensors",
        tensors=dict(tensors),
        metadata={},
        sidecars=sidecars,
        ignored=(),
    )


def ours(found: Raw, **settings: Any) -> Model:
    """Our model of a checkpoint of theirs, all of it accounted for."""
    assert TIMM.recognises(found)
    understood = TIMM.understand(found, settings)
    native, _ = translate(found, TIMM, understood)
    return filled(understood.architecture, native)


def filled(architecture: Architecture, native: Mapping[str, Tensor]) -> Model:
    """Our model of these tensors, all of them and no others."""
    with torch.device("meta"):
        model = build(architecture)
    model.load_state_dict(native, strict=True, assign=True)
    return model.eval()


def saved(model: Model, folder: Path, card: ModelCard | None = None) -> tuple[str, ...]:
    """Write our model as timm's folder, and give what timm cannot express."""
    aim = TIMM.nearest(model.config)
    native = (
        rewritten(model.state_dict(), model.config, aim.architecture)
        if hasattr(model, "blocks")
        else model.state_dict()
    )
    package = TIMM.package(aim.architecture, card or ModelCard(architecture=model.config), aim.form)
    tensors = written(TIMM.rules(aim.architecture, aim.form), native)
    save_file(tensors, folder / package.file_name, metadata=package.metadata)
    for name, content in package.sidecars.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return aim.differences


def opened(folder: Path, **args: Any) -> nn.Module:
    """What timm makes of a folder, by its own loader, which loads strictly."""
    return timm().create_model(f"local-dir:{folder}", pretrained=True, **args).eval()


@torch.no_grad()
def same(family: str, case: str, mine: nn.Module, other: nn.Module, size: tuple[int, int], channels: int = 3) -> float:
    """Assert that both answer alike to noise of a size."""
    images = random_images(*size, channels=channels)
    return agree(family, case, mine(images), other(images), against=AGAINST)


def small(name: str, seed: int = 0, **changes: Any) -> tuple[nn.Module, dict[str, Any]]:
    """A small model of timm's that runs at any resolution, and its `config.json`."""
    args = SMALL | changes
    model = theirs(name, seed, dynamic_img_size=True, **args)
    return model, {"architecture": name, "model_args": args, "pretrained_cfg": {"input_size": [3, *args["img_size"]]}}


def read_back(folder: Path) -> Model:
    """Our model of a folder that we wrote."""
    return ours(open_container(folder))


def assert_identical(one: Model, other: Model) -> None:
    """Same architecture, same bits."""
    assert one.config == other.config
    assert one.state_dict().keys() == other.state_dict().keys()
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name

"""A written checkpoint loaded with its ecosystem's own code, where that is installed: the judge nobody here wrote."""

from __future__ import annotations

import contextlib
import importlib
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitreous.architecture import Architecture, ViTConfig
from vitreous.errors import ResourceError, UsageError
from vitreous.weights.formats.container import open_container


def home_logits(
    dialect: str, file: Path, config: Architecture, images: Float[Tensor, "B C H W"]
) -> tuple[Float[Tensor, "B Y"], str]:
    """What the ecosystem's own code answers with a written checkpoint, and its name and version.

    Args:
        dialect: whose code to ask.
        file: the weights; their configuration lies beside them.
        config: what was written.
        images: preprocessed, at the model's resolution.

    Raises:
        UsageError: nobody publishes code for this dialect that pip can install.
        ResourceError: it is not installed, or cannot be imported.
    """
    if dialect not in _HOMES:
        raise UsageError(
            f"no code of {dialect}'s own can be installed to verify with",
            why="its logits were compared after reading the file back, which every conversion does",
            remedy="leave --verify out",
        )
    package, answer = _HOMES[dialect]
    with torch.inference_mode(), without_fake_kernels(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what other libraries have to say of themselves
        module = _import(package)
        logits = answer(file, config, images)
    return logits.float().clone(), f"{package} {getattr(module, '__version__', '')}".strip()


def _timm(file: Path, _config: Architecture, images: Tensor) -> Tensor:
    return _import("timm").create_model(f"local-dir:{file.parent}", pretrained=True).eval()(images)


def _huggingface(file: Path, _config: Architecture, images: Tensor) -> Tensor:
    facts = json.loads((file.parent / "config.json").read_text(encoding="utf-8"))
    transformers = _import("transformers")
    transformers.utils.logging.disable_progress_bar()
    model = getattr(transformers, facts["architectures"][0]).from_pretrained(file.parent).eval()
    said = model(pixel_values=images)
    for name in ("logits", "image_embeds", "pooler_output"):
        if getattr(said, name, None) is not None:
            return getattr(said, name)
    return said.last_hidden_state[:, 0]


def _torchvision(file: Path, config: Architecture, images: Tensor) -> Tensor:
    assert isinstance(config, ViTConfig)
    model = _import("torchvision.models").VisionTransformer(
        image_size=config.image_size[0],
        patch_size=config.patch_size[0],
        num_layers=config.depth,
        num_heads=config.num_heads,
        hidden_dim=config.embed_dim,
        mlp_dim=config.mlp_dim,
        num_classes=config.num_classes,
        representation_size=config.representation_size,
    )
    model.load_state_dict(open_container(file).tensors, strict=True)
    return model.eval()(images)


def _open_clip(file: Path, _config: Architecture, images: Tensor) -> Tensor:
    facts = json.loads((file.parent / "open_clip_config.json").read_text(encoding="utf-8"))["model_cfg"]
    build = _import("open_clip.model")._build_vision_tower
    tower: nn.Module = build(facts["embed_dim"], dict(facts["vision_cfg"]), quick_gelu=facts.get("quick_gelu", False))
    tensors = open_container(file).tensors
    tower.load_state_dict({name.removeprefix("visual."): value for name, value in tensors.items()}, strict=True)
    return tower.eval()(images)


_HOMES: dict[str, tuple[str, Callable[[Path, Architecture, Tensor], Tensor]]] = {
    "timm": ("timm", _timm),
    "huggingface": ("transformers", _huggingface),
    "torchvision": ("torchvision", _torchvision),
    "openclip": ("open_clip", _open_clip),
}


def _import(package: str) -> ModuleType:
    """The package, also where torchvision was built for CUDA and torch was not."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        installed = {"open_clip": "open_clip_torch"}.get(package, package)
        raise ResourceError(
            f"{package} cannot be imported to verify with", why=str(error), remedy=f"pip install {installed}"
        ) from error


@contextlib.contextmanager
def without_fake_kernels() -> Iterator[None]:
    """Let torchvision's wheel for CUDA be imported beside a torch without: its operators' fake kernels are left out.

    It registers them for operators that it could not load, and stops at the first; no Vision Transformer uses any.
    """
    real: Callable[..., Any] = torch.library.register_fake

    def register_fake(operator: Any, *args: Any, **options: Any) -> Any:
        if isinstance(operator, str) and operator.startswith("torchvision::"):
            return lambda function: function
        return real(operator, *args, **options)

    with mock.patch.object(torch.library, "register_fake", register_fake):
        yield

"""The model that VTAB is run on, opened anew for every training: with a zero head for the task, at its resolution."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from vitreous.architecture import Architecture, ResNetConfig, Size, ViTConfig
from vitreous.config import ModelCard, PreprocessConfig
from vitreous.errors import UsageError
from vitreous.evaluation.features import model_digest
from vitreous.model.resnet import ResNet
from vitreous.model.vit import ViT
from vitreous.predict import Model
from vitreous.weights.adapt import Adapted, with_head, with_size
from vitreous.weights.load import build_from, open_model

_RANDOM = "random weights"


@dataclass(frozen=True)
class Origin:
    """A model as the person gave it, and what is known of it."""

    source: str | Path | Architecture | nn.Module
    name: str
    random: bool
    """Whether a training begins from random weights, of its own seed."""
    digest: str
    """SHA-256 in hex of weights and architecture without the head; of random weights only of the name."""
    config: Architecture

    @property
    def portable(self) -> bool:
        """Whether another process can open it by itself."""
        return not isinstance(self.source, nn.Module)


def find_origin(source: Model, *, name: str | None = None) -> Origin:
    """What is known of a model before it is trained.

    Args:
        source: a zoo name (random weights), a model file, a run folder, a published name, a config, or one of this
            package's own modules with a card.
        name: what to call it; by default as it was given.

    Raises:
        UsageError: it is somebody's own module, whose head cannot be replaced here.
        VitreousError: it cannot be opened; see `vitreous.weights.load.open_model`.
    """
    if isinstance(source, tuple):
        raise UsageError("vtab takes a model with its card inside", remedy="model.card = card")
    module, random = open_model(source)
    if not isinstance(module, ViT | ResNet):
        raise UsageError(
            f"vtab replaces the head of a model, and does not know that of a {type(module).__name__}",
            why="it can do so for a ViT and a ResNet of this package",
            remedy="vt.finetune on one task's images with your own head",
        )
    if module.card is None and isinstance(source, nn.Module):
        raise UsageError("the model has no card", remedy="model.card = vt.ModelCard(...)")
    if name is None:
        name = str(source) if isinstance(source, str | Path) else module.config.name
    digest = f"{_RANDOM} of {name}" if random else model_digest(_headless(module))
    return Origin(source=source, name=name, random=random, digest=digest, config=module.config)


def fresh(origin: Origin, classes: tuple[str, ...], size: Size | None, seed: int) -> ViT | ResNet:
    """The model with a head of zeros, or wholly random from a seed; images are squashed into its frame.

    As in VTAB's own loader (task_adaptation/data_loader.py), the whole image is seen and its aspect ratio is lost;
    mean, deviation and filter stay the model's own.

    Args:
        origin: see `find_origin`.
        classes: of the task, all of them, also those without images.
        size: resolution in pixels; None for the model's own.
        seed: fixes random weights.
    """
    source = origin.source
    if isinstance(source, nn.Module):
        module = _adapted(source, len(classes), size)
    else:
        module, _ = open_model(source, num_classes=len(classes), image_size=size, head=_head(origin), seed=seed)
    assert isinstance(module, ViT | ResNet), "find_origin refused everything else"
    card = module.card or ModelCard(
        architecture=module.config,
        preprocess=PreprocessConfig(image_size=module.config.image_size, interpolation="bilinear"),
    )
    squashed = dataclasses.replace(card.preprocess, resize="squash", image_size=module.config.image_size)
    card = dataclasses.replace(card, architecture=module.config, preprocess=squashed, classes=classes)
    _give(module, card, f"{origin.name} ({_RANDOM})" if origin.random else origin.name)
    return module


def _head(origin: Origin) -> Any:
    return "keep" if origin.random else "new"


def _give(module: Any, card: ModelCard, name: str) -> None:
    module.card, module.name = card, name


def _adapted(module: nn.Module, num_classes: int, size: Size | None) -> nn.Module:
    """A copy of a module with another head and another resolution."""
    assert isinstance(module, ViT | ResNet)
    assert module.card is not None
    tensors = {key: value.detach().cpu().clone() for key, value in module.state_dict().items()}
    card = dataclasses.replace(module.card, architecture=module.config)
    given = with_head(Adapted(card, tensors), "new", num_classes)
    return build_from(given if size is None else with_size(given, size), Path(module.config.name))


def _headless(module: ViT | ResNet) -> nn.Module:
    """The module as it is without its head, which no score depends on."""
    card = module.card or ModelCard(architecture=module.config)
    config: ViTConfig | ResNetConfig = module.config
    given = Adapted(dataclasses.replace(card, architecture=config), dict(module.state_dict()))
    return build_from(with_head(given, "drop", None), Path(config.name))

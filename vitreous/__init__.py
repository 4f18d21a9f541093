"""The Vision Transformer, whole: train it, fine-tune it, evaluate it, look inside it, ship it.

Every public name lives in one room of the house and is fetched when it is first used, so importing costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitreous.architecture import ResNetConfig as ResNetConfig
    from vitreous.architecture import ViTConfig as ViTConfig
    from vitreous.config import ModelCard as ModelCard
    from vitreous.config import PreprocessConfig as PreprocessConfig
    from vitreous.config import Recipe as Recipe
    from vitreous.errors import VitreousError as VitreousError
    from vitreous.evaluation.evaluate import evaluate as evaluate
    from vitreous.model.create import create_model as create_model
    from vitreous.model.features import Features as Features
    from vitreous.model.prepare import prepare as prepare
    from vitreous.model.resnet import ResNet as ResNet
    from vitreous.model.vit import ViT as ViT
    from vitreous.predict import Predictor as Predictor
    from vitreous.pretrained import pretrained_names as list_pretrained
    from vitreous.study.check import check as check
    from vitreous.study.compare import compare as compare
    from vitreous.study.probe import probe as probe
    from vitreous.study.vtab.run import vtab as vtab
    from vitreous.training.job import finetune as finetune
    from vitreous.training.job import pretrain as pretrain
    from vitreous.training.job import resume as resume
    from vitreous.weights.convert import convert as convert
    from vitreous.weights.hub.fetch import fetch as fetch
    from vitreous.weights.load import load as load
    from vitreous.zoo import find_model as find_model
    from vitreous.zoo import model_names as list_models

__version__ = "0.1.0"

_HOMES = {
    "Features": "model.features",
    "ModelCard": "config",
    "Predictor": "predict",
    "PreprocessConfig": "config",
    "Recipe": "config",
    "ResNet": "model.resnet",
    "ResNetConfig": "architecture",
    "ViT": "model.vit",
    "ViTConfig": "architecture",
    "VitreousError": "errors",
    "check": "study.check",
    "compare": "study.compare",
    "create_model": "model.create",
    "convert": "weights.convert",
    "evaluate": "evaluation.evaluate",
    "fetch": "weights.hub.fetch",
    "find_model": "zoo",
    "finetune": "training.job",
    "list_models": "zoo:model_names",
    "list_pretrained": "pretrained:pretrained_names",
    "load": "weights.load",
    "prepare": "model.prepare",
    "pretrain": "training.job",
    "probe": "study.probe",
    "resume": "training.job",
    "vtab": "study.vtab.run",
}

__all__ = [  # noqa: RUF022  the order of a reader, not of the alphabet
    "create_model",
    "load",
    "convert",
    "fetch",
    "prepare",
    "check",
    "pretrain",
    "finetune",
    "resume",
    "evaluate",
    "compare",
    "probe",
    "vtab",
    "Predictor",
    "list_models",
    "list_pretrained",
    "find_model",
    "ViT",
    "ResNet",
    "Features",
    "ViTConfig",
    "ResNetConfig",
    "PreprocessConfig",
    "Recipe",
    "ModelCard",
    "VitreousError",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vitreous' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(importlib.import_module(f"vitreous.{module}"), attribute or name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])

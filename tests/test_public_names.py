"""The public names are a promise: changing them is a decision, and so is changing what training can be told."""

from __future__ import annotations

import dataclasses
import inspect
import typing

import pytest

import vitreous
from vitreous.config import TrainOptions

PUBLIC = [
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


def test_the_list_of_public_names() -> None:
    assert vitreous.__all__ == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_is_there_and_explains_itself(name: str) -> None:
    assert inspect.getdoc(getattr(vitreous, name))
    assert name in dir(vitreous)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = vitreous.no_such_thing  # type: ignore[attr-defined]


def test_training_takes_exactly_the_options_that_the_command_offers() -> None:
    from vitreous.training.job import TrainKeywords

    offered = typing.get_type_hints(TrainOptions)
    assert [field.name for field in dataclasses.fields(TrainOptions)] == list(offered)
    assert offered == typing.get_type_hints(TrainKeywords)

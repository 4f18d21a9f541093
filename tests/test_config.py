"""Configs refuse nonsense when they are made, and survive the trip through JSON."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import json
import math
from collections.abc import Callable
from typing import Any

import jaxtyping
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitreous.architecture import (
    ResNetConfig,
    ViTConfig,
    architecture_from_json,
    as_pair,
    feature_words,
    grid_of,
)
from vitreous.config import AugmentConfig, ModelCard, PreprocessConfig, Recipe, TrainOptions
from vitreous.errors import ConfigError
from vitreous.schema import from_json, to_json

VIT: dict[str, Any] = {"embed_dim": 28, "depth": 3, "num_heads": 4, "mlp_dim": 44}
RECIPE: dict[str, Any] = {"name": "r", "purpose": "finetune", "epochs": 3}


@pytest.fixture(autouse=True)
def configs_speak_for_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside the test run no hook checks types before the config does."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def refused(make: Callable[..., Any], wanted: dict[str, Any], message: str, **wrong: Any) -> ConfigError:
    """The ConfigError, exit code 2, that says `message`."""
    with pytest.raises(ConfigError) as caught:
        make(**{**wanted, **wrong})
    assert message in str(caught.value)
    assert caught.value.exit_code == 2
    return caught.value


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"embed_dim": 30}, "embed_dim 30 is not divisible by num_heads 4"),
        ({"embed_dim": 0}, "embed_dim must be above 0, got 0"),
        ({"depth": -1}, "depth must be above 0, got -1"),
        ({"num_heads": True}, "ViTConfig.num_heads must be int, got True"),
        ({"mlp_dim": 4.5}, "ViTConfig.mlp_dim must be int, got 4.5"),
        ({"in_channels": 0}, "in_channels must be above 0, got 0"),
        ({"num_classes": -1}, "num_classes and registers must be 0 or more, got -1 and 0"),
        ({"representation_size": 0}, "representation_size must be above 0, got 0"),
        ({"norm_eps": 0.0}, "norm_eps must be above 0, got 0.0"),
        ({"norm_eps": math.nan}, "norm_eps must be above 0, got nan"),
        ({"dropout": 1.0}, "dropout must lie in [0, 1), got 1.0"),
        ({"dropout": -0.1}, "dropout must lie in [0, 1), got -0.1"),
        ({"dropout": math.nan}, "dropout must lie in [0, 1), got nan"),
        ({"gelu": "fast"}, "ViTConfig.gelu must be one of 'erf', 'tanh', 'quick', got 'fast'"),
        ({"pool": "max"}, "ViTConfig.pool must be one of 'cls', 'mean', 'map', 'cls+mean', 'none', got 'max'"),
        ({"pool": "cls", "class_token": False}, "pool='cls' needs a class token"),
        ({"image_size": 224}, "ViTConfig.image_size must be"),
        ({"image_size": (224, 224, 3)}, "ViTConfig.image_size must be"),
        ({"image_size": [224, 224]}, "ViTConfig.image_size must be"),
        ({"image_size": (0, 16)}, "height: image 0 and patch 16 must be at least 1 pixel"),
    ],
)
def test_impossible_architectures(wrong: dict[str, Any], message: str) -> None:
    """Each is refused with the field, the rule and the value."""
    refused(ViTConfig, VIT, message, **wrong)


STEM = ResNetConfig(style="v1", layers=(1,), num_classes=0)
FILTER: dict[str, Any] = {"tokenizer": "filter", "num_tokens": 4}


@pytest.mark.parametrize(
    ("wrong", "message", "remedy"),
    [
        # numbers
        ({"registers": -1}, "num_classes and registers must be 0 or more, got 1000 and -1", None),
        ({"layer_scale": 0.0}, "layer_scale must be above 0, got 0.0", None),
        ({"layer_scale": math.nan}, "layer_scale must be above 0, got nan", None),
        ({"drop_path": 1.0}, "drop_path must lie in [0, 1), got 1.0", None),
        ({"rotary_base": 0.0}, "rotary_base must be above 0, got 0.0", None),
        ({"tokenizer": "filter", "num_tokens": 0}, "num_tokens must be above 0, got 0", None),
        ({"qkv_bias": True}, "ViTConfig.qkv_bias must be one of 'all', 'query-value', 'none', got True", None),
        ({"resample": "nearest"}, "ViTConfig.resample must be one of 'bilinear-corners'", None),
        ({"position": "2d"}, "ViTConfig.position must be one of 'learned', 'learned-2d'", None),
        # widths
        ({"embed_dim": 27, "num_heads": 3, "position": "learned-2d"}, "needs an embed_dim that 2 divides", None),
        ({"embed_dim": 30, "num_heads": 3, "position": "sincos"}, "needs an embed_dim that 4 divides", None),
        ({"embed_dim": 30, "num_heads": 3, "position": "sincos-mae"}, "needs an embed_dim that 4 divides", None),
        ({"rotary": "eva"}, "rotary embeddings need heads whose width 4 divides, got 7", None),
        # tokens and who reads them
        ({"pool": "cls+mean", "class_token": False}, "pool='cls+mean' needs a class token", "class_token=True"),
        ({"distill_token": True, "class_token": False}, "pool='cls' needs a class token", "class_token=True"),
        ({"distill_token": True, "pool": "mean"}, "a distillation token goes with pool='cls'", None),
        ({"distill_token": True, "representation_size": 9}, "and a linear head", None),
        ({"pool": "none", "pool_norm": "after"}, "has nothing for a norm to come after", "pool_norm='before'"),
        ({"tokenizer": "filter"}, "tokenizer='filter' and num_tokens go together", None),
        ({"num_tokens": 4}, "tokenizer='filter' and num_tokens go together", None),
        ({**FILTER, "position": "learned-2d"}, "semantic tokens have no place in the image", "position='learned'"),
        ({**FILTER, "position": "sincos"}, "semantic tokens have no place in the image", "position='learned'"),
        ({**FILTER, "position": "relative"}, "semantic tokens have no place in the image", "position='learned'"),
        ({**FILTER, "embed_dim": 48, "rotary": "eva"}, "semantic tokens have no place", "no rotary embedding"),
        ({**FILTER, "attention": "axial"}, "semantic tokens have no place", "attention='full'"),
        # attention
        ({"window": (2, 2)}, "attention='window' and window=(rows, columns) go together", None),
        ({"attention": "window"}, "attention='window' and window=(rows, columns) go together", None),
        ({"attention": "window", "window": (3, 2)}, "height 14 is not divisible by window height 3", "12 or 15"),
        ({"attention": "window", "window": (0, 2)}, "must be at least 1", None),
        ({"attention": "window", "window": (2.0, 2)}, "ViTConfig.window must be", None),
        ({"attention": "axial", "position": "relative"}, "relative positions go with attention='full'", None),
        # positions
        ({"position": "none", "position_at": "every"}, "has no tables to learn for every block", None),
        ({"position": "sincos", "position_at": "every"}, "has no tables to learn for every block", None),
        ({"position": "sincos-mae", "position_at": "every"}, "has no tables to learn for every block", None),
        ({"position": "none", "position_at": "shared"}, "position='none' has nothing to share", None),
        # stems
        ({"stem": STEM, "in_channels": 4}, "the stem takes 3 channels, the model is to take 4", "same in_channels"),
        ({"stem": STEM}, "image height 224 is not divisible by patch height 64", "192 or 256"),
    ],
)
def test_options_that_exclude_each_other(wrong: dict[str, Any], message: str, remedy: str | None) -> None:
    """One clear error each, and where there is a way out, the way."""
    error = refused(ViTConfig, VIT, message, **wrong)
    assert remedy is None or remedy in str(error.remedy)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"layers": (1, 1, 1, 1, 1)}, "layers must be up to four numbers above 0"),
        ({"layers": (1, 0)}, "layers must be up to four numbers above 0"),
        ({"layers": [1]}, "ResNetConfig.layers must be"),
        ({"layers": ()}, "a root without stages is a stem for hybrids, not a classifier"),
        ({"style": "v3"}, "ResNetConfig.style must be one of 'v1', 'v2', got 'v3'"),
        ({"width_factor": 0}, "width_factor must be above 0, got 0"),
        ({"in_channels": 0}, "in_channels must be above 0, got 0"),
        ({"norm_eps": -1.0}, "norm_eps must be above 0, got -1.0"),
        ({"standardize_eps": math.nan}, "standardize_eps must be above 0, got nan"),
        ({"padding": "valid"}, "ResNetConfig.padding must be"),
        ({"image_size": (0, 3)}, "image_size must be positive, got (0, 3)"),
        ({"num_classes": -1}, "num_classes must be 0 or more, got -1"),
    ],
)
def test_impossible_resnets(wrong: dict[str, Any], message: str) -> None:
    """Each is refused with the field, the rule and the value."""
    refused(ResNetConfig, {"layers": (1, 2)}, message, **wrong)


def test_a_resnet_takes_the_numerics_of_its_style() -> None:
    """Fields left out are those of Google's code for v1 and v2; fields given stay as given."""
    v1, v2 = ResNetConfig(style="v1", layers=(2,)), ResNetConfig(style="v2", layers=(2,))
    assert (v1.norm_eps, v1.standardize, v1.standardize_eps, v1.padding) == (1e-6, "std", 1e-5, "same")
    assert (v2.norm_eps, v2.standardize, v2.standardize_eps, v2.padding) == (1e-5, "var", 1e-10, "symmetric")
    assert ResNetConfig(style="v1", layers=(2,), norm_eps=1e-5).norm_eps == 1e-5
    assert [ResNetConfig(layers=(1,) * n, num_classes=0).reduction for n in range(5)] == [4, 4, 8, 16, 32]
    assert [ResNetConfig(layers=(1,) * n, num_classes=0).num_features for n in range(5)] == [64, 256, 512, 1024, 2048]


def test_missing_fields_are_named() -> None:
    """An architecture has no default width."""
    with pytest.raises(TypeError, match="embed_dim"):
        ViTConfig(**{key: value for key, value in VIT.items() if key != "embed_dim"})


@pytest.mark.parametrize(
    ("image_size", "patch_size", "axis", "near"),
    [
        ((25, 40), (8, 8), "image height 25 is not divisible by patch height 8", "an image height of 24 or 32 pixels"),
        ((24, 41), (8, 10), "image width 41 is not divisible by patch width 10", "an image width of 40 or 50 pixels"),
        ((5, 40), (8, 8), "image height 5 is not divisible by patch height 8", "an image height of 8 pixels"),
    ],
)
def test_sizes_that_do_not_divide(image_size: Any, patch_size: Any, axis: str, near: str) -> None:
    """The error names the axis and the nearest sizes that divide, and those really do."""
    error = refused(ViTConfig, VIT, axis, image_size=image_size, patch_size=patch_size)
    assert near == error.remedy


@given(
    image=st.tuples(st.integers(1, 200), st.integers(1, 200)), patch=st.tuples(st.integers(1, 40), st.integers(1, 40))
)
def test_grid_is_exact_or_refused(image: tuple[int, int], patch: tuple[int, int]) -> None:
    """Either patches tile the image exactly, or every size the error proposes would."""
    if image[0] % patch[0] == 0 and image[1] % patch[1] == 0:
        rows, columns = grid_of(image, patch)
        assert image == (rows * patch[0], columns * patch[1])
        return
    with pytest.raises(ConfigError) as caught:
        grid_of(image, patch)
    axis = 0 if "height" in caught.value.what else 1
    proposed = [int(word) for word in str(caught.value.remedy).split() if word.isdigit()]
    assert proposed
    assert all(size > 0 and size % patch[axis] == 0 for size in proposed)
    assert all(abs(size - image[axis]) < patch[axis] for size in proposed)


def test_what_follows_from_an_architecture() -> None:
    """Grid, head width and whether there is a class token are derived, never given twice."""
    config = ViTConfig(**VIT, image_size=(24, 40), patch_size=(8, 10))
    assert (config.grid, config.head_dim, config.class_token) == ((3, 4), 7, True)
    assert ViTConfig(**VIT, pool="mean").class_token is False
    assert ViTConfig(**VIT, pool="mean", class_token=True).class_token is True
    assert (as_pair(7), as_pair((7, 9))) == ((7, 7), (7, 9))


def test_configs_are_values() -> None:
    """Frozen, comparable and without loose attributes."""
    config = ViTConfig(**VIT)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.depth = 4  # type: ignore[misc]
    assert config == ViTConfig(**VIT)
    assert config != dataclasses.replace(config, depth=4)
    assert not hasattr(config, "__dict__")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"image_size": (0, 3)}, "image_size must be positive, got (0, 3)"),
        ({"crop_ratio": 0.0}, "crop_ratio must lie in (0, 1], got 0.0"),
        ({"crop_ratio": 1.1}, "crop_ratio must lie in (0, 1], got 1.1"),
        ({"interpolation": "cubic"}, "PreprocessConfig.interpolation must be one of"),
        ({"resize": "pad"}, "PreprocessConfig.resize must be one of 'cover', 'squash', 'squash-cut', got 'pad'"),
        ({"mean": (0.5,)}, "must have one entry per channel"),
        ({"std": (0.5, 0.0, 0.5)}, "std above 0"),
    ],
)
def test_impossible_preprocessing(wrong: dict[str, Any], message: str) -> None:
    """Each is refused with the field, the rule and the value."""
    refused(PreprocessConfig, {}, message, **wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"crop_area": (0.5, 0.1)}, "crop_area must be a rising pair of positive numbers, got (0.5, 0.1)"),
        ({"crop_area": (0.0, 1.0)}, "crop_area must be a rising pair"),
        ({"crop_area": (0.5, 1.5)}, "crop_area cannot exceed the whole image, got (0.5, 1.5)"),
        ({"crop_aspect": (2.0, 1.0)}, "crop_aspect must be a rising pair"),
        ({"rotate": 181.0}, "rotate"),
        ({"shift": 1.0}, "shift"),
        ({"zoom": -0.1}, "zoom"),
        (
            {"crop": "random"},
            "AugmentConfig.crop must be one of 'inception', 'centre', 'padded', 'resmall', 'squash', got 'random'",
        ),
    ],
)
def test_impossible_augmentation(wrong: dict[str, Any], message: str) -> None:
    """Each is refused with the field, the rule and the value."""
    refused(AugmentConfig, {}, message, **wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 10}, "give either epochs or steps"),
        ({"epochs": None}, "give either epochs or steps"),
        ({"epochs": 0}, "must be above 0, got 0"),
        ({"epochs": math.nan}, "must be above 0, got nan"),
        ({"warmup_steps": 3, "warmup_fraction": 0.1}, "warmup_steps or warmup_fraction, not both"),
        ({"warmup_steps": -1}, "warmup_steps"),
        ({"warmup_fraction": 1.5}, "warmup_fraction"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0, got 0.0"),
        ({"learning_rate": math.nan}, "learning_rate must be above 0, got nan"),
        ({"batch_size": 0}, "batch_size must be above 0, got 0"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"momentum": 1.0}, "momentum"),
        ({"betas": (0.9, 1.0)}, "betas"),
        ({"clip_norm": 0.0}, "clip_norm"),
        ({"dropout": 1.0}, "dropout"),
        ({"average_decay": 1.0}, "average_decay must lie in (0, 1), got 1.0"),
        ({"label_smoothing": 1.0}, "label_smoothing must lie in [0, 1), got 1.0"),
        ({"image_size": (0, 32)}, "image_size"),
        ({"optimizer": "lion"}, "Recipe.optimizer must be one of 'adam', 'sgd', 'lamb', got 'lion'"),
        ({"purpose": "evaluate"}, "Recipe.purpose must be one of"),
    ],
)
def test_impossible_recipes(wrong: dict[str, Any], message: str) -> None:
    """Each is refused with the field, the rule and the value."""
    refused(Recipe, RECIPE, message, **wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 3, "steps": 10}, "--epochs and --steps exclude each other"),
        ({"epochs": -1.0}, "epochs must be above 0, got -1.0"),
        ({"epochs": math.nan}, "epochs must be above 0, got nan"),
        ({"learning_rate": math.nan}, "learning_rate must be above 0, got nan"),
        ({"learning_rate": math.inf}, "learning_rate"),
        ({"batch_size": 0}, "batch_size must be above 0, got 0"),
        ({"micro_batch": 0}, "micro_batch must be above 0, got 0"),
        ({"threads": 0}, "threads must be above 0, got 0"),
        ({"val": 0.0}, "--val must lie between 0 and 1, got 0.0"),
        ({"val": 1.0}, "--val must lie between 0 and 1, got 1.0"),
        ({"seed": -1}, "--seed must be 0 or more, got -1"),
        ({"image_size": 0}, "must be positive, got 0"),
        ({"precision": "float16"}, "TrainOptions.precision must be one of"),
        ({"bad_images": "ignore"}, "TrainOptions.bad_images must be one of 'error', 'skip', got 'ignore'"),
    ],
)
def test_impossible_options(wrong: dict[str, Any], message: str) -> None:
    """Each is refused with the flag or field, the rule and the value."""
    refused(TrainOptions, {}, message, **wrong)


@pytest.mark.parametrize(
    "data", [{"classes": [1, 2]}, {"classes": "cat"}, {"provenance": ["x"]}, {"licence": 3}, {"features": None}]
)
def test_a_card_from_a_strange_file_is_checked(data: dict[str, Any]) -> None:
    """A card comes out of files that others wrote: kinds are checked there as everywhere."""
    with pytest.raises(ConfigError, match="ModelCard"):
        from_json(ModelCard, data)


def test_unknown_fields_are_refused_with_the_nearest() -> None:
    """A typing error in a file does not pass in silence."""
    with pytest.raises(ConfigError, match="ViTConfig has no field 'num_head'") as caught:
        from_json(ViTConfig, to_json(ViTConfig(**VIT)) | {"num_head": 3})
    assert "num_heads" in str(caught.value.why)


def test_missing_fields_are_refused() -> None:
    """Fields without a default must be there."""
    with pytest.raises(ConfigError, match=r"ViTConfig is incomplete: .*embed_dim"):
        from_json(ViTConfig, {"depth": 3, "num_heads": 4, "mlp_dim": 44})


@pytest.mark.parametrize("data", [None, [], "vit-b16", 3])
def test_what_is_no_object_is_refused(data: Any) -> None:
    """JSON of another kind is one clear error."""
    with pytest.raises(ConfigError, match=f"ViTConfig is written as an object, got {type(data).__name__}"):
        from_json(ViTConfig, data)


@pytest.mark.parametrize("data", [{"image_size": {"height": 3}}, {"image_size": [[1], 2]}, {"image_size": "big"}])
def test_nested_nonsense_is_refused(data: dict[str, Any]) -> None:
    """Values of the wrong shape end in a ConfigError, never in another exception."""
    with pytest.raises(ConfigError):
        from_json(ViTConfig, VIT | data)


unit = st.floats(0.0, 0.99)
positive = st.floats(1e-6, 1e3)
small = st.integers(1, 64)
sizes = st.tuples(small, small)


def resnets(in_channels: int, classes: st.SearchStrategy[int]) -> st.SearchStrategy[ResNetConfig]:
    """Any ResNet that can exist, with stages."""
    return st.builds(
        ResNetConfig,
        name=st.text(max_size=9),
        image_size=sizes,
        in_channels=st.just(in_channels),
        layers=st.lists(small, min_size=1, max_size=4).map(tuple),
        width_factor=small,
        style=st.sampled_from(["v1", "v2"]),
        num_classes=classes,
        norm_eps=st.none() | positive,
        standardize=st.sampled_from([None, "std", "var"]),
        standardize_eps=st.none() | positive,
        padding=st.sampled_from([None, "same", "symmetric"]),
    )


@st.composite
def vits(draw: st.DrawFn) -> ViTConfig:
    """Any architecture that can exist."""

    def one_of(*values: Any) -> Any:
        return draw(st.sampled_from(values))

    heads, patch, window = draw(st.integers(1, 8)), draw(sizes), draw(sizes)
    times = draw(sizes)
    pool, distill = one_of("cls", "mean", "map", "cls+mean", "none"), False
    if pool == "cls":
        distill = draw(st.booleans())
    semantic, attention = draw(st.booleans()), one_of("full", "window", "axial")
    position = one_of("learned", "learned-2d", "relative", "sincos", "sincos-mae", "none")
    if semantic:
        attention, position = "full", one_of("learned", "none")
    if attention != "full" and position == "relative":
        position = "learned"
    where = {"none": ["input"], "sincos": ["input", "shared"], "sincos-mae": ["input", "shared"]}
    rotary = None if semantic else one_of(None, "eva", "dinov3")
    channels = draw(small)
    stem = draw(st.none() | resnets(channels, st.just(0)))
    reduction = stem.reduction if stem is not None else 1
    stand = tuple(p * w * t * reduction for p, w, t in zip(patch, window, times, strict=True))
    return ViTConfig(
        name=draw(st.text(max_size=9)),
        image_size=stand,  # type: ignore[arg-type]
        patch_size=patch,
        in_channels=channels,
        embed_dim=4 * heads * draw(small),
        depth=draw(small),
        num_heads=heads,
        mlp_dim=draw(small),
        num_classes=draw(st.integers(0, 9)),
        stem=stem,
        edge=one_of("refuse", "crop"),
        tokenizer="filter" if semantic else "patch",
        num_tokens=draw(small) if semantic else None,
        patch_bias=draw(st.booleans()),
        class_token=one_of(None, True) if pool in ("cls", "cls+mean") else one_of(None, True, False),
        distill_token=distill,
        registers=draw(st.integers(0, 9)),
        position=position,
        position_at=one_of(*where.get(position, ["input", "every", "shared"])),
        prefix_position=draw(st.booleans()),
        resample=one_of("bilinear-corners", "bicubic", "bicubic-offset"),
        rotary=rotary,
        rotary_base=draw(positive),
        rotary_dtype=one_of("float32", "bfloat16"),
        rotary_grid=draw(st.none() | sizes) if rotary == "eva" else None,
        attention=attention,
        window=window if attention == "window" else None,
        qkv_bias=one_of("all", "query-value", "none"),
        qk_norm=draw(st.booleans()),
        attn_norm=draw(st.booleans()),
        proj_bias=draw(st.booleans()),
        mlp=one_of("gelu", "swiglu"),
        mlp_norm=draw(st.booleans()),
        mlp_bias=draw(st.booleans()),
        gelu=one_of("erf", "tanh", "quick"),
        norm_eps=draw(st.floats(1e-12, 1e-1)),
        pre_norm=draw(st.booleans()),
        layer_scale=draw(st.none() | positive),
        pool=pool,
        pool_norm="before" if pool == "none" else one_of("before", "after"),
        representation_size=None if distill else draw(st.none() | small),
        head_bias=draw(st.booleans()),
        dropout=draw(unit),
        drop_path=draw(unit),
        drop_path_schedule=one_of("linear", "constant"),
    )


preprocessings = st.builds(
    PreprocessConfig,
    image_size=sizes,
    resize=st.sampled_from(["cover", "squash"]),
    crop_ratio=st.floats(0.01, 1.0),
    interpolation=st.sampled_from(["nearest", "bilinear", "bicubic", "box", "lanczos"]),
    mean=st.tuples(unit, unit, unit),
    std=st.tuples(positive, positive, positive),
)
augmentations = st.builds(
    AugmentConfig,
    crop=st.sampled_from(["inception", "centre"]),
    crop_area=st.tuples(st.floats(0.01, 0.5), st.floats(0.5, 1.0)),
    crop_aspect=st.tuples(st.floats(0.1, 1.0), st.floats(1.0, 9.0)),
    flip=st.booleans(),
    rotate=st.floats(0.0, 180.0),
    shift=unit,
    zoom=unit,
)
recipes = st.builds(
    Recipe,
    name=st.text(max_size=9),
    purpose=st.sampled_from(["pretrain", "finetune"]),
    optimizer=st.sampled_from(["adam", "sgd"]),
    learning_rate=positive,
    betas=st.tuples(unit, unit),
    weight_decay=positive,
    schedule=st.sampled_from(["cosine", "linear"]),
    warmup_steps=st.none() | small,
    epochs=st.floats(0.1, 900.0) | small,
    batch_size=small,
    clip_norm=st.none() | positive,
    label_smoothing=unit,
    dropout=st.none() | unit,
    hidden_head=st.booleans(),
    average_decay=st.none() | st.floats(0.01, 0.999),
    image_size=st.none() | sizes,
    augment=augmentations,
)
options = st.builds(
    TrainOptions,
    run=st.none() | st.text(max_size=9),
    recipe=st.none() | st.text(max_size=9),
    epochs=st.none() | positive,
    image_size=st.none() | small | sizes,
    val=st.floats(0.01, 0.99),
    bad_images=st.sampled_from(["error", "skip"]),
    seed=st.integers(0, 2**40),
    threads=st.none() | small,
    precision=st.sampled_from(["auto", "float32", "bfloat16"]),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
cards = st.builds(
    ModelCard,
    architecture=st.none() | vits() | resnets(3, st.integers(0, 9)),
    preprocess=preprocessings,
    classes=st.lists(st.text(max_size=5), max_size=4).map(tuple),
    features=st.text(max_size=9),
    provenance=st.dictionaries(st.text(max_size=5), json_values, max_size=3),
    licence=st.text(max_size=9),
)


@given(st.one_of(vits(), resnets(3, st.integers(0, 9)), preprocessings, augmentations, recipes, options, cards))
def test_json_round_trip(config: Any) -> None:
    """Through a JSON text and back every config is equal to itself, types of its values included."""
    text = json.dumps(to_json(config))
    again = from_json(type(config), json.loads(text))
    assert config == again
    assert repr(config) == repr(again)


@given(st.one_of(vits(), resnets(3, st.integers(0, 9))))
def test_an_architecture_knows_its_kind(config: ViTConfig | ResNetConfig) -> None:
    """Read without being told which of the two it is, and its features have words."""
    again = architecture_from_json(json.loads(json.dumps(to_json(config))))
    assert (config, type(config)) == (again, type(again))
    assert feature_words(config)


@pytest.mark.parametrize(
    "cls",
    [ViTConfig, ResNetConfig, PreprocessConfig, AugmentConfig, Recipe, TrainOptions, ModelCard],
    ids=lambda cls: cls.__name__,
)
def test_every_field_explains_itself(cls: type) -> None:
    """A docstring under each field is what the help texts are made of."""
    body = ast.parse(inspect.getsource(cls)).body[0].body  # type: ignore[attr-defined]
    for field, text in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign):
            assert isinstance(text, ast.Expr), f"{cls.__name__}.{field.target.id} has no docstring"  # type: ignore[union-attr]
            assert isinstance(text.value, ast.Constant)


def test_an_architecture_written_before_there_were_more_options_is_still_a_vision_transformer() -> None:
    """Model files of the first format name fifteen fields; what is left out is as it was then."""
    written = {
        "name": "vit-s16", "image_size": [32, 48], "patch_size": [16, 16], "in_channels": 3, "embed_dim": 24,
        "depth": 2, "num_heads": 3, "mlp_dim": 40, "num_classes": 5, "pool": "cls", "class_token": True,
        "representation_size": None, "gelu": "erf", "norm_eps": 1e-6, "dropout": 0.1,
    }  # fmt: skip
    card = from_json(ModelCard, {"architecture": written})
    expected = {name: tuple(value) if isinstance(value, list) else value for name, value in written.items()}
    assert card.architecture == ViTConfig(**expected)  # type: ignore[arg-type]
    resnet = {"name": "bit", "layers": [1, 2], "width_factor": 3}
    assert from_json(ModelCard, {"architecture": resnet}).architecture == ResNetConfig(
        name="bit", layers=(1, 2), width_factor=3
    )
    with pytest.raises(ConfigError, match="ViTConfig has no field 'num_head'"):
        from_json(ModelCard, {"architecture": {**written, "num_head": 3}})

"""What would be cheaper: smaller models, larger patches, fewer pixels, other ways to train, and what each gives up."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass

from vitreous.architecture import Architecture, ResNetConfig, Size, ViTConfig
from vitreous.config import Recipe
from vitreous.config.recipe import Trained
from vitreous.cost import parameters, training_memory
from vitreous.cost.budget import step_flops
from vitreous.errors import ConfigError
from vitreous.pretrained import all_pretrained
from vitreous.zoo import find_model, model_names

_TOGETHER = 32  # images in one forward pass
_BEST_KNOWN = "augreg_in21k_ft_in1k"  # weights of many architectures, trained and scored alike
_TOYS = ("vit-test", "vit-28", "vit-mu16")
_FEWER = {384: 224, 224: 160}


@dataclass(frozen=True, kw_only=True, slots=True)
class Reported:
    """ImageNet-1k top-1 of two sets of published weights that were trained alike, in percent."""

    tag: str
    """Who trained them on what."""
    now: float
    """Of the model at hand."""
    then: float
    """Of the cheaper one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Alternative:
    """A cheaper way, beside the model at hand trained whole in float32 with the same recipe."""

    name: str
    """What to change, in words or as it is typed."""
    flops: float
    """Operations of one image trained, as a share of the model's at hand."""
    memory: float
    """Bytes held with 32 images at a time, as a share."""
    reported: Reported | None
    """What is known of its accuracy; None for nothing."""


def alternatives(config: Architecture, recipe: Recipe) -> tuple[Alternative, ...]:
    """Cheaper ways, those that keep the model last; a model that is trained from scratch must learn everywhere.

    Args:
        config: as it is trained.
        recipe: the optimiser, what it averages, and what it is for.
    """
    recipe = dataclasses.replace(recipe, train="all")
    whole, bytes_now = step_flops(config, recipe), training_memory(config, recipe, _TOGETHER).total

    def beside(
        name: str, other: Architecture, way: Recipe = recipe, *, short: bool = False, again: bool = False
    ) -> Alternative:
        held = training_memory(other, way, _TOGETHER, "bfloat16" if short else "float32", again).total
        work = step_flops(other, way, gradient_checkpointing=again)
        return Alternative(name=name, flops=work / whole, memory=held / bytes_now, reported=_reported(config, other))

    found = [beside(other.name, other) for other in _smaller(config)]
    found += [beside(f"at {other.image_size[0]} px", other) for other in _fewer_pixels(config)]
    found.append(beside("bfloat16", config, short=True))
    found.append(beside("--gradient-checkpointing", config, again=True))
    if config.num_classes and recipe.purpose == "finetune":
        ways: tuple[Trained, ...] = ("head", "lora") if isinstance(config, ViTConfig) else ("head",)
        found += [beside(f"--train {way}", config, dataclasses.replace(recipe, train=way)) for way in ways]
    return tuple(found)


def _smaller(config: Architecture) -> Iterator[Architecture]:
    """The next model with fewer parameters at the same patches, and the same one with the next larger patches."""
    known = [find_model(name) for name in model_names()]
    alike = [_fitted(other, config) for other in known if _kind(other) == _kind(config) and other.name not in _TOYS]
    less = [other for other in alike if other is not None]
    fewer = [
        other for other in less if parameters(other) < 0.9 * parameters(config) and _stride(other) == _stride(config)
    ]
    if fewer:  # rather one whose accuracy is known
        yield max(fewer, key=lambda other: (_reported(config, other) is not None, parameters(other)))
    if isinstance(config, ViTConfig):
        width = (config.embed_dim, config.depth)
        coarser = [other for other in less if isinstance(other, ViTConfig) and (other.embed_dim, other.depth) == width]
        coarser = [other for other in coarser if other.stride[0] > config.stride[0]]
        if coarser:
            yield min(coarser, key=lambda other: other.stride[0])


def _kind(config: Architecture) -> tuple[object, ...]:
    """Models that answer the same question: plain, hybrid or axial ViTs, ResNets of one family."""
    if isinstance(config, ResNetConfig):
        return "resnet", config.style
    return "vit", config.stem is None, config.attention


def _stride(config: Architecture) -> Size | None:
    return config.stride if isinstance(config, ViTConfig) else None


def _fitted(other: Architecture, config: Architecture) -> Architecture | None:
    """Another model with the head and the resolution of the one at hand, where its patches tile that."""
    try:
        return dataclasses.replace(other, image_size=config.image_size, num_classes=config.num_classes)
    except ConfigError:
        return None


def _fewer_pixels(config: Architecture) -> Iterator[Architecture]:
    side = _FEWER.get(config.image_size[0])
    if side is None or config.image_size[0] != config.image_size[1]:
        return
    try:
        yield dataclasses.replace(config, image_size=(side, side))
    except ConfigError:  # patches do not tile it
        return


def _reported(config: Architecture, other: Architecture) -> Reported | None:
    """Two published scores that differ in the architecture alone."""
    now, then = _published_name(config), _published_name(other)
    if now == then:
        return None
    scores: dict[str, dict[str, float]] = {}
    for weights in all_pretrained():
        if weights.accuracy is not None:
            scores.setdefault(weights.tag, {})[weights.architecture] = weights.accuracy.top1
    pairs = {tag: known for tag, known in scores.items() if now in known and then in known}
    tag = _BEST_KNOWN if _BEST_KNOWN in pairs else next(iter(pairs), None)
    return None if tag is None else Reported(tag=tag, now=pairs[tag][now], then=pairs[tag][then])


def _published_name(config: Architecture) -> str:
    """As published weights call it: with the resolution where that is not 224."""
    plain = re.sub(r"-(gap|map)$", "", config.name)
    side = config.image_size[0]
    return plain if side == 224 or isinstance(config, ResNetConfig) else f"{plain}-{side}"

"""Which published weights to start from, where the person did not say."""

from __future__ import annotations

from vitreous.cost import parameters
from vitreous.errors import ConfigError, UnknownNameError
from vitreous.pretrained import Pretrained, all_pretrained, find_pretrained
from vitreous.weights.hub.fetch import cached
from vitreous.zoo import find_model

RECOMMENDED = "vit-s16.augreg_in21k"
"""What a person with photos and a laptop should fetch: a fifth of ViT-B/16's cost, trained on 14 million images."""

_BEST_FIRST = (
    "vit-b16.augreg_in21k",
    RECOMMENDED,
    "r26+vit-s32.augreg_in21k",
    "vit-b32.augreg_in21k",
    "vit-s32.augreg_in21k",
    "vit-ti16.augreg_in21k",
)
"""Trained on ImageNet-21k with augmentation, which transfers best at its size (AugReg, section 4.5)."""

_LARGEST = 100_000_000  # parameters; larger ones are taken only by name


def best_cached() -> Pretrained | None:
    """The published weights in the cache that suit a new task best; None where the cache has none that do."""
    for weights in (*map(find_pretrained, _BEST_FIRST), *filter(_suits, all_pretrained())):
        if cached(weights, verify=False) is not None:
            return weights
    return None


def _suits(weights: Pretrained) -> bool:
    """Whether these are of an architecture that the zoo has, of a size for everybody, and trained on images alone."""
    try:
        small = parameters(find_model(weights.architecture)) <= _LARGEST
    except (UnknownNameError, ConfigError):
        return False
    return small and weights.label_set != "embedding"

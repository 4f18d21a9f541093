"""Beyer et al., "Better plain ViT baselines for ImageNet-1k", 2022 (big_vision/configs/vit_s16_i1k.py)."""

from __future__ import annotations

from vitreous.config import AugmentConfig, Recipe
from vitreous.recipe.family import Family
from vitreous.recipe.units import decoupled

_PAPER = "Beyer et al., arXiv:2205.01580"

# Epochs: ImageNet top-1, ReaL, v2; then top-1 with learned positions, which the name vit-s16-gap stands for.
_SCORES = {90: (76.5, 83.1, 64.2, 75.0), 150: (78.5, 84.5, 66.4, 78.0), 300: (80.0, 85.4, 68.3, 79.6)}


def families() -> tuple[Family, ...]:
    """ViT-S/16 on ImageNet-1k in 90, 150 and 300 epochs."""
    recipes = tuple(_recipe(epochs) for epochs in _SCORES)
    return (Family(name="plain-vit", title="a better plain ViT-S/16", paper=_PAPER, recipes=recipes),)


def _recipe(epochs: int) -> Recipe:
    top1, real, v2, learned = _SCORES[epochs]
    return Recipe(
        name=f"plain-vit-{epochs}ep",
        purpose="pretrain",
        summary=f"vit-s16-gap on ImageNet-1k, {epochs} epochs; positions were fixed sines",
        source=f"{_PAPER}, Table 1, and big_vision/configs/vit_s16_i1k.py; trained on the first 99 %",
        expected=f"{top1} % ImageNet top-1, {real} % ReaL, {v2} % v2; with learned positions {learned} % top-1",
        hardware="TPUv3-8, 6.5 hours" if epochs == 90 else "TPUv3-8",
        model="vit-s16-gap",
        data="ImageNet-1k",
        optimizer="adam",
        learning_rate=1e-3,
        weight_decay=decoupled(1e-4, 1e-3),
        schedule="cosine",
        warmup_steps=10_000,
        epochs=epochs,
        batch_size=1024,
        clip_norm=1.0,
        mixup=0.2,
        dropout=0.0,
        hidden_head=True,
        image_size=(224, 224),
        augment=AugmentConfig(policy="randaugment", rand_layers=2, rand_magnitude=10),
    )

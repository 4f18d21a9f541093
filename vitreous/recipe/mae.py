"""Fine-tuning masked autoencoders (He et al., CVPR 2022; facebookresearch/mae, FINETUNE.md and main_finetune.py)."""

from __future__ import annotations

from vitreous.config import AugmentConfig, Recipe
from vitreous.recipe.family import Family

_PAPER = "He et al., CVPR 2022 (MAE)"

# Model: blr, epochs, layer decay, stochastic depth, ImageNet top-1, hardware.
_TABLE = {
    "vit-b16": (5e-4, 100, 0.65, 0.1, 83.664, "32 V100, 7 h 11 min"),
    "vit-l16": (1e-3, 50, 0.75, 0.2, 85.952, "32 V100, 8 h 52 min"),
    "vit-h14": (1e-3, 50, 0.75, 0.3, 86.928, "64 V100, 13 h 9 min"),
}


def families() -> tuple[Family, ...]:
    """B, L and H, with layer-wise decay of the learning rate."""
    recipes = tuple(_recipe(model) for model in _TABLE)
    return (Family(name="mae-finetune", title="fine-tuning from masked autoencoders", paper=_PAPER, recipes=recipes),)


def _recipe(model: str) -> Recipe:
    rate, epochs, layer_decay, drop_path, top1, hardware = _TABLE[model]
    return Recipe(
        name=f"mae-finetune-{model}",
        purpose="finetune",
        summary=f"{model} to ImageNet-1k, layer-wise decay {layer_decay}",
        source=f"{_PAPER}, facebookresearch/mae: FINETUNE.md; mean of the patches in place of the class token",
        expected=f"{top1} % ImageNet top-1",
        hardware=hardware,
        model=f"{model}.mae",
        data="ImageNet-1k",
        optimizer="adam",
        learning_rate=rate,
        learning_rate_for=256,
        weight_decay=0.05,
        layer_decay=layer_decay,
        schedule="cosine",
        warmup_epochs=5,
        final_learning_rate=1e-6,
        epochs=epochs,
        batch_size=1024,
        label_smoothing=0.1,
        mixup=0.8,
        cutmix=1.0,
        dropout=0.0,
        drop_path=drop_path,
        image_size=(224, 224),
        augment=AugmentConfig(
            crop_area=(0.08, 1.0), policy="randaugment-timm", rand_magnitude=9.0, rand_std=0.5, erase=0.25
        ),
    )

"""Fine-tuning as big_vision does it (big_vision/configs/transfer.py), with the scores that its authors wrote down."""

from __future__ import annotations

from vitreous.config import AugmentConfig, Recipe
from vitreous.recipe.family import Family

_CODE = "big_vision"

_INCEPTION, _RESMALL = AugmentConfig(crop="inception"), AugmentConfig(crop="resmall", resize=448)

# Name, data, learning rate, (steps, warm-up), images, mean test score of 5 runs with AugReg's B/32.
_TABLE = (
    ("imagenet", "ImageNet-1k", 0.03, (20_000, 500), _INCEPTION, 83.27),
    ("cifar10", "CIFAR-10", 0.003, (10_000, 500), _RESMALL, 98.55),
    ("cifar100", "CIFAR-100", 0.01, (10_000, 500), _RESMALL, 91.35),
    ("pets", "Oxford-IIIT Pets", 0.003, (500, 100), _INCEPTION, 93.78),
    ("flowers", "Oxford Flowers-102", 0.003, (500, 100), _INCEPTION, 99.43),
)


def families() -> tuple[Family, ...]:
    """Five data sets, each with its learning rate and its way of cropping."""
    recipes = tuple(
        Recipe(
            name=f"bigvision-finetune-{short}",
            purpose="finetune",
            summary=f"to {data} at 384 px",
            source=f"{_CODE}/configs/transfer.py",
            expected=f"{score} % with AugReg's ViT-B/32, mean of 5 runs",
            hardware="not stated",
            model="vit-b32.google_augreg_in21k",
            data=data,
            optimizer="sgd",
            momentum=0.9,
            learning_rate=rate,
            schedule="cosine",
            warmup_steps=warmup,
            steps=steps,
            batch_size=512,
            clip_norm=1.0,
            dropout=0.0,
            image_size=(384, 384),
            augment=augment,
        )
        for short, data, rate, (steps, warmup), augment, score in _TABLE
    )
    return (Family(name="bigvision-finetune", title="big_vision's fine-tuning", paper=_CODE, recipes=recipes),)

"""DeiT: ViTs on ImageNet-1k alone, in 300 epochs (Touvron et al., ICML 2021; facebookresearch/deit, main.py).

Two settings of main.py do nothing to the published scores and are left out: with RandAugment timm does not jitter
colours, and the average of the weights is kept beside the weights that are measured.
"""

from __future__ import annotations

import dataclasses

from vitreous.config import AugmentConfig, Recipe
from vitreous.recipe.family import Family

_PAPER = "Touvron et al., ICML 2021 (DeiT)"

# Model: ImageNet top-1 (README_deit.md), hardware.
_TABLE = {"vit-ti16": (72.2, "4 GPUs"), "vit-s16": (79.9, "4 GPUs"), "vit-b16": (81.8, "16 GPUs")}

# DeiT's batch is 1024, which 3 repeats do not divide; this is the nearest that they, and 8 devices, do.
REPEATS, _BATCH = 3, 1032

_PRETRAIN = Recipe(
    name="deit",
    purpose="pretrain",
    source=f"{_PAPER}, Table 9, and facebookresearch/deit: main.py; batch 1032 for 1024, a multiple of its 3 repeats",
    data="ImageNet-1k",
    optimizer="adam",
    learning_rate=5e-4,
    learning_rate_for=512,
    weight_decay=0.05,
    schedule="cosine",
    warmup_epochs=5,
    warmup_from=1e-6,
    final_learning_rate=1e-5,
    epochs=300,
    batch_size=_BATCH,
    repeats=REPEATS,
    label_smoothing=0.1,
    mixup=0.8,
    cutmix=1.0,
    dropout=0.0,
    drop_path=0.1,
    image_size=(224, 224),
    augment=AugmentConfig(
        crop_area=(0.08, 1.0), policy="randaugment-timm", rand_magnitude=9.0, rand_std=0.5, erase=0.25
    ),
)


def families() -> tuple[Family, ...]:
    """Ti, S and B without a teacher, and B on to 384 pixels."""
    pretraining = tuple(
        dataclasses.replace(
            _PRETRAIN,
            name=f"deit-{model}",
            summary=f"{model} on ImageNet-1k, 300 epochs, without a teacher",
            expected=f"{top1} % ImageNet top-1",
            hardware=hardware,
            model=model,
        )
        for model, (top1, hardware) in _TABLE.items()
    )
    return (
        Family(name="deit", title="DeiT without distillation", paper=_PAPER, recipes=pretraining),
        Family(name="deit-finetune", title="DeiT to a higher resolution", paper=_PAPER, recipes=(_higher(),)),
    )


def _higher() -> Recipe:
    return dataclasses.replace(
        _PRETRAIN,
        name="deit-finetune-384-vit-b16",
        purpose="finetune",
        summary="DeiT's vit-b16 to 384 px, 30 epochs",
        source=f"{_PAPER}, facebookresearch/deit: README_deit.md (keeps the head); batch 504 for 512, for 3 repeats",
        expected="82.9 % ImageNet top-1",
        hardware="16 GPUs",
        model="vit-b16.deit_fb_in1k",
        head="keep",
        learning_rate=5e-6,
        weight_decay=1e-8,
        final_learning_rate=5e-6,
        epochs=30,
        batch_size=504,
        image_size=(384, 384),
    )

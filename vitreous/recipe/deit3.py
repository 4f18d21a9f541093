"""DeiT III, every stage (Touvron et al., ECCV 2022; facebookresearch/deit, README_revenge.md).

Rates are taken as they are (--unscale-lr). LayerScale belongs to the model: a ViTConfig with layer_scale=1e-4, or
weights that have it. Apex's FusedLAMB clips the gradient at norm 1 by itself; here clip_norm does. Beside RandAugment
timm does not jitter, whatever --color-jitter says. The authors keep the head from one stage to the next.
"""

from __future__ import annotations

import dataclasses

from vitreous.config import AugmentConfig, Recipe
from vitreous.recipe.deit import REPEATS
from vitreous.recipe.family import Family

_PAPER = "Touvron et al., ECCV 2022 (DeiT III)"

_THREE = AugmentConfig(crop_area=(0.08, 1.0), policy="three", jitter=0.3)
_SIMPLE = AugmentConfig(crop="padded", policy="three", jitter=0.3)
_RAND = AugmentConfig(crop_area=(0.08, 1.0), policy="randaugment-timm", rand_magnitude=9.0, rand_std=0.5)

_COMMON = Recipe(
    name="deit3",
    purpose="pretrain",
    source=f"{_PAPER}, facebookresearch/deit: README_revenge.md",
    optimizer="lamb",
    schedule="cosine",
    warmup_epochs=5,
    warmup_from=1e-6,
    final_learning_rate=1e-5,
    epochs=800,
    batch_size=2048,
    clip_norm=1.0,
    cutmix=1.0,
    dropout=0.0,
    drop_path_schedule="constant",
)

# DeiT III's batch is 2048, which 3 repeats do not divide; this is the nearest that they, and 8 devices, do.
_BATCH = 2040

# Model: rate, pixels, stochastic depth, ImageNet top-1 after the next stage at 224 pixels, GPUs.
_I1K = {
    "vit-s16": (4e-3, 224, 0.05, 81.4, 8),
    "vit-b16": (3e-3, 192, 0.2, 83.8, 8),
    "vit-l16": (3e-3, 192, 0.45, 84.9, 32),
    "vit-h14": (3e-3, 160, 0.6, 85.2, 32),
}
# Model: epochs, pixels, stochastic depth, ImageNet top-1 after the next stage at 224 pixels, GPUs.
_I21K = {
    "vit-s16": (240, 224, 0.05, 83.1, 16),
    "vit-b16": (240, 224, 0.1, 85.7, 32),
    "vit-l16": (240, 224, 0.3, 87.0, 32),
    "vit-h14": (90, 128, 0.5, 87.2, 32),
}
# Pixels, model: stochastic depth, ImageNet top-1, what it starts from, hardware.
_HIGHER = {
    (224, "vit-b16"): (0.2, 83.8, "runs/deit3-i1k-vit-b16", "8 GPUs"),
    (224, "vit-l16"): (0.45, 84.9, "runs/deit3-i1k-vit-l16", "8 GPUs"),
    (224, "vit-h14"): (0.55, 85.2, "runs/deit3-i1k-vit-h14", "16 GPUs"),
    (384, "vit-s16"): (0.0, 83.4, "deit3_small_patch16_224.fb_in1k", "8 GPUs"),
    (384, "vit-b16"): (0.15, 85.0, "deit3_base_patch16_224.fb_in1k", "not stated"),
    (384, "vit-l16"): (0.4, 85.8, "deit3_large_patch16_224.fb_in1k", "not stated"),
}
# Model: stochastic depth on the way from ImageNet-21k to ImageNet-1k.
_TO_I1K = {"vit-s16": 0.05, "vit-b16": 0.15, "vit-l16": 0.4, "vit-h14": 0.45}


def families() -> tuple[Family, ...]:
    """Pre-training on ImageNet-1k and on ImageNet-21k, and what follows each."""
    finetuning = _higher() + _to_imagenet()
    return (
        Family(name="deit3-i1k", title="DeiT III on ImageNet-1k", paper=_PAPER, recipes=_imagenet()),
        Family(name="deit3-i21k", title="DeiT III on ImageNet-21k", paper=_PAPER, recipes=_imagenet21k()),
        Family(name="deit3-finetune", title="DeiT III's second stages", paper=_PAPER, recipes=finetuning),
    )


def _imagenet() -> tuple[Recipe, ...]:
    return tuple(
        dataclasses.replace(
            _COMMON,
            name=f"deit3-i1k-{model}",
            summary=f"{model} on ImageNet-1k, 800 epochs at {pixels} px; LayerScale 1e-4 is the model's",
            source=f"{_COMMON.source}; batch 2040 for 2048, a multiple of its 3 repeats",
            expected=f"{top1} % ImageNet top-1" + ("" if pixels == 224 else " after deit3-finetune-224"),
            hardware=f"{gpus} GPUs",
            model=model,
            data="ImageNet-1k",
            learning_rate=rate,
            weight_decay=0.05,
            batch_size=_BATCH,
            repeats=REPEATS,
            loss="sigmoid-mean",
            mixup=0.8,
            drop_path=drop_path,
            image_size=(pixels, pixels),
            augment=_THREE,
        )
        for model, (rate, pixels, drop_path, top1, gpus) in _I1K.items()
    )


def _imagenet21k() -> tuple[Recipe, ...]:
    return tuple(
        dataclasses.replace(
            _COMMON,
            name=f"deit3-i21k-{model}",
            summary=f"{model} on ImageNet-21k, {epochs} epochs at {pixels} px; LayerScale 1e-4 is the model's",
            expected=f"{top1} % ImageNet top-1 after deit3-finetune-i21k-{model}",
            hardware=f"{gpus} GPUs",
            model=model,
            data="ImageNet-21k",
            learning_rate=1e-3,
            weight_decay=0.02,
            epochs=epochs,
            label_smoothing=0.1,
            drop_path=drop_path,
            image_size=(pixels, pixels),
            augment=_SIMPLE,
        )
        for model, (epochs, pixels, drop_path, top1, gpus) in _I21K.items()
    )


def _higher() -> tuple[Recipe, ...]:
    return tuple(
        dataclasses.replace(
            _COMMON,
            name=f"deit3-finetune-{pixels}-{model}",
            purpose="finetune",
            summary=f"{model} on ImageNet-1k to {pixels} px, 20 epochs",
            expected=f"{top1} % ImageNet top-1",
            hardware=hardware,
            model=start,
            data="ImageNet-1k",
            head="keep",
            optimizer="adam",
            learning_rate=1e-5,
            weight_decay=0.1,
            epochs=20,
            batch_size=512,
            clip_norm=None,
            label_smoothing=0.1,
            mixup=0.8,
            drop_path=drop_path,
            image_size=(pixels, pixels),
            augment=_RAND,
        )
        for (pixels, model), (drop_path, top1, start, hardware) in _HIGHER.items()
    )


def _to_imagenet() -> tuple[Recipe, ...]:
    return tuple(
        dataclasses.replace(
            pretrained,
            name=f"deit3-finetune-i21k-{model}",
            purpose="finetune",
            summary=f"{model} from ImageNet-21k to ImageNet-1k, 50 epochs at 224 px",
            expected=f"{_I21K[model][3]} % ImageNet top-1",
            model=f"runs/{pretrained.name}",
            data="ImageNet-1k",
            learning_rate=3e-4,
            epochs=50,
            drop_path=_TO_I1K[model],
            image_size=(224, 224),
        )
        for pretrained in _imagenet21k()
        for model in [pretrained.model]
    )

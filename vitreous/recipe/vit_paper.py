"""Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021: pre-training (Table 3), fine-tuning (Table 4).

Scores are those of Table 2 (512 or 518 pixels, averaged weights), Table 5 (384 pixels) and Table 6 (JFT-300M).
"""

from __future__ import annotations

import dataclasses

from vitreous.config import AugmentConfig, Recipe
from vitreous.recipe.family import Family

PAPER = "Dosovitskiy et al., ICLR 2021"

# Above Table 3: Adam 0.9/0.999, batch 4096, 10k warm-up steps, 224 pixels, and the tanh layer of section 3.1.
PRETRAIN = Recipe(
    name="paper-pretrain",
    purpose="pretrain",
    optimizer="adam",
    batch_size=4096,
    warmup_steps=10_000,
    schedule="linear",
    image_size=(224, 224),
    hidden_head=True,
    epochs=7,
)

# Table 4 and appendix B.1.1: SGD with momentum 0.9, batch 512, cosine, no decay, clipping at norm 1, 384 pixels.
# The 500 warm-up steps are those of the authors' code (vit_jax/configs/common.py).
FINETUNE = Recipe(
    name="paper-finetune",
    purpose="finetune",
    optimizer="sgd",
    momentum=0.9,
    batch_size=512,
    schedule="cosine",
    warmup_steps=500,
    clip_norm=1.0,
    image_size=(384, 384),
    dropout=0.0,
    steps=10_000,
)

# Table 3 on JFT-300M: model, epochs, learning rate. Then ImageNet top-1 after fine-tuning and exaFLOPs, both Table 6.
# Decay 0.1, no dropout, linear. Where a model was trained twice, the shorter run has its epochs in its name.
_JFT_300M = (
    ("vit-b32", 7, 8e-4, 80.73, 55),
    ("vit-b16", 7, 8e-4, 84.15, 224),
    ("vit-l32", 7, 6e-4, 84.37, 196),
    ("vit-l16", 7, 4e-4, 86.30, 783),
    ("vit-l16", 14, 4e-4, 87.12, 1567),
    ("vit-h14", 14, 3e-4, 88.08, 4262),
    ("resnet-r50x1", 7, 1e-3, 77.54, 50),
    ("resnet-r50x2", 7, 1e-3, 82.12, 199),
    ("resnet-r101x1", 7, 8e-4, 80.67, 96),
    ("resnet-r152x1", 7, 6e-4, 81.88, 141),
    ("resnet-r152x2", 7, 6e-4, 84.97, 563),
    ("r50+vit-b32", 7, 8e-4, 84.90, 106),
    ("r50+vit-b16", 7, 8e-4, 85.58, 274),
    ("r50+vit-l32", 7, 2e-4, 85.68, 246),
    ("r50+vit-l16", 7, 4e-4, 86.60, 859),
    ("r50+vit-l16", 14, 4e-4, 87.12, 1668),
)
_JFT_CORE_DAYS = {("vit-l16", 14): "680", ("vit-h14", 14): "2,500"}

# Table 3 on ImageNet-21k: model, epochs; ImageNet top-1 (Table 5, which does not say after how many epochs).
# Rate 1e-3, decay 0.03, dropout 0.1, linear.
_IMAGENET_21K = (
    ("vit-b32", 90, 81.28),
    ("vit-b16", 90, 83.97),
    ("vit-l32", 30, None),
    ("vit-l32", 90, 80.99),
    ("vit-l16", 30, None),
    ("vit-l16", 90, 85.15),
)

# Table 3, row ViT-* on ImageNet: rate 3e-3, decay 0.3, dropout 0.1, cosine, clipping at norm 1. Top-1 of Table 5.
_IMAGENET = (("vit-b32", 73.38), ("vit-b16", 77.91), ("vit-l32", 71.16), ("vit-l16", 76.53))

# Table 4: data, steps, learning rates to choose from, and the share held out for choosing (appendix B.1.1).
# Then warm-up, the rate to take without choosing (vit_jax/configs), and what ViT-B/16 from ImageNet-21k got (Table 5).
_LOW, _HIGH = (0.001, 0.003, 0.01, 0.03), (0.003, 0.01, 0.03, 0.06)
_TABLE_4 = (
    ("imagenet", "ImageNet-1k", 20_000, _HIGH, 0.01, 500, 0.03, 83.97),
    ("cifar10", "CIFAR-10", 10_000, _LOW, 0.02, 500, 0.01, 98.95),
    ("cifar100", "CIFAR-100", 10_000, _LOW, 0.02, 500, 0.01, 91.67),
    ("pets", "Oxford-IIIT Pets", 500, _LOW, 0.1, 100, 0.01, 94.43),
    ("flowers", "Oxford Flowers-102", 500, _LOW, 0.1, 100, 0.01, 99.38),
)


def families() -> tuple[Family, ...]:
    """The paper's pre-training and fine-tuning."""
    pretraining = (*_jft(), *_imagenet21k(), *_imagenet())
    finetuning = (*_table_4(), *_table_2(), *_vtab())
    return (
        Family(name="paper-pretrain", title="the ViT paper's pre-training", paper=PAPER, recipes=pretraining),
        Family(name="paper-finetune", title="the ViT paper's fine-tuning", paper=PAPER, recipes=finetuning),
    )


def _jft() -> list[Recipe]:
    longest = {model: epochs for model, epochs, *_ in _JFT_300M}
    recipes = []
    for model, epochs, rate, top1, exaflops in _JFT_300M:
        days = f"{_JFT_CORE_DAYS[model, epochs]} core-days (Table 2), " if (model, epochs) in _JFT_CORE_DAYS else ""
        row = dataclasses.replace(
            PRETRAIN,
            name=f"paper-jft300m-{model}" + (f"-{epochs}ep" if epochs < longest[model] else ""),
            summary=f"{model} on JFT-300M, {epochs} epochs",
            source=f"{PAPER}, Table 3, JFT-300M",
            expected=f"{top1:.2f} % ImageNet top-1 after fine-tuning (Table 6)",
            hardware=f"TPUv3, {days}{exaflops:,} exaFLOPs (Table 6)",
            model=model,
            data="JFT-300M",
            epochs=epochs,
            learning_rate=rate,
            weight_decay=0.1,
            dropout=0.0,
        )
        plain = model.startswith("resnet")  # has no place for dropout and the tanh layer
        recipes.append(dataclasses.replace(row, dropout=None, hidden_head=False) if plain else row)
    return recipes


def _imagenet21k() -> list[Recipe]:
    return [
        dataclasses.replace(
            PRETRAIN,
            name=f"paper-imagenet21k-{model}" + (f"-{epochs}ep" if epochs < 90 else ""),
            summary=f"{model} on ImageNet-21k, {epochs} epochs",
            source=f"{PAPER}, Table 3, ImageNet-21k",
            expected=f"{top1:.2f} % ImageNet top-1 after fine-tuning (Table 5)" if top1 else "not stated",
            hardware="TPUv3, 230 core-days (Table 2)" if (model, epochs) == ("vit-l16", 90) else "TPUv3",
            model=model,
            data="ImageNet-21k",
            epochs=epochs,
            learning_rate=1e-3,
            weight_decay=0.03,
            dropout=0.1,
        )
        for model, epochs, top1 in _IMAGENET_21K
    ]


def _imagenet() -> list[Recipe]:
    return [
        dataclasses.replace(
            PRETRAIN,
            name=f"paper-imagenet-{model}",
            summary=f"{model} on ImageNet-1k, 300 epochs",
            source=f"{PAPER}, Table 3, row ViT-* on ImageNet",
            expected=f"{top1:.2f} % ImageNet top-1 after fine-tuning (Table 5)",
            hardware="TPUv3",
            model=model,
            data="ImageNet-1k",
            epochs=300,
            learning_rate=3e-3,
            weight_decay=0.3,
            dropout=0.1,
            schedule="cosine",
            clip_norm=1.0,
        )
        for model, top1 in _IMAGENET
    ]


def _table_4() -> list[Recipe]:
    return [
        dataclasses.replace(
            FINETUNE,
            name=f"paper-finetune-{short}",
            summary=f"to {data} at 384 px",
            source=f"{PAPER}, Table 4, row {data}; of its rates {rate:g} as in vit_jax/configs, or --sweep",
            expected=f"{top1:.2f} % with ViT-B/16 from ImageNet-21k (Table 5)",
            hardware="TPUv3",
            model="vit-b16.google_in21k",
            data=data,
            steps=steps,
            sweep=rates,
            sweep_share=share,
            warmup_steps=warmup,
            learning_rate=rate,
        )
        for short, data, steps, rates, share, warmup, rate, top1 in _TABLE_4
    ]


def _table_2() -> list[Recipe]:
    """ImageNet at a higher resolution with averaged weights: what the headline numbers were measured with."""
    imagenet = next(recipe for recipe in _table_4() if recipe.name == "paper-finetune-imagenet")
    rows = (
        (512, "vit-l16", "vit-l16.google_in21k", "85.30 % from ImageNet-21k, 87.76 % from JFT-300M (Table 2)"),
        (518, "vit-h14", "runs/paper-jft300m-vit-h14", "88.55 % from JFT-300M (Table 2)"),
    )
    return [
        dataclasses.replace(
            imagenet,
            name=f"paper-finetune-imagenet-{pixels}",
            summary=f"{name} to ImageNet-1k at {pixels} px, with averaged weights",
            source=f"{PAPER}, Table 4, row ImageNet, and Table 2: {pixels} px, Polyak averaging 0.9999",
            expected=f"ImageNet top-1 {top1}",
            model=model,
            image_size=(pixels, pixels),
            average_decay=0.9999,
        )
        for pixels, name, model, top1 in rows
    ]


def _vtab() -> list[Recipe]:
    """One setting for all tasks; BiT neither crops nor mirrors where that changes the answer (its section 3.3)."""
    vtab = dataclasses.replace(
        FINETUNE,
        name="paper-finetune-vtab",
        summary="to any of the 19 tasks of VTAB-1k at 384 px, one setting for all",
        source=f"{PAPER}, Table 4, row VTAB; images as in BiT, but 384 px, cut from 448 (as in big_vision)",
        expected="mean of 19 tasks: 72.72 % with ViT-L/16 from ImageNet-21k, 77.63 % with H/14 from JFT-300M (Table 2)",
        hardware="TPUv3",
        model="vit-l16.google_in21k",
        data="VTAB-1k",
        learning_rate=0.01,
        warmup_steps=200,
        steps=2_500,
        augment=AugmentConfig(crop="squash", resize=448),
    )
    whole = dataclasses.replace(
        vtab,
        name="paper-finetune-vtab-whole",
        summary="the same for tasks about place and direction: images are neither cropped nor mirrored",
        augment=AugmentConfig(crop="squash", resize=384, flip=False),
    )
    return [vtab, whole]

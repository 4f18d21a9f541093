"""Named recipes: the paper's, number for number, two for small data and the demo's, each with its source.

Names answer to `--recipe`. The paper's batches of 4096 and 512 are reached by accumulating micro-batches.
"""

from __future__ import annotations

import dataclasses

from vitreous.config import AugmentConfig, Recipe
from vitreous.errors import UsageError, unknown_name

_PAPER = "Dosovitskiy et al., ICLR 2021"

# Table 3: Adam 0.9/0.999, batch 4096, 10k warm-up steps, resolution 224; clipping at norm 1 for ImageNet only.
_PRETRAIN = Recipe(
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

# Table 4: SGD with momentum 0.9, batch 512, cosine decay, no weight decay, clipping at norm 1, resolution 384.
# The 500 warm-up steps are those of the authors' code (vit_jax/configs/common.py).
_FINETUNE = Recipe(
    name="paper-finetune",
    purpose="finetune",
    optimizer="sgd",
    batch_size=512,
    schedule="cosine",
    warmup_steps=500,
    clip_norm=1.0,
    image_size=(384, 384),
    dropout=0.0,
    steps=10_000,
)

# Digits are not mirrored, and nothing is cut off them.
_HANDWRITING = AugmentConfig(crop="centre", flip=False, rotate=8.0, shift=0.06, zoom=0.2)

_RECIPES = (
    dataclasses.replace(
        _PRETRAIN,
        name="paper-jft300m",
        summary="ViT-B pre-training on JFT-300M",
        source=f"{_PAPER}, Table 3, row ViT-B/{{16,32}} JFT-300M",
        expected="ViT-B/16: 84.15 % ImageNet top-1 after fine-tuning (Table 5)",
        learning_rate=8e-4,
        weight_decay=0.1,
        epochs=7,
    ),
    dataclasses.replace(
        _PRETRAIN,
        name="paper-imagenet21k",
        summary="ViT-B pre-training on ImageNet-21k",
        source=f"{_PAPER}, Table 3, row ViT-B/{{16,32}} ImageNet-21k",
        expected="ViT-B/16: 83.97 % ImageNet top-1 after fine-tuning (Table 5)",
        learning_rate=1e-3,
        weight_decay=0.03,
        dropout=0.1,
        epochs=90,
    ),
    dataclasses.replace(
        _PRETRAIN,
        name="paper-imagenet",
        summary="ViT pre-training on ImageNet-1k",
        source=f"{_PAPER}, Table 3, row ViT-* ImageNet",
        expected="ViT-B/16: 77.91 % ImageNet top-1 after fine-tuning (Table 5)",
        learning_rate=3e-3,
        weight_decay=0.3,
        dropout=0.1,
        schedule="cosine",
        clip_norm=1.0,
        epochs=300,
    ),
    Recipe(
        name="small-pretrain",
        purpose="pretrain",
        summary="from scratch on hundreds to thousands of images, on one machine",
        source="this project: Adam with decoupled decay, cosine, clipping and averaged weights",
        optimizer="adam",
        learning_rate=1e-3,
        weight_decay=0.05,
        schedule="cosine",
        warmup_fraction=0.1,
        epochs=60,
        batch_size=128,
        clip_norm=1.0,
        label_smoothing=0.1,
        average_decay=0.998,
        augment=AugmentConfig(crop_area=(0.35, 1.0), flip=True, rotate=10.0),
    ),
    dataclasses.replace(
        _FINETUNE,
        name="paper-finetune-imagenet",
        summary="fine-tuning on ImageNet at 384 px",
        source=f"{_PAPER}, Table 4, row ImageNet; 0.03 of the sweep 0.003-0.06, as in vit_jax/configs",
        expected="ViT-B/16 from ImageNet-21k: 83.97 % top-1 (Table 5)",
        learning_rate=0.03,
        steps=20_000,
    ),
    dataclasses.replace(
        _FINETUNE,
        name="paper-finetune-cifar",
        summary="fine-tuning on CIFAR-10 or CIFAR-100 at 384 px",
        source=f"{_PAPER}, Table 4, rows CIFAR; 0.01 of the sweep 0.001-0.03, as in vit_jax/configs",
        expected="ViT-B/16 from ImageNet-21k: 98.95 % CIFAR-10, 91.67 % CIFAR-100 (Table 5)",
        learning_rate=0.01,
        steps=10_000,
    ),
    dataclasses.replace(
        _FINETUNE,
        name="paper-finetune-small",
        summary="fine-tuning on Pets or Flowers at 384 px",
        source=f"{_PAPER}, Table 4, rows Pets and Flowers; 0.01 of the sweep 0.001-0.03",
        expected="ViT-B/16 from ImageNet-21k: 94.43 % Pets, 99.38 % Flowers (Table 5)",
        learning_rate=0.01,
        warmup_steps=100,
        steps=500,
    ),
    dataclasses.replace(
        _FINETUNE,
        name="paper-finetune-vtab",
        summary="one setting for all 19 tasks of VTAB-1k",
        source=f"{_PAPER}, Table 4, row VTAB",
        expected="ViT-H/14 from JFT: 77.63 % mean of 19 tasks (Table 2)",
        learning_rate=0.01,
        warmup_steps=200,
        steps=2_500,
    ),
    Recipe(
        name="small-finetune",
        purpose="finetune",
        summary="transfer to tens to thousands of images, on one machine",
        source="this project, after the paper's Table 4: SGD with momentum, cosine, clipping, zero head",
        optimizer="sgd",
        learning_rate=0.03,
        momentum=0.9,
        schedule="cosine",
        warmup_fraction=0.1,
        epochs=30,
        batch_size=64,
        clip_norm=1.0,
        average_decay=0.99,
        augment=AugmentConfig(crop_area=(0.35, 1.0), flip=True),
    ),
    Recipe(
        name="demo-pretrain",
        purpose="pretrain",
        summary="the demo's pre-training on mnist-5k",
        source="this project",
        learning_rate=3e-3,
        weight_decay=0.05,
        warmup_fraction=0.1,
        epochs=18,
        batch_size=50,
        clip_norm=1.0,
        average_decay=0.99,
        augment=_HANDWRITING,
    ),
    Recipe(
        name="demo-transfer",
        purpose="finetune",
        summary="the demo's transfer to ten digits per class",
        source="this project, after the paper's Table 4: SGD with momentum, cosine, clipping, zero head",
        optimizer="sgd",
        learning_rate=0.1,
        warmup_fraction=0.1,
        steps=200,
        batch_size=50,
        clip_norm=1.0,
        augment=_HANDWRITING,
    ),
    Recipe(
        name="demo-scratch",
        purpose="pretrain",
        summary="the demo's training from scratch on ten digits per class",
        source="this project: as many images and steps as demo-transfer, Adam because SGD does worse from scratch",
        learning_rate=1e-3,
        warmup_fraction=0.1,
        steps=200,
        batch_size=50,
        clip_norm=1.0,
        image_size=(42, 42),
        augment=_HANDWRITING,
    ),
)


def recipe_names(purpose: str | None = None) -> tuple[str, ...]:
    """The names of all recipes, or of those for one verb.

    Args:
        purpose: "pretrain", "finetune", or None for both.
    """
    return tuple(recipe.name for recipe in _RECIPES if purpose in (None, recipe.purpose))


def find_recipe(name: str | None, purpose: str) -> Recipe:
    """The recipe called `name`, or the one for small data where no name is given.

    Args:
        name: as listed by `recipe_names`, or None.
        purpose: the verb it is for, "pretrain" or "finetune".

    Raises:
        UnknownNameError: no recipe has that name.
        UsageError: the recipe is for the other verb.
    """
    name = name or f"small-{purpose}"
    found = next((recipe for recipe in _RECIPES if recipe.name == name), None)
    if found is None:
        raise unknown_name("recipe", name, recipe_names(purpose))
    if found.purpose != purpose:
        raise UsageError(
            f"recipe {name} is for {found.purpose}, not for {purpose}",
            remedy=f"one of: {', '.join(recipe_names(purpose))}",
        )
    return found

"""Steiner et al., "How to train your ViT?", TMLR 2022 (AugReg): every setting of pre-training, and fine-tuning.

Numbers are the paper's, section 3 and Table 4, checked against big_vision/configs/vit_i1k.py and vit_i21k.py.
"""

from __future__ import annotations

import dataclasses

from vitreous.config import AugmentConfig, Recipe
from vitreous.recipe.family import Family
from vitreous.recipe.units import decoupled

_PAPER = "Steiner et al., TMLR 2022 (AugReg)"

# Level: RandAugment's (layers, magnitude), and Mixup's alpha. (2, 0) is not nothing: some operations ignore magnitude.
_LEVELS: dict[str, tuple[tuple[int, int] | None, float]] = {
    "none": (None, 0.0),
    "light1": ((2, 0), 0.0),
    "light2": ((2, 10), 0.2),
    "medium1": ((2, 15), 0.2),
    "medium2": ((2, 15), 0.5),
    "strong1": ((2, 20), 0.5),
    "strong2": ((2, 20), 0.8),
}
# The names of the released files count from another start.
_FILES = {"light1": "light0", "light2": "light1"}

# big_vision's level for each model, and top-1 of the paper's Table 3 after 300 epochs and fine-tuning at 384 pixels: of
# the setting that did best, which need not be this one.
_RECOMMENDED = {
    "i1k": {
        "vit-ti16": ("light1", 74.64),
        "vit-s32": ("medium1", 75.65),
        "vit-s16": ("medium2", 80.70),
        "vit-b32": ("medium2", 76.60),
        "vit-b16": ("medium2", 81.63),
        "vit-l16": ("medium2", 77.21),
    },
    "i21k": {
        "vit-ti16": ("none", 78.22),
        "vit-s32": ("none", 79.58),
        "vit-s16": ("light1", 83.73),
        "vit-b32": ("light2", 83.59),
        "vit-b16": ("light2", 85.49),
        "vit-l16": ("medium2", 85.59),
    },
}

# What the head's bias begins with, so that all classes start out improbable: about log(1 / 1,000), and -10.
_DATA = {"i1k": ("ImageNet-1k", -6.9), "i21k": ("ImageNet-21k", -10.0)}

# Table 4: name, data, learning rates to choose from, (steps, warm-up) to choose from, share held out for choosing.
_LOW = (1e-3, 3e-3, 1e-2)
_TABLE_4 = (
    ("imagenet", "ImageNet-1k", (0.01, 0.03), ((20_000, 500),), 0.01),
    ("pets", "Oxford-IIIT Pets", _LOW, ((500, 100), (2_500, 200)), 0.1),
    ("kitti", "KITTI distance", _LOW, ((500, 100), (2_500, 200)), 0.1),
    ("cifar100", "CIFAR-100", _LOW, ((2_500, 200), (10_000, 500)), 0.02),
    ("resisc45", "Resisc45", _LOW, ((2_500, 200), (10_000, 500)), 0.25),
    ("vtab", "VTAB-1k", (1e-3, 3e-3, 1e-2, 3e-2), ((500, 100), (2_500, 200)), 0.2),  # as Pets, and at 224 pixels
)


def families() -> tuple[Family, ...]:
    """Pre-training with each model's recommended level, with every setting of the study, and fine-tuning."""
    i1k, i21k, long = _grid("i1k", 300), _grid("i21k", 30), _grid("i21k", 300)
    return (
        Family(name="augreg", title="AugReg, the recommended level per model", paper=_PAPER, recipes=_recommended()),
        Family(name="augreg-i1k", title="AugReg, every setting on ImageNet-1k", paper=_PAPER, recipes=i1k),
        Family(name="augreg-i21k", title="AugReg, every setting on ImageNet-21k", paper=_PAPER, recipes=i21k + long),
        Family(name="augreg-finetune", title="AugReg's fine-tuning, Table 4", paper=_PAPER, recipes=_finetuning()),
    )


def _pretrain(data: str, epochs: int, level: str) -> Recipe:
    """A setting without dropout and stochastic depth, with the decay that big_vision's configs have."""
    (rand, mixup), (words, head_bias) = _LEVELS[level], _DATA[data]
    layers, magnitude = rand or (2, 0)
    trap = f"; released files call this level {_FILES[level]}" if level in _FILES else ""
    return Recipe(
        name=f"augreg-{data}",
        purpose="pretrain",
        source=f"{_PAPER}, section 3{trap}",
        hardware="not stated",
        data=words,
        optimizer="adam",
        learning_rate=1e-3,
        weight_decay=decoupled(1e-4, 1e-3),
        schedule="cosine",
        warmup_steps=10_000,
        epochs=epochs,
        batch_size=4096,
        clip_norm=1.0,
        loss="sigmoid",
        head_bias=head_bias,
        hidden_head=data == "i1k",  # "rep_size" of vit_i1k.py, absent from vit_i21k.py
        mixup=mixup,
        dropout=0.0,
        drop_path=0.0,
        image_size=(224, 224),
        augment=AugmentConfig(
            policy="randaugment" if rand else "none", rand_layers=layers, rand_magnitude=float(magnitude)
        ),
    )


def _recommended() -> tuple[Recipe, ...]:
    recipes = []
    for data, models in _RECOMMENDED.items():
        for model, (level, top1) in models.items():
            setting = _pretrain(data, 300, level)
            recipe = dataclasses.replace(
                setting,
                name=f"augreg-{data}-{model}",
                summary=f"{model} on {setting.data}, 300 epochs, augmentation {level}",
                source=f"{setting.source}; level of big_vision/configs/vit_{data}.py",
                expected=f"{top1:.2f} % ImageNet top-1 fine-tuned at 384 px, best of all settings (Table 3)",
                model=model,
            )
            recipes.append(recipe)
    return tuple(recipes)


def _grid(data: str, epochs: int) -> tuple[Recipe, ...]:
    """7 levels, with and without dropout and stochastic depth, 2 decays: 28 settings, for any model."""
    length = "" if data == "i1k" else f"-{epochs}ep"
    return tuple(
        dataclasses.replace(
            setting,
            name=f"augreg-{data}{length}-{level}{'-drop' if drop else ''}-wd{decay:g}",
            summary=f"any model on {setting.data}, {epochs} epochs, augmentation {level}, "
            f"{'dropout and stochastic depth 0.1' if drop else 'no dropout'}, decay {decay:g}",
            expected="one of the 28 settings behind figure 4",
            model="vit-b16",
            weight_decay=decay,
            dropout=drop,
            drop_path=drop,
        )
        for level in _LEVELS
        for drop in (0.0, 0.1)
        for decay in (0.1, 0.03)
        for setting in [_pretrain(data, epochs, level)]
    )


def _finetuning() -> tuple[Recipe, ...]:
    """Each data set, length and resolution; unless one is chosen, the rate is what big_vision's transfer.py takes."""
    return tuple(
        Recipe(
            name=f"augreg-finetune-{short}"
            + (f"-{steps}" if len(lengths) > 1 else "")
            + (f"-{pixels}px" if pixels != 384 else ""),
            purpose="finetune",
            summary=f"to {data} at {pixels} px in {steps:,} steps",
            source=f"{_PAPER}, Table 4; the rate is one of its {len(rates)}, or --sweep",
            expected="85.49 % ImageNet top-1 with ViT-B/16 (Table 3)"
            if (short, pixels) == ("imagenet", 384)
            else "not stated",
            hardware="not stated",
            model="vit-b16.google_augreg_in21k",
            data=data,
            optimizer="sgd",
            momentum=0.9,
            learning_rate=0.03 if short == "imagenet" else 0.01,
            sweep=rates,
            sweep_share=share,
            schedule="cosine",
            warmup_steps=warmup,
            steps=steps,
            batch_size=512,
            clip_norm=1.0,
            dropout=0.0,
            image_size=(pixels, pixels),
        )
        for short, data, rates, lengths, share in _TABLE_4
        for steps, warmup in lengths
        for pixels in ((224,) if short == "vtab" else (384, 224))
    )

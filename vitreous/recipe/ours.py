"""This project's own recipes: for small data on one machine, and for the demo."""

from __future__ import annotations

import dataclasses

from vitreous.config import AugmentConfig, Recipe
from vitreous.recipe.family import Family

_OURS = "this project"

# Digits are not mirrored, and nothing is cut off them.
_HANDWRITING = AugmentConfig(crop="centre", flip=False, rotate=8.0, shift=0.06, zoom=0.2)

_PHOTOS = AugmentConfig(crop_area=(0.35, 1.0), flip=True)

_PRETRAIN = Recipe(
    name="small-pretrain",
    purpose="pretrain",
    summary="from scratch on hundreds to thousands of images, on one machine",
    source=f"{_OURS}: Adam with decoupled decay, cosine, clipping and averaged weights",
    model="vit-ti16",
    data="photos",
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
    augment=dataclasses.replace(_PHOTOS, rotate=10.0),
)

_THUMBNAIL = Recipe(
    name="small-images",
    purpose="pretrain",
    summary="from scratch on tens of thousands of images of some 30 pixels, in minutes on a CPU",
    source=f"{_OURS}: Adam with decoupled decay, cosine, random erasing and averaged weights",
    model="vit-28",
    data="fashion-mnist",
    optimizer="adam",
    learning_rate=3e-3,
    betas=(0.9, 0.99),
    weight_decay=0.05,
    schedule="cosine",
    warmup_fraction=0.1,
    epochs=25,
    batch_size=128,
    clip_norm=1.0,
    average_decay=0.998,
    augment=AugmentConfig(crop="centre", erase=0.25),
)

_FEW_LABELS = dataclasses.replace(
    _THUMBNAIL,
    name="few-labels",
    purpose="finetune",
    source=f"{_OURS}: small-images' optimiser on 600 labelled images, rates searched with a wider network",
    learning_rate=1e-3,
    epochs=None,
    steps=1000,
    batch_size=64,
    average_decay=0.99,
    augment=AugmentConfig(crop="centre"),
)

_FINETUNE = Recipe(
    name="small-finetune",
    purpose="finetune",
    summary="transfer to tens to thousands of images, on one machine",
    source=f"{_OURS}, after the ViT paper's Table 4: SGD with momentum, cosine, clipping, zero head",
    model="vit-b16.google_augreg_in21k",
    data="photos",
    optimizer="sgd",
    learning_rate=0.03,
    momentum=0.9,
    schedule="cosine",
    warmup_fraction=0.1,
    epochs=30,
    batch_size=64,
    clip_norm=1.0,
    average_decay=0.99,
    augment=_PHOTOS,
)


def families() -> tuple[Family, ...]:
    """For small data, three of each verb as --quality has them; for small images; and the demo's."""
    return (
        Family(
            name="quality-pretrain",
            title="from scratch on small data, as --quality chooses",
            paper="ours",
            recipes=_scratch(),
        ),
        Family(
            name="quality-finetune",
            title="transfer to small data, as --quality chooses",
            paper="ours",
            recipes=_transfer(),
        ),
        Family(name="thumbnail", title="images of some 30 pixels, from scratch", paper="ours", recipes=_thumbnails()),
        Family(
            name="thumbnail-finetune",
            title="few labels after masked patches of many images",
            paper="ours",
            recipes=(_masked_finetune(),),
        ),
        Family(name="demo", title="the demo's runs from scratch", paper="ours", recipes=_demo_pretrain()),
        Family(name="demo-finetune", title="the demo's transfer", paper="ours", recipes=(_demo_transfer(),)),
    )


def _scratch() -> tuple[Recipe, ...]:
    fast = dataclasses.replace(
        _PRETRAIN,
        name="fast-pretrain",
        summary="from scratch in a quarter of the time of small-pretrain (--quality fast)",
        epochs=15,
        label_smoothing=0.0,
        average_decay=0.99,
    )
    best = dataclasses.replace(
        _PRETRAIN,
        name="best-pretrain",
        summary="from scratch, three times as long as small-pretrain, with Mixup and RandAugment (--quality best)",
        source=f"{_OURS}: small-pretrain with the augmentation of AugReg's light2 and its stochastic depth",
        epochs=180,
        label_smoothing=0.0,
        mixup=0.2,
        drop_path=0.1,
        average_decay=0.999,
        augment=dataclasses.replace(_PHOTOS, policy="randaugment", rand_layers=2, rand_magnitude=10.0),
    )
    return fast, _PRETRAIN, best


def _transfer() -> tuple[Recipe, ...]:
    fast = dataclasses.replace(
        _FINETUNE,
        name="fast-finetune",
        summary="only the head learns, for a first answer in minutes (--quality fast)",
        source=f"{_OURS}: a linear head on frozen features, by Adam, whose steps do not depend on the features' scale",
        train="head",
        optimizer="adam",
        learning_rate=3e-3,
        epochs=15,
        clip_norm=None,
    )
    best = dataclasses.replace(
        _FINETUNE,
        name="best-finetune",
        summary="twice as long, with Mixup and light RandAugment; choose the rate with --sweep (--quality best)",
        source=f"{_OURS}: small-finetune with AugReg's Mixup 0.2, weaker RandAugment, and the ViT paper's sweep",
        epochs=60,
        mixup=0.2,
        sweep=(0.003, 0.01, 0.03),
        sweep_share=0.1,
        augment=dataclasses.replace(_PHOTOS, policy="randaugment", rand_layers=2, rand_magnitude=5.0),
    )
    return fast, _FINETUNE, best


def _thumbnails() -> tuple[Recipe, ...]:
    labels = dataclasses.replace(
        _THUMBNAIL,
        measured="91.0 % of fashion-mnist's 10,000 test images, three seeds, 20 epochs (benchmarks/README.md)",
        hardware="two CPU cores, 10 to 15 minutes",
    )
    masked = dataclasses.replace(
        _THUMBNAIL,
        name="small-masked",
        summary="without labels: hidden patches of small images, for small-masked-finetune to begin from",
        source=f"{_OURS}: small-images' optimiser on masked patch prediction (ViT paper, appendix B.1.2)",
        objective="masked-patch",
        epochs=5,
        average_decay=None,
        augment=AugmentConfig(crop="centre"),
    )
    scratch = dataclasses.replace(
        _FEW_LABELS,
        name="small-masked-scratch",
        purpose="pretrain",
        summary="small-masked-finetune's steps on the same few labels, from random weights",
        measured="66.5 % of fashion-mnist's test images by 600 labels, three seeds (benchmarks/README.md)",
        model=_THUMBNAIL.model,
        learning_rate=3e-3,
    )
    return labels, masked, scratch


def _masked_finetune() -> Recipe:
    return dataclasses.replace(
        _FEW_LABELS,
        name="small-masked-finetune",
        summary="tens of labelled images per class, after small-masked on many without labels",
        measured="75.9 % of fashion-mnist's test images by 600 labels, three seeds (benchmarks/README.md)",
        model="runs/small-masked",
    )


def _demo_pretrain() -> tuple[Recipe, ...]:
    pretrain = Recipe(
        name="demo-pretrain",
        purpose="pretrain",
        summary="the demo's pre-training on mnist-5k",
        source=_OURS,
        measured="95.3 % of 1,000 held-out digits of mnist-5k, one run (docs/demo.png)",
        hardware="two CPU cores, under two minutes for the whole demo",
        model="vit-test",
        data="mnist-5k",
        learning_rate=3e-3,
        weight_decay=0.05,
        warmup_fraction=0.1,
        epochs=18,
        batch_size=50,
        clip_norm=1.0,
        average_decay=0.99,
        augment=_HANDWRITING,
    )
    scratch = Recipe(
        name="demo-scratch",
        purpose="pretrain",
        summary="the demo's training from scratch on ten digits per class",
        source=f"{_OURS}: as many images and steps as demo-transfer, Adam because SGD does worse from scratch",
        measured="73.5 % of 1,697 digits, one run (docs/demo.png); logistic regression on pixels 89.7 %",
        hardware="two CPU cores, under two minutes for the whole demo",
        model="vit-test",
        data="digits",
        learning_rate=1e-3,
        warmup_fraction=0.1,
        steps=200,
        batch_size=50,
        clip_norm=1.0,
        image_size=(42, 42),
        augment=_HANDWRITING,
    )
    return pretrain, scratch


def _demo_transfer() -> Recipe:
    return Recipe(
        name="demo-transfer",
        purpose="finetune",
        summary="the demo's transfer to ten digits per class",
        source=f"{_OURS}, after the ViT paper's Table 4: SGD with momentum, cosine, clipping, zero head",
        measured="93.3 % of 1,697 digits, one run (docs/demo.png)",
        hardware="two CPU cores, under two minutes for the whole demo",
        model="runs/demo-1/pretrain",
        data="digits",
        optimizer="sgd",
        learning_rate=0.1,
        warmup_fraction=0.1,
        steps=200,
        batch_size=50,
        clip_norm=1.0,
        augment=_HANDWRITING,
    )

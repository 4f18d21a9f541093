"""BiT's HyperRule: one recipe for every data set, chosen by its size (Kolesnikov et al., 2020, bit_hyperrule.py)."""

from __future__ import annotations

from vitreous.architecture import Size
from vitreous.config import AugmentConfig, Recipe
from vitreous.recipe.family import Family

_PAPER = "Kolesnikov et al., ECCV 2020 (BiT)"

_MIXUP_FROM = 20_000  # images
_MEDIUM_FROM, _LARGE_FROM = 20_000, 500_000  # images
_SMALL_AREA = 96 * 96  # pixels


def families() -> tuple[Family, ...]:
    """The rule, as it stands for fewer than 20,000 images of more than 96 x 96 pixels."""
    recipes = (hyperrule(1_000, (224, 224)),)
    return (Family(name="bit", title="BiT's HyperRule", paper=_PAPER, recipes=recipes),)


def hyperrule(num_images: int, image_size: Size) -> Recipe:
    """What the HyperRule says for one data set.

    Args:
        num_images: how many are trained on.
        image_size: height and width that they usually have, in pixels.
    """
    area = image_size[0] * image_size[1]
    resize, crop = (160, 128) if area < _SMALL_AREA else (512, 480)
    if num_images < _MEDIUM_FROM:
        steps, milestones, warmup = 500, (200, 300, 400), 100
    elif num_images < _LARGE_FROM:
        steps, milestones, warmup = 10_000, (3_000, 6_000, 9_000), 500
    else:
        steps, milestones, warmup = 20_000, (6_000, 12_000, 18_000), 500
    return Recipe(
        name="bit-hyperrule",
        purpose="finetune",
        summary="transfer to any photos: steps, size and Mixup follow from how many and how large they are "
        "(here: fewer than 20,000, of more than 96 x 96 pixels)",
        source=f"{_PAPER}, section 3.3, and bit_hyperrule.py",
        expected="80.68 % ImageNet top-1 with BiT-M R50x1, 85.15 % with R152x2 (README of big_transfer)",
        hardware="not stated",
        model="bit-r50x1.google_m_in21k",
        data="photos",
        optimizer="sgd",
        momentum=0.9,
        learning_rate=0.003,
        schedule="steps",
        milestones=tuple(step / steps for step in milestones),
        warmup_steps=warmup,
        steps=steps,
        batch_size=512,
        mixup=0.1 if num_images >= _MIXUP_FROM else 0.0,
        image_size=(crop, crop),
        augment=AugmentConfig(crop="squash", resize=resize),
    )

"""RandAugment: a few operations in a row, drawn evenly, all of one strength (Cubuk et al., NeurIPS 2020).

Two of its kind that differ in nearly everything: the original, by which AugReg and the plain ViT were trained, and
timm's, by which DeiT was.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageEnhance, ImageOps

from vitreous.data.augmenting.operations import Colour, Warp, cut_out, lifted, posterised

GREY: Colour = (128, 128, 128)

ORIGINAL = (
    "AutoContrast",
    "Equalize",
    "Invert",
    "Rotate",
    "Posterize",
    "Solarize",
    "Color",
    "Contrast",
    "Brightness",
    "Sharpness",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "Cutout",
    "SolarizeAdd",
)

INCREASING = (
    "AutoContrast",
    "Equalize",
    "Invert",
    "Rotate",
    "PosterizeIncreasing",
    "SolarizeIncreasing",
    "SolarizeAdd",
    "ColorIncreasing",
    "ContrastIncreasing",
    "BrightnessIncreasing",
    "SharpnessIncreasing",
    "ShearX",
    "ShearY",
    "TranslateXRel",
    "TranslateYRel",
)

_ENHANCERS = {
    "Color": ImageEnhance.Color,
    "Contrast": ImageEnhance.Contrast,
    "Brightness": ImageEnhance.Brightness,
    "Sharpness": ImageEnhance.Sharpness,
}

_NEAREST = Warp(Image.Resampling.NEAREST, GREY)


def randaugment(
    image: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator, *, layers: int, magnitude: float
) -> UInt8[np.ndarray, "h w 3"]:
    """The original policy, as big_vision runs it: pp/archive/autoaugment.py, `distort_image_with_randaugment`.

    Args:
        image: RGB at the model's resolution.
        rng: drawn from.
        layers: operations in a row.
        magnitude: their strength, nominally 0 to 10; not drawn.
    """
    shown = Image.fromarray(image)
    for _ in range(layers):
        shown = original(shown, ORIGINAL[int(rng.random() * len(ORIGINAL))], magnitude, rng)
    return np.asarray(shown)


def original(image: Image.Image, name: str, level: float, rng: np.random.Generator) -> Image.Image:
    """One of the original operations.

    Strength does not always rise with the level: 5 leaves colours alone, 0 posterises to one bit, and solarising's
    threshold of 25.6 * level turns over at 256, because TensorFlow compares in 8 bits (google-research/big_vision,
    issue 110); so level 10 inverts all of the image. Where TensorFlow drops the fraction of grey and smoothed values
    and of the mean that contrast is about, Pillow rounds: so a result may differ by 1 of 255, at level 20 by 3.

    Args:
        image: RGB.
        name: one of ORIGINAL.
        level: nominally 0 to 10.
        rng: drawn from.
    """
    share = level / 10
    match name:
        case "AutoContrast":
            return ImageOps.autocontrast(image)
        case "Equalize":
            return ImageOps.equalize(image)
        case "Invert":
            return ImageOps.invert(image)
        case "Posterize":  # TensorFlow takes a shift modulo 256, and one of more than 7 bits as 7
            return posterised(image, 8 - min((8 - int(share * 4)) % 256, 7))
        case "Solarize":
            return ImageOps.solarize(image, int(share * 256) % 256)
        case "SolarizeAdd":
            return lifted(image, int(share * 110))
        case "Cutout":
            return cut_out(image, int(share * 40), rng, GREY)
        case "Color" | "Contrast" | "Brightness" | "Sharpness":
            return _ENHANCERS[name](image).enhance(share * 1.8 + 0.1)
        case "Rotate":
            return _NEAREST.rotated(image, _either_way(share * 30, rng))
        case "ShearX" | "ShearY":  # about the middle of the first row: TensorFlow counts from the middles of pixels
            return _NEAREST.slanted(image, _axis(name), _either_way(share * 0.3, rng), about=0.5)
        case "TranslateX" | "TranslateY":  # in pixels, whatever the image's size
            return _NEAREST.shifted(image, _axis(name), _either_way(share * 100, rng))
    raise AssertionError(f"no operation {name}")


def randaugment_timm(
    image: UInt8[np.ndarray, "h w 3"],
    rng: np.random.Generator,
    *,
    layers: int,
    magnitude: float,
    std: float,
    warp: Warp,
) -> UInt8[np.ndarray, "h w 3"]:
    """timm's policy "rand-m9-mstd0.5-inc1", as DeiT runs it: timm/data/auto_augment.py, `AugmentOp` and `RandAugment`.

    Every operation grows with its strength, is done half of the time, and draws its own strength.

    Args:
        image: RGB at the model's resolution.
        rng: drawn from, in timm's order.
        layers: operations in a row.
        magnitude: mean strength, 0 to 10.
        std: spread of the normal distribution that strengths are drawn from, then cut to 0 to 10.
        warp: how images are turned, slanted and shifted.
    """
    shown = Image.fromarray(image)
    names = [INCREASING[int(rng.random() * len(INCREASING))] for _ in range(layers)]
    for name in names:
        if rng.random() > 0.5:
            continue
        level = magnitude + std * float(rng.standard_normal()) if std else magnitude
        shown = increasing(shown, name, min(max(level, 0.0), 10.0), rng, warp)
    return np.asarray(shown)


def increasing(image: Image.Image, name: str, level: float, rng: np.random.Generator, warp: Warp) -> Image.Image:
    """One of timm's increasing operations.

    Args:
        image: RGB.
        name: one of INCREASING.
        level: 0 to 10.
        rng: drawn from.
        warp: how images are turned, slanted and shifted.
    """
    share = level / 10
    match name:
        case "AutoContrast":
            return ImageOps.autocontrast(image)
        case "Equalize":
            return ImageOps.equalize(image)
        case "Invert":
            return ImageOps.invert(image)
        case "PosterizeIncreasing":
            return posterised(image, 4 - int(share * 4))
        case "SolarizeIncreasing":
            return ImageOps.solarize(image, 256 - int(share * 256))
        case "SolarizeAdd":
            return lifted(image, int(share * 110))
        case "ColorIncreasing" | "ContrastIncreasing" | "BrightnessIncreasing" | "SharpnessIncreasing":
            factor = max(0.1, 1.0 + _either_way(share * 0.9, rng))
            return _ENHANCERS[name.removesuffix("Increasing")](image).enhance(factor)
        case "Rotate":
            return warp.rotated(image, _either_way(share * 30, rng))
        case "ShearX" | "ShearY":
            return warp.slanted(image, _axis(name), _either_way(share * 0.3, rng))
        case "TranslateXRel" | "TranslateYRel":
            side = image.width if _axis(name) == "x" else image.height
            return warp.shifted(image, _axis(name), _either_way(share * 0.45, rng) * side)
    raise AssertionError(f"no operation {name}")


def _either_way(amount: float, rng: np.random.Generator) -> float:
    """The amount or its negative, drawn evenly."""
    return -amount if rng.random() > 0.5 else amount


def _axis(name: str) -> Literal["x", "y"]:
    return "x" if "X" in name else "y"

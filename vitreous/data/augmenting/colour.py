"""Random changes of colour and sharpness alone: DeiT-III's 3-Augment, and torchvision's colour jitter."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

_RADII = (0.1, 2.0)  # of 3-Augment's blur, in pixels


def three(image: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    """The image in grey, or solarised, or blurred: one of the three, drawn evenly.

    Source: Touvron et al., ECCV 2022, section 3 ("3-Augment"); deit/augment.py `new_data_aug_generator`.

    Args:
        image: RGB.
        rng: drawn from.
    """
    shown = Image.fromarray(image)
    match int(rng.random() * 3):
        case 0:
            return np.asarray(shown.convert("L").convert("RGB"))
        case 1:
            return np.asarray(ImageOps.solarize(shown))
    least, most = _RADII
    return np.asarray(shown.filter(ImageFilter.GaussianBlur(least + (most - least) * rng.random())))


def jittered(
    image: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator, strength: float
) -> UInt8[np.ndarray, "h w 3"]:
    """Brightness, contrast and saturation scaled, one after the other in random order (torchvision's ColorJitter).

    Args:
        image: RGB.
        rng: drawn from.
        strength: 0 to 1; each factor lies between 1 - strength and 1 + strength.
    """
    factors = (1 + strength * (2 * rng.random(3) - 1)).tolist()
    shown = Image.fromarray(image)
    for turn in np.argsort(rng.random(3)).tolist():
        enhancer = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)[turn]
        shown = enhancer(shown).enhance(factors[turn])
    return np.asarray(shown)

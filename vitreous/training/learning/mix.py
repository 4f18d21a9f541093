"""Mixup and cutmix: each image of a batch mixed with the one a place before it, all in the same proportion.

How a step mixes is a pure function of seed and step, and an image's mate is given by its place in the step's batch, so
that micro-batches, ranks and restarts change nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from vitreous.architecture import Size
from vitreous.config import Recipe

_PURPOSE = 3  # sets this stream apart from those of order (data/feeding) and augmentation (data/augmenting)

Rectangle = tuple[int, int, int, int]
"""(top, bottom, left, right) in pixels; rows top..bottom-1 and columns left..right-1."""


@dataclass(frozen=True)
class Mix:
    """How one step's images are mixed with their mates."""

    share: float
    """What an image keeps of itself, 0 to 1; its mate gives the rest."""
    box: Rectangle | None = None
    """With cutmix: where the mate is shown. None blends the whole image (mixup)."""


def mix_of(seed: int, step: int, recipe: Recipe, size: Size) -> Mix | None:
    """How a step mixes its images; None where the recipe does not mix.

    With mixup and cutmix both on, each step does one of them, drawn evenly (timm, DeiT).

    Args:
        seed: of the run.
        step: from 0.
        recipe: `mixup` and `cutmix` are the parameters of the Beta distributions.
        size: (height, width) of the images.
    """
    if not recipe.mixes:
        return None
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, step), spawn_key=(_PURPOSE,))))
    cuts = rng.random() < 0.5 if recipe.mixup and recipe.cutmix else recipe.cutmix > 0
    if not cuts:
        share = float(rng.beta(recipe.mixup, recipe.mixup))
        return Mix(max(share, 1 - share))
    box = cut_box(float(rng.beta(recipe.cutmix, recipe.cutmix)), rng, size)
    top, bottom, left, right = box
    return Mix(1 - (bottom - top) * (right - left) / math.prod(size), box)


def cut_box(share: float, rng: np.random.Generator, size: Size) -> Rectangle:
    """A rectangle of the image's own proportions over `1 - share` of it, about any pixel, cut off at the border.

    Source: Yun et al., ICCV 2019, equation 2; timm's `rand_bbox`, the same but for where its numbers come from.

    Args:
        share: of the image that is left, before the border takes from the rectangle.
        rng: drawn from.
        size: (height, width) of the image.
    """
    height, width = size
    ratio = math.sqrt(1 - share)
    rows, columns = int(height * ratio), int(width * ratio)
    y, x = (int(rng.random() * side) for side in size)
    top, bottom = max(y - rows // 2, 0), min(y + (rows + 1) // 2, height)
    left, right = max(x - columns // 2, 0), min(x + (columns + 1) // 2, width)
    return top, bottom, left, right


def mixed(images: Float[Tensor, "b c h w"], mates: Float[Tensor, "b c h w"], mix: Mix) -> Float[Tensor, "b c h w"]:
    """The images mixed with their mates: blended (mixup), or with the mates' pixels in the box (cutmix).

    Args:
        images: scaled as the model takes them.
        mates: in the same order.
        mix: from `mix_of`.
    """
    if mix.box is None:
        return images * mix.share + mates * (1 - mix.share)
    top, bottom, left, right = mix.box
    result = images.clone()
    result[:, :, top:bottom, left:right] = mates[:, :, top:bottom, left:right]
    return result


def mixed_targets(targets: Float[Tensor, "b Y"], mate_targets: Float[Tensor, "b Y"], mix: Mix) -> Float[Tensor, "b Y"]:
    """The targets in the same proportion as the images.

    Args:
        targets: probability of each class, or 0 and 1 for each of several labels.
        mate_targets: those of the mates.
        mix: from `mix_of`.
    """
    return targets * mix.share + mate_targets * (1 - mix.share)

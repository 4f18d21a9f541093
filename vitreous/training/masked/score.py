"""How well hidden patches are guessed on held-out images, beside what can be had without the model."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Int, Int64, UInt8
from torch import Tensor, nn

from vitreous.architecture import Size
from vitreous.config import PreprocessConfig, Recipe
from vitreous.data.imageset import ImageSet
from vitreous.errors import DataError
from vitreous.evaluation.metrics import wilson_interval
from vitreous.report.masked import Guess, MaskedScore
from vitreous.results import Failure
from vitreous.training.masked.patch import Answers, MaskedPatchObjective, held_out_answers, inside
from vitreous.training.masked.targets import NUM_COLOURS, colour_of_pixels, colours, patch_pixels

_Z = 1.959963984540054  # the 97.5 % quantile of the standard normal
_VEIL = (188, 211, 227)  # what hidden patches are painted with


def score_masked(
    prepared: nn.Module,
    images: ImageSet,
    preprocess: PreprocessConfig,
    recipe: Recipe,
    batch_size: int,
    shown: Sequence[int] = (),
) -> MaskedScore:
    """How often the colours of hidden patches are said rightly, and how often they can be guessed without a model.

    Args:
        prepared: around a `MaskedPatch`; in evaluation mode.
        images: held out.
        preprocess: the model's.
        recipe: gives target and share.
        batch_size: images per forward pass.
        shown: places in `images` that become `guesses`.

    Raises:
        DataError: not one image can be read.
    """
    objective, config = MaskedPatchObjective(recipe.masked_target), inside(prepared).vit.config
    grid, patch = config.grid_at(preprocess.image_size), config.stride
    loss, hidden, counts, failed = 0.0, 0, np.zeros(NUM_COLOURS), list[Failure]()
    right, near, guesses = list[float](), list[float](), list[Guess]()
    for answers in held_out_answers(prepared, images, preprocess, recipe, batch_size, failed):
        truth = _truth(objective, answers)
        each = objective.right(answers.outputs, answers.targets).tolist()
        loss += float(objective.loss(answers.outputs, answers.targets))
        hidden += answers.places.size
        counts += np.bincount(truth.flatten(), minlength=NUM_COLOURS) / truth[0].size
        around = surroundings(answers.images, answers.places, grid, patch)
        near += (around[..., None] == truth).mean(axis=(1, 2)).tolist()
        right += each
        for place in np.flatnonzero(np.isin(answers.indices, shown)):
            name = images.ids[answers.indices[place]]
            guesses.append(_guess(objective, answers, int(place), name, each[place], grid, patch))
    if not right:
        why = "; ".join(f"{failure.path}: {failure.reason}" for failure in failed[:3])
        raise DataError("not one of the images can be read", where=images.name, why=why or "there are none")
    return MaskedScore(
        share=float(np.mean(right)),
        interval=interval_of_mean(right),
        loss=loss / len(right),
        seen=len(right),
        expected=len(images),
        failed=tuple(failed),
        hidden=hidden,
        commonest=float(counts.max() / len(right)),
        nearest=float(np.mean(near)),
        guesses=tuple(guesses),
    )


def surroundings(
    images: UInt8[np.ndarray, "b H W 3"], places: Int[np.ndarray, "b K"], grid: Size, patch: Size
) -> Int64[np.ndarray, "b K"]:
    """For every hidden patch the mean colour of the up to eight patches around it that show, else of all that show.

    Args:
        images: RGB.
        places: the hidden patches.
        grid: (rows, columns) of patches.
        patch: (height, width) in pixels.
    """
    colour = patch_pixels(images, grid, patch).unflatten(-1, (-1, 3)).mean(dim=2)  # (b, N, 3)
    rows = torch.arange(len(images))[:, None]
    shows = torch.ones(*colour.shape[:2], 1)
    shows[rows, torch.from_numpy(places)] = 0
    both = torch.cat([colour * shows, shows], dim=2).transpose(1, 2).unflatten(2, grid)  # (b, 4, h, w)
    sums = F.avg_pool2d(both, 3, stride=1, padding=1, divisor_override=1).flatten(2).transpose(1, 2)
    sums = torch.where(sums[..., 3:] > 0, sums, both.flatten(2).sum(dim=2)[:, None])
    mean = sums[..., :3] / sums[..., 3:].clamp(min=1)  # where nothing shows: a middling grey
    return colour_of_pixels(mean[rows, torch.from_numpy(places)]).numpy()


def interval_of_mean(shares: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the mean of shares that are independent of each other, by their spread.

    Args:
        shares: in [0, 1], one of each image. Of one image, or where all agree, Wilson's interval is given.
    """
    count, mean = len(shares), float(np.mean(shares))
    if count == 1 or np.ptp(shares) == 0:
        return wilson_interval(round(mean * count), count)
    half = _Z * float(np.std(shares, ddof=1)) / math.sqrt(count)
    return max(0.0, mean - half), min(1.0, mean + half)


def _truth(objective: MaskedPatchObjective, answers: Answers) -> Int64[np.ndarray, "b K C"]:
    """True colours as classes, whatever the model was asked for."""
    targets: Tensor = answers.targets.cpu()
    return (colour_of_pixels(targets)[..., None] if objective.target == "pixels" else targets).numpy()


def _guess(
    objective: MaskedPatchObjective,
    answers: Answers,
    place: int,
    path: str,
    share: float,
    grid: Size,
    patch: Size,
) -> Guess:
    """One of the images, its hidden patches painted over, and painted as the model says they look."""
    image, outputs = answers.images[place], answers.outputs[place : place + 1]
    if objective.target == "pixels":
        painted = ((outputs[0] + 1) * 127.5).round().clamp(0, 255).byte().cpu().numpy().reshape(-1, *patch, 3)
    else:
        painted = _painted(objective.said(outputs)[0].cpu().numpy(), patch)
    veiled, said = image.copy(), image.copy()
    for where, pixels in zip(answers.places[place], painted, strict=True):
        top, left = where // grid[1] * patch[0], where % grid[1] * patch[1]
        veiled[top : top + patch[0], left : left + patch[1]] = _VEIL
        said[top : top + patch[0], left : left + patch[1]] = pixels
    return Guess(path=path, share=share, image=image, hidden=veiled, said=said)


def _painted(classes: Int[np.ndarray, "K C"], patch: Size) -> UInt8[np.ndarray, "K p q 3"]:
    """Patches in the colours of their cells."""
    side = math.isqrt(classes.shape[1])
    y, x = (np.arange(length) * side // length for length in patch)
    return colours(classes).reshape(-1, side, side, 3)[:, y][:, :, x]

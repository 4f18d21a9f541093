"""The golden input and output of a model: a picture made by a formula, and what the model answered to it when saved.

Recomputing it shows that weights, architecture and preprocessing still are what they were.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vitreous.config import ModelCard, PreprocessConfig
from vitreous.errors import ConfigError, ModelFileError
from vitreous.picture.preprocess import normalise

TOLERANCE = 3e-5
"""Of the largest logit, or of 1: an order above what machines and thread counts differ by in float32."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Golden:
    """What a model answers to `golden_image`, in float32 on a CPU."""

    logits: tuple[float, ...]
    """One number per class; the pooled features for a model without a head."""
    tolerance: float
    """Largest difference that another machine may show in any of them."""

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (*self.logits, self.tolerance))):
            raise ConfigError("a golden output is made of finite numbers")


def golden_image(config: PreprocessConfig) -> NDArray[np.uint8]:
    """The golden input, (height, width, 3): at row y, column x, channel c it is (7y + 13x + 29c + xy) mod 256.

    Args:
        config: gives the size; the image needs no resizing.
    """
    y, x, c = np.ogrid[: config.image_size[0], : config.image_size[1], :3]
    return ((7 * y + 13 * x + 29 * c + x * y) % 256).astype(np.uint8)


def golden_of(model: nn.Module, card: ModelCard) -> Golden:
    """What `model` answers now, computed on the CPU wherever it is.

    Args:
        model: left as it is found.
        card: what the model file will say of its preprocessing.
    """
    logits = _answer(model, card.preprocess)
    scale = float(np.abs(logits).max(initial=1.0))
    # the shortest digits that give the same float32 back
    return Golden(logits=tuple(float(str(value)) for value in logits), tolerance=TOLERANCE * scale)


def check_golden(model: nn.Module, card: ModelCard, golden: Golden, where: str) -> None:
    """Recompute the golden output of a loaded model.

    Args:
        model: as loaded.
        card: of its file.
        golden: of its file.
        where: names the file.

    Raises:
        ModelFileError: the answers differ by more than the stated tolerance.
    """
    answer = _answer(model, card.preprocess)
    if answer.shape != (len(golden.logits),):
        raise ModelFileError(
            f"the model answers with {answer.size} numbers, its file says {len(golden.logits)}", where=where
        )
    distance = float(np.abs(answer - np.asarray(golden.logits, dtype=np.float32)).max(initial=0.0))
    if not math.isfinite(distance) or distance > golden.tolerance:
        raise ModelFileError(
            "the model no longer computes what it did when it was saved",
            where=where,
            why=f"its golden output differs by {distance:.2g}, allowed is {golden.tolerance:.2g}",
            remedy="the weights are intact, so the code or the machine computes differently: compare versions",
        )


def _answer(model: nn.Module, preprocess: PreprocessConfig) -> NDArray[np.float32]:
    if any(tensor.device.type != "cpu" for tensor in model.state_dict().values()):
        model = copy.deepcopy(model).cpu()
    images = torch.from_numpy(normalise(golden_image(preprocess)[None], preprocess))
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.inference_mode():
            return model(images)[0].float().numpy()
    finally:
        for module, training in modes.items():
            module.training = training

"""From the strangest pictures to the model's answer: right size, finite numbers."""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
import pytest
import torch
from image_files import png
from tiny_architectures import TINY

from vitreous.config import PreprocessConfig
from vitreous.picture.decode import decode
from vitreous.picture.preprocess import fit, normalise
from vitreous.weights.load import open_model

PLAIN = {
    **{"black": (24, 40, 0), "white": (24, 40, 255), "grey": (24, 40, 128), "one pixel": (1, 1, 77)},
    **{"a thread": (1, 5000, 200), "a thread on end": (5000, 1, 201), "the model's size": (32, 48, 9)},
}


@cache
def prepared(resize: Literal["cover", "squash"]) -> torch.Tensor:
    """Every plain picture, through the file format and preprocessing: (7, 3, 32, 48)."""
    look = PreprocessConfig(image_size=(32, 48), resize=resize)
    pixels = []
    for height, width, value in PLAIN.values():
        fitted = fit(decode(png(np.full((height, width, 3), value, np.uint8), 2)), look)
        assert (fitted == value).all(), (height, width)
        pixels.append(fitted)
    return torch.from_numpy(normalise(np.stack(pixels), look))


@pytest.mark.parametrize("name", TINY)
def test_pictures_without_any_structure_have_finite_logits(name: str) -> None:
    """All architectures, also those that divide by what varies in an image."""
    model, _ = open_model(TINY[name])
    model.eval()
    for resize in ("cover", "squash"):
        with torch.inference_mode():
            logits = model(prepared(resize))
        assert logits.shape[0] == len(PLAIN)
        assert torch.isfinite(logits).all()

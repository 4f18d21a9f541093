"""Other people's models in memory as checkpoints, and ours of them: what the tests of the dialects share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from random_vit import Model, tensors
from torch import Tensor

from vitreous.model.vit import ViT
from vitreous.weights.dialects.dialect import Dialect, Understood, translate
from vitreous.weights.formats.container import Raw


def raw(state: Mapping[str, Tensor], name: str = "model.pth", **sidecars: dict[str, Any]) -> Raw:
    """A state dict as if it had been read from a file; sidecars by their names with `_json` for `.json`."""
    beside = {key.replace("_json", ".json"): value for key, value in sidecars.items()}
    return Raw(path=Path(name), kind="pickle", tensors=dict(state), metadata={}, sidecars=beside, ignored=())


def read(dialect: Dialect, source: Raw, **settings: Any) -> tuple[ViT, Understood]:
    """Our model of a foreign checkpoint, strictly, and what was understood."""
    assert dialect.recognises(source)
    understood = dialect.understand(source, settings)
    native, _ = translate(source, dialect, understood)
    with torch.device("meta"):
        model = ViT(understood.architecture)  # type: ignore[arg-type]
    model.load_state_dict({name: value.clone() for name, value in native.items()}, strict=True, assign=True)
    return model.eval(), understood


def draw_wide(model: Model, seed: int = 0) -> Model:
    """As `random_vit.draw`, for models of a real size, whose matrices are too wide for numbers as large as there."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in tensors(model).items():
        noise = torch.randn(value.shape, generator=generator)
        if value.ndim < 2:
            drawn = 1 + 0.4 * noise if name.endswith("weight") else 0.4 * noise
        else:
            drawn = 0.7 * noise if value.shape[0] == 1 else noise / math.sqrt(value[0].numel())
        value.data.copy_(drawn)
    return model


def equal_states(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Whether two state dicts are the same, bit for bit."""
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())

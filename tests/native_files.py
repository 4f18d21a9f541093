"""Model files made for tests, and the safetensors format written a second time, by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from random_vit import random_vit

from vitreous.config import ModelCard, PreprocessConfig
from vitreous.model.vit import ViT
from vitreous.weights.golden import golden_of
from vitreous.weights.native import save_native

CLASSES = tuple(f"classe n° {i} «é»" for i in range(11))
PREPROCESS = PreprocessConfig(image_size=(24, 40), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))


def card_for(model: ViT, **changes: Any) -> ModelCard:
    """A card that says something in every field."""
    fields: dict[str, Any] = {
        "architecture": model.config,
        "preprocess": PREPROCESS,
        "classes": CLASSES[: model.config.num_classes],
        "provenance": {"command": 'vitreous finetune "my photos"', "steps": 120, "parents": ["a", None, 0.5]},
        "licence": "CC-BY-4.0",
    }
    return ModelCard(**{**fields, **changes})


def saved(path: Path, seed: int = 0, **changes: Any) -> ViT:
    """A small random model, written to `path`."""
    model = random_vit(seed, **changes)
    card = card_for(model)
    save_native(path, model.state_dict(), card, golden_of(model, card))
    model.card = card
    return model


def raw_safetensors(header: Any, body: bytes = b"", *, length: int | None = None) -> bytes:
    """A safetensors file around any header; `length` lies about its size."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + body


def split(blob: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and tensors of a safetensors file."""
    length = int.from_bytes(blob[:8], "little")
    return json.loads(blob[8 : 8 + length]), blob[8 + length :]

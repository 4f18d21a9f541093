"""Google's arrays as if read from a file, and the other spellings in which the same model was published.

The spellings are written down here a second time, from the upstream sources; nothing is taken from the package.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitreous.model.create import Model, build
from vitreous.weights.dialects.dialect import Understood, translate
from vitreous.weights.dialects.google import GOOGLE
from vitreous.weights.formats.container import Raw

Arrays = dict[str, NDArray]


def raw(arrays: Mapping[str, NDArray] | Mapping[str, Tensor]) -> Raw:
    """A container with these arrays."""
    tensors = {
        name: value if isinstance(value, Tensor) else torch.from_numpy(np.array(value))
        for name, value in arrays.items()
    }
    return Raw(path=Path("some.npz"), kind="npz", tensors=tensors, metadata={}, sidecars={}, ignored=())


def understand(arrays: Mapping[str, NDArray] | Mapping[str, Tensor], **settings: Any) -> Understood:
    """What the dialect makes of arrays that it must recognise."""
    read = raw(arrays)
    assert GOOGLE.recognises(read)
    return GOOGLE.understand(read, settings)


def native(arrays: Mapping[str, NDArray], **settings: Any) -> dict[str, Tensor]:
    """Every native tensor."""
    return translate(raw(arrays), GOOGLE, understand(arrays, **settings))[0]


def model(arrays: Mapping[str, NDArray], **settings: Any) -> Model:
    """The model, in evaluation mode."""
    made = build(understand(arrays, **settings).architecture)
    made.load_state_dict(native(arrays, **settings), strict=True)
    return made.eval()


def images(height: int, width: int, seed: int = 3) -> NDArray[np.float32]:
    """Normal noise (2, height, width, 3)."""
    return np.random.default_rng(seed).standard_normal((2, height, width, 3)).astype(np.float32)


def answer(module: torch.nn.Module, seen: NDArray[np.float32]) -> Tensor:
    """Logits of images (B, H, W, C)."""
    with torch.inference_mode():
        return module(torch.from_numpy(seen).permute(0, 3, 1, 2))


def prefixed(arrays: Arrays, prefix: str) -> Arrays:
    """Everything below a folder."""
    return {prefix + name: value for name, value in arrays.items()}


_LINEN = {
    "MultiHeadDotProductAttention_1": "MultiHeadDotProductAttention_0",
    "LayerNorm_2": "LayerNorm_1",
    "MlpBlock_3": "MlpBlock_0",
}


def linen(arrays: Arrays) -> Arrays:
    """Block parts counted per class, as flax.training.checkpoints.convert_pre_linen leaves them."""
    return {
        re.sub(r"(encoderblock_\d+)/(\w+)", lambda m: f"{m[1]}/{_LINEN.get(m[2], m[2])}", name): value
        for name, value in arrays.items()
    }


def pre_linen(arrays: Arrays) -> Arrays:
    """Block parts counted together, as before Linen."""
    back = {new: old for old, new in _LINEN.items()}
    return {
        re.sub(r"(encoderblock_\d+)/(\w+)", lambda m: f"{m[1]}/{back.get(m[2], m[2])}", name): value
        for name, value in arrays.items()
    }


def scanned(arrays: Arrays) -> Arrays:
    """Blocks stacked along a first axis, as big_vision's pyloop_to_scan does."""
    made, stacks = {}, dict[str, dict[int, NDArray]]()
    for name, value in arrays.items():
        match = re.fullmatch(r"Transformer/encoderblock_(\d+)/(.+)", name)
        if match:
            stacks.setdefault(match[2], {})[int(match[1])] = value
        else:
            made[name] = value
    return made | {
        f"Transformer/encoderblock/{rest}": np.stack([parts[i] for i in range(len(parts))])
        for rest, parts in stacks.items()
    }


def unsqueezed(arrays: Arrays) -> Arrays:
    """GroupNorms as old Linen saved them, (1, 1, 1, C)."""
    return {
        name: value[None, None, None] if re.search(r"gn\w+/(scale|bias)$|group_norm/", name) else value
        for name, value in arrays.items()
    }


def renamed(arrays: Arrays, old: str, new: str) -> Arrays:
    """One text in every name replaced."""
    return {name.replace(old, new): value for name, value in arrays.items()}


def numbered(arrays: Arrays) -> Arrays:
    """BiT with numbered op names, as in some published files."""
    return {
        name.replace("standardized_conv2d/", f"standardized_conv2d_{i}/"): value
        for i, (name, value) in enumerate(arrays.items())
    }


def jax_bit(arrays: Arrays) -> Arrays:
    """BiT in big_vision's names (bit_paper.py, maybe_convert_big_transfer_format)."""
    made = {
        "root_block/conv_root/kernel": arrays["resnet/root_block/standardized_conv2d/kernel"],
        "norm-pre-head/bias": arrays["resnet/group_norm/beta"][None, None, None],
        "norm-pre-head/scale": arrays["resnet/group_norm/gamma"][None, None, None],
        "head/kernel": arrays["resnet/head/conv2d/kernel"][0, 0],
        "head/bias": arrays["resnet/head/conv2d/bias"],
    }
    for unit in {match[1] for name in arrays if (match := re.match(r"resnet/(block\d/unit\d\d)/", name))}:
        for i, group in enumerate("abc", 1):
            at = f"resnet/{unit}/{group}"
            made[f"{unit}/conv{i}/kernel"] = arrays[f"{at}/standardized_conv2d/kernel"]
            made[f"{unit}/gn{i}/bias"] = arrays[f"{at}/group_norm/beta"][None, None, None]
            made[f"{unit}/gn{i}/scale"] = arrays[f"{at}/group_norm/gamma"][None, None, None]
        if f"resnet/{unit}/a/proj/standardized_conv2d/kernel" in arrays:
            made[f"{unit}/conv_proj/kernel"] = arrays[f"resnet/{unit}/a/proj/standardized_conv2d/kernel"]
    return made

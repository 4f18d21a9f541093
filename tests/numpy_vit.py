"""The Vision Transformer a second time, in NumPy and float64, for tests to compare against.

Written from the paper (section 3.1, equations 1-4, appendix A) with plain loops over patches and heads; it shares no
code and no idea of layout with the package. Only the names of the weights are the package's.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

Array = NDArray[np.float64]


def forward(
    weights: Mapping[str, NDArray],
    images: NDArray,
    *,
    patch_size: tuple[int, int],
    num_heads: int,
    gelu: str = "erf",
    norm_eps: float = 1e-6,
    pool: str = "cls",
    table_grid: tuple[int, int] | None = None,
) -> dict[str, Array]:
    """Every intermediate by the name of its tap, "logits" last.

    Args:
        weights: all arrays of a model by name.
        images: (B, C, H, W).
        patch_size: (height, width).
        num_heads: heads per block.
        gelu: "erf" or "tanh".
        norm_eps: added to the variance.
        pool: "cls" or "mean".
        table_grid: grid the position table was made for, where it is not that of the images.
    """
    w = {name: np.asarray(value, np.float64) for name, value in weights.items()}
    out: dict[str, Array] = {}

    # equation 1: patches in reading order, each one flattened and multiplied with E
    height, width = patch_size
    rows, columns = images.shape[2] // height, images.shape[3] // width
    kernel, bias = w["patch_embed.proj.weight"], w["patch_embed.proj.bias"]
    patches = []
    for r in range(rows):
        for c in range(columns):
            patch = images[:, :, r * height : (r + 1) * height, c * width : (c + 1) * width].astype(np.float64)
            patches.append(patch.reshape(len(images), -1) @ kernel.reshape(len(kernel), -1).T + bias)
    z = out["patch_embed"] = np.stack(patches, axis=1)

    positions = w["pos_embed"][0]
    if "cls_token" in w:
        z = np.concatenate([np.repeat(w["cls_token"], len(images), axis=0), z], axis=1)
    if table_grid is not None and table_grid != (rows, columns):
        first = z.shape[1] - rows * columns
        picture = positions[first:].reshape(*table_grid, -1)
        zoomed = ndimage.zoom(picture, (rows / table_grid[0], columns / table_grid[1], 1), order=1)
        positions = np.concatenate([positions[:first], zoomed.reshape(rows * columns, -1)])
    z = out["embed"] = z + positions

    for i in range(sum(name.endswith(".norm1.weight") for name in w)):
        at = f"blocks.{i}"
        attention = _attention(w, at, _layer_norm(z, w, f"{at}.norm1", norm_eps), num_heads, out)
        z = z + attention  # equation 2
        hidden = _gelu(_dense(_layer_norm(z, w, f"{at}.norm2", norm_eps), w, f"{at}.mlp.fc1"), gelu)
        mlp = _dense(hidden, w, f"{at}.mlp.fc2")
        z = z + mlp  # equation 3
        out |= {f"{at}.attn": attention, f"{at}.mlp.hidden": hidden, f"{at}.mlp": mlp, at: z}

    z = out["norm"] = _layer_norm(z, w, "norm", norm_eps)
    y = z[:, 0] if pool == "cls" else z[:, z.shape[1] - rows * columns :].mean(axis=1)  # equation 4
    if "pre_logits.fc.weight" in w:
        y = out["pre_logits"] = np.tanh(_dense(y, w, "pre_logits.fc"))
    out["logits"] = _dense(y, w, "head") if "head.weight" in w else y
    return out


def _attention(w: Mapping[str, Array], at: str, x: Array, num_heads: int, out: dict[str, Array]) -> Array:
    """Appendix A, one head after the other: equations 5-8."""
    dim = x.shape[-1]
    head_dim = dim // num_heads
    kept: dict[str, list[Array]] = {"q": [], "k": [], "v": [], "weights": []}
    heads = []
    for head in range(num_heads):
        q, k, v = (
            x @ w[f"{at}.attn.qkv.weight"][start : start + head_dim].T
            + w[f"{at}.attn.qkv.bias"][start : start + head_dim]
            for start in (which * dim + head * head_dim for which in range(3))
        )
        scores = np.einsum("bnk,bmk->bnm", q, k) / np.sqrt(head_dim)
        weights = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
        heads.append(np.einsum("bnm,bmk->bnk", weights, v))
        for name, value in (("q", q), ("k", k), ("v", v), ("weights", weights)):
            kept[name].append(value)
    out |= {f"{at}.attn.{name}": np.stack(values, axis=1) for name, values in kept.items()}
    return _dense(np.concatenate(heads, axis=-1), w, f"{at}.attn.proj")


def _dense(x: Array, w: Mapping[str, Array], at: str) -> Array:
    return np.einsum("...i,oi->...o", x, w[f"{at}.weight"]) + w[f"{at}.bias"]


def _layer_norm(x: Array, w: Mapping[str, Array], at: str, eps: float) -> Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    return centred / np.sqrt(variance + eps) * w[f"{at}.weight"] + w[f"{at}.bias"]


def _gelu(x: Array, form: str) -> Array:
    if form == "erf":
        return 0.5 * x * (1 + special.erf(x / np.sqrt(2)))
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

"""Google's Vision Transformers a second time, in NumPy and float64, straight from the arrays of the published files.

Images are (B, H, W, C), kernels (height, width, in, out) and (in, heads, head_dim). Names and order of operations are
those of vit_jax/models_vit.py and big_vision/models/vit.py, with plain loops over patches and heads; the stem of a
hybrid is that of `numpy_resnet`. It shares no code and no layout with the package.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from numpy_resnet import hybrid, hybrid_arrays
from scipy import ndimage, special

Array = NDArray[np.float64]
Arrays = dict[str, NDArray[np.float32]]

OLD = ("LayerNorm_0", "MultiHeadDotProductAttention_1", "LayerNorm_2", "MlpBlock_3")
LINEN = ("LayerNorm_0", "MultiHeadDotProductAttention_0", "LayerNorm_1", "MlpBlock_0")


def forward(arrays: Mapping[str, NDArray], images: NDArray, *, pool: str = "token", gelu: str = "tanh") -> Array:
    """Logits, or what the head would read.

    Args:
        arrays: by their names in the files, without a prefix; vit_jax's spelling or big_vision's.
        images: (B, H, W, C).
        pool: "token" and "gap" are vit_jax's, "tok", "gap" and "map" big_vision's.
        gelu: "tanh" is Google's.
    """
    w = {name: np.asarray(value, np.float64) for name, value in arrays.items()}
    seen: Array = np.asarray(images, np.float64)
    if "conv_root/kernel" in w:
        seen = list(hybrid(arrays, images).values())[-1]
    grid, x = patches(seen, w["embedding/kernel"], w["embedding/bias"])
    if "Transformer/posembed_input/pos_embedding" in w:  # vit_jax: class token in front, then positions
        if "cls" in w:
            x = np.concatenate([np.repeat(w["cls"], len(x), axis=0), x], axis=1)
        x = x + zoomed(w["Transformer/posembed_input/pos_embedding"][0], grid)
    else:  # big_vision: positions, then class token
        x = x + (zoomed(w["pos_embedding"][0], grid) if "pos_embedding" in w else sincos2d(grid, x.shape[2]))
        if pool == "tok":
            x = np.concatenate([np.repeat(w["cls"], len(x), axis=0), x], axis=1)
    i = 0
    while f"Transformer/encoderblock_{i}/LayerNorm_0/scale" in w:
        x = block(w, f"Transformer/encoderblock_{i}", x, gelu)
        i += 1
    x = layer_norm(x, w, "Transformer/encoder_norm")
    if pool in ("token", "tok"):
        y = x[:, 0]
    elif pool == "gap":
        y = x.mean(axis=1)
    else:
        y = map_head(w, x, gelu)
    if "pre_logits/kernel" in w:
        y = np.tanh(dense(y, w, "pre_logits"))
    return dense(y, w, "head") if "head/kernel" in w else y


def patches(x: Array, kernel: Array, bias: Array) -> tuple[tuple[int, int], Array]:
    """Rows and columns, and each patch times the kernel; what is left at the edge is not looked at (VALID)."""
    height, width = kernel.shape[:2]
    rows, columns = x.shape[1] // height, x.shape[2] // width
    found = []
    for r in range(rows):
        for c in range(columns):
            patch = x[:, r * height : (r + 1) * height, c * width : (c + 1) * width]
            found.append(np.tensordot(patch, kernel, axes=3) + bias)
    return (rows, columns), np.stack(found, axis=1)


def zoomed(table: Array, grid: tuple[int, int]) -> Array:
    """The table for a grid, a class row in front left alone; only square ones are zoomed, as in the original code."""
    if len(table) - grid[0] * grid[1] in (0, 1):
        return table
    side = int(np.sqrt(len(table)))
    first = len(table) - side**2
    assert first in (0, 1), f"{len(table)} rows are no square"
    picture = ndimage.zoom(table[first:].reshape(side, side, -1), (grid[0] / side, grid[1] / side, 1), order=1)
    return np.concatenate([table[:first], picture.reshape(grid[0] * grid[1], -1)])


def sincos2d(grid: tuple[int, int], width: int) -> Array:
    """Sine of x, cosine of x, sine of y, cosine of y, for width / 4 frequencies each."""
    table = np.zeros((grid[0] * grid[1], width))
    quarter = width // 4
    for r in range(grid[0]):
        for c in range(grid[1]):
            for k in range(quarter):
                omega = 10_000 ** (-k / (quarter - 1))
                four = (np.sin(c * omega), np.cos(c * omega), np.sin(r * omega), np.cos(r * omega))
                table[r * grid[1] + c, k::quarter] = four
    return table


def block(w: Mapping[str, Array], at: str, x: Array, gelu: str) -> Array:
    """One encoder block, in either count of its layers."""
    norm1, attention, norm2, mlp = OLD if f"{at}/{OLD[1]}/query/kernel" in w else LINEN
    y = layer_norm(x, w, f"{at}/{norm1}")
    x = x + attend(w, f"{at}/{attention}", y, y)
    return x + perceptron(w, f"{at}/{mlp}", layer_norm(x, w, f"{at}/{norm2}"), gelu)


def map_head(w: Mapping[str, Array], x: Array, gelu: str) -> Array:
    """The probe looks at all tokens; no residual from the probe."""
    probe = np.repeat(w["MAPHead_0/probe"], len(x), axis=0)
    x = attend(w, "MAPHead_0/MultiHeadDotProductAttention_0", probe, x)
    x = x + perceptron(w, "MAPHead_0/MlpBlock_0", layer_norm(x, w, "MAPHead_0/LayerNorm_0"), gelu)
    return x[:, 0]


def attend(w: Mapping[str, Array], at: str, asking: Array, seen: Array) -> Array:
    """One head after the other."""
    kernel = w[f"{at}/query/kernel"]
    y = np.zeros_like(asking) + w[f"{at}/out/bias"]
    for head in range(kernel.shape[1]):
        q, k, v = (
            x @ w[f"{at}/{part}/kernel"][:, head] + w[f"{at}/{part}/bias"][head]
            for part, x in (("query", asking), ("key", seen), ("value", seen))
        )
        scores = np.einsum("bnk,bmk->bnm", q / np.sqrt(kernel.shape[2]), k)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        y = y + np.einsum("bnm,bmk->bnk", weights, v) @ w[f"{at}/out/kernel"][head]
    return y


def perceptron(w: Mapping[str, Array], at: str, x: Array, gelu: str) -> Array:
    """Dense, GELU, dense."""
    x = dense(x, w, f"{at}/Dense_0")
    if gelu == "tanh":
        x = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    else:
        x = 0.5 * x * (1 + special.erf(x / np.sqrt(2)))
    return dense(x, w, f"{at}/Dense_1")


def dense(x: Array, w: Mapping[str, Array], at: str) -> Array:
    """x times kernel plus bias."""
    return x @ w[f"{at}/kernel"] + w[f"{at}/bias"]


def layer_norm(x: Array, w: Mapping[str, Array], at: str) -> Array:
    """Mean 0 and variance 1 over the channels, epsilon 1e-6."""
    x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-6) * w[f"{at}/scale"] + w[f"{at}/bias"]


def vit_arrays(
    *,
    width: int = 28,
    depth: int = 3,
    heads: int = 4,
    mlp: int = 44,
    patch: tuple[int, int] = (8, 8),
    rows: int = 9,
    classes: int = 11,
    pool: str = "token",
    hidden: int = 0,
    stem: tuple[int, ...] | None = None,
    seed: int = 0,
) -> Arrays:
    """A random Vision Transformer as a file of vit_jax (pool "token") or big_vision (any other) would hold it.

    Args:
        width: of a token.
        depth: blocks.
        heads: per block.
        mlp: width of the hidden layer.
        patch: (height, width).
        rows: patches that the position table is for; 0 for none.
        classes: of the head; 0 for none.
        pool: see `forward`.
        hidden: width of pre_logits; 0 for none.
        stem: units per stage of a hybrid's ResNet.
        seed: fixes the numbers.
    """
    rng = np.random.default_rng(seed)
    made: dict[str, NDArray] = dict(hybrid_arrays(stem, seed=seed + 1)) if stem is not None else {}
    channels = 3 if stem is None else 64 * (4 * 2 ** (len(stem) - 1) if stem else 1)
    head = width // heads

    def layer(at: str, *shape: int, inputs: int = 1, gain: float = 1.0) -> None:
        fan = np.prod(shape[:inputs])
        made[f"{at}/kernel"] = gain * rng.standard_normal(shape) / np.sqrt(fan)
        made[f"{at}/bias"] = 0.4 * rng.standard_normal(shape[inputs:])

    def norm(at: str) -> None:
        made[f"{at}/scale"] = 1 + 0.4 * rng.standard_normal(width)
        made[f"{at}/bias"] = 0.4 * rng.standard_normal(width)

    def attention(at: str) -> None:
        for part in ("query", "key", "value"):
            layer(f"{at}/{part}", width, heads, head)
        layer(f"{at}/out", heads, head, width, inputs=2)

    old = pool == "token" or stem is not None
    table = "Transformer/posembed_input/pos_embedding" if old else "pos_embedding"
    layer("embedding", *patch, channels, width, inputs=3)
    if pool in ("token", "tok"):
        made["cls"] = 0.7 * rng.standard_normal((1, 1, width))
    if rows:
        made[table] = 0.7 * rng.standard_normal((1, rows + int(pool == "token"), width))
    for i in range(depth):
        norm1, attending, norm2, perceptrons = (f"Transformer/encoderblock_{i}/{n}" for n in (OLD if old else LINEN))
        norm(norm1)
        attention(attending)
        norm(norm2)
        layer(f"{perceptrons}/Dense_0", width, mlp, gain=2)  # wide enough that tanh and erf part
        layer(f"{perceptrons}/Dense_1", mlp, width)
    norm("Transformer/encoder_norm")
    if pool == "map":
        made["MAPHead_0/probe"] = rng.standard_normal((1, 1, width))
        attention("MAPHead_0/MultiHeadDotProductAttention_0")
        norm("MAPHead_0/LayerNorm_0")
        layer("MAPHead_0/MlpBlock_0/Dense_0", width, mlp, gain=2)
        layer("MAPHead_0/MlpBlock_0/Dense_1", mlp, width)
    if hidden:
        layer("pre_logits", width, hidden)
    if classes:
        layer("head", hidden or width, classes, gain=2)
    return {name: np.asarray(value, np.float32) for name, value in made.items()}

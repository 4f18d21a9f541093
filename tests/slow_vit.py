"""Every option of the Vision Transformer a second time, in NumPy and float64, one image and one query after the other.

Written from the papers for tests to compare against; it shares the names of weights with the package, and its configs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from vitreous.architecture import ViTConfig

Array = NDArray[np.float64]
Grid = tuple[int, int]


def forward(weights: Mapping[str, NDArray], config: ViTConfig, images: NDArray) -> dict[str, Array]:
    """Some intermediates by the name of their tap, "logits" last.

    Args:
        weights: all arrays of a model by name.
        config: of that model; its stem is not looked at.
        images: (B, C, H, W); for a hybrid the feature maps of its stem.
    """
    w = {name: np.asarray(value, np.float64) for name, value in weights.items()}
    each = [_one(w, config, np.asarray(image, np.float64)) for image in images]
    return {name: np.stack([found[name] for found in each]) for name in each[0]}


def _one(w: Mapping[str, Array], config: ViTConfig, picture: Array) -> dict[str, Array]:
    """One image (C, H, W) through everything."""
    out: dict[str, Array] = {}
    patches, grid = _patches(w, config, picture)
    front = [w[name][0, 0] for name in ("cls_token", "dist_token") if name in w]
    registers = list(w["reg_token"][0]) if "reg_token" in w else []

    def placed(i: int) -> tuple[list[Array], list[Array]]:
        """Positions of the tokens in front and of the patches at block i; zeros where there are none."""
        rows = positions(w, config, grid, i)
        own = len(rows) - len(patches) if len(rows) else 0
        nothing = np.zeros(config.embed_dim)
        return [rows[t] if t < own else nothing for t in range(len(front))], (
            list(rows[own:]) if len(rows) else [nothing for _ in patches]
        )

    first, rest = placed(0)
    x = np.array(
        [t + p for t, p in zip(front, first, strict=True)]
        + registers
        + [t + p for t, p in zip(patches, rest, strict=True)]
    )
    if config.pre_norm:
        x = layer_norm(x, w, "norm_pre", config)
    out["embed"] = x
    for i in range(config.depth):
        if i and config.position_at != "input":
            first, rest = placed(i)
            x = x + np.array([*first, *(np.zeros(config.embed_dim) for _ in registers), *rest])
        parts = [(f"blocks.{i}", config.attention)]
        if config.attention == "axial":
            parts = [(f"blocks.{i}.rows", "row"), (f"blocks.{i}.columns", "column")]
        for at, span in parts:
            y, out[f"{at}.attn.weights"] = attention(w, at, layer_norm(x, w, f"{at}.norm1", config), config, span, grid)
            x = x + scaled(y, w, f"{at}.ls1")
            x = x + scaled(mlp(layer_norm(x, w, f"{at}.norm2", config), w, f"{at}.mlp", config), w, f"{at}.ls2")
        out[f"blocks.{i}"] = x
    if config.pool_norm == "before":
        x = layer_norm(x, w, "norm", config)
    out["norm"] = x
    y = out["pool"] = _pooled(w, config, x, x[len(front) + len(registers) :])
    if config.representation_size:
        y = np.tanh(dense(y, w, "pre_logits.fc"))
    logits = dense(y, w, "head") if config.num_classes else y
    if config.distill_token:
        other = layer_norm(x[1], w, "fc_norm", config) if config.pool_norm == "after" else x[1]
        logits = (logits + dense(other, w, "head_dist")) / 2
    out["logits"] = logits
    return out


def _patches(w: Mapping[str, Array], config: ViTConfig, picture: Array) -> tuple[list[Array], Grid]:
    """Tokens in reading order, or semantic ones, and their grid; what is left behind the last patch is not seen."""
    high, wide = config.patch_size
    grid = picture.shape[1] // high, picture.shape[2] // wide
    kernel = w["patch_embed.proj.weight"]
    bias = w.get("patch_embed.proj.bias", np.zeros(len(kernel)))
    patches = []
    for r in range(grid[0]):
        for c in range(grid[1]):
            patch = picture[:, r * high : (r + 1) * high, c * wide : (c + 1) * wide]
            patches.append(np.array([(patch * one).sum() for one in kernel]) + bias)
    if config.num_tokens is None:
        return patches, grid
    tokens = []
    for row in w["patch_embed.filter.weight"]:  # Wu et al., equation 1: where does this filter look?
        share = softmax(np.array([patch @ row for patch in patches]))
        tokens.append(sum(s * patch for s, patch in zip(share, patches, strict=True)))
    return tokens, (1, config.num_tokens)


def positions(w: Mapping[str, Array], config: ViTConfig, grid: Grid, i: int) -> Array:
    """What is added before block i: rows of tokens in front that have some, then of patches; none at all is empty."""
    D, made = config.embed_dim, (1, config.num_tokens) if config.num_tokens else config.grid
    match config.position:
        case "learned":
            table = w["pos_embed"][i if config.position_at == "every" else 0]
            first = len(table) - made[0] * made[1]
            picture = table[first:].reshape(*made, D)
            if made != grid:
                picture = ndimage.zoom(picture, (grid[0] / made[0], grid[1] / made[1], 1), order=1)
            return np.concatenate([table[:first], picture.reshape(-1, D)])
        case "learned-2d":
            which = i if config.position_at == "every" else 0
            high, wide = (line(w[f"pos_embed_{a}"][which], n) for a, n in zip("yx", grid, strict=True))
            patches = np.array([[*high[r], *wide[c]] for r in range(grid[0]) for c in range(grid[1])])
            return np.concatenate([w["pos_embed_prefix"][which], patches]) if "pos_embed_prefix" in w else patches
        case "sincos" | "sincos-mae":
            return waves(grid, D, config.position)
    return np.zeros((0, D))


def waves(grid: Grid, dim: int, form: str) -> Array:
    """sin x, cos x, sin y, cos y of every patch, one number after the other."""
    rows, quarter = [], dim // 4
    for y in range(grid[0]):
        for x in range(grid[1]):
            row = []
            for place, wave in ((x, math.sin), (x, math.cos), (y, math.sin), (y, math.cos)):
                for k in range(quarter):
                    exponent = k / (quarter - 1) if form == "sincos" else k / quarter
                    row.append(wave(place / 10_000**exponent))
            rows.append(row)
    return np.array(rows)


def line(table: Array, count: int) -> Array:
    """A table of places (n, d) at `count` places between the same ends."""
    at = np.linspace(0, len(table) - 1, count)
    return np.stack([np.interp(at, np.arange(len(table)), column) for column in table.T], axis=1)


def attention(
    w: Mapping[str, Array], at: str, x: Array, config: ViTConfig, span: str, grid: Grid
) -> tuple[Array, Array]:
    """One head after the other, one query after the other: the mixture (N, D), and who looked at whom (A, N, N)."""
    N, (D, A, K) = len(x), (config.embed_dim, config.num_heads, config.head_dim)
    bias = w.get(f"{at}.attn.qkv.bias", np.zeros(3 * D))
    if config.qkv_bias == "query-value":
        bias = np.concatenate([w[f"{at}.attn.q_bias"], np.zeros(D), w[f"{at}.attn.v_bias"]])
    qkv = x @ w[f"{at}.attn.qkv.weight"].T + bias
    offsets = w.get(f"{at}.attn.rel_pos", w.get("rel_pos"))
    if offsets is not None:
        offsets = line(offsets, 2 * N - 1)
    heads, looks = [], np.zeros((A, N, N))
    for a in range(A):
        q, k, v = (qkv[:, part * D + a * K : part * D + (a + 1) * K] for part in range(3))
        if config.qk_norm:
            q, k = layer_norm(q, w, f"{at}.attn.q_norm", config), layer_norm(k, w, f"{at}.attn.k_norm", config)
        if config.rotary:
            q, k = turned(q, config, grid), turned(k, config, grid)
        mixed = np.zeros((N, K))
        for i in range(N):
            keys = [j for j in range(N) if sees(i, j, config, span, grid)]
            scores = [
                q[i] @ k[j] / math.sqrt(K)
                + (0 if offsets is None else q[i] @ offsets[i - j + N - 1] / math.sqrt(K))
                for j in keys
            ]  # fmt: skip
            for j, share in zip(keys, softmax(np.array(scores)), strict=True):
                looks[a, i, j] = share
                mixed[i] += share * v[j]
        heads.append(mixed)
    y = np.concatenate(heads, axis=1)
    if config.attn_norm:
        y = layer_norm(y, w, f"{at}.attn.norm", config)
    return dense(y, w, f"{at}.attn.proj"), looks


def sees(i: int, j: int, config: ViTConfig, span: str, grid: Grid) -> bool:
    """Whether token i looks at token j: near patches do, and class token and registers are near to everyone."""
    P = config.num_prefix
    if span == "full" or i < P or j < P:
        return True
    (r, c), (s, d) = divmod(i - P, grid[1]), divmod(j - P, grid[1])
    if span == "row":
        return r == s
    if span == "column":
        return c == d
    assert config.window is not None
    return (r // config.window[0], c // config.window[1]) == (s // config.window[0], d // config.window[1])


def turned(x: Array, config: ViTConfig, grid: Grid) -> Array:
    """Queries or keys (N, K) turned in planes: the first half of the planes by the row, the others by the column."""
    y, quarter, half = x.copy(), config.head_dim // 4, config.head_dim // 2
    scale = config.rotary_grid or grid
    for n in range(config.num_prefix, len(x)):
        place = divmod(n - config.num_prefix, grid[1])
        for plane in range(half):
            axis, i = divmod(plane, quarter)
            period = config.rotary_base ** (i / quarter)
            if config.rotary == "eva":
                angle, (one, two) = place[axis] * scale[axis] / grid[axis] / period, (2 * plane, 2 * plane + 1)
            else:
                centre = 2 * (place[axis] + 0.5) / grid[axis] - 1
                angle, (one, two) = 2 * math.pi * centre / period, (plane, plane + half)
            y[n, one] = x[n, one] * math.cos(angle) - x[n, two] * math.sin(angle)
            y[n, two] = x[n, one] * math.sin(angle) + x[n, two] * math.cos(angle)
    return y


def mlp(x: Array, w: Mapping[str, Array], at: str, config: ViTConfig) -> Array:
    """Two layers with a GELU, or a gate, between them."""
    hidden = dense(x, w, f"{at}.fc1")
    if config.mlp == "swiglu":
        gate, value = hidden[..., : config.mlp_dim], hidden[..., config.mlp_dim :]
        hidden = gate / (1 + np.exp(-gate)) * value
    elif config.gelu == "erf":
        hidden = 0.5 * hidden * (1 + special.erf(hidden / math.sqrt(2)))
    elif config.gelu == "tanh":
        hidden = 0.5 * hidden * (1 + np.tanh(math.sqrt(2 / math.pi) * (hidden + 0.044715 * hidden**3)))
    else:
        hidden = hidden / (1 + np.exp(-1.702 * hidden))
    if config.mlp_norm:
        hidden = layer_norm(hidden, w, f"{at}.norm", config)
    return dense(hidden, w, f"{at}.fc2")


def _pooled(w: Mapping[str, Array], config: ViTConfig, x: Array, patches: Array) -> Array:
    """What the head reads."""
    mean = sum(patches) / len(patches)
    y: Any = {"cls": x[0], "mean": mean, "cls+mean": np.concatenate([x[0], mean]), "none": x}.get(config.pool)
    if config.pool == "map":
        K, q, kv = config.head_dim, dense(w["attn_pool.latent"][0, 0], w, "attn_pool.q"), dense(x, w, "attn_pool.kv")
        heads = []
        for a in range(config.num_heads):
            k, v = (kv[:, start + a * K : start + (a + 1) * K] for start in (0, config.embed_dim))
            heads.append(softmax(k @ q[a * K : (a + 1) * K] / math.sqrt(K)) @ v)
        y = dense(np.concatenate(heads), w, "attn_pool.proj")
        y = y + mlp(layer_norm(y, w, "attn_pool.norm", config), w, "attn_pool.mlp", config)
    return layer_norm(y, w, "fc_norm", config) if config.pool_norm == "after" else y


def dense(x: Array, w: Mapping[str, Array], at: str) -> Array:
    """x W^T, and a bias where there is one."""
    return x @ w[f"{at}.weight"].T + w.get(f"{at}.bias", 0.0)


def layer_norm(x: Array, w: Mapping[str, Array], at: str, config: ViTConfig) -> Array:
    """Mean 0 and variance 1 along the last axis, then scale and bias."""
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    return centred / np.sqrt(variance + config.norm_eps) * w[f"{at}.weight"] + w[f"{at}.bias"]


def scaled(x: Array, w: Mapping[str, Array], at: str) -> Array:
    """Times LayerScale, where there is one."""
    return x * w.get(f"{at}.gamma", 1.0)


def softmax(x: Array) -> Array:
    """Positive numbers that sum to 1."""
    y = np.exp(x - x.max())
    return y / y.sum()

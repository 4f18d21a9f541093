"""Google's ResNets a second time, in NumPy and float64, straight from the arrays of the published files.

Kernels are (height, width, in, out), images and feature maps (B, H, W, C). Names, shapes and order of operations are
those of big_transfer/bit_pytorch/models.py (`bit`) and of vit_jax/models_resnet.py (`hybrid`); convolutions and pools
are loops over places. It shares no code and no layout with the package.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Arrays = dict[str, NDArray[np.float32]]

GROUPS = 32


def bit(arrays: Mapping[str, NDArray], images: NDArray, *, pool_with: float = 0.0) -> dict[str, Array]:
    """Every stage's output by the name of its tap, "logits" last.

    Args:
        arrays: by their names in the files, `resnet/...`.
        images: (B, H, W, C).
        pool_with: what the max pool finds beyond the edge; the original release has zeros.
    """
    w = {name.removeprefix("resnet/"): np.asarray(value, np.float64) for name, value in arrays.items()}
    out: dict[str, Array] = {}

    def conv(x: Array, at: str, stride: int = 1) -> Array:
        kernel = w[f"{at}/standardized_conv2d/kernel"]
        mean, var = kernel.mean(axis=(0, 1, 2)), kernel.var(axis=(0, 1, 2))
        side = kernel.shape[0] // 2
        return convolve(around(x, (side, side), (side, side), 0.0), (kernel - mean) / np.sqrt(var + 1e-10), stride)

    def norm(x: Array, at: str) -> Array:
        return group_norm(x, w[f"{at}/group_norm/gamma"], w[f"{at}/group_norm/beta"], 1e-5)

    x = conv(np.asarray(images, np.float64), "root_block", stride=2)
    x = out["stem"] = largest(around(x, (1, 1), (1, 1), pool_with))
    for s, block in enumerate(_numbered(w, "block")):
        for u, unit in enumerate(_numbered(w, f"{block}/unit")):
            stride = 2 if s > 0 and u == 0 else 1
            y = relu(norm(x, f"{unit}/a"))
            shortcut = conv(y, f"{unit}/a/proj", stride) if u == 0 else x
            y = conv(y, f"{unit}/a")
            y = conv(relu(norm(y, f"{unit}/b")), f"{unit}/b", stride)
            y = conv(relu(norm(y, f"{unit}/c")), f"{unit}/c")
            x = out[f"stages.{s}.blocks.{u}"] = y + shortcut
        out[f"stages.{s}"] = x
    x = out["norm"] = relu(group_norm(x, w["group_norm/gamma"], w["group_norm/beta"], 1e-5))
    if "head/conv2d/kernel" in w:
        out["logits"] = x.mean(axis=(1, 2)) @ w["head/conv2d/kernel"][0, 0] + w["head/conv2d/bias"]
    return out


def hybrid(arrays: Mapping[str, NDArray], images: NDArray) -> dict[str, Array]:
    """Every stage's output by the name of its tap; the last one is what is cut into patches.

    Args:
        arrays: by their names in the files, `conv_root/kernel`, `block1/unit1/...`; others are not looked at.
        images: (B, H, W, C).
    """
    w = {name: np.asarray(value, np.float64) for name, value in arrays.items()}
    out: dict[str, Array] = {}

    def conv(x: Array, at: str, stride: int = 1) -> Array:
        kernel = w[f"{at}/kernel"]
        kernel = (kernel - kernel.mean(axis=(0, 1, 2))) / (kernel.std(axis=(0, 1, 2)) + 1e-5)
        return convolve(same(x, kernel.shape[0], stride, 0.0), kernel, stride)

    def norm(x: Array, at: str) -> Array:
        return group_norm(x, w[f"{at}/scale"].ravel(), w[f"{at}/bias"].ravel(), 1e-6)

    x = relu(norm(conv(np.asarray(images, np.float64), "conv_root", stride=2), "gn_root"))
    x = out["stem"] = largest(same(x, 3, 2, -np.inf))
    for s, block in enumerate(_numbered(w, "block")):
        for u, unit in enumerate(_numbered(w, f"{block}/unit")):
            stride = 2 if s > 0 and u == 0 else 1
            y = relu(norm(conv(x, f"{unit}/conv1"), f"{unit}/gn1"))
            y = relu(norm(conv(y, f"{unit}/conv2", stride), f"{unit}/gn2"))
            y = norm(conv(y, f"{unit}/conv3"), f"{unit}/gn3")
            if f"{unit}/conv_proj/kernel" in w:
                x = norm(conv(x, f"{unit}/conv_proj", stride), f"{unit}/gn_proj")
            x = out[f"stages.{s}.blocks.{u}"] = relu(x + y)
        out[f"stages.{s}"] = x
    return out


def _numbered(w: Mapping[str, Array], start: str) -> list[str]:
    """`block1`, `block2`, ... or `block1/unit01`, ...: the names with that start, by their number."""
    depth = start.count("/")
    found = {"/".join(name.split("/")[: depth + 1]) for name in w if name.startswith(start)}
    return sorted(found, key=lambda name: int(name[len(start) :]))


def convolve(x: Array, kernel: Array, stride: int) -> Array:
    """One place of the kernel after the other, no padding."""
    height, width = kernel.shape[:2]
    rows, columns = (x.shape[1] - height) // stride + 1, (x.shape[2] - width) // stride + 1
    y = np.empty((len(x), rows, columns, kernel.shape[3]))
    for r in range(rows):
        for c in range(columns):
            seen = x[:, r * stride : r * stride + height, c * stride : c * stride + width]
            y[:, r, c] = np.tensordot(seen, kernel, axes=3)
    return y


def largest(x: Array) -> Array:
    """3 x 3 max pool at every second place, no padding."""
    rows, columns = (x.shape[1] - 3) // 2 + 1, (x.shape[2] - 3) // 2 + 1
    y = np.empty((len(x), rows, columns, x.shape[3]))
    for r in range(rows):
        for c in range(columns):
            y[:, r, c] = x[:, 2 * r : 2 * r + 3, 2 * c : 2 * c + 3].max(axis=(1, 2))
    return y


def around(x: Array, rows: tuple[int, int], columns: tuple[int, int], value: float) -> Array:
    """`x` with so many rows above and below, and columns left and right."""
    return np.pad(x, ((0, 0), rows, columns, (0, 0)), constant_values=value)


def same(x: Array, kernel: int, stride: int, value: float) -> Array:
    """TensorFlow's SAME: as many places as the stride divides the size, rounded up; the odd pixel goes behind."""
    amounts = []
    for size in x.shape[1:3]:
        beyond = kernel - (size % stride or stride)
        before = max(0, beyond) // 2
        amounts.append((before, max(0, beyond) - before))
    return around(x, amounts[0], amounts[1], value)


def group_norm(x: Array, scale: Array, bias: Array, eps: float) -> Array:
    """Mean 0 and variance 1 over all pixels and neighbouring channels, 32 groups of them."""
    y = np.empty_like(x)
    for channels in np.split(np.arange(x.shape[3]), GROUPS):
        group = x[..., channels]
        mean = group.mean(axis=(1, 2, 3), keepdims=True)
        y[..., channels] = (group - mean) / np.sqrt(group.var(axis=(1, 2, 3), keepdims=True) + eps)
    return y * scale + bias


def relu(x: Array) -> Array:
    """Negative numbers become 0."""
    return np.maximum(x, 0)


def bit_arrays(layers: tuple[int, ...], *, classes: int = 11, channels: int = 3, seed: int = 0) -> Arrays:
    """A random BiT of width 1 as its file would hold it.

    Args:
        layers: units per stage.
        classes: of the head.
        channels: of the image.
        seed: fixes the numbers.
    """
    rng = np.random.default_rng(seed)
    made = {"root_block/standardized_conv2d/kernel": _kernel(rng, 7, channels, 64)}

    def norm(at: str, width: int) -> None:
        made[f"{at}group_norm/gamma"] = 1 + 0.4 * rng.standard_normal(width)
        made[f"{at}group_norm/beta"] = 0.4 * rng.standard_normal(width)

    wide = 64
    for s, depth in enumerate(layers, start=1):
        middle = 64 * 2 ** (s - 1)
        for u in range(1, depth + 1):
            at = f"block{s}/unit{u:02}"
            norm(f"{at}/a/", wide)
            norm(f"{at}/b/", middle)
            norm(f"{at}/c/", middle)
            made[f"{at}/a/standardized_conv2d/kernel"] = _kernel(rng, 1, wide, middle)
            made[f"{at}/b/standardized_conv2d/kernel"] = _kernel(rng, 3, middle, middle)
            made[f"{at}/c/standardized_conv2d/kernel"] = _kernel(rng, 1, middle, 4 * middle)
            if u == 1:
                made[f"{at}/a/proj/standardized_conv2d/kernel"] = _kernel(rng, 1, wide, 4 * middle)
            wide = 4 * middle
    norm("", wide)
    made["head/conv2d/kernel"] = 3 * rng.standard_normal((1, 1, wide, classes)) / np.sqrt(wide)
    made["head/conv2d/bias"] = 0.4 * rng.standard_normal(classes)
    return {f"resnet/{name}": np.asarray(value, np.float32) for name, value in made.items()}


def hybrid_arrays(layers: tuple[int, ...], *, channels: int = 3, seed: int = 0) -> Arrays:
    """The random ResNet of a hybrid, width 1, as its file would hold it.

    Args:
        layers: units per stage.
        channels: of the image.
        seed: fixes the numbers.
    """
    rng = np.random.default_rng(seed)
    made: dict[str, NDArray] = {}

    def conv_and_norm(at: str, conv: str, norm: str, kernel: int, narrow: int, wide: int) -> None:
        made[f"{at}{conv}/kernel"] = _kernel(rng, kernel, narrow, wide)
        made[f"{at}{norm}/scale"] = 1 + 0.4 * rng.standard_normal(wide)
        made[f"{at}{norm}/bias"] = 0.4 * rng.standard_normal(wide)

    conv_and_norm("", "conv_root", "gn_root", 7, channels, 64)
    wide = 64
    for s, depth in enumerate(layers, start=1):
        middle = 64 * 2 ** (s - 1)
        for u in range(1, depth + 1):
            at = f"block{s}/unit{u}/"
            conv_and_norm(at, "conv1", "gn1", 1, wide, middle)
            conv_and_norm(at, "conv2", "gn2", 3, middle, middle)
            conv_and_norm(at, "conv3", "gn3", 1, middle, 4 * middle)
            if u == 1:
                conv_and_norm(at, "conv_proj", "gn_proj", 1, wide, 4 * middle)
            wide = 4 * middle
    return {name: np.asarray(value, np.float32) for name, value in made.items()}


def _kernel(rng: np.random.Generator, side: int, narrow: int, wide: int) -> Array:
    """A kernel of which every filter has a mean and a scale of its own, some so small that an epsilon shows."""
    scale = 10 ** rng.uniform(-3, -1, wide)
    return scale * (rng.standard_normal((side, side, narrow, wide)) + rng.standard_normal(wide))

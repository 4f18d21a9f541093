"""How a foreign checkpoint's tensors become ours and back: one table per dialect, read in both directions.

A table is a list of rules, a rule names one native tensor, the foreign tensors it is made of, and the layout between
them. A layout is a pair of exact inverses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """A pair of exact inverses between one native tensor and the foreign tensors it is made of."""

    read: Callable[..., Tensor]
    """(*foreign) -> native; a RuntimeError where shapes do not fit."""
    write: Callable[[Tensor], tuple[Tensor, ...]]
    """native -> foreign tensors, in the order of the rule."""


@dataclass(frozen=True)
class Rule:
    """One native tensor, the foreign tensors it is made of, and the layout between them."""

    native: str
    foreign: tuple[str, ...]
    layout: Layout


def _one(write: Callable[[Tensor], Tensor]) -> Callable[[Tensor], tuple[Tensor, ...]]:
    return lambda native: (write(native),)


SAME = Layout(lambda foreign: foreign, _one(lambda native: native))
"""The same numbers in the same places."""

DENSE = Layout(lambda foreign: _matrix(foreign).T, _one(lambda native: native.T))
"""Flax: (in, out) to PyTorch's (out, in)."""

CONV = Layout(lambda foreign: foreign.permute(3, 2, 0, 1), _one(lambda native: native.permute(2, 3, 1, 0)))
"""TensorFlow: (height, width, in, out) to PyTorch's (out, in, height, width)."""


def reshaped(native: tuple[int, ...], foreign: tuple[int, ...]) -> Layout:
    """The same numbers in the same order under another shape.

    Args:
        native: our shape.
        foreign: theirs.
    """
    return Layout(lambda tensor: _shaped(tensor, foreign).reshape(native), _one(lambda tensor: tensor.reshape(foreign)))


def stacked(part: Layout, count: int) -> Layout:
    """Several foreign tensors, each in its layout, under one another: q, k and v as one qkv matrix.

    Args:
        part: the layout of each.
        count: how many, all with equally many native rows.
    """
    return Layout(
        lambda *foreign: torch.cat([part.read(one) for one in foreign]),
        lambda native: tuple(one for rows in native.chunk(count) for one in part.write(rows)),
    )


def heads_in(width: int, heads: int) -> Layout:
    """Flax's q, k or v kernel (in, heads, head_dim) to (heads * head_dim, in).

    Args:
        width: D.
        heads: A.
    """
    return Layout(
        lambda foreign: _shaped(foreign, (width, heads, width // heads)).reshape(width, width).T,
        _one(lambda native: native.T.reshape(width, heads, width // heads)),
    )


def heads_out(width: int, heads: int) -> Layout:
    """Flax's output kernel (heads, head_dim, out) to (out, heads * head_dim).

    Args:
        width: D.
        heads: A.
    """
    return Layout(
        lambda foreign: _shaped(foreign, (heads, width // heads, width)).reshape(width, width).T,
        _one(lambda native: native.T.reshape(heads, width // heads, width)),
    )


def rule(native: str, *foreign: str, layout: Layout = SAME) -> Rule:
    """A rule in one line.

    Args:
        native: name of our tensor.
        *foreign: names of theirs.
        layout: between them.
    """
    return Rule(native, foreign, layout)


def pair(native: str, foreign: str, weight: Layout = SAME) -> list[Rule]:
    """The rules of a layer's weight and bias, called so on both sides.

    Args:
        native: prefix of ours, without the dot.
        foreign: prefix of theirs.
        weight: layout of the weight.
    """
    return [rule(f"{native}.weight", f"{foreign}.weight", layout=weight), rule(f"{native}.bias", f"{foreign}.bias")]


def written(rules: Iterable[Rule], native: dict[str, Tensor]) -> dict[str, Tensor]:
    """The foreign tensors of a model, contiguous and in the order of the rules.

    Where several rules name one foreign tensor, each gives its next rows.

    Args:
        rules: the table of the dialect for this architecture.
        native: every tensor of the model.
    """
    parts: dict[str, list[Tensor]] = {}
    for each in rules:
        for name, tensor in zip(each.foreign, each.layout.write(native[each.native]), strict=True):
            parts.setdefault(name, []).append(tensor)
    return {name: (torch.cat(rows) if len(rows) > 1 else rows[0]).contiguous() for name, rows in parts.items()}


def _matrix(tensor: Tensor) -> Tensor:
    if tensor.ndim != 2:
        raise RuntimeError(f"a matrix is wanted, this is {tuple(tensor.shape)}")
    return tensor


def _shaped(tensor: Tensor, wanted: tuple[int, ...]) -> Tensor:
    if tuple(tensor.shape) != wanted:
        raise RuntimeError(f"{wanted} is wanted, this is {tuple(tensor.shape)}")
    return tensor

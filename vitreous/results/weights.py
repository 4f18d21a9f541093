"""What became of weights."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Resizing:
    """One tensor that was interpolated to fit."""

    name: str
    source: str
    """Its grid or shape before: "14 x 14"."""
    target: str
    """And after."""
    how: str
    """The convention: "bilinear-corners"."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversion:
    """What `vitreous convert` did."""

    source: str
    source_dialect: str
    target_dialect: str
    architecture: str
    mapped: tuple[str, ...]
    """Tensors of the source that are in the target."""
    resized: tuple[Resizing, ...]
    dropped: dict[str, str]
    """Tensors of the source that are not in the target, with the reason."""
    ignored: tuple[str, ...]
    """What lay in the source beside the weights."""
    assumed: tuple[str, ...]
    """What neither names nor shapes of the source tell."""
    differences: tuple[str, ...]
    """What the target cannot express; empty unless differences were allowed."""
    max_difference: float
    """Largest difference of a logit between the source and the target read back."""
    left_behind: tuple[str, ...]
    """What of the card the target has no place for, such as class names."""
    verified_by: str | None
    """Name and version of the target ecosystem's own code, where it was asked."""
    target: str

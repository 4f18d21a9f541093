"""What is said of single images."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """One image that could not be used."""

    path: str
    """The image, as the person named it."""
    reason: str
    """Why, in one line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What a model says about one image."""

    path: str
    """The image, as the person named it; empty for an image given as pixels."""
    label: str
    """Name of the most probable class."""
    index: int
    """Its place in the model's class list."""
    probability: float
    """Its softmax probability."""
    top: tuple[tuple[str, float], ...]
    """The most probable classes with their probabilities, best first."""

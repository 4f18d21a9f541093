"""An array, or anything that becomes one, as a picture: two ways to write one are taken, nothing is guessed."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from vitreous.errors import ImageError


@runtime_checkable
class Array(Protocol):
    """A NumPy array, or one that becomes one: a tensor on the CPU."""

    def __array__(self, dtype: Any = None, /) -> np.ndarray:
        """The same numbers as a NumPy array.

        Args:
            dtype: of the result; by default its own.
        """


def pixels_of(source: Array) -> UInt8[np.ndarray, "H W 3"]:
    """The pixels of an image given as an array; the array itself, where it is (H, W, 3) uint8.

    Args:
        source: that, or (3, H, W) floating-point numbers in [0, 1], which are rounded to 255 steps.

    Raises:
        ImageError: it is neither; the error says what to type.
    """
    try:
        array = np.asarray(source)
    except Exception as error:  # a tensor on a GPU, or one with a gradient: each library has its own
        raise ImageError(
            f"the {type(source).__name__} does not become an array", why=str(error), remedy="image.detach().cpu()"
        ) from error
    if array.ndim == 3 and array.size:
        if array.dtype == np.uint8 and array.shape[2] == 3:
            return array
        if array.dtype.kind == "f" and array.shape[0] == 3 and array.shape[2] != 3:
            return _from_floats(array)
    why, remedy = _advice(array)
    raise ImageError(
        "an image given as an array must be (height, width, 3) uint8, or (3, height, width) floating-point in [0, 1]",
        why=why,
        remedy=remedy,
    )


def _from_floats(array: np.ndarray) -> UInt8[np.ndarray, "H W 3"]:
    low, high = float(array.min()), float(array.max())
    if not 0.0 <= low <= high <= 1.0:
        remedy: str | None
        if 0.0 <= low and high <= 255.0:
            remedy = "image / 255, if they are meant to go from 0 to 255"
        else:
            remedy = "give the image as it was before it was normalised" if low < 0 else None
        raise ImageError(
            "the image holds floating-point numbers outside 0 to 1", why=f"from {low:g} to {high:g}", remedy=remedy
        )
    return np.ascontiguousarray(np.rint(array.transpose(1, 2, 0) * 255).astype(np.uint8))


def _advice(array: np.ndarray) -> tuple[str, str | None]:
    """What is wrong with an array, and what to type."""
    got = f"got shape {array.shape} of {array.dtype}"
    if array.ndim == 4:
        return f"{got}: several images", "give them one by one, or as a list"
    if array.ndim == 2:
        return f"{got}: grey", "numpy.stack([image] * 3, axis=-1)"
    if array.ndim != 3 or not array.size:
        return got, None
    floating = array.dtype.kind == "f"
    if floating and array.shape[0] == array.shape[2] == 3:
        return f"{got}: which axis holds the channels cannot be told", "(image * 255).round().astype(numpy.uint8)"
    if floating and array.shape[2] == 3:
        return f"{got}: channels last", "image.transpose(2, 0, 1), or (image * 255).round().astype(numpy.uint8)"
    if array.dtype == np.uint8 and array.shape[0] == 3:
        return f"{got}: channels first", "image.transpose(1, 2, 0)"
    if 4 in (array.shape[0], array.shape[2]):
        return f"{got}: four channels", "PIL.Image.fromarray(image), which knows transparency"
    if not floating and array.dtype != np.uint8:
        return f"{got}: what is white is not known", "scale it to 0 to 255, and .astype(numpy.uint8)"
    return got, None

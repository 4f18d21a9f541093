"""Learned position embeddings, and how they follow the image to another resolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vitreous.architecture import Size


def resample(table: Float[Tensor, "1 N D"], num_prefix: int, source: Size, target: Size) -> Float[Tensor, "1 M D"]:
    """The position table for another patch grid, interpolated as the authors' code does it.

    Rows of class token and registers have no place in the image and are left alone. The rest is a picture with D
    channels; corners stay on corners, values between are bilinear, and shrinking is not antialiased: this is
    `scipy.ndimage.zoom(grid, order=1)` of vit_jax/checkpoint.py, for rectangles too.

    Args:
        table: prefix rows first, then the grid in reading order.
        num_prefix: how many rows belong to no patch.
        source: (rows, columns) of patches the table was made for.
        target: (rows, columns) wanted.
    """
    if source == target:
        return table
    prefix, grid = table[:, :num_prefix], table[:, num_prefix:]
    picture = grid.reshape(1, *source, -1).permute(0, 3, 1, 2)  # (1, h, w, D) -> (1, D, h, w)
    # float32 at least: half-precision kernels round the weights too
    exact = picture if picture.dtype == torch.float64 else picture.float()
    picture = F.interpolate(exact, size=target, mode="bilinear", align_corners=True)
    grid = picture.permute(0, 2, 3, 1).flatten(1, 2).to(table.dtype)
    return torch.cat([prefix, grid], dim=1)

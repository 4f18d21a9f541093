"""Where a token stands: position tables and how they follow the image to another grid, sines, and rotations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vitreous.architecture import Resample, Size

_MODES: dict[Resample, dict[str, object]] = {
    "bilinear-corners": {"mode": "bilinear", "align_corners": True},
    "bilinear-antialias": {"mode": "bilinear", "align_corners": False, "antialias": True},
    "bicubic": {"mode": "bicubic", "align_corners": False},
    "bicubic-corners": {"mode": "bicubic", "align_corners": True},
    "bicubic-antialias": {"mode": "bicubic", "align_corners": False, "antialias": True},
    "bicubic-offset": {"mode": "bicubic", "align_corners": False},
}


def resample(
    table: Float[Tensor, "L N D"], num_prefix: int, source: Size, target: Size, how: Resample = "bilinear-corners"
) -> Float[Tensor, "L M D"]:
    """The position table for another patch grid, interpolated as the family's own code does it.

    Rows of class token and registers have no place in the image and are left alone. The rest is a picture with D
    channels. The paper's authors keep corners on corners, bilinear between, and do not antialias: this is
    `scipy.ndimage.zoom(grid, order=1)` of vit_jax/checkpoint.py, for rectangles too.

    Args:
        table: prefix rows first, then the grid in reading order; one table, or one for each block.
        num_prefix: how many rows belong to no patch.
        source: (rows, columns) of patches the table was made for.
        target: (rows, columns) wanted.
        how: the family's convention (see `Resample`): Google's; Hugging Face's and DeiT's bicubic; torchvision's with
            corners on corners; timm's and OpenCLIP's antialiased; DINOv2's with its offset of 0.1.
    """
    if source == target:
        return table
    prefix, grid = table[:, :num_prefix], table[:, num_prefix:]
    picture = grid.reshape(len(table), *source, -1).permute(0, 3, 1, 2)  # (L, h, w, D) -> (L, D, h, w)
    exact = _exactly(picture)
    if how == "bicubic-offset":  # dinov2/models/vision_transformer.py samples with the scale, not with the sizes
        scale = tuple((new + 0.1) / old for new, old in zip(target, source, strict=True))
        picture = F.interpolate(exact, scale_factor=scale, mode="bicubic", align_corners=False)
    else:
        picture = F.interpolate(exact, size=target, **_MODES[how])  # type: ignore[arg-type]
    grid = picture.permute(0, 2, 3, 1).flatten(1, 2).to(table.dtype)
    return torch.cat([prefix, grid], dim=1)


def resample_line(table: Float[Tensor, "... n d"], count: int) -> Float[Tensor, "... m d"]:
    """A table of places along one line, interpolated to `count` of them, ends on ends.

    Args:
        table: one row per place.
        count: places wanted.
    """
    if table.shape[-2] == count:
        return table
    line = table.reshape(-1, *table.shape[-2:]).transpose(1, 2)  # (L, d, n)
    line = F.interpolate(_exactly(line), size=count, mode="linear", align_corners=True)
    return line.transpose(1, 2).reshape(*table.shape[:-2], count, -1).to(table.dtype)


def _exactly(table: Tensor) -> Tensor:
    """In float32 at least: half-precision kernels round the interpolation's weights too."""
    return table.to(torch.promote_types(table.dtype, torch.float32))


def cross(rows: Float[Tensor, "L h d"], columns: Float[Tensor, "L w d"]) -> Float[Tensor, "L hw D"]:
    """Positions of a grid from one table for rows and one for columns, side by side (appendix D.4: 2-D embeddings).

    Args:
        rows: the first half of every position.
        columns: the second half.
    """
    L, h, d = rows.shape
    w = columns.shape[1]
    first = rows[:, :, None].expand(L, h, w, d)
    second = columns[:, None].expand(L, h, w, d)
    return torch.cat([first, second], dim=-1).flatten(1, 2)


def sincos(grid: Size, dim: int, form: Literal["sincos", "sincos-mae"]) -> Float[Tensor, "1 hw D"]:
    """Fixed positions from sines and cosines of row and column.

    Args:
        grid: (rows, columns) of patches.
        dim: width D, divisible by 4.
        form: big_vision's, frequencies 10000^(-k / (D/4 - 1)) in the order sin x, cos x, sin y, cos y
            (big_vision/models/vit.py, posemb_sincos_2d); or MAE's, with D/4 below the fraction bar and the same order
            (mae/util/pos_embed.py, where the column comes first).
    """
    quarter = dim // 4
    below = max(quarter - 1, 1) if form == "sincos" else quarter
    omega = 10_000.0 ** (-torch.arange(quarter, dtype=torch.float64) / below)
    y, x = torch.meshgrid(*(torch.arange(side, dtype=torch.float64) for side in grid), indexing="ij")
    angles = (x.flatten()[:, None] * omega, y.flatten()[:, None] * omega)
    waves = [wave(angle) for angle in angles for wave in (torch.sin, torch.cos)]
    return torch.cat(waves, dim=1)[None].float()


def offset_bias(q: Float[Tensor, "B A N K"], table: Float[Tensor, "R K"]) -> Float[Tensor, "B A N N"]:
    """What relative positions add to attention logits: query i, key j meet row i - j + N - 1 of the table.

    The paper's 1-D relative attention (appendix D.4): the query's content against an embedding of the offset.

    Args:
        q: queries, already scaled.
        table: made for any number of tokens; interpolated where it is not N.
    """
    N = q.shape[2]
    logits = q @ resample_line(table, 2 * N - 1).to(q.dtype).T  # (B, A, N, 2N - 1)
    place = torch.arange(N, device=q.device)
    index = place[:, None] - place[None, :] + N - 1
    return logits.gather(-1, index.expand(*q.shape[:2], N, N))


@dataclass(frozen=True)
class Rotation:
    """Cosine and sine of every patch's angles, each (h * w, K), and which entries of a vector turn together."""

    cos: Float[Tensor, "hw K"]
    sin: Float[Tensor, "hw K"]
    pairs: Literal["neighbours", "halves"]
    """Entries 2i and 2i + 1 (EVA-02), or i and i + K/2 (DINOv3)."""


def rotation(
    grid: Size,
    head_dim: int,
    form: Literal["eva", "dinov3"],
    base: float,
    *,
    reference: Size | None = None,
    dtype: Literal["float32", "bfloat16"] = "float32",
    device: torch.device | None = None,
) -> Rotation:
    """The angles of a 2-D rotary embedding: half of the pairs turn with the row, half with the column.

    Args:
        grid: (rows, columns) of patches.
        head_dim: width K of a head, divisible by 4.
        form: "eva" counts patches, scaled to a reference grid (EVA-02/asuka/rope.py); "dinov3" takes patch centres in
            [-1, 1] times 2 pi (dinov3/layers/rope_position_encoding.py).
        base: ratio of the longest period to the shortest.
        reference: grid whose coordinates "eva" uses; None takes `grid`.
        dtype: what the periods are rounded to.
        device: where the result lies.
    """
    quarter = head_dim // 4
    periods = base ** (torch.arange(quarter, dtype=torch.float32, device=device) / quarter)
    if dtype == "bfloat16":
        periods = periods.bfloat16().float()
    axes = []
    for side, wanted in zip(grid, reference or grid, strict=True):
        place = torch.arange(side, dtype=torch.float32, device=device)
        axes.append(place / side * wanted if form == "eva" else 2 * math.pi * ((place + 0.5) / side * 2 - 1))
    y, x = torch.meshgrid(*axes, indexing="ij")
    angles = torch.cat([axis.flatten()[:, None] / periods for axis in (y, x)], dim=1)  # (h * w, K / 2)
    if form == "eva":
        angles = angles.repeat_interleave(2, dim=1)
        return Rotation(angles.cos(), angles.sin(), "neighbours")
    angles = angles.tile(1, 2)
    return Rotation(angles.cos(), angles.sin(), "halves")


def rotate(x: Float[Tensor, "B A N K"], by: Rotation, num_prefix: int) -> Float[Tensor, "B A N K"]:
    """Queries or keys turned by their patch's angles; the tokens in front stay as they are.

    Args:
        x: queries or keys.
        by: the angles.
        num_prefix: tokens that are no patches.
    """
    prefix, patches = x[:, :, :num_prefix], x[:, :, num_prefix:]
    if by.pairs == "halves":
        low, high = patches.chunk(2, dim=-1)
        turned = torch.cat([-high, low], dim=-1)
    else:
        turned = torch.stack([-patches[..., 1::2], patches[..., ::2]], dim=-1).flatten(-2)
    # in half precision the angles keep theirs, and only the result is rounded
    patches = patches * by.cos + turned * by.sin
    return torch.cat([prefix, patches.to(x.dtype)], dim=2)


def resample_patches(kernel: Float[Tensor, "D C p q"], size: Size) -> Float[Tensor, "D C r s"]:
    """The patch projection for another patch size, by FlexiViT's pseudo-inverse resize.

    The new kernel answers to a resized patch as the old one did to the patch itself: with B the matrix that resizes a
    patch (bilinear), it is pinv(B^T) times the old kernel (Beyer et al., "FlexiViT", 2023, section 3.4 and appendix A;
    big_vision/models/proj/flexi/vit.py). Exact for enlarged patches, the nearest for shrunk ones; every step of a chain
    may lose something, so it is best to start from the kernel as it was trained.

    Args:
        kernel: weights of the patch projection.
        size: (height, width) of the new patch.
    """
    source = (kernel.shape[2], kernel.shape[3])
    if source == size:
        return kernel
    # B is the Kronecker product of a matrix for rows and one for columns, and so is its pseudo-inverse
    high, wide = (torch.linalg.pinv(_resize_matrix(*pair, kernel.device)) for pair in zip(source, size, strict=True))
    return torch.einsum("dcpq,pr,qs->dcrs", kernel.double(), high, wide).to(kernel.dtype)


def _resize_matrix(old: int, new: int, device: torch.device) -> Float[Tensor, "new old"]:
    """What TensorFlow's bilinear resize, which does not antialias, does to a line of pixels."""
    columns = torch.eye(old, dtype=torch.float64, device=device)[None, None]  # a picture, resized downwards alone
    return F.interpolate(columns, size=(new, old), mode="bilinear", align_corners=False)[0, 0]

"""Standardised convolutions, and both ways to put pixels around an image, as Google's ResNets have them.

What they are made into stands in `resnet.py`.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vitreous.architecture import ResNetConfig


def standardise(weight: Float[Tensor, "O I h w"], how: Literal["std", "var"], eps: float) -> Float[Tensor, "O I h w"]:
    """Filters with mean 0 and variance 1 over their inputs and pixels (Qiao et al., "Weight Standardization", 2019).

    Args:
        weight: one filter per output channel, first.
        how: divide by std + eps (vit_jax/models_resnet.py) or by sqrt(var + eps) (big_transfer/bit_pytorch/models.py).
        eps: keeps the division finite.
    """
    weight = weight.to(torch.promote_types(weight.dtype, torch.float32))  # half precision has no 1e-10
    if how == "var":
        return F.layer_norm(weight, weight.shape[1:], eps=eps)  # the same formula, in one kernel
    filters = (1, 2, 3)
    centred = weight - weight.mean(dim=filters, keepdim=True)
    # a norm, for its gradient is 0 and not infinite where a filter is constant; and several times faster than torch.std
    std = torch.linalg.vector_norm(centred, dim=filters, keepdim=True) / math.sqrt(weight[0].numel())
    return centred / (std + eps)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Pixels that TensorFlow's SAME adds (before, after) along one axis; the odd one goes behind.

    Args:
        size: pixels there are.
        kernel: pixels under the kernel.
        stride: pixels from one place of the kernel to the next.
    """
    places = -(-size // stride)  # rounded up
    missing = max(0, (places - 1) * stride + kernel - size)
    return missing // 2, missing - missing // 2


def pad_same(x: Float[Tensor, "B C H W"], kernel: int, stride: int, value: float) -> Float[Tensor, "B C h w"]:
    """The image with `value` around it, so that a kernel without padding of its own finds ceil(size / stride) places.

    Args:
        x: any size.
        kernel: pixels under the kernel.
        stride: pixels from one place of the kernel to the next.
        value: of the added pixels.
    """
    rows, columns = (same_padding(size, kernel, stride) for size in x.shape[2:])
    return F.pad(x, (*columns, *rows), value=value)


def max_pool(x: Float[Tensor, "B C H W"], padding: Literal["same", "symmetric"]) -> Float[Tensor, "B C h w"]:
    """The largest of 3 x 3 pixels at every second place, ceil(size / 2) of them.

    Args:
        x: any size.
        padding: SAME knows no pixel beyond the edge; BiT puts zeros there on all sides, which win over negative
            pixels (big_transfer/bit_pytorch/models.py: "subtly not the same").
    """
    padded = pad_same(x, 3, 2, -math.inf) if padding == "same" else F.pad(x, (1, 1, 1, 1))
    return F.max_pool2d(padded, kernel_size=3, stride=2)


class StdConv2d(nn.Module):
    """A convolution without bias whose filters are standardised before every use.

    Args:
        in_channels: channels that come in.
        out_channels: channels that go out, one filter each.
        kernel: height and width of a filter, an odd number.
        stride: pixels from one place of the filter to the next.
        config: whose standardisation and padding to take.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, config: ResNetConfig) -> None:
        super().__init__()
        assert config.standardize is not None, "a config knows its style's standardisation"
        assert config.standardize_eps is not None, "a config knows its style's epsilon"
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel, kernel))
        self.kernel, self.stride = kernel, stride
        self.how, self.eps = config.standardize, config.standardize_eps
        # without a stride, and for single pixels, SAME is symmetric
        self.uneven = config.padding == "same" and stride > 1 and kernel > 1

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F h w"]:
        """The image filtered, ceil(size / stride) pixels high and wide."""
        weight = standardise(self.weight, self.how, self.eps).to(self.weight.dtype)
        if self.uneven:
            return F.conv2d(pad_same(x, self.kernel, self.stride, 0.0), weight, stride=self.stride)
        return F.conv2d(x, weight, stride=self.stride, padding=self.kernel // 2)

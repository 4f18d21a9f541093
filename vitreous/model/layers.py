"""The parts between attention layers: patch embedding and the GELU MLP."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from vitreous.architecture import Size
from vitreous.model.taps import NOTHING, Taps


class PatchEmbed(nn.Module):
    """Cuts images into patches and projects each with the matrix E (equation 1 of the ViT paper).

    A convolution whose stride is its kernel does both at once; in einops' words it is
    `B C (h p) (w q) -> B (h w) (C p q)` followed by one linear layer, patches in reading order.

    Args:
        patch_size: (height, width) in pixels.
        in_channels: channels of the image.
        embed_dim: width of a token.
    """

    def __init__(self, patch_size: Size, in_channels: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, embed_dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B hw D"]:
        """One token per patch."""
        return self.proj(images).flatten(2).transpose(1, 2)  # (B, D, h, w) -> (B, h * w, D)


class Mlp(nn.Module):
    """Linear, GELU, linear, with dropout after both (equation 3 of the ViT paper).

    Args:
        embed_dim: width of a token.
        mlp_dim: width of the hidden layer.
        gelu: the exact function or its tanh approximation.
        dropout: drop rate.
    """

    def __init__(self, embed_dim: int, mlp_dim: int, gelu: Literal["erf", "tanh"], dropout: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(embed_dim, mlp_dim)
        self.act = nn.GELU(approximate="none" if gelu == "erf" else "tanh")
        self.fc2 = nn.Linear(mlp_dim, embed_dim)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "B N D"], taps: Taps = NOTHING) -> Float[Tensor, "B N D"]:
        """Each token on its own."""
        hidden = taps.keep("hidden", self.drop(self.act(self.fc1(x))))  # (B, N, F)
        return self.drop(self.fc2(hidden))

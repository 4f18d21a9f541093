"""The parts between attention layers: tokens from images, the MLP, and what stands on a residual branch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vitreous.architecture import ViTConfig
from vitreous.model.resnet import Trunk
from vitreous.model.taps import NOTHING, Taps


class PatchEmbed(nn.Module):
    """Cuts images into patches and projects each with the matrix E (equation 1 of the ViT paper).

    A convolution whose stride is its kernel does both at once; in einops' words it is
    `B C (h p) (w q) -> B (h w) (C p q)` followed by one linear layer, patches in reading order. In a hybrid the image
    goes through a ResNet first, and patches are cut from its feature map.

    Args:
        config: the architecture.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.backbone = Trunk(config.stem) if config.stem is not None else None
        channels = config.stem.num_features if config.stem is not None else config.in_channels
        size = config.patch_size
        self.proj = nn.Conv2d(channels, config.embed_dim, kernel_size=size, stride=size, bias=config.patch_bias)
        self.filter = SemanticFilter(config) if config.num_tokens is not None else None

    def forward(self, images: Float[Tensor, "B C H W"], taps: Taps = NOTHING) -> Float[Tensor, "B hw D"]:
        """One token per patch, or per semantic filter."""
        if self.backbone is not None:
            images = taps.keep("backbone", self.backbone(images, taps.under("backbone")))
        x = self.proj(images).flatten(2).transpose(1, 2)  # (B, D, h, w) -> (B, h * w, D)
        return self.filter(x, taps) if self.filter is not None else x


class SemanticFilter(nn.Module):
    """Tokens from a feature map by learned filters: T = softmax over places (X W)^T X.

    Each token is a mean of the map, weighted by how much each place answers to the token's filter (Wu et al., "Visual
    Transformers: Token-based Image Representation and Processing", 2020, equation 1).

    Args:
        config: gives the number of tokens and their width.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.num_tokens or 0, config.embed_dim))

    def forward(self, x: Float[Tensor, "B hw D"], taps: Taps = NOTHING) -> Float[Tensor, "B T D"]:
        """T semantic tokens."""
        attention = taps.keep("filter", (x @ self.weight.T).softmax(dim=1))  # (B, h * w, T), each token sums to 1
        return attention.transpose(1, 2).to(x.dtype) @ x


class QuickGELU(nn.Module):
    """x sigmoid(1.702 x), with which OpenAI trained CLIP (CLIP/clip/model.py)."""

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Each number on its own."""
        return x * torch.sigmoid(1.702 * x)


class SwiGLU(nn.Module):
    """silu(gate) * value, the two halves of the last axis (Shazeer, "GLU Variants Improve Transformer", 2020)."""

    def forward(self, x: Float[Tensor, "*shape F2"]) -> Float[Tensor, "*shape F"]:
        """Half as wide."""
        gate, value = x.chunk(2, dim=-1)
        return F.silu(gate) * value


class Mlp(nn.Module):
    """Linear, GELU, linear, with dropout after both (equation 3 of the ViT paper), or its gated variant.

    Args:
        config: the architecture.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        D, width = config.embed_dim, config.mlp_dim
        gated = config.mlp == "swiglu"
        self.fc1 = nn.Linear(D, 2 * width if gated else width, bias=config.mlp_bias)
        self.act = SwiGLU() if gated else activation(config)
        self.norm = nn.LayerNorm(width, eps=config.norm_eps) if config.mlp_norm else None
        self.fc2 = nn.Linear(width, D, bias=config.mlp_bias)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Float[Tensor, "*B D"], taps: Taps = NOTHING) -> Float[Tensor, "*B D"]:
        """Each token on its own."""
        hidden = taps.keep("hidden", self.drop(self.act(self.fc1(x))))  # (B, N, F)
        if self.norm is not None:
            hidden = self.norm(hidden)
        return self.drop(self.fc2(hidden))


def activation(config: ViTConfig) -> nn.Module:
    """The family's GELU: the three differ by up to 0.0005 and 0.02, which no fine-tuning undoes for free."""
    match config.gelu:
        case "erf":
            return nn.GELU()
        case "tanh":
            return nn.GELU(approximate="tanh")
        case "quick":
            return QuickGELU()


class LayerScale(nn.Module):
    """A learned factor per channel (Touvron et al., "Going deeper with Image Transformers", 2021).

    Args:
        embed_dim: width of a token.
    """

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(embed_dim))

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        """Every channel times its factor."""
        return x * self.gamma


class DropPath(nn.Module):
    """Stochastic depth: while training, each image skips the branch with some probability (Huang et al., 2016).

    Args:
        rate: share of images that skip; the others are scaled up, so that the mean stays.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        """The branch, or zeros for the images that skip it."""
        if not self.training or self.rate == 0.0:
            return x
        keep = torch.rand(x.shape[0], 1, 1, device=x.device) >= self.rate
        return x * keep.to(x.dtype) / (1.0 - self.rate)


def drop_path_rates(config: ViTConfig) -> list[float]:
    """The rate of every block: rising linearly from 0, or constant.

    Args:
        config: the architecture.
    """
    if config.drop_path_schedule == "constant":
        return [config.drop_path] * config.depth
    return [config.drop_path * i / max(1, config.depth - 1) for i in range(config.depth)]

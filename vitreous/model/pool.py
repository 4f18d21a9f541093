"""From all tokens to what the head reads."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vitreous.architecture import ViTConfig
from vitreous.model.layers import Mlp
from vitreous.model.taps import NOTHING, Taps


class AttentionPool(nn.Module):
    """A learned probe attends to all tokens, then an MLP (MAP head; big_vision/models/vit.py, MAPHead).

    There is no residual from the probe and no norm before attention: the tokens come normalised.

    Args:
        config: the architecture, whose heads and MLP width the pooling shares.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        D = config.embed_dim
        self.num_heads = config.num_heads
        self.latent = nn.Parameter(torch.empty(1, 1, D))
        self.q, self.kv, self.proj = nn.Linear(D, D), nn.Linear(D, 2 * D), nn.Linear(D, D)
        self.norm = nn.LayerNorm(D, eps=config.norm_eps)
        self.mlp = Mlp(config)

    def forward(self, x: Float[Tensor, "B N D"], taps: Taps = NOTHING) -> Float[Tensor, "B D"]:
        """What the probe gathered."""
        B, N, _ = x.shape
        q = self.q(self.latent).expand(B, -1, -1).view(B, 1, self.num_heads, -1).transpose(1, 2)  # (B, A, 1, K)
        k, v = self.kv(x).view(B, N, 2, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)  # (B, A, N, K)
        if taps.want("weights"):
            taps.keep("weights", ((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)).softmax(dim=-1))
        pooled = self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(1))  # (B, D)
        return pooled + self.mlp(self.norm(pooled))

"""Multi-head self-attention (Vaswani et al. 2017; appendix A of the ViT paper)."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vitreous.model.taps import NOTHING, Taps

Form = Literal["fused", "matmul"]
"""How attention is computed, not what: one fused kernel, or two matrix products with a softmax between."""


class Attention(nn.Module):
    """Every token looks at every token: softmax(q k^T / sqrt(K)) v in each head, then one projection.

    Args:
        embed_dim: width D of a token.
        num_heads: heads A; each is K = D / A wide.
        dropout: drop rate after the output projection (the paper drops neither q, k, v nor the weights).
    """

    def __init__(self, embed_dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.scale = (embed_dim // num_heads) ** -0.5
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim)
        self.drop = nn.Dropout(dropout)
        self.form: Form = "fused"

    def forward(self, x: Float[Tensor, "B N D"], taps: Taps = NOTHING) -> Float[Tensor, "B N D"]:
        """The tokens, each now a mixture of what it attended to."""
        B, N, D = x.shape
        qkv = self.qkv(x).view(B, N, 3, self.num_heads, D // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # 3 x (B, A, N, K)
        for name, value in (("q", q), ("k", k), ("v", v)):
            taps.keep(name, value)
        if taps.want("weights"):  # beside the computation, never in its place: a tap must not change the output
            taps.keep("weights", self.weights(q, k))
        mixed = self.weights(q, k) @ v if self.form == "matmul" else F.scaled_dot_product_attention(q, k, v)
        mixed = mixed.transpose(1, 2).reshape(B, N, D)  # (B, A, N, K) -> (B, N, D)
        return self.drop(self.proj(mixed))

    def weights(self, q: Float[Tensor, "B A N K"], k: Float[Tensor, "B A M K"]) -> Float[Tensor, "B A N M"]:
        """How much each of N queries looks at each of M keys: rows of non-negative numbers that sum to 1."""
        return ((q * self.scale) @ k.transpose(-2, -1)).softmax(dim=-1).to(q.dtype)

"""Multi-head self-attention (Vaswani et al. 2017; appendix A of the ViT paper), over all tokens or near ones only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vitreous.architecture import Size, ViTConfig, grid_of
from vitreous.model.position import Rotation, offset_bias, rotate
from vitreous.model.taps import NOTHING, Taps

Form = Literal["fused", "matmul"]
"""How attention is computed, not what: one fused kernel, or two matrix products with a softmax between."""

Span = Literal["all", "window", "row", "column"]
"""Which patches a patch looks at; class token and registers see everything and are seen by everyone."""


@dataclass(frozen=True)
class Where:
    """Where the tokens lie, for those forms of attention that must know."""

    num_prefix: int
    """Tokens in front that are no patches."""
    grid: Size
    """(rows, columns) of patches."""
    rotation: Rotation | None = None
    """How queries and keys are turned by their places."""
    offsets: Float[Tensor, "R K"] | None = None
    """The table of relative positions that all blocks share."""


class Attention(nn.Module):
    """Every token looks at every token: softmax(q k^T / sqrt(K)) v in each head, then one projection.

    Args:
        config: the architecture.
        span: which patches a patch looks at.
    """

    def __init__(self, config: ViTConfig, span: Span = "all") -> None:
        super().__init__()
        D, K = config.embed_dim, config.head_dim
        self.num_heads, self.scale = config.num_heads, K**-0.5
        self.span, self.window = span, config.window
        self.form: Form = "fused"
        self.qkv = nn.Linear(D, 3 * D, bias=config.qkv_bias == "all")
        # a bias of the keys would move all logits of a query alike, and softmax would drop it
        own = config.qkv_bias == "query-value"
        self.q_bias = nn.Parameter(torch.empty(D)) if own else None
        self.v_bias = nn.Parameter(torch.empty(D)) if own else None
        self.q_norm = nn.LayerNorm(K, eps=config.norm_eps) if config.qk_norm else None
        self.k_norm = nn.LayerNorm(K, eps=config.norm_eps) if config.qk_norm else None
        self.rel_pos = None
        if config.position == "relative" and config.position_at != "shared":
            self.rel_pos = nn.Parameter(torch.empty(num_offsets(config), K))
        self.norm = nn.LayerNorm(D, eps=config.norm_eps) if config.attn_norm else None
        self.proj = nn.Linear(D, D, bias=config.proj_bias)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Float[Tensor, "B N D"], where: Where, taps: Taps = NOTHING) -> Float[Tensor, "B N D"]:
        """The tokens, each now a mixture of what it attended to."""
        q, k, v = self._project(x)  # each (B, A, N, K)
        if where.rotation is not None:
            q, k = rotate(q, where.rotation, where.num_prefix), rotate(k, where.rotation, where.num_prefix)
        for name, value in (("q", q), ("k", k), ("v", v)):
            taps.keep(name, value)
        if taps.want("weights"):  # beside the computation, never in its place: a tap must not change the output
            taps.keep("weights", self.weights(q, k, self._bias(q, where), self._visible(where, q.device)))
        near = self.span != "all"
        mixed = self._mix_near(q, k, v, where) if near else self._mix(q, k, v, self._bias(q, where))
        mixed = mixed.transpose(1, 2).flatten(2)  # (B, A, N, K) -> (B, N, D)
        if self.norm is not None:
            mixed = self.norm(mixed)
        return self.drop(self.proj(mixed))

    def weights(
        self,
        q: Float[Tensor, "B A N K"],
        k: Float[Tensor, "B A M K"],
        bias: Float[Tensor, "B A N M"] | None = None,
        visible: Bool[Tensor, "N M"] | None = None,
    ) -> Float[Tensor, "B A N M"]:
        """How much each of N queries looks at each of M keys: rows of non-negative numbers that sum to 1."""
        scores = (q * self.scale) @ k.transpose(-2, -1)
        if bias is not None:
            scores = scores + bias
        if visible is not None:
            scores = scores.masked_fill(~visible, float("-inf"))
        return scores.softmax(dim=-1).to(q.dtype)

    def _project(self, x: Float[Tensor, "B N D"]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (B, A, N, K)."""
        B, N, D = x.shape
        if self.q_bias is not None and self.v_bias is not None:
            bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
            qkv = F.linear(x, self.qkv.weight, bias)
        else:
            qkv = self.qkv(x)
        q, k, v = qkv.view(B, N, 3, self.num_heads, D // self.num_heads).permute(2, 0, 3, 1, 4).unbind(0)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        return q, k, v

    def _bias(self, q: Float[Tensor, "B A N K"], where: Where) -> Float[Tensor, "B A N N"] | None:
        """What relative positions add to the logits."""
        table = self.rel_pos if self.rel_pos is not None else where.offsets
        return None if table is None else offset_bias(q * self.scale, table)

    def _mix(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        if self.form == "matmul":
            return self.weights(q, k, bias) @ v
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)

    def _mix_near(
        self, q: Float[Tensor, "B A N K"], k: Float[Tensor, "B A N K"], v: Float[Tensor, "B A N K"], where: Where
    ) -> Float[Tensor, "B A N K"]:
        """As `_mix`, but patches look only at their own window and at the tokens in front: linear in their number."""
        P, window = where.num_prefix, self._window(where.grid)
        near_q, near_k, near_v = (_cut(part[:, :, P:], where.grid, window) for part in (q, k, v))
        times = where.grid[0] // window[0] * (where.grid[1] // window[1])
        front_k, front_v = (part[:, :, :P].repeat_interleave(times, dim=0) for part in (k, v))
        near = self._mix(near_q, torch.cat([front_k, near_k], dim=2), torch.cat([front_v, near_v], dim=2))
        near = _join(near, where.grid, window)
        return torch.cat([self._mix(q[:, :, :P], k, v), near], dim=2) if P else near

    def _window(self, grid: Size) -> Size:
        """(rows, columns) of patches that look at each other."""
        match self.span:
            case "row":
                return 1, grid[1]
            case "column":
                return grid[0], 1
            case "window" if self.window is not None:
                grid_of(grid, self.window, what=("grid", "window"))  # refuses one that windows do not tile
                return self.window
        return grid

    def _visible(self, where: Where, device: torch.device) -> Bool[Tensor, "N N"] | None:
        """Who sees whom, for showing the weights of near attention as one matrix."""
        if self.span == "all":
            return None
        (rows, columns), (high, wide) = where.grid, self._window(where.grid)
        row, column = (torch.arange(side, device=device) for side in where.grid)
        home = (row[:, None] // high * columns + column // wide).flatten()
        count = where.num_prefix + rows * columns
        visible = torch.ones(count, count, dtype=torch.bool, device=device)
        visible[where.num_prefix :, where.num_prefix :] = home[:, None] == home[None, :]
        return visible


def num_offsets(config: ViTConfig) -> int:
    """Rows of a table of relative positions: from the last token to the first and back.

    Args:
        config: tells how many tokens there are.
    """
    return 2 * config.tokens_at(config.image_size) - 1


def _cut(x: Float[Tensor, "B A hw K"], grid: Size, window: Size) -> Float[Tensor, "Bn A p K"]:
    """Patches by window: (B * windows, A, patches of a window, K)."""
    B, A, _, K = x.shape
    (rows, columns), (high, wide) = grid, window
    x = x.view(B, A, rows // high, high, columns // wide, wide, K)
    return x.permute(0, 2, 4, 1, 3, 5, 6).reshape(-1, A, high * wide, K)


def _join(x: Float[Tensor, "Bn A p K"], grid: Size, window: Size) -> Float[Tensor, "B A hw K"]:
    """Undo `_cut`."""
    _, A, _, K = x.shape
    (rows, columns), (high, wide) = grid, window
    x = x.view(-1, rows // high, columns // wide, A, high, wide, K)
    return x.permute(0, 3, 1, 4, 2, 5, 6).reshape(-1, A, rows * columns, K)

"""The Vision Transformer, from images to logits (Dosovitskiy et al., ICLR 2021, section 3.1).

    images (B, C, H, W) -> patches -> tokens (B, N, D) -> L blocks -> final norm -> pool -> head -> logits (B, Y)

Parameter names are timm's. The shape legend stands in the room's `__init__.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitreous.architecture import Size, ViTConfig
from vitreous.config import ModelCard
from vitreous.errors import ConfigError
from vitreous.model.attention import Attention, Span, Where, num_offsets
from vitreous.model.features import Features
from vitreous.model.init import init_weights
from vitreous.model.layers import DropPath, LayerScale, Mlp, PatchEmbed, drop_path_rates
from vitreous.model.pool import AttentionPool
from vitreous.model.position import cross, resample, resample_line, rotation, sincos
from vitreous.model.taps import NOTHING, Taps

Corrupt = Callable[[Tensor], Tensor]
"""Patch embeddings (B, h * w, D) to others of the same shape: what masked patch prediction trains on (B.1.2)."""


class Block(nn.Module):
    """One encoder block: attention, then MLP, each after a norm and added to its input (equations 2 and 3)."""

    def __init__(self, config: ViTConfig, drop_path: float = 0.0, span: Span = "all") -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.embed_dim, eps=config.norm_eps)
        self.attn = Attention(config, span)
        self.ls1 = LayerScale(config.embed_dim) if config.layer_scale is not None else nn.Identity()
        self.norm2 = nn.LayerNorm(config.embed_dim, eps=config.norm_eps)
        self.mlp = Mlp(config)
        self.ls2 = LayerScale(config.embed_dim) if config.layer_scale is not None else nn.Identity()
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Float[Tensor, "B N D"], where: Where, taps: Taps = NOTHING) -> Float[Tensor, "B N D"]:
        """The tokens one block further."""
        x = x + taps.keep("attn", self.drop_path(self.ls1(self.attn(self.norm1(x), where, taps.under("attn")))))
        return x + taps.keep("mlp", self.drop_path(self.ls2(self.mlp(self.norm2(x), taps.under("mlp")))))


class AxialBlock(nn.Module):
    """Attention along rows and an MLP, then attention along columns and an MLP (appendix D.6, Axial-ViT)."""

    def __init__(self, config: ViTConfig, drop_path: float = 0.0) -> None:
        super().__init__()
        self.rows = Block(config, drop_path, "row")
        self.columns = Block(config, drop_path, "column")

    def forward(self, x: Float[Tensor, "B N D"], where: Where, taps: Taps = NOTHING) -> Float[Tensor, "B N D"]:
        """The tokens one block further."""
        return self.columns(self.rows(x, where, taps.under("rows")), where, taps.under("columns"))


class HiddenHead(nn.Module):
    """The tanh hidden layer that the head has during pre-training (section 3.1)."""

    def __init__(self, width: int, representation_size: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, representation_size)

    def forward(self, pooled: Float[Tensor, "*B D"]) -> Float[Tensor, "*B R"]:
        """The representation, each number in (-1, 1)."""
        return torch.tanh(self.fc(pooled))


class ViT(nn.Module):
    """A Vision Transformer with freshly drawn weights.

    It runs at any resolution that its patches tile; away from `config.image_size` the position table is interpolated
    on the way. A plain module: it trains in anybody's loop and works under compile, export and deep copies.

    Args:
        config: the architecture.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        self.card: ModelCard | None = None
        self.num_prefix = config.num_prefix
        D = config.embed_dim

        self.patch_embed = PatchEmbed(config)
        self.cls_token = nn.Parameter(torch.empty(1, 1, D)) if config.class_token else None
        self.dist_token = nn.Parameter(torch.empty(1, 1, D)) if config.distill_token else None
        self.reg_token = nn.Parameter(torch.empty(1, config.registers, D)) if config.registers else None
        self._make_positions()
        self.pos_drop = nn.Dropout(config.dropout)
        self.norm_pre = nn.LayerNorm(D, eps=config.norm_eps) if config.pre_norm else nn.Identity()
        self.blocks = nn.ModuleList(_block(config, rate) for rate in drop_path_rates(config))
        self.norm = nn.LayerNorm(D, eps=config.norm_eps) if config.pool_norm == "before" else nn.Identity()
        self.attn_pool = AttentionPool(config) if config.pool == "map" else None
        width = config.pooled_dim
        self.fc_norm = nn.LayerNorm(width, eps=config.norm_eps) if config.pool_norm == "after" else nn.Identity()
        self.pre_logits = None
        if config.representation_size is not None:
            self.pre_logits = HiddenHead(width, config.representation_size)
            width = config.representation_size
        self.head = _head(config, width)
        self.head_dist = _head(config, width) if config.distill_token else None
        init_weights(self)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B *N Y"]:
        """Logits, one row per image (pool="none": one per token); the pooled features where there is no head."""
        return self._classify(self._encode(images, NOTHING), NOTHING)

    def features(self, images: Float[Tensor, "B C H W"], taps: str | Iterable[str] = ()) -> Features:
        """Tokens after the final norm, and any intermediates by name.

        Args:
            images: preprocessed.
            taps: one or more names from `tap_names()`, such as "blocks.11.attn.weights" (B, A, N, N).

        Raises:
            UnknownNameError: a tap that this model does not have.
        """
        kept = Taps.among(taps, self.tap_names())
        tokens = self._encode(images, kept)
        if {"pool", "pool.weights", "pre_logits", "logits"} & kept.wanted:
            self._classify(tokens, kept)
        config, R = self.config, self.num_prefix
        return Features(
            cls=tokens[:, 0] if config.class_token else None,
            distill=tokens[:, 1] if config.distill_token else None,
            registers=tokens[:, R - config.registers : R],
            patches=tokens[:, R:],
            grid=self._grid(images),
            taps=kept.values,
        )

    def tap_names(self) -> tuple[str, ...]:
        """Every intermediate that `features` can hand out, in the order of the forward pass."""
        stem = self.patch_embed.backbone
        trunk = (
            () if stem is None else (*(f"patch_embed.backbone.{n}" for n in stem.tap_names()), "patch_embed.backbone")
        )
        tokens = ("patch_embed.filter",) if self.patch_embed.filter is not None else ()
        inside = ["attn.q", "attn.k", "attn.v", "attn.weights", "attn", "mlp.hidden", "mlp"]
        if self.config.attention == "axial":
            inside = [f"{axis}.{name}" for axis in ("rows", "columns") for name in inside]
        blocks = [f"blocks.{i}{part}" for i in range(len(self.blocks)) for part in (*(f".{n}" for n in inside), "")]
        pool = ("pool.weights", "pool") if self.attn_pool is not None else ("pool",)
        hidden = ("pre_logits",) if self.pre_logits is not None else ()
        return (*trunk, *tokens, "patch_embed", "embed", *blocks, "norm", *pool, *hidden, "logits")

    def encode(self, images: Float[Tensor, "B C H W"], corrupt: Corrupt | None = None) -> Float[Tensor, "B N D"]:
        """All tokens after the final norm, those in front first.

        Args:
            images: preprocessed.
            corrupt: what happens to the patch embeddings (B, h * w, D) before positions are added; None for nothing.
        """
        return self._encode(images, NOTHING, corrupt)

    def _encode(
        self, images: Float[Tensor, "B C H W"], taps: Taps, corrupt: Corrupt | None = None
    ) -> Float[Tensor, "B N D"]:
        """All tokens after the final norm."""
        where = self._where(images)
        tables = self._positions(where)
        x = self._embed(images, tables, taps, corrupt)
        for i, block in enumerate(self.blocks):
            if i and tables is not None and self.config.position_at != "input":  # Table 8: at every layer, or shared
                x = self._add_position(x, tables[i : i + 1] if len(tables) > 1 else tables, self.config.registers)
            x = taps.keep(f"blocks.{i}", block(x, where, taps.under(f"blocks.{i}")))
        return taps.keep("norm", self.norm(x))

    def _embed(
        self,
        images: Float[Tensor, "B C H W"],
        tables: Float[Tensor, "L M D"] | None,
        taps: Taps,
        corrupt: Corrupt | None,
    ) -> Float[Tensor, "B N D"]:
        """Patches projected, class token in front, positions added (equation 1), then registers put between."""
        x = taps.keep("patch_embed", self.patch_embed(images, taps.under("patch_embed")))  # (B, h * w, D)
        if corrupt is not None:
            x = corrupt(x)
        front = [token for token in (self.cls_token, self.dist_token) if token is not None]
        x = torch.cat([*(token.expand(x.shape[0], -1, -1) for token in front), x], dim=1)
        if tables is not None:
            x = self._add_position(x, tables[:1], registers=0)
        if self.reg_token is not None:
            registers = self.reg_token.expand(x.shape[0], -1, -1)
            x = torch.cat([x[:, : len(front)], registers, x[:, len(front) :]], dim=1)
        return taps.keep("embed", self.norm_pre(self.pos_drop(x)))

    def _classify(self, tokens: Float[Tensor, "B N D"], taps: Taps) -> Float[Tensor, "B *N Y"]:
        """Logits from the tokens after the final norm (equation 4)."""
        pooled = taps.keep("pool", self.fc_norm(self._pool(tokens, taps)))
        if self.pre_logits is not None:
            pooled = taps.keep("pre_logits", self.pre_logits(pooled))
        logits = self.head(pooled)
        if self.head_dist is not None:  # the distillation token answers too: the mean of both (DeiT, section 4)
            logits = (logits + self.head_dist(self.fc_norm(tokens[:, 1]))) / 2
        return taps.keep("logits", logits)

    def _pool(self, tokens: Float[Tensor, "B N D"], taps: Taps) -> Float[Tensor, "B *N P"]:
        """What the head reads."""
        match self.config.pool:
            case "cls":
                return tokens[:, 0]
            case "mean":
                return tokens[:, self.num_prefix :].mean(dim=1)
            case "cls+mean":
                return torch.cat([tokens[:, 0], tokens[:, self.num_prefix :].mean(dim=1)], dim=1)
            case "map" if self.attn_pool is not None:
                return self.attn_pool(tokens, taps.under("pool"))
        return tokens

    def _grid(self, images: Float[Tensor, "B C H W"]) -> Size:
        """(rows, columns) of tokens that these images make, or a ConfigError naming the nearest sizes that divide."""
        config = self.config
        _, C, H, W = images.shape
        if config.in_channels != C:
            raise ConfigError(f"the model takes images of {config.in_channels} channels, got {tuple(images.shape)}")
        grid = config.grid_at((H, W))
        return grid if config.num_tokens is None else (1, config.num_tokens)

    def _where(self, images: Float[Tensor, "B C H W"]) -> Where:
        """Where the tokens of these images lie."""
        config, grid, turn = self.config, self._grid(images), None
        if config.rotary is not None:
            turn = rotation(
                grid, config.head_dim, config.rotary, config.rotary_base,
                reference=config.rotary_grid, dtype=config.rotary_dtype, device=images.device,
            )  # fmt: skip
        return Where(self.num_prefix, grid, turn, self.rel_pos)

    def _make_positions(self) -> None:
        """The parameters that `_positions` reads."""
        config, D = self.config, self.config.embed_dim
        rows, columns = (1, config.num_tokens) if config.num_tokens is not None else config.grid
        prefix, tables = config.num_prefix_positions, config.depth if config.position_at == "every" else 1
        self.pos_embed = self.rel_pos = self.pos_embed_y = self.pos_embed_x = self.pos_embed_prefix = None
        match config.position:
            case "learned":
                self.pos_embed = nn.Parameter(torch.empty(tables, prefix + rows * columns, D))
            case "learned-2d":
                self.pos_embed_y = nn.Parameter(torch.empty(tables, rows, D // 2))
                self.pos_embed_x = nn.Parameter(torch.empty(tables, columns, D // 2))
                self.pos_embed_prefix = nn.Parameter(torch.empty(tables, prefix, D)) if prefix else None
            case "relative" if config.position_at == "shared":
                self.rel_pos = nn.Parameter(torch.empty(num_offsets(config), config.head_dim))

    def _positions(self, where: Where) -> Float[Tensor, "L M D"] | None:
        """What is added to the tokens at this grid: one table, or one for each block; None for none.

        Class and distillation token come first where they have positions.
        """
        config, grid = self.config, where.grid
        if config.position == "sincos" or config.position == "sincos-mae":
            return sincos(grid, config.embed_dim, config.position).to(self.patch_embed.proj.weight)
        if self.pos_embed is not None:
            if config.num_tokens is not None:  # semantic tokens are as many at every size
                return self.pos_embed
            return resample(self.pos_embed, config.num_prefix_positions, config.grid, grid, config.resample)
        if self.pos_embed_y is not None and self.pos_embed_x is not None:
            table = cross(resample_line(self.pos_embed_y, grid[0]), resample_line(self.pos_embed_x, grid[1]))
            return table if self.pos_embed_prefix is None else torch.cat([self.pos_embed_prefix, table], dim=1)
        return None

    def _add_position(
        self, x: Float[Tensor, "B N D"], table: Float[Tensor, "1 M D"], registers: int
    ) -> Float[Tensor, "B N D"]:
        """Tokens plus their positions, added and not concatenated; tokens without one stay as they are.

        Args:
            x: class and distillation token, registers, patches.
            table: rows for class and distillation token, where these have positions, then for the patches.
            registers: how many of the tokens are registers, which have no positions.
        """
        if table.shape[1] == x.shape[1]:
            return x + table
        own, front = self.config.num_prefix_positions, self.num_prefix - self.config.registers
        first = x[:, :front] + table[:, :own] if own else x[:, :front]
        return torch.cat([first, x[:, front : front + registers], x[:, front + registers :] + table[:, own:]], dim=1)


def _block(config: ViTConfig, drop_path: float) -> Block | AxialBlock:
    if config.attention == "axial":
        return AxialBlock(config, drop_path)
    return Block(config, drop_path, "window" if config.attention == "window" else "all")


def _head(config: ViTConfig, width: int) -> nn.Linear | nn.Identity:
    return nn.Linear(width, config.num_classes, bias=config.head_bias) if config.num_classes else nn.Identity()

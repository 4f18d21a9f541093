"""The Vision Transformer, from images to logits (Dosovitskiy et al., ICLR 2021, section 3.1).

    images (B, C, H, W) -> patches -> tokens (B, N, D) -> L blocks -> final norm -> pool -> head -> logits (B, Y)

Parameter names are timm's. The shape legend stands in the room's `__init__.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitreous.architecture import Size, ViTConfig, as_pair, grid_of
from vitreous.config import ModelCard
from vitreous.errors import ConfigError, unknown_name
from vitreous.model.attention import Attention
from vitreous.model.init import init_weights
from vitreous.model.layers import Mlp, PatchEmbed
from vitreous.model.position import resample
from vitreous.model.taps import NOTHING, Taps
from vitreous.zoo import find_model


@dataclass(frozen=True)
class Features:
    """What a ViT knows about its images after the final norm."""

    cls: Float[Tensor, "B D"] | None
    """The class token, where there is one."""
    registers: Float[Tensor, "B S D"]
    """Register tokens; S is 0 for most models."""
    patches: Float[Tensor, "B hw D"]
    """One token per patch, in reading order."""
    grid: Size
    """(rows, columns) of patches."""
    taps: dict[str, Tensor]
    """The named intermediates that were asked for."""


class Block(nn.Module):
    """One encoder block: attention, then MLP, each after a norm and added to its input (equations 2 and 3)."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.embed_dim, eps=config.norm_eps)
        self.attn = Attention(config.embed_dim, config.num_heads, config.dropout)
        self.norm2 = nn.LayerNorm(config.embed_dim, eps=config.norm_eps)
        self.mlp = Mlp(config.embed_dim, config.mlp_dim, config.gelu, config.dropout)

    def forward(self, x: Float[Tensor, "B N D"], taps: Taps = NOTHING) -> Float[Tensor, "B N D"]:
        """The tokens one block further."""
        x = x + taps.keep("attn", self.attn(self.norm1(x), taps.under("attn")))
        return x + taps.keep("mlp", self.mlp(self.norm2(x), taps.under("mlp")))


class HiddenHead(nn.Module):
    """The tanh hidden layer that the head has during pre-training (section 3.1)."""

    def __init__(self, embed_dim: int, representation_size: int) -> None:
        super().__init__()
        self.fc = nn.Linear(embed_dim, representation_size)

    def forward(self, pooled: Float[Tensor, "B D"]) -> Float[Tensor, "B R"]:
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
        rows, columns = config.grid
        self.num_prefix = int(bool(config.class_token))

        self.patch_embed = PatchEmbed(config.patch_size, config.in_channels, config.embed_dim)
        self.cls_token = nn.Parameter(torch.empty(1, 1, config.embed_dim)) if config.class_token else None
        self.pos_embed = nn.Parameter(torch.empty(1, self.num_prefix + rows * columns, config.embed_dim))
        self.pos_drop = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.embed_dim, eps=config.norm_eps)
        width = config.embed_dim
        self.pre_logits = None
        if config.representation_size is not None:
            self.pre_logits = HiddenHead(width, config.representation_size)
            width = config.representation_size
        self.head = nn.Linear(width, config.num_classes) if config.num_classes else nn.Identity()
        init_weights(self)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B Y"]:
        """Logits, one row per image; the pooled features where there is no head."""
        return self._classify(self._encode(images, NOTHING), NOTHING)

    def features(self, images: Float[Tensor, "B C H W"], taps: str | Iterable[str] = ()) -> Features:
        """Tokens after the final norm, and any intermediates by name.

        Args:
            images: preprocessed.
            taps: one or more names from `tap_names()`, such as "blocks.11.attn.weights" (B, A, N, N).

        Raises:
            UnknownNameError: a tap that this model does not have.
        """
        asked = [taps] if isinstance(taps, str) else list(taps)
        known = self.tap_names()
        for name in asked:
            if name not in known:
                raise unknown_name("tap", name, known, remedy="model.tap_names() lists them all")
        kept = Taps(asked)
        tokens = self._encode(images, kept)
        if {"pre_logits", "logits"} & kept.wanted:
            self._classify(tokens, kept)
        return Features(
            cls=tokens[:, 0] if self.config.class_token else None,
            registers=tokens[:, self.num_prefix : self.num_prefix],
            patches=tokens[:, self.num_prefix :],
            grid=grid_of((images.shape[2], images.shape[3]), self.config.patch_size),
            taps=kept.values,
        )

    def tap_names(self) -> tuple[str, ...]:
        """Every intermediate that `features` can hand out, in the order of the forward pass."""
        inside = ("attn.q", "attn.k", "attn.v", "attn.weights", "attn", "mlp.hidden", "mlp")
        blocks = [f"blocks.{i}{part}" for i in range(len(self.blocks)) for part in (*(f".{n}" for n in inside), "")]
        hidden = ("pre_logits",) if self.pre_logits is not None else ()
        return ("patch_embed", "embed", *blocks, "norm", *hidden, "logits")

    def _encode(self, images: Float[Tensor, "B C H W"], taps: Taps) -> Float[Tensor, "B N D"]:
        """All tokens after the final norm."""
        x = self._embed(images, taps)
        for i, block in enumerate(self.blocks):
            x = taps.keep(f"blocks.{i}", block(x, taps.under(f"blocks.{i}")))
        return taps.keep("norm", self.norm(x))

    def _embed(self, images: Float[Tensor, "B C H W"], taps: Taps) -> Float[Tensor, "B N D"]:
        """Patches projected, class token in front, positions added (equation 1)."""
        B, C, H, W = images.shape
        if self.config.in_channels != C:
            raise ConfigError(
                f"the model takes images of {self.config.in_channels} channels, got {tuple(images.shape)}"
            )
        grid = grid_of((H, W), self.config.patch_size)
        x = taps.keep("patch_embed", self.patch_embed(images))  # (B, h * w, D)
        if self.cls_token is not None:
            x = torch.cat([self.cls_token.expand(B, -1, -1), x], dim=1)
        # added, not concatenated; the class token has a position of its own
        x = x + resample(self.pos_embed, self.num_prefix, self.config.grid, grid)
        return taps.keep("embed", self.pos_drop(x))

    def _classify(self, tokens: Float[Tensor, "B N D"], taps: Taps) -> Float[Tensor, "B Y"]:
        """Logits from the tokens after the final norm (equation 4)."""
        pooled = tokens[:, 0] if self.config.pool == "cls" else tokens[:, self.num_prefix :].mean(dim=1)
        if self.pre_logits is not None:
            pooled = taps.keep("pre_logits", self.pre_logits(pooled))
        return taps.keep("logits", self.head(pooled))


def create_model(
    model: str | ViTConfig,
    *,
    num_classes: int | None = None,
    image_size: int | Size | None = None,
    dropout: float | None = None,
    representation_size: int | None = None,
    seed: int | None = None,
) -> ViT:
    """A model with random weights, initialised as the paper's authors did.

    Args:
        model: a zoo name ("vit-b16", "ViT-B/16", "vit_base_patch16_224") or a config.
        num_classes: outputs of the head; 0 for none; None keeps the config's.
        image_size: resolution of the position table; None keeps the config's.
        dropout: drop rate; None keeps the config's.
        representation_size: width of a tanh hidden layer before the head; None keeps the config's.
        seed: fixes the weights; None draws from PyTorch's global generator.
    """
    config = find_model(model) if isinstance(model, str) else model
    changes: dict[str, Any] = {
        "num_classes": num_classes,
        "image_size": None if image_size is None else as_pair(image_size),
        "dropout": dropout,
        "representation_size": representation_size,
    }
    config = dataclasses.replace(config, **{name: value for name, value in changes.items() if value is not None})
    with torch.device("meta"):
        vit = ViT(config)
    vit = vit.to_empty(device="cpu")
    init_weights(vit, None if seed is None else torch.Generator().manual_seed(seed))
    return vit

"""Architectures as frozen dataclasses: the Vision Transformer with its options, and the ResNets it is compared with.

Every family's own numerics are a field here (GELU, epsilons, weight standardisation, padding, position resampling),
never a guess in the model's code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from vitreous.errors import ConfigError
from vitreous.schema import check_types, from_json, positive, share

Size = tuple[int, int]
"""(height, width) in pixels, tokens or patches: always in this order."""

Position = Literal["learned", "learned-2d", "relative", "sincos", "sincos-mae", "none"]
Resample = Literal[
    "bilinear-corners", "bilinear-antialias", "bicubic", "bicubic-corners", "bicubic-antialias", "bicubic-offset"
]


@dataclass(frozen=True, kw_only=True, slots=True)
class ResNetConfig:
    """A ResNet with group norm and standardised convolutions: BiT, and the stem of the hybrids.

    v2 is pre-activation (Kolesnikov et al., "Big Transfer", 2020; big_transfer/bit_pytorch/models.py). v1 is
    post-activation (vit_jax/models_resnet.py; big_vision/models/bit.py). Fields left out take the style's numerics.
    """

    name: str = "resnet"
    """What the architecture is called, e.g. bit-r50x1."""
    image_size: Size = (224, 224)
    """Resolution it is meant for, (height, width) in pixels; it runs at any other."""
    in_channels: int = 3
    """Channels of the input image."""
    layers: tuple[int, ...]
    """Bottleneck units per stage; empty for the root convolution and its pooling alone."""
    width_factor: int = 1
    """Multiplies every width; 1 is 64 channels at the root."""
    style: Literal["v1", "v2"] = "v2"
    """Post-activation (hybrids) or pre-activation (BiT) units."""
    num_classes: int = 1000
    """Outputs of the head; 0 leaves the head out, and the model answers with pooled features."""
    norm_eps: float | None = None
    """Epsilon of every GroupNorm; 1e-6 for v1 and 1e-5 for v2 unless given."""
    standardize: Literal["std", "var"] | None = None
    """Divide weights by std + epsilon (v1's own) or by sqrt(var + epsilon) (v2's own)."""
    standardize_eps: float | None = None
    """Epsilon of the weight standardisation; 1e-5 for v1 and 1e-10 for v2 unless given."""
    padding: Literal["same", "symmetric"] | None = None
    """TensorFlow's SAME, which puts the odd pixel behind (v1's own), or the same on both sides (v2's own)."""

    def __post_init__(self) -> None:
        first = self.style == "v1"
        own = {
            "norm_eps": 1e-6 if first else 1e-5,
            "standardize": "std" if first else "var",
            "standardize_eps": 1e-5 if first else 1e-10,
            "padding": "same" if first else "symmetric",
        }
        for name, value in own.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        check_types(self)
        positive(self, "in_channels", "width_factor", "norm_eps", "standardize_eps")
        if self.num_classes < 0:
            raise ConfigError(f"num_classes must be 0 or more, got {self.num_classes}")
        if len(self.layers) > 4 or min(self.layers, default=1) < 1:
            raise ConfigError(f"layers must be up to four numbers above 0, got {self.layers}")
        if not self.layers and self.num_classes:
            raise ConfigError("a root without stages is a stem for hybrids, not a classifier", remedy="num_classes=0")
        if min(self.image_size) < 1:
            raise ConfigError(f"image_size must be positive, got {self.image_size}")

    @property
    def reduction(self) -> int:
        """Pixels of the image per cell of the feature map, along each side."""
        return 4 * 2 ** max(0, len(self.layers) - 1)

    @property
    def num_features(self) -> int:
        """Channels of the feature map."""
        return 64 * self.width_factor * (4 * 2 ** (len(self.layers) - 1) if self.layers else 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class ViTConfig:
    """The architecture of a Vision Transformer (Dosovitskiy et al., ICLR 2021, section 3.1 and Table 1)."""

    name: str = "vit"
    """What the architecture is called, e.g. vit-b16."""
    image_size: Size = (224, 224)
    """Resolution the position table is made for, (height, width) in pixels."""
    patch_size: Size = (16, 16)
    """Size of one patch, (height, width) in pixels; in a hybrid, in cells of the feature map."""
    in_channels: int = 3
    """Channels of the input image."""
    embed_dim: int
    """Width D of every token."""
    depth: int
    """Number of encoder blocks L."""
    num_heads: int
    """Attention heads per block; each is embed_dim / num_heads wide."""
    mlp_dim: int
    """Width F of the hidden layer of each block's MLP."""
    num_classes: int = 1000
    """Outputs of the head; 0 leaves the head out, and the model answers with features."""

    stem: ResNetConfig | None = None
    """The ResNet whose feature map is cut into patches (hybrids, section 3.1); None cuts the image itself."""
    edge: Literal["refuse", "crop"] = "refuse"
    """What becomes of pixels behind the last whole patch: an error, or cut off (Google's VALID convolution)."""
    tokenizer: Literal["patch", "filter"] = "patch"
    """One token per patch, or the filter-based semantic tokens of Wu et al. (2020, equation 1)."""
    num_tokens: int | None = None
    """How many semantic tokens the filter tokenizer makes."""
    patch_bias: bool = True
    """Whether the patch projection has a bias."""

    class_token: bool | None = None
    """Whether a class token is put in front of the patches; by default only where it is pooled."""
    distill_token: bool = False
    """A second token behind the class token with a head of its own (DeiT); the logits are the mean of both."""
    registers: int = 0
    """Register tokens, put behind the class token after positions are added (Darcet et al., 2024)."""

    position: Position = "learned"
    """Position embedding: a table of rows, a row and a column table, relative offsets, fixed sines, or none."""
    position_at: Literal["input", "every", "shared"] = "input"
    """Added once, at every block from a table of its own, or at every block from one table (Table 8)."""
    prefix_position: bool = True
    """Whether class and distillation token have rows in the position table."""
    resample: Resample = "bilinear-corners"
    """How the table follows the image to another grid; the paper's code is bilinear with corners on corners."""
    rotary: Literal["eva", "dinov3"] | None = None
    """Rotary position embedding of queries and keys, in the form of EVA-02 or of DINOv3."""
    rotary_base: float = 100.0
    """Longest period of the rotary embedding; 10000 for EVA-02."""
    rotary_dtype: Literal["float32", "bfloat16"] = "float32"
    """What the periods are rounded to; Meta's own DINOv3 files carry them in bfloat16."""
    rotary_grid: Size | None = None
    """Grid whose coordinates the rotary embedding of EVA-02 is scaled to; None takes the image's own."""

    attention: Literal["full", "window", "axial"] = "full"
    """Who looks at whom: everyone, patches of the same window, or of the same row and then the same column."""
    window: Size | None = None
    """Size of a local window, (rows, columns) of patches."""
    qkv_bias: Literal["all", "query-value", "none"] = "all"
    """Which of queries, keys and values have a bias."""
    qk_norm: bool = False
    """A LayerNorm on every head's queries and keys."""
    attn_norm: bool = False
    """A LayerNorm between attention and its output projection (EVA-02)."""
    proj_bias: bool = True
    """Whether attention's output projection has a bias."""
    mlp: Literal["gelu", "swiglu"] = "gelu"
    """Linear, GELU, linear; or the gated silu(x W) * (x V) with packed first layer."""
    mlp_norm: bool = False
    """A LayerNorm before the MLP's last layer (EVA-02)."""
    mlp_bias: bool = True
    """Whether the MLP's layers have biases."""
    gelu: Literal["erf", "tanh", "quick"] = "erf"
    """The exact GELU, the tanh approximation of Google's checkpoints, or OpenAI's x * sigmoid(1.702 x)."""
    norm_eps: float = 1e-6
    """Epsilon of every LayerNorm."""
    pre_norm: bool = False
    """A LayerNorm before the first block (CLIP)."""
    layer_scale: float | None = None
    """Initial value of a learned factor per channel on every residual branch; None for no factor."""

    pool: Literal["cls", "mean", "map", "cls+mean", "none"] = "cls"
    """What the head reads: class token, mean of the patches, attention pooling, class token beside the mean, or
    every token."""
    pool_norm: Literal["before", "after"] = "before"
    """Whether the final norm stands before the pooling (Google) or after it (timm's fc_norm)."""
    representation_size: int | None = None
    """Width of the tanh hidden layer before the head, used in pre-training; None for a linear head."""
    head_bias: bool = True
    """Whether the head has a bias."""

    dropout: float = 0.0
    """Drop rate after the position embedding and every dense layer but the qkv projections (appendix B.1)."""
    drop_path: float = 0.0
    """Largest share of images that skip a residual branch while training (stochastic depth)."""
    drop_path_schedule: Literal["linear", "constant"] = "linear"
    """Rising from 0 to drop_path over the blocks (AugReg), or the same for all (DeiT-III, DINOv2)."""

    def __post_init__(self) -> None:
        if self.class_token is None:
            object.__setattr__(self, "class_token", self.pool in ("cls", "cls+mean") or self.distill_token)
        check_types(self)
        positive(self, "in_channels", "embed_dim", "depth", "num_heads", "mlp_dim", "norm_eps", "representation_size")
        positive(self, "num_tokens", "rotary_base", "layer_scale")
        share(self, "dropout", "drop_path")
        if min(self.num_classes, self.registers) < 0:
            raise ConfigError(
                f"num_classes and registers must be 0 or more, got {self.num_classes} and {self.registers}"
            )
        if min(*self.image_size, *self.patch_size) < 1:
            grid_of(self.image_size, self.patch_size)  # says which
        _check_widths(self)
        _check_tokens(self)
        _check_attention(self)
        grid = self.grid
        if self.window is not None:
            grid_of(grid, self.window, what=("grid", "window"))

    @property
    def stride(self) -> Size:
        """(height, width) in pixels of the image that one patch stands for."""
        times = self.stem.reduction if self.stem else 1
        return self.patch_size[0] * times, self.patch_size[1] * times

    @property
    def grid(self) -> Size:
        """(rows, columns) of patches at `image_size`."""
        return self.grid_at(self.image_size)

    def grid_at(self, image_size: Size) -> Size:
        """(rows, columns) of patches at another image size, or a ConfigError naming the nearest sizes that divide.

        Args:
            image_size: (height, width) in pixels.
        """
        if self.edge == "refuse":
            return grid_of(image_size, self.stride)
        times = self.stem.reduction if self.stem else 1  # a stem rounds its map up, patches are cut from it
        rows, columns = (-(-side // times) // patch for side, patch in zip(image_size, self.patch_size, strict=True))
        return (rows, columns) if rows and columns else grid_of(image_size, self.stride)

    def tokens_at(self, image_size: Size) -> int:
        """Tokens N of the encoder at an image size, those in front included.

        Args:
            image_size: (height, width) in pixels.
        """
        rows, columns = self.grid_at(image_size)
        return self.num_prefix + (self.num_tokens or rows * columns)

    @property
    def num_prefix(self) -> int:
        """Tokens that are no patches: class token, distillation token and registers."""
        return int(bool(self.class_token)) + int(self.distill_token) + self.registers

    @property
    def num_prefix_positions(self) -> int:
        """Rows of the position table that belong to no patch."""
        learned = self.position in ("learned", "learned-2d")
        return int(bool(self.class_token)) + int(self.distill_token) if self.prefix_position and learned else 0

    @property
    def head_dim(self) -> int:
        """Width K of one attention head."""
        return self.embed_dim // self.num_heads

    @property
    def pooled_dim(self) -> int:
        """Width of what pooling hands on."""
        return self.embed_dim * (2 if self.pool == "cls+mean" else 1)


Architecture = ViTConfig | ResNetConfig
"""Everything `create_model` builds."""


_FEATURES = {
    "cls": "final-norm class token",
    "mean": "mean of the final-norm patch tokens",
    "map": "attention pooling of the final-norm tokens",
    "cls+mean": "final-norm class token, then the mean of the final-norm patch tokens",
    "none": "every final-norm token",
}


def feature_words(architecture: Architecture | None) -> str:
    """What the head of a model reads, in words for its card.

    Args:
        architecture: None for somebody's own module.
    """
    match architecture:
        case ViTConfig(pool_norm="after", pool=pool):
            return _FEATURES[pool].replace("final-norm ", "") + ", normalised"
        case ViTConfig(pool=pool):
            return _FEATURES[pool]
        case ResNetConfig():
            return "mean of the last feature map"
    return "what its forward pass gives"


def architecture_from_json(data: Any) -> Architecture:
    """The architecture that `to_json` wrote as `data`.

    Args:
        data: what `json.loads` gives.
    """
    kind: type[ViTConfig] | type[ResNetConfig] = ViTConfig
    if isinstance(data, dict) and "layers" in data:
        kind = ResNetConfig
    return from_json(kind, data)


def _check_widths(config: ViTConfig) -> None:
    if config.embed_dim % config.num_heads:
        raise ConfigError(f"embed_dim {config.embed_dim} is not divisible by num_heads {config.num_heads}")
    parts = {"learned-2d": 2, "sincos": 4, "sincos-mae": 4}.get(config.position, 1)
    if config.embed_dim % parts:
        raise ConfigError(f"position={config.position!r} needs an embed_dim that {parts} divides", why=_got(config))
    if config.rotary and config.head_dim % 4:
        raise ConfigError(
            f"rotary embeddings need heads whose width 4 divides, got {config.head_dim}", why=_got(config)
        )


def _got(config: ViTConfig) -> str:
    return f"embed_dim {config.embed_dim}, num_heads {config.num_heads}"


def _check_tokens(config: ViTConfig) -> None:
    """Which tokens exist, and who reads them."""
    if config.pool in ("cls", "cls+mean") and not config.class_token:
        raise ConfigError(f"pool={config.pool!r} needs a class token", remedy="class_token=True, or pool='mean'")
    if config.distill_token and (config.pool != "cls" or config.representation_size is not None):
        raise ConfigError("a distillation token goes with pool='cls' and a linear head")
    if config.pool == "none" and config.pool_norm == "after":
        raise ConfigError("pool='none' has nothing for a norm to come after", remedy="pool_norm='before'")
    if (config.tokenizer == "filter") != (config.num_tokens is not None):
        raise ConfigError("tokenizer='filter' and num_tokens go together", why=f"num_tokens={config.num_tokens}")
    if config.tokenizer == "filter" and (
        config.position not in ("learned", "none") or config.rotary or config.attention != "full"
    ):
        raise ConfigError(
            "semantic tokens have no place in the image",
            remedy="position='learned' or 'none', no rotary embedding, attention='full'",
        )
    if config.stem is not None and config.stem.in_channels != config.in_channels:
        raise ConfigError(
            f"the stem takes {config.stem.in_channels} channels, the model is to take {config.in_channels}",
            remedy="give both the same in_channels",
        )


def _check_attention(config: ViTConfig) -> None:
    if (config.attention == "window") != (config.window is not None):
        raise ConfigError("attention='window' and window=(rows, columns) go together", why=f"window={config.window}")
    if config.rotary_grid is not None and (config.rotary != "eva" or min(config.rotary_grid) < 1):
        raise ConfigError(f"rotary_grid goes with rotary='eva' and is positive, got {config.rotary_grid}")
    if config.position == "relative" and config.attention != "full":
        raise ConfigError("relative positions go with attention='full'")
    if config.position in ("relative", "none") and config.position_at == "input":
        return
    if config.position in ("none", "sincos", "sincos-mae") and config.position_at == "every":
        raise ConfigError(f"position={config.position!r} has no tables to learn for every block")
    if config.position == "none" and config.position_at == "shared":
        raise ConfigError("position='none' has nothing to share")


def grid_of(image_size: Size, patch_size: Size, what: tuple[str, str] = ("image", "patch")) -> Size:
    """Rows and columns of patches that tile an image, or a ConfigError naming the nearest sizes that divide.

    Args:
        image_size: (height, width) in pixels.
        patch_size: (height, width) in pixels.
        what: what the two are called in the error.
    """
    whole, part = what
    for axis, pixels, patch in zip(("height", "width"), image_size, patch_size, strict=True):
        if patch < 1 or pixels < 1:
            raise ConfigError(f"{axis}: {whole} {pixels} and {part} {patch} must be at least 1 pixel")
        if pixels % patch:
            below, above = pixels // patch * patch, (pixels // patch + 1) * patch
            near = f"{below} or {above}" if below else f"{above}"
            raise ConfigError(
                f"{whole} {axis} {pixels} is not divisible by {part} {axis} {patch}",
                why=f"{pixels} = {pixels // patch} x {patch} + {pixels % patch}: the last {part} would be cut off",
                remedy=f"an {whole} {axis} of {near} pixels" if whole == "image" else f"a {whole} {axis} of {near}",
            )
    return image_size[0] // patch_size[0], image_size[1] // patch_size[1]


def as_pair(value: int | Size) -> Size:
    """(height, width) from one number or a pair."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))

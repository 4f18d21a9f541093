"""What an architecture costs, by arithmetic on its config alone: parameters, and multiply-adds for one image.

Multiply-adds are those of matrix products and convolutions: patches or stem, queries, keys and values, Q K^T and its
product with V, MLPs, tokenizer, pooling, head. Softmax, norms, GELU, resampling and standardising weights are not
counted, as nobody counts them. Twice as many are floating-point operations, FLOPs. Going back costs two products for
every one on the way forward, one for the gradient of each factor; only the layer that reads the image does with one,
for images need no gradient. This is what `torch.utils.flop_counter` counts of attention as two matrix products; fused
kernels multiply queries and keys once more on the way back, which the mathematics does not ask for.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from vitreous.architecture import Architecture, ResNetConfig, Size, ViTConfig, as_pair, grid_of


@dataclass(frozen=True, slots=True)
class Part:
    """What one part of a model costs."""

    name: str
    """In words, such as "queries, keys, values"; of all blocks together."""
    parameters: int
    """Numbers that are learned."""
    macs: int
    """Multiply-adds for one image."""
    reads_image: bool = False
    """Whether its input is the image, which needs no gradient."""

    @property
    def backward(self) -> int:
        """Multiply-adds of the way back, for one image."""
        return self.macs if self.reads_image else 2 * self.macs


def parameters(config: Architecture) -> int:
    """Numbers that are learned, exactly as many as the model has.

    Args:
        config: of a Vision Transformer, a hybrid or a ResNet.
    """
    return sum(part.parameters for part in parts(config))


def macs(config: Architecture, image_size: int | Size | None = None) -> int:
    """Multiply-adds for one image.

    Args:
        config: of a Vision Transformer, a hybrid or a ResNet.
        image_size: in pixels; None for the config's own.
    """
    return sum(part.macs for part in parts(config, image_size))


def flops(config: Architecture, image_size: int | Size | None = None) -> int:
    """Floating-point operations for one image: two for each multiply-add.

    Args:
        config: of a Vision Transformer, a hybrid or a ResNet.
        image_size: in pixels; None for the config's own.
    """
    return 2 * macs(config, image_size)


def training_flops(config: Architecture, image_size: int | Size | None = None) -> int:
    """Floating-point operations of one image on the way forward and back, all weights learning.

    The optimiser's own few operations for each parameter and step are not among them.

    Args:
        config: of a Vision Transformer, a hybrid or a ResNet.
        image_size: in pixels; None for the config's own.
    """
    return 2 * sum(part.macs + part.backward for part in parts(config, image_size))


def parts(config: Architecture, image_size: int | Size | None = None) -> tuple[Part, ...]:
    """Where parameters and multiply-adds go, from image to logits; the parts sum to the whole.

    Args:
        config: of a Vision Transformer, a hybrid or a ResNet.
        image_size: in pixels; None for the config's own. Position tables are those of the config's own size.
    """
    size = config.image_size if image_size is None else as_pair(image_size)
    found = _resnet(config, size) if isinstance(config, ResNetConfig) else _vit(config, size)
    return tuple(part for part in found if part.parameters or part.macs)


def tokens(config: Architecture, image_size: int | Size | None = None) -> int:
    """How many tokens go through the blocks, those in front included; in a ResNet, cells of the last feature map.

    Args:
        config: of a Vision Transformer, a hybrid or a ResNet.
        image_size: in pixels; None for the config's own.
    """
    size = config.image_size if image_size is None else as_pair(image_size)
    if isinstance(config, ResNetConfig):
        return -(-size[0] // config.reduction) * -(-size[1] // config.reduction)
    rows, columns = config.grid_at(size)
    return config.num_prefix + (config.num_tokens or rows * columns)


def attention_pairs(image_size: int | Size, patch_size: int | Size) -> int:
    """How many pairs of patches full attention compares, in each head of each block.

    Patches of one pixel are why this is not done on pixels: 255 x 255 of them make 255^4 = 4,228,250,625 pairs, and
    225 patches of 17 pixels make 50,625.

    Args:
        image_size: in pixels.
        patch_size: in pixels; 1 for attention between pixels.
    """
    rows, columns = grid_of(as_pair(image_size), as_pair(patch_size))
    return (rows * columns) ** 2


# --- Vision Transformers ----------------------------------------------------------------------------------------------


def _vit(config: ViTConfig, size: Size) -> list[Part]:
    D, M = config.embed_dim, tokens(config, size)
    stem = [] if config.stem is None else _trunk(config.stem, size)
    front = D * (int(bool(config.class_token)) + int(config.distill_token) + config.registers)
    final = 2 * (config.pooled_dim if config.pool_norm == "after" else D)
    return [
        *stem,
        *_patches(config, size),
        Part("tokens in front", front, 0),
        Part("positions", _position_parameters(config), 0),
        *_blocks(config, size, M),
        Part("other norms", final + (2 * D if config.pre_norm else 0), 0),
        *_answer(config, M),
    ]


def _patches(config: ViTConfig, size: Size) -> list[Part]:
    """The projection of patches, and semantic tokens where they are made: (X W)^T X (Wu et al., 2020, equation 1)."""
    (rows, columns), D, T = config.grid_at(size), config.embed_dim, config.num_tokens or 0
    channels = config.stem.num_features if config.stem else config.in_channels
    weights = config.patch_size[0] * config.patch_size[1] * channels * D
    return [
        Part("patches", weights + D * config.patch_bias, rows * columns * weights, config.stem is None),
        Part("semantic tokens", T * D, 2 * rows * columns * T * D),
    ]


def _position_parameters(config: ViTConfig) -> int:
    (rows, columns), D = config.grid, config.embed_dim
    prefix, tables = config.num_prefix_positions, config.depth if config.position_at == "every" else 1
    match config.position:
        case "learned":
            return tables * (prefix + (config.num_tokens or rows * columns)) * D
        case "learned-2d":
            return tables * ((rows + columns) * D // 2 + prefix * D)
        case "relative":  # one row for every distance between two tokens
            return (1 if config.position_at == "shared" else config.depth) * (2 * tokens(config) - 1) * config.head_dim
    return 0


def _blocks(config: ViTConfig, size: Size, M: int) -> list[Part]:
    """All blocks together; an axial one is two: along rows, and along columns."""
    D, times = config.embed_dim, config.depth * (2 if config.attention == "axial" else 1)
    biases = {"all": 3, "query-value": 2, "none": 0}[config.qkv_bias]
    offsets = M * (2 * M - 1) * D if config.position == "relative" else 0
    norms = 4 * D + (4 * config.head_dim if config.qk_norm else 0) + (2 * D if config.attn_norm else 0)
    scales = 2 * D if config.layer_scale is not None else 0
    mlp = _mlp(config)
    return [
        Part("queries, keys, values", times * (3 * D * D + biases * D), times * M * 3 * D * D),
        Part("attention", 0, config.depth * (2 * _pairs(config, size) * D + offsets)),
        Part("attention output", times * (D * D + D * config.proj_bias), times * M * D * D),
        Part("MLP", times * mlp.parameters, times * M * mlp.macs),
        Part("norms of the blocks", times * (norms + scales), 0),
    ]


def _pairs(config: ViTConfig, size: Size) -> int:
    """Pairs of query and key that one block compares; tokens in front see everything and are seen by everyone."""
    (rows, columns), P, M = config.grid_at(size), config.num_prefix, tokens(config, size)
    patches = rows * columns
    if config.attention == "axial":
        return 2 * P * M + patches * (2 * P + rows + columns)
    if config.window is not None:
        grid_of((rows, columns), config.window, what=("grid", "window"))
        return P * M + patches * (P + config.window[0] * config.window[1])
    return M * M


def _mlp(config: ViTConfig) -> Part:
    """One MLP on one token; the gated one has a first layer of twice the width."""
    D, F = config.embed_dim, config.mlp_dim
    first = 2 * F if config.mlp == "swiglu" else F
    weights, biases = D * first + F * D, first + D
    return Part("MLP", weights + biases * config.mlp_bias + 2 * F * config.mlp_norm, weights)


def _answer(config: ViTConfig, M: int) -> list[Part]:
    """From tokens to logits; without pooling every token is answered."""
    D, F, Y, R = config.embed_dim, config.pooled_dim, config.num_classes, config.representation_size or 0
    answers = M if config.pool == "none" else 1
    found = []
    if config.pool == "map":  # a probe asks all tokens: query, keys and values, both products, output, MLP
        mlp = _mlp(config)
        weights = D + 4 * (D * D + D) + 2 * D + mlp.parameters
        found.append(Part("attention pooling", weights, 2 * D * D + 2 * M * D * D + 2 * M * D + mlp.macs))
    if R:
        found.append(Part("hidden layer", F * R + R, answers * F * R))
    heads, width = 2 if config.distill_token else 1, R or F
    found.append(Part("head", heads * (width + config.head_bias) * Y, heads * answers * width * Y))
    return found


# --- ResNets ----------------------------------------------------------------------------------------------------------


def _resnet(config: ResNetConfig, size: Size) -> list[Part]:
    width, classes = config.num_features, config.num_classes
    return [*_trunk(config, size), Part("head", (width + 1) * classes, width * classes)]


def _trunk(config: ResNetConfig, size: Size) -> list[Part]:
    """Root and stages; either padding leaves half of every side, rounded up."""
    first = config.style == "v1"
    widths = [64 * config.width_factor * times for times in (1, 4, 8, 16, 32)[: len(config.layers) + 1]]
    size = _half(size)
    root = 7 * 7 * config.in_channels * widths[0]
    found = [Part("root", root + (2 * widths[0] if first else 0), root * size[0] * size[1], reads_image=True)]
    size = _half(size)
    for stage, ((narrow, wide), units) in enumerate(zip(pairwise(widths), config.layers, strict=True)):
        outer, size = size, size if stage == 0 else _half(size)
        found.append(_stage(f"stage {stage + 1}", narrow, wide, units, outer[0] * outer[1], size[0] * size[1], first))
    return found if first else [*found, Part("last norm", 2 * widths[-1], 0)]


def _stage(name: str, narrow: int, wide: int, units: int, outer: int, inner: int, first: bool) -> Part:
    """Bottleneck units of one width: 1 x 1, 3 x 3 (in the first unit with the stride), 1 x 1; a shortcut convolution.

    Args:
        name: of the part.
        narrow: channels that come in.
        wide: channels that go out.
        units: how many.
        outer: cells of the map that comes in.
        inner: cells of the map that goes out.
        first: whether a norm follows each convolution (v1), or goes before it and leaves the shortcut alone (v2).
    """
    middle = wide // 4
    down, up, across = middle * wide, middle * wide, 9 * middle * middle
    weights = units * (down + across + up) + (narrow - wide) * middle + narrow * wide
    work = outer * narrow * middle + inner * ((units - 1) * down + units * (across + up) + narrow * wide)
    norms = 2 * units * (2 * middle + wide) + 2 * (wide if first else narrow - wide)
    return Part(name, weights + norms, work)


def _half(size: Size) -> Size:
    return -(-size[0] // 2), -(-size[1] // 2)

"""How many bytes training holds, by arithmetic: weights and what stands behind them, and what waits for the way back.

What waits is what autograd saves, tensor by tensor, each piece of memory once: the tokens before every norm, what goes
into every matrix product, the numbers before and after every nonlinearity. Under bfloat16 autocast the residual stream
and the statistics of norms stay in float32, everything else takes two bytes. Masks of dropout are counted as a CPU
keeps them, one number each; a GPU keeps a byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

from vitreous.architecture import Architecture, ResNetConfig, Size, ViTConfig, as_pair
from vitreous.config import Recipe
from vitreous.cost.arithmetic import parameters, parts

Precision = Literal["float32", "bfloat16"]
Form = Literal["fused", "matmul"]


class Kept(NamedTuple):
    """Numbers that one image leaves waiting for the way back."""

    full: int
    """Always in float32."""
    short: int
    """In the precision of matrix products."""
    lent: int = 0
    """Kept in float32 only because a few of them are used; a copy in bfloat16 lets the others go."""

    def plus(self, other: Kept) -> Kept:
        """Both.

        Args:
            other: what is kept beside.
        """
        return Kept(self.full + other.full, self.short + other.short, self.lent + other.lent)

    def num_bytes(self, precision: Precision) -> int:
        """Bytes of all of them.

        Args:
            precision: of matrix products.
        """
        if precision == "float32":
            return 4 * (self.full + self.short + self.lent)
        return 4 * self.full + 2 * self.short


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Bytes that training holds at its height, besides PyTorch itself and the images on their way."""

    weights: int
    """In float32, with what each pass makes of them: casts under bfloat16, and standardised filters of ResNets."""
    gradients: int
    """Of what learns."""
    moments: int
    """What the optimiser keeps of each number that learns: two for Adam and LAMB, one for momentum."""
    average: int
    """The Polyak average of the weights."""
    activations: int
    """What waits for the way back, of one micro-batch."""
    beside: bool
    """Whether gradients stand beside activations: those of one micro-batch while the next one goes forward, or those of
    all blocks while the first one is computed again."""

    @property
    def total(self) -> int:
        """All of it, as if it all stood there at once."""
        return self.weights + self.gradients + self.moments + self.average + self.activations

    @property
    def peak(self) -> int:
        """The most there is at any moment: on the way back, gradients come as what waited for them goes."""
        if self.beside:
            return self.total
        return self.total - min(self.gradients, self.activations)


def training_memory(
    config: Architecture,
    recipe: Recipe,
    micro_batch: int,
    precision: Precision = "float32",
    gradient_checkpointing: bool = False,
    *,
    image_size: int | Size | None = None,
    form: Form = "fused",
) -> Memory:
    """What training a model by a recipe holds on one device.

    Args:
        config: as it is trained, its head and its drop rates included.
        recipe: tells the optimiser, whether weights are averaged, which weights learn, and the batch.
        micro_batch: images in one forward pass.
        precision: of matrix products; weights stay in float32.
        gradient_checkpointing: compute each block twice in place of keeping it.
        image_size: in pixels; None for the config's own.
        form: whether attention is one fused kernel, or two matrix products.
    """
    whole, learning = parameters(config), learned(config, recipe)
    each = kept(config, image_size, form=form, gradient_checkpointing=gradient_checkpointing)
    if recipe.train == "head":
        each = Kept(0, config.num_features if isinstance(config, ResNetConfig) else 2 * config.pooled_dim)
    copies = {"adam": 2, "lamb": 2, "sgd": 1 if recipe.momentum else 0}[recipe.optimizer]
    return Memory(
        weights=4 * whole + _copies(config, precision, again=gradient_checkpointing),
        gradients=4 * learning,
        moments=4 * copies * learning,
        average=4 * whole if recipe.average_decay else 0,
        activations=micro_batch * each.num_bytes(precision),
        beside=recipe.batch_size > micro_batch or gradient_checkpointing,
    )


def kept(
    config: Architecture,
    image_size: int | Size | None = None,
    *,
    form: Form = "fused",
    gradient_checkpointing: bool = False,
) -> Kept:
    """What one image leaves waiting for the way back, at the height.

    Args:
        config: of a Vision Transformer, a hybrid or a ResNet; its drop rates count.
        image_size: in pixels; None for the config's own.
        form: whether attention is one fused kernel, which forgets the N x N weights, or two matrix products.
        gradient_checkpointing: blocks and units keep what goes in, and one at a time is computed again.
    """
    size = config.image_size if image_size is None else as_pair(image_size)
    if isinstance(config, ResNetConfig):
        trunk = _trunk(config, size, gradient_checkpointing)
        return trunk.plus(Kept(0, config.num_features))
    return _vit(config, size, form, gradient_checkpointing)


# --- Vision Transformers ----------------------------------------------------------------------------------------------


def _vit(config: ViTConfig, size: Size, form: Form, again: bool) -> Kept:
    D, N = config.embed_dim, config.tokens_at(size)
    halves = 2 if config.attention == "axial" else 1
    block = _block(config, size, form)
    whole = Kept(halves * block.full, halves * block.short)
    blocks = Kept(config.depth * whole.full, config.depth * whole.short)
    if again:  # tokens between blocks, and one block whole, with the gradients on their way through it
        passing = 2 * N * config.mlp_dim + 4 * N * D
        blocks = Kept((config.depth - 1) * N * D + whole.full, whole.short + passing)
    front = (N * D if config.dropout else 0) + (N * D + 2 * N if config.pre_norm else 0)
    return _stem(config, size, again).plus(Kept(front, 0)).plus(blocks).plus(_answer(config, N))


def _stem(config: ViTConfig, size: Size, again: bool) -> Kept:
    """The image, or a trunk and its map, and the map that semantic tokens are made from."""
    rows, columns = config.grid_at(size)
    patches, T = rows * columns, config.num_tokens or 0
    filtered = Kept(0, patches * (2 * config.embed_dim + T)) if T else Kept(0, 0)
    if config.stem is not None:
        return _trunk(config.stem, size, again).plus(filtered)
    return Kept(0, config.in_channels * size[0] * size[1]).plus(filtered)


def _block(config: ViTConfig, size: Size, form: Form) -> Kept:
    """One block, or one half of an axial one."""
    D, F, N = config.embed_dim, config.mlp_dim, config.tokens_at(size)
    drops, scales = bool(config.dropout), config.layer_scale is not None
    full = 2 * (N * D + 2 * N)  # the tokens before both norms, with mean and spread of each
    full += 2 * N * (config.attn_norm + config.mlp_norm)
    into, out = N * D * 2, N * D * (config.attn_norm + drops + scales)  # of queries, keys, values; of the projection
    mlp = N * (D + _hidden(config) + F * (config.mlp_norm + drops) + D * (drops + scales))
    return _attention(config, size, form).plus(Kept(full, into + out + mlp))


def _hidden(config: ViTConfig) -> int:
    """Numbers that one token leaves between the layers of the MLP: before and after the nonlinearity."""
    before, between = (2, 1) if config.mlp == "swiglu" else (1, 1 if config.gelu == "quick" else 0)
    return config.mlp_dim * (before + between + 1)


def _attention(config: ViTConfig, size: Size, form: Form) -> Kept:
    """What the two products or the kernel keep; what goes into the layers around them stands with the block."""
    D, N, A = config.embed_dim, config.tokens_at(size), config.num_heads
    normed = Kept(4 * A * N, 3 * N * D) if config.qk_norm else Kept(0, 0)
    if config.attention != "full":
        return normed.plus(_near(config, size, form))
    if form == "matmul" or config.position == "relative":  # a learned bias of the logits is more than kernels take
        offsets = N * D + A * N * (2 * N - 1) if config.position == "relative" else 0
        return normed.plus(Kept(0, 3 * N * D + offsets + A * N * N))
    turned = 3 * N * D if config.qk_norm or config.rotary else 0  # queries, keys, and an output in other order
    return Kept(normed.full + A * N, 3 * N * D + turned)


def _near(config: ViTConfig, size: Size, form: Form) -> Kept:
    """Attention between patches of one window, row or column, each with the tokens in front at its side."""
    rows, columns = config.grid_at(size)
    D, N, A, P = config.embed_dim, config.tokens_at(size), config.num_heads, config.num_prefix
    patches = rows * columns
    # an axial block's two halves are taken as alike: their mean
    sides = [config.window[0] * config.window[1]] if config.window is not None else [columns, rows]
    windows, seen = sum(patches // side for side in sides) / len(sides), P + sum(sides) / len(sides)
    beside = int(2 * (patches + windows * P) * D)  # keys and values of every window
    if form == "matmul":
        front = P * D + 2 * N * D + A * P * N if P else 0
        return Kept(0, patches * D + beside + int(A * patches * seen) + front)
    return Kept(A * (patches + P), 2 * patches * D + beside + (3 * N * D + P * D if P else 0))


def _answer(config: ViTConfig, N: int) -> Kept:
    """From the tokens of the last block to the head."""
    D, W = config.embed_dim, config.pooled_dim
    tokens, R = N * D, config.representation_size or 0
    answers = N if config.pool == "none" else 1
    full, short = (tokens + 2 * N, 0) if config.pool_norm == "before" else (W + 2, W)
    if config.pool == "map":
        short += 3 * tokens + 4 * D + _hidden(config) + config.num_heads * N
    elif config.pool == "cls" and config.pool_norm == "after":
        full += tokens - W  # one row, and with it the memory of all
    elif config.pool == "cls":
        heads = 2 if config.distill_token else 1
        return Kept(full, heads * D + R, tokens - heads * D)
    elif config.pool == "none":
        short += tokens
    elif config.pool_norm == "before":
        short += W
    return Kept(full, short + answers * R)


# --- ResNets ----------------------------------------------------------------------------------------------------------


def _trunk(config: ResNetConfig, size: Size, again: bool) -> Kept:
    """Root and stages: what goes into every convolution and every norm, and what comes out of every ReLU."""
    first, same = config.style == "v1", config.padding == "same"
    widths = [64 * config.width_factor * times for times in (1, 4, 8, 16, 32)[: len(config.layers) + 1]]
    half = _halved(size)
    quarter = _halved(half)
    pooled = _under(half, 3) if same else (half[0] + 2, half[1] + 2)
    root = config.in_channels * _cells(_under(size, 7) if same else size)
    root += widths[0] * (_cells(pooled) + 2 * first * _cells(half))
    indices = 2 * widths[0] * _cells(quarter)  # of the largest pixels, eight bytes each
    size, short, tallest = quarter, root, 0
    for stage, ((narrow, wide), units) in enumerate(zip(pairwise(widths), config.layers, strict=True)):
        outer, size = size, size if stage == 0 else _halved(size)
        opening = _unit(narrow, wide, outer, size, first, opens=True, padded=same and stage > 0)
        others = _unit(wide, wide, size, size, first, opens=False, padded=False)
        if again:
            first_in, others_in = _cells(outer) * narrow, _cells(size) * wide
            short += first_in + (units - 1) * others_in
            passing = others_in + _cells(outer) * wide // 2  # gradients on their way through one unit
            tallest = max(tallest, passing + max(opening - first_in, others - others_in))
        else:
            short += opening + (units - 1) * others
    last = _cells(size) * widths[-1] * (1 if first else 2)
    return Kept(indices, short + tallest + last)


def _unit(narrow: int, wide: int, outer: Size, inner: Size, first: bool, *, opens: bool, padded: bool) -> int:
    """A bottleneck from the map that comes in, which counts, to the one that goes out, which does not.

    Args:
        narrow: channels that come in.
        wide: channels that go out.
        outer: the map that comes in.
        inner: the map that goes out.
        first: whether a norm follows each convolution (v1), or goes before it.
        opens: whether the shortcut has a convolution.
        padded: whether TensorFlow's SAME puts pixels around the map for the stride, in a copy of it.
    """
    middle, into, out = wide // 4, _cells(outer), _cells(inner)
    copy = middle * _cells(_under(outer, 3)) if padded else 0
    kept_by_all = 2 * middle * (into + out) + copy
    if first:
        return kept_by_all + narrow * into + wide * out * (2 if opens else 1)
    return kept_by_all + 2 * narrow * into


def _under(size: Size, kernel: int) -> Size:
    """The map with the pixels around it that a kernel of stride 2 wants under it everywhere."""
    high, wide = (max(side, 2 * (-(-side // 2) - 1) + kernel) for side in size)
    return high, wide


def _cells(size: Size) -> int:
    return size[0] * size[1]


def _halved(size: Size) -> Size:
    return -(-size[0] // 2), -(-size[1] // 2)


# --- what learns ------------------------------------------------------------------------------------------------------


def learned(config: Architecture, recipe: Recipe) -> int:
    """How many numbers move at some step of a recipe: what has gradients and moments.

    Args:
        config: of a Vision Transformer, a hybrid or a ResNet.
        recipe: `train` says which weights move.
    """
    head = sum(part.parameters for part in parts(config) if part.name == "head")
    match recipe.train:
        case "head":
            return head
        case "lora":
            return head + recipe.lora_rank * (_edges(config) if isinstance(config, ViTConfig) else 0)
        case "bitfit":
            answers = config.num_classes * (2 if isinstance(config, ViTConfig) and config.distill_token else 1)
            biased = not isinstance(config, ViTConfig) or config.head_bias
            return head + _biases(config) - (answers if biased else 0)
    return parameters(config)


def _edges(config: ViTConfig) -> int:
    """Rows and columns of every matrix of attention and MLP: what one rank of LoRA adds."""
    D, F = config.embed_dim, config.mlp_dim
    mlp = (D + F * (2 if config.mlp == "swiglu" else 1)) + (F + D)
    block = (D + 3 * D) + (D + D) + mlp
    pool = 2 * (D + D) + (D + 2 * D) + mlp if config.pool == "map" else 0
    return config.depth * (2 if config.attention == "axial" else 1) * block + pool


def _biases(config: Architecture) -> int:
    """Everything that is called a bias, those of norms and of the head included."""
    if isinstance(config, ResNetConfig):
        return _trunk_biases(config) + config.num_classes
    D, F, R = config.embed_dim, config.mlp_dim, config.representation_size or 0
    mlp = (F * (2 if config.mlp == "swiglu" else 1) + D) * config.mlp_bias + F * config.mlp_norm
    own = {"all": 3 * D, "query-value": 2 * D, "none": 0}[config.qkv_bias]
    block = own + D * (2 + config.proj_bias + config.attn_norm) + 2 * config.head_dim * config.qk_norm + mlp
    block *= config.depth * (2 if config.attention == "axial" else 1)
    pool = 5 * D + mlp if config.pool == "map" else 0
    final = config.pooled_dim if config.pool_norm == "after" else D
    head = config.num_classes * config.head_bias * (2 if config.distill_token else 1)
    trunk = _trunk_biases(config.stem) if config.stem is not None else 0
    return trunk + D * (config.patch_bias + config.pre_norm) + block + final + pool + R + head


def _trunk_biases(config: ResNetConfig) -> int:
    """One for each channel of each norm."""
    widths = [64 * config.width_factor * times for times in (1, 4, 8, 16, 32)[: len(config.layers) + 1]]
    first = config.style == "v1"
    found = widths[0] if first else widths[-1]
    for (narrow, wide), units in zip(pairwise(widths), config.layers, strict=True):
        found += units * (2 * (wide // 4) + wide) + (wide if first else narrow - wide)
    return found


def _copies(config: Architecture, precision: Precision, *, again: bool) -> int:
    """Bytes of what is made of the weights for each pass: casts of what multiplies, and standardised filters."""
    found = 2 * sum(part.parameters for part in parts(config) if part.macs) if precision == "bfloat16" else 0
    trunk = config if isinstance(config, ResNetConfig) else config.stem
    if trunk is None or again:  # units that are computed again make them again, a few at a time
        return found
    filters = sum(part.parameters for part in parts(config) if part.name == "root" or part.name.startswith("stage"))
    # float32 keeps them as they are, bfloat16 only their cast; v1 keeps them centred, too
    return found + 4 * filters * ((precision == "float32") + (trunk.standardize == "std"))

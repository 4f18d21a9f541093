"""What can be configured, as frozen dataclasses that refuse nonsense when they are made, to and from JSON.

They are the one source of flags, help texts, `run.json` and the header of a model file. Nothing here does any work.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from vitreous.errors import ConfigError

T = TypeVar("T")

Size = tuple[int, int]
"""(height, width) in pixels, tokens or patches: always in this order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ViTConfig:
    """The architecture of a Vision Transformer (Dosovitskiy et al., ICLR 2021, section 3.1 and Table 1)."""

    name: str = "vit"
    """What the architecture is called, e.g. vit-b16."""
    image_size: Size = (224, 224)
    """Resolution the position table is made for, (height, width) in pixels."""
    patch_size: Size = (16, 16)
    """Size of one patch, (height, width) in pixels."""
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
    pool: Literal["cls", "mean"] = "cls"
    """What the head reads: the class token, or the mean of the patch tokens, after the final norm."""
    class_token: bool | None = None
    """Whether a class token is put in front of the patches; by default only where it is pooled."""
    representation_size: int | None = None
    """Width of the tanh hidden layer before the head, used in pre-training; None for a linear head."""
    gelu: Literal["erf", "tanh"] = "erf"
    """The exact GELU, or the tanh approximation that Google's checkpoints were trained with."""
    norm_eps: float = 1e-6
    """Epsilon of every LayerNorm."""
    dropout: float = 0.0
    """Drop rate after the position embedding and every dense layer but the qkv projections (appendix B.1)."""

    def __post_init__(self) -> None:
        if self.class_token is None:
            object.__setattr__(self, "class_token", self.pool == "cls")
        _check_types(self)
        _positive(self, "in_channels", "embed_dim", "depth", "num_heads", "mlp_dim", "norm_eps", "representation_size")
        _share(self, "dropout")
        if self.num_classes < 0:
            raise ConfigError(f"num_classes must be 0 or more, got {self.num_classes}")
        if self.embed_dim % self.num_heads:
            raise ConfigError(f"embed_dim {self.embed_dim} is not divisible by num_heads {self.num_heads}")
        if self.pool == "cls" and not self.class_token:
            raise ConfigError("pool='cls' needs a class token", remedy="class_token=True, or pool='mean'")
        grid_of(self.image_size, self.patch_size)

    @property
    def grid(self) -> Size:
        """(rows, columns) of patches at `image_size`."""
        return grid_of(self.image_size, self.patch_size)

    @property
    def head_dim(self) -> int:
        """Width K of one attention head."""
        return self.embed_dim // self.num_heads


@dataclass(frozen=True, kw_only=True, slots=True)
class PreprocessConfig:
    """How a decoded RGB image becomes the model's input; it travels inside the model file."""

    image_size: Size = (224, 224)
    """What the model is given, (height, width) in pixels."""
    resize: Literal["cover", "squash"] = "cover"
    """Keep the aspect ratio and cut the centre out, or squash the whole image into the frame."""
    crop_ratio: float = 0.875
    """With resize="cover": the part of the resized image's shorter side that the crop keeps, in (0, 1]."""
    interpolation: Literal["nearest", "bilinear", "bicubic", "box", "lanczos"] = "bicubic"
    """Pillow's resampling filter (antialiased when shrinking)."""
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    """Subtracted per channel after scaling to [0, 1]."""
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    """Divided by per channel after the mean is subtracted."""

    def __post_init__(self) -> None:
        _check_types(self)
        if min(self.image_size) < 1:
            raise ConfigError(f"image_size must be positive, got {self.image_size}")
        if not 0.0 < self.crop_ratio <= 1.0:
            raise ConfigError(f"crop_ratio must lie in (0, 1], got {self.crop_ratio}")
        if len(self.mean) != len(self.std) or min(self.std) <= 0:
            raise ConfigError(f"mean {self.mean} and std {self.std} must have one entry per channel, std above 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentConfig:
    """What happens to a training image, as a pure function of (seed, epoch, index of the image)."""

    crop: Literal["inception", "centre"] = "inception"
    """A random rectangle of random area and aspect, or the same crop that evaluation uses."""
    crop_area: tuple[float, float] = (0.05, 1.0)
    """Share of the image's area an Inception crop keeps, drawn uniformly."""
    crop_aspect: tuple[float, float] = (3 / 4, 4 / 3)
    """Width / height of an Inception crop before resizing, drawn log-uniformly."""
    flip: bool = True
    """Mirror left and right half of the time; switched off for images that read differently in a mirror."""
    rotate: float = 0.0
    """Rotate by up to this many degrees either way."""
    shift: float = 0.0
    """Move by up to this share of the side, either way, in both directions."""
    zoom: float = 0.0
    """Scale by up to this share, either way."""

    def __post_init__(self) -> None:
        _check_types(self)
        for name in ("crop_area", "crop_aspect"):
            low, high = getattr(self, name)
            if not 0.0 < low <= high:
                raise ConfigError(f"{name} must be a rising pair of positive numbers, got {(low, high)}")
        if self.crop_area[1] > 1.0:
            raise ConfigError(f"crop_area cannot exceed the whole image, got {self.crop_area}")
        if not (0.0 <= self.shift < 1.0 and 0.0 <= self.zoom < 1.0 and 0.0 <= self.rotate <= 180.0):
            raise ConfigError(f"rotate {self.rotate}, shift {self.shift} or zoom {self.zoom} is out of range")


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How to train: optimiser, schedule, batch, regularisation and augmentation, with its source."""

    name: str
    """What to type after --recipe."""
    purpose: Literal["pretrain", "finetune"]
    """Which verb it is for."""
    summary: str = ""
    """One sentence for a person."""
    source: str = ""
    """Paper and table, or repository and file."""
    expected: str = ""
    """The score its source reports, or what was measured, and on what."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """Adam with decoupled weight decay, or stochastic gradient descent with momentum."""
    learning_rate: float = 1e-3
    """Peak learning rate, reached at the end of the warm-up."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Adam's decay rates."""
    momentum: float = 0.9
    """SGD's momentum."""
    weight_decay: float = 0.0
    """Decoupled; each step takes learning_rate * weight_decay of every matrix (PyTorch's AdamW units)."""
    schedule: Literal["cosine", "linear"] = "cosine"
    """How the learning rate falls after the warm-up."""
    warmup_steps: int | None = None
    """Steps of linear warm-up; give this or warmup_fraction."""
    warmup_fraction: float | None = None
    """Linear warm-up as a share of all steps."""
    epochs: float | None = None
    """Passes over the training images; give this or steps."""
    steps: int | None = None
    """Optimiser steps; give this or epochs."""
    batch_size: int = 512
    """Images per optimiser step, whatever fits in memory: smaller micro-batches are accumulated."""
    clip_norm: float | None = None
    """Largest global gradient norm; None leaves gradients alone."""
    label_smoothing: float = 0.0
    """Probability taken from the true class and spread over all."""
    dropout: float | None = None
    """Overrides the model's drop rate; None keeps it."""
    hidden_head: bool = False
    """Put the paper's tanh hidden layer before the head (pre-training)."""
    average_decay: float | None = None
    """Polyak averaging of the weights with this decay, warmed up; the average is the result."""
    image_size: Size | None = None
    """Resolution to train at; None keeps the model's."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """What happens to each training image."""

    def __post_init__(self) -> None:
        _check_types(self)
        _positive(self, "learning_rate", "batch_size", "clip_norm", "epochs", "steps")
        _share(self, "momentum", "label_smoothing", "dropout", "warmup_fraction")
        if (self.epochs is None) == (self.steps is None):
            raise ConfigError(f"recipe {self.name}: give either epochs or steps, got {self.epochs} and {self.steps}")
        if self.warmup_steps is not None and self.warmup_fraction is not None:
            raise ConfigError(f"recipe {self.name}: give warmup_steps or warmup_fraction, not both")
        if self.warmup_steps is not None and self.warmup_steps < 0:
            raise ConfigError(f"warmup_steps must be 0 or more, got {self.warmup_steps}")
        if not 0 <= self.weight_decay < math.inf:
            raise ConfigError(f"weight_decay must be 0 or more, got {self.weight_decay}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"betas must lie in [0, 1), got {self.betas}")
        if self.average_decay is not None and not 0.0 < self.average_decay < 1.0:
            raise ConfigError(f"average_decay must lie in (0, 1), got {self.average_decay}")
        if self.image_size is not None and min(self.image_size) < 1:
            raise ConfigError(f"image_size must be positive, got {self.image_size}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainOptions:
    """What the person asked of one training run; None leaves the choice to the recipe or the machine."""

    run: str | None = None
    """Folder for everything the run writes; by default runs/NAME-N."""
    recipe: str | None = None
    """Named recipe (see `vitreous recipes`); by default one that suits small data."""
    epochs: float | None = None
    """Passes over the training images, in place of the recipe's."""
    steps: int | None = None
    """Optimiser steps, in place of the recipe's."""
    batch_size: int | None = None
    """Images per optimiser step, in place of the recipe's."""
    learning_rate: float | None = None
    """Peak learning rate, in place of the recipe's."""
    image_size: int | Size | None = None
    """Resolution in pixels: one number, or height and width."""
    val: float = 0.2
    """Share of the training images held out, per class, when there is no val folder."""
    bad_images: Literal["error", "skip"] = "error"
    """Stop before training when images cannot be read, or leave them out and name them."""
    seed: int = 0
    """Fixes the split, the order of images, augmentation, dropout and initial weights."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    threads: int | None = None
    """CPU threads for the arithmetic; by default all, or one for a model too narrow to share out."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto measures which is faster for this model on this machine."""
    micro_batch: int | None = None
    """Images per forward pass; the batch is made of several. It changes memory and speed only."""
    checkpoint_minutes: float = 2.0
    """Minutes between checkpoints; 0 saves after every step. It never changes the result."""
    root: str | None = None
    """Where a built-in data set lies, if not in its usual place."""

    def __post_init__(self) -> None:
        _check_types(self)
        if self.checkpoint_minutes < 0:
            raise ConfigError(f"--checkpoint-minutes must be 0 or more, got {self.checkpoint_minutes}")
        if self.epochs is not None and self.steps is not None:
            raise ConfigError("--epochs and --steps exclude each other", remedy="give one of them")
        _positive(self, "epochs", "steps", "batch_size", "learning_rate", "threads", "micro_batch")
        if self.image_size is not None and min(as_pair(self.image_size)) < 1:
            raise ConfigError(f"--image-size must be positive, got {self.image_size}")
        if not 0.0 < self.val < 1.0:
            raise ConfigError(f"--val must lie between 0 and 1, got {self.val}", remedy="--val 0.2")
        if self.seed < 0:
            raise ConfigError(f"--seed must be 0 or more, got {self.seed}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCard:
    """Everything needed to use a model that is not its weights; it travels in the model file's header."""

    architecture: ViTConfig | None = None
    """The architecture; None for a user's own module, which the file cannot rebuild."""
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    """How a decoded image becomes the model's input."""
    classes: tuple[str, ...] = ()
    """Class names in the order of the logits."""
    features: str = "final-norm class token"
    """What `features()` gives that the head reads."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Where the weights come from: command, recipe, data, parent model, versions."""
    licence: str = "not stated"
    """Licence of the weights."""

    def __post_init__(self) -> None:
        _check_types(self)


def grid_of(image_size: Size, patch_size: Size) -> Size:
    """Rows and columns of patches that tile an image, or a ConfigError naming the nearest sizes that divide.

    Args:
        image_size: (height, width) in pixels.
        patch_size: (height, width) in pixels.
    """
    for axis, pixels, patch in zip(("height", "width"), image_size, patch_size, strict=True):
        if patch < 1 or pixels < 1:
            raise ConfigError(f"{axis}: image {pixels} and patch {patch} must be at least 1 pixel")
        if pixels % patch:
            below, above = pixels // patch * patch, (pixels // patch + 1) * patch
            near = f"{below} or {above}" if below else f"{above}"
            raise ConfigError(
                f"image {axis} {pixels} is not divisible by patch {axis} {patch}",
                why=f"{pixels} = {pixels // patch} x {patch} + {pixels % patch}: the last patch would be cut off",
                remedy=f"an image {axis} of {near} pixels",
            )
    return image_size[0] // patch_size[0], image_size[1] // patch_size[1]


def as_pair(value: int | Size) -> Size:
    """(height, width) from one number or a pair."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def to_json(config: Any) -> Any:
    """Plain dicts, lists, strings and numbers for a config and everything inside it."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {f.name: to_json(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, dict):
        return {str(key): to_json(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [to_json(value) for value in config]
    return config


def from_json(cls: type[T], data: Any) -> T:
    """The config of type `cls` that `to_json` wrote as `data`; unknown and missing keys are one ConfigError.

    Args:
        cls: a config dataclass of this module.
        data: what `json.loads` gives.
    """
    if not isinstance(data, dict):
        raise ConfigError(f"{cls.__name__} is written as an object, got {type(data).__name__}")
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = [key for key in data if key not in fields]
    if unknown:
        close = difflib.get_close_matches(unknown[0], fields, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(fields)}"
        raise ConfigError(f"{cls.__name__} has no field {', '.join(map(repr, unknown))}", why=hint)
    try:
        return cls(**{name: _value(hints[name], value) for name, value in data.items()})
    except TypeError as error:
        raise ConfigError(f"{cls.__name__} is incomplete: {error}") from None


def _value(hint: Any, value: Any) -> Any:
    """`value` as read from JSON, given the type `hint` it must have: lists become tuples, objects configs."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = [option for option in typing.get_args(hint) if option is not type(None)]
        if value is None:
            return None
        fitting = [o for o in options if typing.get_origin(o) is tuple] if isinstance(value, list) else options
        return _value((fitting or options)[0], value)
    if typing.get_origin(hint) is tuple and isinstance(value, list):
        return tuple(tuple(v) if isinstance(v, list) else v for v in value)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_json(hint, value)
    return value


def _check_types(config: Any) -> None:
    """Refuse values of the wrong kind and Literals outside their choices, naming the field."""
    for name, hint in typing.get_type_hints(type(config)).items():
        value = getattr(config, name)
        if not _fits(hint, value):
            wanted = _spell(hint)
            raise ConfigError(f"{type(config).__name__}.{name} must be {wanted}, got {value!r}")


def _fits(hint: Any, value: Any) -> bool:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(option, value) for option in args)
    if origin is Literal:
        return value in args
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        kinds = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
        return len(kinds) == len(value) and all(map(_fits, kinds, value))
    if origin is dict:
        return isinstance(value, dict)
    if hint is Any:
        return True
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _spell(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(map(repr, typing.get_args(hint)))
    return getattr(hint, "__name__", None) or str(hint)


def _positive(config: Any, *names: str) -> None:
    """Refuse numbers that are not above 0, not finite, or not numbers; None passes."""
    for name in names:
        value = getattr(config, name)
        if value is not None and (isinstance(value, bool) or not 0 < value < math.inf):
            raise ConfigError(f"{name} must be above 0, got {value!r}")


def _share(config: Any, *names: str) -> None:
    """Refuse numbers outside [0, 1); None passes."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not 0 <= value < 1:
            raise ConfigError(f"{name} must lie in [0, 1), got {value!r}")

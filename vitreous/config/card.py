"""What travels inside a model file: how a picture becomes its input, and what its answers mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from vitreous.architecture import Architecture, Size
from vitreous.errors import ConfigError
from vitreous.schema import check_types


@dataclass(frozen=True, kw_only=True, slots=True)
class PreprocessConfig:
    """How a decoded RGB image becomes the model's input; it travels inside the model file."""

    image_size: Size = (224, 224)
    """What the model is given, (height, width) in pixels."""
    resize: Literal["cover", "squash", "squash-cut"] = "cover"
    """Keep the aspect ratio and cut the centre out; squash the whole image into the frame; or squash it into a larger
    one and cut the centre out."""
    crop_ratio: float = 0.875
    """Where the centre is cut out: the part of the resized image's (shorter) side that the crop keeps, in (0, 1]."""
    interpolation: Literal["nearest", "bilinear", "bicubic", "box", "lanczos"] = "bicubic"
    """Pillow's resampling filter (antialiased when shrinking)."""
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    """Subtracted per channel after scaling to [0, 1]."""
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    """Divided by per channel after the mean is subtracted."""

    def __post_init__(self) -> None:
        check_types(self)
        if min(self.image_size) < 1:
            raise ConfigError(f"image_size must be positive, got {self.image_size}")
        if not 0.0 < self.crop_ratio <= 1.0:
            raise ConfigError(f"crop_ratio must lie in (0, 1], got {self.crop_ratio}")
        if len(self.mean) != len(self.std) or min(self.std) <= 0:
            raise ConfigError(f"mean {self.mean} and std {self.std} must have one entry per channel, std above 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCard:
    """Everything needed to use a model that is not its weights; it travels in the model file's header."""

    architecture: Architecture | None = None
    """The architecture; None for a user's own module, which the file cannot rebuild."""
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    """How a decoded image becomes the model's input."""
    classes: tuple[str, ...] = ()
    """Class names in the order of the logits."""
    answers: Literal["one", "several"] = "one"
    """Whether an image shows one of the classes (probabilities by softmax), or each is a question (by sigmoid)."""
    features: str = "final-norm class token"
    """What `features()` gives that the head reads."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Where the weights come from: command, recipe, data, parent model, versions."""
    licence: str = "not stated"
    """Licence of the weights."""

    def __post_init__(self) -> None:
        check_types(self)

"""What happens to a training image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vitreous.errors import ConfigError
from vitreous.schema import check_types


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentConfig:
    """What happens to a training image, as a pure function of (seed, epoch, index of the image)."""

    crop: Literal["inception", "centre", "padded", "resmall", "squash"] = "inception"
    """inception: a random rectangle of random area and aspect. centre: the crop that evaluation uses. padded: the
    shorter side resized to the frame, the image padded by 4 mirrored pixels, a random frame cut out (DeiT-III's simple
    random crop). resmall: the shorter side resized to `resize`, a random frame cut out (big_vision). squash: both sides
    resized to `resize`, a random frame cut out (BiT)."""
    resize: int | None = None
    """With resmall and squash: to how many pixels before the frame is cut out; None takes 8/7 of the frame's side."""
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
    policy: Literal["none", "randaugment", "randaugment-timm", "three"] = "none"
    """randaugment: the original op list and ranges (Cubuk et al., as big_vision runs it). randaugment-timm: DeiT's
    rand-m9-mstd0.5-inc1. three: DeiT-III's one of grey, solarise, blur."""
    rand_layers: int = 2
    """With randaugment: how many operations follow each other."""
    rand_magnitude: float = 10.0
    """With randaugment: their strength on a scale to 10; AugReg's 15 and 20 go beyond it."""
    rand_std: float = 0.0
    """With randaugment-timm: spread of the strength around rand_magnitude."""
    jitter: float = 0.0
    """Brightness, contrast and saturation each scaled by a factor drawn from 1 - jitter to 1 + jitter."""
    erase: float = 0.0
    """Probability that a random rectangle is filled with noise (Zhong et al., 2020; DeiT's "pixel" mode)."""

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("crop_area", "crop_aspect"):
            low, high = getattr(self, name)
            if not 0.0 < low <= high:
                raise ConfigError(f"{name} must be a rising pair of positive numbers, got {(low, high)}")
        if self.crop_area[1] > 1.0:
            raise ConfigError(f"crop_area cannot exceed the whole image, got {self.crop_area}")
        if not (0.0 <= self.shift < 1.0 and 0.0 <= self.zoom < 1.0 and 0.0 <= self.rotate <= 180.0):
            raise ConfigError(f"rotate {self.rotate}, shift {self.shift} or zoom {self.zoom} is out of range")
        if not (0.0 <= self.jitter <= 1.0 and 0.0 <= self.erase <= 1.0):
            raise ConfigError(f"jitter {self.jitter} or erase {self.erase} lies outside [0, 1]")
        if self.rand_layers < 1 or self.rand_magnitude < 0 or self.rand_std < 0:
            raise ConfigError(
                f"rand_layers {self.rand_layers}, rand_magnitude {self.rand_magnitude} or rand_std {self.rand_std}"
                " is out of range"
            )
        if self.resize is not None and self.resize < 1:
            raise ConfigError(f"resize must be positive, got {self.resize}")

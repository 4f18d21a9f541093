"""ResNets with group norm and standardised convolutions: BiT, and the feature maps that hybrids cut into patches.

    images (B, C, H, W) -> stem -> stages of units -> feature map (B, F, h, w) -> mean -> head -> logits (B, Y)

v1 normalises after its convolutions (He et al., 2015, section 4.1), v2 before them ("Identity Mappings", He et al.,
2016); both put the stride on the 3 x 3 convolution. Parameter names are timm's. A feature map is at any size
ceil(H / 2^k) high: no image is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor, nn

from vitreous.architecture import ResNetConfig
from vitreous.config import ModelCard
from vitreous.errors import ConfigError
from vitreous.model.convolution import StdConv2d, max_pool
from vitreous.model.draw import lecun_normal
from vitreous.model.features import Features
from vitreous.model.taps import NOTHING, Taps

_GROUPS = 32  # of every GroupNorm, whatever its width


class Stem(nn.Module):
    """A 7 x 7 convolution and a max pool, each halving the image; v1 normalises in between.

    Args:
        config: the architecture.
    """

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        assert config.padding is not None, "a config knows its style's padding"
        width = 64 * config.width_factor
        self.padding = config.padding
        self.conv = StdConv2d(config.in_channels, width, 7, 2, config)
        self.norm = _norm(width, config) if config.style == "v1" else None

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F h w"]:
        """The image at a quarter of its size."""
        x = self.conv(images)
        if self.norm is not None:
            x = F.relu(self.norm(x), inplace=True)
        return max_pool(x, self.padding)


class Shortcut(nn.Module):
    """The way past a stage's first unit, where width and size change: a 1 x 1 convolution, in v1 with a norm.

    Args:
        in_channels: channels that come in.
        out_channels: channels that go out.
        stride: that of the unit.
        config: the architecture.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, config: ResNetConfig) -> None:
        super().__init__()
        self.conv = StdConv2d(in_channels, out_channels, 1, stride, config)
        self.norm = _norm(out_channels, config) if config.style == "v1" else None

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F h w"]:
        """What the unit's residual is added to."""
        x = self.conv(x)
        return x if self.norm is None else self.norm(x)


class Unit(nn.Module):
    """A bottleneck: 1 x 1 down to a quarter of the width, 3 x 3, 1 x 1 up again, added to its input.

    Args:
        in_channels: channels that come in.
        out_channels: channels that go out.
        stride: of the 3 x 3 convolution and of the shortcut.
        first: whether it opens a stage, and so needs a convolution on its shortcut.
        config: the architecture.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, first: bool, config: ResNetConfig) -> None:
        super().__init__()
        middle = out_channels // 4
        self.after = config.style == "v1"
        normed = (middle, middle, out_channels) if self.after else (in_channels, middle, middle)
        self.downsample = Shortcut(in_channels, out_channels, stride, config) if first else None
        self.norm1, self.norm2, self.norm3 = (_norm(width, config) for width in normed)
        self.conv1 = StdConv2d(in_channels, middle, 1, 1, config)
        self.conv2 = StdConv2d(middle, middle, 3, stride, config)
        self.conv3 = StdConv2d(middle, out_channels, 1, 1, config)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F h w"]:
        """The feature map one unit further."""
        return self._norm_after(x) if self.after else self._norm_before(x)

    def _norm_after(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F h w"]:
        """v1 (vit_jax/models_resnet.py): the last ReLU comes after the sum."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.norm1(self.conv1(x)), inplace=True)
        x = F.relu(self.norm2(self.conv2(x)), inplace=True)
        return F.relu(shortcut + self.norm3(self.conv3(x)), inplace=True)

    def _norm_before(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F h w"]:
        """v2 (big_transfer/bit_pytorch/models.py): a convolved shortcut starts behind the first ReLU."""
        shortcut = x
        x = F.relu(self.norm1(x), inplace=True)
        if self.downsample is not None:
            shortcut = self.downsample(x)
        x = F.relu(self.norm2(self.conv1(x)), inplace=True)
        x = F.relu(self.norm3(self.conv2(x)), inplace=True)
        return shortcut + self.conv3(x)


class Stage(nn.Module):
    """Units of one width; the first may halve the size.

    Args:
        in_channels: channels that come in.
        out_channels: channels that go out.
        stride: of the first unit.
        depth: how many units.
        config: the architecture.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, depth: int, config: ResNetConfig) -> None:
        super().__init__()
        units = [Unit(in_channels, out_channels, stride, True, config)]
        units += [Unit(out_channels, out_channels, 1, False, config) for _ in range(depth - 1)]
        self.blocks = nn.ModuleList(units)

    def forward(self, x: Float[Tensor, "B C H W"], taps: Taps = NOTHING) -> Float[Tensor, "B F h w"]:
        """The feature map one stage further."""
        for i, unit in enumerate(self.blocks):
            x = taps.keep(f"blocks.{i}", unit(x))
        return x


class Trunk(nn.Module):
    """A ResNet without a head, with freshly drawn weights: images to feature maps.

    Args:
        config: the architecture; its classes are not looked at.
    """

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = [64 * config.width_factor * times for times in (1, 4, 8, 16, 32)[: len(config.layers) + 1]]
        self.stem = Stem(config)
        self.stages = nn.ModuleList(
            Stage(narrow, wide, 1 if i == 0 else 2, depth, config)
            for i, ((narrow, wide), depth) in enumerate(zip(pairwise(widths), config.layers, strict=True))
        )
        self.norm = _norm(config.num_features, config) if config.style == "v2" else None
        init_trunk(self)

    def forward(self, images: Float[Tensor, "B C H W"], taps: Taps = NOTHING) -> Float[Tensor, "B F h w"]:
        """The last feature map: no number in it is negative."""
        return _feature_map(self, images, taps)

    def tap_names(self) -> tuple[str, ...]:
        """Every intermediate that a forward pass offers, in its order."""
        return _tap_names(self)


class Head(nn.Module):
    """One linear layer on the mean of the feature map, written as a 1 x 1 convolution.

    Args:
        in_channels: channels of the feature map.
        num_classes: logits; 0 hands on the mean.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(in_channels, num_classes, kernel_size=1) if num_classes else None

    def forward(self, x: Float[Tensor, "B F h w"]) -> Float[Tensor, "B Y"]:
        """Logits, or the pooled features."""
        pooled = x.mean(dim=(2, 3), keepdim=True)  # (B, F, 1, 1)
        return (pooled if self.fc is None else self.fc(pooled)).flatten(1)


class ResNet(nn.Module):
    """A ResNet with a head and freshly drawn weights.

    It runs at any resolution. A plain module: it trains in anybody's loop and works under export and deep copies.

    Args:
        config: the architecture.
    """

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.config = config
        self.card: ModelCard | None = None
        trunk = Trunk(config)
        self.stem, self.stages, self.norm = trunk.stem, trunk.stages, trunk.norm
        self.head = Head(config.num_features, config.num_classes)
        init_resnet_head(self)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B Y"]:
        """Logits, one row per image; the pooled features where there is no head."""
        return self.head(_feature_map(self, images, NOTHING))

    def features(self, images: Float[Tensor, "B C H W"], taps: str | Iterable[str] = ()) -> Features:
        """The last feature map as one vector per cell, and any intermediates by name.

        Args:
            images: preprocessed.
            taps: one or more names from `tap_names()`, such as "stages.2.blocks.0" (B, F, h, w).

        Raises:
            UnknownNameError: a tap that this model does not have.
        """
        kept = Taps.among(taps, self.tap_names())
        x = _feature_map(self, images, kept)
        if kept.want("logits"):
            kept.keep("logits", self.head(x))
        patches = x.flatten(2).transpose(1, 2)  # (B, F, h, w) -> (B, h * w, F)
        return Features(
            cls=None, registers=patches[:, :0], patches=patches, grid=(x.shape[2], x.shape[3]), taps=kept.values
        )

    def tap_names(self) -> tuple[str, ...]:
        """Every intermediate that `features` can hand out, in the order of the forward pass."""
        return (*_tap_names(self), "logits")


@torch.no_grad()
def init_resnet(model: ResNet, generator: Generator | None = None) -> None:
    """Draw every parameter of `model` anew: the trunk as `init_trunk` does, the head zero.

    Args:
        model: changed in place.
        generator: source of randomness; None takes PyTorch's global one.
    """
    init_trunk(model, generator)
    init_resnet_head(model)


@torch.no_grad()
def init_trunk(model: Trunk | ResNet, generator: Generator | None = None) -> None:
    """Draw all convolutions (LeCun normal) and set all norms (scale 1, bias 0) of `model`.

    In v1 the last norm of each unit has scale 0, so that a fresh unit does nothing (vit_jax/models_resnet.py). In v2
    that norm stands before a ReLU, where a 0 would never move.

    Args:
        model: changed in place.
        generator: source of randomness; None takes PyTorch's global one.
    """
    if next(model.parameters()).is_meta:  # nothing to draw into; and a normal there would import half of PyTorch
        return
    for name, module in model.named_modules():
        match module:
            case StdConv2d():
                lecun_normal(module.weight, generator)
            case nn.GroupNorm():
                ends_a_branch = model.config.style == "v1" and name.endswith("norm3")
                nn.init.constant_(module.weight, 0.0 if ends_a_branch else 1.0)
                nn.init.zeros_(module.bias)


@torch.no_grad()
def init_resnet_head(model: ResNet) -> None:
    """Set the head to zero, which needs no randomness.

    Args:
        model: changed in place.
    """
    for parameter in model.head.parameters():
        nn.init.zeros_(parameter)


def _feature_map(model: Trunk | ResNet, images: Float[Tensor, "B C H W"], taps: Taps) -> Float[Tensor, "B F h w"]:
    """From images to the last feature map: what both classes do alike."""
    if images.shape[1] != model.config.in_channels:
        raise ConfigError(f"the model takes images of {model.config.in_channels} channels, got {tuple(images.shape)}")
    x = taps.keep("stem", model.stem(images))
    for i, stage in enumerate(model.stages):
        x = taps.keep(f"stages.{i}", stage(x, taps.under(f"stages.{i}")))
    return x if model.norm is None else taps.keep("norm", F.relu(model.norm(x), inplace=True))


def _tap_names(model: Trunk | ResNet) -> tuple[str, ...]:
    """The names that `_feature_map` says, in its order."""
    stages = [
        f"stages.{i}{part}"
        for i, depth in enumerate(model.config.layers)
        for part in (*(f".blocks.{unit}" for unit in range(depth)), "")
    ]
    return ("stem", *stages, *(() if model.norm is None else ("norm",)))


def _norm(width: int, config: ResNetConfig) -> nn.GroupNorm:
    assert config.norm_eps is not None, "a config knows its style's epsilon"
    return nn.GroupNorm(_GROUPS, width, eps=config.norm_eps)

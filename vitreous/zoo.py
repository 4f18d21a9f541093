"""Model names to architectures: `vit-b16`, `ViT-B/16`, `vit_base_patch16_224` and friends are one thing.

Sizes are the variants of the paper's Table 1 and of big_vision's `decode_variant`; hybrids are those of
vit_jax/configs/models.py and of the paper's Table 6; ResNets are those of Table 6 and of BiT (Kolesnikov et al., 2020).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Literal

from vitreous.architecture import Architecture, ResNetConfig, ViTConfig
from vitreous.errors import ConfigError, UnknownNameError, unknown_name

_SIZES = {  # variant: (embed_dim, depth, mlp_dim, num_heads)
    "mu": (32, 1, 128, 2),
    "ti": (192, 12, 768, 3),
    "s": (384, 12, 1536, 6),
    "m": (512, 12, 2048, 8),
    "b": (768, 12, 3072, 12),
    "l": (1024, 24, 4096, 16),
    "so400m": (1152, 27, 4304, 16),
    "h": (1280, 32, 5120, 16),
    "g": (1408, 40, 6144, 16),
    "g-opt": (1536, 40, 6144, 16),
    "G-opt": (1536, 48, 8192, 16),
    "G": (1664, 48, 8192, 16),
    "e": (1792, 56, 15360, 16),
}
_WORDS = {"tiny": "ti", "small": "s", "medium": "m", "base": "b", "large": "l", "huge": "h"}
_WORDS |= {"giant": "g", "gigantic": "G", "giant-opt": "g-opt", "gigantic-opt": "G-opt"}
_WORDS |= {"giantopt": "g-opt", "giganticopt": "G-opt"}

_PATCHES: dict[str, tuple[int, ...]] = dict.fromkeys(_SIZES, (16,))
_PATCHES |= {"s": (32, 16, 14, 8), "b": (32, 16, 14, 8), "l": (32, 16, 14), "so400m": (16, 14)}
_PATCHES |= dict.fromkeys(("h", "g", "G", "e"), (14,))

_RESNETS: dict[int, tuple[int, ...]] = {
    26: (2, 2, 2, 2),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
_AXIAL = ("axial-vit-b32", "axial-vit-b16")
_HYBRIDS = [
    *("r+vit-ti16", "r26+vit-s32", "r26+vit-b32"),
    *("r50+vit-b32", "r50+vit-b16", "r50+vit-l32", "r50+vit-l16"),
]
_BIT = ("r50x1", "r101x1", "r50x3", "r152x2", "r101x3", "r152x4")
_TABLE_6 = ("r50x1", "r101x1", "r152x1", "r50x2", "r152x2", "r200x3")

_Groups = dict[str, str | None]


def model_names() -> tuple[str, ...]:
    """Every name the zoo lists: two small models, ViTs by size, axial ViTs, hybrids, BiT, and the ResNets of Table 6.

    Patch sizes that nobody published, and trunks cut at other stages, are understood but not listed.
    """
    vits = [f"vit-{size}{patch}" for size in _SIZES for patch in _PATCHES[size]]
    resnets = [*(f"bit-{name}" for name in _BIT), *(f"resnet-{name}" for name in _TABLE_6)]
    return (*_OWN, *vits, *_AXIAL, *_HYBRIDS, *resnets)


def find_model(name: str) -> Architecture:
    """The architecture that `name` stands for.

    A name is written in any case and with `-` or `_`; only g (giant) and G (gigantic) are told apart by their case.
    `-gap` or `-map` asks for mean or attention pooling, and a final number is the image size. A hybrid's number is its
    stride in pixels; `r50.2+vit-b16` takes the map behind stage 2 of a ResNet-50 and chooses the patch to suit.

    Args:
        name: `vit-b16`, `ViT-B/16`, `vit_base_patch16_224`, `R50+ViT-B_16`, `vit_base_r50_s16_384`, `R26_S_32`,
            `BiT-M-R50x1`, `resnetv2_50x1_bit` and the like.

    Raises:
        UnknownNameError: the name is not understood; carries the nearest names.
        ConfigError: the name is understood, and patches do not tile the image or the feature map.
    """
    plain = name.strip().replace("_", "-")
    if plain.lower() in _OWN:
        return _OWN[plain.lower()]
    for pattern, build in _SPELLINGS:
        match = pattern.fullmatch(plain)
        found = build(match.groupdict()) if match else None
        if found is not None:
            return found
    timms = [f"vit_{word}_patch{patch}" for word, size in _WORDS.items() for patch in _PATCHES[size]]
    raise unknown_name("model", name, [*timms, *model_names()], remedy="`vitreous models` lists them all")


def is_model_name(name: str) -> bool:
    """Whether `find_model` understands `name`."""
    try:
        find_model(name)
    except UnknownNameError:
        return False
    except ConfigError:  # understood, and impossible: whoever builds it says why
        return True
    return True


def _plain(asked: _Groups) -> ViTConfig | None:
    """A ViT that cuts the image itself, with full or with axial attention; the latter has no class token."""
    size, patch = _size(asked), _number(asked["patch"], 0)
    if not 0 < patch <= 64:
        return None
    axial = bool(asked.get("axial"))
    name = f"{'axial-' if axial else ''}vit-{size}{patch}"
    try:
        config = _vit(name, size, patch, asked)
    except ConfigError as error:
        if asked["pixels"]:
            raise
        listed = " or ".join(f"vit-{size}{published}" for published in _PATCHES[size])
        raise ConfigError(error.what, why=error.why, remedy=f"{listed}, or {error.remedy}") from None
    if not axial:
        return config
    pool = "mean" if config.pool == "cls" else config.pool
    return dataclasses.replace(config, attention="axial", pool=pool, class_token=False)


def _hybrid(asked: _Groups) -> ViTConfig | None:
    """A ViT on the feature map of a ResNet.

    Without a stage the paper's two ways hold (section 4.1): stride 32 takes the whole ResNet, and stride 16 moves the
    units of stage 4 to the end of stage 3. R+Ti/16 has a root alone; its /16 is the name it was published by, while
    its true stride is 32 (root convolution, pooling and patch: 2 * 2 * 8).
    """
    size, stride = _size(asked), _number(asked["patch"], 0)
    width = _number(asked.get("width"), 1)
    trunk = f"r{asked['depth'] or ''}{f'x{width}' if width > 1 else ''}"
    if not asked["depth"]:
        published = (size, stride, width, asked.get("stage")) == ("ti", 16, 1, None)
        return _vit("r+vit-ti16", size, 8, asked, _stem((), 1)) if published else None
    layers = _RESNETS[int(asked["depth"])]
    if asked.get("stage"):
        trunk += f".{asked['stage']}"
        layers = layers[: _number(asked["stage"], 0)]
    elif stride == 16:
        layers = (*layers[:2], layers[2] + layers[3])
    stem, name = _stem(layers, width), f"{trunk}+vit-{size}{stride}"
    if not stride or stride % stem.reduction:
        raise ConfigError(
            f"{name}: one cell of that feature map stands for {stem.reduction} pixels, and {stride} is no multiple",
            remedy=f"{trunk}+vit-{size}{stem.reduction}, or the map of a stage: r{asked['depth']}.1, .2, .3 or .4",
        )
    return _vit(name, size, stride // stem.reduction, asked, stem)


def _resnet(asked: _Groups, style: Literal["v1", "v2"]) -> ResNetConfig:
    depth, width, pixels = _number(asked["depth"], 0), _number(asked["width"], 1), _number(asked["pixels"], 224)
    return ResNetConfig(
        name=f"{'bit' if style == 'v2' else 'resnet'}-r{depth}x{width}",
        image_size=(pixels, pixels),
        layers=_RESNETS[depth],
        width_factor=width,
        style=style,
    )


def _vit(name: str, size: str, patch: int, asked: _Groups, stem: ResNetConfig | None = None) -> ViTConfig:
    embed_dim, depth, mlp_dim, num_heads = _SIZES[size]
    pool, pixels = (asked["pool"] or "").lower(), _number(asked["pixels"], 224)
    return ViTConfig(
        name=name + (f"-{pool}" if pool else ""),
        image_size=(pixels, pixels),
        patch_size=(patch, patch),
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
        mlp_dim=mlp_dim,
        stem=stem,
        pool="mean" if pool == "gap" else "map" if pool == "map" else "cls",
    )


def _stem(layers: tuple[int, ...], width: int) -> ResNetConfig:
    return ResNetConfig(style="v1", layers=layers, width_factor=width, num_classes=0)


def _size(asked: _Groups) -> str:
    """The variant's letters; of g and G the case as typed, so that all capitals mean gigantic."""
    typed = asked["size"] or ""
    plain = typed.lower()
    return typed[0] + plain[1:] if plain in ("g", "g-opt") else _WORDS.get(plain, plain)


def _number(digits: str | None, default: int) -> int:
    return int(digits) if digits else default


def _spelling(pattern: str) -> re.Pattern[str]:
    """`pattern` with the words of `_SHORTHAND` written out; spaces in it mean nothing."""
    for short, meaning in _SHORTHAND.items():
        pattern = pattern.replace(short, meaning)
    return re.compile(pattern, re.IGNORECASE | re.ASCII | re.VERBOSE)


_SHORTHAND = {
    "SIZE": f"(?P<size>{'|'.join(sorted({*_SIZES, *_WORDS} - {'G', 'G-opt'}, key=len, reverse=True))})",
    "PATCH": r"(?P<patch>\d+)",
    "DEPTH": f"(?P<depth>{'|'.join(map(str, _RESNETS))})",
    "WIDTH": r"x(?P<width>[1-4])",
    "POOL": r"(?:-(?P<pool>gap|map))?",
    "PIXELS": r"(?:-(?P<pixels>\d+))?",
}
_SPELLINGS: tuple[tuple[re.Pattern[str], Callable[[_Groups], Architecture | None]], ...] = (
    # vit-b16, ViT-B/16, ViT-B_16, vit_base_patch16, axial-vit-b16
    (_spelling(r"(?P<axial>axial-)? vit-SIZE (?:-patch|[-/])? PATCH POOL PIXELS"), _plain),
    # AugReg's B_16
    (_spelling(r"SIZE [-/] PATCH POOL PIXELS"), _plain),
    # r50+vit-b16, R50+ViT-B/16, R50x1+ViT-B/16, AugReg's R26_S_32, r50.2+vit-b16
    (
        _spelling(r"r (?:DEPTH (?:WIDTH)? (?:\.(?P<stage>[1-4]))? )? [-+](?:vit-)? SIZE [-/]? PATCH POOL PIXELS"),
        _hybrid,
    ),
    # timm's vit_small_r26_s32_224 and vit_tiny_r_s16_p8_224
    (_spelling(r"vit-SIZE -r DEPTH? -s PATCH (?(depth)|-p8) POOL PIXELS"), _hybrid),
    # bit-r50x1, BiT-M-R50x1
    (_spelling(r"bit-(?:[sm]-)?r DEPTH WIDTH PIXELS"), lambda asked: _resnet(asked, "v2")),
    # timm's resnetv2_50x1_bit
    (_spelling(r"resnetv2- DEPTH WIDTH -bitm? PIXELS"), lambda asked: _resnet(asked, "v2")),
    # resnet-r50x1, the paper's ResNet50x1
    (_spelling(r"resnet-?r? DEPTH WIDTH PIXELS"), lambda asked: _resnet(asked, "v1")),
)

_OWN = {
    config.name: config
    for config in (
        ViTConfig(
            name="vit-test",
            image_size=(32, 32),
            patch_size=(8, 8),
            embed_dim=48,
            depth=2,
            num_heads=3,
            mlp_dim=112,
            num_classes=10,
        ),
        # for images of some 30 pixels on a CPU: benchmarks/fashion_mnist.py
        ViTConfig(
            name="vit-28",
            image_size=(28, 28),
            patch_size=(4, 4),
            embed_dim=64,
            depth=4,
            num_heads=2,
            mlp_dim=128,
            num_classes=10,
            pool="mean",
        ),
    )
}

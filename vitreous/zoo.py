"""Model names to configs: `vit-b16`, `ViT-B/16`, `vit_base_patch16_224` and friends are one thing.

Sizes are the variants of the paper's Table 1 and of big_vision's `decode_variant`.
"""

from __future__ import annotations

import dataclasses
import re

from vitreous.architecture import Size, ViTConfig
from vitreous.errors import ConfigError, UnknownNameError, unknown_name

_SIZES = {  # variant: (embed_dim, depth, mlp_dim, num_heads)
    "ti": (192, 12, 768, 3),
    "s": (384, 12, 1536, 6),
    "m": (512, 12, 2048, 8),
    "b": (768, 12, 3072, 12),
    "l": (1024, 24, 4096, 16),
    "h": (1280, 32, 5120, 16),
}
_WORDS = {"tiny": "ti", "small": "s", "medium": "m", "base": "b", "large": "l", "huge": "h"}
_PATCHES = {
    "ti": (16,),
    "s": (32, 16, 14, 8),
    "m": (16,),
    "b": (32, 16, 14, 8),
    "l": (32, 16, 14),
    "h": (14,),
}

_SHORT = re.compile(r"vit-(ti|s|m|b|l|h)/?(\d+)(?:-(gap))?(?:-(\d+))?")
_TIMM = re.compile(r"vit-(tiny|small|medium|base|large|huge)-patch(\d+)(?:-(gap))?(?:-(\d+))?")


def model_names() -> tuple[str, ...]:
    """Every name the zoo lists, smallest first; patch sizes that no paper published are not listed."""
    named = [f"vit-{size}{patch}" for size, patches in _PATCHES.items() for patch in patches]
    return ("vit-test", *named)


def find_model(name: str) -> ViTConfig:
    """The architecture that `name` stands for.

    Args:
        name: `vit-b16`, `ViT-B/16`, `vit_base_patch16_224`, with `-gap` for mean pooling and a final number for
            the image size, in any case and with `-` or `_`.

    Raises:
        UnknownNameError: the name is not understood; carries the nearest names.
    """
    plain = name.strip().lower().replace("_", "-")
    if plain == "vit-test":
        return _TEST
    match = _SHORT.fullmatch(plain) or _TIMM.fullmatch(plain)
    if not match or not 0 < int(match[2]) <= 64:
        raise unknown_name("model", name, model_names())
    size = _WORDS.get(match[1], match[1])
    patch = int(match[2])
    pixels = int(match[4]) if match[4] else 224
    return _vit(size, patch, (pixels, pixels), gap=bool(match[3]))


def is_model_name(name: str) -> bool:
    """Whether `find_model` understands `name`."""
    try:
        find_model(name)
    except UnknownNameError:
        return False
    except ConfigError:  # understood, and impossible: whoever builds it says why
        return True
    return True


def _vit(size: str, patch: int, image_size: Size, *, gap: bool) -> ViTConfig:
    embed_dim, depth, mlp_dim, num_heads = _SIZES[size]
    return ViTConfig(
        name=f"vit-{size}{patch}" + ("-gap" if gap else ""),
        image_size=image_size,
        patch_size=(patch, patch),
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
        mlp_dim=mlp_dim,
        pool="mean" if gap else "cls",
    )


_TEST = dataclasses.replace(
    _vit("ti", 8, (32, 32), gap=False),
    name="vit-test",
    embed_dim=48,
    depth=2,
    num_heads=3,
    mlp_dim=112,
    num_classes=10,
)

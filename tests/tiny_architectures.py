"""One small architecture for every kind that trains differently, fast enough to be trained in a test."""

from __future__ import annotations

from typing import Any

from vitreous.architecture import Architecture, ResNetConfig, ViTConfig

ROOT = ResNetConfig(style="v1", layers=(), num_classes=0)  # a quarter of the image's size, 64 channels
STAGE = ResNetConfig(style="v1", layers=(1,), num_classes=0)  # a quarter of the image's size, 256 channels
RANDOM: dict[str, Any] = {"dropout": 0.1, "drop_path": 0.2}  # both drop something while training


def _vit(name: str, **changes: Any) -> ViTConfig:
    sizes: dict[str, Any] = {
        "image_size": (32, 48), "patch_size": (8, 8), "embed_dim": 24, "depth": 2, "num_heads": 3, "mlp_dim": 40,
    }  # fmt: skip
    return ViTConfig(name=name, **{**sizes, **changes})


HYBRID = _vit("tiny-hybrid", stem=STAGE, patch_size=(2, 2), **RANDOM)
BIT = ResNetConfig(name="tiny-bit", image_size=(32, 48), layers=(1, 1))

TINY: dict[str, Architecture] = {
    made.name: made
    for made in (
        _vit("tiny-vit", **RANDOM),
        HYBRID,
        BIT,
        _vit("tiny-root-hybrid", stem=ROOT, patch_size=(2, 2), pool="mean"),
        ResNetConfig(name="tiny-resnet", image_size=(32, 48), layers=(1,), style="v1"),
        _vit("tiny-everything", registers=2, layer_scale=0.1, pool="map", **RANDOM),
        _vit("tiny-axial", attention="axial", pool="mean", **RANDOM),
        _vit("tiny-windows", attention="window", window=(2, 3), registers=2),
        _vit("tiny-filter", stem=ROOT, patch_size=(1, 1), tokenizer="filter", num_tokens=5),
        _vit("tiny-distilled", distill_token=True, **RANDOM),
        _vit("tiny-relative", position="relative", pool="cls+mean", pool_norm="after"),
        _vit("tiny-swiglu", mlp="swiglu", rotary="dinov3", position="none", qkv_bias="query-value"),
    )
}
"""By name. Images are 32 x 48, so that height and width cannot be exchanged."""

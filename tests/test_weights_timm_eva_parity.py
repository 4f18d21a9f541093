"""timm's Eva answers as ours does: DINOv3, EVA-02, EVA and timm's own rotary models, read and written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from timm_models import (
    SETTINGS,
    SIZES,
    assert_identical,
    opened,
    ours,
    raw,
    read_back,
    same,
    saved,
    small,
    theirs,
)

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "DINOv3": ("vit_small_patch16_dinov3", {}),
    "DINOv3 with biases": ("vit_small_patch16_dinov3_qkvb", {}),
    "DINOv3 class token": ("vit_small_patch16_dinov3", {"global_pool": "token"}),
    "DINOv3 gated": ("vit_small_plus_patch16_dinov3", {}),
    "EVA-02 tiny": ("eva02_tiny_patch14_224", {}),
    "EVA-02": ("eva02_base_patch14_224", {}),
    "EVA-02 CLIP": ("eva02_base_patch16_clip_224", {}),
    "EVA": ("eva_giant_patch14_224", {}),
    "rotary, registers and GAP": ("vit_medium_patch16_rope_reg1_gap_256", {}),
    "rotary, own grid": ("eva_giant_patch14_224", {"use_rot_pos_emb": True}),
    "rotary, biases of keys": ("eva02_tiny_patch14_224", {"attn_type": "rope"}),
    "rotary, biases of keys apart": ("eva02_base_patch14_224", {"attn_type": "rope"}),
    "rotary, norms of queries and keys": ("eva02_tiny_patch14_224", {"qk_norm": True}),
    "rotary, attention pooling": ("eva_giant_patch14_224", {"use_rot_pos_emb": True, "global_pool": "map"}),
}


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_small_models(family: str, tmp_path: Path) -> None:
    """Read with its config.json and compared at several resolutions; written, opened by timm and read back."""
    name, changes = FAMILIES[family]
    other, config = small(name, **changes)
    mine = ours(raw(other.state_dict(), config))
    for size in SIZES:
        same(f"timm {family}", f"tiny, {size[0]} x {size[1]} px", mine, other, size)
    assert saved(mine, tmp_path) == ()
    again = opened(tmp_path, dynamic_img_size=True)
    for size in SIZES[:2]:
        same(f"timm {family}", f"tiny, written, {size[0]} x {size[1]} px", mine, again, size)
    assert_identical(read_back(tmp_path), mine)


GUESSABLE = ("DINOv3", "DINOv3 with biases", "DINOv3 gated", "EVA-02 tiny", "EVA-02", "EVA-02 CLIP", "EVA")


@torch.no_grad()
@pytest.mark.parametrize("family", [*GUESSABLE, "rotary, registers and GAP"])
def test_bare_state_dicts(family: str) -> None:
    """Without config.json the same model is understood from names and shapes, heads and resolution being stated."""
    name, changes = FAMILIES[family]
    other, config = small(name, **changes)
    assert_identical(ours(raw(other.state_dict()), **SETTINGS), ours(raw(other.state_dict(), config)))


@torch.no_grad()
@pytest.mark.parametrize(
    ("family", "name", "size"),
    [
        ("DINOv3", "vit_small_patch16_dinov3", 256),
        ("EVA-02 tiny", "eva02_tiny_patch14_224", 224),
        ("EVA-02 CLIP", "eva02_base_patch16_clip_224", 224),
    ],
)
def test_published_sizes(family: str, name: str, size: int) -> None:
    """The smallest published model of a family, understood from its bare state dict."""
    other = theirs(name, 0)
    same(f"timm {family}", name, ours(raw(other.state_dict())), other, (size, size))


@torch.no_grad()
def test_epsilon_of_1e_5_without_layer_scale(tmp_path: Path) -> None:
    """timm has one name with this epsilon and no LayerScale; everything else that it sets is taken back."""
    other, _ = small("vit_small_patch16_dinov3")
    state = {name: value for name, value in other.state_dict().items() if "gamma_" not in name}
    stated = {"norm_eps": 1e-5, "rotary": "dinov3", "rotary_base": 100.0, "pool": "mean"}
    mine = ours(raw(state), **SETTINGS, **stated)
    assert saved(mine, tmp_path) == ()
    same("timm DINOv3", "tiny, no LayerScale", mine, opened(tmp_path, dynamic_img_size=True), (40, 24))
    assert_identical(read_back(tmp_path), mine)

"""timm's VisionTransformer, hybrids and BiT answer as ours do: small and of published size, read and written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from random_vit import draw, random_images
from timm_models import (
    SETTINGS,
    SIZES,
    SMALL,
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
from torch import nn

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {  # name in timm, and what is changed beside the size
    "AugReg": ("vit_base_patch16_224", {}),
    "MAE, pooled": ("vit_base_patch16_224", {"global_pool": "avg"}),
    "DINO, features": ("vit_small_patch16_224", {"num_classes": 0}),
    "GAP": ("vit_base_patch16_gap_224", {}),
    "registers and GAP": ("vit_medium_patch16_reg4_gap_256", {}),
    "registers with positions": ("vit_so150m2_patch16_reg1_gap_256", {}),
    "class token and registers with positions": ("vit_base_patch16_224", {"reg_tokens": 3}),
    "DeiT": ("deit_tiny_patch16_224", {}),
    "DeiT distilled": ("deit_base_distilled_patch16_224", {}),
    "DeiT-III": ("deit3_base_patch16_224", {}),
    "DINOv2": ("vit_small_patch14_dinov2", {}),
    "DINOv2 with registers": ("vit_small_patch14_reg4_dinov2", {}),
    "DINOv2 giant": ("vit_giant_patch14_reg4_dinov2", {"mlp_ratio": 3.5}),
    "CLIP": ("vit_base_patch16_clip_224", {}),
    "CLIP of OpenAI": ("vit_base_patch16_clip_quickgelu_224", {}),
    "SigLIP": ("vit_base_patch16_siglip_224", {}),
    "SigLIP 2": ("vit_giantopt_patch16_siglip_256", {}),
    "SigLIP, features": ("vit_base_patch16_siglip_224", {"num_classes": 0}),
    "attention pooling over all": ("test_vit3", {}),
    "norms inside": ("vit_base_patch16_224", {"qk_norm": True, "scale_attn_norm": True, "scale_mlp_norm": True}),
    "without biases": ("vit_base_patch16_224", {"qkv_bias": False, "proj_bias": False}),
    "every token": ("vit_base_patch16_224", {"global_pool": ""}),
    "no positions": ("vit_base_patch16_224", {"pos_embed": "none"}),
    "grey": ("vit_base_patch16_224", {"in_chans": 1}),
}


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_small_models(family: str, tmp_path: Path) -> None:
    """Read with its config.json and compared at several resolutions; written, opened by timm and read back."""
    name, changes = FAMILIES[family]
    other, config = small(name, **changes)
    mine = ours(raw(other.state_dict(), config))
    channels = mine.config.in_channels
    for size in SIZES:
        same(f"timm {family}", f"tiny, {size[0]} x {size[1]} px", mine, other, size, channels)
    assert saved(mine, tmp_path) == ()
    again = opened(tmp_path, dynamic_img_size=True)
    for size in SIZES[:2]:
        same(f"timm {family}", f"tiny, written, {size[0]} x {size[1]} px", mine, again, size, channels)
    assert_identical(read_back(tmp_path), mine)


AMBIGUOUS = ("CLIP of OpenAI", "SigLIP 2", "every token", "attention pooling over all")
"""Those that compute something else than their names and shapes suggest."""


@torch.no_grad()
@pytest.mark.parametrize("family", [family for family in FAMILIES if family not in AMBIGUOUS])
def test_bare_state_dicts(family: str) -> None:
    """Without config.json the same model is understood from names and shapes, heads and resolution being stated."""
    name, changes = FAMILIES[family]
    other, config = small(name, **changes)
    assert_identical(ours(raw(other.state_dict()), **SETTINGS), ours(raw(other.state_dict(), config)))


PUBLISHED = {
    "AugReg": "vit_small_patch16_224",
    "DeiT distilled": "deit_tiny_distilled_patch16_224",
    "DeiT-III": "deit3_small_patch16_224",
    "DINOv2 with registers": "vit_small_patch14_reg4_dinov2",
    "CLIP": "vit_base_patch32_clip_224",
    "SigLIP": "vit_base_patch16_siglip_224",
}


@torch.no_grad()
@pytest.mark.parametrize("family", PUBLISHED)
def test_published_sizes(family: str) -> None:
    """The smallest published model of a family, understood from its bare state dict."""
    name = PUBLISHED[family]
    args = {"img_size": 224} if "dinov2" in name else {}
    other = theirs(name, 0, **args)
    mine = ours(raw(other.state_dict()))
    same(f"timm {family}", name, mine, other, (224, 224))


def group_epsilon(model: nn.Module) -> float:
    """The one epsilon of all its group norms, which is too small to show in logits."""
    (eps,) = {module.eps for module in model.modules() if isinstance(module, nn.GroupNorm)}
    return eps


HYBRIDS = {
    "R+Ti/16": ("vit_tiny_r_s16_p8_224", (64, 96), 8),
    "R26+S/32": ("vit_small_r26_s32_224", (64, 96), 1),
    "R50+B/16": ("vit_base_r50_s16_224", (48, 80), 1),
    "R50+L/32": ("vit_large_r50_s32_224", (64, 96), 1),
}


@torch.no_grad()
@pytest.mark.parametrize("family", HYBRIDS)
def test_hybrids(family: str, tmp_path: Path) -> None:
    """timm's own numerics: its weight standardisation, its epsilons, SAME padding at any size."""
    name, size, patch = HYBRIDS[family]
    args = SMALL | {"img_size": size, "patch_size": patch}
    other = theirs(name, 3, dynamic_img_size=True, **args)
    mine = ours(raw(other.state_dict()), num_heads=4, image_size=size)
    assert mine.config.stem.norm_eps == group_epsilon(other)
    for shape in (size, size[::-1], (128, 64)):
        same(f"timm hybrid {family}", f"narrow, {shape[0]} x {shape[1]} px", mine, other, shape)
    assert saved(mine, tmp_path) == ()
    same(f"timm hybrid {family}", "narrow, written", mine, opened(tmp_path), size)
    assert_identical(read_back(tmp_path), mine)


@torch.no_grad()
def test_published_hybrid() -> None:
    """R+Ti/16 as published, whose stem has names of its own in timm."""
    other = theirs("vit_tiny_r_s16_p8_224", 1)
    mine = ours(raw(other.state_dict()))
    assert mine.config.name == "r+vit-ti16"
    same("timm hybrid R+Ti/16", "vit_tiny_r_s16_p8_224", mine, other, (224, 224))


@torch.no_grad()
def test_published_bit(tmp_path: Path) -> None:
    """BiT-R50x1 at an odd size too: timm's formula of standardisation, zeros around its max pool."""
    other = theirs("resnetv2_50x1_bit", 1, num_classes=11)
    mine = ours(raw(other.state_dict()))
    assert mine.config.name == "bit-r50x1"
    assert mine.config.norm_eps == group_epsilon(other)
    for size in ((96, 96), (75, 118)):
        same("timm BiT", f"resnetv2_50x1_bit, {size[0]} x {size[1]} px", mine, other, size)
    assert saved(mine, tmp_path) == ()
    same("timm BiT", "resnetv2_50x1_bit, written", mine, opened(tmp_path), (75, 118))
    assert_identical(read_back(tmp_path), mine)


@torch.no_grad()
def test_tanh_layer_of_old_files() -> None:
    """Files of orig_in21k still carry `pre_logits.fc`: class token, linear, tanh, head."""
    other, _ = small("vit_base_patch16_224")
    hidden = draw(nn.Linear(48, 48), 5)
    state = dict(other.state_dict()) | {f"pre_logits.fc.{name}": value for name, value in hidden.state_dict().items()}
    mine, images = ours(raw(state), **SETTINGS), random_images()
    expected = other.get_submodule("head")(torch.tanh(hidden(other.forward_features(images)[:, 0])))
    torch.testing.assert_close(mine(images), expected, rtol=0, atol=1e-5)

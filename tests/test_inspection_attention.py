"""Attention maps: against a second implementation, closed forms, and a model whose attention is built by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy_vit import forward
from random_vit import arrays, config, random_images, random_vit
from vit_options import drawn, option

from vitreous.inspection import attention
from vitreous.inspection.attention import attention_maps, has_attention_maps
from vitreous.model.vit import ViT


def _slow_maps(model: ViT, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rollout by whole matrices in float64 (Abnar and Zuidema 2020), weights from the NumPy Vision Transformer."""
    config = model.config
    values = forward(
        arrays(model),
        images,
        patch_size=config.patch_size,
        num_heads=config.num_heads,
        pool=config.pool,
        table_grid=config.grid,
    )
    rollouts, lasts = [], []
    for b in range(len(images)):
        joint = np.eye(model.num_prefix + values["patch_embed"].shape[1])
        for i in range(config.depth):
            mean = values[f"blocks.{i}.attn.weights"][b].mean(axis=0)
            mixed = mean + np.eye(len(mean))
            joint = (mixed / mixed.sum(axis=1, keepdims=True)) @ joint
        first = model.num_prefix
        pick = (lambda m: m[0]) if config.pool == "cls" else (lambda m, first=first: m[first:].mean(axis=0))
        rollouts.append(pick(joint)[first:])
        lasts.append(pick(mean)[first:])
    return np.array(rollouts), np.array(lasts)


@pytest.mark.parametrize("changes", [{}, {"pool": "mean"}, {"pool": "mean", "class_token": True}])
@pytest.mark.parametrize("size", [(24, 40), (40, 48)])
def test_maps_equal_a_slow_second_implementation(changes: dict[str, Any], size: tuple[int, int]) -> None:
    """Class token or mean pooling, at the model's own resolution and at another."""
    model = random_vit(**changes)
    images = random_images(*size, batch=3)
    found = attention_maps(model, images)
    rollout, last = _slow_maps(model, images.numpy())
    grid = (3, size[0] // 8, size[1] // 8)
    assert grid == found.rollout.shape == found.last.shape
    np.testing.assert_allclose(found.rollout, rollout.reshape(grid), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.last, last.reshape(grid), rtol=1e-4, atol=1e-6)
    assert rollout.std() > 1e-3


_READERS: dict[str, Any] = {  # what the head reads: which tokens in front, what share of it the patches are
    "registers": ([1.0, 0, 0, 0, 0], 0.0),
    "distillation": ([0.5, 0.5], 0.0),
    "class token beside the mean": ([0.5, 0, 0], 0.5),
    "relative, shared": ([1.0, 0, 0], 0.0),
    "windows and tokens in front": ([1.0, 0, 0], 0.0),
    "hybrid": ([1.0], 0.0),
    "cropped hybrid": ([1.0], 0.0),
}


@pytest.mark.parametrize("name", [*_READERS, "attention pooling"])
def test_maps_of_every_option_follow_what_the_head_reads(name: str) -> None:
    """Whole matrices of the blocks' own weights, multiplied in NumPy, read as the option reads."""
    model = drawn(option(name))
    images = random_images(*model.config.image_size)
    names = [f"blocks.{i}.attn.weights" for i in range(3)]
    with torch.no_grad():
        weights = [model.features(images, n).taps[n].double().mean(dim=1).numpy() for n in names]  # each (B, N, N)
        probe = model.features(images, "pool.weights").taps["pool.weights"] if name == "attention pooling" else None
    grid, front, patches = model.config.grid, model.num_prefix, model.config.grid[0] * model.config.grid[1]
    if probe is None:
        own, share = _READERS[name]
        reader = np.tile([*own, *[share / patches] * patches], (len(images), 1))
    else:
        reader = probe.double().mean(dim=1)[:, 0].numpy()
    np.testing.assert_allclose(reader.sum(axis=1), 1, rtol=1e-6)
    joint = np.eye(weights[0].shape[1])
    for matrix in weights:
        joint = (matrix + np.eye(matrix.shape[1])) / 2 @ joint
    found = attention_maps(model, images)
    assert has_attention_maps(model)
    for maps, matrices in ((found.rollout, joint), (found.last, weights[-1])):
        expected = np.einsum("bn,bnm->bm", reader, matrices)[:, front:].reshape(-1, *grid)
        np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["axial", "semantic tokens", "a row per token"])
def test_where_rollout_means_nothing_there_are_no_maps(name: str) -> None:
    """Two matrices per block, tokens without a place, no single answer."""
    assert not has_attention_maps(ViT(option(name)))


def test_matrices_too_large_to_hold_are_not_shown() -> None:
    """Windows on single pixels are cheap, and the matrix of who looks at whom is not."""
    for side, shown in ((96, True), (192, False)):
        near = config(image_size=(side, side), patch_size=(1, 1), attention="window", window=(4, 4), depth=1)
        with torch.device("meta"):
            assert shown == has_attention_maps(ViT(near))


def test_memory_is_bounded_by_taking_blocks_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for one block or two at a time, the maps are the same."""
    model, images = random_vit(), random_images()
    whole = attention_maps(model, images)
    for room in (1, 2 * 4 * 4 * 16 * 16):
        monkeypatch.setattr(attention, "_ROOM", room)
        parts = attention_maps(model, images)
        np.testing.assert_array_equal(whole.rollout, parts.rollout)
        np.testing.assert_array_equal(whole.last, parts.last)


def test_uniform_attention_gives_the_closed_form() -> None:
    """Without queries every token looks everywhere: after L blocks a patch holds (1 - 2^-L) / N of the class token."""
    model = random_vit()
    with torch.no_grad():
        for block in model.blocks:
            block.attn.qkv.weight[:28] = 0
            block.attn.qkv.bias[:28] = 0
    found = attention_maps(model, random_images())
    np.testing.assert_allclose(found.last, 1 / 16, rtol=1e-5)
    np.testing.assert_allclose(found.rollout, (1 - 2**-3) / 16, rtol=1e-5)


def test_a_model_made_to_look_at_one_patch_is_seen_to_do_so() -> None:
    """Every query asks for the one token whose position is marked: the maps are zero elsewhere."""
    model = random_vit()
    row, column = 1, 3
    with torch.no_grad():
        model.patch_embed.proj.weight.zero_()
        model.patch_embed.proj.bias.zero_()
        model.cls_token.zero_()
        model.pos_embed[..., 5] = -2.0
        model.pos_embed[0, 1 + row * 5 + column, 5] = 20.0
        for block in model.blocks:
            block.norm1.weight.fill_(1)
            block.norm1.bias.zero_()
            block.attn.qkv.weight.zero_()
            block.attn.qkv.bias.zero_()
            for head in range(4):  # 7 wide each: the first number of every key is channel 5, every query asks for it
                block.attn.qkv.bias[head * 7] = 40
                block.attn.qkv.weight[28 + head * 7, 5] = 1
            block.attn.proj.weight.zero_()  # nothing is written back, so every block sees the same tokens
            block.attn.proj.bias.zero_()
            block.mlp.fc2.weight.zero_()
            block.mlp.fc2.bias.zero_()
    found = attention_maps(model, random_images())
    expected = np.zeros((2, 3, 5))
    expected[:, row, column] = 1
    np.testing.assert_allclose(found.last, expected, atol=1e-6)
    np.testing.assert_allclose(found.rollout, (1 - 2**-3) * expected, atol=1e-6)


def test_the_model_is_left_as_it_was_found() -> None:
    """Mode of every part, no gradients; dropout is off while looking."""
    model = random_vit(dropout=0.5)
    model.train()
    model.blocks[2].eval()
    first, second = (attention_maps(model, random_images()) for _ in range(2))
    np.testing.assert_array_equal(first.rollout, second.rollout)
    assert model.training
    assert not model.blocks[2].attn.training
    assert all(parameter.grad is None for parameter in model.parameters())

"""Attention in windows and along axes is full attention with a mask, and costs no more than the image grows."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from random_vit import random_images
from slow_vit import sees
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from vit_options import FORMS, drawn, option

from vitreous.architecture import ViTConfig
from vitreous.cost import macs
from vitreous.errors import ConfigError
from vitreous.model.attention import Attention, Where
from vitreous.model.create import build
from vitreous.model.vit import ViT

SPANS = ("window", "row", "column")


def attention(span: Any, form: Any = "fused", **changes: Any) -> tuple[Attention, ViTConfig]:
    """One layer with random weights that looks near, in a model of 4 x 6 patches."""
    made = option("windows", **changes)
    module = Attention(made, span)
    generator = torch.Generator().manual_seed(3)
    for value in module.parameters():
        torch.nn.init.normal_(value, std=0.3, generator=generator)
    module.form = form
    return module.eval(), made


def visible(made: ViTConfig, span: str, grid: tuple[int, int]) -> Tensor:
    """Who sees whom, one pair after the other."""
    count = made.num_prefix + grid[0] * grid[1]
    return torch.tensor([[sees(i, j, made, span, grid) for j in range(count)] for i in range(count)])


TOKENS: dict[str, dict[str, Any]] = {
    "patches alone": {},
    "class token": {"class_token": True},
    "class token and registers": {"class_token": True, "registers": 3},
    "registers alone": {"registers": 2},
}


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("tokens", TOKENS.values(), ids=TOKENS)
@pytest.mark.parametrize("grid", [(4, 6), (2, 9), (6, 3)], ids=str)
@pytest.mark.parametrize("span", SPANS)
def test_near_attention_is_full_attention_with_a_mask(
    span: str, grid: tuple[int, int], tokens: dict[str, Any], form: str
) -> None:
    """One matrix of all pairs, the far ones struck out: the same mixture, and the same weights in the tap."""
    module, made = attention(span, form, **tokens)
    N = made.num_prefix + grid[0] * grid[1]
    x = torch.randn(2, N, 28, generator=torch.Generator().manual_seed(4))
    q, k, v = F.linear(x, module.qkv.weight, module.qkv.bias).view(2, N, 3, 4, 7).permute(2, 0, 3, 1, 4)
    scores = (q @ k.mT / 7**0.5).masked_fill(~visible(made, span, grid), float("-inf"))
    expected = module.proj((scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2))
    where = Where(made.num_prefix, grid)
    torch.testing.assert_close(module(x, where), expected, rtol=0, atol=1e-5)
    bare, _ = attention("all", form, **tokens)
    assert (bare(x, where) - expected).abs().max() > 1e-2


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["windows and tokens in front", "axial and tokens in front", "axial"])
def test_the_tap_shows_who_looks_at_whom(name: str, form: str) -> None:
    """softmax over the visible, recomputed from the taps q and k; exact zeros elsewhere; rows sum to 1."""
    model = drawn(option(name), form=form)
    height, width = model.config.image_size
    for size in ((height, width), (2 * height, width)):
        features = model.features(random_images(*size), taps=model.tap_names())
        parts = {"": "window"} if model.config.attention == "window" else {".rows": "row", ".columns": "column"}
        for part, span in parts.items():
            q, k, weights = (features.taps[f"blocks.1{part}.attn.{n}"] for n in ("q", "k", "weights"))
            seen = visible(model.config, span, features.grid)
            expected = (q @ k.mT / 7**0.5).masked_fill(~seen, float("-inf")).softmax(dim=-1)
            torch.testing.assert_close(weights, expected, rtol=0, atol=1e-6)
            assert (weights[..., ~seen] == 0).all()
            assert (weights[..., seen] > 0).all()
            torch.testing.assert_close(weights.sum(dim=-1), torch.ones(q.shape[:-1]), rtol=0, atol=1e-6)


@torch.no_grad()
def test_one_window_over_everything_is_full_attention() -> None:
    """A window as large as the grid hides nothing."""
    near = drawn(option("windows and tokens in front", window=(4, 6)))
    full = ViT(dataclasses.replace(near.config, attention="full", window=None)).eval()
    full.load_state_dict(near.state_dict())
    images = random_images(32, 48)
    torch.testing.assert_close(near(images), full(images), rtol=0, atol=1e-5)


@torch.no_grad()
def test_windows_do_not_see_each_other() -> None:
    """Without tokens in front, a change in one window moves the patches of that window and no others."""
    model = drawn(option("windows"))
    images = random_images(32, 48)
    changed = images.clone()
    changed[:, :, :16, 24:] += 1.0  # rows 0 and 1, columns 3 to 5: one window of 2 x 3 patches
    moved = (model.features(changed).patches - model.features(images).patches).abs().amax(dim=(0, 2)).view(4, 6) > 1e-6
    expected = torch.zeros(4, 6, dtype=torch.bool)
    expected[:2, 3:] = True
    assert torch.equal(expected, moved)


@torch.no_grad()
def test_two_axes_reach_everyone() -> None:
    """After rows and then columns of one block, a change anywhere has reached every patch."""
    model = drawn(option("axial", depth=1))
    images = random_images()
    changed = images.clone()
    changed[:, :, :8, :8] += 1.0
    taps = ("blocks.0.rows.attn", "blocks.0")
    before, after = (model.features(x, taps=taps).taps for x in (images, changed))
    row, all_of_it = ((after[t] - before[t]).abs().amax(dim=(0, 2)).view(3, 5) > 1e-6 for t in taps)
    assert row[0].all()
    assert not row[1:].any()
    assert all_of_it.all()


@pytest.mark.parametrize(
    ("size", "axis", "near"),
    [
        ((40, 48), "height 5 is not divisible by window height 2", "4 or 6"),
        ((32, 56), "width 7 is not divisible by window width 3", "6 or 9"),
        ((8, 48), "height 1 is not divisible by window height 2", "2"),
    ],
)
def test_grids_that_windows_do_not_tile_are_refused(size: tuple[int, int], axis: str, near: str) -> None:
    """When the config is made and when an image comes, with the nearest grids that do."""
    model = drawn(option("windows"))
    for attempt in (lambda: option("windows", image_size=size), lambda: model(random_images(*size))):
        with pytest.raises(ConfigError, match=axis) as caught:
            attempt()
        assert caught.value.remedy is not None
        assert near in caught.value.remedy


# ---------------------------------------------------------------- patches of one pixel


def pixels(**changes: Any) -> ViTConfig:
    """A small model whose patches are the pixels of an image of 32 x 32."""
    return option(
        "plain", image_size=(32, 32), patch_size=(1, 1), depth=2, pool="mean", position="learned-2d", **changes
    )


def flops(made: ViTConfig, side: int) -> int:
    """Floating-point operations of one image, as PyTorch counts them."""
    model = build(made).eval()
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(random_images(side, side, batch=1))
    return int(counter.get_total_flops())


NEAR: dict[str, dict[str, Any]] = {
    "full": {},
    "window": {"attention": "window", "window": (8, 8)},
    "axial": {"attention": "axial"},
}


def test_cost_of_attention_between_pixels() -> None:
    """32 x 32 px, patch 1, D = 28, two blocks: 258 million operations in full, 38 in windows of 8 x 8, 61 along axes.

    Of these, attention takes 4 N^2 D per block in full, 4 N 64 D in windows, 4 N (32 + 32) D in both axes together.
    """
    N, D, depth = 1024, 28, 2
    found = {name: flops(pixels(**changes), 32) for name, changes in NEAR.items()}
    assert {name: round(value / 1e6) for name, value in found.items()} == {"full": 258, "window": 38, "axial": 61}
    assert found["full"] - found["window"] == depth * 4 * N * (N - 64) * D
    twice = depth * 2 * N * (4 * D * D + 2 * D * 44)  # an axial block has two of everything but attention
    assert found["axial"] - found["window"] == twice
    assert found == {name: 2 * macs(pixels(**changes)) for name, changes in NEAR.items()}


def test_windows_cost_in_proportion_to_the_image() -> None:
    """Twice the side: exactly four times the work in windows, and almost fifteen times in full."""
    head = 2 * 28 * 11
    grown = {
        name: (flops(pixels(**changes), 64) - head) / (flops(pixels(**changes), 32) - head)
        for name, changes in NEAR.items()
    }
    assert grown["window"] == 4
    assert 4 < grown["axial"] < 5.5
    assert 14 < grown["full"] < 16


def test_near_attention_never_holds_all_pairs() -> None:
    """No tensor of a pass over 1024 pixels has N x N entries; in full attention one does."""
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            if isinstance(out, Tensor):
                largest = max(largest, out.numel())
            return out

    seen = {}
    for name, changes in NEAR.items():
        model = build(pixels(**changes)).eval()
        for part in model.modules():
            if isinstance(part, Attention):
                part.form = "matmul"
        largest = 0
        with torch.no_grad(), Watch():
            model(random_images(32, 32, batch=1))
        seen[name] = largest
    heads, N = 4, 1024
    assert seen["full"] == heads * N * N
    assert seen["window"] == heads * N * 64
    assert seen["axial"] <= heads * N * 64


def test_a_model_of_pixels_learns() -> None:
    """One step through windows of pixels: gradients reach every parameter, and the loss falls."""
    made = option("plain", image_size=(8, 8), patch_size=(1, 1), pool="mean", attention="window", window=(4, 4))
    model = drawn(made).train()
    images, labels = random_images(8, 8, batch=6), torch.tensor([0, 1, 2, 3, 4, 5])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    losses = []
    for _ in range(5):
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())
    assert losses[-1] < losses[0]

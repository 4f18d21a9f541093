"""FlexiViT: a patch projection of another size answers to a resized patch as the old one did to the patch itself."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import timm
from random_vit import random_images
from torch import Tensor
from vit_options import drawn, option

from vitreous.architecture import ViTConfig
from vitreous.config import ModelCard
from vitreous.errors import ConfigError
from vitreous.model.position import resample_patches
from vitreous.model.vit import ViT
from vitreous.weights.adapt import Adapted, with_patch

Size = tuple[int, int]


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Unit normal noise."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def resized(patches: Tensor, size: Size) -> Tensor:
    """Every channel of every patch as tf.image.resize does it: two neighbours, at centres, shrinking or not."""
    made = patches.double()
    for axis, new in zip((-2, -1), size, strict=True):
        old = made.shape[axis]
        rows = []
        for i in range(new):
            place = min(max((i + 0.5) * old / new - 0.5, 0.0), old - 1.0)
            low, high = math.floor(place), min(math.floor(place) + 1, old - 1)
            share = place - low
            rows.append(made.select(axis, low) * (1 - share) + made.select(axis, high) * share)
        made = torch.stack(rows, dim=axis)
    return made


side = st.integers(1, 9)


@settings(max_examples=60, deadline=None)
@given(old=st.tuples(side, side), more=st.tuples(st.integers(0, 9), st.integers(0, 9)), seed=st.integers(0, 99))
def test_an_enlarged_patch_has_the_token_it_had(old: Size, more: Size, seed: int) -> None:
    """<B x, w_new> = <x, w> for every patch x and any larger size (section 3.4: the exact case)."""
    new = (old[0] + more[0], old[1] + more[1])
    kernel, patch = random(5, 3, *old, seed=seed), random(2, 3, *old, seed=seed + 100)
    grown = F.interpolate(patch, size=new, mode="bilinear", align_corners=False)
    before = torch.einsum("dcpq,bcpq->bd", kernel, patch)
    after = torch.einsum("dcrs,bcrs->bd", resample_patches(kernel, new), grown)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-8)


@pytest.mark.parametrize(("old", "new"), [((8, 8), (5, 6)), ((8, 6), (4, 3)), ((4, 9), (7, 5)), ((6, 6), (16, 16))])
def test_it_is_the_best_there_is(old: Size, new: Size) -> None:
    """Smaller too: of all kernels it errs least over patches of noise, by least squares on resized patches."""
    kernel = random(5, 1, *old)
    basis = torch.eye(old[0] * old[1], dtype=torch.float64).reshape(-1, *old)  # noise has the identity as covariance
    small = resized(basis, new).flatten(1)  # B^T
    expected = torch.linalg.lstsq(small, kernel.flatten(1).T, rcond=1e-5, driver="gelsd").solution.T.reshape(5, 1, *new)
    torch.testing.assert_close(resample_patches(kernel, new), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("old", "new"), [((32, 32), (16, 16)), ((32, 32), (48, 48)), ((8, 6), (5, 7)), ((4, 4), (9, 4))]
)
def test_it_is_timms_with_the_papers_filter(old: Size, new: Size) -> None:
    """timm.layers.resample_patch_embed as its loader of Google's files calls it; bicubic, its default, differs."""
    kernel = random(5, 3, *old, dtype=torch.float32)
    resample = timm().layers.resample_patch_embed
    theirs = resample(kernel, list(new), interpolation="bilinear", antialias=False)
    ours = resample_patches(kernel, new)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * max(1.0, theirs.abs().max().item()))
    bicubic = resample(kernel, list(new), antialias=False)
    assert (bicubic - ours).abs().max() > 1e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_same_size_is_untouched(dtype: torch.dtype) -> None:
    """The very tensor; and any size keeps the type of its numbers."""
    kernel = random(5, 3, 8, 6).to(dtype)
    assert resample_patches(kernel, (8, 6)) is kernel
    assert resample_patches(kernel, (6, 8)).dtype == dtype


def test_there_and_back() -> None:
    """Enlarging and shrinking again along the same way returns the kernel: nothing of it was lost."""
    kernel = random(5, 3, 4, 6)
    new = resample_patches(kernel, (8, 12))
    basis = torch.eye(24, dtype=torch.float64).reshape(-1, 1, 4, 6)
    matrix = F.interpolate(basis, size=(8, 12), mode="bilinear", align_corners=False).flatten(1)  # B^T
    torch.testing.assert_close((new.flatten(2) @ matrix.T).reshape(5, 3, 4, 6), kernel, rtol=0, atol=1e-10)


# ---------------------------------------------------------------- whole models


def cut(model: ViT, size: Size) -> ViT:
    """The model that `with_patch` makes of this one's weights."""
    found = with_patch(Adapted(ModelCard(architecture=model.config), dict(model.state_dict())), size)
    made = found.card.architecture
    assert isinstance(made, ViTConfig)
    assert (made.patch_size, made.grid) == (size, model.config.grid)
    assert found.card.preprocess.image_size == made.image_size
    assert [(r.name, r.how) for r in found.resized] == [("patch_embed.proj.weight", "pseudo-inverse")]
    other = ViT(made)
    other.load_state_dict(found.tensors)
    return other.eval()


def enlarged(images: Tensor, patch: Size, size: Size) -> Tensor:
    """Every patch of the images enlarged on its own."""
    B, C, H, W = images.shape
    grid = (H // patch[0], W // patch[1])
    patches = images.reshape(B, C, grid[0], patch[0], grid[1], patch[1]).transpose(3, 4).flatten(0, 3)[:, None]
    grown = F.interpolate(patches, size=size, mode="bilinear", align_corners=False)
    grown = grown.reshape(B, C, *grid, *size).transpose(3, 4)
    return grown.reshape(B, C, grid[0] * size[0], grid[1] * size[1])


@torch.no_grad()
@pytest.mark.parametrize("name", ["plain", "rows and columns at every block", "semantic tokens", "no bias at all"])
@pytest.mark.parametrize("size", [(12, 12), (16, 9)], ids=str)
def test_a_model_with_larger_patches_answers_alike(name: str, size: Size) -> None:
    """On images whose patches were enlarged, logits are what they were; the grid and its positions are the same."""
    model = drawn(option(name, patch_size=(8, 8)))
    images = random_images()
    other = cut(model, size)
    torch.testing.assert_close(other(enlarged(images, (8, 8), size)), model(images), rtol=0, atol=1e-4)


@torch.no_grad()
def test_a_model_with_smaller_patches_sees_nearly_the_same() -> None:
    """On smooth images, that smaller patches can hold, the answer hardly moves."""
    model = drawn(option("plain"))
    coarse = random_images(6, 10)
    large, small = (F.interpolate(coarse, scale_factor=s, mode="bilinear", align_corners=False) for s in (4, 2))
    other = cut(model, (4, 4))
    moved = (other(small) - model(large)).std() / model(large).std()
    assert moved < 0.35


@pytest.mark.parametrize("name", ["hybrid", "hybrid of the other style"])
def test_hybrids_keep_their_patches(name: str) -> None:
    """Cells of a feature map are no pixels."""
    model = drawn(option(name))
    given_: Any = Adapted(ModelCard(architecture=model.config), dict(model.state_dict()))
    with pytest.raises(ConfigError, match="only a Vision Transformer that cuts the image itself"):
        with_patch(given_, (4, 4))


def test_the_same_patch_changes_nothing() -> None:
    """No tensor is copied, and nothing is said to be resized."""
    model = drawn(option("plain"))
    adapted = Adapted(ModelCard(architecture=model.config), dict(model.state_dict()))
    assert with_patch(adapted, (8, 8)) is adapted

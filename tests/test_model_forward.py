"""Images to logits: equal to an independent implementation, and clear about what cannot be run."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from numpy_vit import forward
from random_vit import BATCH, arrays, config, draw, random_images, random_vit, tensors

from vitreous.errors import ConfigError, UnknownNameError
from vitreous.model.create import create_model
from vitreous.model.vit import ViT

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "rectangular patches": {"patch_size": (8, 10)},
    "tanh gelu": {"gelu": "tanh"},
    "large eps": {"norm_eps": 0.1},
    "mean pooling": {"pool": "mean"},
    "mean pooling beside a class token": {"pool": "mean", "class_token": True},
    "hidden layer": {"representation_size": 19},
    "no head": {"num_classes": 0},
    "hidden layer without head": {"num_classes": 0, "representation_size": 19},
    "one channel": {"in_channels": 1},
}


def by_hand(model: ViT, images: torch.Tensor, **changes: Any) -> dict[str, np.ndarray]:
    """The NumPy forward pass with this model's numbers."""
    c = model.config
    settings = {
        "patch_size": c.patch_size,
        "num_heads": c.num_heads,
        "gelu": c.gelu,
        "norm_eps": c.norm_eps,
        "pool": c.pool,
        "table_grid": c.grid,
    }
    return forward(arrays(model), images.numpy(), **{**settings, **changes})


@torch.no_grad()
@pytest.mark.parametrize("form", ["fused", "matmul"])
@pytest.mark.parametrize("changes", CASES.values(), ids=CASES.keys())
def test_logits_equal_the_numpy_forward(changes: dict[str, Any], form: Any) -> None:
    """Within 1e-5 in float32 of float64 NumPy, in both forms of attention, for logits that vary."""
    model = random_vit(**changes)
    for block in model.blocks:
        block.attn.form = form
    images = random_images(channels=model.config.in_channels)
    expected = by_hand(model, images)["logits"]
    assert expected.std() > (0.3 if model.pre_logits is not None else 0.5)
    actual = model(images)
    assert expected.shape == tuple(actual.shape)
    np.testing.assert_allclose(actual.numpy(), expected, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("size", [(24, 40), (16, 48), (48, 24), (32, 80)])
def test_other_resolutions_interpolate_the_positions(size: tuple[int, int]) -> None:
    """Rectangles above and below the table's size, equal to scipy's zoom inside the NumPy forward."""
    model = random_vit()
    images = random_images(*size)
    np.testing.assert_allclose(model(images).numpy(), by_hand(model, images)["logits"], rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_two_gelus_are_told_apart() -> None:
    """The other GELU, or another eps, is much further away than the tolerance."""
    model = random_vit()
    images = random_images()
    actual = model(images).numpy()
    for change in ({"gelu": "tanh"}, {"norm_eps": 1e-2}):
        assert np.abs(actual - by_hand(model, images, **change)["logits"]).max() > 1e-4


@torch.no_grad()
def test_every_tensor_matters() -> None:
    """The comparison sees each parameter: a change to any one of them moves the logits far past the tolerance."""
    model = random_vit(representation_size=19)
    images = random_images()
    before = model(images)
    for name in tensors(model):
        changed = copy.deepcopy(model)
        value = tensors(changed)[name]
        value += 0.3 * torch.randn(value.shape, generator=torch.Generator().manual_seed(5))
        assert (changed(images) - before).abs().max() > 1e-3, name


@torch.no_grad()
def test_double_precision_is_double() -> None:
    """A float64 model loses nothing to float32 on the way."""
    model = random_vit().double()
    images = random_images()
    np.testing.assert_allclose(model(images.double()).numpy(), by_hand(model, images)["logits"], rtol=0, atol=1e-12)


@torch.no_grad()
def test_images_do_not_see_each_other() -> None:
    """Logits of an image do not depend on its neighbours in the batch."""
    model = random_vit()
    images = random_images(batch=5)
    together = model(images)
    for i in range(5):
        torch.testing.assert_close(model(images[i : i + 1])[0], together[i], rtol=0, atol=1e-5)


@torch.no_grad()
def test_patches_without_positions_are_a_set() -> None:
    """With equal positions, permuting the patches leaves the class token's logits alone; with positions it does not."""
    model = random_vit()
    images = random_images()
    swapped = images.clone()
    swapped[:, :, :8, :8], swapped[:, :, 16:, 32:] = images[:, :, 16:, 32:], images[:, :, :8, :8]
    assert (model(swapped) - model(images)).abs().max() > 1e-2
    model.pos_embed[:, 1:] = model.pos_embed[:, 1:2]
    torch.testing.assert_close(model(swapped), model(images), rtol=0, atol=1e-5)


@torch.no_grad()
def test_features_hold_the_tokens_after_the_final_norm() -> None:
    """Class token, patches in reading order and grid; the class token through the head is the logits."""
    model = random_vit(patch_size=(8, 10))
    images = random_images()
    features = model.features(images)
    tokens = by_hand(model, images)["norm"]
    assert features.cls is not None
    np.testing.assert_allclose(features.cls.numpy(), tokens[:, 0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(features.patches.numpy(), tokens[:, 1:], rtol=0, atol=1e-5)
    assert (
        features.grid,
        tuple(features.patches.shape),
        tuple(features.registers.shape),
    ) == ((3, 4), (BATCH, 12, 28), (BATCH, 0, 28))
    assert torch.equal(model.head(features.cls), model(images))
    assert features.taps == {}


@torch.no_grad()
def test_features_without_a_class_token() -> None:
    """Mean pooling reads the patches alone."""
    model = random_vit(pool="mean")
    features = model.features(random_images())
    assert features.cls is None
    assert tuple(features.patches.shape) == (BATCH, 15, 28)
    torch.testing.assert_close(model.head(features.patches.mean(dim=1)), model(random_images()), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((25, 40), r"image height 25 is not divisible by patch height 8(?s:.*)an image height of 24 or 32 pixels"),
        ((24, 41), r"image width 41 is not divisible by patch width 10(?s:.*)an image width of 40 or 50 pixels"),
        ((7, 40), r"image height 7 is not divisible by patch height 8(?s:.*)an image height of 8 pixels"),
    ],
)
def test_images_that_patches_do_not_tile(size: tuple[int, int], message: str) -> None:
    """The error names the axis and the nearest sizes."""
    model = random_vit(patch_size=(8, 10))
    for run in (model, model.features):
        with pytest.raises(ConfigError, match=message):
            run(random_images(*size))


def test_images_with_other_channels() -> None:
    """Grey images for a colour model are refused by name, not by a convolution."""
    with pytest.raises(ConfigError, match=r"takes images of 3 channels, got \(2, 1, 24, 40\)"):
        random_vit()(random_images(channels=1))


def test_a_new_model_takes_a_name_or_a_config() -> None:
    """The zoo name, and a config with every override."""
    assert create_model("ViT-Test").config == create_model("vit-test").config
    model = create_model(config(), num_classes=5, image_size=(16, 24), dropout=0.25, representation_size=9, seed=0)
    changed = {"num_classes": 5, "image_size": (16, 24), "dropout": 0.25, "representation_size": 9}
    assert dataclasses.replace(config(), **changed) == model.config
    assert tuple(model(random_images(16, 24)).shape) == (BATCH, 5)
    assert tuple(model.pos_embed.shape) == (1, 1 + 2 * 3, 28)
    assert create_model("vit-test", image_size=48).config.image_size == (48, 48)
    assert isinstance(create_model("vit-test", num_classes=0).head, torch.nn.Identity)


def test_a_new_model_with_an_unknown_name() -> None:
    """Did-you-mean comes through."""
    with pytest.raises(UnknownNameError, match="did you mean vit-b16"):
        create_model("vit-b166")


def test_the_tiny_model_runs_at_any_multiple_of_8() -> None:
    """vit-test at 32 px, at others, and at rectangles."""
    model = create_model("vit-test", seed=0).eval()
    for height, width in ((32, 32), (8, 8), (16, 40), (64, 24)):
        assert tuple(model(random_images(height, width, batch=1)).shape) == (1, 10)


def test_a_zero_head_answers_zero() -> None:
    """A fresh model has no opinion: every logit is exactly 0."""
    assert torch.equal(torch.zeros(BATCH, 10), create_model("vit-test", seed=3)(random_images(32, 32)))


def test_weights_of_another_width_do_not_load() -> None:
    """PyTorch's own strict loading works on our names."""
    model = ViT(config())
    with pytest.raises(RuntimeError, match=r"size mismatch for head\.weight"):
        model.load_state_dict(ViT(config(num_classes=12)).state_dict())
    other = draw(ViT(config()), seed=9)
    model.load_state_dict(other.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))

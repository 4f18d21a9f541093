"""Fresh weights are distributed as the authors' (vit_jax/models_vit.py), and a seed fixes them."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from vitreous.architecture import ViTConfig
from vitreous.model.create import create_model
from vitreous.model.init import init_head, init_weights
from vitreous.model.vit import ViT

CONFIG = ViTConfig(
    image_size=(48, 80), patch_size=(8, 10), embed_dim=96, depth=3, num_heads=4, mlp_dim=160, num_classes=7,
    representation_size=64,
)  # fmt: skip
DIM, HIDDEN = 96, 160


@pytest.fixture(scope="module")
def model() -> ViT:
    """One fresh model."""
    return create_model(CONFIG, seed=0)


def assert_drawn_from(values: Tensor, law: stats.rv_continuous) -> None:
    """Kolmogorov and Smirnov cannot tell the values from draws of `law`, nor are they any of its moments' copies."""
    flat = values.detach().double().flatten().numpy()
    assert stats.kstest(flat, law.cdf).pvalue > 1e-3
    assert law.std() == pytest.approx(flat.std(), rel=3 / math.sqrt(2 * len(flat)))


def xavier(fan_in: int, fan_out: int) -> stats.rv_continuous:
    """Uniform within sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    bound = math.sqrt(6 / (fan_in + fan_out))
    return stats.uniform(-bound, 2 * bound)


def lecun(fan_in: int) -> stats.rv_continuous:
    """Normal cut off at two of its standard deviations, variance 1 / fan_in after the cut (jax.nn.initializers)."""
    scale = math.sqrt(1 / fan_in) / stats.truncnorm(-2, 2).std()
    return stats.truncnorm(-2, 2, scale=scale)


def test_attention_is_xavier_for_each_of_its_matrices(model: ViT) -> None:
    """q, k and v each as D x D, not as one 3D x D matrix; so is the output; all biases are zero."""
    bound = math.sqrt(6 / (2 * DIM))
    for block in model.blocks:
        parts = [*block.attn.qkv.weight.split(DIM), block.attn.proj.weight]
        assert len(parts) == 4
        for part in parts:
            assert_drawn_from(part, xavier(DIM, DIM))
            assert 0.99 * bound < part.abs().max() <= bound
        assert not torch.equal(parts[0], parts[1])
        assert torch.equal(torch.zeros(3 * DIM), block.attn.qkv.bias)
        assert torch.equal(torch.zeros(DIM), block.attn.proj.bias)


def test_mlp_is_xavier_with_tiny_biases(model: ViT) -> None:
    """Matrices uniform, biases normal with standard deviation 1e-6."""
    for block in model.blocks:
        for layer in (block.mlp.fc1, block.mlp.fc2):
            assert_drawn_from(layer.weight, xavier(DIM, HIDDEN))
    biases = torch.cat([layer.bias for block in model.blocks for layer in (block.mlp.fc1, block.mlp.fc2)])
    assert_drawn_from(biases, stats.norm(scale=1e-6))


def test_patches_and_hidden_layer_are_lecun(model: ViT) -> None:
    """Fan-in of a patch is all its pixels; biases are zero."""
    assert model.pre_logits is not None
    for weight, bias, fan_in in (
        (model.patch_embed.proj.weight, model.patch_embed.proj.bias, 3 * 8 * 10),
        (model.pre_logits.fc.weight, model.pre_logits.fc.bias, DIM),
    ):
        assert_drawn_from(weight, lecun(fan_in))
        assert 1 / math.sqrt(fan_in) == pytest.approx(weight.std().item(), rel=0.03)
        assert torch.equal(torch.zeros_like(bias), bias)


def test_tokens_norms_and_head(model: ViT) -> None:
    """Positions normal 0.02; class token and head exactly zero; norms the identity."""
    assert_drawn_from(model.pos_embed, stats.norm(scale=0.02))
    assert model.cls_token is not None
    for value in (model.cls_token, model.head.weight, model.head.bias):
        assert torch.equal(torch.zeros_like(value), value)
    for norm in [model.norm, *(n for block in model.blocks for n in (block.norm1, block.norm2))]:
        assert torch.equal(torch.ones(DIM), norm.weight)
        assert torch.equal(torch.zeros(DIM), norm.bias)


def test_nothing_is_drawn_twice(model: ViT) -> None:
    """No two random tensors of one shape are equal."""
    drawn = [value for value in model.parameters() if value.std() > 1e-8]
    for i, one in enumerate(drawn):
        assert not any(one.shape == other.shape and torch.equal(one, other) for other in drawn[:i])


def test_a_seed_fixes_every_weight() -> None:
    """Equal seeds give equal bits, whatever the global generator did; other seeds differ in every drawn tensor."""
    first = create_model(CONFIG, seed=5)
    torch.manual_seed(99)
    again, other = create_model(CONFIG, seed=5), create_model(CONFIG, seed=6)
    for (name, a), b, c in zip(first.named_parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b), name
        assert torch.equal(a, c) == (a.std() == 0), name


def test_a_seed_leaves_the_persons_generator_alone() -> None:
    """Making a seeded model draws nothing from PyTorch's global generator."""
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    create_model("vit-test", seed=0)
    assert torch.equal(expected, torch.rand(4))


def test_without_a_seed_the_global_generator_decides() -> None:
    """torch.manual_seed makes runs repeatable for those who use it; two models in a row differ."""
    torch.manual_seed(11)
    first, second = create_model("vit-test"), create_model("vit-test")
    torch.manual_seed(11)
    assert torch.equal(first.pos_embed, create_model("vit-test").pos_embed)
    assert not torch.equal(first.pos_embed, second.pos_embed)


def test_a_constructor_and_create_model_give_the_same_law() -> None:
    """ViT(config) is initialised too: nothing is left as memory was found."""
    model = ViT(CONFIG)
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert_drawn_from(model.blocks[0].attn.proj.weight, xavier(DIM, DIM))
    before = model.pos_embed.detach().clone()
    init_weights(model, torch.Generator().manual_seed(0))
    assert not torch.equal(before, model.pos_embed)


def test_a_new_head_changes_only_the_head() -> None:
    """init_head draws the hidden layer and zeroes the classifier; the trunk keeps every bit."""
    model = create_model(CONFIG, seed=0)
    assert model.pre_logits is not None
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.nn.init.ones_(model.head.weight)
    init_head(model, torch.Generator().manual_seed(1))
    after = model.state_dict()
    assert {"pre_logits.fc.weight"} == {name for name in after if not torch.equal(before[name], after[name])}
    assert_drawn_from(model.pre_logits.fc.weight, lecun(DIM))

"""Named taps hand out every intermediate and change nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy_vit import forward
from random_vit import BATCH, arrays, random_images, random_vit

from vitreous.errors import UnknownNameError
from vitreous.model.vit import ViT

FORMS = pytest.mark.parametrize("form", ["fused", "matmul"])


def vit(form: str = "fused", **changes: Any) -> ViT:
    """A random model with one form of attention."""
    model = random_vit(**changes)
    for block in model.blocks:
        block.attn.form = form
    return model


@torch.no_grad()
@FORMS
@pytest.mark.parametrize(
    "changes",
    [{}, {"pool": "mean"}, {"representation_size": 19}, {"num_classes": 0}],
    ids=["cls", "mean", "tanh", "no head"],
)
def test_every_tap_is_the_papers_intermediate(changes: dict[str, Any], form: str) -> None:
    """All names are delivered, and each value is the NumPy forward's of that name."""
    model, images = vit(form, **changes), random_images()
    taps = model.features(images, taps=model.tap_names()).taps
    expected = forward(
        arrays(model), images.numpy(), patch_size=(8, 8), num_heads=4, pool=model.config.pool, norm_eps=1e-6
    )
    expected["pool"] = expected["norm"].mean(axis=1) if model.config.pool == "mean" else expected["norm"][:, 0]
    assert set(model.tap_names()) == set(taps) == set(expected)
    for name, value in taps.items():
        assert expected[name].shape == tuple(value.shape), name
        np.testing.assert_allclose(value.numpy(), expected[name], rtol=0, atol=1e-5, err_msg=name)


def test_names_and_shapes() -> None:
    """The names in the order of the forward pass; B=2, N=16, D=28, A=4, K=7, F=44, R=19, Y=11."""
    model = vit(representation_size=19)
    inside = {
        "attn.q": (2, 4, 16, 7),
        "attn.k": (2, 4, 16, 7),
        "attn.v": (2, 4, 16, 7),
        "attn.weights": (2, 4, 16, 16),
        "attn": (2, 16, 28),
        "mlp.hidden": (2, 16, 44),
        "mlp": (2, 16, 28),
    }
    expected: dict[str, tuple[int, ...]] = {"patch_embed": (2, 15, 28), "embed": (2, 16, 28)}
    for i in range(3):
        expected |= {f"blocks.{i}.{name}": shape for name, shape in inside.items()} | {f"blocks.{i}": (2, 16, 28)}
    expected |= {"norm": (2, 16, 28), "pool": (2, 28), "pre_logits": (2, 19), "logits": (2, 11)}
    assert tuple(expected) == model.tap_names()
    taps = model.features(random_images(), taps=model.tap_names()).taps
    assert expected == {name: tuple(taps[name].shape) for name in expected}


@torch.no_grad()
@FORMS
def test_listening_changes_no_bit(form: str) -> None:
    """Features and logits are bit-identical with all taps, one tap and none."""
    model, images = vit(form), random_images()
    silent, logits = model.features(images), model(images)
    for asked in (model.tap_names(), ("blocks.1.attn.weights",), ("logits",)):
        heard = model.features(images, taps=asked)
        assert set(asked) == set(heard.taps)
        assert silent.cls is not None
        assert heard.cls is not None
        assert torch.equal(silent.cls, heard.cls)
        assert torch.equal(silent.patches, heard.patches)
        if "logits" in asked:
            assert torch.equal(logits, heard.taps["logits"])
    assert torch.equal(logits, model(images))


@torch.no_grad()
@FORMS
def test_attention_weights_are_what_the_model_uses(form: str) -> None:
    """softmax(q k^T / sqrt(K)) recomputed in float64; rows sum to 1; times v and projected they are the tap "attn"."""
    model = vit(form)
    names = [f"blocks.1.attn.{part}" for part in ("q", "k", "v", "weights")]
    taps = model.features(random_images(), taps=[*names, "blocks.1.attn"]).taps
    q, k, v, weights = (taps[name].double() for name in names)
    scores = torch.einsum("bank,bamk->banm", q, k) / 7**0.5
    torch.testing.assert_close(scores.softmax(dim=-1), weights, rtol=0, atol=1e-6)
    torch.testing.assert_close(torch.ones(BATCH, 4, 16, dtype=torch.float64), weights.sum(dim=-1), rtol=0, atol=1e-6)
    assert weights.min() > 0
    assert weights.std() > 0.01
    mixed = torch.einsum("banm,bamk->bnak", weights, v).flatten(2)
    proj = model.blocks[1].attn.proj
    expected = mixed @ proj.weight.double().T + proj.bias.double()
    torch.testing.assert_close(expected, taps["blocks.1.attn"].double(), rtol=0, atol=1e-5)


@torch.no_grad()
@FORMS
def test_the_residual_stream_adds_up(form: str) -> None:
    """Every block's output is its input plus attention plus MLP; the final norm reads the last one."""
    model = vit(form)
    taps = model.features(random_images(), taps=model.tap_names()).taps
    stream = taps["embed"]
    for i in range(3):
        assert torch.equal(stream + taps[f"blocks.{i}.attn"] + taps[f"blocks.{i}.mlp"], taps[f"blocks.{i}"])
        stream = taps[f"blocks.{i}"]
    assert torch.equal(model.norm(stream), taps["norm"])


@torch.no_grad()
def test_fused_and_matmul_attention_agree() -> None:
    """The form is how, not what: within 1e-5 at every tap, and not the same code twice."""
    images = random_images()
    one, other = vit("fused"), vit("matmul")
    fused = one.features(images, taps=one.tap_names()).taps
    matmul = other.features(images, taps=other.tap_names()).taps
    for name in fused:
        torch.testing.assert_close(fused[name], matmul[name], rtol=0, atol=1e-5)
    assert not torch.equal(fused["logits"], matmul["logits"])


def test_the_forms_agree_in_gradients() -> None:
    """Gradients of every parameter, within 1e-4 of their largest."""
    gradients = []
    for form in ("fused", "matmul"):
        model = vit(form)
        model(random_images()).square().sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, fused in gradients[0].items():
        matmul = gradients[1][name]
        assert fused is not None
        assert matmul is not None
        torch.testing.assert_close(fused, matmul, rtol=0, atol=1e-4 * fused.abs().max().item())


def test_gradients_flow_through_taps() -> None:
    """A tap is part of the graph: a loss on an intermediate trains what lies before it."""
    model = vit()
    model.features(random_images(), taps=["blocks.1.attn.weights"]).taps[
        "blocks.1.attn.weights"
    ].square().sum().backward()
    assert model.patch_embed.proj.weight.grad is not None
    assert model.patch_embed.proj.weight.grad.abs().max() > 0
    assert model.blocks[2].mlp.fc1.weight.grad is None


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("blocks.3.attn", "blocks.2.attn"), ("block.0", "blocks.0"), ("blocks.0.attn.weight", "blocks.0.attn.weights")],
)
def test_unknown_taps(wrong: str, near: str) -> None:
    """A name that does not exist is answered with the nearest, never with an empty result."""
    with pytest.raises(UnknownNameError, match=f"there is no tap called '{wrong}'") as caught:
        vit().features(random_images(), taps=["norm", wrong])
    assert near in str(caught.value.why)
    assert "tap_names()" in str(caught.value.remedy)


@torch.no_grad()
def test_one_name_may_be_given_bare() -> None:
    """A string is one name, not an iterable of letters."""
    assert set(vit().features(random_images(), taps="norm").taps) == {"norm"}

"""Dropout sits where the paper puts it (appendix B.1): after positions and after every dense layer but qkv."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from numpy_vit import forward
from random_vit import arrays, config, draw, random_images
from torch import Tensor

from vitreous.model.vit import ViT

RATE = 0.25


def vit(form: str, rate: float = RATE, **changes: Any) -> ViT:
    """A random model in training mode."""
    model = draw(ViT(config(dropout=rate, **changes))).train()
    for block in model.blocks:
        block.attn.form = form
    return model


@pytest.mark.parametrize("form", ["fused", "matmul"])
@pytest.mark.parametrize("changes", [{}, {"pool": "mean"}, {"representation_size": 19}], ids=["cls", "mean", "tanh"])
def test_dropout_sits_where_the_paper_puts_it(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], form: str
) -> None:
    """What passes through dropout, in order: embeddings, then per block attention, MLP hidden, MLP. Nothing else.

    The values come from the NumPy forward; with dropout standing still the whole model equals itself in evaluation
    mode, so no other dropout (inside the attention kernel, say) is at work.
    """
    seen: list[tuple[Tensor, float, bool]] = []

    def standing_still(x: Tensor, p: float, training: bool, *_: bool) -> Tensor:
        seen.append((x.detach().clone(), p, training))
        return x

    monkeypatch.setattr(F, "dropout", standing_still)
    model, images = vit(form, **changes), random_images()
    training = model(images)
    expected = forward(arrays(model), images.numpy(), patch_size=(8, 8), num_heads=4, pool=model.config.pool)
    places = ["embed", *(f"blocks.{i}.{part}" for i in range(3) for part in ("attn", "mlp.hidden", "mlp"))]
    assert len(places) == len(seen)
    for place, (value, rate, active) in zip(places, seen, strict=True):
        assert (rate, active) == (RATE, True), place
        torch.testing.assert_close(torch.from_numpy(expected[place]).float(), value, rtol=0, atol=1e-5)
    assert torch.equal(training, model.eval()(images))


@torch.no_grad()
def test_dropout_zeroes_and_rescales() -> None:
    """About RATE of the embeddings are dropped in training, the others grow by 1 / (1 - RATE)."""
    model, images = vit("fused"), random_images(batch=16)
    torch.manual_seed(0)
    dropped = model.features(images, taps=["embed"]).taps["embed"]
    kept = model.eval().features(images, taps=["embed"]).taps["embed"]
    zero = dropped == 0
    assert pytest.approx(zero.float().mean().item(), abs=0.02) == RATE
    torch.testing.assert_close(dropped[~zero], kept[~zero] / (1 - RATE), rtol=0, atol=1e-5)


@torch.no_grad()
def test_no_dropout_in_evaluation_or_at_rate_zero() -> None:
    """Evaluation is deterministic; so is training without a rate; training with one is not."""
    images = random_images()
    model = vit("fused")
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))
    still = vit("fused", rate=0.0)
    assert torch.equal(still(images), model(images))


@torch.no_grad()
def test_a_seed_fixes_dropout() -> None:
    """PyTorch's generator is the only source of randomness."""
    model, images = vit("fused"), random_images()
    outputs = []
    for _ in range(2):
        torch.manual_seed(7)
        outputs.append(model(images))
    assert torch.equal(*outputs)

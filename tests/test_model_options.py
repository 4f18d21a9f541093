"""Every option of the papers equals a slow NumPy forward, and is as plain a PyTorch module as the plain model."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from random_vit import arrays, random_images, tensors
from slow_vit import forward
from torch import Tensor
from vit_options import FORMS, OPTIONS, drawn, in_form, names_in, option

from vitreous.architecture import architecture_from_json
from vitreous.model.create import build, create_model
from vitreous.model.vit import ViT
from vitreous.schema import to_json
from vitreous.training.learning.optim import parameter_groups

EVERY = pytest.mark.parametrize("name", OPTIONS)


def images_for(model: ViT, scale: tuple[int, int] = (1, 1), batch: int = 2) -> Tensor:
    """Noise at the model's own size, or at a multiple of it."""
    height, width = model.config.image_size
    return random_images(height * scale[0], width * scale[1], batch=batch, channels=model.config.in_channels)


def by_hand(model: ViT, images: Tensor) -> dict[str, np.ndarray]:
    """The slow forward pass with this model's numbers; feature maps come from its own stem, proven elsewhere."""
    stem = model.patch_embed.backbone
    return forward(arrays(model), model.config, (images if stem is None else stem(images)).numpy())


@torch.no_grad()
@EVERY
def test_it_equals_the_slow_forward(name: str) -> None:
    """Logits, tokens and attention weights, in both forms of attention, within 5e-5 of float64."""
    model = drawn(option(name))
    images = images_for(model)
    expected = by_hand(model, images)
    assert expected["logits"].std() > 0.2
    for form in FORMS:
        in_form(model, form)
        heard = model.features(images, taps=[tap for tap in model.tap_names() if tap in expected]).taps
        assert set(heard) == set(expected)
        for tap, value in heard.items():
            np.testing.assert_allclose(value.numpy(), expected[tap], rtol=0, atol=5e-5, err_msg=tap)
        np.testing.assert_allclose(model(images).numpy(), expected["logits"], rtol=0, atol=5e-5)


@torch.no_grad()
@pytest.mark.parametrize("scale", [(2, 1), (1, 3)], ids=str)
@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "plain"])
def test_it_equals_the_slow_forward_at_another_size(name: str, scale: tuple[int, int]) -> None:
    """Rectangles higher and wider than the model was made for."""
    model = drawn(option(name, depth=2))
    images = images_for(model, scale, batch=1)
    np.testing.assert_allclose(model(images).numpy(), by_hand(model, images)["logits"], rtol=0, atol=5e-5)


def idle(at: str, model: ViT) -> bool:
    """Whether a parameter adds the same to all logits of a query, which softmax drops: a bias of all keys, unturned."""
    return at.endswith("k_norm.bias") and model.config.rotary is None


@torch.no_grad()
@EVERY
def test_every_tensor_matters(name: str) -> None:
    """The comparison sees each parameter: another value of any one moves the logits."""
    model = drawn(option(name, depth=2))
    images = images_for(model)
    before = model(images)
    for at, value in tensors(model).items():
        kept = value.detach().clone()
        value += 0.3 * torch.randn(value.shape, generator=torch.Generator().manual_seed(5))
        moved = (model(images) - before).abs().max()
        value.copy_(kept)
        assert (moved > 1e-4) != idle(at, model), at


@torch.no_grad()
@EVERY
def test_every_tap_is_heard_once_and_changes_nothing(name: str) -> None:
    """All names of `tap_names()` are kept, without doubles, and the answer is the same to the last bit."""
    model = drawn(option(name))
    images = images_for(model)
    silent, logits = model.features(images), model(images)
    taps = model.tap_names()
    assert len(taps) == len(set(taps))
    heard = model.features(images, taps=taps)
    assert sorted(heard.taps) == sorted(taps)
    assert list(heard.taps)[-1] == "logits"
    assert torch.equal(silent.patches, heard.patches)
    assert torch.equal(logits, heard.taps["logits"])
    assert torch.equal(logits, model(images))


@EVERY
@pytest.mark.parametrize("form", FORMS)
def test_gradients_reach_every_parameter(name: str, form: str) -> None:
    """After one backward pass every parameter has a finite gradient that is not zero."""
    model = drawn(option(name, depth=2), form=form).train()
    model(images_for(model)).square().sum().backward()
    for at, parameter in model.named_parameters():
        assert parameter.grad is not None, at
        assert torch.isfinite(parameter.grad).all(), at
        assert parameter.grad.abs().max() > 0 or idle(at, model), at


@torch.no_grad()
@EVERY
@pytest.mark.parametrize("form", FORMS)
def test_it_runs_in_bfloat16(name: str, form: str) -> None:
    """Under autocast, and whole, answers stay close to those of float32."""
    model = drawn(option(name, depth=2), form=form)
    images = images_for(model)
    expected = model(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = model(images)
    whole = copy.deepcopy(model).bfloat16()(images.bfloat16())
    for actual in (cast, whole):
        assert expected.shape == actual.shape
        assert F.cosine_similarity(actual.float().flatten(), expected.flatten(), dim=0) > 0.99
    assert whole.dtype == torch.bfloat16


@torch.no_grad()
@EVERY
def test_double_precision_is_double(name: str) -> None:
    """A float64 model loses nothing to float32 on the way, tables of another size included.

    Fixed sines and angles are float32 numbers by definition, as they are in the families' own code.
    """
    model = drawn(option(name, depth=2)).double()
    fixed = model.config.rotary is not None or model.config.position in ("sincos", "sincos-mae")
    for scale in ((1, 1), (2, 1)):
        images = images_for(model, scale).double()
        np.testing.assert_allclose(
            model(images).numpy(), by_hand(model, images)["logits"], rtol=0, atol=1e-5 if fixed else 1e-10
        )


@EVERY
def test_it_is_planned_without_memory(name: str) -> None:
    """Under the meta device modules have shapes alone, and images go through: nothing is made on another device."""
    with torch.device("meta"):
        model = build(option(name))
    assert isinstance(model, ViT)
    assert all(parameter.is_meta for parameter in model.parameters())
    real = drawn(option(name))
    assert {k: v.shape for k, v in model.state_dict().items()} == {k: v.shape for k, v in real.state_dict().items()}
    for form in FORMS:
        images = images_for(real, (2, 1))
        heard = in_form(model, form).features(images.to("meta"), taps=model.tap_names())
        assert real(images).shape == heard.taps["logits"].shape
        assert all(value.is_meta for value in heard.taps.values())


@torch.no_grad()
@EVERY
def test_a_deep_copy_is_another_model(name: str) -> None:
    """Equal at first and independent afterwards."""
    model = drawn(option(name, depth=2))
    images = images_for(model)
    twin, before = copy.deepcopy(model), model(images)
    assert torch.equal(before, twin(images))
    for parameter in twin.parameters():
        parameter += 0.1
    assert torch.equal(before, model(images))


@EVERY
def test_json_round_trip(name: str) -> None:
    """Through a JSON text and back the config is equal to itself."""
    made = option(name)
    again = architecture_from_json(json.loads(json.dumps(to_json(made))))
    assert (again, repr(again)) == (made, repr(made))


@torch.no_grad()
@EVERY
def test_a_seed_fixes_every_weight(name: str) -> None:
    """Equal seeds give equal bits, others differ in every tensor that is drawn; first logits are exactly zero."""
    made = option(name, num_classes=11)
    first, again, other = (create_model(made, seed=seed) for seed in (5, 5, 6))
    for (at, a), b, c in zip(first.named_parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.isfinite(a).all(), at
        assert torch.equal(a, b), at
        assert torch.equal(a, c) == bool((a == a.flatten()[0]).all()), at
    assert isinstance(first, ViT)
    logits = first(images_for(first))
    assert torch.equal(torch.zeros_like(logits), logits)


SPARED = ("token", "pos_embed", "pos_embed_y", "pos_embed_x", "pos_embed_prefix", "rel_pos", "latent", "bias", "gamma")


@EVERY
def test_only_kernels_decay(name: str) -> None:
    """Each parameter is in one group: tokens, positions, probe, norms, scales and biases are not decayed."""
    model = drawn(option(name))
    names = {id(parameter): at for at, parameter in model.named_parameters()}
    decayed, kept = ([names[id(p)] for p in group["params"]] for group in parameter_groups(model, 0.3))
    assert sorted(decayed + kept) == sorted(names_in(model))
    expected = {at for at in names_in(model) if not at.endswith(SPARED) and "norm" not in at}
    assert expected == set(decayed)
    assert all(at.endswith("weight") for at in decayed)


def test_every_field_is_exercised() -> None:
    """No option of the architecture is missing from the list these tests go through."""
    varied: dict[str, set[Any]] = {}
    for name in OPTIONS:
        made = option(name)
        for field in type(made).__dataclass_fields__:
            varied.setdefault(field, set()).add(getattr(made, field))
    elsewhere = {"name", "depth", "num_heads", "mlp_dim"}  # plain numbers
    elsewhere |= {"resample", "rotary_dtype", "dropout", "drop_path", "drop_path_schedule"}  # tested on their own
    assert {field for field, values in varied.items() if len(values) == 1} == elsewhere

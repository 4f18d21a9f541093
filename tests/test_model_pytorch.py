"""A plain PyTorch citizen: it trains in anybody's loop, copies, exports and compiles.

Export and compile trace Python code, so they run in processes of their own, without the type checks of the test run.
"""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from random_vit import config, random_images, random_vit, tensors
from torch import Tensor

from vitreous.config import ModelCard
from vitreous.model.create import create_model
from vitreous.model.vit import ViT

ROOT = Path(__file__).parent.parent


def images_to_tell_apart(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noise with a bright stripe, horizontal or vertical, at a random place."""
    generator = torch.Generator().manual_seed(seed)
    images = 0.3 * torch.randn(count, 3, 32, 32, generator=generator)
    labels = torch.randint(0, 2, (count,), generator=generator)
    for i, place in enumerate(torch.randint(2, 30, (count,), generator=generator).tolist()):
        stripe = images[i, :, place : place + 2] if labels[i] else images[i, :, :, place : place + 2]
        stripe += 2.0
    return images, labels


def test_it_learns_in_a_plain_loop() -> None:
    """Twelve lines of PyTorch teach it stripes: the loss falls, and unseen images are told apart."""
    images, labels = images_to_tell_apart(256, seed=0)
    model = create_model("vit-test", num_classes=2, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for step in range(60):
        batch = torch.arange(step * 64, (step + 1) * 64) % 256
        loss = F.cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(0.6931, abs=1e-3)  # log 2: a zero head has no opinion
    assert losses[-1] < 0.1
    images, labels = images_to_tell_apart(200, seed=1)
    with torch.no_grad():
        assert (model.eval()(images).argmax(dim=1) == labels).float().mean() > 0.95


@pytest.mark.parametrize("pool", ["cls", "mean"])
@pytest.mark.parametrize("size", [(24, 40), (32, 48)], ids=["own size", "other size"])
def test_gradients_reach_every_parameter(pool: str, size: tuple[int, int]) -> None:
    """After one backward pass every parameter has a finite gradient that is not zero."""
    model = random_vit(pool=pool, representation_size=19, class_token=True).train()
    model(random_images(*size)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def test_gradients_are_those_of_finite_differences() -> None:
    """Backward agrees with (loss(w + e) - loss(w - e)) / 2e in float64 along a random direction of each parameter."""
    model = random_vit(representation_size=19).double()
    images = random_images().double()
    model(images).square().sum().backward()
    generator = torch.Generator().manual_seed(2)
    for name, parameter in model.named_parameters():
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        assert parameter.grad is not None
        expected = (parameter.grad * direction).sum().item()
        losses = []
        with torch.no_grad():
            for sign in (1, -2, 1):  # forward, back past the start, home again
                parameter += sign * 1e-6 * direction
                losses.append(model(images).square().sum().item())
        assert (losses[0] - losses[1]) / 2e-6 == pytest.approx(expected, rel=1e-4, abs=1e-4), name


@torch.no_grad()
def test_a_deep_copy_is_another_model() -> None:
    """Equal at first, config and card included, and independent afterwards."""
    model = random_vit(dropout=0.1)
    model.card = ModelCard(architecture=model.config, classes=("cat", "dog"))
    images = random_images()
    twin = copy.deepcopy(model)
    assert (twin.config, twin.card) == (model.config, model.card)
    before = model(images)
    assert torch.equal(before, twin(images))
    for parameter in twin.parameters():
        parameter += 0.1
    assert torch.equal(before, model(images))
    assert not torch.equal(before, twin(images))


def test_state_is_parameters_alone() -> None:
    """No hidden buffers: the state dict is the parameters, and it round-trips."""
    model = random_vit()
    assert list(model.state_dict()) == [name for name, _ in model.named_parameters()]
    assert dict(model.named_buffers()) == {}
    other = ViT(config())
    other.load_state_dict(model.state_dict())
    assert all(torch.equal(value, tensors(model)[name]) for name, value in tensors(other).items())


@torch.no_grad()
def test_it_runs_in_bfloat16() -> None:
    """Whole or under autocast, bfloat16 stays close to float32, in both forms of attention."""
    model, images = random_vit(), random_images()
    expected = model(images)
    for form in ("fused", "matmul"):
        for block in model.blocks:
            block.attn.form = form
        with torch.autocast("cpu", dtype=torch.bfloat16):
            cast = model(images)
        whole = copy.deepcopy(model).bfloat16()(images.bfloat16())
        for actual in (cast, whole):
            assert actual.dtype == torch.bfloat16
            assert F.cosine_similarity(actual.float().flatten(), expected.flatten(), dim=0) > 0.999


def run_plainly(code: str) -> None:
    """Run `code` in a fresh Python where nothing wraps the package's functions; fail with what it wrote."""
    start = """
        import torch
        from random_vit import random_images, random_vit
        torch.set_num_threads(1)
    """
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(start) + textwrap.dedent(code)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_export(tmp_path: Path) -> None:
    """torch.export with a fixed and with a free batch size gives the same logits, also after a trip through a file."""
    run_plainly(f"""
        model, images = random_vit(), random_images()
        expected, more = model(images), random_images(batch=5, seed=8)
        fixed = torch.export.export(model, (images,))
        torch.testing.assert_close(fixed.module()(images), expected, rtol=0, atol=1e-5)
        free = torch.export.export(model, (images,), dynamic_shapes=({{0: torch.export.Dim("batch")}},))
        torch.export.save(free, {str(tmp_path / "vit.pt2")!r})
        for exported in (free, torch.export.load({str(tmp_path / "vit.pt2")!r})):
            for batch in (images, more, more[:1]):
                torch.testing.assert_close(exported.module()(batch), model(batch), rtol=0, atol=1e-5)
        for block in model.blocks:
            block.attn.form = "matmul"
        other = torch.export.export(model, (images,), dynamic_shapes=({{0: torch.export.Dim("batch")}},))
        torch.testing.assert_close(other.module()(more), model(more), rtol=0, atol=1e-5)
        elsewhere = random_images(32, 48)
        resized = torch.export.export(model, (elsewhere,))
        torch.testing.assert_close(resized.module()(elsewhere), model(elsewhere), rtol=0, atol=1e-5)
    """)


COMPILED = """
    model, images = random_vit(), random_images()
    for block in model.blocks:
        block.attn.form = {form!r}
    compiled = torch.compile(model, backend={backend!r}, fullgraph=True)
    for batch in (images, random_images(batch=5, seed=8)):
        torch.testing.assert_close(compiled(batch), model(batch), rtol=0, atol=1e-5)
    gradients = []
    for run in (model, compiled):
        model.zero_grad()
        run(images).square().sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    for plain, fast in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, fast, rtol=1e-4, atol=1e-3)
    """


def test_compile_traces_whole() -> None:
    """One graph without breaks, at any batch size, forward and backward."""
    run_plainly(COMPILED.format(backend="aot_eager", form="fused"))


def test_compile_with_taps_and_other_resolutions() -> None:
    """Listening works under compile as well, and so does an image of another size."""
    run_plainly("""
        model = random_vit()
        for block in model.blocks:
            block.attn.form = "matmul"
        names = model.tap_names()
        listen = torch.compile(lambda x: model.features(x, taps=names).taps, backend="eager", fullgraph=True)
        for images in (random_images(), random_images(32, 48)):
            heard = listen(images)
            for name, value in model.features(images, taps=names).taps.items():
                torch.testing.assert_close(heard[name], value, rtol=0, atol=1e-5)
    """)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["fused", "matmul"])
def test_compile_with_inductor(form: str) -> None:
    """The default compiler generates code that agrees."""
    run_plainly(COMPILED.format(backend="inductor", form=form))

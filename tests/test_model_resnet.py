"""ResNets as PyTorch modules: their sizes, their paddings, what they hand out, and how they start."""

from __future__ import annotations

import copy
import math
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from random_resnet import config, random_resnet
from random_vit import random_images, tensors
from torch import nn

from vitreous.architecture import ResNetConfig
from vitreous.config import ModelCard
from vitreous.errors import ConfigError, UnknownNameError
from vitreous.model.convolution import StdConv2d, max_pool, same_padding, standardise
from vitreous.model.resnet import ResNet, Trunk, init_resnet, init_trunk

ROOT = Path(__file__).parent.parent

STYLES = pytest.mark.parametrize("style", ["v1", "v2"])
PADDINGS = pytest.mark.parametrize("padding", ["same", "symmetric"])

R50, R101, R152 = (3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3)

BIT_COUNTS = [  # big_transfer's files: the sums of their arrays, equal to timm's counts
    (R50, 1, 25_549_352, 68_256_659),
    (R50, 3, 217_319_080, 345_399_315),
    (R101, 1, 44_541_480, 87_248_787),
    (R101, 3, 387_934_888, 516_015_123),
    (R152, 2, 236_335_208, 321_728_979),
    (R152, 4, 936_533_224, 1_107_299_923),
]


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(("layers", "width", "imagenet", "imagenet21k"), BIT_COUNTS)
def test_bit_has_the_published_size(layers: tuple[int, ...], width: int, imagenet: int, imagenet21k: int) -> None:
    with torch.device("meta"):
        for classes, expected in ((1000, imagenet), (21_843, imagenet21k)):
            assert expected == count(ResNet(ResNetConfig(layers=layers, width_factor=width, num_classes=classes)))


HYBRID_COUNTS = [  # layers, hybrid, the same Transformer on bare patches, its patch size and width, patch of features
    ((3, 4, 9), 98_659_112, 86_567_656, 16, 768, 1),  # R50+ViT-B/16
    ((2, 2, 2, 2), 36_431_912, 22_878_952, 32, 384, 1),  # R26+ViT-S/32
    ((2, 2, 2, 2), 101_383_976, 88_224_232, 32, 768, 1),  # R26+ViT-B/32
    ((3, 4, 6, 3), 328_994_856, 306_535_400, 32, 1024, 1),  # R50+ViT-L/32
    ((), 6_337_704, 5_717_416 - (197 - 50) * 192 + 3 * (32**2 - 16**2) * 192, 32, 192, 8),  # R+ViT-Ti/16: Ti/16 at 32
]


@pytest.mark.parametrize(("layers", "hybrid", "plain", "patch", "dim", "on_features"), HYBRID_COUNTS)
def test_trunks_are_what_hybrids_have_more(
    layers: tuple[int, ...], hybrid: int, plain: int, patch: int, dim: int, on_features: int
) -> None:
    """vit_jax asserts the totals; without the Transformer and both patch projections the ResNet is left."""
    c = ResNetConfig(layers=layers, style="v1", num_classes=0)
    with torch.device("meta"):
        trunk = Trunk(c)
    assert hybrid - plain == count(trunk) + dim * (c.num_features * on_features**2 - 3 * patch**2)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "expected"),
    [
        (224, 7, 2, (2, 3)),
        (384, 7, 2, (2, 3)),
        (225, 7, 2, (3, 3)),
        (112, 3, 2, (0, 1)),
        (192, 3, 2, (0, 1)),
        (56, 3, 2, (0, 1)),
        (57, 3, 2, (1, 1)),
        (56, 3, 1, (1, 1)),
        (57, 3, 1, (1, 1)),
        (56, 1, 2, (0, 0)),
        (57, 1, 2, (0, 0)),
        (1, 7, 2, (3, 3)),
    ],
)
def test_same_amounts(size: int, kernel: int, stride: int, expected: tuple[int, int]) -> None:
    """TensorFlow's SAME, (before, after)."""
    assert expected == same_padding(size, kernel, stride)


@torch.no_grad()
@PADDINGS
@pytest.mark.parametrize("kernel", [1, 3, 7])
@pytest.mark.parametrize("stride", [1, 2])
def test_every_size_is_divided_and_rounded_up(padding: Literal["same", "symmetric"], kernel: int, stride: int) -> None:
    """ceil(size / stride) places from a convolution, ceil(size / 2) from the pool, for every size."""
    conv = StdConv2d(2, 4, kernel, stride, config(padding=padding))
    nn.init.normal_(conv.weight)
    for height, width in [(1, 2), (2, 1), (5, 8), (8, 9), (11, 4)]:
        x = torch.randn(3, 2, height, width)
        assert conv(x).shape == (3, 4, math.ceil(height / stride), math.ceil(width / stride))
        assert max_pool(x, padding).shape == (3, 2, math.ceil(height / 2), math.ceil(width / 2))


@torch.no_grad()
def test_the_odd_pixel_goes_behind() -> None:
    """A filter that only looks at its last corner sees the pixel past the edge: 0 with SAME, none with symmetric."""
    x = torch.arange(1.0, 17).reshape(1, 1, 4, 4)
    weight = torch.zeros(1, 1, 3, 3)
    weight[..., 2, 2] = 1
    for padding, expected in (("same", [[11.0, 0.0], [0.0, 0.0]]), ("symmetric", [[6.0, 8.0], [14.0, 16.0]])):
        conv = StdConv2d(1, 1, 3, 2, config(padding=padding, standardize="var", standardize_eps=1e-10))
        conv.weight.copy_(weight)
        ones = F.conv2d(
            F.pad(x, (0, 1, 0, 1) if padding == "same" else (1, 1, 1, 1)), torch.ones_like(weight), stride=2
        )
        spread = math.sqrt(1 / 9 - 1 / 81)
        torch.testing.assert_close(conv(x) * spread + ones / 9, torch.tensor([[expected]]), rtol=0, atol=1e-5)


@torch.no_grad()
def test_pools_differ_at_the_edge() -> None:
    """Of negative pixels alone, SAME finds the largest, and BiT's zeros win wherever they are in sight."""
    x = -torch.arange(1.0, 26).reshape(1, 1, 5, 5)
    same = torch.tensor([[[[-1.0, -2, -4], [-6, -7, -9], [-16, -17, -19]]]])
    assert torch.equal(same, max_pool(x, "same"))
    zeros = torch.tensor([[[[0.0, 0, 0], [0, -7, 0], [0, 0, 0]]]])
    assert torch.equal(zeros, max_pool(x, "symmetric"))


@pytest.mark.parametrize("scale", [0.1, 0.01, 0.001])
def test_both_formulas(scale: float) -> None:
    """Mean 0; variance 1 but for the epsilon, by (w - mean) / (std + e) and (w - mean) / sqrt(var + e) in float64."""
    weight = scale * (torch.randn(6, 5, 3, 3, generator=torch.Generator().manual_seed(0)) + 0.5)
    w = weight.double()
    std, mean = torch.std_mean(w, dim=(1, 2, 3), keepdim=True, correction=0)
    outside, inside = standardise(weight, "std", 1e-5), standardise(weight, "var", 1e-8)
    torch.testing.assert_close(outside.double(), (w - mean) / (std + 1e-5), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(inside.double(), (w - mean) / (std**2 + 1e-8).sqrt(), rtol=1e-5, atol=1e-6)
    apart = {0.1: 1e-5, 0.01: 1e-4, 0.001: 1e-3}[scale]
    assert (outside / inside - 1).abs().max() > apart


def test_published_scales() -> None:
    """What each formula leaves of filters of a given spread: vit_jax, BiT and timm in turn."""
    unit = torch.tensor([-1.0, 1.0]).repeat(8).reshape(1, 16, 1, 1)  # standard deviation 1 exactly
    for spread, expected in (
        (0.1, (0.99990, 1.0, 1.0)),
        (0.01, (0.9990, 1.0, 0.99995)),
        (0.001, (0.9901, 0.99995, 0.9950)),
    ):
        for (how, eps), scale in zip((("std", 1e-5), ("var", 1e-10), ("var", 1e-8)), expected, strict=True):
            assert standardise(spread * unit, how, eps).max().item() == pytest.approx(scale, abs=6e-5)


@pytest.mark.parametrize(("how", "eps"), [("std", 1e-5), ("var", 1e-10)])
def test_constant_filters_have_finite_gradients(how: Literal["std", "var"], eps: float) -> None:
    """A filter without variance becomes zero, and training goes on."""
    weight = torch.full((3, 4, 1, 1), 0.25, requires_grad=True)
    made = standardise(weight, how, eps)
    assert made.abs().max() == 0
    (made * torch.arange(4.0).view(1, 4, 1, 1)).sum().backward()
    assert weight.grad is not None
    assert torch.isfinite(weight.grad).all()


def test_half_precision_keeps_the_epsilon() -> None:
    """1e-10 is zero in float16; a constant filter must not become 0 / 0."""
    conv = StdConv2d(4, 3, 1, 1, config()).half()
    nn.init.constant_(conv.weight, 0.25)
    assert torch.isfinite(standardise(conv.weight, "var", 1e-10)).all()


@torch.no_grad()
@STYLES
@pytest.mark.parametrize("size", [(40, 56), (33, 47), (3, 1)], ids=str)
def test_features(style: str, size: tuple[int, int]) -> None:
    """Cells of the last feature map in reading order; their mean is what the head reads."""
    model = random_resnet(style=style)
    images = random_images(*size)
    found = model.features(images, taps=["stages.1", "logits", *(["norm"] if style == "v2" else [])])
    rows, columns = (math.ceil(math.ceil(math.ceil(pixels / 2) / 2) / 2) for pixels in size)
    assert (rows, columns) == found.grid
    assert (2, rows * columns, 512) == tuple(found.patches.shape)
    assert (2, 0, 512) == tuple(found.registers.shape)
    assert found.cls is None
    last = found.taps["norm" if style == "v2" else "stages.1"]
    assert torch.equal(last.flatten(2), found.patches.transpose(1, 2))
    assert found.patches.min() == 0
    fc = model.head.fc
    assert fc is not None
    logits = found.patches.mean(dim=1) @ fc.weight[:, :, 0, 0].T + fc.bias
    torch.testing.assert_close(logits, model(images), rtol=0, atol=1e-5)
    assert torch.equal(found.taps["logits"], model(images))


@torch.no_grad()
def test_features_without_a_head() -> None:
    """With no classes the model answers with the mean of its cells."""
    model = random_resnet(num_classes=0)
    images = random_images()
    torch.testing.assert_close(model(images), model.features(images).patches.mean(dim=1), rtol=0, atol=1e-6)
    assert not [name for name in model.state_dict() if name.startswith("head")]


@torch.no_grad()
@STYLES
def test_tap_names_and_shapes(style: str) -> None:
    """The names in the order of the forward pass; listening changes no bit."""
    model, images = random_resnet(style=style, layers=(2, 1)), random_images(40, 56)
    expected = {
        "stem": (2, 64, 10, 14),
        "stages.0.blocks.0": (2, 256, 10, 14),
        "stages.0.blocks.1": (2, 256, 10, 14),
        "stages.0": (2, 256, 10, 14),
        "stages.1.blocks.0": (2, 512, 5, 7),
        "stages.1": (2, 512, 5, 7),
        **({"norm": (2, 512, 5, 7)} if style == "v2" else {}),
        "logits": (2, 11),
    }
    assert tuple(expected) == model.tap_names()
    heard = model.features(images, taps=model.tap_names())
    assert expected == {name: tuple(value.shape) for name, value in heard.taps.items()}
    silent = model.features(images)
    assert torch.equal(silent.patches, heard.patches)
    assert silent.taps == {}
    for name in expected:  # nothing behind a tap writes into what was kept
        assert torch.equal(heard.taps[name], model.features(images, taps=name).taps[name])
    with pytest.raises(UnknownNameError, match=r"there is no tap called 'stages\.2'"):
        model.features(images, taps="stages.2")


@STYLES
def test_a_fresh_model_has_no_opinion(style: str) -> None:
    """Zero logits; norms of scale 1, in v1 zero at the end of each branch; filters of variance 1 / fan-in."""
    model = ResNet(config(style=style, layers=(1, 2)))
    init_resnet(model, torch.Generator().manual_seed(0))
    assert model(random_images()).abs().max() == 0
    for name, value in model.named_parameters():
        if name.startswith("head") or name.endswith("bias") or (style == "v1" and "norm3" in name):
            assert value.abs().max() == 0, name
        elif value.ndim == 1:
            assert (value == 1).all(), name
        else:
            fan_in = value[0].numel()
            assert value.std().item() == pytest.approx(fan_in**-0.5, rel=0.03), name
            assert value.abs().max() <= 2 * fan_in**-0.5 / 0.8796, name


@torch.no_grad()
def test_a_fresh_v1_unit_does_nothing() -> None:
    """Its residual branch ends in a zero, so that what comes in goes out."""
    model = ResNet(config(style="v1", layers=(3,)))
    taps = model.features(random_images(), taps=model.tap_names()).taps
    assert torch.equal(taps["stages.0.blocks.0"], taps["stages.0.blocks.2"])
    assert taps["stages.0.blocks.0"].std() > 0.1


@pytest.mark.parametrize("made", [ResNet, Trunk])
def test_a_seed_fixes_the_weights(made: type[ResNet] | type[Trunk]) -> None:
    """Built without memory, then given some, then drawn: the same numbers for a seed, others for another."""

    def drawn(seed: int) -> dict[str, torch.Tensor]:
        with torch.device("meta"):
            model = made(config())
        model = model.to_empty(device="cpu")
        generator = torch.Generator().manual_seed(seed)
        match model:
            case ResNet():
                init_resnet(model, generator)
            case Trunk():
                init_trunk(model, generator)
        return tensors(model)

    one, same, other = drawn(3), drawn(3), drawn(4)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["stem.conv.weight"], other["stem.conv.weight"])


@STYLES
def test_gradients_reach_every_parameter(style: str) -> None:
    """After one backward pass every parameter has a finite gradient that is not zero."""
    model = random_resnet(style=style, layers=(1, 2)).train()
    model(random_images(33, 47)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


@STYLES
def test_gradients_are_those_of_finite_differences(style: str) -> None:
    """Backward agrees with (loss(w + e) - loss(w - e)) / 2e in float64, through every standardisation."""
    model = random_resnet(style=style, layers=(1,)).double()
    images = random_images(17, 23).double()
    model(images).square().sum().backward()
    generator = torch.Generator().manual_seed(2)
    for name, parameter in model.named_parameters():
        direction = parameter.detach().abs().mean() * torch.randn(
            parameter.shape, generator=generator, dtype=torch.float64
        )
        assert parameter.grad is not None
        expected = (parameter.grad * direction).sum().item()
        losses = []
        with torch.no_grad():
            for sign in (1, -2, 1):  # forward, back past the start, home again
                parameter += sign * 1e-7 * direction
                losses.append(model(images).square().sum().item())
        assert (losses[0] - losses[1]) / 2e-7 == pytest.approx(expected, rel=1e-3, abs=1e-3), name


@torch.no_grad()
def test_a_deep_copy_is_another_model() -> None:
    """Equal at first, config and card included, and independent afterwards."""
    model, images = random_resnet(), random_images()
    model.card = ModelCard(architecture=model.config, classes=("cat", "dog"))
    twin = copy.deepcopy(model)
    assert (twin.config, twin.card) == (model.config, model.card)
    before = model(images)
    assert torch.equal(before, twin(images))
    for parameter in twin.parameters():
        parameter += torch.randn(parameter.shape)
    assert torch.equal(before, model(images))
    assert not torch.equal(before, twin(images))


@STYLES
def test_state_is_parameters_alone(style: str) -> None:
    """No hidden buffers: the state dict is the parameters, and it round-trips."""
    model = random_resnet(style=style)
    assert list(model.state_dict()) == [name for name, _ in model.named_parameters()]
    assert dict(model.named_buffers()) == {}
    other = ResNet(config(style=style))
    other.load_state_dict(model.state_dict(), strict=True)
    assert all(torch.equal(value, tensors(model)[name]) for name, value in tensors(other).items())


@torch.no_grad()
@STYLES
def test_layouts_and_precisions(style: str) -> None:
    """Channels last gives the same logits; bfloat16, whole or under autocast, stays close to them."""
    model, images = random_resnet(style=style), random_images(40, 56)
    expected = model(images)
    last = copy.deepcopy(model).to(memory_format=torch.channels_last)
    torch.testing.assert_close(last(images.contiguous(memory_format=torch.channels_last)), expected, rtol=0, atol=1e-4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = model(images)
    whole = copy.deepcopy(model).bfloat16()(images.bfloat16())
    for actual in (cast, whole):
        assert actual.dtype == torch.bfloat16
        assert F.cosine_similarity(actual.float().flatten(), expected.flatten(), dim=0) > 0.99


def test_the_wrong_number_of_channels() -> None:
    with pytest.raises(ConfigError, match="takes images of 3 channels"):
        random_resnet()(random_images(channels=4))


def test_export(tmp_path: Path) -> None:
    """torch.export with a free batch size gives the same logits, in both styles, also after a trip through a file.

    In a process of its own, for the type checks of the test run are no part of what is traced.
    """
    code = f"""
        import torch
        from random_resnet import random_resnet
        from random_vit import random_images
        torch.set_num_threads(1)
        for style in ("v1", "v2"):
            model, images = random_resnet(style=style), random_images(40, 57)
            free = torch.export.export(model, (images,), dynamic_shapes=({{0: torch.export.Dim("batch")}},))
            torch.export.save(free, {str(tmp_path / "resnet.pt2")!r})
            for exported in (free, torch.export.load({str(tmp_path / "resnet.pt2")!r})):
                for batch in (images, random_images(40, 57, batch=5, seed=8), images[:1]):
                    torch.testing.assert_close(exported.module()(batch), model(batch), rtol=0, atol=1e-5)
    """
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr

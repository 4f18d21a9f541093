"""Cost by arithmetic equals published counts, the modules themselves, and PyTorch's own operation counter."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from vitreous.architecture import Architecture, ResNetConfig, ViTConfig
from vitreous.cost import attention_pairs, flops, macs, parameters, parts, tokens, training_flops
from vitreous.errors import ConfigError
from vitreous.model.create import build
from vitreous.zoo import find_model, model_names

# 1e9 multiply-adds for one image at 224 and at 384 px, counted from the upstream definitions; torchvision prints
# 17.564 for B/16. Patches of 14 pixels do not tile 384, and cover 378 of it.
GMACS = {
    "vit-mu16": ("0.01", "0.04"),
    "vit-ti16": ("1.25", "4.68"),
    "vit-s32": ("1.14", "3.44"),
    "vit-s16": ("4.60", "15.49"),
    "vit-s14": ("6.12", "20.58"),
    "vit-m16": ("7.99", "26.10"),
    "vit-b32": ("4.41", "13.04"),
    "vit-b16": ("17.56", "55.48"),
    "vit-b14": ("23.16", "72.15"),
    "vit-b8": ("78.15", "294.04"),
    "vit-l32": ("15.38", "45.28"),
    "vit-l16": ("61.55", "191.07"),
    "vit-l14": ("81.01", "247.09"),
    "vit-so400m14": ("109.93", "333.73"),
    "vit-so400m16": ("83.57", "258.41"),
    "vit-h14": ("167.30", "503.48"),
    "vit-g14": ("267.03", "797.39"),
    "vit-g-opt16": ("228.10", "695.02"),
    "vit-G14": ("483.75", "1429.23"),
    "vit-G-opt16": ("333.16", "1008.14"),
    "vit-e14": ("990.68", "2883.28"),
    "r50+vit-b16": ("21.54", "67.16"),
    "r26+vit-s32": ("3.46", "10.26"),
    "r26+vit-b32": ("6.71", "19.81"),
    "r50+vit-l32": ("19.41", "57.14"),
    "r+vit-ti16": ("0.43", "1.33"),
}

# 1e6 parameters with a class token, as printed beside them
MILLIONS = {
    "vit-mu16": "0.077",
    "vit-m16": "38.838",
    "vit-s14": "22.005",
    "vit-b14": "86.475",
    "vit-l14": "304.204",
    "vit-so400m14": "413.598",
    "vit-so400m16": "413.736",
    "vit-h14": "632.046",
    "vit-g14": "1012.611",
    "vit-g-opt16": "1136.286",
    "vit-G14": "1844.441",
    "vit-G-opt16": "1665.027",
    "vit-e14": "3807.214",
}

# B = 1, H = 24, W = 40, P = 4 x 8, so 6 x 5 patches; D = 36, A = 3, K = 12, F = 52, L = 2, Y = 7
PLAIN = ViTConfig(image_size=(24, 40), patch_size=(4, 8), embed_dim=36, depth=2, num_heads=3, mlp_dim=52, num_classes=7)
STEM = {
    "none": ResNetConfig(style="v1", layers=(), num_classes=0),
    "v1": ResNetConfig(style="v1", layers=(2, 1), num_classes=0),
    "v2": ResNetConfig(style="v2", layers=(1, 2), num_classes=0),
}


@pytest.mark.parametrize(("name", "printed"), GMACS.items())
def test_operations_are_the_published_ones(name: str, printed: tuple[str, str]) -> None:
    """To the last digit printed, at both resolutions."""
    config = find_model(name)
    assert isinstance(config, ViTConfig)
    assert printed[0] == f"{macs(config) / 1e9:.2f}"
    assert printed[1] == f"{macs(replace(config, edge='crop'), 384) / 1e9:.2f}"


@pytest.mark.parametrize(("name", "printed"), MILLIONS.items())
def test_parameters_are_the_published_ones(name: str, printed: str) -> None:
    """To the last digit printed; exact counts are in test_zoo_counts.py."""
    assert printed == f"{parameters(find_model(name)) / 1e6:.3f}"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vit-b16-map", 92_884_224),
        ("vit-so400m14-map", 427_680_704),
        ("vit-so400m14-map-378", 428_225_600),
        ("vit-g-opt16-map-256", 1_163_168_256),
    ],
)
def test_attention_pooling_is_siglips(name: str, expected: int) -> None:
    """SigLIP's image towers, which have no head."""
    assert expected == parameters(replace(find_model(name), num_classes=0))


def test_a_21k_head_is_counted() -> None:
    """BiT-M's classes."""
    assert parameters(replace(find_model("bit-r50x1"), num_classes=21843)) == 68_256_659
    assert parameters(replace(find_model("bit-r152x4"), num_classes=21843)) == 1_107_299_923


@pytest.mark.parametrize("name", model_names())
def test_parts_sum_to_the_whole(name: str) -> None:
    """Every part has a name of its own, and costs something."""
    found = parts(find_model(name))
    assert len(found) == len({part.name for part in found})
    assert all(part.parameters > 0 or part.macs > 0 for part in found)
    assert sum(part.parameters for part in found) == parameters(find_model(name))
    assert sum(part.macs for part in found) == macs(find_model(name))


def test_parts_of_the_base_model() -> None:
    """ViT-B/16 on paper: 197 tokens of width 768, twelve blocks."""
    found = {part.name: (part.parameters, part.macs) for part in parts(find_model("vit-b16"))}
    D, F, M = 768, 3072, 197
    assert found == {
        "patches": (16 * 16 * 3 * D + D, 196 * 16 * 16 * 3 * D),
        "tokens in front": (D, 0),
        "positions": (M * D, 0),
        "queries, keys, values": (12 * (3 * D * D + 3 * D), 12 * M * 3 * D * D),
        "attention": (0, 12 * 2 * M * M * D),
        "attention output": (12 * (D * D + D), 12 * M * D * D),
        "MLP": (12 * (2 * D * F + F + D), 12 * M * 2 * D * F),
        "norms of the blocks": (12 * 4 * D, 0),
        "other norms": (2 * D, 0),
        "head": (1000 * D + 1000, 1000 * D),
    }


# ---------------------------------------------------------------- against the modules


def size(config: Architecture) -> int:
    """Parameters of the real module, built without memory."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build(config).parameters())


def arbitrary(seed: int) -> ViTConfig:
    """A config with every option drawn, the impossible ones drawn again."""
    rng = random.Random(seed)
    chance = rng.random
    while True:
        attention = rng.choice(["full", "full", "window", "axial"])
        num_tokens = rng.choice([None, None, 5])
        options: dict[str, Any] = {
            "stem": rng.choice([None, None, *STEM.values()]),
            "in_channels": 3,
            "patch_size": (2, 3),
            "image_size": (2 * 8 * rng.randint(1, 3), 3 * 8 * rng.randint(1, 3)),
            "embed_dim": 12 * rng.choice([2, 4]),
            "depth": rng.randint(1, 3),
            "num_heads": rng.choice([2, 3]),
            "mlp_dim": rng.choice([20, 34]),
            "num_classes": rng.choice([0, 7, 11]),
            "tokenizer": "patch" if num_tokens is None else "filter",
            "num_tokens": num_tokens,
            "patch_bias": chance() < 0.5,
            "class_token": rng.choice([None, True]),
            "distill_token": chance() < 0.3,
            "registers": rng.choice([0, 0, 3]),
            "position": rng.choice(["learned", "learned-2d", "relative", "sincos", "sincos-mae", "none"]),
            "position_at": rng.choice(["input", "every", "shared"]),
            "prefix_position": chance() < 0.7,
            "rotary": rng.choice([None, None, "eva", "dinov3"]),
            "attention": attention,
            "window": (1, 1) if attention == "window" else None,
            "qkv_bias": rng.choice(["all", "query-value", "none"]),
            "mlp": rng.choice(["gelu", "swiglu"]),
            "layer_scale": rng.choice([None, 1e-5]),
            "pool": rng.choice(["cls", "mean", "map", "cls+mean", "none"]),
            "pool_norm": rng.choice(["before", "after"]),
            "representation_size": rng.choice([None, None, 13]),
        }
        switches = ("qk_norm", "attn_norm", "proj_bias", "mlp_norm", "mlp_bias", "pre_norm", "head_bias")
        options |= {switch: chance() < 0.5 for switch in switches}
        try:
            return ViTConfig(**options)
        except ConfigError:
            continue


@pytest.mark.parametrize("seed", range(60))
def test_parameters_of_any_options(seed: int) -> None:
    """Every option together with others: as many as the module has."""
    config = arbitrary(seed)
    assert parameters(config) == size(config), config


@pytest.mark.parametrize("style", ["v1", "v2"])
@pytest.mark.parametrize("layers", [(), (1,), (2, 1), (1, 2, 3), (3, 1, 2, 1)])
@pytest.mark.parametrize("width_factor", [1, 2])
@pytest.mark.parametrize("in_channels", [3, 5])
def test_parameters_of_any_resnet(style: Any, layers: tuple[int, ...], width_factor: int, in_channels: int) -> None:
    """Both styles, any number of stages, widths and channels."""
    config = ResNetConfig(
        style=style, layers=layers, width_factor=width_factor, in_channels=in_channels, num_classes=11 if layers else 0
    )
    assert parameters(config) == size(config)


# ---------------------------------------------------------------- against PyTorch's operation counter


def counted(config: Architecture, image_size: tuple[int, int]) -> int:
    """Multiply-adds of a real pass of one image, as PyTorch counts them."""
    model = build(config).eval()
    images = torch.randn(1, config.in_channels, *image_size)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(images)
    total = counter.get_total_flops()
    assert total % 2 == 0
    return int(total // 2)


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no head": {"num_classes": 0},
    "registers and distillation": {"registers": 4, "distill_token": True, "prefix_position": False},
    "gated": {"mlp": "swiglu", "mlp_norm": True, "mlp_bias": False, "qkv_bias": "none"},
    "norms": {"qk_norm": True, "attn_norm": True, "pre_norm": True, "layer_scale": 0.1, "qkv_bias": "query-value"},
    "attention pooling": {"pool": "map", "registers": 2},
    "gated attention pooling": {"pool": "map", "mlp": "swiglu", "representation_size": 11},
    "every token answered": {"pool": "none", "class_token": True, "representation_size": 11},
    "both pooled": {"pool": "cls+mean", "pool_norm": "after", "representation_size": 11},
    "windows": {"attention": "window", "window": (3, 1), "pool": "mean"},
    "windows and tokens in front": {"attention": "window", "window": (2, 5), "registers": 3},
    "axial": {"attention": "axial", "pool": "mean"},
    "axial with tokens in front": {"attention": "axial", "registers": 3},
    "relative": {"position": "relative"},
    "relative, shared": {"position": "relative", "position_at": "shared", "registers": 1},
    "rows and columns": {"position": "learned-2d", "position_at": "every"},
    "rotary": {"position": "none", "rotary": "dinov3"},
    "rotary of EVA": {"rotary": "eva"},
    "sines": {"position": "sincos", "position_at": "shared"},
    "semantic tokens": {"tokenizer": "filter", "num_tokens": 4},
    "hybrid": {"stem": STEM["v1"], "image_size": (48, 80), "patch_size": (2, 1)},
    "hybrid of the other style": {"stem": STEM["v2"], "image_size": (48, 80), "patch_size": (2, 1)},
    "hybrid with a root alone": {"stem": STEM["none"], "image_size": (24, 40), "patch_size": (3, 2)},
    "semantic tokens of a hybrid": {"stem": STEM["v1"], "tokenizer": "filter", "num_tokens": 4, "image_size": (32, 64)},
}


@pytest.mark.parametrize("changes", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("scale", [1, 2])
def test_operations_are_what_pytorch_counts(changes: dict[str, Any], scale: int) -> None:
    """To the last multiply-add, at the config's own size and at another."""
    config = replace(PLAIN, class_token=None, **changes) if "class_token" not in changes else replace(PLAIN, **changes)
    high, wide = config.image_size
    asked = (high * scale, wide * (2 * scale - 1))
    assert macs(config, asked) == counted(config, asked)


@pytest.mark.parametrize("style", ["v1", "v2"])
@pytest.mark.parametrize("image_size", [(32, 64), (33, 47), (7, 90)])
@pytest.mark.parametrize("layers", [(1,), (1, 2, 1), (2, 1, 1, 2)])
def test_operations_of_resnets(style: Any, image_size: tuple[int, int], layers: tuple[int, ...]) -> None:
    """Both styles, at sizes that no stride divides too."""
    config = ResNetConfig(style=style, layers=layers, num_classes=7)
    assert macs(config, image_size) == counted(config, image_size)


# ---------------------------------------------------------------- the way back


def counted_both_ways(config: Architecture) -> tuple[int, int]:
    """Operations of one image, forward and then in all, as PyTorch counts them; images without numbers go through."""
    with torch.device("meta"):
        model = build(config).train()
    for part in model.modules():
        if hasattr(part, "form"):
            part.form = "matmul"
    images = torch.empty(1, config.in_channels, *config.image_size, device="meta")
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        answer = model(images)
        forward = counter.get_total_flops()
        answer.sum().backward()
    return forward, counter.get_total_flops()


@pytest.mark.parametrize("changes", OPTIONS.values(), ids=OPTIONS.keys())
def test_the_way_back_is_what_pytorch_counts(changes: dict[str, Any]) -> None:
    """To the last operation: two for one, but one where the image is read."""
    config = replace(PLAIN, class_token=None, **changes) if "class_token" not in changes else replace(PLAIN, **changes)
    assert (flops(config), training_flops(config)) == counted_both_ways(config)


@pytest.mark.parametrize("style", ["v1", "v2"])
@pytest.mark.parametrize("layers", [(1,), (2, 1, 1, 2)])
def test_the_way_back_through_resnets(style: Any, layers: tuple[int, ...]) -> None:
    config = ResNetConfig(style=style, layers=layers, num_classes=7, image_size=(33, 47))
    assert (flops(config), training_flops(config)) == counted_both_ways(config)


QUICK = ("vit-test", "vit-ti16", "r+vit-ti16", "r26+vit-s32", "bit-r50x1")  # a family each; the others take a minute


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in model_names()]
)
def test_training_in_the_zoo_is_what_pytorch_counts(name: str) -> None:
    """Every family at its full size."""
    config = find_model(name)
    assert (flops(config), training_flops(config)) == counted_both_ways(config)


# ---------------------------------------------------------------- tokens and pairs


@pytest.mark.parametrize(
    ("name", "image_size", "expected"),
    [
        ("vit-b16", None, 197),
        ("vit-b16", 384, 577),
        ("vit-b16-gap", None, 196),
        ("vit-b8", (32, 64), 33),
        ("r+vit-ti16", None, 50),
        ("r+vit-ti16", 384, 145),
        ("r50+vit-b16", None, 197),
        ("r26+vit-s32", 384, 145),
        ("bit-r50x1", None, 49),
        ("bit-r50x1", (225, 31), 8),
    ],
)
def test_tokens(name: str, image_size: Any, expected: int) -> None:
    """Tokens in front and patches; in a ResNet the cells of its last map."""
    assert expected == tokens(find_model(name), image_size)


def test_semantic_tokens_are_as_many_at_every_size() -> None:
    """Four, and the class token."""
    config = replace(PLAIN, tokenizer="filter", num_tokens=4)
    assert (tokens(config), tokens(config, (48, 80))) == (5, 5)


def test_attention_between_pixels_is_hopeless() -> None:
    """255 x 255 pixels: each of 65,025 would look at each; patches leave a number one can afford."""
    assert attention_pairs(255, 1) == 255**4 == 4_228_250_625
    assert attention_pairs(224, 16) == 196**2
    assert attention_pairs((24, 40), (4, 8)) == 30**2
    with pytest.raises(ConfigError, match="255 is not divisible"):
        attention_pairs(255, 16)


def test_near_attention_grows_with_the_number_of_patches() -> None:
    """Four times the patches: windows cost four times, axes eight, full attention sixteen."""

    def attention(config: ViTConfig, side: int) -> int:
        return next(part.macs for part in parts(config, side) if part.name == "attention")

    base = replace(PLAIN, image_size=(64, 64), patch_size=(1, 1), pool="mean", class_token=False)
    near = {
        4: replace(base, attention="window", window=(4, 4)),
        8: replace(base, attention="axial"),
        16: base,
    }
    assert {times: attention(config, 128) // attention(config, 64) for times, config in near.items()} == {
        4: 4,
        8: 8,
        16: 16,
    }


def test_a_size_that_does_not_fit_is_refused() -> None:
    """As the model itself would: patches, then windows."""
    with pytest.raises(ConfigError, match="225 is not divisible by patch"):
        macs(find_model("vit-b16"), 225)
    windowed = replace(PLAIN, attention="window", window=(3, 5))
    with pytest.raises(ConfigError, match=r"grid height 7 is not divisible by window height 3"):
        macs(windowed, (28, 40))

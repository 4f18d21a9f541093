"""Every name of the zoo has exactly as many parameters as its source says, or as adding up on paper gives."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from oracles import timm

from vitreous.architecture import ResNetConfig
from vitreous.cost import parameters
from vitreous.model.create import build
from vitreous.zoo import find_model, model_names

# google-research/vision_transformer asserts these in vit_jax/models_test.py (1000 classes, 224 px).
VIT_JAX = {
    "vit-ti16": 5_717_416,
    "vit-s16": 22_050_664,
    "vit-s16-gap": 22_049_896,
    "vit-s32": 22_878_952,
    "vit-b8": 86_576_872,
    "vit-b16": 86_567_656,
    "vit-b16-gap": 86_566_120,
    "vit-b32": 88_224_232,
    "vit-l16": 304_326_632,
    "vit-l32": 306_535_400,
    "vit-h14": 632_045_800,
    "r+vit-ti16": 6_337_704,
    "r26+vit-s32": 36_431_912,
    "r26+vit-b32": 101_383_976,
    "r50+vit-b16": 98_659_112,
    "r50+vit-l32": 328_994_856,
}

# google-research/big_transfer: the arrays of its files, summed; timm has the same.
BIT = {
    "bit-r50x1": 25_549_352,
    "bit-r50x3": 217_319_080,
    "bit-r101x1": 44_541_480,
    "bit-r101x3": 387_934_888,
    "bit-r152x2": 236_335_208,
    "bit-r152x4": 936_533_224,
}

# Nobody prints these to the last parameter: `vit` and `resnet` below derive each of them, and every published one.
DERIVED = {
    "vit-test": 51_738,
    "vit-28": 140_938,
    "vit-mu16": 76_712,
    "vit-s14": 22_004_584,
    "vit-s8": 22_055_272,
    "vit-m16": 38_837_736,
    "vit-b14": 86_475_496,
    "vit-l14": 304_203_752,
    "vit-so400m16": 413_735_896,
    "vit-so400m14": 413_597_656,
    "vit-g14": 1_012_611_432,
    "vit-g-opt16": 1_136_286_184,
    "vit-G-opt16": 1_665_026_536,
    "vit-G14": 1_844_440_680,
    "vit-e14": 3_807_214_312,
    "axial-vit-b32": 173_277_160,
    "axial-vit-b16": 171_620_584,
    "r50+vit-b32": 110_945_832,
    "r50+vit-l16": 316_483_624,
    "resnet-r50x1": 25_557_032,
    "resnet-r50x2": 98_004_072,
    "resnet-r101x1": 44_549_160,
    "resnet-r152x1": 60_192_808,
    "resnet-r152x2": 236_350_568,
    "resnet-r200x3": 568_656_040,
}
COUNTS = VIT_JAX | BIT | DERIVED

# (D, L, F, heads, P) of big_vision's decode_variant; the last number is in cells of the feature map for hybrids.
VARIANTS = {
    "vit-test": (48, 2, 112, 3, 8),
    "vit-28": (64, 4, 128, 2, 4),
    "vit-mu16": (32, 1, 128, 2, 16),
    "vit-ti16": (192, 12, 768, 3, 16),
    "vit-s32": (384, 12, 1536, 6, 32),
    "vit-s16": (384, 12, 1536, 6, 16),
    "vit-s14": (384, 12, 1536, 6, 14),
    "vit-s8": (384, 12, 1536, 6, 8),
    "vit-m16": (512, 12, 2048, 8, 16),
    "vit-b32": (768, 12, 3072, 12, 32),
    "vit-b16": (768, 12, 3072, 12, 16),
    "vit-b14": (768, 12, 3072, 12, 14),
    "vit-b8": (768, 12, 3072, 12, 8),
    "vit-l32": (1024, 24, 4096, 16, 32),
    "vit-l16": (1024, 24, 4096, 16, 16),
    "vit-l14": (1024, 24, 4096, 16, 14),
    "vit-so400m16": (1152, 27, 4304, 16, 16),
    "vit-so400m14": (1152, 27, 4304, 16, 14),
    "vit-h14": (1280, 32, 5120, 16, 14),
    "vit-g14": (1408, 40, 6144, 16, 14),
    "vit-g-opt16": (1536, 40, 6144, 16, 16),
    "vit-G-opt16": (1536, 48, 8192, 16, 16),
    "vit-G14": (1664, 48, 8192, 16, 14),
    "vit-e14": (1792, 56, 15360, 16, 14),
}
OWN = {"vit-test": (32, 10), "vit-28": (28, 10)}  # pixels and classes of the project's own
HYBRIDS = {  # units per stage, then the ViT and its patch on the map
    "r+vit-ti16": ((), "vit-ti16", 8),
    "r26+vit-s32": ((2, 2, 2, 2), "vit-s32", 1),
    "r26+vit-b32": ((2, 2, 2, 2), "vit-b32", 1),
    "r50+vit-b32": ((3, 4, 6, 3), "vit-b32", 1),
    "r50+vit-b16": ((3, 4, 9), "vit-b16", 1),
    "r50+vit-l32": ((3, 4, 6, 3), "vit-l32", 1),
    "r50+vit-l16": ((3, 4, 9), "vit-l16", 1),
}
UNITS = {"r50": (3, 4, 6, 3), "r101": (3, 4, 23, 3), "r152": (3, 8, 36, 3), "r200": (3, 24, 36, 3)}


def vit(D: int, L: int, F: int, channels: int, patch: int, patches: int, classes: int) -> int:
    """Parameters of a ViT with a class token, added up on paper."""
    embedding = channels * patch * patch * D + D
    tokens = D + (patches + 1) * D
    attention = 4 * (D * D + D)  # q, k, v, output
    mlp = D * F + F + F * D + D
    norms = 2 * 2 * D
    head = D * classes + classes
    return embedding + tokens + L * (attention + mlp + norms) + 2 * D + head


def resnet(units: tuple[int, ...], width: int, version: int, classes: int) -> int:
    """Parameters of a ResNet, array by array as its files name them."""
    shapes: list[tuple[int, ...]] = [(7, 7, 3, 64 * width)]
    shapes += [(64 * width,)] * 2 if version == 1 else []  # gn_root
    channels = 64 * width
    for stage, count in enumerate(units):
        M = 64 * width * 2**stage
        for unit in range(count):
            shapes += [(1, 1, channels, M), (3, 3, M, M), (1, 1, M, 4 * M)]
            normed = (M, M, 4 * M) if version == 1 else (channels, M, M)
            shapes += [(C,) for C in normed for _ in ("scale", "bias")]
            if unit == 0:
                shapes += [(1, 1, channels, 4 * M)]
                shapes += [(4 * M,)] * 2 if version == 1 else []  # gn_proj
            channels = 4 * M
    shapes += [(channels,)] * 2 if version == 2 else []  # the norm before the head
    shapes += [(1, 1, channels, classes), (classes,)] if classes else []
    return sum(map(math.prod, shapes))


def derived(name: str) -> int:
    """The count of a name from the tables above alone."""
    if name in VARIANTS:
        D, L, F, _, P = VARIANTS[name]
        side, classes = OWN.get(name, (224, 1000))
        return vit(D, L, F, 3, P, (side // P) ** 2, classes) - (2 * D if name == "vit-28" else 0)  # no class token
    if name in HYBRIDS:
        units, other, P = HYBRIDS[name]
        D, L, F, _, _ = VARIANTS[other]
        channels, stride = (256 * 2 ** (len(units) - 1), 4 * 2 ** (len(units) - 1)) if units else (64, 4)
        return resnet(units, 1, 1, 0) + vit(D, L, F, channels, P, (224 // (stride * P)) ** 2, 1000)
    family, _, size = name.partition("-")
    if family == "axial":  # twice the blocks; neither class token nor its position
        D, L, F, _, P = VARIANTS[size]
        return vit(D, 2 * L, F, 3, P, (224 // P) ** 2, 1000) - 2 * D
    depth, _, width = size.partition("x")
    return resnet(UNITS[depth], int(width), 2 if family == "bit" else 1, 1000)


@pytest.mark.parametrize("name", [name for name in COUNTS if "gap" not in name])
def test_the_counts_add_up_on_paper(name: str) -> None:
    """What derives the unpublished counts also gives every published one."""
    assert COUNTS[name] == derived(name)


def test_every_listed_name_has_a_count() -> None:
    """A name cannot enter the zoo without an exact count."""
    assert set() == set(model_names()) - set(COUNTS)


@pytest.mark.parametrize("name", sorted({*model_names(), *COUNTS}))
def test_parameter_counts_are_exact(name: str) -> None:
    """Arithmetic and the model itself both have exactly the parameters of the table."""
    config = find_model(name)
    with torch.device("meta"):
        built = build(config)
    assert COUNTS[name] == sum(parameter.numel() for parameter in built.parameters())
    assert COUNTS[name] == parameters(config)


@pytest.mark.parametrize(
    ("ours", "theirs", "classes"),
    [
        ("vit-ti16", "vit_tiny_patch16_224", 1000),
        ("vit-s8", "vit_small_patch8_224", 1000),
        ("vit-l14", "vit_large_patch14_224", 1000),
        ("vit-h14", "vit_huge_patch14_224", 1000),
        ("vit-g14", "vit_giant_patch14_224", 1000),
        ("vit-G14", "vit_gigantic_patch14_224", 1000),
        ("r+vit-ti16", "vit_tiny_r_s16_p8_224", 1000),
        ("r26+vit-s32", "vit_small_r26_s32_224", 1000),
        ("r26+vit-b32", "vit_base_r26_s32_224", 1000),
        ("r50+vit-b16", "vit_base_r50_s16_224", 1000),
        ("r50+vit-l32", "vit_large_r50_s32_224", 1000),
        ("bit-r50x1", "resnetv2_50x1_bit", 1000),
        ("bit-r50x1", "resnetv2_50x1_bit", 21843),
        ("bit-r50x3", "resnetv2_50x3_bit", 1000),
        ("bit-r101x1", "resnetv2_101x1_bit", 21843),
        ("bit-r101x3", "resnetv2_101x3_bit", 1000),
        ("bit-r152x2", "resnetv2_152x2_bit", 1000),
        ("bit-r152x4", "resnetv2_152x4_bit", 21843),
        ("vit-b16-map", "vit_base_patch16_siglip_224", 0),
        ("vit-so400m14-map", "vit_so400m_patch14_siglip_224", 0),
        ("vit-so400m14-map-378", "vit_so400m_patch14_siglip_378", 0),
        ("vit-so400m16-map-256", "vit_so400m_patch16_siglip_256", 0),
        ("vit-g-opt16-map-256", "vit_giantopt_patch16_siglip_256", 0),
    ],
)
def test_counts_are_timms(ours: str, theirs: str, classes: int) -> None:
    """timm's models of these names are as large."""
    with torch.device("meta"):
        other = timm().create_model(theirs, num_classes=classes)
    assert parameters(replace(find_model(ours), num_classes=classes)) == sum(p.numel() for p in other.parameters())


@pytest.mark.parametrize(("name", "sizes"), VARIANTS.items())
def test_widths_are_those_of_the_papers(name: str, sizes: tuple[int, int, int, int, int]) -> None:
    """Width, depth, MLP width, heads and patch of each variant; the numerics of a new model."""
    config = find_model(name)
    assert not isinstance(config, ResNetConfig)
    assert sizes == (config.embed_dim, config.depth, config.mlp_dim, config.num_heads, config.patch_size[0])
    assert (config.gelu, config.norm_eps, config.dropout) == ("erf", 1e-6, 0.0)
    assert config.num_classes == (10 if name in OWN else 1000)


@pytest.mark.parametrize(("name", "expected"), HYBRIDS.items())
def test_hybrids_are_those_of_the_papers(name: str, expected: tuple[tuple[int, ...], str, int]) -> None:
    """Stages, ViT, patch, stride: R+Ti/16 has a true stride of 32 in spite of its name."""
    config = find_model(name)
    assert not isinstance(config, ResNetConfig)
    assert config.stem is not None
    assert config.stem.style == "v1"
    D, L, F, heads, _ = VARIANTS[expected[1]]
    assert (D, L, F, heads) == (config.embed_dim, config.depth, config.mlp_dim, config.num_heads)
    assert (config.stem.layers, config.patch_size[0]) == (expected[0], expected[2])
    assert config.stride == ((32, 32) if name == "r+vit-ti16" else (int(name[-2:]), int(name[-2:])))

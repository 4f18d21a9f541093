"""Names become architectures of exactly the published size."""

from __future__ import annotations

import pytest
import torch
from oracles import timm

from vitreous.architecture import ViTConfig
from vitreous.errors import ConfigError, UnknownNameError
from vitreous.model.vit import ViT
from vitreous.zoo import find_model, is_model_name, model_names

# The counts that google-research/vision_transformer asserts in vit_jax/models_test.py (1000 classes, 224 px).
OFFICIAL = {
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
}

# Rows that upstream does not assert: (D, L, F, P) of big_vision's decode_variant, counted by `count` below.
DERIVED = {
    "vit-s14": (384, 12, 1536, 14),
    "vit-s8": (384, 12, 1536, 8),
    "vit-m16": (512, 12, 2048, 16),
    "vit-b14": (768, 12, 3072, 14),
    "vit-l14": (1024, 24, 4096, 14),
}
VARIANTS = DERIVED | {
    "vit-ti16": (192, 12, 768, 16),
    "vit-s16": (384, 12, 1536, 16),
    "vit-s32": (384, 12, 1536, 32),
    "vit-b8": (768, 12, 3072, 8),
    "vit-b16": (768, 12, 3072, 16),
    "vit-b32": (768, 12, 3072, 32),
    "vit-l16": (1024, 24, 4096, 16),
    "vit-l32": (1024, 24, 4096, 32),
    "vit-h14": (1280, 32, 5120, 14),
}


def count(dim: int, depth: int, hidden: int, patch: int, *, side: int = 224, classes: int = 1000) -> int:
    """Parameters of a plain ViT with a class token, added up on paper."""
    embedding = 3 * patch * patch * dim + dim
    tokens = dim + ((side // patch) ** 2 + 1) * dim
    attention = 4 * (dim * dim + dim)  # q, k, v, output
    mlp = dim * hidden + hidden + hidden * dim + dim
    norms = 2 * 2 * dim
    head = dim * classes + classes
    return embedding + tokens + depth * (attention + mlp + norms) + 2 * dim + head


COUNTS = (
    OFFICIAL
    | {name: count(*sizes) for name, sizes in DERIVED.items()}
    | {"vit-test": count(48, 2, 112, 8, side=32, classes=10)}
)


def built(config: ViTConfig) -> ViT:
    """The model without memory for its weights."""
    with torch.device("meta"):
        return ViT(config)


def test_the_formula_gives_the_official_counts() -> None:
    """What counts the derived rows is itself checked against every official row it can count."""
    for name, sizes in VARIANTS.items():
        if name in OFFICIAL:
            assert OFFICIAL[name] == count(*sizes)


def test_every_listed_name_has_a_count() -> None:
    """A name cannot enter the zoo without an exact count."""
    assert set(model_names()) <= set(COUNTS)


@pytest.mark.parametrize("name", sorted(set(model_names()) | set(COUNTS)))
def test_parameter_counts_are_exact(name: str) -> None:
    """Every name builds a model with exactly the parameters its source reports."""
    assert COUNTS[name] == sum(p.numel() for p in built(find_model(name)).parameters())


@pytest.mark.parametrize(("name", "sizes"), VARIANTS.items())
def test_widths_are_those_of_table_1(name: str, sizes: tuple[int, int, int, int]) -> None:
    """Width, depth, MLP width, patch and head width of each variant (64, and 80 for Huge)."""
    config = find_model(name)
    assert sizes == (config.embed_dim, config.depth, config.mlp_dim, config.patch_size[0])
    assert (80 if "-h" in name else 64) == config.head_dim
    assert (config.gelu, config.norm_eps, config.dropout, config.num_classes) == ("erf", 1e-6, 0.0, 1000)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("vit-ti16", "vit_tiny_patch16_224"),
        ("vit-s32", "vit_small_patch32_224"),
        ("vit-s16", "vit_small_patch16_224"),
        ("vit-s8", "vit_small_patch8_224"),
        ("vit-b32", "vit_base_patch32_224"),
        ("vit-b16", "vit_base_patch16_224"),
        ("vit-b8", "vit_base_patch8_224"),
        ("vit-l32", "vit_large_patch32_224"),
        ("vit-l16", "vit_large_patch16_224"),
        ("vit-l14", "vit_large_patch14_224"),
        ("vit-h14", "vit_huge_patch14_224"),
    ],
)
def test_keys_and_shapes_are_timms(ours: str, theirs: str) -> None:
    """A timm model of the same name has the same parameters, name for name and shape for shape."""
    with torch.device("meta"):
        other = timm().create_model(theirs, num_classes=1000)
    expected = {key: tuple(value.shape) for key, value in other.state_dict().items()}
    assert expected == {key: tuple(value.shape) for key, value in built(find_model(ours)).state_dict().items()}
    assert find_model(ours) == find_model(theirs)


@pytest.mark.parametrize(
    ("spelled", "plain"),
    [
        ("vit-b16", "vit-b16"),
        ("ViT-B/16", "vit-b16"),
        ("VIT_B16", "vit-b16"),
        ("  vit-b/16 ", "vit-b16"),
        ("vit_base_patch16", "vit-b16"),
        ("vit_base_patch16_224", "vit-b16"),
        ("vit-base-patch16-224", "vit-b16"),
        ("vit-b16-224", "vit-b16"),
        ("ViT-Ti/16", "vit-ti16"),
        ("vit_tiny_patch16_224", "vit-ti16"),
        ("vit_medium_patch16_224", "vit-m16"),
        ("ViT-H/14", "vit-h14"),
        ("vit_base_patch16_gap_224", "vit-b16-gap"),
        ("ViT-B/16-gap", "vit-b16-gap"),
        ("ViT_Test", "vit-test"),
    ],
)
def test_spellings_of_one_name(spelled: str, plain: str) -> None:
    """The paper's, timm's and our own spelling mean one architecture, in any case."""
    assert find_model(plain) == find_model(spelled)
    assert is_model_name(spelled)


@pytest.mark.parametrize("name", ["vit-b16-384", "vit_base_patch16_384", "ViT-B/16-384"])
def test_a_final_number_is_the_image_size(name: str) -> None:
    """384 at the end changes the resolution and nothing else."""
    config = find_model(name)
    assert (config.image_size, config.grid, config.name) == ((384, 384), (24, 24), "vit-b16")
    assert find_model("vit-b16").embed_dim == config.embed_dim


def test_gap_pools_patches_without_a_class_token() -> None:
    """-gap means mean pooling, no class token, one position fewer."""
    config = find_model("vit-s16-gap-384")
    assert (config.pool, config.class_token, config.image_size) == ("mean", False, (384, 384))
    model = built(config)
    assert model.cls_token is None
    assert tuple(model.pos_embed.shape) == (1, 24 * 24, 384)


def test_names_are_their_own_names() -> None:
    """Every listed name parses to a config that carries it."""
    assert list(model_names()) == [find_model(name).name for name in model_names()]


def test_the_tiny_model() -> None:
    """vit-test: patch 8, 32 px."""
    config = find_model("vit-test")
    assert (config.patch_size, config.image_size) == ((8, 8), (32, 32))


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("vit-b15x", "vit-b16"), ("vitb16", "vit-b16"), ("vit-t16", "vit-ti16"), ("vit-tst", "vit-test")],
)
def test_unknown_names_suggest_the_nearest(wrong: str, near: str) -> None:
    """A slip of the finger is answered with what was meant, and with the whole list."""
    with pytest.raises(UnknownNameError) as caught:
        find_model(wrong)
    assert f"there is no model called {wrong!r}" in str(caught.value)
    assert near in str(caught.value.why)
    assert all(name in str(caught.value.remedy) for name in model_names())
    assert caught.value.exit_code == 2
    assert not is_model_name(wrong)


@pytest.mark.parametrize("wrong", ["", "resnet50", "vit-b", "vit-b0", "vit-b16-gap-gap", "vit-x16", "vit-b65", "b16"])
def test_other_names_are_refused(wrong: str) -> None:
    """What is no name of ours is never guessed."""
    with pytest.raises(UnknownNameError):
        find_model(wrong)
    assert not is_model_name(wrong)


def test_a_size_that_patches_do_not_tile_is_explained() -> None:
    """The error names the sizes that would do."""
    with pytest.raises(ConfigError, match=r"224 or 240"):
        find_model("vit-b16-225")


@pytest.mark.parametrize("name", ["vit-b16-225", "vit-b48", "vit-b16-0"])
def test_asking_about_a_name_never_raises(name: str) -> None:
    """`is_model_name` answers yes or no, also where the architecture could not be built."""
    assert is_model_name(name) in (True, False)

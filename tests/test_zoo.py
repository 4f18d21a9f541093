"""Names in all their spellings become the architectures they stand for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from oracles import timm

from vitreous.architecture import Architecture, ResNetConfig, ViTConfig
from vitreous.errors import ConfigError, UnknownNameError
from vitreous.model.create import Model, build
from vitreous.model.vit import ViT
from vitreous.zoo import find_model, is_model_name, model_names


def built(config: Architecture) -> Model:
    """The model without memory for its weights."""
    with torch.device("meta"):
        return build(config)


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
        ("vit-g14", "vit_giant_patch14_224"),
        ("vit-G14", "vit_gigantic_patch14_224"),
        ("r26+vit-s32", "vit_small_r26_s32_224"),
        ("r26+vit-b32", "vit_base_r26_s32_224"),
        ("r50+vit-b16", "vit_base_r50_s16_224"),
        ("r50+vit-l32", "vit_large_r50_s32_224"),
        ("bit-r50x1", "resnetv2_50x1_bit"),
        ("bit-r101x3", "resnetv2_101x3_bit"),
        ("bit-r152x4", "resnetv2_152x4_bit"),
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
        ("ViT-B_16", "vit-b16"),
        ("vit-base16", "vit-b16"),
        ("B_16", "vit-b16"),
        ("L/32", "vit-l32"),
        ("Ti_16", "vit-ti16"),
        ("ViT-Mu/16", "vit-mu16"),
        ("ViT-So400m/14", "vit-so400m14"),
        ("vit_so400m_patch14", "vit-so400m14"),
        ("ViT-B/16-map", "vit-b16-map"),
        ("ViT-e/14", "vit-e14"),
        ("VIT-E14", "vit-e14"),
        ("Axial-ViT-B/16", "axial-vit-b16"),
        ("axial_vit_base_patch32", "axial-vit-b32"),
        ("R50+ViT-B_16", "r50+vit-b16"),
        ("R50+ViT-B/16", "r50+vit-b16"),
        ("R50x1+ViT-L/16", "r50+vit-l16"),
        ("R26+ViT-S/32", "r26+vit-s32"),
        ("R_Ti_16", "r+vit-ti16"),
        ("R+ViT-Ti/16", "r+vit-ti16"),
        ("vit_tiny_r_s16_p8_224", "r+vit-ti16"),
        ("R26_S_32", "r26+vit-s32"),
        ("R50_L_32", "r50+vit-l32"),
        ("vit_base_r50_s16_224", "r50+vit-b16"),
        ("BiT-M-R50x1", "bit-r50x1"),
        ("BiT-S-R152x4", "bit-r152x4"),
        ("resnetv2_50x1_bit", "bit-r50x1"),
        ("resnetv2_101x3_bitm", "bit-r101x3"),
        ("ResNet50x1", "resnet-r50x1"),
        ("ResNet-R200x3", "resnet-r200x3"),
    ],
)
def test_spellings_of_one_name(spelled: str, plain: str) -> None:
    """The paper's, timm's and our own spelling mean one architecture, in any case."""
    assert find_model(plain) == find_model(spelled)
    assert is_model_name(spelled)


GIANT = ["vit-g14", "ViT-g/14", "vit_g14", "g/14", "vit-giant14", "VIT_GIANT_PATCH14", "vit_giant_patch14_224"]
GIGANTIC = ["vit-G14", "ViT-G/14", "VIT-G14", "VIT_G_14", "vit-gigantic14", "ViT-Gigantic/14", "vit_gigantic_patch14"]
GIANT_OPT = ["vit-g-opt16", "ViT-g-opt/16", "vit_giantopt_patch16", "vit-giant-opt-16", "ViT-g-OPT/16"]
GIGANTIC_OPT = ["vit-G-opt16", "ViT-G-opt/16", "VIT-G-OPT16", "vit_giganticopt_patch16", "vit-gigantic-opt16"]


@pytest.mark.parametrize(
    ("spelled", "name", "width", "depth"),
    [
        *((spelled, "vit-g14", 1408, 40) for spelled in GIANT),
        *((spelled, "vit-G14", 1664, 48) for spelled in GIGANTIC),
        *((spelled, "vit-g-opt16", 1536, 40) for spelled in GIANT_OPT),
        *((spelled, "vit-G-opt16", 1536, 48) for spelled in GIGANTIC_OPT),
    ],
)
def test_giant_and_gigantic_differ_by_case_alone(spelled: str, name: str, width: int, depth: int) -> None:
    """g and G are two models; all capitals mean G, and words are read in any case."""
    config = find_model(spelled)
    assert isinstance(config, ViTConfig)
    assert (name, width, depth) == (config.name, config.embed_dim, config.depth)


@pytest.mark.parametrize(
    ("name", "layers", "width_factor", "patch"),
    [
        ("r50.1+vit-b16", (3,), 1, 4),
        ("r50.2+vit-b16", (3, 4), 1, 2),
        ("r50.3+vit-b16", (3, 4, 6), 1, 1),
        ("r50.4+vit-b32", (3, 4, 6, 3), 1, 1),
        ("r26+vit-ti16", (2, 2, 4), 1, 1),
        ("r101x2.2+vit-so400m32", (3, 4), 2, 4),
        ("r152x3+vit-l16", (3, 8, 39), 3, 1),
        ("r200.3+vit-G16", (3, 24, 36), 1, 1),
    ],
)
def test_the_map_may_come_from_any_stage(name: str, layers: tuple[int, ...], width_factor: int, patch: int) -> None:
    """The number in a hybrid's name is its stride in pixels of the image; the patch on the map follows."""
    config = find_model(name)
    assert isinstance(config, ViTConfig)
    assert config.stem is not None
    assert (name, layers, width_factor) == (config.name, config.stem.layers, config.stem.width_factor)
    assert (config.patch_size, config.stride[0]) == ((patch, patch), int(name[-2:]))
    assert config.stem.num_classes == 0


@pytest.mark.parametrize("name", ["r50+vit-b14", "r50.4+vit-b16", "r50.1+vit-b6", "r50.2+vit-b0"])
def test_a_stride_the_map_cannot_give_is_explained(name: str) -> None:
    """The error says what one cell of the map stands for, and which stages there are."""
    with pytest.raises(ConfigError, match=r"stands for (32|4|8) pixels, and \d+ is no multiple") as caught:
        find_model(name)
    assert "r50.1, .2, .3 or .4" in str(caught.value.remedy)
    assert is_model_name(name)


@pytest.mark.parametrize(
    ("name", "style", "layers"),
    [
        ("bit-r50x1", "v2", (3, 4, 6, 3)),
        ("bit-r101x2", "v2", (3, 4, 23, 3)),
        ("resnet-r152x4", "v1", (3, 8, 36, 3)),
        ("resnet-r200x3", "v1", (3, 24, 36, 3)),
    ],
)
def test_resnets_of_both_styles(name: str, style: str, layers: tuple[int, ...]) -> None:
    """bit- activates before its convolutions, resnet- after; the number behind x is the width."""
    config = find_model(name + "-160")
    assert isinstance(config, ResNetConfig)
    assert (name, style, layers, int(name[-1])) == (config.name, config.style, config.layers, config.width_factor)
    assert config.image_size == (160, 160)


def test_axial_vits_pool_the_mean() -> None:
    """Rows and columns have no place for a class token."""
    config = find_model("axial-vit-b16")
    assert isinstance(config, ViTConfig)
    assert (config.attention, config.pool, config.class_token) == ("axial", "mean", False)
    probed = find_model("axial-vit-b16-map")
    assert isinstance(probed, ViTConfig)
    assert (probed.name, probed.pool, probed.class_token) == ("axial-vit-b16-map", "map", False)


@pytest.mark.parametrize("name", ["vit-b16-384", "vit_base_patch16_384", "ViT-B/16-384"])
def test_a_final_number_is_the_image_size(name: str) -> None:
    """384 at the end changes the resolution and nothing else."""
    config = find_model(name)
    assert isinstance(config, ViTConfig)
    assert (config.image_size, config.grid, config.name) == ((384, 384), (24, 24), "vit-b16")
    assert find_model("vit-b16") == replace(config, image_size=(224, 224))


def test_gap_pools_patches_without_a_class_token() -> None:
    """-gap means mean pooling, no class token, one position fewer."""
    config = find_model("vit-s16-gap-384")
    assert isinstance(config, ViTConfig)
    assert (config.pool, config.class_token, config.image_size) == ("mean", False, (384, 384))
    model = built(config)
    assert isinstance(model, ViT)
    assert model.pos_embed is not None
    assert model.cls_token is None
    assert tuple(model.pos_embed.shape) == (1, 24 * 24, 384)


def test_names_are_their_own_names() -> None:
    """Every listed name parses to a config that carries it, whatever stands for - and /; no two are one model."""
    assert list(model_names()) == [find_model(name).name for name in model_names()]
    assert list(model_names()) == [find_model(name.replace("-", "_")).name for name in model_names()]
    assert len(model_names()) == len({replace(find_model(name), name="") for name in model_names()})


def test_only_g_depends_on_case() -> None:
    """All other names mean the same in capitals."""
    told_apart = [name for name in model_names() if find_model(name.upper()) != find_model(name)]
    assert told_apart == ["vit-g14", "vit-g-opt16"]


def test_names_are_listed_in_reading_order() -> None:
    """Two small ones, ViTs from small to large, axial ViTs, hybrids, BiT, ResNets."""
    names = model_names()
    assert names[:5] == ("vit-test", "vit-28", "vit-mu16", "vit-ti16", "vit-s32")
    families = [name.partition("+")[0].partition("-")[0].rstrip("0123456789") for name in names]
    assert list(dict.fromkeys(families)) == ["vit", "axial", "r", "bit", "resnet"]
    assert families == sorted(families, key=["vit", "axial", "r", "bit", "resnet"].index)


def test_the_tiny_model() -> None:
    """vit-test: patch 8, 32 px."""
    config = find_model("vit-test")
    assert isinstance(config, ViTConfig)
    assert (config.patch_size, config.image_size) == ((8, 8), (32, 32))


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("vit-b15x", "vit-b16"),
        ("vitb16", "vit-b16"),
        ("vit-t16", "vit-ti16"),
        ("vit-tst", "vit-test"),
        ("vit_mediumd_patch16_224", "vit_medium_patch16"),
        ("vit_gian_patch14", "vit_giant_patch14"),
        ("r5+vit-b16", "r50+vit-b16"),
        ("r+vit-s16", "r+vit-ti16"),
        ("bit-r50x5", "bit-r50x1"),
        ("resnet-50", "resnet-r50x1"),
        ("axialvit-b16", "axial-vit-b16"),
    ],
)
def test_unknown_names_suggest_the_nearest(wrong: str, near: str) -> None:
    """A slip of the finger is answered with what was meant, and with where all names are listed."""
    with pytest.raises(UnknownNameError) as caught:
        find_model(wrong)
    assert f"there is no model called {wrong!r}" in str(caught.value)
    assert near in str(caught.value.why)
    assert caught.value.remedy == "`vitreous models` lists them all"
    assert caught.value.exit_code == 2
    assert not is_model_name(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        *("", "resnet50", "vit-b", "vit-b0", "vit-b16-gap-gap", "vit-x16", "vit-b65", "b16", "vit-b16-gap-map"),
        *("vit", "vit-g", "16", "r50", "r50+", "r50+b", "bit-r50", "bit-r34x1", "bit-r50x0", "resnetv2_50x1"),
        *("bit-r50x1-gap", "resnet-r50x1-map", "r.2+vit-b16", "r50.0+vit-b16", "r50.5+vit-b16", "r50x5+vit-b16"),
        *("vit_tiny_r_s16_224", "vit_small_r26_s32_p8_224", "axial-b16", "axial-r50+vit-b16", "vit-b-ſ16"),
    ],
)
def test_other_names_are_refused(wrong: str) -> None:
    """What is no name of ours is never guessed."""
    with pytest.raises(UnknownNameError):
        find_model(wrong)
    assert not is_model_name(wrong)


def test_a_size_that_patches_do_not_tile_is_explained() -> None:
    """The error names the sizes that would do."""
    with pytest.raises(ConfigError, match=r"224 or 240"):
        find_model("vit-b16-225")


def test_a_patch_that_nobody_published_is_answered_with_those_that_were() -> None:
    """vit-ti15 does not tile 224 pixels: the published patch, or the sizes it would tile."""
    with pytest.raises(ConfigError, match="224 is not divisible by patch height 15") as caught:
        find_model("vit-ti15")
    assert caught.value.remedy == "vit-ti16, or an image height of 210 or 225 pixels"


@pytest.mark.parametrize("name", ["vit-b16-225", "vit-b48", "vit-b16-0", "bit-r50x1-0", "r50+vit-b16-230"])
def test_asking_about_a_name_never_raises(name: str) -> None:
    """`is_model_name` answers yes or no, also where the architecture could not be built."""
    assert is_model_name(name) in (True, False)

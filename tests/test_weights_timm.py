"""timm's checkpoints are understood from names, shapes and config.json, or refused with the reason."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from oracles import timm
from random_vit import config, random_vit
from timm_models import SETTINGS, SMALL, assert_identical, opened, ours, raw, read_back, same, saved, small, theirs
from torch import Tensor, nn

from vitreous.architecture import ResNetConfig, ViTConfig
from vitreous.config import ModelCard, PreprocessConfig
from vitreous.errors import ModelFileError, UsageError, VitreousError
from vitreous.model.create import build
from vitreous.weights.dialects.dialect import translate
from vitreous.weights.dialects.timm import TIMM
from vitreous.weights.dialects.timm_names import called
from vitreous.weights.formats.container import Raw, open_container
from vitreous.zoo import find_model, model_names

ACTIVATIONS = {"GELU": "erf", "GELUTanh": "tanh", "QuickGELU": "quick"}
POOLS = {"token": "cls", "avg": "mean", "map": "map", "": "none"}
ROTARY = {"NoneType": None, "RotaryEmbeddingCat": "eva", "RotaryEmbeddingDinoV3": "dinov3"}

BEYOND = (  # parts of the names of factories that are refused
    *("aimv2", "test_vit4", "_18x2_", "_rpn_", "_xp_", "radio", "pwee", "dwee", "dlittle", "intern300m", "_reg4_map_"),
    *("enormous", "_rope_2", "_rope_ape_", "_rope_mixed_", "_pe_", "_mci_", "resnet26d", "resnet50d"),
)
NOT_SMALL = ("_sapiens2",)  # those that cannot be built with fewer blocks


@pytest.mark.parametrize("module", ["vision_transformer", "deit", "eva", "vision_transformer_hybrid"])
def test_every_factory(module: str) -> None:
    """Each of timm's names is understood as timm builds it, its heads, GELU, epsilon, pooling and all, or refused."""
    wrong = {}
    for name in timm().list_models(module=module):
        if any(part in name for part in NOT_SMALL):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = timm().create_model(name, device="meta", depth=1)
        try:
            said = differing(model, config_of(name, model))
        except VitreousError as error:
            said = str(error)
        if bool(said) != any(part in name for part in BEYOND):
            wrong[name] = said
    assert wrong == {}


def config_of(name: str, model: Any) -> dict[str, Any]:
    """What timm writes into config.json for a model that is as its name says."""
    size = [3, *model.patch_embed.img_size]
    return {"architecture": name, "pretrained_cfg": {"num_classes": model.num_classes, "input_size": size}}


def differing(model: Any, config: dict[str, Any]) -> str:
    """What is understood otherwise than timm built it; "not recognised" for names that are none of timm's here."""
    weightless = {name: torch.zeros(()).expand(t.shape) for name, t in model.state_dict().items()}
    found = raw(weightless, config)
    if not TIMM.recognises(found):
        return "not recognised"
    understood = TIMM.understand(found, {})
    translate(found, TIMM, understood)
    mine, kinds = understood.architecture, {type(part).__name__ for part in model.blocks.modules()}
    rope = getattr(model, "rope", None)
    expected = {
        "norm_eps": next(part.eps for part in model.modules() if isinstance(part, nn.LayerNorm)),
        "num_heads": model.blocks[0].attn.num_heads,
        "pool": POOLS[model.global_pool],
        "image_size": tuple(model.patch_embed.img_size),
        "gelu": next((form for kind, form in ACTIVATIONS.items() if kind in kinds), "erf"),
        "rotary": ROTARY[type(rope).__name__],
    }
    if rope is not None:
        expected["rotary_base"] = rope.temperature
    if expected["rotary"] == "eva":
        expected["rotary_grid"] = rope.ref_feat_shape
    return ", ".join(
        f"{field} {getattr(mine, field)}" for field, value in expected.items() if getattr(mine, field) != value
    )


WRAPPERS = ("module.", "model.", "_orig_mod.", "timm_model.", "backbone.", "module._orig_mod.", "_orig_mod.module.")


@pytest.mark.parametrize("prefix", WRAPPERS)
def test_wrappers(prefix: str) -> None:
    """What wrapper modules put in front of every name changes no bit."""
    other, _ = small("vit_base_patch16_224")
    wrapped = {prefix + name: value for name, value in other.state_dict().items()}
    assert_identical(ours(raw(wrapped), **SETTINGS), ours(raw(other.state_dict()), **SETTINGS))


def test_averaged_weights() -> None:
    """torch's AveragedModel counts its models beside the weights; the count is dropped by name."""
    other, _ = small("vit_base_patch16_224")
    averaged = {f"module.{name}": value for name, value in other.state_dict().items()} | {"n_averaged": torch.tensor(5)}
    assert TIMM.understand(raw(averaged), SETTINGS).dropped.keys() == {"n_averaged"}
    assert_identical(ours(raw(averaged), **SETTINGS), ours(raw(other.state_dict()), **SETTINGS))


SPELLINGS: dict[str, tuple[str, dict[str, str]]] = {
    "DeiT-III's LayerScale": ("deit3_base_patch16_224", {".ls1.gamma": ".gamma_1", ".ls2.gamma": ".gamma_2"}),
    "EVA-02's own names": (
        "eva02_base_patch16_clip_224",
        {
            ".mlp.fc1_g.": ".mlp.w1.",
            ".mlp.fc1_x.": ".mlp.w2.",
            ".mlp.fc2.": ".mlp.w3.",
            ".mlp.norm.": ".mlp.ffn_ln.",
            ".attn.norm.": ".attn.inner_attn_ln.",
            ".q_proj.bias": ".q_bias",
            ".v_proj.bias": ".v_bias",
        },
    ),
}


@pytest.mark.parametrize("case", SPELLINGS)
def test_older_spellings(case: str) -> None:
    """Other names for the same tensors give the same bits."""
    name, renames = SPELLINGS[case]
    other, _ = small(name)
    renamed = {}
    for key, value in other.state_dict().items():
        for new, old in renames.items():
            key = key.replace(new, old)
        renamed[key] = value
    assert renamed.keys() != other.state_dict().keys()
    assert_identical(ours(raw(renamed), **SETTINGS), ours(raw(other.state_dict()), **SETTINGS))


def test_pretraining_parts_are_dropped_with_the_reason() -> None:
    """MAE's mask token and decoder, EVA-02's computed angles: known, named, not needed."""
    other, _ = small("vit_base_patch16_224")
    more = {
        "mask_token": torch.ones(1, 1, 32),
        "decoder_embed.weight": torch.ones(32, 48),
        "decoder_blocks.0.norm1.weight": torch.ones(32),
        "decoder_pos_embed": torch.ones(1, 16, 32),
        "rope.freqs_cos": torch.ones(15, 12),
        "blocks.0.attn.rope.freqs_sin": torch.ones(15, 12),
    }
    found = raw(other.state_dict() | more)
    assert TIMM.understand(found, SETTINGS).dropped.keys() == more.keys()
    assert_identical(ours(found, **SETTINGS), ours(raw(other.state_dict()), **SETTINGS))


def test_only_zero_biases_of_keys_are_dropped() -> None:
    """Eva has no biases of keys; a file with some that are not zero computes something else."""
    other, _ = small("eva02_tiny_patch14_224")
    found = raw(other.state_dict() | {"blocks.0.attn.k_bias": torch.zeros(48)})
    assert TIMM.understand(found, SETTINGS).dropped == {"blocks.0.attn.k_bias": "always zero"}
    with pytest.raises(ModelFileError, match=r"spare: blocks\.0\.attn\.k_bias"):
        ours(raw(other.state_dict() | {"blocks.0.attn.k_bias": torch.ones(48)}), **SETTINGS)


def changed(state: dict[str, Tensor], case: str) -> dict[str, Tensor]:
    """A state dict that does not fit, in one way."""
    match case:
        case "missing":
            del state["blocks.1.norm2.bias"]
        case "spare":
            state["blocks.1.attn.relative_position_bias_table"] = torch.ones(5, 4)
        case "registers late":
            state["register"] = torch.ones(1, 4, 48)
        case "misshapen":
            state["blocks.2.mlp.fc1.weight"] = torch.ones(85, 48)
        case "a gap":
            state["blocks.7.norm1.weight"] = torch.ones(48)
        case "two norms":
            state |= {"fc_norm.weight": torch.ones(48), "fc_norm.bias": torch.ones(48)}
        case "no first layer":
            del state["blocks.0.mlp.fc2.weight"]
        case "flat patches":
            state["patch_embed.proj.weight"] = torch.ones(48, 192)
        case "table":
            state["pos_embed"] = torch.ones(1, 14, 48)
    return state


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("missing", "1 missing: blocks.1.norm2.bias"),
        ("spare", "1 spare: blocks.1.attn.relative_position_bias_table"),
        ("registers late", "register-token weights, no registers in the config"),
        ("misshapen", "blocks.2.mlp.fc1.weight gives"),
        ("a gap", "blocks.3.norm1.weight"),
        ("two norms", "spare: norm.weight"),
        ("no first layer", "blocks.0.mlp.fc2.weight"),
        ("flat patches", "patch_embed.proj.weight is (48, 192), 4 dimensions"),
        ("table", "pos_embed gives (1, 14, 48)"),
    ],
)
def test_what_does_not_fit_is_one_error(case: str, told: str) -> None:
    """Missing, spare and misshapen tensors are named, and nothing is half-loaded."""
    other, _ = small("vit_base_patch16_224")
    with pytest.raises(ModelFileError) as caught:
        ours(raw(changed(dict(other.state_dict()), case)), **SETTINGS)
    assert told in str(caught.value)


@pytest.mark.parametrize("name", ["vit_small_patch14_reg4_dinov2", "eva02_base_patch14_224", "vit_tiny_r_s16_p8_224"])
@pytest.mark.parametrize("shape", [(), (3,), (0, 4), (2, 2, 2, 2, 2)], ids=str)
def test_nonsense_shapes(name: str, shape: tuple[int, ...]) -> None:
    """Whichever tensor has a shape that no model has: one error, never an exception of Python's."""
    size = (64, 96) if "_r_" in name else (24, 40)
    other, config = small(name, img_size=size, depth=1)
    for i, key in enumerate(other.state_dict()):
        found = raw(other.state_dict() | {key: torch.ones(shape)}, config if i % 2 else None)
        with pytest.raises(VitreousError):
            ours(found, num_heads=4, image_size=size)


def test_unknown_settings() -> None:
    """A setting that is no field of an architecture is refused."""
    other, _ = small("vit_base_patch16_224")
    with pytest.raises(UsageError, match="head_count"):
        ours(raw(other.state_dict()), **SETTINGS, head_count=4)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("vit_base_patch16_clip_quickgelu_224", {"global_pool": "avg", "fc_norm": True}),
        ("vit_so400m_patch14_siglip_384", {"img_size": (30, 45)}),
        ("eva02_base_patch14_224", {}),
        ("vit_small_patch16_dinov3", {}),
    ],
)
def test_folders_that_timm_writes(name: str, changes: dict[str, Any], tmp_path: Path) -> None:
    """The folder that timm itself writes for the hub tells everything: nothing is assumed."""
    args = SMALL | changes
    other = theirs(name, **args)
    timm().models.save_for_hf(other, tmp_path)
    found = open_container(tmp_path)
    understood = TIMM.understand(found, {})
    assert understood.notes == ()
    assert understood.preprocess.mean == tuple(other.pretrained_cfg["mean"])
    assert understood.licence == other.pretrained_cfg["license"]
    same("timm, from its folder", name, ours(found), other, args["img_size"])


def test_heads_must_be_known() -> None:
    """No shape tells the heads of a width that nobody published."""
    other, _ = small("vit_base_patch16_224")
    with pytest.raises(ModelFileError, match="num_heads"):
        ours(raw(other.state_dict()), image_size=(24, 40))


def test_resolution_must_be_known() -> None:
    """3 x 5 patches make no square, with the class token's row or without."""
    other, _ = small("vit_base_patch16_224", img_size=(24, 56))
    with pytest.raises(ModelFileError, match="image_size"):
        ours(raw(other.state_dict()), num_heads=4)


def test_positions_of_an_eva_must_be_known() -> None:
    """Without table and registers nothing tells which rotary embedding it is."""
    other, _ = small("vit_small_patch16_dinov3", num_reg_tokens=0)
    with pytest.raises(ModelFileError, match="rotary"):
        ours(raw(other.state_dict()), **SETTINGS)


def test_table_decides_the_resolution() -> None:
    """A name that says 224 does not hide that the weights were fine-tuned at another size."""
    other = theirs("vit_base_patch16_224", **SMALL | {"img_size": 56})
    understood = TIMM.understand(raw(other.state_dict(), {"architecture": "vit_base_patch16_224"}), {"num_heads": 4})
    assert understood.architecture.image_size == (56, 56)
    assert any("not 224 x 224" in note for note in understood.notes)


def test_pixels_behind_the_last_patch() -> None:
    """So400m/14 at 384 pixels uses 378 of them; the others are cut off, as timm's convolution does."""
    other = theirs("vit_so400m_patch14_siglip_384", **SMALL | {"img_size": (30, 45)})
    mine = ours(raw(other.state_dict()), num_heads=4, image_size=(30, 45))
    assert mine.config.edge == "crop"
    same("timm SigLIP", "tiny, pixels cut off", mine, other, (30, 45))


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ({"rope_type": "mixed", "use_rot_pos_emb": True}, "rope_type='mixed'"),
        ({"rope_grid_indexing": "xy"}, "rope_grid_indexing='xy'"),
        ({"use_post_norm": True}, "use_post_norm=True"),
        ({"act_layer": "relu"}, "act_layer='relu'"),
        ({"norm_layer": "rmsnorm"}, "norm_layer='rmsnorm'"),
        ({"global_pool": "avgmax"}, "global_pool='avgmax'"),
        ({"img_size": "large"}, "img_size='large'"),
        ({"global_pool": ["avg"]}, "global_pool=['avg']"),
    ],
)
def test_arguments_that_nothing_here_computes(args: dict[str, Any], told: str) -> None:
    """`model_args` that would compute something else are refused by name, and so is nonsense."""
    other, config = small("vit_base_patch16_224")
    config["model_args"] |= args
    with pytest.raises(ModelFileError) as caught:
        ours(raw(other.state_dict(), config))
    assert told in str(caught.value)


def test_configs_of_other_kinds_do_no_harm() -> None:
    """A config.json whose entries are of the wrong kind says nothing."""
    other, _ = small("vit_base_patch16_224")
    mine = ours(raw(other.state_dict(), {"architecture": 7, "model_args": [1], "pretrained_cfg": "none"}), **SETTINGS)
    assert_identical(mine, ours(raw(other.state_dict()), **SETTINGS))


def test_preprocessing_of_nonsense() -> None:
    """A mean that is no list of numbers is an error that names config.json."""
    other, config = small("vit_base_patch16_224")
    config["pretrained_cfg"] |= {"mean": [0.5, "grey", 0.5]}
    with pytest.raises(ModelFileError, match=r"config\.json"):
        ours(raw(other.state_dict(), config))


def test_settings_override_what_is_inferred() -> None:
    """A bare file of OpenAI's CLIP is told its GELU, and its epsilon is not assumed any more."""
    other, config = small("vit_base_patch16_clip_quickgelu_224")
    bare = raw(other.state_dict())
    assert any("{'gelu': 'quick'}" in note for note in TIMM.understand(bare, SETTINGS).notes)
    stated: dict[str, Any] = SETTINGS | {"gelu": "quick", "norm_eps": 1e-5}
    assert not any("GELU" in note or "epsilon" in note for note in TIMM.understand(bare, stated).notes)
    assert_identical(ours(bare, **stated), ours(raw(other.state_dict(), config)))


def test_a_training_checkpoint_names_its_architecture() -> None:
    """timm's train.py writes the name beside the state dict; it tells what shapes do not."""
    other, _ = small("vit_base_patch16_clip_quickgelu_224")
    found = dataclasses.replace(
        raw(other.state_dict()), ignored=("epoch: 3", "arch: vit_base_patch16_clip_quickgelu_224")
    )
    assert ours(found, **SETTINGS).config.gelu == "quick"


@pytest.mark.parametrize(
    "name",
    ["register_tokens", "blocks.0.0.norm1.weight", "blocks.0.mlp.w12.weight", "rope_embed.periods"],
)
def test_files_of_meta_are_left_to_their_dialect(name: str) -> None:
    """Meta's own DINO files have timm's names but for a few."""
    other, _ = small("vit_small_patch14_dinov2")
    assert TIMM.recognises(raw(other.state_dict()))
    assert not TIMM.recognises(raw(other.state_dict() | {name: torch.ones(2, 2)}))


def test_other_formats_are_left_to_their_dialects() -> None:
    """Arrays in an .npz are Google's, ResNets with batch norm are nobody's here."""
    other, _ = small("vit_base_patch16_224")
    assert not TIMM.recognises(dataclasses.replace(raw(other.state_dict()), kind="npz"))
    assert not TIMM.recognises(raw({"embeddings.cls_token": torch.ones(1)}))
    with torch.device("meta"):
        assert not TIMM.recognises(raw(timm().create_model("resnetv2_50").state_dict()))


MEANS = {"vit_base_patch16_224": 0.5, "deit3_base_patch16_224": 0.485, "vit_base_patch16_clip_224": 0.48145466}


@pytest.mark.parametrize("name", MEANS)
def test_preprocessing_of_bare_files(name: str) -> None:
    """Without config.json the family's own mean is taken, and said."""
    understood = TIMM.understand(raw(small(name)[0].state_dict()), SETTINGS)
    assert understood.preprocess.mean[0] == MEANS[name]
    assert any(note.startswith("input: mean") for note in understood.notes)


def test_card_survives(tmp_path: Path) -> None:
    """Preprocessing, class names and licence are written into config.json, where timm and we find them."""
    preprocess = PreprocessConfig(
        image_size=(24, 40),
        resize="squash",
        crop_ratio=1.0,
        interpolation="lanczos",
        mean=(0.1, 0.2, 0.3),
        std=(0.4, 0.5, 0.6),
    )
    classes = tuple(f"class {i}" for i in range(11))
    model = random_vit()
    card = ModelCard(architecture=model.config, preprocess=preprocess, classes=classes, licence="cc-by-4.0")
    saved(model, tmp_path, card)
    cfg = opened(tmp_path).pretrained_cfg
    assert (cfg["mean"], cfg["crop_mode"], cfg["interpolation"]) == ([0.1, 0.2, 0.3], "squash", "lanczos")
    assert tuple(cfg["label_names"]) == classes
    understood = TIMM.understand(open_container(tmp_path), {})
    assert (understood.preprocess, understood.classes, understood.licence) == (preprocess, classes, "cc-by-4.0")
    assert understood.notes == ()


NATIVE: dict[str, dict[str, Any]] = {  # ours, as timm can hold it without a difference
    "plain": {},
    "tanh": {"gelu": "tanh"},
    "quick": {"gelu": "quick", "norm_eps": 1e-5, "pre_norm": True, "patch_bias": False},
    "registers beside a class token with a position": {"registers": 3},
    "distilled, no positions in front": {"distill_token": True, "prefix_position": False},
    "map beside a class token": {"pool": "map", "class_token": True},
    "gated": {"mlp": "swiglu", "layer_scale": 0.1},
    "gated with norm": {"mlp": "swiglu", "mlp_norm": True, "attn_norm": True},
    "gated without LayerScale": {"mlp": "swiglu"},
    "biases of queries and values": {"qkv_bias": "query-value"},
    "the same, distilled": {"qkv_bias": "query-value", "distill_token": True},
    "no head bias": {"head_bias": False},
    "no patch bias": {"patch_bias": False},
    "biases of attention alone": {"mlp_bias": False},
    "rectangular patches": {"patch_size": (8, 10)},
    "mean after": {"pool": "mean", "pool_norm": "after"},
    "class token after": {"pool_norm": "after"},
    "five channels": {"in_channels": 5},
    "odd hidden width": {"mlp_dim": 47},
    "no positions": {"position": "none"},
    "sines": {"position": "sincos", "pool": "mean"},
    "sines of MAE beside a class token": {"position": "sincos-mae", "registers": 2},
    "rotary": {"rotary": "eva", "rotary_base": 500.0, "embed_dim": 48},
    "rotary, grid": {"rotary": "eva", "rotary_grid": (4, 7), "embed_dim": 48, "position": "none", "norm_eps": 1e-5},
    "rotary of DINOv3": {"rotary": "dinov3", "embed_dim": 48, "registers": 2, "norm_eps": 1e-5, "layer_scale": 0.1},
    "rotary, gated": {"rotary": "dinov3", "embed_dim": 48, "mlp": "swiglu", "mlp_norm": True, "pool": "mean"},
    "rotary, without biases": {"rotary": "eva", "embed_dim": 48, "qkv_bias": "none", "proj_bias": False},
}


@torch.no_grad()
@pytest.mark.parametrize("case", NATIVE)
def test_our_models_in_timm(case: str, tmp_path: Path) -> None:
    """Any of our models that timm can hold is opened by timm's own loader and answers alike, at two resolutions."""
    model = random_vit(**NATIVE[case])
    assert saved(model, tmp_path) == ()
    other, channels = opened(tmp_path, dynamic_img_size=True), model.config.in_channels
    native = dataclasses.replace(model.config, resample="bicubic-antialias")
    ours_there = build(native)
    ours_there.load_state_dict(model.state_dict())
    elsewhere = () if "sines" in case else ((48, 20) if case == "rectangular patches" else (40, 16),)
    for size in ((24, 40), *elsewhere):  # at other sizes timm interpolates sines, we compute them
        same("timm, from ours", f"{case}, {size[0]} x {size[1]} px", ours_there.eval(), other, size, channels)
    same("timm, from ours", f"{case}, read back", read_back(tmp_path), other, (24, 40), channels)


def test_sines_are_checked() -> None:
    """A table that is stated to be of sines, and is not, does not fit."""
    other, _ = small("vit_base_patch16_224", no_embed_class=True)
    with pytest.raises(ModelFileError, match="none of sincos"):
        ours(raw(other.state_dict()), **SETTINGS, position="sincos")


BECOMES: dict[str, tuple[dict[str, Any], str]] = {
    "epsilon": ({"norm_eps": 1e-12}, "LayerNorm epsilon: 1e-12 becomes 1e-06"),
    "epsilon of a gated model": ({"mlp": "swiglu", "norm_eps": 1e-5}, "LayerNorm epsilon: 1e-05 becomes 1e-06"),
    "GELU of an Eva": ({"rotary": "eva", "embed_dim": 48, "gelu": "tanh"}, "GELU: tanh becomes erf"),
    "periods": (
        {"rotary": "dinov3", "embed_dim": 48, "rotary_dtype": "bfloat16"},
        "rotary periods: bfloat16 becomes float32",
    ),
}


@torch.no_grad()
@pytest.mark.parametrize("case", BECOMES)
def test_differences_are_told_and_computed(case: str, tmp_path: Path) -> None:
    """What timm has no argument for is named, and the nearest architecture is what timm computes."""
    changes, told = BECOMES[case]
    model = random_vit(**changes)
    assert saved(model, tmp_path) == (told,)
    aim = TIMM.nearest(model.config).architecture
    nearest = build(aim)
    nearest.load_state_dict(read_back(tmp_path).state_dict())
    same("timm, from ours", f"{case}, as timm computes it", nearest.eval(), opened(tmp_path), (24, 40))


def test_google_hybrids_differ_in_three_ways() -> None:
    """timm's hybrids standardise weights and normalise groups with epsilons of their own."""
    aim = TIMM.nearest(find_model("r50+vit-b16"))
    assert aim.differences == (
        "GroupNorm epsilon: 1e-06 becomes 1e-05",
        "weight standardisation: std + 1e-05 becomes sqrt(var + 1e-08)",
    )
    assert TIMM.nearest(aim.architecture).differences == ()


IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "tokenizer='filter'": {"tokenizer": "filter", "num_tokens": 5},
    "attention='window'": {"attention": "window", "window": (3, 5)},
    "attention='axial'": {"attention": "axial"},
    "position='relative'": {"position": "relative"},
    "position='learned-2d'": {"position": "learned-2d"},
    "position_at='every'": {"position_at": "every"},
    "representation_size=19": {"representation_size": 19},
    "pool='cls+mean'": {"pool": "cls+mean"},
    "patch_bias=True": {"pre_norm": True},
    "registers=2": {"distill_token": True, "registers": 2},
}


@pytest.mark.parametrize("told", IMPOSSIBLE)
def test_what_timm_has_nothing_for(told: str) -> None:
    """Options that no argument and no rewriting can express are refused by name."""
    with pytest.raises(UsageError) as caught:
        TIMM.nearest(config(**IMPOSSIBLE[told]))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "config",
    [ResNetConfig(layers=(1, 2)), find_model("resnet-r200x3"), find_model("r26.3+vit-b16")],
    ids=["two stages", "R200", "stem cut at stage 3"],
)
def test_resnets_that_timm_has_no_name_for(config: ResNetConfig | ViTConfig) -> None:
    """A ResNet of other units than the published ones cannot be built by any name."""
    with pytest.raises(UsageError, match="timm has no"):
        TIMM.nearest(config)


@torch.no_grad()
def test_post_activation_resnets(tmp_path: Path) -> None:
    """The ResNets of the ViT paper's Table 6 fit into timm's class but for their padding, which is told."""
    assert "padding: same becomes symmetric" in TIMM.nearest(find_model("resnet-r50x1")).differences
    other = theirs("resnetv2_50x1_bit", preact=False, num_classes=11)
    other.get_submodule("head.fc").weight.mul_(0.1)  # logits near 6 otherwise: no norm stands behind the last sum
    mine = ours(raw(other.state_dict()))
    same("timm ResNet, post-activation", "75 x 96 px", mine, other, (75, 96))
    assert saved(mine, tmp_path) == ()
    same("timm ResNet, post-activation", "written", mine, opened(tmp_path), (75, 96))


@pytest.mark.parametrize(
    "name", [name for name in model_names() if not name.startswith(("vit-test", "vit-28", "axial"))]
)
def test_names(name: str) -> None:
    """What the zoo builds is called by the zoo's name, also with timm's numerics."""
    config = find_model(name)
    with contextlib.suppress(UsageError):
        config = TIMM.nearest(config).architecture
    assert called(config) == name


def test_every_rule_is_there_once() -> None:
    """Each native tensor has one rule, each foreign name is used once, in every form."""
    cases = [
        (config(registers=2), "vit"),
        (
            random_vit(rotary="dinov3", embed_dim=48, mlp="swiglu", mlp_norm=True, layer_scale=0.1).config,
            "eva+qkv+gate",
        ),
        (find_model("r+vit-ti16"), "vit"),
        (find_model("bit-r50x1"), "bit"),
    ]
    for architecture, form in cases:
        rules = TIMM.rules(architecture, form)
        with torch.device("meta"):
            assert [rule.native for rule in rules] == list(build(architecture).state_dict())
        foreign = [name for rule in rules for name in rule.foreign]
        assert len(foreign) == len(set(foreign))


def test_raw_is_not_changed() -> None:
    """Reading leaves the container's tensors as they are, folded registers included."""
    other, config = small("vit_so150m2_patch16_reg1_gap_256")
    found: Raw = raw(other.state_dict(), config)
    before = {name: value.clone() for name, value in found.tensors.items()}
    ours(found)
    assert all(torch.equal(value, found.tensors[name]) for name, value in before.items())

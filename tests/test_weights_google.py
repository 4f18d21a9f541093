"""Google's npz files: every published spelling is the same model, every array is accounted for, writing is exact."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy_google as google
import numpy_resnet
import pytest
import torch
from google_files import (
    Arrays,
    jax_bit,
    linen,
    model,
    native,
    numbered,
    pre_linen,
    prefixed,
    raw,
    renamed,
    scanned,
    understand,
    unsqueezed,
)
from random_resnet import random_resnet
from random_vit import config

from vitreous.architecture import ResNetConfig, ViTConfig, feature_words
from vitreous.config import ModelCard
from vitreous.errors import ModelFileError, UsageError
from vitreous.model.create import build
from vitreous.weights.dialects.dialect import translate
from vitreous.weights.dialects.google import GOOGLE
from vitreous.weights.dialects.mapping import written
from vitreous.weights.formats.container import open_container
from vitreous.weights.formats.write import write_container
from vitreous.zoo import find_model

PUBLISHED: list[tuple[str, int, int, int]] = [  # name, classes, parameters, arrays
    # vit_jax/models_test.py
    ("vit-ti16", 1000, 5_717_416, 200),
    ("vit-s32", 1000, 22_878_952, 200),
    ("vit-s32-gap", 1000, 22_878_184, 199),
    ("vit-s16", 1000, 22_050_664, 200),
    ("vit-s16-gap", 1000, 22_049_896, 199),
    ("vit-b32", 1000, 88_224_232, 200),
    ("vit-b32-gap", 1000, 88_222_696, 199),
    ("vit-b16", 1000, 86_567_656, 200),
    ("vit-b16-gap", 1000, 86_566_120, 199),
    ("vit-b8", 1000, 86_576_872, 200),
    ("vit-l32", 1000, 306_535_400, 392),
    ("vit-l16", 1000, 304_326_632, 392),
    ("vit-h14", 1000, 632_045_800, 520),
    ("r+vit-ti16", 1000, 6_337_704, 203),
    ("r26+vit-s32", 1000, 36_431_912, 287),
    ("r26+vit-b32", 1000, 101_383_976, 287),
    ("r50+vit-b16", 1000, 98_659_112, 356),
    ("r50+vit-l32", 1000, 328_994_856, 551),
    # image towers of SigLIP and SigLIP 2: no class token, no head, attention pooling
    ("vit-b16-map", 0, 92_884_224, 20 + 12 * 16),
    ("vit-so400m14-map", 0, 427_680_704, 20 + 27 * 16),
    ("vit-g-opt16-map-256", 0, 1_163_168_256, 20 + 40 * 16),
    # big_transfer
    ("bit-r50x1", 1000, 25_549_352, 153),
    ("bit-r50x1", 21843, 68_256_659, 153),
    ("bit-r50x3", 1000, 217_319_080, 153),
    ("bit-r50x3", 21843, 345_399_315, 153),
    ("bit-r101x1", 1000, 44_541_480, 306),
    ("bit-r101x1", 21843, 87_248_787, 306),
    ("bit-r101x3", 1000, 387_934_888, 306),
    ("bit-r101x3", 21843, 516_015_123, 306),
    ("bit-r152x2", 1000, 236_335_208, 459),
    ("bit-r152x2", 21843, 321_728_979, 459),
    ("bit-r152x4", 1000, 936_533_224, 459),
    ("bit-r152x4", 21843, 1_107_299_923, 459),
]


@pytest.mark.parametrize(("name", "classes", "parameters", "arrays"), PUBLISHED)
def test_published_models_have_the_published_arrays(name: str, classes: int, parameters: int, arrays: int) -> None:
    """As many arrays and parameters as upstream says; from their names and shapes alone the model is found again."""
    asked = dataclasses.replace(find_model(name), num_classes=classes)
    target = GOOGLE.nearest(asked)
    with torch.device("meta"):
        foreign = written(GOOGLE.rules(target.architecture, target.form), build(target.architecture).state_dict())
    assert (arrays, parameters) == (len(foreign), sum(tensor.numel() for tensor in foreign.values()))
    hollow = {name: torch.ones(()).expand(tensor.shape) for name, tensor in foreign.items()}
    found = understand(hollow)
    tanh = {"gelu": "tanh"} if isinstance(asked, ViTConfig) else {}
    assert found.form == target.form
    assert found.architecture == dataclasses.replace(asked, **tanh)
    assert len(found.tensors) == arrays
    assert not found.dropped


def test_the_hidden_layer_of_pre_training_is_two_arrays_more() -> None:
    """The paper's imagenet21k files carry pre_logits."""
    arrays = google.vit_arrays(hidden=17)
    assert len(arrays) == len(google.vit_arrays()) + 2
    assert understand(arrays).architecture.representation_size == 17


VITS: dict[str, Callable[[Arrays], Arrays]] = {
    "Linen": linen,
    "Flax optimizer": lambda a: prefixed(a, "opt/target/"),
    "optax": lambda a: prefixed(linen(a), "params/"),
    "image tower": lambda a: prefixed(linen(a), "params/img/"),
    "image tower of LiT": lambda a: prefixed(a, "img/"),
    "stacked": lambda a: scanned(linen(a)),
    "stacked, pre-Linen": scanned,
    "stacked, image tower": lambda a: prefixed(scanned(linen(a)), "params/img/"),
    "table in the encoder": lambda a: renamed(linen(a), "posembed_input/", ""),
    "table at the root": lambda a: renamed(linen(a), "Transformer/posembed_input/", ""),
    "table at the root, pre-Linen": lambda a: renamed(a, "Transformer/posembed_input/", ""),
}


@pytest.mark.parametrize("spelling", VITS.values(), ids=VITS)
def test_every_spelling_of_a_vit_is_the_same_model(spelling: Callable[[Arrays], Arrays]) -> None:
    """Bit for bit, a class row in the table included."""
    arrays = google.vit_arrays(hidden=17)
    _same(native(spelling(arrays)), native(arrays))


MAPS: dict[str, Callable[[Arrays], Arrays]] = {
    "pre-Linen": pre_linen,
    "stacked": scanned,
    "table of vit_jax": lambda a: renamed(a, "pos_embedding", "Transformer/posembed_input/pos_embedding"),
    "pooling at the root": lambda a: renamed(a, "MAPHead_0/", ""),
    "pre-Linen pooling": lambda a: renamed(
        renamed(a, "MAPHead_0/LayerNorm_0", "MAPHead_0/LayerNorm_1"), "MAPHead_0/MlpBlock_0", "MAPHead_0/MlpBlock_2"
    ),
}


@pytest.mark.parametrize("spelling", MAPS.values(), ids=MAPS)
def test_every_spelling_of_attention_pooling_is_the_same_model(spelling: Callable[[Arrays], Arrays]) -> None:
    """As above, for SigLIP's image tower."""
    arrays = google.vit_arrays(pool="map", classes=0)
    _same(native(spelling(arrays)), native(arrays))


HYBRIDS: dict[str, Callable[[Arrays], Arrays]] = {
    "unsqueezed norms": unsqueezed,
    "Linen": linen,
    "Flax optimizer": lambda a: prefixed(unsqueezed(a), "opt/target/"),
}


@pytest.mark.parametrize("stem", [(), (1, 2)], ids=["root alone", "two stages"])
@pytest.mark.parametrize("spelling", HYBRIDS.values(), ids=HYBRIDS)
def test_every_spelling_of_a_hybrid_is_the_same_model(spelling: Callable[[Arrays], Arrays], stem: tuple[int]) -> None:
    """As above."""
    arrays = google.vit_arrays(stem=stem, patch=(2, 2) if not stem else (1, 1))
    _same(native(spelling(arrays)), native(arrays))


BITS: dict[str, Callable[[Arrays], Arrays]] = {
    "numbered": numbered,
    "big_vision": jax_bit,
    "big_vision, optax": lambda a: prefixed(jax_bit(a), "params/"),
    "unsqueezed norms": unsqueezed,
}


@pytest.mark.parametrize("spelling", BITS.values(), ids=BITS)
def test_every_spelling_of_bit_is_the_same_model(spelling: Callable[[Arrays], Arrays]) -> None:
    """As above."""
    arrays = numpy_resnet.bit_arrays((1, 2))
    _same(native(spelling(arrays)), native(arrays))


def test_bfloat16_kept_as_void_is_the_same_model(tmp_path: Path) -> None:
    """NumPy saves bfloat16 as two bytes of anything."""
    arrays = google.vit_arrays()
    halves = {name: torch.from_numpy(value).bfloat16() for name, value in arrays.items()}
    np.savez(tmp_path / "a.npz", **{name: half.view(torch.int16).numpy().view("V2") for name, half in halves.items()})
    read = open_container(tmp_path / "a.npz")
    ours, _ = translate(read, GOOGLE, GOOGLE.understand(read, {}))
    _same({name: value.float() for name, value in ours.items()}, native({n: h.float() for n, h in halves.items()}))


def test_training_state_and_the_text_tower_are_left_behind_by_name() -> None:
    """Each with its reason; the rest of the file is the model."""
    arrays = google.vit_arrays()
    beside = {"opt/state/param_states/cls/grad_ema": np.ones(3), "opt/state/step": np.ones(()), "extra/rng": np.ones(2)}
    found = understand(prefixed(arrays, "opt/target/") | beside)
    assert found.dropped.keys() == beside.keys()
    assert set(found.dropped.values()) == {"state of the optimizer or of the training run"}

    towers = prefixed(google.vit_arrays(pool="map", classes=0), "params/img/")
    text = {"params/txt/Encoder_0/encoderblock_0/LayerNorm_0/scale": np.ones(3), "params/t": np.ones(1)}
    found = understand(towers | text | {"params/b": np.ones(1)})
    assert found.dropped == {
        "params/txt/Encoder_0/encoderblock_0/LayerNorm_0/scale": "text tower: only the image tower is read",
        "params/t": "temperature or bias of the contrastive loss",
        "params/b": "temperature or bias of the contrastive loss",
    }


def test_nothing_else_is_left_behind() -> None:
    """A name like those of another tower is spare where there is one tower."""
    arrays = google.vit_arrays()
    for name in ("t", "txt/head/kernel", "Transformer/encoderblock_0/LayerNorm_9/scale", "params/cls"):
        with pytest.raises(ModelFileError, match=f"1 spare: {name}"):
            native(arrays | {name: np.ones(1, np.float32)})


# what is inferred


def test_what_names_and_shapes_tell() -> None:
    """Everything but the GELU, which is said aloud."""
    found = understand(google.vit_arrays(hidden=17))
    assert found.architecture == ViTConfig(
        name="vit-28x3-p8",
        image_size=(24, 24),
        patch_size=(8, 8),
        embed_dim=28,
        depth=3,
        num_heads=4,
        mlp_dim=44,
        num_classes=11,
        representation_size=17,
        gelu="tanh",
    )
    assert found.classes == ()
    assert [note for note in found.notes if note.startswith("GELU: tanh")]
    assert (found.preprocess.resize, found.preprocess.interpolation) == ("squash", "bilinear")
    assert (found.preprocess.mean, found.preprocess.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("pool", "pooled", "features"),
    [
        ("gap", "mean", "mean of the final-norm patch tokens"),
        ("map", "map", "attention pooling of the final-norm tokens"),
        ("tok", "cls", "final-norm class token"),
    ],
)
def test_big_visions_models_are_told_by_their_pooling(pool: str, pooled: str, features: str) -> None:
    """And evaluated as there: a central crop."""
    found = understand(google.vit_arrays(pool=pool))
    assert (found.form, found.architecture.pool) == ("big_vision", pooled)
    assert feature_words(found.architecture) == features
    assert found.architecture.num_prefix_positions == 0
    assert (found.preprocess.resize, found.preprocess.interpolation) == ("cover", "box")


def test_so400m_at_384_keeps_its_27_by_27_patches() -> None:
    """The size is not in the file: 378 by itself, 384 if a person says so, whose last 6 pixels are cut off."""
    arrays = {
        name: torch.ones(()).expand(value.shape)
        for name, value in google.vit_arrays(pool="map", patch=(14, 14), rows=729, classes=0).items()
    }
    assert understand(arrays).architecture.image_size == (378, 378)
    stated = understand(arrays, image_size=384).architecture
    assert (stated.image_size, stated.grid) == ((384, 384), (27, 27))


def test_settings_override_what_was_inferred() -> None:
    """GELU and epsilon as stated, and no note about what was not assumed."""
    found = understand(google.vit_arrays(), gelu="erf", norm_eps=1e-5)
    assert (found.architecture.gelu, found.architecture.norm_eps, found.notes) == ("erf", 1e-5, ())
    with pytest.raises(UsageError, match="no heads"):
        understand(google.vit_arrays(), heads=4)


def test_a_rectangular_table_needs_its_image_size() -> None:
    """Fifteen rows are no square; three by five is what a person says."""
    arrays = google.vit_arrays(rows=15)
    with pytest.raises(ModelFileError, match="16 rows, which are no square grid"):
        understand(arrays)
    assert model(arrays, image_size=(24, 40)).config.grid == (3, 5)


def test_no_table_needs_the_image_size() -> None:
    """Sines fit every size."""
    with pytest.raises(ModelFileError, match="does not tell what image size"):
        understand(google.vit_arrays(pool="gap", rows=0))
    found = understand(google.vit_arrays(pool="gap", rows=0), image_size=32)
    assert (found.architecture.position, found.architecture.image_size) == ("sincos", (32, 32))


def test_a_class_row_without_a_class_token_is_cut_off_as_upstream_does() -> None:
    """And said."""
    arrays = google.vit_arrays(pool="gap")
    longer = np.concatenate([np.full((1, 1, 28), 7, np.float32), arrays["pos_embedding"]], axis=1)
    _same(native(arrays | {"pos_embedding": longer}), native(arrays))
    assert any("first row" in note for note in understand(arrays | {"pos_embedding": longer}).notes)


def test_a_head_of_zeros_is_said() -> None:
    """As in the paper's imagenet21k files."""
    arrays = google.vit_arrays()
    zeros = arrays | {"head/kernel": np.zeros((28, 11), np.float32)}
    assert not any("zeros" in note for note in understand(arrays).notes)
    assert any("the head is all zeros" in note for note in understand(zeros).notes)


def test_flexivit_is_told_from_other_patch_32_models() -> None:
    """By a class token without a position at seven by seven patches; its size is 240."""
    flexible = understand(google.vit_arrays(pool="tok", patch=(32, 32), rows=49)).architecture
    assert (flexible.image_size, flexible.grid, flexible.resample) == ((240, 240), (7, 7), "bilinear-antialias")
    for pool in ("token", "gap", "map"):
        plain = understand(google.vit_arrays(pool=pool, patch=(32, 32), rows=49)).architecture
        assert (plain.image_size, plain.resample) == ((224, 224), "bilinear-corners")


def test_another_patch_size_resizes_the_kernel_and_says_so() -> None:
    """The image size stays, so the table follows the finer grid."""
    found = understand(google.vit_arrays(pool="tok", patch=(32, 32), rows=49), patch_size=16)
    assert (found.architecture.patch_size, found.architecture.grid) == ((16, 16), (15, 15))
    assert found.tensors["embedding/kernel"].shape == (16, 16, 3, 28)
    assert found.tensors["pos_embedding"].shape == (1, 225, 28)
    assert sum("resized" in note for note in found.notes) == 2


def test_bit_is_evaluated_at_the_size_a_person_states() -> None:
    """No array tells it; the release squashes."""
    arrays = numpy_resnet.bit_arrays((1, 2))
    assert understand(arrays).architecture == ResNetConfig(name="bit-1-2-x1", layers=(1, 2), num_classes=11)
    found = understand(arrays, image_size=480)
    assert (found.architecture.image_size, found.preprocess.image_size) == ((480, 480), (480, 480))
    assert (found.preprocess.resize, feature_words(found.architecture)) == ("squash", "mean of the last feature map")


# what is refused


def test_a_mixer_is_refused_with_words() -> None:
    """It has the same makers and no attention."""
    arrays = {"stem/kernel": np.ones((16, 16, 3, 8)), "MixerBlock_0/token_mixing/Dense_0/kernel": np.ones((4, 8))}
    with pytest.raises(ModelFileError, match="MLP-Mixer: it has no attention"):
        understand(arrays)


def test_other_ecosystems_are_not_recognised() -> None:
    """Nor arrays that merely have slashes."""
    for names in (["patch_embed.proj.weight", "cls_token"], ["Transformer/kernel"], ["resnet/head"], []):
        assert not GOOGLE.recognises(raw({name: np.ones(1) for name in names}))


def test_everything_that_does_not_fit_is_one_error() -> None:
    """Missing, spare and misshapen, each by name."""
    arrays = google.vit_arrays()
    del arrays["Transformer/encoderblock_1/MlpBlock_3/Dense_0/bias"]
    arrays["Transformer/encoderblock_2/LayerNorm_0/scale"] = np.ones(5, np.float32)
    arrays["sigma"] = np.ones(5, np.float32)
    with pytest.raises(ModelFileError) as caught:
        native(arrays)
    for part in (
        "1 missing: Transformer/encoderblock_1/MlpBlock_3/Dense_0/bias",
        "1 spare: sigma",
        r"1 misshapen: Transformer/encoderblock_2/LayerNorm_0/scale gives (5,), (28,) is wanted",
    ):
        assert part in str(caught.value)


def test_a_block_that_is_missing_is_not_closed_over() -> None:
    """The others keep their numbers."""
    arrays = {k: v for k, v in google.vit_arrays().items() if "encoderblock_1/" not in k}
    with pytest.raises(ModelFileError, match="16 missing: Transformer/encoderblock_1/LayerNorm_0/scale"):
        native(arrays)


def test_a_number_out_of_all_proportion_builds_nothing() -> None:
    """A name is no reason to make a million blocks."""
    arrays = google.vit_arrays() | {"Transformer/encoderblock_999999/LayerNorm_0/scale": np.ones(28)}
    with pytest.raises(ModelFileError, match="numbered wrongly"):
        native(arrays)


def test_one_part_in_two_spellings_is_refused() -> None:
    """Neither is taken over the other."""
    arrays = google.vit_arrays()
    with pytest.raises(ModelFileError, match="two arrays in this file are the same part"):
        native(arrays | {"pos_embedding": arrays["Transformer/posembed_input/pos_embedding"]})


DECIDING = (
    "embedding/kernel",
    "pos_embedding",
    "Transformer/encoderblock_0/MultiHeadDotProductAttention_0/query/kernel",
    "Transformer/encoderblock_0/MlpBlock_0/Dense_0/kernel",
    "MAPHead_0/probe",
    "pre_logits/kernel",
    "head/kernel",
)


@pytest.mark.parametrize("shape", [(), (5,), (10**12, 0), (1, 1, 1, 1, 1)])
@pytest.mark.parametrize("name", DECIDING)
def test_shapes_that_tell_nothing_are_refused(name: str, shape: tuple[int, ...]) -> None:
    """Empty arrays, and those with other axes, end in our error and never in another's."""
    with pytest.raises(ModelFileError):
        native(google.vit_arrays(depth=1, pool="map", hidden=17) | {name: np.ones(shape, np.float32)})


def test_a_stack_that_claims_a_billion_blocks_is_refused() -> None:
    """An empty array of any length has no bytes."""
    arrays = {k: v for k, v in google.vit_arrays().items() if "encoderblock" not in k}
    with pytest.raises(ModelFileError, match="encoderblock_0"):
        native(arrays | {"Transformer/encoderblock/LayerNorm_0/scale": np.ones((10**12, 0), np.float32)})


# writing


FILES: dict[str, Arrays] = {
    "vit_jax": google.vit_arrays(hidden=17),
    "gap": google.vit_arrays(pool="gap"),
    "map": google.vit_arrays(pool="map", classes=0),
    "tok": google.vit_arrays(pool="tok"),
    "hybrid": google.vit_arrays(stem=(1, 2), patch=(1, 1)),
    "root alone": google.vit_arrays(stem=(), patch=(2, 2)),
    "BiT": numpy_resnet.bit_arrays((1, 2)),
    "ResNet v1": numpy_resnet.hybrid_arrays((1, 2)),
}


@pytest.mark.parametrize("arrays", FILES.values(), ids=FILES)
def test_a_file_read_and_written_is_the_same_file(arrays: Arrays) -> None:
    """Every name, shape and bit."""
    found = understand(arrays)
    target = GOOGLE.nearest(found.architecture)
    assert (target.form, target.architecture, target.differences) == (found.form, found.architecture, ())
    made = written(GOOGLE.rules(target.architecture, target.form), native(arrays))
    assert made.keys() == arrays.keys()
    for name, value in arrays.items():
        assert torch.equal(made[name], torch.from_numpy(value)), name


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"representation_size": 17},
        {"prefix_position": False},
        {"pool": "mean", "class_token": False},
        {"pool": "map", "class_token": False, "num_classes": 0},
        {"pool": "mean", "class_token": False, "position": "sincos"},
        {"stem": ResNetConfig(name="resnet", style="v1", layers=(1, 2), num_classes=0), "patch_size": (1, 1)},
    ],
)
def test_a_model_written_and_read_is_the_same_model(changes: dict[str, Any], tmp_path: Path) -> None:
    """Through a file on disk, rectangles included."""
    made = build(config(gelu="tanh", **changes))
    ours = {name: torch.randn_like(value) for name, value in made.state_dict().items()}
    target = GOOGLE.nearest(made.config)
    assert (target.architecture, target.differences) == (made.config, ())
    package = GOOGLE.package(target.architecture, ModelCard(architecture=made.config), target.form)
    path = tmp_path / package.file_name
    write_container(path, package.kind, written(GOOGLE.rules(made.config, target.form), ours), {})
    read = open_container(path)
    found = GOOGLE.understand(read, {"image_size": made.config.image_size})
    assert dataclasses.replace(found.architecture, name="vit") == made.config
    _same(translate(read, GOOGLE, found)[0], ours)


@pytest.mark.parametrize("style", ["v1", "v2"])
def test_a_resnet_written_and_read_is_the_same_model(style: str) -> None:
    """BiT under the release's names, v1 under big_vision's."""
    made = random_resnet(style=style)
    target = GOOGLE.nearest(made.config)
    assert (target.form, target.differences) == ("bit" if style == "v2" else "bit-v1", ())
    arrays = written(GOOGLE.rules(made.config, target.form), made.state_dict())
    _same(native({name: value.detach().numpy() for name, value in arrays.items()}), made.state_dict())


def test_differences_are_named() -> None:
    """What Google's code would compute otherwise."""
    target = GOOGLE.nearest(config(gelu="erf", norm_eps=1e-12))
    assert target.differences == ("GELU: erf becomes tanh", "LayerNorm epsilon: 1e-12 becomes 1e-06")
    assert (target.architecture.gelu, target.architecture.norm_eps) == ("tanh", 1e-6)
    stem = ResNetConfig(style="v1", layers=(), num_classes=0, norm_eps=1e-5, padding="symmetric")
    target = GOOGLE.nearest(config(gelu="tanh", stem=stem, patch_size=(2, 2)))
    assert target.differences == (
        "GroupNorm epsilon: 1e-05 becomes 1e-06",
        "padding of convolutions: symmetric becomes same",
    )
    bit = GOOGLE.nearest(ResNetConfig(layers=(1, 2), standardize_eps=1e-8))
    assert bit.differences == ("epsilon of the weight standardisation: 1e-08 becomes 1e-10",)


def test_absent_biases_and_layer_scale_are_no_difference() -> None:
    """They are zeros, and multiplied in."""
    source = config(gelu="tanh", qkv_bias="none", proj_bias=False, layer_scale=0.1, head_bias=False, patch_bias=False)
    target = GOOGLE.nearest(source)
    assert (target.differences, target.architecture) == ((), config(gelu="tanh"))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"registers": 2}, "registers=2"),
        ({"mlp": "swiglu"}, "mlp='swiglu'"),
        ({"rotary": "dinov3", "num_heads": 7}, "rotary='dinov3'"),
        ({"pre_norm": True}, "pre_norm=True"),
        ({"pool": "cls+mean"}, "pool='cls.mean' with a class token"),
        ({"pool": "mean", "class_token": True}, "pool='mean' with a class token"),
        ({"pool": "none", "class_token": False}, "pool='none' without a class token"),
        ({"position": "learned-2d"}, "position='learned-2d'"),
        ({"pool": "mean", "pool_norm": "after"}, "pool_norm='after'"),
    ],
)
def test_what_the_files_have_no_place_for_is_refused(changes: dict[str, Any], named: str) -> None:
    """By name."""
    with pytest.raises(UsageError, match=named):
        GOOGLE.nearest(config(**changes))


def _same(ours: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == wanted.keys()
    for name, value in wanted.items():
        assert torch.equal(ours[name], value), name

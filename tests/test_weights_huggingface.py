"""Hugging Face's dialect without its library: spellings, config.json, what is dropped, refused and noted."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from foreign_files import equal_states, raw, read
from random_vit import config, random_vit
from torch import Tensor

from vitreous.architecture import ResNetConfig, ViTConfig
from vitreous.config import ModelCard, PreprocessConfig
from vitreous.errors import ModelFileError, UsageError
from vitreous.model.vit import ViT
from vitreous.weights.dialects.equivalent import rewritten
from vitreous.weights.dialects.hf_preprocess import read_preprocess, write_preprocess
from vitreous.weights.dialects.huggingface import HUGGINGFACE
from vitreous.weights.dialects.mapping import written

SQUARE: dict[str, Any] = {"image_size": (40, 40), "resample": "bicubic"}
FAMILIES: dict[str, dict[str, Any]] = {
    "vit": {},
    "vit, tanh layer": {"num_classes": 0, "representation_size": 19},
    "deit": {"distill_token": True},
    "dinov2": {"layer_scale": 1.0, "pool": "cls+mean", "mlp_dim": 56},
    "dinov2, gated": {"layer_scale": 1.0, "num_classes": 0, "mlp": "swiglu", "mlp_dim": 40},
    "registers": {
        "layer_scale": 1.0, "registers": 3, "pool": "cls+mean", "mlp_dim": 56, "resample": "bicubic-antialias",
    },
    "dinov3": {
        "layer_scale": 1.0, "registers": 3, "num_classes": 0, "rotary": "dinov3", "position": "none",
        "qkv_bias": "query-value", "embed_dim": 32, "mlp": "swiglu",
    },
    "clip": {"pre_norm": True, "patch_bias": False, "head_bias": False, "gelu": "quick"},
    "gap": {"pool": "mean", "gelu": "tanh"},
}  # fmt: skip


def saved(model: ViT, **card: Any) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]:
    """Tensors, config.json and preprocessor_config.json that a conversion would write."""
    target = HUGGINGFACE.nearest(model.config)
    native = rewritten(dict(model.state_dict()), model.config, target.architecture)
    package = HUGGINGFACE.package(target.architecture, ModelCard(architecture=model.config, **card), target.form)
    assert (package.kind, package.file_name, package.metadata) == ("safetensors", "model.safetensors", {"format": "pt"})
    tensors = written(HUGGINGFACE.rules(target.architecture, target.form), native)
    return tensors, package.sidecars["config.json"], package.sidecars["preprocessor_config.json"]


def vit(**changes: Any) -> ViT:
    return random_vit(**(SQUARE | changes))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_written_comes_back(family: str) -> None:
    """Every tensor bit for bit, every option, every class name and the preprocessing."""
    model = vit(**FAMILIES[family])
    classes = tuple(f"kind {i}" for i in range(model.config.num_classes if family != "clip" else 0))
    preprocess = PreprocessConfig(
        image_size=(40, 40), crop_ratio=40 / 47, interpolation="bilinear", std=(0.1, 0.2, 0.3)
    )
    tensors, told, processor = saved(model, classes=classes, preprocess=preprocess)
    again, understood = read(HUGGINGFACE, raw(tensors, config_json=told, preprocessor_config_json=processor))
    assert equal_states(again.state_dict(), model.state_dict())
    assert understood.classes == classes
    assert understood.preprocess == preprocess
    assert understood.notes == ()
    names = {"name": "vit", "drop_path_schedule": "linear", "edge": "refuse"}
    for field in ViTConfig.__slots__:
        kept = understood.architecture if field not in names else model.config
        if not (field == "head_bias" and not model.config.num_classes):
            assert getattr(kept, field) == getattr(model.config, field), field


NEW = {
    "vit": ((r"encoder\.layer\.", "layers."),),
    "dinov2": (),
    "dinov3": ((r"^layer\.", "model.layer."),),
    "all": (
        (r"attention\.attention\.query", "attention.q_proj"),
        (r"attention\.attention\.key", "attention.k_proj"),
        (r"attention\.attention\.value", "attention.v_proj"),
        (r"attention\.output\.dense", "attention.o_proj"),
        (r"intermediate\.dense", "mlp.fc1"),
        (r"\.output\.dense", ".mlp.fc2"),
        (r"mlp\.weights_out", "mlp.down_proj"),
    ),
}
"""Names on disk to version 5's names in memory, as transformers' conversion_mapping.py has them, step by step."""


def in_memory(tensors: dict[str, Tensor], family: str) -> dict[str, Tensor]:
    """The names and pieces that version 5 holds in memory."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        for pattern, new in (*NEW["vit" if family in ("vit", "vit, tanh layer", "deit") else family.partition(",")[0]
                                  if family.startswith("dino") else "dinov2"], *NEW["all"]):  # fmt: skip
            name = re.sub(pattern, new, name)
        if "weights_in" in name:
            gate, value = tensor.chunk(2)
            found |= {name.replace("weights_in", "gate_proj"): gate, name.replace("weights_in", "up_proj"): value}
        else:
            found[name.removeprefix("vision_model.")] = tensor
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_both_versions_names_are_the_same_weights(family: str) -> None:
    """Version 5's names in memory give the tensors of the names on disk, bit for bit."""
    model = vit(**FAMILIES[family])
    tensors, told, _ = saved(model)
    again, _ = read(HUGGINGFACE, raw(in_memory(tensors, family), config_json=told))
    assert equal_states(again.state_dict(), model.state_dict())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "base_model.model.", "module._orig_mod."])
def test_wrappers_leave_their_prefix(family: str, prefix: str) -> None:
    """What wrapper modules put in front of every name changes nothing."""
    model = vit(**FAMILIES[family])
    tensors, told, _ = saved(model)
    again, _ = read(HUGGINGFACE, raw({prefix + k: v for k, v in tensors.items()}, config_json=told))
    assert equal_states(again.state_dict(), model.state_dict())


@pytest.mark.parametrize("prefix", ["", "vit.", "vision_model.", "encoder_of_mine.", "model.vit."])
def test_the_encoder_may_have_any_prefix(prefix: str) -> None:
    """ViTModel has none, ViTForImageClassification its own; the classifier stands beside."""
    tensors, told, _ = saved(vit())
    named = {re.sub(r"^vit\.", prefix, name): tensor for name, tensor in tensors.items()}
    again, _ = read(HUGGINGFACE, raw(named, config_json=told))
    assert equal_states(again.state_dict(), vit().state_dict())


DROPPED = {
    "vit": {
        "vit.embeddings.mask_token": "mask token", "decoder.0.weight": "decoder", "vit.pooler.dense.weight": "tanh",
    },
    "clip": {
        "text_model.encoder.layers.0.mlp.fc1.weight": "text tower", "text_projection.weight": "text tower",
        "logit_scale": "similarities", "vision_model.embeddings.position_ids": "no weights",
    },
    "gap": {"vision_model.head.probe": "attention pooling", "logit_bias": "similarities"},
    "dinov2": {"dinov2.embeddings.mask_token": "mask token"},
}  # fmt: skip


@pytest.mark.parametrize("family", DROPPED)
def test_what_is_not_needed_is_dropped_by_name(family: str) -> None:
    """Each with its reason; nothing else is."""
    tensors, told, _ = saved(vit(**FAMILIES[family]))
    extra = {name: torch.randn(1, 28) for name in DROPPED[family]}
    again, understood = read(HUGGINGFACE, raw(tensors | extra, config_json=told))
    assert equal_states(again.state_dict(), vit(**FAMILIES[family]).state_dict())
    assert len(understood.dropped) == len(extra)
    assert all(any(why in said for said in understood.dropped.values()) for why in DROPPED[family].values())


def test_without_a_config_the_assumptions_are_told() -> None:
    """Heads of a published width, epsilon, GELU and preprocessing are the family's own, and said so."""
    model = vit(embed_dim=192, num_heads=3)
    tensors, _, _ = saved(model)
    again, understood = read(HUGGINGFACE, raw(tensors))
    assert (again.config.num_heads, again.config.norm_eps, again.config.gelu) == (3, 1e-12, "erf")
    assert again.config.image_size == (40, 40)
    said = " ".join(understood.notes)
    assert all(word in said for word in ("no config.json", "heads 3", "1e-12", "GELU erf", "preprocessor_config.json"))
    assert (understood.preprocess.resize, understood.preprocess.interpolation) == ("squash", "bilinear")


def test_heads_of_no_published_width_must_be_stated() -> None:
    tensors, _, _ = saved(vit())
    with pytest.raises(ModelFileError, match=r"settings=\{'num_heads'"):
        HUGGINGFACE.understand(raw(tensors), {})
    again, _ = read(HUGGINGFACE, raw(tensors), num_heads=4, norm_eps=1e-6)
    assert again.config.num_heads == 4


def test_a_table_of_no_square_needs_the_image_size() -> None:
    model = random_vit(resample="bicubic")
    tensors, told, _ = saved(model)
    assert read(HUGGINGFACE, raw(tensors, config_json=told))[0].config.image_size == (24, 40)
    with pytest.raises(ModelFileError, match="image_size"):
        HUGGINGFACE.understand(raw(tensors), {"num_heads": 4})
    again, _ = read(HUGGINGFACE, raw(tensors), num_heads=4, image_size=(24, 40))
    assert again.config.grid == (3, 5)


CONTRADICTIONS = {
    "hidden_size": 32, "num_hidden_layers": 4, "intermediate_size": 48, "num_channels": 1, "patch_size": 4,
    "image_size": 48, "qkv_bias": False, "model_type": "beit",
}  # fmt: skip


@pytest.mark.parametrize("key", CONTRADICTIONS)
def test_a_config_of_other_weights_is_refused(key: str) -> None:
    """With both values."""
    tensors, told, _ = saved(vit())
    with pytest.raises(ModelFileError, match=rf"(?s)contradict.*{key}.*{CONTRADICTIONS[key]}"):
        HUGGINGFACE.understand(raw(tensors, config_json=told | {key: CONTRADICTIONS[key]}), {})


@pytest.mark.parametrize(
    ("family", "key", "value"),
    [("registers", "num_register_tokens", 4), ("dinov2", "mlp_ratio", 4), ("dinov2, gated", "use_swiglu_ffn", False)],
)
def test_a_config_of_another_variant_is_refused(family: str, key: str, value: Any) -> None:
    tensors, told, _ = saved(vit(**FAMILIES[family]))
    with pytest.raises(ModelFileError, match=rf"(?s)contradict.*{key}"):
        HUGGINGFACE.understand(raw(tensors, config_json=told | {key: value}), {})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hidden_act": "relu"}, "hidden_act 'relu'"),
        ({"pooler_act": "gelu"}, "in place of tanh"),
        ({"image_size": "large"}, "image_size"),
        ({"image_size": [40, 40, 3]}, "image_size"),
        ({"layer_norm_eps": "small"}, "layer_norm_eps"),
        ({"num_attention_heads": "4"}, "num_attention_heads"),
        ({"hidden_dropout_prob": [0.1]}, "hidden_dropout_prob"),
        ({"hidden_act": ["gelu"]}, "hidden_act"),
        ({"id2label": {"0": "a"}}, "1 classes"),
        ({"id2label": {f"{i + 1}": "a" for i in range(11)}}, "from 0"),
        ({"id2label": {f"n{i}": "a" for i in range(11)}}, "from 0"),
    ],
)
def test_a_config_that_cannot_be_is_refused(changes: dict[str, Any], says: str) -> None:
    model = vit(num_classes=0, representation_size=19) if "pooler_act" in changes else vit()
    tensors, told, _ = saved(model)
    with pytest.raises(ModelFileError, match=says):
        HUGGINGFACE.understand(raw(tensors, config_json=told | changes), {})


def test_class_names_stand_in_the_order_of_their_ids() -> None:
    tensors, told, _ = saved(vit())
    assert HUGGINGFACE.understand(raw(tensors, config_json=told), {}).classes == ()  # placeholders LABEL_0 ...
    names = {str(i): f"kind {i}" for i in reversed(range(11))}
    understood = HUGGINGFACE.understand(raw(tensors, config_json=told | {"id2label": names}), {})
    assert understood.classes == tuple(f"kind {i}" for i in range(11))


@pytest.mark.parametrize(("answers", "problem"), [("one", None), ("several", "multi_label_classification")])
def test_whether_classes_exclude_each_other_comes_back(answers: str, problem: str | None) -> None:
    tensors, told, _ = saved(vit(), answers=answers)
    assert told.get("problem_type") == problem  # what transformers' pipeline picks softmax or sigmoid by
    assert HUGGINGFACE.understand(raw(tensors, config_json=told), {}).answers == answers


def test_code_of_a_config_is_named_and_not_run() -> None:
    tensors, told, _ = saved(vit())
    told |= {"auto_map": {"AutoModel": "modeling_mine.MineModel"}}
    understood = HUGGINGFACE.understand(raw(tensors, config_json=told), {})
    assert any("modeling_mine.MineModel" in note and "not run" in note for note in understood.notes)


def test_a_nested_config_is_that_of_the_image_tower() -> None:
    """CLIP's and SigLIP's whole models keep it beside the text tower's; what it leaves out is the family's default."""
    tensors, told, _ = saved(vit(**FAMILIES["clip"], norm_eps=3e-5))
    whole = {"model_type": "clip", "text_config": {"hidden_size": 9}, "vision_config": told}
    again, _ = read(HUGGINGFACE, raw(tensors, config_json=whole))
    assert (again.config.norm_eps, again.config.num_heads, again.config.gelu) == (3e-5, 4, "quick")
    sparse = {"model_type": "clip", "vision_config": {"num_attention_heads": 4, "image_size": 40, "patch_size": 8}}
    again, _ = read(HUGGINGFACE, raw(tensors, config_json=sparse))
    assert (again.config.norm_eps, again.config.gelu) == (1e-5, "quick")


def test_settings_stand_over_the_config() -> None:
    tensors, told, _ = saved(vit())
    again, _ = read(HUGGINGFACE, raw(tensors, config_json=told), gelu="tanh", num_heads=7, name="mine")
    assert (again.config.gelu, again.config.num_heads, again.config.name) == ("tanh", 7, "mine")


def damaged(tensors: dict[str, Tensor], how: str) -> dict[str, Tensor]:
    norm = "vit.encoder.layer.1.layernorm_after.weight"
    match how:
        case "missing":
            return {name: tensor for name, tensor in tensors.items() if name != norm}
        case "spare":
            return tensors | {"vit.encoder.layer.1.lora_A.weight": torch.zeros(1)}
        case "misshapen":
            return tensors | {norm: torch.zeros(5)}
        case "stranger":
            return tensors | {"box_head.weight": torch.zeros(1)}
        case "twice":
            return tensors | {"vit.layers.1.layernorm_after.weight": torch.zeros(28)}
    raise AssertionError


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("missing", r"1 missing: vit\.encoder\.layer\.1\.layernorm_after\.weight"),
        ("spare", "LoRA"),
        ("misshapen", r"1 misshapen: .*layernorm_after.*\(5,\)"),
        ("stranger", r"1 spare: box_head\.weight"),
        ("twice", "1 spare: .*layers"),
    ],
)
def test_what_does_not_fit_is_one_error(how: str, says: str) -> None:
    tensors, told, _ = saved(vit())
    with pytest.raises(ModelFileError, match=rf"(?s){says}"):
        read(HUGGINGFACE, raw(damaged(tensors, how), config_json=told))


def test_towers_that_no_model_here_computes_are_refused() -> None:
    tensors, told, _ = saved(vit(**FAMILIES["clip"] | {"num_classes": 0}))
    with pytest.raises(ModelFileError, match="leaves out the norm"):
        HUGGINGFACE.understand(raw(tensors | {"classifier.weight": torch.zeros(3, 28)}, config_json=told), {})
    naflex = {name: tensor.flatten(1) if "patch_embedding" in name else tensor for name, tensor in tensors.items()}
    with pytest.raises(ModelFileError, match="NaFlex"):
        HUGGINGFACE.understand(raw(naflex, config_json=told), {})


def test_other_ecosystems_names_are_nobodys_here() -> None:
    """timm's and our own, torchvision's, OpenCLIP's."""
    assert not HUGGINGFACE.recognises(raw(vit().state_dict()))
    assert not HUGGINGFACE.recognises(raw({"conv_proj.weight": torch.zeros(1), "visual.conv1.weight": torch.zeros(1)}))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"representation_size": 19}, "representation_size"),
        ({"registers": 3, "mlp_dim": 44}, "mlp_dim=44"),
        ({"pool": "map", "class_token": True}, "class_token"),
        ({"pool": "map", "class_token": False}, "classifier"),
        ({"pool": "mean", "class_token": False, "pool_norm": "after"}, "pool_norm"),
        ({"pool": "mean", "class_token": False, "image_size": (24, 40)}, "only squares"),
        ({"attention": "axial"}, "attention"),
        ({"qk_norm": True}, "qk_norm"),
        ({"position": "learned-2d"}, "position"),
        ({"position_at": "every"}, "position_at"),
        ({"rotary": "eva", "embed_dim": 32}, "rotary"),
        ({"rotary": "dinov3", "embed_dim": 32, "position": "none"}, "classifier"),
        ({"pre_norm": True}, "patch_bias"),
    ],
)
def test_options_that_no_class_has_are_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        HUGGINGFACE.nearest(config(**(SQUARE | changes)))


def test_resnets_are_not_written() -> None:
    with pytest.raises(UsageError, match="ResNet"):
        HUGGINGFACE.nearest(ResNetConfig(layers=(1, 1, 1, 1)))


def test_periods_rounded_to_bfloat16_are_a_difference() -> None:
    target = HUGGINGFACE.nearest(vit(**FAMILIES["dinov3"], rotary_dtype="bfloat16").config)
    assert target.differences == ("rotary periods: bfloat16 becomes float32",)


@pytest.mark.parametrize(
    ("said", "expected", "noted"),
    [
        ({"size": 224}, {"image_size": (224, 224), "resize": "squash", "interpolation": "bilinear"}, ""),
        (
            {"feature_extractor_type": "CLIPFeatureExtractor", "size": 224, "crop_size": 224},
            {"resize": "cover", "crop_ratio": 1.0, "interpolation": "bicubic"}, "",
        ),
        (
            {"image_processor_type": "DeiTImageProcessor", "size": 256, "crop_size": 224},
            {"image_size": (224, 224), "resize": "squash-cut", "crop_ratio": 224 / 256}, "",
        ),
        (
            {"image_processor_type": "DeiTImageProcessor", "size": {"height": 256, "width": 300}, "crop_size": 224},
            {"image_size": (224, 224), "resize": "cover", "crop_ratio": 224 / 256}, "aspect ratio",
        ),
        ({"size": {"shortest_edge": 448}}, {"image_size": (40, 40), "resize": "cover"}, "does not crop"),
        ({"do_resize": False}, {"image_size": (40, 40), "resize": "squash"}, "does not resize"),
        ({"size": 40, "resample": 5}, {"interpolation": "bicubic"}, "filter 5"),
        ({"size": {"shortest_edge": 30}, "do_center_crop": True, "crop_size": 40}, {"crop_ratio": 1.0}, "pads"),
        ({"size": 40, "do_rescale": False}, {"mean": (0.5 / 255,) * 3, "std": (0.5 / 255,) * 3}, ""),
    ],
)  # fmt: skip
def test_preprocessor_configs(said: dict[str, Any], expected: dict[str, Any], noted: str) -> None:
    """Every way to write a size; what cannot be said exactly is a note."""
    found, notes = read_preprocess("here", "vit", said, (40, 40))
    assert {field: getattr(found, field) for field in expected} == expected
    assert noted in " ".join(notes)
    assert bool(notes) == bool(noted)


@pytest.mark.parametrize(
    "said",
    [{"size": "big"}, {"size": 40, "image_mean": ["a"]}, {"size": 40, "image_std": [0, 0, 0]}, {"size": [1, 2, 3]}],
)
def test_preprocessor_configs_that_cannot_be(said: dict[str, Any]) -> None:
    with pytest.raises(ModelFileError):
        read_preprocess("here", "vit", said, (40, 40))


@pytest.mark.parametrize(
    ("family", "size", "ratio"),
    [("dinov2", 224, 224 / 256), ("clip_vision_model", 40, 1.0), ("deit", 40, 40 / 45), ("vit", 40, 0.875)],
)
def test_preprocessing_that_is_not_stated_is_the_familys(family: str, size: int, ratio: float) -> None:
    found, notes = read_preprocess("here", family, None, (40, 40))
    assert (found.image_size, found.crop_ratio) == ((size, size), ratio)
    assert "no preprocessor_config.json" in notes[0]
    again, _ = read_preprocess("here", family, write_preprocess(found), (40, 40))
    assert again == found

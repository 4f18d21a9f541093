"""Hugging Face's image towers, read and written: the same answers as transformers' own code."""

from __future__ import annotations

import functools
import json
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import oracles
import pytest
import torch
from foreign_files import draw_wide, equal_states, raw, read
from parity import agree
from random_vit import draw, random_images, random_vit
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vitreous.config import ModelCard
from vitreous.model.vit import ViT
from vitreous.picture.preprocess import preprocess
from vitreous.weights.dialects.equivalent import rewritten
from vitreous.weights.dialects.hf_preprocess import read_preprocess, write_preprocess
from vitreous.weights.dialects.huggingface import HUGGINGFACE
from vitreous.weights.dialects.mapping import written

TINY: dict[str, Any] = {
    "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 44,
    "image_size": 40, "patch_size": 8,
}  # fmt: skip
DINOV2 = {name: value for name, value in TINY.items() if name != "intermediate_size"} | {"mlp_ratio": 2}
DECODER = {
    "decoder_hidden_size": 16, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 20,
}  # fmt: skip
TEXT = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 20, "vocab_size": 50,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
CLASSES = {"num_labels": 11}


@functools.cache
def transformers() -> ModuleType:
    """transformers, without what it says while it is imported."""
    oracles.torchvision()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import transformers

        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        return transformers


def against() -> str:
    return f"transformers {transformers().__version__}"


def theirs(class_name: str, config_name: str, values: dict[str, Any], *, wide: bool = False) -> nn.Module:
    """A model of theirs, every number drawn; its classifiers scaled up so that answers are not flat."""
    library = transformers()
    torch.manual_seed(0)
    model = getattr(library, class_name)(getattr(library, config_name)(**values))
    periods = {name: b.clone() for name, b in model.named_buffers() if name.endswith("inv_freq")}
    empty = {name: value for name, value in model.named_parameters() if not value.numel()}  # no registers
    for name in empty:
        model.get_submodule(name.rpartition(".")[0])._parameters.pop(name.rpartition(".")[2])
    for part in [model.vision_model, model.visual_projection] if class_name == "CLIPModel" else [model]:
        (draw_wide if wide else draw)(part)
    for name, value in empty.items():
        model.get_submodule(name.rpartition(".")[0]).register_parameter(name.rpartition(".")[2], value)
    for name, buffer in model.named_buffers():
        if name in periods:  # computed, not learned: the model has no place to keep other ones
            buffer.copy_(periods[name])
    for name, value in model.named_parameters():
        if "classifier.weight" in name or "visual_projection" in name:
            value.data.mul_(2)
    return model.eval()


@torch.no_grad()
def answer(model: nn.Module, images: Tensor) -> Tensor:
    """What their model says at any resolution: logits, embedding, or what its pooling gives."""
    name = type(model).__name__
    options: dict[str, Any] = {} if "ino" in name.lower() else {"interpolate_pos_encoding": True}
    if "MAE" in name:
        patches = images.shape[-2] // 8 * (images.shape[-1] // 8) if model.config.patch_size == 8 else 196
        options["noise"] = torch.arange(patches).float().expand(len(images), -1)  # keeps all, in their order
        model = model.vit if hasattr(model, "vit") else model
    if "MaskedImage" in name:
        model = model.vit
    said = model.get_image_features(images, **options) if name == "CLIPModel" else model(images, **options)
    for field in ("logits", "image_embeds", "pooler_output"):
        if getattr(said, field, None) is not None:
            return getattr(said, field)
    return said.last_hidden_state[:, 0]


def ours(model: nn.Module, names: dict[str, Tensor] | None = None, **settings: Any) -> ViT:
    """Our model of theirs, from its names in memory unless others are given, and from the config.json it would have."""
    config = json.loads(model.config.to_json_string(use_diff=False))
    return read(HUGGINGFACE, raw(names or model.state_dict(), config_json=config), **settings)[0]


def on_disk(model: nn.Module, folder: Path) -> dict[str, Tensor]:
    """The names that save_pretrained writes, which are those of version 4."""
    model.save_pretrained(folder)
    return load_file(folder / "model.safetensors")


MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "ViT, classifier": ("ViTForImageClassification", "ViTConfig", TINY | CLASSES),
    "ViT, pooler, tanh GELU": (
        "ViTModel", "ViTConfig",
        TINY | {"pooler_output_size": 19, "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-3},
    ),
    "ViT, no bias": ("ViTForImageClassification", "ViTConfig", TINY | CLASSES | {"qkv_bias": False, "num_channels": 5}),
    "ViT, masked images": ("ViTForMaskedImageModeling", "ViTConfig", TINY | {"encoder_stride": 8}),
    "DeiT, teacher": ("DeiTForImageClassificationWithTeacher", "DeiTConfig", TINY | CLASSES),
    "DeiT, no teacher": ("DeiTForImageClassification", "DeiTConfig", TINY | CLASSES),
    "DeiT, pooler": ("DeiTModel", "DeiTConfig", TINY),
    "MAE, pre-training": ("ViTMAEForPreTraining", "ViTMAEConfig", TINY | DECODER | {"mask_ratio": 0.0}),
    "MAE": ("ViTMAEModel", "ViTMAEConfig", TINY | {"mask_ratio": 0.0}),
    "DINOv2": ("Dinov2Model", "Dinov2Config", DINOV2),
    "DINOv2, classifier": ("Dinov2ForImageClassification", "Dinov2Config", DINOV2 | CLASSES),
    "DINOv2, SwiGLU": ("Dinov2ForImageClassification", "Dinov2Config", DINOV2 | CLASSES | {"use_swiglu_ffn": True}),
    "DINOv2 with registers": (
        "Dinov2WithRegistersModel", "Dinov2WithRegistersConfig", DINOV2 | {"num_register_tokens": 3},
    ),
    "DINOv2 with registers, classifier, SwiGLU": (
        "Dinov2WithRegistersForImageClassification", "Dinov2WithRegistersConfig",
        DINOV2 | CLASSES | {"num_register_tokens": 3, "use_swiglu_ffn": True},
    ),
    "DINOv3": ("DINOv3ViTModel", "DINOv3ViTConfig", TINY | {"num_register_tokens": 3}),
    "DINOv3, gated, no registers": (
        "DINOv3ViTModel", "DINOv3ViTConfig",
        TINY | {"use_gated_mlp": True, "hidden_act": "silu", "mlp_bias": False, "proj_bias": False, "rope_theta": 50.0},
    ),
    "CLIP": ("CLIPVisionModel", "CLIPVisionConfig", TINY),
    "CLIP, projection": ("CLIPVisionModelWithProjection", "CLIPVisionConfig", TINY | {"projection_dim": 13}),
    "CLIP, with text tower": (
        "CLIPModel", "CLIPConfig", {"vision_config": TINY, "text_config": TEXT, "projection_dim": 13},
    ),
    "SigLIP": ("SiglipVisionModel", "SiglipVisionConfig", TINY),
    "SigLIP, pixels left over": ("SiglipVisionModel", "SiglipVisionConfig", TINY | {"image_size": 45}),
    "SigLIP, classifier": ("SiglipForImageClassification", "SiglipConfig", {"vision_config": TINY, **CLASSES}),
}  # fmt: skip


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_reading(name: str, tmp_path: Path) -> None:
    """The same answers at the model's resolution and at others; both versions' names give the same numbers."""
    other = theirs(*MODELS[name])
    model = ours(other)
    for height, width in (model.config.image_size, (56, 56), (24, 56)):
        images = random_images(height, width, channels=model.config.in_channels)
        if "left over" in name and (height, width) != model.config.image_size:
            continue
        agree("Hugging Face " + name, f"tiny, {height} x {width} px", model(images), answer(other, images),
              against=against())  # fmt: skip
    assert equal_states(model.state_dict(), ours(other, on_disk(other, tmp_path)).state_dict())


@torch.no_grad()
@pytest.mark.parametrize(
    "wrong", [{"gelu": "tanh"}, {"norm_eps": 1e-3}, {"num_heads": 4}, {"resample": "bilinear-corners"}]
)
def test_the_wrong_numerics_are_seen(wrong: dict[str, Any]) -> None:
    """Each option that no shape tells moves the answer by more than the tolerance."""
    other, images = theirs(*MODELS["ViT, classifier"]), random_images(56, 56)
    assert (ours(other, **wrong)(images) - answer(other, images)).abs().max() > 1e-4


REAL: dict[str, tuple[str, str, dict[str, Any]]] = {
    "ViT-S/16": (
        "ViTForImageClassification", "ViTConfig",
        {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536, "num_labels": 1000},
    ),
    "DeiT-Ti/16 distilled": (
        "DeiTForImageClassificationWithTeacher", "DeiTConfig",
        {"hidden_size": 192, "num_attention_heads": 3, "intermediate_size": 768, "num_labels": 1000},
    ),
    "MAE ViT-B/16": ("ViTMAEModel", "ViTMAEConfig", {"mask_ratio": 0.0}),
    "DINOv2 S/14": (
        "Dinov2Model", "Dinov2Config", {"hidden_size": 384, "num_attention_heads": 6, "image_size": 518},
    ),
    "DINOv2 S/14 with registers": (
        "Dinov2WithRegistersModel", "Dinov2WithRegistersConfig",
        {"hidden_size": 384, "num_attention_heads": 6, "image_size": 518, "patch_size": 14},
    ),
    "DINOv3 S/16": ("DINOv3ViTModel", "DINOv3ViTConfig", {"num_register_tokens": 4}),
    "CLIP B/32": ("CLIPVisionModelWithProjection", "CLIPVisionConfig", {}),
    "SigLIP B/16": ("SiglipVisionModel", "SiglipVisionConfig", {}),
}  # fmt: skip
NAMES = ["vit-s16", "deit-ti16-distilled", "vit-b16", "dinov2-s14", "dinov2-s14-reg4", "dinov3-s16", "clip-b32"]
NAMES += ["vit-b16-map"]


@torch.no_grad()
@pytest.mark.parametrize(("name", "ours_is"), list(zip(REAL, NAMES, strict=True)))
def test_reading_a_real_size(name: str, ours_is: str) -> None:
    """The smallest published sizes, at 224 pixels; DINOv2's are made for 518."""
    other = theirs(*REAL[name], wide=True)
    model = ours(other)
    assert model.config.name == ours_is
    images = random_images(224, 224, batch=1 if "B/" in name else 2)
    agree("Hugging Face " + name.split()[0].split("-")[0], f"{name} at 224 px", model(images), answer(other, images),
          against=against())  # fmt: skip


SMALL: dict[str, Any] = {"image_size": (40, 40), "embed_dim": 24, "num_heads": 2, "resample": "bicubic"}
WRITTEN: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("ViTForImageClassification", {}),
    "vit, Google's numerics": ("ViTForImageClassification", {"gelu": "tanh", "norm_eps": 3e-6}),
    "vit, tanh layer": ("ViTModel", {"num_classes": 0, "representation_size": 19}),
    "vit, no head": ("ViTForImageClassification", {"num_classes": 0}),
    "vit, norm behind the pooling": ("ViTForImageClassification", {"pool_norm": "after", "qkv_bias": "none"}),
    "vit, LayerScale, class token without position (DeiT-III)": (
        "ViTForImageClassification", {"layer_scale": 0.1, "prefix_position": False},
    ),
    "vit, sines": ("ViTForImageClassification", {"position": "sincos-mae"}),
    "vit, no positions": ("ViTForImageClassification", {"position": "none"}),
    "vit, not square": ("ViTForImageClassification", {"image_size": (24, 40)}),
    "mean of the patches (GAP)": ("SiglipForImageClassification", {"pool": "mean", "gelu": "tanh"}),
    "deit": ("DeiTForImageClassificationWithTeacher", {"distill_token": True}),
    "dinov2": ("Dinov2Model", {"layer_scale": 0.1, "num_classes": 0, "mlp_dim": 48}),
    "dinov2, classifier": ("Dinov2ForImageClassification", {"layer_scale": 0.1, "pool": "cls+mean", "mlp_dim": 48}),
    "dinov2, gated": (
        "Dinov2ForImageClassification",
        {"layer_scale": 0.1, "pool": "cls+mean", "mlp_dim": 32, "mlp": "swiglu", "num_classes": 0},
    ),
    "registers, classifier of the class token": (
        "Dinov2WithRegistersForImageClassification", {"registers": 3, "mlp_dim": 48},
    ),
    "registers, class token without position": (
        "Dinov2WithRegistersModel",
        {"registers": 3, "mlp_dim": 48, "layer_scale": 0.1, "prefix_position": False, "num_classes": 0},
    ),
    "dinov3": (
        "DINOv3ViTModel",
        {"rotary": "dinov3", "position": "none", "registers": 3, "layer_scale": 0.1, "num_classes": 0,
         "qkv_bias": "query-value"},
    ),
    "dinov3, gated, no registers": (
        "DINOv3ViTModel",
        {"rotary": "dinov3", "position": "none", "num_classes": 0, "mlp": "swiglu", "mlp_bias": False},
    ),
    "clip": ("CLIPVisionModel", {"pre_norm": True, "patch_bias": False, "num_classes": 0, "gelu": "quick"}),
    "clip, projection": (
        "CLIPVisionModelWithProjection", {"pre_norm": True, "patch_bias": False, "head_bias": False},
    ),
    "siglip": ("SiglipVisionModel", {"pool": "map", "num_classes": 0, "gelu": "tanh"}),
}  # fmt: skip


def write(model: ViT, folder: Path) -> str:
    """A model of ours as the folder that a conversion would write, and the class it names."""
    target = HUGGINGFACE.nearest(model.config)
    assert target.differences == ()
    native = rewritten(dict(model.state_dict()), model.config, target.architecture)
    card = ModelCard(architecture=model.config, classes=tuple(f"kind {i}" for i in range(model.config.num_classes)))
    package = HUGGINGFACE.package(target.architecture, card, target.form)
    foreign = written(HUGGINGFACE.rules(target.architecture, target.form), native)
    save_file(foreign, folder / package.file_name, package.metadata)
    for name, content in package.sidecars.items():
        (folder / name).write_text(json.dumps(content), "utf-8")
    return str(package.sidecars["config.json"]["architectures"][0])


@pytest.mark.parametrize("name", WRITTEN)
def test_writing(name: str, tmp_path: Path) -> None:
    """transformers opens the folder without a missing or unexpected key, by its Auto classes too, and answers alike."""
    expected, changes = WRITTEN[name]
    model = random_vit(**(SMALL | changes))
    assert write(model, tmp_path) == expected
    library = transformers()
    has_logits = "ForImageClassification" in expected
    auto = library.AutoModelForImageClassification if has_logits else library.AutoModel
    for opener in (auto, getattr(library, expected)) if "Projection" not in expected else (getattr(library, expected),):
        other, facts = opener.from_pretrained(tmp_path, output_loading_info=True)
        assert {key: list(names) for key, names in facts.items() if names} == {}
        assert type(other).__name__ == expected
    with torch.no_grad():
        images = random_images(*model.config.image_size)
        options = {} if "ino" in expected.lower() or model.config.grid[0] != model.config.grid[1] else {
            "interpolate_pos_encoding": True
        }  # fmt: skip
        said = other.eval()(images, **options)
        said = next(value for value in (said.get("logits"), said.get("image_embeds"), said.get("pooler_output"))
                    if value is not None)  # fmt: skip
        factor = 4 if has_logits and model.config.num_classes else 1
        agree("Hugging Face, written", name, model(images) * factor, said * factor, against=against())
    if has_logits and model.config.num_classes:
        assert other.config.id2label[10] == "kind 10"


TELLING = ("ViT, classifier", "DeiT, teacher", "DINO", "CLIP", "SigLIP")


@pytest.mark.parametrize("name", [name for name in MODELS if name.startswith(TELLING) and "text" not in name])
def test_names_on_disk_are_theirs(name: str, tmp_path: Path) -> None:
    """What is written has the names that save_pretrained writes; before CLIP's and SigLIP's a prefix may stand."""
    other = theirs(*MODELS[name])
    (tmp_path / "ours").mkdir()
    write(ours(other), tmp_path / "ours")
    mine, saved = load_file(tmp_path / "ours" / "model.safetensors"), on_disk(other, tmp_path)
    pooling = "vision_model.head." if "SigLIP, classifier" in name else "nothing"  # its classifier does not read it
    wanted = {key.removeprefix("vision_model.") for key in saved if not key.startswith(pooling)}
    assert {key.removeprefix("vision_model.") for key in mine} == wanted


PROCESSORS: dict[str, tuple[str, dict[str, Any]]] = {
    "ViT": ("ViTImageProcessorPil", {"size": {"height": 40, "width": 48}}),
    "ViT, another scale": (
        "ViTImageProcessorPil", {"size": 40, "rescale_factor": 1 / 127.5, "image_mean": [1.0, 0.9, 0.8]},
    ),
    "CLIP": ("CLIPImageProcessorPil", {"size": {"shortest_edge": 45}, "crop_size": {"height": 40, "width": 40}}),
    "DINOv2": ("BitImageProcessorPil", {"size": {"shortest_edge": 46}, "crop_size": 40, "resample": 2}),
    "SigLIP": ("SiglipImageProcessorPil", {"size": {"height": 40, "width": 40}}),
    "not scaled, not normalised": (
        "ViTImageProcessorPil", {"size": 40, "do_rescale": False, "do_normalize": False, "resample": 3},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PROCESSORS)
def test_preprocessing(name: str, tmp_path: Path) -> None:
    """preprocessor_config.json means the same pixels to us, and what we make of it the same to transformers."""
    class_name, options = PROCESSORS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        processor = getattr(transformers(), class_name)(**options)
    processor.save_pretrained(tmp_path)
    said = json.loads((tmp_path / "preprocessor_config.json").read_text("utf-8"))
    config, notes = read_preprocess("here", "vit", said, (40, 40))
    assert notes == ()
    image = np.random.default_rng(0).integers(0, 256, (61, 83, 3), dtype=np.uint8)
    image = image.repeat(2, axis=0).repeat(2, axis=1)
    theirs_say = processor(image, return_tensors="np")["pixel_values"][0]
    np.testing.assert_allclose(preprocess(image, config), theirs_say, atol=1e-5 * max(1, np.abs(theirs_say).max()))
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "preprocessor_config.json").write_text(json.dumps(write_preprocess(config)), "utf-8")
    again = transformers().AutoImageProcessor.from_pretrained(tmp_path / "again", backend="pil")
    written_say = again(image, return_tensors="np")["pixel_values"][0]
    np.testing.assert_allclose(preprocess(image, config), written_say, atol=1e-5 * max(1, np.abs(theirs_say).max()))

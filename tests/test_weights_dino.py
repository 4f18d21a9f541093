"""Meta's own DINOv2 and DINOv3 files, both ways: the tokens of an independent forward pass and of timm."""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import Any

import dino_reference
import pytest
import torch
from foreign_files import equal_states, raw, read
from oracles import timm
from parity import agree
from random_vit import random_images, random_vit
from torch import Tensor, nn

from vitreous.architecture import ViTConfig
from vitreous.config import ModelCard
from vitreous.errors import ModelFileError, UsageError
from vitreous.model.vit import ViT
from vitreous.weights.dialects.dino import DINO
from vitreous.weights.dialects.equivalent import rewritten
from vitreous.weights.dialects.mapping import written

HEADS = 3
V2: dict[str, Any] = {"width": 24, "depth": 3, "heads": HEADS, "mlp": 40, "patch": 6, "rows": 17}
V3: dict[str, Any] = {"width": 24, "depth": 3, "heads": HEADS, "mlp": 40, "patch": 6, "version": 3}
CASES: dict[str, dict[str, Any]] = {
    "DINOv2": V2,
    "DINOv2 with registers": V2 | {"registers": 5},
    "DINOv2 with gates": V2 | {"gated": True},
    "DINOv2 without LayerScale": V2 | {"scaled": False, "registers": 2},
    "DINOv3": V3 | {"registers": 4},
    "DINOv3 with gates": V3 | {"registers": 4, "gated": True},
    "DINOv3 without biases of attention": V3 | {"registers": 4, "gated": True, "bias": False},
}


def state(case: str, seed: int = 0, **changes: Any) -> dict[str, Tensor]:
    return dino_reference.random_state(dino_reference.names(**(CASES[case] | changes)), seed)


def ours(tensors: dict[str, Tensor], **settings: Any) -> ViT:
    stated = {} if "rope_embed.periods" in tensors else {"num_heads": HEADS}
    return read(DINO, raw(tensors), **{**stated, **settings})[0]


def all_tokens(model: ViT, images: Tensor) -> Tensor:
    found = model.features(images)
    assert found.cls is not None
    return torch.cat([found.cls[:, None], found.registers, found.patches], dim=1)


@torch.no_grad()
@pytest.mark.parametrize("size", [(24, 24), (30, 42), (12, 18)], ids=["native", "larger", "smaller"])
@pytest.mark.parametrize("case", CASES)
def test_reading(case: str, size: tuple[int, int]) -> None:
    """Every kind of file gives the tokens that the reference computes, at its own and at other resolutions."""
    tensors, images = state(case), random_images(*size)
    model = ours(tensors)
    expected = dino_reference.tokens(tensors, images, HEADS)
    agree(case, f"tiny, {size[0]} x {size[1]} px", all_tokens(model, images), expected, against="float64 reference")
    assert torch.equal(model(images), all_tokens(model, images)[:, 0])


@torch.no_grad()
@pytest.mark.parametrize("case", ["DINOv2", "DINOv2 with registers", "DINOv2 with gates"])
def test_dinov2_as_timm_reads_it(case: str) -> None:
    """timm's own loader and model give the same tokens at the native resolution."""
    tensors, images = state(case), random_images(24, 24)
    registers, gated = CASES[case].get("registers", 0), "gated" in CASES[case]
    theirs = timm().models.vision_transformer.VisionTransformer(
        img_size=24, patch_size=6, embed_dim=24, depth=3, num_heads=HEADS, num_classes=0, init_values=1.0,
        mlp_ratio=(2 if gated else 1) * 40 / 24 + 1e-9, reg_tokens=registers, no_embed_class=bool(registers),
        **({"mlp_layer": timm().layers.SwiGLUPacked, "act_layer": nn.SiLU} if gated else {}),
    )  # fmt: skip
    converted = timm().models.vision_transformer.checkpoint_filter_fn(dict(tensors), theirs)
    theirs.load_state_dict(converted, strict=True)
    agree(case, "tiny, native", all_tokens(ours(tensors), images), theirs.eval().forward_features(images),
          against=f"timm {timm().__version__}")  # fmt: skip


@torch.no_grad()
@pytest.mark.parametrize("size", [(24, 24), (30, 42)], ids=["native", "other"])
@pytest.mark.parametrize("case", ["DINOv3", "DINOv3 with gates"])
def test_dinov3_as_timm_reads_it(case: str, size: tuple[int, int]) -> None:
    """timm's own loader and model give the same tokens, with periods that it computes itself."""
    tensors, images = state(case), random_images(*size)
    theirs = timm().models.eva.Eva(
        img_size=24, patch_size=6, embed_dim=24, depth=3, num_heads=HEADS, num_classes=0, init_values=1e-5,
        mlp_ratio=40 / 24 + 1e-9, swiglu_mlp="gated" in CASES[case], qkv_bias=True, qkv_fused=True, class_token=True,
        num_reg_tokens=4, use_abs_pos_emb=False, use_rot_pos_emb=True, rope_type="dinov3", rope_temperature=100,
        rope_rotate_half=True, dynamic_img_size=True, use_fc_norm=False, swiglu_align_to=8,
        norm_layer=functools.partial(nn.LayerNorm, eps=1e-5),
    )  # fmt: skip
    converted = timm().models.eva.checkpoint_filter_fn(dict(tensors), theirs)
    theirs.load_state_dict(converted, strict=True)
    agree(case, f"tiny, {size[0]} x {size[1]} px, timm", all_tokens(ours(tensors), images),
          theirs.eval().forward_features(images), against=f"timm {timm().__version__}")  # fmt: skip


@torch.no_grad()
@pytest.mark.parametrize("version", [2, 3])
def test_real_size(version: int) -> None:
    """ViT-S as published: heads, resolution and name are told by the file alone."""
    shape: dict[str, Any] = {"width": 384, "depth": 12, "heads": 6, "mlp": 1536, "registers": 4, "version": version}
    shape |= {"patch": 14, "rows": 1370} if version == 2 else {"patch": 16}
    tensors = dino_reference.random_state(dino_reference.names(**shape))
    model, _ = read(DINO, raw(tensors))
    expected_name = ("dinov2-s14-reg4", (518, 518)) if version == 2 else ("dinov3-s16", (224, 224))
    assert expected_name == (model.config.name, model.config.image_size)
    images = random_images(224, 224, batch=1)
    agree(f"DINOv{version} with registers", "ViT-S at 224 px", all_tokens(model, images),
          dino_reference.tokens(tensors, images, 6), against="float64 reference")  # fmt: skip


def write(model: ViT) -> dict[str, Tensor]:
    """A model's tensors under Meta's names, the function rewritten where their code has other parameters for it."""
    target = DINO.nearest(model.config)
    assert isinstance(target.architecture, ViTConfig)
    native = rewritten(model.state_dict(), model.config, target.architecture)
    return written(DINO.rules(target.architecture, target.form), native)


@torch.no_grad()
@pytest.mark.parametrize("case", CASES)
def test_writing(case: str) -> None:
    """A model of ours becomes exactly the tensors that Meta's code loads strictly, and comes back bit for bit."""
    model = ours(state(case, seed=3))
    assert () == DINO.nearest(model.config).differences
    tensors = write(model)
    assert dino_reference.names(**CASES[case]) == {name: tuple(value.shape) for name, value in tensors.items()}
    images = random_images(30, 42)
    agree(case, "written, 30 x 42 px", all_tokens(model, images), dino_reference.tokens(tensors, images, HEADS),
          against="float64 reference")  # fmt: skip
    assert equal_states(model.state_dict(), ours(tensors).state_dict())


@torch.no_grad()
def test_what_timm_folds_is_unfolded() -> None:
    """Registers without a position for the class token, and no bias of keys, as in timm: zeros in their place."""
    model = random_vit(
        image_size=(24, 24), patch_size=(6, 6), registers=3, prefix_position=False, qkv_bias="query-value",
        resample="bicubic-antialias", num_classes=0,
    )  # fmt: skip
    assert () == DINO.nearest(model.config).differences
    images = random_images(30, 42)
    expected = dino_reference.tokens(write(model), images, 4)
    agree("DINOv2 with registers", "written from timm's form", all_tokens(model, images), expected,
          against="float64 reference")  # fmt: skip


def in_chunks(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """As training checkpoints have them: two blocks a chunk, each with the index it has without chunks."""
    return {re.sub(r"blocks\.(\d+)", lambda m: f"blocks.{int(m[1]) // 2}.{m[1]}", k): v for k, v in tensors.items()}


@pytest.mark.parametrize(
    "spell",
    [
        in_chunks,
        lambda tensors: {f"module.backbone.{name}": value for name, value in in_chunks(tensors).items()},
        lambda tensors: {f"backbone.{k}": v for k, v in tensors.items()} | {"dino_head.mlp.0.weight": torch.ones(2, 3)},
    ],
    ids=["chunks", "parallel", "with a head of pre-training"],
)
@pytest.mark.parametrize("case", ["DINOv2 with registers", "DINOv2", "DINOv3 with gates"])
def test_every_spelling_is_one(case: str, spell: Any) -> None:
    """Chunks, wrappers and heads of training change nothing, bit for bit."""
    tensors = state(case)
    settings = {"num_heads": HEADS}
    assert equal_states(ours(tensors).state_dict(), ours(spell(tensors), **settings).state_dict())


def test_what_is_not_part_of_the_model_is_dropped_by_name() -> None:
    """Mask tokens, periods, masks and norms of training each go with a reason."""
    extra = {"local_cls_norm.weight": torch.ones(24), "local_cls_norm.bias": torch.ones(24)}
    dropped = read(DINO, raw(state("DINOv3") | extra))[1].dropped
    assert {"mask_token", "rope_embed.periods", *extra, *(f"blocks.{i}.attn.qkv.bias_mask" for i in range(3))} == {
        *dropped
    }
    assert all(dropped.values())


@torch.no_grad()
def test_a_linear_classifier() -> None:
    """A head of one layer, on class token and mean side by side (Oquab et al., 2024), is read and written with it."""
    backbone = state("DINOv2")
    generator = torch.Generator().manual_seed(9)
    head = {"weight": torch.randn(11, 48, generator=generator), "bias": torch.randn(11, generator=generator)}
    whole = {f"backbone.{k}": v for k, v in backbone.items()} | {f"linear_head.{k}": v for k, v in head.items()}
    model, images = ours(whole), random_images(24, 24)
    tokens = dino_reference.tokens(backbone, images, HEADS)
    expected = torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], 1) @ head["weight"].double().T + head["bias"]
    agree("DINOv2", "linear classifier", model(images) / 10, expected / 10, against="float64 reference")
    assert {*whole} == {*write(model)}
    assert equal_states(model.state_dict(), ours(write(model)).state_dict())


def test_heads_that_are_not_read() -> None:
    """A head of four layers and a head without a backbone are refused in words."""
    wide = {"linear_head.weight": torch.ones(11, 120), "linear_head.bias": torch.ones(11)}
    with pytest.raises(ModelFileError, match="several blocks"):
        ours({f"backbone.{k}": v for k, v in state("DINOv2").items()} | wide)
    alone = raw({"weight": torch.ones(1000, 768), "bias": torch.ones(1000)}, "dinov2_vits14_linear_head.pth")
    assert DINO.recognises(alone)
    with pytest.raises(ModelFileError, match="without its backbone"):
        DINO.understand(alone, {})


def test_only_metas_own_files_are_recognised() -> None:
    """timm's names, MAE's mask token of three dimensions and a DINOv2 file that lost its mask token are timm's."""
    tensors = state("DINOv2")
    mask = tensors.pop("mask_token")
    assert not DINO.recognises(raw(tensors))
    assert not DINO.recognises(raw(tensors | {"mask_token": mask[None]}))
    assert DINO.recognises(raw(tensors | {"mask_token": mask}))
    assert not DINO.recognises(raw(timm().create_model("vit_tiny_patch16_224").state_dict()))
    assert not DINO.recognises(raw({"weight": torch.ones(10, 768), "bias": torch.ones(10)}))


@torch.no_grad()
@pytest.mark.parametrize(
    ("periods", "base", "dtype"),
    [
        ((100.0 ** (torch.arange(6) / 6)).bfloat16(), 100.0, "bfloat16"),
        ((10_000.0 ** (torch.arange(6) / 6)).float(), 10_000.0, "float32"),
        ((37.0 ** (torch.arange(6) / 6)).bfloat16().float(), 37.0, "bfloat16"),
    ],
    ids=["rounded", "another base", "both"],
)
def test_periods_of_the_rotation(periods: Tensor, base: float, dtype: str) -> None:
    """Base and rounding come from the buffer in the file, and are written into it again."""
    tensors = state("DINOv3", heads=1) | {"rope_embed.periods": periods}
    model, images = ours(tensors), random_images(30, 42)
    assert (base, dtype) == (model.config.rotary_base, model.config.rotary_dtype)
    expected = dino_reference.tokens(tensors, images, 1)
    agree("DINOv3", f"periods of base {base:g} in {dtype}", all_tokens(model, images), expected,
          against="float64 reference")  # fmt: skip
    torch.testing.assert_close(write(model)["rope_embed.periods"].float(), periods.float())


def test_other_periods_are_refused() -> None:
    """Periods that are no powers of one base cannot be rebuilt."""
    shape = dino_reference.names(**(CASES["DINOv3"] | {"heads": 2}))
    tensors = dino_reference.random_state(shape) | {"rope_embed.periods": torch.tensor([1.0, 3.0, 5.0])}
    with pytest.raises(ModelFileError, match=r"no powers of one base\n.*\n.*1, 3, 5"):
        ours(tensors)


@torch.no_grad()
def test_masks_of_the_bias() -> None:
    """A mask that was never filled means what the code fills in; without one the keys have biases of their own."""
    tensors, images = state("DINOv3"), random_images(24, 24)
    empty = {name: torch.full_like(value, torch.nan) for name, value in tensors.items() if name.endswith("_mask")}
    assert equal_states(ours(tensors).state_dict(), ours(tensors | empty).state_dict())
    with pytest.raises(ModelFileError, match=r"blocks\.1\.attn\.qkv\.bias_mask is another mask"):
        ours(tensors | {"blocks.1.attn.qkv.bias_mask": torch.ones(72)})
    bare = {name: value for name, value in tensors.items() if name not in empty}
    model = ours(bare)
    assert ("all", "query-value") == (model.config.qkv_bias, ours(tensors).config.qkv_bias)
    agree("DINOv3", "biases of keys", all_tokens(model, images), dino_reference.tokens(bare, images, HEADS),
          against="float64 reference")  # fmt: skip
    assert {*bare} == {*write(model)}


def test_another_norm_for_the_class_token_is_refused() -> None:
    """Its name is known, and no model here has it."""
    with pytest.raises(ModelFileError, match="another norm for the class token"):
        ours(state("DINOv3") | {"cls_norm.weight": torch.ones(24), "cls_norm.bias": torch.ones(24)})


def test_preprocessing_of_satellite_images() -> None:
    """Only the file's name tells them, and what was chosen is said (reference: dinov3/README.md)."""
    web = DINO.understand(raw(state("DINOv3"), "dinov3_vitl16_pretrain_lvd1689m-8aa4cbdd.pth"), {})
    sat = DINO.understand(raw(state("DINOv3"), "dinov3_vitl16_pretrain_sat493m-eadcf0ff.pth"), {})
    assert ((0.485, 0.456, 0.406), (0.430, 0.411, 0.296)) == (web.preprocess.mean, sat.preprocess.mean)
    assert any("satellite" in note for note in sat.notes)


@pytest.mark.parametrize(
    ("case", "key", "words"),
    [
        ("DINOv2", "blocks.1.attn.proj.bias", "1 missing: blocks.1.attn.proj.bias; 1 spare: extra"),
        ("DINOv3", "storage_tokens", "1 spare: extra"),
        ("DINOv3", "blocks.2.attn.qkv.bias", "2 missing: .*; 1 spare: extra"),
    ],
)
def test_missing_and_spare(case: str, key: str, words: str) -> None:
    """What is missing or left over is one error that names it."""
    tensors = state(case)
    tensors["extra"] = tensors.pop(key)
    with pytest.raises(ModelFileError, match=words):
        ours(tensors)


def test_what_cannot_be_written_is_named() -> None:
    """Options that Meta's models do not have are refused by name; others are differences in words."""
    model = ours(state("DINOv2"))
    with pytest.raises(UsageError, match=r"pool='mean'"):
        DINO.nearest(dataclasses.replace(model.config, pool="mean"))
    with pytest.raises(UsageError, match="head='drop'"):
        DINO.nearest(dataclasses.replace(model.config, num_classes=11))
    with pytest.raises(UsageError, match="--image-size 24"):
        DINO.nearest(dataclasses.replace(model.config, image_size=(24, 30)))
    target = DINO.nearest(dataclasses.replace(model.config, gelu="tanh", resample="bicubic-antialias"))
    assert ("GELU: tanh becomes erf",) == target.differences
    assert isinstance(target.architecture, ViTConfig)
    assert target.architecture.resample == "bicubic-offset"


def test_the_file_is_called_as_metas() -> None:
    """The name of a written file."""
    model = ours(state("DINOv2 with registers"))
    assert model.card is None
    package = DINO.package(dataclasses.replace(model.config, name="dinov2-s14-reg4"), ModelCard(), "write")
    assert ("pickle", "dinov2_s14_reg4_pretrain.pth") == (package.kind, package.file_name)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4, 5, 6)])
@pytest.mark.parametrize("case", ["DINOv2 with registers", "DINOv3 with gates"])
def test_misshapen(case: str, shape: tuple[int, ...]) -> None:
    """Any tensor of another shape is an error of the file, the mask token excepted, which is not used."""
    tensors = state(case, depth=1)
    for name in tensors.keys() - {"mask_token"}:
        with pytest.raises(ModelFileError):
            ours(tensors | {name: torch.ones(shape)})

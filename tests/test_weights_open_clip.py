"""Image towers of OpenCLIP and CLIP, both ways: the same embeddings as OpenCLIP's own code."""

from __future__ import annotations

import dataclasses
import functools
import re
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_files import draw_wide, equal_states, raw, read
from oracles import timm
from parity import agree
from random_vit import draw, random_images, random_vit
from torch import Tensor, nn

from vitreous.architecture import ViTConfig
from vitreous.config import ModelCard
from vitreous.errors import ModelFileError, UsageError
from vitreous.model.vit import ViT
from vitreous.weights.dialects.dialect import Package
from vitreous.weights.dialects.equivalent import rewritten
from vitreous.weights.dialects.mapping import written
from vitreous.weights.dialects.open_clip import OPEN_CLIP
from vitreous.weights.formats.container import open_container


@functools.cache
def open_clip() -> types.ModuleType:
    """OpenCLIP, whose tokenizer wants ftfy: no text is read here, so an empty module stands in for it meanwhile."""
    timm()  # it imports torchvision, which needs care
    stand_in = "ftfy" not in sys.modules
    if stand_in:
        sys.modules["ftfy"] = types.ModuleType("ftfy")
    try:
        import open_clip as module
    finally:
        if stand_in:
            del sys.modules["ftfy"]
    return module


SIZES: dict[str, Any] = {
    "image_size": (24, 36), "patch_size": 6, "width": 28, "layers": 3, "heads": 4, "mlp_ratio": 44 / 28 + 1e-9,
    "output_dim": 11,
}  # fmt: skip
VISION = {"image_size": [24, 36], "width": 28, "head_width": 7, "patch_size": 6, "layers": 3}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {  # their arguments, vision_cfg, model_cfg
    "CLIP": ({}, {}, {}),
    "CLIP with QuickGELU": ({"act_layer": "quick"}, {}, {"quick_gelu": True}),
    "CLIP with tanh GELU": ({"act_layer": "tanh"}, {"act_kwargs": {"approximate": "tanh"}}, {}),
    "CLIP with LayerScale": ({"ls_init_value": 0.1}, {"ls_init_value": 0.1}, {}),
    "CLIPA": (
        {"no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True},
        {"no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True},
        {},
    ),
    "CLIP, mean of normed patches": ({"pool_type": "avg"}, {"pool_type": "avg"}, {}),
    "CLIP, epsilon 1e-6": ({"norm_layer": 1e-6}, {"norm_kwargs": {"eps": 1e-6}}, {}),
    "CLIP, every token": ({"pool_type": "none"}, {"pool_type": "none"}, {}),
}


def theirs(**changes: Any) -> nn.Module:
    """A small tower of OpenCLIP's, every number drawn."""
    parts = open_clip().transformer
    acts = {"quick": parts.QuickGELU, "tanh": functools.partial(nn.GELU, approximate="tanh")}
    if "act_layer" in changes:
        changes["act_layer"] = acts[changes["act_layer"]]
    if "norm_layer" in changes:
        changes["norm_layer"] = functools.partial(parts.LayerNorm, eps=changes["norm_layer"])
    return draw(parts.VisionTransformer(**{**SIZES, **changes})).eval()


def sidecar(vision: Mapping[str, Any], model: Mapping[str, Any], **look: Any) -> dict[str, Any]:
    return {"model_cfg": {"embed_dim": 11, "vision_cfg": {**VISION, **vision}, **model}, "preprocess_cfg": look}


def by() -> str:
    return f"open_clip {open_clip().__version__}"


@torch.no_grad()
@pytest.mark.parametrize("case", CASES)
def test_reading(case: str) -> None:
    """Every kind of tower that its configuration describes answers as OpenCLIP's."""
    changes, vision, model = CASES[case]
    other, images = theirs(**changes), random_images(24, 36)
    ours, _ = read(OPEN_CLIP, raw(other.state_dict(), open_clip_config_json=sidecar(vision, model)))
    agree(case, "tiny, 24 x 36 px", ours(images), other(images), against=by())


@torch.no_grad()
@pytest.mark.parametrize("case", CASES)
def test_writing(case: str) -> None:
    """Read, written and built by OpenCLIP from the configuration beside it, a tower answers alike, bit for bit back."""
    changes, vision, model = CASES[case]
    source = theirs(**changes).state_dict()
    ours, _ = read(OPEN_CLIP, raw(source, open_clip_config_json=sidecar(vision, model)))
    tensors, package = write(ours)
    config = package.sidecars["open_clip_config.json"]["model_cfg"]
    build = open_clip().model._build_vision_tower
    other = build(config["embed_dim"], dict(config["vision_cfg"]), quick_gelu=config.get("quick_gelu", False)).eval()
    other.load_state_dict(tensors, strict=True)
    images = random_images(24, 36)
    agree(case, "written, 24 x 36 px", ours(images), other(images), against=by())
    back, _ = read(OPEN_CLIP, raw(tensors, open_clip_config_json=package.sidecars["open_clip_config.json"]))
    assert equal_states(ours.state_dict(), back.state_dict())
    assert dataclasses.replace(ours.config, layer_scale=None) == dataclasses.replace(back.config, layer_scale=None)


def write(model: ViT) -> tuple[dict[str, Tensor], Package]:
    """A model's tensors and what stands around them, the function rewritten where OpenCLIP has other parameters."""
    target = OPEN_CLIP.nearest(model.config)
    assert () == target.differences
    native = rewritten(model.state_dict(), model.config, target.architecture)  # type: ignore[arg-type]
    tensors = written(OPEN_CLIP.rules(target.architecture, target.form), native)
    return tensors, OPEN_CLIP.package(target.architecture, ModelCard(), target.form)


@torch.no_grad()
@pytest.mark.parametrize("size", [(12, 24), (36, 54)], ids=["smaller", "larger"])
def test_another_resolution(size: tuple[int, int]) -> None:
    """Positions follow as OpenCLIP's own loader moves them (open_clip/model.py, resize_pos_embed)."""
    other = theirs(image_size=30)
    moved = {f"visual.{name}": value for name, value in other.state_dict().items()}
    larger = theirs(image_size=size)
    open_clip().model.resize_pos_embed(moved, types.SimpleNamespace(visual=larger))
    larger.load_state_dict({name.removeprefix("visual."): value for name, value in moved.items()}, strict=True)
    ours, _ = read(OPEN_CLIP, raw(other.state_dict()), num_heads=4)
    images = random_images(*size)
    agree("CLIP", f"tiny, made for 30 px, at {size[0]} x {size[1]}", ours(images), larger(images), against=by())


@functools.cache
def whole() -> nn.Module:
    """ViT-B/32 as OpenCLIP names it, with its text tower, the smallest published."""
    model = open_clip().create_model("ViT-B-32", pretrained=None).eval()
    draw_wide(model.visual)
    return model


@torch.no_grad()
def test_real_size() -> None:
    """A whole CLIP model: the text tower is dropped by name, and images are embedded as by OpenCLIP."""
    ours, understood = read(OPEN_CLIP, raw(whole().state_dict()))
    assert ("clip-b32", 12, 512) == (ours.config.name, ours.config.num_heads, ours.config.num_classes)
    assert {"text tower: only the image tower is read"} == set(understood.dropped.values())
    assert {"logit_scale", "ln_final.bias", "positional_embedding"} <= understood.dropped.keys()
    images = random_images(224, 224)
    agree("CLIP", "ViT-B/32 at 224 px", ours(images), whole().encode_image(images), against=by())


def test_every_spelling_is_one() -> None:
    """A bare tower, one in a model and one in a wrapped model give the same native tensors, bit for bit."""
    bare = theirs().state_dict()
    beside = {
        "logit_scale": torch.tensor(2.0),
        "token_embedding.weight": torch.ones(5, 3),
        "ln_final.bias": torch.ones(3),
    }
    inside = {f"visual.{name}": value for name, value in bare.items()} | beside
    wrapped = {f"module.{name}": value for name, value in inside.items()}
    config = sidecar({}, {})
    models = [read(OPEN_CLIP, raw(state, open_clip_config_json=config))[0] for state in (bare, inside, wrapped)]
    assert all(equal_states(models[0].state_dict(), other.state_dict()) for other in models[1:])


@pytest.mark.parametrize(
    ("state", "model", "settings", "expected"),
    [
        ({}, None, {}, "erf"),
        ({}, None, {"gelu": "quick"}, "quick"),
        ({"visual.x": 1}, {"quick_gelu": True}, {}, "quick"),
        ({"input_resolution": torch.tensor(224), "vocab_size": torch.tensor(9)}, None, {}, "quick"),
    ],
    ids=["nothing said", "stated", "configuration", "OpenAI's own"],
)
def test_the_form_of_gelu(state: dict[str, Any], model: Any, settings: dict[str, Any], expected: str) -> None:
    """Stated, configured, or known from the numbers in OpenAI's archives; a guess is told."""
    extra = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    tower = {f"visual.{name}": value for name, value in theirs().state_dict().items()}
    beside = {} if model is None else {"open_clip_config_json": sidecar({}, model)}
    stated = {"num_heads": 4, "image_size": (24, 36)} | settings
    ours, understood = read(OPEN_CLIP, raw(tower | extra, **beside), **stated)
    assert expected == ours.config.gelu
    assert (not state and not settings) == any("GELU: exact" in note for note in understood.notes)


class Archived(nn.Module):
    """What OpenAI's archives hold, as far as images are concerned."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = theirs(act_layer="quick", image_size=30)
        self.logit_scale = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("input_resolution", torch.tensor(30))

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings."""
        return self.visual(images) * self.logit_scale.exp()


@torch.no_grad()
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_an_archive_of_openai(tmp_path: Path) -> None:
    """CLIP's own files are TorchScript: the tensors are read, the program never runs, and GELU is the quick one."""
    module, images = Archived().eval(), random_images(30, 30)
    torch.jit.trace(module, images).save(tmp_path / "ViT-B-32.pt")
    ours, understood = read(OPEN_CLIP, open_container(tmp_path / "ViT-B-32.pt"), num_heads=4)
    assert "quick" == ours.config.gelu
    assert {"logit_scale", "input_resolution"} == understood.dropped.keys()
    agree("CLIP with QuickGELU", "TorchScript archive", ours(images), module.visual(images), against=by())


@pytest.mark.parametrize(
    ("vision", "words"),
    [
        ({"attentional_pool": True}, "attentional_pool"),
        ({"qk_norm": True, "scale_fc": True}, "qk_norm, scale_fc"),
        ({"pool_type": "rot"}, "pool_type='rot'"),
        ({"norm_kwargs": {"elementwise_affine": False}}, "norm_kwargs.elementwise_affine"),
    ],
)
def test_unknown_parts_are_refused_by_name(vision: dict[str, Any], words: str) -> None:
    """Options of OpenCLIP's that no model here has."""
    with pytest.raises(ModelFileError, match=words):
        read(OPEN_CLIP, raw(theirs().state_dict(), open_clip_config_json=sidecar(vision, {})))


def test_other_towers_are_refused_in_words() -> None:
    """CLIP's ResNets, and the pooling of CoCa without any configuration beside it."""
    resnet = {"visual.layer1.0.conv1.weight": torch.ones(2, 2, 1, 1), "visual.conv1.weight": torch.ones(2, 3, 3, 3)}
    with pytest.raises(ModelFileError, match="ResNet"):
        read(OPEN_CLIP, raw(resnet))
    coca = theirs().state_dict() | {"attn_pool.query": torch.ones(5, 28)}
    with pytest.raises(ModelFileError, match="attentional_pool"):
        read(OPEN_CLIP, raw(coca), num_heads=4)


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        ({}, ("cover", "bicubic", (0.48145466, 0.4578275, 0.40821073))),
        (
            {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bilinear", "resize_mode": "squash"},
            ("squash", "bilinear", (0.5, 0.5, 0.5)),
        ),
    ],
    ids=["OpenAI's", "stated"],
)
def test_preprocessing(look: dict[str, Any], expected: tuple[object, ...]) -> None:
    """As `preprocess_cfg` says, else OpenAI's; the shorter side fills the frame."""
    source = raw(theirs().state_dict(), open_clip_config_json=sidecar({}, {}, **look))
    found = OPEN_CLIP.understand(source, {}).preprocess
    assert expected == (found.resize, found.interpolation, found.mean)
    assert ((24, 36), 1.0) == (found.image_size, found.crop_ratio)


def test_missing_and_spare() -> None:
    """What is missing or left over, in the tower or beside it, is one error that names it."""
    state = {f"visual.{name}": value for name, value in theirs().state_dict().items()}
    state["unknown.weight"] = state.pop("visual.ln_post.bias")
    with pytest.raises(ModelFileError, match=r"1 missing: ln_post\.bias; 1 spare: unknown\.weight"):
        read(OPEN_CLIP, raw(state, open_clip_config_json=sidecar({}, {})))


def test_what_cannot_be_written_is_named() -> None:
    """Biases that OpenCLIP has no place for, other options, and what only its resampling does differently."""
    with pytest.raises(UsageError, match="patch_bias and head_bias"):
        OPEN_CLIP.nearest(random_vit().config)
    config = random_vit(patch_bias=False, head_bias=False).config
    with pytest.raises(UsageError, match="registers=2"):
        OPEN_CLIP.nearest(dataclasses.replace(config, registers=2))
    with pytest.raises(UsageError, match="published sizes of SigLIP"):
        OPEN_CLIP.nearest(random_vit(pool="map").config)
    target = OPEN_CLIP.nearest(config)
    assert () == target.differences
    assert isinstance(target.architecture, ViTConfig)
    assert target.architecture.resample == "bicubic-antialias"


@functools.cache
def siglip() -> nn.Module:
    """SigLIP B/32 at 256, the smallest of its towers that OpenCLIP knows, with OpenCLIP's own wrapper around timm's."""
    tower = open_clip().timm_model.TimmModel("vit_base_patch32_siglip_256", embed_dim=768, pool="map", proj="none")
    return draw_wide(tower).eval()


SIGLIP = {
    "embed_dim": 768,
    "vision_cfg": {
        "image_size": 256,
        "timm_model_name": "vit_base_patch32_siglip_256",
        "timm_pool": "map",
        "timm_proj": "none",
    },
}
HALF = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic", "resize_mode": "squash"}


@torch.no_grad()
def test_siglip() -> None:
    """`visual.trunk.*` is timm's, read by timm's dialect and written under OpenCLIP's names again."""
    state = {f"visual.{name}": value for name, value in siglip().state_dict().items()}
    state |= {"text.token_embedding.weight": torch.ones(5, 3), "logit_bias": torch.tensor(-10.0)}
    config = {"model_cfg": SIGLIP, "preprocess_cfg": HALF}
    ours, understood = read(OPEN_CLIP, raw(state, open_clip_config_json=config))
    assert ("map", "tanh", 1e-6, (256, 256)) == (
        ours.config.pool, ours.config.gelu, ours.config.norm_eps, ours.config.image_size
    )  # fmt: skip
    assert ("squash", (0.5, 0.5, 0.5)) == (understood.preprocess.resize, understood.preprocess.mean)
    images = random_images(256, 256)
    agree("SigLIP in OpenCLIP", "ViT-B/32 at 256 px", ours(images), siglip()(images), against=by())
    tensors, package = write(ours)
    assert siglip().state_dict().keys() == tensors.keys()
    assert all(torch.equal(value, tensors[name]) for name, value in siglip().state_dict().items())
    assert SIGLIP["vision_cfg"] == package.sidecars["open_clip_config.json"]["model_cfg"]["vision_cfg"]


@torch.no_grad()
def test_a_trunk_with_a_projection() -> None:
    """OpenCLIP's projection behind a trunk of timm's becomes the head."""
    tower = draw_wide(open_clip().timm_model.TimmModel("test_vit", embed_dim=11, pool="token", proj="linear"))
    tower.eval()
    config = {"model_cfg": {"vision_cfg": {"timm_model_name": "test_vit", "timm_pool": "token"}}}
    state = {f"visual.{name}": value for name, value in tower.state_dict().items()}
    ours, _ = read(OPEN_CLIP, raw(state, open_clip_config_json=config), num_heads=2)
    assert (11, False) == (ours.config.num_classes, ours.config.head_bias)
    images = random_images(160, 160)
    agree("timm trunk in OpenCLIP", "test_vit at 160 px", ours(images), tower(images), against=by())


@pytest.mark.parametrize("name", list(theirs(layers=1).state_dict()))
@pytest.mark.parametrize("shape", [(), (2, 3, 4, 5, 6)])
def test_misshapen(name: str, shape: tuple[int, ...]) -> None:
    """A tensor of any other shape is one error that names it."""
    with pytest.raises(ModelFileError, match=re.escape(name)):
        read(
            OPEN_CLIP, raw(theirs(layers=1).state_dict() | {name: torch.ones(shape)}), num_heads=4, image_size=(24, 36)
        )

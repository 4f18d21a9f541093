"""For every family of checkpoints, images are prepared as the library that published it prepares them."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from oracles import timm, torchvision
from PIL import Image
from preprocessing import HERE, NOTEBOOK, PAGE, compare, page
from torch import Tensor

from vitreous.architecture import Architecture
from vitreous.config import PreprocessConfig
from vitreous.weights.dialects import dino, google
from vitreous.weights.dialects import open_clip as open_clip_dialect
from vitreous.weights.dialects import torchvision as torchvision_dialect
from vitreous.weights.dialects.hf_preprocess import read_preprocess
from vitreous.weights.dialects.timm_config import Stated, preprocessing
from vitreous.zoo import find_model

SHAPES = [(301, 201), (375, 500), (23, 31), (97, 640), (224, 224), (1, 300)]
"""Portrait, landscape, tiny, a panorama, just right, a thread; odd sides."""

Transform = Callable[[Image.Image], Tensor]


@cache
def photograph(height: int, width: int) -> np.ndarray:
    """Coarse and fine structure, and edges: what filters treat differently."""
    chance = np.random.default_rng((height, width))
    coarse = Image.fromarray(chance.integers(0, 256, (5, 7, 3), np.uint8)).resize((width, height), Image.BICUBIC)
    fine = chance.normal(0, 25, (height, width, 3))
    y, x = np.mgrid[0:height, 0:width]
    edges = 60.0 * ((x // 9 + y // 7) % 2)
    return np.clip(np.asarray(coarse) * 0.8 + fine + edges[..., None] - 20, 0, 255).astype(np.uint8)


def shapes(place: int, number: int = 1) -> list[tuple[int, int]]:
    """All for the page; for the daily test some, other ones in every place."""
    return SHAPES if NOTEBOOK else [SHAPES[(place * number + step) % len(SHAPES)] for step in range(number)]


def check(
    family: str,
    against: str,
    config: PreprocessConfig,
    theirs: Transform,
    place: int,
    *,
    number: int = 1,
    **allowed: Any,
) -> None:
    for shape in shapes(place, number):
        image = photograph(*shape)
        compare(family, against, config, image, np.asarray(theirs(Image.fromarray(image))), **allowed)


def sized(architecture: Architecture, height: int, width: int | None = None) -> Architecture:
    return dataclasses.replace(architecture, image_size=(height, width or height))


# ---------------------------------------------------------------- timm

_TIMM_NAMES = ("vit_", "deit", "eva", "beit", "flexivit", "resnetv2_", "test_vit")


@cache
def timm_configs() -> list[tuple[str, dict[str, Any]]]:
    """One name for every way in which timm's published transformers and BiT prepare images."""
    found: dict[tuple[Any, ...], tuple[str, dict[str, Any]]] = {}
    for name in timm().list_models(pretrained=True):
        if name.startswith(_TIMM_NAMES):
            said = timm().get_pretrained_cfg(name).to_dict()
            keys = ("input_size", "crop_pct", "crop_mode", "interpolation", "mean", "std")
            found.setdefault(tuple(map(str, (said[key] for key in keys))), (name, said))
    return list(found.values())


def test_timm_in_every_way_it_prepares_images() -> None:
    """All of its ViT, DeiT, EVA, BEiT, FlexiViT, SigLIP, CLIP, DINO and BiT checkpoints."""
    assert len(timm_configs()) > 50
    assert {"center", "squash"} == {said["crop_mode"] for _, said in timm_configs()}
    some = timm_configs() if NOTEBOOK else timm_configs()[::8]
    for place, (name, said) in enumerate(some):
        _, height, width = said["input_size"]
        base = find_model("bit-r50x1" if name.startswith("resnetv2") else "vit-s14" if height % 16 else "vit-s16")
        config, note = preprocessing(Stated("", name.partition(".")[0], {}, said), sized(base, height, width))
        assert note is None
        data = timm().data.resolve_data_config({}, pretrained_cfg=said)
        check("timm", f"timm {timm().__version__}", config, timm().data.create_transform(**data), place)


# ---------------------------------------------------------------- torchvision

_TORCHVISION = {
    "ViT_B_16_Weights": "vit-b16",
    "ViT_B_32_Weights": "vit-b32",
    "ViT_L_16_Weights": "vit-l16",
    "ViT_L_32_Weights": "vit-l32",
    "ViT_H_14_Weights": "vit-h14",
}


def test_torchvision_s_presets() -> None:
    """`ViT_B_16_Weights.IMAGENET1K_V1.transforms()` and all others."""
    models = torchvision().models
    place = 0
    for kind, name in _TORCHVISION.items():
        for weights in getattr(models, kind):
            preset = weights.transforms()
            size = preset.crop_size[0]
            config, _ = torchvision_dialect._preprocess(sized(find_model(name), size), weights.url.rsplit("/")[-1])
            check("torchvision ViT", f"torchvision {torchvision().__version__}", config, preset, place)
            place += 1


# ---------------------------------------------------------------- Hugging Face

_TENSORS = "it resizes tensors by torchvision's own filters, in other arithmetic than Pillow's"
_HALF_A_PIXEL = "a centre between two rows goes up; with torchvision, as CLIP and DINOv2 have it, to the even one"

_HF: list[tuple[str, str, dict[str, Any]]] = [
    ("vit", "ViT", {"size": {"height": 224, "width": 224}, "resample": 2}),
    ("vit", "ViT", {"size": {"height": 384, "width": 384}, "resample": 3}),
    ("clip_vision_model", "CLIP", {"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}}),
    ("clip_vision_model", "CLIP", {"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}}),
    ("siglip_vision_model", "Siglip", {"size": {"height": 384, "width": 384}}),
    ("dinov2", "Bit", {"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}}),
    ("dinov3_vit", "DINOv3ViT", {"size": {"height": 224, "width": 224}}),
]


def hugging_face(name: str, said: dict[str, Any]) -> tuple[Transform, str, dict[str, Any]]:
    torchvision()  # transformers asks for it
    import transformers

    processor = getattr(transformers, name)(**said)

    def transform(image: Image.Image) -> Tensor:
        return processor(image, return_tensors="pt")["pixel_values"][0]

    return transform, f"transformers {transformers.__version__}", json.loads(processor.to_json_string())


@pytest.mark.parametrize("place", range(len(_HF)))
def test_hugging_face_s_processors(place: int) -> None:
    family, kind, said = _HF[place]
    for end in ("Pil", "") if kind != "DINOv3ViT" else ("",):
        theirs, against, sidecar = hugging_face(f"{kind}ImageProcessor{end}", said)
        config, notes = read_preprocess("", family, sidecar, (224, 224))
        assert not notes
        for shape in shapes(place):
            if min(shape) == 1 and config.resize == "cover" and max(config.image_size) > 256:
                continue
            image = photograph(*shape)
            allowed: dict[str, Any] = {} if end else {"most": 3.0, "mean": 0.35, "why": _TENSORS}
            row = f"Hugging Face {kind}ImageProcessor{end}"
            if config.resize == "cover" and _falls_between(shape, config):
                row, allowed = f"{row}, one row apart", {"most": 255.0, "mean": 60.0, "why": _HALF_A_PIXEL}
            compare(row, against, config, image, np.asarray(theirs(Image.fromarray(image))), **allowed)


def _falls_between(shape: tuple[int, int], config: PreprocessConfig) -> bool:
    """Whether the middle lies between two rows, and rounding to even takes the lower one."""
    short = math.floor(min(config.image_size) / config.crop_ratio)
    rest = int(short * max(shape) / min(shape)) - config.image_size[0]
    return rest % 4 == 3 or (short - config.image_size[0]) % 4 == 3


# ---------------------------------------------------------------- OpenCLIP


@pytest.mark.parametrize(
    ("size", "mode", "interpolation"),
    [
        (224, "shortest", "bicubic"),
        (256, "shortest", "bilinear"),
        (224, "squash", "bicubic"),
        (384, "squash", "bicubic"),
    ],
)
def test_open_clip_s_transforms(size: int, mode: str, interpolation: str) -> None:
    torchvision()
    import open_clip

    look = {"resize_mode": mode, "interpolation": interpolation, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.25]}
    config = open_clip_dialect._preprocess("", look, sized(find_model("vit-s16"), size))  # type: ignore[arg-type]
    theirs = open_clip.image_transform(
        size, is_train=False, mean=look["mean"], std=look["std"], resize_mode=mode, interpolation=interpolation
    )
    check("OpenCLIP", f"open_clip {open_clip.__version__}", config, theirs, size // 32)


# ---------------------------------------------------------------- DINO: the transforms of its repositories


def test_dinov2_s_evaluation() -> None:
    """dinov2/data/transforms.py, `make_classification_eval_transform`."""
    config, _ = dino._preprocess(find_model("vit-s14"), "dinov2_vits14_pretrain.pth")
    v1 = torchvision().transforms
    theirs = v1.Compose(
        [
            v1.Resize(256, interpolation=v1.InterpolationMode.BICUBIC),
            v1.CenterCrop(224),
            v1.ToTensor(),
            v1.Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        ]
    )
    check("DINOv2", f"torchvision {torchvision().__version__}, as dinov2 has it", config, theirs, 0)


def test_dinov3_s_evaluation() -> None:
    """dinov3/README.md, `make_transform`: it resizes a tensor, as torchvision does, not a Pillow image."""
    architecture = dataclasses.replace(find_model("vit-s16"), position="none", rotary="dinov3")
    config, _ = dino._preprocess(architecture, "dinov3_vits16_pretrain_lvd1689m.pth")
    v2 = torchvision().transforms.v2
    theirs = v2.Compose(
        [
            v2.ToImage(),
            v2.Resize(config.image_size, antialias=True),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean=config.mean, std=config.std),
        ]
    )
    against = f"torchvision {torchvision().__version__}, as dinov3 has it"
    check("DINOv3", against, config, theirs, 1, most=3.0, mean=0.25, why=_TENSORS)


# ---------------------------------------------------------------- Google: TensorFlow's resizing, from its definition


def by_tensorflow_bilinear(image: Image.Image, size: int) -> Tensor:
    """`tf.image.resize(image, (size, size))`: half-pixel centres, no antialiasing; PyTorch's is the same formula."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float()[None]
    resized = torch.nn.functional.interpolate(pixels, (size, size), mode="bilinear", align_corners=False)
    return resized[0] / 127.5 - 1


def areas(source: int, target: int) -> np.ndarray:
    """(target, source): the share of each source pixel in a target pixel's footprint (TensorFlow's ResizeArea)."""
    edges = np.arange(target + 1) * source / target
    low, high = edges[:-1, None], edges[1:, None]
    pixels = np.arange(source)[None]
    shares = np.clip(np.minimum(high, pixels + 1) - np.maximum(low, pixels), 0, None)
    return shares / shares.sum(axis=1, keepdims=True)


def by_big_vision(image: Image.Image, small: int, size: int) -> Tensor:
    """big_vision/pp/ops_image.py: `resize_small(small)|central_crop(size)|value_range(-1, 1)`."""
    pixels = np.array(image).astype(np.float64)
    ratio = small / min(pixels.shape[:2])
    height, width = (round(side * ratio) for side in pixels.shape[:2])
    rows, columns = areas(pixels.shape[0], height), areas(pixels.shape[1], width)
    wide = np.moveaxis(np.tensordot(rows, pixels, 1), 2, 0) @ columns.T  # (C, height, width)
    resized = np.moveaxis(wide, 0, 2).astype(np.uint8)  # tf.cast cuts off
    top, left = (height - size) // 2, (width - size) // 2
    return torch.from_numpy(resized[top : top + size, left : left + size].transpose(2, 0, 1) / 127.5 - 1)


_ALIASED = (
    "TensorFlow's bilinear does not antialias when it shrinks; Pillow's does, as the PyTorch ports of these models do"
)
_AREAS = "TensorFlow weighs pixels at a footprint's edge, Pillow takes or leaves them; and TensorFlow cuts off decimals"


@pytest.mark.parametrize("size", [224, 384])
def test_google_s_squashed_images(size: int) -> None:
    """vit_jax/input_pipeline.py; SigLIP. Equal within rounding where an image grows; see the page where it shrinks."""
    config = google._squash(sized(find_model("vit-s16"), size))

    def theirs(image: Image.Image) -> Tensor:
        return by_tensorflow_bilinear(image, size)

    name = "Google vision_transformer, SigLIP"
    for shape in [(23, 31), (201, 203)]:  # nothing shrinks
        image = photograph(*shape)
        compare(
            f"{name}, enlarged",
            "PyTorch, by TensorFlow's formula",
            config,
            image,
            theirs(Image.fromarray(image)).numpy(),
            most=1.1,
            mean=0.5,
            why="8 bits are kept between",
        )
    check(name, "PyTorch, by TensorFlow's formula", config, theirs, 0, most=200, mean=30, why=_ALIASED)


def test_big_vision_s_evaluation() -> None:
    config = google._cover(sized(find_model("vit-s16"), 224))
    check(
        *("Google big_vision", "NumPy, by TensorFlow's definition", config),
        *(lambda image: by_big_vision(image, 256, 224), 0),
        **{"most": 255.0, "mean": 60.0, "why": _AREAS},
    )


@pytest.mark.parametrize("size", [128, 480])
def test_bit_s_evaluation(size: int) -> None:
    """big_transfer/bit_pytorch/train.py, `mk_train_val`."""
    config = google._squash(sized(find_model("bit-r50x1"), size))
    v1 = torchvision().transforms
    theirs = v1.Compose([v1.Resize((size, size)), v1.ToTensor(), v1.Normalize((0.5,) * 3, (0.5,) * 3)])
    check("BiT, PyTorch release", f"torchvision {torchvision().__version__}, as BiT has it", config, theirs, 2)


# ---------------------------------------------------------------- the page


def test_the_page_covers_every_family_and_is_not_out_of_date() -> None:
    text = PAGE.read_text(encoding="utf-8")
    source = (HERE.parent / "test_picture_families.py").read_text(encoding="utf-8")
    families = set(re.findall(r"^\| ([^|]+?) \| \d+ x", text, re.M))
    assert {"timm", "torchvision ViT", "OpenCLIP", "DINOv2", "DINOv3", "Google big_vision"} <= families
    ways = {
        (said["input_size"], said["crop_pct"], said["crop_mode"], said["interpolation"]) for _, said in timm_configs()
    }
    assert len(ways) == sum(line.startswith("| timm") for line in text.splitlines())
    for family in families:
        assert family.removesuffix(", enlarged") in source or family.startswith("Hugging Face "), family
    for height, width in SHAPES:
        assert f"{height} x {width}" in text


def test_a_line_is_as_good_as_its_worst_image() -> None:
    row = {
        "family": "A",
        "case": "1 x 2 px",
        "against": "x",
        "why": "",
        "shape": [3, 4],
        "most": 0,
        "mean": 0,
        "equal": 1.0,
    }
    text = page([row, {**row, "most": 2.0, "mean": 0.5, "equal": 0.75, "why": "so"}, {**row, "family": "B"}])
    assert "| A | 1 x 2 px | x | 75.0% | 2.0 | 0.50 | so |" in text
    assert "| B | 1 x 2 px | x | all | 0 | 0 |" in text

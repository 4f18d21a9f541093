"""Hugging Face's preprocessor_config.json, read by ourselves and written."""

from __future__ import annotations

import math
from typing import Any, Literal

from vitreous.architecture import Size
from vitreous.config import PreprocessConfig
from vitreous.errors import ConfigError, ModelFileError
from vitreous.weights.dialects.hf_config import size_of

_HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
_IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
_OPENAI = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "size": {"shortest_edge": 224},
    "crop_size": 224,
    "do_center_crop": True,
}
_PROCESSORS: dict[str, dict[str, Any]] = {  # beginning of the class's name: what its fields are where nothing is said
    "ViT": _HALF | {"size": 224, "resample": 2},
    "DeiT": _HALF | {"size": 256, "crop_size": 224, "do_center_crop": True, "resample": 3},
    "Siglip": _HALF | {"size": 224, "resample": 3},
    "CLIP": _OPENAI | {"resample": 3},
    "Bit": _OPENAI | {"resample": 3},
    "DINOv3ViT": _IMAGENET | {"size": 224, "resample": 2},
}
_OF_FAMILY = {  # which of them a family's files come with
    "deit": "DeiT",
    "dinov2": "Bit",
    "dinov2_with_registers": "Bit",
    "dinov3_vit": "DINOv3ViT",
    "clip_vision_model": "CLIP",
    "siglip_vision_model": "Siglip",
}
_UNSAID: dict[str, dict[str, Any]] = {  # family: what its published files say, for those that came without
    "deit": _IMAGENET,
    "dinov2": _IMAGENET | {"size": {"shortest_edge": 256}},
    "dinov2_with_registers": _IMAGENET | {"size": {"shortest_edge": 256}},
}
_SHORT_SIDE = ("CLIP", "Bit")
"""Processors to which a size of one number is the shorter side's; to others it is a square."""

_Filter = Literal["nearest", "bilinear", "bicubic", "box", "lanczos"]
_FILTERS: dict[str, _Filter] = {"0": "nearest", "1": "lanczos", "2": "bilinear", "3": "bicubic", "4": "box"}
_NUMBERS: dict[str, int] = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4}


def read_preprocess(
    where: str, family: str, sidecar: dict[str, Any] | None, image_size: Size
) -> tuple[PreprocessConfig, tuple[str, ...]]:
    """How images become the model's input, and what of it could not be said exactly.

    Args:
        where: the file of weights, for errors.
        family: model_type.
        sidecar: the content of preprocessor_config.json, if there is one.
        image_size: the model's, for what the file leaves open.

    Raises:
        ModelFileError: a size, mean or deviation that cannot be.
    """
    kind = _OF_FAMILY.get(family, "ViT")
    notes: list[str] = []
    if sidecar is None:
        said = _PROCESSORS[kind] | _UNSAID.get(family, {})
        if not family.startswith("dinov2"):  # published for 518 pixels, and used at 224
            said |= _scaled(where, said, image_size)
        notes.append("preprocessing: no preprocessor_config.json, so the family's own")
    else:
        named = str(sidecar.get("image_processor_type") or sidecar.get("feature_extractor_type") or kind)
        kind = next((name for name in sorted(_PROCESSORS, key=len, reverse=True) if named.startswith(name)), kind)
        said = _PROCESSORS[kind] | sidecar
    frame = _frame(where, said, kind, image_size, notes)
    mean, std = _normalisation(where, said)
    chosen = _FILTERS.get(str(said.get("resample")))
    if chosen is None:
        notes.append(f"preprocessing: resampling filter {said.get('resample')!r} is not known here; bicubic instead")
    try:
        return PreprocessConfig(**frame, interpolation=chosen or "bicubic", mean=mean, std=std), tuple(notes)
    except ConfigError as error:
        raise ModelFileError("preprocessor_config.json cannot be", where=where, why=error.what) from None


def _scaled(where: str, said: dict[str, Any], image_size: Size) -> dict[str, Any]:
    """The family's sizes for a model of another resolution than 224."""
    height, width = image_size
    if not said.get("do_center_crop"):
        return {"size": {"height": height, "width": width}}
    crop = {"crop_size": {"height": height, "width": width}}
    if isinstance(said["size"], dict):
        return crop | {"size": {"shortest_edge": min(image_size)}}
    whole = size_of(where, "size", said["size"])[0] / size_of(where, "crop_size", said["crop_size"])[0]
    return crop | {"size": {"height": int(height * whole), "width": int(width * whole)}}


def _frame(where: str, said: dict[str, Any], kind: str, image_size: Size, notes: list[str]) -> dict[str, Any]:
    """`image_size`, `resize` and `crop_ratio`."""
    size, crop = said.get("size"), None
    if said.get("do_center_crop"):
        crop = size_of(where, "crop_size", said.get("crop_size", size))
    if said.get("do_resize") is False:
        notes.append("preprocessing: the processor does not resize; here images are squashed to the model's size")
        return {"image_size": crop or image_size, "resize": "squash"}
    short = size.get("shortest_edge") if isinstance(size, dict) else None
    if short is None and isinstance(size, int) and kind in _SHORT_SIDE:
        short = size
    if short is None:
        whole = size_of(where, "size", size)
        if crop is None or crop == whole:
            return {"image_size": whole, "resize": "squash"}
        ratio = _ratio(crop[0], whole[0])
        if crop[0] <= whole[0] and whole == tuple(math.floor(side / ratio) for side in crop):
            return {"image_size": crop, "resize": "squash-cut", "crop_ratio": ratio}
        notes.append(
            f"preprocessing: the processor squashes images to {whole[0]} x {whole[1]} before it cuts out "
            f"{crop[0]} x {crop[1]}; here they keep their aspect ratio"
        )
        short = min(whole)
    short = size_of(where, "shortest_edge", short)[0]
    if crop is None:
        notes.append("preprocessing: the processor does not crop; here the centre is cut out at the model's size")
        crop = image_size
    if max(crop) > short:
        notes.append(
            f"preprocessing: the processor pads images from {short} to {crop[0]} x {crop[1]}; here they fill it"
        )
    return {"image_size": crop, "resize": "cover", "crop_ratio": _ratio(max(crop), short)}


def _ratio(crop: int, short: int) -> float:
    """The share of the shorter side that a crop keeps, such that its reciprocal gives the side back exactly."""
    ratio = min(1.0, crop / short)
    while math.floor(crop / ratio) < short and crop < short:
        ratio = math.nextafter(ratio, 0.0)
    return ratio


def _normalisation(where: str, said: dict[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of values in [0, 1], whatever factor the file scales bytes by."""
    factor = said.get("rescale_factor", 1 / 255) if said.get("do_rescale", True) else 1.0
    mean, std = ([0.0], [1.0]) if said.get("do_normalize") is False else (said["image_mean"], said["image_std"])
    rows = [value if isinstance(value, list) else [value] for value in (mean, std)]
    numbers = [factor, *rows[0], *rows[1]]
    if not all(isinstance(n, int | float) and math.isfinite(n) for n in numbers) or factor <= 0:
        raise ModelFileError("mean, deviation or rescale_factor is no number", where=where, why=f"{numbers}")
    scale = 255 * factor
    exact = abs(scale - 1) < 1e-9
    count = max(3, len(rows[0]))
    wide = [row * count if len(row) == 1 else row for row in rows]
    first, second = (tuple(float(n) if exact else n / scale for n in row) for row in wide)
    return first, second


def write_preprocess(config: PreprocessConfig) -> dict[str, Any]:
    """A preprocessor_config.json that gives transformers' processors the same recipe.

    Args:
        config: of the model's card.
    """
    height, width = config.image_size
    frame = {"height": height, "width": width}
    values: dict[str, Any] = {
        "do_resize": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(config.mean),
        "image_std": list(config.std),
        "resample": _NUMBERS[config.interpolation],
    }
    if config.resize == "squash":
        return {"image_processor_type": "ViTImageProcessor", "size": frame, "do_center_crop": False} | values
    whole = [math.floor(side / config.crop_ratio) for side in config.image_size]
    if config.resize == "squash-cut":
        size = {"height": whole[0], "width": whole[1]}
        cut = {"size": size, "do_center_crop": True, "crop_size": frame}
        return {"image_processor_type": "CLIPImageProcessor"} | cut | values
    short = max(whole)
    cover = {"size": {"shortest_edge": short}, "do_center_crop": True, "crop_size": frame}
    return {"image_processor_type": "CLIPImageProcessor"} | cover | values

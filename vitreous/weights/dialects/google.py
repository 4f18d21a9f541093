"""Google's npz files, both ways: vit_jax (original, AugReg, SAM), hybrids, BiT, big_vision, SigLIP and FlexiViT.

Names are tidied in `google_names.py`; the tables stand in `google_vit.py` and `google_resnet.py`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor

from vitreous.architecture import Architecture, ResNetConfig, ViTConfig, as_pair
from vitreous.config import ModelCard, PreprocessConfig
from vitreous.errors import ModelFileError, UsageError
from vitreous.weights.dialects.dialect import Dialect, Package, Settings, Target, Understood
from vitreous.weights.dialects.google_names import OLD_TABLES, is_mixer, root_of, spelled, tidied
from vitreous.weights.dialects.google_resnet import bit_config, bit_rules, nearest_resnet, v1_config, v1_rules
from vitreous.weights.dialects.google_vit import form_of, nearest_vit, vit_config, vit_rules
from vitreous.weights.dialects.mapping import Rule
from vitreous.weights.formats.container import Raw

_GELU = "GELU: tanh, as Google's code computes; weights trained with the exact one say settings={'gelu': 'erf'}"
_ZERO_HEAD = "the head is all zeros, as in the original imagenet21k files: take the features, or head='new'"
_BIT_SIZE = "image size 224: BiT was fine-tuned at 480, on small images at 128; settings={'image_size': 480}"
_BIT_EDGE = "the max pool finds zeros beyond the edge, as in the release; big_vision's own model finds nothing there"
_NO_SIZE = "image size 224, which no array tells; settings={'image_size': 384}"
_HEADS = ("head/kernel", "resnet/head/conv2d/kernel")


def _recognises(raw: Raw) -> bool:
    return root_of(raw.tensors) is not None or is_mixer(raw.tensors)


def _understand(raw: Raw, settings: Settings) -> Understood:
    root = root_of(raw.tensors)
    if root is None:
        raise ModelFileError(
            "this is an MLP-Mixer: it has no attention, and no such model is here",
            where=str(raw.path),
            remedy="a Vision Transformer by the same makers, such as ViT-B_16.npz",
        )
    tensors, dropped = tidied(raw, root)
    match _family(tensors):
        case "bit":
            understood = _bit(tensors, settings, raw)
        case "v1":
            understood = _v1(tensors, settings, raw)
        case _:
            understood = _vit(tensors, settings, raw, root)
    heads = [tensors[name] for name in _HEADS if name in tensors]
    zero = (_ZERO_HEAD,) if any(_is_zero(head) for head in heads) else ()
    return dataclasses.replace(understood, dropped=dropped, notes=(*understood.notes, *zero))


def _family(tensors: dict[str, Tensor]) -> str:
    if any(name.startswith("resnet/") for name in tensors):
        return "bit"
    transformer = "embedding/kernel" in tensors or any(name.startswith("Transformer/") for name in tensors)
    return "vit" if transformer else "v1"


def _is_zero(head: Tensor) -> bool:
    return not bool(head[..., :1].any()) and not bool(head.any())  # one class tells most heads without reading all


def _vit(tensors: dict[str, Tensor], settings: Settings, raw: Raw, root: str) -> Understood:
    config, tensors, notes = vit_config(tensors, _stated(settings, ViTConfig), raw)
    form = form_of(config)
    if form != "big_vision":
        tensors = {spelled(name): tensor for name, tensor in tensors.items()}
    whole = root + OLD_TABLES[0] in raw.tensors or root.endswith("img/")  # vit_jax, LiT, SigLIP
    return Understood(
        form=form,
        architecture=config,
        tensors=tensors,
        preprocess=_squash(config) if whole else _cover(config),
        notes=(*notes, *(() if "gelu" in settings else (_GELU,))),
    )


def _bit(tensors: dict[str, Tensor], settings: Settings, raw: Raw) -> Understood:
    config = bit_config(tensors, _stated(settings, ResNetConfig), raw)
    by_big_vision = any(name.endswith("root_block/conv_root/kernel") for name in raw.tensors)
    size = () if "image_size" in settings else (_BIT_SIZE,)
    return Understood(
        form="bit",
        architecture=config,
        tensors=tensors,
        preprocess=_cover(config) if by_big_vision else _squash(config),
        notes=(*size, *((_BIT_EDGE,) if by_big_vision else ())),
    )


def _v1(tensors: dict[str, Tensor], settings: Settings, raw: Raw) -> Understood:
    config = v1_config(tensors, _stated(settings, ResNetConfig), raw)
    return Understood(
        form="bit-v1",
        architecture=config,
        tensors=tensors,
        preprocess=_cover(config),
        notes=() if "image_size" in settings else (_NO_SIZE,),
    )


def _stated(settings: Settings, kind: type[ViTConfig] | type[ResNetConfig]) -> dict[str, Any]:
    """What a person stated, sizes as pairs; fields that the architecture does not have are refused."""
    known = {field.name for field in dataclasses.fields(kind)}
    if unknown := [name for name in settings if name not in known]:
        raise UsageError(
            f"settings: this architecture has no {' and no '.join(unknown)}",
            remedy=f"one of {', '.join(sorted(known))}",
        )
    sizes = ("image_size", "patch_size")
    return {name: as_pair(value) if name in sizes else value for name, value in settings.items()}


def _squash(config: Architecture) -> PreprocessConfig:
    """vit_jax/input_pipeline.py, BiT's evaluation, and SigLIP: the whole image, TensorFlow's bilinear."""
    return PreprocessConfig(
        image_size=config.image_size, resize="squash", interpolation="bilinear", **_range(config.in_channels)
    )


def _cover(config: Architecture) -> PreprocessConfig:
    """big_vision's evaluation: `resize_small`, by areas, and a central crop of seven eighths."""
    return PreprocessConfig(
        image_size=config.image_size,
        resize="cover",
        crop_ratio=0.875,
        interpolation="box",
        **_range(config.in_channels),
    )


def _range(channels: int) -> dict[str, Any]:
    """Pixels from -1 to 1."""
    return {"mean": (0.5,) * channels, "std": (0.5,) * channels}


def _rules(architecture: Architecture, form: str) -> list[Rule]:
    match architecture:
        case ViTConfig():
            return vit_rules(architecture, form)
        case ResNetConfig():
            return bit_rules(architecture) if form == "bit" else v1_rules(architecture)


def _nearest(architecture: Architecture) -> Target:
    match architecture:
        case ViTConfig():
            return nearest_vit(architecture)
        case ResNetConfig():
            return nearest_resnet(architecture)


def _package(_architecture: Architecture, _card: ModelCard, _form: str) -> Package:
    return Package(kind="npz", file_name="model.npz")


GOOGLE = Dialect(
    name="google",
    title="Google",
    recognises=_recognises,
    understand=_understand,
    rules=_rules,
    nearest=_nearest,
    package=_package,
)

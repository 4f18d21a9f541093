"""Hugging Face's other spellings, brought to the names on disk: version 5's names in memory, wrappers, prefixes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vitreous.weights.dialects.hf_names import FAMILIES, Family

_DROPPED = (  # pattern of a whole name: why it is not needed
    (r"embeddings\.mask_token", "the mask token of pre-training: nothing is masked any more"),
    (r"embeddings\.position_ids", "0, 1, 2 and so on: no weights"),
    (r"decoder(\..*)?", "the decoder of pre-training: only the encoder is read"),
    (r"text_(model|projection)\..*", "the text tower: only the image tower is read"),
    (r"logit_(scale|bias)", "scales similarities of images and texts: it goes with the text tower"),
)
_OUTSIDE = re.compile(
    r"(classifier|cls_classifier|distillation_classifier|visual_projection|text_projection|text_model|decoder)\.|logit_"
)
_PATCHES = "|".join(sorted({re.escape(family.patches) for family in FAMILIES.values()}))
_LANDMARK = re.compile(rf"(|.*\.)({_PATCHES})\.weight")
_WRAPPER = re.compile(r"(?:module\.|_orig_mod\.|base_model\.model\.|model\.)*")


@dataclass(frozen=True)
class Found:
    """A checkpoint's tensors under their names on disk, without prefixes."""

    family: Family
    encoder: dict[str, Tensor]
    """What lies behind the prefix of the encoder."""
    outside: dict[str, Tensor]
    """Classifiers, and what nobody knows."""
    dropped: dict[str, str]
    """What is known and not needed, by its name in the file, with the reason."""


def family_of(names: Mapping[str, Tensor]) -> tuple[Family, str] | None:
    """The family that names betray, and the prefix of its encoder's names; None where they are nobody's here.

    Args:
        names: of the file's tensors.
    """
    marks = [match for match in map(_LANDMARK.fullmatch, names) if match]
    if len(marks) != 1:
        return None
    prefix, patches = marks[0].groups()
    has = {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
    match patches:
        case "embeddings.patch_embeddings":
            return FAMILIES["dinov3_vit"], prefix
        case "embeddings.patch_embedding":
            clip = "embeddings.class_embedding" in has
            return FAMILIES["clip_vision_model" if clip else "siglip_vision_model"], prefix
    if "embeddings.register_tokens" in has:
        return FAMILIES["dinov2_with_registers"], prefix
    if any(name.endswith("layer_scale1.lambda1") for name in has):
        return FAMILIES["dinov2"], prefix
    return FAMILIES["deit" if "embeddings.distillation_token" in has else "vit"], prefix


def renewed(names: Mapping[str, Tensor]) -> Found | None:
    """The tensors of a checkpoint under their names on disk, whichever version wrote them; None if nobody's here.

    Args:
        names: as they lie in the file.
    """
    known = family_of(names)
    if known is None:
        return None
    family, prefix = known
    wrapper = _WRAPPER.match(prefix)
    assert wrapper is not None
    found = Found(family, {}, {}, {})
    for name, tensor in names.items():
        bare, place = name.removeprefix(wrapper[0]), found.outside
        if name.startswith(prefix) and not _OUTSIDE.match(bare):
            bare, place = name.removeprefix(prefix), found.encoder
            for pattern, on_disk in family.renewals:
                bare = re.sub(pattern, on_disk, bare)
        why = next((why for pattern, why in _DROPPED if re.fullmatch(pattern, bare)), None)
        if why is not None:
            found.dropped[name] = why
        else:  # a second spelling of the same name stays as it is, and will be told as spare
            place[name if bare in place else bare] = tensor
    if family.name.startswith("dinov2"):
        _pack(found.encoder)
    return found


def _pack(encoder: dict[str, Tensor]) -> None:
    """Put the halves of DINOv2's gated MLP, which version 5 keeps apart, into one matrix as on disk, gate first."""
    for name in [name for name in encoder if ".mlp.gate_proj." in name]:
        value = name.replace("gate_proj", "up_proj")
        if value in encoder and encoder[value].shape == encoder[name].shape:
            encoder[name.replace("gate_proj", "weights_in")] = torch.cat([encoder.pop(name), encoder.pop(value)])

"""Hugging Face's config.json, read by ourselves and written: what it says of an architecture, and how to say one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vitreous.architecture import Size, ViTConfig
from vitreous.config import ModelCard
from vitreous.errors import ModelFileError
from vitreous.weights.dialects.hf_names import FORMS

_VIT: dict[str, Any] = {"hidden_act": "gelu", "layer_norm_eps": 1e-12, "num_attention_heads": 12, "image_size": 224}
DEFAULTS: dict[str, dict[str, Any]] = {
    "vit": _VIT,
    "vit_mae": _VIT,
    "vit_msn": _VIT | {"layer_norm_eps": 1e-6},
    "deit": _VIT,
    "dinov2": _VIT | {"layer_norm_eps": 1e-6},
    "dinov2_with_registers": _VIT | {"layer_norm_eps": 1e-6},
    "dinov3_vit": _VIT | {"layer_norm_eps": 1e-5, "num_attention_heads": 6, "rope_theta": 100.0},
    "clip_vision_model": _VIT | {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5},
    "siglip_vision_model": _VIT | {"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6},
}
"""What a config.json means where it is silent (transformers 5, models/*/configuration_*.py)."""

_KINDS = {  # family: model_types of its files
    "vit": ("vit", "vit_mae", "vit_msn"),
    "clip_vision_model": ("clip_vision_model", "clip"),
    "siglip_vision_model": ("siglip_vision_model", "siglip"),
}
_ACTIVATIONS = {  # hidden_act: ours (transformers/activations.py)
    "gelu": "erf",
    "gelu_python": "erf",
    "gelu_new": "tanh",
    "gelu_fast": "tanh",
    "gelu_pytorch_tanh": "tanh",
    "quick_gelu": "quick",
}
MULTI_LABEL = "multi_label_classification"  # a `problem_type`: every class has a probability of its own
_TO_WRITE = {"erf": "gelu", "tanh": "gelu_pytorch_tanh", "quick": "quick_gelu"}


@dataclass(frozen=True)
class Stated:
    """What a config.json says of the image tower."""

    where: str
    there: bool
    """Whether there was a config.json at all."""
    values: dict[str, Any]
    """Its fields, those of a nested vision_config brought to the top."""
    model_type: str
    """Of the image tower, with the family's own where nothing is said."""
    classes_named: str
    """The class that saved it, or nothing."""

    def get(self, key: str) -> Any:
        """A field, or what its absence means; None where that is unknown."""
        return self.values.get(key, DEFAULTS[self.model_type].get(key))

    def number(self, key: str, absent: float) -> float:
        """A field that is a number.

        Args:
            key: of config.json.
            absent: where neither the file nor the family says one.

        Raises:
            ModelFileError: it is something else.
        """
        value = self.get(key)
        if value is None:
            return absent
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ModelFileError(f"{key} in config.json is no number: {value!r}", where=self.where)
        return value

    def agree(self, key: str, measured: object) -> None:
        """Refuse a field that says something else than the weights.

        Args:
            key: of config.json.
            measured: what names and shapes say.

        Raises:
            ModelFileError: names both.
        """
        if key in self.values and self.values[key] != measured:
            raise contradiction(self.where, key, self.values[key], measured)


def contradiction(where: str, key: str, said: object, measured: object) -> ModelFileError:
    """The error for a config.json that belongs to other weights.

    Args:
        where: the file.
        key: the field.
        said: its value.
        measured: what the weights say.
    """
    return ModelFileError(
        "config.json and the weights beside it contradict each other",
        where=where,
        why=f"{key}: config.json says {said!r}, the weights say {measured!r}",
        remedy="fetch both again from the same place and revision",
    )


def stated_config(where: str, family: str, sidecar: dict[str, Any] | None) -> Stated:
    """What a config.json says of a family's image tower.

    Args:
        where: the file of weights, for errors.
        family: that names and shapes tell of.
        sidecar: the content of config.json, if there is one.

    Raises:
        ModelFileError: it is about another kind of model.
    """
    values = dict(sidecar or {})
    for key in ("vision_config", "vision_config_dict"):  # of two the second holds; so do it transformers
        if isinstance(values.get(key), dict):
            values |= {k: v for k, v in values[key].items() if k not in ("id2label", "architectures", "model_type")}
    kinds = _KINDS.get(family, (family,))
    kind = values.get("model_type", family)
    if kind not in kinds:
        raise contradiction(where, "model_type", kind, family)
    architectures = values.get("architectures")
    named = architectures[0] if isinstance(architectures, list) and architectures else ""
    return Stated(where, sidecar is not None, values, kind if kind in DEFAULTS else family, str(named))


def activation(stated: Stated) -> str:
    """Our name of the GELU that a config.json names.

    Args:
        stated: the config.json.

    Raises:
        ModelFileError: it is no GELU that is known here.
    """
    name = stated.get("hidden_act")
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        raise ModelFileError(
            f"hidden_act {name!r} is no activation that is known here",
            where=stated.where,
            remedy=f"known: {', '.join(_ACTIVATIONS)}",
        )
    return _ACTIVATIONS[name]


def pair_of(stated: Stated, key: str) -> Size | None:
    """(height, width) from a number, a list of two or an object with both; None where nothing is said.

    Args:
        stated: the config.json.
        key: the field.
    """
    return None if key not in stated.values else size_of(stated.where, key, stated.values[key])


def size_of(where: str, key: str, value: object) -> Size:
    """(height, width) from what JSON has.

    Args:
        where: the file, for errors.
        key: the field.
        value: a number, a list of two, or an object with height and width.

    Raises:
        ModelFileError: it is none of these.
    """
    match value:
        case {"height": height, "width": width}:
            return size_of(where, key, [height, width])
        case [int(height), int(width)] if min(height, width) > 0:
            return height, width
        case int(side) if side > 0:
            return side, side
    raise ModelFileError(f"{key} in the JSON beside the weights is no size in pixels: {value!r}", where=where)


def class_names(stated: Stated, count: int) -> tuple[str, ...]:
    """Names of the classes in the order of the logits; none where id2label holds placeholders.

    Args:
        stated: the config.json.
        count: outputs of the classifier.

    Raises:
        ModelFileError: there are as many names as another classifier has outputs.
    """
    table = stated.values.get("id2label")
    if not isinstance(table, dict) or not count:
        return ()
    if len(table) != count:
        raise contradiction(stated.where, "id2label", f"{len(table)} classes", f"{count} outputs")
    try:
        by_id = {int(key): str(name) for key, name in table.items()}
    except ValueError:
        by_id = {}
    if sorted(by_id) != list(range(count)):
        raise ModelFileError(f"id2label in config.json does not number {count} classes from 0", where=stated.where)
    if all(name == f"LABEL_{i}" for i, name in by_id.items()):
        return ()
    return tuple(by_id[i] for i in range(count))


def config_json(config: ViTConfig, card: ModelCard, class_name: str) -> dict[str, Any]:
    """A config.json from which transformers builds the architecture.

    Args:
        config: one that the class can express.
        card: names the classes.
        class_name: one of `FORMS`.
    """
    family, size = FORMS[class_name].family, config.image_size
    square = size[0] == size[1] and config.patch_size[0] == config.patch_size[1]
    values: dict[str, Any] = {
        "hidden_size": config.embed_dim,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.num_heads,
        "num_channels": config.in_channels,
        "image_size": size[0] if square else list(size),
        "patch_size": config.patch_size[0] if square else list(config.patch_size),
        "layer_norm_eps": config.norm_eps,
        "hidden_act": _TO_WRITE[config.gelu],
    }
    values |= _own(config, family)
    if class_name == "SiglipForImageClassification":
        tower = values | {"model_type": family, "vision_use_head": False}
        values = {"model_type": "siglip", "vision_config": tower}
    else:
        values["model_type"] = family
    if class_name == "CLIPVisionModelWithProjection":
        return values | {"architectures": [class_name], "projection_dim": config.num_classes}
    if FORMS[class_name].heads:
        names = card.classes or tuple(f"LABEL_{i}" for i in range(config.num_classes))
        values["id2label"] = {str(i): name for i, name in enumerate(names)}
        values["label2id"] = {name: i for i, name in enumerate(names)}
        if card.answers == "several":
            values["problem_type"] = MULTI_LABEL
    return values | {"architectures": [class_name]}


def _own(config: ViTConfig, family: str) -> dict[str, Any]:
    """The fields that only some families have."""
    dropout = {"hidden_dropout_prob": config.dropout}
    match family:
        case "vit" | "deit":
            pooler = {} if config.representation_size is None else {"pooler_output_size": config.representation_size}
            width = {"intermediate_size": config.mlp_dim, "encoder_stride": config.patch_size[0]}
            return dropout | width | pooler | {"qkv_bias": config.qkv_bias == "all"}
        case "dinov2" | "dinov2_with_registers":
            registers = {"num_register_tokens": config.registers} if config.registers else {}
            return (
                dropout
                | registers
                | {
                    "qkv_bias": config.qkv_bias == "all",
                    "mlp_ratio": mlp_ratio(config),
                    "use_swiglu_ffn": config.mlp == "swiglu",
                    "layerscale_value": config.layer_scale or 1.0,
                    "drop_path_rate": config.drop_path,
                }
            )
        case "dinov3_vit":
            return {
                "intermediate_size": config.mlp_dim,
                "num_register_tokens": config.registers,
                "query_bias": config.qkv_bias != "none",
                "key_bias": config.qkv_bias == "all",
                "value_bias": config.qkv_bias != "none",
                "proj_bias": config.proj_bias,
                "mlp_bias": config.mlp_bias,
                "use_gated_mlp": config.mlp == "swiglu",
                "rope_theta": config.rotary_base,
                "layerscale_value": config.layer_scale or 1.0,
                "drop_path_rate": config.drop_path,
                **({"hidden_act": "silu"} if config.mlp == "swiglu" else {}),
            }
    return {"intermediate_size": config.mlp_dim}


def mlp_ratio(config: ViTConfig) -> int | None:
    """DINOv2's whole number from which its code computes the width of the MLP; None where there is none.

    Args:
        config: the architecture.
    """
    return next((r for r in range(1, 65) if dinov2_width(config.embed_dim, r, config.mlp) == config.mlp_dim), None)


def dinov2_width(width: int, ratio: float, mlp: str) -> int:
    """Width of DINOv2's MLP; the gated one has two thirds, in eights (transformers/models/dinov2).

    Args:
        width: D.
        ratio: mlp_ratio.
        mlp: "gelu" or "swiglu".
    """
    whole = int(width * ratio)
    return whole if mlp == "gelu" else (int(whole * 2 / 3) + 7) // 8 * 8

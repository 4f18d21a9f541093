"""What a timm checkpoint says besides its tensors: `config.json`, and an architecture's name.

Names stand for factories in timm/models/{vision_transformer,deit,eva,vision_transformer_hybrid,resnetv2}.py (1.0.31).
Only what shapes cannot show is kept here; tests hold it against every factory there is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from vitreous.architecture import Architecture, ResNetConfig, Size, ViTConfig
from vitreous.config import PreprocessConfig
from vitreous.errors import ConfigError, ModelFileError
from vitreous.weights.formats.container import Raw

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

HEADS = {64: 2, 96: 3, 192: 3, 256: 4, 320: 5, 384: 6, 512: 8, 640: 10, 768: 12, 832: 13, 896: 14, 1024: 16}
HEADS |= {1152: 16, 1280: 16, 1408: 16, 1536: 16, 1664: 16, 1792: 16, 4096: 32}
"""Heads of the published sizes by width."""
HEADS_GATED = HEADS | {1280: 20, 1536: 24}
"""The same for those with a gated MLP: DINOv3's H+ and DINOv2's g."""

_TANH = r"^vit_(base_patch32_siglip|so400m_patch16_siglip|giantopt_|large_patch16_siglip_(gap_)?512)"
_IMPLIED: tuple[tuple[str, dict[str, Any]], ...] = (  # pattern of a name, and what its factory sets
    (r"quickgelu", {"gelu": "quick"}),
    (_TANH, {"gelu": "tanh"}),
    (r"^vit_.*_clip_|dinov3|lingbot|^beit3_|_pe_", {"norm_eps": 1e-5}),
    (r"^vit_base_patch16_gap_224$", {"num_heads": 16}),
    (r"dinov3", {"pool": "mean"}),
    (r"lingbot", {"pool": "cls"}),
    (r"dinov3|lingbot", {"rotary": "dinov3", "rotary_base": 100.0}),
    (r"^eva02_|_rope_reg\d_", {"rotary": "eva", "rotary_base": 10_000.0, "rotary_grid": (16, 16)}),
    (r"^eva_giant_", {"rotary": None}),
)
_FOREIGN = (  # names whose factories compute what no option here does, although the tensors may look alike
    (r"_rpn_|^eva02_enormous_", "its norms stand behind attention and MLP"),
    (r"_rope_(mixed_)?(ape_)?224$", "its rotary positions are counted in another order"),
    (r"_xp_|_pwee_|_dpwee_", "its attention and MLP stand side by side"),
    (r"_(dlittle|dwee)_", "its attention is differential"),
    (r"_radio_", "it has no final norm"),
)
_POOLS: dict[str, str] = {"token": "cls", "avg": "mean", "map": "map", "": "none"}
_GELUS = {"gelu": "erf", "gelu_tanh": "tanh", "quick_gelu": "quick"}


@dataclass(frozen=True)
class Stated:
    """What a person or timm wrote down about a checkpoint; empty where nothing is known."""

    where: str
    """The file, for messages."""
    name: str
    """Architecture without its tag: "vit_base_patch16_224"."""
    args: dict[str, Any]
    """`model_args`: what was changed in that architecture."""
    cfg: dict[str, Any]
    """`pretrained_cfg`: input, preprocessing, classes."""

    @property
    def pools_everything(self) -> bool:
        """Whether attention pooling looks at class token and registers too, as it does in one factory."""
        return bool(self.args.get("pool_include_prefix", self.name == "test_vit3"))


def stated(raw: Raw) -> Stated:
    """What stands in `config.json`, in the header of a checkpoint, or beside the weights in one of timm's training.

    Args:
        raw: as read from disk.
    """
    config = raw.sidecars.get("config.json", {})
    trained = [found[1] for words in raw.ignored if (found := re.fullmatch(r"arch: ([a-z0-9_.]+)", words))]
    name = config.get("architecture") or raw.metadata.get("architecture") or (trained[0] if trained else None)
    older = config if "architecture" in config else {}  # before timm 0.9 everything stood on one floor
    args, cfg = config.get("model_args"), config.get("pretrained_cfg", older)
    return Stated(
        where=str(raw.path),
        name=name.partition(".")[0] if isinstance(name, str) else "",
        args={key: value for key, value in args.items() if value is not None} if isinstance(args, dict) else {},
        cfg=cfg if isinstance(cfg, dict) else {},
    )


def claims(known: Stated) -> dict[str, Any]:
    """Fields of a ViTConfig that name and arguments state.

    Args:
        known: from `stated`.

    Raises:
        ModelFileError: they ask for what no option here computes.
    """
    for pattern, why in _FOREIGN:
        if re.search(pattern, known.name):
            raise _beyond(known, f"{known.name}: {why}")
    fields: dict[str, Any] = {}
    for pattern, implied in _IMPLIED:
        if re.search(pattern, known.name):
            fields |= implied
    args = known.args
    pool = args.get("global_pool", known.cfg.get("global_pool"))
    if pool is not None:
        fields["pool"] = _listed(known, "global_pool", pool, _POOLS)
    if "act_layer" in args:
        fields["gelu"] = _listed(known, "act_layer", args["act_layer"], _GELUS)
    if "norm_layer" in args:
        _listed(known, "norm_layer", args["norm_layer"], {"layernorm": 1e-6})
        fields["norm_eps"] = 1e-6
    for theirs, ours in (("num_heads", "num_heads"), ("init_values", "layer_scale")):
        if args.get(theirs):
            fields[ours] = args[theirs]
    return fields | _rotary(known, fields)


def _rotary(known: Stated, implied: dict[str, Any]) -> dict[str, Any]:
    """The rotary embedding that `model_args` states."""
    args = known.args
    other = "_pe_" in known.name  # Perception Encoders count from 1, columns first, unless they are told otherwise
    asked = {
        "rope_grid_offset": args.get("rope_grid_offset", 1 if other else 0),
        "rope_grid_indexing": args.get("rope_grid_indexing", "xy" if other else "ij"),
        "use_post_norm": args.get("use_post_norm", False),
    }
    for name, value in asked.items():
        if value not in (0, "ij"):
            raise _beyond(known, f"{known.name}: {name}={value!r}")
    if args.get("use_rot_pos_emb") is False:
        return {"rotary": None}
    if not args.get("use_rot_pos_emb") and not implied.get("rotary"):
        return {}
    default = "dinov3" if implied.get("rotary") == "dinov3" else "cat"
    form = _listed(known, "rope_type", args.get("rope_type", default), {"cat": "eva", "dinov3": "dinov3"})
    if bool(args.get("rope_rotate_half", form == "dinov3")) != (form == "dinov3"):
        raise _beyond(known, f"rope_rotate_half={args.get('rope_rotate_half')!r} with rope_type={form!r}")
    found: dict[str, Any] = {"rotary": form}
    if "rope_temperature" in args or not implied.get("rotary"):
        found["rotary_base"] = float(args.get("rope_temperature", 10_000.0))
    if "ref_feat_shape" in args and form == "eva":
        found["rotary_grid"] = size_of(known, "ref_feat_shape", args["ref_feat_shape"])
    return found


def stated_sizes(known: Stated) -> Iterable[Size]:
    """(height, width) in pixels, as far as it is stated, the most reliable first."""
    if "img_size" in known.args:
        yield size_of(known, "img_size", known.args["img_size"])
    shape = known.cfg.get("input_size")
    if isinstance(shape, list | tuple) and len(shape) == 3:
        yield size_of(known, "input_size", list(shape[1:]))
    if number := re.search(r"_(\d{2,4})$", known.name):
        yield int(number[1]), int(number[1])


def size_of(known: Stated, name: str, value: object) -> Size:
    """A number or a pair of numbers from JSON as (height, width).

    Args:
        known: for messages.
        name: of the entry.
        value: what stands there.
    """
    match value:
        case int():
            return value, value
        case [int() as height, int() as width] | (int() as height, int() as width):
            return height, width
    raise _beyond(known, f"{name}={value!r}")


def _listed(known: Stated, name: str, value: object, choices: dict[str, Any]) -> Any:
    if not isinstance(value, str) or value not in choices:
        raise _beyond(known, f"{name}={value!r}, known here: {', '.join(repr(choice) for choice in choices)}")
    return choices[value]


def _beyond(known: Stated, why: str) -> ModelFileError:
    return ModelFileError(
        "this timm architecture computes something that is not known here",
        where=known.where,
        why=why,
        remedy="timm itself runs it",
    )


def family(config: Architecture) -> Literal["bit", "vit", "deit", "deit3", "dinov2", "dinov3", "clip", "siglip", "eva"]:
    """Which published family an architecture looks like."""
    match config:
        case ResNetConfig():
            return "bit"
        case ViTConfig(rotary="dinov3"):
            return "dinov3"
        case ViTConfig(rotary="eva") | ViTConfig(qkv_bias="query-value"):
            return "eva"
        case ViTConfig(pre_norm=True):
            return "clip"
        case ViTConfig(distill_token=True):
            return "deit"
        case ViTConfig(layer_scale=float(), prefix_position=False, registers=0):
            return "deit3"
        case ViTConfig(layer_scale=float()):
            return "dinov2"
        case ViTConfig(pool="map"):
            return "siglip"
    return "vit"


def preprocessing(known: Stated, config: Architecture) -> tuple[PreprocessConfig, str | None]:
    """How an image becomes the model's input, and what was assumed of it.

    Args:
        known: its `pretrained_cfg` settles it.
        config: otherwise its family's own way is taken.
    """
    kind, cfg = family(config), known.cfg
    usual = {"clip": CLIP, "eva": CLIP, "vit": HALF, "siglip": HALF, "bit": HALF}.get(kind, IMAGENET)
    if kind == "vit" and re.match(r"deit|.*_dino", known.name):
        usual = IMAGENET
    mean, std = cfg.get("mean", usual[0]), cfg.get("std", usual[1])
    small = max(config.image_size) < 300
    ratio = 0.875 if kind == "bit" else 1.0 if kind.startswith("dino") else 0.9
    note = None
    if not cfg:
        note = f"input: mean {mean}, std {std} and the centre, as timm prepares images for its {kind} models"
    try:
        kept = float(cfg.get("crop_pct", ratio if small else 1.0))
        squashed: Literal["squash", "squash-cut"] = "squash-cut" if kept < 1 else "squash"
        return PreprocessConfig(
            image_size=config.image_size,
            resize=squashed if cfg.get("crop_mode") == "squash" else "cover",
            crop_ratio=kept,
            interpolation=cfg.get("interpolation", "bilinear" if kind == "bit" else "bicubic"),
            mean=_channels(mean, config.in_channels),
            std=_channels(std, config.in_channels),
        ), note
    except (ConfigError, TypeError, ValueError) as error:
        raise ModelFileError(
            "config.json describes a preprocessing that cannot be", where=known.where, why=str(error)
        ) from error


def _channels(values: Iterable[float], count: int) -> tuple[float, ...]:
    """One value per channel: for images that are not RGB, the mean of the three."""
    listed = tuple(float(value) for value in values)
    return listed if len(listed) == count else (sum(listed) / max(1, len(listed)),) * count

"""Published weights by name: where they lie, under which licence, what they expect, and what was reported for them.

Plain data, kept in `pretrained.toml`; fetching is the business of `weights/hub/`. A name is ARCHITECTURE.TAG: the
zoo's name where the zoo has the architecture, else timm's. The tag says who trained it on what, as timm spells it; the
same weights in another ecosystem's file carry a prefix: `google_` (.npz), `meta_` (.pth), `hf_` (transformers),
`laion_` (OpenCLIP), `tv_` (torchvision). Nothing is guessed: what its source does not state is None.

Sources: timm 1.0.31 (`default_cfgs`: locations, classes, licences, preprocessing), torchvision 0.28 (`WeightsEnum`),
the READMEs of the repositories named in `source`, and timm's results/results-imagenet.csv (4e5207c, October 2025).
"""

from __future__ import annotations

import functools
import importlib.resources
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from vitreous.architecture import Size
from vitreous.config import PreprocessConfig
from vitreous.errors import UnknownNameError, unknown_name

LabelSet = Literal["none", "imagenet-1k", "imagenet-12k", "imagenet-21k", "imagenet-22k", "embedding"]
"""What the outputs mean: nothing (no head), the classes of an ImageNet, or a point in a space shared with texts.
imagenet-21k is Google's 21,843 classes, imagenet-22k the 21,841 of Microsoft's release."""

WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""What weights are called in a hub repository, best first."""


@dataclass(frozen=True, slots=True)
class HubFile:
    """Weights in a repository of the Hugging Face hub, or of a mirror of it."""

    repo: str
    """owner/name."""
    files: tuple[str, ...] = WEIGHT_FILES
    """Names to look for, the first that exists is taken."""
    revision: str = "main"
    """Branch, tag or commit."""


@dataclass(frozen=True, slots=True)
class WebFile:
    """Weights in one file behind an https address."""

    url: str
    """The whole address."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Accuracy:
    """A score as somebody reported it; vitreous has not repeated it."""

    top1: float
    """Percent of images named rightly."""
    on: str
    """Which images, and how they were scored."""
    source: str
    """Where it is written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pretrained:
    """One published set of weights, as one file or repository holds it."""

    name: str
    """What to type: ARCHITECTURE.TAG."""
    architecture: str
    """The zoo's name where it has one, else timm's."""
    tag: str
    """Who trained it on what."""
    family: str
    """vit, augreg, sam, flexivit, bit, deit, deit3, mae, dino, dinov2, dinov3, clip, siglip, siglip2, eva02 or swag."""
    dialect: Literal["timm", "google", "huggingface", "torchvision", "dinov2", "openclip"]
    """Whose file format and tensor names it has."""
    location: HubFile | WebFile
    """Where it is fetched from, when asked."""
    sha256: str | None
    """SHA-256 of the file in hexadecimal, or as many leading digits as were published; None where nothing was."""
    num_bytes: int | None
    """About how large the file is, as its publisher lists it (rounded): for telling the wait, not for checking."""
    licence: str
    """SPDX name where there is one."""
    gated: bool
    """Whether the owner lets in only those who accepted the licence on the repository's page."""
    preprocess: PreprocessConfig
    """How its home evaluates it."""
    num_classes: int
    """Outputs of the head in the file; 0 for no head."""
    label_set: LabelSet
    """What the outputs mean."""
    image_size: Size
    """Resolution the weights were made for, (height, width) in pixels."""
    accuracy: Accuracy | None
    """What was reported for exactly this file; None where nothing was found."""
    source: str
    """Paper, and the repository that publishes it."""
    note: str
    """What a user must know; empty for most."""


def find_pretrained(name: str) -> Pretrained:
    """The published weights that `name` stands for.

    Args:
        name: `vit-b16.augreg_in21k`, timm's `vit_base_patch16_224.augreg_in21k`, a hub repository such as
            `google/vit-base-patch16-224`, or the file's address; in any case and with `-` or `_`.

    Raises:
        UnknownNameError: nothing published is called so; carries the nearest names.
    """
    found = _index().get(_key(name))
    if found is None:
        raise unknown_name("pretrained model", name, pretrained_names(), remedy="vitreous models   lists them all")
    return found


def is_pretrained_name(name: str) -> bool:
    """Whether `find_pretrained` understands `name`."""
    try:
        find_pretrained(name)
    except UnknownNameError:
        return False
    return True


def pretrained_names(
    *, family: str | None = None, architecture: str | None = None, dialect: str | None = None, text: str = ""
) -> tuple[str, ...]:
    """The names of published weights, by family.

    Args:
        family: only this family ("augreg").
        architecture: only this architecture, with or without an image size ("vit-b16").
        dialect: only files of this dialect ("google").
        text: only names that contain this.
    """
    return tuple(
        entry.name
        for entry in all_pretrained()
        if family in (None, entry.family)
        and architecture in (None, entry.architecture, re.sub(r"-\d{3}$", "", entry.architecture))
        and dialect in (None, entry.dialect)
        and text.casefold() in entry.name.casefold()
    )


@functools.cache
def imagenet_names() -> tuple[str, ...]:
    """The 1,000 classes of ILSVRC 2012 in the order of every published head, in torchvision's words (BSD-3-Clause).

    Source: torchvision/models/_meta.py, _IMAGENET_CATEGORIES.
    """
    return tuple(
        importlib.resources.files("vitreous").joinpath("imagenet.txt").read_text(encoding="utf-8").splitlines()
    )


@functools.cache
def all_pretrained() -> tuple[Pretrained, ...]:
    """Every published set of weights known here."""
    return tuple(entry for group in _groups() for entry in _entries(group))


@functools.cache
def _index() -> dict[str, Pretrained]:
    """Every spelling of every entry."""
    index = {}
    for entry in all_pretrained():
        match entry.location:
            case HubFile(repo=repo):
                spellings = [repo, repo.removeprefix("timm/")]
            case WebFile(url=url):
                spellings = [url]
        for spelling in (*spellings, entry.name):
            index[_key(spelling)] = entry
    return index


def _key(name: str) -> str:
    plain = name.strip().lower().removeprefix("https://huggingface.co/").removeprefix("hf-hub:").removeprefix("hf:")
    plain = re.sub(r"^((?:r\d*\+)?vit-\w+)/(?=\d)", r"\1", plain)  # ViT-B/16 is vit-b16, owner/name stays
    return plain.replace("_", "-").rstrip("/")


Look = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and std per channel."""

_CLASSES: dict[LabelSet, int] = {
    "none": 0,
    "imagenet-1k": 1000,
    "imagenet-12k": 11821,
    "imagenet-21k": 21843,
    "imagenet-22k": 21841,
}
_EMBEDDINGS = (  # width of CLIP's space shared with texts, by a part of the architecture's name; first match wins
    ("plus_clip", 640),
    ("base", 512),
    ("large", 768),
    ("gigantic", 1280),
    ("huge", 1024),
    ("giant", 1024),
    ("enormous", 1024),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Group:
    """Weights that differ in little more than size.

    `rows` is a list of words ARCHITECTURE|FILE|TOP1|MIB, of which what is not known is left empty or out. FILE is put
    into `at`, or is a repository; without it, it is timm's for that architecture. ARCHITECTURE@0.9 has its own crop.
    """

    family: str
    tag: str
    rows: str
    source: str
    look: Look
    dialect: Literal["timm", "google", "huggingface", "torchvision", "dinov2", "openclip"] = "timm"
    at: str = ""
    files: tuple[str, ...] = WEIGHT_FILES
    labels: LabelSet = "imagenet-1k"
    crop: float = 1.0
    resize: Literal["cover", "squash"] = "cover"
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    size: int | None = None
    fed: int | None = None
    licence: str = "apache-2.0"
    gated: bool = False
    scored: str = "ImageNet-1k validation"
    scored_by: str = "timm, results/results-imagenet.csv"
    note: str = ""


def _groups() -> Iterator[_Group]:
    table = tomllib.loads(importlib.resources.files("vitreous").joinpath("pretrained.toml").read_text(encoding="utf-8"))
    looks = {name: (tuple(mean), tuple(std)) for name, (mean, std) in table["looks"].items()}
    for weights in table["weights"]:
        facts: dict[str, Any] = {**weights, "source": table["sources"][weights["source"]]}
        facts["look"] = looks[weights.get("look", "half")]
        facts["files"] = tuple(weights.get("files", WEIGHT_FILES))
        yield _Group(**facts)


def _entries(group: _Group) -> Iterator[Pretrained]:
    for row in group.rows.split():
        named, file, top1, mib = [*row.split("|"), "", "", ""][:4]
        named, _, crop = named.partition("@")
        architecture = _zoo_name(named)
        tag = f"deit_{group.tag}" if named.startswith("deit_") and architecture != named else group.tag
        written = re.search(r"[-_](\d{3})$", named)
        size = group.size or (int(written[1]) if written else 224)
        fed = group.fed or size
        location = _location(group, named, file)
        yield Pretrained(
            name=f"{architecture}.{tag}",
            architecture=architecture,
            tag=tag,
            family=group.family,
            dialect=group.dialect,
            location=location,
            sha256=_digits(location),
            num_bytes=round(float(mib) * 2**20) if mib else None,
            licence=group.licence,
            gated=group.gated,
            preprocess=PreprocessConfig(
                image_size=(fed, fed),
                resize=group.resize,
                crop_ratio=float(crop or group.crop),
                interpolation=group.interpolation,
                mean=group.look[0],
                std=group.look[1],
            ),
            num_classes=_outputs(group.labels, named),
            label_set=group.labels,
            image_size=(size, size),
            accuracy=Accuracy(top1=float(top1), on=group.scored, source=group.scored_by) if top1 else None,
            source=group.source,
            note=group.note,
        )


def _location(group: _Group, named: str, file: str) -> HubFile | WebFile:
    if group.at.startswith("https:"):
        return WebFile(group.at.format(file))
    # timm serves OpenAI's weights to two architectures; only the one with QuickGELU computes what OpenAI's code does
    return HubFile(file or f"timm/{named.replace('_quickgelu', '')}.{group.tag}", group.files)


def _digits(location: HubFile | WebFile) -> str | None:
    """The leading digits of the SHA-256 that DeiT's and torchvision's file names carry."""
    found = re.search(r"-([0-9a-f]{8})\.pth$", location.url) if isinstance(location, WebFile) else None
    return found[1] if found else None


def _outputs(labels: LabelSet, architecture: str) -> int:
    if labels == "embedding":
        return next(width for part, width in _EMBEDDINGS if part in architecture)
    return _CLASSES[labels]


_SIZES = {"tiny": "ti", "small": "s", "base": "b", "large": "l", "huge": "h"}
_HYBRIDS = {"tiny_r_s16_p8": "r+vit-ti16", "small_r26_s32": "r26+vit-s32"}
_HYBRIDS |= {"base_r50_s16": "r50+vit-b16", "large_r50_s32": "r50+vit-l32"}


def _zoo_name(timm_name: str) -> str:
    """The zoo's name for timm's, where the zoo has the architecture, else the name as it is."""
    if match := re.fullmatch(r"(?:vit|deit)_(tiny|small|base|large|huge)_patch(\d+)_(\d+)", timm_name):
        return f"vit-{_SIZES[match[1]]}{match[2]}" + (f"-{match[3]}" if match[3] != "224" else "")
    if (match := re.fullmatch(r"vit_(\w+)_(\d{3})", timm_name)) and match[1] in _HYBRIDS:
        return _HYBRIDS[match[1]] + (f"-{match[2]}" if match[2] != "224" else "")
    if match := re.fullmatch(r"resnetv2_(\d+x\d)_bit", timm_name):
        return f"bit-r{match[1]}"
    return timm_name

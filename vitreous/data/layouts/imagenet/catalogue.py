"""ImageNet and its variants by name: what each is called, what it looks like on a disk, and where to get it."""

from __future__ import annotations

import functools
import importlib.resources
import re
from dataclasses import dataclass
from typing import Literal

from vitreous.errors import unknown_name

Layout = Literal["validation", "wnids", "numbers", "corruptions", "objectnet"]
"""How the images of a variant lie: as ILSVRC 2012's validation images, in folders named by WordNet ids or by numbers of
classes, in folders of corruptions and severities, or as ObjectNet's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One of the data sets on which classifiers of ImageNet's classes are tried."""

    name: str
    """As it is typed."""
    title: str
    """As it is written."""
    layout: Layout
    looks: str
    """What to look for below --root, in words."""
    folders: tuple[str, ...]
    """What its folder may be called, in lower case and without punctuation."""
    images: int
    """How many the published set has (that count)."""
    classes: int
    """Among how many the answer is chosen."""
    source: str
    """Where to get it."""


_WORD = re.compile(r"[\w-]+(\.\d+)?", re.ASCII)  # imagenet-v2-threshold0.7 has a point, and no ending
_VAL = "val with class folders named by WordNet ids, or with ILSVRC2012_val_00000001.JPEG and so on and their labels"
_ILSVRC = "ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz, from https://image-net.org after registration"
_BERKELEY = "https://people.eecs.berkeley.edu/~hendrycks/"
_V2 = "https://github.com/modestyachts/ImageNetV2"


def _v2(name: str, title: str, folder: str) -> Variant:
    squeezed = _squeezed(folder)
    return Variant(
        name=name,
        title=title,
        layout="numbers",
        looks=f"imagenetv2-{folder}-format-val with folders named 0 to 999",
        folders=(f"imagenetv2{squeezed}formatval", f"imagenetv2{squeezed}", squeezed),
        images=10_000,
        classes=1000,
        source=_V2,
    )


def _squeezed(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())


VARIANTS = (
    Variant(
        name="imagenet",
        title="ImageNet",
        layout="validation",
        looks=_VAL,
        folders=("imagenet", "imagenet1k", "imagenet2012", "ilsvrc2012", "ilsvrc"),
        images=50_000,
        classes=1000,
        source=_ILSVRC,
    ),
    Variant(
        name="imagenet-real",
        title="ImageNet ReaL",
        layout="validation",
        looks=f"real.json, and {_VAL}",
        folders=("imagenet", "imagenet1k", "imagenet2012", "ilsvrc2012", "ilsvrc"),
        images=46_837,
        classes=1000,
        source=f"real.json of https://github.com/google-research/reassessed-imagenet; {_ILSVRC}",
    ),
    _v2("imagenet-v2", "ImageNet-V2, matched frequency", "matched-frequency"),
    _v2("imagenet-v2-threshold0.7", "ImageNet-V2, threshold 0.7", "threshold0.7"),
    _v2("imagenet-v2-top-images", "ImageNet-V2, top images", "top-images"),
    Variant(
        name="imagenet-a",
        title="ImageNet-A",
        layout="wnids",
        looks="imagenet-a with 200 folders named by WordNet ids",
        folders=("imageneta",),
        images=7500,
        classes=200,
        source=f"{_BERKELEY}imagenet-a.tar",
    ),
    Variant(
        name="imagenet-r",
        title="ImageNet-R",
        layout="wnids",
        looks="imagenet-r with 200 folders named by WordNet ids",
        folders=("imagenetr",),
        images=30_000,
        classes=200,
        source=f"{_BERKELEY}imagenet-r.tar",
    ),
    Variant(
        name="imagenet-sketch",
        title="ImageNet-Sketch",
        layout="wnids",
        looks="imagenet-sketch, or sketch as it is unpacked, with 1,000 folders named by WordNet ids",
        folders=("imagenetsketch", "sketch"),
        images=50_889,
        classes=1000,
        source="https://github.com/HaohanWang/ImageNet-Sketch",
    ),
    Variant(
        name="imagenet-c",
        title="ImageNet-C",
        layout="corruptions",
        looks="imagenet-c with CORRUPTION/SEVERITY/WNID folders (gaussian_noise/1/n01440764, ...)",
        folders=("imagenetc",),
        images=15 * 5 * 50_000,
        classes=1000,
        source="https://zenodo.org/record/2235448",
    ),
    Variant(
        name="objectnet",
        title="ObjectNet",
        layout="objectnet",
        looks="objectnet-1.0 with images and mappings in it",
        folders=("objectnet", "objectnet10"),
        images=18_574,
        classes=113,
        source="https://objectnet.dev",
    ),
)
"""In the order in which they are listed."""

_ALIASES = {"imagenet-v2-matched-frequency": "imagenet-v2", "imagenetv2": "imagenet-v2", "real": "imagenet-real"}


def variant_names() -> tuple[str, ...]:
    """What can be typed, in the order in which they are listed."""
    return tuple(variant.name for variant in VARIANTS)


def is_like_variant(name: str) -> bool:
    """Whether somebody who typed this meant ImageNet or one of its variants, rightly spelled or not.

    Neither a path nor a pattern such as imagenet-val-{00..63}.tar does, nor does a file's name with its ending.

    Args:
        name: what was typed.
    """
    return bool(_WORD.fullmatch(name)) and _squeezed(name).startswith(("imagenet", "objectnet"))


def find_variant(name: str) -> Variant:
    """The data set that a name means; case does not count.

    Args:
        name: as in `variant_names`.

    Raises:
        UnknownNameError: there is none of that name; the nearest names, and all of them, are given.
    """
    plain = name.casefold().replace("_", "-")
    plain = _ALIASES.get(plain, plain)
    for variant in VARIANTS:
        if variant.name == plain:
            return variant
    raise unknown_name("variant of ImageNet", name, variant_names())


def is_called(folder: str, names: tuple[str, ...]) -> bool:
    """Whether a folder is called by one of some names, whatever its case and punctuation.

    Args:
        folder: its name.
        names: in lower case, without punctuation.
    """
    return _squeezed(folder) in names


@functools.cache
def chosen_classes(name: str) -> tuple[int, ...]:
    """The classes of ImageNet that a variant has images of, in their order.

    Args:
        name: of a variant with folders named by WordNet ids.
    """
    text = importlib.resources.files(__package__).joinpath("imagenet_200.txt").read_text("utf-8")
    lines = dict(line.split("\t") for line in text.splitlines() if not line.startswith("#"))
    return tuple(map(int, lines[name].split())) if name in lines else tuple(range(1000))

"""The table of published weights says what timm, torchvision and the publishers' own file names say."""

from __future__ import annotations

import importlib
import re
from collections import Counter

import pytest
from oracles import timm, torchvision

from vitreous.errors import UnknownNameError
from vitreous.pretrained import (
    HubFile,
    Pretrained,
    WebFile,
    all_pretrained,
    find_pretrained,
    imagenet_names,
    is_pretrained_name,
    pretrained_names,
)
from vitreous.zoo import find_model, is_model_name

EVERY = all_pretrained()
ON_TIMM = [entry for entry in EVERY if isinstance(entry.location, HubFile) and entry.location.repo.startswith("timm/")]
TORCHVISION = [entry for entry in EVERY if entry.dialect == "torchvision"]


def named(entry: Pretrained) -> str:
    return entry.name


def timm_config(entry: Pretrained) -> tuple[str, object]:
    """timm's name of the entry, QuickGELU included, and its own record of it."""
    assert isinstance(entry.location, HubFile)
    name = entry.location.repo.removeprefix("timm/")
    if "quickgelu" in entry.architecture:
        name = name.replace("_clip_", "_clip_quickgelu_")
    return name, timm().models.get_pretrained_cfg(name)


def test_names_are_unique_and_well_formed() -> None:
    assert [] == [name for name, count in Counter(map(named, EVERY)).items() if count > 1]
    assert [] == [entry.name for entry in EVERY if entry.name != f"{entry.architecture}.{entry.tag}"]
    assert len(EVERY) > 400


@pytest.mark.parametrize("entry", ON_TIMM, ids=named)
def test_timm_says_the_same(entry: Pretrained) -> None:
    """Repository, classes, licence, size and preprocessing of every file that timm serves."""
    name, config = timm_config(entry)
    assert config is not None, name
    assert config.hf_hub_id == entry.location.repo  # type: ignore[union-attr]
    assert config.num_classes == entry.num_classes
    assert config.license == entry.licence
    assert config.input_size == (3, *entry.image_size) == (3, *entry.preprocess.image_size)
    assert (config.mean, config.std) == (entry.preprocess.mean, entry.preprocess.std)
    assert (config.crop_pct, config.interpolation) == (entry.preprocess.crop_ratio, entry.preprocess.interpolation)
    assert ("squash" if config.crop_mode == "squash" else "cover") == entry.preprocess.resize
    assert find_pretrained(name) is entry or "quickgelu" in name


@pytest.mark.parametrize("entry", TORCHVISION, ids=named)
def test_torchvision_says_the_same(entry: Pretrained) -> None:
    """Address, size, accuracy, digest and preprocessing of every torchvision ViT."""
    room = torchvision().models.vision_transformer
    enums = [getattr(room, name) for name in dir(room) if name.endswith("_Weights")]
    assert isinstance(entry.location, WebFile)
    (weights,) = (w for enum in enums for w in enum if w.url == entry.location.url)
    meta, how = weights.meta, weights.transforms()
    assert meta["_metrics"]["ImageNet-1K"]["acc@1"] == entry.accuracy.top1  # type: ignore[union-attr]
    assert round(meta["_file_size"] * 2**20) == entry.num_bytes
    assert re.search(r"-(\w+)\.pth", weights.url)[1] == entry.sha256  # type: ignore[index]
    assert [entry.preprocess.image_size[0]] == how.crop_size
    assert how.resize_size[0] == round(how.crop_size[0] / entry.preprocess.crop_ratio)
    assert how.interpolation.value == entry.preprocess.interpolation
    assert (how.mean, how.std) == (list(entry.preprocess.mean), list(entry.preprocess.std))
    assert len(meta["categories"]) == entry.num_classes


def test_every_torchvision_vit_is_listed() -> None:
    room = torchvision().models.vision_transformer
    urls = {w.url for name in dir(room) if name.endswith("_Weights") for w in getattr(room, name)}
    assert urls == {entry.location.url for entry in TORCHVISION if isinstance(entry.location, WebFile)}


def test_addresses_of_original_files_are_those_timm_knows() -> None:
    """Where timm's record names the original file, ours has the same address."""
    known = {config.url for config in map(_config, timm().list_models(pretrained=True)) if config is not None}
    families = {"deit", "deit3", "mae", "dino", "dinov2", "flexivit"}
    originals = [e for e in EVERY if e.family in families and isinstance(e.location, WebFile)]
    assert len(originals) > 30
    assert [] == [entry.name for entry in originals if entry.location.url not in known]  # type: ignore[union-attr]


def _config(name: str) -> object:
    return timm().models.get_pretrained_cfg(name)


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("vit-b16.augreg_in21k", "vit-b16.augreg_in21k"),
        ("ViT-B/16.AugReg-in21k", "vit-b16.augreg_in21k"),
        ("vit_base_patch16_224.augreg_in21k", "vit-b16.augreg_in21k"),
        ("timm/vit_base_patch16_384.augreg_in21k_ft_in1k", "vit-b16-384.augreg_in21k_ft_in1k"),
        ("google/vit-base-patch16-224", "vit-b16.hf_in21k_ft_in1k"),
        ("https://huggingface.co/facebook/dinov2-base", "vit_base_patch14_dinov2.hf_lvd142m"),
        ("deit_small_patch16_224.fb_in1k", "vit-s16.deit_fb_in1k"),
        ("resnetv2_50x1_bit.goog_in21k", "bit-r50x1.goog_in21k"),
        ("R50+ViT-B/16-384.orig_in21k_ft_in1k", "r50+vit-b16-384.orig_in21k_ft_in1k"),
        ("vit_tiny_r_s16_p8_224.augreg_in21k", "r+vit-ti16.augreg_in21k"),
        ("vit_base_patch16_clip_224.openai", "vit_base_patch16_clip_quickgelu_224.openai"),
        ("https://storage.googleapis.com/vit_models/imagenet21k/ViT-B_16.npz", "vit-b16.google_in21k"),
    ],
)
def test_spellings_of_one_name(spelled: str, name: str) -> None:
    """Ours, timm's, the hub's and the address itself mean one entry."""
    assert name == find_pretrained(spelled).name
    assert is_pretrained_name(spelled)


@pytest.mark.parametrize(
    "wrong", ["vit-b16", "vit-b16.augreg_in22k", "google/vit-base-patch16", "", "resnet50.a1_in1k"]
)
def test_other_names_are_refused_with_the_nearest(wrong: str) -> None:
    """A bare architecture is no pretrained name, and a slip of the finger is answered with what was meant."""
    assert not is_pretrained_name(wrong)
    with pytest.raises(UnknownNameError, match="there is no pretrained model called") as caught:
        find_pretrained(wrong)
    if "augreg" in wrong:
        assert "vit-b16.augreg_in21k" in str(caught.value.why)


def test_names_can_be_filtered() -> None:
    assert set(pretrained_names(family="sam", dialect="google")) == {
        f"vit-{size}.google_sam_in1k" for size in ("b16", "b32", "l16", "l32", "s16")
    }
    assert {"vit-l16", "vit-l16-384"} == {
        n.split(".")[0] for n in pretrained_names(architecture="vit-l16", text="augreg")
    }


def test_what_is_told_is_consistent() -> None:
    """Gated weights say so, non-commercial ones are marked, and no digest is longer or shorter than was published."""
    for entry in EVERY:
        assert entry.gated == ("gated" in entry.note), entry.name
        assert entry.sha256 is None or re.fullmatch(r"[0-9a-f]{8}|[0-9a-f]{64}", entry.sha256), entry.name
        assert entry.accuracy is None or 50 < entry.accuracy.top1 < 91, entry.name
        assert entry.num_bytes is None or entry.num_bytes > 30e6, entry.name
        match entry.location:
            case WebFile(url=url):
                assert re.fullmatch(r"https://[a-z.]+/[\w./+-]+\.(npz|pth)", url), url
            case HubFile(repo=repo):
                assert re.fullmatch(r"[\w-]+/[\w.-]+", repo), repo
    assert {"mae", "swag"} == {entry.family for entry in EVERY if "nc" in entry.licence}


def test_zoo_names_are_used_where_the_zoo_has_them() -> None:
    """Every zoo-style name parses, at the resolution of its weights; no other name is one that the zoo would parse."""
    ours = [entry for entry in EVERY if "_" not in entry.architecture]
    assert len(ours) > 150
    for entry in ours:
        config = find_model(entry.architecture)
        assert entry.family == "bit" or config.image_size == entry.image_size, entry.name
    assert [] == [e.name for e in EVERY if "_" in e.architecture and is_model_name(e.architecture)]


def test_imagenets_classes_are_torchvisions() -> None:
    torchvision()
    meta = importlib.import_module("torchvision.models._meta")
    assert list(imagenet_names()) == meta._IMAGENET_CATEGORIES

"""`convert`, `push`, `models` and `--fetch`: from what is typed to files, and to what a machine reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hub_server import Hub, serving
from native_files import card_for, saved
from PIL import Image

from vitreous.cli import main
from vitreous.cli.weights import parse_settings
from vitreous.config import PreprocessConfig
from vitreous.errors import UnknownNameError, UsageError
from vitreous.model.create import create_model
from vitreous.pretrained import find_pretrained, imagenet_names, pretrained_names
from vitreous.weights.convert import convert
from vitreous.weights.golden import golden_of
from vitreous.weights.load import load
from vitreous.weights.native import save_native
from vitreous.zoo import model_names

PUBLISHED = "vit-ti16.augreg_in21k_ft_in1k"
REPO = "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k"


def run(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any, str]:
    """Exit code, what a machine reads, and what a person reads."""
    code = main([*words, "--json"])
    out, err = capfd.readouterr()
    return code, json.loads(out) if out.strip() else None, err


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub that has one published model, with other weights in it."""
    folder = tmp_path_factory.mktemp("published")
    model = create_model("vit-ti16", seed=1).eval()
    torch.nn.init.normal_(model.head.weight, std=0.1, generator=torch.Generator().manual_seed(0))  # type: ignore[arg-type]
    card = card_for(model, preprocess=PreprocessConfig(), classes=())
    save_native(folder / "model.safetensors", model.state_dict(), card, golden_of(model, card))
    convert(folder / "model.safetensors", folder / "timm", "timm")
    hub = Hub()
    for file in ("config.json", "model.safetensors"):
        hub.put(REPO, file, (folder / "timm" / file).read_bytes(), large=file.endswith("safetensors"))
    with serving(hub) as running:
        yield running


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("VITREOUS_CACHE", "HF_HOME", "TORCH_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))


@pytest.fixture
def photo(tmp_path: Path) -> str:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


def test_weights_are_fetched_when_asked_and_then_there_without_a_network(
    capfd: pytest.CaptureFixture[str], server: Hub, photo: str, tmp_path: Path
) -> None:
    code, _, err = run(capfd, "predict", PUBLISHED, photo)
    assert code == 6
    assert "is not on this machine" in err
    assert "--fetch" in err
    assert server.asked == []

    code, first, err = run(capfd, "predict", PUBLISHED, photo, "--fetch", "--hub-url", server.url)
    assert code == 0, err
    assert first["predictions"][0]["label"] in imagenet_names()
    asked = len(server.asked)
    assert asked

    code, second, _ = run(capfd, "predict", PUBLISHED, photo)
    assert (code, second) == (0, first)
    assert len(server.asked) == asked
    card = load(PUBLISHED).card
    assert card is not None
    assert card.preprocess == find_pretrained(PUBLISHED).preprocess
    assert (card.licence, card.provenance["published_as"]) == ("apache-2.0", PUBLISHED)

    # what the cache has is what finetune begins from, where no model is named
    code, plan, err = run(capfd, "finetune", "digits", "--dry-run", "--image-size", "32")
    assert code == 0, err
    assert any(f"weights from {PUBLISHED}" in line for line in plan["plan"])

    code, done, _ = run(capfd, "convert", PUBLISHED, str(tmp_path / "mine.safetensors"), "--to", "native")
    assert (code, done["source_dialect"]) == (0, "timm")
    assert load(tmp_path / "mine.safetensors", check=True).card.classes == imagenet_names()  # type: ignore[union-attr]


def test_finetune_without_a_model_says_how_to_get_one(capfd: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capfd, "finetune", "digits")
    assert code == 2
    assert "--model vit-s16.augreg_in21k --fetch" in err


def test_convert_tells_a_machine_everything(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    saved(tmp_path / "model.safetensors", gelu="tanh")
    target = str(tmp_path / "google.npz")
    code, done, err = run(capfd, "convert", str(tmp_path / "model.safetensors"), target, "--to", "google")
    assert code == 0, err
    assert {"source_dialect", "target_dialect", "architecture", "mapped", "resized", "dropped"} <= set(done)
    assert {"max_difference", "target"} <= set(done)
    assert (done["source_dialect"], done["target_dialect"], done["target"]) == ("native", "google", target)
    assert done["left_behind"] == ["class names", "preprocessing", "licence and provenance"]
    assert done["max_difference"] <= 1e-5
    assert "left behind" in err

    settings = "num_heads=4,image_size=24x40"
    words = ["convert", target, str(tmp_path / "back.safetensors"), "--to", "native", "--settings", settings]
    code, back, err = run(capfd, *words)
    assert code == 0, err
    assert load(tmp_path / "back.safetensors").config.image_size == (24, 40)
    assert back["architecture"]


def test_convert_refuses_with_the_way_out(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    saved(tmp_path / "model.safetensors")
    words = ["convert", str(tmp_path / "model.safetensors"), str(tmp_path / "google.npz"), "--to", "google"]
    code, _, err = run(capfd, *words)
    assert code == 2
    assert "GELU: erf becomes tanh" in err
    code, done, err = run(capfd, *words, "--allow-difference")
    assert code == 0
    assert done["differences"]
    assert f"differ by at most {done['max_difference']:.1e}" in err


def test_push_writes_a_folder(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    saved(tmp_path / "model.safetensors")
    code, done, _ = run(capfd, "push", str(tmp_path / "model.safetensors"), str(tmp_path / "out") + "/")
    assert code == 0
    assert (Path(done["target"]) / "README.md").exists()
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()


def test_models_tells_a_machine_size_and_weights(capfd: pytest.CaptureFixture[str]) -> None:
    code, found, _ = run(capfd, "models")
    assert code == 0
    assert [entry["name"] for entry in found] == list(model_names())
    by_name = {entry["name"]: entry for entry in found}
    b16 = by_name["vit-b16"]
    assert set(b16) == {"name", "params", "gmacs", "patch_size", "image_size", "pretrained"}
    assert (b16["params"], round(b16["gmacs"], 2), b16["patch_size"]) == (86_567_656, 17.56, [16, 16])
    assert "vit-b16.augreg_in21k" in b16["pretrained"]
    assert by_name["bit-r50x1"]["params"] == 25_549_352
    assert by_name["r+vit-ti16"]["patch_size"] == [32, 32]  # its name says 16; the stem divides by four before 8 x 8


def test_models_filters(capfd: pytest.CaptureFixture[str]) -> None:
    _, found, _ = run(capfd, "models", "--text", "r50x")
    assert [entry["name"] for entry in found] == [name for name in model_names() if "r50x" in name]
    _, found, _ = run(capfd, "models", "--family", "sam")
    assert [entry["name"] for entry in found] == list(pretrained_names(family="sam"))
    _, found, _ = run(capfd, "models", "--weights", "--dialect", "google", "--text", "384")
    assert found
    assert all(entry["dialect"] == "google" and "384" in entry["name"] for entry in found)
    _, found, _ = run(capfd, "models", PUBLISHED)
    assert found[0]["licence"] == "apache-2.0"
    _, found, _ = run(capfd, "models", "ViT-B/16")
    assert found[0]["config"]["embed_dim"] == 768


def test_settings_are_taken_apart() -> None:
    asked = parse_settings("num_heads=6, gelu=tanh,image_size=24x40,norm_eps=1e-5,class_token=false,root=model_ema")
    assert asked == {
        "num_heads": 6,
        "gelu": "tanh",
        "image_size": (24, 40),
        "norm_eps": 1e-5,
        "class_token": False,
        "root": "model_ema",
    }
    with pytest.raises(UsageError, match="takes pairs"):
        parse_settings("num_heads")
    with pytest.raises(UnknownNameError, match="did you mean num_heads"):
        parse_settings("num_head=3")

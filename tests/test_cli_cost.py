"""`vitreous cost`: one screen that reads well, every number as JSON, one clear message where something is missing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from native_files import saved

from vitreous.cli import main
from vitreous.cli.cost_page import scaled, time_words
from vitreous.cost import flops, parameters, training_flops
from vitreous.zoo import find_model


def page(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["cost", *words]) == 0
    return capfd.readouterr().out


def machine(capfd: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main(["cost", *words, "--json"]) == 0
    return json.loads(capfd.readouterr().out)


@pytest.mark.parametrize("name", ["vit-b16", "r50+vit-l32", "bit-r152x4", "vit-G-opt16"])
def test_the_page_fits_a_screen(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    lines = page(capfd, name).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 45
    assert f"{parameters(find_model(name)):,} parameters" in lines[0]


def test_what_it_says_of_the_base_model(capfd: pytest.CaptureFixture[str]) -> None:
    """The paper's 86 million parameters; 17.6 billion multiply-adds are 35.1 GFLOP."""
    said = page(capfd, "ViT-B/16")
    for words in ("86,567,656 parameters, a file of 346 MB", "197 tokens", "35.1 GFLOP for an image", "105 GFLOP"):
        assert words in said
    assert "2,517,630,976 pairs" in said  # 224^4
    assert "vit-s16" in said
    assert "81.4 for 84.5 % (augreg_in21k_ft_in1k)" in said  # timm's results


def test_everything_is_json(capfd: pytest.CaptureFixture[str]) -> None:
    config = find_model("vit-ti16-384")
    found = machine(capfd, "vit-ti16-384")
    assert found["parameters"] == parameters(config) == sum(part["parameters"] for part in found["parts"])
    assert found["flops"] == flops(config) == sum(part["flops"] for part in found["parts"])
    assert found["training_flops"] == training_flops(config)
    assert found["flops"] + sum(part["backward_flops"] for part in found["parts"]) == training_flops(config)
    assert set(found["memory"]) == {
        "float32", "bfloat16", "float32, gradient checkpointing", "bfloat16, gradient checkpointing",
    }  # fmt: skip
    assert {"name", "flops", "memory", "reported"} <= set(found["alternatives"][0])
    assert found["pixels"][0]["pairs"] == 384**4


def test_pixels_against_patches(capfd: pytest.CaptureFixture[str]) -> None:
    said = page(capfd, "vit-b16", "--pixels")
    assert max(map(len, said.splitlines())) <= 88
    assert "255^4 = 4,228,250,625" in said
    assert [row["patch"] for row in machine(capfd, "vit-b16", "--pixels")] == [1, 2, 4, 8, 14, 16, 32]
    assert main(["cost", "bit-r50x1", "--pixels"]) == 2


def test_the_papers_largest_run(capfd: pytest.CaptureFixture[str]) -> None:
    """ViT-H/14 on JFT-300M: 4,262 exaFLOPs in Table 6, 2,500 core-days in Table 2."""
    words = ("--recipe", "paper-jft300m-vit-h14", "--hardware", "tpu-v3-core", "--count", "512")
    said = page(capfd, *words)
    assert "303,000,000 images (JFT-300M)" in said
    assert "2,500 TPUv3-core-days (Table 2), which is 32% of that hardware's peak" in said
    assert "an assumption" in said
    run = machine(capfd, *words)["run"]
    assert run["flops"] / 1e18 == pytest.approx(4262, rel=0.01)
    assert run["hardware"][0]["device_days"] == pytest.approx(2500 * 0.32 / 0.35, rel=0.01)
    stated = machine(capfd, *words, "--utilisation", "0.32")["run"]["hardware"][0]
    assert stated["device_days"] == pytest.approx(2500, rel=0.01)


def test_a_run_on_this_machine(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured once, remembered, and taken times the steps."""
    monkeypatch.setenv("VITREOUS_CACHE", str(tmp_path))
    words = (
        "vit-mu16",
        "--recipe",
        "small-finetune",
        "--images",
        "640",
        "--image-size",
        "32",
        "--classes",
        "3",
        "--measure",
    )
    first = machine(capfd, *words)["run"]
    assert first["steps"] == 300  # 30 epochs of 640 images in batches of 64
    here = first["here"]
    assert here["passes"] >= 20
    step = 64 / here["micro_batch"] * here["pass_seconds"] + here["update_seconds"]
    assert here["seconds"] == pytest.approx(300 * step)
    assert machine(capfd, *words)["run"]["here"] == here
    assert "images/s" in page(capfd, *words)


def test_images_are_counted(capfd: pytest.CaptureFixture[str]) -> None:
    """A published set by name, a built-in one by looking."""
    run = machine(capfd, "vit-ti16", "--recipe", "small-finetune", "--data", "imagenet-1k", "--epochs", "1")["run"]
    assert (run["images"], run["steps"]) == (1_281_167, round(1_281_167 / 64))
    found = machine(capfd, "vit-test", "--recipe", "small-pretrain", "--data", "digits")
    assert 1_000 < found["run"]["images"] < 1_797
    assert machine(capfd, "vit-test", "--recipe", "paper-finetune-vtab")["run"]["steps"] == 2_500


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "needs a model"),
        (["vit-b61"], 2, "not divisible|no model"),
        (["no/such/file"], 2, "no model called"),
        (["vit-b16", "--hardware", "h100"], 2, "a run needs --recipe"),
        (["vit-b16", "--recipe", "small-finetune"], 2, "nobody knows of how many images"),
        (["vit-b16", "--recipe", "small-fine"], 2, "no recipe"),
        (["vit-b16", "--recipe", "paper-imagenet", "--hardware", "h1000"], 2, "did you mean h100"),
        (["vit-b16", "--recipe", "paper-imagenet", "--hardware", "h100", "--count", "3"], 2, "cannot share a batch"),
        (["vit-b16", "--recipe", "paper-imagenet", "--epochs", "1", "--steps", "1"], 2, "exclude each other"),
        (["vit-b16", "--classes", "0"], 2, "must be above 0"),
    ],
)
def test_mistakes(words: list[str], code: int, said: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", *words]) == code
    out, err = capfd.readouterr()
    assert re.search(said, err)
    assert out == ""


def test_model_files_and_runs(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A file by its card; a run folder tells what was predicted beside what was measured."""
    run = tmp_path / "run"
    run.mkdir()
    model = saved(run / "model.safetensors")
    assert machine(capfd, str(run / "model.safetensors"))["parameters"] == parameters(model.config)
    price = {"predicted": {"seconds": 200.0, "bytes": 2e9}, "measured": {"seconds": 210.0, "bytes": 1.9e9}}
    (run / "run.json").write_text(json.dumps({"format_version": 1, "price": price}))
    said = page(capfd, str(run))
    assert "3:20 min" in said
    assert "+5%" in said
    assert "-5%" in said
    assert machine(capfd, str(run))["price"] == price
    (run / "model.safetensors").unlink()
    assert "+5%" in page(capfd, str(run))


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0 "), (999, "999 "), (1000, "1 k"), (12_345_678, "12.3 M"), (999_999, "1 M"), (4.2e21, "4.2 Z")],
)
def test_large_numbers(number: float, words: str) -> None:
    assert scaled(number) == words


def test_long_times() -> None:
    assert [time_words(each) for each in (5, 3 * 3600, 3 * 86_400, 800 * 86_400)] == [
        "5.0 s", "3:00:00 h", "3.0 days", "2 years",
    ]  # fmt: skip

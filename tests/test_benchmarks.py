"""The benchmarks run, compare like with like, and count operations exactly."""

from __future__ import annotations

import argparse
import gzip
import importlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from oracles import timm
from random_vit import random_images, random_vit
from torch.utils.flop_counter import FlopCounterMode

from vitreous.data.layouts.builtin import load_builtin
from vitreous.model.create import create_model
from vitreous.recipe import find_recipe
from vitreous.zoo import find_model

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "throughput.py"

# Multiply-adds of one image at 224 px, in units of 1e9, from other people's counts of these architectures.
GMACS = {
    "vit-ti16": 1.25,
    "vit-s32": 1.14,
    "vit-s16": 4.60,
    "vit-s14": 6.12,
    "vit-m16": 7.99,
    "vit-b32": 4.41,
    "vit-b16": 17.56,
    "vit-b14": 23.16,
    "vit-b8": 78.15,
    "vit-l32": 15.38,
    "vit-l16": 61.55,
    "vit-l14": 81.01,
    "vit-h14": 167.30,
    "vit-b16-384": 55.48,
    "vit-l16-384": 191.07,
}


@pytest.mark.slow
def test_loading_runs_in_every_format() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT.with_name("loading.py")), "--quick"], capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stderr
    assert done.stdout.count("| vitreous, ") == 6


@pytest.mark.slow
def test_the_index_of_a_thousand_images_and_shards_from_afar(tmp_path: Path) -> None:
    """Neighbours read from afar come with fewer requests than without read-ahead, and memory does not grow."""
    out = tmp_path / "index.json"
    done = run_benchmark("index.py", "--quick", "--delay", 0.001, "--json", out)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert found["index"]["index_bytes"] < 150  # of a million, 36
    rows = {(row["order"], row["read_ahead"]): row for row in found["afar"]["few"]}
    assert rows["in a row", False]["requests"] == rows["in a row", False]["images"]
    assert rows["in a row", True]["requests"] < rows["in a row", False]["requests"] / 16


@pytest.mark.slow
def test_data_runs_beside_its_peers() -> None:
    done = run_benchmark("data.py", "--quick")
    assert 0 == done.returncode, done.stderr
    assert 4 == done.stdout.count("| vitreous, ")


@pytest.mark.slow
def test_every_question_about_evaluation_is_answered() -> None:
    done = run_benchmark("evaluation.py", "--quick")
    assert 0 == done.returncode, done.stderr
    assert 9 == done.stdout.count("\n| ")  # eight questions below a heading


@pytest.fixture(scope="module")
def throughput() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("throughput", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["throughput"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("name", "gmacs"), GMACS.items())
def test_operations_equal_the_published_counts(throughput: ModuleType, name: str, gmacs: float) -> None:
    """Within the rounding of two decimals."""
    assert throughput.flops(find_model(name), "inference") / 2e9 == pytest.approx(gmacs, abs=0.0051)


@pytest.mark.parametrize("changes", [{}, {"patch_size": (8, 10)}, {"pool": "mean"}, {"num_classes": 0}])
@pytest.mark.parametrize("mode", ["inference", "training"])
def test_operations_equal_what_pytorch_counts(throughput: ModuleType, changes: dict[str, Any], mode: str) -> None:
    """PyTorch's own counter, watching a real pass, agrees to the last operation."""
    model = random_vit(**changes)
    for block in model.blocks:
        block.attn.form = "matmul"
    with FlopCounterMode(display=False) as counter:
        logits = model(random_images(batch=1))
        if mode == "training":
            logits.square().sum().backward()
    assert counter.get_total_flops() == throughput.flops(model.config, mode)


def test_the_quick_run(tmp_path: Path) -> None:
    """It ends with a table and JSON: both sides, both modes, both precisions, ratio and share of the GEMM rate."""
    out = tmp_path / "quick.json"
    command = [sys.executable, str(SCRIPT), "--quick", "--json", str(out), "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Best matrix multiply: float32" in done.stdout
    found = json.loads(out.read_text())
    assert {(c["mode"], c["precision"]) for c in found["cases"]} == {
        (mode, precision) for mode in ("inference", "training") for precision in ("float32", "bfloat16")
    }
    assert found["versions"]["torch"] == torch.__version__
    assert found["machine"]["threads"] == 1
    for case in found["cases"]:
        assert case["logits_apart"] < 1e-4
        for side in ("vitreous", "timm"):
            rate = case["images_per_second"][side]
            assert 0 < rate["low"] <= rate["median"] <= rate["high"]
            share = rate["median"] * case["gflop_per_image"] / found["gemm_gflop_per_second"][case["precision"]]
            assert case["share_of_gemm"][side] == pytest.approx(share)
        assert case["ratio"]["low"] <= case["ratio"]["median"] <= case["ratio"]["high"]


# --- Fashion-MNIST ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def garments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stand-in for the four files of fashion-mnist, in which the classes differ in brightness."""
    folder = tmp_path_factory.mktemp("garments")
    rng = np.random.default_rng(0)
    for part in ("train", "t10k"):
        labels = (np.arange(400) % 10).astype(np.uint8)
        pixels = (25 * labels[:, None, None] + rng.integers(0, 20, (400, 28, 28))).clip(0, 255).astype(np.uint8)
        for what, array in (("images-idx3", pixels), ("labels-idx1", labels)):
            head = bytes([0, 0, 8, array.ndim]) + b"".join(side.to_bytes(4, "big") for side in array.shape)
            (folder / f"{part}-{what}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes()))
    return folder


@pytest.fixture(scope="module")
def timm_train() -> Iterator[ModuleType]:
    """The module that runs timm's script."""
    sys.path.insert(0, str(SCRIPT.parent))
    yield importlib.import_module("timm_train")
    sys.path.remove(str(SCRIPT.parent))


def run_benchmark(name: str, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT.with_name(name)), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


# What timm's train.py says, as far as it is read; it fails in the middle of its second epoch when told so.
SAYS = """
import pathlib, sys
folder = pathlib.Path(sys.argv[sys.argv.index("--output") + 1], sys.argv[sys.argv.index("--experiment") + 1])
folder.mkdir(parents=True, exist_ok=True)
resumed = "--resume" in sys.argv
print("Scheduled epochs: 2 (epochs + cooldown_epochs).")
for epoch in (1, 2)[resumed:]:
    print("Test: [   0/1]  Time: 0.1 (0.1)  Loss:   2.2 ( 2.2)  Acc@1:  99.000 ( 99.000)  Acc@5:  9.0 ( 9.0)")
    print("Test: [   1/1]  Time: 0.1 (0.1)  Loss:   2.2 ( 2.2)  Acc@1:  11.000 ( 12.000)  Acc@5:  9.0 ( 9.0)")
    print(f"Test (EMA): [   1/1]  Time: 0.1 (0.1)  Loss: 2 ( 2)  Acc@1:  13.000 ( {40 + epoch}.500)  Acc@5: 9 ( 9)")
    (folder / "last.pth.tar").touch()
    if (folder / "fail").exists() and not resumed:
        sys.exit("no space left on device")
"""


@pytest.mark.slow
def test_fashion_mnist_goes_on_where_it_was_stopped(timm_train: ModuleType, garments: Path, tmp_path: Path) -> None:
    """A failure of timm carries what was said; the second time only the rest is trained, and the table is written.

    timm's score is that of the averaged weights after all batches.
    """
    script, out = tmp_path / "train.py", tmp_path / "out"
    script.write_text(SAYS)
    (out / "timm-3").mkdir(parents=True)
    (out / "timm-3" / "fail").touch()
    words = ("--quick", "--root", garments, "--out", out, "--seeds", 3, "--timm-train", script)
    stopped = run_benchmark("fashion_mnist.py", *words)
    assert stopped.returncode == 1
    assert "no space left on device" in stopped.stderr
    (first,) = timm_train.read_curve(out / "timm-3.jsonl")
    done = run_benchmark("fashion_mnist.py", *words)
    assert done.returncode == 0, done.stderr
    assert "vitreous-3 is complete" in done.stdout
    points = timm_train.read_curve(out / "timm-3.jsonl")
    assert [(point.epoch, point.top1) for point in points] == [(1, 0.415), (2, 0.425)]
    assert first == points[0]
    assert points[1].seconds > first.seconds
    table = (out / "table.md").read_text()
    assert table.strip() in done.stdout
    assert "| timm | 42.50% | 42.50% | 2 |" in table
    (curve,) = json.loads((out / "results.json").read_text())["curves"]["vitreous"]
    facts = json.loads((out / "vitreous-3" / "run.json").read_text())
    assert (curve[-1]["top1"], curve[-1]["seconds"]) == (facts["result"]["top1"], facts["result"]["seconds"])
    assert [point["seconds"] for point in curve] == sorted(point["seconds"] for point in curve)
    assert facts["images"] == {"train": 320, "held_out": 320}


@pytest.mark.slow
def test_masked_patch_runs(timm_train: ModuleType, garments: Path, tmp_path: Path) -> None:  # noqa: ARG001  its folder
    """All three sides are scored on the same images, and both networks had the same labelled ones and steps."""
    import masked_patch

    done = run_benchmark("masked_patch.py", "--quick", "--root", garments, "--out", tmp_path, "--seeds", 5)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "results.json").read_text())
    finetuned, scratch = (
        json.loads((tmp_path / f"{side}-5" / "run.json").read_text()) for side in ("finetuned", "scratch")
    )
    assert found["top1"] == [
        {"finetuned": finetuned["result"]["top1"], "scratch": scratch["result"]["top1"], "pixels": 1.0}
    ]
    for name in ("images", "fingerprint", "total_steps", "data"):
        assert finetuned[name] == scratch[name]
    assert "gain by masked patches" in (tmp_path / "table.md").read_text()
    images = masked_patch.load_images(garments, 320)
    tuned = masked_patch.tune(images, masked_patch.Asked(folder=tmp_path, quick=True))
    assert tuned.startswith("| learning rate | after masked patches | from random weights |")


def test_timm_gets_the_same_network(timm_train: ModuleType, tmp_path: Path) -> None:
    """What train.py is given makes a network that takes our weights and answers as ours, three channels for one."""
    from fashion_mnist import MODEL, RECIPE  # importable once timm_train is

    words = timm_train.arguments(
        MODEL, find_recipe(RECIPE, "pretrain"), data=tmp_path, epochs=20, seed=0, output=tmp_path
    )
    parser = argparse.ArgumentParser()
    parser.add_argument("--model-kwargs", nargs="*", action=timm().utils.ParseKwargs)
    for name in ("model", "gp", "num-classes", "epochs", "warmup-epochs"):
        parser.add_argument(f"--{name}", type=int if name[-1] == "s" else str)
    given, _ = parser.parse_known_args(words)
    assert given.epochs + given.warmup_epochs == 20
    twin = timm().create_model(
        given.model, global_pool=given.gp, num_classes=given.num_classes, in_chans=3, **given.model_kwargs
    )
    model = create_model(MODEL, seed=0)
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(1))
    twin.load_state_dict(model.state_dict(), strict=True)
    images = torch.randn(3, 3, 28, 28, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        torch.testing.assert_close(model.eval()(images), twin.eval()(images), rtol=0, atol=1e-5)


def test_timm_gets_the_same_images(timm_train: ModuleType, garments: Path, tmp_path: Path) -> None:
    """torchvision's data set, read from the folder that is made for it, holds our pixels and labels."""
    timm_train.unpacked(garments, tmp_path, limit=7)
    theirs = timm().data.create_dataset("torch/fashion_mnist", root=str(tmp_path), split="train")
    ours = load_builtin("fashion-mnist", str(garments)).train
    assert len(theirs) == 7
    for index, (image, label) in enumerate(theirs):
        np.testing.assert_array_equal(np.asarray(image), ours.read(index)[..., 0])
        assert label == ours.labels[index]

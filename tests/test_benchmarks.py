"""The benchmark runs, compares like with like, and counts operations exactly."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from random_vit import random_images, random_vit
from torch.utils.flop_counter import FlopCounterMode

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

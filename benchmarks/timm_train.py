"""timm's own training script, unchanged, on Fashion-MNIST: what fashion_mnist.py sets vitreous beside.

timm's script is not in its wheel; it is taken from a checkout of the same version:

    git clone --depth 1 --branch v1.0.31 https://github.com/huggingface/pytorch-image-models
    python benchmarks/fashion_mnist.py --timm-train pytorch-image-models/train.py

As a script itself this runs `train.py ARGUMENTS` beside a PyTorch without CUDA, where importing torchvision needs help:

    python benchmarks/timm_train.py pytorch-image-models/train.py --help
"""

from __future__ import annotations

import gzip
import json
import os
import re
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from vitreous.architecture import ViTConfig
from vitreous.config import Recipe

TESTS = Path(__file__).resolve().parent.parent / "tests"  # oracles.py there imports timm beside a CPU-only torch

# FashionMNIST of torchvision looks for these below FashionMNIST/raw, unpacked
FILES = tuple(f"{part}-{what}-ubyte" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1"))

# with EMA the line is "Test (EMA): ..."; the mean over all batches stands in brackets
_TESTED = re.compile(r"Test( \(EMA\))?: \[ *(\d+)/(\d+)\].*Acc@1: +[\d.]+ \( *([\d.]+)\)")
_BEGINS = "Scheduled epochs:"


@dataclass(frozen=True, kw_only=True)
class Point:
    """The score after an epoch."""

    epoch: int
    """From 1."""
    seconds: float
    """Of training and scoring so far, start-up not counted."""
    top1: float
    """Share of the test images."""


def arguments(
    config: ViTConfig, recipe: Recipe, *, data: Path, epochs: int, seed: int, output: Path, workers: int = 1
) -> list[str]:
    """What train.py is given: the same network, optimiser, schedule, batch and mirroring as the recipe has.

    bfloat16 autocast, one loading process and the fused optimiser are its fastest settings on two cores. Pictures stay
    grey, one channel, which costs it less than the three that vitreous reads.

    Args:
        config: the network.
        recipe: how vitreous trains it.
        data: folder with FashionMNIST/raw in it.
        epochs: of the schedule.
        seed: of weights, order and augmentation.
        output: folder for its checkpoints and logs.
        workers: loading processes; it needs one.
    """
    (height, width), (rows, columns) = config.image_size, config.patch_size
    assert (height, rows) == (width, columns), "square images and patches"
    network = {
        "img_size": height,
        "patch_size": rows,
        "embed_dim": config.embed_dim,
        "depth": config.depth,
        "num_heads": config.num_heads,
        "mlp_ratio": config.mlp_dim / config.embed_dim,
        "class_token": False,
        "fc_norm": False,  # the norm stands before the mean, as in vitreous
        "weight_init": "jax",  # as the paper's code draws them, and vitreous
    }
    warmup = round((recipe.warmup_fraction or 0.0) * epochs)
    settings: dict[str, Sequence[object]] = {
        "data-dir": [data],
        "dataset": ["torch/fashion_mnist"],
        "model": ["vit_tiny_patch16_224"],
        "model-kwargs": [f"{name}={value}" for name, value in network.items()],
        "gp": ["avg"],
        "num-classes": [10],
        "input-size": [1, height, width],
        "mean": [0.286],
        "std": [0.353],
        "crop-pct": [1.0],
        "device": ["cpu"],
        "amp": [],
        "amp-dtype": ["bfloat16"],
        "no-prefetcher": [],
        "workers": [workers],
        "opt": ["adamw"],
        "opt-betas": recipe.betas,
        "opt-kwargs": ["fused=True"],
        "weight-decay": [recipe.weight_decay],
        "lr": [recipe.peak],
        "sched": ["cosine"],
        "sched-on-updates": [],
        "warmup-epochs": [warmup],
        "warmup-prefix": [],  # the rate falls from where the warm-up ends, and `epochs` does not count the warm-up
        "warmup-lr": [recipe.warmup_from],
        "min-lr": [recipe.final_learning_rate],
        "epochs": [epochs - warmup],
        "batch-size": [recipe.batch_size],
        "validation-batch-size": [500],
        "smoothing": [recipe.label_smoothing],
        "mixup": [recipe.mixup],
        "hflip": [0.5 if recipe.augment.flip else 0.0],
        "scale": recipe.augment.crop_area if recipe.augment.crop == "inception" else [1, 1],
        "ratio": recipe.augment.crop_aspect if recipe.augment.crop == "inception" else [1, 1],
        "train-interpolation": ["bilinear"],
        "color-jitter": [0],
        "reprob": [recipe.augment.erase],
        "drop-path": [recipe.drop_path or 0.0],
        "seed": [seed],
        "output": [output.parent],
        "experiment": [output.name],
        "checkpoint-hist": [1],
        "log-interval": [10_000],
    }
    if recipe.clip_norm is not None:
        settings["clip-grad"] = [recipe.clip_norm]
    if recipe.average_decay is not None:
        settings |= {"model-ema": [], "model-ema-decay": [recipe.average_decay], "model-ema-warmup": []}
    return [word for name, values in settings.items() for word in (f"--{name}", *map(str, values))]


def unpacked(source: Path, target: Path, limit: int | None = None) -> Path:
    """The folder layout that torchvision expects, made of the gzipped files of the data set.

    Args:
        source: folder of the four .gz files.
        target: an existing folder; returned.
        limit: the first so many images of either part only.
    """
    raw = target / "FashionMNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        content = gzip.decompress((source / f"{name}.gz").read_bytes())
        if limit is not None:
            head, each = (16, 784) if "images" in name else (8, 1)
            content = content[:4] + limit.to_bytes(4, "big") + content[8 : head + limit * each]
        (raw / name).write_bytes(content)
    return target


def train(script: Path, given: Sequence[str], curve: Path, *, output: Path) -> list[Point]:
    """Run train.py to its end, or go on where it was stopped; the score after every epoch.

    Args:
        script: timm's train.py.
        given: see `arguments`.
        curve: JSON lines, one a finished epoch, written on the way.
        output: its folder, as given.

    Raises:
        SystemExit: it failed; with the end of what it said.
    """
    points = read_curve(curve)
    again = output / "last.pth.tar"
    words = [*given, "--resume", str(again)] if points and again.exists() else list(given)
    if not again.exists():
        points = []
        curve.unlink(missing_ok=True)
    before, epoch = (points[-1].seconds, points[-1].epoch) if points else (0.0, 0)
    command = [sys.executable, str(Path(__file__).resolve()), str(script), *words]
    environment = os.environ | {"TIMM_FUSED_ATTN": "0", "PYTHONUNBUFFERED": "1"}  # unfused is faster on CPUs: its best
    began, said = None, [""]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said = [*said[-40:], line]
            if _BEGINS in line:
                began = time.monotonic()
            elif began is not None and (top1 := _final_score(line, averaged="--model-ema" in words)) is not None:
                epoch += 1
                points.append(Point(epoch=epoch, seconds=before + time.monotonic() - began, top1=top1))
                with curve.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(points[-1])) + "\n")
    if process.returncode or not points:
        raise SystemExit(f"timm's train.py failed with {process.returncode}:\n{''.join(said)}")
    return points


def seconds_per_epoch(script: Path, given: Sequence[str], folder: Path) -> float:
    """What an epoch takes it on this machine, its test images included: one is run.

    Args:
        script: timm's train.py.
        given: see `arguments`; with one epoch.
        folder: for what it writes.
    """
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        one = [*given, "--epochs", "1", "--warmup-epochs", "0", "--output", scratch, "--experiment", "one"]
        return train(script, one, Path(scratch) / "curve.jsonl", output=Path(scratch) / "one")[-1].seconds


def read_curve(curve: Path) -> list[Point]:
    """The epochs that are done.

    Args:
        curve: as `train` writes it; it need not be there.
    """
    lines: Iterator[Mapping[str, float]] = iter(())
    if curve.exists():
        lines = map(json.loads, curve.read_text(encoding="utf-8").splitlines())
    return [Point(epoch=int(line["epoch"]), seconds=float(line["seconds"]), top1=float(line["top1"])) for line in lines]


def _final_score(line: str, *, averaged: bool) -> float | None:
    """Top-1 in the last line of an evaluation, of the averaged weights where there are some."""
    found = _TESTED.search(line)
    if found is None or found[2] != found[3] or bool(found[1]) != averaged:
        return None
    return float(found[4]) / 100


def main() -> None:
    """Run train.py as if it had been called, after the imports that need help."""
    sys.path.insert(0, str(TESTS))
    from oracles import timm  # only here is timm needed

    timm()
    script, *sys.argv[1:] = sys.argv[1:]
    sys.argv[0] = script
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()

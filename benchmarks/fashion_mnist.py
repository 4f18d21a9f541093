"""Fashion-MNIST from scratch on a CPU: a plain Vision Transformer by vitreous, beside timm's training script.

Both get the same network, the 60,000 images, the machine one after the other, and the same minutes, which each spends
on as many epochs as it manages. The 10,000 test images draw the curves and choose nothing: the last weights count. The
recipe was chosen on 6,000 held-out training images.

    git clone --depth 1 --branch v1.0.31 https://github.com/huggingface/pytorch-image-models
    python benchmarks/fashion_mnist.py --timm-train pytorch-image-models/train.py     both, three seeds: two hours
    python benchmarks/fashion_mnist.py                                                vitreous alone: one hour
    python benchmarks/fashion_mnist.py --quick                                        does it run?

It can be stopped at any time; the same command goes on where it was, and leaves alone what is done.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import timm_train
import torch
from timm_train import Point

import vitreous as vt
from vitreous import console
from vitreous.data.imageset import Splits
from vitreous.data.layouts.builtin import load_builtin
from vitreous.recipe import find_recipe
from vitreous.zoo import find_model

IMAGES = Path("/usr/share/datasets/fashion-mnist")
RECIPE = "small-images"
MODEL = find_model("vit-28")
MARK = 0.9
"""The accuracy whose time is told."""

_MARGIN = 0.95  # of the minutes: what is predicted from the first steps is true to a few percent


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is done for every seed."""

    minutes: float
    folder: Path
    quick: bool

    @property
    def limit(self) -> int | None:
        """Images of either part in a quick run."""
        return 320 if self.quick else None


def main() -> None:
    """Train whatever is not trained yet, print the table, write it and the figures beside the runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--timm-train", type=Path, metavar="PATH", help="train.py of a checkout of timm")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=20.0, help="of training, for each side and seed (20)")
    parser.add_argument("--out", type=Path, default=Path("runs/fashion-mnist"), metavar="FOLDER")
    parser.add_argument("--root", type=Path, default=IMAGES, help="folder of the four .gz files")
    parser.add_argument("--quick", action="store_true", help="a few steps on a few images: does it run?")
    given = parser.parse_args()
    console.use(sys.stdout)
    asked = Asked(minutes=given.minutes, folder=given.out, quick=given.quick)
    given.out.mkdir(parents=True, exist_ok=True)
    images = load_images(given.root, asked.limit)
    sides: dict[str, list[list[Point]]] = {"vitreous": []}
    with tempfile.TemporaryDirectory() as scratch:
        if given.timm_train:
            sides["timm"] = []
            timm_train.unpacked(given.root, Path(scratch), asked.limit)
        for seed in given.seeds:
            sides["vitreous"].append(train_ours(seed, images, asked))
            if given.timm_train:
                sides["timm"].append(train_timm(seed, given.timm_train, Path(scratch), asked))
    written = write(given.out, given.seeds, sides, asked)
    console.say("", written)


def load_images(root: Path, limit: int | None) -> Splits:
    """All training images to learn from, and the test images.

    Args:
        root: folder of the four .gz files.
        limit: so many of either part only.
    """
    parts = load_builtin("fashion-mnist", str(root))
    assert parts.test is not None, "it has fixed test images"
    if limit is None:
        return parts
    return Splits(train=parts.train.subset(range(limit)), val=None, test=parts.test.subset(range(limit)))


def train_ours(seed: int, images: Splits, asked: Asked) -> list[Point]:
    """One run of vitreous, or the rest of it, or what it left."""
    folder = asked.folder / f"vitreous-{seed}"
    if (folder / "run.json").exists():
        return read_run(vt.resume(folder, data=images).folder)
    if asked.quick:
        run = vt.pretrain(
            images, model=MODEL, recipe=RECIPE, seed=seed, run=str(folder), steps=12, batch_size=16, threads=1
        )
    else:
        time = f"{_MARGIN * 60 * asked.minutes:g}s"
        run = vt.pretrain(images, model=MODEL, recipe=RECIPE, seed=seed, run=str(folder), time=time)
    return read_run(run.folder)


def read_run(folder: Path) -> list[Point]:
    """The scores of a run of vitreous and when they were there, scoring included."""
    facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    batch, result = facts["recipe"]["batch_size"], facts["result"]
    before, learning, at = 0, 0.0, []
    for line in lines:
        learning += (line["step"] - before) * batch / line["images_per_second"]
        before = line["step"]
        if line.get("val_accuracy") is not None:
            at.append((line["epoch"], learning, line["val_accuracy"]))
    scoring = max(0.0, result["seconds"] - learning) / len(at)
    points = [
        Point(epoch=round(epoch), seconds=seconds + scoring * number, top1=top1)
        for number, (epoch, seconds, top1) in enumerate(at, 1)
    ]
    # what is scored on the way may be a part of the test images; the end counts on all of them
    return [*points[:-1], Point(epoch=points[-1].epoch, seconds=result["seconds"], top1=result["top1"])]


def train_timm(seed: int, script: Path, images: Path, asked: Asked) -> list[Point]:
    """One run of timm's script with the epochs that fit into the minutes, or the rest of it, or what it left."""
    recipe, output = find_recipe(RECIPE, "pretrain"), asked.folder / f"timm-{seed}"
    chosen, curve = asked.folder / "timm-epochs.json", asked.folder / f"timm-{seed}.jsonl"
    if not chosen.exists():
        one = timm_train.arguments(MODEL, recipe, data=images, epochs=1, seed=seed, output=output)
        each = 1.0 if asked.quick else timm_train.seconds_per_epoch(script, one, asked.folder)
        epochs = 2 if asked.quick else max(1, int(_MARGIN * 60 * asked.minutes / each))
        chosen.write_text(json.dumps({"seconds_per_epoch": each, "epochs": epochs}), encoding="utf-8")
    epochs = json.loads(chosen.read_text(encoding="utf-8"))["epochs"]
    points = timm_train.read_curve(curve)
    if len(points) < epochs:
        console.say(f"timm, seed {seed}: {epochs} epochs")
        words = timm_train.arguments(MODEL, recipe, data=images, epochs=epochs, seed=seed, output=output)
        points = timm_train.train(script, words, curve, output=output)
    return points


def reached(points: list[Point], top1: float) -> float | None:
    """Seconds until a score was that high for the first time; None where it never was."""
    return next((point.seconds for point in points if point.top1 >= top1), None)


def write(folder: Path, seeds: list[int], sides: dict[str, list[list[Point]]], asked: Asked) -> str:
    """The table in Markdown, written to `table.md`, every figure to `results.json`."""
    last = {side: [points[-1] for points in runs] for side, runs in sides.items()}
    goal = statistics.mean(point.top1 for point in last["timm"]) if "timm" in sides else None
    rows = ["| | test accuracy | by seed | epochs | minutes |", "|---|---|---|---|---|"]
    marks = [MARK, *([goal] if goal is not None else [])]
    rows[0] += "".join(f" minutes to {mark:.1%} |" for mark in marks)
    rows[1] += "---|" * len(marks)
    for side, ends in last.items():
        each = ", ".join(f"{point.top1:.2%}" for point in ends)
        mean = statistics.mean(point.top1 for point in ends)
        epochs = statistics.mean(point.epoch for point in ends)
        minutes = statistics.mean(point.seconds for point in ends) / 60
        cells = [f"{mean:.2%}", each, f"{epochs:.0f}", f"{minutes:.1f}"]
        cells += [_minutes([reached(points, mark) for points in sides[side]]) for mark in marks]
        rows.append(f"| {side} | {' | '.join(cells)} |")
    table = "\n".join(rows)
    facts = {
        "date": date.today().isoformat(),
        "machine": {"cpus": os.cpu_count(), "instructions": torch.backends.cpu.get_cpu_capability()},
        "versions": {name: version(name) for name in ("vitreous", "torch", *(["timm"] if "timm" in sides else []))}
        | {"python": platform.python_version()},
        "minutes": asked.minutes,
        "seeds": seeds,
        "curves": {side: [[asdict(point) for point in points] for points in runs] for side, runs in sides.items()},
    }
    (folder / "results.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    (folder / "table.md").write_text(table + "\n", encoding="utf-8")
    return table


def _minutes(seconds: list[float | None]) -> str:
    """Of every seed, as a person reads it."""
    return ", ".join("never" if value is None else f"{value / 60:.1f}" for value in seconds)


if __name__ == "__main__":
    main()

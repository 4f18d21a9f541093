"""One per cent of the labels of Fashion-MNIST: is it worth predicting hidden patches of all images first?

The same network, twice on the same 600 labelled images (60 a class) for the same number of steps: begun from masked
patch prediction on the 60,000 training images, whose labels are not read, and begun from random weights. Either side
has its recipe's learning rate (`--tune` tries others, with other labelled images, and scores them on other training
images); the 10,000 test images are scored once, at the end. Logistic regression on the pixels stands beside them.

    python benchmarks/masked_patch.py            three seeds
    python benchmarks/masked_patch.py --tune     learning rates for either side
    python benchmarks/masked_patch.py --quick    does it run?

It can be stopped at any time; the same command goes on where it was, and leaves alone what is done.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from fashion_mnist import IMAGES, MODEL, load_images

import vitreous as vt
from vitreous import console
from vitreous.data.imageset import ImageSet, Splits
from vitreous.data.split import few_per_class
from vitreous.evaluation.baseline import pixel_baseline
from vitreous.training.job import Run

PER_CLASS = 60
RATES = (3e-4, 1e-3, 3e-3)
TUNING_SEEDS = (100, 101)  # of labelled images that no figure of the table comes from
TUNING_IMAGES = 300  # of each class, to choose by

SIDES = {"finetuned": "after masked patches", "scratch": "from random weights", "pixels": "logistic regression"}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is done for every seed."""

    folder: Path
    quick: bool

    @property
    def per_class(self) -> int:
        """Labelled images of each class."""
        return 2 if self.quick else PER_CLASS


def main() -> None:
    """Train whatever is not trained yet, print the table, write it and the figures beside the runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/masked-patch"), metavar="FOLDER")
    parser.add_argument("--root", type=Path, default=IMAGES, help="folder of the four .gz files")
    parser.add_argument("--tune", action="store_true", help="score every learning rate of either side")
    parser.add_argument("--quick", action="store_true", help="a few steps on a few images: does it run?")
    given = parser.parse_args()
    console.use(sys.stdout)
    images = load_images(given.root, 320 if given.quick else None)
    asked = Asked(folder=given.out, quick=given.quick)
    if given.tune:
        console.say("", tune(images, asked))
        return
    scores = [compare(seed, images, asked) for seed in given.seeds]
    console.say("", write(given.out, given.seeds, scores))


def compare(seed: int, images: Splits, asked: Asked) -> dict[str, float]:
    """Test accuracy of every side with one seed, which decides weights, order and which images are labelled."""
    assert images.test is not None, "it has fixed test images"
    start = pretrained(seed, images, asked)
    few, _ = few_per_class(images.train, asked.per_class, seed)
    labelled = Splits(train=few, val=None, test=images.test)
    tuned = {side: side_run(side, start, labelled, seed, asked, str(seed)) for side in ("finetuned", "scratch")}
    return {
        **{side: run.result.top1 for side, run in tuned.items()},
        "pixels": pixel_baseline(few, images.test, seed=seed).top1,
    }


def pretrained(seed: int, images: Splits, asked: Asked) -> Path:
    """The folder of masked patch prediction on all training images."""
    folder = asked.folder / f"masked-{seed}"
    steps = 6 if asked.quick else None
    return either(
        folder,
        images,
        lambda: vt.pretrain(images, model=MODEL, recipe="small-masked", seed=seed, run=str(folder), steps=steps),
    ).folder


def side_run(
    side: str, start: Path, labelled: Splits, seed: int, asked: Asked, name: str, rate: float | None = None
) -> Run:
    """One side on the labelled images; with the recipe's learning rate unless another is given."""
    folder, steps = asked.folder / f"{side}-{name}", 4 if asked.quick else None
    if side == "finetuned":
        return either(
            folder,
            labelled,
            lambda: vt.finetune(
                labelled,
                model=start,
                recipe="small-masked-finetune",
                seed=seed,
                run=str(folder),
                steps=steps,
                learning_rate=rate,
            ),
        )
    return either(
        folder,
        labelled,
        lambda: vt.pretrain(
            labelled,
            model=MODEL,
            recipe="small-masked-scratch",
            seed=seed,
            run=str(folder),
            steps=steps,
            learning_rate=rate,
        ),
    )


def either(folder: Path, images: Splits, begin: Callable[[], Run]) -> Run:
    """A run that is begun, or the rest of it, or what it left."""
    return vt.resume(folder, data=images) if (folder / "run.json").exists() else begin()


def tune(images: Splits, asked: Asked) -> str:
    """A table of learning rates for either side, scored on training images that neither it nor the test has."""
    start = pretrained(TUNING_SEEDS[0], images, asked)
    rows = ["| learning rate | " + " | ".join(SIDES[side] for side in ("finetuned", "scratch")) + " |", "|---|---|---|"]
    for rate in RATES[:1] if asked.quick else RATES:
        cells = []
        for side in ("finetuned", "scratch"):
            found = []
            for seed in TUNING_SEEDS[:1] if asked.quick else TUNING_SEEDS:
                few, others = few_per_class(images.train, asked.per_class, seed)
                splits = Splits(train=few, val=None, test=_chosen_by(others, asked))
                found.append(side_run(side, start, splits, seed, asked, f"tune-{seed}-{rate:g}", rate).result.top1)
            cells.append(f"{statistics.mean(found):.2%}")
        rows.append(f"| {rate:g} | {' | '.join(cells)} |")
    table = "\n".join(rows)
    (asked.folder / "tuning.md").write_text(table + "\n", encoding="utf-8")
    return table


def _chosen_by(others: ImageSet, asked: Asked) -> ImageSet:
    """Training images whose labels choose a learning rate."""
    return few_per_class(others, 2 if asked.quick else TUNING_IMAGES, 0)[0]


def write(folder: Path, seeds: list[int], scores: list[dict[str, float]]) -> str:
    """The table in Markdown, written to `table.md`, every figure to `results.json`."""
    gains = [score["finetuned"] - score["scratch"] for score in scores]
    rows = ["| | test accuracy | by seed |", "|---|---|---|"]
    for side, words in SIDES.items():
        found = [score[side] for score in scores]
        rows.append(f"| {words} | {statistics.mean(found):.2%} | {', '.join(f'{top1:.2%}' for top1 in found)} |")
    points = ", ".join(f"{100 * gain:+.2f}" for gain in gains)
    rows.append(f"| gain by masked patches, points | {100 * statistics.mean(gains):+.2f} | {points} |")
    table = "\n".join(rows)
    facts = {
        "date": date.today().isoformat(),
        "versions": {name: version(name) for name in ("vitreous", "torch")} | {"python": platform.python_version()},
        "model": asdict(MODEL),
        "seeds": seeds,
        "top1": scores,
    }
    (folder / "results.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    (folder / "table.md").write_text(table + "\n", encoding="utf-8")
    return table


if __name__ == "__main__":
    main()

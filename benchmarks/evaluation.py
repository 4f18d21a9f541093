"""What evaluating takes besides the model: neighbours, few-shot, every figure of 50,000 answers, VTAB's order.

Nothing is trained, and images are drawn. Each question is asked in a process of its own, --rounds times; the middle
counts, and memory is what the process held at its height above what it held before. scikit-learn answers one as well.

    python benchmarks/evaluation.py            five minutes, 2 GB
    python benchmarks/evaluation.py --quick    a hundredth of everything: does it run?
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import vitreous
from vitreous.data.imageset import array_set
from vitreous.data.vtab.dsprites import drawn
from vitreous.data.vtab.order import tfds_order
from vitreous.evaluation.evaluate import ask, score
from vitreous.evaluation.features import extract, frozen
from vitreous.evaluation.fewshot import least_squares
from vitreous.evaluation.knn import vote
from vitreous.model.create import create_model

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from peak_memory import forget_peak, peak_memory

RNG = np.random.default_rng(0)


def order(size: int) -> tuple[Callable[[], object], str, float]:
    """dSprites in the order of TFDS."""
    count = 737_280 // size
    return lambda: tfds_order("train", range(count)), "keys/s", count


def dsprites(size: int) -> tuple[Callable[[], object], str, float]:
    """Images of dSprites, drawn."""
    places = RNG.integers(737_280, size=20_000 // size).tolist()
    return lambda: [drawn(place) for place in places], "images/s", len(places)


def _neighbours(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x = RNG.standard_normal((200_000 // size, 256), np.float32)
    return x, RNG.integers(1000, size=len(x)), RNG.standard_normal((1024, 256), np.float32)


def knn(size: int) -> tuple[Callable[[], object], str, float]:
    """1,024 images named by their 10, 20, 100 and 200 nearest among 200,000, 256 numbers each, 1,000 classes."""
    x, y, asked = _neighbours(size)
    return lambda: vote(x, y, asked, 1000, (10, 20, 100, 200)), "images/s", len(asked)


def knn_of_sklearn(size: int) -> tuple[Callable[[], object], str, float]:
    """The 200 nearest alone, without a vote, by scikit-learn."""
    from sklearn.neighbors import NearestNeighbors

    x, _, asked = _neighbours(size)
    found = NearestNeighbors(n_neighbors=200, algorithm="brute", metric="cosine").fit(x)
    return lambda: found.kneighbors(asked), "images/s", len(asked)


def few_shot(size: int) -> tuple[Callable[[], object], str, float]:
    """Least squares on 10 images of each of 1,000 classes, 768 numbers each."""
    classes = max(10, 1000 // size)
    x = RNG.standard_normal((10 * classes, 768), np.float32)
    y = np.repeat(np.arange(classes), 10)
    return lambda: least_squares(x, y, classes), "fits/s", 1


def figures(size: int) -> tuple[Callable[[], object], str, float]:
    """Every figure about answers to 50,000 images in 1,000 classes, intervals of 1,000 resamples included."""
    classes, count = max(10, 1000 // size), 50_000 // size
    labels = RNG.integers(classes, size=count)
    pixels = RNG.integers(0, 256, (count, 4, 4, 3), np.uint8)
    images = array_set("drawn at random", pixels, labels, [str(place) for place in range(classes)])
    config = replace(
        vitreous.find_model("vit-test"), image_size=(4, 4), patch_size=(4, 4), depth=1, num_classes=classes
    )
    card = vitreous.ModelCard(
        architecture=config, preprocess=vitreous.PreprocessConfig(image_size=(4, 4)), classes=images.classes
    )
    predictor = vitreous.Predictor((create_model(config, seed=0), card))
    asked = ask(predictor, images)
    return lambda: score(asked, images, images.classes), "images/s", count


def features(size: int) -> tuple[Callable[[], object], str, float]:
    """Features of vit-ti16 at 224 pixels, of images that lie in memory."""
    pixels = RNG.integers(0, 256, (max(2, 128 // size), 224, 224, 3), np.uint8)
    images = array_set("drawn at random", pixels, np.zeros(len(pixels), np.int64), ["one"])
    predictor = frozen("vit-ti16")
    return lambda: extract(predictor, images), "images/s", len(pixels)


def passes(size: int) -> tuple[Callable[[], object], str, float]:
    """The same passes of the same model, by hand, for what features cost besides."""
    predictor = frozen("vit-ti16")
    count = max(2, 128 // size)
    batch = torch.rand(predictor.batch_size, 3, 224, 224)
    model = predictor.prepared.model

    def run() -> None:
        with torch.inference_mode():
            for _ in range(-(-count // len(batch))):
                model(batch)

    return run, "images/s", count


QUESTIONS = {
    "dSprites in TFDS's order": order,
    "dSprites, drawn": dsprites,
    "200,000 neighbours, k up to 200": knn,
    "the same by scikit-learn": knn_of_sklearn,
    "few-shot, 1,000 classes of 10": few_shot,
    "every figure, 50,000 x 1,000": figures,
    "features of vit-ti16": features,
    "its plain passes": passes,
}


def ask_once(name: str, size: int) -> None:
    """Answer one question in this process, as JSON."""
    run, unit, count = QUESTIONS[name](size)
    before = forget_peak()
    began = time.perf_counter()
    run()
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "rate": count / seconds, "unit": unit, "bytes": peak_memory() - before}))


def main() -> None:
    """Ask every question, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--ask", choices=QUESTIONS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    size = 100 if asked.quick else 1
    if asked.ask:
        ask_once(asked.ask, size)
        return
    versions = f"vitreous {vitreous.__version__}, torch {torch.__version__}, Python {platform.python_version()}"
    print(f"{versions}, {torch.get_num_threads()} threads\n")
    print("| | seconds | rate | memory, MB |\n|---|---|---|---|")
    for name in QUESTIONS:
        command = [sys.executable, __file__, "--ask", name, *(["--quick"] if asked.quick else [])]
        rounds = 1 if asked.quick else asked.rounds
        found = [json.loads(subprocess.check_output(command, text=True)) for _ in range(rounds)]
        seconds, rate, held = (statistics.median(one[key] for one in found) for key in ("seconds", "rate", "bytes"))
        low, high = (f"{pick(one['seconds'] for one in found):.3g}" for pick in (min, max))
        print(f"| {name} | {seconds:.3g} ({low} to {high}) | {rate:,.0f} {found[0]['unit']} | {held / 1e6:,.0f} |")


if __name__ == "__main__":
    main()

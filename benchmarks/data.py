"""Images per second of preparing training images, beside timm, torchvision, WebDataset and Hugging Face datasets.

All sides read the same photographs (500 x 375 JPEG, quality 87), cut an Inception crop of 8 to 100 % of the area,
resize it to 224 x 224, mirror half of them, and give uint8; timm's transform also with its own normalising. Rounds of
all sides take turns, and what counts is the CPU time of one thread, so that others at work on the machine disturb
little. With --workers the loaders themselves run, and wall time counts.

    python benchmarks/data.py
    python benchmarks/data.py --workers 2
    python benchmarks/data.py --quick      # does it run?
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tarfile
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from PIL import Image

from vitreous.config import AugmentConfig, PreprocessConfig
from vitreous.console import say, use
from vitreous.data.feeding.cache import ImageCache
from vitreous.data.feeding.fast import require_fast
from vitreous.data.feeding.loader import training_batches
from vitreous.data.feeding.views import Views
from vitreous.data.imageset import ImageSet
from vitreous.data.layouts.folders.folders import class_folders

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))  # oracles.py imports timm beside a CPU torch

AREA, SIDE, BATCH = (0.08, 1.0), 224, 32
AUGMENT, PREPROCESS = AugmentConfig(crop_area=AREA), PreprocessConfig(image_size=(SIDE, SIDE))
PEERS = ("timm", "torchvision", "webdataset", "datasets", "simplejpeg", "opencv-python-headless", "pillow")

Turn = Callable[[], int]
"""Prepares some images and says how many."""


def photographs() -> list[Image.Image]:
    """Real photographs that come with scikit-image and scikit-learn, or striped stand-ins where there are none."""
    found = []
    try:
        from skimage import data

        names = ("astronaut", "chelsea", "coffee", "rocket", "retina", "hubble_deep_field", "immunohistochemistry")
        found += [Image.fromarray(np.asarray(getattr(data, name)())[..., :3]) for name in names]
    except (ImportError, OSError):
        say("scikit-image's photographs are missing")
    try:
        from sklearn.datasets import load_sample_images

        found += [Image.fromarray(each) for each in load_sample_images().images]
    except ImportError:
        say("scikit-learn's photographs are missing")
    if not found:
        waves = np.sin(np.arange(600)[:, None] / 7) * np.cos(np.arange(800)[None] / 11) * 120 + 128
        found = [Image.fromarray(np.repeat(waves.astype(np.uint8)[..., None], 3, axis=2))]
    return found


def write_photos(folder: Path, count: int) -> Path:
    """So many different parts of the photographs as 500 x 375 JPEG files of quality 87, in two class folders."""
    sources, rng = photographs(), np.random.default_rng(0)
    for number in range(count):
        image = sources[number % len(sources)]
        width = min(image.width, image.height * 4 / 3) * rng.uniform(0.6, 1.0)
        height = width * 3 / 4
        left, top = (image.width - width) * rng.random(), (image.height - height) * rng.random()
        box = (left, top, left + width, top + height)
        path = folder / "ab"[number % 2] / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.resize((500, 375), Image.Resampling.LANCZOS, box=box).save(path, quality=87)
    return folder


def of_views(views: Views, epochs: Iterator[int]) -> Turn:
    """One pass over all images."""

    def turn() -> int:
        epoch = next(epochs)
        for index in range(len(views.images)):
            views.view(epoch, index)
        return len(views.images)

    return turn


def of_loader(views: Views, workers: int) -> Turn:
    """One pass over all images by the loader."""

    def turn() -> int:
        steps = len(views.images) // BATCH
        batches = training_batches(
            views.images, preprocess=views.preprocess, augment=views.augment, seed=0, batch_size=BATCH,
            micro_batch=BATCH, first_step=0, num_steps=steps, workers=workers, fast=views.fast, cache=views.cache,
        )  # fmt: skip
        return sum(len(batch.images) for batch in batches)

    return turn


def ours(images: ImageSet, workers: int) -> dict[str, Turn]:
    """Our sides."""
    turns = {}
    for name, fast, kind in (
        ("vitreous, exact", False, "none"),
        ("vitreous, fast", True, "none"),
        ("vitreous, exact, cached in memory", False, "memory"),
        ("vitreous, exact, cached on disk", False, "disk"),
    ):
        cache = ImageCache.for_training(images, PREPROCESS, AUGMENT, kind=kind, fast=fast)  # type: ignore[arg-type]
        views = Views(images, PREPROCESS, AUGMENT, 0, fast, cache)
        turns[name] = of_loader(views, workers) if workers else of_views(views, iter(range(10**6)))
    return turns


def of_dataset(dataset: Any, workers: int, **options: Any) -> Turn:
    """One pass over a PyTorch data set: item by item, or by its own loader with workers that stay."""
    if not workers:

        def alone() -> int:
            return sum(1 for _ in (dataset[index] for index in range(len(dataset))))

        return alone if hasattr(dataset, "__len__") else lambda: sum(1 for _ in dataset)
    loader = torch.utils.data.DataLoader(
        dataset, BATCH, num_workers=workers, persistent_workers=True, shuffle=hasattr(dataset, "__len__"), **options
    )
    return lambda: sum(len(batch[0] if isinstance(batch, (list, tuple)) else batch["image"]) for batch in loader)


def timm_sides(folder: Path, workers: int) -> dict[str, Turn]:
    """timm's default loader: its data set, its training transform, without colour jitter, and normalising."""
    from oracles import timm

    timm()
    from timm.data import create_dataset, create_loader, create_transform

    options = {"is_training": True, "scale": AREA, "color_jitter": None, "interpolation": "bicubic", "hflip": 0.5}
    sides = {}
    if workers:
        dataset = create_dataset("", str(folder), is_training=True)
        loader = create_loader(
            dataset, (3, SIDE, SIDE), BATCH, num_workers=workers, device=torch.device("cpu"), **options
        )
        return {"timm, default loader": lambda: sum(len(images) for images, _ in loader)}
    for name, prefetcher in (("timm, default transform, uint8", True), ("timm, default transform, normalised", False)):
        dataset = create_dataset("", str(folder), is_training=True)
        dataset.transform = create_transform(SIDE, use_prefetcher=prefetcher, **options)
        sides[name] = of_dataset(dataset, 0)
    return sides


def transform() -> Any:
    """torchvision's v2 on PIL: the same crop, bicubic and antialiased, to a uint8 tensor."""
    from oracles import torchvision

    v2 = torchvision().transforms.v2
    return v2.Compose(
        [
            v2.RandomResizedCrop(SIDE, AREA, interpolation=v2.InterpolationMode.BICUBIC),
            v2.RandomHorizontalFlip(),
            v2.PILToTensor(),
        ]
    )


class Folder:
    """What torchvision's ImageFolder gives, which needs torchvision's own loader: file by file."""

    def __init__(self, folder: Path, change: Any) -> None:
        self.paths, self.change = sorted(folder.rglob("*.jpg")), change

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        with Image.open(self.paths[index]) as image:
            return self.change(image.convert("RGB")), 0


def webdataset_side(folder: Path, work: Path, workers: int) -> dict[str, Turn]:
    """The photographs in tar shards, shuffled in a buffer of 100, decoded with Pillow, torchvision's transform."""
    import webdataset

    files = sorted(folder.rglob("*.jpg"))
    for shard in range(max(1, workers)):
        with tarfile.open(work / f"{shard}.tar", "w") as tar:
            for path in files[shard :: max(1, workers)]:
                tar.add(path, f"{path.stem}.jpg")
    urls, change = [str(path) for path in sorted(work.glob("*.tar"))], transform()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = webdataset.WebDataset(urls, shardshuffle=False, empty_check=False).shuffle(100).decode("pil")
    return {"WebDataset, torchvision v2": of_dataset(pipeline.to_tuple("jpg").map_tuple(change), workers)}


def datasets_side(folder: Path, work: Path, workers: int) -> dict[str, Turn]:
    """Hugging Face datasets: an Arrow file with the encoded images in it, torchvision's transform on access."""
    import datasets

    datasets.disable_progress_bars()
    blobs = [{"bytes": path.read_bytes(), "path": None} for path in sorted(folder.rglob("*.jpg"))]
    features = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict({"image": blobs}, features=features).save_to_disk(str(work / "arrow"))
    change = transform()

    def changed(rows: dict[str, Any]) -> dict[str, Any]:
        return {"image": [change(image.convert("RGB")) for image in rows["image"]]}

    dataset = datasets.load_from_disk(str(work / "arrow")).with_transform(changed)
    return {"Hugging Face datasets, torchvision v2": of_dataset(dataset, workers)}


def peers(folder: Path, work: Path, workers: int) -> dict[str, Turn | str]:
    """Everybody else's sides; for those that cannot run here, why."""
    sides: dict[str, Turn | str] = {}
    makers: dict[str, Callable[[], dict[str, Turn]]] = {
        "timm": lambda: timm_sides(folder, workers),
        "torchvision v2 on PIL": lambda: {"torchvision v2 on PIL": of_dataset(Folder(folder, transform()), workers)},
        "WebDataset": lambda: webdataset_side(folder, work, workers),
        "Hugging Face datasets": lambda: datasets_side(folder, work, workers),
    }
    for name, make in makers.items():
        try:
            sides |= make()
        except ImportError as error:
            sides[name] = f"not installed: {error.name}"
    return sides


def measure(turns: dict[str, Turn], rounds: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Images per second of each side in each round, the first round of all left out: caches fill, workers start."""
    rates: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(rounds + 1):
        for name, turn in turns.items():
            began = clock()
            count = turn()
            rates[name].append(count / (clock() - began))
    return {name: found[1:] for name, found in rates.items()}


def pixel_difference(images: ImageSet, views: int) -> dict[str, float]:
    """Of the fast path from the exact one, in steps of 255: mean, and what one value in a thousand exceeds."""
    exact, fast = (Views(images, PREPROCESS, AUGMENT, 0, quick) for quick in (False, True))
    apart = np.concatenate(
        [
            np.abs(exact.view(epoch, index).astype(np.int16) - fast.view(epoch, index)).ravel()
            for epoch in range(max(1, views // len(images)))
            for index in range(len(images))
        ]
    )
    return {
        "mean": float(apart.mean()),
        "p99.9": float(np.percentile(apart, 99.9)),
        "exact": float((apart == 0).mean()),
    }


def versions() -> dict[str, str]:
    """Of everything that takes part."""
    found = {"python": platform.python_version(), "torch": torch.__version__}
    for name in ("vitreous", *PEERS):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def table(rates: dict[str, list[float]], missing: dict[str, str], base: str) -> str:
    """Medians with the slowest and the fastest round, and the median of the rounds' ratios to a side."""
    lines = [f"| side | images/s | times {base} |", "|---|---|---|"]
    for name, found in rates.items():
        spread = f"{statistics.median(found):,.0f} ({min(found):,.0f}-{max(found):,.0f})"
        ratios = [mine / theirs for mine, theirs in zip(found, rates[base], strict=True)] if base in rates else []
        lines.append(
            f"| {name} | {spread} | {statistics.median(ratios):.2f} |" if ratios else f"| {name} | {spread} | |"
        )
    lines += [f"| {name} | {why} | |" for name, why in missing.items()]
    return "\n".join(lines)


def main() -> None:
    """Measure, print tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, default=0, help="0 measures one thread by its CPU time (0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured as JSON")
    parser.add_argument("--quick", action="store_true", help="a few images, one round: does it run?")
    asked = parser.parse_args()
    use(sys.stdout)
    torch.set_num_threads(1)
    require_fast()
    count, rounds = (BATCH, 1) if asked.quick else (asked.images, asked.rounds)
    with tempfile.TemporaryDirectory() as name:
        folder, work = write_photos(Path(name, "photos"), count), Path(name, "work")
        work.mkdir()
        os.environ["VITREOUS_CACHE"] = str(work / "cache")
        images, _ = class_folders(folder, "photographs", keep_empty=True)
        sides = {**ours(images, asked.workers), **peers(folder, work, asked.workers)}
        turns = {name: side for name, side in sides.items() if not isinstance(side, str)}
        missing = {name: side for name, side in sides.items() if isinstance(side, str)}
        rates = measure(turns, rounds, time.perf_counter if asked.workers else time.process_time)
        apart = pixel_difference(images, 32 if asked.quick else 512)
    base = "timm, default loader" if asked.workers else "timm, default transform, uint8"
    say(table(rates, missing, base), "")
    said = f"{asked.workers} workers, wall time" if asked.workers else "one thread, CPU time"
    say(f"{count} photographs of 500 x 375, {rounds} rounds, {said}.")
    mean, most = apart["mean"], apart["p99.9"]
    say(f"Fast and exact differ by {mean:.2f} of 255 on average, 99.9 % of values by {most:.0f} or less.")
    if asked.json:
        facts = {"date": date.today().isoformat(), "versions": versions(), "workers": asked.workers, "rates": rates}
        asked.json.write_text(json.dumps({**facts, "missing": missing, "apart": apart}, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()

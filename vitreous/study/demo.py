"""The article in miniature, offline, on embedded real data: pre-train, transfer at a higher resolution, compare.

A small ViT learns 28-pixel digits from mnist-5k. It is then fine-tuned at 42 pixels on ten labelled examples per class
of another collection of digits (scikit-learn's, 8 x 8 pixels, written by other people), with interpolated position
embeddings and a new zero head. The same network from random weights and logistic regression on pixels get the same
hundred images, and all three are scored on the same others.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitreous import console
from vitreous.architecture import Size, ViTConfig
from vitreous.config import TrainOptions
from vitreous.data.sources import ImageSet, Splits, open_images
from vitreous.data.split import few_per_class
from vitreous.evaluation.baseline import pixel_baseline
from vitreous.evaluation.evaluate import evaluate
from vitreous.evaluation.metrics import wilson_interval
from vitreous.model.vit import ViT
from vitreous.picture.preprocess import fit
from vitreous.report.content import (
    Arm,
    Command,
    CurveSet,
    DemoReport,
    Picture,
    Strip,
    typical_images,
    worst_mistakes,
)
from vitreous.report.html import write_demo_report
from vitreous.report.words import percent
from vitreous.results import Baseline, DemoResult, Evaluation, RunResult
from vitreous.training.finish import exhibits
from vitreous.training.job import Run, run_job
from vitreous.training.plan import Model, Verb
from vitreous.training.run import new_folder, read_facts, read_records

MODEL = ViTConfig(
    name="vit-demo",
    image_size=(28, 28),
    patch_size=(7, 7),
    embed_dim=64,
    depth=4,
    num_heads=4,
    mlp_dim=256,
    num_classes=10,
)
TRANSFER_SIZE = (42, 42)
LABELLED_PER_CLASS = 10


def demo(out: str | Path | None = None, *, seed: int = 0, threads: int | None = None) -> DemoResult:
    """Run the demo and write its page.

    Args:
        out: folder for everything it writes; by default runs/demo-N.
        seed: fixes weights, order, augmentation and which digits are labelled.
        threads: CPU threads; by default PyTorch's choice.

    Raises:
        UsageError: the folder holds something already, or the extra `demo` is not installed.
    """
    began = time.monotonic()
    folder = new_folder(None if out is None else str(out), "demo")
    console.say("1/4  pre-training on mnist-5k")
    large = Splits(
        train=open_images("mnist-5k", split="train"),
        val=None,
        test=open_images("mnist-5k", split="test"),
        notes=("mnist-5k: 4,000 handwritten digits to learn from, 1,000 others to be scored on",),
        failed=(),
    )
    few, others = few_per_class(open_images("digits"), LABELLED_PER_CLASS, seed)
    small = Splits(
        train=few,
        val=None,
        test=others,
        notes=(f"digits: {LABELLED_PER_CLASS} labelled images per class, the {len(others):,} others to be scored on",),
        failed=(),
    )

    def job(verb: Verb, data: Splits, model: Model, name: str) -> Run:
        asked = TrainOptions(run=str(folder / name), recipe=f"demo-{name}", seed=seed, threads=threads)
        if name == "transfer":
            asked = dataclasses.replace(asked, image_size=TRANSFER_SIZE)
        return run_job(verb, data, model, asked, command="vitreous demo")

    pretrained = job("pretrain", large, MODEL, "pretrain")
    console.say("", "2/4  transfer: the trained network at 42 px, 100 labelled digits of other writers")
    transfer = job("finetune", small, pretrained.result.model, "transfer")
    console.say("", "3/4  from scratch: the same network, untrained, on the same 100 images")
    scratch = job("pretrain", small, MODEL, "scratch")
    console.say("", "4/4  logistic regression on pixels, on the same 100 images")
    baseline = pixel_baseline(few, others, seed=seed)
    result = DemoResult(
        pretrain_top1=pretrained.result.top1,
        transfer_top1=transfer.result.top1,
        scratch_top1=scratch.result.top1,
        baseline_top1=baseline.top1,
        seconds=time.monotonic() - began,
        report=str(folder / "report.html"),
        seen={"pretrain": pretrained.result.seen, "transfer": transfer.result.seen, "scratch": scratch.result.seen},
    )
    runs = {"pretrain": pretrained, "transfer": transfer, "scratch": scratch}
    write_demo_report(folder / "report.html", _report(result, runs, baseline, few, others, large.train))
    result = dataclasses.replace(result, seconds=time.monotonic() - began)
    console.say("", *_table(result), "", f"took {console.duration(result.seconds)}")
    return result


def _table(result: DemoResult) -> list[str]:
    """The comparison, as lines for a terminal."""
    rows = [
        ("transfer at 42 px", result.transfer_top1),
        ("pixels + logistic regression", result.baseline_top1),
        ("the same network from scratch", result.scratch_top1),
    ]
    title = f"{LABELLED_PER_CLASS} labelled digits per class, scored on {result.seen['transfer']:,} others"
    return [title, *(f"  {name:<32}{percent(share):>7}  {'#' * round(30 * share)}" for name, share in rows)]


def _report(
    result: DemoResult, runs: dict[str, Run], baseline: Baseline, few: ImageSet, others: ImageSet, large: ImageSet
) -> DemoReport:
    """Everything the demo's page shows."""
    transfer = runs["transfer"]
    model = transfer.model
    assert isinstance(model, ViT)
    assert model.card is not None
    evaluation = evaluate(model, others)
    preprocess = model.card.preprocess
    config = model.config
    word = fit(others.read(0), preprocess)
    return DemoReport(
        result=result,
        arms=_arms(runs, baseline, evaluation),
        pretraining=_arm("pre-training", runs["pretrain"].result, "4,000 digits of mnist-5k, scored on 1,000 others"),
        evaluation=evaluation,
        word=Picture(pixels=word),
        patch_size=config.patch_size,
        position_similarity=position_similarity(model),
        command="vitreous demo",
        environment=read_facts(transfer.folder)["environment"],
        strips=(
            _strip("mnist-5k", "what the network learned first: 28 x 28 pixels", large),
            _strip("digits", "what it was moved to: 8 x 8 pixels, other writers", few),
        ),
        curves=tuple(
            CurveSet(name=label, records=tuple(read_records(runs[name].folder)))
            for name, label in (("transfer", "transfer"), ("scratch", "from scratch"))
        ),
        mistakes=exhibits(model, model.card, others, worst_mistakes(evaluation)),
        looks=exhibits(model, model.card, others, typical_images(evaluation)),
        facts={
            "network": f"{config.depth} blocks, {config.embed_dim} wide, {config.num_heads} heads",
            "parameters": f"{sum(p.numel() for p in model.parameters()):,}",
            "patches": f"{config.patch_size[0]} x {config.patch_size[1]} pixels: {_times(MODEL.grid)} at 28 px, "
            f"{_times(config.grid)} at 42 px",
        },
        written=time.strftime("%Y-%m-%d %H:%M"),
        next_steps=(
            Command(
                text="vitreous finetune PHOTOS --model vit-ti16",
                explained="your own folder of class folders; --model FILE starts from trained weights",
            ),
            Command(
                text=f"vitreous predict {transfer.folder} IMAGE...",
                explained="ask the transferred model about an image",
            ),
        ),
    )


def position_similarity(model: ViT) -> NDArray[np.floating[Any]]:
    """Cosine similarity of every patch's position embedding with every other's (Figure 7, centre, of the paper).

    Args:
        model: with a learned position table.

    Returns:
        (rows, columns, rows, columns), values in [-1, 1].
    """
    assert model.pos_embed is not None
    table = model.pos_embed.detach().double().numpy()[0, model.num_prefix :]
    table = table / np.linalg.norm(table, axis=1, keepdims=True)
    similarity: NDArray[np.floating[Any]] = (table @ table.T).reshape(*model.config.grid, *model.config.grid)
    return similarity


def _arms(runs: dict[str, Run], baseline: Baseline, evaluation: Evaluation) -> tuple[Arm, ...]:
    seen, expected = evaluation.seen, evaluation.expected
    transfer = _arm("transfer", runs["transfer"].result, "pre-trained on mnist-5k, then 100 labelled digits at 42 px")
    return (
        dataclasses.replace(transfer, highlight=True),
        Arm(
            name="pixels",
            top1=baseline.top1,
            interval=wilson_interval(round(baseline.top1 * seen), seen),
            seen=seen,
            expected=expected,
            explained=baseline.explained,
        ),
        _arm("from scratch", runs["scratch"].result, "the same network, only the same 100 labelled digits"),
    )


def _arm(name: str, result: RunResult, explained: str) -> Arm:
    return Arm(
        name=name,
        top1=result.top1,
        interval=result.interval,
        seen=result.seen,
        expected=result.expected,
        explained=explained,
    )


def _strip(title: str, explained: str, images: ImageSet) -> Strip:
    """One image of each class."""
    first = [int(np.flatnonzero(images.labels == label)[0]) for label in range(len(images.classes))]
    pictures = tuple((images.classes[images.labels[i]], Picture(pixels=images.read(i))) for i in first)
    return Strip(title=title, explained=explained, pictures=pictures)


def _times(grid: Size) -> str:
    return f"{grid[0]} x {grid[1]} = {grid[0] * grid[1]} tokens"

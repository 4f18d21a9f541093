"""Made-up content for report tests, complete and of any number of classes, with numbers worked out in plain Python."""

from __future__ import annotations

import math

import numpy as np

from vitreous.architecture import ViTConfig
from vitreous.config import ModelCard, PreprocessConfig, Recipe
from vitreous.report.content import (
    Arm,
    Command,
    CurveSet,
    DataSheet,
    DemoReport,
    Exhibit,
    Picture,
    RunReport,
    SplitCount,
    Strip,
    typical_images,
    worst_mistakes,
)
from vitreous.results import (
    Baseline,
    ClassScore,
    DemoResult,
    EpochRecord,
    Evaluation,
    Failure,
    Outcome,
    RunResult,
)


def evaluation(
    num_classes: int, per_class: int = 24, *, seed: int = 0, accuracy: float = 0.9, names=None
) -> Evaluation:
    """An evaluation of a made-up model that errs towards neighbouring classes."""
    rng = np.random.default_rng(seed)
    classes = tuple(names or (f"class {place:02d}" for place in range(num_classes)))
    outcomes = []
    for label in range(num_classes):
        for place in range(per_class):
            right = rng.random() < accuracy
            wrong = (label + int(rng.choice([1, 1, 1, 2, num_classes - 1]))) % num_classes
            predicted = label if right else wrong
            probability = float(np.clip(rng.beta(9, 1) if right else rng.beta(4, 3), 1 / num_classes, 1))
            rest = probability if predicted == label else (1 - probability) * float(rng.random())
            outcomes.append(
                Outcome(
                    path=f"photos/test/{classes[label]}/{place:04d}.jpg",
                    label=label,
                    predicted=predicted,
                    probability=probability,
                    label_probability=rest,
                )
            )
    return evaluation_of(tuple(outcomes), classes)


def evaluation_of(outcomes: tuple[Outcome, ...], classes: tuple[str, ...]) -> Evaluation:
    """The evaluation that these outcomes make."""
    number = len(outcomes)
    matrix = [[0] * len(classes) for _ in classes]
    for outcome in outcomes:
        matrix[outcome.label][outcome.predicted] += 1
    top1 = sum(outcome.label == outcome.predicted for outcome in outcomes) / number
    scores = tuple(_class_score(matrix, place, name) for place, name in enumerate(classes))
    recalls = [score.recall for score in scores if score.recall is not None]
    return Evaluation(
        top1=top1,
        top5=min(1.0, top1 + 0.03),
        balanced=sum(recalls) / len(recalls),
        interval=_wilson(top1, number),
        calibration_error=_calibration_error(outcomes),
        seen=number,
        expected=number + 2,
        failed=(
            Failure(path="photos/test/a/broken.jpg", reason="the file ends too early"),
            Failure(path="photos/test/b/page.jpg", reason="this is an HTML page, not an image"),
        ),
        classes=classes,
        per_class=scores,
        confusion=tuple(map(tuple, matrix)),
        outcomes=outcomes,
        data=f"photos/test, {number} images",
    )


def _class_score(matrix: list[list[int]], place: int, name: str) -> ClassScore:
    hits, support = matrix[place][place], sum(matrix[place])
    answers = sum(row[place] for row in matrix)
    precision = hits / answers if answers else None
    recall = hits / support if support else None
    f1 = 2 * hits / (answers + support) if answers + support else None
    return ClassScore(name=name, support=support, precision=precision, recall=recall, f1=f1)


def _wilson(share: float, number: int) -> tuple[float, float]:
    z = 1.959963984540054
    middle = (share + z**2 / (2 * number)) / (1 + z**2 / number)
    half = z * math.sqrt(share * (1 - share) / number + z**2 / (4 * number**2)) / (1 + z**2 / number)
    return middle - half, middle + half


def _calibration_error(outcomes: tuple[Outcome, ...]) -> float:
    bins: dict[int, list[Outcome]] = {}
    for outcome in outcomes:
        bins.setdefault(max(0, math.ceil(outcome.probability * 15) - 1), []).append(outcome)
    gaps = [abs(sum(one.probability - (one.label == one.predicted) for one in inside)) for inside in bins.values()]
    return sum(gaps) / len(outcomes)


def records(epochs: int = 30, final: float = 0.9) -> tuple[EpochRecord, ...]:
    """A training that goes well: warm-up, cosine decay, a held-out score each epoch."""
    rng = np.random.default_rng(1)
    found = []
    for epoch in range(1, epochs + 1):
        done = epoch / epochs
        rate = 0.03 * (min(1.0, done / 0.1) if done < 0.1 else 0.5 * (1 + math.cos(math.pi * (done - 0.1) / 0.9)))
        learned = 1 - math.exp(-4 * done)
        found.append(
            EpochRecord(
                step=epoch * 31,
                epoch=float(epoch),
                loss=2.3 - 2.0 * learned + float(rng.normal(0, 0.03)),
                accuracy=min(1.0, 0.1 + (final - 0.15) * learned + float(rng.normal(0, 0.01))),
                learning_rate=rate,
                images_per_second=148.0 + float(rng.normal(0, 3)),
                val_loss=2.2 - 1.85 * learned,
                val_accuracy=min(1.0, 0.12 + (final - 0.12) * learned / 0.98),
            )
        )
    return tuple(found)


def picture(seed: int, height: int = 96, width: int = 128) -> Picture:
    """A smooth random image with a bright patch that is attended."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[0:height, 0:width]
    waves = [np.sin(down / rng.uniform(5, 20) + rng.uniform(0, 6)) * np.cos(across / rng.uniform(5, 20)) for _ in "rgb"]
    pixels = (np.stack(waves, -1) * 100 + 128).astype(np.uint8)
    rows, columns = np.mgrid[0:6, 0:8]
    attention = np.exp(-((rows - rng.uniform(1, 5)) ** 2 + (columns - rng.uniform(1, 7)) ** 2) / 4)
    return Picture(pixels=pixels, attention=attention.astype(np.float32))


def run_report(num_classes: int, *, names=None, seed: int = 0, optimistic: bool = False) -> RunReport:
    """A whole report of a made-up run."""
    scores = evaluation(num_classes, names=names, seed=seed)
    mistakes = worst_mistakes(scores)
    looks = typical_images(scores)
    return RunReport(
        title="photos",
        summary=f"vit-s16 fine-tuned on 992 photos of {num_classes} classes in 13:52 min.",
        result=RunResult(
            run="runs/photos-1",
            model="runs/photos-1/model.safetensors",
            top1=scores.top1,
            interval=scores.interval,
            seen=scores.seen,
            expected=scores.expected,
            seconds=832.0,
            report="runs/photos-1/report.html",
            data=scores.data,
            optimistic=optimistic,
        ),
        evaluation=scores,
        records=records(final=scores.top1),
        baselines=(
            Baseline(name="pixels", top1=0.41, explained="Logistic regression on 16 × 16 pixels."),
            Baseline(name="majority", top1=1 / num_classes, explained="Always the most frequent class."),
        ),
        mistakes=tuple(Exhibit(outcome=one, picture=picture(place)) for place, one in enumerate(mistakes)),
        looks=tuple(Exhibit(outcome=one, picture=picture(100 + place)) for place, one in enumerate(looks)),
        data=DataSheet(
            source="photos",
            notes=("1,240 images in class folders, with a test folder.", "Split 80/20 per class by seed 0."),
            counts=(
                SplitCount(name="train", per_class=tuple(40 + place for place in range(num_classes))),
                SplitCount(name="test", per_class=tuple(24 for _ in range(num_classes))),
            ),
            failed=(Failure(path="photos/train/cut.jpg", reason="the file ends too early"),),
            fingerprint="3f" * 32,
        ),
        card=ModelCard(
            architecture=ViTConfig(
                name="vit-s16", embed_dim=384, depth=12, num_heads=6, mlp_dim=1536, num_classes=num_classes
            ),
            preprocess=PreprocessConfig(),
            classes=scores.classes,
            provenance={"command": "vitreous finetune photos", "vitreous": "0.1.0"},
        ),
        recipe=Recipe(name="small-finetune", purpose="finetune", epochs=30, batch_size=64, source="this project"),
        command="vitreous finetune photos --model vit-s16 --run runs/photos-1 --seed 0",
        environment={"vitreous": "0.1.0", "torch": "2.13.0+cpu", "python": "3.11.2", "precision": "float32"},
        optimistic_because="the best of 30 epochs was chosen by them",
        random_weights=True,
        written="3 May 2026, 14:05",
        next_steps=(
            Command(text="vitreous predict runs/photos-1 new.jpg", explained="Name a new image."),
            Command(text="vitreous evaluate runs/photos-1 other/", explained="Test it on other images."),
        ),
    )


def demo_report() -> DemoReport:
    """A whole report of a made-up demo."""
    scores = evaluation(10, names=list("0123456789"), per_class=30)
    rows, columns = np.mgrid[0:7, 0:5]
    distance = (rows[..., None, None] - rows) ** 2 + (columns[..., None, None] - columns) ** 2
    word = Picture(pixels=picture(5, 28, 20).pixels)
    return DemoReport(
        result=DemoResult(
            pretrain_top1=0.955,
            transfer_top1=scores.top1,
            scratch_top1=0.35,
            baseline_top1=0.8,
            seconds=78.0,
            report="report.html",
        ),
        arms=(
            _arm("transfer", scores.top1, "Pre-trained first.", highlight=True),
            _arm("pixels", 0.8, "Logistic regression on pixels."),
            _arm("from scratch", 0.35, "The same network, the same few images."),
        ),
        pretraining=_arm("pre-training", 0.955, "On its own held-out images."),
        evaluation=scores,
        word=word,
        patch_size=(4, 4),
        position_similarity=np.exp(-distance / 6) * 1.2 - 0.2,
        command="vitreous demo",
        environment={"torch": "2.13.0+cpu"},
        strips=(
            Strip(
                title="First, many",
                explained="4,000 handwritten digits.",
                pictures=tuple((str(digit), picture(digit, 28, 28)) for digit in range(10)),
            ),
        ),
        curves=(
            CurveSet(name="transfer", records=records(20, 0.9)),
            CurveSet(name="scratch", records=records(20, 0.35)),
        ),
        mistakes=tuple(
            Exhibit(outcome=one, picture=picture(place, 24, 40)) for place, one in enumerate(worst_mistakes(scores, 4))
        ),
        looks=tuple(
            Exhibit(outcome=one, picture=picture(place, 40, 24)) for place, one in enumerate(typical_images(scores))
        ),
        facts={"width": "64", "depth": "4"},
        next_steps=(Command(text="vitreous finetune photos", explained="Your own photos."),),
    )


def _arm(name: str, top1: float, explained: str, *, highlight: bool = False) -> Arm:
    return Arm(
        name=name,
        top1=top1,
        interval=_wilson(top1, 300),
        seen=300,
        expected=300,
        explained=explained,
        highlight=highlight,
    )

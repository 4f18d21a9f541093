"""Verbs that use a model: `predict` and `evaluate`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vitreous import console
from vitreous.cli.answer import Answer, Common
from vitreous.cli.flags import option, positional
from vitreous.cli.hub import Hub
from vitreous.cli.paths import find_images
from vitreous.cli.sheet import Lines, Sheet
from vitreous.cli.variants import answer_variant, variant_named
from vitreous.cli.words import command, harmless, next_steps, percent, shorten, table
from vitreous.console import count
from vitreous.errors import DataError, UsageError
from vitreous.results import Calibration, ClassScore, Evaluation, Failure, Prediction
from vitreous.zoo import is_model_name

_CLASSES_SHOWN = 20
_FAILURES_SHOWN = 10
_PATHS_REPEATED = 3
_LONGEST_NAME = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """Where and how a model is run."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """float32 gives every image the same answer, alone or among others."""
    batch_size: int | None = None
    """Images per forward pass."""
    threads: int | None = None
    """CPU threads for the arithmetic; by default PyTorch's choice."""

    def __post_init__(self) -> None:
        for name, value in (("--batch-size", self.batch_size), ("--threads", self.threads)):
            if value is not None and value < 1:
                raise UsageError(f"{name} must be above 0, got {value}")

    def settle(self) -> None:
        """Set what holds for the whole process."""
        import torch

        if self.threads is not None:
            torch.set_num_threads(self.threads)


@dataclass(frozen=True, kw_only=True, slots=True)
class Predict:
    """Label images: files, folders and patterns."""

    model: str = positional()
    """A run folder, a model file in any dialect, or published weights; an architecture's name has random weights."""
    paths: tuple[str, ...] = positional(metavar="PATH...")
    """Image files, folders of them at any depth, or patterns such as "inbox/*.jpg"."""
    top: int = 3
    """How many classes to give for each image, the most probable first."""
    out: str | None = None
    """Write a table here instead of on the screen: a name that ends in .csv or .jsonl."""
    strict: bool = False
    """Exit with 3 when an image could not be read; it is named either way."""
    hub: Hub = field(default_factory=Hub)
    machine: Machine = field(default_factory=Machine)
    common: Common = field(default_factory=Common)

    def __post_init__(self) -> None:
        if self.top < 1:
            raise UsageError(f"--top must be above 0, got {self.top}")

    def answer(self) -> Answer:
        """Predict, writing each answer down as it comes."""
        images = find_images(self.paths)
        self.hub.settle(self.model)
        if self.out is None:
            return self._predict(images, None)
        # opened before the model is read, so that a place that cannot be written to shows at once
        with Sheet(Path(self.out), self.top) as sheet:
            answer = self._predict(images, sheet)
        return answer

    def _predict(self, images: list[str], sheet: Sheet | None) -> Answer:
        from vitreous.predict import Predictor

        machine = self.machine
        machine.settle()
        predictor = Predictor(
            self.model, device=machine.device, precision=machine.precision, batch_size=machine.batch_size
        )
        height, width = predictor.preprocess.image_size
        console.say(
            f"{harmless(self.model)}: {count(len(predictor.classes), 'class', 'classes')}, {height} x {width} px,"
            f" {predictor.device}; {count(len(images), 'image')} to label",
            *_random(self.model),
        )
        writer = sheet or (None if self.common.json else Lines(images))
        kept: list[Prediction] = []
        failed: list[Failure] = []
        with console.Progress("predicting", len(images)) as progress:
            for outcome in predictor.stream(images, top=self.top):
                if isinstance(outcome, Failure):
                    failed.append(outcome)
                elif self.common.json:
                    kept.append(outcome)
                if writer is not None:
                    writer.write(outcome)
                if sheet is not None or self.common.json:
                    progress.advance()
        self._close(len(images), failed)
        return Answer(
            value={"predictions": kept, "failed": failed, "out": self.out},
            exit_code=DataError.exit_code if failed and self.strict else 0,
        )

    def _close(self, total: int, failed: list[Failure]) -> None:
        """Say how many were read, which not, where the answers are, and what to type next."""
        summary = f"{count(total - len(failed), 'image')} labelled"
        if failed:
            summary += f", {len(failed):,} could not be read"
        console.say("", summary + (f": {harmless(self.out)}" if self.out else ""), *_random(self.model))
        if self.out or self.common.json:
            console.say(*_failures(failed))
        paths = self.paths if len(self.paths) <= _PATHS_REPEATED else ("FOLDER",)
        again = command("predict", self.model, *paths, "--out", "labels.csv")
        step = (command("evaluate", self.model, "FOLDER"), "how often it is right, on a folder of class folders")
        console.say(*next_steps(*([] if self.out else [(again, "the same as a table")]), step))


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluate:
    """Measure a model on labelled images: how often it is right, and where not."""

    model: str = positional()
    """A run folder, a model file in any dialect, or published weights; an architecture's name has random weights."""
    data: str = positional()
    """Folder of class folders, with or without train, val and test above them; a manifest, archive, shards or another
    of the layouts in docs/data.md; or digits, mnist-5k, fashion-mnist; or, below --root, imagenet, imagenet-real, -v2,
    -a, -r, -sketch, -c or objectnet (docs/robustness.md)."""
    split: str | None = None
    """Which part of DATA; by default test, then val, then train."""
    root: str | None = None
    """Where a built-in data set lies, if not in its usual place; or ImageNet and its variants."""
    calibrate_on: str | None = option(None, metavar="DATA")
    """Fit a temperature for the probabilities on these labelled images, which must be others: data, a part of DATA
    (val), or a share of it (0.2)."""
    save_calibrated: str | None = option(None, metavar="FILE")
    """Write the model with that temperature in its head: a name that ends in .safetensors."""
    out: str | None = option(None, metavar="DIR")
    """Folder for report.html, evaluation.json, predictions.csv and the reliability diagram."""
    hub: Hub = field(default_factory=Hub)
    machine: Machine = field(default_factory=Machine)
    common: Common = field(default_factory=Common)

    def answer(self) -> Answer:
        """Evaluate, and say what came out."""
        if (variant := variant_named(self.data, self.root)) is not None:
            return self._variant(variant)
        self.hub.settle(self.model)
        found, calibration = self._evaluated()
        lines = [*_scores(found), *_per_class(found), *(f"  {harmless(note)}" for note in found.notes)]
        lines += _failures(found.failed)
        lines += [] if calibration is None else _calibrated(calibration)
        lines += [] if self.out is None else ["", f"page    {harmless(os.path.join(self.out, 'report.html'))}"]
        console.say(*lines, *_random(self.model))
        steps = [(command("predict", self.model, "new.jpg"), "label new images")]
        if self.out is None:
            page = command("evaluate", *self._typed(), "--out", "evaluation")
            steps.insert(0, (page, "the same as a page with every figure and the worst mistakes"))
        console.say(*next_steps(*steps))
        brief = {spec.name: getattr(found, spec.name) for spec in dataclasses.fields(found)}
        del brief["outcomes"]  # one entry per image: predictions.csv and the Python form hold them
        return Answer(value={**brief, "calibration": calibration, "out": self.out})

    def _variant(self, name: str) -> Answer:
        """Score on ImageNet or one of its variants, which are whole and have rules of their own."""
        flags = {
            "--split": self.split,
            "--calibrate-on": self.calibrate_on,
            "--save-calibrated": self.save_calibrated,
        }
        if unfit := [flag for flag, value in flags.items() if value is not None]:
            raise UsageError(
                f"{' and '.join(unfit)} cannot be used with {name}",
                why="it is scored as a whole, by its own rule",
                remedy="leave it out; or give the folder of the images as DATA",
            )
        assert self.root is not None, "asked for by variant_named"
        self.hub.settle(self.model)
        machine = self.machine
        machine.settle()
        return answer_variant(
            name,
            self.model,
            self.root,
            device=machine.device,
            precision=machine.precision,
            batch_size=machine.batch_size,
            out=self.out,
            warnings=_random(self.model),
        )

    def _evaluated(self) -> tuple[Evaluation, Calibration | None]:
        """Score, and do what else was asked for."""
        machine = self.machine
        machine.settle()
        console.say(f"evaluating {harmless(self.model)} on {harmless(self.data)}", *_random(self.model))
        if self.out is not None or self.calibrate_on is not None or self.save_calibrated is not None:
            return self._written()
        from vitreous.evaluation.evaluate import evaluate

        found = evaluate(
            self.model,
            self.data,
            split=self.split,
            device=machine.device,
            precision=machine.precision,
            batch_size=machine.batch_size,
            root=self.root,
        )
        return found, None

    def _written(self) -> tuple[Evaluation, Calibration | None]:
        from vitreous.predict import Predictor
        from vitreous.study.evaluated import Wanted, evaluated

        typed = command("evaluate", *self._typed(), *(["--out", self.out] if self.out is not None else []))
        wanted = Wanted(
            out=self.out, calibrate_on=self.calibrate_on, save_calibrated=self.save_calibrated, command=typed
        )
        wanted.check(self.model)  # before the model is read
        machine = self.machine
        predictor = Predictor(
            self.model, device=machine.device, precision=machine.precision, batch_size=machine.batch_size
        )
        return evaluated(predictor, self.model, self.data, split=self.split, root=self.root, wanted=wanted)

    def _typed(self) -> list[str]:
        """What was typed and decides what is found."""
        words = [self.model, self.data]
        for flag, value in (("--split", self.split), ("--root", self.root), ("--calibrate-on", self.calibrate_on)):
            words += [flag, value] if value is not None else []
        return words


def _random(model: str) -> list[str]:
    """A warning for a zoo name where a trained model is expected."""
    if os.path.exists(model) or not is_model_name(model):
        return []
    return [f"{model} is an architecture with random weights: what it says means nothing"]


def _scores(found: Evaluation) -> list[str]:
    several = found.mean_average_precision is not None
    right = "answers that the image shows; " if several else ""
    macro = found.macro.f1 if found.macro is not None else None
    rows = [
        ("top-1", percent(found.top1), right + _between(found.interval)),
        ("top-5", percent(found.top5), _between(found.intervals.get("top5"))),
        ("balanced", percent(found.balanced), _between(found.intervals.get("balanced"))),
        ("macro F1", percent(macro), "mean over the classes that have one"),
        ("AUROC", percent(found.auroc), _between(found.intervals.get("auroc"))),
        ("calibration", percent(found.calibration_error), _between(found.intervals.get("calibration_error"))),
    ]
    if several:
        between = _between(found.intervals.get("mean_average_precision"))
        rows.append(("mAP", percent(found.mean_average_precision), between))
    if found.log_loss is not None:
        rows.append(("log loss", f"{found.log_loss:.4f}", "in nats; the less the better"))
    seen = f"{found.seen:,} of {count(found.expected, 'image')} seen"
    return ["", f"{harmless(found.data)}; {seen}" if found.data else seen, *table(rows, right=(1,))]


def _between(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"95 % interval {percent(interval[0])} to {percent(interval[1])}"


def _calibrated(found: Calibration) -> list[str]:
    """What a temperature changes, and where the model went that has it."""
    (before, after), (low, high) = found.log_loss, found.log_loss_change
    rows = [
        ("", "as it is", "calibrated"),
        ("calibration error", *map(percent, found.calibration_error)),
        ("log loss", f"{before:.4f}", f"{after:.4f}"),
    ]
    left = f", {found.left_out:,} that are scored too left out" if found.left_out else ""
    lines = [
        "",
        f"temperature {found.temperature:.4g}, from {count(found.images, 'other image')}"
        f" ({harmless(found.fitted_on)}{left})",
        *table(rows, right=(1, 2)),
        f"  the log loss changes by {after - before:+.4f} (95 % interval {low:+.4f} to {high:+.4f})",
    ]
    if found.saved is not None and found.saved_log_loss is not None:
        lines.append(f"  saved: {harmless(found.saved)}; read back, its log loss is {found.saved_log_loss:.4f}")
    return lines


def _per_class(found: Evaluation) -> list[str]:
    """The classes that have images, all or only the worst of them."""
    present = [score for score in found.per_class if score.support]
    shown, note = present, []
    if len(present) > _CLASSES_SHOWN:
        shown = sorted(present, key=lambda score: score.recall or 0.0)[:_CLASSES_SHOWN]
        note = [f"  the {_CLASSES_SHOWN} hardest of {len(present):,} classes; --json gives all"]
    head = ("class", "images", "precision", "recall", "F1")
    return ["", *table([head, *map(_class_row, shown)], right=range(1, len(head))), *note]


def _class_row(score: ClassScore) -> tuple[str, ...]:
    ratios = map(percent, (score.precision, score.recall, score.f1))
    return (shorten(harmless(score.name), _LONGEST_NAME), f"{score.support:,}", *ratios)


def _failures(failed: Sequence[Failure]) -> list[str]:
    if not failed:
        return []
    rows = [(harmless(item.path), harmless(item.reason)) for item in failed[:_FAILURES_SHOWN]]
    more = len(failed) - len(rows)
    rest = [f"  and {more:,} more"] if more else []
    return ["", f"{count(len(failed), 'image')} could not be read", *table(rows), *rest]

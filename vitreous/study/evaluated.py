"""An evaluation with everything around it: a temperature from other images, a calibrated model, a page, tables."""

from __future__ import annotations

import dataclasses
import json
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from vitreous.config import PreprocessConfig
from vitreous.console import count, say
from vitreous.data.classes import match_classes
from vitreous.data.imageset import ImageSet
from vitreous.data.sources import open_images
from vitreous.data.split import hold_out
from vitreous.errors import ImageError, UsageError
from vitreous.evaluation.calibration import calibrate, check_saved, save_calibrated
from vitreous.evaluation.evaluate import ask, score
from vitreous.files import write_text
from vitreous.picture.preprocess import fit
from vitreous.predict import Predictor
from vitreous.report.chart import save
from vitreous.report.content import Command, Exhibit, Picture, worst_mistakes
from vitreous.report.evaluation import EvaluationReport, reliability_chart
from vitreous.report.html import write_evaluation_report
from vitreous.report.words import reliability
from vitreous.results import Calibration, Evaluation, Outcome
from vitreous.schema import to_json
from vitreous.study.folder import result_folder
from vitreous.training.finish import write_predictions
from vitreous.zoo import is_model_name

PAGE, FIGURES, PREDICTIONS = "report.html", "evaluation.json", "predictions.csv"

_PARTS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What is to be left behind by an evaluation, and what is to be done besides."""

    out: str | None = None
    """Folder for page, figures and predictions."""
    calibrate_on: str | None = None
    """Other data; train, val or test, a part of the same data; or a share of it, such as 0.2."""
    save_calibrated: str | None = None
    """Model file to write."""
    command: str = ""
    """What was typed, for the page."""

    def check(self, model: str) -> None:
        """Refuse what cannot be, before anything slow.

        Args:
            model: as typed.

        Raises:
            UsageError: files cannot be written where they should, or the model has nothing to be saved.
        """
        if self.out is not None:
            result_folder(Path(self.out), FIGURES)
        if self.save_calibrated is None:
            return
        place = Path(self.save_calibrated)
        if self.calibrate_on is None:
            raise UsageError(
                "--save-calibrated needs images that choose the temperature",
                remedy="--calibrate-on DATA, or --calibrate-on 0.2 for a fifth of the same images",
            )
        if place.suffix != ".safetensors":
            raise UsageError(
                f"--save-calibrated writes a model file that ends in .safetensors, got {place.name!r}",
                remedy=f"--save-calibrated {shlex.quote(str(place.with_suffix('.safetensors')))}",
            )
        if not place.parent.is_dir():
            raise UsageError("there is no folder to write the model to", where=str(place.parent))
        if place.exists():
            raise UsageError("something is there already", where=str(place), remedy="another name")
        if is_model_name(model) and not Path(model).exists():
            raise UsageError(f"{model} has random weights: there is nothing to calibrate", remedy="a trained model")


def evaluated(
    predictor: Predictor, model: str, data: str, *, split: str | None, root: str | None, wanted: Wanted
) -> tuple[Evaluation, Calibration | None]:
    """Score a model as it is, calibrate it where that is wanted, and write down what was found.

    Args:
        predictor: of the model.
        model: as typed: what a calibrated model is made from.
        data: as typed.
        split: which part of it.
        root: where a built-in set lies.
        wanted: what else to do.

    Raises:
        DataError: see `evaluate` and `calibrate`.
        UsageError: what is wanted cannot be.
    """
    wanted.check(model)
    images = open_images(data, split=split, root=root)
    others = None
    if wanted.calibrate_on is not None:
        images, others = _apart(images, data, wanted.calibrate_on, root)
        others = match_classes(others, predictor.classes, known_to="the model")
    images = match_classes(images, predictor.classes, known_to="the model")
    calibrated, calibration = None, None
    if others is None:
        found = score(ask(predictor, images), images, predictor.classes)
    else:
        found, calibrated, calibration = calibrate(predictor, images, others)
        if wanted.save_calibrated is not None:
            save_calibrated(model, wanted.save_calibrated, calibration)
            say("checking the saved model on the scored images")
            calibration = check_saved(wanted.save_calibrated, predictor, images, calibration)
    if wanted.out is not None:
        report = _report(predictor, model, images, found, calibrated, calibration, wanted.command)
        _write(Path(wanted.out), report)
    return found, calibration


def exhibits(images: ImageSet, preprocess: PreprocessConfig, outcomes: Sequence[Outcome]) -> tuple[Exhibit, ...]:
    """Evaluated images as the model saw them, for a page.

    Args:
        images: the evaluated images.
        preprocess: how the model sees them.
        outcomes: which of them.
    """
    pictures = pictures_of(images, preprocess, [outcome.path for outcome in outcomes])
    return tuple(
        Exhibit(outcome=outcome, picture=Picture(pixels=pictures[outcome.path]))
        for outcome in outcomes
        if outcome.path in pictures
    )


def pictures_of(
    images: ImageSet, preprocess: PreprocessConfig, paths: Sequence[str]
) -> dict[str, UInt8[np.ndarray, "h w 3"]]:
    """Pixels as the model sees them, by path; without images that are gone since they were scored.

    Args:
        images: all of them.
        preprocess: how the model sees them.
        paths: which.
    """
    asked, found = set(paths), {}
    for path, place in {path: place for place, path in enumerate(images.ids) if path in asked}.items():
        try:
            found[path] = fit(images.read(place), preprocess)
        except ImageError:  # named, not shown
            continue
    return found


def without_outcomes(found: Evaluation) -> dict[str, Any]:
    """An evaluation as plain JSON values, without its entry per image.

    Args:
        found: the evaluation.
    """
    fields = (spec.name for spec in dataclasses.fields(found) if spec.name != "outcomes")
    return {field: to_json(getattr(found, field)) for field in fields}


def _apart(images: ImageSet, data: str, word: str, root: str | None) -> tuple[ImageSet, ImageSet]:
    """The images to score, and those that choose the temperature."""
    share = _share(word)
    if share is not None:
        scored, others = hold_out(images, share, seed=0)
        say(f"{images.name}: {count(len(others), 'image')} choose the temperature, {len(scored):,} others are scored")
        return scored, others
    if word in _PARTS and not Path(word).exists():
        return images, open_images(data, split=word, root=root)
    return images, open_images(word, root=root)


def _share(word: str) -> float | None:
    try:
        share = float(word)
    except ValueError:
        return None
    if not 0 < share < 1:
        raise UsageError(f"--calibrate-on takes a share between 0 and 1, got {word}", remedy="--calibrate-on 0.2")
    return share


def _report(
    predictor: Predictor,
    model: str,
    images: ImageSet,
    found: Evaluation,
    calibrated: Evaluation | None,
    calibration: Calibration | None,
    command: str,
) -> EvaluationReport:
    typed = shlex.quote(model)
    steps = [Command(text=f"vitreous predict {typed} IMAGE...", explained="label new images")]
    if calibration is None:
        again = f"{command} --calibrate-on OTHER --save-calibrated calibrated.safetensors"
        steps.append(Command(text=again, explained="make its probabilities come true, on other labelled images"))
    return EvaluationReport(
        title=images.name,
        model=model,
        evaluation=found,
        command=command,
        mistakes=exhibits(images, predictor.preprocess, worst_mistakes(found)),
        calibrated=calibrated,
        calibration=calibration,
        random_weights=is_model_name(model) and not Path(model).exists(),
        written=time.strftime("%Y-%m-%d %H:%M"),
        next_steps=tuple(steps),
    )


def _write(folder: Path, report: EvaluationReport) -> None:
    found = report.evaluation
    write_evaluation_report(folder / PAGE, report)
    figures = {
        "model": report.model,
        **without_outcomes(found),
        "reliability": to_json(reliability(found)),
        "calibration": to_json(report.calibration),
    }
    write_text(folder / FIGURES, json.dumps(figures, indent=1, allow_nan=False) + "\n")
    write_predictions(folder / PREDICTIONS, found)
    save(reliability_chart(found, report.calibrated), folder, "reliability")

"""From trained weights to a result one can trust: model file, held-out score, baselines, predictions, report, card."""

from __future__ import annotations

import csv
import dataclasses
import io
import shlex
import time
from pathlib import Path

import torch
from torch import nn

import vitreous
from vitreous import console
from vitreous.architecture import feature_words
from vitreous.config import ModelCard, TrainOptions
from vitreous.data.sources import ImageSet
from vitreous.evaluation.baseline import majority_baseline, pixel_baseline
from vitreous.evaluation.evaluate import evaluate
from vitreous.files import write_text
from vitreous.inspection.attention import attention_maps, has_attention_maps
from vitreous.model.vit import ViT
from vitreous.picture.preprocess import fit, normalise
from vitreous.report.content import (
    Command,
    DataSheet,
    Exhibit,
    Picture,
    RunReport,
    SplitCount,
    typical_images,
    worst_mistakes,
)
from vitreous.report.html import write_model_card, write_run_report
from vitreous.report.words import spreadsheet_cell
from vitreous.results import Baseline, Evaluation, Outcome, RunResult
from vitreous.training.loop import Trained
from vitreous.training.onlooker import Onlooker
from vitreous.training.plan import Plan
from vitreous.training.run import RunFolder
from vitreous.training.tell import environment
from vitreous.weights.native import golden_of, save_native


def finish(plan: Plan, folder: RunFolder | Onlooker, trained: Trained, command: str) -> RunResult:
    """Write everything a finished run leaves behind, and give the headline.

    Args:
        plan: its model holds the final weights.
        folder: where everything goes.
        trained: what training took, for the report.
        command: what to type to do this again.

    Returns:
        The result that run.json keeps too.
    """
    path = folder.path
    card = final_card(plan, command)
    plan.model.card = card  # type: ignore[assignment]
    console.say("evaluating on the held-out images ...")
    save_native(path / "model.safetensors", plan.model.state_dict(), card, golden_of(plan.model, card))
    evaluation = evaluate(plan.model, plan.held_out, device=plan.policy.device)
    result = RunResult(
        run=str(path),
        model=str(path / "model.safetensors"),
        top1=evaluation.top1,
        interval=evaluation.interval,
        seen=evaluation.seen,
        expected=evaluation.expected,
        seconds=trained.seconds,
        report=str(path / "report.html"),
        data=evaluation.data,
        # the best checkpoint was chosen on validation images, which are the headline's where there is no test set
        optimistic=trained.best_step is not None and plan.splits.test is None,
    )
    write_predictions(path / "predictions.csv", evaluation)
    report = run_report(plan, folder, trained, result, evaluation, card)
    write_run_report(path / "report.html", report)
    write_model_card(path / "MODEL_CARD.md", report)
    return result


def final_card(plan: Plan, command: str) -> ModelCard:
    """The card of the trained model: how to use it and where it comes from.

    Args:
        plan: what was done.
        command: what to type to do this again.
    """
    parent = getattr(plan.model, "card", None)
    return dataclasses.replace(
        plan.card,
        features=feature_words(plan.card.architecture),
        licence=parent.licence if isinstance(parent, ModelCard) and not plan.random else "not stated",
        provenance={
            "command": command,
            "recipe": plan.recipe.name,
            "data": plan.data,
            "data_fingerprint": plan.splits.train.fingerprint,
            "train_images": len(plan.splits.train),
            "steps": plan.total_steps,
            "began_from": "random weights" if plan.random else plan.source,
            "vitreous": vitreous.__version__,
            "torch": torch.__version__,
        },
    )


def command_line(plan: Plan, path: Path) -> str:
    """The command that does this run again, every option that was asked for spelled out; in Python where it must be.

    Args:
        plan: what was done.
        path: the run folder.
    """
    default, asked = TrainOptions(), {}
    for field in dataclasses.fields(TrainOptions):
        value = getattr(plan.options, field.name)
        if field.name != "run" and value != getattr(default, field.name):
            asked[field.name] = value
    if plan.spelled is not None:
        data, model = plan.spelled
        options = "".join(f", {name}={value!r}" for name, value in [*asked.items(), ("run", str(path))])
        return f"vt.{plan.verb}({data}, model={model}{options})"
    words = ["vitreous", plan.verb, plan.data, "--model", plan.source]
    for name, value in asked.items():
        spelled = "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
        words += ["--" + name.replace("_", "-"), *([] if value is True else [spelled])]
    return shlex.join([*words, "--run", str(path)])


def write_predictions(path: Path, evaluation: Evaluation) -> None:
    """One row per held-out image: what it is, what the model said, how sure it was.

    Args:
        path: of the CSV file.
        evaluation: whose outcomes to write.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["path", "label", "predicted", "probability", "label_probability", "correct"])
    for o in evaluation.outcomes:
        names = [
            spreadsheet_cell(name) for name in (o.path, evaluation.class_name(o.label), evaluation.classes[o.predicted])
        ]
        rows.writerow([*names, f"{o.probability:.6f}", f"{o.label_probability:.6f}", int(o.label == o.predicted)])
    write_text(path, text.getvalue())


def run_report(
    plan: Plan,
    folder: RunFolder | Onlooker,
    trained: Trained,
    result: RunResult,
    evaluation: Evaluation,
    card: ModelCard,
) -> RunReport:
    """Everything the page of this run shows.

    Args:
        plan: what was done.
        folder: holds the records.
        trained: what training took.
        result: the headline.
        evaluation: on the held-out images.
        card: of the trained model.
    """
    classes = len(plan.classes)
    began = "random weights" if plan.random else plan.source
    aim = (
        f"say which of {classes} classes an image shows"
        if card.answers == "several"
        else f"tell {classes} classes apart"
    )
    summary = (
        f"{plan.source} {'trained from scratch' if plan.random else 'fine-tuned'} to {aim} on "
        f"{len(plan.splits.train):,} images, in {console.duration(result.seconds)} on {plan.policy.device}, "
        f"starting from {began}."
    )
    model = result.model
    return RunReport(
        title=Path(plan.data).name or plan.data,
        summary=summary,
        result=result,
        evaluation=evaluation,
        records=tuple(folder.records()),
        data=data_sheet(plan),
        card=card,
        recipe=plan.recipe,
        command=card.provenance["command"],
        environment={**environment(plan), **trained.forecast.words()},
        baselines=baselines(plan.splits.train, plan.held_out, plan.options.seed),
        mistakes=exhibits(plan.model, card, plan.held_out, worst_mistakes(evaluation)),
        looks=exhibits(plan.model, card, plan.held_out, typical_images(evaluation)),
        random_weights=plan.random,
        written=time.strftime("%Y-%m-%d %H:%M"),
        next_steps=(
            Command(text=f"vitreous predict {shlex.quote(str(folder.path))} IMAGE...", explained="label new images"),
            Command(text=f"vitreous evaluate {shlex.quote(model)} DATA", explained="score it on other labelled images"),
        ),
    )


def data_sheet(plan: Plan) -> DataSheet:
    """What the model learned from and was scored on.

    Args:
        plan: what was done.
    """
    splits = plan.splits
    return DataSheet(
        source=plan.data,
        notes=splits.notes,
        counts=tuple(
            SplitCount(name={"val": "validation"}.get(part, part), per_class=tuple(images.counts.tolist()))
            for part, images in splits.sets.items()
        ),
        failed=splits.failed,
        fingerprint=splits.train.fingerprint,
    )


def baselines(train: ImageSet, held_out: ImageSet, seed: int) -> tuple[Baseline, ...]:
    """What can be had without the model on the same images.

    Args:
        train: what the baselines may learn from.
        held_out: what they are scored on.
        seed: fixes which images are used where there are too many.
    """
    found = [majority_baseline(train, held_out)]
    if not train.several:  # it answers with one class for each image
        found.append(pixel_baseline(train, held_out, seed=seed))
    return tuple(found)


def exhibits(model: nn.Module, card: ModelCard, images: ImageSet, outcomes: tuple[Outcome, ...]) -> tuple[Exhibit, ...]:
    """Evaluated images with where the model looked; no attention for models that have none.

    Args:
        model: in evaluation mode.
        card: gives the preprocessing.
        images: the evaluated images.
        outcomes: which of them.
    """
    places = {name: index for index, name in enumerate(images.ids)}
    shown = []
    for outcome in outcomes:
        pixels = fit(images.read(places[outcome.path]), card.preprocess)
        attention = None
        if isinstance(model, ViT) and has_attention_maps(model):
            device = next(model.parameters()).device
            batch = torch.from_numpy(normalise(pixels[None], card.preprocess)).to(device)
            attention = attention_maps(model, batch).rollout[0]
        shown.append(Exhibit(outcome=outcome, picture=Picture(pixels=pixels, attention=attention)))
    return tuple(shown)

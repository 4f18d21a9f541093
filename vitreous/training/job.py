"""`pretrain`, `finetune` and `resume`, whole: from data and a model to a run folder with its report."""

from __future__ import annotations

import contextlib
import html
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import torch
from torch import nn

import vitreous
from vitreous import console
from vitreous.architecture import ResNetConfig, Size, ViTConfig, architecture_from_json
from vitreous.config import TrainOptions
from vitreous.data.builtin import builtin_names
from vitreous.errors import DataError, InterruptedRun, UsageError, VitreousError
from vitreous.evaluation.evaluate import evaluate
from vitreous.pretrained import is_pretrained_name
from vitreous.report.words import percent
from vitreous.results import Evaluation, RunResult
from vitreous.schema import from_json, to_json
from vitreous.training.finish import command_line, finish
from vitreous.training.loop import train
from vitreous.training.plan import (
    Data,
    Model,
    Plan,
    Verb,
    choose_model,
    describe,
    environment,
    make_plan,
    resolve_recipe,
)
from vitreous.training.run import RunFolder, new_folder, read_facts, unfinished_like
from vitreous.training.signals import StopRequests
from vitreous.weights.load import load
from vitreous.zoo import is_model_name


class TrainKeywords(TypedDict, total=False):
    """The fields of TrainOptions as keyword arguments; see there for what each one means."""

    run: str | None
    recipe: str | None
    epochs: float | None
    steps: int | None
    batch_size: int | None
    learning_rate: float | None
    image_size: int | Size | None
    val: float
    bad_images: Literal["error", "skip"]
    seed: int
    device: str
    threads: int | None
    precision: Literal["auto", "float32", "bfloat16"]
    micro_batch: int | None
    checkpoint_minutes: float
    root: str | None


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run."""

    folder: Path
    result: RunResult
    model: nn.Module
    """The trained model, with its card."""

    def evaluate(self, data: str | Path, *, split: str | None = None) -> Evaluation:
        """Score the trained model on other labelled images.

        Args:
            data: a folder of class folders or a built-in name.
            split: which part of it, where it has parts.
        """
        return evaluate(self.model, data, split=split)

    def _repr_html_(self) -> str:
        low, high = map(percent, self.result.interval)
        data, report = html.escape(self.result.data), html.escape(self.result.report)
        score = f"<b>{percent(self.result.top1)}</b> on {data} (95 % interval {low} to {high})"
        return f"<p>{score}. Report: <code>{report}</code></p>"


def finetune(data: Data, *, model: Model | None = None, **options: Unpack[TrainKeywords]) -> Run:
    """Transfer a trained model to new classes: the head is replaced by one of zeros, then everything is trained.

    Args:
        data: a folder of class folders (with or without train/val/test above them), or a built-in name.
        model: a model file, a run folder, a zoo name (random weights), a config, or any module with
            `forward(images (B, 3, H, W)) -> logits`.
        **options: the fields of TrainOptions.

    Raises:
        VitreousError: with the exit code of its kind; see errors.py.
    """
    return run_job("finetune", data, model, _options(options))


def pretrain(data: Data, *, model: Model | None = None, **options: Unpack[TrainKeywords]) -> Run:
    """Train a model from random weights.

    Args:
        data: a folder of class folders (with or without train/val/test above them), or a built-in name.
        model: a zoo name, a config, or any module with `forward(images (B, 3, H, W)) -> logits`.
        **options: the fields of TrainOptions.

    Raises:
        VitreousError: with the exit code of its kind; see errors.py.
    """
    return run_job("pretrain", data, model, _options(options))


def resume(run: str | Path, *, data: Data | None = None, model: Model | None = None) -> Run:
    """Go on exactly where a run stopped: the final weights are those of a run that was never stopped.

    Args:
        run: the run folder.
        data: only for a run that was given images as objects.
        model: only for a run that was given a module of the person's own.

    Raises:
        DataError: the images are not those the run began with.
    """
    path = Path(run)
    facts = read_facts(path)
    if facts.get("result"):
        result = from_json(RunResult, facts["result"])
        console.say(f"{path} is complete: top-1 {percent(result.top1)}. Nothing to do.")
        trained = load(path, into=model) if isinstance(model, nn.Module) else load(path)
        return Run(folder=path, result=result, model=trained)
    with _held(path) as (folder, stop):
        asked = from_json(TrainOptions, facts["options"])
        data = data if data is not None else _recorded(facts, "data_path", path)
        model = model if model is not None else _recorded_model(facts, path)
        plan = make_plan(facts["verb"], data, model, asked, choices=facts.get("choices"))
        _same_data(plan, facts)
        _tell_differences(plan, facts)
        return _go(plan, folder, stop)


def plan(verb: Verb, data: Data, *, model: Model | None = None, **options: Unpack[TrainKeywords]) -> list[str]:
    """What `finetune` or `pretrain` would do, in words; nothing is trained and nothing is written.

    Args:
        verb: "pretrain" or "finetune".
        data: as for that verb.
        model: as for that verb.
        **options: the fields of TrainOptions.
    """
    asked = _options(options)
    return describe(make_plan(verb, data, model, asked), Path(asked.run) if asked.run else None)


def _options(options: TrainKeywords) -> TrainOptions:
    return from_json(TrainOptions, dict(options))


def run_job(verb: Verb, data: Data, model: Model | None, options: TrainOptions, *, command: str | None = None) -> Run:
    """`finetune` or `pretrain` by name, with the options already in their dataclass.

    Args:
        verb: "pretrain" or "finetune".
        data: as for that verb.
        model: as for that verb.
        options: what was asked.
        command: what to type to do this again, where it is not the verb itself.
    """
    resolve_recipe(verb, options)
    model = choose_model(verb) if model is None else model
    name = Path(data).resolve().name if isinstance(data, str | Path) else getattr(data, "name", "data")
    asked = {
        "vitreous": vitreous.__version__,
        "verb": verb,
        "options": to_json(options),
        "data_path": _lasting(data, data in builtin_names()) if isinstance(data, str | Path) else None,
        "model": _lasting(model, isinstance(model, str) and (is_model_name(model) or is_pretrained_name(model)))
        if isinstance(model, str | Path)
        else None,
        "architecture": to_json(model) if isinstance(model, ViTConfig | ResNetConfig) else None,
    }
    if options.run is None and (same := unfinished_like(asked)):
        console.say(f"the same command was stopped before; to go on there: vitreous resume {shlex.quote(str(same))}")
    path = new_folder(options.run, str(name))
    with _held(path) as (folder, stop):
        # written before anything slow, so that a run stopped from here on can be resumed
        folder.write({**asked, "command": command})
        try:
            made = make_plan(verb, data, model, options)
        except InterruptedRun:
            raise
        except VitreousError:
            folder.abandon()
            raise
        return _go(made, folder, stop)


def _go(plan: Plan, folder: RunFolder, stop: StopRequests) -> Run:
    console.say(*describe(plan, folder.path))
    command = read_facts(folder.path).get("command") or command_line(plan, folder.path)
    folder.update(
        data=plan.data,
        command=command,
        recipe=to_json(plan.recipe),
        card=to_json(plan.card),
        choices=plan.choices(),
        environment=environment(plan),
        total_steps=plan.total_steps,
        images={"train": len(plan.splits.train), "held_out": len(plan.held_out)},
        fingerprint=plan.splits.train.fingerprint,
    )
    seconds = train(plan, folder, stop)
    result = finish(plan, folder, seconds, command)
    folder.update(result=to_json(result))
    low, high = result.interval
    console.say(
        f"done in {console.duration(seconds)}: top-1 {percent(result.top1)} on {result.data}"
        f" (95 % interval {percent(low)} to {percent(high)}; {result.seen} of {result.expected} images)"
    )
    if plan.random:
        console.say("training began from random weights")
    return Run(folder=folder.path, result=result, model=plan.model)


@contextlib.contextmanager
def _held(path: Path) -> Iterator[tuple[RunFolder, StopRequests]]:
    """The run folder, locked for this process, with stop signals caught; thread count is put back at the end."""
    threads = torch.get_num_threads()
    folder = RunFolder(path)
    try:
        with StopRequests(str(path)) as stop:
            yield folder, stop
    finally:
        folder.close()
        torch.set_num_threads(threads)


def _lasting(named: str | Path, is_name: bool) -> str:
    """A path that still holds when the run is resumed from elsewhere; a name as it is, whatever lies there."""
    return str(Path(named).resolve()) if Path(named).exists() and not is_name else str(named)


def _recorded(facts: dict[str, Any], key: str, path: Path) -> str:
    value = facts.get(key)
    if not isinstance(value, str):
        raise UsageError(
            "this run was given its images or model as Python objects",
            where=str(path),
            remedy=f"vt.resume({str(path)!r}, data=..., model=...)",
        )
    return value


def _recorded_model(facts: dict[str, Any], path: Path) -> Model:
    if facts.get("architecture"):
        return architecture_from_json(facts["architecture"])
    return _recorded(facts, "model", path)


def _same_data(plan: Plan, facts: dict[str, Any]) -> None:
    before = facts.get("fingerprint")
    if before and before != plan.splits.train.fingerprint:
        raise DataError(
            "the images are not those this run began with",
            where=plan.data,
            why=f"{facts['images']['train']:,} training images then, {len(plan.splits.train):,} now, or others of them",
            remedy="put them back, or start a new run",
        )


def _tell_differences(plan: Plan, facts: dict[str, Any]) -> None:
    """Say once what keeps the rest of the run from being bit-exact."""
    before, now = facts.get("environment") or {}, environment(plan)
    changed = [f"{name} {before[name]} -> {now[name]}" for name in now if name in before and before[name] != now[name]]
    if changed:
        console.say(f"going on is right but not bit-exact: {', '.join(changed)}")

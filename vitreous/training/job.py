"""`pretrain`, `finetune` and `resume`, whole: from data and a model to a run folder with its report."""

from __future__ import annotations

import copy
import dataclasses
import html
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import nn

from vitreous import console
from vitreous.config import TrainOptions
from vitreous.distributed import Group, joined, world
from vitreous.errors import InterruptedRun, VitreousError
from vitreous.evaluation.evaluate import evaluate
from vitreous.model.prepare import find_device
from vitreous.report.words import percent
from vitreous.results import Evaluation, RunResult
from vitreous.schema import from_json, to_json
from vitreous.training.asked import asked_facts, begun_facts, check_asked, check_same, recorded
from vitreous.training.finish import command_line, finish
from vitreous.training.keywords import TrainKeywords
from vitreous.training.learning import transfer
from vitreous.training.loop import train
from vitreous.training.masked.finish import masked_result
from vitreous.training.masked.patch import MaskedPatch
from vitreous.training.onlooker import Onlooker
from vitreous.training.plan import Data, Model, Plan, Verb, choose_model, make_plan, resolve_recipe
from vitreous.training.run import RunFolder, new_folder, read_facts, unfinished_like
from vitreous.training.settle import chosen, settle, with_rate
from vitreous.training.signals import StopRequests
from vitreous.training.sweep import best_rate, sweep_splits
from vitreous.training.tell import describe, environment
from vitreous.training.together import agreed, held, planned
from vitreous.training.track import require
from vitreous.weights.load import load


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
        model: a zoo name, a config, or any module with `forward(images (B, 3, H, W)) -> logits`; where a recipe is
            named, by default the recipe's.
        **options: the fields of TrainOptions.

    Raises:
        VitreousError: with the exit code of its kind; see errors.py.
    """
    return run_job("pretrain", data, model, _options(options))


def resume(
    run: str | Path, *, data: Data | None = None, model: Model | None = None, allow_data_change: bool = False
) -> Run:
    """Go on exactly where a run stopped: the final weights are those of a run that was never stopped.

    Args:
        run: the run folder.
        data: only for a run that was given images as objects.
        model: only for a run that was given a module of the person's own.
        allow_data_change: go on although the images are not those the run began with; run.json remembers it.

    Raises:
        DataError: the images are not those the run began with.
        UsageError: run.json was edited since the run began.
    """
    path = Path(run)
    facts = read_facts(path)
    if facts.get("result"):
        result = from_json(RunResult, facts["result"])
        console.say(f"{path} is complete: top-1 {percent(result.top1)}. Nothing to do.")
        trained = load(path, into=model) if isinstance(model, nn.Module) else load(path)
        return Run(folder=path, result=result, model=trained)
    asked = from_json(TrainOptions, facts["options"])
    with joined(device_of(asked)) as group, held(path, group) as (folder, stop):
        check_asked(facts)
        given = Given(facts["verb"], *recorded(facts, path, data, model), asked)
        plan = _resolved(group, folder, given, facts.get("choices"))
        if changed := check_same(plan, facts, allow_data_change=allow_data_change):
            folder.update(**changed)
        # a run stays as long as it was to be, however many images there are now
        plan = dataclasses.replace(plan, total_steps=facts.get("total_steps", plan.total_steps))
        return _go(plan, folder, stop, group)


def plan(verb: Verb, data: Data, *, model: Model | None = None, **options: Unpack[TrainKeywords]) -> list[str]:
    """What `finetune` or `pretrain` would do, in words; nothing is trained and nothing is written.

    Args:
        verb: "pretrain" or "finetune".
        data: as for that verb.
        model: as for that verb.
        **options: the fields of TrainOptions.
    """
    asked, threads = _options(options), torch.get_num_threads()
    try:
        return describe(settle(make_plan(verb, data, model, asked)), Path(asked.run) if asked.run else None)
    finally:
        torch.set_num_threads(threads)


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
    require(options.log)
    model = choose_model(verb, options) if model is None else model
    with joined(device_of(options)) as group:
        return _begin(group, Given(verb, data, model, options), command)


@dataclass(frozen=True)
class Given:
    """What a run is made of, before anything is resolved."""

    verb: Verb
    data: Data
    model: Model
    options: TrainOptions


def _begin(group: Group, given: Given, command: str | None = None) -> Run:
    """A new run, from its folder to its result."""
    data, options = given.data, given.options
    asked = asked_facts(given.verb, data, given.model, options)

    def folder_of() -> str:
        if options.run is None and (same := unfinished_like(asked)):
            console.say(f"the same command was stopped before; go on there: vitreous resume {shlex.quote(str(same))}")
        name = Path(data).resolve().name if isinstance(data, str | Path) else getattr(data, "name", "data")
        return str(new_folder(options.run, str(name)))

    path = Path(agreed(group, folder_of))
    with held(path, group) as (folder, stop):
        # written before anything slow, so that a run stopped from here on can be resumed
        folder.write({**asked, "command": command})
        try:
            plan = _resolved(group, folder, given, None)
        except InterruptedRun:
            raise
        except VitreousError:
            folder.abandon()
            raise
        return _go(plan, folder, stop, group)


def _resolved(group: Group, folder: RunFolder | Onlooker, given: Given, choices: dict[str, Any] | None) -> Plan:
    """The plan of a run, with everything that is chosen by trying; what was chosen before is taken as it is."""
    verb, data, model, options = given.verb, given.data, given.model, given.options
    plan = planned(group, lambda c: make_plan(verb, data, model, options, choices=choices or c, group=group))
    if choices:
        return plan
    if options.sweep:
        scores = {rate: _try_rate(group, folder, given, plan, rate) for rate in plan.recipe.sweep}
        folder.update(sweep={f"{rate:g}": score for rate, score in scores.items()})
        plan = with_rate(plan, best_rate(scores))
        console.say(
            f"learning rate {plan.recipe.learning_rate:g}: the best of {len(scores)}; now on all training images"
        )
    return planned(group, lambda c: settle(plan) if c is None else chosen(plan, c))


def _try_rate(group: Group, folder: RunFolder | Onlooker, given: Given, plan: Plan, rate: float) -> float:
    """Accuracy with one learning rate on the slice that chooses; a try that is there already is taken."""
    path = folder.path / "sweep" / f"{rate:g}"
    splits = sweep_splits(plan.splits, plan.recipe, given.options.seed)
    options = dataclasses.replace(given.options, run=str(path), sweep=False, learning_rate=rate)
    # a module is changed by training, and the next try needs it as it was
    model = copy.deepcopy(given.model) if isinstance(given.model, nn.Module) else given.model
    console.say(f"trying learning rate {rate:g}")
    if not agreed(group, (path / "run.json").exists):
        return _begin(group, Given(given.verb, splits, model, options)).result.top1
    facts = agreed(group, lambda: read_facts(path))
    if facts.get("result"):
        return float(facts["result"]["top1"])
    with held(path, group) as (inner, stop):
        resumed = _resolved(group, inner, Given(given.verb, splits, model, options), facts.get("choices"))
        return _go(resumed, inner, stop, group).result.top1


def _go(plan: Plan, folder: RunFolder | Onlooker, stop: StopRequests, group: Group) -> Run:
    console.say(*describe(plan, folder.path))
    before = read_facts(folder.path)
    command = before.get("command") or command_line(plan, folder.path)
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
        **begun_facts(plan, before),
    )
    try:
        trained = train(plan, folder, stop, group)
    except BaseException:
        transfer.finish(plan.model, plan.recipe)  # somebody's own module is given back without what was put on it
        raise
    plan = dataclasses.replace(plan, model=trained.model)
    folder.update(price=trained.forecast.facts())
    conclude = masked_result if plan.recipe.objective == "masked-patch" else finish
    result = from_json(RunResult, agreed(group, lambda: to_json(conclude(plan, folder, trained, command))))
    folder.update(result=to_json(result))
    low, high = result.interval
    console.say(
        f"done in {console.duration(trained.seconds)}: {result.score} {percent(result.top1)} on {result.data}"
        f" (95 % interval {percent(low)} to {percent(high)}; {result.seen} of {result.expected} images)"
    )
    if plan.random:
        console.say("training began from random weights")
    model = plan.model.vit if isinstance(plan.model, MaskedPatch) else plan.model
    return Run(folder=folder.path, result=result, model=model)


def device_of(options: TrainOptions) -> str:
    """The device that was asked for; several processes must know its kind before they meet.

    Args:
        options: what was asked.
    """
    return find_device(options.device).type if world().size > 1 else options.device


def _options(options: TrainKeywords) -> TrainOptions:
    return from_json(TrainOptions, dict(options))

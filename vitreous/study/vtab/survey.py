"""What is there of the nineteen tasks before anything is trained, and what training on them would take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vitreous.architecture import Architecture
from vitreous.config import Recipe
from vitreous.cost.arithmetic import flops, parameters
from vitreous.cost.budget import as_trained, budget
from vitreous.cost.hardware import ASSUMED, DEVICES
from vitreous.data.vtab.find import Missing, open_task
from vitreous.errors import DataError
from vitreous.published.vtab import VtabTask
from vitreous.results import VtabListed, VtabMissing, VtabPlan, VtabPlanned
from vitreous.study.vtab.origin import Origin
from vitreous.study.vtab.settings import Asked, deviations, in_words, settings_of
from vitreous.study.vtab.work import absent, trouble

_PRICED = ("l4", "a100-80", "h100")


@dataclass(frozen=True)
class Found:
    """A task whose images are there."""

    task: VtabTask
    train: int
    """Images to learn from while settings are chosen."""
    val: int
    test: int
    source: str
    regenerated: bool


def listed(tasks: Sequence[VtabTask]) -> list[VtabListed]:
    """Tasks with their published sizes.

    Args:
        tasks: which; all nineteen are in the order of the ViT paper's Table 9.
    """
    return [
        VtabListed(
            task=task.name,
            group=task.group,
            classes=task.classes,
            train=task.train,
            val=task.val,
            test=task.test,
            metric=task.metric,
        )
        for task in tasks
    ]


def look(task: VtabTask, root: Path | None, asked: Asked) -> Found | VtabMissing:
    """Whether a task's images are there; what is wrong with them is told and stops nothing.

    Args:
        task: which.
        root: where data sets lie.
        asked: names the protocol.
    """
    try:
        data = open_task(task, root, protocol=asked.vtab)
    except DataError as error:
        return trouble(task, error)
    if isinstance(data, Missing):
        return absent(data)
    return Found(task, len(data.train), len(data.val), len(data.test), data.source, data.regenerated)


def planned(asked: Asked, origin: Origin, survey: Mapping[str, Found | VtabMissing], out: Path) -> VtabPlan:
    """What a whole run would take, by arithmetic.

    Args:
        asked: protocol, seeds, tasks.
        origin: the model.
        survey: what `look` found of each task.
        out: where it would be written.
    """
    found = [each for each in survey.values() if isinstance(each, Found)]
    tasks = tuple(_planned(asked, origin.config, each) for each in found)
    total = sum(task.flops for task in tasks)
    return VtabPlan(
        model=origin.name,
        parameters=parameters(origin.config),
        out=str(out),
        setting=in_words(asked),
        deviations=deviations(asked),
        tasks=tasks,
        missing=tuple(each for each in survey.values() if isinstance(each, VtabMissing)),
        runs=sum(task.runs for task in tasks),
        flops=total,
        hours={DEVICES[name].title: total / (ASSUMED * DEVICES[name].peak) / 3600 for name in _PRICED},
    )


def _planned(asked: Asked, config: Architecture, found: Found) -> VtabPlanned:
    task = found.task
    recipes = [setting.resolved(asked) for setting in settings_of(asked, task)]
    tries = recipes if len(recipes) > 1 else []
    cost = _linear if asked.method == "linear" else _full
    return VtabPlanned(
        task=task.name,
        title=task.title,
        group=task.group,
        source=found.source,
        regenerated=found.regenerated,
        train=found.train,
        val=found.val,
        test=found.test,
        settings=len(recipes),
        runs=len(tries) + asked.seeds,
        flops=cost(asked, config, found, recipes, tries),
    )


def _full(asked: Asked, config: Architecture, found: Found, recipes: list[Recipe], tries: list[Recipe]) -> float:
    """Tries, and the final runs at the cost of the dearest setting; scores included."""
    total = 0.0
    for recipe in tries:
        model = as_trained(config, recipe, found.task.classes)
        total += budget(model, recipe, found.train).flops + found.val * flops(model)
    finals = []
    for recipe in recipes:
        model = as_trained(config, recipe, found.task.classes)
        finals.append(budget(model, recipe, found.train + found.val).flops + found.test * flops(model))
    return total + asked.seeds * max(finals)


def _linear(asked: Asked, config: Architecture, found: Found, recipes: list[Recipe], tries: list[Recipe]) -> float:  # noqa: ARG001
    """Every image once through the model, whatever the number of heads."""
    model = as_trained(config, recipes[0], found.task.classes)
    return float((found.train + found.val + found.test) * flops(model))

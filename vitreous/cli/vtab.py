"""The verb `vtab`: nineteen tasks, one score, and the breakdown into Natural, Specialized and Structured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vitreous import console
from vitreous.architecture import Size
from vitreous.cli.answer import NOTHING_WRITTEN, Answer, Common
from vitreous.cli.flags import option, positional
from vitreous.cli.hub import Hub
from vitreous.cli.words import command, harmless, next_steps, percent, table
from vitreous.console import count
from vitreous.errors import DataError, UsageError
from vitreous.published.vtab import groups
from vitreous.results import VtabListed, VtabMissing, VtabPlan, VtabResult
from vitreous.results.vtab import DAGGER
from vitreous.schema import to_json

if TYPE_CHECKING:
    from vitreous.study.vtab.settings import Asked
    from vitreous.study.vtab.survey import Found


@dataclass(frozen=True, kw_only=True, slots=True)
class Vtab:
    """Score a model on the 19 tasks of VTAB, beside the published models.

    The same command goes on where it was stopped; other terminals and machines
    may work on the same --out at once.
    """

    model: str | None = positional(None)
    """A model file, a run folder, or a name that `vitreous models` lists; an architecture's name has random weights."""
    root: str | None = None
    """Folder below which the data sets lie (docs/vtab.md). Without it, the two tasks of dSprites are drawn anew."""
    list: bool = False
    """List the tasks with their sizes, and with --root what is there; nothing is trained."""
    tasks: str | None = option(None, metavar="A,B")
    """Only these: names and groups with commas between, as natural,clevr_count."""
    protocol: Literal["paper", "light", "heavy", "augreg"] = "paper"
    """The ViT paper's one setting for all tasks; VTAB's small sweep; its random search; AugReg's sweep."""
    method: Literal["full", "linear"] = "full"
    """Fine-tune everything, or train a linear head on frozen features."""
    vtab: Literal["1k", "full"] = "1k"
    """Learn from 1,000 images a task, or from all of them."""
    seeds: int = 3
    """Final runs of each task; their mean counts."""
    trials: int = 100
    """Settings that the random search tries."""
    out: str | None = option(None, metavar="DIR")
    """Folder for everything; by default runs/vtab-MODEL."""
    jobs: int = 1
    """Processes that share out the tasks; with graphics cards, each has its own."""
    steps: int | None = None
    """Optimiser steps, in place of the protocol's; the result says so."""
    image_size: int | Size | None = None
    """Resolution in pixels, in place of the protocol's."""
    batch_size: int | None = None
    """Images per optimiser step, in place of the protocol's."""
    set: str = ""
    """Other numbers of the recipe, as weight_decay=0.05 (see vitreous recipes paper-finetune-vtab)."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    threads: int | None = None
    """CPU threads of each job; by default the cores are shared out."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto measures which is faster for this model on this machine."""
    keep_models: bool = False
    """Keep the trained models of the final runs; else only their scores, predictions and pages stay."""
    dry_run: bool = False
    """Print what would be done and what it takes, and stop before anything is written."""
    strict: bool = False
    """Exit with 3 when a task is missing."""
    hub: Hub = field(default_factory=Hub)
    common: Common = field(default_factory=Common)

    def answer(self) -> Answer:
        """List, plan or run."""
        if self.list:
            return self._list()
        if self.model is None:
            raise UsageError("vitreous vtab needs a MODEL, or --list", remedy="vitreous vtab vit-test --root DIR")
        self.hub.settle(self.model)
        from vitreous.study.vtab.run import plan_vtab, run_vtab

        out = None if self.out is None else Path(self.out)
        if self.dry_run:
            plan = plan_vtab(self.model, self._asked(), self._root(), out)
            console.say(*_planned(plan), *NOTHING_WRITTEN)
            return Answer(value=plan, exit_code=self._code(bool(plan.missing)))
        again = command("vtab", self.model, *self._typed())
        found = run_vtab(self.model, self._asked(), self._root(), out, jobs=self.jobs, command=again)
        console.say(*score_lines(found))
        console.say("", f"  page    {harmless(found.out)}/report.html", f"  tables  {harmless(found.out)}/vtab.*")
        console.say(*self._next(found))
        return Answer(value=found, exit_code=self._code(bool(found.missing)))

    def _asked(self) -> Asked:
        from vitreous.study.vtab.run import parse_tasks
        from vitreous.study.vtab.settings import Asked

        return Asked(
            protocol=self.protocol,
            method=self.method,
            vtab=self.vtab,
            trials=self.trials,
            steps=self.steps,
            image_size=self.image_size,
            batch_size=self.batch_size,
            set=self.set,
            precision=self.precision,
            tasks=parse_tasks(self.tasks),
            seeds=self.seeds,
            device=self.device,
            threads=self.threads,
            keep_models=self.keep_models,
        )

    def _root(self) -> Path | None:
        if self.root is None:
            return None
        if not Path(self.root).is_dir():
            raise UsageError("--root is not a folder", where=self.root, remedy="the folder with the data sets")
        return Path(self.root)

    def _code(self, missing: bool) -> int:
        return DataError.exit_code if missing and self.strict else 0

    def _typed(self) -> Sequence[str]:
        """The flags that were typed and decide what is found or where it lies."""
        words, plain = _flag("root", self.root, None), Vtab()
        for name in ("tasks", "protocol", "method", "vtab", "seeds", "trials", "out", "jobs", "steps"):
            words += _flag(name, getattr(self, name), getattr(plain, name))
        for name in ("image_size", "batch_size", "set", "device", "threads", "precision"):
            words += _flag(name, getattr(self, name), getattr(plain, name))
        return words + (["--keep-models"] if self.keep_models else [])

    def _list(self) -> Answer:
        """The tasks, and with a root what is there of each."""
        from vitreous.study.vtab.survey import listed, look

        asked = self._asked()
        tasks = listed(asked.chosen)
        if self.root is None:
            console.say(*table([_HEAD, *map(_row, tasks)], right=(2, 3, 4, 5)))
            console.say(*next_steps((command("vtab", "--list", "--root", "DIR"), "which of them are there")))
            return Answer(value=tasks)
        root = self._root()
        found = [look(task, root, asked) for task in asked.chosen]
        rows = [(*_row(task), harmless(_here(each))) for task, each in zip(tasks, found, strict=True)]
        console.say(*table([(*_HEAD, "here"), *rows], right=(2, 3, 4, 5)))
        value = [to_json(task) | _there(each) for task, each in zip(tasks, found, strict=True)]
        return Answer(value=value, exit_code=self._code(any(isinstance(each, VtabMissing) for each in found)))

    def _next(self, found: VtabResult) -> Sequence[str]:
        steps = []
        if found.missing:
            steps.append((command("vtab", "--list", "--root", self.root or "DIR"), "which tasks are there"))
        steps.append((command("paper", "vit-table9"), "the published scores, with what repeats each"))
        return next_steps(*steps)


_HEAD = ("task", "group", "classes", "train", "val", "test", "metric")


def _row(task: VtabListed) -> tuple[str, ...]:
    numbers = (f"{number:,}" for number in (task.classes, task.train, task.val, task.test))
    return (task.task, task.group, *numbers, task.metric)


def _here(found: Found | VtabMissing) -> str:
    if isinstance(found, VtabMissing):
        return found.why
    return found.source + (f" {DAGGER}" if found.regenerated else "")


def _there(found: Found | VtabMissing) -> dict[str, Any]:
    """What --json says of a task's images."""
    if isinstance(found, VtabMissing):
        return {"there": False, "source": None, "regenerated": False, "why": found.why, "remedy": found.remedy}
    return {"there": True, "source": found.source, "regenerated": found.regenerated, "why": None, "remedy": None}


def score_lines(found: VtabResult) -> list[str]:
    """The table of scores by group, the means, and what is to be said of them.

    Args:
        found: the result.
    """
    several = len(found.seeds) > 1
    own = {each.task: each for each in found.details}
    lacking = {each.task for each in found.missing}
    lines = ["", f"{harmless(found.model)}: {harmless(found.setting)}"]
    rows: list[tuple[str, ...]] = []
    for group, members in groups().items():
        mark = DAGGER if any(own[t.name].regenerated for t in members if t.name in own) else ""
        mean, around = found.groups[group], found.spread[group]
        rows.append((f"{group} ({len(members)})", percent(mean) + mark * (mean is not None), _around(around), ""))
        for task in members:
            if task.name in own:
                each = own[task.name]
                seen = f"{each.seen:,} of {count(each.expected, 'image')}"
                seen += f", {each.failed:,} unreadable" if each.failed else ""
                rows.append((f"  {each.label}", percent(each.top1), _around(each.spread), seen))
            elif task.name in lacking:
                rows.append((f"  {task.title}", "missing", "", ""))
    other = percent(found.mean_of_groups) + (found.dagger if found.mean_of_groups is not None else "")
    total = percent(found.mean19) + (found.dagger if found.mean19 is not None else "")
    rows.append(("mean of 19 (VTAB score)", total, _around(found.spread["mean19"]), ""))
    rows.append(("mean of the three groups", other, _around(found.spread["mean_of_groups"]), ""))
    head = ("", "top-1", "±" if several else "", "test images")
    lines += ["", *table([head, *rows], right=(1, 2, 3)), ""]
    if several:
        lines.append(f"± sample standard deviation over {len(found.seeds)} seeds")
    if found.regenerated:
        lines.append(f"{DAGGER} with images drawn anew, not the published files: not the published benchmark's score")
    if other_images := [each.title for each in found.details if not each.exact and not each.regenerated]:
        lines.append(f"not the published images for {', '.join(other_images)}: the page says why")
    if found.random:
        lines.append("the model began from random weights")
    if found.deviations:
        lines.append(f"not the protocol's setting: {harmless('; '.join(found.deviations))}")
    for missing in found.missing:
        lines.append(f"missing: {missing.title}, {harmless(missing.why)}")
    if found.missing:
        lines.append("a task is missing, so that there is no VTAB score and no mean of its group")
    elif found.mean19 is None:
        lines.append(f"{len(found.details)} of 19 tasks were asked for: there is no VTAB score without the others")
    return lines


def _around(spread: float | None) -> str:
    return "" if spread is None else f"{100 * spread:.1f}"


def _planned(plan: VtabPlan) -> list[str]:
    head = ("task", "train", "val", "test", "settings", "runs", "operations", "from")
    rows = [
        (
            each.title + (DAGGER if each.regenerated else ""),
            *(f"{n:,}" for n in (each.train, each.val, each.test, each.settings, each.runs)),
            f"{each.flops:.1e}",
            harmless(each.source),
        )
        for each in plan.tasks
    ]
    lines = [
        f"{harmless(plan.model)}, {plan.parameters / 1e6:,.1f} M parameters: {plan.setting}",
        *([f"not the protocol's setting: {'; '.join(plan.deviations)}"] if plan.deviations else []),
        f"out  {harmless(plan.out)}",
        "",
        *table([head, *rows], right=range(1, 7)),
        "",
        f"{count(plan.runs, 'training')}, {plan.flops:.1e} operations; scores are included",
        *table([(title, f"about {_hours(hours)}") for title, hours in plan.hours.items()]),
    ]
    for missing in plan.missing:
        lines += ["", f"{missing.title}: {harmless(missing.why)}"]
        lines += [f"  looked for  {harmless(each)}" for each in missing.looked]
        lines += [f"  get it      {harmless(missing.remedy)}"] if missing.remedy else []
    if plan.missing:
        lines += ["", "a task is missing, so that there would be no VTAB score and no mean of its group"]
    return lines


def _hours(hours: float) -> str:
    return f"{hours:,.1f} hours" if hours >= 1 else console.duration(hours * 3600)


def _flag(name: str, value: object, default: object) -> list[str]:
    if value == default:
        return []
    spelled = "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return ["--" + name.replace("_", "-"), spelled]

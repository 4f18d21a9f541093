"""`vitreous vtab`, whole: what is there, who does what, and what came of it, beside the published scores."""

from __future__ import annotations

import json
import re
import secrets
import shlex
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import filelock
from torch import nn

from vitreous import console
from vitreous.architecture import Size
from vitreous.errors import DataError, ResourceError, UsageError
from vitreous.files import write_text
from vitreous.predict import Model
from vitreous.published.vtab import VtabTask, find_task
from vitreous.report.content import Command
from vitreous.report.words import percent
from vitreous.results import VtabMissing, VtabPlan, VtabResult, VtabTaskScore
from vitreous.study.vtab.origin import Origin, find_origin
from vitreous.study.vtab.score import aggregate, spreads
from vitreous.study.vtab.settings import (
    SEEDS,
    TRIALS,
    Asked,
    Method,
    Precision,
    Protocol,
    check_fits,
    deviations,
    in_words,
)
from vitreous.study.vtab.settings import parse_tasks as parse_tasks
from vitreous.study.vtab.survey import Found, look, planned
from vitreous.study.vtab.task import kept_score
from vitreous.study.vtab.work import Job, Outcome, folder_of, share_out, work
from vitreous.study.vtab.write import write_files

_ASKED = "asked.json"


def vtab(
    model: Model,
    root: str | Path | None = None,
    *,
    protocol: Protocol = "paper",
    method: Method = "full",
    vtab: Literal["1k", "full"] = "1k",
    tasks: str | Sequence[str] | None = None,
    seeds: int = SEEDS,
    trials: int = TRIALS,
    out: str | Path | None = None,
    jobs: int = 1,
    steps: int | None = None,
    image_size: int | Size | None = None,
    batch_size: int | None = None,
    set: str = "",
    device: str = "auto",
    threads: int | None = None,
    precision: Precision = "auto",
    keep_models: bool = False,
) -> VtabResult:
    """Score a model on the tasks of VTAB: each is tuned by validation images, trained, and tested once per seed.

    What is finished in `out` is taken as it is, and what was stopped goes on. A task whose images are not there is
    named; then there is no mean of 19.

    Args:
        model: a model file, a run folder, a published name, a zoo name (random weights), or a ViT or ResNet
            with a card.
        root: the folder below which the data sets lie; None leaves the two tasks of dSprites, drawn anew.
        protocol: "paper" trains every task by the ViT paper's one setting; "light" and "heavy" are VTAB's sweeps,
            "augreg" is AugReg's.
        method: "full" fine-tunes everything, "linear" trains a linear head on frozen features.
        vtab: "1k" learns from 1,000 images a task, "full" from all.
        tasks: names, aliases and groups, as a list or with commas between; None for all 19.
        seeds: final runs of each task.
        trials: settings that "heavy" tries.
        out: folder for everything; by default runs/vtab-MODEL.
        jobs: processes that share out the tasks; other terminals and machines may work on the same folder besides.
        steps: in place of the protocol's, for a small trial.
        image_size: in place of the protocol's.
        batch_size: in place of the protocol's.
        set: other numbers of the recipe, as weight_decay=0.05.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps"; with several jobs "auto" gives each a card of its own.
        threads: CPU threads of each job.
        precision: of the matrix products.
        keep_models: keep the trained models of the final runs.

    Raises:
        UsageError: the folder holds a run of other settings, or another model; or its patches do not divide the
            protocol's resolution.
        DataError: there are no images for any of the tasks.
        InterruptedRun: a signal asked to stop; the same call goes on.
    """
    asked = Asked(
        protocol=protocol,
        method=method,
        vtab=vtab,
        trials=trials,
        steps=steps,
        image_size=image_size,
        batch_size=batch_size,
        set=set,
        precision=precision,
        tasks=_tasks(tasks),
        seeds=seeds,
        device=device,
        threads=threads,
        keep_models=keep_models,
    )
    return run_vtab(model, asked, _path(root), None if out is None else Path(out), jobs=jobs)


def run_vtab(
    model: Model, asked: Asked, root: Path | None, out: Path | None, *, jobs: int = 1, command: str | None = None
) -> VtabResult:
    """As `vtab`, with what is asked in its dataclass.

    Args:
        model: see `vtab`.
        asked: see `vtab`.
        root: see `vtab`.
        out: see `vtab`.
        jobs: see `vtab`.
        command: what to type to do this again.
    """
    if jobs < 1:
        raise UsageError(f"--jobs must be above 0, got {jobs}")
    origin = find_origin(model)
    if jobs > 1 and not origin.portable:
        raise UsageError("several jobs need a model that each can open", remedy="save it, and give the file; or jobs=1")
    out = default_out(origin) if out is None else out
    check_fits(asked, origin.config)
    command = command or f"vt.vtab({origin.name!r}, ..., out={str(out)!r})"
    _compare(out, asked, origin)
    console.say(*_understood(asked, origin, root, out))
    kept = {task.name: kept_score(folder_of(out, task), asked.seeds) for task in asked.chosen}
    found: dict[str, Outcome] = {name: score for name, score in kept.items() if score is not None}
    if found:
        console.say(f"{console.count(len(found), 'task')} finished before: {', '.join(found)}")
        console.say(*_drawn_before(kept.values(), root, asked, out))
    left = []
    for task in asked.chosen:
        if task.name in found:
            continue
        seen = look(task, root, asked)
        if isinstance(seen, VtabMissing):
            found[task.name] = seen
            console.say(*missing_words(seen))
        else:
            left.append(task)
    if not left and not any(isinstance(each, VtabTaskScore) for each in found.values()):
        raise _nothing_there(root, [each for each in found.values() if isinstance(each, VtabMissing)])
    if any(isinstance(each, VtabMissing) for each in found.values()):
        console.say("a task is missing, so that there will be no VTAB score and no mean of its group", "")
    _enter(out, asked, origin)
    job = Job(asked=asked, root=root, out=out, command=command, visit=secrets.token_hex(8))
    found |= _all_done(job, origin, left, jobs)
    result = summed(asked, origin, found, out)
    write_files(result, out, command, _next_steps(result))
    return result


def plan_vtab(model: Model, asked: Asked, root: Path | None, out: Path | None) -> VtabPlan:
    """What `run_vtab` would do, and what that takes; nothing is written.

    Args:
        model: see `vtab`.
        asked: see `vtab`.
        root: see `vtab`.
        out: see `vtab`.
    """
    origin = find_origin(model)
    check_fits(asked, origin.config)
    survey = {task.name: look(task, root, asked) for task in asked.chosen}
    return planned(asked, origin, survey, default_out(origin) if out is None else out)


def default_out(origin: Origin) -> Path:
    """Where a run lies if nobody says where: the same place for the same model, so that it goes on there.

    Args:
        origin: the model.
    """
    name = Path(origin.name).resolve().name if isinstance(origin.source, str | Path) else origin.name
    slug = re.sub(r"[^\w.+-]+", "-", name).strip("-.") or "model"
    return Path("runs") / f"vtab-{slug[:60]}"


def missing_words(missing: VtabMissing) -> list[str]:
    """A task without a score, as lines for a terminal.

    Args:
        missing: which, and why.
    """
    lines = [f"{missing.title}: {missing.why}"]
    lines += [f"  looked for  {each}" for each in missing.looked]
    return lines + ([f"  get it      {missing.remedy}"] if missing.remedy else [])


def summed(asked: Asked, origin: Origin, found: dict[str, Outcome], out: Path) -> VtabResult:
    """The result of what came of each task.

    Args:
        asked: what was asked.
        origin: the model.
        found: by task.
        out: where it lies.
    """
    details = tuple(each for task in asked.chosen if isinstance(each := found[task.name], VtabTaskScore))
    missing = tuple(each for task in asked.chosen if isinstance(each := found[task.name], VtabMissing))
    means = {each.task: each.top1 for each in details}
    score = aggregate(means)
    by_seed = {seed: {each.task: each.runs[seed].top1 for each in details} for seed in range(asked.seeds)}
    return VtabResult(
        model=origin.name,
        random=origin.random,
        vtab=asked.vtab,
        protocol=asked.protocol,
        method=asked.method,
        setting=in_words(asked),
        tasks=means,
        groups=score.groups,
        mean19=score.mean19,
        mean_of_groups=score.mean_of_groups,
        spread=spreads(by_seed),
        seeds=tuple(range(asked.seeds)),
        deviations=deviations(asked),
        regenerated=tuple(each.task for each in details if each.regenerated),
        details=details,
        missing=missing,
        seen=sum(each.seen for each in details),
        expected=sum(each.expected for each in details),
        failed=sum(each.failed for each in details),
        seconds=sum(run.seconds for each in details for run in each.runs),
        out=str(out),
    )


def _all_done(job: Job, origin: Origin, tasks: Sequence[VtabTask], jobs: int) -> dict[str, Outcome]:
    if jobs == 1 or len(tasks) < 2:
        return work(job, origin, tasks)
    assert not isinstance(origin.source, nn.Module), "refused before"
    began, done = time.monotonic(), 0

    def tell(outcome: Outcome) -> None:
        nonlocal done
        done += 1
        what = percent(outcome.top1) if isinstance(outcome, VtabTaskScore) else outcome.why
        left = console.duration((time.monotonic() - began) / done * (len(tasks) - done))
        console.say(f"[{done}/{len(tasks)}] {outcome.title}: {what}   about {left} left")

    console.say(f"{len(tasks)} tasks in {min(jobs, len(tasks))} processes; what they say goes to {job.out}/log-*.txt")
    return share_out(job, origin.source, tasks, jobs, tell)


def _understood(asked: Asked, origin: Origin, root: Path | None, out: Path) -> list[str]:
    lines = [
        f"model   {origin.name}" + (": random weights" if origin.random else ""),
        f"tasks   {len(asked.chosen)} of 19, {console.count(asked.seeds, 'seed')} each; {in_words(asked)}",
        f"data    {root if root is not None else 'no --root: only what can be drawn anew'}",
        f"out     {out}   (Ctrl-C is safe: the same command goes on)",
    ]
    if changed := deviations(asked):
        lines.append(f"not the protocol's setting: {'; '.join(changed)}")
    return [*lines, ""]


def _drawn_before(kept: Iterable[VtabTaskScore | None], root: Path | None, asked: Asked, out: Path) -> list[str]:
    """What to do where a score rests on images drawn anew, and the files themselves are there by now."""
    return [
        f"{score.label}: its score is from images drawn anew, and {now.source} is there now;"
        f" it counts once {folder_of(out, now.task)} is removed"
        for score in kept
        if score is not None and score.regenerated
        if isinstance(now := look(find_task(score.task), root, asked), Found) and not now.regenerated
    ]


def _identity(asked: Asked, origin: Origin) -> dict[str, Any]:
    """What all visits to a folder have in common, as asked.json keeps it."""
    found: dict[str, Any] = json.loads(json.dumps({"model": origin.name, "digest": origin.digest, **asked.fixed()}))
    return found


def _enter(out: Path, asked: Asked, origin: Origin) -> None:
    """Make the folder, and write down what is asked for where nobody has."""
    file = out / _ASKED
    try:
        out.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(out / ".lock", timeout=60):
            if not file.exists():
                write_text(file, json.dumps(_identity(asked, origin), indent=1) + "\n")
    except (OSError, NotImplementedError, filelock.Timeout) as error:
        why = str(error)
        raise ResourceError("the folder cannot be used", where=str(out), why=why, remedy="--out FOLDER") from None
    _compare(out, asked, origin)


def _compare(out: Path, asked: Asked, origin: Origin) -> None:
    """Refuse a folder whose runs were asked for otherwise; the same weights may lie elsewhere now."""
    try:
        before = json.loads((out / _ASKED).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise UsageError("asked.json cannot be read", where=str(out), why=str(error), remedy="--out FOLDER") from None
    now = _identity(asked, origin)
    same = before.get("digest") == now["digest"]
    moved = {"digest", "model"} if same else {"digest"}
    changed = [f"{name} {before.get(name)!r}, now {now[name]!r}" for name in now if before.get(name) != now[name]]
    changed = [words for words in changed if words.partition(" ")[0] not in moved] + ([] if same else ["other weights"])
    if changed:
        raise UsageError(
            "this folder holds a run of VTAB that was asked for otherwise",
            where=str(out),
            why="; ".join(changed),
            remedy="--out ANOTHER-FOLDER, or ask as before; seeds and tasks may differ",
        )


def _nothing_there(root: Path | None, missing: Sequence[VtabMissing]) -> DataError:
    first = missing[0]
    return DataError(
        f"there are no images for {'this task' if len(missing) == 1 else f'any of these {len(missing)} tasks'}",
        where=None if root is None else str(root),
        why=f"{first.title}: {'; '.join(first.looked) or first.why}",
        remedy=first.remedy if root is not None else "--root DIR, the folder below which the data sets lie",
    )


def _next_steps(result: VtabResult) -> tuple[Command, ...]:
    model = shlex.quote(result.model)
    steps = [
        Command(text="vitreous paper vit-table9", explained="the published scores, with what repeats each"),
    ]
    if result.protocol == "paper" and result.method == "full":
        steps.append(
            Command(
                text=f"vitreous vtab {model} --root DIR --method linear --out FOLDER",
                explained="the same with frozen features: minutes in place of hours",
            )
        )
    return tuple(steps)


def _tasks(tasks: str | Sequence[str] | None) -> tuple[str, ...]:
    return parse_tasks(tasks if tasks is None or isinstance(tasks, str) else ",".join(tasks))


def _path(root: str | Path | None) -> Path | None:
    return None if root is None else Path(root)

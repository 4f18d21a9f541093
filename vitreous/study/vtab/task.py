"""One task from its images to its score: settings are chosen by validation images, and test images are seen once."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vitreous import console
from vitreous.data.vtab.find import TaskData
from vitreous.errors import DivergedError
from vitreous.files import write_text
from vitreous.report.words import percent
from vitreous.results import VtabRun, VtabTaskScore, VtabTry
from vitreous.schema import to_json
from vitreous.study.vtab.score import spread
from vitreous.study.vtab.settings import Asked, Setting, chosen_by, settings_of
from vitreous.study.vtab.training import Score, Trainer

_FILE = "task.json"


def score_task(asked: Asked, data: TaskData, trainer: Trainer, folder: Path) -> VtabTaskScore:
    """Tune, train and test one task, and leave the score in the folder; seeds that are there already are taken.

    Settings are tried with seed 0 and chosen by the validation images alone; of equal ones the shorter and slower
    wins. The chosen one is then trained on training and validation images once for each seed.

    Args:
        asked: protocol and seeds.
        data: the task's images.
        trainer: trains and scores.
        folder: of the task; it exists.

    Raises:
        DivergedError: all settings diverged, or the one of the final runs.
    """
    settings = settings_of(asked, data.task)
    chosen, tries = choose(settings, trainer) if len(settings) > 1 else (settings[0], ())
    # A run folder is read back, and its settings and images compared. Heads are trained again in seconds: they keep no
    # images to compare, and those of an earlier visit may have been others.
    kept = _kept_runs(folder) if asked.method == "full" else []
    before = {run.seed: run for run in kept if run.setting == chosen.name}
    val = next((each.val for each in tries if each.setting == chosen.name), None)
    runs = []
    for seed in range(asked.seeds):
        console.say(f"{data.task.title}: {chosen.name}, seed {seed + 1} of {asked.seeds}")
        tested = trainer.tested(chosen, seed)
        before[seed] = _final(tested, seed, chosen, chosen_by(asked, len(tries)), val)
        _write(folder, _summed(data, list(before.values()), tries))
        runs.append(before[seed])
    score = _summed(data, runs, tries)
    spread_words = "" if score.spread is None else f" (standard deviation {percent(score.spread)})"
    console.say(f"{score.label}: {percent(score.top1)}{spread_words}", "")
    return score


def choose(settings: Sequence[Setting], trainer: Trainer) -> tuple[Setting, tuple[VtabTry, ...]]:
    """The setting that does best on validation images, the first of equal ones, and what each scored.

    Args:
        settings: in the order that decides between equals.
        trainer: asked for validation scores only.

    Raises:
        DivergedError: every setting diverged.
    """
    tries: list[VtabTry] = []
    best: tuple[float, Setting] | None = None
    last: DivergedError | None = None
    for number, setting in enumerate(settings, 1):
        console.say(f"trying {number} of {len(settings)}: {setting.name}")
        try:
            found = trainer.validated(setting, 0)
        except DivergedError as error:  # a setting that fails is a setting that does not win
            console.say(f"  diverged: {error.what}")
            tries.append(VtabTry(setting=setting.name, val=None, seen=0, expected=0))
            last = error
            continue
        tries.append(VtabTry(setting=setting.name, val=found.top1, seen=found.seen, expected=found.expected))
        if best is None or found.top1 > best[0]:
            best = found.top1, setting
    if best is None:
        assert last is not None, "there are settings"
        raise last
    return best[1], tuple(tries)


def kept_score(folder: Path, seeds: int) -> VtabTaskScore | None:
    """What an earlier visit found for a task, where it has all the seeds; None otherwise.

    Args:
        folder: of the task.
        seeds: how many are wanted; those above are left out.
    """
    facts = _facts(folder)
    runs = _kept_runs(folder)
    wanted = [run for run in runs if run.seed < seeds]
    if facts is None or len(wanted) < seeds:
        return None
    tries = tuple(VtabTry(**each) for each in facts["tries"])
    return _with_runs(VtabTaskScore(**{**facts, "notes": tuple(facts["notes"]), "runs": (), "tries": tries}), wanted)


def _facts(folder: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _kept_runs(folder: Path) -> list[VtabRun]:
    facts = _facts(folder)
    return [] if facts is None else [VtabRun(**run) for run in facts["runs"]]


def _write(folder: Path, score: VtabTaskScore) -> None:
    write_text(folder / _FILE, json.dumps(to_json(score), indent=1) + "\n")


def _final(found: Score, seed: int, setting: Setting, chosen: str, val: float | None) -> VtabRun:
    return VtabRun(
        seed=seed,
        setting=setting.name,
        chosen_by=chosen,
        val=val,
        top1=found.top1,
        seen=found.seen,
        expected=found.expected,
        seconds=found.seconds,
        run=found.run,
    )


def _summed(data: TaskData, runs: Sequence[VtabRun], tries: tuple[VtabTry, ...]) -> VtabTaskScore:
    task = data.task
    empty = VtabTaskScore(
        task=task.name,
        title=task.title,
        group=task.group,
        classes=task.classes,
        metric=task.metric,
        top1=0.0,
        spread=None,
        seen=0,
        expected=0,
        failed=0,
        train=len(data.trainval),
        source=data.source,
        regenerated=data.regenerated,
        exact=data.exact,
        notes=data.notes,
        runs=(),
        tries=tries,
    )
    return _with_runs(empty, runs)


def _with_runs(score: VtabTaskScore, runs: Sequence[VtabRun]) -> VtabTaskScore:
    runs = sorted(runs, key=lambda run: run.seed)
    values = [run.top1 for run in runs]
    seen, expected = min(run.seen for run in runs), max(run.expected for run in runs)
    return dataclasses.replace(
        score,
        runs=tuple(runs),
        top1=statistics.fmean(values),
        spread=spread(list(values)),
        seen=seen,
        expected=expected,
        failed=expected - seen,
    )

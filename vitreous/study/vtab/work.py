"""Tasks shared out among processes, terminals and machines that have one folder: who locks a task works on it.

OUT/asked.json              what every visit to the folder has in common
OUT/tasks/NAME/.lock        held by whoever works on the task; the system lets go of it when that process ends
OUT/tasks/NAME/task.json    its score, seed by seed
OUT/tasks/NAME/trouble.json why there is none, and which visit found that
OUT/log-PID.txt             what a process said that worked beside others
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import filelock
import torch

from vitreous import console
from vitreous.architecture import Architecture
from vitreous.data.feeding.threads import num_cores
from vitreous.data.vtab.find import Missing, open_task
from vitreous.errors import DataError, DivergedError, InterruptedRun, ResourceError, VitreousError
from vitreous.files import write_text
from vitreous.published.vtab import VtabTask
from vitreous.results import VtabMissing, VtabTaskScore
from vitreous.schema import to_json
from vitreous.study.vtab.origin import Origin, find_origin
from vitreous.study.vtab.settings import Asked
from vitreous.study.vtab.task import kept_score, score_task
from vitreous.study.vtab.training import FullTrainer, LinearTrainer, Trainer
from vitreous.training.signals import StopRequests

_PAUSE = 0.5  # seconds between looks at what others do
_TROUBLE = "trouble.json"

Outcome = VtabTaskScore | VtabMissing


@dataclass(frozen=True, kw_only=True)
class Job:
    """What all processes of one visit share."""

    asked: Asked
    root: Path | None
    out: Path
    command: str
    """What to type to do this again."""
    visit: str
    """Names this visit, so that its own processes do not try again what one of them found impossible."""


def folder_of(out: Path, task: VtabTask) -> Path:
    """Where a task's runs and score lie.

    Args:
        out: of the whole.
        task: which.
    """
    return out / "tasks" / task.name


def work(job: Job, origin: Origin, tasks: Sequence[VtabTask]) -> dict[str, Outcome]:
    """Do every task that nobody else is at, wait for the others, and give what came of all of them.

    Args:
        job: what is asked.
        origin: the model.
        tasks: which are wanted.

    Raises:
        InterruptedRun: a signal asked to stop; everything done so far is on disk.
    """
    if job.asked.threads is not None:
        torch.set_num_threads(job.asked.threads)
    found: dict[str, Outcome] = {}
    told: set[str] = set()
    while left := [task for task in tasks if task.name not in found]:
        for task in left:
            if (outcome := _claimed(job, origin, task)) is not None:
                found[task.name] = outcome
            elif task.name not in told:
                console.say(f"{task.title}: another process is at work on it")
                told.add(task.name)
        if all(task.name not in found for task in left):
            time.sleep(_PAUSE)
    return found


def share_out(
    job: Job,
    source: str | Path | Architecture,
    tasks: Sequence[VtabTask],
    jobs: int,
    done: Callable[[Outcome], None],
) -> dict[str, Outcome]:
    """Do the tasks in several processes, each with its share of the cores, or with a graphics card of its own.

    Args:
        job: what is asked.
        source: the model, as another process can open it.
        tasks: which are wanted.
        jobs: how many processes.
        done: told of each task as it is finished.

    Raises:
        InterruptedRun: a signal asked to stop.
        ResourceError: a process ended without having done its work.
    """
    context = multiprocessing.get_context("spawn")
    names = tuple(task.name for task in tasks)
    processes = [
        context.Process(target=_worker, args=(_for_worker(job, place, jobs), source, names))
        for place in range(min(jobs, len(tasks)))
    ]
    found: dict[str, Outcome] = {}
    with StopRequests(str(job.out)) as stop:
        stop.deferred = True
        for process in processes:
            process.start()
        while any(process.is_alive() for process in processes):
            _look(job, tasks, found, done)
            if stop.requested is not None:
                for process in processes:
                    process.terminate()  # they save; in a terminal Ctrl-C has told them already
                _joined(processes)
                raise _stopped(stop.interruption(saved="task by task"), job)
            time.sleep(_PAUSE)
    _joined(processes)
    _look(job, tasks, found, done)
    codes = {process.exitcode for process in processes} - {0}
    if codes and len(found) < len(tasks):
        raise ResourceError(
            f"{len(tasks) - len(found)} of {len(tasks)} tasks were not finished: a process ended with {codes.pop()}",
            where=str(job.out),
            why=f"what it said last stands in {job.out}/log-*.txt",
            remedy=job.command,
        )
    return found


def outcome_of(job: Job, task: VtabTask) -> Outcome | None:
    """What came of a task so far; None where it is not finished, or failed in an earlier visit only.

    Args:
        job: what is asked.
        task: which.
    """
    folder = folder_of(job.out, task)
    if (score := kept_score(folder, job.asked.seeds)) is not None:
        return score
    try:
        facts = json.loads((folder / _TROUBLE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if facts.get("visit") != job.visit:
        return None
    return VtabMissing(**{**facts["missing"], "looked": tuple(facts["missing"]["looked"])})


def trouble(task: VtabTask, error: VitreousError) -> VtabMissing:
    """A task that could not be done, and why.

    Args:
        task: which.
        error: what went wrong.
    """
    return VtabMissing(
        task=task.name,
        title=task.title,
        group=task.group,
        why=error.what + (f": {error.why}" if error.why else ""),
        looked=(error.where,) if error.where else (),
        remedy=error.remedy or "",
    )


def absent(found: Missing) -> VtabMissing:
    """A task whose images are nowhere to be found.

    Args:
        found: by `open_task`.
    """
    task = found.task
    return VtabMissing(
        task=task.name,
        title=task.title,
        group=task.group,
        why="its images were not found",
        looked=found.looked,
        remedy=found.remedy,
    )


def _claimed(job: Job, origin: Origin, task: VtabTask) -> Outcome | None:
    """What came of a task that this process may have; None where another one has it."""
    folder = folder_of(job.out, task)
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        return None
    except (OSError, NotImplementedError) as error:
        raise ResourceError("the folder of a task cannot be locked", where=str(folder), why=str(error)) from error
    try:
        known = outcome_of(job, task)
        return known if known is not None else _done(job, origin, task, folder)
    finally:
        lock.release()


def _done(job: Job, origin: Origin, task: VtabTask, folder: Path) -> Outcome:
    """A task tuned, trained and tested; what is wrong with its images, or diverges, is its own trouble."""
    try:
        data = open_task(task, job.root, protocol=job.asked.vtab)
        if isinstance(data, Missing):
            return _troubled(job, folder, absent(data))
        trainer: Trainer
        if job.asked.method == "linear":
            trainer = LinearTrainer(origin, job.asked, data, folder)
        else:
            trainer = FullTrainer(origin, job.asked, data, folder, job.command)
        return score_task(job.asked, data, trainer, folder)
    except InterruptedRun as error:
        raise _stopped(error, job) from None
    except (DataError, DivergedError) as error:
        console.say(f"{task.title}: {error}", "")
        return _troubled(job, folder, trouble(task, error))


def _troubled(job: Job, folder: Path, missing: VtabMissing) -> VtabMissing:
    write_text(folder / _TROUBLE, json.dumps({"visit": job.visit, "missing": to_json(missing)}, indent=1) + "\n")
    return missing


def _stopped(error: InterruptedRun, job: Job) -> InterruptedRun:
    """The same interruption, with the command that goes on with all tasks."""
    mended = InterruptedRun(error.what, where=str(job.out), why=error.why, remedy=job.command)
    mended.exit_code = error.exit_code
    return mended


def _look(job: Job, tasks: Sequence[VtabTask], found: dict[str, Outcome], done: Callable[[Outcome], None]) -> None:
    for task in tasks:
        if task.name not in found and (outcome := outcome_of(job, task)) is not None:
            found[task.name] = outcome
            done(outcome)


def _joined(processes: Sequence[BaseProcess]) -> None:
    for process in processes:
        process.join()


def _for_worker(job: Job, place: int, jobs: int) -> Job:
    """The job with one process's share of the machine."""
    asked = job.asked
    cards = torch.cuda.device_count() if asked.device == "auto" and torch.cuda.is_available() else 0
    device = f"cuda:{place % cards}" if cards else asked.device
    threads = asked.threads or max(1, num_cores() // jobs)
    return dataclasses.replace(job, asked=dataclasses.replace(asked, device=device, threads=threads))


def _worker(job: Job, source: str | Path | Architecture, names: Sequence[str]) -> None:
    """One process of several: its words go to a file of its own, and it stops, saving, when its parent is gone."""
    with contextlib.suppress(AttributeError, OSError):
        os.setsid()  # Ctrl-C in the terminal is for the parent, which asks its processes once
    threading.Thread(target=_outlived, daemon=True).start()
    tasks = [task for task in job.asked.chosen if task.name in names]
    code = 0
    with (job.out / f"log-{os.getpid()}.txt").open("a", encoding="utf-8") as log:
        console.use(log)
        try:
            work(job, find_origin(source), tasks)
        except VitreousError as error:
            console.say(str(error))
            code = error.exit_code
        except Exception:  # the parent names this file: what went wrong has to stand in it
            log.write(traceback.format_exc())
            code = 1
        finally:
            console.use(None)
    sys.exit(code)


def _outlived() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

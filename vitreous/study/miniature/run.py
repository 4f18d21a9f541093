"""All runs of the studies, in processes of one thread each, resumable at any moment; then tables, charts and a page."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vitreous import __version__, console
from vitreous.data.feeding.threads import num_cores
from vitreous.errors import ResourceError, UsageError, VitreousError
from vitreous.files import cannot_write, write_text
from vitreous.report.html import write_miniature_report
from vitreous.report.miniature import write_charts
from vitreous.results.miniature import MiniatureResult
from vitreous.schema import to_json
from vitreous.study.miniature.findings import study_results
from vitreous.study.miniature.plan import Study, Work, all_runs
from vitreous.study.miniature.studies import studies
from vitreous.study.miniature.work import Scored, read_scored, runs_folder

SEEDS = 3
"""How often everything is trained, unless asked otherwise."""

_MOST = 8  # processes, unless asked otherwise
_WAIT = 0.5  # seconds between looks at the clock


def miniature(
    out: str | Path | None = None,
    *,
    seeds: int = SEEDS,
    threads: int | None = None,
    minutes: float | None = None,
    only: Sequence[str] = (),
    command: str | None = None,
) -> MiniatureResult:
    """Run the paper's studies in miniature and write their page; what is finished in `out` is read back.

    Args:
        out: folder for everything: runs/, scores/, charts/, report.html, miniature.md, results.json; by default
            runs/miniature.
        seeds: how often everything is trained, 1 or more.
        threads: processes at work, each with one thread; by default one for each core, at most 8.
        minutes: stop after so long, with what is there then; the same call goes on. None runs to the end.
        only: names of studies; none for all.
        command: what was typed, for the page.

    Raises:
        UsageError: a package that holds the images is missing, or an argument makes no sense.
        InterruptedRun: it was stopped; the same call goes on.
        VitreousError: as training raises it.
    """
    if seeds < 1 or (threads is not None and threads < 1) or (minutes is not None and minutes < 0):
        raise UsageError(f"seeds, threads and minutes must be positive, got {seeds}, {threads}, {minutes}")
    began = time.monotonic()
    chosen = studies(only)
    folder = Path(out or "runs/miniature")
    _make(folder)
    works = all_runs(chosen, seeds)
    console.say(*_words(chosen, seeds, threads), f"folder   {folder}   (Ctrl-C is safe: it saves)")
    done = _all_done(folder, works, seeds, threads or min(_MOST, num_cores()), minutes)
    typed = command or _command(folder, seeds, only)
    result = _result(folder, chosen, works, done, seeds, time.monotonic() - began, typed)
    result = write_charts(folder, result)
    write_miniature_report(folder / "report.html", result)
    write_text(folder / "results.json", json.dumps(to_json(result), indent=1) + "\n")
    left = result.planned - result.runs
    console.say(f"{result.runs} of {result.planned} runs are done" + (f"; {left} are left: {typed}" if left else ""))
    return result


def plan(*, seeds: int = SEEDS, threads: int | None = None, only: Sequence[str] = ()) -> list[str]:
    """What `miniature` would do, in words; nothing is trained and nothing is written.

    Args:
        seeds: as there.
        threads: as there.
        only: as there.

    Raises:
        UnknownNameError: there is no study of that name.
    """
    return _words(studies(only), seeds, threads)


def _words(chosen: Sequence[Study], seeds: int, threads: int | None) -> list[str]:
    works, at_once = all_runs(chosen, seeds), threads or min(_MOST, num_cores())
    alone = sum(len(study.runs(seeds)) for study in chosen)
    seconds = sum(work.predicted for work in works)
    lines = [
        f"{study.name:<11}{len(study.arms):>3} arms, {len(study.runs(seeds)):>3} runs   {study.title} ({study.place})"
        for study in chosen
    ]
    lines.append(
        f"in all   {len(works)} runs ({alone - len(works)} are shared), {console.count(seeds, 'seed')}, about"
        f" {console.duration(seconds)} of processor time, {console.duration(seconds / at_once)} with {at_once} at once"
    )
    return lines


def _command(folder: Path, seeds: int, only: Sequence[str]) -> str:
    words = ["vitreous", "paper", "--miniature", *(["--only", *only] if only else []), "--out", str(folder)]
    return shlex.join([*words, *(["--seeds", str(seeds)] if seeds != SEEDS else [])])


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, 0, error) from error


def _all_done(
    folder: Path, works: Sequence[Work], seeds: int, at_once: int, minutes: float | None
) -> dict[Work, Scored]:
    """The scores of every run that is finished when this returns; with no limit on time, of all."""
    done = {work: scored for work in works if (scored := read_scored(folder, work)) is not None}
    left = [work for work in works if work not in done]
    if done:
        console.say(f"{len(done)} of {len(works)} runs are done already")
    if not left:
        return done
    until = None if minutes is None else time.monotonic() + 60 * minutes
    total = round(sum(work.predicted for work in works))
    before = round(sum(work.predicted for work in done))
    with (
        console.Progress("training in miniature", total, "s of work", done=before) as progress,
        _workers(folder, seeds, min(at_once, len(left))) as crew,
    ):
        for work, scored in crew.through(left, set(done), until):
            done[work] = scored
            progress.advance(round(work.predicted), f"{len(done)} of {len(works)} runs")
    return done


class _Worker:
    """A process that does one run at a time."""

    def __init__(self, folder: Path, seeds: int, number: int, answers: queue.Queue[tuple[_Worker, str]]) -> None:
        self.doing: Work | None = None
        self.log = folder / "logs" / f"worker-{number}.txt"
        self.log.parent.mkdir(exist_ok=True)
        with self.log.open("a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "vitreous.study.miniature.work", str(folder), str(seeds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        self.listener = threading.Thread(target=self._listen, args=[answers], daemon=True)
        self.listener.start()

    def ask(self, work: Work) -> None:
        """Begin a run."""
        self.doing = work
        assert self.process.stdin is not None, "it was opened with a pipe"
        with contextlib.suppress(BrokenPipeError):  # it is gone, and its listener says so
            self.process.stdin.write(runs_folder(Path(), work).name + "\n")
            self.process.stdin.flush()

    def dismiss(self) -> None:
        """Nothing more to do; what it is doing it saves."""
        assert self.process.stdin is not None, "it was opened with a pipe"
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def _listen(self, answers: queue.Queue[tuple[_Worker, str]]) -> None:
        assert self.process.stdout is not None, "it was opened with a pipe"
        with self.process.stdout as lines:
            for line in lines:
                answers.put((self, line))
        answers.put((self, ""))


class _Crew:
    """Processes, and who does what."""

    def __init__(self, folder: Path, seeds: int, number: int) -> None:
        self.folder = folder
        self.answers: queue.Queue[tuple[_Worker, str]] = queue.Queue()
        self.workers = [_Worker(folder, seeds, place, self.answers) for place in range(number)]

    def through(self, left: Sequence[Work], done: set[Work], until: float | None) -> Iterator[tuple[Work, Scored]]:
        """Scores as they come; runs are begun in their order, each after the one it begins from."""
        waiting = list(left)
        while True:
            late = until is not None and time.monotonic() >= until
            for worker in self.workers:
                if worker.doing is None and not late:
                    ready = (work for work in waiting if work.after is None or work.after in done)
                    if (work := next(ready, None)) is not None:
                        waiting.remove(work)
                        worker.ask(work)
            if late or not any(worker.doing for worker in self.workers):
                return
            try:
                worker, line = self.answers.get(timeout=_WAIT)
            except queue.Empty:
                continue
            work = worker.doing
            self._check(worker, line)
            assert work is not None, "only what was asked is answered"
            worker.doing = None
            done.add(work)
            scored = read_scored(self.folder, work)
            assert scored is not None, "scores are written before the answer"
            yield work, scored

    def _check(self, worker: _Worker, line: str) -> None:
        """Refuse an answer that is none."""
        name = runs_folder(self.folder, worker.doing).name if worker.doing else "a run"
        if not line:
            raise ResourceError(
                f"the process that did {name} has ended",
                where=str(worker.log),
                why=f"exit status {worker.process.wait()}; its last words stand in that file",
                remedy="the same command goes on where it stopped",
            )
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise VitreousError(f"{name} failed: {answer['failed']}", where=str(worker.log))


@contextlib.contextmanager
def _workers(folder: Path, seeds: int, number: int) -> Iterator[_Crew]:
    crew = _Crew(folder, seeds, number)
    try:
        yield crew
    finally:
        for worker in crew.workers:
            worker.dismiss()
        for worker in crew.workers:
            worker.process.wait()
            worker.listener.join()


def _result(
    folder: Path,
    chosen: Sequence[Study],
    works: Sequence[Work],
    done: dict[Work, Scored],
    seeds: int,
    seconds: float,
    command: str,
) -> MiniatureResult:
    first = next(iter(done.values()), None)
    scores = {work: scored.scores for work, scored in done.items()}
    return MiniatureResult(
        studies=tuple(study_results(study, seeds, scores) for study in chosen),
        runs=len(done),
        planned=len(works),
        seeds=seeds,
        seconds=seconds,
        cpu_seconds=sum(scored.cpu_seconds for scored in done.values()),
        command=command,
        environment={"vitreous": __version__, **(first.environment if first else {}), "cores": str(num_cores())},
        written=time.strftime("%Y-%m-%d %H:%M"),
        out=str(folder),
        report=str(folder / "report.html"),
    )

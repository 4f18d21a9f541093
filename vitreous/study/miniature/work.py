"""One run of the studies, from its plan to its scores; as a program, one run after another as they are named to it.

    python -m vitreous.study.miniature.work OUT SEEDS

reads names from stdin, one a line, and answers each with one line of JSON. When stdin ends, whoever asked is gone: the
run that is going on is saved, and the program ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vitreous.errors import InterruptedRun, UsageError, VitreousError
from vitreous.evaluation.features import extract, frozen
from vitreous.evaluation.fewshot import few_shot
from vitreous.files import write_text
from vitreous.schema import from_json, to_json
from vitreous.study.miniature.images import other_writers, splits
from vitreous.study.miniature.plan import SHOTS, Work, all_runs
from vitreous.study.miniature.studies import studies
from vitreous.training.job import Run, resume, run_job
from vitreous.training.run import read_facts

DRAWS = tuple(range(10))
"""Seeds of the labelled images of few-shot scores: ten draws for each model, the same for all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """One measure of one run."""

    value: float
    seen: int
    expected: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """What a finished run is worth."""

    name: str
    scores: dict[str, Score]
    """By measure."""
    cpu_seconds: float
    """Processor time of the life that finished it, training and scoring."""
    seconds: float
    """Wall time of its training."""
    environment: dict[str, str]


def runs_folder(out: Path, work: Work) -> Path:
    """Where a run lies.

    Args:
        out: of the studies.
        work: the run.
    """
    return out / "runs" / f"{work.name}-seed{work.seed}"


def scores_file(out: Path, work: Work) -> Path:
    """Where the scores of a run lie.

    Args:
        out: of the studies.
        work: the run.
    """
    return out / "scores" / f"{work.name}-seed{work.seed}.json"


def read_scored(out: Path, work: Work) -> Scored | None:
    """The scores of a run that is finished; None for one that is not.

    Args:
        out: of the studies.
        work: the run.

    Raises:
        UsageError: the file is not what was written.
    """
    path = scores_file(out, work)
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        scores = {name: from_json(Score, score) for name, score in facts.pop("scores").items()}
        return from_json(Scored, {**facts, "scores": scores})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, AttributeError, VitreousError) as error:
        why = f"{type(error).__name__}: {error}"
        raise UsageError("scores cannot be read", where=str(path), why=why, remedy="delete the file") from None


def do(out: Path, work: Work) -> Scored:
    """Train and score one run, or what is left of that; a run that is done already is read back.

    Args:
        out: of the studies; the run that this one begins from lies there finished.
        work: the run.

    Raises:
        VitreousError: as training raises it.
    """
    if (done := read_scored(out, work)) is not None:
        return done
    began = time.process_time()
    run = _trained(out, work)
    scores = _scores(run, work)
    scored = Scored(
        name=work.name,
        scores=scores,
        cpu_seconds=time.process_time() - began,
        seconds=run.result.seconds,
        environment=read_facts(run.folder)["environment"],
    )
    path = scores_file(out, work)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(to_json(scored), indent=1) + "\n")
    return scored


def _trained(out: Path, work: Work) -> Run:
    folder, images = runs_folder(out, work), splits(work.images, work.seed)
    before = None if work.after is None else str(runs_folder(out, work.after))
    if (folder / "run.json").exists():
        return resume(folder, data=images, model=None if before else work.model)
    if folder.exists():  # killed before it had written what it is
        shutil.rmtree(folder)
    return run_job(work.verb, images, before or work.model, work.options(str(folder)), command=_COMMAND)


_COMMAND = "vitreous paper --miniature"


def _scores(run: Run, work: Work) -> dict[str, Score]:
    result = run.result
    own = Score(value=result.top1, seen=result.seen, expected=result.expected)
    if not result.names_classes:
        return {"hidden colours": own}
    if work.images.name == "digits":
        return {"fine-tuned": own}
    return {"held-out": own, **few_shot_scores(run.model)}


def few_shot_scores(model: nn.Module) -> dict[str, Score]:
    """Few-shot accuracy in closed form on frozen features of digits of other writers, the mean over ten draws.

    Every second digit may be drawn from, the others are scored on.

    Args:
        model: trained, with its card.
    """
    features = extract(frozen(model, device="cpu"), other_writers())
    places = np.arange(len(features.labels))
    drawn_from, scored_on = features.subset(places[::2]), features.subset(places[1::2])
    found = few_shot(drawn_from, scored_on, shots=SHOTS, seeds=DRAWS)
    return {
        f"{point.shots}-shot": Score(value=point.top1, seen=found.seen, expected=found.expected)
        for point in found.points
    }


def main(arguments: list[str], names: Iterable[str]) -> None:
    """Do one run after another.

    Args:
        arguments: the folder of the studies, and how many seeds there are.
        names: lines; each names a run by its folder's name.
    """
    out, seeds = Path(arguments[0]), int(arguments[1])
    known = {runs_folder(out, work).name: work for work in all_runs(studies(), seeds)}
    serve(names, lambda name: to_json(do(out, known[name])))


def serve(names: Iterable[str], answer: Callable[[str], object]) -> None:
    """Answer line after line on stdout; when the lines end in the middle of an answer, it is told to stop.

    Args:
        names: lines.
        answer: gives plain JSON values; a VitreousError goes back as its text.
    """
    asked: queue.Queue[str | None] = queue.Queue()
    busy = threading.Event()

    def listen() -> None:
        for line in names:
            asked.put(line.strip())
        asked.put(None)
        if busy.is_set():  # training saves where it stands, as after Ctrl-C
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=listen, daemon=True).start()
    while (name := asked.get()) is not None:
        busy.set()
        try:
            line = {"done": answer(name)}
        except InterruptedRun:
            return
        except VitreousError as error:
            line = {"failed": str(error)}
        busy.clear()
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # before a run is begun nothing has to be saved
    with contextlib.suppress(BrokenPipeError):
        main(sys.argv[1:], sys.stdin)

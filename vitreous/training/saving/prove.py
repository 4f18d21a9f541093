"""A proof on the person's own run that going on from a checkpoint equals never having stopped, to the bit.

Some steps are done in one go. They are done once more, but saved after the first of them, and the others are done in a
new process that has only what was saved. Nothing of it touches the run.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from vitreous.errors import UsageError, VitreousError
from vitreous.training.run import read_facts
from vitreous.training.saving import checkpoint
from vitreous.training.saving.checkpoint_folder import check, found, step_of
from vitreous.weights.native import raw_bytes

_PARTS = {"model": "weights", "optimizer": "moments", "average": "average"}
_NOT_THE_RUNS = {".lock", ".owner.json"}  # who holds the folder; they come and go with each process


@runtime_checkable
class Session(Protocol):
    """A run in memory, ready for its next step."""

    def advance(self) -> Sequence[str]:
        """Do one step as training does it, and give the names of the images that it showed, in order."""

    def state(self) -> checkpoint.State:
        """What a checkpoint would hold now."""


Open = Callable[[Path, Path | None], Session]
"""From the run folder and a checkpoint's folder, or None for the start, to the session. A function of a module, so
that the new process finds it by its name; it must not write into the run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """One part of the final state, both ways."""

    name: str
    """weights, moments, average or images."""
    whole: str
    """SHA-256 after the steps in one go."""
    resumed: str
    """SHA-256 after going on in a new process."""
    differing: tuple[str, ...]
    """Tensors, or images, that are not the same."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """What came out."""

    run: str
    first: int
    """Steps finished where it began."""
    last: int
    """Steps finished where it ended."""
    parts: tuple[Compared, ...]
    images: int
    """How many images were shown each way."""
    process: int
    """The new process."""
    untouched: bool
    """Whether the run folder is as it was."""

    @property
    def equal(self) -> bool:
        """Whether everything is equal to the bit."""
        return all(part.whole == part.resumed for part in self.parts)

    def words(self) -> list[str]:
        """The result, for a person."""
        steps = f"step {self.first:,} -> {self.last:,}"
        if self.equal:
            names = [part.name for part in self.parts]
            digests = ", ".join(f"{part.name} {part.whole[:12]}" for part in self.parts)
            lines = [f"{steps}: {', '.join(names[:-1])} and {names[-1]} equal to the bit (sha256: {digests})"]
        else:
            lines = [
                f"{steps}: {part.name} differ: {', '.join(part.differing[:3])}"
                f"{f' and {len(part.differing) - 3} more' if len(part.differing) > 3 else ''}"
                for part in self.parts
                if part.whole != part.resumed
            ]
        lines.append(
            f"  {self.images:,} images each way; saved after step {self.first + 1:,}, gone on in process {self.process}"
        )
        if not self.untouched:
            lines.append("  the run folder changed meanwhile: another process is at work in it")
        return lines


def prove(run: Path, open_run: Open, *, steps: int = 2) -> Proof:
    """Go on from the newest whole checkpoint that has enough steps after it, or from the start, in both ways.

    Args:
        run: the run folder.
        open_run: opens it; called twice here and once in the new process.
        steps: how many are compared; fewer where the run has fewer.

    Raises:
        UsageError: the run has not begun.
        VitreousError: the new process failed; its words are told.
    """
    total = read_facts(run).get("total_steps")
    if not isinstance(total, int):
        raise UsageError("this run has not begun, so there is nothing to prove", where=str(run))
    before, start = _listing(run), _start(run, total - min(steps, total))
    first = step_of(start) if start else 0
    steps = min(steps, total - first)
    with tempfile.TemporaryDirectory(prefix="vitreous-proof-") as scratch, torch.random.fork_rng():
        whole = open_run(run, start)
        shown = [name for _ in range(steps) for name in whole.advance()]
        digests = _digests(whole.state())
        del whole  # one of them in memory at a time
        halved = open_run(run, start)
        again = [*halved.advance()]
        saved = checkpoint.write(Path(scratch) / "checkpoints", halved.state())
        del halved
        answer = _elsewhere(Path(scratch), open_run, run, saved, steps - 1)
    images = _Pair({str(n): name for n, name in enumerate(shown)}, {})
    images.resumed.update({str(n): name for n, name in enumerate([*again, *answer["shown"]])})
    pairs = {name: _Pair(digests[name], answer["digests"][name]) for name in digests if digests[name]}
    return Proof(
        run=str(run),
        first=first,
        last=first + steps,
        parts=tuple(pair.compared(name) for name, pair in [*pairs.items(), ("images", images)]),
        images=len(shown),
        process=answer["process"],
        untouched=before == _listing(run),
    )


@dataclass(frozen=True)
class _Pair:
    """Digests by name, both ways."""

    whole: dict[str, str]
    resumed: dict[str, str]

    def compared(self, name: str) -> Compared:
        keys = self.whole | self.resumed
        return Compared(
            name=name,
            whole=_together(self.whole),
            resumed=_together(self.resumed),
            differing=tuple(key for key in keys if self.whole.get(key) != self.resumed.get(key)),
        )


def _start(run: Path, latest: int) -> Path | None:
    """The newest whole checkpoint of at most that step."""
    return next((path for path in found(run / "checkpoints") if step_of(path) <= latest and check(path) is None), None)


def _listing(run: Path) -> str:
    """A digest of every file's name, size and time of change."""
    lines = [
        f"{path.relative_to(run)} {path.lstat().st_size} {path.lstat().st_mtime_ns}"
        for path in sorted(run.rglob("*"))
        if path.name not in _NOT_THE_RUNS
    ]
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def _digests(state: checkpoint.State) -> dict[str, dict[str, str]]:
    """SHA-256 of every tensor of a state, by part and name."""
    return {name: _each(getattr(state, part)) for part, name in _PARTS.items()}


def _each(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    return {
        name: hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)} ".encode() + bytes(raw_bytes(tensor))).hexdigest()
        for name, tensor in sorted(tensors.items())
    }


def _together(digests: Mapping[str, str]) -> str:
    return hashlib.sha256("\n".join(f"{name} {digest}" for name, digest in digests.items()).encode()).hexdigest()


def _elsewhere(scratch: Path, open_run: Open, run: Path, saved: Path, steps: int) -> dict:
    """The rest of the steps in a new process, which finds everything it needs by name."""
    request = {
        "module": open_run.__module__,
        "function": open_run.__qualname__,
        "run": str(run.resolve()),
        "checkpoint": str(saved),
        "steps": steps,
    }
    (scratch / "request.json").write_text(json.dumps(request), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "vitreous.training.saving.prove", str(scratch)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        told = done.stderr.rstrip().splitlines() or [f"it ended with {done.returncode}"]
        begins = max((n for n, line in enumerate(told) if not line.startswith(" ")), default=0)
        why = "; ".join(line.strip() for line in told[begins:])
        raise VitreousError("the new process could not go on from what was saved", where=str(run), why=why)
    return dict(json.loads((scratch / "answer.json").read_text(encoding="utf-8")))


def main(scratch: Path) -> None:
    """What the new process does: read the request, go on from the checkpoint, and write the answer.

    Args:
        scratch: folder with request.json; answer.json comes into it.
    """
    request = json.loads((scratch / "request.json").read_text(encoding="utf-8"))
    open_run: Open = getattr(importlib.import_module(request["module"]), request["function"])
    session = open_run(Path(request["run"]), Path(request["checkpoint"]))
    shown = [name for _ in range(request["steps"]) for name in session.advance()]
    answer = {"process": os.getpid(), "shown": shown, "digests": _digests(session.state())}
    (scratch / "answer.json").write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""The lines of metrics.jsonl in somebody else's log as well: TensorBoard's or Weights & Biases'.

What is logged is a copy. A tracker that fails (a full disk, no network, a service that is down) is told once and let
go; it never stops training. After a resume the log goes on with every step in it once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import secrets
import shlex
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol

from vitreous import console
from vitreous.errors import UsageError
from vitreous.files import write_text
from vitreous.results import EpochRecord

Log = Literal["none", "tensorboard", "wandb"]

_PATIENCE = 30  # seconds for a service to answer before training goes on without it


class _Writer(Protocol):
    """Takes records, oldest first."""

    def write(self, record: EpochRecord) -> None:
        """Put down one record so that it is not lost when this process is killed."""

    def close(self, failed: bool) -> None:
        """Nothing comes any more."""


class Track:
    """Writes records into a log while it is entered. Only one process of a run has one.

    Args:
        log: which kind; "none" does nothing.
        run: the run folder.
        records: those that metrics.jsonl has already, so that the log is whole from the start.
        config: plain JSON values that the log shows beside the curves.

    Raises:
        UsageError: on entering: the package is not installed.
    """

    def __init__(
        self, log: Log, run: Path, records: Sequence[EpochRecord] = (), config: Mapping[str, Any] | None = None
    ) -> None:
        self.log, self.run = log, run
        self._records, self._config = tuple(records), dict(config or {})
        self._writer: _Writer | None = None

    def __enter__(self) -> Track:
        require(self.log)
        try:
            match self.log:
                case "tensorboard":
                    self._writer = _TensorBoard(self.run / "tensorboard", self._records)
                case "wandb":
                    self._writer = _WandB(self.run, self._records, self._config)
        except Exception as error:  # whatever somebody else's package or service raises
            self._let_go(error)
        return self

    def record(self, record: EpochRecord) -> None:
        """Log one record.

        Args:
            record: as it goes to metrics.jsonl, in the same order.
        """
        if self._writer is None:
            return
        try:
            self._writer.write(record)
        except Exception as error:
            self._let_go(error)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is None:
            return
        try:
            self._writer.close(failed=kind is not None)
        except Exception as mishap:
            self._let_go(mishap)

    def _let_go(self, error: Exception) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            with contextlib.suppress(Exception):  # it has failed already
                writer.close(failed=True)
        why = (str(error) or type(error).__name__).splitlines()[0]
        console.say(f"--log {self.log} stops here, training goes on: {why}; every line is in metrics.jsonl")


def require(log: Log) -> None:
    """See that the package for a log is there, before anything slow is begun.

    Args:
        log: which kind.

    Raises:
        UsageError: it is not installed.
    """
    try:
        match log:
            case "tensorboard":
                import tensorboard  # noqa: F401
            case "wandb":
                import wandb  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"--log {log} needs the package {log}", why=str(error), remedy='pip install "vitreous[track]"'
        ) from error


class _TensorBoard:
    """An event file, written through at every record.

    A resumed run writes the file anew: the values are those of metrics.jsonl, the times those of the file before. So no
    step is there twice, whatever reads it.
    """

    def __init__(self, folder: Path, records: Sequence[EpochRecord]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = Event, Summary
        folder.mkdir(parents=True, exist_ok=True)
        before = sorted(folder.glob("events.out.tfevents.*.vitreous"))
        times = _times(before)
        # TensorBoard reads files by name in order: nanoseconds keep two resumes within a second apart
        self._file = (folder / f"events.out.tfevents.{time.time_ns():020d}.{socket.gethostname()}.vitreous").open("xb")
        self._log = RecordWriter(self._file)
        with contextlib.ExitStack() as failing:
            failing.callback(self._file.close)
            self._put(Event(wall_time=time.time(), file_version="brain.Event:2"))
            # a TensorBoard that is watching forgets what it read from the file before
            self._put(Event(wall_time=time.time(), step=0, session_log=SessionLog(status=SessionLog.START)))
            for record in records:
                self.write(record, times.get(record.step))
            for path in before:
                path.unlink(missing_ok=True)
            failing.pop_all()

    def write(self, record: EpochRecord, when: float | None = None) -> None:
        """One event with a value for each figure."""
        values = [self._summary.Value(tag=tag, simple_value=value) for tag, value in _scalars(record).items()]
        summary = self._summary(value=values)
        self._put(self._event(wall_time=when or time.time(), step=record.step, summary=summary))

    def close(self, failed: bool) -> None:  # noqa: ARG002  a file does not say how the run ended
        """Close the file."""
        self._file.close()

    def _put(self, event: Any) -> None:
        self._log.write(event.SerializeToString())
        self._file.flush()


class _WandB:
    """A run of Weights & Biases with an identity that the run folder keeps.

    What was logged stays logged: steps that are done again after a resume come out the same and are left out.
    """

    def __init__(self, run: Path, records: Sequence[EpochRecord], config: dict[str, Any]) -> None:
        import wandb

        folder = run / "wandb"
        folder.mkdir(parents=True, exist_ok=True)
        self._place = folder / "vitreous.json"
        kept = json.loads(self._place.read_text(encoding="utf-8")) if self._place.exists() else {}
        self._id: str = kept.get("id") or secrets.token_hex(4)
        self._last: int = kept.get("step", 0)
        settings = wandb.Settings(
            silent=True, console="off", disable_git=True, disable_code=True, init_timeout=_PATIENCE
        )
        # without a key it would stop and ask for one
        offline = wandb.Settings().mode == "online" and not wandb.login(prompt=False)
        self._run = wandb.init(
            project="vitreous",
            name=run.resolve().name,
            id=self._id,
            resume="allow",
            dir=str(run),
            config=config,
            settings=settings,
            mode="offline" if offline else None,
        )
        if self._run.url:
            console.say(f"log      {self._run.url}")
        else:
            console.say(f"log      kept here; to upload it: wandb sync {shlex.quote(str(folder))}/offline-run-*")
        for record in records:
            self.write(record)

    def write(self, record: EpochRecord) -> None:
        """One line of history."""
        if record.step <= self._last:
            return
        self._run.log(_scalars(record), step=record.step)
        self._last = record.step
        write_text(self._place, json.dumps({"id": self._id, "step": self._last}))

    def close(self, failed: bool) -> None:
        """Upload what is left, and say how it ended."""
        self._run.finish(exit_code=int(failed))


def _scalars(record: EpochRecord) -> dict[str, float]:
    """Every figure there is, by the name it has in the log: train/loss, val/accuracy, ..."""
    figures = {name: value for name, value in dataclasses.asdict(record).items() if name != "step"}
    return {
        f"val/{name.removeprefix('val_')}" if name.startswith("val_") else f"train/{name}": float(value)
        for name, value in figures.items()
        if value is not None
    }


def _times(files: Sequence[Path]) -> dict[int, float]:
    """When each step was logged, from what can still be read of the files."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    return {
        event.step: event.wall_time
        for path in files
        for event in EventFileLoader(str(path)).Load()
        if event.HasField("summary")
    }

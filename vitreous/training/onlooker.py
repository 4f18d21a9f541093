"""A run folder as seen by the processes that do not write it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vitreous.results import EpochRecord
from vitreous.training.run import read_records


class Onlooker:
    """Stands in for `RunFolder` in every process but the first: it reads, and writes nothing.

    Args:
        path: the run folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"

    def close(self) -> None:
        """Nothing is held."""

    def abandon(self) -> None:
        """The first process removes the folder."""

    def write(self, facts: dict[str, Any]) -> None:
        """The first process writes.

        Args:
            facts: for run.json.
        """

    def update(self, **facts: Any) -> None:
        """The first process writes.

        Args:
            **facts: for run.json.
        """

    def record(self, record: EpochRecord) -> None:
        """The first process writes.

        Args:
            record: for metrics.jsonl.
        """

    def records(self) -> list[EpochRecord]:
        """The lines of metrics.jsonl, in order."""
        return read_records(self.path)

    def forget_records_after(self, step: int) -> None:
        """The first process writes.

        Args:
            step: the checkpoint's.
        """

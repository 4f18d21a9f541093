"""Predictions written down one by one as they come: terminal lines, CSV or JSON Lines."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from vitreous import console
from vitreous.cli.words import columns, harmless, percent, shorten
from vitreous.errors import UsageError
from vitreous.results import Failure, Prediction
from vitreous.schema import to_json

SUFFIXES = (".csv", ".jsonl")

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_LONGEST_PATH = 44


class Lines:
    """One aligned line per image on the console.

    Args:
        paths: of every image to come, so that the columns can be set.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._width = min(_LONGEST_PATH, max((columns(harmless(path)) for path in paths), default=0))

    def write(self, outcome: Prediction | Failure) -> None:
        """Say one line.

        Args:
            outcome: of one image.
        """
        path = shorten(harmless(outcome.path), self._width)
        path += " " * (self._width - columns(path))
        if isinstance(outcome, Failure):
            console.say(f"  {path}  cannot be read: {harmless(outcome.reason)}")
        else:
            said = (f"{harmless(label)} {percent(share)}" for label, share in outcome.top)
            console.say(f"  {path}  {'   '.join(said)}")


class Sheet:
    """A CSV or JSON Lines file of predictions, complete or not there: it is renamed into place at the end.

    What was written before a failure stays beside it, in FILE.partial.

    Args:
        file: ends in .csv or .jsonl.
        top: classes per image.

    Raises:
        UsageError: the name ends otherwise, or lies in no folder.
    """

    def __init__(self, file: Path, top: int) -> None:
        if file.suffix.lower() not in SUFFIXES:
            raise UsageError(
                f"--out must end in .csv or .jsonl, got {file.name!r}", remedy=f"--out {file.with_suffix('.csv')}"
            )
        if not file.parent.is_dir():
            raise UsageError("--out names a folder that is not there", where=str(file.parent))
        if file.is_dir():
            raise UsageError("--out names a folder, not a file", where=str(file))
        self._file = file
        self._partial = file.with_name(file.name + ".partial")
        self._top = top
        self._rows = 0
        self._write: Callable[[Prediction | Failure], None]
        self._stream: TextIO

    def __enter__(self) -> Sheet:
        # paths go back to the bytes they came from, whatever their encoding
        self._stream = self._partial.open("w", encoding="utf-8", errors="surrogateescape", newline="")
        if self._file.suffix.lower() == ".csv":
            rows = csv.writer(self._stream, lineterminator="\n")
            rows.writerow(_header(self._top))
            self._write = lambda outcome: _write_row(rows, outcome, self._top)
        else:
            self._write = lambda outcome: _write_line(self._stream, outcome)
        return self

    def write(self, outcome: Prediction | Failure) -> None:
        """Write one image's row.

        Args:
            outcome: of one image.
        """
        self._write(outcome)
        self._rows += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        if kind is None:
            os.replace(self._partial, self._file)
        elif not self._rows:
            self._partial.unlink()


def _header(top: int) -> list[str]:
    more = [name for rank in range(2, top + 1) for name in (f"label_{rank}", f"probability_{rank}")]
    return ["path", "label", "probability", *more, "error"]


def _write_row(rows: Any, outcome: Prediction | Failure, top: int) -> None:
    cells = [_cell(outcome.path)]
    if isinstance(outcome, Prediction):
        pairs = [*outcome.top, *[("", None)] * (top - len(outcome.top))]
        cells += [text for label, share in pairs for text in (_cell(label), "" if share is None else f"{share:.6f}")]
        rows.writerow([*cells, ""])
    else:
        rows.writerow([*cells, *[""] * (2 * top), _cell(outcome.reason)])


def _write_line(stream: TextIO, outcome: Prediction | Failure) -> None:
    stream.write(json.dumps(to_json(outcome)) + "\n")


def _cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return "'" + text if text.startswith(_FORMULA) else text

"""Where words for a person go: one stream, lines as they happen, progress with an ETA.

In a terminal progress is one living line; elsewhere it is a plain line every ten seconds. The command sends all of it
to stderr when stdout must hold one JSON value.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Protocol, runtime_checkable

_INTERVAL = 10.0  # seconds between plain progress lines
_WARM = 5  # calls of `advance` that are not yet like the others: what is left is told without them


@runtime_checkable
class Stream(Protocol):
    """What words can be written to."""

    def write(self, text: str, /) -> object:
        """Take some text."""

    def flush(self) -> object:
        """Hand on what was taken."""

    def isatty(self) -> bool:
        """Whether a person watches it in a terminal."""


_stream: list[Stream | None] = [None]  # None: whatever sys.stderr is when something is said


def use(stream: Stream | None) -> None:
    """Send everything said from now on to `stream`; None goes back to stderr.

    Args:
        stream: an open text stream.
    """
    _stream[0] = stream


def stream() -> Stream:
    """Where words go at the moment."""
    return _stream[0] or sys.stderr


def say(*lines: str) -> None:
    """Print lines for a person, at once.

    Args:
        lines: without line ends; no lines print one empty line.
    """
    print("\n".join(lines), file=stream(), flush=True)


def count(number: int, unit: str, units: str | None = None) -> str:
    """`1 image`, `1,240 images`.

    Args:
        number: 0 or more.
        unit: in the singular.
        units: in the plural; by default with an s.
    """
    return f"{number:,} {unit if number == 1 else units or unit + 's'}"


def duration(seconds: float) -> str:
    """A duration as a person says it: `8.4 s`, `2:05 min`, `3:07:20 h`.

    Args:
        seconds: 0 or more.
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d} h" if hours else f"{minutes}:{rest:02d} min"


class Progress:
    """Progress of one piece of work; use it as a context manager and call `advance`.

    Args:
        label: what is being done ("training", "reading images").
        total: how many units there are.
        unit: what is counted, in the plural.
        done: units already done before this process began.
    """

    def __init__(self, label: str, total: int, unit: str = "images", *, done: int = 0) -> None:
        self.label, self.total, self.unit = label, total, unit
        self._count = done
        self._began = self._spoke = time.monotonic()
        self._since = self._warm = (self._began, done)
        self._calls = 0
        self._live = stream().isatty()
        self._width = 0

    def __enter__(self) -> Progress:
        return self

    def advance(self, count: int = 1, figures: str = "") -> None:
        """Count finished units, and show the line when it is time.

        Args:
            count: units finished since the last call.
            figures: what else to show ("loss 0.34  top-1 91.2 %").
        """
        self._count += count
        now = time.monotonic()
        self._calls += 1
        if self._calls == _WARM:
            self._warm = now, self._count
        elif self._calls == 2 * _WARM:
            self._since = self._warm
        if now - self._spoke >= (0.1 if self._live else _INTERVAL):
            self._spoke = now
            self._show(self._line(now, figures))

    def note(self, text: str) -> None:
        """Print a line that stays, above the living one.

        Args:
            text: without line end.
        """
        self._clear()
        say(text)

    def _line(self, now: float, figures: str) -> str:
        done, elapsed = self._count - self._since[1], now - self._since[0]
        rate = done / elapsed if elapsed > 0 else 0.0
        left = duration((self.total - self._count) / rate) if rate > 0 else "?"
        share = 100 * self._count / max(self.total, 1)
        parts = [f"{self.label} {self._count:,}/{self.total:,} {self.unit} ({share:.0f} %)", figures]
        parts += [f"{rate:,.0f} {self.unit}/s" if rate >= 10 else f"{rate:.1f} {self.unit}/s", f"{left} left"]
        return "  ".join(part for part in parts if part)

    def _show(self, line: str) -> None:
        if not self._live:
            say(line)
            return
        print("\r" + line.ljust(self._width), end="", file=stream(), flush=True)
        self._width = len(line)

    def _clear(self) -> None:
        if self._live and self._width:
            print("\r" + " " * self._width + "\r", end="", file=stream(), flush=True)
            self._width = 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clear()

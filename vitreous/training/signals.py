"""Ctrl-C and SIGTERM: asked once, training finishes its step, saves and says how to go on; asked twice, it stops."""

from __future__ import annotations

import shlex
import signal
import threading
import time
from types import FrameType, TracebackType

from vitreous.distributed import world
from vitreous.errors import InterruptedRun

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]

_ECHO = 1.0  # seconds in which torchrun passes on to its processes the Ctrl-C that the terminal has told them already


class StopRequests:
    """Catches stop signals while it is entered. Outside the main thread it catches nothing.

    Args:
        run: the run folder, for the message.
    """

    def __init__(self, run: str) -> None:
        self.run = run
        self.requested: int | None = None
        self.deferred = False
        self._first = -_ECHO
        self._echo = _ECHO if world().size > 1 else 0.0
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopRequests:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        again, now = self.requested is not None, time.monotonic()
        if again and now - self._first < self._echo:
            return
        self.requested, self._first = number, now
        if again:
            raise self.interruption(saved="as of its last checkpoint", lost="what came after is done again")
        if not self.deferred:
            raise self.interruption(saved="so far")

    def interruption(self, saved: str, lost: str = "nothing is lost") -> InterruptedRun:
        """The exception that ends the run, with the exit code that the signal asks for.

        Args:
            saved: what of the run is on disk, in words.
            lost: what is not, in words.
        """
        by_hand = self.requested == signal.SIGINT
        error = InterruptedRun(
            f"stopped by {'Ctrl-C' if by_hand else signal.Signals(self.requested or signal.SIGTERM).name}",
            where=self.run,
            why=f"the run is saved {saved}; {lost}",
            remedy=f"vitreous resume {shlex.quote(self.run)}",
        )
        error.exit_code = 130 if by_hand else 75
        return error

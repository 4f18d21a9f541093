"""Ctrl-C and SIGTERM: asked once, training finishes its step, saves and says how to go on; asked twice, it stops."""

from __future__ import annotations

import shlex
import signal
import threading
from types import FrameType, TracebackType

from vitreous.errors import InterruptedRun

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]


class StopRequests:
    """Catches stop signals while it is entered. Outside the main thread it catches nothing.

    Args:
        run: the run folder, for the message.
    """

    def __init__(self, run: str) -> None:
        self.run = run
        self.requested: int | None = None
        self.deferred = False
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
        again = self.requested is not None
        self.requested = number
        if again or not self.deferred:
            raise self.interruption(saved="as of its last checkpoint" if again else "so far")

    def interruption(self, saved: str) -> InterruptedRun:
        """The exception that ends the run, with the exit code that the signal asks for.

        Args:
            saved: what of the run is on disk, in words.
        """
        by_hand = self.requested == signal.SIGINT
        error = InterruptedRun(
            f"stopped by {'Ctrl-C' if by_hand else signal.Signals(self.requested or signal.SIGTERM).name}",
            where=self.run,
            why=f"the run is saved {saved}; nothing is lost",
            remedy=f"vitreous resume {shlex.quote(self.run)}",
        )
        error.exit_code = 130 if by_hand else 75
        return error

"""Work spread over threads whose results come back in order, a bounded distance ahead of whoever asks for them."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TypeVar

from vitreous.errors import ResourceError

T = TypeVar("T")
R = TypeVar("R")

PATIENCE = 120.0
"""Seconds after which a thread that gets no further with one thing, such as an image, is given up."""

_TICK = 1.0  # seconds between two looks at threads that are waited for
_FAREWELL = 2.0  # seconds that threads have to end with what they are doing


@dataclass(eq=False)
class _Task:
    """What a thread is doing, and how long it has been waited for meanwhile."""

    what: str | None = None
    waited: float = 0.0


class _Worker(threading.Thread):
    """Does jobs until it is handed None. One that hangs keeps nobody from leaving: it is a daemon."""

    def __init__(self, jobs: SimpleQueue[Callable[[], None] | None]) -> None:
        super().__init__(name="vitreous-images", daemon=True)
        self._jobs = jobs
        self.task: _Task | None = None

    def run(self) -> None:
        """Called by `start`."""
        while (job := self._jobs.get()) is not None:
            self.task = _Task()
            job()
            self.task = None
            del job  # and with it the result, which may be a batch of images


def num_cores() -> int:
    """CPU cores this process may use, 1 or more."""
    if hasattr(os, "sched_getaffinity"):  # Linux, where a container or taskset may allow fewer than there are
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def at_work(on: str) -> None:
    """Note what this thread begins with now: should it hang, the error names it, and its patience begins anew.

    Args:
        on: such as an image's path.
    """
    worker = threading.current_thread()
    if isinstance(worker, _Worker):
        worker.task = _Task(on)


def in_order(function: Callable[[T], R], items: Iterable[T], *, workers: int, ahead: int) -> Generator[R, None, None]:
    """`function` of every item, in the items' order, computed by threads.

    The first exception ends it, in its place in the order. Closing the generator ends the threads.

    Args:
        function: called from the threads; with no workers, from the caller's own.
        items: drawn one by one, in the caller's thread.
        workers: number of threads, 0 or more. Where the system refuses some of them, the others do the work.
        ahead: how many items may be started before their turn, 1 or more; this bounds the memory held.

    Raises:
        ResourceError: a thread hangs: it got no further for `PATIENCE` seconds.
    """
    started: deque[Future[R]] = deque()
    jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
    threads: list[_Worker] = []
    try:
        for _ in range(workers):
            if (thread := _new_thread(jobs)) is None:
                break
            threads.append(thread)
        if not threads:
            yield from map(function, items)
            return
        for item in items:
            future: Future[R] = Future()
            jobs.put(functools.partial(_do, future, function, item))
            started.append(future)
            if len(started) > ahead:
                yield _awaited(started.popleft(), threads)
        while started:
            yield _awaited(started.popleft(), threads)
    finally:
        for future in started:
            future.cancel()
        for _ in range(workers):
            jobs.put(None)
        until = time.monotonic() + _FAREWELL
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))


def _new_thread(jobs: SimpleQueue[Callable[[], None] | None]) -> _Worker | None:
    """One more thread at work, or None where the system gives no more: a limit on tasks, or no room for its stack."""
    worker = _Worker(jobs)
    try:
        worker.start()
    except RuntimeError:
        return None
    return worker


def _do(future: Future[R], function: Callable[[T], R], item: T) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function(item))
    except BaseException as error:
        future.set_exception(error)


def _awaited(future: Future[R], threads: Sequence[_Worker]) -> R:
    """The result, once it is there. What counts is the time spent here, which a stopped process does not spend."""
    tick = min(_TICK, PATIENCE)
    while True:
        try:
            return future.result(timeout=tick)
        except TimeoutError:
            if future.done():  # at this very moment, or the error is the function's own
                return future.result()
        for task in [thread.task for thread in threads]:
            if task is not None:
                task.waited += tick
                if task.waited >= PATIENCE:
                    raise _hangs(task)


def _hangs(task: _Task) -> ResourceError:
    return ResourceError(
        f"{'an image' if task.what else 'work on an image'} was waited for in vain, for {PATIENCE:g} seconds",
        where=task.what,
        why="what holds it does not answer, such as a network drive, or it is a pipe that nobody writes to",
        remedy="look at that drive; a run goes on with `vitreous resume` from its last checkpoint",
    )

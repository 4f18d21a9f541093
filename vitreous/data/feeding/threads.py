"""Work spread over threads whose results come back in order, a bounded distance ahead of whoever asks for them.

A thread cannot be killed. One that hangs is left alone, another takes its place and does its work anew, and whichever
is first with a result gives it: work that is a pure function of its item comes out the same, in the same order.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TypeVar, cast

from vitreous import console
from vitreous.data.imageset import ImageSet
from vitreous.errors import ResourceError

T = TypeVar("T")
R = TypeVar("R")

PATIENCE = 120.0
"""Seconds after which a thread that gets no further with one thing, such as an image, is given up."""

TRIES = 3
"""How often a thing is begun, each time by a new thread, before it is given up for good."""

_WAITING = 16  # threads that read from other machines
_TICK = 1.0  # seconds between two looks at threads that are waited for
_FAREWELL = 2.0  # seconds that threads have to end with what they are doing


@dataclass(eq=False)
class _Job:
    """Something to be done, and what is to come of it."""

    act: Callable[[], None]
    """Does it, and leaves the result where it is waited for."""
    is_done: Callable[[], bool]
    """Whether the result is there already, by whichever thread."""
    tries: int = 1
    """How often it has been begun, this time included."""


@dataclass(eq=False)
class _Task:
    """What a thread is doing, and how long it has been waited for meanwhile."""

    job: _Job
    what: str | None = None
    waited: float = 0.0


class _Worker(threading.Thread):
    """Does jobs until it is handed None or given up. One that hangs keeps nobody from leaving: it is a daemon."""

    def __init__(self, jobs: SimpleQueue[_Job | None], first: _Job | None = None) -> None:
        super().__init__(name="vitreous-images", daemon=True)
        self._jobs, self._first = jobs, first
        self.task: _Task | None = None
        self.given_up = False

    def run(self) -> None:
        """Called by `start`."""
        job, self._first = self._first, None
        while not self.given_up and (job := job or self._jobs.get()) is not None:
            self.task = _Task(job)
            job.act()
            self.task = None
            del job  # and with it the result, which may be a batch of images
            job = None


def num_cores() -> int:
    """CPU cores this process may use, 1 or more."""
    if hasattr(os, "sched_getaffinity"):  # Linux, where a container or taskset may allow fewer than there are
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def num_readers(images: ImageSet) -> int:
    """Threads that prepare images: one for each core, more where they mostly wait, one where pixels are at hand.

    Pictures at hand need little preparing, and a second thread would only get in the arithmetic's way.

    Args:
        images: to be read.
    """
    if images.in_memory:
        return 1
    return max(_WAITING, num_cores()) if images.afar else num_cores()


def at_work(on: str) -> None:
    """Note what this thread begins with now: should it hang, the error names it, and its patience begins anew.

    Args:
        on: such as an image's path.
    """
    worker = threading.current_thread()
    if isinstance(worker, _Worker):
        task = worker.task
        assert task is not None, "a thread at work has a task"
        worker.task = _Task(task.job, on)


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
    crew = _Crew(workers)
    try:
        if not crew.threads:
            yield from map(function, items)
            return
        for item in items:
            future: Future[R] = Future()
            crew.jobs.put(_Job(functools.partial(_do, future, function, item), future.done))
            started.append(future)
            if len(started) > ahead:
                yield crew.awaited(started.popleft())
        while started:
            yield crew.awaited(started.popleft())
    finally:
        for future in started:
            future.cancel()
        crew.dismiss()


class _Crew:
    """The threads at work; where the system refuses some of them, the others do the work."""

    def __init__(self, workers: int) -> None:
        self.jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self.threads: list[_Worker] = []
        self._given_up: list[_Worker] = []
        for _ in range(workers):
            if not self._hire():
                break

    def awaited(self, future: Future[R]) -> R:
        """The result, once it is there. What counts is the time spent here, which a stopped process does not spend."""
        tick = min(_TICK, PATIENCE)
        while True:
            try:
                return future.result(timeout=tick)
            except TimeoutError:
                if future.done():  # at this very moment, or the error is the function's own
                    return future.result()
            for thread in list(self.threads):
                if (task := thread.task) is not None:
                    task.waited += tick
                    if task.waited >= PATIENCE:
                        self._replace(thread, task)

    def dismiss(self) -> None:
        """Let all threads end, and wait for them a moment."""
        for thread in self.threads + self._given_up:
            thread.given_up = True
            self.jobs.put(None)
        until = time.monotonic() + _FAREWELL
        for thread in self.threads + self._given_up:
            thread.join(max(0.0, until - time.monotonic()))

    def _hire(self, first: _Job | None = None) -> bool:
        """One more thread, or False where the system gives no more: a limit on tasks, or no room for its stack."""
        worker = _Worker(self.jobs, first)
        try:
            worker.start()
        except RuntimeError:
            return False
        self.threads.append(worker)
        return True

    def _replace(self, thread: _Worker, task: _Task) -> None:
        """Have a new thread do what one hangs with."""
        thread.given_up = True
        self.threads.remove(thread)
        self._given_up.append(thread)
        job = task.job
        again = None if job.is_done() else _Job(job.act, job.is_done, job.tries + 1)
        if (again and again.tries > TRIES) or not self._hire(again):
            raise _hangs(task)
        if again is None:
            return
        console.say(
            f"  waited {PATIENCE:g} seconds in vain for {task.what or 'an image'}: another thread tries it again"
        )


def _do(future: Future[R], function: Callable[[T], R], item: T) -> None:
    if future.done() or not (future.running() or future.set_running_or_notify_cancel()):
        return
    result, failure = None, None
    try:
        result = function(item)
    except BaseException as error:
        failure = error
    with contextlib.suppress(InvalidStateError):  # another thread was sooner with the same
        if failure is not None:
            future.set_exception(failure)
        else:
            future.set_result(cast(R, result))


def _hangs(task: _Task) -> ResourceError:
    times = f"{task.job.tries} times " if task.job.tries > 1 else ""
    return ResourceError(
        f"{'an image' if task.what else 'work on an image'} was waited for in vain, {times}for {PATIENCE:g} seconds",
        where=task.what,
        why="what holds it does not answer, such as a network drive, or it is a pipe that nobody writes to",
        remedy="look at that drive; a run goes on with `vitreous resume` from its last checkpoint",
    )

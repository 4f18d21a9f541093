"""Work spread over threads whose results come back in order, a bounded distance ahead of whoever asks for them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def num_cores() -> int:
    """CPU cores this process may use, 1 or more."""
    if hasattr(os, "sched_getaffinity"):  # Linux, where a container or taskset may allow fewer than there are
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_order(function: Callable[[T], R], items: Iterable[T], *, workers: int, ahead: int) -> Generator[R, None, None]:
    """`function` of every item, in the items' order, computed by threads.

    The first exception ends it, in its place in the order. Closing the generator ends the threads.

    Args:
        function: called from the threads; with no workers, from the caller's own.
        items: drawn one by one, in the caller's thread.
        workers: number of threads, 0 or more.
        ahead: how many items may be started before their turn, 1 or more; this bounds the memory held.
    """
    if workers == 0:
        yield from map(function, items)
        return
    started: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="vitreous-images") as pool:
        try:
            for item in items:
                started.append(pool.submit(function, item))
                if len(started) > ahead:
                    yield started.popleft().result()
            while started:
                yield started.popleft().result()
        finally:
            for future in started:
                future.cancel()

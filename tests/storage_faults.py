"""Real faults of storage, for tests: processes killed at a chosen system call, calls that fail, disks that are full.

Everything happens in a forked child, so that limits, mounts and deaths stay there. Mounts and tracing are Linux's.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

resource = pytest.importorskip("resource", reason="a system without fork and limits")

LINUX = sys.platform == "linux"

_TRACEME, _GETREGS, _SETREGS, _SYSCALL, _SETOPTIONS = 0, 12, 13, 24, 0x4200
_TELL_CALLS_FROM_SIGNALS, _DIE_WITH_TRACER = 1, 0x100000
_ANSWER, _NUMBER = 10, 15  # places of rax and orig_rax in x86_64's user_regs_struct
_NEW_MOUNTS, _PRIVATE, _RECURSIVE, _READ_ONLY = 0x20000, 1 << 18, 1 << 14, 1
_YIELD = 24
CALLS = {"write": 1, "fsync": 74, "rename": 82, "mkdir": 83}  # of x86_64
CHANGING = {*CALLS.values(), 2, 257, 76, 77, 84, 87, 263, 264, 258, 316}  # open, truncate, unlink and their variants


_LIBC = ctypes.CDLL(None, use_errno=True)


def libc(name: str, *arguments: int | bytes | None) -> None:
    """Call a function of the C library; OSError where it fails."""
    typed = [ctypes.c_void_p(a) if isinstance(a, int) else ctypes.c_char_p(a) for a in arguments]
    if getattr(_LIBC, name)(*typed) < 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


@dataclass
class Ended:
    """How a child ended."""

    signal: int
    """That killed it, or 0."""
    value: Any
    """What `act` gave; survives JSON."""
    error: str
    """What `act` raised, in words."""

    def ok(self) -> Any:
        """The value, where nothing went wrong."""
        assert (0, "") == (self.signal, self.error), self
        return self.value


def fork(act: Callable[[], Any], write: int, stop: bool = False) -> int:
    """A child that does `act` and writes what came of it; its process id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads: the child starts none
        child = os.fork()
    if child:
        return child
    try:
        if stop:
            _LIBC.ptrace(_TRACEME, 0, None, None)
            os.kill(os.getpid(), signal.SIGSTOP)
        told = {"value": act(), "error": ""}
    except BaseException as error:
        told = {"value": None, "error": f"{error}\n{traceback.format_exc()}"}
    os.sched_yield()  # the tracer knows by this call that the answer follows, and lets it pass
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    os.write(write, json.dumps(told).encode())
    os._exit(0)


def in_child(act: Callable[[], Any], *, trace: Callable[[int], int] | None = None) -> Ended:
    """Do `act` in a forked child, under a tracer perhaps, and tell how it ended."""
    read, write = os.pipe()
    child = fork(act, write, stop=trace is not None)
    os.close(write)
    status = trace(child) if trace else os.waitpid(child, 0)[1]
    with os.fdopen(read, "rb") as pipe:
        told = json.loads(pipe.read() or b"{}")
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    return Ended(number, told.get("value"), told.get("error", ""))


class Killer:
    """A tracer that kills the child just before its n-th call that may change the disk (0: counts them only).

    Between two such calls the disk stays as it is, so that all of them together are a kill at every instant.
    """

    def __init__(self, nth: int = 0) -> None:
        self.nth, self.calls = nth, 0

    def __call__(self, child: int) -> int:
        status = begin(child)
        registers, entering = (ctypes.c_ulong * 27)(), False
        while os.WIFSTOPPED(status):
            if os.WSTOPSIG(status) == signal.SIGTRAP | 0x80:
                entering = not entering
                _LIBC.ptrace(_GETREGS, child, None, registers)
                if entering and registers[_NUMBER] in CHANGING:
                    self.calls += 1
                    if self.calls == self.nth:
                        os.kill(child, signal.SIGKILL)
            status = go_on(child, status)
        return status


class Breaker:
    """A tracer that makes system calls fail: the kernel does not do them and answers with an error number.

    Args:
        call: one of CALLS.
        number: the error's.
        skip: how many calls go well before.
        times: how many fail; then they go well again.
    """

    def __init__(self, call: str, number: int, *, skip: int = 0, times: int = 1) -> None:
        self.call, self.number, self.skip, self.times = CALLS[call], number, skip, times
        self.failed = 0

    def __call__(self, child: int) -> int:
        status = begin(child)
        registers, entering = (ctypes.c_ulong * 27)(), False
        while os.WIFSTOPPED(status):
            if os.WSTOPSIG(status) == signal.SIGTRAP | 0x80:
                entering = not entering
                _LIBC.ptrace(_GETREGS, child, None, registers)
                if registers[_NUMBER] == _YIELD:
                    self.times = 0
                if entering and registers[_NUMBER] == self.call:
                    self.skip -= 1
                    if self.skip < 0 and self.failed < self.times:
                        registers[_NUMBER] = 2**64 - 1  # no such call: nothing is done
                        _LIBC.ptrace(_SETREGS, child, None, registers)
                elif not entering and registers[_NUMBER] == 2**64 - 1:
                    registers[_ANSWER] = 2**64 - self.number
                    self.failed += 1
                    _LIBC.ptrace(_SETREGS, child, None, registers)
            status = go_on(child, status)
        return status


def begin(child: int) -> int:
    """Wait for the child's first stop."""
    _, status = os.waitpid(child, 0)
    libc("ptrace", _SETOPTIONS, child, None, _TELL_CALLS_FROM_SIGNALS | _DIE_WITH_TRACER)
    return go_on(child, status)


def go_on(child: int, status: int) -> int:
    """Let the child run to the next stop, with the signal that it got, if any."""
    number = os.WSTOPSIG(status)
    passed = 0 if number in (signal.SIGTRAP | 0x80, signal.SIGTRAP, signal.SIGSTOP) else number
    _LIBC.ptrace(_SYSCALL, child, None, passed)
    return os.waitpid(child, 0)[1]


def mount_small_disk(folder: Path, size: int) -> None:
    """Mount a file system of `size` bytes at `folder`; in a child only, whose mounts nobody else sees."""
    own_mounts()
    libc("mount", b"tmpfs", bytes(folder), b"tmpfs", 0, f"size={size}".encode())


def make_read_only(folder: Path) -> None:
    """Mount an empty read-only file system at `folder`; in a child only."""
    own_mounts()
    libc("mount", b"tmpfs", bytes(folder), b"tmpfs", _READ_ONLY, b"size=64k")


def own_mounts() -> None:
    """Give this process mounts of its own, which end with it."""
    libc("unshare", _NEW_MOUNTS)
    libc("mount", b"none", b"/", None, _RECURSIVE | _PRIVATE, None)


def limit_files(size: int, *, deadly: bool = False) -> None:
    """No file may become larger than `size` bytes; in a child only. Deadly: who tries is killed in mid-write."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL if deadly else signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@cache
def may_mount() -> bool:
    """Whether this process may have mounts of its own."""
    return LINUX and not in_child(own_mounts).error


@cache
def may_trace() -> bool:
    """Whether this process may trace its children and knows the machine's system calls."""
    if not LINUX or platform.machine() != "x86_64":
        return False
    try:
        return in_child(lambda: os.mkdir("/"), trace=Breaker("mkdir", 5)).error.startswith("[Errno 5]")
    except OSError:
        return False


needs_mounts = pytest.mark.skipif(not may_mount(), reason="needs the right to mount")
needs_tracing = pytest.mark.skipif(not may_trace(), reason="needs ptrace on Linux x86_64")

"""Signs of life between the processes of a run: one that dies or hangs is named by the others, and they end.

Every process counts its heartbeats up in the store that brought the processes together, and listens to the one after
it in the ring of ranks; the first that hears nothing for too long writes its verdict into the store, where all read
it. So the traffic grows with the number of processes and not with its square.

A collective with a process that is gone fails at once at best, and never returns at worst (NCCL; a process that is
stopped but not dead). So two threads stand beside the main one: the pulse speaks with the store, which may itself hang;
the watch only counts and, where the main thread does not come out by itself, ends the process.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shlex
import signal
import socket
import sys
import threading
import time
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist
from torch.distributed.distributed_c10d import Store

from vitreous.distributed.meeting import held_by_torchrun
from vitreous.distributed.world import World
from vitreous.errors import InterruptedRun, ResourceError, VitreousError

_GONE, _FAILED, _ASKED = "is gone", "stopped", "was told to stop"
_LEFT = "left"  # in place of a count: no further sign of life is to be expected
_COLLECTIVE = re.compile(r"gloo/|nccl|connection (closed|reset|refused) by", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long the processes wait for each other, in seconds."""

    beat: float = 2.0
    """Between two signs of life."""
    silence: float = 15.0
    """Without a sign of life, after which a process counts as gone."""
    doubt: float = 5.0
    """The same once a collective has failed, when somebody surely is."""
    grace: float = 8.0
    """For the main thread to come out of a collective by itself, before the process is ended; ten times as long
    where the other was told to stop, since this one may have been told too and be saving."""
    meeting: float = 600.0
    """For all processes to arrive at the start."""
    collective: float = 3600.0
    """For one collective to end while every process shows signs of life."""


@dataclass(frozen=True)
class Peer:
    """Another process of the run, as a person finds it."""

    rank: int
    host: str
    pid: int
    home: str
    """Where its process number means something: one boot of one machine and one container on it; may be empty."""

    def __str__(self) -> str:
        return f"rank {self.rank} on {self.host} (process {self.pid})"

    def has_ended(self) -> bool:
        """Whether it is known to have ended; a process of another machine never is."""
        return bool(self.home) and self.home == _home() and not _runs(self.pid)


@dataclass(frozen=True)
class Verdict:
    """What became of the first process that was lost."""

    who: str
    fate: str
    """As words that follow `who`."""
    why: str


@dataclass(frozen=True)
class Heard:
    """The news of one visit to the store."""

    answers: int = 0
    """Visits so far."""
    beat: str = ""
    """The last sign of life of the next process."""
    ended: bool = False
    """Its process is known to have ended."""


class Heartbeats:
    """This process's signs of life, and what it hears of the others, while `start` and `stop` enclose it.

    Args:
        store: where all processes meet.
        here: this process.
        patience: how long to wait for what.
        run: the run folder, for the message; may be set when it is known.
    """

    def __init__(self, store: Store, here: World, patience: Patience, run: str | None) -> None:
        self.store = store
        self._store = store.clone()  # type: ignore[attr-defined]  # who waits on the one must not still the heart
        self._here, self._patience, self.run = here, patience, run
        self._tick = patience.beat / 4
        self.verdict: Verdict | None = None
        self._settled, self._left, self._doubt, self._wake = (threading.Event() for _ in range(4))
        self._heard = Heard()
        self._lost = ""  # what the store's connection broke with
        self._me = Peer(here.rank, socket.gethostname(), os.getpid(), _home())
        self._next, self._host = self._introduced()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._pulse, self._watch)]

    def start(self) -> None:
        """Begin to show signs of life and to listen."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Take leave: the others no longer expect signs of life from this process.

        Where the store goes with this process, it waits a little, so that all others read the last news.
        """
        self._left.set()
        self._wake.set()
        pulse = self._threads[0]
        pulse.join(self._patience.beat)
        if self._host == self._me and not pulse.is_alive() and not self._lost:
            keys = [f"beat/{rank}" for rank in range(self._here.size)]
            until = time.monotonic() + 1.5 * self._patience.beat
            while time.monotonic() < until and set(self._store.multi_get(keys)) != {_LEFT.encode()}:
                time.sleep(self._tick / 10)

    def blame(self, error: BaseException) -> ResourceError | None:
        """Whether `error` only shows that another process was lost, and then what to tell in its place.

        Args:
            error: as it left the run; asking takes some seconds.
        """
        broken, signalled = _is_collective(error), isinstance(error, KeyboardInterrupt | InterruptedRun)
        if broken or signalled:
            self._doubt.set()
            self._wake.set()
            self._await_verdict(2 * self._patience.doubt if broken else self._patience.beat)
        verdict = self.verdict
        if verdict is not None and (broken or (signalled and verdict.fate == _GONE)):
            return self._told(verdict)
        if broken:
            return ResourceError(
                "the processes of the run lost each other, though every one of them shows signs of life",
                why=next(iter(str(error).splitlines()), type(error).__name__),
                remedy=self._remedy(),
            )
        return None

    def confess(self, error: BaseException) -> None:
        """Tell the others why this process leaves before the end.

        Args:
            error: of its own.
        """
        what = error.what if isinstance(error, VitreousError) else f"{type(error).__name__}: {error}"
        fate = _ASKED if isinstance(error, KeyboardInterrupt | InterruptedRun) else _FAILED
        self._settle(Verdict(str(self._me), fate, next(iter(what.splitlines()), "")))
        self._wake.set()

    def _introduced(self) -> tuple[Peer, Peer | None]:
        """The next process in the ring, and the one that holds the store where that is not torchrun's own."""
        here = self._here
        self._store.set(f"who/{here.rank}", json.dumps(asdict(self._me)))
        self._store.set(f"beat/{here.rank}", "0")
        if here.rank == 0:
            self._store.set("verdict", "")
        ring = (here.rank + 1) % here.size
        self._store.wait(["verdict", f"beat/{ring}", "beat/0"], timedelta(seconds=self._patience.meeting))
        texts = self._store.multi_get([f"who/{ring}", "who/0"])
        following, first = (Peer(**json.loads(text)) for text in texts)
        return following, None if held_by_torchrun() else first

    def _await_verdict(self, seconds: float) -> None:
        """Wait for news of who is gone, as long as there is hope of any.

        Torchrun sends SIGTERM to the rest when one dies, which may end a process in the middle of asking; a first
        Ctrl-C is no reason not to ask either.
        """
        main = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGTERM, signal.SIG_IGN) if main else None
        try:
            for _ in range(2):
                with contextlib.suppress(KeyboardInterrupt, InterruptedRun):
                    self._settled.wait(seconds)
                    return
        finally:
            if main:
                signal.signal(signal.SIGTERM, before)

    def _pulse(self) -> None:
        """Beat, and note what the store says; ends when this process leaves or the store is lost."""
        beats, posted = 0, False
        try:
            while True:
                left = self._left.is_set()
                ended = self._next.has_ended()  # looked at before its last words are read, which it wrote while alive
                beats += 1
                self._store.set(f"beat/{self._here.rank}", _LEFT if left else str(beats))
                if self.verdict is not None and not posted:
                    self._store.compare_set("verdict", "", json.dumps(asdict(self.verdict)))
                    posted = True
                verdict, beat = (
                    text.decode() for text in self._store.multi_get(["verdict", f"beat/{self._next.rank}"])
                )
                if verdict:
                    self._settle(Verdict(**json.loads(verdict)))
                self._heard = Heard(beats, beat, ended)  # in one piece: the watch reads it at any moment
                if left:
                    return
                self._wake.wait(self._tick if self._doubt.is_set() else self._patience.beat)
                if not self._left.is_set():
                    self._wake.clear()
        except (dist.DistError, RuntimeError, OSError) as error:
            self._lost = next(iter(str(error).splitlines()), type(error).__name__)

    def _watch(self) -> None:
        """Count the ticks without news; past the limit settle who is gone, and past the grace end the process.

        Ticks are counted in place of reading a clock: they stand still while this process itself is stopped.
        """
        patience, tick = self._patience, self._tick
        quiet_store = quiet_next = waited = 0.0
        before = self._heard
        while not self._left.wait(tick):
            heard = self._heard
            quiet_store += tick
            if heard.answers != before.answers:  # only an answer shows that it is the neighbour who is quiet
                quiet_next = 0.0 if heard.beat != before.beat else quiet_next + quiet_store
                quiet_store = 0.0
            before = heard
            limit = patience.doubt if self._doubt.is_set() else patience.silence
            if self._lost or quiet_store > limit:
                self._settle(self._without_store(self._lost or f"it has not answered for {limit:.0f} s"))
            elif heard.beat != _LEFT and heard.ended:
                why = "its process ended without a word: killed, perhaps for want of memory"
                self._settle(Verdict(str(self._next), _GONE, why))
            elif heard.beat != _LEFT and quiet_next > limit:
                why = f"it has shown no sign of life for {limit:.0f} s: killed, hanging, or cut off from the network"
                self._settle(Verdict(str(self._next), _GONE, why))
            if self.verdict is None:
                continue
            waited += tick
            if waited > patience.grace * (10 if self.verdict.fate == _ASKED else 1):
                sys.stderr.write(f"{self._told(self.verdict)}\n")
                sys.stderr.flush()
                os._exit(ResourceError.exit_code)

    def _without_store(self, why: str) -> Verdict:
        """The store is lost, and with it whoever held it."""
        if self._host is not None:
            return Verdict(str(self._host), _GONE, f"it held the meeting point: {why}")
        where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        return Verdict(f"torchrun's own process, which held the meeting point at {where},", _GONE, why)

    def _settle(self, verdict: Verdict) -> None:
        """The first verdict stays."""
        if self.verdict is None:
            self.verdict = verdict
            self._settled.set()
            self._wake.set()

    def _remedy(self) -> str:
        again = f"vitreous resume {shlex.quote(self.run)}" if self.run else "the same command"
        return f"{again}, started by torchrun as before"

    def _told(self, verdict: Verdict) -> ResourceError:
        return ResourceError(f"{verdict.who} {verdict.fate}", why=verdict.why, remedy=self._remedy())


def _is_collective(error: BaseException) -> bool:
    """Whether PyTorch's communication broke; what it raises has no class of its own everywhere."""
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and bool(_COLLECTIVE.search(str(error)))
    )


@functools.cache
def _home() -> str:
    """Where this process's number means something, or nothing where the system does not say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _runs(pid: int) -> bool:
    """Whether a process of this machine lives; one that has ended but is not yet buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
    except OSError:
        return True

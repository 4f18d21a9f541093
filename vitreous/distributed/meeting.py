"""How the processes of a run find each other, also after torchrun has started them anew."""

from __future__ import annotations

import json
import os
import secrets
import time
from datetime import timedelta

from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from vitreous.distributed.world import World
from vitreous.errors import ResourceError

_FIRST_LOOK, _LAST_LOOK = 0.01, 0.5  # seconds between two looks: many processes look rarely
_GRACE = 4.0  # seconds that rank 0 waits longer, if it holds the store: the others ask there who never came


def held_by_torchrun() -> bool:
    """Whether the store outlives this world's processes; otherwise rank 0 holds it."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def meet(here: World, seconds: float) -> Store:
    """A store that holds only what the processes of this life write.

    Torchrun keeps its store when it starts the processes anew, and a number of restarts that all would agree on there
    is none: every machine counts its own. So everyone says hello with a word made up now, and rank 0 welcomes those
    whose present words it has heard, until all of them have answered it.

    Args:
        here: this process.
        seconds: to wait for all others.

    Raises:
        ResourceError: some never came.
    """
    patience = seconds if here.rank or held_by_torchrun() else seconds + _GRACE
    store, _, _ = next(rendezvous("env://", timeout=timedelta(seconds=patience)))
    until, pause, word = time.monotonic() + patience, _FIRST_LOOK, secrets.token_hex(8)
    hellos = [f"vitreous/hello/{rank}" for rank in range(here.size)]
    answers = [f"vitreous/answer/{rank}" for rank in range(1, here.size)]
    store.set(hellos[here.rank], word)
    while time.monotonic() < until:
        if here.rank == 0 and store.check(hellos):
            heard = [text.decode() for text in store.multi_get(hellos)]
            store.set("vitreous/welcome", json.dumps(heard))
            if store.check(answers) and set(store.multi_get(answers)) == {word.encode()}:
                return PrefixStore(f"vitreous/{word}", store)
        elif here.rank and store.check(["vitreous/welcome"]):
            welcomed = json.loads(store.get("vitreous/welcome"))
            if welcomed[here.rank : here.rank + 1] == [word]:
                store.set(answers[here.rank - 1], welcomed[0])
                return PrefixStore(f"vitreous/{welcomed[0]}", store)
        time.sleep(pause)
        pause = min(1.5 * pause, _LAST_LOOK)
    # a store that answers shows that rank 0 is there, if it holds it; until all have come it does nothing else
    ranks = range(0 if held_by_torchrun() else 1, here.size)
    absent = [str(rank) for rank in ranks if not store.check([hellos[rank]])]
    raise ResourceError(
        f"{'rank ' + ', '.join(absent) if absent else 'a rank'} of {here.size} did not come within {seconds:.0f} s",
        why="its process never started, failed on its way, or cannot reach this machine",
        remedy="look at what it said last; start every machine with the same torchrun command",
    )

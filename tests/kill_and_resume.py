"""Train, be killed with SIGKILL again and again, resume, and print digests as JSON: run by tests of resuming.

One process imports PyTorch and forks before any arithmetic, so that every life of a run costs no second import.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
import torch._dynamo  # building an optimiser imports it: once here, and not in every life

import vitreous as vt
from vitreous import console
from vitreous.architecture import architecture_from_json
from vitreous.weights.native import read_native


def life(call, until=None, delay: float = 0.0) -> int:
    """Fork, run `call` in the child, and kill it `delay` seconds after `until()` holds; its wait status."""
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        console.use(io.StringIO())
        try:
            call()
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        if until is not None and until():
            time.sleep(delay)
            os.kill(child, signal.SIGKILL)
            until = None
        time.sleep(0.001)


def digest(run: Path) -> dict[str, str]:
    """What must be equal: the result's tensors, and the whole last state with its moments."""
    last = sorted((run / "checkpoints").glob("step-*"))[-1]
    state = hashlib.sha256(
        b"".join((last / f"{n}.safetensors").read_bytes() for n in ("model", "optimizer", "average"))
    )
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    curve = [[r["step"], r["loss"], r["accuracy"], r["val_loss"]] for r in records]
    return {"model": read_native(run / "model.safetensors").digest, "state": state.hexdigest(), "curve": str(curve)}


def main() -> None:
    """Arguments: folders with photos and to work in, recipe, steps; perhaps an architecture (JSON or -) and options."""
    photos, work, recipe, steps = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    made, more = (sys.argv[place] if len(sys.argv) > place else usual for place, usual in ((5, "-"), (6, "{}")))
    options = {
        "model": "vit-test" if made == "-" else architecture_from_json(json.loads(made)),
        "recipe": recipe, "steps": steps, "batch_size": 10, "image_size": 32, "threads": 1, "micro_batch": 4,
        "checkpoint_minutes": 0.0, "seed": 3, "precision": "float32", **json.loads(more),
    }  # fmt: skip
    verb = vt.finetune if "finetune" in recipe else vt.pretrain
    fresh = [work / "whole", work / "again"]
    for run in fresh:
        assert life(lambda run=run: verb(photos, run=str(run), **options)) == 0
    run = work / "killed"
    chance = random.Random(5)

    def saved(step: int) -> bool:
        return (run / "checkpoints" / f"step-{step:08d}").exists()

    def saving(step: int) -> bool:
        return any((run / "checkpoints").glob(f".writing-*-step-{step:08d}")) or saved(step)

    killed = 0
    first = life(lambda: verb(photos, run=str(run), **options), lambda: (run / "run.json").exists())
    killed += os.WIFSIGNALED(first)
    for step in range(1, steps + 1):
        # in turn at some instant of the save of this step, and at some instant of the next step
        until, longest = (saving, 0.006) if step % 2 else (saved, 0.012)
        status = life(lambda: vt.resume(run), lambda until=until, step=step: until(step), chance.uniform(0, longest))
        killed += os.WIFSIGNALED(status)
    assert life(lambda: vt.resume(run)) == 0
    print(json.dumps({"whole": digest(fresh[0]), "again": digest(fresh[1]), "killed": digest(run), "kills": killed}))


if __name__ == "__main__":
    main()

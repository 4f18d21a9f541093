"""Numbers too large, memory, files and time that run short: training goes on, or says why not.

What is proved elsewhere is listed in docs/faults.md.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_runs
import torch
import torch.nn.functional as F
from random_vit import random_vit
from small_photos import write_photos
from small_runs import OPTIONS, live, tiny_plan
from storage_faults import LINUX, in_child, libc, needs_mounts, own_mounts, resource
from tar_shards import write_shards

import vitreous as vt
from vitreous import console
from vitreous.data.feeding import threads
from vitreous.data.layouts.folders import folders
from vitreous.errors import ResourceError
from vitreous.model.attention import Form
from vitreous.model.prepare import Policy, Prepared
from vitreous.training.forecast import Forecast, resident_bytes
from vitreous.training.run import read_records
from vitreous.training.step import Engine

needs_linux = pytest.mark.skipif(not LINUX, reason="looks into Linux's /proc")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos") / "photos")


# --- F3 large logits


@pytest.mark.parametrize("form", ["fused", "matmul"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_attention_logits_of_ten_thousand_stay_finite(form: Form, precision: Any) -> None:
    """F3: answers, loss and every gradient are finite; each token attends to one, as softmax does in the limit."""
    model = random_vit(3)
    with torch.no_grad():
        for block in model.blocks:
            block.attn.qkv.weight.mul_(100.0)  # queries and keys both: the logits grow 10,000 times
    policy = Policy(device="cpu", precision=precision, attention=form, kept_heap=False, reason="asked")
    prepared = Prepared(model, policy).train()
    config = model.config
    images = torch.randn(4, config.in_channels, *config.image_size, generator=torch.Generator().manual_seed(5))
    logits = prepared(images)
    F.cross_entropy(logits, torch.tensor([0, 1, 2, 0])).backward()
    assert logits.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    names = [f"blocks.0.attn.{what}" for what in ("q", "k", "weights")]
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"), torch.no_grad():
        q, k, weights = (model.features(images, names).taps[name].double() for name in names)
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    assert scores.abs().max() > 1e4
    assert (weights.sum(dim=-1) - 1).abs().max() < (1e-6 if precision == "float32" else 2e-2)
    assert weights.amax(dim=-1).median() > 0.99


@pytest.mark.parametrize("scale", [1.0, 30.0, 1e4])
def test_softmax_in_bfloat16_is_summed_in_float32(scale: float) -> None:
    """F3: what half precision gives is the exact softmax of its logits, rounded once."""
    logits = (scale * torch.randn(7, 577, generator=torch.Generator().manual_seed(1))).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = logits.softmax(dim=-1).double()
    exact = logits.double().softmax(dim=-1)
    seen = exact > 1e-30
    assert ((found - exact).abs()[seen] <= 2**-8 * exact[seen]).all()


# --- F4 memory

HUNGRY = """
import hashlib, json, resource, sys, threading
threading.stack_size(1 << 19)  # threads' stacks are reserved out of the same room
sys.path.insert(0, {tests!r})
from small_runs import of_tensors, tiny_plan
from vitreous.architecture import ViTConfig
from vitreous.training.trouble.divergence import Verdict
from vitreous.training.plan import ALONE
from vitreous.training.step import Engine
config = ViTConfig(name="hungry", image_size=(64, 96), patch_size=(4, 4), embed_dim=24, depth=6, num_heads=4,
                   mlp_dim=40, num_classes=3)
micro_batch, room = map(int, sys.argv[1:])
options = dict(image_size=(64, 96), micro_batch=micro_batch, steps=3, workers=1)
plan = tiny_plan(dict(batch_size=24, mixup=0.4), options, config)
engine = Engine(plan, ALONE)
if room:
    taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + room, resource.RLIM_INFINITY))
steps = [(done.loss, engine.micro_batch) for done in engine.steps(0, lambda *_: Verdict.FINE)]
print(json.dumps([*zip(*steps), of_tensors(dict(plan.model.state_dict()))]))
"""


def hungry(micro_batch: int, room: int = 0) -> list[Any]:
    """[losses, micro-batches, digest of the weights] of three steps that may take `room` more bytes."""
    one_heap = {
        "OMP_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_MMAP_THRESHOLD_": "65536",  # what is freed leaves the room at once
        "VITREOUS_KEEP_HEAP": "0",
    }  # threads' own heaps would be reserved out of the same room
    code = HUNGRY.format(tests=str(Path(__file__).parent))
    ran = subprocess.run(
        [sys.executable, "-c", code, str(micro_batch), str(room)],
        capture_output=True, text=True, timeout=300, check=False, env={**os.environ, **one_heap},
    )  # fmt: skip
    assert 0 == ran.returncode, ran.stderr[-2000:]
    return list(json.loads(ran.stdout))


@needs_linux
def test_an_allocation_that_the_system_refuses_halves_the_micro_batch() -> None:
    """F4: RLIMIT_AS. What is learned is to the bit that of a run which began with the smaller one."""
    rooms = range(96, 0, -16)  # what a step needs depends on the machine's kernels
    found = next(found for room in rooms if halved_at_once(found := hungry(24, room << 20)))
    assert found == hungry(found[1][0])


def halved_at_once(found: list[Any]) -> bool:
    """Whether all steps had the same smaller micro-batch, not the first one the larger: that moves last digits."""
    return 24 > max(found[1]) == min(found[1])


# --- F5 images that hang


@pytest.mark.parametrize("when", ["checked", "learned from"])
def test_an_image_that_hangs_is_named_and_keeps_nobody(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """F5: as behind a network drive that does not answer; patience is cut from two minutes to half a second."""
    assert 120 == threads.PATIENCE
    monkeypatch.setattr(threads, "PATIENCE", 0.5)
    stuck, answer, seen = str(photos / "bee" / "bee-3.png"), threading.Event(), []
    assert Path(stuck).exists()
    decode = folders.decode

    def hanging(path: str) -> np.ndarray:
        seen.append(path)
        if path == stuck and seen.count(stuck) > (when == "learned from"):
            answer.wait(60)
        return decode(path)

    monkeypatch.setattr(folders, "decode", hanging)
    began = time.monotonic()
    with pytest.raises(ResourceError, match="an image was waited for in vain") as caught:
        vt.pretrain(photos, run=str(tmp_path / "run"), epochs=3, **OPTIONS)
    answer.set()
    assert stuck in str(caught.value.where)
    assert time.monotonic() - began < 30


# --- F6 shared memory, F7 open files


@needs_mounts
def test_shared_memory_is_not_needed(photos: Path, tmp_path: Path) -> None:
    """F6: /dev/shm of 512 kB, filled to the brim: images are read by threads, which share all memory anyway."""

    def act() -> list[int]:
        own_mounts()
        libc("mount", b"tmpfs", b"/dev/shm", b"tmpfs", 0, b"size=512k")
        with pytest.raises(OSError, match="No space left"):
            Path("/dev/shm/full").write_bytes(b"x" * (1 << 20))
        vt.pretrain(photos, run=str(tmp_path / "run"), steps=3, workers=2, **OPTIONS)
        return [record.step for record in read_records(tmp_path / "run")]

    assert [1, 2, 3] == in_child(act).ok()


@pytest.mark.parametrize("kind", ["folder", "shards"])
def test_few_open_files_are_enough(photos: Path, tmp_path: Path, kind: str) -> None:
    """F7: RLIMIT_NOFILE 64, with sixteen threads, and more shards than that."""
    data = photos if kind == "folder" else write_shards(tmp_path / "shards", [2] * 80)

    def act() -> list[int]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        vt.pretrain(data, run=str(tmp_path / "run"), steps=3, workers=16, **OPTIONS)
        return [record.step for record in read_records(tmp_path / "run")]

    assert [1, 2, 3] == in_child(act).ok()


# --- F8 slow disks


def test_waiting_for_images_is_told_with_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """F8: every read takes 50 ms. The advice comes once, and following it helps."""
    pictures = small_runs.noise()
    read = pictures.train.read

    def slowly(index: int) -> np.ndarray:
        time.sleep(0.05)
        return read(index)

    slow = dataclasses.replace(pictures, train=dataclasses.replace(pictures.train, read=slowly))
    monkeypatch.setattr(small_runs, "noise", lambda _: slow)
    shares = []
    for workers in (1, 16):
        live(tiny_plan({}, {"steps": 6, "workers": workers}), tmp_path / f"run-{workers}")
        shares.append([record.waiting for record in read_records(tmp_path / f"run-{workers}")])
        if workers == 1:
            said = capsys.readouterr().err
    assert shares[0][0] > 0.5
    assert shares[0][-1] > 0.5  # while the advice was being found, images were read ahead
    assert sum(shares[1]) < sum(shares[0])
    assert 1 == said.count("--workers 16")
    assert "reading 5" in said
    assert "waiting for images 9" in said


# --- F9 nothing grows


@needs_linux
@pytest.mark.parametrize(("few", "many"), [(100, 500), pytest.param(200, 2000, marks=pytest.mark.slow)])
def test_many_steps_take_no_more_than_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int, many: int) -> None:
    """F9: memory, open files and threads, with an average, mixing, scores and a checkpoint every two seconds."""
    seen: dict[int, tuple[float, int, int]] = {}
    steps = Engine.steps

    def watched(engine: Engine, *given: Any, **more: Any) -> Iterator[Any]:
        for done in steps(engine, *given, **more):
            if done.step in (few, many - 1):
                files, tasks = (len(os.listdir(f"/proc/self/{what}")) for what in ("fd", "task"))
                seen[done.step] = (resident_bytes(), files, tasks)
            yield done

    monkeypatch.setattr(Engine, "steps", watched)
    changes = {"average_decay": 0.99, "mixup": 0.2, "dropout": 0.1, "augment.erase": 0.5}
    plan = tiny_plan(changes, {"steps": many, "checkpoint_minutes": 1 / 30})
    live(plan, tmp_path / "run")
    (bytes_before, files_before, tasks_before), (bytes_after, files_after, tasks_after) = seen.values()
    assert bytes_after - bytes_before < 12e6  # 5 % of what PyTorch takes alone
    assert (files_before, tasks_before) == (files_after, tasks_after)


# --- F10 time


class Clock:
    """Stands still until it is told how much time goes by."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


def uneven(seed: int, each: float = 0.3, slow: int = 3) -> Iterator[float]:
    """Seconds of one step after another: the first few warm up and take thrice as long, the others vary by a third."""
    rng = np.random.default_rng(seed)
    for number in itertools.count():
        yield each * (3 if number < slow else 1) * (0.67 + 0.66 * rng.random())


@pytest.mark.parametrize("seed", range(5))
def test_the_time_left_is_right_after_a_tenth(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """F10: within 20 %, from a tenth of the run to nine tenths."""
    clock, total = Clock(), 300
    monkeypatch.setattr(console, "time", clock)
    taken = list(itertools.islice(uneven(seed), total))
    monkeypatch.setattr(console, "duration", lambda seconds: f"{seconds!r} s")
    with console.Progress("training", total) as progress:
        for number, seconds in enumerate(taken, 1):
            clock.now += seconds
            progress.advance()
            if total // 10 <= number <= 9 * total // 10:
                told = float(progress._line(clock.now, "").rpartition(" s left")[0].split()[-1])
                assert told == pytest.approx(math.fsum(taken[number:]), rel=0.2)


@pytest.mark.parametrize("seed", range(5))
def test_the_forecast_of_the_first_steps_is_right(seed: int) -> None:
    """F10: within 20 % of what steps and scores take together."""
    looks, look_steps, total = 10, 4.0, 400
    forecast = Forecast(total, looks, look_steps, memory=0.0, cuda=None)
    for number, seconds in enumerate(itertools.islice(uneven(seed), total), 1):
        forecast.step(seconds)
        if number % (total // looks) == 0:
            forecast.looked(0.3 * look_steps * 1.1)
    facts = forecast.facts()
    assert 20 <= facts["predicted"]["measured_steps"]
    assert facts["predicted"]["seconds"] == pytest.approx(facts["measured"]["seconds"], rel=0.2)

"""The command under torchrun: one run on one and on several processes, stopped, gone on with, robbed of one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_photos import write_photos_with_test

from vitreous.training.saving.checkpoint_folder import check, found

WORDS = ["--model", "vit-test", "--image-size", "32", "--batch-size", "12", "--micro-batch", "4"]
WORDS += ["--threads", "1", "--precision", "float32", "--seed", "3"]
RECIPE = ["--set", "mixup=0.5,label_smoothing=0.1,repeats=2,average_decay=0.9,clip_norm=0.5"]
STEPS = 8


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos_with_test(tmp_path_factory.mktemp("photos"))


def start(words: list[str], ranks: int, folder: Path) -> subprocess.Popen[str]:
    """`vitreous WORDS`, on one process or under torchrun, which takes what follows `--` as it is."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks), "--"]
    script = Path(sys.executable).with_name("vitreous")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "VITREOUS_CACHE": str(folder / "cache")}
    command = [sys.executable, *([] if ranks == 1 else torchrun), str(script), *words]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process: subprocess.Popen[str], code: int | None = 0) -> str:
    said, _ = process.communicate(timeout=200)
    assert code is None or process.returncode == code, said
    return said


def curve(run: Path) -> list[tuple[int, float, float]]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(record["step"], record["loss"], record["val_loss"] or 0.0) for record in records]


def training(photos: Path, run: Path, *more: str, steps: int = STEPS) -> list[str]:
    words = ["pretrain", str(photos), *WORDS, *RECIPE, "--run", str(run), "--checkpoint-minutes", "0"]
    return [*words, "--steps", str(steps), *more]


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def alone(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run on one process, which all others are held against."""
    folder = tmp_path_factory.mktemp("alone")
    finish(start(training(photos, folder / "run"), 1, folder))
    return folder / "run"


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_stopped_go_on_as_one(photos: Path, tmp_path: Path, alone: Path, parallel: str) -> None:
    """Losses within 1e-5 of one process; a signal stops both with the state saved, and one alone goes on from it."""
    run = tmp_path / "run"
    process = start(training(photos, run, "--parallel", parallel), 2, tmp_path)
    wait_for(run / "checkpoints" / "step-00000002", process)
    process.send_signal(signal.SIGTERM)
    said = finish(process, code=None)
    assert process.returncode != 0
    assert re.search(r"the run is saved after step \d of 8", said), said
    assert 1 == said.count("stopped by SIGTERM")  # one speaks for all
    assert 1 < len(curve(run)) < STEPS
    said = finish(start(["resume", str(run)], 1, tmp_path))
    assert "processes 2 -> 1" in said
    assert [step for step, *_ in curve(alone)] == [step for step, *_ in curve(run)]
    for mine, theirs in zip(curve(run), curve(alone), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-5)


def test_a_process_that_is_killed_is_named(photos: Path, tmp_path: Path) -> None:
    """The other one stops within 30 seconds, and the last checkpoint is whole."""
    run = tmp_path / "run"
    process = start(training(photos, run, steps=5000), 2, tmp_path)
    wait_for(run / "checkpoints" / "step-00000003", process)
    workers = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    second = next(pid for pid in workers if b"RANK=1\0" in Path(f"/proc/{pid}/environ").read_bytes())
    os.kill(second, signal.SIGKILL)
    killed = time.monotonic()
    said = finish(process, code=None)
    assert time.monotonic() - killed < 30
    assert process.returncode != 0
    assert "rank 1" in said, said
    assert "vitreous resume" in said
    newest = found(run / "checkpoints")[0]
    assert check(newest) is None


def test_a_batch_that_cannot_be_shared_out_is_refused(photos: Path, tmp_path: Path) -> None:
    """Before the first step, with the numbers of processes that fit; nothing is left behind."""
    said = finish(start(training(photos, tmp_path / "run"), 5, tmp_path), code=None)
    assert 1 == said.count("a batch of 12 images cannot be shared out evenly among 5 processes")
    assert "1, 2, 3, 4, 6, 12" in said
    assert not (tmp_path / "run").exists()

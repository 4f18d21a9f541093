"""A run that was killed, stopped or damaged and then resumed ends with the weights of one that was left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from small_photos import write_photos, write_photos_with_test

import vitreous as vt
from vitreous.errors import DataError, InterruptedRun, ModelFileError, ResourceError, UsageError
from vitreous.training.step import Done, Engine, Judge
from vitreous.weights.native import read_native

OPTIONS = {
    "model": "vit-test",
    "image_size": 32,
    "batch_size": 6,
    "threads": 1,
    "checkpoint_minutes": 0.0,
    "precision": "float32",
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photos_with_test(tmp_path / "photos")


@pytest.mark.parametrize("recipe", ["paper-imagenet", "small-finetune"])
def test_killed_again_and_again_and_resumed_equals_uninterrupted(photos: Path, tmp_path: Path, recipe: str) -> None:
    """SIGKILL five times or more in seven steps; dropout, averaging and accumulation are on."""
    script = Path(__file__).with_name("kill_and_resume.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "VITREOUS_CACHE": str(tmp_path / "cache")}
    ran = subprocess.run(
        [sys.executable, str(script), str(photos), str(tmp_path / "work"), recipe, "7"],
        capture_output=True, text=True, env=environment, timeout=300, check=False,
    )  # fmt: skip
    assert 0 == ran.returncode, ran.stderr
    told = json.loads(ran.stdout)
    assert told["kills"] >= 5
    assert told["whole"] == told["again"]
    assert told["whole"] == told["killed"]


def stop_at(step: int, number: int) -> Callable[..., Iterator[Done]]:
    """In place of `Engine.steps`: this process gets a signal in the middle of a step."""
    steps = Engine.steps

    def stopping(engine: Engine, first: int, judge: Judge, *, last: int | None = None) -> Iterator[Done]:
        for done in steps(engine, first, judge, last=last):
            if done.step == step:
                os.kill(os.getpid(), number)
            yield done

    return stopping


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_saves_and_says_how_to_go_on(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    """The exit code tells which signal it was; what resume ends with is what was never stopped."""
    whole = vt.pretrain(photos, run=str(tmp_path / "whole"), steps=5, **OPTIONS)
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "steps", stop_at(2, number))
        with pytest.raises(InterruptedRun, match=f"vitreous resume {tmp_path / 'stopped'}") as caught:
            vt.pretrain(photos, run=str(tmp_path / "stopped"), steps=5, **OPTIONS)
    assert code == caught.value.exit_code
    assert "after step 3 of 5" in str(caught.value)
    resumed = vt.resume(tmp_path / "stopped")
    assert read_native(Path(whole.result.model)).digest == read_native(Path(resumed.result.model)).digest
    assert vt.resume(tmp_path / "stopped").result == resumed.result  # a finished run has nothing to do


def test_a_damaged_newest_checkpoint_is_told_and_the_one_before_used(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One flipped bit in the newest state: resume goes back one checkpoint and still ends with the same weights."""
    whole = vt.pretrain(photos, run=str(tmp_path / "whole"), steps=5, **OPTIONS)
    run = tmp_path / "hurt"
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "steps", stop_at(3, signal.SIGTERM))
        with pytest.raises(InterruptedRun):
            vt.pretrain(photos, run=str(run), steps=5, **OPTIONS)
    newest = sorted((run / "checkpoints").glob("step-*"))[-1] / "optimizer.safetensors"
    blob = bytearray(newest.read_bytes())
    blob[len(blob) // 2] ^= 1
    newest.write_bytes(blob)
    resumed = vt.resume(run)
    assert (
        "step-00000004 is damaged and skipped: optimizer.safetensors is not what was written" in capsys.readouterr().err
    )
    assert read_native(Path(whole.result.model)).digest == read_native(Path(resumed.result.model)).digest


def test_changed_images_are_refused(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Going on with other images would be another run."""
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "steps", stop_at(1, signal.SIGTERM))
        with pytest.raises(InterruptedRun):
            vt.pretrain(photos, run=str(tmp_path / "run"), steps=5, **OPTIONS)
    write_photos(photos / "train", per_class=3, first=500)
    with pytest.raises(DataError, match="not those this run began with"):
        vt.resume(tmp_path / "run")


def test_a_run_folder_in_use_is_refused_with_its_owner(photos: Path, tmp_path: Path) -> None:
    """Two processes never write the same run; the message names the one that holds it."""
    run = tmp_path / "run"
    code = (
        f"from vitreous.training.run import RunFolder; import time, pathlib; p = pathlib.Path({str(run)!r}); p.mkdir();"
    )
    code += "f = RunFolder(p); f.write({'options': {}}); print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert "held" == holder.stdout.readline().strip()
        with pytest.raises(ResourceError, match=f"by process {holder.pid} on ") as caught:
            vt.resume(run)
        assert 6 == caught.value.exit_code
        holder.kill()
    assert photos.exists()


def test_a_run_stopped_before_its_first_step_resumes(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """run.json is there before anything slow is done."""
    whole = vt.pretrain(photos, run=str(tmp_path / "whole"), steps=3, **OPTIONS)

    def interrupted(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    with monkeypatch.context() as patch:
        patch.setattr("vitreous.training.plan.open_splits", interrupted)
        with pytest.raises(InterruptedRun):
            vt.pretrain(photos, run=str(tmp_path / "early"), steps=3, **OPTIONS)
    assert (tmp_path / "early" / "run.json").exists()
    resumed = vt.resume(tmp_path / "early")
    assert read_native(Path(whole.result.model)).digest == read_native(Path(resumed.result.model)).digest


def test_a_folder_called_like_a_model_does_not_take_its_place(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A zoo name means the zoo when the run begins, and still when it is resumed."""
    (tmp_path / "vit-test").mkdir()
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "steps", stop_at(1, signal.SIGTERM))
        with pytest.raises(InterruptedRun):
            vt.finetune(photos, run="run", steps=3, **OPTIONS)
    assert "vit-test" == vt.resume("run").model.config.name


def test_a_folder_called_like_a_built_in_set_does_not_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`digits` means the built-in set when the run begins, and still when it is resumed."""
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "steps", stop_at(1, signal.SIGTERM))
        with pytest.raises(InterruptedRun):
            vt.finetune("digits", run="run", steps=3, **OPTIONS)
    assert 359 == vt.resume("run").result.expected


def test_typing_the_same_command_again_names_resume(photos: Path, tmp_path: Path) -> None:
    """Neither a finished nor an unfinished run is written over."""
    run = str(tmp_path / "run")
    vt.pretrain(photos, run=run, steps=2, **OPTIONS)
    with pytest.raises(UsageError, match="holds a finished run"):
        vt.pretrain(photos, run=run, steps=2, **OPTIONS)


def test_a_run_with_only_damaged_checkpoints_is_an_error(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is silently begun again."""
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "steps", stop_at(1, signal.SIGTERM))
        with pytest.raises(InterruptedRun):
            vt.pretrain(photos, run=str(tmp_path / "run"), steps=5, **OPTIONS)
    for manifest in (tmp_path / "run" / "checkpoints").glob("*/manifest.json"):
        manifest.write_text("{")
    with pytest.raises(ModelFileError, match="every checkpoint of this run is damaged"):
        vt.resume(tmp_path / "run")

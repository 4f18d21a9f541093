"""`demo`, `finetune`, `pretrain`, `resume`: what is passed on, and what is said at the end."""

from __future__ import annotations

import dataclasses
import inspect
import json
import sys
import types
from typing import Any

import pytest

import vitreous.study
import vitreous.training
from vitreous.architecture import ViTConfig
from vitreous.cli import main
from vitreous.config import TrainOptions
from vitreous.results import DemoResult, RunResult
from vitreous.schema import to_json

RESULT = RunResult(
    run="runs/my photos-1",
    model="runs/my photos-1/model.safetensors",
    top1=0.875,
    interval=(0.75, 0.9375),
    seen=80,
    expected=81,
    seconds=12.5,
    report="runs/my photos-1/report.html",
    data="photos/val",
)
DEMO = DemoResult(
    pretrain_top1=0.95,
    transfer_top1=0.9,
    scratch_top1=0.35,
    baseline_top1=0.8,
    seconds=80.0,
    report="runs/demo-1/report.html",
)

Calls = list[tuple[str, tuple[Any, ...], dict[str, Any]]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Calls of stand-ins for the rooms that do the work."""
    made: Calls = []

    def noting(name: str, answer: Any) -> Any:
        def call(*args: Any, **keywords: Any) -> Any:
            made.append((name, args, keywords))
            return answer

        return call

    job = types.ModuleType("vitreous.training.job")
    for name in ("finetune", "pretrain", "resume"):
        setattr(job, name, noting(name, types.SimpleNamespace(result=RESULT)))
    job.plan = noting("plan", ["data     3 classes", "model    vit-test"])  # type: ignore[attr-defined]
    demo = types.ModuleType("vitreous.study.demo")
    demo.demo = noting("demo", DEMO)  # type: ignore[attr-defined]
    demo.MODEL = ViTConfig(  # type: ignore[attr-defined]
        image_size=(28, 28), patch_size=(4, 4), embed_dim=24, depth=5, num_heads=3, mlp_dim=56
    )
    demo.TRANSFER_SIZE, demo.LABELLED_PER_CLASS = (40, 40), 7  # type: ignore[attr-defined]
    for package, module in ((vitreous.training, job), (vitreous.study, demo)):
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(package, module.__name__.rpartition(".")[2], module, raising=False)
    return made


@pytest.mark.parametrize("verb", ["finetune", "pretrain"])
def test_every_option_reaches_the_job(verb: str, calls: Calls) -> None:
    words = (
        "photos --model vit-test --run r --recipe small-finetune --epochs 2.5 --batch-size 6 --learning-rate 0.02 "
        "--image-size 24x40 --val 0.3 --bad-images skip --seed 5 --device cpu --threads 1 --precision float32 "
        "--micro-batch 3 --checkpoint-minutes 0 --root elsewhere"
    )
    assert main([verb, *words.split()]) == 0
    asked = TrainOptions(
        run="r",
        recipe="small-finetune",
        epochs=2.5,
        batch_size=6,
        learning_rate=0.02,
        image_size=(24, 40),
        val=0.3,
        bad_images="skip",
        seed=5,
        device="cpu",
        threads=1,
        precision="float32",
        micro_batch=3,
        checkpoint_minutes=0.0,
        root="elsewhere",
    )
    (name, args, keywords), *rest = calls
    assert (name, args, rest) == (verb, ("photos",), [])
    assert keywords.pop("model") == "vit-test"
    assert TrainOptions(**keywords) == asked
    assert list(keywords) == list(to_json(asked))


@pytest.mark.parametrize("verb", ["finetune", "pretrain"])
def test_a_plan_changes_nothing(verb: str, calls: Calls, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "photos", "--model", "vit-test", "--dry-run", "--steps", "9"]) == 0
    (name, args, keywords), *rest = calls
    assert (name, args, rest) == ("plan", (verb, "photos"), [])
    assert (keywords["model"], keywords["steps"]) == ("vit-test", 9)
    out = capfd.readouterr().out
    assert out.startswith("data     3 classes\nmodel    vit-test\n")
    assert "Nothing was written." in out
    assert main([verb, "photos", "--dry-run", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {"plan": ["data     3 classes", "model    vit-test"]}


@pytest.mark.usefixtures("calls")
@pytest.mark.parametrize("words", [["finetune", "photos"], ["pretrain", "photos"], ["resume", "runs/my photos-1"]])
def test_the_end_of_training(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    out = capfd.readouterr().out
    assert "report  runs/my photos-1/report.html" in out
    assert "  vitreous predict 'runs/my photos-1' new.jpg\n" in out
    assert main([*words, "--json"]) == 0
    said = json.loads(capfd.readouterr().out)
    assert said == to_json(RESULT)
    assert {"run", "model", "top1", "seen", "expected", "seconds", "report"} <= set(said)


@pytest.mark.usefixtures("calls")
@pytest.mark.parametrize("verb", ["pretrain", "resume"])
def test_a_model_without_a_head_is_to_be_taught_classes_next(
    verb: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """`predict` and `evaluate` would refuse it."""
    headless = types.SimpleNamespace(result=dataclasses.replace(RESULT, score="hidden colours"))
    monkeypatch.setattr(sys.modules["vitreous.training.job"], verb, lambda *_, **__: headless)
    assert main([verb, "photos"]) == 0
    _, _, after = capfd.readouterr().out.partition("Next")
    assert "  vitreous finetune DATA --model 'runs/my photos-1'\n" in after
    assert "predict" not in after
    assert "evaluate" not in after


def test_resume_names_the_run(calls: Calls) -> None:
    assert main(["resume", "runs/a"]) == 0
    assert main(["resume", "runs/a", "--allow-data-change"]) == 0
    changes = [{"allow_data_change": False}, {"allow_data_change": True}]
    assert calls == [("resume", ("runs/a",), change) for change in changes]


def test_demo(calls: Calls, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--out", "here", "--seed", "3", "--threads", "2", "--json"]) == 0
    assert calls == [("demo", ("here",), {"seed": 3, "threads": 2})]
    said = capfd.readouterr()
    expected = {"pretrain_top1": 0.95, "transfer_top1": 0.9, "scratch_top1": 0.35, "baseline_top1": 0.8}
    expected |= {"seconds": 80.0, "report": "runs/demo-1/report.html"}
    assert expected.items() <= json.loads(said.out).items()
    assert "vitreous predict runs/demo-1/transfer digit.png" in said.err


def test_the_plan_of_the_demo(calls: Calls, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--dry-run"]) == 0
    assert calls == []
    out = capfd.readouterr().out
    assert "5 blocks, 24 wide" in out
    assert "at 40 px, 7 labelled images per class" in out


@pytest.mark.parametrize("words", [["--seed", "-1"], ["--threads", "0"]])
def test_impossible_numbers_are_refused(words: list[str], calls: Calls) -> None:
    assert main(["demo", *words]) == 2
    assert main(["finetune", "photos", *words]) == 2
    assert calls == []


def test_the_real_rooms_take_what_the_command_passes() -> None:
    from vitreous.study.demo import demo
    from vitreous.training import job

    keywords: dict[str, Any] = dict.fromkeys(to_json(TrainOptions()))
    inspect.signature(job.finetune).bind("photos", model="m", **keywords)
    inspect.signature(job.pretrain).bind("photos", model="m", **keywords)
    inspect.signature(job.plan).bind("finetune", "photos", model="m", **keywords)
    inspect.signature(job.resume).bind("runs/a")
    inspect.signature(demo).bind("here", seed=0, threads=None)

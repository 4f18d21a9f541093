"""A run of VTAB: its means, its choices, what a stop, a second process and a missing task do to it, and its files."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest.mock import create_autospec

import filelock
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from vtab_files import write_lists
from vtab_raw_files import write_task

import vitreous as vt
from vitreous.cli import main
from vitreous.data.vtab import find
from vitreous.data.vtab.find import TaskData
from vitreous.data.vtab.parts import Parts
from vitreous.errors import DataError, DivergedError, InterruptedRun, UsageError
from vitreous.published.vtab import TASKS, find_task
from vitreous.recipe import find_recipe
from vitreous.results import VtabResult
from vitreous.study.vtab import work
from vitreous.study.vtab.settings import Asked, Setting, settings_of
from vitreous.study.vtab.task import choose, score_task
from vitreous.study.vtab.training import Score, train_head

SMALL = {"steps": 2, "image_size": 32, "batch_size": 8, "threads": 1, "precision": "float32"}
FOUR = ("flowers102", "eurosat", "clevr_count", "kitti")
RECIPE = dataclasses.replace(
    find_recipe("paper-finetune-vtab", "finetune"), steps=40, batch_size=16, learning_rate=0.1, clip_norm=None
)


def put(root: Path, name: str, seed: int = 0, counts: tuple[int, int, int] = (12, 5, 9)) -> None:
    """A small task in VTAB-1k's lists; only the first two classes have images."""
    labels = [[(place + seed) % 2 for place in range(count)] for count in counts]
    write_lists(root / name, dict(zip(("train800", "val200", "test"), labels, strict=True)), first=100 * seed)


def data(tmp_path: Path, name: str = "kitti") -> TaskData:
    put(tmp_path, name)
    found = find.open_task(find_task(name), tmp_path)
    assert isinstance(found, TaskData)
    return found


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, VtabResult]:
    """A run of four tasks by a model with random weights."""
    root, out = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("out") / "vtab"
    for seed, name in enumerate(FOUR):
        put(root, name, seed)
    return root, vt.vtab("vit-test", root, tasks=FOUR, seeds=1, out=out, **SMALL)


@pytest.fixture
def no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts and pages are not drawn where a test is about something else."""
    monkeypatch.setattr("vitreous.study.vtab.run.write_files", lambda *_: None)


class Scripted:
    """A trainer whose scores are given: what does best on test does not do best on validation."""

    def __init__(self, val: dict[str, float | None], test: dict[str, float]) -> None:
        self.val, self.test, self.asked = val, test, [("", "", 0)][:0]

    def validated(self, setting: Setting, seed: int) -> Score:
        name = setting.name
        self.asked.append(("val", name, seed))
        if (value := self.val[name]) is None:
            raise DivergedError("the loss is no longer a number")
        return Score(value, 5, 5, 0.1, "")

    def tested(self, setting: Setting, seed: int) -> Score:
        name = setting.name
        self.asked.append(("test", name, seed))
        return Score(self.test[name] + seed / 100, 8, 9, 0.1, "")


def test_validation_alone_chooses_and_test_is_seen_once_for_each_seed(tmp_path: Path) -> None:
    asked = Asked(protocol="light", seeds=2)
    a, b, c, d = (s.name for s in settings_of(asked, find_task("kitti")))
    trainer = Scripted({a: 0.6, b: None, c: 0.7, d: 0.7}, {a: 0.99, b: 0.98, c: 0.3, d: 0.9})
    score = score_task(asked, data(tmp_path), trainer, tmp_path)
    assert [("val", name, 0) for name in (a, b, c, d)] + [("test", c, 0), ("test", c, 1)] == trainer.asked
    assert 0.305 == pytest.approx(score.top1)
    assert {(c, 0.7, "best on the 200 validation images")} == {(r.setting, r.val, r.chosen_by) for r in score.runs}
    assert (8, 9, 1) == (score.seen, score.expected, score.failed)
    assert [(a, 0.6), (b, None), (c, 0.7), (d, 0.7)] == [(each.setting, each.val) for each in score.tries]


def test_one_trial_chooses_nothing(tmp_path: Path) -> None:
    asked = Asked(protocol="heavy", trials=1, seeds=1)
    (only,) = (setting.name for setting in settings_of(asked, find_task("kitti")))
    trainer = Scripted({}, {only: 0.5})
    (run,) = score_task(asked, data(tmp_path), trainer, tmp_path).runs
    assert ("one setting for all tasks", None) == (run.chosen_by, run.val)
    assert [("test", only, 0)] == trainer.asked


def test_where_every_setting_diverges_the_task_has_no_score() -> None:
    settings = settings_of(Asked(protocol="light"), find_task("kitti"))
    with pytest.raises(DivergedError):
        choose(settings, Scripted({s.name: None for s in settings}, {}))


def test_the_linear_head_is_softmax_regression_by_the_recipe() -> None:
    """Against plain SGD with momentum, written out: the same rates, batches and weights."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(53, 6)).astype(np.float32), rng.integers(0, 3, 53)
    recipe = dataclasses.replace(RECIPE, warmup_steps=4, schedule="steps", milestones=(0.5,), steps=12)
    head = train_head(x, y, 5, recipe, seed=2)
    weight, bias = torch.zeros(5, 6), torch.zeros(5)
    speed = [torch.zeros(5, 6), torch.zeros(5)]
    stream = np.concatenate([vt_order(2, epoch, 53) for epoch in range(5)])
    for step in range(12):
        rate = 0.1 * min(1.0, (step + 1) / 4) * (0.1 if step + 1 > 6 else 1.0)
        some = stream[16 * step : 16 * step + 16]
        p = (torch.from_numpy(x[some]) @ weight.T + bias).softmax(1) - F.one_hot(torch.from_numpy(y[some]), 5)
        for value, moving, gradient in (
            (weight, speed[0], p.T @ torch.from_numpy(x[some]) / 16),
            (bias, speed[1], p.mean(0)),
        ):
            moving.mul_(0.9).add_(gradient)
            value.sub_(rate * moving)
    assert torch.allclose(weight, head.weight, atol=1e-6)
    assert torch.allclose(bias, head.bias, atol=1e-6)


def vt_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """As NumPy's own generator orders an epoch; see data/feeding/order.py."""
    stream = np.random.PCG64(np.random.SeedSequence((seed, epoch), spawn_key=(1,)))
    return np.argsort(stream.random_raw(count), kind="stable")


def test_a_diverged_head_is_no_score() -> None:
    x = np.full((8, 2), 1e30, np.float32)
    with pytest.raises(DivergedError, match="rate"):
        train_head(x, np.arange(8) % 2, 2, dataclasses.replace(RECIPE, learning_rate=1e30), seed=0)


def test_four_tasks_whole(four: tuple[Path, VtabResult]) -> None:
    """Every test image is scored by every seed, all classes have an output, and there is no score of 19."""
    _, found = four
    assert list(FOUR) == [each.task for each in found.details]
    assert all((9, 9, 0, 1, 17) == (e.seen, e.expected, e.failed, len(e.runs), e.train) for e in found.details)
    assert {each.task: np.mean([run.top1 for run in each.runs]) for each in found.details} == pytest.approx(found.tasks)
    assert [None] * 5 == [found.mean19, found.mean_of_groups, *found.groups.values()]
    assert found.random
    assert any("2 steps, not 2,500" in words for words in found.deviations)
    assert "flowers102" in found._repr_html_().lower()
    kept = json.loads((Path(found.out) / "tasks/flowers102/seed-0/run.json").read_text())
    assert 102 == len(kept["card"]["classes"]), "two classes have images, and all have an output"
    assert "squash" == kept["card"]["preprocess"]["resize"], "whole images, as VTAB's loader gives them"
    assert {"test", "train", "val"} == set(kept["sets"])
    assert not list(Path(found.out).rglob("*.safetensors")), "models go when they are scored"


def test_what_is_left_behind(four: tuple[Path, VtabResult]) -> None:
    _, found = four
    out = Path(found.out)
    left = {"vtab.json", "vtab.csv", "vtab.md", "vtab.tex", "vtab.svg", "vtab.png", "report.html"}
    assert left <= {path.name for path in out.iterdir()}
    facts = json.loads((out / "vtab.json").read_text())
    assert (found.tasks, None, found.groups) == (facts["tasks"], facts["mean19"], facts["groups"])
    rows = list(csv.DictReader((out / "vtab.csv").read_text().splitlines()))
    assert [(name, "0") for name in FOUR] == [(row["task"], row["seed"]) for row in rows]
    assert {("", "9", "one setting for all tasks")} == {(row["val"], row["n_test"], row["chosen_by"]) for row in rows}
    assert found.details[1].runs[0].top1 == pytest.approx(float(rows[1]["test"]), abs=1e-6)


def test_the_same_again_trains_nothing(four: tuple[Path, VtabResult], monkeypatch: pytest.MonkeyPatch) -> None:
    root, before = four
    monkeypatch.setattr("vitreous.study.vtab.training.run_job", None)
    assert before == vt.vtab("vit-test", root, tasks=FOUR, seeds=1, out=before.out, **SMALL)


@pytest.mark.usefixtures("no_files")
def test_more_seeds_come_to_those_that_are_there(four: tuple[Path, VtabResult]) -> None:
    root, before = four
    found = vt.vtab("vit-test", root, tasks="kitti", seeds=2, out=before.out, **SMALL).details[0]
    assert before.details[3].runs == found.runs[:1]
    a, b = (run.top1 for run in found.runs)
    assert ((a + b) / 2, abs(a - b) / 2**0.5) == pytest.approx((found.top1, found.spread))
    fewer = vt.vtab("vit-test", root, tasks="kitti", seeds=1, out=before.out, **SMALL).details[0]
    assert before.details[3].runs == fewer.runs
    assert fewer.spread is None


def test_another_setting_in_the_same_folder_is_refused(four: tuple[Path, VtabResult]) -> None:
    root, before = four
    with pytest.raises(UsageError, match=r"steps 2, now 3"):
        vt.vtab("vit-test", root, tasks=FOUR, out=before.out, **{**SMALL, "steps": 3})
    with pytest.raises(UsageError, match=r"other weights"):
        vt.vtab("vit-s16", root, tasks=FOUR, out=before.out, **SMALL)


@pytest.mark.usefixtures("no_files")
def test_other_images_in_the_same_folder_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "a", "kitti")
    put(tmp_path / "b", "kitti", seed=1)
    vt.vtab("vit-test", tmp_path / "a", tasks="kitti", seeds=1, out=tmp_path / "out", **SMALL)
    with pytest.raises(UsageError, match="other train images"):
        vt.vtab("vit-test", tmp_path / "b", tasks="kitti", seeds=2, out=tmp_path / "out", **SMALL)


@pytest.mark.usefixtures("no_files")
def test_heads_of_more_seeds_are_all_trained_on_the_images_that_are_there(
    tmp_path: Path,
) -> None:
    put(tmp_path / "a", "kitti")
    put(tmp_path / "b", "kitti", seed=1, counts=(12, 5, 8))
    same = {**SMALL, "tasks": "kitti", "method": "linear", "out": tmp_path / "out"}
    assert [9] == [run.seen for run in vt.vtab("vit-test", tmp_path / "a", seeds=1, **same).details[0].runs]
    assert [8, 8] == [run.seen for run in vt.vtab("vit-test", tmp_path / "b", seeds=2, **same).details[0].runs]


@pytest.mark.usefixtures("no_files")
def test_a_score_of_images_drawn_anew_tells_of_files_that_came_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other, names = data(tmp_path / "other"), tuple(map(str, range(16)))
    sets = {part: dataclasses.replace(getattr(other, part), classes=names) for part in ("train", "val", "test")}
    monkeypatch.setitem(find._DRAWN, "dsprites_loc", lambda _: Parts(**sets, source="drawn", regenerated=True))
    same = {**SMALL, "tasks": "dsprites_loc", "seeds": 1, "method": "linear", "out": tmp_path / "out"}
    for root, told in ((None, False), (tmp_path / "other", False), (tmp_path, True)):
        if told:
            put(tmp_path, "dsprites_loc")
        assert ("dsprites_loc",) == vt.vtab("vit-test", root, **same).regenerated
        assert told is (f"counts once {tmp_path}/out/tasks/dsprites_loc is removed" in capsys.readouterr().err)


@pytest.mark.usefixtures("no_files")
def test_a_missing_task_is_named_and_the_others_are_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 0, or 3 with --strict; JSON has the score of what is there, and no mean."""
    monkeypatch.chdir(tmp_path)
    put(tmp_path, "kitti")
    words = ["vtab", "vit-test", "--root", ".", "--tasks", "kitti,dtd", "--seeds", "1", "--method", "linear", "--json"]
    words += ["--steps", "2", "--image-size", "32", "--batch-size", "8", "--threads", "1", "--precision", "float32"]
    assert 0 == main(words)
    said = capsys.readouterr()
    answer = json.loads(said.out)
    assert (["kitti"], None) == (list(answer["tasks"]), answer["mean19"])
    assert {"Natural": None, "Specialized": None, "Structured": None} == answer["groups"]
    assert ["dtd"] == [each["task"] for each in answer["missing"]]
    assert answer["missing"][0]["looked"]
    assert "www.robots.ox.ac.uk" in answer["missing"][0]["remedy"]
    assert "DTD: its images were not found" in said.err
    assert "there is no VTAB score" in said.err
    assert 3 == main([*words, "--strict"])


def test_where_nothing_is_there_it_stops_before_it_begins(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images for this task"):
        vt.vtab("vit-test", tmp_path, tasks="pets", out=tmp_path / "out", **SMALL)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("no_files")
def test_damaged_files_are_one_tasks_trouble(tmp_path: Path) -> None:
    put(tmp_path, "kitti")
    put(tmp_path, "dtd")
    (tmp_path / "dtd/test.txt").write_text("images/test/000000.jpg 90\n")
    found = vt.vtab("vit-test", tmp_path, tasks="kitti,dtd", seeds=1, method="linear", out=tmp_path / "out", **SMALL)
    assert ["kitti"] == list(found.tasks)
    assert "labels go up to 90" in found.missing[0].why


@pytest.mark.usefixtures("no_files")
def test_unreadable_test_images_are_counted(tmp_path: Path) -> None:
    put(tmp_path, "kitti")
    (tmp_path / "kitti/images/test/000004.jpg").write_bytes(b"no picture")
    found = vt.vtab("vit-test", tmp_path, tasks="kitti", seeds=1, method="linear", out=tmp_path / "out", **SMALL)
    assert (8, 9, 1) == (found.seen, found.expected, found.failed)


def test_list_has_nineteen_objects(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["vtab", "--list", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert 19 == len(found)
    assert {("task", "group", "classes", "train", "val", "test", "metric")} == {tuple(each) for each in found}
    assert {"Natural": 7, "Specialized": 4, "Structured": 8} == {
        group: sum(each["group"] == group for each in found) for group in ("Natural", "Specialized", "Structured")
    }
    camelyon = next(each for each in found if each["task"] == "camelyon")
    assert (2, 262144, 32768, 32768, "top-1") == tuple(
        camelyon[k] for k in ("classes", "train", "val", "test", "metric")
    )


def test_list_says_what_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "kitti")
    other = data(tmp_path / "other")
    names = tuple(map(str, range(16)))
    sets = {p: dataclasses.replace(getattr(other, p), classes=names) for p in ("train", "val", "test")}
    drawn = Parts(**sets, source="drawn", regenerated=True)
    monkeypatch.setattr(find, "_DRAWN", dict.fromkeys(find._DRAWN, lambda _: drawn))
    assert 0 == main(["vtab", "--list", "--root", str(tmp_path), "--json"])
    found = {each["task"]: each for each in json.loads(capsys.readouterr().out)}
    assert {"kitti", "dsprites_loc", "dsprites_ori"} == {name for name, each in found.items() if each["there"]}
    assert {"dsprites_loc", "dsprites_ori"} == {name for name, each in found.items() if each["regenerated"]}
    assert found["pets"]["remedy"]
    assert 3 == main(["vtab", "--list", "--root", str(tmp_path), "--tasks", "kitti,pets", "--strict", "--json"])
    assert ["pets", "kitti"] == [each["task"] for each in json.loads(capsys.readouterr().out)]
    assert 0 == main(["vtab", "--list", "--root", str(tmp_path), "--tasks", "kitti", "--strict"])


def test_dry_run_prices_every_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """4 tries of 800 images and 3 final runs; the operations are those of the cost room, and nothing is written."""
    put(tmp_path, "kitti")
    out = tmp_path / "out"
    words = ["vtab", "vit-s16", "--root", str(tmp_path), "--tasks", "kitti", "--protocol", "light", "--dry-run"]
    assert 0 == main([*words, "--out", str(out), "--json"])
    plan = json.loads(capsys.readouterr().out)
    assert (4, 7, 7) == (plan["tasks"][0]["settings"], plan["tasks"][0]["runs"], plan["runs"])
    steps = 2 * (2500 + 10_000) + 3 * 10_000
    forward = 9.2e9  # of ViT-S/16 at 224 px: 4.6 G multiply-adds
    assert 3 * forward * 512 * steps == pytest.approx(plan["flops"], rel=0.02)
    assert not out.exists()


@pytest.mark.usefixtures("no_files")
def test_linear_and_full_agree_on_what_is_learned_when_only_the_head_moves(tmp_path: Path) -> None:
    """Frozen features and full training with --set train=head: the same accuracy on separable classes."""
    put(tmp_path, "kitti")
    same = {**SMALL, "steps": 30}
    whole = "augment.crop=centre,augment.flip=false"
    linear = vt.vtab(
        "vit-test", tmp_path, tasks="kitti", seeds=1, method="linear", out=tmp_path / "l", set=whole, **same
    )
    full = vt.vtab("vit-test", tmp_path, tasks="kitti", seeds=1, set=f"{whole},train=head", out=tmp_path / "f", **same)
    assert linear.tasks == full.tasks


def started(*words: str, folder: Path) -> subprocess.Popen[str]:
    code = "import sys; from vitreous.cli import main; sys.exit(main(sys.argv[1:]))"
    small = ["--image-size", "32", "--batch-size", "8", "--threads", "1", "--precision", "float32", "--seeds", "1"]
    command = [sys.executable, "-c", code, "vtab", "vit-test", "--root", str(folder), "--out", str(folder / "out")]
    return subprocess.Popen([*command, *small, *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.usefixtures("no_files")
def test_a_stopped_run_goes_on_with_the_same_call(tmp_path: Path) -> None:
    """A signal saves and names the command that goes on with all tasks; then the score is that of a whole run."""
    put(tmp_path, "kitti")
    metrics = tmp_path / "out/tasks/kitti/seed-0/metrics.jsonl"

    def stop() -> None:
        while not metrics.exists():
            time.sleep(0.002)
        os.kill(os.getpid(), signal.SIGTERM)

    small = {**SMALL, "steps": 60, "tasks": "kitti", "seeds": 1}
    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(InterruptedRun, match=r"vt\.vtab\('vit-test'") as stopped:
        vt.vtab("vit-test", tmp_path, out=tmp_path / "out", **small)
    stopper.join()
    assert 75 == stopped.value.exit_code
    lines = len(metrics.read_text().splitlines())
    assert lines < 40
    found = vt.vtab("vit-test", tmp_path, out=tmp_path / "out", **small)
    assert 40 == len(metrics.read_text().splitlines())
    assert vt.vtab("vit-test", tmp_path, out=tmp_path / "whole", **small).tasks == found.tasks


@pytest.mark.usefixtures("no_files")
def test_a_task_that_somebody_works_on_is_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path, "kitti")
    folder = tmp_path / "out/tasks/kitti"
    folder.mkdir(parents=True)
    other = filelock.FileLock(folder / ".lock", thread_local=False)
    other.acquire()
    threading.Timer(1.0, other.release).start()
    found = vt.vtab("vit-test", tmp_path, tasks="kitti", seeds=1, method="linear", out=tmp_path / "out", **SMALL)
    assert ["kitti"] == list(found.tasks)
    assert 1 == capsys.readouterr().err.count("another process is at work on it")


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Killed twice, by SIGTERM and SIGKILL; the end is bit for bit that of a run that was never stopped."""
    put(tmp_path, "kitti")
    words = ("--tasks", "kitti", "--steps", "400", "--keep-models")
    metrics = tmp_path / "out/tasks/kitti/seed-0/metrics.jsonl"
    for number, code in ((signal.SIGTERM, 75), (signal.SIGKILL, -9)):
        process = started(*words, folder=tmp_path)
        seen = metrics.stat().st_size if metrics.exists() else 0
        while process.poll() is None and not (metrics.exists() and metrics.stat().st_size > seen):
            time.sleep(0.01)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        assert code == process.returncode, said
        if number == signal.SIGTERM:
            assert "vitreous vtab vit-test --root" in said, "the same command goes on, not resume"
    stopped = vt.vtab(
        "vit-test", tmp_path, tasks="kitti", seeds=1, out=tmp_path / "out", keep_models=True, **{**SMALL, "steps": 400}
    )
    whole = vt.vtab(
        "vit-test",
        tmp_path,
        tasks="kitti",
        seeds=1,
        out=tmp_path / "whole",
        keep_models=True,
        **{**SMALL, "steps": 400},
    )
    assert whole.tasks == stopped.tasks
    a, b = (vt.load(out / "tasks/kitti/seed-0").state_dict() for out in (tmp_path / "whole", tmp_path / "out"))
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.slow
def test_two_processes_on_one_folder_share_the_tasks(tmp_path: Path) -> None:
    """Each task is done once, by one of them, and both end with all of them."""
    for seed, name in enumerate(FOUR):
        put(tmp_path, name, seed)
    processes = [started("--tasks", ",".join(FOUR), "--steps", "25", "--json", folder=tmp_path) for _ in range(2)]
    answers = [process.communicate(timeout=100) for process in processes]
    assert [0, 0] == [process.returncode for process in processes], answers
    one, other = (json.loads(out) for out, _ in answers)
    assert one["tasks"] == other["tasks"]
    assert set(FOUR) == set(one["tasks"])
    trained = [sum(said.count("seed 1 of 1") for _, said in answers)]
    assert [4] == trained


@pytest.mark.slow
def test_jobs_give_what_one_process_gives(tmp_path: Path, four: tuple[Path, VtabResult]) -> None:
    root, alone = four
    shared = vt.vtab("vit-test", root, tasks=FOUR, seeds=1, out=tmp_path / "out", jobs=2, **SMALL)
    assert alone.tasks == shared.tasks
    assert 2 == len(list((tmp_path / "out").glob("log-*.txt")))


def test_what_broke_in_one_of_several_processes_stands_in_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = work.Job(asked=Asked(tasks=("dtd",)), root=tmp_path, out=tmp_path, command="vitreous vtab", visit="one")
    monkeypatch.setattr(work, "find_origin", create_autospec(work.find_origin, side_effect=ZeroDivisionError("odd")))
    monkeypatch.setattr(os, "setsid", lambda: None)  # else this process leaves the terminal of the tests
    with pytest.raises(SystemExit, match="1"):
        work._worker(job, "vit-test", ["dtd"])
    (log,) = tmp_path.glob("log-*.txt")
    assert log.read_text(encoding="utf-8").startswith("Traceback")
    assert "ZeroDivisionError: odd" in log.read_text(encoding="utf-8")


@pytest.mark.slow
def test_nineteen_tasks_from_their_real_containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline and whole: dSprites drawn anew twice, the other seventeen in their authors' files, a score at the end."""
    for task in TASKS:
        if not task.name.startswith("dsprites"):
            write_task(tmp_path, task.name)
    cut = find._DRAWN["dsprites_loc"]
    monkeypatch.setattr(
        find, "_DRAWN", dict.fromkeys(find._DRAWN, lambda task: shortened(cut(task)))
    )  # 73,728 test images twice take a minute of drawing
    found = vt.vtab("vit-test", tmp_path, seeds=1, out=tmp_path / "out", **SMALL)
    assert () == found.missing
    assert 19 == len(found.tasks)
    assert np.mean(list(found.tasks.values())) == pytest.approx(found.mean19)
    assert {"dsprites_loc", "dsprites_ori"} == set(found.regenerated)
    assert found.seen == found.expected
    assert "†" in (tmp_path / "out/report.html").read_text()


def shortened(parts: Parts) -> Parts:
    return dataclasses.replace(parts, test=parts.test.subset(range(300)))

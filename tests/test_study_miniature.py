"""The studies in miniature: the plan is whole, equal runs are one, compute is equal, and no sentence goes too far."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import math
import os
import re
import shlex
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import create_autospec

import miniature_page
import numpy as np
import pytest

from vitreous import console
from vitreous.architecture import ResNetConfig, ViTConfig
from vitreous.cli import main
from vitreous.cost import parameters, training_flops
from vitreous.errors import UnknownNameError, UsageError
from vitreous.published.measured import Measured
from vitreous.published.vit_paper import tables
from vitreous.report.html import write_miniature_report
from vitreous.report.miniature import LABEL, chart, markdown, tally, write_charts
from vitreous.results.miniature import MiniatureArm, MiniatureResult, MiniatureScore
from vitreous.schema import from_json, to_json
from vitreous.study.miniature import run, work
from vitreous.study.miniature.findings import finding, least_clear, study_results
from vitreous.study.miniature.images import other_writers, splits
from vitreous.study.miniature.plan import BATCH, Claim, Images, Study, Work, all_runs, seeded
from vitreous.study.miniature.studies import BUDGETS, SIZES, VIT, studies
from vitreous.study.miniature.work import Score, read_scored, runs_folder, scores_file

TINY = ViTConfig(
    name="vit-tiny", image_size=(8, 8), patch_size=(4, 4), embed_dim=8, depth=1, num_heads=2, mlp_dim=12, num_classes=10
)


def study(name: str) -> Study:
    return studies([name])[0]


def test_every_cell_of_table_8_is_planned() -> None:
    configs = [arm.work.model for arm in study("positions").arms]
    assert all(isinstance(config, ViTConfig) for config in configs)
    assert [(config.position, config.position_at) for config in configs if isinstance(config, ViTConfig)] == [
        ("none", "input"),
        ("learned", "input"), ("learned", "every"), ("learned", "shared"),
        ("learned-2d", "input"), ("learned-2d", "every"), ("learned-2d", "shared"),
        ("relative", "input"),
    ]  # fmt: skip
    assert [arm.paper.split()[0] for arm in study("positions").arms] == (
        ["61.38", "64.21", "63.96", "64.29", "64.00", "64.05", "64.02", "64.03"]
    )


def test_table_7_is_planned_with_the_papers_averages() -> None:
    arms = study("optimizers").arms
    assert [arm.paper.split()[0] for arm in arms] == ["89.33", "88.79", "94.01", "93.72"]
    assert all(isinstance(arm.work.model, ResNetConfig) for arm in arms)
    assert ["optimizer=sgd" in arm.work.change for arm in arms] == [False, True, False, True]
    decay = [(0.05 if "weight_decay" not in arm.work.change else 5e-4) * arm.work.learning_rate for arm in arms]
    assert decay == pytest.approx([5e-5] * 4)  # both shrink the weights by as much a step


def test_pooling_has_both_rates_in_the_papers_proportion() -> None:
    rates = {(arm.work.model.pool, arm.work.learning_rate) for arm in study("pooling").arms}  # type: ignore[union-attr]
    high = max(rate for _, rate in rates)
    assert rates == set(itertools.product(("cls", "mean"), (high, high * 3 / 8)))


def test_scaling_changes_one_dimension_at_a_time() -> None:
    for arm in study("scaling").arms:
        model = arm.work.model
        assert isinstance(model, ViTConfig)
        changed = {
            field.name
            for field in dataclasses.fields(ViTConfig)
            if getattr(model, field.name) != getattr(VIT, field.name)
        } - {"name"}
        assert changed in (set(), {"depth"}, {"patch_size"}, {"mlp_dim"}, {"embed_dim", "mlp_dim", "num_heads"},
                           {"embed_dim", "mlp_dim"}), arm.name  # fmt: skip


def test_equal_compute_is_equal_within_a_hundredth() -> None:
    arms = study("compute").arms
    assert len(arms) == 9
    for place, arm in enumerate(arms):
        cost = training_flops(arm.work.model) * BATCH * arm.work.steps
        assert abs(cost / BUDGETS[place // 3] - 1) < 0.01, arm.name


def test_masked_supervised_and_scratch_differ_in_nothing_but_where_they_begin() -> None:
    arms = study("masked").arms
    for three in (arms[:3], arms[3:]):
        after = [one.work.after for one in three]
        assert [one.recipe if one else None for one in after] == ["small-images", "small-masked", None]
        works = [one.work for one in three]
        assert len({(one.images, one.steps, one.batch_size, one.learning_rate, one.change) for one in works}) == 1


def test_data_grows_from_250_to_4000_with_as_many_steps() -> None:
    works = [arm.work for arm in study("data").arms]
    assert [one.learned for one in works] == [*SIZES, *SIZES]
    assert len({one.steps for one in works}) == 1


def test_equal_runs_are_shared_between_studies() -> None:
    every = all_runs(studies(), 2)
    assert len(set(every)) == len(every) == len({(one.name, one.seed) for one in every})
    usual = [arm.work for one in studies() for arm in one.arms if arm.work == Work(model=VIT)]
    assert len(usual) == 4  # positions, pooling, scaling, data
    assert study("masked").arms[0].work.after == usual[0]
    assert every.index(usual[0]) < every.index(study("masked").arms[0].work)


def test_a_whole_first_seed_comes_before_the_second() -> None:
    seeds = [one.seed for one in all_runs(studies(), 3)]
    assert seeds == sorted(seeds)
    assert seeds.count(0) == seeds.count(1) == seeds.count(2)


def test_a_study_that_is_not_there() -> None:
    with pytest.raises(UnknownNameError, match="positions"):
        studies(["position"])


def test_the_plan_in_words_says_how_long() -> None:
    words = run.plan(seeds=3, threads=2)
    assert len(words) == 8
    assert "3 seeds" in words[-1]
    assert "2 at once" in words[-1]


def test_framed_digits_keep_their_pixels() -> None:
    framed = other_writers()
    assert framed.read(3).shape == (12, 12, 3)
    assert framed.read(3)[:2].max() == framed.read(3)[:, -2:].max() == 0
    assert len(framed) == 1797


def test_another_seed_takes_other_images() -> None:
    few = [splits(Images(per_class=25), seed).train for seed in (0, 0, 1)]
    assert few[0].counts.tolist() == [25] * 10
    assert few[0].fingerprint == few[1].fingerprint != few[2].fingerprint
    labelled = splits(Images(name="digits", per_class=10), 0)
    assert labelled.test is not None
    assert len(labelled.train) + len(labelled.test) == 1797


# --- sentences --------------------------------------------------------------------------------------------------------


def arm(name: str, *values: float) -> MiniatureArm:
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1)) if len(values) > 1 else None
    score = MiniatureScore(mean=mean, spread=spread, values=values, seen=898, expected=898)
    return MiniatureArm(
        name=name, trained="", learned=7, flops=1e9, seeds=len(values), scores={"5-shot": score}
    )  # fmt: skip


def said(claim: Claim, first: MiniatureArm, second: MiniatureArm) -> tuple[str, bool, bool | None]:
    found = finding(claim, first, second, "5-shot")
    return found.sentence, found.clear, found.agrees


def test_the_least_clear_difference_is_students() -> None:
    stats = pytest.importorskip("scipy.stats")
    a, b = (0.71, 0.74, 0.70), (0.75, 0.79, 0.78)
    one, other = (arm("x", *values).scores["5-shot"] for values in (a, b))
    least = least_clear(one, other)
    assert least is not None
    by_scipy = stats.ttest_ind(a, b)
    interval = by_scipy.confidence_interval(0.95)
    assert least == pytest.approx((interval.high - interval.low) / 2, rel=1e-3)
    assert (abs(one.mean - other.mean) > least) == (by_scipy.pvalue < 0.05)


def test_within_the_spread_nothing_is_claimed() -> None:
    claim = Claim(first="2-D", second="1-D", expected="above", words="2-D ahead")
    sentence, clear, agrees = said(claim, arm("2-D", 0.70, 0.74, 0.72), arm("1-D", 0.70, 0.73, 0.721))
    assert not clear
    assert agrees is None
    assert sentence.startswith("“2-D” is 0.3 points above “1-D”: within the spread of the seeds")
    assert "neither for nor against the paper" in sentence


def test_beyond_the_spread_it_agrees_or_not() -> None:
    high, low = arm("a", 0.80, 0.81, 0.82), arm("b", 0.60, 0.61, 0.62)
    for expected, agrees in (("above", True), ("below", False), ("equal", False), (None, None)):
        claim = Claim(first="a", second="b", expected=expected, words="such")  # type: ignore[arg-type]
        sentence, clear, found = said(claim, high, low)
        assert (clear, found) == (True, agrees)
        assert "20.0 points above" in sentence
        assert ("found otherwise: such" in sentence) == (agrees is False)
        assert ("found the same: such" in sentence) == (agrees is True)


def test_alike_only_where_a_difference_could_have_been_seen() -> None:
    claim = Claim(first="a", second="b", expected="equal", words="both alike")
    assert said(claim, arm("a", 0.700, 0.702, 0.701), arm("b", 0.701, 0.703, 0.701))[2] is True
    assert said(claim, arm("a", 0.60, 0.80, 0.70), arm("b", 0.75, 0.65, 0.71))[2] is None


def test_many_seeds_are_held_to_a_bound_that_is_not_below_students() -> None:
    stats = pytest.importorskip("scipy.stats")
    values = tuple(0.7 + 0.01 * place for place in range(15))
    score = arm("x", *values).scores["5-shot"]
    least = stats.t.ppf(0.975, 28) * statistics.stdev(values) * math.sqrt(2 / 15)
    found = least_clear(score, score)
    assert found is not None
    assert least <= found < 1.04 * least


def test_only_pairs_that_the_paper_speaks_of_are_tallied() -> None:
    result = invented(3)
    claims = [claim for one in studies() for claim in one.claims]
    spoken = [claim for claim in claims if claim.expected]
    assert len(spoken) == len(claims) - 3
    assert tally(result).startswith(f"Of {len(spoken)} comparisons of the paper's, ")
    assert sum(map(int, re.findall(r"(\d+) (?:came|the other|not)", tally(result)))) == len(spoken)


def test_what_repeats_a_part_is_typed_as_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_all_done", lambda *_: {})
    asked = run.miniature(tmp_path, seeds=2, only=["pooling", "data"])
    done = create_autospec(run.miniature, return_value=None)
    monkeypatch.setattr(run, "miniature", done)
    program, *words = shlex.split(asked.command)
    assert (program, main(words)) == ("vitreous", 0)
    done.assert_called_once_with(str(tmp_path), seeds=2, threads=None, minutes=None, only=("pooling", "data"))


def test_the_label_says_how_many_weights_there_are() -> None:
    counts = [parameters(arm.work.model) for one in studies() for arm in one.arms]
    assert (24, 820) == (round(min(counts) / 1e3), round(max(counts) / 1e4) * 10)
    assert "24,000 to 820,000 weights" in LABEL


def test_one_seed_claims_nothing() -> None:
    sentence, clear, agrees = said(Claim(first="a", second="b", expected="above"), arm("a", 0.9), arm("b", 0.1))
    assert (clear, agrees) == (False, None)
    assert "with one seed" in sentence


# --- tables, charts, page ---------------------------------------------------------------------------------------------


def seen(one: Work) -> dict[str, int]:
    few = {"5-shot": 898, "10-shot": 898, "held-out": 1000}
    return {"fine-tuned": 1697} if one.images.name == "digits" else few


def invented(seeds: int, leave_out: int = 0) -> MiniatureResult:
    """A result of scores that are drawn, not measured."""
    draw = np.random.default_rng(5)
    works = all_runs(studies(), seeds)
    done = works[: len(works) - leave_out]
    scores = {
        one: {name: Score(value=float(draw.uniform(0.4, 0.9)), seen=n, expected=n) for name, n in seen(one).items()}
        for one in done
    }  # fmt: skip
    return MiniatureResult(
        studies=tuple(study_results(one, seeds, scores) for one in studies()),
        runs=len(done), planned=len(works), seeds=seeds, seconds=11.0, cpu_seconds=19.0, out="out", written="today",
        report="out/report.html", command="vitreous paper --miniature", environment={"PyTorch": "2", "vitreous": "1"},
    )  # fmt: skip


def test_the_page_says_what_rests_on_what(tmp_path: Path) -> None:
    whole = invented(2)
    assert all(chart(one) is not None for one in whole.studies)
    result = dataclasses.replace(whole, studies=tuple(whole.studies[place] for place in (0, 1, 6)))
    page = write_miniature_report(tmp_path / "report.html", result).read_text(encoding="utf-8")
    text = markdown(result, "charts")
    for shown in (page, text):
        assert shown.count(
            "In miniature. Trained on 4,000 images, each the mean ± sample standard deviation of 2 seeds"
        )
        assert "250 to 4,000 images" in shown
        assert "898 images" in shown
        assert "64.21 %" in shown
        assert "5-shot on ImageNet" in shown
        assert "89.33 %" in shown
        assert "neither confirm nor refute" in shown
    assert result.complete
    assert "not done yet" not in text


def test_an_unfinished_page_says_so(tmp_path: Path) -> None:
    result = write_charts(tmp_path, dataclasses.replace(invented(1, leave_out=20), studies=invented(1, 20).studies[:1]))
    assert not result.complete
    text = (tmp_path / "miniature.md").read_text(encoding="utf-8")
    assert "are not done yet" in text
    assert sorted(path.name for path in (tmp_path / "charts").iterdir()) == ["positions.png", "positions.svg"]
    assert all((tmp_path / "charts" / name).stat().st_size > 5000 for name in ("positions.png", "positions.svg"))


# --- really run -------------------------------------------------------------------------------------------------------


def tiny_studies() -> tuple[Study, ...]:
    """One study of one small pre-training and of what is fine-tuned from it."""
    first = Work(model=TINY, images=Images(per_class=5), steps=40, batch_size=10)
    then = Work(
        verb="finetune", model=TINY, after=first, images=Images(name="digits", per_class=3), steps=3, batch_size=10,
        recipe="small-masked-finetune", change="average_decay=nothing",
    )  # fmt: skip
    whole = study("masked")
    arms = tuple(dataclasses.replace(each, work=made) for each, made in zip(whole.arms[:2], (then, first), strict=True))
    return (dataclasses.replace(whole, arms=arms[:1], claims=()),)


CHILD = """
import signal, sys, torch
sys.path.insert(0, {tests!r})
torch.set_num_threads(1)
from test_study_miniature import all_runs, tiny_studies
from vitreous.study.miniature import work
from pathlib import Path
known = {{work.runs_folder(Path(), one).name: one for one in all_runs(tiny_studies(), 1)}}
work.serve(sys.stdin, lambda name: work.to_json(work.do(Path({out!r}), known[name])))
"""


def child(out: Path) -> subprocess.Popen[str]:
    code = CHILD.format(tests=str(Path(__file__).parent), out=str(out))
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                            stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip


def test_two_runs_are_done_killed_and_resumed(tmp_path: Path) -> None:
    first, then = all_runs(tiny_studies(), 1)
    names = [runs_folder(tmp_path, one).name for one in (first, then)]
    process = child(tmp_path)
    assert process.stdin is not None
    process.stdin.write(names[0] + "\n")
    process.stdin.flush()
    metrics = runs_folder(tmp_path, first) / "run.json"
    while not metrics.exists() and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert read_scored(tmp_path, first) is None

    console.use(io.StringIO())
    try:
        resumed = work.do(tmp_path, first)
        transferred = work.do(tmp_path, then)
        assert work.do(tmp_path, first) == resumed  # read back
    finally:
        console.use(None)
    assert set(resumed.scores) == {"5-shot", "10-shot", "held-out"}
    assert resumed.scores["5-shot"].seen == 898
    assert set(transferred.scores) == {"fine-tuned"}
    assert transferred.scores["fine-tuned"].seen == 1797 - 30


def test_scores_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    path = scores_file(tmp_path, Work(model=TINY))
    path.parent.mkdir()
    path.write_text(json.dumps({"scores": 3}), encoding="utf-8")
    with pytest.raises(UsageError, match="cannot be read"):
        read_scored(tmp_path, Work(model=TINY))


def test_a_seed_changes_what_a_run_begins_from_too() -> None:
    (_, then) = all_runs(tiny_studies(), 1)
    other = seeded(then, 4)
    assert other.after is not None
    assert (other.seed, other.after.seed) == (4, 4)


def test_measured_values_stand_beside_cells_that_are_there() -> None:
    measured = miniature_page.entries(json.loads(json.dumps(to_json(invented(2)))))
    known = {table.name: table for table in tables()}
    assert len(measured) == 8 + 4
    for entry in measured:
        from_json(Measured, entry)
        row, column, cell = known[entry["table"]].find(entry["row"], entry["column"])
        assert (row.name, column.name) == (entry["row"], entry["column"])
        assert cell is not None
        assert cell.value is not None
        assert (entry["value"] > 1) == (cell.value > 1)  # the same unit

"""VTAB's means follow from its tasks, and each protocol tries what it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vitreous.errors import UnknownNameError, UsageError
from vitreous.published.vtab import TASKS, find_task
from vitreous.published.vtab_results import BIT_RERUNS, TABLE_9, VtabResult, leaderboard
from vitreous.study.vtab.run import plan_vtab, run_vtab
from vitreous.study.vtab.score import aggregate, spread, spreads
from vitreous.study.vtab.settings import Asked, Method, Protocol, deviations, parse_tasks, settings_of


@pytest.mark.parametrize(("row", "mean"), list(zip(TABLE_9, (77.632, 76.289, 72.711), strict=True)))
def test_means_of_table_9(row: VtabResult, mean: float) -> None:
    """Each task counts alike: 77.632, 76.289 and 72.711, which the paper rounds to 77.63, 76.28 and 72.72."""
    assert mean == pytest.approx(aggregate(row.scores).mean19, abs=5e-4)


def test_mean_of_groups_is_another_number() -> None:
    """ViT-H/14 has 79.57 as the mean of 86.69, 87.00 and 65.03, and 77.63 as the VTAB score."""
    score = aggregate(TABLE_9[0].scores)
    assert {"Natural": 86.69, "Specialized": 87.0, "Structured": 65.03} == pytest.approx(score.groups, abs=6e-3)
    assert 79.57 == pytest.approx(score.mean_of_groups, abs=6e-3)


def test_bit_means_follow_from_its_groups_by_their_sizes() -> None:
    groups_ = BIT_RERUNS[0].groups
    tasks = {task.name: groups_[task.group] for task in TASKS}
    assert 73.51 == pytest.approx(aggregate(tasks).mean19, abs=6e-3)


@pytest.mark.parametrize(
    ("method", "mean", "parts"),
    [("Sup-Rotation-100%", 68.0, (73.6, 83.1, 55.5)), ("Sup-100%", 66.4, (73.5, 82.5, 52.1))],
)
def test_means_of_the_leaderboard(method: str, mean: float, parts: tuple[float, float, float]) -> None:
    """As the site prints them, to its three digits."""
    score = aggregate(next(row.scores for row in leaderboard("1k") if row.name == method))
    assert (mean, *parts) == pytest.approx((score.mean19, *score.groups.values()), abs=0.051)


def test_one_missing_task_takes_the_score_and_its_group_but_no_other() -> None:
    tasks = {name: value for name, value in TABLE_9[0].scores.items() if name != "eurosat"}
    score = aggregate(tasks)
    assert [None, None, None] == [score.mean19, score.mean_of_groups, score.groups["Specialized"]]
    assert None not in (score.groups["Natural"], score.groups["Structured"])


def test_spread_is_the_sample_standard_deviation_of_the_seeds_means() -> None:
    """Of means per seed, not the mean of the tasks' spreads; divided by n - 1."""
    by_seed = {
        seed: {task.name: 0.5 + 0.1 * seed * (1 if task.name == "dtd" else 0) for task in TASKS} for seed in range(3)
    }
    found = spreads(by_seed)
    assert 0.1 / 19 == pytest.approx(found["mean19"])
    assert 0.1 / 7 == pytest.approx(found["Natural"])
    assert 0.0 == pytest.approx(found["Structured"])
    assert np.std([1.0, 2.0, 4.0], ddof=1) == pytest.approx(spread([1.0, 2.0, 4.0]))
    assert None is spread([1.0])


def test_tasks_by_name_alias_and_group() -> None:
    assert ("camelyon", "eurosat", "resisc45", "retinopathy", "kitti") == parse_tasks(
        "kitti-distance, specialized,pcam"
    )
    assert () == parse_tasks("all")
    with pytest.raises(UnknownNameError, match="flowers"):
        parse_tasks("flowrs")


def test_the_paper_has_one_setting_and_bits_images() -> None:
    """2,500 steps at 0.01 of 512 images at 384 px; tasks about place are not cut, some not mirrored."""
    recipes = {task.name: settings_of(Asked(), task)[0].resolved(Asked()) for task in TASKS}
    rest = {(r.steps, r.peak, r.batch_size, r.image_size, r.clip_norm, r.schedule) for r in recipes.values()}
    assert {(2500, 0.01, 512, (384, 384), 1.0, "cosine")} == rest
    cut = {name for name, recipe in recipes.items() if recipe.augment.resize == 448}
    assert {"clevr_count", "clevr_dist", "dmlab", "kitti", "dsprites_loc"} == {task.name for task in TASKS} - cut
    unmirrored = {name for name, recipe in recipes.items() if not recipe.augment.flip}
    assert {"dsprites_loc", "dsprites_ori", "smallnorb_azi"} == unmirrored
    assert () == deviations(Asked())


def test_the_lightweight_sweep() -> None:
    """Two rates, two lengths; SGD, whole images at 224 px, the rate cut at 30, 60 and 90 %."""
    asked = Asked(protocol="light")
    recipes = [setting.resolved(asked) for setting in settings_of(asked, find_task("svhn"))]
    assert [(2500, 0.01), (2500, 0.1), (10_000, 0.01), (10_000, 0.1)] == [(r.steps, r.peak) for r in recipes]
    assert {((0.3, 0.6, 0.9), (224, 224), False, "centre", "sgd", 0.0)} == {
        (r.milestones, r.image_size, r.augment.flip, r.augment.crop, r.optimizer, r.weight_decay) for r in recipes
    }


def test_augregs_sweep() -> None:
    asked = Asked(protocol="augreg")
    recipes = [setting.resolved(asked) for setting in settings_of(asked, find_task("dtd"))]
    assert {(s, r) for s in (500, 2500) for r in (1e-3, 3e-3, 1e-2, 3e-2)} == {(r.steps, r.peak) for r in recipes}
    assert {(224, 224)} == {r.image_size for r in recipes}


def test_the_random_search_is_the_same_for_all_tasks_and_grows_without_changing() -> None:
    few, many = Asked(protocol="heavy", trials=5), Asked(protocol="heavy", trials=9)
    one = {s.slug: s for s in settings_of(few, find_task("dtd"))}
    more = {s.slug: s for s in settings_of(many, find_task("kitti"))}
    assert one == {slug: more[slug] for slug in one}
    assert 9 == len({(s.changes, s.learning_rate) for s in more.values()})
    assert all(setting.resolved(many).steps == setting.steps for setting in more.values())


@pytest.mark.parametrize("protocol", ["paper", "light", "heavy", "augreg"])
def test_what_a_person_changes_holds_for_every_setting_and_is_told(protocol: Protocol) -> None:
    asked = Asked(protocol=protocol, steps=7, image_size=40, batch_size=6, set="dropout=0.25", trials=4)
    for setting in settings_of(asked, find_task("dsprites_loc")):
        recipe = setting.resolved(asked)
        assert (7, (40, 40), 6, 0.25) == (recipe.steps, recipe.image_size, recipe.batch_size, recipe.dropout)
    told = "; ".join(deviations(asked))
    assert all(words in told for words in ("7 steps", "40 px", "6 images a step", "dropout 0.25")), told


@pytest.mark.parametrize("protocol", ["paper", "light", "heavy", "augreg"])
@pytest.mark.parametrize("steps", [None, 7])
def test_every_setting_has_a_folder_and_a_name_of_its_own(protocol: Protocol, steps: int | None) -> None:
    found = settings_of(Asked(protocol=protocol, steps=steps, trials=6), find_task("dtd"))
    assert len(found) == len({each.slug for each in found}) == len({each.name for each in found})


@pytest.mark.parametrize(
    ("words", "flag"),
    [("steps=5", "--steps"), ("epochs=3", "--steps"), ("dropout=0.1, learning_rate=1", "--protocol"),
     ("image_size=64:64", "--image-size")],
)  # fmt: skip
def test_numbers_that_every_setting_states_itself_are_not_changed_by_set(words: str, flag: str) -> None:
    """Else they would be passed over in silence, or images be cut as for another resolution."""
    with pytest.raises(UsageError) as refused:
        Asked(set=words)
    assert flag in str(refused.value.remedy)


@pytest.mark.parametrize("run", [run_vtab, plan_vtab])
@pytest.mark.parametrize("method", ["full", "linear"])
def test_patches_that_do_not_divide_the_resolution_stop_it_before_it_begins(
    tmp_path: Path, run: Callable[..., object], method: Method
) -> None:
    """As the 384 pixels of the paper's setting are not divided by the patches of an H/14."""
    asked = Asked(image_size=38, method=method, tasks=("kitti",))
    with pytest.raises(UsageError, match="not divisible") as refused:
        run("vit-test", asked, tmp_path, tmp_path / "out")
    assert "--image-size N: an image height of 32 or 40 pixels" == refused.value.remedy
    assert not (tmp_path / "out").exists(), "the next try names another resolution"

"""VTAB's chart and tables show what is there, and nothing where nothing is."""

from __future__ import annotations

import pytest

from vitreous.published.vtab import TASKS, VtabTask
from vitreous.published.vtab_results import TABLE_9
from vitreous.report.vtab import chart, latex, markdown
from vitreous.results import VtabMissing, VtabResult, VtabTaskScore
from vitreous.study.vtab.beside import published
from vitreous.study.vtab.score import aggregate
from vitreous.study.vtab.settings import Asked, in_words


def invented(missing: tuple[str, ...] = (), drawn: tuple[str, ...] = (), model: str = "my model & co_1") -> VtabResult:
    """A result of three seeds by no model at all: ViT-L/16's scores of Table 9."""
    from_table = TABLE_9[1].scores
    details = []
    for task in TASKS:
        if task.name not in missing:
            top1 = from_table[task.name] / 100
            details.append(detail(task, top1, task.name in drawn))
    means = {each.task: each.top1 for each in details}
    score = aggregate(means)
    return VtabResult(
        model=model, random=False, vtab="1k", protocol="paper", method="full", setting=in_words(Asked()),
        tasks=means, groups=score.groups, mean19=score.mean19, mean_of_groups=score.mean_of_groups,
        spread=dict.fromkeys(score.named, 0.004), seeds=(0, 1, 2), deviations=(), regenerated=drawn,
        details=tuple(details), missing=tuple(absent(task) for task in TASKS if task.name in missing),
        seen=1, expected=1, failed=0, seconds=1.0, out="out",
    )  # fmt: skip


def detail(task: VtabTask, top1: float, drawn: bool) -> VtabTaskScore:
    return VtabTaskScore(
        task=task.name, title=task.title, group=task.group, classes=task.classes, metric="top-1", top1=top1,
        spread=0.01, seen=9, expected=9, failed=0, train=1000, source="lists", regenerated=drawn, exact=True,
        notes=(), runs=(), tries=(),
    )  # fmt: skip


def absent(task: VtabTask) -> VtabMissing:
    return VtabMissing(task=task.name, title=task.title, group=task.group, why="not found", looked=(), remedy="")


def test_the_chart_has_four_panels_and_bit_l_only_in_the_first() -> None:
    drawn = chart(invented(drawn=("dsprites_loc",)), published("1k"))
    assert ["All (19)", "Natural (7)", "Specialized (4)", "Structured (8)"] == [panel.title for panel in drawn.panels]
    names = [[bar.name for bar in panel.bars] for panel in drawn.panels]
    assert [True, False, False, False] == ["BiT-L (R152x4)" in each for each in names]
    assert ["my model & co_1†"] * 4 == [each[0] for each in names], "one row for one model"
    assert "† in All and Structured with images drawn anew" in drawn.title
    values = {bar.name: bar.value for bar in drawn.panels[0].bars}
    assert (77.63, 73.51, 76.29) == pytest.approx(
        [values[n] for n in ("ViT-H/14 JFT", "BiT-M R152x4 re-run", "BiT-L (R152x4)")], abs=6e-3
    )
    assert {"ViT-L/16 JFT", "ViT-L/16 I21k", "Sup-Rotation-100% (R50)", "From-Scratch (R50)"} <= set(values)


def test_a_mean_that_does_not_exist_has_no_bar() -> None:
    drawn = chart(invented(missing=("eurosat",)), published("1k"))
    assert [False, True, False, True] == [panel.bars[0].name.startswith("my model") for panel in drawn.panels]


def test_tables_in_markdown_and_latex() -> None:
    """19 columns under three heads and a mean; what TeX would take for its own is escaped; daggers stand."""
    found = invented(missing=("pets",), drawn=("dsprites_ori",))
    text = latex(found, published("1k"))
    rows = [line for line in text.splitlines() if line.endswith(r"\\") and "rotatebox" not in line][1:]
    assert {20} == {line.count("&") - line.count(r"\&") for line in rows}
    assert rows[0].startswith(r"my model \& co\_1 & 95.4")
    assert r"60.5$^\dagger$" in rows[0]
    assert rows[0].endswith(r"& - \\"), "a task is missing"
    table = markdown(found, published("1k"))
    assert "| dSpr-Ori† | 60.5 ± 1.0 | 63.3 |" in table
    assert "| Pets | - | 97.2 |" in table
    assert "Missing: Pets" in table


def test_a_name_means_nothing_in_markdown_and_latex() -> None:
    found = invented(model=r"a|b <i> \x_*")
    assert r"# VTAB-1k: a\|b \<i\> \\x\_\*" + "\n" in markdown(found, ())
    assert r"a\textbar{}b \textless{}i\textgreater{} \textbackslash{}x\_* & 95.4" in latex(found, ())

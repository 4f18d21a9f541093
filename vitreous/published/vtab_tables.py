"""VTAB as tables: means of the groups, and the public leaderboard task by task."""

from __future__ import annotations

from vitreous.published import repeat
from vitreous.published.tables import Cell, Column, Repeat, Row, Table
from vitreous.published.vtab import TASKS, groups
from vitreous.published.vtab_results import BIT_L, BIT_RERUNS, TABLE_9, VtabResult, leaderboard

_HUB = "a module of TensorFlow Hub, which nothing here reads"
_COMPUTED = "`vitreous paper vit-table9` has the commands: this is the mean of what they give"


def tables() -> tuple[Table, ...]:
    """Means of the groups, and the leaderboard on 1000 images a task and on all."""
    return _groups(), _leaderboard("vtab-leaderboard", "1k"), _leaderboard("vtab-leaderboard-full", "full")


def _groups() -> Table:
    rows = [_means(result, repeat.none(_COMPUTED, data="VTAB-1k")) for result in TABLE_9]
    rows.append(_means(BIT_L, repeat.none("its weights were never released", data="JFT-300M", core_days=9900)))
    for result in BIT_RERUNS:
        weights = f"bit-{result.name.removeprefix('BiT-M ').lower()}.google_m_in21k"
        rows.append(_means(result, Repeat(commands=(repeat.vtab(weights),), data="VTAB-1k")))
    rows += [_means(result, repeat.none(_HUB, data="VTAB-1k")) for result in leaderboard()[:3]]
    return Table(
        name="vtab-groups",
        title="VTAB-1k by groups",
        source="the ViT paper's Tables 2 and 9; google-research/big_transfer, README.md; the public VTAB leaderboard",
        unit="% top-1, mean over the tasks",
        corner="model",
        columns=tuple(Column(name=name) for name in ("mean of 19", *groups())),
        rows=tuple(rows),
        notes=(
            "Means of the ViT paper and of the leaderboard are computed here from their tasks.",
            "BiT-L is the ViT paper's, from JFT-300M: only its mean was published. BiT-M is from ImageNet-21k.",
            "The leaderboard's best three stand for it; all of them are ResNet-50.",
        ),
    )


def _means(result: VtabResult, again: Repeat) -> Row:
    """A result's mean and the means of its groups, as far as they are known."""
    known = result.groups
    numbers = [result.mean, *(known.get(name) for name in groups())]
    cells = (None if number is None else Cell(printed=f"{number:.2f}", repeat=again) for number in numbers)
    return Row(name=result.name, cells=tuple(cells))


def _leaderboard(name: str, protocol: str) -> Table:
    found = leaderboard("1k" if protocol == "1k" else "full")
    again = repeat.none(_HUB, data="VTAB-1k" if protocol == "1k" else "the 19 tasks of VTAB, all images")
    rows = []
    for result in found:
        numbers = [*(result.scores[task.name] for task in TASKS), result.mean or 0.0]
        rows.append(
            Row(name=result.name, cells=tuple(Cell(printed=f"{number:.1f}", repeat=again) for number in numbers))
        )
    return Table(
        name=name,
        title=f"The public VTAB leaderboard, {'1000 images a task' if protocol == '1k' else 'all images of each task'}",
        source="google-research/task_adaptation, docs/data/results.csv",
        unit="% top-1, ResNet-50 at 224 px, each the best of 4 settings",
        corner="method",
        columns=(*(Column(name=task.title) for task in TASKS), Column(name="mean of 19")),
        rows=tuple(rows),
    )

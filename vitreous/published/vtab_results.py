"""What others reached on VTAB: the ViT paper's Table 9, BiT's published re-runs, and the public leaderboard.

The leaderboard is `vtab_leaderboard.csv`, as google-research/task_adaptation publishes it (docs/data/results.csv at
commit d7630d3): 16 methods, each a ResNet-50 at 224 pixels chosen by a sweep of 4 settings, on 1000 images a task and
on all. BiT-L's scores task by task were never published, only their mean (Table 2 of the ViT paper).
"""

from __future__ import annotations

import csv
import functools
import importlib.resources
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from vitreous.published.vtab import TASKS, find_task

Protocol: TypeAlias = Literal["1k", "full"]

_TABLE_9 = """
Caltech101   95.3 95.4 90.8
CIFAR-100    85.5 81.9 84.1
DTD          75.2 74.3 74.1
Flowers102   99.7 99.7 99.3
Pets         97.2 96.7 92.7
Sun397       65.0 63.5 61.0
SVHN         88.9 87.4 80.9
Camelyon     83.3 83.6 82.5
EuroSAT      96.7 96.5 95.6
Resisc45     91.4 89.7 85.2
Retinopathy  76.6 77.1 75.3
Clevr-Count  91.7 86.4 70.3
Clevr-Dist   63.8 63.1 56.1
DMLab        53.1 49.7 41.9
dSpr-Loc     79.4 74.5 74.7
dSpr-Ori     63.3 60.5 64.9
KITTI-Dist   84.5 82.2 79.9
sNORB-Azim   33.2 36.2 30.5
sNORB-Elev   51.2 51.1 41.7
"""
_VIT = "Dosovitskiy et al., ICLR 2021, Table 9"
_BIT = "google-research/big_transfer, README.md: BiT-M from ImageNet-21k, run again by its authors"
_LEADERBOARD = "google-research/task_adaptation, docs/data/results.csv"


@dataclass(frozen=True, kw_only=True, slots=True)
class VtabResult:
    """What one model reached on VTAB, in percent top-1."""

    name: str
    """ViT-H/14 JFT."""
    source: str
    """Where it is published."""
    protocol: Protocol = "1k"
    """Trained on 1000 images a task, or on all."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Percent by the task's name (caltech101, ...): all 19, or none where only means were published."""
    printed_mean: float | None = None
    """The mean as printed, which may differ in the last digit from that of the printed scores."""
    printed_spread: float | None = None
    """Standard deviation of the mean over three runs, where printed."""
    printed_groups: Mapping[str, float] = field(default_factory=dict)
    """Means of the groups as printed, where only these are."""

    @property
    def mean(self) -> float | None:
        """The VTAB score: the mean over the 19 tasks, from the scores where there are any, else as printed."""
        return statistics.fmean(self.scores.values()) if self.scores else self.printed_mean

    @property
    def groups(self) -> dict[str, float]:
        """The mean of each group that is known: Natural, Specialized, Structured."""
        if not self.scores:
            return dict(self.printed_groups)
        names = dict.fromkeys(task.group for task in TASKS)
        return {
            name: statistics.fmean(self.scores[task.name] for task in TASKS if task.group == name) for name in names
        }


def _table_9() -> tuple[VtabResult, ...]:
    lines = [line.split() for line in _TABLE_9.strip().splitlines()]
    models = (
        ("ViT-H/14 JFT", 77.63, 0.23),
        ("ViT-L/16 JFT", 76.28, 0.46),
        ("ViT-L/16 I21k", 72.72, 0.21),
    )
    return tuple(
        VtabResult(
            name=name,
            source=_VIT,
            scores={find_task(line[0]).name: float(line[1 + place]) for line in lines},
            printed_mean=mean,
            printed_spread=spread,
        )
        for place, (name, mean, spread) in enumerate(models)
    )


TABLE_9 = _table_9()
"""The paper's three models task by task; the printed means and spreads are those of its Table 2."""

BIT_L = VtabResult(
    name="BiT-L (R152x4)",
    source="Dosovitskiy et al., ICLR 2021, Table 2",
    printed_mean=76.29,
    printed_spread=1.70,
)
"""What Table 2 compares with; it was trained on JFT-300M, and only its mean was published."""

BIT_RERUNS = tuple(
    VtabResult(
        name=f"BiT-M {name}",
        source=_BIT,
        printed_mean=mean,
        printed_groups={"Natural": natural, "Specialized": specialized, "Structured": structured},
    )
    for name, mean, natural, specialized, structured in (
        ("R152x4", 73.51, 80.77, 85.67, 61.08),
        ("R101x3", 72.65, 80.29, 85.75, 59.40),
    )
)
"""BiT from ImageNet-21k, run again by its authors for the README: means of the groups."""


@functools.cache
def leaderboard(protocol: Protocol = "1k") -> tuple[VtabResult, ...]:
    """The 16 methods of the public VTAB leaderboard, all of them ResNet-50, best first.

    Args:
        protocol: trained on 1000 images a task, or on all.
    """
    text = importlib.resources.files("vitreous.published").joinpath("vtab_leaderboard.csv").read_text(encoding="utf-8")
    amounts, titles, _, *methods = csv.reader(text.splitlines())
    kept = {
        find_task(title).name: place
        for place, (amount, title) in enumerate(zip(amounts, titles, strict=True))
        if amount == {"1k": "1000", "full": "full"}[protocol]
    }
    found = [
        VtabResult(
            name=row[0],
            source=_LEADERBOARD,
            protocol=protocol,
            scores={task.name: float(row[kept[task.name]]) for task in TASKS},
        )
        for row in methods
    ]
    return tuple(sorted(found, key=lambda result: -(result.mean or 0)))

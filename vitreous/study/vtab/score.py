"""From the scores of tasks to those of groups and of VTAB: unweighted means, and none where a task is missing.

The VTAB score is the mean of all 19 tasks, so that Structured counts twice as much as Specialized. The mean of the
three group means is another number; it is computed beside it because papers report it under the same name.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from vitreous.published.vtab import TASKS, groups


@dataclass(frozen=True)
class VtabScore:
    """The means over tasks, each None where one of its tasks is missing."""

    groups: dict[str, float | None]
    mean19: float | None
    mean_of_groups: float | None

    @property
    def named(self) -> dict[str, float | None]:
        """All of them by name: mean19, mean_of_groups, Natural, Specialized, Structured."""
        return {"mean19": self.mean19, "mean_of_groups": self.mean_of_groups, **self.groups}


def aggregate(tasks: Mapping[str, float]) -> VtabScore:
    """The group means, the mean of 19, and the mean of the group means.

    Args:
        tasks: accuracy by the names of `vitreous.published.vtab.TASKS`, in any unit; some may be missing.
    """
    means = {str(group): _mean([tasks.get(task.name) for task in members]) for group, members in groups().items()}
    return VtabScore(
        groups=means,
        mean19=_mean([tasks.get(task.name) for task in TASKS]),
        mean_of_groups=_mean(list(means.values())),
    )


def spreads(by_seed: Mapping[int, Mapping[str, float]]) -> dict[str, float | None]:
    """Sample standard deviation over the seeds of each mean that `aggregate` gives; None for fewer than two.

    Args:
        by_seed: for each seed the accuracies by task.
    """
    scores = [aggregate(tasks).named for tasks in by_seed.values()]
    return {name: spread([score[name] for score in scores]) for name in aggregate({}).named}


def spread(values: list[float | None]) -> float | None:
    """Sample standard deviation (divided by n - 1); None for fewer than two values, or where one is missing.

    Args:
        values: one for each seed.
    """
    there = [value for value in values if value is not None]
    return statistics.stdev(there) if len(there) == len(values) > 1 else None


def _mean(values: list[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return statistics.fmean(there) if len(there) == len(values) else None

"""Published scores to put beside a model's: the ViT paper's three models, BiT, and the best of the leaderboard."""

from __future__ import annotations

from typing import Literal

from vitreous.published.vtab_results import BIT_L, BIT_RERUNS, TABLE_9, leaderboard
from vitreous.report.vtab import Beside

_FROM_LEADERBOARD = 2
_SCRATCH = "From-Scratch"


def published(vtab: Literal["1k", "full"]) -> tuple[Beside, ...]:
    """Rows to compare with, in fractions; under the full protocol only the leaderboard has some.

    The leaderboard's best methods and its training from scratch are shown. BiT-L's scores task by task were never
    published, so that it has a mean and nothing else.

    Args:
        vtab: trained on 1,000 images a task, or on all.
    """
    best = leaderboard(vtab)
    chosen = [*best[:_FROM_LEADERBOARD], *(row for row in best if row.name == _SCRATCH)]
    rows = [(row.name, row) for row in (*TABLE_9, BIT_L, *BIT_RERUNS[:1])] if vtab == "1k" else []
    rows += [(f"{row.name} (R50)", row) for row in chosen]
    return tuple(
        Beside(
            name=f"{name} re-run" if row in BIT_RERUNS else name,
            source=row.source,
            tasks={task: value / 100 for task, value in row.scores.items()},
            groups={group: value / 100 for group, value in row.groups.items()},
            mean19=None if row.mean is None else row.mean / 100,
            spread=None if row.printed_spread is None else row.printed_spread / 100,
            kind="leaderboard" if row in chosen else "BiT" if row.name.startswith("BiT") else "ViT",
        )
        for name, row in rows
    )

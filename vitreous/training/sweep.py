"""A sweep of learning rates on a held-out slice of the training images; then training on all of them (Table 4)."""

from __future__ import annotations

from vitreous.config import Recipe
from vitreous.data.sources import Splits
from vitreous.data.split import hold_out


def sweep_splits(splits: Splits, recipe: Recipe, seed: int) -> Splits:
    """The training images alone, divided: most to learn from, a slice to choose by. No other image is touched.

    Args:
        splits: of the whole run.
        recipe: gives the slice's share.
        seed: of the run.
    """
    rest, part = hold_out(splits.train, recipe.sweep_share, seed)
    return Splits(train=rest, val=part, test=None, notes=(f"{len(part):,} training images choose the learning rate",))


def best_rate(scores: dict[float, float]) -> float:
    """The learning rate with the highest score; of equals the smaller.

    Args:
        scores: accuracy by learning rate.
    """
    return min(scores, key=lambda rate: (-scores[rate], rate))

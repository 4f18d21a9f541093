"""Words that the sentences of this room share."""

from __future__ import annotations

from collections.abc import Iterable


def some(names: Iterable[str], most: int = 5) -> str:
    """The first few of many names: `a, b, c, d, e and 7 more`.

    Args:
        names: in the order to show them.
        most: how many to show.
    """
    names = list(names)
    rest = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest

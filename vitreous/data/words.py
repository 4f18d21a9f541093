"""Names in the order a person expects, and words that the sentences of this room share."""

from __future__ import annotations

import re
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


def natural_key(text: str) -> tuple[object, ...]:
    """What to sort by for the order a person expects: numbers by value, letters without regard to case.

    Args:
        text: a name or a path with `/` between.
    """
    texts = re.split(r"([0-9]+)", text.casefold())
    parts: list[object] = list(texts)
    parts[1::2] = map(_number, texts[1::2])
    return (tuple(parts), text)


def _number(digits: str) -> tuple[int, str]:
    """What orders whole numbers of any length: Python's int refuses more than 4,300 digits."""
    significant = digits.lstrip("0")
    return len(significant), significant

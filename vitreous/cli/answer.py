"""What a verb answers with, and what every verb has in common."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Protocol

from vitreous.schema import to_json

NOTHING_WRITTEN = ("", "Nothing was written. The same command without --dry-run starts.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Common:
    """Flags that every verb understands."""

    json: bool = False
    """One JSON value on stdout, everything else on stderr."""
    debug: bool = False
    """Show the Python traceback of what went wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The outcome of a verb that ran to its end."""

    value: Any
    """Configs, results, dicts, lists and numbers: what --json prints."""
    exit_code: int = 0
    """0, or what a verb was asked to make of its finds (`predict --strict`)."""


class Verb(Protocol):
    """A frozen dataclass of flags that can be acted on."""

    def answer(self) -> Answer:
        """Do it, saying on the console what a person wants to know."""
        ...


def as_text(value: Any) -> str:
    """One line of JSON in plain ASCII; numbers that are not finite become null.

    Args:
        value: what `Answer.value` may hold.
    """
    return json.dumps(_finite(to_json(value)), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

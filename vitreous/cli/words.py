"""How names, numbers and tables look on a terminal: harmless, aligned, and readable without colour or Unicode."""

from __future__ import annotations

import math
import os
import re
import shlex
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

_ESCAPES = re.compile(r"\x1b(?:\][^\x07\x1b]*(?:\x07|\x1b\\)?|\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})  # controls, direction marks, lone surrogates ...


def harmless(text: str) -> str:
    """`text` without anything that would move the cursor, colour the terminal or turn the line around.

    Args:
        text: a file or class name, or a message that holds one; line ends are replaced too.
    """
    plain = _ESCAPES.sub("", text)
    return "".join("?" if unicodedata.category(char) in _UNSEEN else char for char in plain)


def shorten(text: str, width: int) -> str:
    """`text` in at most `width` columns; the end of a path tells more than its beginning.

    Args:
        text: harmless text.
        width: in terminal columns, 4 or more.
    """
    if columns(text) <= width:
        return text
    while columns(text) > width - 3:
        text = text[1:]
    return "..." + text


def columns(text: str) -> int:
    """How many terminal columns `text` takes: two for each wide character, none for one that sits on another."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def table(rows: Sequence[Sequence[str]], *, right: Sequence[int] = (), indent: str = "  ") -> list[str]:
    """Lines with the cells of each column under each other.

    Args:
        rows: cells of harmless text, equally many in each row.
        right: columns that are set flush right, counted from 0.
        indent: what stands before each line.
    """
    widths = [max(columns(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    lines = []
    for row in rows:
        gaps = [" " * (width - columns(cell)) for cell, width in zip(row, widths, strict=True)]
        cells = [gap + cell if i in right else cell + gap for i, (cell, gap) in enumerate(zip(row, gaps, strict=True))]
        lines.append((indent + "  ".join(cells)).rstrip())
    return lines


def percent(share: float | None) -> str:
    """A fraction as a percentage; what is imperfect never reads 100 %, what is present never 0 %.

    Args:
        share: in [0, 1]; None or not-a-number where it is undefined.
    """
    if share is None or not math.isfinite(share):
        return "-"
    text = f"{100 * share:.1f}"
    if text == "100.0" and share < 1:
        return "> 99.9 %"
    if text == "0.0" and share > 0:
        return "< 0.1 %"
    return f"{text} %"


def command(*words: str | Path) -> str:
    """A command that can be copied into a shell as it stands.

    Args:
        words: verb, flags and paths; the paths are quoted where they need it.
    """
    return " ".join(["vitreous", *(shlex.quote(os.fspath(word)) for word in words)])


def next_steps(*steps: tuple[str, str]) -> list[str]:
    """The closing lines of a verb: what to type next, and what for.

    Args:
        steps: (command, purpose) pairs.
    """
    return ["", "Next", *(line for step, purpose in steps for line in (f"  {step}", f"      {purpose}"))]


def shows(stream: TextIO, text: str) -> bool:
    """Whether `stream` can show every character of `text`.

    Args:
        stream: an open text stream.
        text: what would be written.
    """
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def coloured(stream: TextIO) -> bool:
    """Whether `stream` is a terminal whose owner has not asked for plain text.

    Args:
        stream: an open text stream.
    """
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

"""The command: parse, print, exit codes, and nothing else. Each group of verbs has a file; see `menu.py`."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence

import vitreous
from vitreous.cli.menu import page
from vitreous.cli.words import coloured

_BROKEN_PIPE = 141  # what a shell reports for a program that ends because nobody reads it


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and give its exit code.

    Args:
        argv: what was typed after `vitreous`; by default what this process was started with.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name the terminal cannot spell never ends the work
    try:
        code = _dispatch(words)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would complain once more when it flushes at exit
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    return code


def _dispatch(words: list[str]) -> int:
    if words[:1] == ["help"]:
        words = [*words[1:2], "--help"]
    if not words or words[0] in ("--help", "-h"):
        print(page(vitreous.__version__, bold=coloured(sys.stdout)))
        return 0
    if words[0] in ("--version", "-V"):
        print(f"vitreous {vitreous.__version__}")
        return 0
    from vitreous.cli.session import run  # heavier: the page above must be there at once

    return run(words)

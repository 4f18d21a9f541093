"""One verb from the words that were typed to its exit code."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from vitreous import console
from vitreous.cli.answer import Answer, as_text
from vitreous.cli.failure import as_json, mendable, tell
from vitreous.cli.flags import parse
from vitreous.cli.help import verb_page
from vitreous.cli.menu import VERBS, Verb
from vitreous.cli.words import coloured
from vitreous.errors import UsageError, unknown_name


def run(words: Sequence[str]) -> int:
    """Run one verb: its words to stdout, or to stderr when stdout is to hold one JSON value.

    Args:
        words: the verb and everything after it; at least one.

    Returns:
        The exit code.
    """
    # before PyTorch is loaded: on a busy machine, threads that spin at OpenMP's barriers stall each other for seconds
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")
    own = list(words[: words.index("--")] if "--" in words else words)
    for_machine = "--json" in own
    debug = "--debug" in own or os.environ.get("VITREOUS_DEBUG", "0") not in ("", "0")
    speaks = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun started, one answers for all
    console.use(io.StringIO() if not speaks else sys.stderr if for_machine else sys.stdout)
    try:
        answer = _answer(words, asks_help="--help" in own or "-h" in own, for_machine=for_machine)
    except BrokenPipeError:
        raise
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exception(error, file=sys.stderr)
        mended = mendable(error)
        if speaks or not mended.told:
            tell(mended, sys.stderr)
        if for_machine and speaks:
            print(as_text(as_json(mended)))
        return mended.exit_code
    finally:
        console.use(None)
    if for_machine and speaks and answer.value is not None:
        print(as_text(answer.value))
    return answer.exit_code


def verb_class(entry: Verb) -> Any:
    """The dataclass of a verb.

    Args:
        entry: its line in the menu.
    """
    module, _, name = entry.home.partition(":")
    return getattr(importlib.import_module(f"vitreous.cli.{module}"), name)


def _answer(words: Sequence[str], *, asks_help: bool, for_machine: bool) -> Answer:
    entry = VERBS.get(words[0])
    if words[0].startswith("-"):
        raise UsageError(f"the verb comes first, then its flags: got {words[0]!r}", remedy="vitreous --help")
    if entry is None:
        hint = unknown_name("verb", words[0], VERBS)
        raise UsageError(f"there is no verb {words[0]!r}", why=hint.why, remedy="vitreous --help lists them all")
    verb = verb_class(entry)
    typed = f"vitreous {entry.name}"
    if asks_help:
        print(verb_page(verb, name=typed, example=entry.example, bold=coloured(sys.stdout)))
        return Answer(value=None)
    asked = parse(verb, words[1:], name=typed, example=entry.example)
    if not for_machine:
        return asked.answer()
    with contextlib.redirect_stdout(sys.stderr):  # whoever prints, stdout stays one JSON value
        return asked.answer()

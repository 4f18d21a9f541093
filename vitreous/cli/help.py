"""The page that `vitreous VERB --help` shows: words and flags in groups, one column under another."""

from __future__ import annotations

import inspect
import itertools
import shutil
import textwrap

from vitreous.cli.flags import Flag, flags_of

_WIDEST = 100  # longer lines are hard to read


def verb_page(verb: type, *, name: str, example: str, bold: bool) -> str:
    """The help page of one verb.

    Args:
        verb: a frozen dataclass.
        name: the verb as typed, "vitreous finetune".
        example: a whole command.
        bold: whether headings may be set in bold for a terminal.
    """
    flags = flags_of(verb)
    words = [flag.metavar for flag in flags if flag.positional]
    lines = [" ".join(["usage:", name, *words, "[flags]"]), ""]
    lines += [*inspect.cleandoc(verb.__doc__ or "").splitlines(), "", f"  $ {example}", ""]
    left = max(len(_left(flag)) for flag in flags) + 4
    for title, group in itertools.groupby(flags, key=_title):
        if title:
            heading = f"\033[1m{title}\033[0m" if bold else title
            lines += ["", heading] if lines[-1] else [heading]
        for flag in group:
            lines += _entry(_left(flag), _right(flag), left)
    return "\n".join([*lines, *_entry("--help", "This page.", left)])


def _title(flag: Flag) -> str:
    return "" if flag.positional else flag.group.capitalize() or "Flags"


def _left(flag: Flag) -> str:
    return flag.spelled if flag.positional else f"{flag.spelled} {flag.metavar}".rstrip()


def _right(flag: Flag) -> str:
    is_told = isinstance(flag.default, str | int | float) and flag.default is not False
    default = f"(default {flag.default})" if is_told else ""
    choices = f"One of {', '.join(flag.choices)}." if flag.choices else ""
    return " ".join(filter(None, (flag.help, choices, default)))


def _entry(left: str, right: str, width: int) -> list[str]:
    room = max(24, min(shutil.get_terminal_size().columns, _WIDEST) - width)
    first, *rest = textwrap.wrap(right, room - 1, break_on_hyphens=False)
    return [f"  {left:<{width - 2}}{first}", *(" " * width + line for line in rest)]

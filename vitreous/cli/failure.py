"""From anything that went wrong to one clear message, one exit code and one JSON object."""

from __future__ import annotations

import errno
from typing import Any, TextIO

from vitreous.cli.words import coloured, harmless, shows
from vitreous.errors import ResourceError, VitreousError

_MACHINE = {  # what the operating system said, and what a person can do about it
    errno.ENOSPC: "free some space, or write to another disk",
    errno.EDQUOT: "free some space, or write to another disk",
    errno.EROFS: "write to another place: this one is read-only",
    errno.EACCES: "use a place that you may write to, or change its permissions",
    errno.EPERM: "use a place that you may write to, or change its permissions",
    errno.EMFILE: "close programs, or raise the limit on open files (ulimit -n)",
    errno.ENOMEM: "close other programs, or use a smaller --micro-batch or --batch-size",
}


def mendable(error: BaseException) -> VitreousError:
    """`error` in the four parts a person can act on, with its exit code.

    Args:
        error: anything that reached the top of the command.
    """
    if isinstance(error, VitreousError):
        return error
    if isinstance(error, KeyboardInterrupt):
        stopped = VitreousError("stopped by Ctrl-C")
        stopped.exit_code = 130
        return stopped
    if isinstance(error, OSError) and error.errno in _MACHINE:
        where = error.filename if isinstance(error.filename, str) else None
        return ResourceError(
            (error.strerror or type(error).__name__).lower(), where=where, remedy=_MACHINE[error.errno]
        )
    if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__ or "can't allocate memory" in str(error):
        return ResourceError("there is not enough memory", why=_first_line(error), remedy=_MACHINE[errno.ENOMEM])
    return VitreousError(
        f"{type(error).__name__}: {_first_line(error)}".rstrip(": "),
        why="vitreous did not expect this",
        remedy="the same command with --debug at its end shows where it happened",
    )


def tell(error: VitreousError, stream: TextIO) -> None:
    """Write the message of `error`: what, where, why, and what to try.

    Args:
        error: as `mendable` gives it.
        stream: where it goes; marks and colour only as far as it can show them.
    """
    mark = "✗" if shows(stream, "✗") else "x"
    if coloured(stream):
        mark = f"\033[1;31m{mark}\033[0m"
    lines = [f"{mark} {_indented(error.what, 2)}"]
    for name, text in (("where", error.where), ("why", error.why), ("try", error.remedy)):
        if text:
            lines.append(f"  {name:<7}{_indented(text, 9)}")
    print("\n".join(lines), file=stream, flush=True)


def as_json(error: VitreousError) -> dict[str, Any]:
    """What a machine reads on stdout in place of the answer.

    Args:
        error: as `mendable` gives it.
    """
    parts = {"what": error.what, "where": error.where, "why": error.why, "try": error.remedy}
    return {"error": parts, "exit_code": error.exit_code}


def _indented(text: str, width: int) -> str:
    return ("\n" + " " * width).join(harmless(line) for line in text.splitlines())


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "")

"""Every exception vitreous raises on purpose, each with the exit code of the command and a remedy.

VitreousError                 1
├── UsageError                2   a wrong flag, name or combination
│   ├── ConfigError           2   a configuration that cannot exist
│   └── UnknownNameError      2   a name nothing here answers to; carries did-you-mean
├── DataError                 3   images, labels or folders that cannot be used
│   └── ImageError            3   one image that cannot be read
├── ModelFileError            4   a model file that is missing, damaged or of another kind
├── DivergedError             5   the loss is no longer a number
├── ResourceError             6   disk, memory or a lock that cannot be had
└── InterruptedRun           75   stopped by a signal with the state saved (130 for Ctrl-C)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class VitreousError(Exception):
    """A mistake a person can mend: what happened, where, why, and what to type next."""

    exit_code = 1
    told = False
    """Whether another process tells it: of several that train together and fail alike, one speaks."""

    def __init__(
        self, what: str, *, where: str | None = None, why: str | None = None, remedy: str | None = None
    ) -> None:
        self.what, self.where, self.why, self.remedy = what, where, why, remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        rows = [("where", self.where), ("why", self.why), ("try", self.remedy)]
        return "\n".join([self.what, *(f"  {name:<6}{text}" for name, text in rows if text)])

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the trip between processes: the message is rebuilt from its four parts."""
        return _rebuild, (type(self), self.what, self.where, self.why, self.remedy)


def _rebuild(
    cls: type[VitreousError], what: str, where: str | None, why: str | None, remedy: str | None
) -> VitreousError:
    return cls(what, where=where, why=why, remedy=remedy)


class UsageError(VitreousError):
    """A wrong flag, name or combination of them."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration that cannot exist, refused when it is made."""


class UnknownNameError(UsageError):
    """A name that nothing here answers to."""


class DataError(VitreousError):
    """Images, labels or folders that cannot be used as they are."""

    exit_code = 3


class ImageError(DataError):
    """One image that cannot be read; `where` names it."""


class ModelFileError(VitreousError):
    """A model file that is missing, damaged, or not what it claims to be."""

    exit_code = 4


class DivergedError(VitreousError):
    """Training left the realm of finite numbers."""

    exit_code = 5


class ResourceError(VitreousError):
    """Disk space, memory, or a run folder that somebody else is using."""

    exit_code = 6


class InterruptedRun(VitreousError):
    """Training was stopped by a signal after its state was saved; `exit_code` is 75, or 130 for Ctrl-C."""

    exit_code = 75


def unknown_name(kind: str, name: str, known: Iterable[str], *, remedy: str | None = None) -> UnknownNameError:
    """An UnknownNameError for `name`, naming the nearest known names.

    Args:
        kind: what the name stands for, in the singular ("model", "recipe").
        name: what was typed.
        known: every name that would have been understood.
        remedy: what to type to see them all; by default the known names are listed.
    """
    known = list(known)
    by_fold: dict[str, list[str]] = {}
    for candidate in known:
        by_fold.setdefault(candidate.casefold(), []).append(candidate)
    near = difflib.get_close_matches(name.casefold(), by_fold, n=3, cutoff=0.5)
    close = [candidate for key in near for candidate in by_fold[key]]
    why = f"did you mean {' or '.join(close)}?" if close else None
    return UnknownNameError(
        f"there is no {kind} called {name!r}", why=why, remedy=remedy or f"one of: {', '.join(known)}"
    )

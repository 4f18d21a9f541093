"""Named intermediates: a forward pass tells each value's name, and the wanted ones are kept. No hooks."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from vitreous.errors import unknown_name


class Taps:
    """Keeps the intermediates whose names were asked for.

    Args:
        wanted: full names, such as "blocks.3.attn.weights".
        prefix: put in front of every name a module says.
        values: where kept values go; shared by all views made with `under`.
    """

    def __init__(self, wanted: Iterable[str] = (), prefix: str = "", values: dict[str, Tensor] | None = None) -> None:
        self.wanted = frozenset(wanted)
        self.prefix = prefix
        self.values: dict[str, Tensor] = {} if values is None else values

    @classmethod
    def among(cls, asked: str | Iterable[str], known: tuple[str, ...]) -> Taps:
        """Taps for the names that were asked for, if the model has them all.

        Args:
            asked: one name or more.
            known: every name that the model has.

        Raises:
            UnknownNameError: a tap that this model does not have.
        """
        names = [asked] if isinstance(asked, str) else list(asked)
        for name in names:
            if name not in known:
                raise unknown_name("tap", name, known, remedy="model.tap_names() lists them all")
        return cls(names)

    def under(self, prefix: str) -> Taps:
        """The same taps as a module sees them whose names begin with `prefix`.

        Args:
            prefix: without the dot that follows it.
        """
        return Taps(self.wanted, f"{self.prefix}{prefix}.", self.values) if self.wanted else self

    def want(self, name: str) -> bool:
        """Whether a value worth computing only for its own sake is asked for.

        Args:
            name: without the prefix.
        """
        return self.prefix + name in self.wanted

    def keep(self, name: str, value: Tensor) -> Tensor:
        """Keep `value` if it is wanted, and hand it on.

        Args:
            name: without the prefix.
            value: any tensor.
        """
        if self.want(name):
            self.values[self.prefix + name] = value
        return value


NOTHING = Taps()
"""Taps for a forward pass that nobody listens to."""

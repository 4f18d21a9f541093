"""From names to published tables."""

from __future__ import annotations

import functools

from vitreous.errors import unknown_name
from vitreous.published import augreg, others, vit_paper, vtab_tables
from vitreous.published.tables import Table


@functools.cache
def published_tables() -> tuple[Table, ...]:
    """Every published table: the ViT paper's, AugReg's, VTAB's, and others'; made when first asked for."""
    return (*vit_paper.tables(), *augreg.tables(), *vtab_tables.tables(), *others.tables())


def find_table(name: str) -> Table:
    """The published table called `name`.

    Args:
        name: `vit-table2`, `augreg-table3` and the like, in any case, with spaces or underscores for the dashes.

    Raises:
        UnknownNameError: there is none; carries the nearest names.
    """
    known = {table.name: table for table in published_tables()}
    plain = "-".join(name.strip().casefold().replace("_", " ").replace("-", " ").split())
    found = known.get(plain) or known.get(plain.replace("-table-", "-table"))
    if found is None:
        raise unknown_name("published table", name, known, remedy="`vitreous paper` lists them all")
    return found

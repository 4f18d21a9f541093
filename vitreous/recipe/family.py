"""Recipes that belong together, as rows of one table do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vitreous.config import Recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """The rows of one table, or one code base's commands."""

    name: str
    """What to type after `vitreous recipes` to see them all."""
    title: str
    """A phrase for a person."""
    paper: str
    """Who wrote it, and where; ours for this project's."""
    recipes: tuple[Recipe, ...]
    """One or more, all for the same verb."""

    @property
    def purpose(self) -> Literal["pretrain", "finetune"]:
        """Which verb they are for."""
        return self.recipes[0].purpose

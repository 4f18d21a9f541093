"""Flags of the verbs that may use published weights."""

from __future__ import annotations

import os
from dataclasses import dataclass

from vitreous.pretrained import is_pretrained_name


@dataclass(frozen=True, kw_only=True, slots=True)
class Hub:
    """Where published weights come from."""

    fetch: bool = False
    """Fetch published weights that are not in the cache; without this nothing is fetched."""
    hub_url: str | None = None
    """A mirror of the Hugging Face hub, or a folder that holds its files."""

    def settle(self, model: str | None) -> None:
        """Set where weights come from for the whole process, and fetch those that are named.

        Args:
            model: as typed.
        """
        if self.hub_url is not None:
            os.environ["HF_ENDPOINT"] = self.hub_url
        if self.fetch and model is not None and not os.path.exists(model) and is_pretrained_name(model):
            from vitreous.weights.hub.fetch import fetch

            fetch(model, hub_url=self.hub_url)

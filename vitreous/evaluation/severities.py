"""Scores on ImageNet-C's 95 sets, written down one by one: a run that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from vitreous.config import PreprocessConfig
from vitreous.data.imageset import ImageSet
from vitreous.errors import ConfigError
from vitreous.evaluation.features import model_digest
from vitreous.files import write_text
from vitreous.predict import Predictor
from vitreous.results.robustness import SeverityScore
from vitreous.schema import from_json, to_json

_FORM = 1  # of the file; another number forgets what older code wrote
SEVERITIES = "severities.json"
"""The file that scores are kept in."""


class Remembered:
    """Scores by what they were made from: the weights, their classes, the images, and how these become the input.

    Args:
        predictor: whose scores they are.
        folder: where they are kept, one that exists; None keeps none.
    """

    def __init__(self, predictor: Predictor, folder: Path | None) -> None:
        self._path = None if folder is None else folder / SEVERITIES
        self._known = _read(self._path)
        if self._path is not None:
            prepared = predictor.prepared
            # which class a logit is for stands in the card, not in the weights
            self._model = [model_digest(prepared.model), prepared.policy.precision, *predictor.classes]

    def find(self, name: str, images: ImageSet, preprocess: PreprocessConfig) -> SeverityScore | None:
        """The score on some images, where it was made before.

        Args:
            name: of the set ("fog/3"): the files of two sets may be called alike, and be of one size.
            images: of one severity of one corruption.
            preprocess: how they become the model's input.
        """
        found = self._known.get(self._key(name, images, preprocess)) if self._path is not None else None
        try:
            return None if found is None else from_json(SeverityScore, found)
        except (ConfigError, TypeError):  # somebody changed the file: to be made again
            return None

    def keep(self, name: str, images: ImageSet, preprocess: PreprocessConfig, score: SeverityScore) -> None:
        """Write a score down, at once.

        Args:
            name: of the set.
            images: of one severity of one corruption.
            preprocess: how they become the model's input.
            score: on them.

        Raises:
            ResourceError: the file cannot be written.
        """
        if self._path is not None:
            self._known[self._key(name, images, preprocess)] = to_json(score)
            write_text(self._path, json.dumps(self._known, indent=1) + "\n")

    def _key(self, name: str, images: ImageSet, preprocess: PreprocessConfig) -> str:
        parts = [_FORM, self._model, name, images.fingerprint, to_json(preprocess)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _read(path: Path | None) -> dict[str, object]:
    if path is None or not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}

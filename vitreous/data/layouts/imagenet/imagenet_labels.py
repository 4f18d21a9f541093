"""The thousand classes of ImageNet, under every name they are published with.

In the order of the logits, which is that of the sorted WordNet ids, every class has an id (n01440764), a name of its
own in torchvision's words (tench), which is what this house calls it, all its words in WordNet, as Hugging Face writes
them (tench, Tinca tinca), the first of these, as Keras writes it with underscores, and the name CLIP is asked with.

Two classes may share a name where a source was careless: two are a crane, two a maillot, and CLIP knows two missiles.
Such a name means nothing alone; in a whole list of a thousand its place tells which is meant. A Cardigan is a dog, a
cardigan is a garment: case counts where there is anything to confuse.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from vitreous.pretrained import imagenet_names

NUM_CLASSES = 1000

_WNID = re.compile(r"n\d{8}", re.ASCII)
_NUMBER = re.compile(r"0|[1-9]\d{0,2}", re.ASCII)
_AMBIGUOUS = -1


class _Table(NamedTuple):
    """Names by class, as one source spells them, and classes by name."""

    names: tuple[str, ...]
    places: dict[str, int]
    """_AMBIGUOUS for a name that two classes share."""


def is_wnid(name: str) -> bool:
    """Whether this has the form of a WordNet id: n and eight digits.

    Args:
        name: of a folder, say.
    """
    return _WNID.fullmatch(name) is not None


@functools.cache
def imagenet_wnids() -> tuple[str, ...]:
    """The WordNet ids of the thousand classes, which sorted are their order."""
    return tuple(wnid for wnid, _, _ in _classes())


@functools.cache
def wnid_places() -> dict[str, int]:
    """The place among the thousand classes of each of their WordNet ids."""
    return {wnid: place for place, wnid in enumerate(imagenet_wnids())}


def imagenet_place(name: str) -> int | None:
    """Which of the thousand classes a name means, or None where it means none, or two.

    What this house calls a class comes first, so that `crane` is the machine, as the bird is called `crane bird`.

    Args:
        name: a WordNet id, a name as torchvision, WordNet, Hugging Face, Keras or CLIP spell it (spaces or underscores,
            in any case where that leaves one class), or the number of a class, 0 to 999.
    """
    if _NUMBER.fullmatch(name):
        return int(name)
    plain = _plain(name)
    for key, tables in ((plain, _tables()), (plain.casefold(), _folded())):
        for table in tables:
            if (place := table.places.get(key)) is not None:
                return None if place == _AMBIGUOUS else place
    return None


def imagenet_places(names: Sequence[str]) -> Int[np.ndarray, " Y"] | None:
    """Which of the thousand classes each of a list of names means, or None where they are not all different classes.

    A list comes from one source: it is first looked up as a whole in the spelling of each, where a name that two
    classes share means the one in whose place it stands. Numbers count only as a whole list of 0 to 999, in any order:
    a class "3" among ten is no shark.

    Args:
        names: of classes.
    """
    if not names:
        return None
    if all(_NUMBER.fullmatch(name) for name in names):
        places = [int(name) for name in names]
        return np.array(places, np.int64) if sorted(places) == list(range(NUM_CLASSES)) else None
    plain = [_plain(name) for name in names]
    for table in _tables():
        if (found := _all_different(_looked_up(plain, table))) is not None:
            return found
    return _all_different(None if _NUMBER.fullmatch(name) else imagenet_place(name) for name in names)


def _looked_up(names: Sequence[str], table: _Table) -> Iterable[int | None]:
    for at, name in enumerate(names):
        place = table.places.get(name)
        if place == _AMBIGUOUS:
            place = at if len(names) == NUM_CLASSES and table.names[at] == name else None
        yield place


def _all_different(places: Iterable[int | None]) -> Int[np.ndarray, " Y"] | None:
    found: list[int] = []
    for place in places:
        if place is None:
            return None
        found.append(place)
    return np.array(found, np.int64) if len(set(found)) == len(found) else None


@functools.cache
def _classes() -> tuple[tuple[str, str, str], ...]:
    """WordNet id, words and CLIP's name of every class."""
    text = importlib.resources.files(__package__).joinpath("imagenet_classes.txt").read_text("utf-8")
    lines = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    assert len(lines) == NUM_CLASSES
    return tuple(
        (wnid, words, clip[0] if clip else own)
        for own, (wnid, words, *clip) in zip(imagenet_names(), lines, strict=True)
    )


@functools.cache
def _tables() -> tuple[_Table, ...]:
    """Of every source, the one whose names this house uses before the others."""
    wnids, words, clip = zip(*_classes(), strict=True)
    first = [name.partition(",")[0] for name in words]
    return tuple(_table(names) for names in (wnids, imagenet_names(), words, clip, first))


@functools.cache
def _folded() -> tuple[_Table, ...]:
    """The same without regard to case."""
    return tuple(_table([name.casefold() for name in table.names]) for table in _tables())


def _table(names: Sequence[str]) -> _Table:
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        places[name] = _AMBIGUOUS if name in places else place
    return _Table(tuple(names), places)


def _plain(name: str) -> str:
    return " ".join(unicodedata.normalize("NFC", name).replace("_", " ").split())

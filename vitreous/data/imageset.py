"""What every source of labelled images gives: an ImageSet, and the Splits a training run is made of.

Nothing is decoded until it is read. The order of the images is part of a set and never depends on the machine.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import SupportsIndex, overload

import numpy as np
from jaxtyping import Int, UInt8

from vitreous.data.targets import Targets
from vitreous.errors import DataError
from vitreous.results import Failure

_PIECE = 10_000  # names written at a time


class Names(Sequence[str]):
    """Names that are made when they are asked for, so that a million of them take no memory.

    Args:
        count: how many there are.
        make: the name at a place from 0 to count - 1.
    """

    def __init__(self, count: int, make: Callable[[int], str]) -> None:
        self._places, self._make = range(count), make

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return map(self._make, self._places)

    @overload
    def __getitem__(self, place: SupportsIndex) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[str]: ...
    def __getitem__(self, place: SupportsIndex | slice) -> str | Sequence[str]:
        chosen = self._places[place]
        return self._make(chosen) if isinstance(chosen, int) else [self._make(each) for each in chosen]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images, each read when it is asked for."""

    name: str
    """What a person calls them ("photos/test", "digits")."""
    classes: tuple[str, ...]
    """Class names; a label is a place in this tuple."""
    ids: Sequence[str]
    """What a person reads for each image: its path, or digits/00012."""
    labels: Int[np.ndarray, " N"]
    """True class of each image; with targets, the class of its largest."""
    read: Callable[[int], UInt8[np.ndarray, "H W 3"]]
    """Decodes one image to RGB; raises ImageError. Called from several threads at once."""
    fingerprint: str = ""
    """SHA-256 in hex over what identifies the images; by default over keys, labels, targets and classes."""
    mirror_safe: bool = True
    """Whether an image keeps its class in a mirror; not so for digits."""
    in_memory: bool = False
    """Whether reading cannot fail and costs next to nothing."""
    keys: Sequence[str] = ()
    """What names each image on every machine, such as its path below the data folder; by default the ids."""
    shards: tuple[int, ...] = ()
    """How many consecutive images lie beside each other in each large file; empty where images lie apart."""
    afar: bool = False
    """Whether images come over a network, so that reading them is mostly waiting."""
    encoded: Callable[[int], bytes] | None = None
    """An image's file as it is stored, undecoded; raises ImageError. None where images are stored as pixels."""
    targets: Targets | None = None
    """Where images have several labels, or shares of them; None where each has one."""
    groups: Int[np.ndarray, " N"] | None = None
    """Which images belong together, such as frames of one film: equal numbers never come to be on both sides."""

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.labels):
            raise DataError(f"{self.name} has {len(self.ids):,} images but {len(self.labels):,} labels")
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise DataError(
                f"{self.name} has labels from {self.labels.min()} to {self.labels.max()}",
                why=f"with {len(self.classes)} classes they must lie between 0 and {len(self.classes) - 1}",
            )
        for what, given in (("targets", self.targets), ("groups", self.groups)):
            if given is not None and len(given) != len(self.labels):
                raise DataError(f"{self.name} has {len(self.labels):,} images but {len(given):,} {what}")
        if self.targets is not None and self.targets.num_classes != len(self.classes):
            raise DataError(f"{self.name} has {len(self.classes)} classes, and targets {self.targets.num_classes}")
        assert not self.shards or (min(self.shards) > 0 and sum(self.shards) == len(self)), "shards hold all images"
        object.__setattr__(self, "labels", self.labels.astype(np.int64))
        if not self.keys:
            object.__setattr__(self, "keys", self.ids)
        if not self.fingerprint:
            more = () if self.targets is None else (self.targets.digest,)
            found = fingerprint(self.classes, self.keys, self.labels.tolist(), *more)
            object.__setattr__(self, "fingerprint", found)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def several(self) -> bool:
        """Whether an image may show several classes, each a question of its own."""
        return self.targets is not None and not self.targets.soft

    @property
    def counts(self) -> Int[np.ndarray, " Y"]:
        """Number of images in each class; an image with several labels counts for each."""
        if self.targets is not None:
            return self.targets.counts
        return np.bincount(self.labels, minlength=len(self.classes))

    def subset(self, indices: Iterable[int] | Int[np.ndarray, " n"], name: str | None = None) -> ImageSet:
        """Some of the images, in the order given; where that leaves shards in their order, they remain shards.

        Args:
            indices: places in this set.
            name: what to call them; by default as this set.
        """
        chosen, encoded = np.fromiter(indices, np.int64), self.encoded
        return dataclasses.replace(
            self,
            name=name or self.name,
            ids=_chosen(self.ids, chosen),
            keys=_chosen(self.keys, chosen),
            labels=self.labels[chosen],
            read=lambda index: self.read(int(chosen[index])),
            fingerprint=fingerprint(self.fingerprint, chosen.tolist()),
            shards=_shards_of(chosen, self.shards),
            encoded=None if encoded is None else lambda index: encoded(int(chosen[index])),
            targets=None if self.targets is None else self.targets.subset(chosen),
            groups=None if self.groups is None else self.groups[chosen],
        )


def _chosen(names: Sequence[str], places: Int[np.ndarray, " n"]) -> Sequence[str]:
    if isinstance(names, Names):
        return Names(len(places), lambda place: names[int(places[place])])
    return [names[place] for place in places]


def _shards_of(places: Int[np.ndarray, " n"], shards: tuple[int, ...]) -> tuple[int, ...]:
    """How many of the places lie in each shard, those with none left out; empty where the order leaves no shards."""
    if not shards:
        return ()
    shard = np.searchsorted(np.cumsum(shards), places, side="right")
    if (np.diff(shard) < 0).any():
        return ()
    counts = np.bincount(shard)
    return tuple(counts[counts > 0].tolist())


@dataclass(frozen=True, eq=False)
class Splits:
    """The images of one training run: those it learns from, those it is watched on, those that choose nothing."""

    train: ImageSet
    val: ImageSet | None
    test: ImageSet | None
    notes: tuple[str, ...] = ()
    """What was recognised, in words, one sentence each."""
    failed: tuple[Failure, ...] = ()
    """Images left out because they cannot be read."""

    @property
    def sets(self) -> dict[str, ImageSet]:
        """The sets there are, by the names train, val and test."""
        named = {"train": self.train, "val": self.val, "test": self.test}
        return {name: images for name, images in named.items() if images is not None}

    @property
    def fingerprint(self) -> str:
        """SHA-256 in hex over all sets: equal if and only if a run sees the same images with the same labels."""
        return fingerprint({name: images.fingerprint for name, images in self.sets.items()})


def array_set(
    name: str,
    pixels: UInt8[np.ndarray, "N H W"] | UInt8[np.ndarray, "N H W 3"],
    labels: Int[np.ndarray, " N"],
    classes: Sequence[str],
    *,
    mirror_safe: bool = True,
    first: int = 0,
) -> ImageSet:
    """Images that lie in memory as one array, grey or RGB.

    Args:
        name: what to call them; ids are name/00000 and so on.
        pixels: all images; nobody may change them afterwards.
        labels: places in `classes`.
        classes: class names.
        mirror_safe: whether an image keeps its class in a mirror.
        first: number of the first image.
    """
    pixels = pixels.view()
    pixels.flags.writeable = False

    def read(index: int) -> UInt8[np.ndarray, "H W 3"]:
        image = pixels[index]
        return image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)

    ids = Names(len(pixels), lambda place: f"{name}/{first + place:05d}")
    content = hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()
    return ImageSet(
        name=name,
        classes=tuple(classes),
        ids=ids,
        labels=labels,
        read=read,
        fingerprint=fingerprint(classes, ids, labels.tolist(), pixels.shape, content),
        mirror_safe=mirror_safe,
        in_memory=True,
    )


def fingerprint(*parts: object) -> str:
    """SHA-256 in hex of plain values; the same on every machine.

    Args:
        parts: strings, numbers, and lists and dicts of them.
    """
    digest = hashlib.sha256()
    for part in parts:
        for piece in _as_json(part):
            digest.update(piece.encode())
        digest.update(b"\n")
    return digest.hexdigest()


def _as_json(part: object) -> Iterator[str]:
    """A value as json.dumps writes it; long lists piece by piece, so that a million names are never there at once."""
    if not isinstance(part, Sequence) or isinstance(part, str) or len(part) <= _PIECE:
        yield json.dumps(part, sort_keys=True, default=list)
        return
    for start in range(0, len(part), _PIECE):
        yield "[" if start == 0 else ", "
        yield json.dumps(list(part[start : start + _PIECE]), sort_keys=True, default=list)[1:-1]
    yield "]"

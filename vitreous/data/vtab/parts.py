"""What every source of a VTAB task gives: its whole parts for training, validation and test, and how true they are."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from vitreous.data.imageset import ImageSet, Names, fingerprint


@dataclass(frozen=True, eq=False)
class Parts:
    """The whole parts of one task, each in the order of TensorFlow Datasets.

    VTAB-1k is then the first 800 of train, the first 200 of val, and all of test. The class names are as many as the
    task has classes, in the order of TensorFlow Datasets' labels.
    """

    train: ImageSet
    val: ImageSet
    test: ImageSet
    source: str
    """Where it comes from, in words for people: "raw files in data/cifar-100-python"."""
    regenerated: bool = False
    """Whether the images are drawn anew, not read from the published files."""
    exact: bool = True
    """Whether the images are the published ones; where not, `notes` says why."""
    notes: tuple[str, ...] = ()
    """What a person should know, one sentence each."""


def together(a: ImageSet, b: ImageSet, name: str | None = None) -> ImageSet:
    """The images of two sets behind each other, all of the first before all of the second.

    Args:
        a: comes first.
        b: with the same classes.
        name: what to call them; by default as the first.
    """
    assert a.classes == b.classes, "one question for both"
    assert a.targets is b.targets is None, "each image of a VTAB task has one label"
    first, total = len(a), len(a) + len(b)

    def read(index: int) -> UInt8[np.ndarray, "H W 3"]:
        return a.read(index) if index < first else b.read(index - first)

    encoded = None
    if (of_a := a.encoded) is not None and (of_b := b.encoded) is not None:

        def encoded(index: int) -> bytes:
            return of_a(index) if index < first else of_b(index - first)

    return dataclasses.replace(
        a,
        name=name or a.name,
        ids=Names(total, lambda place: a.ids[place] if place < first else b.ids[place - first]),
        keys=Names(total, lambda place: a.keys[place] if place < first else b.keys[place - first]),
        labels=np.concatenate([a.labels, b.labels]),
        read=read,
        fingerprint=fingerprint(a.fingerprint, b.fingerprint),
        mirror_safe=a.mirror_safe and b.mirror_safe,
        in_memory=a.in_memory and b.in_memory,
        shards=(*a.shards, *b.shards) if a.shards and b.shards else (),
        afar=a.afar or b.afar,
        encoded=encoded,
        groups=None,
    )

"""One pass over images: each is read and looked at once, by several threads, or remembered from the last time."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int

from vitreous.console import Progress
from vitreous.data.checking.look import LOOK, Look, look_at
from vitreous.data.checking.remembered import Remembered
from vitreous.data.feeding.threads import at_work, in_order, num_cores, num_readers
from vitreous.data.imageset import ImageSet
from vitreous.errors import ImageError
from vitreous.picture.decode import decode, reason
from vitreous.results import Failure

_CHUNK = 16  # images a thread looks at in one go
_FRESH = 2e9  # nanoseconds: what was written so lately may be written again without its time changing


@dataclass(eq=False)
class Survey:
    """What was seen in one set of images."""

    images: ImageSet
    asked: Int[np.ndarray, " n"]
    """Places of the images that were to be looked at, rising."""
    looks: np.ndarray
    """(n,) LOOK of each of them; zeros for one that cannot be read."""
    failures: dict[int, Failure] = field(default_factory=dict)
    """Those that cannot be read, by place."""

    @property
    def seen(self) -> Int[np.ndarray, " k"]:
        """Which of `asked` could be read."""
        bad = np.fromiter(self.failures, np.int64, len(self.failures))
        return np.flatnonzero(~np.isin(self.asked, bad))


@dataclass(eq=False)
class _Chunk:
    """Some images on their way through a thread."""

    survey: Survey
    memory: Remembered
    rows: range
    """Of the survey."""
    keys: np.ndarray
    """By what each is to be remembered; empty for one that is not, or was."""
    failures: dict[int, Failure] = field(default_factory=dict)


def survey(wanted: Mapping[str, tuple[ImageSet, Int[np.ndarray, " n"]]], doing: str) -> dict[str, Survey]:
    """Every image asked for, looked at; progress is shown meanwhile.

    About half a millisecond an image is spent beside decoding; one that is remembered takes 20 microseconds where it is
    a file of its own, otherwise its bytes are read. Memory holds 78 bytes an image, and a few decoded ones a thread.

    Args:
        wanted: sets with the places to look at, rising, by the names of their parts.
        doing: what this is for, for the progress line.
    """
    found = {part: Survey(images, places, np.zeros(len(places), LOOK)) for part, (images, places) in wanted.items()}
    memory = Remembered([each.images.name for each in found.values()])
    workers, keys = max([num_cores(), *(num_readers(each.images) for each in found.values())]), []
    with Progress(doing, sum(len(each.asked) for each in found.values())) as progress:
        chunks = (chunk for each in found.values() for chunk in _chunks(each, memory))
        with closing(in_order(_look, chunks, workers=workers, ahead=4 * workers)) as outcomes:
            for chunk in outcomes:
                chunk.survey.failures |= chunk.failures
                keys.append(chunk.keys)
                progress.advance(len(chunk.rows))
    if keys:
        looks = [each.looks for each in found.values()]
        whole = all(len(each.asked) == len(each.images) for each in found.values())
        memory.keep(np.concatenate(keys), np.concatenate(looks), whole=whole)
    return found


def _chunks(one: Survey, memory: Remembered) -> Iterable[_Chunk]:
    for start in range(0, len(one.asked), _CHUNK):
        rows = range(start, min(start + _CHUNK, len(one.asked)))
        yield _Chunk(one, memory, rows, np.zeros(len(rows), "S16"))


def _look(chunk: _Chunk) -> _Chunk:
    """Fill in what is to be seen in the images of a chunk."""
    images, places = chunk.survey.images, chunk.survey.asked[chunk.rows.start : chunk.rows.stop].tolist()
    keys = _file_keys(images, places)
    hit, known = chunk.memory.find(keys)
    for row, place, own, is_known, remembered in zip(chunk.rows, places, keys, hit, known, strict=True):
        if is_known:
            chunk.survey.looks[row] = remembered
            continue
        at_work(images.ids[place])
        try:
            look, key = _look_at(images, place, own, chunk.memory)
        except ImageError as error:
            chunk.failures[place] = Failure(path=images.ids[place], reason=reason(error))
            continue
        chunk.survey.looks[row], chunk.keys[row - chunk.rows.start] = look, key
    return chunk


def _look_at(images: ImageSet, place: int, own: bytes, memory: Remembered) -> tuple[Look, bytes]:
    """What is seen in an image, and by what to remember it."""
    try:
        file = None if images.encoded is None else images.encoded(place)
    except ImageError:  # told by the reading itself, in its own words
        file = None
    if file is None:
        return look_at(images.read(place), None), b""
    if own or not _lies_in_another(images, place):
        return look_at(decode(file, name=images.ids[place]), file), own
    key = np.array([hashlib.sha256(file).digest()[:16]], "S16")
    hit, known = memory.find(key)
    if hit[0]:
        return known.reshape(()), b""
    return look_at(decode(file, name=images.ids[place]), file), key[0]


def _lies_in_another(images: ImageSet, place: int) -> bool:
    """Whether an image is part of a larger file, such as a shard."""
    return bool(images.shards) or not os.path.lexists(images.ids[place])


def _file_keys(images: ImageSet, places: Sequence[int]) -> np.ndarray:
    """By what images are remembered that are files of their own: path, size and time of change. Empty for others."""
    keys = np.zeros(len(places), "S16")
    if images.in_memory or images.shards or images.encoded is None:
        return keys
    here, now = os.getcwd(), time.time_ns()
    for row, place in enumerate(places):
        path = os.path.join(here, images.ids[place])
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            continue
        if stat.S_ISREG(status.st_mode) and status.st_mtime_ns < now - _FRESH:
            text = f"{path}\0{status.st_size}\0{status.st_mtime_ns}".encode("utf-8", "surrogateescape")
            keys[row] = hashlib.blake2b(text, digest_size=16).digest()
    return keys

"""Image files that a manifest or a list names: looked up folder by folder, told by line, made into a set.

A name takes its bytes and 24 more, whatever their number; no file is asked for twice.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import posixpath
import re
import stat
import unicodedata
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import SupportsIndex, overload

import numpy as np
from jaxtyping import Bool, Int, UInt8

from vitreous.data.checking.readable import first_few
from vitreous.data.imageset import ImageSet, Names, fingerprint
from vitreous.data.targets import Targets
from vitreous.errors import DataError
from vitreous.picture.decode import decode, file_bytes
from vitreous.picture.sniff import FOREIGN_SUFFIXES, IMAGE_SUFFIXES

_SHOWN = 10  # faults that are told one by one; the others are counted

IMAGE_ENDINGS = IMAGE_SUFFIXES | FOREIGN_SUFFIXES
"""Endings, in lower case, of the names of files that hold pictures, those in formats that are not read included."""

_AT_A_TIME = 8192  # entries of a folder looked at together
_DRIVE = re.compile(r"[A-Za-z]:/|//")

MISSING, NO_FILE, SEVERAL = -1, -2, -3
"""In place of a size: there is no such file; it is a folder or a device; several files could be meant."""


class Texts(Sequence[str]):
    """Many texts in a few bytes more than they have; they can be added to.

    Lone surrogates, which JSON can hold, survive; as names of files they lead nowhere.
    """

    def __init__(self) -> None:
        self._bytes, self._ends = bytearray(), array("q", [0])

    def append(self, text: str) -> None:
        """Add one.

        Args:
            text: any.
        """
        self._bytes += text.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._bytes))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, place: SupportsIndex) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[str]: ...
    def __getitem__(self, place: SupportsIndex | slice) -> str | Sequence[str]:
        chosen = range(len(self))[place]
        if not isinstance(chosen, int):
            return [self[each] for each in chosen]
        return self._bytes[self._ends[chosen] : self._ends[chosen + 1]].decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        for start, end in itertools.pairwise(self._ends):
            yield self._bytes[start:end].decode("utf-8", "surrogatepass")


class Faults:
    """What is wrong with the lines of a file: the first are told, the others counted.

    Args:
        where: the file.
    """

    def __init__(self, where: str) -> None:
        self._where, self.count, self._kept = where, 0, list[tuple[int, str]]()

    def add(self, line: int, text: str) -> None:
        """Remember one.

        Args:
            line: as an editor counts, from 1.
            text: what is wrong with it.
        """
        self.count += 1
        self._kept.append((line, text))
        if len(self._kept) > 100 * _SHOWN:
            self._kept = sorted(self._kept)[:_SHOWN]

    def raise_any(self, total: int, what: str, remedy: str | None = None) -> None:
        """Raise an error that names the first ten, if there are any.

        Args:
            total: how many lines there are.
            what: the lines hold ("rows").
            remedy: what to do.

        Raises:
            DataError: there are faults.
        """
        if not self.count:
            return
        told = [f"line {line:,}: {text}" for line, text in sorted(self._kept)[:_SHOWN]]
        raise DataError(
            f"{self.count:,} faults in {total:,} {what}"
            if self.count > 1
            else f"there is a fault in one of {total:,} {what}",
            where=self._where,
            why=first_few(told, self.count),
            remedy=remedy,
        )


def shown(text: str) -> str:
    """A text as it stands if a person can read it, else with its line ends and signs without a shape spelled out.

    Args:
        text: any.
    """
    return text if text.isprintable() and text.strip() == text else repr(text)


def normal_path(text: str) -> str:
    """A path in one spelling: `/` between, no `.` or `..` that can be had without, in Unicode's composed form.

    Args:
        text: as it is written.
    """
    text = unicodedata.normalize("NFC", text)
    if "//" in text or "./" in text or text.endswith(("/", "/.", "/..")) or text in (".", ".."):
        return posixpath.normpath(text)
    return text


def leads_out(path: str) -> bool:
    """Whether a path, in its one spelling, leads out of the folder that it counts from.

    Args:
        path: as `normal_path` gives it.
    """
    return path == ".." or path.startswith("../")


def is_absolute(path: str) -> bool:
    """Whether a path counts from the root of a machine, be it with Unix or Windows.

    Args:
        path: with `/` between.
    """
    return path.startswith("/") or _DRIVE.match(path) is not None


@dataclass(frozen=True, eq=False)
class Files:
    """Where named files lie."""

    folder: Path
    """What their names count from."""
    names: Texts
    """As they are written, in one spelling."""
    sizes: Int[np.ndarray, " N"]
    """In bytes; MISSING, NO_FILE or SEVERAL where there is not one file."""
    ending_of: UInt8[np.ndarray, " N"]
    """Place in `endings` of what is to be added to a name."""
    endings: tuple[str, ...]
    respelled: dict[int, str]
    """Names that are spelled otherwise on the disk: decomposed in Unicode."""

    def key(self, place: int) -> str:
        """The name of a file with its ending.

        Args:
            place: of the file.
        """
        return f"{self.names[place]}{self.endings[self.ending_of[place]]}"

    def path(self, place: int) -> str:
        """Its path on this disk.

        Args:
            place: of the file.
        """
        key = self.key(place)
        if (name := self.respelled.get(place)) is not None:
            key = posixpath.join(posixpath.dirname(key), name)
        return os.path.join(self.folder, key)


def look_up(folder: Path, names: Texts, *, stems: bool = False) -> Files:
    """Where files lie, each folder listed once; a name is found in both of Unicode's spellings.

    Args:
        folder: what names count from.
        names: with `/` between, as `normal_path` gives them.
        stems: whether they lack the endings of image files.
    """
    folder_of, folders, hashes = array("i"), dict[str, int](), array("q")
    for name in names:
        above, _, last = name.rpartition("/")
        folder_of.append(folders.setdefault(above + "/" if name.startswith("/") else above, len(folders)))
        hashes.append(hash(last))
    at, wanted = np.array(folder_of, np.int32), np.array(hashes, np.int64)
    order = np.argsort(at, kind="stable")
    starts = np.searchsorted(at[order], np.arange(len(folders) + 1))
    sizes = np.full(len(names), MISSING, np.int64)
    ending_of, endings = np.zeros(len(names), np.uint8), {"": 0}
    respelled: dict[int, str] = {}
    for number, above in enumerate(folders):
        places = order[starts[number] : starts[number + 1]]
        listing = _listed(os.path.join(folder, above), np.unique(wanted[places]), endings, stems)
        _note_down(listing, places, wanted[places], sizes, ending_of, respelled)
    return Files(folder, names, sizes, ending_of, tuple(endings), respelled)


@dataclass(frozen=True, eq=False)
class _Listing:
    hashes: Int[np.ndarray, " n"]
    sizes: Int[np.ndarray, " n"]
    endings: UInt8[np.ndarray, " n"]
    respelled: dict[int, str]


def _listed(folder: str, wanted: Int[np.ndarray, " w"], endings: dict[str, int], stems: bool) -> _Listing:
    """The files of a folder whose names' hashes are wanted (rising), in the order of these; only they are looked at."""
    hashes, sizes, found, respelled = array("q"), array("q"), array("B"), dict[int, str]()
    try:
        with os.scandir(folder) as entries:
            while batch := list(itertools.islice(entries, _AT_A_TIME)):
                names = [unicodedata.normalize("NFC", entry.name) for entry in batch]
                ends = [os.path.splitext(name)[1] if stems else "" for name in names]
                seen = np.array([hash(name[: len(name) - len(end)]) for name, end in zip(names, ends, strict=True)])
                for place in np.flatnonzero(_among(seen, wanted)).tolist():
                    entry, end = batch[place], ends[place]
                    if stems and end.lower() not in IMAGE_ENDINGS:
                        continue
                    hashes.append(int(seen[place]))
                    sizes.append(_size(entry))
                    found.append(endings.setdefault(end, len(endings)) if len(endings) < 256 else 0)
                    if entry.name != names[place]:
                        respelled[int(seen[place])] = entry.name
    except (OSError, ValueError):  # no such folder, or a name that cannot be one
        pass
    numbers = np.array(hashes, np.int64)
    order = np.argsort(numbers, kind="stable")
    return _Listing(numbers[order], np.array(sizes, np.int64)[order], np.array(found, np.uint8)[order], respelled)


def _note_down(
    listing: _Listing,
    places: Int[np.ndarray, " n"],
    wanted: Int[np.ndarray, " n"],
    sizes: Int[np.ndarray, " N"],
    ending_of: UInt8[np.ndarray, " N"],
    respelled: dict[int, str],
) -> None:
    """Write what a folder's listing says of the names in it where it belongs."""
    if not len(listing.hashes):
        return
    first = np.searchsorted(listing.hashes, wanted)
    there = first < len(listing.hashes)
    there[there] = listing.hashes[first[there]] == wanted[there]
    several = np.searchsorted(listing.hashes, wanted, side="right") - first > 1
    sizes[places[there]] = listing.sizes[first[there]]
    ending_of[places[there]] = listing.endings[first[there]]
    sizes[places[several]] = SEVERAL
    if listing.respelled:
        for place, number in zip(places.tolist(), wanted.tolist(), strict=True):
            if number in listing.respelled:
                respelled[place] = listing.respelled[number]


def _among(values: Int[np.ndarray, " n"], rising: Int[np.ndarray, " w"]) -> Bool[np.ndarray, " n"]:
    if not len(rising):
        return np.zeros(len(values), bool)
    return rising[np.minimum(np.searchsorted(rising, values), len(rising) - 1)] == values


def _size(entry: os.DirEntry[str]) -> int:
    try:
        status = entry.stat()
    except OSError:  # a link that leads nowhere
        return MISSING
    return status.st_size if stat.S_ISREG(status.st_mode) else NO_FILE


def repeated(names: Texts) -> list[tuple[int, int]]:
    """Each name that comes again: the place where it came first, and where it comes again, by the latter.

    Args:
        names: of any number.
    """
    hashes = np.fromiter((hash(name) for name in names), np.int64, len(names))
    order = np.argsort(hashes, kind="stable")
    again = np.flatnonzero(np.diff(hashes[order]) == 0)
    first: dict[str, int] = {}
    for place in sorted({*order[again].tolist(), *order[again + 1].tolist()}):
        first.setdefault(names[place], place)
    doubtful = sorted({*order[again + 1].tolist()})
    return [(first[names[place]], place) for place in doubtful if first[names[place]] != place]


def listed_set(
    name: str,
    files: Files,
    places: Int[np.ndarray, " N"],
    classes: Sequence[str],
    labels: Int[np.ndarray, " N"],
    *,
    targets: Targets | None = None,
    groups: Int[np.ndarray, " N"] | None = None,
) -> ImageSet:
    """Some of the files as labelled images.

    Args:
        name: what to call the set.
        files: all of which are there.
        places: those that belong to the set, in its order.
        classes: class names.
        labels: places in `classes`.
        targets: where images have several labels, or shares of them.
        groups: numbers of what belongs together.
    """
    absolute = {posixpath.dirname(key) for key in map(files.key, places.tolist()) if is_absolute(key)}
    root = os.path.commonpath(absolute) if absolute else ""

    def key(place: int) -> str:
        text = files.key(int(places[place]))
        return posixpath.relpath(text, root) if is_absolute(text) else text

    def path(place: int) -> str:
        return files.path(int(places[place]))

    def read(place: int) -> UInt8[np.ndarray, "H W 3"]:
        return decode(path(place))

    def encoded(place: int) -> bytes:
        return file_bytes(path(place))

    content = hashlib.sha256()
    for place in range(len(places)):
        content.update(key(place).encode("utf-8", "surrogatepass") + b"\0")
    for numbers in (labels, files.sizes[places]):
        content.update(numbers.astype("<i8").tobytes())
    more = () if targets is None else (targets.digest,)
    return ImageSet(
        name=name,
        classes=tuple(classes),
        ids=Names(len(places), path),
        labels=labels,
        read=read,
        encoded=encoded,
        fingerprint=fingerprint(list(classes), content.hexdigest(), *more),
        keys=Names(len(places), key),
        targets=targets,
        groups=groups,
    )

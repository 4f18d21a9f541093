"""Labelled images in tar shards in WebDataset's layout: named one by one, by a pattern, or by the folder they lie in.

Members are read where they lie, by offset and size; none is written to disk, and none is unpickled.
"""

from __future__ import annotations

import bisect
import contextlib
import errno
import functools
import glob
import hashlib
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import TypeVar
from unicodedata import normalize

import numpy as np
from jaxtyping import Int, UInt8

from vitreous.data.imageset import ImageSet, Names, fingerprint
from vitreous.data.layouts.found import PART_OF, Asked, Found
from vitreous.data.layouts.remote.address import shown
from vitreous.data.layouts.remote.read_ahead import ReadAhead
from vitreous.data.layouts.shards.shard_index import ShardIndex, index_shards
from vitreous.data.layouts.shards.shard_labels import class_names, classes_of
from vitreous.data.layouts.storage import Location, OpenFile, Placed, Storage
from vitreous.data.words import natural_key, some
from vitreous.errors import DataError, ImageError
from vitreous.picture.decode import decode

L = TypeVar("L", bound=Location)

_OPEN_FILES = 128  # shards of a set held open at a time: two for each lane
_SHARE_OF_FILES = 8  # and at most this part of the files that the system allows: there are other sets, and checkpoints
_MOST_SHARDS = 100_000

with contextlib.suppress(ImportError):  # there is none on Windows
    import resource

_WILD = re.compile(r"[*?\[]")
_COMPRESSED = re.compile(r"\.(tgz|tar\.(gz|bz2|xz|zst|lz4))$", re.IGNORECASE)


def find_shard_sets(typed: str, asked: Asked) -> Found | None:
    """The images in tar shards, if DATA means some.

    Args:
        typed: as for `find_shards`.
        asked: not needed.

    Raises:
        DataError: shards are missing, damaged or compressed, or their labels cannot be understood.
    """
    del asked
    shards = find_shards(typed)
    sets, notes = {}, []
    for part, paths in shards.items():
        name = typed if len(shards) == 1 else f"{typed} ({part})"
        folders = [paths[0].parent, Path(typed).expanduser()]  # of CLIP_benchmark's sets the names lie above the parts
        sets[part], said = shard_set(paths, name, class_names(*folders))
        notes += [f"{name}: {len(paths):,} tar shards", *said]
    return Found(typed, sets, notes) if sets else None


def find_shards(typed: str) -> dict[str, list[Path]]:
    """The tar shards that DATA means, by train, val and test, or all; empty where it means none.

    Args:
        typed: a tar file, a pattern with `{000..146}`, `{a,b}`, `*` or `?`, or a folder of tar files, or of folders
            called train, val and test with tar files in them.

    Raises:
        DataError: shards of a numbered row are missing, they are compressed, or two folders could be the same part.
    """
    path = Path(typed).expanduser()
    if path.is_dir():
        return _in_folder(path)
    refuse_compressed(typed, typed)
    if not typed.lower().endswith(".tar"):
        return {}
    if path.is_file():
        return by_name([path])
    if "{" not in typed and not _WILD.search(typed):
        return {}
    named = (
        glob.glob(pattern) if _WILD.search(pattern) else [pattern] for pattern in expanded(str(path))
    )  # of several patterns two may mean the same shard
    found = [Path(each) for each in dict.fromkeys(itertools.chain.from_iterable(named))]
    if missing := [str(each) for each in found if not each.is_file()]:
        raise DataError(f"{len(missing):,} of {len(found):,} shards are missing", where=typed, why=some(missing))
    if not found:
        raise DataError("no file has such a name", where=typed)
    return by_name(found)


def refuse_compressed(name: str, where: str) -> None:
    """Refuse what no place in it can be read of.

    Args:
        name: of a file.
        where: what a person calls it.

    Raises:
        DataError: it is a compressed tar file.
    """
    if _COMPRESSED.search(name):
        raise DataError(
            "compressed tar files cannot be read at any place",
            where=where,
            remedy="decompress them, with gunzip or zstd -d: photographs are compressed already",
        )


def shard_set(paths: Sequence[Location], name: str, known: Sequence[str] | None) -> tuple[ImageSet, list[str]]:
    """The images in some shards, and what to tell about them.

    Args:
        paths: of tar files, or these files elsewhere; their order counts.
        name: what to call the set.
        known: all class names, in the order of the numbers that stand for them in labels; None where nobody told.

    Raises:
        DataError: a shard is damaged, or an image has no label or one that cannot be understood.
    """
    # looked at before: a shard that is written while its headers are read is not read on
    seen = {shard: _state(path.stat()) for shard, path in enumerate(paths) if isinstance(path, Path)}
    index = index_shards(paths)
    notes = index.notes(name)
    _check_labels(index, paths, name)
    classes, table = classes_of(index.texts, known, name)
    if known is not None and (unused := set(known) - set(classes)):
        notes.append(f"{name}: no images of {len(unused):,} of {len(known):,} classes: {some(sorted(unused))}")
    return _as_set(name, paths, seen, index, classes, table[index.labels]), notes


def _in_folder(folder: Path) -> dict[str, list[Path]]:
    """Shards directly in a folder, or in its folders train, val and test."""
    folders = [entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    if tars := _tars(folder):
        return {} if folders else by_name(tars)  # beside class folders a tar file is but a file
    parts: dict[str, list[Path]] = {}
    without: list[str] = []
    for entry in sorted(folders):
        if not (part := PART_OF.get(entry.name.casefold())):
            continue
        if not (tars := _tars(entry)):
            without += [entry.name] if any(entry.iterdir()) else []
            continue
        if part in parts:
            both = f"{parts[part][0].parent.name} and {entry.name}"
            raise DataError(f"both {both} could be the {part} images", where=str(folder), remedy="keep one of the two")
        parts[part] = tars
    if parts and without:
        raise DataError(
            f"no tar shards lie in {' and '.join(without)}, and other things do",
            where=str(folder),
            why=f"{next(iter(parts))} has shards, and all parts of one data set are of one kind",
            remedy="put shards there, or name those to read with a pattern",
        )
    return parts


def _tars(folder: Path) -> list[Path]:
    names = [name for name in os.listdir(folder) if name.lower().endswith(".tar") and not name.startswith(".")]
    return [folder / name for name in sorted(names, key=natural_key) if (folder / name).is_file()]


def by_name(paths: Sequence[L]) -> dict[str, list[L]]:
    """Shards by the part that their names begin with, as in train-000.tar; or all together.

    Args:
        paths: of tar files, or these files elsewhere.

    Raises:
        DataError: some have such a name and some have not.
    """
    parts: dict[str, list[L]] = {}
    for path in sorted(paths, key=lambda path: natural_key(_placed(path).as_posix())):
        word = re.match(r"[a-z]*", _placed(path).name.casefold())
        parts.setdefault(PART_OF.get(word[0] if word else "", "all"), []).append(path)
    if "all" in parts and len(parts) > 1:
        raise DataError(
            f"some shards are named after {' and '.join(part for part in parts if part != 'all')}, but not"
            f" {some(_placed(path).name for path in parts['all'])}",
            where=str(_placed(paths[0]).parent),
            remedy="name the shards with a pattern that leaves the others out",
        )
    return parts


def expanded(pattern: str) -> list[str]:
    """All that a pattern's braces stand for, each once: {000..146} counts, {a,b} lists.

    Args:
        pattern: a path or an address.

    Raises:
        DataError: they stand for too much.
    """
    found = list(dict.fromkeys(itertools.islice(_expanded(pattern), _MOST_SHARDS + 1)))
    if len(found) > _MOST_SHARDS:
        raise DataError(f"more than {_MOST_SHARDS:,} shards", where=shown(pattern))
    return found


def _placed(path: Location) -> PurePath:
    return path.path if isinstance(path, Placed) else path


def _expanded(pattern: str) -> Iterator[str]:
    if not (braces := re.search(r"\{([^{}]*)\}", pattern)):
        yield pattern
        return
    inside = braces[1]
    options: Iterable[str] = inside.split(",")
    if numbers := re.fullmatch(r"(\d+)\.\.(\d+)", inside):
        first, last = int(numbers[1]), int(numbers[2])
        width = max(len(numbers[1]), len(numbers[2])) if "0" in (numbers[1][0], numbers[2][0]) else 1
        options = (f"{number:0{width}d}" for number in range(first, last + 1))
    for option in options:
        yield from _expanded(f"{pattern[: braces.start()]}{option}{pattern[braces.end() :]}")


def _check_labels(index: ShardIndex, paths: Sequence[Location], name: str) -> None:
    """Refuse shards without images, and images without labels."""
    if not len(index.offsets):
        kinds = ", ".join(sorted(index.left_out))
        raise DataError("there are no images in the shards", where=name, why=f"they hold {kinds}" if kinds else None)
    unlabelled = np.flatnonzero(index.labels < 0)
    if len(unlabelled):
        shard = paths[int(np.searchsorted(np.cumsum(index.counts), unlabelled[0], side="right"))]
        raise DataError(
            f"{len(unlabelled):,} of {len(index.offsets):,} images have no label",
            where=f"{shard}/{index.name(int(unlabelled[0]))}",
            why="beside KEY.jpg must lie KEY.cls with a number or a class name, or KEY.json with a label in it",
        )


def _as_set(
    name: str,
    paths: Sequence[Location],
    seen: dict[int, tuple[int, int]],
    index: ShardIndex,
    classes: tuple[str, ...],
    labels: Int[np.ndarray, " N"],
) -> ImageSet:
    ends: list[int] = np.cumsum(index.counts).tolist()
    shards = _names_below(paths)
    usual = int(index.sizes.mean())
    far = {shard: ReadAhead(path, usual) for shard, path in enumerate(paths) if isinstance(path, Placed)}

    def shard_of(place: int) -> int:
        return bisect.bisect_right(ends, place)

    ids = Names(len(labels), lambda place: f"{paths[shard_of(place)]}/{index.name(place)}")
    keys = Names(len(labels), lambda place: f"{shards[shard_of(place)]}/{normalize('NFC', index.name(place))}")

    @functools.lru_cache(_most_open())
    def opened(path: Path, shard: int) -> OpenFile:
        file = OpenFile(path)
        if file.state != seen[shard]:
            raise OSError(errno.ESTALE, "it has changed since its headers were read")
        return file

    def storage(shard: int) -> Storage:
        path = paths[shard]
        return opened(path, shard) if isinstance(path, Path) else far[shard]

    def encoded(place: int) -> bytes:
        try:
            return storage(shard_of(place)).read(int(index.offsets[place]), int(index.sizes[place]))
        except OSError as error:
            raise ImageError("the shard cannot be read", where=ids[place], why=error.strerror) from error

    def read(place: int) -> UInt8[np.ndarray, "H W 3"]:
        return decode(encoded(place), name=ids[place])

    content = hashlib.sha256()
    for array in (labels, index.sizes, index.name_ends, index.names):
        content.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return ImageSet(
        name=name,
        classes=classes,
        ids=ids,
        labels=labels,
        read=read,
        encoded=encoded,
        fingerprint=fingerprint(classes, shards, index.counts.tolist(), content.hexdigest()),
        keys=keys,
        shards=tuple(count for count in index.counts.tolist() if count),
    )


def _names_below(paths: Sequence[Location]) -> list[str]:
    """The shards' paths below the lowest folder that holds them all: equal wherever that folder lies."""
    places = [path.path if isinstance(path, Placed) else path.absolute() for path in paths]
    above = os.path.commonpath([place.parent for place in places])
    return [place.relative_to(above).as_posix() for place in places]


def _most_open() -> int:
    """How many shards a set may hold open."""
    try:
        allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    except NameError:  # Windows
        return _OPEN_FILES
    return _OPEN_FILES if allowed < 0 else max(1, min(_OPEN_FILES, allowed // _SHARE_OF_FILES))


def _state(status: os.stat_result) -> tuple[int, int]:
    """What changes when a file is written again."""
    return status.st_size, status.st_mtime_ns

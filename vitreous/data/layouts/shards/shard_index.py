"""Where every image of a set of tar shards lies and what its label says, found once and remembered on this machine.

Shards are in WebDataset's layout: members of one sample share their name up to the first dot, as in `0007.jpg` and
`0007.cls`. The index is built from headers and labels alone, takes 24 bytes and a name per image, and lies in the
cache folder for as long as path, size and time of all shards stay the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import unicodedata
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8, UInt32

from vitreous.console import Progress
from vitreous.data.feeding.threads import at_work, in_order, num_cores
from vitreous.data.layouts.shards.tar import UNENDED, Member, members
from vitreous.data.layouts.storage import Location, Placed, Read, nearby, open_file
from vitreous.errors import DataError, ResourceError
from vitreous.files import write_atomically
from vitreous.machine import cache_folder
from vitreous.picture.sniff import FOREIGN_SUFFIXES, IMAGE_SUFFIXES

_IMAGES = frozenset(suffix[1:] for suffix in IMAGE_SUFFIXES | FOREIGN_SUFFIXES)
_PICKLES = frozenset({"pyd", "pkl", "pickle", "pth", "pt"})  # what WebDataset unpickles by these endings
_LARGEST_IMAGE = 2**30  # bytes; four times the largest picture that is decoded, uncompressed
_LARGEST_LABEL = 2**20  # bytes of a .cls or .json member

State = list[list[str | int]]
"""Path, size in bytes and time of change in nanoseconds of every shard: what the index was made from. Of one on another
machine, its address without passwords, and what the server says."""

_SMALL_SAMPLE = 2**14  # bytes of samples with which indexing is work rather than waiting
_WAITING = 8  # threads: reading headers is waiting for a disk, hardly work
_WAITING_LONG = 32  # or for a network: a photograph's header costs a request
_FORMAT = 2  # raised when what the cache holds, or how members are understood, changes


@dataclass(frozen=True, eq=False)
class ShardIndex:
    """Where the images of some shards lie, in the order of the shards and within them."""

    counts: Int[np.ndarray, " shards"]
    """Images in each shard."""
    offsets: Int[np.ndarray, " N"]
    """Where an image's file begins in its shard, in bytes."""
    sizes: UInt32[np.ndarray, " N"]
    """Bytes of an image's file."""
    labels: Int[np.ndarray, " N"]
    """Places in `texts`; -1 for an image without a label."""
    name_ends: Int[np.ndarray, " N"]
    """Where an image's name ends in `names`."""
    names: UInt8[np.ndarray, " bytes"]
    """Names of all images' members, UTF-8, one behind the other."""
    texts: tuple[str, ...]
    """All labels there are, as they are written, in Unicode's composed form."""
    left_out: Counter[str] = field(default_factory=Counter)
    """What was met and left out, by kind."""

    def name(self, place: int) -> str:
        """The name of an image's member.

        Args:
            place: of the image, over all shards.
        """
        start = self.name_ends[place - 1] if place else 0
        return self.names[start : self.name_ends[place]].tobytes().decode("utf-8", "surrogateescape")

    def notes(self, where: str) -> list[str]:
        """What a person should know, in sentences.

        Args:
            where: what to call the shards.
        """
        kinds = [f"{kind} {count:,}" for kind, count in sorted(self.left_out.items()) if kind != UNENDED]
        said = [f"{where}: left out {', '.join(kinds)}"] if kinds else []
        if unended := self.left_out[UNENDED]:
            said.append(f"{where}: {unended:,} shards lack the end mark of a tar file and may have been cut off")
        return said


def index_shards(paths: Sequence[Location]) -> ShardIndex:
    """The index of some shards: the remembered one if no shard has changed, else a new one.

    Args:
        paths: of tar files that exist, or these files elsewhere.

    Raises:
        DataError: a shard is damaged, cut off or cannot be read; or labels cannot be understood.
    """
    state: State = [_state(path) for path in paths]
    names = json.dumps([row[0] for row in state])
    place = cache_folder() / "shards" / f"{hashlib.sha256(names.encode()).hexdigest()[:32]}.index"
    remembered = _load(place, state)
    if remembered is not None:
        return remembered
    with Progress("reading the headers of shards", len(paths), "shards") as progress:
        parts = [index_shard(paths[0])]
        progress.advance()
        workers = _workers(paths[0], parts[0])
        with closing(in_order(index_shard, paths[1:], workers=workers, ahead=2 * workers)) as indexed:
            for part in indexed:
                parts.append(part)
                progress.advance()
    index = _joined(parts)
    # a read-only home costs the same work the next time, never the run
    with contextlib.suppress(OSError, ResourceError):
        place.parent.mkdir(parents=True, exist_ok=True)
        _save(place, state, index)
    return index


def _workers(path: Location, first: ShardIndex) -> int:
    """How many threads to index shards with that are like the first of them."""
    if isinstance(path, Placed):
        return _WAITING_LONG
    if len(first.offsets) and int(first.offsets[-1]) < len(first.offsets) * _SMALL_SAMPLE:
        return 1  # there is hardly a wait for the disk, and more would wait for Python's lock
    return max(_WAITING, num_cores())


def index_shard(path: Location) -> ShardIndex:
    """The index of one shard, from its headers and labels.

    Args:
        path: of a tar file, or this file elsewhere.

    Raises:
        DataError: the shard is damaged, cut off or cannot be read; or a label cannot be understood.
    """
    left_out: Counter[str] = Counter()
    try:
        file = open_file(path)
        read = nearby(file)
        images, texts = _samples(read, file.size, str(path), left_out)
    except OSError as error:
        raise DataError("a shard cannot be read", where=str(path), why=error.strerror) from error
    codes = {text: code for code, text in enumerate(dict.fromkeys(texts.values()))}
    names = [member.name.encode("utf-8", "surrogateescape") for member in images.values()]
    return ShardIndex(
        counts=np.array([len(images)]),
        offsets=np.array([member.start for member in images.values()], np.int64),
        sizes=np.array([member.size for member in images.values()], np.uint32),
        labels=np.array([codes[texts[key]] if key in texts else -1 for key in images], np.int32),
        name_ends=np.cumsum([len(name) for name in names], dtype=np.int64),
        names=np.frombuffer(b"".join(names), np.uint8),
        texts=tuple(codes),
        left_out=left_out,
    )


def _state(path: Location) -> list[str | int]:
    if isinstance(path, Placed):
        return [path.identity, *path.state]
    status = path.stat()
    return [str(path.absolute()), status.st_size, status.st_mtime_ns]


def _samples(read: Read, length: int, where: str, left_out: Counter[str]) -> tuple[dict[str, Member], dict[str, str]]:
    """The images of a shard and their labels, by the samples' keys."""
    images: dict[str, Member] = {}
    texts: dict[str, str] = {}
    described: dict[str, Member] = {}
    understood: dict[bytes, str] = {}  # a shard has few labels, written again and again
    for member in members(read, length, where, left_out):
        at_work(where)  # a large shard far away takes longer than the patience with a thread that hangs
        folder, slash, base = member.name.rpartition("/")
        stem, _, suffix = base.partition(".")
        key, suffix = folder + slash + stem, suffix.lower()
        if not stem or "__MACOSX" in folder:
            left_out["hidden files"] += 1
        elif suffix in _IMAGES:
            if key in images:
                why = f"{images[key].name} and {member.name}"
                raise DataError("one sample has two images", where=where, why=why, remedy="give each its own name")
            if member.size > _LARGEST_IMAGE:
                left_out["images larger than 1 GB"] += 1
            else:
                images[key] = member
        elif suffix == "cls":
            content = read(member.start, member.size) if member.size <= _LARGEST_LABEL else b""
            if content not in understood:
                understood[content] = _content(read, member, where)
            texts[key] = understood[content]
        elif suffix == "json":
            described[key] = member
        elif suffix in _PICKLES:
            left_out["pickled members, which could run code,"] += 1
        else:
            left_out[f".{suffix} members" if suffix else "members without an ending"] += 1
    for key in images:  # in the order of the shard, which is read ahead
        if key not in described or key in texts:
            continue
        if text := _described(_content(read, described[key], where), where, described[key].name):
            texts[key] = text
    if lonely := len(texts.keys() - images.keys()):
        left_out["labels without an image"] += lonely
    return images, {key: text for key, text in texts.items() if text and key in images}


def _content(read: Read, member: Member, where: str) -> str:
    """A small member's text."""
    if member.size > _LARGEST_LABEL:
        raise DataError(
            "a label is too large", where=f"{where}/{member.name}", why=f"{member.size:,} bytes are no class name"
        )
    try:
        return unicodedata.normalize("NFC", read(member.start, member.size).decode("utf-8").strip())
    except UnicodeDecodeError as error:
        raise DataError("a label is not UTF-8 text", where=f"{where}/{member.name}") from error


def _described(content: str, where: str, name: str) -> str:
    """The label in a sample's JSON member; empty where it has none."""
    try:
        told = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError("a member is not JSON", where=f"{where}/{name}", why=str(error)) from error
    label = told.get("label", told.get("class", "")) if isinstance(told, dict) else ""
    if isinstance(label, str | int) and not isinstance(label, bool):
        return unicodedata.normalize("NFC", str(label).strip())  # it may be written in escapes
    raise DataError(
        "a label must be a whole number or the name of a class", where=f"{where}/{name}", why=f"it is {str(label)[:60]}"
    )


def _joined(parts: Sequence[ShardIndex]) -> ShardIndex:
    """One index of several, in their order."""
    codes: dict[str, int] = {}
    labels = []
    for part in parts:
        table = np.array([*(codes.setdefault(text, len(codes)) for text in part.texts), -1], np.int32)
        labels.append(table[part.labels])
    before = np.cumsum([0, *(len(part.names) for part in parts[:-1])])
    return ShardIndex(
        counts=np.concatenate([part.counts for part in parts]),
        offsets=np.concatenate([part.offsets for part in parts]),
        sizes=np.concatenate([part.sizes for part in parts]),
        labels=np.concatenate(labels),
        name_ends=np.concatenate([part.name_ends + start for part, start in zip(parts, before, strict=True)]),
        names=np.concatenate([part.names for part in parts]),
        texts=tuple(codes),
        left_out=sum((part.left_out for part in parts), Counter()),
    )


_ARRAYS = ("counts", "offsets", "sizes", "labels", "name_ends", "names")


def _save(place: Path, state: State, index: ShardIndex) -> None:
    head = {"format": _FORMAT, "state": state, "texts": index.texts, "left_out": index.left_out}
    file = io.BytesIO()
    arrays = {name: getattr(index, name) for name in _ARRAYS}
    np.savez(file, head=np.frombuffer(json.dumps(head).encode(), np.uint8), **arrays)
    content = file.getbuffer()
    digest = hashlib.sha256(content).digest()
    write_atomically(place, [digest, content], len(digest) + len(content))


def _load(place: Path, state: State) -> ShardIndex | None:
    """What was remembered of these very shards; None where nothing was, or it is not whole."""
    try:
        content = memoryview(place.read_bytes())
    except OSError:
        return None
    digest, content = content[:32], content[32:]
    if hashlib.sha256(content).digest() != digest:
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        head = json.loads(file["head"].tobytes())
        if (head["format"], head["state"]) != (_FORMAT, state):
            return None
        arrays = {name: file[name] for name in _ARRAYS}
    return ShardIndex(**arrays, texts=tuple(head["texts"]), left_out=Counter(head["left_out"]))

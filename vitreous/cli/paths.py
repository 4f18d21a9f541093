"""Which images the words on a command line mean: files, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence

from vitreous import console
from vitreous.cli.words import count, harmless
from vitreous.data.words import natural_key
from vitreous.errors import DataError, unknown_name
from vitreous.picture.sniff import FOREIGN_SUFFIXES, HEADER_BYTES, IMAGE_SUFFIXES, kind_of


def find_images(words: Sequence[str]) -> list[str]:
    """The images that `words` name, in their order, each once; files in folders that hold no image are counted aloud.

    Args:
        words: files (whatever their name: what is in them decides), folders (searched to the bottom), and patterns
            with `*`, `?`, `[...]` or `**` that no shell has filled in.

    Raises:
        DataError: a word names nothing, or a folder holds no image.
    """
    left_out: Counter[str] = Counter()
    found = [path for word in words for path in _named(word, left_out)]
    if left_out:
        kinds = ", ".join(f"{harmless(suffix)} {number}" for suffix, number in sorted(left_out.items()))
        console.say(f"left out {count(left_out.total(), 'file')} without an image ({kinds})")
    return list(dict.fromkeys(found))


def _named(word: str, left_out: Counter[str]) -> list[str]:
    if os.path.lexists(word):
        hits = [word]
    elif glob.has_magic(word):
        hits = sorted(glob.glob(word, recursive=True), key=natural_key)
    else:
        raise DataError("there is no such file or folder", where=word, why=_near(word))
    found = [path for hit in hits for path in (_below(hit, left_out) if os.path.isdir(hit) else [hit])]
    if found:
        return found
    if os.path.isdir(word):
        raise DataError("there is no image in this folder", where=word, why="it was searched to the bottom")
    raise DataError("no image matches this pattern", where=word)


def _near(word: str) -> str | None:
    """What lies there under a similar name."""
    folder, name = os.path.split(word)
    if folder and not os.path.isdir(folder):
        return f"there is no folder {folder} either"
    return unknown_name("file", name, os.listdir(folder or ".")).why


def _below(folder: str, left_out: Counter[str]) -> Iterator[str]:
    """Every image in and below a folder, in the order a person expects; hidden files are passed over."""
    visited = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in visited:  # a link that leads back
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural_key)
        for name in sorted((name for name in files if not name.startswith(".")), key=natural_key):
            path = os.path.join(place, name)
            if _is_image(path):
                yield path
            else:
                left_out[os.path.splitext(name)[1].lower() or "no ending"] += 1


def _is_image(path: str) -> bool:
    """By its name, or by its first bytes; formats that are not read count too, and are named when they fail."""
    if os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES | FOREIGN_SUFFIXES:
        return True
    if not os.path.isfile(path):  # opening a pipe would wait for ever
        return False
    try:
        with open(path, "rb") as file:
            return kind_of(file.read(HEADER_BYTES)) is not None
    except OSError:
        return True  # cannot be looked at: to be named as unreadable

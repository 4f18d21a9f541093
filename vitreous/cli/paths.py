"""Which images the words on a command line mean: files, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence

from vitreous import console
from vitreous.cli.words import harmless
from vitreous.console import count
from vitreous.data.layouts.folders.walk import LeftOut, images_below
from vitreous.data.words import natural_key
from vitreous.errors import DataError, unknown_name


def find_images(words: Sequence[str]) -> list[str]:
    """The images that `words` name, in their order, each once; files in folders that hold no image are counted aloud.

    Args:
        words: files (whatever their name: what is in them decides), folders (searched to the bottom), and patterns
            with `*`, `?`, `[...]` or `**` that no shell has filled in.

    Raises:
        DataError: a word names nothing, or a folder holds no image.
    """
    left_out = LeftOut()
    found = [path for word in words for path in _named(word, left_out)]
    if kinds := ", ".join(f"{harmless(suffix)} {number}" for suffix, number in sorted(left_out.suffixes.items())):
        console.say(f"left out {count(left_out.suffixes.total(), 'file')} without an image ({kinds})")
    return list(dict.fromkeys(found))


def _named(word: str, left_out: LeftOut) -> list[str]:
    if os.path.lexists(word):
        hits = [word]
    elif glob.has_magic(word):
        hits = sorted(glob.glob(word, recursive=True), key=natural_key)
    else:
        raise DataError("there is no such file or folder", where=word, why=_near(word))
    found = [
        path
        for hit in hits
        for path in ([entry.path for entry, _ in images_below(hit, left_out)] if os.path.isdir(hit) else [hit])
    ]
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

"""Which images the words on a command line mean: files, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence

from vitreous.errors import DataError
from vitreous.picture.decode import IMAGE_SUFFIXES


def find_images(words: Sequence[str]) -> list[str]:
    """The images that `words` name, in their order; inside a folder or pattern sorted by path.

    Args:
        words: files (of any name: their content decides), folders (searched to the bottom for known suffixes), and
            patterns with `*`, `?`, `[...]` or `**` that no shell has filled in.

    Raises:
        DataError: a word names nothing, or a folder holds no image.
    """
    return [path for word in words for path in _under(word)]


def _under(word: str) -> list[str]:
    if os.path.isdir(word):
        found = _inside(word)
        if not found:
            raise DataError(
                "there is no image in this folder",
                where=word,
                why=f"looked to the bottom for {', '.join(sorted(IMAGE_SUFFIXES))}",
            )
        return found
    if os.path.lexists(word):
        return [word]
    if glob.has_magic(word):
        hits = sorted(glob.glob(word, recursive=True))
        found = [path for hit in hits for path in (_inside(hit) if os.path.isdir(hit) else [hit])]
        if found:
            # with ** a file is met by itself and inside its folder
            return list(dict.fromkeys(found))
        raise DataError("no image matches this pattern", where=word)
    raise DataError("there is no such file or folder", where=word)


def _inside(folder: str) -> list[str]:
    """Every file with an image's suffix below `folder`; hidden ones (macOS leaves many) are left out."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            os.path.join(place, name)
            for name in files
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES
        ]
    return sorted(found)

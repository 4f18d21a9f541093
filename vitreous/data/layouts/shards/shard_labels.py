"""What the labels in shards mean: numbers or names of classes, listed in a file beside the shards or nowhere."""

from __future__ import annotations

import difflib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from vitreous.data.words import natural_key, some
from vitreous.errors import DataError

CLASS_FILES = ("classes.txt", "classnames.txt", "classes.json")
"""Where class names may be written down, beside the images; the first that is there counts."""


def class_names(*folders: Path) -> list[str] | None:
    """All class names, in the order of the numbers that stand for them; None where nobody wrote them down.

    Args:
        folders: where classes.txt, classnames.txt or classes.json may lie; the first that is found counts.

    Raises:
        DataError: the file cannot be understood.
    """
    path = next((folder / name for folder in folders for name in CLASS_FILES if (folder / name).is_file()), None)
    if path is None:
        return None
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError("the class names cannot be read", where=str(path), why=str(error)) from error
    return names_in(content, str(path), in_json=path.suffix == ".json")


def names_in(content: bytes, where: str, *, in_json: bool) -> list[str]:
    """The class names in a file, in the order of the numbers that stand for them.

    Args:
        content: of the file.
        where: its path or address, for errors.
        in_json: whether it is JSON; else there is one name a line.

    Raises:
        DataError: it cannot be understood.
    """
    try:
        text = content.decode("utf-8-sig")
        told = json.loads(text) if in_json else text.rstrip().splitlines()
    except (ValueError, RecursionError) as error:
        raise DataError("the class names cannot be read", where=where, why=str(error)) from error
    if isinstance(told, dict):
        told = _by_number(told)
    if not isinstance(told, list) or not all(isinstance(name, str) and name.strip() for name in told):
        raise DataError(
            "these are no class names",
            where=where,
            remedy='one name a line; in JSON a list of names, or {"cat": 0, "dog": 1}, or {"0": "cat", "1": "dog"}',
        )
    names = [unicodedata.normalize("NFC", name.strip()) for name in told]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"class names come twice: {some(twice)}", where=where)
    return names


def classes_of(
    texts: Sequence[str], known: Sequence[str] | None, where: str
) -> tuple[tuple[str, ...], Int[np.ndarray, " texts"]]:
    """The classes that labels mean, in order, and for each label the place of its class.

    With known names a label is a number from 0 or a name. Without them, numbers are named as they are written, in
    their order; as soon as one label is no number, all are names.

    Args:
        texts: all labels there are, as they are written.
        known: all class names, or None.
        where: whose labels they are, for errors.

    Raises:
        DataError: a label means no class, or it could mean two.
    """
    numbers = {text: int(text) for text in texts if re.fullmatch("-?[0-9]{1,18}", text)}
    if below := [text for text, number in numbers.items() if number < 0]:
        raise DataError(f"labels are below 0: {some(below)}", where=where, why="the numbers of classes begin at 0")
    if known is not None:
        meant = _among(texts, numbers, known, where)
        places = {name: place for place, name in enumerate(known)}
        classes = sorted(set(meant.values()), key=places.__getitem__)
    elif len(numbers) == len(texts):
        meant = {text: str(number) for text, number in numbers.items()}
        classes = sorted(set(meant.values()), key=int)
    else:
        meant = {text: text for text in texts}
        classes = sorted(texts, key=natural_key)
    places = {name: place for place, name in enumerate(classes)}
    return tuple(classes), np.array([places[meant[text]] for text in texts], np.int64)


def _among(texts: Sequence[str], numbers: dict[str, int], known: Sequence[str], where: str) -> dict[str, str]:
    """The known class that each label means."""
    names = set(known)
    meant = {text: text for text in texts if text in names and text not in numbers}
    meant |= {text: known[number] for text, number in numbers.items() if number < len(known)}
    if strange := [text for text in texts if text not in meant]:
        close = difflib.get_close_matches(strange[0], known, n=1)
        raise DataError(
            f"{len(strange):,} labels mean none of the {len(known):,} classes that are listed: {some(strange)}",
            where=where,
            why=f"did you mean {close[0]!r} by {strange[0]!r}?" if close else None,
        )
    if double := [text for text in numbers if text in names and meant[text] != text]:
        raise DataError(
            f"a label may mean the class called {double[0]} or the class with that number",
            where=where,
            remedy="write labels by number only, and give classes names that are no numbers",
        )
    return meant


def _by_number(told: dict[str, object]) -> list[object] | None:
    """Names in the order of {"cat": 0} or {"0": "cat"}; None where numbers are missing."""
    if all(isinstance(number, int) for number in told.values()):
        told = {str(number): name for name, number in told.items()}
    wanted = [str(number) for number in range(len(told))]
    return [told[number] for number in wanted] if told.keys() == set(wanted) else None

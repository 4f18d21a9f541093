"""CIFAR-10 and CIFAR-100 as their makers give them: Python pickles, which are read without unpickling, or plain bytes.

Pictures are rows of 3,072 bytes: 1,024 of red, then green, then blue, each row by row. In the binary files one byte
of CIFAR-10, two of CIFAR-100 (coarse, fine) stand before each picture. https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from vitreous.data.imageset import ImageSet, Names, array_set
from vitreous.data.layouts.arrays.safe_pickle import read_pickled_dict
from vitreous.data.layouts.folders.walk import few_entries
from vitreous.data.layouts.found import Asked, Found
from vitreous.data.words import some
from vitreous.errors import DataError

_PIXELS = 3 * 32 * 32
_LARGEST = 2**30  # bytes of a file; CIFAR-100's largest has 155 million
_BATCHES = [f"data_batch_{number}" for number in range(1, 6)]
_DOWNLOADS = re.compile(r"cifar-?10{1,2}-(python|binary)\.(tar\.gz|tgz|tar)", re.IGNORECASE)

Part = tuple[UInt8[np.ndarray, "N 3072"], Int[np.ndarray, " N"]]
"""Pictures as they are stored, and the number of each one's class."""


@dataclass(frozen=True)
class _Form:
    """One of the four ways in which the sets come."""

    name: str
    parts: dict[str, list[str]]
    """Files of each part."""
    names: str
    """The file with the names of the classes."""
    read: Callable[[Path], Part]
    read_names: Callable[[Path], list[str]]
    note: str | None = None


def find_cifar(typed: str, asked: Asked) -> Found | None:
    """The images of CIFAR-10 or CIFAR-100, if DATA is a folder of their files.

    Args:
        typed: cifar-10-batches-py, cifar-100-python, cifar-10-batches-bin or cifar-100-binary, by any name, or a
            folder with nothing but one of them in it.
        asked: not needed.

    Raises:
        DataError: files are missing, cut off or damaged, hold anything but pictures and labels, or are packed still.
    """
    del asked
    path = Path(typed).expanduser()
    if path.is_file():
        if _DOWNLOADS.fullmatch(path.name):
            raise _packed(path)
        return None
    folder = _folder_of_files(path)
    form = _form_of(folder) if folder else None
    if folder is None or form is None:
        return None
    wanted = [name for names in form.parts.values() for name in names]
    if missing := [name for name in (*wanted, form.names) if not (folder / name).is_file()]:
        raise DataError(
            f"{len(missing)} of the files of {form.name} are missing: {some(missing)}",
            where=str(folder),
            remedy="unpack the archive again",
        )
    return _found(typed, folder, form)


def _packed(path: Path) -> DataError:
    return DataError(
        "these files are packed still",
        where=str(path),
        why="they are read from a folder",
        remedy=f"tar -xf {path} -C {path.parent}",
    )


def _folder_of_files(path: Path) -> Path | None:
    """The folder itself, or the only one in it; an archive alone in it is told."""
    if _form_of(path):
        return path
    entries = few_entries(path)
    folders = [entry for entry in entries if entry.is_dir()]
    packed = [entry for entry in entries if _DOWNLOADS.fullmatch(entry.name)]
    if packed and not folders:
        raise _packed(packed[0])
    return folders[0] if len(folders) == 1 and _form_of(folders[0]) else None


def _form_of(folder: Path) -> _Form | None:
    """How the files of a folder are to be read, told by names that no other set has."""
    binaries = [f"{name}.bin" for name in _BATCHES]
    if _holds(folder, *_BATCHES, "batches.meta"):
        return _TEN
    if _holds(folder, "meta") and _holds(folder, "train", "test"):
        return _HUNDRED
    if _holds(folder, *binaries):
        return _TEN_BINARY
    return _HUNDRED_BINARY if _holds(folder, "train.bin", "test.bin", "fine_label_names.txt") else None


def _holds(folder: Path, *names: str) -> bool:
    """Whether one of these files is there."""
    return any((folder / name).is_file() for name in names)


def _found(typed: str, folder: Path, form: _Form) -> Found:
    names = form.read_names(folder / form.names)
    if len(set(names)) != len(names) or not names:
        raise DataError("the names of the classes are no names", where=str(folder / form.names))
    sets = {part: _as_set(typed, folder, part, files, form, names) for part, files in form.parts.items()}
    count = sum(map(len, sets.values()))
    notes = [f"{typed}: {form.name}, {count:,} images in {len(names)} classes"]
    if form.note:
        notes.append(f"{typed}: {form.note}")
    return Found(typed, sets, notes)


def _as_set(typed: str, folder: Path, part: str, files: list[str], form: _Form, names: list[str]) -> ImageSet:
    """Keys say the part and the number, so that the same files anywhere, of either form, have the same fingerprint."""
    read = [form.read(folder / file) for file in files]
    labels = np.concatenate([numbers for _, numbers in read])
    if not len(labels) or labels.max() >= len(names):
        what = f"a label is {labels.max()}" if len(labels) else "there are no images"
        raise DataError(what, where=str(folder), why=f"in {some(files)}, with {len(names)} classes")
    pixels = np.concatenate([pictures.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1) for pictures, _ in read])
    images = array_set(part, np.ascontiguousarray(pixels), labels, names)
    ids = Names(len(labels), lambda place: f"{folder}/{part}/{place:05d}")
    return dataclasses.replace(images, name=f"{typed} ({part})", ids=ids)


def _content(path: Path) -> bytes:
    try:
        if (size := path.stat().st_size) > _LARGEST:
            raise DataError(f"the file is too large: {size:,} bytes", where=str(path), why=f"at most {_LARGEST:,}")
        return path.read_bytes()
    except OSError as error:
        raise DataError("the file cannot be read", where=str(path), why=error.strerror) from error


def _pickled(path: Path, labels: str) -> Part:
    """The pictures and labels in a pickled batch."""
    found = read_pickled_dict(_content(path), str(path))
    pictures, numbers = found.get("data"), found.get(labels)
    if not isinstance(pictures, np.ndarray) or pictures.dtype != np.uint8 or pictures.shape[1:] != (_PIXELS,):
        raise _strange(path, f"no array of bytes with {_PIXELS:,} a picture is called data in it")
    if isinstance(numbers, np.ndarray) and numbers.ndim == 1 and numbers.dtype.kind in "iu":
        numbers = numbers.tolist()
    if not isinstance(numbers, list) or not all(type(number) is int and 0 <= number < 2**31 for number in numbers):
        raise _strange(path, f"no list of whole numbers is called {labels} in it")
    if len(numbers) != len(pictures):
        raise _strange(path, f"{len(pictures):,} pictures do not go with {len(numbers):,} labels")
    return pictures, np.array(numbers, np.int64)


def _pickled_names(path: Path, key: str) -> list[str]:
    names = read_pickled_dict(_content(path), str(path)).get(key)
    if not isinstance(names, list):
        raise _strange(path, f"no list of names is called {key} in it")
    texts = [name.decode("latin-1") if isinstance(name, bytes) else name for name in names]
    if not all(isinstance(text, str) for text in texts):
        raise _strange(path, f"no list of names is called {key} in it")
    return texts


def _strange(path: Path, why: str) -> DataError:
    return DataError("this is no file of CIFAR's", where=str(path), why=why, remedy="unpack the archive again")


def _binary(path: Path, before: int) -> Part:
    """The pictures in a binary file, with their labels in the last of the bytes before each."""
    content, row = np.frombuffer(_content(path), np.uint8), before + _PIXELS
    if len(content) % row or not len(content):
        raise DataError(
            "the file is cut off",
            where=str(path),
            why=f"its {len(content):,} bytes are not whole pictures of {row:,}",
            remedy="unpack the archive again",
        )
    rows = content.reshape(-1, row)
    return rows[:, before:], rows[:, before - 1].astype(np.int64)


def _listed_names(path: Path) -> list[str]:
    try:
        return [line.strip() for line in _content(path).decode("utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise DataError("the class names are not UTF-8 text", where=str(path)) from error


def _ten(endings: str) -> dict[str, list[str]]:
    return {"train": [name + endings for name in _BATCHES], "test": ["test_batch" + endings]}


_COARSE = "its 100 fine classes are taken; its 20 coarse ones lie in the same files and are not"

_TEN = _Form(
    "CIFAR-10 in pickles, read without running them",
    _ten(""),
    "batches.meta",
    lambda path: _pickled(path, "labels"),
    lambda path: _pickled_names(path, "label_names"),
)
_HUNDRED = _Form(
    "CIFAR-100 in pickles, read without running them",
    {"train": ["train"], "test": ["test"]},
    "meta",
    lambda path: _pickled(path, "fine_labels"),
    lambda path: _pickled_names(path, "fine_label_names"),
    _COARSE,
)
_TEN_BINARY = _Form(
    "CIFAR-10 in binary files", _ten(".bin"), "batches.meta.txt", lambda path: _binary(path, 1), _listed_names
)
_HUNDRED_BINARY = _Form(
    "CIFAR-100 in binary files",
    {"train": ["train.bin"], "test": ["test.bin"]},
    "fine_label_names.txt",
    lambda path: _binary(path, 2),
    _listed_names,
    _COARSE,
)

"""Labelled images on web servers and in object stores, read by ranges where they lie: nothing is downloaded as a whole.

Names of parts, keys, labels and order are those of the same files on a disk.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from contextlib import closing
from urllib.parse import urlsplit

from vitreous.data.feeding.threads import in_order
from vitreous.data.layouts.archive.archive import zip_set
from vitreous.data.layouts.found import PART_OF, Asked, Found
from vitreous.data.layouts.remote.address import WEB, Address, find_address, shown
from vitreous.data.layouts.remote.read_ahead import ReadAhead
from vitreous.data.layouts.remote.remote_file import RemoteFile, listed, whole
from vitreous.data.layouts.shards.shard_labels import CLASS_FILES, names_in
from vitreous.data.layouts.shards.shards import by_name, expanded, refuse_compressed, shard_set
from vitreous.data.words import some
from vitreous.errors import DataError

_WAITING = 32  # threads that wait for servers
_CLASS_LIST = 2**24  # bytes
_WEB_PAGE = re.compile(rb"\s*<(!doctype|html)", re.IGNORECASE)


def find_remote(typed: str, asked: Asked) -> Found | None:
    """The labelled images at an address, if DATA is one.

    Args:
        typed: tar shards as `https://HOST/train-{000..146}.tar` or `s3://BUCKET/train-*.tar`, or one zip archive.
        asked: what was said besides.

    Raises:
        DataError: they are missing, damaged, or of a kind that is not read from afar.
        UsageError: a package is missing.
    """
    if (address := find_address(typed)) is None:
        return None
    refuse_compressed(address.path.name, str(address))
    if urlsplit(address.url).path.endswith("/"):
        address = address.folder.inside("*.tar")
    match address.path.suffix.lower():
        case ".tar":
            found = _shards(address)
        case ".zip":
            found = _archive(address, asked)
        case _:
            raise DataError(
                "data of this kind is not read from afar",
                where=str(address),
                why="tar shards and a zip archive are; a manifest, Parquet files and folders of images are not",
                remedy="tar shards, as in https://HOST/train-{000..146}.tar, or a copy on a disk",
            )
    found.sets = {part: dataclasses.replace(images, afar=True) for part, images in found.sets.items()}
    return found


def opened(pattern: Address) -> list[RemoteFile]:
    """The files that an address means, each asked for its length.

    Args:
        pattern: with `{000..146}`, `{a,b}`, and in object stores `*`.

    Raises:
        DataError: some are missing or cannot be read.
        UsageError: a package is missing.
    """
    addresses = list(dict.fromkeys(found for each in expanded(pattern.url) for found in _meant(Address(each))))
    if not addresses:
        raise DataError("no file has such a name", where=str(pattern))
    with closing(in_order(_opened, addresses, workers=min(_WAITING, len(addresses)), ahead=2 * _WAITING)) as answers:
        found = list(answers)
    if missing := [str(address) for address, file in zip(addresses, found, strict=True) if file is None]:
        raise DataError(f"{len(missing):,} of {len(found):,} files are missing", where=str(pattern), why=some(missing))
    return [file for file in found if file is not None]


def _shards(pattern: Address) -> Found:
    found = opened(pattern)
    by_folder = _by_folder(found)
    parts = by_name(found) if by_folder is None else by_folder
    classes = {address: _class_names(address) for address in {files[0].address.folder: 0 for files in parts.values()}}
    sets, notes = {}, []
    for part, files in parts.items():
        name = str(pattern) if len(parts) == 1 else f"{pattern} ({part})"
        known = classes[files[0].address.folder]
        if known is None and by_folder is not None:
            known = _class_names(files[0].address.folder.folder)
        sets[part], said = shard_set(files, name, known)
        size = sum(file.size for file in files)
        notes += [f"{name}: {len(files):,} tar shards of {size / 1e6:,.1f} MB together, read by ranges", *said]
    return Found(str(pattern), sets, notes)


def _archive(address: Address, asked: Asked) -> Found:
    files = opened(address)
    if len(files) > 1:
        raise DataError(f"{len(files):,} zip archives cannot be one set", where=str(address), remedy="name one of them")
    try:
        return zip_set(ReadAhead(files[0]), str(address), asked)
    except OSError as error:
        raise _unreadable(address, error) from None


def _by_folder(files: Sequence[RemoteFile]) -> dict[str, list[RemoteFile]] | None:
    """Shards by the part that their folders are called after; None where a folder is called otherwise."""
    parts: dict[str, list[RemoteFile]] = {}
    for file in files:
        parts.setdefault(PART_OF.get(file.path.parent.name.casefold(), ""), []).append(file)
    return None if "" in parts or len(parts) < 2 else parts


def _meant(address: Address) -> list[Address]:
    """The files that an address with * means."""
    if "*" not in address.url:
        return [address]
    if address.scheme in WEB:
        raise DataError(
            "a web server cannot list its files",
            where=str(address),
            remedy="say which numbers there are, as in train-{000..146}.tar",
        )
    try:
        return listed(address)
    except OSError as error:
        raise _unreadable(address, error) from None


def _opened(address: Address) -> RemoteFile | None:
    """The file at an address; None where there is none."""
    try:
        return RemoteFile(address)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(address, error) from None


def _class_names(folder: Address) -> list[str] | None:
    """All class names, if they are written down in a folder."""
    for name in CLASS_FILES:
        address = folder.inside(name)
        try:
            content = whole(address, _CLASS_LIST)
        except (FileNotFoundError, PermissionError):  # stores that may not be listed answer so for what is not there
            continue
        except OSError as error:
            raise _unreadable(address, error) from None
        if _WEB_PAGE.match(content):  # of a server that has one for whatever it has not
            continue
        return names_in(content, str(address), in_json=address.path.suffix == ".json")
    return None


def _unreadable(address: Address, error: OSError) -> DataError:
    return DataError("it cannot be read from afar", where=str(address), why=shown(error.strerror or str(error)))

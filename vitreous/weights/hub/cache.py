"""The cache of fetched weights: where each file lies, what is recorded of it, and whether it is still what came.

It is `weights/` in vitreous's cache folder, for a person to read:

    weights/hub/timm/vit_base_patch16_224.augreg_in21k/main/model.safetensors, config.json, fetched.json
    weights/web/storage.googleapis.com/vit_models/sam/ViT-B_16.npz, fetched.json

`fetched.json` says of every file where it came from, its size and its SHA-256; both are checked before it is used.
What the Hugging Face library or torch hub have fetched before is used where it lies. Nothing here uses the network.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from vitreous.console import say
from vitreous.errors import ModelFileError, UsageError
from vitreous.files import write_text
from vitreous.machine import cache_folder
from vitreous.pretrained import HubFile, WebFile
from vitreous.weights.hub.download import Received

INDEX = ".index.json"
"""How the list of the shards of large weights ends."""

_MOST_SHARDS = 1000
_RECORD = "fetched.json"


def home_of(location: HubFile | WebFile, cache: Path | None) -> Path:
    """The folder of the cache that a file belongs into.

    Args:
        location: where it comes from.
        cache: in place of vitreous's cache folder.
    """
    root = (cache or cache_folder()) / "weights"
    match location:
        case HubFile(repo=repo, revision=revision):
            return root / "hub" / inside(repo) / quote(revision, safe="")
        case WebFile(url=url):
            parts = urlsplit(url)
            folder = PurePosixPath(unquote(parts.path).lstrip("/")).parent
            return root / "web" / inside((PurePosixPath(parts.netloc.replace(":", "_")) / folder).as_posix())


def inside(name: str) -> PurePosixPath:
    """`name` as a relative path that stays below the folder it is joined to, on every system.

    Args:
        name: as a server or an address gives it, with `/` between its parts.

    Raises:
        ModelFileError: it would lead elsewhere.
    """
    path = PurePosixPath(name)
    astray = not path.parts or path.is_absolute() or any(part.startswith("..") for part in path.parts)
    if astray or re.search(r"[\\:\x00-\x1f\x7f]", name):
        raise ModelFileError("a file is named that would lie outside its folder", where=repr(name))
    return path


def file_name(url: str) -> str:
    """The last part of an address.

    Args:
        url: a web address.
    """
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    if not name:
        raise UsageError("the address names no file", where=url)
    return inside(name).as_posix()


def shards(file: Path) -> tuple[str, ...]:
    """The files that an index lists; none for a file that is no index.

    Args:
        file: weights, or the index of their shards.

    Raises:
        ModelFileError: the index is none, or lists what is no shard.
    """
    if not file.name.endswith(INDEX):
        return ()
    try:
        names = sorted(set(json.loads(file.read_text(encoding="utf-8"))["weight_map"].values()))
        if not 0 < len(names) <= _MOST_SHARDS:
            raise ValueError(f"it lists {len(names)} shards")
        if strange := [name for name in names if not name.endswith((".safetensors", ".bin"))]:
            raise ValueError(f"it lists {strange[0]!r}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = f"{type(error).__name__}: {error}"
        raise ModelFileError("the index of the shards cannot be understood", where=str(file), why=why) from error
    return tuple(inside(name).as_posix() for name in names)


def held(location: HubFile | WebFile, home: Path, *, verify: bool = True, forgive: bool = False) -> Path | None:
    """The complete weights in a folder of the cache; None where they are not.

    Args:
        location: where they came from.
        home: from `home_of`.
        verify: also check digests.
        forgive: treat what is damaged as if it were not there.

    Raises:
        ModelFileError: a file is no longer what was fetched.
    """
    main = _record(home).get("weights")
    if main not in (location.files if isinstance(location, HubFile) else (file_name(location.url),)):
        return None
    known = recorded(home)
    try:
        for file in (main, *shards(home / main)):
            if why := wrong(home / file, known.get(file), verify):
                raise ModelFileError(
                    "a fetched file is damaged",
                    where=str(home / file),
                    why=why,
                    remedy="the same command with --fetch fetches it again",
                )
    except ModelFileError:
        if forgive:
            return None
        raise
    return home / main


def wrong(path: Path, known: dict[str, Any] | None, verify: bool) -> str | None:
    """What is wrong with a fetched file; None where it is as it came.

    Args:
        path: the file.
        known: its entry in `recorded`.
        verify: also check its digest.
    """
    if known is None or not path.is_file():
        return "it is gone"
    if path.stat().st_size != known["size"]:
        return f"it has {path.stat().st_size:,} bytes, {known['size']:,} were fetched"
    if verify and sha256_of(path) != known["sha256"]:
        return "its digest is not the one that was fetched: a bit has changed on disk"
    return None


def recorded(home: Path) -> dict[str, Any]:
    """What is known of every fetched file of a folder, by its name.

    Args:
        home: a folder of the cache.
    """
    files: dict[str, Any] = _record(home).get("files", {})
    return files


def record(home: Path, file: str, url: str, received: Received) -> None:
    """Remember a file that has come.

    Args:
        home: a folder of the cache, held by this process alone.
        file: its name in that folder.
        url: where it came from.
        received: what the download measured.
    """
    when = time.strftime("%Y-%m-%d %H:%M:%S")
    fact = {"size": received.size, "sha256": received.sha256, "commit": received.commit, "url": url, "fetched": when}
    _write(home, {"files": {**recorded(home), file: fact}})


def complete(home: Path, weights: str) -> None:
    """Everything has come: from now on the folder counts as holding the weights.

    Args:
        home: a folder of the cache, held by this process alone.
        weights: the file that is opened, of shards the index.
    """
    _write(home, {**_record(home), "weights": weights})


def elsewhere(location: HubFile | WebFile, sha256: str | None, verify: bool) -> Path | None:
    """The weights where the Hugging Face library or torch hub keep what they fetched; None where they do not.

    Args:
        location: where they came from.
        sha256: what was published of the file's digest.
        verify: check digests where the cache names them.
    """
    match location:
        case HubFile() as place:
            return _in_snapshot(place, verify)
        case WebFile(url=url):
            home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "torch"
            path = Path(home).expanduser() / "hub" / "checkpoints" / file_name(url)
            # a file name alone proves nothing: other publishers' files are called ViT-B_16.npz too
            good = sha256 is not None and path.is_file() and sha256_of(path).startswith(sha256)
            return path if good else None


def hugging_face_home() -> Path:
    """Where the Hugging Face library keeps its cache and its token."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("HF_HOME") or Path(base) / "huggingface").expanduser()


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal.

    Args:
        path: the file.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _record(home: Path) -> dict[str, Any]:
    try:
        found = json.loads((home / _RECORD).read_text(encoding="utf-8"))
        facts = found["files"].values()
        well = all(isinstance(fact["size"], int) and isinstance(fact["sha256"], str) for fact in facts)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return found if well else {}


def _write(home: Path, found: dict[str, Any]) -> None:
    write_text(home / _RECORD, json.dumps(found, indent=1, sort_keys=True) + "\n")


def _in_snapshot(place: HubFile, verify: bool) -> Path | None:
    """A snapshot of the Hugging Face library's cache; large files are links to blobs named by their SHA-256."""
    root = Path(os.environ.get("HF_HUB_CACHE") or hugging_face_home() / "hub").expanduser()
    repo = root / f"models--{place.repo.replace('/', '--')}"
    with contextlib.suppress(OSError):
        reference = repo / "refs" / inside(place.revision)
        commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else place.revision
        snapshot = repo / "snapshots" / inside(commit)
        for file in place.files:
            if (snapshot / file).is_file():
                whole = [snapshot / file, *(snapshot / shard for shard in shards(snapshot / file))]
                return snapshot / file if all(_as_named(path, verify) for path in whole) else None
    return None


def _as_named(path: Path, verify: bool) -> bool:
    if not path.is_file():
        return False
    digest = path.resolve().name
    if verify and re.fullmatch(r"[0-9a-f]{64}", digest) and sha256_of(path) != digest:
        say(f"{path} is damaged: its digest is not its name; it is left alone and not used")
        return False
    return True

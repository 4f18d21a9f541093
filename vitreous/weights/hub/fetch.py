"""Published weights on this machine: found in the caches, or fetched when asked, and only then.

A mirror of the hub has the paths `REPO/resolve/REVISION/FILE`, and for weights from elsewhere `HOST/PATH`; a folder may
have either, or `REPO/FILE`, `NAME/FILE`, or just FILE.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import filelock

from vitreous.console import Progress, say
from vitreous.errors import ModelFileError, ResourceError, UsageError
from vitreous.pretrained import HubFile, Pretrained, WebFile, find_pretrained, is_pretrained_name
from vitreous.weights.hub.cache import (
    INDEX,
    complete,
    elsewhere,
    file_name,
    held,
    home_of,
    hugging_face_home,
    inside,
    record,
    recorded,
    sha256_of,
    shards,
    wrong,
)
from vitreous.weights.hub.download import MissingFile, Received, check_address, download

HUB = "https://huggingface.co"
"""The hub, unless `hub_url` or HF_ENDPOINT names another."""

SIDECARS = ("config.json", "preprocessor_config.json", "open_clip_config.json")
"""Small files that come along with the weights of a repository, where it has them."""

_MOST_JSON = 32 << 20  # bytes of a JSON file


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """What is to be had, and what is known of it."""

    name: str
    location: HubFile | WebFile
    sha256: str | None = None
    terms: str = ""


def fetch(
    pretrained: Pretrained | str,
    *,
    cache: Path | None = None,
    hub_url: str | None = None,
    offline: bool = False,
    progress: bool = True,
) -> Path:
    """The file of published weights on this machine, brought here if it is not; of shards, their index.

    Args:
        pretrained: from `find_pretrained`, its name, a hub repository OWNER/NAME, or an https address.
        cache: where fetched files are kept; by default in vitreous's cache folder.
        hub_url: a mirror of the hub, or a folder with the files, in place of HF_ENDPOINT and huggingface.co.
        offline: do without the network; HF_HUB_OFFLINE=1 means the same.
        progress: show how far it is.

    Raises:
        UnknownNameError: nothing published is called so.
        ModelFileError: it is not there, or what came is not what was published.
        ResourceError: no network, no permission, or no room.
    """
    wanted = _wanted(pretrained)
    endpoint = endpoint_of(hub_url)
    if isinstance(endpoint, Path):
        return _from_folder(wanted, endpoint)
    home = home_of(wanted.location, cache)
    offline = offline or os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    try:
        if found := cached(pretrained, cache=cache):
            return found
    except ModelFileError as damaged:
        if offline:
            raise
        say(f"{damaged.what}: {damaged.where}; fetching it again")
    if offline:
        raise ResourceError(
            f"{wanted.name} is not on this machine",
            why="and the network is not to be used",
            remedy="the same command with --fetch; without a network, --hub-url FOLDER takes it from a folder",
        )
    with _locked(home):
        if found := held(wanted.location, home, forgive=True):  # somebody else was faster
            return found
        say(f"fetching {wanted.name}" + (f" ({wanted.terms})" if wanted.terms else ""))
        match wanted.location:
            case HubFile() as place:
                file = _bring_repo(place, home, endpoint or HUB, wanted.sha256, progress)
            case WebFile(url=url):
                file, parts = file_name(url), urlsplit(url)
                address = f"{endpoint}/{parts.netloc}{parts.path}" if hub_url else url
                _bring(address, home, file, sha256=wanted.sha256, progress=progress)
        complete(home, file)
        return home / file


def cached(pretrained: Pretrained | str, *, cache: Path | None = None, verify: bool = True) -> Path | None:
    """The file of published weights, if this machine has it; None where it does not. Never uses the network.

    Args:
        pretrained: as for `fetch`.
        cache: where fetched files are kept; by default in vitreous's cache folder.
        verify: also check digests, which takes as long as reading the file; sizes are always checked.

    Raises:
        ModelFileError: it is there, and no longer what was fetched.
    """
    wanted = _wanted(pretrained)
    found = held(wanted.location, home_of(wanted.location, cache), verify=verify)
    return found or elsewhere(wanted.location, wanted.sha256, verify)


def hub_token() -> str | None:
    """The person's own token: HF_TOKEN, or what `hf auth login` has written."""
    if token := os.environ.get("HF_TOKEN", "").strip():
        return token
    with contextlib.suppress(OSError):
        return (hugging_face_home() / "token").read_text(encoding="utf-8").strip() or None
    return None


def is_repo(text: str) -> bool:
    """Whether `text` could name a repository of a hub: OWNER/NAME.

    Args:
        text: as typed.
    """
    return bool(re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", text)) and ".." not in text


def _wanted(pretrained: Pretrained | str) -> _Wanted:
    if isinstance(pretrained, str) and not is_pretrained_name(pretrained):
        plain = pretrained.strip().removeprefix(f"{HUB}/").removeprefix("hf-hub:").removeprefix("hf:").rstrip("/")
        if plain.startswith(("http:", "https:")):
            check_address(plain)
            return _Wanted(name=plain, location=WebFile(plain))
        if is_repo(plain):
            return _Wanted(name=plain, location=HubFile(plain))
    entry = find_pretrained(pretrained) if isinstance(pretrained, str) else pretrained
    if isinstance(entry.location, WebFile):
        check_address(entry.location.url)
    terms = ", ".join(filter(None, (f"licence {entry.licence}", entry.note)))
    return _Wanted(name=entry.name, location=entry.location, sha256=entry.sha256, terms=terms)


def endpoint_of(hub_url: str | None) -> str | Path | None:
    """Another hub, the folder that stands for one, or None for the usual places.

    Args:
        hub_url: as typed after --hub-url; HF_ENDPOINT where nothing was.
    """
    given = hub_url or os.environ.get("HF_ENDPOINT")
    if not given:
        return None
    if given.startswith(("http://", "https://")):
        check_address(given)
        return given.rstrip("/")
    folder = Path(unquote(urlsplit(given).path) if given.startswith("file://") else given).expanduser()
    if not folder.is_dir():
        raise UsageError("--hub-url is neither a web address nor a folder", where=given)
    return folder


def _bring_repo(place: HubFile, home: Path, hub: str, sha256: str | None, progress: bool) -> str:
    """Bring the weights of a repository, all their shards, and the small files beside them, at one commit.

    The answer is the name of the file to open.
    """
    base, commit, token = f"{hub}/{quote(place.repo)}/resolve", quote(place.revision, safe=""), hub_token()
    for file in place.files:
        url = f"{base}/{commit}/{quote(file)}"
        largest = _MOST_JSON if file.endswith(INDEX) else None
        try:
            first = _bring(url, home, file, sha256=sha256, token=token, largest=largest, progress=progress)
        except MissingFile:
            continue
        break
    else:
        raise ModelFileError(
            "the repository has no file of weights that is known here, or there is no such repository",
            where=f"{hub}/{place.repo}",
            why=f"looked for {', '.join(place.files)} at revision {place.revision}",
        )
    commit = first.commit or commit
    for shard in shards(home / file):
        _bring(f"{base}/{commit}/{quote(shard)}", home, shard, token=token, progress=progress)
    for sidecar in SIDECARS:
        with contextlib.suppress(MissingFile):
            url = f"{base}/{commit}/{sidecar}"
            _bring(url, home, sidecar, token=token, largest=_MOST_JSON, progress=False)
    return file


def _bring(
    url: str,
    home: Path,
    file: str,
    *,
    sha256: str | None = None,
    token: str | None = None,
    largest: int | None = None,
    progress: bool = True,
) -> Received:
    """One file into its folder, and into the folder's record; what is there and right is not brought again."""
    target = home / inside(file)
    if (known := recorded(home).get(file)) and wrong(target, known, verify=True) is None:
        return Received(size=known["size"], sha256=known["sha256"], commit=known.get("commit"))
    target.parent.mkdir(parents=True, exist_ok=True)
    with _Meter(file, progress) as meter:
        received = download(url, target, sha256=sha256, token=token, largest=largest, follow=meter.follow)
    record(home, file, url, received)
    return received


@contextlib.contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Hold the folder alone; whoever holds it now is waited for."""
    lock = filelock.FileLock(home / ".lock")
    try:
        home.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            say(f"another process is fetching into {home}; waiting for it")
            lock.acquire()
    except OSError as error:
        raise ResourceError(
            "the cache cannot be written",
            where=str(home),
            why=error.strerror or str(error),
            remedy="export VITREOUS_CACHE=FOLDER with a folder that may be written to",
        ) from error
    try:
        yield
    finally:
        lock.release()


class _Meter:
    """Progress of one file in megabytes, shown from the first bytes on; use it as a context manager.

    Args:
        file: what is fetched.
        shown: whether to show anything.
    """

    def __init__(self, file: str, shown: bool) -> None:
        self._file, self._shown = file, shown
        self._progress: Progress | None = None
        self._done = 0

    def follow(self, done: int, total: int | None) -> None:
        """Show that `done` of `total` bytes are there."""
        if not self._shown:
            return
        now = done // 10**6
        if self._progress is None or now < self._done:  # the server had to begin anew
            self._close()
            self._progress = Progress(f"fetching {self._file}", (total or 0) // 10**6, "MB", done=now)
        elif now > self._done:
            self._progress.advance(now - self._done)
        self._done = now

    def _close(self) -> None:
        if self._progress:
            self._progress.__exit__(None, None, None)

    def __enter__(self) -> _Meter:
        return self

    def __exit__(self, *details: object) -> None:
        self._close()


def _from_folder(wanted: _Wanted, folder: Path) -> Path:
    """The weights in a folder that a person filled, used where they lie."""
    places = _places(wanted.location, folder)
    found = next((path for path in places if path.is_file()), None)
    if found is None:
        raise ModelFileError(
            f"the folder does not hold {wanted.name}",
            where=str(folder),
            why=f"looked for {', '.join(str(path.relative_to(folder)) for path in places)}",
        )
    if missing := [shard for shard in shards(found) if not (found.parent / shard).is_file()]:
        raise ModelFileError("a shard is missing", where=str(found.parent), why=", ".join(missing))
    if wanted.sha256 and not (measured := sha256_of(found)).startswith(wanted.sha256):
        why = f"its digest should begin with {wanted.sha256}, and is {measured}"
        raise ModelFileError("the file is not the one that was published", where=str(found), why=why)
    return found


def _places(location: HubFile | WebFile, folder: Path) -> list[Path]:
    match location:
        case HubFile(repo=repo, files=files, revision=revision):
            inner = (f"{repo}/resolve/{revision}", repo, repo.partition("/")[2])
            return [below / file for below in (*(folder / inside(part) for part in inner), folder) for file in files]
        case WebFile(url=url):
            parts = urlsplit(url)
            return [folder / inside(parts.netloc.replace(":", "_") + unquote(parts.path)), folder / file_name(url)]

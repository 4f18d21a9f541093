"""One address to one file: whole and verified, or not there; resumed where it was cut off.

What arrives is written to a `.part` file beside the target, with a note of which version it is. The length that the
server announces, the digests that it, the Hugging Face hub (`X-Linked-Etag`) or Google's storage (`x-goog-hash`) state,
and the digest that the publisher gave, must all be right before the file gets its name.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import http.client
import ipaddress
import json
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from vitreous.errors import ModelFileError, ResourceError, UsageError, VitreousError
from vitreous.files import cannot_write, sync_folder, write_text

Follow = Callable[[int, int | None], None]
"""Told the bytes that are there and the bytes there will be, as they arrive."""

_WAITS = (1.0, 2.0, 4.0, 8.0)  # seconds before each further try; a try that brought bytes does not count
_TIMEOUT = 30.0  # seconds without a byte
_CHUNK = 1 << 20
_REDIRECTS = 10
_PASSING = {408, 425, 429, 500, 502, 503, 504}  # answers that may be others in a moment


class MissingFile(ModelFileError):
    """The server answers that there is no such file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Received:
    """What a download brought."""

    size: int
    """Bytes."""
    sha256: str
    """Of the whole file, measured here."""
    commit: str | None
    """The hub's commit that it belongs to, where the hub said so."""


@dataclass(kw_only=True, slots=True)
class _Promise:
    """What the servers on the way said about the file before it came."""

    etag: str | None = None
    sha256: str | None = None
    md5: str | None = None
    size: int | None = None
    commit: str | None = None

    def note(self, headers: Message) -> None:
        """Take over what an answer says; the last that says something is right."""
        linked = (headers.get("X-Linked-Etag") or "").strip('W/"')
        if re.fullmatch(r"[0-9a-f]{64}", linked):
            self.sha256 = linked
        if (size := headers.get("X-Linked-Size") or "").isdigit():
            self.size = int(size)
        if md5 := re.search(r"md5=([A-Za-z0-9+/=]+)", ",".join(headers.get_all("x-goog-hash", []))):
            self.md5 = base64.b64decode(md5[1]).hex()
        self.etag = headers.get("ETag") or self.etag
        if re.fullmatch(r"[0-9a-f]{40}", commit := headers.get("X-Repo-Commit") or ""):
            self.commit = commit

    @property
    def version(self) -> str | None:
        """What tells one content from another; None where nothing does."""
        weak = self.etag is None or self.etag.startswith("W/")
        return self.sha256 or self.md5 or (None if weak else self.etag)


class _AgainError(Exception):
    """Something that may go better the next time."""


class _AnewError(_AgainError):
    """... but not by building on what came so far."""


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    token: str | None = None,
    largest: int | None = None,
    follow: Follow | None = None,
) -> Received:
    """Bring the file at `url` to `target`, going on from what an earlier attempt left beside it.

    Args:
        url: http or https; certificates are checked, and a redirect never leads from https to http.
        target: where it is put; its folder exists.
        sha256: what its digest must be, or its leading digits.
        token: shown to the server of `url`, and to no other it may redirect to.
        largest: most bytes to accept.
        follow: told of the bytes as they arrive.

    Raises:
        MissingFile: the server has no such file.
        ModelFileError: what came is not what was announced, or no file of weights at all; nothing of it is kept.
        ResourceError: the server cannot be reached or lets nobody in, or the disk is full; what came is kept.
    """
    part = target.with_name(target.name + ".part")
    failures = 0
    while True:
        before = _size(part)
        try:
            received = _attempt(url, part, sha256, token, largest, follow)
        except _AgainError as error:
            if isinstance(error, _AnewError):
                _discard(part)
            failures = 1 if _size(part) > before else failures + 1
            if failures > len(_WAITS):
                raise _unreachable(url, str(error), _size(part)) from error
            time.sleep(_WAITS[failures - 1])
            continue
        os.replace(part, target)
        _note(part).unlink(missing_ok=True)
        sync_folder(target.parent)
        return received


def check_address(url: str) -> None:
    """Refuse an address that is no web address.

    Args:
        url: as typed, or as a server redirects to.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"[\x00-\x20\x7f]", url):
        raise UsageError("weights are fetched from http and https addresses only", where=url)
    if parts.username or parts.password:
        raise UsageError("an address must not carry a password", where=parts.hostname, remedy="set HF_TOKEN instead")


def _attempt(
    url: str, part: Path, sha256: str | None, token: str | None, largest: int | None, follow: Follow | None
) -> Received:
    """One request, from the first missing byte to the last, and the checks after it."""
    have, version = _kept(part, url)
    with _answer(url, token, have) as (response, promise):
        begun, total = _range(response, promise, have)
        if begun and promise.version != version:
            raise _AnewError("the file has changed on the server")
        if largest is not None and (total or 0) > largest:
            raise _not_wanted(url, f"it has {total:,} bytes, at most {largest:,} are expected")
        _room(part, begun, total)
        write_text(_note(part), json.dumps({"url": url, "version": promise.version}))
        sha, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        _receive(response, part, begun, total, largest, (sha.update, md5.update), follow)
    _check_content(url, part)
    stated = [(sha256, sha.hexdigest()), (promise.sha256, sha.hexdigest()), (promise.md5, md5.hexdigest())]
    for expected, measured in stated:
        if expected and not measured.startswith(expected.lower()):
            _discard(part)
            raise ModelFileError(
                "what came is not the file that was published; it is removed",
                where=url,
                why=f"its digest should begin with {expected}, and is {measured}",
                remedy="the same command again; if it stays so, do not trust that server",
            )
    return Received(size=_size(part), sha256=sha.hexdigest(), commit=promise.commit)


@contextlib.contextmanager
def _answer(url: str, token: str | None, have: int) -> Iterator[tuple[Any, _Promise]]:
    """The server's answer after its redirects, and what was promised on the way."""
    promise, place = _Promise(), url
    for _ in range(_REDIRECTS):
        check_address(place)
        shown = token if _same_server(place, url) and _private(place) else None
        try:
            response = _opener().open(_request(place, shown, have), timeout=_TIMEOUT)
        except urllib.error.HTTPError as error:
            with error:
                promise.note(error.headers)
                place = _redirected(url, place, error, shown)
        except (OSError, http.client.HTTPException) as error:
            raise _trouble(url, error) from error
        else:
            with response:
                promise.note(response.headers)
                yield response, promise
            return
    raise ResourceError("the server sends us round in circles", where=url)


def _request(url: str, token: str | None, have: int) -> urllib.request.Request:
    # compressed answers have another length and other digests than the file
    headers = {"User-Agent": "vitreous", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return urllib.request.Request(url, headers=headers)


def _redirected(asked: str, url: str, error: urllib.error.HTTPError, token: str | None) -> str:
    """Where a redirect leads; any other answer is an error."""
    if error.code not in (301, 302, 303, 307, 308) or not (place := error.headers.get("Location")):
        raise _refusal(asked, error, token)
    following = urljoin(url, place)
    if urlsplit(url).scheme == "https" and urlsplit(following).scheme != "https":
        raise ResourceError("the server leads from https to an open connection", where=url, why=following)
    return following


def _opener() -> urllib.request.OpenerDirector:
    """Knows http and https and the proxies of the environment, and nothing else: no files, no redirects."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _same_server(one: str, other: str) -> bool:
    a, b = urlsplit(one), urlsplit(other)
    return (a.scheme, a.netloc) == (b.scheme, b.netloc)


def _private(url: str) -> bool:
    """Whether nobody on the way can read along: https, or this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def _range(response: Any, promise: _Promise, have: int) -> tuple[int, int | None]:
    """At which byte the answer begins, and how long the whole file is; None for a length that only its end tells."""
    headers: Message = response.headers
    if headers.get_content_type() == "text/html":
        raise _not_wanted(response.url, "the server sent a web page: a login, an error, or the page about the file")
    if response.status == 206:
        span = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", headers.get("Content-Range", "").strip())
        if not span or int(span[1]) != have:
            raise _AnewError(f"asked for byte {have:,} on, got {headers.get('Content-Range')!r}")
        return have, _agreed(int(span[3]), promise)
    announced = headers.get("Content-Length", "")
    total = int(announced) if announced.isdigit() else promise.size
    if total is None and not response.chunked:
        raise ResourceError("the server does not say how long the file is", where=response.url)
    return 0, _agreed(total, promise)


def _agreed(total: int | None, promise: _Promise) -> int | None:
    if promise.size is not None and promise.size != total:
        raise _AnewError(f"the hub says {promise.size:,} bytes, the server {total}")
    return total


def _receive(
    response: Any,
    part: Path,
    begun: int,
    total: int | None,
    largest: int | None,
    digests: tuple[Callable[[bytes], None], ...],
    follow: Follow | None,
) -> None:
    """Append what comes to the part, or begin it anew, digesting all of it."""
    try:
        with part.open("r+b" if begun else "wb") as file:
            while begun > file.tell() and (chunk := file.read(min(_CHUNK, begun - file.tell()))):
                for digest in digests:
                    digest(chunk)
            while chunk := _read(response):
                file.write(chunk)
                for digest in digests:
                    digest(chunk)
                if largest is not None and file.tell() > largest:
                    raise _not_wanted(response.url, f"it has more than the {largest:,} bytes that are expected")
                if follow:
                    follow(file.tell(), total)
            have = file.tell()
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise cannot_write(part, total or 0, error) from error
    if total is not None and have < total:
        raise _AgainError(f"the connection ended after {have:,} of {total:,} bytes")


def _read(response: Any) -> bytes:
    try:
        return bytes(response.read1(_CHUNK))
    except (OSError, http.client.HTTPException) as error:
        raise _AgainError(f"the connection broke: {error or type(error).__name__}") from error


def _check_content(url: str, part: Path) -> None:
    """Refuse what pretends to be the file: a web page, or the text that stands for it in a git repository."""
    with part.open("rb") as file:
        head = file.read(256).lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html", b"<?xml")):
        _discard(part)
        raise _not_wanted(url, "the server sent a web page: a login, an error, or the page about the file")
    if head.startswith(b"version https://git-lfs"):
        _discard(part)
        raise _not_wanted(url, "it is the pointer that git keeps in place of a large file")


def _kept(part: Path, url: str) -> tuple[int, str | None]:
    """Bytes of an earlier attempt that can be built on, and the version they belong to."""
    try:
        note = json.loads(_note(part).read_text(encoding="utf-8"))
        size, version = _size(part), note["version"]
        usable = size > 0 and note["url"] == url and isinstance(version, str)
    except (OSError, ValueError, KeyError, TypeError):
        usable = False
    if usable:
        return size, version
    _discard(part)
    return 0, None


def _room(part: Path, begun: int, total: int | None) -> None:
    if total is not None and shutil.disk_usage(part.parent).free < total - begun:
        raise cannot_write(part, total - begun, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _trouble(url: str, error: Exception) -> Exception:
    """What a connection that was not made means: perhaps better the next time, or never."""
    reason = getattr(error, "reason", error)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return ResourceError(
            "the server cannot prove who it is",
            where=url,
            why=reason.verify_message,
            remedy="check the address and this machine's clock; behind a proxy of your own, set SSL_CERT_FILE",
        )
    return _AgainError(str(reason) or type(reason).__name__)


def _refusal(url: str, error: urllib.error.HTTPError, token: str | None) -> Exception:
    """An answer that is no file, in words: each kind has a remedy of its own."""
    code, kind = error.code, error.headers.get("X-Error-Code", "")
    page = url.partition("/resolve/")[0]
    if code == 416:
        return _AnewError("the server has no bytes after those that are here")
    if code in _PASSING:
        return _AgainError(f"the server answers {code} {error.reason}")
    if kind == "GatedRepo" or code == 403:
        return ResourceError(
            "these weights are gated: their owner lets in only those who accepted the licence",
            where=page,
            why=f"the server answers {code}" + ("" if token else ", and no token was given"),
            remedy="accept the licence on that page, then export HF_TOKEN=hf_... and the same command again",
        )
    if code == 401 and token:
        return ResourceError(
            "the server does not accept the token",
            where=page,
            why="it is wrong, has expired, or the repository does not exist",
            remedy="export HF_TOKEN=hf_... with a new one, and check the name",
        )
    if code == 401:
        return ResourceError(
            "the server wants to know who asks, or there is no such repository",
            where=page,
            remedy="check the name; for a private repository export HF_TOKEN=hf_... and the same command again",
        )
    if code in (404, 410):
        return MissingFile("there is no such file on the server", where=url, remedy="check the name")
    return ResourceError("the server refuses", where=url, why=f"it answers {code} {error.reason}")


def _not_wanted(url: str, why: str) -> VitreousError:
    return ModelFileError(
        "what the server sends is no file of weights", where=url, why=why, remedy="open the address in a browser"
    )


def _unreachable(url: str, why: str, have: int) -> ResourceError:
    return ResourceError(
        "the file could not be fetched",
        where=url,
        why=f"{why} (tried {len(_WAITS) + 1} times)",
        remedy=f"the same command again; it goes on after the {have / 1e6:,.1f} MB that came"
        if have
        else "check the network; without one, --hub-url FOLDER takes the file from a folder",
    )

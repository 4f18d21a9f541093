"""A file on a web server or in an object store, read by ranges; what fails for a moment is tried again.

Web servers are asked with fsspec's session, by requests of our own: fsspec's would take a whole file where a part was
asked for, follow redirects anywhere, and not notice that the file has become another. Object stores are asked through
their fsspec packages. Ranges: RFC 9110, sections 14 and 15.5.17.
"""

from __future__ import annotations

import errno
import functools
import importlib
import re
import time
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable
from urllib.parse import urljoin, urlsplit

from vitreous.data.layouts.remote.address import PACKAGES, WEB, Address, shown
from vitreous.errors import UsageError

T = TypeVar("T")

_WAITS = (0.3, 1.0, 3.0)  # seconds before trying again
_SILENCE = 20.0  # seconds without a byte: with all tries this stays below the patience of those who wait for images
_REDIRECTS = 5
_PASSING = frozenset({408, 425, 429, *range(500, 600)})
_LARGEST_WHOLE = 2**28  # bytes of a file that is taken as a whole, such as a manifest


class _Facts(NamedTuple):
    """What a store says of a file."""

    size: int
    marks: tuple[str, ...]
    """Tags and times that change with the content; empty texts where the store tells none."""


class _Part(NamedTuple):
    content: bytes
    facts: _Facts


class _PassingError(Exception):
    """It may go better in a moment."""


@runtime_checkable
class _Store(Protocol):
    """One file, as its store gives it: errors are OSErrors, or _PassingError where another try makes sense."""

    def part(self, start: int, size: int) -> _Part:
        """Some bytes, at most as many as asked for, and what the store says of the file at that time."""
        ...

    def whole(self, most: int) -> bytes:
        """All bytes, if there are no more than `most`."""
        ...


class RemoteFile:
    """A file on another machine, read at any place by any number of threads; each read is one request or more.

    Args:
        address: of the file.

    Raises:
        OSError: it is not there, may not be read, or its server gives no parts of files.
        UsageError: a package is missing.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._store = _open(address)
        self._facts = _tried(lambda: self._store.part(0, 1)).facts

    def __str__(self) -> str:
        return str(self.address)

    @property
    def path(self) -> PurePosixPath:
        """Host, or bucket, and path."""
        return self.address.path

    @property
    def identity(self) -> str:
        """Address without passwords and signatures."""
        return self.address.identity

    @property
    def size(self) -> int:
        """In bytes."""
        return self._facts.size

    @property
    def state(self) -> tuple[int | str, ...]:
        """Size, and the tag and time that the store gives."""
        return (self._facts.size, *self._facts.marks)

    def read(self, start: int, size: int) -> bytes:
        """Bytes from an offset on, fewer only at the end of the file.

        Args:
            start: offset in bytes.
            size: in bytes.

        Raises:
            OSError: they cannot be had, also after some tries; ESTALE where the file has become another.
        """
        size = min(size, self.size - start)
        if size <= 0:
            return b""
        content, facts = _tried(lambda: self._store.part(start, size))
        if facts != self._facts:
            raise OSError(errno.ESTALE, "it has changed since it was opened")
        return content


def whole(address: Address, most: int = _LARGEST_WHOLE) -> bytes:
    """All of a small file on another machine.

    Args:
        address: of the file.
        most: bytes it may have.

    Raises:
        OSError: it is not there, is larger, or cannot be had.
        UsageError: a package is missing.
    """
    store = _open(address)
    return _tried(lambda: store.whole(most))


def listed(pattern: Address) -> list[Address]:
    """The files in an object store that a pattern with * means, in no certain order.

    Args:
        pattern: of a kind other than http.

    Raises:
        OSError: the store cannot be asked.
        UsageError: a package is missing.
    """
    files = _filesystem(pattern.scheme)
    paths = _tried(lambda: _translated(lambda: files.glob(files._strip_protocol(pattern.url))))
    return [Address(f"{pattern.scheme}://{path}") for path in paths]


def _tried(act: Callable[[], T]) -> T:
    """What `act` gives, after some tries where it needs them."""
    for wait in _WAITS:
        try:
            return act()
        except _PassingError:
            time.sleep(wait)
    try:
        return act()
    except _PassingError as error:
        raise OSError(errno.EIO, f"{error}, {len(_WAITS) + 1} times in a row") from None


@functools.lru_cache
def _filesystem(scheme: str) -> Any:
    """The fsspec file system of a kind of address, configured as fsspec's own settings say."""
    try:
        import fsspec

        if scheme in WEB:
            importlib.import_module("fsspec.implementations.http")
            return fsspec.filesystem("http")
        return fsspec.filesystem(scheme, use_listings_cache=False)
    except ImportError as error:
        raise UsageError(
            f"data at {scheme}:// needs a package that is not installed", why=error.name, remedy=PACKAGES[scheme]
        ) from error


def _open(address: Address) -> _Store:
    files = _filesystem(address.scheme)
    return _WebStore(address, files) if address.scheme in WEB else _ObjectStore(address, files)


class _ObjectStore:
    """A file in an object store: what the store says of it is asked after every part."""

    def __init__(self, address: Address, files: Any) -> None:
        self._files, self._path = files, files._strip_protocol(address.url)

    def part(self, start: int, size: int) -> _Part:
        facts = self._ask()
        stop = min(start + size, facts.size)
        content = _translated(lambda: self._files.cat_file(self._path, start=start, end=stop)) if start < stop else b""
        if len(content) != max(0, stop - start):
            raise _PassingError(f"{len(content):,} bytes came of {stop - start:,}")
        return _Part(content, self._ask())

    def whole(self, most: int) -> bytes:
        facts = self._ask()
        if facts.size > most:
            raise _too_large(facts.size, most)
        return self.part(0, facts.size).content

    def _ask(self) -> _Facts:
        told: dict[str, Any] = _translated(lambda: self._files.info(self._path))
        if told.get("size") is None:
            raise OSError(errno.EISDIR, "it is no file")
        names = ("ETag", "etag", "generation", "blob_id", "LastModified", "last_modified", "updated", "created")
        return _Facts(int(told["size"]), tuple(str(told[name]) for name in names if told.get(name)))


def _translated(act: Callable[[], T]) -> T:
    """What `act` gives; each store's package has errors of its own, which become ours."""
    try:
        return act()
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise OSError(error.errno or errno.ENOENT, shown(error.strerror or _GONE)) from None
    except Exception as error:
        raise _PassingError(shown(f"{type(error).__name__}: {error}".replace("\n", " "))[:300]) from None


_GONE = "there is no such file"


class _WebStore:
    """A file on a web server."""

    def __init__(self, address: Address, files: Any) -> None:
        self._url = self._final = address.url
        self._files = files
        self._client = importlib.import_module("fsspec.implementations.http").aiohttp

    def part(self, start: int, size: int) -> _Part:
        return self._told(self._part, start, size)

    def whole(self, most: int) -> bytes:
        return self._told(self._whole, most)

    def _told(self, ask: Callable[..., Any], *arguments: int) -> Any:
        """What a coroutine gives; a redirect that led somewhere before and no longer does is asked for anew."""
        from fsspec.asyn import sync

        begun = self._final  # which other threads may change meanwhile
        try:
            return sync(self._files.loop, ask, *arguments)
        except (FileNotFoundError, PermissionError):
            if begun == self._url:
                raise
        except (self._client.ClientError, TimeoutError, ConnectionError, EOFError) as error:
            if isinstance(error, self._client.InvalidURL):
                raise OSError(errno.EINVAL, "the address is none") from None
            said = "the server does not answer" if isinstance(error, TimeoutError) else shown(str(error))
            raise _PassingError(said or type(error).__name__) from None
        if self._final == begun:
            self._final = self._url  # signed addresses run out
        return self._told(ask, *arguments)

    async def _part(self, start: int, size: int) -> _Part:
        answer = await self._answer({"Range": f"bytes={start}-{start + size - 1}"})
        try:
            told = answer.headers.get("Content-Range", "")
            if answer.status == 416:
                total = re.fullmatch(r"bytes \*/(\d+)", told)
                return _Part(b"", _Facts(int(total[1]) if total else 0, _marks(answer)))
            if answer.status == 200:
                length = int(answer.headers.get("Content-Length", 0))
                raise OSError(
                    errno.EOPNOTSUPP,
                    "the server gives no parts of files: asked for"
                    f" {size:,} bytes it sends all{f' {length:,}' if length else ''}",
                )
            row = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", told)
            if answer.status != 206 or not row or int(row[1]) != start or not start <= int(row[2]) < start + size:
                raise OSError(
                    errno.EPROTO, f"the server gives another part than was asked for: {shown(told) or 'none'}"
                )
            expected = min(size, int(row[3]) - start)
            return _Part(await self._body(answer, expected, expected), _Facts(int(row[3]), _marks(answer)))
        finally:
            answer.close() if answer.content and not answer.content.at_eof() else answer.release()

    async def _whole(self, most: int) -> bytes:
        answer = await self._answer({})
        try:
            length = answer.headers.get("Content-Length")
            if length is not None and int(length) > most:
                raise _too_large(int(length), most)
            return await self._body(answer, None if length is None else int(length), most)
        finally:
            answer.close() if answer.content and not answer.content.at_eof() else answer.release()

    async def _body(self, answer: Any, expected: int | None, most: int) -> bytes:
        content = bytearray()
        async for piece in answer.content.iter_any():
            content += piece
            if len(content) > most:
                raise _too_large(len(content), most)
        if expected is not None and len(content) != expected:
            raise EOFError(f"{len(content):,} bytes came of {expected:,}")
        return bytes(content)

    async def _answer(self, headers: dict[str, str]) -> Any:
        """An answer whose body is still to come, behind all redirects; refusals are errors."""
        session = await self._files.set_session()
        settings = dict(self._files.kwargs)
        own = dict(settings.pop("headers", {}))
        url = self._final
        for _ in range(_REDIRECTS + 1):
            # what a person set up for the server asked first is not for those it leads to
            trusted = own if _server(url) == _server(self._url) else {}
            answer = await session.get(
                self._files.encode_url(url),
                # a compressed answer has other offsets than the file
                **{**settings, "headers": {**trusted, **headers, "Accept-Encoding": "identity"}},
                allow_redirects=False,
                timeout=self._client.ClientTimeout(total=None, sock_connect=_SILENCE, sock_read=_SILENCE),
            )
            if answer.status not in (301, 302, 303, 307, 308):
                if answer.status in (200, 206, 416):
                    self._final = url
                    return answer
                answer.close()
                raise _refusal(answer)
            answer.close()
            url = _following(url, answer.headers.get("Location", ""))
        raise OSError(errno.ELOOP, f"the server leads on more than {_REDIRECTS} times")


def _server(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _following(url: str, place: str) -> str:
    """Where a redirect leads: only to the web, and never from https to an open connection."""
    following = urljoin(url, place)
    there, here = urlsplit(following), urlsplit(url)
    if there.scheme not in WEB or not there.hostname or (here.scheme, there.scheme) == ("https", "http"):
        raise OSError(errno.EPERM, f"the server leads to {shown(following)[:200]}, which is not followed")
    return following


def _marks(answer: Any) -> tuple[str, ...]:
    return answer.headers.get("ETag", ""), answer.headers.get("Last-Modified", "")


def _refusal(answer: Any) -> Exception:
    words = f"the server answers {answer.status} {shown(answer.reason or '')}".strip()
    if answer.status in _PASSING:
        return _PassingError(words)
    if answer.status in (404, 410):
        return FileNotFoundError(errno.ENOENT, f"{_GONE} ({answer.status})")
    if answer.status in (401, 403):
        return PermissionError(errno.EACCES, words)
    return OSError(errno.EIO, words)


def _too_large(size: int, most: int) -> OSError:
    return OSError(errno.EFBIG, f"it has {size:,} bytes or more, and at most {most:,} are taken as a whole")

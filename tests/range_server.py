"""A web server on this machine that gives parts of files, and can be told to misbehave."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from hub_server import listening


@dataclass
class Asked:
    """One request: path, its Range and other headers, and what was sent in answer."""

    path: str
    range: str
    headers: dict[str, str]
    sent: int = 0


@dataclass
class RangeServer:
    """What the server has, what it does wrong, and what it was asked."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    marks: bool = True
    """Whether it gives an ETag."""
    answers: list[int] = field(default_factory=list)
    """Status codes to answer with before anything is given."""
    cuts: list[int] = field(default_factory=list)
    """The connection ends after so many bytes of a body, once for each number."""
    redirects: dict[str, str] = field(default_factory=dict)
    forbidden: set[str] = field(default_factory=set)
    shift: int = 0
    """Bytes by which it gives another part than it says."""
    delay: float = 0.0
    """Seconds before each answer."""
    asked: list[Asked] = field(default_factory=list)

    def put(self, folder: Path, below: str = "/") -> None:
        """All files of a folder."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.files[f"{below}{path.relative_to(folder).as_posix()}"] = path.read_bytes()

    def gets(self, path: str) -> list[Asked]:
        """What was asked of one path."""
        return [request for request in self.asked if request.path == path]


@contextmanager
def serving(served: RangeServer) -> Iterator[RangeServer]:
    """`served` on a free port of 127.0.0.1."""
    with listening(type("Bound", (_Handler,), {"served": served})) as served.url:
        yield served


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    served: RangeServer

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        served, path = self.served, unquote(urlsplit(self.path).path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Asked(path, headers.get("range", ""), headers)
        served.asked.append(request)
        time.sleep(served.delay)  # what a test asks for: a far, slow or silent server
        if served.answers and (code := served.answers.pop(0)) != 200:
            return self._say(code)
        if path in served.redirects:
            return self._say(302, Location=served.redirects[path])
        if path in served.forbidden:
            return self._say(403)
        if path not in served.files:
            return self._say(404)
        content = served.files[path]
        facts = {"ETag": f'"{hashlib.md5(content[:9999]).hexdigest()}"'} if served.marks else {}
        row = re.fullmatch(r"bytes=(\d+)-(\d+)", request.range)
        if row and served.ranges:
            first, last = int(row[1]), min(int(row[2]), len(content) - 1)
            if first >= len(content):
                return self._say(416, **facts, **{"Content-Range": f"bytes */{len(content)}"})
            shift = served.shift
            facts["Content-Range"] = f"bytes {first + shift}-{last + shift}/{len(content)}"
            return self._give(request, 206, content[first : last + 1], facts)
        return self._give(request, 200, content, facts)

    def _say(self, code: int, **headers: str) -> None:
        self.send_response(code)
        for name, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()

    def _give(self, request: Asked, code: int, body: bytes, facts: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in {**facts, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        sent = body[: self.served.cuts.pop(0)] if self.served.cuts else body
        try:
            for start in range(0, len(sent), 2**16):
                # counted first: who has the last byte may look at the count before this thread goes on
                request.sent += len(sent[start : start + 2**16])
                self.wfile.write(sent[start : start + 2**16])
                self.wfile.flush()
        except OSError:  # the other side has left
            self.close_connection = True
        if len(sent) < len(body):
            self.close_connection = True

"""A Hugging Face hub and a bucket on this machine, which can be told to misbehave."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" * 6 + "beef"


@dataclass
class Request:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    sent: int = 0
    """Bytes of the body that were sent in answer."""


@dataclass
class Hub:
    """What the server has, what it does wrong, and what it was asked."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    """By path; those of a repository are `/OWNER/NAME/resolve/REVISION/FILE`."""
    large: set[str] = field(default_factory=set)
    """Paths that are redirected to another place, as the hub does with large files."""
    drop: dict[str, list[int]] = field(default_factory=dict)
    """The connection ends after so many bytes of the body, once for each number."""
    answers: dict[str, list[int]] = field(default_factory=dict)
    """Status codes to answer with before the file is given; one that is negative is given for ever."""
    error_code: str = ""
    """X-Error-Code of refusals."""
    ranges: bool = True
    etags: bool = True
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    """Headers to add, or to replace."""
    delay: float = 0.0
    """Seconds before a file is given."""
    token: str = ""
    """If set, files are given only to who shows it."""
    asked: list[Request] = field(default_factory=list)
    stored: dict[str, bytes] = field(default_factory=dict)
    """LFS objects that were uploaded, by SHA-256."""
    commits: list[list[dict[str, Any]]] = field(default_factory=list)
    """Lines of every commit."""
    repos: dict[str, dict[str, Any]] = field(default_factory=dict)

    def put(self, repo: str, file: str, content: bytes, *, large: bool = False) -> None:
        """A file of a repository, at main and at the commit."""
        for revision in ("main", COMMIT):
            self.files[f"/{repo}/resolve/{revision}/{file}"] = content
            if large:
                self.large.add(f"/{repo}/resolve/{revision}/{file}")

    def gets(self, end: str = "") -> list[Request]:
        """GET requests whose path ends so, in order."""
        return [request for request in self.asked if request.method == "GET" and request.path.endswith(end)]


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """`hub` on a free port of 127.0.0.1."""

    class Bound(_Handler):
        served = hub

    with listening(Bound) as hub.url:
        yield hub


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address at which a handler answers: a free port of 127.0.0.1."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Hub

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _note(self) -> Request:
        headers = {name.title(): value for name, value in self.headers.items()}
        request = Request(self.command, unquote(urlsplit(self.path).path), headers)
        self.served.asked.append(request)
        return request

    def do_GET(self) -> None:
        request, hub = self._note(), self.served
        path = request.path
        waiting = hub.answers.get(path, [])
        if waiting:
            code = waiting[0] if waiting[0] < 0 else waiting.pop(0)
            return self._refuse(abs(code))
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}" and "/resolve/" in path:
            return self._refuse(401)
        if path.startswith("/blob/"):
            content = next(c for c in hub.files.values() if hashlib.sha256(c).hexdigest() == path[6:])
        elif path in hub.files:
            content = hub.files[path]
        else:
            return self._refuse(404)
        time.sleep(hub.delay)  # what a test asks for: a slow hub
        if path in hub.large:
            return self._redirect(path, content)
        return self._give(request, content)

    def _refuse(self, code: int) -> None:
        self.send_response(code)
        self.send_header("Content-Length", "0")
        if self.served.error_code:
            self.send_header("X-Error-Code", self.served.error_code)
        self.end_headers()

    def _redirect(self, path: str, content: bytes) -> None:
        digest = hashlib.sha256(content).hexdigest()
        facts = {
            "Location": f"/blob/{digest}",
            "X-Linked-Etag": f'"{digest}"',
            "X-Linked-Size": str(len(content)),
            "X-Repo-Commit": COMMIT,
            "Content-Length": "0",
            **self.served.headers.get(path, {}),
        }
        self.send_response(302)
        for name, value in facts.items():
            self.send_header(name, value)
        self.end_headers()

    def _give(self, request: Request, content: bytes) -> None:
        hub, path = self.served, request.path
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        begin = int(asked[1]) if asked and hub.ranges else 0
        if begin >= len(content) > 0:
            self._refuse(416)
            return
        body = content[begin:]
        facts = {"Content-Length": str(len(body)), "Content-Type": "application/octet-stream"}
        if "/resolve/" in path:
            facts["X-Repo-Commit"] = COMMIT
        if hub.etags:
            facts["ETag"] = f'"{hashlib.md5(content).hexdigest()}"'
        if asked and hub.ranges:
            facts["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        self.send_response(206 if asked and hub.ranges else 200)
        for name, value in {**facts, **hub.headers.get(path, {})}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        dropped = hub.drop.get(path, [])
        sent = body[: dropped.pop(0)] if dropped else body
        self.wfile.write(sent)
        request.sent = len(sent)
        if len(sent) < len(body) or hub.headers.get(path, {}).get("Content-Length"):
            self.close_connection = True

    def _json(self, value: Any, code: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """The part of the hub's API that an upload needs: create, check the card, preupload, LFS batch, commit."""
        request, hub = self._note(), self.served
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            return self._refuse(401)
        path = request.path
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'someone'}/{asked['name']}"
            taken = name in hub.repos
            hub.repos.setdefault(name, asked)
            return self._json({"url": f"{hub.url}/{name}"}, 409 if taken else 200)
        if path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if "/preupload/" in path:
            files = json.loads(body)["files"]
            modes = [("lfs" if file["path"].endswith(".safetensors") else "regular") for file in files]
            told = [
                {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}
                for file, mode in zip(files, modes, strict=True)
            ]
            return self._json({"files": told})
        if path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                {**thing, "actions": {"upload": {"href": f"{hub.url}/store/{thing['oid']}"}}}
                for thing in json.loads(body)["objects"]
            ]
            self._json({"transfer": "basic", "objects": objects})
            return None
        if "/commit/" in path:
            lines = [json.loads(line) for line in body.splitlines()]
            hub.commits.append(lines)
            repo = path.removeprefix("/api/models/").partition("/commit/")[0]
            for line in lines:
                if line["key"] == "file":
                    hub.put(repo, line["value"]["path"], base64.b64decode(line["value"]["content"]))
                elif line["key"] == "lfsFile":
                    hub.put(repo, line["value"]["path"], hub.stored[line["value"]["oid"]], large=True)
            return self._json({"commitUrl": f"{hub.url}/{repo}/commit/{COMMIT}", "commitOid": COMMIT})
        return self._refuse(404)

    def do_PUT(self) -> None:
        """An LFS object comes in."""
        request = self._note()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert hashlib.sha256(body).hexdigest() == request.path.removeprefix("/store/")
        self.served.stored[request.path.removeprefix("/store/")] = body
        self._json({})

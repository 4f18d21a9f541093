"""Opening a local page in Debian's Chromium, and noticing everything it should not do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium")

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is not on PATH (Debian: apt-get install chromium)"
)

_QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Visit:
    """An open page, with what it said on the console and asked of the network."""

    page: Page
    errors: list[str] = field(default_factory=list)
    """Console errors and warnings, uncaught exceptions, refused resources."""
    requests: list[str] = field(default_factory=list)
    """Every address asked for besides the file itself."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium; starting one takes about a second."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_QUIET)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visit(
    browser: Browser,
    path: Path,
    *,
    width: int = 1280,
    height: int = 900,
    scheme: Literal["light", "dark"] = "light",
) -> Iterator[Visit]:
    """Open a local file in a window of its own.

    Args:
        browser: from `chromium()`.
        path: of the HTML file.
        width: of the window in CSS pixels.
        height: of the window in CSS pixels.
        scheme: what the system prefers.
    """
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    try:
        page = context.new_page()
        seen = Visit(page)
        own = path.resolve().as_uri()
        page.on("console", lambda said: seen.errors.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: seen.errors.append(str(error)))
        page.on("request", lambda request: seen.requests.append(request.url) if request.url != own else None)
        page.goto(own)
        yield seen
    finally:
        context.close()

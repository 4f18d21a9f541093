"""What was measured on this machine, remembered, so that a choice made by measuring is made once and stays.

One small JSON file in the person's cache folder (`VITREOUS_CACHE` moves it). Nothing in it is needed: deleting it
only means measuring again.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vitreous.errors import ResourceError
from vitreous.files import write_text


def cache_folder() -> Path:
    """Where vitreous may keep things between runs; it need not exist yet."""
    if asked := os.environ.get("VITREOUS_CACHE"):
        return Path(asked)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "vitreous"


def remembered(key: str, measure: Callable[[], Any]) -> Any:
    """What `measure` gave when `key` was first asked for on this machine.

    Args:
        key: everything the outcome may depend on, versions included.
        measure: called only for a new key; its answer must survive JSON.
    """
    path = cache_folder() / "measured.json"
    known = _read(path)
    if key not in known:
        measured = measure()
        known = {**_read(path), key: measured}  # read again: others may have measured meanwhile
        _write(path, known)
    return known[key]


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, known: dict[str, Any]) -> None:
    # a read-only home costs a second measurement, never the work itself
    with contextlib.suppress(OSError, ResourceError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(known, indent=1, sort_keys=True) + "\n")

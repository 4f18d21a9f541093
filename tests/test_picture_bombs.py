"""Files made to exhaust a machine are refused, or decoded, within a second and 200 MB; a child process is measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from image_bombs import bombs

CHILD = Path(__file__).parent / "image_child.py"
HARMLESS = {"png-text-10-mb", "png-more-pixels-than-said", "png-iccp", "tiff-strip-size", "tiff-deflate", "tiff-ring"}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    folder = tmp_path_factory.mktemp("bombs")
    for name, content in bombs():
        (folder / name).write_bytes(content)
    files = sorted(folder.iterdir())
    child = subprocess.run(
        [sys.executable, CHILD],
        input="\n".join(map(str, files)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert 0 == child.returncode, child.stdout + child.stderr
    return {Path(row["path"]).name: row for row in map(json.loads, child.stdout.splitlines())}


def test_no_bomb_costs_a_second_or_200_megabytes(measured: dict[str, dict[str, object]]) -> None:
    assert len(measured) >= 26
    costly = {name: row for name, row in measured.items() if row["seconds"] >= 1 or row["bytes"] >= 200e6}  # type: ignore[operator]
    assert {} == costly


def test_what_would_hurt_is_refused_in_words(measured: dict[str, dict[str, object]]) -> None:
    let_through = {name for name, row in measured.items() if not row["answer"]}
    assert let_through <= HARMLESS
    for name in measured:
        if name.endswith(("-header", "-zlib", "-screen", "-extents", "-canvas", "-lossless", "-lossy")):
            assert "too large" in str(measured[name]["answer"]), name

"""Files made to exhaust a machine are refused, or decoded, within a second and 200 MB; a child process is measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from image_bombs import bombs
from peak_memory import forget_peak, peak_memory

CHILD = Path(__file__).parent / "image_child.py"
HARMLESS = {"png-text-10-mb", "png-more-pixels-than-said", "png-iccp", "tiff-strip-size", "tiff-deflate", "tiff-ring"}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
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


def test_no_bomb_costs_a_second_or_200_megabytes(measured: dict[str, dict[str, Any]]) -> None:
    assert len(measured) >= 26
    costly = {name: row for name, row in measured.items() if row["seconds"] >= 1 or row["bytes"] >= 200e6}
    assert {} == costly


def test_what_would_hurt_is_refused_in_words(measured: dict[str, dict[str, Any]]) -> None:
    let_through = {name for name, row in measured.items() if not row["answer"]}
    assert let_through <= HARMLESS
    for name in measured:
        if name.endswith(("-header", "-zlib", "-screen", "-extents", "-canvas", "-lossless", "-lossy")):
            assert "too large" in measured[name]["answer"], name


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a peak cannot be forgotten")
def test_the_measure_sees_what_was_taken_and_given_back() -> None:
    before = forget_peak()
    assert len(bytearray(b"x") * (100 << 20)) == 100 << 20
    assert peak_memory() - before > 90e6
    assert peak_memory() - forget_peak() > 90e6

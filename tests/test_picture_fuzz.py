"""Mutated files: pixels or an ImageError, never another exception, a crash, a hang, or much memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = Path(__file__).parent / "image_fuzz.py"


def fuzz(number: int, seed: int) -> dict[str, float]:
    child = subprocess.run(
        [sys.executable, CHILD, str(number), str(seed)], capture_output=True, text=True, timeout=300, check=False
    )
    assert 0 == child.returncode, child.stderr[-3000:]
    found = json.loads(child.stdout.splitlines()[-1])
    assert 0 < found["decoded"] < number
    assert found["slowest"] < 2
    assert found["peak_mb"] < 300
    return found


def test_two_thousand_mutated_files_are_pixels_or_an_image_error() -> None:
    assert fuzz(2_000, seed=1)["seconds"] < 60


@pytest.mark.slow
def test_many_more_are_too() -> None:
    fuzz(100_000, seed=2)

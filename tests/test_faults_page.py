"""docs/faults.md is true: every fault has a row, and every test it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "faults.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| ([A-F]\d+) \| (.*) \|$", PAGE, re.M))


def test_every_fault_has_a_row_with_a_test_of_its_own() -> None:
    there = {"A": range(1, 18), "B": range(1, 15), "C": (8,), "D": range(1, 15), "E": range(1, 14), "F": range(1, 11)}
    assert [f"{part}{number}" for part, numbers in there.items() for number in numbers] == list(ROWS)
    assert all("::" in row for row in ROWS.values())


def test_every_test_it_names_is_there() -> None:
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", PAGE)
    assert len(named) >= len(ROWS)
    there = {
        (path.name, node.name)
        for path in TESTS.glob("test_*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }
    assert [] == [pair for pair in named if pair not in there]

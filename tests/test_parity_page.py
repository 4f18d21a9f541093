"""The table of measured differences: made of what the tests wrote down, and not out of date."""

from __future__ import annotations

import re

import pytest
import torch
from parity import HERE, PAGE, agree, page


def test_a_family_is_as_good_as_its_worst_comparison() -> None:
    row = {"family": "A", "case": "small", "difference": 2e-7, "against": "x 1", "test": "tests/a.py"}
    text = page([row, {**row, "case": "large", "difference": 3e-6}, {**row, "family": "B", "against": "y 2"}])
    assert "| A | 2 | 3.0e-06 | large | x 1 |" in text
    assert "| B | 1 | 2.0e-07 | small | y 2 |" in text
    assert "| A | small | 2.0e-07 | x 1 | `tests/a.py` |" in text


def test_the_judge_refuses_what_differs_and_what_is_flat() -> None:
    theirs = torch.tensor([0.0, 2.0, -1.0])
    assert agree("A", "small", theirs + 9e-5, theirs, against="x") == pytest.approx(9e-5, rel=0.05)
    with pytest.raises(AssertionError, match="A, small"):
        agree("A", "small", theirs + 2e-4, theirs, against="x")
    with pytest.raises(AssertionError, match="too flat"):
        agree("A", "small", theirs / 10, theirs / 10, against="x")


def test_the_page_covers_every_ecosystem_and_names_tests_that_are_there() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for home in ("timm", "transformers", "torchvision", "open_clip", "ONNX Runtime", "NumPy"):
        assert home in text, home
    named = set(re.findall(r"`(tests/\w+\.py)`", text))
    assert named
    assert all((HERE.parent.parent / name).exists() for name in named)

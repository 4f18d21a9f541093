"""Proof that two implementations agree, and the table of how closely.

`agree` is what every parity test ends with. Under `make parity` it also writes each measured difference down, and this
file, run as a script, makes docs/parity.md of them.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from torch import Tensor

TOLERANCE = 1e-4
HERE = Path(__file__).resolve()
PAGE = HERE.parent.parent / "docs" / "parity.md"


def agree(family: str, case: str, ours: Tensor, theirs: Tensor, *, against: str) -> float:
    """Assert that two implementations answer alike in float32, and give the largest difference.

    Args:
        family: row of the table: "timm ViT", "Hugging Face DINOv2", "Google hybrid".
        case: what was compared: "tiny, 24 x 40 px", "ViT-S/16 at 384 px".
        ours: this package's answer, any shape.
        theirs: the other implementation's.
        against: its name and version.
    """
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    assert theirs.float().std() >= 0.5, f"{family}, {case}: answers too flat to compare (std {theirs.std():.2f})"
    difference = float((ours.double() - theirs.double()).abs().max())
    assert difference <= TOLERANCE, f"{family}, {case}: {difference:.2e}"
    if notebook := os.environ.get("VITREOUS_PARITY"):
        row = {"family": family, "case": case, "difference": difference, "against": against, "test": _test_file()}
        with open(notebook, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    return difference


def _test_file() -> str:
    return os.environ.get("PYTEST_CURRENT_TEST", "").partition("::")[0]


def page(rows: list[dict[str, Any]]) -> str:
    """The figures in Markdown: a line for every family, then one for every comparison.

    Args:
        rows: as `agree` wrote them down.
    """
    cases = {(row["family"], row["case"]): row for row in rows}
    families: dict[str, list[dict[str, Any]]] = {}
    for (family, _), row in sorted(cases.items()):
        families.setdefault(family, []).append(row)
    lines = [
        "# Measured parity",
        "",
        "Largest difference between this package's float32 answers and another implementation's, with the same weights",
        "and images. Every parameter is drawn at random, answers have a standard deviation of at least 0.5, and a",
        "difference above 1e-4 fails the test. Written by `make parity`.",
        "",
        "| family | comparisons | largest difference | in | against |",
        "|---|---|---|---|---|",
    ]
    for family, compared in families.items():
        worst = max(compared, key=lambda row: row["difference"])
        against = ", ".join(sorted({row["against"] for row in compared}))
        lines.append(f"| {family} | {len(compared)} | {worst['difference']:.1e} | {worst['case']} | {against} |")
    lines += [
        "",
        "## Every comparison",
        "",
        "| family | compared | difference | against | test |",
        "|---|---|---|---|---|",
    ]
    for (family, case), row in sorted(cases.items()):
        lines.append(f"| {family} | {case} | {row['difference']:.1e} | {row['against']} | `{row['test']}` |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    notebook = Path(sys.argv[1])
    PAGE.write_text(page([json.loads(line) for line in notebook.read_text(encoding="utf-8").splitlines()]), "utf-8")

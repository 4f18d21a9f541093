"""Proof that preprocessing gives a library's own pixels, or how far from them, and the table of it.

`compare` is what every comparison ends with. With VITREOUS_PREPROCESSING naming a file it also writes each down, and
this file, run as a script with that file, makes docs/preprocessing.md of them.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from vitreous.config import PreprocessConfig
from vitreous.picture.preprocess import preprocess

HERE = Path(__file__).resolve()
PAGE = HERE.parent.parent / "docs" / "preprocessing.md"
NOTEBOOK = os.environ.get("VITREOUS_PREPROCESSING", "")
EXACT = 1e-3  # of one of 255 steps: what is left is the last bit of a float32


def compare(
    family: str,
    against: str,
    config: PreprocessConfig,
    image: np.ndarray,
    theirs: np.ndarray,
    *,
    most: float = 0.0,
    mean: float = 0.0,
    why: str = "",
) -> None:
    """Assert that what the model is given is what the library gives it.

    Args:
        family: row of the table: "timm", "torchvision ViT".
        against: the library's name and version.
        config: ours, as read from the family's files.
        image: (H, W, 3) uint8.
        theirs: (3, h, w), normalised.
        most: the largest difference allowed, in steps of 255; 0 means equal pixels.
        mean: the largest mean difference allowed, in the same.
        why: where they are not equal, the reason.
    """
    ours = preprocess(image, config)
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    steps = np.abs(ours.astype(np.float64) - theirs) * np.array(config.std)[:, None, None] * 255
    assert theirs.std() * min(config.std) * 255 > 5, "a picture too flat to compare"
    if NOTEBOOK:
        row = {
            **{"family": family, "against": against, "why": why, "case": described(config)},
            **{"shape": list(image.shape[:2]), "most": float(steps.max()), "mean": float(steps.mean())},
            "equal": float((steps <= EXACT).mean()),
        }
        with open(NOTEBOOK, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    where = f"{family}, {described(config)}, image {image.shape[:2]}"
    assert steps.max() <= max(most, EXACT), f"{where}: {steps.max():.3f} steps"
    assert steps.mean() <= max(mean, EXACT), f"{where}: {steps.mean():.4f} steps in the mean"


def described(config: PreprocessConfig) -> str:
    """A preprocessing in a line.

    Args:
        config: any.
    """
    height, width = config.image_size
    first = "cover" if config.resize == "cover" else "squash"
    how = first if config.resize == "squash" else f"{first}, {config.crop_ratio:.4g} of it"
    return f"{height} x {width} px, {how}, {config.interpolation}"


def page(rows: list[dict[str, Any]]) -> str:
    """The figures in Markdown, one line for every family and way to prepare images.

    Args:
        rows: as `compare` wrote them down.
    """
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["family"], row["case"]), []).append(row)
    shapes = sorted({tuple(row["shape"]) for row in rows})
    lines = [
        "# Preprocessing, pixel for pixel",
        "",
        "What a model is given for an image, beside what the library that published the model gives it, in steps of",
        "255 before mean and standard deviation. Where all values are equal, the normalised float32 is so to about",
        "1e-6, for some libraries divide by 255 and some multiply by 1/255. Tests hold every line",
        "(`tests/test_picture_families.py`); written by `make parity`.",
        "",
        f"Images (height x width): {', '.join(f'{h} x {w}' for h, w in shapes)}.",
        "",
        "| family | prepared | against | equal values | largest | mean | why |",
        "|---|---|---|---|---|---|---|",
    ]
    for (family, case), some in sorted(groups.items()):
        most, mean = max(row["most"] for row in some), max(row["mean"] for row in some)
        equal = min(row["equal"] for row in some)
        figures = "all | 0 | 0" if equal == 1.0 else f"{equal:.1%} | {most:.1f} | {mean:.2f}"
        reasons = "; ".join(dict.fromkeys(row["why"] for row in some if row["why"] and row["equal"] < 1.0))
        lines.append(f"| {family} | {case} | {some[0]['against']} | {figures} | {reasons} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    notebook = Path(sys.argv[1])
    PAGE.write_text(page([json.loads(line) for line in notebook.read_text(encoding="utf-8").splitlines()]), "utf-8")

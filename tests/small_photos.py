"""Small folders of pictures that a tiny network can learn: each class is a direction of stripes in its own colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("ant", "bee", "cow")


def stripes(label: int, number: int, size: tuple[int, int] = (36, 44)) -> np.ndarray:
    """One picture, (height, width, 3) uint8, a function of its class and number."""
    rng = np.random.default_rng([label, number])
    y, x = np.mgrid[: size[0], : size[1]]
    wave = np.sin((x, y, x + y)[label] * 0.9 + rng.uniform(0, 6.3)) * 80 + 128
    picture = np.repeat(wave[..., None], 3, axis=2) + rng.normal(0, 20, (*size, 3))
    picture[..., label] += 30
    return np.clip(picture, 0, 255).astype(np.uint8)


def write_photos(folder: Path, per_class: int = 8, first: int = 0) -> Path:
    """A folder of class folders."""
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(first, first + per_class):
            Image.fromarray(stripes(label, number)).save(folder / name / f"{name}-{number}.png")
    return folder


def write_photos_with_test(folder: Path, per_class: int = 8, test: int = 4) -> Path:
    """train/ and test/ with the same classes and different pictures."""
    write_photos(folder / "train", per_class)
    write_photos(folder / "test", test, first=1000)
    return folder

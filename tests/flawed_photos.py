"""A folder of photographs with every fault planted once or more, and the true answer for each."""

from __future__ import annotations

import io
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

Group = frozenset[str]

CLASSES = ("ant", "bee", "cow")


@dataclass(frozen=True)
class Flaws:
    """What is wrong, by paths below the folder."""

    unreadable: Group
    equal: frozenset[Group]
    """Equal pictures, of equal files or not."""
    near: frozenset[Group]
    """The same picture saved anew, copies of these included."""
    leaks: frozenset[Group]
    conflicts: frozenset[Group]
    odd: frozenset[tuple[str, str]]
    """(path, kind)"""


def scene(number: int, size: tuple[int, int] = (96, 128)) -> np.ndarray:
    """A picture without noise, unlike that of any other number: soft colours and a few hard shapes.

    Args:
        number: of the scene.
        size: (height, width).
    """
    rng = np.random.default_rng([77, number])
    height, width = size
    coarse = Image.fromarray(rng.integers(0, 256, (7, 8, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).copy()
    for _ in range(4):
        top, left = int(rng.integers(height - 20)), int(rng.integers(width - 20))
        pixels[top : top + 18, left : left + 18] = rng.integers(0, 256, 3)
    return pixels


def write_scenes(folder: Path, numbers: range) -> None:
    """PNG files 0.png, 1.png ... of scenes.

    Args:
        folder: made if need be.
        numbers: of the scenes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for place, number in enumerate(numbers):
        Image.fromarray(scene(number)).save(folder / f"{place}.png", compress_level=1)


def write_flawed(folder: Path) -> Flaws:
    """A data set with train and val parts.

    Args:
        folder: made if need be.
    """
    for label, name in enumerate(CLASSES):
        write_scenes(folder / "train" / name, range(100 * label, 100 * label + 9))
        write_scenes(folder / "val" / name, range(100 * label + 50, 100 * label + 54))
    train, val = folder / "train", folder / "val"
    (train / "ant/cut.jpg").write_bytes(_jpeg(scene(900))[:2000])
    (train / "bee/empty.png").write_bytes(b"")
    (train / "cow/page.jpg").write_bytes(b"<!doctype html><title>404</title>")

    shutil.copy(train / "ant/0.png", train / "ant/copy.png")
    Image.open(train / "bee/0.png").save(train / "bee/again.bmp")
    shutil.copy(train / "cow/0.png", val / "cow/leak.png")
    shutil.copy(train / "ant/2.png", train / "cow/says-cow.png")

    first = Image.open(train / "ant/1.png")
    first.resize((72, 56), Image.Resampling.LANCZOS).save(val / "ant/smaller.jpg", quality=75)
    second = Image.open(train / "bee/1.png")
    second.point(lambda value: min(255, round(value * 0.9 + 10))).save(train / "bee/brighter.png")
    second.save(train / "bee/saved.webp", quality=70)

    # not the same picture: mirrored, a part of it, and two blank ones that are equal in nothing but being blank
    Image.open(train / "cow/3.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(train / "cow/mirrored.png")
    Image.open(train / "cow/4.png").crop((48, 32, 128, 96)).save(train / "cow/part.png")
    Image.new("RGB", (64, 50), (30, 60, 200)).save(train / "cow/blank.png")
    Image.new("RGB", (70, 48), (31, 60, 200)).save(train / "bee/blank.png")

    Image.fromarray(scene(901, (7 * 3, 9 * 3))).save(train / "cow/dot.png")
    Image.fromarray(scene(902, (40, 720))).save(train / "cow/banner.png")
    frames = [Image.fromarray(scene(number)) for number in (903, 904, 905)]
    frames[0].save(train / "ant/moving.gif", save_all=True, append_images=frames[1:])
    Image.fromarray(scene(906)).save(train / "bee/named.jpg", "PNG")

    equal = [
        frozenset({"train/ant/0.png", "train/ant/copy.png"}),
        frozenset({"train/bee/0.png", "train/bee/again.bmp"}),
        leak := frozenset({"train/cow/0.png", "val/cow/leak.png"}),
        conflict := frozenset({"train/ant/2.png", "train/cow/says-cow.png"}),
    ]
    smaller = frozenset({"train/ant/1.png", "val/ant/smaller.jpg"})
    anew = frozenset({"train/bee/1.png", "train/bee/brighter.png", "train/bee/saved.webp"})
    return Flaws(
        unreadable=frozenset({"train/ant/cut.jpg", "train/bee/empty.png", "train/cow/page.jpg"}),
        equal=frozenset(equal),
        near=frozenset({smaller, anew}),
        leaks=frozenset({leak, smaller}),
        conflicts=frozenset({conflict}),
        odd=frozenset(
            {
                ("train/cow/dot.png", "tiny"),
                ("train/cow/banner.png", "narrow"),
                ("train/cow/blank.png", "constant"),
                ("train/bee/blank.png", "constant"),
                ("train/ant/moving.gif", "animated"),
                ("train/bee/named.jpg", "misnamed"),
            }
        ),
    )


def _jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()

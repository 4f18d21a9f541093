"""Tar shards in WebDataset's layout for tests, written by Python's own tarfile."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from image_files import png
from PIL import Image
from small_photos import CLASSES, stripes


def write_tar(path: Path, members: Iterable[tuple[str, bytes]], format: int = tarfile.PAX_FORMAT) -> Path:
    """A tar file of (name, content) members; its folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=format) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def dot(number: int) -> bytes:
    """A small PNG file with its number in its pixels."""
    return png(np.full((6, 9, 3), (number % 256, number // 256 % 256, number // 65536), np.uint8), 2)


def number_in(pixels: np.ndarray) -> int:
    """What `dot` put in."""
    low, middle, high = pixels[0, 0].tolist()
    return low + 256 * middle + 65536 * high


def write_shards(folder: Path, counts: Iterable[int], *, prefix: str = "", first: int = 0) -> Path:
    """Shards of dots called PREFIX000.tar and so on, labelled by number modulo 3; returns the folder."""
    for shard, count in enumerate(counts):
        members = []
        for number in range(first, first + count):
            members += [(f"{number:06d}.png", dot(number)), (f"{number:06d}.cls", b"%d\n" % (number % 3))]
        write_tar(folder / f"{prefix}{shard:03d}.tar", members)
        first += count
    return folder


def write_striped_shards(folder: Path, prefix: str, shards: int, each: int, first: int = 0) -> Path:
    """Shards of striped pictures that a tiny network can learn, labelled by class name."""
    number = first
    for shard in range(shards):
        members = []
        for _ in range(each):
            label = number % len(CLASSES)
            file = io.BytesIO()
            Image.fromarray(stripes(label, number)).save(file, "PNG")
            members += [(f"{number:05d}.png", file.getvalue()), (f"{number:05d}.cls", CLASSES[label].encode())]
            number += 1
        write_tar(folder / f"{prefix}{shard:03d}.tar", members)
    return folder

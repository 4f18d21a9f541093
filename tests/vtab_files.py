"""VTAB's tasks as people have them, small: folders of VTAB-1k's lists, and CLIP_benchmark's tar shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tar_shards import dot, write_tar


def write_lists(folder: Path, parts: Mapping[str, Sequence[int]], first: int = 0) -> Path:
    """Lists as NOAH's get_vtab1k.py writes them, by name without .txt, with numbered dots for images."""
    folder.mkdir(parents=True)
    number = first
    for name, labels in parts.items():
        images = folder / "images" / name
        images.mkdir(parents=True)
        for place, _ in enumerate(labels):
            (images / f"{place:06d}.jpg").write_bytes(dot(number))
            number += 1
        lines = [f"images/{name}/{place:06d}.jpg {label}\n" for place, label in enumerate(labels)]
        (folder / f"{name}.txt").write_text("".join(lines), newline="\n")
    return folder


def write_clip_shards(
    folder: Path, parts: Mapping[str, Sequence[int]], classnames: Sequence[str] | None = None, each: int = 400
) -> Path:
    """Shards as CLIP_benchmark's builder writes them: PART/0.tar, 1.tar, ..., nshards.txt, and classnames.txt above."""
    number = 0
    for part, labels in parts.items():
        starts = range(0, len(labels), each)
        for shard, start in enumerate(starts):
            members = []
            for place, label in enumerate(labels[start : start + each], start):
                members += [(f"s{place:07d}.cls", b"%d" % label), (f"s{place:07d}.png", dot(number))]
                number += 1
            write_tar(folder / part / f"{shard}.tar", members)
        (folder / part / "nshards.txt").write_text(str(len(starts)))
    if classnames is not None:
        (folder / "classnames.txt").write_text("".join(f"{name}\n" for name in classnames))
    return folder

"""Many small members in a row are looked through together, and found exactly where Python's tarfile finds them."""

from __future__ import annotations

import random
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tar_shards import write_tar

from vitreous.data.layouts.shards.shard_index import index_shard
from vitreous.data.layouts.shards.tar import members
from vitreous.data.layouts.storage import OpenFile, nearby
from vitreous.errors import DataError

ODD = [
    "x" * 150,
    "y" * 300,
    "Käse/日本",
    "a\nb",
    "../out",
    "/abs",
    "./here",
    "x" * 100,
    "a..b",
    "deep/" * 30 + "z",
]


def found(path: Path) -> tuple[list[tuple[str, int, int]], Counter[str]]:
    left_out: Counter[str] = Counter()
    file = OpenFile(path)
    return [tuple(each) for each in members(nearby(file), file.size, str(path), left_out)], left_out


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32), st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_small_members_are_where_python_finds_them(
    tmp_path_factory: pytest.TempPathFactory, seed: int, format: int
) -> None:
    """Hundreds of small files with odd names, large files and empty ones strewn in."""
    rng = random.Random(seed)
    named = []
    for number in range(rng.randint(17, 300)):
        odd = rng.choice(ODD) if rng.random() < 0.02 else ""
        if format == tarfile.USTAR_FORMAT and len(odd) > 99 and "/" not in odd:
            odd = ""
        size = rng.choice([0, 1, 511, 512, 513, 3000]) if rng.random() > 0.01 else 300_000
        named.append((f"{odd}{number}.png", bytes(size)))
    path = write_tar(tmp_path_factory.mktemp("tar") / "0.tar", named, format)
    with tarfile.open(path) as tar:
        infos = [info for info in tar if not (info.name.startswith("/") or ".." in info.name.split("/"))]
    assert found(path)[0] == [(info.name.removeprefix("./"), info.offset_data, info.size) for info in infos]
    assert found(path)[1]["names that lead out of the folder"] == len(named) - len(infos)


def test_damage_and_ends_among_small_members_are_told(tmp_path: Path) -> None:
    """A changed byte in any field of a header in the middle of a run, and a file cut off anywhere in it."""
    named = [(f"{number:04d}.png", b"%d" % number) for number in range(200)]
    path = write_tar(tmp_path / "0.tar", named)
    whole = path.read_bytes()
    expected = found(path)[0]
    for place in range(0, 512, 9):  # 155, behind the end of the checksum, means nothing to anybody
        content = bytearray(whole)
        content[120 * 1024 + place] ^= 4
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"damaged|cut off"):
            found(path)
    for length in range(120 * 1024, 122 * 1024, 150):
        path.write_bytes(whole[:length])
        if 0 < length % 1024 < 516:  # a header, or a content of three bytes behind it, is only half there
            with pytest.raises(DataError, match="cut off"):
                found(path)
        else:
            assert found(path) == (expected[: -(-length // 1024)], Counter({"without an end mark": 1}))


def test_samples_are_complete_where_runs_end(tmp_path: Path) -> None:
    """Every label goes with its image, over all borders of what is looked through at once."""
    members = [(f"{n:05d}.{kind}", b"%d" % (n % 7)) for n in range(1500) for kind in ("png", "cls")]
    index = index_shard(write_tar(tmp_path / "0.tar", members))
    assert [index.texts[label] for label in index.labels] == [str(n % 7) for n in range(1500)]
    assert [index.name(n) for n in (0, 700, 1499)] == ["00000.png", "00700.png", "01499.png"]

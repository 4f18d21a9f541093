"""What lies in a tar file: members where Python finds them, harm left out, damage told."""

from __future__ import annotations

import io
import os
import random
import shutil
import subprocess
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tar_shards import dot, number_in, write_shards, write_tar

from vitreous.data.layouts.shards.shard_index import index_shard
from vitreous.data.layouts.shards.shards import shard_set
from vitreous.data.layouts.shards.tar import Member, members
from vitreous.data.layouts.storage import OpenFile, nearby
from vitreous.errors import DataError


def listed(path: Path) -> tuple[list[Member], Counter[str]]:
    """The members found in a tar file, and what was left out."""
    left_out: Counter[str] = Counter()
    file = OpenFile(path)
    return list(members(nearby(file), file.size, str(path), left_out)), left_out


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_where_python_finds_them(tmp_path: Path, format: int) -> None:
    names = ["0.png", "./1.png", "deep/er/2.png", f"{'long' * 20}/{'name' * 20}.png", "Käse/日本.png"]
    if format != tarfile.USTAR_FORMAT:
        names.append(f"{'x' * 300}/{'y' * 5000}.cls")
    path = write_tar(tmp_path / "a.tar", [(name, bytes(513 * n)) for n, name in enumerate(names)], format)
    found, left_out = listed(path)
    with tarfile.open(path) as tar:
        expected = [(info.name.removeprefix("./"), info.offset_data, info.size) for info in tar]
    assert [tuple(member) for member in found] == expected
    assert not left_out


@pytest.mark.skipif(shutil.which("tar") is None, reason="no tar command")
@pytest.mark.parametrize("format", ["v7", "ustar", "gnu", "posix", "oldgnu"])
def test_members_of_gnu_tar(tmp_path: Path, format: str) -> None:
    """Folders, links and sparse files included, as the system's tar writes them."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "1.png").write_bytes(b"one")
    (folder / "2.png").write_bytes(b"two" * 1000)
    (folder / "3.png").symlink_to("2.png")
    os.link(folder / "2.png", folder / "4.png")
    os.mkfifo(folder / "5.png") if format != "v7" else None
    with (folder / "6.png").open("wb") as file:
        for place in range(30):  # more pieces than fit into the header
            file.seek(place * 2**20)
            file.write(b"x" * 4096)
        file.truncate(2**30)
    sparse = "-S" if format in ("gnu", "posix", "oldgnu") else "--exclude=./6.png"
    command = ["tar", "--sort=name", f"--format={format}", sparse, "-C", folder, "-cf", tmp_path / "a.tar", "."]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    assert (tmp_path / "a.tar").stat().st_size < 10**6
    found, left_out = listed(tmp_path / "a.tar")
    content = {member.name: OpenFile(tmp_path / "a.tar").read(member.start, member.size) for member in found}
    assert content == {"2.png": b"two" * 1000, "sub/1.png": b"one"}
    assert left_out["links"] == 2
    assert left_out["sparse files"] == (sparse == "-S")
    assert left_out["pipes"] == (format != "v7")


def test_what_could_do_harm_is_left_out_and_counted(tmp_path: Path) -> None:
    """C8: names that lead out, links, devices, a sparse giant and setuid bits, beside two good samples."""
    path = tmp_path / "train-0.tar"
    with tarfile.open(path, "w") as tar:

        def add(name: str, content: bytes = b"", **facts: Any) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in facts.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(content))

        add("../../evil.png", dot(1))
        add("/etc/evil.png", dot(1))
        add("a/../../evil.png", dot(1))
        add("link.png", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add("hard.png", type=tarfile.LNKTYPE, linkname="../../etc/passwd")
        add("null.png", type=tarfile.CHRTYPE, devmajor=1, devminor=3)
        add("disk.png", type=tarfile.BLKTYPE)
        add("pipe.png", type=tarfile.FIFOTYPE)
        add("0.pyd", b"cos\nsystem\n(S'touch pwned'\ntR.")
        add("1.pth", b"cos\nsystem\n(S'touch pwned'\ntR.")
        add("0.png", dot(5), mode=0o4777)
        add("0.cls", b"cat")
        add("1.png", dot(6))
        add("1.cls", b"dog")
        add("._1.png", b"litter")
        add("2.cls", b"cat")
        add("3.txt", b"a caption")
    before = sorted(tmp_path.rglob("*"))
    images, notes = shard_set([path], "x", None)
    assert [number_in(images.read(place)) for place in range(2)] == [5, 6]
    assert images.keys[1] == "train-0.tar/1.png"
    assert notes == [
        "x: left out .txt members 1, devices 2, hidden files 1, labels without an image 1, links 2, names that lead out"
        " of the folder 3, pickled members, which could run code, 2, pipes 1"
    ]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_sparse_giant_costs_nothing(tmp_path: Path) -> None:
    """A header that claims 100 GB where nothing follows, and one whose size needs GNU's large numbers."""
    for size in (100 * 2**30, 8**11 - 1):
        info = tarfile.TarInfo("0.png")
        info.size = size
        path = tmp_path / "a.tar"
        path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
        with pytest.raises(DataError, match="cut off"):
            listed(path)
        os.truncate(path, 512 + size + 1024)  # a hole on the disk
        assert index_shard(path).left_out == {"images larger than 1 GB": 1}
        path.unlink()


def test_wherever_a_shard_is_cut_off_it_is_told(tmp_path: Path) -> None:
    whole = (write_shards(tmp_path, [4]) / "000.tar").read_bytes()
    with tarfile.open(tmp_path / "000.tar") as tar:
        content = [(info.offset, info.offset_data + info.size) for info in tar]
    cut = tmp_path / "cut.tar"
    for length in [0, 1, 511, 512, 1024, *range(1000, 8192 + 1024, 111), 8192]:
        cut.write_bytes(whole[:length])
        if length == 0 or any(start < length < stop for start, stop in content):
            with pytest.raises(DataError, match="cut off") as caught:
                index_shard(cut)
            assert caught.value.where == str(cut)
        else:  # all that began is there, and only the end mark may be missing
            assert index_shard(cut).left_out == ({"without an end mark": 1} if length <= 8192 else {})


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**32))
def test_damage_ends_in_one_error_or_in_nothing_worse(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """Bytes changed anywhere: either a DataError, or every image is found where it was."""
    rng = random.Random(seed)
    folder = tmp_path_factory.mktemp("damaged")
    kinds = {"png": dot(5), "cls": b"7"}
    named = [(f"{'Käse' * 40}/{n}.{kind}", content) for n in range(4) for kind, content in kinds.items()]
    path = write_tar(folder / "0.tar", named, rng.choice([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
    expected = index_shard(path)
    content = bytearray(path.read_bytes())
    for _ in range(rng.randint(1, 4)):
        content[rng.randrange(len(content) - 4096)] = rng.randrange(256)
    path.write_bytes(content)
    try:
        found = index_shard(path)
    except DataError:
        return
    known = list(zip(expected.offsets, expected.sizes, strict=True))
    assert all(image in known for image in zip(found.offsets, found.sizes, strict=True))


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"\x1f\x8b" + bytes(2000), "not a tar file"), (b"<html>" * 500, "not a tar file"), (b"", "cut off")],
)
def test_what_is_no_tar_file_is_told(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(DataError, match=words):
        index_shard(tmp_path / "a.tar")

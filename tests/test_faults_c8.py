"""C8: archives made to do harm are read as streams of bytes; nothing is written, and millions of entries stay cheap.

What single entries may try is in test_data_shards.py (tar) and test_data_archive.py (zip).
"""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import textwrap
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from image_files import gradient, png
from storage_faults import LINUX
from zip_files import Entry, zip_bytes

from vitreous.data.layouts.archive.archive import zip_set
from vitreous.data.layouts.found import Asked
from vitreous.data.layouts.shards.tar import members

PICTURE = png(gradient(5, 7), 2)


def picture(number: int) -> bytes:
    """Each another one: copies would stay on one side of a split."""
    return png(np.random.default_rng(number).integers(0, 256, (5, 7, 3), np.uint8), 2)


def evil_tar(path: Path) -> Path:
    """Names that lead out, links, a device, setuid bits, a pickle and a sparse giant beside four good samples."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:

        def add(
            name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644
        ) -> None:
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname, info.mode = len(content), kind, link, mode
            tar.addfile(info, io.BytesIO(content))

        for name in ("../evil.png", "/tmp/evil.png", "a/../../evil.png"):
            add(name, PICTURE)
        add("folder", kind=tarfile.SYMTYPE, link="/tmp")
        add("folder/evil.png", PICTURE)  # would go through the link
        add("folder/evil.cls", b"0")
        add("hard.png", kind=tarfile.LNKTYPE, link="../../../etc/passwd")
        add("null.png", kind=tarfile.CHRTYPE)
        add("0.pyd", b"cos\nsystem\n(S'touch pwned'\ntR.")
        for number in range(4):
            add(f"{number}.png", picture(number))
            add(f"{number}.cls", b"%d" % (number % 2))
        add("giant.png", kind=tarfile.GNUTYPE_SPARSE)
    return path


def evil_zip(path: Path) -> Path:
    names = [b"../evil.png", b"/tmp/evil.png", b"a\\..\\..\\evil.png", b"C:\\evil.png"]
    entries = [Entry(name=name, content=PICTURE) for name in names]
    entries += [Entry(name=b"0/link.png", content=b"/etc/passwd", made_by=3, mode=0o120777)]
    entries += [Entry(name=b"%d/%d.png" % (n % 2, n), content=picture(n), made_by=3, mode=0o104777) for n in range(4)]
    path.write_bytes(zip_bytes(entries))
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="paths of Unix")
def test_nothing_is_written_but_the_index_in_the_cache(tmp_path: Path) -> None:
    """C8: Python itself tells of every file that is written, made, linked or removed, and of every process."""
    (tmp_path / "work").mkdir()
    typed = [str(evil_tar(tmp_path / "evil.tar")), str(evil_zip(tmp_path / "evil.zip"))]
    code = """
        import json, os, sys
        from vitreous.data.sources import open_splits
        changed = []
        def watch(event, arguments):
            if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
                if arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                    changed.append([event, os.fsdecode(arguments[0])])
            elif event.startswith(("os.", "subprocess.", "shutil.")) and event not in ("os.listdir", "os.scandir"):
                changed.append([event, str(arguments[0]) if arguments else ""])
        sys.addaudithook(watch)
        for data in json.loads(sys.argv[1]):
            splits = open_splits(data, val=0.5, seed=0)
            assert len(splits.train) == 2, splits.notes
            assert splits.train.read(0).shape == (5, 7, 3)
        print(json.dumps(changed))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), json.dumps(typed)],
        cwd=tmp_path / "work",
        env={**os.environ, "VITREOUS_CACHE": str(tmp_path / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    changed = json.loads(done.stdout)
    assert changed, "the watch sees nothing"
    assert {event for event, _ in changed} <= {"open", "os.mkdir", "os.rename", "os.remove"}
    assert all(path.startswith(str(tmp_path / "cache")) for _, path in changed), changed
    assert list((tmp_path / "work").iterdir()) == []


def tar_header(number: int) -> bytes:
    """The header of an empty file, by POSIX's definition."""
    name = b"%07d.png" % number
    front = name.ljust(100, b"\0") + b"0000644\0" + 2 * b"0000000\0" + 2 * b"00000000000\0"
    back = b"0" + bytes(100) + b"ustar\x0000" + bytes(247)
    return front + b"%06o\0 " % (sum(front) + sum(back) + 8 * 32) + back


def read_tar(count: int) -> None:
    """Go through a tar file of many entries that never lies anywhere."""

    def read(start: int, size: int) -> bytes:
        wanted = range(start // 512, -(-(start + size) // 512))
        blocks = b"".join(tar_header(number) if number < count else bytes(512) for number in wanted)
        return blocks[start % 512 :][: min(size, 512 * (count + 2) - start)]

    left_out: Counter[str] = Counter()
    names = (member.name for member in members(read, 512 * (count + 2), "x", left_out))
    assert sum(name == f"{number:07d}.png" for number, name in enumerate(names)) == count
    assert not left_out


class Many:
    """A zip archive of many entries, all of them the same picture."""

    def __init__(self, count: int) -> None:
        entry = struct.Struct("<4sHHHHHHIIIHHHHHII")
        facts = (20, 20, 0, 0, 0, 0, zlib.crc32(PICTURE), len(PICTURE), len(PICTURE), 24, 0, 0, 0, 0, 0, 0)
        header = entry.pack(b"PK\1\2", *facts)
        body = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 0, 0, 0, *facts[6:9], 24, 0) + bytes(24) + PICTURE
        directory = b"".join(header + b"photos/%04d/%08d.png" % (n % 500, n) for n in range(count))
        assert len(directory) == count * (46 + 24)
        end = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(directory), len(body))
        end += struct.pack("<4sIQI", b"PK\6\7", 0, len(body) + len(directory), 1)
        end += struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 0)
        self.content = body + directory + end
        self.size, self.state = len(self.content), (0,)

    def read(self, start: int, size: int) -> bytes:
        return self.content[start : start + size]


def read_zip(count: int) -> None:
    images = zip_set(Many(count), "x.zip", Asked()).sets["all"]
    assert (len(images), len(images.classes)) == (count, 500)
    assert images.keys[1] == "0000/00000500.png"
    assert (images.read(count - 1) == gradient(5, 7)).all()


def cost_of(count: int, kind: str) -> tuple[float, int]:
    """Seconds of computing and bytes at the most that an archive of many entries takes, in a process of its own."""
    code = f"""
        import time
        import test_faults_c8 as tests
        from peak_memory import forget_peak, peak_memory
        before, began = forget_peak(), time.process_time()
        tests.read_{kind}({count})
        print(time.process_time() - began, peak_memory() - before)
    """
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seconds, grown = done.stdout.split()
    return float(seconds), int(grown)


@pytest.mark.skipif(not LINUX, reason="memory is measured by Linux's account")
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_many_entries_take_little(kind: str) -> None:
    """C8's million in small: as much time and memory an entry as a million may have."""
    seconds, grown = cost_of(20_000, kind)
    assert seconds < 3
    assert grown < 20_000 * 1200 + 8 * 2**20


@pytest.mark.slow
@pytest.mark.skipif(not LINUX, reason="memory is measured by Linux's account")
@pytest.mark.parametrize(("kind", "most"), [("tar", 64 << 20), ("zip", 1000 << 20)])
def test_a_million_entries_take_seconds(kind: str, most: int) -> None:
    """C8."""
    seconds, grown = cost_of(1_000_000, kind)
    assert seconds < 40  # of computing: 8 where nothing else is at work
    assert grown < most

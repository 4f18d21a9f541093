"""A zip archive gives what its unpacked folder gives, is read in place, and can do no harm."""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import random
import shutil
import struct
import subprocess
import threading
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import gradient, plant, png
from zip_files import Entry, zip_bytes

from vitreous.data.imageset import ImageSet
from vitreous.data.layouts.archive import archive
from vitreous.data.layouts.archive.archive import find_archive, zip_set
from vitreous.data.layouts.archive.zip_directory import read_directory
from vitreous.data.layouts.folders.folders import find_folders
from vitreous.data.layouts.found import Asked, Found
from vitreous.data.recognise import recognise
from vitreous.data.sources import open_splits
from vitreous.data.words import natural_key
from vitreous.errors import DataError, ImageError

PICTURE = png(gradient(5, 7), 2)


class Memory:
    """An archive that lies in memory, as one far away would: it can only be asked for bytes."""

    def __init__(self, content: bytes) -> None:
        self.content, self.size, self.state, self.calls = content, len(content), (len(content),), 0

    def read(self, start: int, size: int) -> bytes:
        assert start >= 0
        assert size >= 0
        self.calls += 1
        return self.content[start : start + size]


def found(typed: str | Path, **asked: Any) -> Found:
    answer = find_archive(str(typed), Asked(**asked))
    assert answer is not None
    return answer


def in_memory(*entries: Entry, keep_empty: bool = False, **options: Any) -> Found:
    return zip_set(Memory(zip_bytes(entries, **options)), "x.zip", Asked(keep_empty=keep_empty))


def refused(*entries: Entry, **options: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        in_memory(*entries, **options)
    return caught.value


def two_classes(**facts: Any) -> list[Entry]:
    return [Entry(name=name, content=PICTURE, **facts) for name in (b"cat/1.png", b"dog/1.png")]


def stacked(images: ImageSet) -> np.ndarray:
    return np.stack([images.read(place) for place in range(len(images))])


def pack(folder: Path, to: Path, *, above: str = "", method: int = zipfile.ZIP_DEFLATED) -> Path:
    """A zip archive of a folder, written by Python's own zipfile, in no order a person would choose."""
    paths = sorted(folder.rglob("*"))
    random.Random(1).shuffle(paths)
    with zipfile.ZipFile(to, "w", method) as file:
        for path in paths:
            file.write(path, f"{above}{path.relative_to(folder).as_posix()}")
    return to


def assert_same(archived: Found, unpacked: Found) -> None:
    assert list(archived.sets) == list(unpacked.sets)
    for part, expected in unpacked.sets.items():
        images = archived.sets[part]
        assert images.classes == expected.classes
        assert list(images.keys) == list(expected.keys)
        assert images.labels.tolist() == expected.labels.tolist()
        assert images.fingerprint == expected.fingerprint
        assert images.encoded is not None
        assert expected.encoded is not None
        for place in range(len(images)):
            assert images.encoded(place) == expected.encoded(place)
            assert (images.read(place) == expected.read(place)).all()


# ---------------------------------------------------------------- round trips


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("above", ["", "photos/", "my/photos/"])
@pytest.mark.parametrize("parts", [[""], ["train/", "val/"], ["Train/", "test/", "valid/"]])
@pytest.mark.parametrize("keep_empty", [True, False])
def test_an_archive_gives_what_its_folder_gives(
    tmp_path: Path, method: int, above: str, parts: list[str], keep_empty: bool
) -> None:
    folder = tmp_path / "photos"
    for number, part in enumerate(parts):
        plant(folder, {f"{part}{name}": 3 + number for name in ("10", "9", "Käse", "deep/er", "empty")})
        shutil.rmtree(folder / part / "empty")
        (folder / part / "empty").mkdir()
        (folder / part / "9" / "notes.txt").write_text("no picture")
        (folder / part / "9" / "unnamed").write_bytes(PICTURE)
        (folder / part / "10" / "img_0010.JPG").write_bytes(PICTURE)
        (folder / part / "10" / "img_7.png").write_bytes(PICTURE)
    path = pack(folder, tmp_path / "photos.zip", above=above, method=method)
    assert_same(found(path, keep_empty=keep_empty), recognise(str(folder), Asked(keep_empty=keep_empty)))


def test_what_python_unpacks_is_the_same(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for number in (11, 2, 100, 3):
            file.writestr(f"日本/猫 {number}.png", png(gradient(number, 7), 2))
            file.writestr(f"日本/sub/{number}.png", png(gradient(number, 8), 2))
            file.writestr(f"Ka\u0308se/{number}.png", png(gradient(number, 9), 2))
    with zipfile.ZipFile(tmp_path / "a.zip") as file:
        file.extractall(tmp_path / "out")
    assert_same(found(tmp_path / "a.zip"), recognise(str(tmp_path / "out"), Asked()))


@pytest.mark.skipif(shutil.which("zip") is None, reason="no zip command")
def test_the_system_s_zip_writes_the_same(tmp_path: Path) -> None:
    plant(tmp_path / "in", {"cat": 3, "Käse": 4})
    (tmp_path / "in" / "cat" / "link.png").symlink_to("0.png")
    subprocess.run(["zip", "-qry", "../a.zip", "."], cwd=tmp_path / "in", check=True)
    (tmp_path / "in" / "cat" / "link.png").unlink()
    answer = found(tmp_path / "a.zip")
    assert_same(answer, recognise(str(tmp_path / "in"), Asked()))
    assert any("links 1" in note for note in answer.notes)


def test_a_run_can_be_split_from_it(tmp_path: Path) -> None:
    path = pack(plant(tmp_path / "in", {"cat": 10, "dog": 5}), tmp_path / "a.zip")
    splits, unpacked = (open_splits(source, val=0.2, seed=0) for source in (path, tmp_path / "in"))
    assert splits.fingerprint == unpacked.fingerprint
    assert f"{path}: a zip archive, read in place" in splits.notes


@settings(deadline=None)
@given(st.lists(st.text("ab0129 .é\x01_ß", min_size=1, max_size=9), min_size=2, max_size=9, unique=True))
def test_the_order_is_natural(names: list[str]) -> None:
    assert [names[place] for place in archive._ranked(names)] == sorted(names, key=natural_key)


# ---------------------------------------------------------------- what an archive may hold


def test_what_could_do_harm_is_left_out_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """C8."""
    monkeypatch.chdir(tmp_path)
    outside = (b"../evil.png", b"/etc/evil.png", b"cat/../../evil.png", b"..\\evil.png", b"C:/evil.png")
    hidden = (b"__MACOSX/cat/._1.png", b"cat/.hidden.png", b".git/cat/1.png", b"cat/Thumbs.db")
    evil: dict[bytes, dict[str, int]] = {
        **{name: {} for name in outside + hidden},
        b"cat/link.png": {"mode": 0o120777},
        b"cat/null.png": {"mode": 0o020666},
        b"cat/disk.png": {"mode": 0o060666},
        b"cat/pipe.png": {"mode": 0o010666},
        b"cat/more.zip": {},
        b"cat/readme.txt": {},
        b"cat/2.png": {"mode": 0o104777},
    }
    entries = [
        Entry(name=name, content=PICTURE if b".png" in name else b"x", made_by=3, mode=facts.get("mode", 0))
        for name, facts in evil.items()
    ]
    answer = in_memory(*two_classes(), *entries)
    assert list(answer.sets["all"].keys) == ["cat/1.png", "cat/2.png", "dog/1.png"]
    assert answer.notes == [
        "x.zip: a zip archive, read in place",
        "x.zip: left out files without an image (.txt 1, .zip 1)",
        "x.zip: left out devices 2, hidden files 4, links 1, names that lead out of the folder 5, pipes 1",
    ]
    assert (answer.sets["all"].read(1) == gradient(5, 7)).all()
    assert list(tmp_path.iterdir()) == []


def test_a_bomb_is_not_unpacked() -> None:
    """A gigabyte that is declared, one that is not, and one whose archive says that it is small."""
    zeros = zlib.compressobj(9, wbits=-15)
    bomb = zeros.compress(bytes(2**27)) + zeros.flush()
    assert len(bomb) < 2**18
    answer = in_memory(
        *two_classes(),
        Entry(name=b"dog/vast.png", size=2**30 + 1, packed=bomb, method=8),
        Entry(name=b"dog/wide.png", size=100 * 2**30, packed=bomb, method=8, wide=True),
        Entry(name=b"dog/2.png", size=2**27, packed=bomb, method=8),
        Entry(name=b"dog/3.png", size=1000, packed=bomb, method=8),
    )
    assert answer.notes[1] == "x.zip: left out images larger than 1 GB 2"
    images = answer.sets["all"]
    assert list(images.keys) == ["cat/1.png", "dog/1.png", "dog/2.png", "dog/3.png"]
    with pytest.raises(ImageError, match="zip bomb") as caught:
        images.read(2)
    assert caught.value.where == "x.zip/dog/2.png"
    with pytest.raises(ImageError, match="damaged"):
        images.read(3)


@pytest.mark.parametrize("flags", [1, 0x41, 0x2001])
def test_an_encrypted_file_is_refused_by_name(flags: int) -> None:
    error = refused(*two_classes(), Entry(name=b"dog/2.png", content=PICTURE, flags=flags))
    assert (error.what, error.where) == ("a file in the archive is encrypted", "x.zip/dog/2.png")


@pytest.mark.parametrize(
    ("method", "name"), [(9, "Deflate64"), (12, "bzip2"), (14, "LZMA"), (93, "Zstandard"), (7, "method 7")]
)
def test_other_ways_of_packing_are_refused_by_name(method: int, name: str) -> None:
    error = refused(*two_classes(), Entry(name=b"dog/2.png", content=PICTURE, method=method))
    assert error.what == f"a file in the archive is packed by {name}"
    assert "zip -0" in str(error.remedy)


def test_two_files_of_one_name_are_refused() -> None:
    for twin in (b"cat/1.png", b"cat//1.png", b"./cat/1.png", b"cat\\1.png"):
        error = refused(*two_classes(), Entry(name=twin, content=PICTURE))
        assert (error.what, error.where) == ("two files in the archive have one name", "x.zip/cat/1.png")


def test_names_are_utf_8_or_code_page_437() -> None:
    answer = in_memory(
        Entry(name="Käse/1.png".encode("cp437"), content=PICTURE),
        Entry(name="Größe/1.png".encode(), content=PICTURE, flags=0x800),
        Entry(name="日本/1.png".encode(), content=PICTURE, made_by=3),  # macOS writes UTF-8 and does not say so
        Entry(name="Ma\u0308use/1.png".encode(), content=PICTURE, made_by=19),
    )
    assert answer.sets["all"].classes == ("Größe", "Käse", "M\u00e4use", "日本")


def test_zip64_is_read() -> None:
    entries = [
        Entry(name=b"cat/1.png", content=PICTURE, wide=True, local_extra=bytes(300)),
        Entry(name=b"dog/1.png", content=PICTURE),
    ]
    assert (stacked(in_memory(*entries, wide=True).sets["all"]) == gradient(5, 7)).all()


def test_numbers_beyond_the_file_are_never_asked_for(tmp_path: Path) -> None:
    """In zip64 they may be larger than any memory, and than what a system takes as an offset."""
    content = zip_bytes(two_classes())
    end, entry = content.rfind(b"PK\5\6"), content.find(b"PK\1\2")
    locator = b"PK\6\7" + struct.pack("<IQI", 0, 2**64 - 1, 1)
    (tmp_path / "offset.zip").write_bytes(content[:end] + locator + content[end:])
    with pytest.raises(DataError, match="damaged") as refused:
        found(tmp_path / "offset.zip")
    assert "zip64 record" in str(refused.value)

    name, extra, size = *struct.unpack_from("<HH", content, entry + 28), struct.unpack_from("<I", content, end + 12)[0]
    assert extra == 0
    behind, wide = entry + 46 + name, struct.pack("<HHQ", 1, 8, 2**61)
    changed = bytearray(content[:behind] + wide + content[behind:])
    struct.pack_into("<I", changed, entry + 20, 2**32 - 1)
    struct.pack_into("<H", changed, entry + 30, len(wide))
    struct.pack_into("<I", changed, end + len(wide) + 12, size + len(wide))
    (tmp_path / "packed.zip").write_bytes(changed)
    with pytest.raises(ImageError, match="damaged") as damaged:
        found(tmp_path / "packed.zip").sets["all"].read(0)
    assert f"{2**61:,} bytes" in str(damaged.value)


def test_an_archive_may_stand_behind_a_program_and_have_a_comment() -> None:
    for wide in (True, False):
        answer = in_memory(*two_classes(), before=b"#!/bin/sh\n" * 99, comment=b"PK\5\6" + bytes(40), wide=wide)
        assert (stacked(answer.sets["all"]) == gradient(5, 7)).all()


def test_archives_of_more_than_65535_files_without_zip64() -> None:
    """Old writers count modulo 65,536."""
    content = zip_bytes([Entry(name=b"0/000000.png")])
    local, entry = content[: 30 + 12], content[30 + 12 : -22]
    count = struct.pack("<H", 65_540 - 65_536)
    end = b"PK\5\6" + bytes(4) + 2 * count + struct.pack("<IIH", 65_540 * len(entry), len(local), 0)
    directory = read_directory(Memory(local + entry * 65_540 + end), "x.zip")
    assert len(directory) == 65_540
    assert directory.name(65_539) == "0/000000.png"


# ---------------------------------------------------------------- reading


def test_a_picture_takes_one_call_wherever_the_archive_lies() -> None:
    memory = Memory(zip_bytes(two_classes(local_extra=b"U" * 28)))
    images = zip_set(memory, "far.zip", Asked()).sets["all"]
    assert memory.calls <= 3
    memory.calls = 0
    images.read(1)
    assert memory.calls == 1


def test_many_threads_read_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for number in range(60):
        (folder / f"{number % 2}").mkdir(parents=True, exist_ok=True)
        (folder / f"{number % 2}" / f"{number}.png").write_bytes(png(np.full((6, 9, 3), number, np.uint8), 2))
    images = found(pack(folder, tmp_path / "a.zip")).sets["all"]
    wrong = []

    def work(seed: int) -> None:
        for place in np.random.default_rng(seed).permutation(60).tolist():
            if images.read(place)[0, 0, 0] != int(Path(images.keys[place]).stem):
                wrong.append(place)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_damage_to_a_picture_names_it(tmp_path: Path) -> None:
    content = zip_bytes(two_classes())
    place = content.index(PICTURE) + 40
    (tmp_path / "a.zip").write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    images = found(tmp_path / "a.zip").sets["all"]
    with pytest.raises(ImageError, match="the file in the archive is damaged") as caught:
        images.read(0)
    assert (caught.value.where, caught.value.why) == (f"{tmp_path}/a.zip/cat/1.png", "its checksum is wrong")
    assert images.read(1).shape == (5, 7, 3)


def test_an_archive_cut_off_anywhere_is_told(tmp_path: Path) -> None:
    whole = zip_bytes(two_classes())
    for length in range(len(whole)):
        with pytest.raises(DataError, match="cut off" if length >= 4 else "not a zip archive"):
            zip_set(Memory(whole[:length]), "x.zip", Asked())
    (tmp_path / "a.zip").write_bytes(b"<html>404</html>")
    with pytest.raises(DataError, match="not a zip archive"):
        find_archive(str(tmp_path / "a.zip"), Asked())
    with pytest.raises(DataError, match="no images"):
        in_memory()


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**32))
def test_damage_ends_in_one_error_or_in_the_same_pictures(seed: int) -> None:
    rng = random.Random(seed)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as written:
        for n in range(4):
            written.writestr(f"{'Käse' * (n % 2)}{n % 2}/{n}.png", PICTURE)
    content = bytearray(file.getvalue())
    for _ in range(rng.randint(1, 3)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    try:
        images = zip_set(Memory(bytes(content)), "x.zip", Asked()).sets
        for each in images.values():
            for place in range(len(each)):
                with contextlib.suppress(ImageError):
                    assert (each.read(place) == gradient(5, 7)).all()
    except DataError:
        pass


# ---------------------------------------------------------------- layouts and words


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["1.png", "2.png"], "lie in no class folders"),
        (["notes.txt"], "there are no images"),
        (["train/1.png", "test/2.png"], "the images in test and train lie in no class folders"),
        (["train/a/1.png", "valid/a/1.png", "val/a/1.png"], "both val and valid could be the val images"),
        (["train/a/1.png", "val/a/1.png", "extra/a/1.png"], "extra beside them hold images too"),
    ],
)
def test_what_is_wrong_with_folders_is_told_as_in_folders(tmp_path: Path, names: list[str], words: str) -> None:
    entries = [Entry(name=name.encode(), content=PICTURE if name.endswith(".png") else b"x") for name in names]
    error = refused(*entries)
    assert words in error.what
    for entry in entries:
        path = tmp_path / entry.name.decode()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(entry.content)
    with pytest.raises(DataError) as caught:
        find_folders(str(tmp_path), Asked())
    told = caught.value.what.replace(str(tmp_path), "x.zip")
    assert sorted(told.split()) == sorted(error.what.split())  # a folder lists what it holds in any order


def test_classes_called_like_parts_are_classes() -> None:
    names = (b"trees/train/1.png", b"trees/bus/1.png", b"trees/stray.png")
    answer = in_memory(*(Entry(name=name, content=PICTURE) for name in names))
    assert list(answer.sets) == ["all"]
    assert list(answer.sets["all"].keys) == ["bus/1.png", "train/1.png"]
    assert answer.sets["all"].ids[1] == "x.zip/trees/train/1.png"
    assert answer.notes[1] == "x.zip/trees: left out images outside class folders (1)"


def test_other_files_are_left_to_others(tmp_path: Path) -> None:
    (tmp_path / "folder.zip").mkdir()
    (tmp_path / "a.npz").write_bytes(zip_bytes(two_classes()))
    for name in ("folder.zip", "a.npz", "none.zip", "."):
        assert find_archive(str(tmp_path / name), Asked()) is None
    for name, command in (("a.7z", "7z x"), ("b.RAR", "unrar x")):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(DataError, match="cannot be read in place") as caught:
            find_archive(str(tmp_path / name), Asked())
        assert str(caught.value.remedy).startswith(f"{command} {tmp_path}")


def test_the_index_takes_few_bytes() -> None:
    """What stays of a million images must be arrays: 29 bytes, a label and a name each."""
    entries = [Entry(name=b"%d/%06d.png" % (n % 2, n)) for n in range(2000)]
    images = zip_set(Memory(zip_bytes(entries)), "x.zip", Asked()).sets["all"]
    assert images.encoded is not None
    held = [cell.cell_contents for cell in inspect.unwrap(images.encoded).__closure__ or ()]
    arrays = [each for each in held if isinstance(each, np.ndarray)]
    assert sum(each.nbytes for each in arrays) == 2000 * (3 * 8 + 4 + 1 + 2)
    assert not any(isinstance(each, list | dict) for each in held)
    assert not isinstance(images.ids, list)
    assert not isinstance(images.keys, list)


def test_several_volumes_are_told() -> None:
    content = bytearray(zip_bytes(two_classes()))
    content[-18:-16] = b"\1\0"
    with pytest.raises(DataError, match="one of several volumes"):
        read_directory(Memory(bytes(content)), "x.zip")


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.zip").write_bytes(zip_bytes(two_classes()))

    def failing(*_: Any) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "open", failing)
    with pytest.raises(DataError, match="the archive cannot be read") as caught:
        find_archive(str(tmp_path / "a.zip"), Asked())
    assert caught.value.why == "Input/output error"

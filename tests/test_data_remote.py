"""Shards on a web server or in an object store: equal to those on a disk, read by ranges, and honest about trouble."""

from __future__ import annotations

import errno
import gc
import json
import sys
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from range_server import RangeServer, serving
from small_photos import CLASSES
from tar_shards import dot, number_in, write_shards

from vitreous.config import TrainOptions
from vitreous.data.feeding.order import batch_members
from vitreous.data.layouts.archive.archive import find_archive
from vitreous.data.layouts.found import Asked, Found
from vitreous.data.layouts.remote import remote_file
from vitreous.data.layouts.remote.address import PACKAGES, Address, find_address, shown
from vitreous.data.layouts.remote.read_ahead import ReadAhead, Shelf
from vitreous.data.layouts.remote.remote import find_remote
from vitreous.data.layouts.remote.remote_file import RemoteFile, whole
from vitreous.data.layouts.shards.shards import find_shard_sets
from vitreous.data.layouts.storage import Placed
from vitreous.data.recognise import recognise
from vitreous.data.sources import open_splits
from vitreous.errors import DataError, ImageError, UsageError
from vitreous.training.asked import asked_facts

SECRET = "SeCrEt"


@pytest.fixture
def server() -> Iterator[RangeServer]:
    with serving(RangeServer()) as served:
        yield served


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_file, "_WAITS", (0.0, 0.0, 0.0))


def found(typed: str) -> Found:
    answer = find_remote(typed, Asked())
    assert answer is not None
    return answer


def refused(typed: str) -> DataError:
    with pytest.raises(DataError) as caught:
        find_remote(typed, Asked())
    return caught.value


def remote(server: RangeServer, content: bytes = bytes(range(256)) * 40) -> RemoteFile:
    server.files["/a.bin"] = content
    return RemoteFile(Address(f"{server.url}/a.bin"))


# ---------------------------------------------------------------- equal to a disk


def test_shards_at_an_address_equal_those_on_a_disk(server: RangeServer, tmp_path: Path) -> None:
    """Keys, labels, classes, fingerprint, order, encoded bytes and pixels; and parts by name."""
    folder = write_shards(tmp_path / "set", [9, 7, 11], prefix="train-")
    write_shards(folder, [5], prefix="val-", first=27)
    (folder / "classes.txt").write_text("ant\nbee\ncow\n")
    server.put(folder, "/some/where/")
    here = find_shard_sets(str(folder), Asked())
    there = found(f"{server.url}/some/where/{{train-{{000..002}},val-000}}.tar")
    assert here is not None
    assert list(there.sets) == ["train", "val"]
    for part, images in here.sets.items():
        other = there.sets[part]
        assert other.fingerprint == images.fingerprint
        assert list(other.keys) == list(images.keys)
        assert (other.classes, other.shards) == (images.classes, images.shards)
        assert (other.labels == images.labels).all()
        assert images.encoded is not None
        assert other.encoded is not None
        for place in np.random.default_rng(0).permutation(len(images)).tolist():
            assert other.encoded(place) == images.encoded(place)
            assert number_in(other.read(place)) == place + 27 * (part == "val")
    assert there.sets["train"].ids[9] == f"{server.url}/some/where/train-001.tar/000009.png"
    assert "3 tar shards" in there.notes[0]
    seen = [
        batch_members(seed=3, step=1, batch_size=8, count=len(each), shards=each.shards)[1].tolist()
        for each in (here.sets["train"], there.sets["train"])
    ]
    assert seen[0] == seen[1]


def test_parts_may_lie_in_folders_with_class_names_above(server: RangeServer, tmp_path: Path) -> None:
    """As CLIP_benchmark's sets do."""
    write_shards(tmp_path / "train", [6, 6])
    write_shards(tmp_path / "test", [5], first=12)
    (tmp_path / "classnames.txt").write_text("ant\nbee\ncow\n")
    server.put(tmp_path)
    there = found(f"{server.url}/{{train/{{000..001}},test/000}}.tar").sets
    here = find_shard_sets(str(tmp_path), Asked())
    assert here is not None
    assert {part: images.fingerprint for part, images in there.items()} == {
        part: images.fingerprint for part, images in here.sets.items()
    }
    assert there["test"].classes == ("ant", "bee", "cow")


def test_a_run_begins_from_an_address(server: RangeServer, tmp_path: Path) -> None:
    server.put(write_shards(tmp_path, [20, 22]))
    splits = open_splits(f"{server.url}/{{000..001}}.tar", val=0.2, seed=0)
    assert len(splits.train) + len(splits.sets["val"]) == 42
    assert recognise(f"{server.url}/000.tar", Asked()).sets["all"].shards == (20,)


def test_the_index_is_remembered_by_address_and_state(
    server: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by what opens it, which changes: names, passwords and signatures. No secret lies in the cache."""
    monkeypatch.setenv("VITREOUS_CACHE", str(tmp_path / "cache"))
    server.put(write_shards(tmp_path / "set", [30, 31]))
    first = found(f"{server.url}/{{000..001}}.tar").sets["all"]
    bytes_cold = sum(request.sent for request in server.asked)
    server.asked.clear()
    signed = server.url.replace("//", f"//me:{SECRET}@") + f"/{{000..001}}.tar?X-Amz-Signature={SECRET}"
    again = found(signed).sets["all"]
    assert sum(request.sent for request in server.asked) == 2 < bytes_cold
    assert again.fingerprint == first.fingerprint
    (kept,) = (tmp_path / "cache" / "shards").iterdir()
    assert SECRET.encode() not in kept.read_bytes()
    server.put(write_shards(tmp_path / "set", [30, 31], first=500))
    server.asked.clear()
    assert found(signed).sets["all"].keys[0] == "000.tar/000500.png"
    assert any(request.sent > 1000 for request in server.asked)


def test_a_zip_archive_is_read_in_place(server: RangeServer, tmp_path: Path) -> None:
    """Python's zipfile wrote it; keys, fingerprint and pixels are those of the archive on a disk."""
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for n in range(12):
            archive.writestr(f"set/{CLASSES[n % 3]}/{n}.png", dot(n))
        archive.writestr("set/large.bin", bytes(10**6))
    server.put(tmp_path)
    there, here = found(f"{server.url}/set.zip").sets["all"], find_archive(str(tmp_path / "set.zip"), Asked())
    assert here is not None
    assert there.fingerprint == here.sets["all"].fingerprint
    assert sorted(number_in(there.read(place)) for place in range(12)) == list(range(12))
    assert there.ids[0].startswith(f"{server.url}/set.zip/")
    server.forbidden.add("/set.zip")
    assert refused(f"{server.url}/set.zip").why == "the server answers 403 Forbidden"


# ---------------------------------------------------------------- one file


def test_any_part_of_a_file_can_be_read_by_many_threads(server: RangeServer) -> None:
    content = np.random.default_rng(0).bytes(300_001)
    file, wrong = remote(server, content), []
    assert isinstance(file, Placed)
    assert (file.size, file.read(300_000, 50), file.read(300_001, 5), file.read(7, 0)) == (
        300_001,
        content[-1:],
        b"",
        b"",
    )

    def read_some(seed: int) -> None:
        for start, size in np.random.default_rng(seed).integers(0, 300_001, (25, 2)).tolist():
            if file.read(start, size) != content[start : start + size]:
                wrong.append(start)

    threads = [threading.Thread(target=read_some, args=(seed,)) for seed in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert remote(server, b"").size == 0


def test_what_fails_for_a_moment_is_tried_again(server: RangeServer) -> None:
    """Twice 5xx or 429, or a connection that ends in the middle of the bytes."""
    server.answers += [503, 500]
    file = remote(server)
    server.answers += [429, 502]
    assert file.read(256, 3) == b"\x00\x01\x02"
    server.cuts += [0, 1000, 5119]
    assert file.read(0, 5120) == bytes(range(256)) * 20


def test_what_goes_on_failing_is_an_error_after_four_tries(server: RangeServer) -> None:
    file = remote(server)
    server.asked.clear()
    server.answers += [503] * 9
    with pytest.raises(OSError, match="the server answers 503 Service Unavailable, 4 times in a row") as caught:
        file.read(5, 9)
    assert caught.value.errno == errno.EIO
    assert len(server.asked) == 4
    server.answers.clear()
    server.cuts += [3] * 4
    with pytest.raises(OSError, match="4 times in a row"):
        file.read(5, 9)


def test_a_server_that_is_silent_or_gone_is_told(server: RangeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    file = remote(server)
    monkeypatch.setattr(remote_file, "_SILENCE", 0.05)
    server.delay = 0.3  # far longer than the silence that is borne
    with pytest.raises(OSError, match="the server does not answer, 4 times in a row"):
        file.read(5, 9)
    with pytest.raises(OSError, match="4 times in a row"):
        RemoteFile(Address("http://127.0.0.1:9/none.tar"))


def test_a_server_that_gives_only_whole_files_is_refused_at_once(server: RangeServer) -> None:
    server.ranges = False
    server.files["/000.tar"] = bytes(2**27)
    error = refused(f"{server.url}/000.tar")
    assert error.why == "the server gives no parts of files: asked for 1 bytes it sends all 134,217,728"
    (request,) = server.asked
    assert request.sent < 2**25


@pytest.mark.parametrize("marks", [True, False])
def test_a_file_that_became_another_is_not_read_on(server: RangeServer, tmp_path: Path, marks: bool) -> None:
    """By its tag, or where the server gives none by its size; the error names the image."""
    server.marks = marks
    server.put(write_shards(tmp_path / "a", [16, 16]))
    images = found(f"{server.url}/{{000..001}}.tar").sets["all"]
    server.put(write_shards(tmp_path / "b", [16, 16 if marks else 30], first=700))
    with pytest.raises(ImageError, match="it has changed since it was opened") as caught:
        images.read(17)
    assert caught.value.where == f"{server.url}/001.tar/000017.png"
    file = remote(server, b"a" * 99)
    server.files["/a.bin"] = b"b"
    with pytest.raises(OSError, match="changed") as other:
        file.read(50, 9)
    assert other.value.errno == errno.ESTALE


def test_another_part_than_was_asked_for_is_refused(server: RangeServer) -> None:
    file = remote(server)
    server.shift = 512
    with pytest.raises(OSError, match="another part than was asked for: bytes 612-620/10240"):
        file.read(100, 9)


def test_missing_and_forbidden_files_are_told(server: RangeServer, tmp_path: Path) -> None:
    server.put(write_shards(tmp_path, [2, 2]))
    error = refused(f"{server.url}/{{000..004}}.tar")
    assert error.what == "3 of 5 files are missing"
    assert f"{server.url}/002.tar" in str(error.why)
    server.forbidden.add("/001.tar")
    error = refused(f"{server.url}/{{000..001}}.tar")
    assert (error.where, error.why) == (f"{server.url}/001.tar", "the server answers 403 Forbidden")


def test_whole_files_are_taken_up_to_a_size(server: RangeServer) -> None:
    server.ranges = False
    server.files["/m.csv"] = b"x" * 1000
    assert whole(Address(f"{server.url}/m.csv"), 1000) == b"x" * 1000
    with pytest.raises(OSError, match="1,000 bytes or more, and at most 999"):
        whole(Address(f"{server.url}/m.csv"), 999)


# ---------------------------------------------------------------- redirects and secrets


def test_redirects_lead_only_to_the_web(server: RangeServer) -> None:
    server.files["/b.bin"] = bytes(100)
    server.redirects |= {"/there": "/b.bin", "/evil": "file:///etc/passwd", "/round": "/round", "/ftp": "ftp://x/y"}
    assert RemoteFile(Address(f"{server.url}/there")).read(90, 99) == bytes(10)
    for path, words in {
        "/evil": "leads to file:///etc/passwd, which is not followed",
        "/ftp": "leads to ftp://x/y",
        "/round": "leads on more than 5 times",
    }.items():
        with pytest.raises(OSError, match=words):
            RemoteFile(Address(f"{server.url}{path}"))


def test_passwords_stay_with_the_server_they_are_for(server: RangeServer) -> None:
    """And a signed place that has run out is asked for anew."""
    with serving(RangeServer()) as other:
        other.files |= {"/x": bytes(range(200)), "/y": bytes(range(200))}
        server.redirects["/a"] = f"{other.url}/x?Signature={SECRET}"
        file = RemoteFile(Address(server.url.replace("//", f"//me:{SECRET}@") + "/a"))
        assert "authorization" in server.asked[0].headers
        assert "authorization" not in other.asked[0].headers
        assert file.read(7, 3) == bytes([7, 8, 9])
        assert len(server.asked) == 1  # the second read went straight there
        other.forbidden.add("/x")
        server.redirects["/a"] = f"{other.url}/y?Signature={SECRET}"
        assert file.read(70, 3) == bytes([70, 71, 72])


def test_a_signed_place_may_run_out_for_several_threads_at_once(server: RangeServer) -> None:
    """And the connection to the next one may break: it is tried again like any other."""
    with serving(RangeServer()) as other:
        other.files |= {"/x": bytes(range(200)), "/y": bytes(range(200))}
        server.redirects["/a"] = f"{other.url}/x"
        file = RemoteFile(Address(f"{server.url}/a"))
        other.forbidden.add("/x")
        server.redirects["/a"] = f"{other.url}/y"
        other.delay = 0.1  # so that all threads have asked before the first of them is refused
        other.cuts += [1]
        places = range(0, 160, 20)
        with ThreadPoolExecutor(len(places)) as pool:
            parts = list(pool.map(lambda place: file.read(place, 3), places))
        assert parts == [bytes([place, place + 1, place + 2]) for place in places]


def test_no_secret_is_ever_shown(server: RangeServer, tmp_path: Path) -> None:
    """Not in names, ids, notes, errors or the causes that a traceback shows."""
    server.put(write_shards(tmp_path, [3]))
    typed = server.url.replace("//", f"//{SECRET}:{SECRET}@") + f"/000.tar?X-Amz-Signature={SECRET}&x={SECRET}"
    there = found(typed)
    images = there.sets["all"]
    texts = [
        there.name,
        *there.notes,
        images.name,
        *images.ids,
        *images.keys,
        repr(Address(typed)),
        str(Address(typed)),
    ]
    server.forbidden.add("/000.tar")
    for act in (lambda: found(typed), lambda: images.read(1), lambda: found(typed.replace("http", "ftp", 1))):
        with pytest.raises(DataError) as caught:
            act()
        error: BaseException | None = caught.value
        while error is not None:
            texts.append(str(error))
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    assert [text for text in texts if SECRET in text] == []
    assert shown(f"GET https://a:{SECRET}@h/p?q={SECRET} failed") == "GET https://***@h/p?*** failed"


@pytest.mark.parametrize(
    ("typed", "what"),
    [
        ("pipe:curl -s https://x/0.tar", "pipe: addresses run commands"),
        ("ftp://x/0.tar", "addresses that begin with ftp:// are not opened"),
        ("simplecache::https://x/0.tar", "addresses that begin with simplecache::https:// are not opened"),
        ("zip://0.tar::https://x/0.zip", "addresses that begin with zip:// are not opened"),
        ("https:///0.tar", "the address names no server"),
        ("https://127.0.0.1/0.tar.gz", "compressed tar files"),
        ("https://127.0.0.1/0.csv", "data of this kind is not read from afar"),
        ("https://127.0.0.1/train-*.tar", "a web server cannot list its files"),
    ],
)
def test_addresses_that_are_not_opened_are_refused_in_words(typed: str, what: str) -> None:
    assert refused(typed).what.startswith(what)


def test_paths_are_no_addresses(tmp_path: Path) -> None:
    for typed in ("C:\\photos", "photos", "a:b/c", "data::x", "./pipe:x"):
        assert find_address(typed) is None
    write_shards(tmp_path, [3])
    images = recognise(f"file://{tmp_path}/000.tar", Asked()).sets["all"]
    assert number_in(images.read(2)) == 2


# ---------------------------------------------------------------- object stores


def test_object_stores_are_read_through_their_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fsspec's store in memory stands in for S3's: patterns, folders, parts, changes, missing files."""
    from fsspec.implementations.memory import MemoryFileSystem

    files = MemoryFileSystem()
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    monkeypatch.setattr(MemoryFileSystem, "pseudo_dirs", [""])
    monkeypatch.setattr(
        MemoryFileSystem, "_strip_protocol", classmethod(lambda _, path: "/" + path.removeprefix("s3://").strip("/"))
    )
    monkeypatch.setattr(remote_file, "_filesystem", lambda _: files)
    folder = write_shards(tmp_path, [4, 5], prefix="train-")
    write_shards(folder, [3], prefix="test-", first=9)
    for path in folder.iterdir():
        files.pipe_file(f"/bucket/set/{path.name}", path.read_bytes())
    here = find_shard_sets(str(folder), Asked())
    assert here is not None
    for typed in ("s3://bucket/set/*.tar", "s3://bucket/set/", "s3://bucket/set/{train-{000..001},test-000}.tar"):
        there = found(typed)
        assert [images.fingerprint for images in there.sets.values()] == [
            images.fingerprint for images in here.sets.values()
        ]
    assert there.sets["train"].ids[0] == "s3://bucket/set/train-000.tar/000000.png"
    files.pipe_file("/bucket/set/train-001.tar", bytes(99))
    with pytest.raises(ImageError, match="changed since"):
        there.sets["train"].read(8)
    assert refused("s3://bucket/set/train-{000..009}.tar").what == "8 of 10 files are missing"
    assert refused("s3://bucket/none/*.tar").what == "no file has such a name"
    file, give = RemoteFile(Address("s3://bucket/set/train-000.tar")), files.cat_file

    def changed_meanwhile(path: str, **part: int) -> bytes:
        files.pipe_file(path, bytes(file.size))
        return give(path, **part)

    monkeypatch.setattr(files, "cat_file", changed_meanwhile)
    with pytest.raises(OSError, match="changed since"):
        file.read(0, 99)


@pytest.mark.parametrize("scheme", ["s3", "gs", "az", "https"])
def test_a_missing_package_is_told_with_what_installs_it(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("s3fs", "gcsfs", "adlfs", "aiohttp", "fsspec.implementations.http"):
        monkeypatch.setitem(sys.modules, name, None)
    remote_file._filesystem.cache_clear()
    with pytest.raises(UsageError) as caught:
        find_remote(f"{scheme}://bucket/0.tar", Asked())
    assert caught.value.remedy == PACKAGES[scheme]
    remote_file._filesystem.cache_clear()


# ---------------------------------------------------------------- neighbours together


def ahead(server: RangeServer, images: int, room: int, size: int = 100_000) -> ReadAhead:
    content = np.random.default_rng(1).bytes(1000) * (images * size // 1000)
    return ReadAhead(remote(server, content), size, Shelf(room))


def test_neighbours_come_with_few_requests(server: RangeServer) -> None:
    """16 images in a row of a file too large to be kept: three requests, and not a byte twice."""
    file = ahead(server, 40, 2**21)
    server.asked.clear()
    for place in range(16):
        file.read(place * 100_000, 98_500)  # a label and headers between
    assert len(server.asked) <= 4
    for place in range(16, 40):
        file.read(place * 100_000, 98_500)
    assert len(server.asked) <= 8
    assert sum(request.sent for request in server.asked) <= file.size


def test_images_here_and_there_come_alone(server: RangeServer) -> None:
    """What could not be kept until it is asked for is not fetched."""
    file = ahead(server, 60, 2**21)
    server.asked.clear()
    places = [int(place) for place in np.random.default_rng(0).permutation(60)[:20] if place % 2]
    for place in places:
        file.read(place * 100_000, 98_500)
    assert sum(request.sent for request in server.asked) == 98_500 * len(places)


def test_a_set_that_fits_is_fetched_once(server: RangeServer) -> None:
    file = ahead(server, 40, 2**23)
    server.asked.clear()
    for epoch in range(3):
        for place in np.random.default_rng(epoch).permutation(40).tolist():
            file.read(place * 100_000, 100_000)
    assert len(server.asked) == 4  # blocks of a megabyte
    assert sum(request.sent for request in server.asked) == 4_000_000


def test_what_is_kept_stays_within_its_room_and_leaves_with_the_file(server: RangeServer) -> None:
    shelf = Shelf(3 * 2**20)
    content = np.random.default_rng(1).bytes(6 * 2**20)
    files = [ReadAhead(remote(server, content), None, shelf) for _ in range(2)]
    wrong: list[int] = []

    def read_some(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for start in rng.integers(0, len(content), 40).tolist():
            size = int(rng.integers(1, 4000)) if start % 3 else 200_000
            if files[start % 2].read(start, size) != content[start : start + size]:
                wrong.append(start)
            if shelf.used > shelf.room + 2**20:
                wrong.append(-1)

    threads = [threading.Thread(target=read_some, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert 0 < shelf.used <= shelf.room
    files.clear()
    gc.collect()
    assert (shelf.used, shelf.opened) == (0, 0)


def test_a_failed_fetch_is_no_lasting_harm(server: RangeServer) -> None:
    file = ahead(server, 5, 2**22)
    server.answers += [503] * 4
    with pytest.raises(OSError, match="503"):
        file.read(7, 100)
    assert len(file.read(7, 100)) == 100


def test_a_run_never_writes_a_secret_down() -> None:
    for typed in ("https://me:hidden@example.com/train-0.tar", "s3://photos/train-0.tar?X-Amz-Signature=hidden"):
        facts = asked_facts("pretrain", typed, "vit-test", TrainOptions())
        assert facts["data_path"] is None
        assert "hidden" not in json.dumps(facts)
    plain = "https://example.com/train-{000..146}.tar"
    assert asked_facts("pretrain", plain, "vit-test", TrainOptions())["data_path"] == plain

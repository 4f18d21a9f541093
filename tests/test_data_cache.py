"""A cache changes no pixel: not across threads, restarts, processes, kills, flipped bits, changed files, full disks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from storage_faults import LINUX, in_child, mount_small_disk, needs_mounts

from vitreous import console
from vitreous.config import AugmentConfig, PreprocessConfig
from vitreous.data.augmenting.augment import augment, ground, sample_rng
from vitreous.data.feeding.cache import ImageCache, free_memory, stamp_of
from vitreous.data.feeding.cache_file import held_bytes, open_cache_file
from vitreous.data.feeding.loader import training_batches
from vitreous.data.imageset import ImageSet, array_set
from vitreous.data.layouts.folders.folders import class_folders
from vitreous.errors import ImageError
from vitreous.machine import cache_folder

FRAME = PreprocessConfig(image_size=(24, 32))
CROPS: dict[str, dict[str, Any]] = {
    "inception": {},
    "centre": {"crop": "centre"},
    "centre moved": {"crop": "centre", "rotate": 10.0},
    "padded": {"crop": "padded"},
    "resmall": {"crop": "resmall"},
    "resmall moved": {"crop": "resmall", "shift": 0.1},
    "squash": {"crop": "squash", "resize": 40},
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eleven JPEG and PNG files of different sizes."""
    rng = np.random.default_rng(0)
    for number in range(11):
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number}.{'png' if number % 3 else 'jpg'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = rng.integers(0, 256, (5, 7, 3), np.uint8)
        Image.fromarray(small).resize((60 + number, 50 + 2 * number), Image.Resampling.BICUBIC).save(path)
    return tmp_path / "photos"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITREOUS_CACHE", str(tmp_path / "cache"))


def opened(photos: Path) -> ImageSet:
    return class_folders(photos, "photos", keep_empty=True)[0]


def cached(images: ImageSet, kind: Any, crop: str = "inception", **options: Any) -> ImageCache:
    found = ImageCache.for_training(images, FRAME, AugmentConfig(**CROPS[crop]), kind=kind, **options)
    assert found is not None
    return found


def batches(images: ImageSet, cache: ImageCache | None, crop: str = "inception", **options: Any) -> list[bytes]:
    """Nearly three epochs, of which the second and third find everything in the cache."""
    given = {"workers": 0, "first_step": 0, "num_steps": 6, "fast": False, **options}
    found = training_batches(
        images, preprocess=FRAME, augment=AugmentConfig(**CROPS[crop]), seed=2, batch_size=5, micro_batch=5,
        cache=cache, **given,
    )  # fmt: skip
    return [batch.images.tobytes() for batch in found]


def counted(images: ImageSet) -> tuple[ImageSet, list[int]]:
    """The set, and the images that have been read from it, in order."""
    read: list[int] = []

    def reading(index: int) -> np.ndarray:
        read.append(index)
        return images.read(index)

    encoded = images.encoded
    return ImageSet(
        images.name, images.classes, images.ids, images.labels, reading, images.fingerprint, encoded=encoded
    ), read


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(1, 40), st.sampled_from(list(CROPS)),
    st.sampled_from(["cover", "squash"]), st.sampled_from([0.6, 0.875, 1.0]),
)  # fmt: skip
def test_what_is_kept_gives_the_very_views(
    height: int, width: int, rows: int, columns: int, crop: str, resize: Any, ratio: float
) -> None:
    """For any size of image and frame: augmenting what is kept equals augmenting the image."""
    frame = PreprocessConfig(image_size=(rows, columns), resize=resize, crop_ratio=ratio)
    config = AugmentConfig(**{**CROPS[crop], **({"resize": max(rows, columns)} if crop == "squash" else {})})
    image = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    kept = ground(image, config, frame)
    for epoch in range(2):
        whole, again = (augment(each, sample_rng(0, epoch, 0), config, frame) for each in (image, kept))
        assert (whole == again).all()


@pytest.mark.parametrize(
    ("crop", "fast"), [*((crop, False) for crop in CROPS), ("inception", True), ("centre", True), ("resmall", True)]
)
@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_batches_are_those_without_a_cache(photos: Path, kind: str, crop: str, fast: bool) -> None:
    """With threads, and from a restart in the middle that finds what the first process left on disk."""
    images = opened(photos)
    alone = batches(images, None, crop, fast=fast)
    assert alone == batches(images, cached(images, kind, crop, fast=fast), crop, fast=fast, workers=3)
    assert alone[2:] == batches(images, cached(images, kind, crop, fast=fast), crop, fast=fast, first_step=2)


@pytest.mark.parametrize("fast", [False, True])
def test_what_one_way_of_cropping_has_kept_changes_no_other(photos: Path, fast: bool) -> None:
    """Pixels are kept as views of one kind begin: a folder of caches that all kinds have used serves each its own."""
    images = opened(photos)
    for crop in CROPS:
        assert batches(images, None, crop, fast=fast) == batches(
            images, cached(images, "disk", crop, fast=fast), crop, fast=fast
        )


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_each_image_is_read_once(photos: Path, kind: str) -> None:
    images, read = counted(opened(photos))
    cache = cached(images, kind)
    read.clear()
    batches(images, cache)
    assert list(range(11)) == sorted(read)
    if kind == "disk":
        batches(images, cached(images, kind))
        assert not set(read[11:]) - set(range(11))
        assert 11 + 11 == len(read) or 11 == len(read[:11])


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_an_image_that_changes_on_disk_is_read_anew(photos: Path, kind: str) -> None:
    images = opened(photos)
    cache = cached(images, kind)
    before = batches(images, cache)
    path = Path(images.ids[4])
    Image.fromarray(np.full((64, 64, 3), 200, np.uint8)).save(path)
    after = batches(images, cache)
    assert before != after
    assert after == batches(images, None)
    path.unlink()
    with pytest.raises(ImageError) as caught:
        batches(images, cache)
    assert str(path) == caught.value.where


def the_file() -> Path:
    (found,) = (cache_folder() / "images").glob("*.images")
    return found


def test_a_flipped_bit_anywhere_is_noticed(photos: Path) -> None:
    """In the table and in the pixels: a dozen places, one after the other."""
    images = opened(photos)
    alone = batches(images, None)
    assert alone == batches(images, cached(images, "disk"))
    content = the_file().read_bytes()
    rng = np.random.default_rng(0)
    used = np.flatnonzero(np.frombuffer(content, np.uint8))
    for at in rng.choice(used, 12).tolist():
        spoiled = bytearray(content)
        spoiled[at] ^= 1 << int(rng.integers(8))
        the_file().write_bytes(spoiled)
        assert alone == batches(images, cached(images, "disk"), num_steps=6)
    for other in (content[:-1], b"", content[: len(content) // 2], b"x" * len(content)):
        the_file().write_bytes(other)
        assert alone == batches(images, cached(images, "disk"))


RUN = """
import sys
sys.path.insert(0, {tests!r})
import test_data_cache as t
from pathlib import Path
images = t.opened(Path(sys.argv[1]))
cache = t.cached(images, "disk")
print("ready", flush=True)
sys.stdin.readline()
found = t.batches(images, cache, num_steps=int(sys.argv[2]), workers=2)
import hashlib
print(hashlib.sha256(b"".join(found)).hexdigest(), flush=True)
"""


def started(photos: Path, steps: int) -> subprocess.Popen[str]:
    """A process that has opened the cache, and begins when it is sent a line."""
    code = RUN.format(tests=str(Path(__file__).parent))
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(photos), str(steps)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return child


def begin(child: subprocess.Popen[str]) -> None:
    assert child.stdout is not None
    assert child.stdin is not None
    assert "ready" == child.stdout.readline().strip()
    child.stdin.write("\n")
    child.stdin.flush()


@pytest.mark.slow
def test_a_kill_while_writing_leaves_nothing_half_written(photos: Path) -> None:
    """SIGKILL at three moments; then everything that counts as present is whole, and batches are as without."""
    images = opened(photos)
    alone = batches(images, None)
    for moment in (0.0, 0.005, 0.02):
        child = started(photos, 60)
        begin(child)
        time.sleep(moment)  # lets it write for so long
        child.send_signal(signal.SIGKILL)
        child.communicate()
        assert -signal.SIGKILL == child.returncode
        cache = cached(images, "disk")
        for index in range(11):
            kept = cache.find(index)
            assert kept is None or (kept == images.read(index)).all()
    assert alone == batches(images, cached(images, "disk"))


@pytest.mark.parametrize("dies_before", range(1, 5))
def test_a_kill_between_any_two_writes(photos: Path, monkeypatch: pytest.MonkeyPatch, dies_before: int) -> None:
    """The writes of an image are its place, its pixels and its entry: after each the process ends on the spot."""
    images = opened(photos)
    alone = batches(images, None)
    pid = os.fork() if LINUX else pytest.skip("forks")
    if pid == 0:
        from vitreous.data.feeding.cache_file import CacheFile

        write, count = CacheFile._write, [0]

        def dying(self: CacheFile, at: int, content: bytes) -> None:
            count[0] += 1
            if count[0] == 6 + dies_before:
                write(self, at, memoryview(content)[: len(content) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            write(self, at, content)

        monkeypatch.setattr(CacheFile, "_write", dying)
        batches(images, cached(images, "disk"))
        os._exit(0)
    assert signal.SIGKILL == os.waitpid(pid, 0)[1]
    assert alone == batches(images, cached(images, "disk"))
    assert alone == batches(images, cached(images, "disk"))


def test_two_processes_fill_it_at_once(photos: Path) -> None:
    images = opened(photos)
    cached(images, "disk")
    children = [started(photos, 30) for _ in range(2)]
    for child in children:
        begin(child)
    digests = [child.communicate()[0].strip() for child in children]
    assert digests[0] == digests[1] != ""
    cache = cached(images, "disk")
    for index in range(11):
        kept = cache.find(index)
        assert kept is not None
        assert (kept == images.read(index)).all()


def test_what_two_processes_read_at_once_takes_room_once(tmp_path: Path) -> None:
    """Both looked for an image, found nothing and read it: a file with room for few more than all keeps all."""
    files = [open_cache_file(tmp_path, "set", count=4, size=4 * 3072, bound=1 << 20) for _ in range(2)]
    for index in range(4):
        image = np.full((16, 64, 3), index, np.uint8)
        assert [None, None] == [file.find(index, (7, 9)) for file in files]
        for file in files:
            file.keep(index, (7, 9), image)
        for file in files:
            assert (file.find(index, (7, 9)) == image).all()


@needs_mounts
def test_a_full_disk_is_told_once_and_nothing_else_changes(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B5: a disk of 200 kB that fills up while images are put there, after the file has been made."""

    def on_a_small_disk() -> list[str]:
        (tmp_path / "small").mkdir()
        mount_small_disk(tmp_path / "small", 200 << 10)
        os.environ["VITREOUS_CACHE"] = str(tmp_path / "small")
        images, said = opened(photos), []
        alone = batches(images, None)
        monkeypatch.setattr(console, "say", lambda *lines: said.extend(lines))
        cache = cached(images, "disk", limit=150_000)
        (tmp_path / "small" / "ballast").write_bytes(bytes(130_000))
        assert alone == batches(images, cache)
        assert alone == batches(images, cache, workers=3)
        return said

    said = in_child(on_a_small_disk).ok()
    assert 1 == len(said)
    assert "No space left on device" in said[0]


def test_no_folder_to_write_to_is_told_once(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("VITREOUS_CACHE", str(tmp_path / "file"))
    said: list[str] = []
    monkeypatch.setattr(console, "say", lambda *lines: said.extend(lines))
    images = opened(photos)
    assert ImageCache.for_training(images, FRAME, AugmentConfig(), kind="disk") is None
    (line,) = said
    assert "training goes on without" in line


def test_the_bound_holds(photos: Path) -> None:
    """Half of the images fit in: the others are read each time, and nothing is larger than it was allowed to be."""
    images, read = counted(opened(photos))
    half = sum(images.read(index).nbytes for index in range(11)) // 2
    for kind in ("memory", "disk"):
        cache = cached(images, kind, limit=half)
        read.clear()
        assert batches(images, None) == batches(images, cache)
        kept = [found for index in range(11) if (found := cache.find(index)) is not None]
        assert 3 <= len(kept) <= 6
        assert sum(image.nbytes for image in kept) <= half
    assert the_file().stat().st_size <= half + 3 * 4096


def test_files_that_nobody_uses_are_removed(photos: Path) -> None:
    images = opened(photos)
    cached(images, "disk")
    old, month = the_file(), time.time() - 31 * 24 * 3600
    os.utime(old, (month, month))
    cached(images, "disk", "resmall")
    assert not old.exists()


def test_a_file_that_somebody_opens_at_this_moment_is_not_removed(photos: Path) -> None:
    images = opened(photos)
    cached(images, "disk")
    old, month = the_file(), time.time() - 31 * 24 * 3600
    os.utime(old, (month, month))
    with FileLock(old.with_suffix(".lock")):
        cached(images, "disk", "resmall")
    assert old.exists()


def test_a_file_that_another_process_removes_meanwhile_counts_for_nothing(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = opened(photos)
    cached(images, "disk")
    left, glob = the_file(), Path.glob

    def outdated(folder: Path, pattern: str) -> Iterator[Path]:
        yield folder / "gone.images"
        yield from glob(folder, pattern)

    alone = held_bytes(left.parent)
    monkeypatch.setattr(Path, "glob", outdated)
    assert alone == held_bytes(left.parent) > 0
    assert batches(images, None, "resmall") == batches(images, cached(images, "disk", "resmall"), "resmall")


def test_automatic_where_it_helps(photos: Path) -> None:
    def decided(images: ImageSet, **options: Any) -> bool:
        return ImageCache.for_training(images, FRAME, AugmentConfig(), kind="auto", **options) is not None

    images = opened(photos)
    assert decided(images, epochs=3.0)
    assert not decided(images, epochs=1.0)
    assert not decided(images, epochs=3.0, limit=1000)
    pixels = np.zeros((3, 4, 5, 3), np.uint8)
    assert not decided(array_set("held", pixels, np.zeros(3, np.int64), ("a",)), epochs=3.0)


def test_stamps_are_of_the_file_that_holds_the_image(tmp_path: Path) -> None:
    shard = tmp_path / "000.tar"
    shard.write_bytes(b"12345")
    assert (5, shard.stat().st_mtime_ns) == stamp_of(f"{shard}/0001/a.jpg") == stamp_of(str(shard))
    assert stamp_of(str(tmp_path)) is None
    assert stamp_of(str(tmp_path / "gone.jpg")) is None
    assert stamp_of("digits/00012") is None
    assert 2**20 < free_memory() < 2**50

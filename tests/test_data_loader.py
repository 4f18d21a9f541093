"""What is in a batch depends on seed and step alone: not on threads, on how it is cut, or on where a run began."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import plant

from vitreous.config import AugmentConfig, PreprocessConfig
from vitreous.data.augmenting.augment import augment, sample_rng
from vitreous.data.feeding import threads
from vitreous.data.feeding.loader import Batch, evaluation_batches, training_batches
from vitreous.data.feeding.order import batch_members
from vitreous.data.feeding.threads import at_work, in_order
from vitreous.data.imageset import ImageSet, array_set
from vitreous.data.layouts.folders.folders import class_folders
from vitreous.errors import ImageError, ResourceError
from vitreous.picture.preprocess import fit

FRAME = PreprocessConfig(image_size=(6, 10), crop_ratio=1.0, interpolation="bilinear")
MOVING = AugmentConfig(rotate=15.0, shift=0.1)
PIXELS = np.random.default_rng(0).integers(0, 256, (23, 9, 14, 3), np.uint8)
IMAGES = array_set("noise", PIXELS, np.arange(23) % 4, ("a", "b", "c", "d"))


def batches(images: ImageSet = IMAGES, **options: Any) -> Generator[Batch, None, None]:
    settings = {"seed": 5, "batch_size": 8, "micro_batch": 8, "first_step": 0, "num_steps": 4, "workers": 0}
    return training_batches(images, preprocess=FRAME, augment=MOVING, **{**settings, **options})


def whole(parts: list[Batch]) -> dict[int, tuple[bytes, ...]]:
    """Everything in the parts of each step, joined."""
    steps: dict[int, list[Batch]] = {}
    for part in parts:
        steps.setdefault(part.step, []).append(part)
    return {
        step: tuple(
            np.concatenate([getattr(part, name) for part in cut]).tobytes()
            for name in ("images", "labels", "epochs", "indices")
        )
        for step, cut in steps.items()
    }


def test_a_batch_is_what_order_and_augmentation_say() -> None:
    """Written down anew, image by image."""
    for batch in batches():
        epochs, indices = batch_members(seed=5, step=batch.step, batch_size=8, count=23)
        assert (batch.first, batch.last) == (0, True)
        assert batch.mates is None
        assert batch.mate_labels is None
        assert (batch.indices == indices).all()
        assert (batch.epochs == epochs).all()
        assert (batch.labels == indices % 4).all()
        for place, (epoch, index) in enumerate(zip(epochs.tolist(), indices.tolist(), strict=True)):
            expected = augment(PIXELS[index], sample_rng(5, epoch, index), MOVING, FRAME)
            assert (batch.images[place] == expected).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 50), st.integers(1, 60), st.integers(0, 3), st.integers(0, 3))
def test_threads_and_cuts_change_nothing(batch_size: int, micro_batch: int, workers: int, first: int) -> None:
    expected = whole(list(batches(batch_size=batch_size, micro_batch=batch_size)))
    parts = list(batches(batch_size=batch_size, micro_batch=micro_batch, workers=workers, first_step=first))
    assert whole(parts) == {step: content for step, content in expected.items() if step >= first}
    assert all(len(part.images) <= micro_batch for part in parts)
    for step in range(first, 4):
        cut = [part for part in parts if part.step == step]
        assert [part.first for part in cut] == list(range(0, batch_size, micro_batch))
        assert [part.last for part in cut] == [False] * (len(cut) - 1) + [True]
        assert sum(len(part.images) for part in cut) == batch_size


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 4).flatmap(lambda ranks: st.tuples(st.just(ranks), st.integers(1, 6).map(lambda n: n * ranks * 3))),
    st.integers(1, 20),
    st.sampled_from([1, 3]),
    st.integers(0, 2),
)
def test_ranks_cuts_and_mates_change_nothing(
    ranks_and_batch: tuple[int, int], micro_batch: int, repeats: int, workers: int
) -> None:
    """The parts of all ranks make up the undivided batch, and every image's mate is the one a place before it."""
    ranks, batch_size = ranks_and_batch
    share = batch_size // ranks
    options = {"batch_size": batch_size, "repeats": repeats, "num_steps": 2}
    undivided = list(batches(**options, micro_batch=batch_size))
    parts = [
        part
        for rank in range(ranks)
        for part in batches(
            **options,
            micro_batch=micro_batch,
            mates=True,
            workers=workers,
            places=range(rank * share, (rank + 1) * share),
        )
    ]
    assert whole(sorted(parts, key=lambda part: (part.step, part.first))) == whole(undivided)
    assert sum(part.last for part in parts) == 2 * ranks
    for part in parts:
        assert len(part.images) <= micro_batch
        all_of_it = undivided[part.step]
        before = np.arange(part.first - 1, part.first - 1 + len(part.images)) % batch_size
        assert part.mates is not None
        assert (part.mates == all_of_it.images[before]).all()
        assert (part.mate_labels == all_of_it.labels[before]).all()


def test_mates_cost_one_more_image_and_no_more_memory() -> None:
    started: list[int] = []
    (part,) = batches(slow_set(40, started), num_steps=1, mates=True)
    assert len(started) == 9
    assert part.mates is not None
    assert part.mates.base is not None
    assert part.mates.base is part.images.base


def test_a_repeated_image_is_augmented_anew() -> None:
    """Written down anew: the list of 4 images three times, each time with its own random numbers."""
    (batch,) = batches(batch_size=12, micro_batch=12, num_steps=1, repeats=3)
    epochs, indices = batch_members(seed=5, step=0, batch_size=4, count=23)
    for place in range(12):
        epoch, index = int(epochs[place % 4]), int(indices[place % 4])
        expected = augment(PIXELS[index], sample_rng(5, epoch, index, place // 4), MOVING, FRAME)
        assert (batch.images[place] == expected).all()
    assert len({batch.images[place].tobytes() for place in (1, 5, 9)}) == 3


def test_files_give_the_same_batches_with_many_threads(tmp_path: Path) -> None:
    images, _ = class_folders(plant(tmp_path, {"a": 20, "b": 17}), "x", keep_empty=True)
    alone = whole(list(batches(images, batch_size=30)))
    assert whole(list(batches(images, batch_size=30, micro_batch=7, workers=8))) == alone


def test_seeds_differ() -> None:
    assert whole(list(batches(seed=6))) != whole(list(batches(seed=5)))


def slow_set(count: int, started: list[int], *, bad: int | None = None) -> ImageSet:
    """Images that note when they are read; one of them cannot be."""

    def read(index: int) -> np.ndarray:
        started.append(index)
        time.sleep(0.0005)  # as a disk takes: threads get in each other's way
        if index == bad:
            raise ImageError("the file is empty (0 bytes)", where=f"photos/{index}.jpg")
        return np.full((6, 10, 3), index % 256, np.uint8)

    ids = [f"photos/{index}.jpg" for index in range(count)]
    return ImageSet("photos", ("a",), ids, np.zeros(count, np.int64), read)


@pytest.mark.parametrize("workers", [0, 2, 5])
def test_memory_is_bounded(workers: int) -> None:
    """A slow consumer finds only a few batches prepared, however long the run."""
    started: list[int] = []
    stream = batches(slow_set(1000, started), batch_size=32, micro_batch=32, num_steps=1000, workers=workers)
    for taken in range(1, 4):
        next(stream)
        time.sleep(0.1)  # the slow consumer
        assert len(started) <= 32 * taken + 16 * max(2 * workers, 4) + 16
    stream.close()


def image_threads() -> int:
    return sum(thread.name.startswith("vitreous-images") for thread in threading.enumerate())


def test_threads_end_with_the_iterator() -> None:
    before = image_threads()
    for end in ("close", "exhaust", "error"):
        started: list[int] = []
        stream = batches(
            slow_set(50, started, bad=7 if end == "error" else None),
            num_steps=1000 if end != "exhaust" else 3,
            workers=3,
        )
        if end == "close":
            next(stream)
            stream.close()
            read = len(started)
            time.sleep(0.05)  # in which a thread that went on would read more
            assert len(started) == read
        elif end == "exhaust":
            assert len(list(stream)) == 3
        else:
            with pytest.raises(ImageError):
                list(stream)
        assert image_threads() == before


@pytest.mark.parametrize("workers", [0, 3])
def test_an_image_that_vanished_is_named(workers: int) -> None:
    with pytest.raises(ImageError) as caught:
        list(batches(slow_set(20, [], bad=13), num_steps=3, workers=workers))
    assert caught.value.where == "photos/13.jpg"


# ---------------------------------------------------------------- evaluation


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 50), st.integers(0, 3))
def test_evaluation_sees_every_image_once_in_order(batch_size: int, workers: int) -> None:
    seen = []
    for indices, pixels, failed in evaluation_batches(IMAGES, preprocess=FRAME, batch_size=batch_size, workers=workers):
        assert len(indices) <= batch_size
        assert failed == ()
        for index, shown in zip(indices.tolist(), pixels, strict=True):
            assert (shown == fit(PIXELS[index], FRAME)).all()
            seen.append(index)
    assert seen == list(range(23))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 5, 32])
def test_evaluation_hands_back_what_cannot_be_read(batch_size: int, workers: int) -> None:
    images = slow_set(21, [], bad=4)
    found = list(evaluation_batches(images, preprocess=FRAME, batch_size=batch_size, workers=workers))
    assert [index for indices, _, _ in found for index in indices] == [index for index in range(21) if index != 4]
    failures = [failure for _, _, failed in found for failure in failed]
    assert [(failure.path, failure.reason) for failure in failures] == [("photos/4.jpg", "the file is empty (0 bytes)")]
    assert len(found) == -(-21 // batch_size)
    assert all(pixels.shape == (len(indices), 6, 10, 3) for indices, pixels, _ in found)


def test_an_empty_set_has_no_batches() -> None:
    assert list(evaluation_batches(IMAGES.subset([]), preprocess=FRAME, batch_size=4)) == []


# ---------------------------------------------------------------- threads


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(), max_size=30), st.integers(0, 4), st.integers(1, 8))
def test_results_come_in_the_order_of_the_items(items: list[int], workers: int, ahead: int) -> None:
    def slow_square(value: int) -> int:
        time.sleep((value % 3) * 1e-4)  # so that results come in another order
        return value * value

    assert list(in_order(slow_square, items, workers=workers, ahead=ahead)) == [item * item for item in items]


@pytest.mark.parametrize("workers", [0, 3])
def test_an_exception_comes_in_its_place(workers: int) -> None:
    results = in_order(lambda value: 6 // value, [1, 2, 3, 0, 1], workers=workers, ahead=5)
    assert [next(results), next(results), next(results)] == [6, 3, 2]
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.parametrize("given", [0, 1, 2])
def test_threads_that_the_system_refuses_are_done_without(monkeypatch: pytest.MonkeyPatch, given: int) -> None:
    """As in a container with a limit on tasks, or where no memory is left for a thread's stack."""
    start, started = threading.Thread.start, []

    def scarce(thread: threading.Thread) -> None:
        if len(started) == given:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", scarce)
    done = list(in_order(lambda item: item * item, range(40), workers=3, ahead=5))
    assert [item * item for item in range(40)] == done
    assert given == len(started)
    assert not any(thread.is_alive() for thread in started)


def fifo_reader(path: Path, seen: list[int], count: int) -> Any:
    """Reads a pipe for item 5, which hangs until somebody writes to it; other items come at once."""

    def read(item: int) -> int:
        at_work(f"photos/{item}.jpg")
        seen.append(item)
        if item == 5 and seen.count(5) <= count:
            with path.open("rb") as pipe:
                pipe.read()
        return item * item

    return read


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.parametrize("workers", [1, 3])
def test_a_hung_thread_is_replaced_and_the_order_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """A real pipe that nobody writes to holds the first two threads that open it; the third gets through."""
    monkeypatch.setattr(threads, "PATIENCE", 0.1)
    monkeypatch.setattr(threads, "_FAREWELL", 0.05)
    os.mkfifo(pipe := tmp_path / "pipe")
    seen: list[int] = []
    done = list(in_order(fifo_reader(pipe, seen, 2), range(30), workers=workers, ahead=4))
    assert [item * item for item in range(30)] == done
    assert 3 == seen.count(5)
    assert 32 == len(seen)
    end_readers(pipe)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_what_hangs_every_thread_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "PATIENCE", 0.1)
    monkeypatch.setattr(threads, "_FAREWELL", 0.05)
    os.mkfifo(pipe := tmp_path / "pipe")
    seen: list[int] = []
    with pytest.raises(ResourceError, match="3 times for 0") as caught:
        list(in_order(fifo_reader(pipe, seen, 9), range(30), workers=2, ahead=4))
    assert "photos/5.jpg" == caught.value.where
    assert threads.TRIES == seen.count(5)
    end_readers(pipe)


def test_a_slow_thread_that_comes_back_is_not_told_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given up, replaced, and then first with the result after all: it counts once."""
    monkeypatch.setattr(threads, "PATIENCE", 0.1)
    seen: list[int] = []

    def slow(item: int) -> int:
        seen.append(item)
        if item == 2:
            time.sleep(0.25)  # longer than the patience
        return -item

    assert [0, -1, -2, -3, -4] == list(in_order(slow, range(5), workers=1, ahead=2))
    assert 2 <= seen.count(2) <= 3


def end_readers(pipe: Path) -> None:
    """Let the threads that hang on a pipe end."""
    until = time.monotonic() + 5
    while image_threads() and time.monotonic() < until:
        try:
            os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:  # nobody reads it any more
            time.sleep(0.01)
    assert 0 == image_threads()

"""Tar shards: found, indexed by their headers, read where they lie, and trained on in an order no machine changes."""

from __future__ import annotations

import gc
import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_photos import CLASSES
from tar_shards import dot, number_in, write_shards, write_striped_shards, write_tar

import vitreous as vt
from vitreous.config import AugmentConfig, PreprocessConfig
from vitreous.data.checking.readable import places_to_check
from vitreous.data.feeding.loader import training_batches
from vitreous.data.feeding.order import num_lanes
from vitreous.data.imageset import ImageSet
from vitreous.data.layouts.shards import shard_index
from vitreous.data.layouts.shards.shard_index import index_shard, index_shards
from vitreous.data.layouts.shards.shard_labels import class_names, classes_of
from vitreous.data.layouts.shards.shards import find_shards, shard_set
from vitreous.data.sources import open_images, open_splits
from vitreous.data.split import hold_out
from vitreous.errors import DataError, ImageError

FRAME = PreprocessConfig(image_size=(6, 10), crop_ratio=1.0, interpolation="bilinear")


def opened(folder: Path) -> ImageSet:
    """The images in all shards of a folder."""
    return shard_set(sorted(folder.glob("*.tar")), str(folder), class_names(folder))[0]


def refused(data: Any, **options: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        open_splits(data, **{"val": 0.2, "seed": 0, **options})
    return caught.value


# ---------------------------------------------------------------- labels


def labelled(folder: Path, *samples: dict[str, bytes], shard: str = "0.tar", first: int = 0) -> Path:
    """A shard with one dot for each sample, and its other members by ending."""
    write_tar(folder / shard, [
        (f"{n}.{ending}", content)
        for n, sample in enumerate(samples, first)
        for ending, content in {"png": dot(n), **sample}.items()
    ])  # fmt: skip
    return folder


def test_labels_are_numbers_names_or_json(tmp_path: Path) -> None:
    numbers = opened(labelled(tmp_path / "a", {"cls": b"10"}, {"cls": b" 9\n"}, {"json": b'{"label": 10}'}))
    assert (numbers.classes, numbers.labels.tolist()) == (("9", "10"), [1, 0, 1])
    names = opened(labelled(tmp_path / "b", {"cls": b"dog"}, {"json": b'{"class": "cat"}'}, {"cls": b"7"}))
    assert (names.classes, names.labels.tolist()) == (("7", "cat", "dog"), [2, 1, 0])
    two = {"cls": b"dog", "json": b'{"label": "cat"}'}
    both = opened(labelled(tmp_path / "c", two, {"cls": "Ka\u0308se".encode()}))
    assert both.classes == ("dog", "K\u00e4se")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("classes.txt", "ant\nbee\ncow\n"),
        ("classnames.txt", "\ufeffant\r\nbee\r\ncow"),
        ("classes.json", '["ant", "bee", "cow"]'),
        ("classes.json", '{"bee": 1, "ant": 0, "cow": 2}'),
        ("classes.json", '{"2": "cow", "0": "ant", "1": "bee"}'),
    ],
)
def test_class_names_lie_beside_the_shards(tmp_path: Path, file: str, content: str) -> None:
    folder = labelled(tmp_path, {"cls": b"2"}, {"cls": b"ant"}, {"cls": b"2"})
    (folder / file).write_text(content, encoding="utf-8")
    images, notes = shard_set([folder / "0.tar"], "x", class_names(folder))
    assert (images.classes, images.labels.tolist()) == (("ant", "cow"), [1, 0, 1])
    assert notes == ["x: no images of 1 of 3 classes: bee"]


@pytest.mark.parametrize(
    ("texts", "known", "what"),
    [
        (["0", "-1"], None, "labels are below 0: -1"),
        (["0", "3"], ["ant", "bee", "cow"], "1 labels mean none of the 3 classes that are listed: 3"),
        (["ant", "eel"], ["ant", "bee"], "1 labels mean none of the 2 classes that are listed: eel"),
        (["1", "2"], ["0", "2", "1"], "a label may mean the class called 1 or the class with that number"),
    ],
)
def test_labels_without_one_clear_meaning_are_refused(texts: list[str], known: list[str] | None, what: str) -> None:
    with pytest.raises(DataError) as caught:
        classes_of(texts, known, "x")
    assert caught.value.what == what


@pytest.mark.parametrize(
    ("sample", "what"),
    [
        ({"txt": b"a dog"}, "1 of 1 images have no label"),
        ({"cls": b"  "}, "1 of 1 images have no label"),
        ({"cls": b"\xff\xfe"}, "a label is not UTF-8 text"),
        ({"json": b"{"}, "a member is not JSON"),
        ({"json": b'{"label": [1, 2]}'}, "a label must be a whole number or the name of a class"),
        ({"json": b'{"label": true}'}, "a label must be a whole number or the name of a class"),
        ({"cls": bytes(2**20 + 1)}, "a label is too large"),
        ({"jpg": dot(0), "cls": b"0"}, "one sample has two images"),
    ],
)
def test_labels_that_cannot_be_read_are_refused(tmp_path: Path, sample: dict[str, bytes], what: str) -> None:
    with pytest.raises(DataError) as caught:
        opened(labelled(tmp_path, sample))
    assert caught.value.what == what
    assert str(tmp_path / "0.tar") in str(caught.value.where)


def test_the_members_of_a_sample_may_lie_anywhere_in_its_shard(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", [("a.cls", b"1"), ("b/a.PNG", dot(7)), ("a.png", dot(8)), ("b/a.cls", b"0")])
    images = opened(tmp_path)
    assert [(number_in(images.read(place)), int(images.labels[place])) for place in range(2)] == [(7, 0), (8, 1)]


# ---------------------------------------------------------------- finding


def test_every_way_to_name_shards_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shards(tmp_path, [1] * 12, prefix="train-")
    write_shards(tmp_path, [1] * 2, prefix="val-")
    train = [tmp_path / f"train-{n:03d}.tar" for n in range(12)]
    val = [tmp_path / f"val-{n:03d}.tar" for n in range(2)]
    for typed, expected in {
        f"{tmp_path}": {"train": train, "val": val},
        f"{tmp_path}/train-{{000..011}}.tar": {"train": train},
        f"{tmp_path}/train-{{000..004}}.tar": {"train": train[:5]},
        f"{tmp_path}/{{train,val}}-00{{0..1}}.tar": {"train": train[:2], "val": val},
        f"{tmp_path}/t*.tar": {"train": train},
        f"{tmp_path}/train-00?.tar": {"train": train[:10]},
        f"{tmp_path}/val-001.tar": {"val": val[1:]},
        f"{tmp_path}/photos": {},
        f"{tmp_path}/none.tar": {},
    }.items():
        assert find_shards(typed) == expected
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_shards("~/val-{000..001}.tar") == {"val": val}


def test_shards_without_the_names_of_parts_are_one_set(tmp_path: Path) -> None:
    write_shards(tmp_path, [1] * 11)
    os.rename(tmp_path / "010.tar", tmp_path / "9.tar")
    assert [path.name for path in find_shards(str(tmp_path))["all"]][-2:] == ["009.tar", "9.tar"]
    write_shards(tmp_path, [1], prefix="test_")
    with pytest.raises(DataError, match=r"some shards are named after test, but not 000\.tar"):
        find_shards(str(tmp_path))


def test_parts_may_lie_in_folders_of_their_own(tmp_path: Path) -> None:
    """As CLIP_benchmark's sets do, with the class names above."""
    write_shards(tmp_path / "train", [6, 6])
    write_shards(tmp_path / "test", [5], first=12)
    (tmp_path / "classnames.txt").write_text("ant\nbee\ncow\n")
    splits = open_splits(tmp_path, val=0.34, seed=0)
    assert {part: len(images) for part, images in splits.sets.items()} == {"train": 9, "val": 3, "test": 5}
    assert splits.train.classes == ("ant", "bee", "cow")
    assert splits.test is not None
    assert splits.test.keys[0] == "000.tar/000012.png"


def test_two_folders_for_one_part_are_refused(tmp_path: Path) -> None:
    for name in ("train", "val", "validation"):
        write_shards(tmp_path / name, [2])
    assert refused(tmp_path).what == "both val and validation could be the val images"


def test_a_part_of_another_kind_beside_shards_is_not_passed_over(tmp_path: Path) -> None:
    write_shards(tmp_path / "train", [2])
    (tmp_path / "val").mkdir()
    assert list(find_shards(str(tmp_path))) == ["train"]
    (tmp_path / "val" / "ant").mkdir()
    assert refused(tmp_path).what == "no tar shards lie in val, and other things do"


def test_labels_of_thousands_of_digits_are_names() -> None:
    digits = "7" * 5_000
    classes, places = classes_of(["1", digits], None, "here")
    assert ([classes[place] for place in places], len(classes)) == (["1", digits], 2)


def test_a_shard_that_two_patterns_mean_counts_once(tmp_path: Path) -> None:
    write_shards(tmp_path, [1, 1])
    assert find_shards(f"{tmp_path}/{{000,00*}}.tar") == {"all": [tmp_path / "000.tar", tmp_path / "001.tar"]}


def test_labels_in_json_are_composed_after_their_escapes(tmp_path: Path) -> None:
    samples = [{"png": dot(0), "json": json.dumps({"label": "e\u0301"}).encode()}, {"png": dot(1), "cls": "é".encode()}]
    assert opened(labelled(tmp_path, *samples)).classes == ("é",)


def test_what_is_wrong_with_names_is_told(tmp_path: Path) -> None:
    write_shards(tmp_path, [1] * 3)
    for typed, words in {
        f"{tmp_path}/{{000..004}}.tar": "2 of 5 shards are missing",
        f"{tmp_path}/x*.tar": "no file has such a name",
        f"{tmp_path}/000.tar.gz": "compressed tar files",
        f"{tmp_path}/{{0..99999999}}.tar": "more than 100,000 shards",
    }.items():
        with pytest.raises(DataError, match=words):
            find_shards(typed)
    assert refused(tmp_path / "none.tar").what == "there is no such file or folder"


def test_class_folders_beside_a_tar_file_stay_class_folders(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for n in range(3):
            (tmp_path / name / f"{n}.png").write_bytes(dot(n))
    write_shards(tmp_path, [1], prefix="backup-")
    assert open_splits(tmp_path, val=0.3, seed=0).train.classes == ("a", "b")


# ---------------------------------------------------------------- index and cache


def test_the_index_takes_few_bytes(tmp_path: Path) -> None:
    index = index_shards([write_shards(tmp_path, [500]) / "000.tar"])
    arrays = (index.offsets, index.sizes, index.labels, index.name_ends, index.names)
    assert sum(array.nbytes for array in arrays) == 500 * (24 + len("000000.png"))


def test_shards_are_indexed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_shards(tmp_path, [3, 4, 5])
    paths = sorted(folder.glob("*.tar"))
    read: list[Path] = []

    def counted(path: Path) -> shard_index.ShardIndex:
        read.append(path)
        return index_shard(path)

    monkeypatch.setattr(shard_index, "index_shard", counted)
    monkeypatch.setenv("VITREOUS_CACHE", str(tmp_path / "cache"))
    first = opened(folder)
    again = opened(folder)
    assert sorted(read) == paths
    assert (again.fingerprint, list(again.ids), again.shards) == (first.fingerprint, list(first.ids), (3, 4, 5))
    assert (again.labels == first.labels).all()

    os.utime(paths[1], ns=(1, 1))  # written again, perhaps with other content
    opened(folder)
    assert len(read) == 6
    (kept,) = (tmp_path / "cache" / "shards").iterdir()
    for damage in (b"", b"nonsense", kept.read_bytes()[:-1], kept.read_bytes()[:-1] + b"?"):
        kept.write_bytes(damage)
        before = len(read)
        assert opened(folder).fingerprint == first.fingerprint
        assert len(read) == before + 3


def test_a_cache_that_cannot_be_written_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    monkeypatch.setenv("VITREOUS_CACHE", str(tmp_path / "cache"))
    assert len(opened(write_shards(tmp_path / "set", [3]))) == 3


def test_the_fingerprint_follows_content_and_never_the_place(tmp_path: Path) -> None:
    def found(name: str, counts: list[int], first: int = 0) -> str:
        return opened(write_shards(tmp_path / name, counts, first=first)).fingerprint

    assert found("a", [5, 5]) == found("b", [5, 5])
    assert len({found("a", [5, 5]), found("c", [4, 6]), found("d", [5, 5], first=1)}) == 3


# ---------------------------------------------------------------- reading


def test_every_image_is_read_from_its_place(tmp_path: Path) -> None:
    images = opened(write_shards(tmp_path, [7, 1, 12]))
    assert [number_in(images.read(place)) for place in range(20)] == list(range(20))
    assert images.labels.tolist() == [n % 3 for n in range(20)]
    assert images.ids[8] == f"{tmp_path}/002.tar/000008.png"
    assert images.ids[-1] == f"{tmp_path}/002.tar/000019.png"
    assert list(images.keys[6:9]) == ["000.tar/000006.png", "001.tar/000007.png", "002.tar/000008.png"]


def test_many_threads_share_few_open_files(tmp_path: Path) -> None:
    images = opened(write_shards(tmp_path, [2] * 300))

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0

    before = descriptors()
    most, wrong = [0], []

    def read_some(seed: int) -> None:
        for place in np.random.default_rng(seed).integers(0, 600, 300).tolist():
            if number_in(images.read(place)) != place:
                wrong.append(place)
            most[0] = max(most[0], descriptors() - before)

    threads = [threading.Thread(target=read_some, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert most[0] <= 128 + 2 * len(threads)
    del images
    gc.collect()
    assert descriptors() <= before


def test_a_bad_image_is_named_by_shard_and_member(tmp_path: Path) -> None:
    write_tar(tmp_path / "7.tar", [("0.png", dot(0)), ("0.cls", b"0"), ("a/1.png", dot(1)[:40]), ("a/1.cls", b"1")])
    images = opened(tmp_path)
    with pytest.raises(ImageError) as caught:
        list(training_batches(images, preprocess=FRAME, augment=AugmentConfig(), seed=0, batch_size=2, micro_batch=2,
                              first_step=0, num_steps=1))  # fmt: skip
    assert caught.value.where == f"{tmp_path}/7.tar/a/1.png"


def test_a_shard_that_changed_since_is_not_read(tmp_path: Path) -> None:
    images = opened(write_shards(tmp_path, [3, 3]))
    write_shards(tmp_path, [3, 2], first=100)
    with pytest.raises(ImageError, match="changed since") as caught:
        images.read(4)
    assert caught.value.where == f"{tmp_path}/001.tar/000004.png"
    os.unlink(tmp_path / "000.tar")
    with pytest.raises(ImageError, match="No such file"):
        images.read(0)


def test_a_shard_written_while_it_is_indexed_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_shards(tmp_path, [3]) / "000.tar"

    def meanwhile(path: Path) -> shard_index.ShardIndex:
        index = index_shard(path)
        write_shards(tmp_path, [5], first=100)
        return index

    monkeypatch.setattr(shard_index, "index_shard", meanwhile)
    images = shard_set([path], "", None)[0]
    with pytest.raises(ImageError, match="changed since"):
        images.read(0)


# ---------------------------------------------------------------- parts and checks


def test_what_is_held_out_leaves_shards_that_can_be_read_in_a_row(tmp_path: Path) -> None:
    images = opened(write_shards(tmp_path, [30, 1, 29]))
    rest, held = hold_out(images, 0.3, 0)
    for part in (rest, held):
        numbers = [number_in(part.read(place)) for place in range(len(part))]
        assert sorted(numbers) == numbers
        expected = np.bincount(np.digitize(numbers, [30, 31]), minlength=3)
        assert part.shards == tuple(expected[expected > 0])
    assert sum(rest.shards) + sum(held.shards) == 60
    assert rest.subset([5, 3, 40]).shards == (2, 1)
    assert rest.subset([40, 3]).shards == ()
    assert rest.subset([]).shards == ()
    again = held.subset(range(4)).subset([2, 3])
    assert number_in(again.read(1)) == number_in(held.read(3))
    assert again.ids[1] == held.ids[3]


def test_only_a_sample_of_shards_is_read_beforehand_and_that_is_said(tmp_path: Path) -> None:
    images = opened(write_shards(tmp_path, [600, 650]))
    checked = places_to_check(images)
    assert len(checked) == 1000
    assert (np.diff(checked) > 0).all()
    splits = open_splits(tmp_path, val=0.1, seed=0)
    assert splits.notes[0] == f"{tmp_path}: 2 tar shards"
    said = f"{tmp_path}: 1,000 images were read to see whether all can be; training stops at one that cannot"
    assert said in splits.notes


def test_bad_images_of_small_shards_are_found_beforehand(tmp_path: Path) -> None:
    samples: list[dict[str, bytes]] = [{"cls": b"%d" % (n % 2)} for n in range(8)]
    samples[3] = {"png": b"no image", "cls": b"1"}
    labelled(tmp_path, *samples)
    error = refused(tmp_path)
    assert error.what == "1 of 8 images cannot be read"
    assert f"{tmp_path}/0.tar/3.png" in str(error.why)
    splits = open_splits(tmp_path, val=0.3, seed=0, bad_images="skip")
    assert [failure.path for failure in splits.failed] == [f"{tmp_path}/0.tar/3.png"]
    assert sum(splits.train.shards) == len(splits.train)


def test_parts_are_matched_by_class_name(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    labelled(tmp_path, {"cls": b"cat"}, {"cls": b"dog"}, {"cls": b"eel"}, shard="train-0.tar")
    labelled(tmp_path, {"cls": b"eel"}, {"cls": b"cat"}, shard="val-0.tar", first=9)
    splits = open_splits(tmp_path, val=0.2, seed=0)
    assert splits.val is not None
    assert [splits.val.classes[label] for label in splits.val.labels] == ["eel", "cat"]
    assert len(open_images(tmp_path)) == 2
    assert "there is no test part; these are its val images" in capfd.readouterr().err
    labelled(tmp_path, {"cls": b"wolf"}, shard="val-0.tar")
    assert "train) does not know: wolf" in refused(tmp_path).what
    assert refused(f"{tmp_path}/val-*.tar").what == "there are val images but no train images"
    assert refused(labelled(tmp_path / "one", {"cls": b"cat"})).what == "every label is cat"


# ---------------------------------------------------------------- training


def test_any_number_of_processes_sees_the_same_batches(tmp_path: Path) -> None:
    """Parts of 1, 2, 4 and 8 processes make up the same batches, begun anywhere; each reads its own regions."""
    images = opened(write_shards(tmp_path, [25] * 40))
    shown = {}
    for ranks, first in ((1, 0), (2, 0), (4, 7), (8, 0)):
        parts = [
            (batch.step, batch.first + place, int(epoch), int(index), number_in(batch.images[place]))
            for rank in range(ranks)
            for batch in training_batches(
                images, preprocess=FRAME, augment=AugmentConfig(), seed=4, batch_size=64, micro_batch=5,
                first_step=first, num_steps=18, places=range(rank * 64 // ranks, (rank + 1) * 64 // ranks),
            )
            for place, (epoch, index) in enumerate(zip(batch.epochs, batch.indices, strict=True))
        ]  # fmt: skip
        shown[ranks, first] = sorted(parts)
    assert num_lanes(64) == 64
    for (_, first), seen in shown.items():
        assert seen == [each for each in shown[1, 0] if each[0] >= first]
    epoch = [index for _, _, epoch, index, _ in shown[1, 0] if epoch == 0]
    assert sorted(epoch) == list(range(1000))
    assert all(index == number for *_, index, number in shown[1, 0])


@pytest.fixture(scope="module")
def striped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("striped")
    write_striped_shards(folder, "train-", 36, 5)
    return write_striped_shards(folder, "val-", 4, 4, first=5000)


def test_training_and_evaluation_work_on_shards(striped: Path, tmp_path: Path) -> None:
    """pretrain on 40 shards, evaluate on them, finetune from it on a pattern that holds its own images out."""
    quick: dict[str, Any] = {"image_size": 32, "batch_size": 12, "threads": 1, "precision": "float32", "steps": 3}
    run = vt.pretrain(striped, model="vit-test", run=str(tmp_path / "one"), **quick)
    assert (run.result.seen, run.result.expected) == (16, 16)
    assert vt.evaluate(run.folder, striped, split="val").top1 == run.result.top1
    pattern = f"{striped}/train-{{000..035}}.tar"
    tuned = vt.finetune(pattern, model=str(run.folder), run=str(tmp_path / "two"), **quick)
    assert tuned.result.seen == tuned.result.expected == 36
    facts = json.loads((tuned.folder / "run.json").read_text())
    assert facts["data"] == pattern
    assert vt.Predictor(tuned.folder).classes == CLASSES

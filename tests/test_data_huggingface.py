"""Folders that the package `datasets` saved: read with pyarrow alone, mapped into memory; damage is named."""

from __future__ import annotations

import contextlib
import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from table_files import CLASS_LABEL, CLASS_LABELS, IMAGE, NAMES, images, labelled, save, save_dict
from tar_shards import dot, number_in

from vitreous.data.imageset import ImageSet
from vitreous.data.layouts.found import Asked, Found
from vitreous.data.layouts.tables.huggingface import find_saved
from vitreous.data.recognise import recognise
from vitreous.data.sources import open_splits
from vitreous.errors import DataError, ImageError

FEATURES = {"image": IMAGE, "label": CLASS_LABEL}


def found(path: Path) -> Found:
    answer = find_saved(str(path), Asked())
    assert answer is not None
    return answer


def refused(path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        found(path)
    return caught.value


def numbers(images: ImageSet) -> list[int]:
    return [number_in(images.read(place)) for place in range(len(images))]


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    """Of two files with record batches of two rows: pixels, bytes, labels in the names' order, ids and shards."""
    folder = save(tmp_path / "saved", [labelled(range(5)), labelled(range(5, 9))], FEATURES)
    images = recognise(str(folder), Asked()).sets["all"]
    assert images.classes == tuple(NAMES)
    assert images.labels.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    assert numbers(images) == list(range(9))
    assert images.encoded is not None
    assert images.encoded(6) == dot(6)
    assert images.ids[6] == f"{folder}/data-00001-of-00002.arrow#1/6.png"
    assert images.keys[6] == "data-00001-of-00002.arrow#1/6.png"
    assert images.shards == (5, 4)
    assert found(folder).sets["all"].fingerprint == images.fingerprint
    other = save(tmp_path / "other", [labelled(range(5)), labelled([5, 6, 7, 4])], FEATURES)
    assert found(other).sets["all"].fingerprint != images.fingerprint


def test_a_dictionary_of_splits(tmp_path: Path) -> None:
    splits = {"train": [labelled(range(8))], "validation": [labelled(range(8, 12))], "extra": [labelled(range(3))]}
    folder = save_dict(tmp_path / "saved", splits, FEATURES)
    there = found(folder)
    assert {part: numbers(images) for part, images in there.sets.items()} == {
        "train": list(range(8)),
        "val": list(range(8, 12)),
    }
    assert f"{folder}: left out the split extra" in there.notes
    assert len(open_splits(str(folder), val=0.2, seed=0).train) == 8


def test_several_labels_and_names_in_the_schema_alone(tmp_path: Path) -> None:
    column = pa.array([[1], [3, 0], [], [1, 3]])
    features = {"image": IMAGE, "labels": CLASS_LABELS}
    found_table = pa.table({"image": images(range(4)), "labels": column})
    written = {"huggingface": json.dumps({"info": {"features": features}})}
    for name, schema, info in (("a", None, features), ("b", written, {})):
        table = found_table.replace_schema_metadata(schema)
        there = found(save(tmp_path / name, [table], info)).sets["all"]
        assert there.classes == ("zebra", "ant", "2")
        assert there.targets is not None
        rows = there.targets.rows(np.arange(4)).astype(int).tolist()
        assert rows == [[0, 1, 0], [1, 0, 1], [0, 0, 0], [0, 1, 1]]


def test_threads_read_equal_pixels(tmp_path: Path) -> None:
    there = found(save(tmp_path / "a", [labelled(range(30)), labelled(range(30, 50))], FEATURES)).sets["all"]
    order = random.Random(5).choices(range(50), k=200)
    with ThreadPoolExecutor(4) as threads:
        assert [number_in(pixels) for pixels in threads.map(there.read, order)] == order


def test_rows_without_label_or_image(tmp_path: Path) -> None:
    column = pa.array([0, None, 1, None])
    folder = save(tmp_path / "a", [pa.table({"image": images(range(4)), "label": column})], FEATURES)
    error = refused(folder)
    assert error.what == "2 rows have no label"
    assert error.why == "data-00000-of-00001.arrow#1/1.png, data-00000-of-00001.arrow#3/3.png"
    holes = pa.array([{"bytes": dot(0), "path": None}, None, {"bytes": None, "path": "gone.png"}], images([0]).type)
    there = found(save(tmp_path / "b", [pa.table({"image": holes, "label": [0, 1, 0]})], FEATURES)).sets["all"]
    assert number_in(there.read(0)) == 0
    with pytest.raises(ImageError, match=r"the row holds no image(?s:.*)\.arrow#1"):
        there.read(1)
    with pytest.raises(ImageError, match=r"gone\.png"):
        there.read(2)


def test_a_folder_of_the_cache_is_refused_with_the_way_to_save(tmp_path: Path) -> None:
    folder = save(tmp_path / "cache", [labelled(range(4))], FEATURES)
    (folder / "state.json").unlink()
    (folder / "data-00000-of-00001.arrow").rename(folder / "mnist-train.arrow")
    assert refused(folder).remedy == "datasets.load_dataset(NAME).save_to_disk(FOLDER)"
    assert "save_to_disk" in str(refused(folder / "mnist-train.arrow").remedy)


def state(folder: Path, **changes: Any) -> None:
    path = folder / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_what_is_missing_or_strange_is_named(tmp_path: Path) -> None:
    folder = save(tmp_path / "a", [labelled(range(4)), labelled(range(4))], FEATURES)
    state(folder, _indices_data_files=[{"filename": "indices.arrow"}])
    assert "save it again" in str(refused(folder).remedy)
    state(folder, _indices_data_files=[], _data_files=[{"filename": "../../etc/passwd"}])
    assert refused(folder).what == "the data files are not a list of names"
    state(folder, _data_files=[{"filename": "data-00000-of-00002.arrow"}, {"filename": "gone.arrow"}])
    assert refused(folder).what == "1 of 2 Arrow files are missing: gone.arrow"
    (folder / "state.json").write_text("{")
    assert refused(folder).where == str(folder / "state.json")
    whole = save_dict(tmp_path / "b", {"train": [labelled(range(4))]}, FEATURES)
    (whole / "dataset_dict.json").write_text('{"splits": ["train", "../a"]}')
    assert refused(whole).what == "the splits are not a list of names"
    (whole / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert refused(whole).what == "the split test is missing"


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9])
def test_a_file_that_is_cut_off_is_named(tmp_path: Path, share: float) -> None:
    folder = save(tmp_path / "a", [labelled(range(20))], FEATURES)
    path = folder / "data-00000-of-00001.arrow"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    error = refused(folder)
    assert error.what == "the saved dataset is damaged or cut off"
    assert str(folder) in str(error.where)


def test_a_file_that_is_cut_off_between_rows_is_not_a_shorter_one(tmp_path: Path) -> None:
    """Without the mark of its end pyarrow would read it without a word."""
    folder = save(tmp_path / "a", [labelled(range(20))], FEATURES)
    path = folder / "data-00000-of-00001.arrow"
    content = path.read_bytes()
    read_by_pyarrow = 0
    for share in range(8, 1000, 8):
        path.write_bytes(content[: len(content) - share])
        assert refused(folder).what == "the saved dataset is damaged or cut off"
        with contextlib.suppress(pa.ArrowInvalid, OSError), pa.ipc.open_stream(path.read_bytes()) as reader:
            read_by_pyarrow += reader.read_all().num_rows < 20
    assert read_by_pyarrow


def test_a_file_that_is_cut_off_while_it_is_read_kills_nobody(tmp_path: Path) -> None:
    """A file that is mapped into memory would end the process with SIGBUS."""
    folder = save(tmp_path / "a", [labelled(range(200))], FEATURES)
    there = found(folder).sets["all"]
    path = folder / "data-00000-of-00001.arrow"
    assert number_in(there.read(7)) == 7
    path.write_bytes(path.read_bytes()[:500])
    for place in range(200):
        with pytest.raises(ImageError, match=rf"\.arrow#{place}/"):
            there.read(place)
    assert there.ids[199].endswith("#199/199.png")


def test_flipped_bytes_are_refused_or_only_change_what_they_are(tmp_path: Path) -> None:
    """40 files with one to eight bytes flipped: only our own errors, which name the folder; never a crash."""
    content = save(tmp_path / "0", [labelled(range(6))], FEATURES).joinpath("data-00000-of-00001.arrow").read_bytes()
    rng, outcomes = random.Random(3), set()
    for number in range(1, 40):
        folder = save(tmp_path / str(number), [labelled(range(2))], FEATURES)
        damaged = bytearray(content)
        for _ in range(rng.choice((1, 8))):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        (folder / "data-00000-of-00001.arrow").write_bytes(damaged)
        try:
            there = found(folder).sets["all"]
            for place in range(len(there)):
                there.read(place)
            outcomes.add("read")
        except (DataError, ImageError) as error:
            outcomes.add(type(error).__name__ if str(folder) in str(error.where) else f"names no file: {error}")
    assert outcomes == {"read", "DataError", "ImageError"}

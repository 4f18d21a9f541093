"""Parquet files: which column is what, what labels mean, each image read at any place; damage is named."""

from __future__ import annotations

import functools
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from table_files import CLASS_LABEL, CLASS_LABELS, IMAGE, NAMES, OLD_CLASS_LABELS, images, labelled, table, write
from tar_shards import dot, number_in

from vitreous.data.imageset import ImageSet
from vitreous.data.layouts.found import Asked, Found
from vitreous.data.layouts.storage import OpenFile
from vitreous.data.layouts.tables import parquet, parquet_rows
from vitreous.data.layouts.tables.parquet import find_parquet
from vitreous.data.layouts.tables.parquet_pages import OtherwiseStoredError, places_of_values
from vitreous.data.layouts.tables.parquet_snappy import compressed_values
from vitreous.data.recognise import recognise
from vitreous.data.sources import open_splits
from vitreous.errors import DataError, ImageError, UsageError

DOTS = pa.array([dot(number) for number in range(4)])
PHOTOS = {"image": images(range(4))}


def found(path: Path, **asked: Any) -> Found:
    answer = find_parquet(str(path), Asked(**asked))
    assert answer is not None
    return answer


def whole(path: Path, **asked: Any) -> ImageSet:
    return found(path, **asked).sets["all"]


def written(tmp_path: Path, features: dict[str, Any] | None = None, **columns: Any) -> ImageSet:
    """The images of a table of four rows, written and read."""
    return whole(write(tmp_path / "a.parquet", table(features, **columns), as_datasets=False))


def refused(path: Path, **asked: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        found(path, **asked)
    return caught.value


def numbers(images: ImageSet) -> list[int]:
    return [number_in(images.read(place)) for place in range(len(images))]


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize("rows", [1, 3, 100])
@pytest.mark.parametrize("as_datasets", [True, False])
def test_what_was_written_comes_back(tmp_path: Path, rows: int, as_datasets: bool) -> None:
    """Pixels, stored bytes, labels by the names' own order, ids, keys and shards."""
    path = write(tmp_path / "a.parquet", labelled(range(7)), rows=rows, as_datasets=as_datasets)
    images = whole(path)
    assert images.classes == tuple(NAMES)
    assert images.labels.tolist() == [0, 1, 2, 3, 0, 1, 2]
    assert numbers(images) == list(range(7))
    assert images.encoded is not None
    assert images.encoded(5) == dot(5)
    assert images.ids[5] == f"{path}#5/5.png"
    assert images.keys[5] == "a.parquet#5/5.png"
    assert images.shards == {1: (1,) * 7, 3: (3, 3, 1), 100: (7,)}[rows]
    assert recognise(path, Asked()).sets["all"].fingerprint == images.fingerprint


@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "zstd", "brotli", "lz4"])
@pytest.mark.parametrize("page", ["1.0", "2.0"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_however_it_is_stored(tmp_path: Path, codec: str, page: str, dictionary: bool) -> None:
    """Pages of both versions, small and with nulls, compressed or not: equal to what pyarrow reads."""
    content = [dot(n % 5) if n % 3 else None for n in range(50)]
    column = pa.array([{"bytes": each} if n % 7 else None for n, each in enumerate(content)])
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table({"image": column, "label": [n % 2 for n in range(50)]}),
        path,
        compression=codec,
        data_page_version=page,
        use_dictionary=dictionary,
        data_page_size=100,
        write_batch_size=4,
        row_group_size=20,
    )
    images = whole(path)
    assert images.encoded is not None
    for place, row in enumerate(pq.read_table(path)["image"].to_pylist()):
        if row is None or row["bytes"] is None:
            with pytest.raises(ImageError, match="the row holds no image"):
                images.encoded(place)
        else:
            assert images.encoded(place) == row["bytes"], place


def test_threads_read_equal_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four threads, all row groups fought over: only one is kept."""
    monkeypatch.setattr(parquet_rows, "KEPT", 1)
    for codec in ("none", "zstd"):
        path = tmp_path / f"{codec}.parquet"
        pq.write_table(labelled(range(60)), path, compression=codec, use_dictionary=False, row_group_size=7)
        images = whole(path)
        order = random.Random(5).choices(range(60), k=200)
        with ThreadPoolExecutor(4) as threads:
            assert [number_in(pixels) for pixels in threads.map(images.read, order)] == order


def test_only_one_image_is_read(tmp_path: Path) -> None:
    """An uncompressed column is not read as a whole: the places are told from the lengths alone."""
    path = write(tmp_path / "a.parquet", labelled(range(40)), rows=40)
    chunk = pq.read_metadata(path).row_group(0).column(0)
    start, end = chunk.data_page_offset, chunk.data_page_offset + chunk.total_compressed_size
    file = OpenFile(path)
    offsets, sizes = places_of_values(file.read, start, end, 40, 2)
    assert [file.read(int(offset), int(size)) for offset, size in zip(offsets, sizes, strict=True)] == [
        dot(number) for number in range(40)
    ]


@pytest.mark.parametrize("dictionary", [True, False])
def test_snappy_is_decompressed_around_one_image_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dictionary: bool
) -> None:
    """Values below and above Snappy's blocks of 64 KB, that compress well or not at all, and one that comes twice."""
    rng = np.random.default_rng(4)
    values = [rng.bytes(size) for size in (70_000, 0, 65_536, 3, 200_000)]
    values += [bytes(150_000), b"abc" * 40_000, b"", *(rng.integers(0, 4, 90_000, np.uint8).tobytes() for _ in "12")]
    values = [values[place] for place in (0, 1, 5, 2, 6, 7, 3, 8, 4, 9, 0)]
    path = tmp_path / "a.parquet"
    table = pa.table({"image": values, "label": [0, 1] * 5 + [0]})
    pq.write_table(table, path, use_dictionary=dictionary, write_batch_size=5, write_page_checksum=True)
    monkeypatch.setattr(parquet_rows.StoredImages, "_decode", None)
    images = whole(path)
    assert images.encoded is not None
    assert [images.encoded(place) for place in range(11)] == values
    asked: list[int] = []
    monkeypatch.setattr(
        OpenFile, "read", lambda self, start, size, read=OpenFile.read: asked.append(size) or read(self, start, size)
    )
    assert images.encoded(6) == values[6]
    assert sum(asked) <= 3 * 2**16


def test_slow_storage_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row groups that pyarrow has to decode whole, and that cannot all be kept."""
    monkeypatch.setattr(parquet, "KEPT", 3 * 2**20)
    rng = np.random.default_rng(2)
    images = pa.array([rng.bytes(2**20) for _ in range(6)])
    for codec, slow in (("snappy", False), ("none", False), ("zstd", True)):
        path = tmp_path / f"{codec}.parquet"
        pq.write_table(pa.table({"image": images, "label": [0, 1] * 3}), path, compression=codec, row_group_size=3)
        assert any("row groups of up to 3 MB" in note for note in found(path).notes) == slow


def test_a_checksum_that_is_wrong_is_noticed(tmp_path: Path) -> None:
    for codec in ("snappy", "zstd"):
        path = tmp_path / f"{codec}.parquet"
        pq.write_table(labelled(range(4)), path, compression=codec, use_dictionary=False, write_page_checksum=True)
        chunk = pq.read_metadata(path).row_group(0).column(0)
        content = bytearray(path.read_bytes())
        content[chunk.data_page_offset + chunk.total_compressed_size - 9] ^= 1
        path.write_bytes(content)
        with pytest.raises(
            ImageError, match=rf"(?s)the Parquet file cannot be read.*{codec}\.parquet#2.*(checksum|CRC)"
        ):
            whole(path).read(2)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1, 3, 30]))
def test_flipped_bytes_in_compressed_pages_are_refused_or_stay_in_their_value(seed: int, flips: int) -> None:
    """Whatever is damaged in a page, no error but the reader's own, and no value of another length than it says."""
    decompress = functools.partial(pa.decompress, codec="snappy", asbytes=True)

    def unless_damaged(compressed: bytes, size: int) -> bytes:
        try:
            return decompress(compressed, size)
        except (pa.ArrowException, OSError) as error:
            raise OtherwiseStoredError("damaged") from error

    content, rng = bytearray(_SNAPPY_PAGE), random.Random(seed)
    for _ in range(flips):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)

    def read(at: int, size: int) -> bytes:
        return bytes(content[at : at + size])

    try:
        found = compressed_values(read, 0, len(content), 6, 2, unless_damaged)
        values = [found.value(row, read, unless_damaged) for row in range(6)]
    except OtherwiseStoredError:
        return
    assert [-1 if value is None else len(value) for value in values] == found.size.tolist()


def _snappy_page() -> bytes:
    """The column of images of a row group of six rows."""
    sink = pa.BufferOutputStream()
    pq.write_table(labelled(range(6)), sink)
    content = sink.getvalue().to_pybytes()
    chunk = pq.read_metadata(pa.BufferReader(content)).row_group(0).column(0)
    assert chunk.has_dictionary_page
    return content[chunk.dictionary_page_offset :][: chunk.total_compressed_size]


_SNAPPY_PAGE = _snappy_page()


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=80), st.integers(1, 9), st.integers(0, 3))
def test_pages_of_noise_are_refused(content: bytes, rows: int, level: int) -> None:
    """No bytes make the reader of pages hang, or fail in a way that is not its own."""
    try:
        offsets, sizes = places_of_values(lambda at, size: content[at : at + size], 0, len(content), rows, level)
    except OtherwiseStoredError:
        return
    assert len(offsets) == len(sizes) == rows
    assert (offsets + sizes <= len(content)).all()


def test_paths_only(tmp_path: Path) -> None:
    """A struct without bytes, and a column of paths: they lie beside the file."""
    (tmp_path / "in").mkdir()
    for number in range(4):
        (tmp_path / "in" / f"{number}.png").write_bytes(dot(number))
    paths = [f"in/{number}.png" for number in range(4)]
    struct = pa.array([{"bytes": None, "path": path} for path in paths], images([0]).type)
    for column in (struct, pa.array([{"path": path} for path in paths])):
        assert numbers(written(tmp_path, image=column, label=[0, 1, 0, 1])) == list(range(4))
    there = written(tmp_path, file_name=pa.array(paths), label=["b", "a", "b", "a"])
    assert numbers(there) == list(range(4))
    assert there.keys[1] == "a.parquet#1/in/1.png"
    (tmp_path / "in" / "3.png").unlink()
    with pytest.raises(ImageError, match=r"in/3\.png"):
        there.read(3)


def test_a_file_written_anew_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", labelled(range(4)))
    images = whole(path)
    write(path, labelled(range(5)))
    with pytest.raises(ImageError, match=r"(?s)the Parquet file cannot be read.*a\.parquet#2.*changed"):
        images.read(2)


def test_a_file_put_in_the_place_of_one_that_is_decoded_whole_is_noticed(tmp_path: Path) -> None:
    """Pyarrow opens the path for each row group, while we still hold the file that was there."""
    path, other = tmp_path / "a.parquet", tmp_path / "b.parquet"
    for place, first in ((path, 0), (other, 1)):
        column = pa.array([dot(first + number) for number in range(6)])
        pq.write_table(pa.table({"image": column, "label": [0, 1] * 3}), place, compression="gzip", row_group_size=3)
    images = whole(path)
    assert number_in(images.read(0)) == 0
    other.replace(path)
    with pytest.raises(ImageError, match="changed"):
        images.read(3)


def test_files_whose_numbers_stand_for_other_names_are_refused(tmp_path: Path) -> None:
    for name, names in (("a0", NAMES), ("a1", NAMES[::-1])):
        features = {"label": {**CLASS_LABEL, "names": names}}
        write(tmp_path / f"{name}.parquet", table(features, label=[0, 1, 2, 3], **PHOTOS), as_datasets=False)
    error = refused(tmp_path / "a*.parquet")
    assert (error.what, error.where) == ("files differ in the names of their column `label`", f"{tmp_path}/a1.parquet")
    assert error.why == f"0 stands for {NAMES[-1]} here, and for {NAMES[0]} elsewhere"


# ---------------------------------------------------------------- columns


@pytest.mark.parametrize(
    ("columns", "image", "label"),
    [
        ({"img": PHOTOS["image"], "fine_label": [0, 1, 2, 1], "coarse_label": [0, 0, 1, 1]}, "img", "fine_label"),
        ({"png": DOTS, "target": [3, 1, 2, 1], "id": [1, 2, 3, 4]}, "png", "target"),
        ({"Image": DOTS, "mask": DOTS, "Label": ["x", "y", "x", "y"]}, "Image", "Label"),
        ({"image": PHOTOS["image"], "thumb": DOTS, "class": [0, 1, 0, 1]}, "image", "class"),
    ],
)
def test_columns_are_told_by_type_and_name(tmp_path: Path, columns: dict[str, Any], image: str, label: str) -> None:
    path = write(tmp_path / "a.parquet", table(**columns), as_datasets=False)
    assert f"images in `{image}`, labels in `{label}`" in found(path).notes[0]
    assert numbers(whole(path)) == [0, 1, 2, 3]


def test_a_declared_label_needs_no_telling_name(tmp_path: Path) -> None:
    features = {"image": IMAGE, "species": CLASS_LABEL}
    there = written(tmp_path, features, **PHOTOS, species=[3, 0, 1, 3], id=[7, 8, 9, 10])
    assert there.classes == ("zebra", "ant", "2")
    assert there.labels.tolist() == [2, 0, 1, 2]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": PHOTOS["image"], "label": [0, 1, 0, 1], "target": [0, 1, 0, 1]}, "`label` and `target` could be"),
        ({"a": DOTS, "b": DOTS, "label": [0, 1, 0, 1]}, "`a` and `b` could be the image"),
        ({"image": PHOTOS["image"], "x": [0, 1, 0, 1]}, r"no column holds labels(?s:.*)x \(int64\)"),
        ({"x": [0, 1, 0, 1], "label": [0, 1, 0, 1]}, r"no column holds images(?s:.*)x \(int64\), label \(int64\)"),
        ({"image": PHOTOS["image"], "label": [0.5, 1, 0, 1]}, "fractions"),
        ({"image": PHOTOS["image"], "label": DOTS}, "neither numbers nor texts"),
    ],
)
def test_what_cannot_be_told_is_refused(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    error = refused(write(tmp_path / "a.parquet", table(**columns), as_datasets=False))
    with pytest.raises(DataError, match=message):
        raise error


def test_groups(tmp_path: Path) -> None:
    there = {**PHOTOS, "label": [0, 1, 0, 1], "film": ["a", "b", "a", None], "group": [5, 5, 6, 5]}
    path = write(tmp_path / "a.parquet", table(**there), as_datasets=False)
    groups = [whole(path).groups, whole(path, group_by="film").groups, whole(path, group_by="^[^_]+").groups]
    assert [None if each is None else each.tolist() for each in groups] == [[0, 0, 1, 0], [0, 1, 0, 2], None]


def test_without_pyarrow_the_remedy_is_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.parquet", labelled(range(4)))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r'pip install "vitreous\[data\]"'):
        find_parquet(str(path), Asked())


# ---------------------------------------------------------------- labels


@pytest.mark.parametrize(
    ("label", "classes", "labels"),
    [
        (pa.array([7, 3, 12, 3]), ("3", "7", "12"), [1, 0, 2, 0]),
        (pa.array([1, 0, 1, 1], pa.uint8()), ("0", "1"), [1, 0, 1, 1]),
        (pa.array([1.0, 0.0, 2.0, 1.0]), ("0", "1", "2"), [1, 0, 2, 1]),
        (pa.array(["b10", "b2", "a", "b2"]), ("a", "b2", "b10"), [2, 1, 0, 1]),
        (pa.array(["x", "y", "x", "y"]).dictionary_encode(), ("x", "y"), [0, 1, 0, 1]),
        (pa.array(["e\u0301", "\u00e9", "z", "z"]), ("z", "\u00e9"), [1, 1, 0, 0]),
        (pa.array([True, False, True, True]), ("False", "True"), [1, 0, 1, 1]),
        (pa.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), ("0", "1"), [1, 0, 0, 1]),
        (pa.array([[0, 0, 1], [0, 1, 0], [1, 0, 0], [0, 0, 1]]), ("0", "1", "2"), [2, 1, 0, 2]),
    ],
)
def test_one_label(tmp_path: Path, label: pa.Array, classes: tuple[str, ...], labels: list[int]) -> None:
    there = written(tmp_path, **PHOTOS, label=label)
    assert (there.classes, there.labels.tolist(), there.targets) == (classes, labels, None)


@pytest.mark.parametrize(
    ("labels", "feature", "classes", "rows", "soft"),
    [
        ([[1], [3, 0], [], [1, 3]], CLASS_LABELS, ("zebra", "ant", "2"), "010 101 000 011", False),
        ([[1], [3, 0], [], [1, 3]], OLD_CLASS_LABELS, ("zebra", "ant", "2"), "010 101 000 011", False),
        ([[5], [9, 2], [], [9]], None, ("2", "5", "9"), "010 101 000 001", False),
        ([["b"], ["c", "a"], [], ["c"]], None, ("a", "b", "c"), "010 101 000 001", False),
        ([[0, 1, 0], [1, 0, 1], [0, 0, 0], [0, 0, 1]], None, ("0", "1", "2"), "010 101 000 001", False),
    ],
)
def test_several_labels(
    tmp_path: Path, labels: list[Any], feature: Any, classes: tuple[str, ...], rows: str, soft: bool
) -> None:
    features = None if feature is None else {"image": IMAGE, "labels": feature}
    there = written(tmp_path, features, **PHOTOS, labels=pa.array(labels))
    assert there.targets is not None
    assert (there.classes, there.targets.soft) == (classes, soft)
    table = there.targets.rows(np.arange(4)).astype(int)
    assert " ".join("".join(map(str, row)) for row in table.tolist()) == rows


def test_shares_and_probabilities(tmp_path: Path) -> None:
    shares = [[0.25, 0.75, 0.0], [1.0, 0.0, 0.0], [0.2, 0.3, 0.5], [0.0, 0.0, 1.0]]
    for label in (pa.array(shares), pa.array(shares, pa.list_(pa.float32(), 3))):
        there = written(tmp_path, **PHOTOS, label=label)
        assert there.targets is not None
        assert there.targets.soft
        assert there.labels.tolist() == [1, 0, 2, 2]
        assert np.array_equal(there.targets.rows(np.arange(4)), np.float32(shares))
    apart = written(tmp_path, **PHOTOS, label=pa.array([[0.9, 0.8], [0.0, 0.0], [0.5, 0.5], [1.0, 1.0]]))
    assert apart.targets is not None
    assert not apart.targets.soft


@pytest.mark.parametrize(
    ("label", "message", "rows"),
    [
        (pa.array([0, None, 1, None]), "2 rows have no label", [1, 3]),
        (pa.array([[0], None, [1], [0]]), "1 rows have no label", [1]),
        (pa.array([[0], [1], [1, None], [0]]), "1 rows have a label that is null", [2]),
        (pa.array(["a", "", "b", " "]), "2 rows have an empty label", [1, 3]),
        (pa.array([0, 1, -1, 1]), "1 rows have a label below 0", [2]),
        (pa.array([[0], [1], [0], [1, 1]]), "1 rows have a label twice", [3]),
        (pa.array([[0.5, 0.5], [1.5, -0.5], [0, 1], [0, float("nan")]]), "2 rows have a number that is not", [1, 3]),
    ],
)
def test_rows_without_a_meaning_are_named(tmp_path: Path, label: pa.Array, message: str, rows: list[int]) -> None:
    error = refused(write(tmp_path / "a.parquet", table(**PHOTOS, label=label), as_datasets=False))
    assert error.what.startswith(message)
    assert error.why == ", ".join(f"a.parquet#{row}/{row}.png" for row in rows)
    assert "column `label`" in str(error.where)


def test_of_many_rows_ten_are_named(tmp_path: Path) -> None:
    label = pa.array([None if number > 4 else number for number in range(40)])
    path = write(tmp_path / "a.parquet", table(image=images(range(40)), label=label), as_datasets=False)
    error = refused(path)
    assert error.what == "35 rows have no label"
    assert error.why is not None
    assert error.why.startswith("a.parquet#5/5.png, ")
    assert error.why.endswith("a.parquet#14/14.png and 25 more")


def test_a_label_beyond_the_names_is_refused(tmp_path: Path) -> None:
    features = {"image": IMAGE, "label": CLASS_LABEL}
    path = write(tmp_path / "a.parquet", table(features, **PHOTOS, label=[0, 4, 1, 2]))
    assert refused(path).what == "1 rows have a label beyond the 4 classes that the table names"


def test_classes_without_images_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", table({"label": CLASS_LABEL}, **PHOTOS, label=[3, 3, 1, 3]))
    assert whole(path).classes == ("ant", "2")
    assert f"{path}: no images of 2 of 4 classes: zebra, 10" in found(path).notes


# ---------------------------------------------------------------- files


def test_splits_by_name(tmp_path: Path) -> None:
    """As on the hub: data/train-00000-of-00002.parquet; a split of another kind is left out and told."""
    for number in range(2):
        write(tmp_path / "data" / f"train-0000{number}-of-00002.parquet", labelled(range(8 * number, 8 * number + 8)))
    write(tmp_path / "data" / "validation-00000-of-00001-9c4a1b0c.parquet", labelled(range(100, 104)))
    write(tmp_path / "data" / "extra-00000-of-00001.parquet", labelled(range(200, 203)))
    (tmp_path / "README.md").write_text("# a data set")
    there = found(tmp_path)
    assert {part: numbers(images) for part, images in there.sets.items()} == {
        "train": list(range(16)),
        "val": list(range(100, 104)),
    }
    assert there.notes[0] == f"{tmp_path / 'data'}: left out the split extra (1 Parquet files)"
    assert there.sets["train"].keys[9] == "train-00001-of-00002.parquet#1/9.png"
    splits = open_splits(str(tmp_path), val=0.2, seed=0)
    assert (len(splits.train), splits.val and len(splits.val)) == (16, 4)
    pattern = found(tmp_path / "data" / "train-*.parquet")
    assert numbers(pattern.sets["train"]) == list(range(16))


def test_splits_by_folder_and_by_column(tmp_path: Path) -> None:
    write(tmp_path / "a" / "train" / "0000.parquet", labelled(range(4)))
    write(tmp_path / "a" / "test" / "0000.parquet", labelled(range(4, 8)))
    assert {part: numbers(images) for part, images in found(tmp_path / "a").sets.items()} == {
        "train": [0, 1, 2, 3],
        "test": [4, 5, 6, 7],
    }
    path = write(tmp_path / "b.parquet", labelled(range(4), split=["train", "Validation", "train", "test"]))
    there = found(path).sets
    assert {part: numbers(images) for part, images in there.items()} == {"train": [0, 2], "val": [1], "test": [3]}
    assert there["train"].shards == (2,)
    assert "`" in refused(write(path, labelled(range(2), split=["train", "dev2"]))).where


def test_a_test_part_without_labels_is_left_out(tmp_path: Path) -> None:
    """ImageNet's on the hub, for one, has -1 everywhere."""
    write(tmp_path / "train-00000-of-00001.parquet", labelled(range(4)))
    secret = table({"image": IMAGE, "label": CLASS_LABEL}, **PHOTOS, label=[-1] * 4)
    write(tmp_path / "test-00000-of-00001.parquet", secret)
    there = found(tmp_path)
    assert list(there.sets) == ["train"]
    assert f"{tmp_path} (test): left out 4 test images, of which none has a label" in there.notes


def test_missing_and_strange_files(tmp_path: Path) -> None:
    write(tmp_path / "a" / "train-00000-of-00003.parquet", labelled(range(4)))
    lacks = "of the split train there are 1 files, and by their names there should be 3"
    assert refused(tmp_path / "a").what == lacks
    write(tmp_path / "parts" / "train" / "train-00000-of-00003.parquet", labelled(range(4)))
    write(tmp_path / "parts" / "test" / "0.parquet", labelled(range(4)))
    assert refused(tmp_path / "parts").what == lacks
    write(tmp_path / "b" / "train.parquet", labelled(range(4)))
    write(tmp_path / "b" / "more.parquet", labelled(range(4)))
    assert "more.parquet" in refused(tmp_path / "b").what
    write(tmp_path / "c" / "one" / "0.parquet", labelled(range(4)))
    write(tmp_path / "c" / "two" / "0.parquet", labelled(range(4)))
    assert "one, two" in refused(tmp_path / "c").what
    assert refused(tmp_path / "x-*.parquet").what == "no file has such a name"
    write(tmp_path / "d" / "0.parquet", labelled(range(4)))
    write(tmp_path / "d" / "1.parquet", table(**PHOTOS, label=["a", "b", "a", "b"]))
    assert refused(tmp_path / "d").what == "files differ in their column `label`"


def test_beside_class_folders_a_table_is_but_a_file(tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(dot(1))
    write(tmp_path / "predictions.parquet", table(score=[0.5, 0.1], name=["a", "b"]))
    assert find_parquet(str(tmp_path), Asked()) is None
    assert recognise(str(tmp_path), Asked()).sets["all"].classes == ("ant", "bee")


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("as_datasets", [True, False])
def test_a_file_that_is_cut_off_is_named(tmp_path: Path, share: float, as_datasets: bool) -> None:
    path = write(tmp_path / "a.parquet", labelled(range(20)), as_datasets=as_datasets)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    error = refused(path)
    assert (error.what, error.where) == ("the Parquet file is damaged, cut off, or none", str(path))


@pytest.mark.parametrize("as_datasets", [True, False])
def test_flipped_bytes_are_refused_or_only_change_what_they_are(tmp_path: Path, as_datasets: bool) -> None:
    """40 files with one to eight bytes flipped: only our own errors, which name the file; never a crash."""
    path = write(tmp_path / "a.parquet", labelled(range(6)), as_datasets=as_datasets)
    content, rng = path.read_bytes(), random.Random(11)
    outcomes = set()
    for _ in range(40):
        damaged = bytearray(content)
        for _ in range(rng.choice((1, 8))):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            images = whole(path)
            for place in range(len(images)):
                images.read(place)
            outcomes.add("read")
        except (DataError, ImageError) as error:
            outcomes.add(type(error).__name__ if str(path) in str(error.where) else f"names no file: {error}")
    assert outcomes == {"read", "DataError", "ImageError"}


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    content = [dot(0), dot(1)[:40], b"", b"<html>"]
    there = written(tmp_path, image=pa.array(content), label=[0, 1, 0, 1])
    for place in (1, 2, 3):
        with pytest.raises(ImageError, match=rf"a\.parquet#{place}"):
            there.read(place)


@pytest.mark.parametrize("name", ["group", "patient_id", "Patient ID", "lesion"])
def test_images_of_one_thing_stay_together_by_the_column_names_of_manifests(tmp_path: Path, name: str) -> None:
    things = pa.array(["p", "q", "p", "r", "q"])
    path = write(tmp_path / "a.parquet", labelled(range(5), **{name: things}))
    opened = find_parquet(str(path), Asked())
    assert opened is not None
    groups = opened.sets["all"].groups
    assert groups is not None
    assert groups.tolist() == [0, 1, 0, 2, 1]
    assert any(f"images with the same `{name}` stay together" in note for note in opened.notes)


def test_a_column_of_videos_is_no_column_of_groups(tmp_path: Path) -> None:
    videos = pa.array([[number, number + 1] for number in range(5)])
    path = write(tmp_path / "a.parquet", labelled(range(5), video=videos), as_datasets=False)
    opened = find_parquet(str(path), Asked())
    assert opened is not None
    assert opened.sets["all"].groups is None
    assert any("nothing is kept together by video" in note for note in opened.notes)


def test_a_column_that_looks_like_a_division_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", labelled(range(4), subset=["train", "test"] * 2), as_datasets=False)
    opened = find_parquet(str(path), Asked())
    assert opened is not None
    assert any("not divided by subset" in note for note in opened.notes)

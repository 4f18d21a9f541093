"""A table that names images is read as people write it, or refused line by line."""

from __future__ import annotations

import csv
import json
import tracemalloc
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import gradient, png

from vitreous.data.layouts.found import Asked, Found
from vitreous.data.layouts.manifests.listed_files import Faults, normal_path
from vitreous.data.layouts.manifests.manifest import find_manifest
from vitreous.data.layouts.manifests.manifest_labels import Cells, labels_from_cells
from vitreous.data.layouts.manifests.manifest_rows import ManifestRow, open_table, write_manifest
from vitreous.data.recognise import recognise
from vitreous.data.sources import open_images, open_splits
from vitreous.errors import DataError

NAMES = ("a.png", "b.png", "sub/c.png", "d.png", "e.png")


def photos(folder: Path, names: tuple[str, ...] = NAMES) -> Path:
    """A folder with images, each of another size: 7 x 5, 8 x 6 and so on."""
    for place, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(gradient(7 + place, 5 + place), 2))
    return folder


def table(folder: Path, *rows: tuple[object, ...], name: str = "labels.csv", delimiter: str = ",") -> Path:
    """A manifest written by the csv module."""
    with open(folder / name, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return folder / name


def found(path: Path, asked: Asked | None = None) -> Found:
    answer = find_manifest(str(path), asked or Asked())
    assert answer is not None
    return answer


def labels(answer: Found, part: str = "all") -> dict[str, str]:
    images = answer.sets[part]
    return {key: images.classes[label] for key, label in zip(images.keys, images.labels, strict=True)}


def refused(path: Path, asked: Asked | None = None) -> DataError:
    with pytest.raises(DataError) as caught:
        find_manifest(str(path), asked or Asked())
    assert caught.value.exit_code == 3
    return caught.value


ROWS = (("a.png", "cat"), ("b.png", "dog"), ("sub/c.png", "cat"), ("d.png", "eel"))
MEANT = dict(ROWS)


# ---------------------------------------------------------------- as people write them


def test_a_table_names_images_and_what_they_show(tmp_path: Path) -> None:
    path = table(photos(tmp_path), ("file_name", "label"), *ROWS)
    answer = found(path)
    assert labels(answer) == MEANT
    images = answer.sets["all"]
    assert images.classes == ("cat", "dog", "eel")
    assert images.ids[2] == str(tmp_path / "sub/c.png")
    assert [images.read(place).shape for place in range(4)] == [(7, 5, 3), (8, 6, 3), (9, 7, 3), (10, 8, 3)]
    assert np.array_equal(images.read(1), gradient(8, 6))
    assert images.encoded is not None
    assert images.encoded(3) == (tmp_path / "d.png").read_bytes()
    assert answer.notes == ["labels.csv: 4 images, 3 classes"]


@pytest.mark.parametrize(
    ("delimiter", "name", "encoding", "said"),
    [
        (",", "labels.csv", "utf-8", ""),
        (",", "labels.csv", "utf-8-sig", ""),
        (";", "labels.csv", "utf-8", ", semicolons between cells"),
        ("\t", "labels.csv", "utf-8", ", tabs between cells"),
        ("\t", "labels.tsv", "utf-8-sig", ", tabs between cells"),
        ("\t", "labels.csv", "utf-16", ", tabs between cells, in UTF-16"),
    ],
)
def test_spreadsheets_write_tables_in_many_ways(
    tmp_path: Path, delimiter: str, name: str, encoding: str, said: str
) -> None:
    """E9: byte-order marks, semicolons, tabs; lines of Windows."""
    path = table(photos(tmp_path), ("path", "class"), *ROWS, name=name, delimiter=delimiter)
    path.write_bytes(path.read_text(encoding="utf-8").encode(encoding))
    answer = found(path)
    assert labels(answer) == MEANT
    assert answer.notes == [f"{name}: 4 images, 3 classes{said}"]


@pytest.mark.parametrize(
    "header", [("Image Index", "Finding Labels"), ("id", "breed"), ("IMAGE_PATH", "Target"), ("image", "dx"), None]
)
def test_columns_have_many_names_or_none(tmp_path: Path, header: tuple[str, str] | None) -> None:
    path = table(photos(tmp_path), *([header] if header else []), *ROWS)
    assert labels(found(path)) == MEANT


def test_json_lines_are_the_same_table(tmp_path: Path) -> None:
    photos(tmp_path)
    path = tmp_path / "metadata.jsonl"
    path.write_text("\n".join(json.dumps({"file_name": name, "label": label}) for name, label in ROWS))
    by_folder = found(tmp_path)
    assert labels(by_folder) == MEANT
    other = table(tmp_path, ("path", "label"), *ROWS, name="other.csv")
    assert found(path).sets["all"].fingerprint == found(other).sets["all"].fingerprint


def test_a_column_divides_and_another_groups(tmp_path: Path) -> None:
    rows = (
        ("path", "label", "split", "patient_id", "age"),
        ("a.png", "cat", "train", "p7", "3"),
        ("b.png", "dog", "Training", "p7", "4"),
        ("sub/c.png", "cat", "valid", "p2", "5"),
        ("d.png", "dog", "test", "p7", "6"),
        ("e.png", "cat", "train", "", "7"),
    )
    answer = found(table(photos(tmp_path), *rows))
    assert {part: list(images.keys) for part, images in answer.sets.items()} == {
        "train": ["a.png", "b.png", "e.png"],
        "val": ["sub/c.png"],
        "test": ["d.png"],
    }
    groups = [images.groups for images in answer.sets.values()]
    assert [each.tolist() for each in groups if each is not None] == [[0, 0, 2], [1], [0]]
    assert answer.notes == [
        "labels.csv: 5 images, 2 classes",
        "labels.csv: 2 groups by patient_id; 1 without one stands alone",
        "labels.csv: left out columns: age",
        "groups that lie in train and in test, so that test flatters: 1",
    ]


def test_a_group_is_named_by_any_column(tmp_path: Path) -> None:
    rows = [("path", "label", "farm"), *((name, "cat", farm) for name, farm in zip(NAMES, "xyxzy", strict=True))]
    groups = found(table(photos(tmp_path), *rows), Asked(group_by="farm")).sets["all"].groups
    assert groups is not None
    assert groups.tolist() == [0, 1, 0, 2, 1]
    assert found(tmp_path / "labels.csv").sets["all"].groups is None


def test_names_without_endings_are_found(tmp_path: Path) -> None:
    """Kaggle's image_id; the images lie in the only folder that holds them, beside a test folder and its template."""
    photos(tmp_path / "train_images", ("0007.png", "0008.jpg", "0009.png"))
    photos(tmp_path / "test_images", ("0001.png",))
    (tmp_path / "train_images" / "0007.txt").write_text("no image")
    table(tmp_path, ("image_id", "label"), ("0007", "x"), ("0008", "y"), ("0009", "x"), name="train.csv")
    table(tmp_path, ("image_id", "x", "y"), ("0001", "0.5", "0.5"), name="sample_submission.csv")
    answer = found(tmp_path)
    assert labels(answer, "train") == {"0007.png": "x", "0008.jpg": "y", "0009.png": "x"}
    assert answer.sets["train"].read(1).shape == (8, 6, 3)
    assert "train.csv: its images lie in train_images" in answer.notes
    photos(tmp_path / "train_images", ("0008.png",))
    assert refused(tmp_path).why == "line 3: several files could be meant by 0008"


def test_parts_have_manifests_of_their_own(tmp_path: Path) -> None:
    photos(tmp_path)
    table(tmp_path, ("path", "label"), *ROWS[:2], name="train.csv")
    table(tmp_path, ("path", "label"), *ROWS[2:], name="val.csv")
    table(tmp_path, ("path",), ("e.png",), name="test.csv")
    answer = found(tmp_path)
    assert {part: labels(answer, part) for part in answer.sets} == {"train": dict(ROWS[:2]), "val": dict(ROWS[2:])}
    assert "test.csv: left out, it has no column of labels" in answer.notes


def test_folders_of_hugging_face(tmp_path: Path) -> None:
    for part, names in (("train", ("a.png", "b.png")), ("test", ("c.png",))):
        photos(tmp_path / part, names)
        lines = [json.dumps({"file_name": name, "label": 3 + place}) for place, name in enumerate(names)]
        (tmp_path / part / "metadata.jsonl").write_text("\n".join(lines))
    answer = found(tmp_path)
    assert {part: labels(answer, part) for part in answer.sets} == {
        "train": {"a.png": "3", "b.png": "4"},
        "test": {"c.png": "3"},
    }


def test_class_folders_stay_class_folders(tmp_path: Path) -> None:
    """A table of something else beside them is no manifest."""
    photos(tmp_path, ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"))
    table(tmp_path, ("image", "label"), ("elsewhere.png", "x"), name="labels.csv")
    table(tmp_path, ("path", "predicted"), ("cat/1.png", "dog"), name="predictions.csv")
    assert find_manifest(str(tmp_path), Asked()) is None
    assert open_images(tmp_path).classes == ("cat", "dog")
    answer = recognise(str(tmp_path), Asked())
    assert answer.notes == [f"{tmp_path}: labels are the folders' names; left out labels.csv, predictions.csv"]


@pytest.mark.parametrize("content", ["path,label\nimages/a.png,K\xe4se\n".encode("latin-1"), b"", b"path,path\n"])
def test_a_damaged_manifest_beside_a_folder_of_images_is_not_passed_over(tmp_path: Path, content: bytes) -> None:
    """The folder would be taken for the only class."""
    photos(tmp_path, ("images/a.png", "images/b.png"))
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(DataError) as caught:
        recognise(str(tmp_path), Asked())
    assert str(caught.value.where).startswith(str(tmp_path / "labels.csv"))


def test_a_manifest_trains(tmp_path: Path) -> None:
    names = tuple(f"{number}.png" for number in range(20))
    rows = [(name, "ab"[place % 2]) for place, name in enumerate(names)]
    splits = open_splits(table(photos(tmp_path, names), ("path", "label"), *rows), val=0.2, seed=0)
    assert {part: len(images) for part, images in splits.sets.items()} == {"train": 16, "val": 4}


# ---------------------------------------------------------------- several labels, and shares of them


def rows_of(answer: Found) -> list[dict[str, float]]:
    images = answer.sets["all"]
    assert images.targets is not None
    rows = images.targets.rows(np.arange(len(images)))
    return [
        {images.classes[place]: round(float(row[place]), 6) for place in np.flatnonzero(row).tolist()} for row in rows
    ]


@pytest.mark.parametrize(
    "cells",
    [
        ("cat|dog", "dog", "eel"),
        ("cat; dog", "dog", "eel"),
        ('["cat", "dog"]', "dog", '["eel"]'),
        ("cat,dog", "dog", "eel"),
        ('{"cat": 1, "dog": 1}', '{"dog": 1, "eel": 0}', '{"eel": 1}'),
    ],
)
def test_several_labels_stand_in_one_cell(tmp_path: Path, cells: tuple[str, ...]) -> None:
    rows = zip(NAMES, cells, strict=False)
    answer = found(table(photos(tmp_path), ("path", "labels"), *rows))
    assert rows_of(answer) == [{"cat": 1, "dog": 1}, {"dog": 1}, {"eel": 1}]
    assert answer.sets["all"].targets is not None
    assert not answer.sets["all"].targets.soft


def test_commas_may_belong_to_names(tmp_path: Path) -> None:
    """ImageNet's class 0 is "tench, Tinca tinca"."""
    path = table(photos(tmp_path), ("path", "label"), ("a.png", "tench, Tinca tinca"), ("b.png", "crane"))
    answer = found(path)
    assert answer.sets["all"].classes == ("crane", "tench, Tinca tinca")
    assert answer.notes[1] == "labels.csv: label: commas belong to the names of classes, as in tench, Tinca tinca"
    table(tmp_path, ("path", "label"), ("a.png", "cat,dog"), ("b.png", "dog"), ("d.png", "cat"))
    assert rows_of(found(path)) == [{"cat": 1, "dog": 1}, {"dog": 1}, {"cat": 1}]


def test_two_signs_between_labels_are_refused(tmp_path: Path) -> None:
    path = table(photos(tmp_path), ("path", "label"), ("a.png", "cat|dog"), ("b.png", "dog;eel"))
    assert refused(path).what == "both | and ; stand in the column label, and either may lie between labels"


def test_shares_of_labels(tmp_path: Path) -> None:
    path = table(photos(tmp_path), ("path", "label"), ("a.png", '{"cat": 0.7, "dog": 0.3}'), ("b.png", '{"eel": 1}'))
    answer = found(path)
    assert rows_of(answer) == [{"cat": 0.7, "dog": 0.3}, {"eel": 1.0}]
    targets = answer.sets["all"].targets
    assert targets is not None
    assert targets.soft
    table(tmp_path, ("path", "label"), ("a.png", '{"cat": 0.7, "dog": 0.2}'), ("b.png", '{"cat": -1}'))
    assert refused(path).why == (
        "line 2: the shares of its classes make 0.9 together, and not 1\n"
        "        line 3: cat has the share -1, and no number from 0 to 1"
    )


def test_a_column_for_each_class(tmp_path: Path) -> None:
    """ISIC's ground truth: one 1 in each row is one label, in the order of the columns."""
    header = ("image", "MEL", "NV", "BCC", "patient_id")
    path = table(photos(tmp_path), header, ("a", "0.0", "1.0", "0.0", "q"), ("b", "1.0", "0.0", "0.0", "q"))
    answer = found(path)
    assert answer.sets["all"].classes == ("MEL", "NV")
    assert labels(answer) == {"a.png": "NV", "b.png": "MEL"}
    assert f"{path}: no images of 1 of 3 classes: BCC" in answer.notes
    table(tmp_path, header, ("a", "1", "1", "0", "q"), ("b", "0", "0", "0", "q"), ("d", "0", "0", "1", "q"))
    assert rows_of(found(path)) == [{"MEL": 1, "NV": 1}, {}, {"BCC": 1}]
    table(tmp_path, header, ("a", "0.25", "0.5", "0.25", "q"), ("b", "0", "1", "0", "q"))
    assert rows_of(found(path)) == [{"MEL": 0.25, "NV": 0.5, "BCC": 0.25}, {"NV": 1}]
    table(tmp_path, header, ("a", "0.25", "0.5", "0.5", "q"), ("b", "0", "1", "0", "q"))
    assert refused(path).why == "line 2: the shares of its classes make 1.25 together, and not 1"


# ---------------------------------------------------------------- what is refused, by line


def test_faults_are_told_by_the_lines_of_an_editor(tmp_path: Path) -> None:
    """E9: a cell with line ends counts as many lines; all kinds of faults are told together, in order."""
    path = photos(tmp_path) / "labels.csv"
    path.write_text(
        "path,label,remark\n"
        'a.png,cat,"two\nlines"\n'  # lines 2 and 3
        "\n"
        "nowhere.png,cat,x\n"  # 5
        "b.png,,x\n"
        "d.png,dog\n"
        "a.png,cat,again\n"
        "a.png,dog,again\n"
        "../outside.png,dog,x\n"  # 10
        "sub,dog,x\n"
        "sub/../e.png,dog,x\n"
        "A.png,dog,x\n"
    )
    error = refused(path)
    assert error.what == "8 faults in 10 rows"
    assert error.where == str(path)
    assert error.why is not None
    assert error.why.split("\n        ") == [
        "line 5: there is no file nowhere.png",
        "line 6: no label",
        "line 7: 2 cells, and not 3 as in the first line",
        "line 8: a.png stands already in line 2",
        "line 9: a.png has another label here than in line 2",
        f"line 10: ../outside.png leads out of {tmp_path}",
        "line 11: sub is no ordinary file",
        "line 13: there is no file A.png",
    ]


def test_the_first_ten_of_many_faults(tmp_path: Path) -> None:
    rows = [(f"{number}.png", "cat") for number in range(1234)]
    error = refused(table(photos(tmp_path), ("path", "label"), ("a.png", "cat"), *rows))
    assert error.what == "1,234 faults in 1,235 rows"
    assert error.why is not None
    told = error.why.split("\n        ")
    assert (told[0], told[9], told[10:]) == (
        "line 3: there is no file 0.png",
        "line 12: there is no file 9.png",
        ["... and 1,224 more"],
    )
    assert error.remedy == f"names count from {tmp_path}"


def test_letters_of_another_size_are_pointed_out(tmp_path: Path) -> None:
    error = refused(table(photos(tmp_path), ("path", "label"), ("A.PNG", "cat"), ("b.png", "dog")))
    assert error.remedy == f"names count from {tmp_path}; a.png is there: capital letters count"


def test_numbers_mean_listed_classes(tmp_path: Path) -> None:
    path = table(photos(tmp_path), ("path", "label"), ("a.png", "1"), ("b.png", "0"), ("d.png", "dog"))
    (tmp_path / "classes.txt").write_text("zebra\ndog\nant\n")
    answer = found(path)
    assert labels(answer) == {"a.png": "dog", "b.png": "zebra", "d.png": "dog"}
    assert answer.sets["all"].classes == ("zebra", "dog")
    table(tmp_path, ("path", "label"), ("a.png", "1"), ("b.png", "3"), ("d.png", "-1"), ("e.png", "Dog"))
    assert refused(path).why == (
        "line 3: label 3 is none of the 3 classes that are listed (zebra, dog, ant)\n"
        "        line 4: label -1 is below 0\n"
        "        line 5: label Dog is none of the 3 classes that are listed (zebra, dog, ant)"
    )


def test_numbers_are_in_order_and_called_as_they_are_written(tmp_path: Path) -> None:
    path = table(photos(tmp_path), ("path", "label"), ("a.png", "010"), ("b.png", "002"), ("d.png", "002"))
    assert found(path).sets["all"].classes == ("002", "010")
    table(tmp_path, ("path", "label"), ("a.png", "2"), ("b.png", "02"))
    assert refused(path).what == "labels 02 and 2 are the same number"


def test_paths_of_windows(tmp_path: Path) -> None:
    """E9."""
    answer = found(table(photos(tmp_path), ("path", "label"), ("sub\\c.png", "cat"), ("a.png", "dog")))
    assert labels(answer) == {"sub/c.png": "cat", "a.png": "dog"}
    assert "labels.csv: paths of Windows, each \\ read as /" in answer.notes
    error = refused(table(tmp_path, ("path", "label"), ("C:\\photos\\c.png", "cat"), ("a.png", "dog")))
    assert error.why == "line 2: there is no file C:/photos/c.png (a path of Windows)"


def test_absolute_paths_have_keys_that_hold_elsewhere(tmp_path: Path) -> None:
    photos(tmp_path / "far", ("x/1.png", "y/1.png"))
    (tmp_path / "here").mkdir()
    rows = ((tmp_path / "far/x/1.png", "cat"), (tmp_path / "far/y/1.png", "dog"))
    answer = found(table(tmp_path / "here", ("path", "label"), *rows))
    assert labels(answer) == {"x/1.png": "cat", "y/1.png": "dog"}
    assert answer.sets["all"].read(1).shape == (8, 6, 3)
    assert answer.notes[1:] == ["labels.csv: 2 paths are absolute and hold on this machine only"]


def test_names_in_both_spellings_of_unicode(tmp_path: Path) -> None:
    photos(tmp_path, ("Ka\u0308se.png", "\u00d6l.png"))
    answer = found(table(tmp_path, ("path", "label"), ("K\u00e4se.png", "e\u0301"), ("O\u0308l.png", "\u00e9")))
    assert labels(answer) == {"K\u00e4se.png": "\u00e9", "\u00d6l.png": "\u00e9"}
    assert answer.sets["all"].read(0).shape == (7, 5, 3)


@pytest.mark.parametrize(
    ("content", "what", "where"),
    [
        ("path,label\na.png,Käse\n".encode("latin-1"), "the manifest is not text in UTF-8", ", line 2"),
        ("path,label\n".encode("utf-16-le"), "the manifest is not text in UTF-8", ""),
        (b"", "the manifest is empty", ""),
        (b"path,label\n", "there is no image in the manifest", ""),
        (b"x,y,z\n1,2,3\n", "no column holds the paths of images", ""),
        (b"path,x,y\na.png,u,v\n", "no column is called label", ""),
        (b"path,label,label\na.png,u,v\n", "two columns are called label", ", line 1"),
        (b'path,label\na.png,"cat\nb.png,dog\n', "the manifest cannot be read from some line on", ", line 2"),
        (b"path\na.png\n", "no column holds the labels", ""),
    ],
)
def test_what_is_no_manifest_is_told_in_one_message(tmp_path: Path, content: bytes, what: str, where: str) -> None:
    path = photos(tmp_path) / "labels.csv"
    path.write_bytes(content)
    error = refused(path)
    assert (error.what, error.where) == (what, f"{path}{where}")


def test_json_lines_that_cannot_be_read(tmp_path: Path) -> None:
    path = photos(tmp_path) / "labels.jsonl"
    path.write_text('{"path": "a.png", "label": 3}\n{"path": "b.png"\n[1]\n\n{"path": "b.png", "label": null}\n')
    error = refused(path)
    assert error.why is not None
    told = error.why.split("\n        ")
    assert told[0].startswith("line 2: no JSON: ")
    assert told[1:] == ["line 3: no JSON object in braces: [1]", "line 5: no label"]


def test_a_split_of_an_unknown_name(tmp_path: Path) -> None:
    path = table(photos(tmp_path), ("path", "label", "split"), ("a.png", "x", "train"), ("b.png", "x", "fold3"))
    assert refused(path).why == "line 3: the split is fold3, and none of train, val and test"


def test_two_manifests_in_one_folder(tmp_path: Path) -> None:
    table(photos(tmp_path), ("path", "label"), *ROWS)
    table(tmp_path, ("path", "label"), *ROWS, name="metadata.tsv", delimiter="\t")
    assert refused(tmp_path).what == "labels.csv and metadata.tsv could both be the manifest"


def test_a_list_as_python_writes_it(tmp_path: Path) -> None:
    path = table(photos(tmp_path), ("path", "labels"), ("a.png", ["cat", "dog"]))
    assert refused(path).why is not None
    assert str(refused(path).why).startswith("line 2: ['cat', 'dog'] is a list as Python writes it")


def test_memory_stays_flat(tmp_path: Path) -> None:
    """A row takes its name and some numbers: below 150 bytes; a path and a name as Python objects take 300."""
    photos(tmp_path, ("a.png",))
    count = 1500
    rows = [(f"{number:06d}.png", "cat") for number in range(count)]
    for name, _ in rows:
        (tmp_path / name).hardlink_to(tmp_path / "a.png")
    path = table(tmp_path, ("path", "label"), *rows)
    tracemalloc.start()
    try:
        answer = found(path)
        everything = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    assert len(answer.sets["all"]) == count
    # what is imported on the way, or compiled to check types, is not a row's
    rooms = [tracemalloc.Filter(True, f"*/{where}") for where in ("vitreous/*", "pathlib.py", "posixpath.py", "csv.py")]
    places = everything.filter_traces(rooms).statistics("lineno")
    assert sum(place.size for place in places) / count < 150, places[:5]


# ---------------------------------------------------------------- writing one


def test_what_is_written_reads_back_to_the_same(tmp_path: Path) -> None:
    photos(tmp_path, ("a.png", ' b, "c"\n.png', "sub/back\\slash.png"))
    rows = [
        ManifestRow("a.png", ("cat",), "train", "p1"),
        ManifestRow(' b, "c"\n.png', ("dog",), "train", "p1"),
        ManifestRow("sub/back\\slash.png", ("cat",), "test", "p2"),
    ]
    write_manifest(tmp_path / "clean.csv", rows)
    answer = found(tmp_path / "clean.csv")
    assert labels(answer, "train") | labels(answer, "test") == {row.path: row.labels[0] for row in rows}
    assert [images.groups.tolist() for images in answer.sets.values() if images.groups is not None] == [[0, 0], [1]]
    with open(tmp_path / "clean.csv", encoding="utf-8", newline="") as file:
        assert next(csv.reader(file)) == ["path", "label", "split", "group"]
    write_manifest(tmp_path / "clean.csv", [ManifestRow("a.png", ("cat", "dog")), ManifestRow(rows[1].path, ("dog",))])
    assert rows_of(found(tmp_path / "clean.csv")) == [{"cat": 1, "dog": 1}, {"dog": 1}]
    assert (tmp_path / "clean.csv").read_text().startswith("path,labels\na.png,cat|dog\n")


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


TEXT = st.text(
    st.one_of(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), st.sampled_from(' ,;|"\n\r\t\\/[{')),
    min_size=1,
    max_size=12,
)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(TEXT, st.lists(TEXT, max_size=3, unique_by=_composed).map(tuple), TEXT), min_size=1, max_size=5)
)
def test_any_names_survive_writing(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, tuple[str, ...], str]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    write_manifest(path, [ManifestRow(name, shown, group=group) for name, shown, group in rows])
    with open(path, encoding="utf-8", newline="") as file:
        assert len(list(csv.reader(file, strict=True))) == 1 + len(rows)
    read, faults = open_table(path), Faults("")
    column, names, groups = Cells(), [], []
    for _, cells in read.rows(faults):
        names.append(cells[0])
        column.append(cells[1])
        groups.append(cells[2])
    assert [normal_path(name) for name in names] == [normal_path(name) for name, _, _ in rows]
    assert groups == [group for _, _, group in rows]
    meant = labels_from_cells([(column, range(len(rows)), faults)], None, "labels")[0]
    starts = [0, *meant.ends.tolist()[:-1]]
    back = [
        {meant.texts[code] for code in meant.entries[start:end].tolist()}
        for start, end in zip(starts, meant.ends.tolist(), strict=True)
    ]
    assert faults.count == 0
    assert back == [{_composed(label) for label in shown} for _, shown, _ in rows]


def test_a_name_that_would_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written as UTF-8"):
        write_manifest(tmp_path / "clean.csv", [ManifestRow("\udcff.png", ("cat",))])
    with pytest.raises(DataError, match="has a NUL in it"):
        write_manifest(tmp_path / "clean.csv", [ManifestRow("a.png", ("cat\0dog",))])
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_only_a_later_json_record_has_is_not_passed_over(tmp_path: Path) -> None:
    path = photos(tmp_path) / "labels.jsonl"
    path.write_text('{"path": "a.png", "label": "cat"}\n{"path": "b.png", "label": "dog", "split": "test"}\n')
    with pytest.raises(DataError, match="line 2: split is no key of the first record"):
        find_manifest(str(path), Asked())


def test_json_nested_too_deeply_is_a_fault_of_its_line(tmp_path: Path) -> None:
    path = photos(tmp_path) / "labels.jsonl"
    path.write_text('{"path": "a.png", "label": "cat"}\n' + "[" * 200_000 + "\n")
    with pytest.raises(DataError, match="line 2: no JSON"):
        find_manifest(str(path), Asked())


def test_a_row_at_fault_is_counted_once(tmp_path: Path) -> None:
    photos(tmp_path)
    (tmp_path / "labels.csv").write_text("path,label,split\na.png,cat,train\nb.png,dog,trian\nsub/c.png,cat\n")
    with pytest.raises(DataError, match=r"^2 faults in 3 rows"):
        found(tmp_path)


def test_rows_without_a_group_in_two_files_of_one_name_have_nothing_in_common(tmp_path: Path) -> None:
    for part in ("train", "test"):
        photos(tmp_path / part, ("a.png", "b.png", "c.png"))
        rows = f"a.png,cat,\nb.png,dog,\nc.png,cat, {part} \n"
        (tmp_path / part / "metadata.csv").write_text(f"file_name,label,patient\n{rows}")
    answer = found(tmp_path)
    groups = [images.groups for images in answer.sets.values() if images.groups is not None]
    assert len(set(np.concatenate(groups).tolist())) == 6
    assert not [note for note in answer.notes if "flatters" in note]

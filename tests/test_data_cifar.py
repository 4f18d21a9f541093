"""CIFAR's pickles are read and never run; every form of the files gives the pictures that torchvision gives."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import pickletools
import random
import struct
import subprocess
import sys
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import oracles
import pytest

from vitreous.data.imageset import ImageSet
from vitreous.data.layouts.arrays.cifar import find_cifar
from vitreous.data.layouts.arrays.safe_pickle import read_pickled_dict
from vitreous.data.layouts.found import Asked, Found
from vitreous.data.recognise import recognise
from vitreous.data.sources import open_splits
from vitreous.errors import DataError

TEN = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
FINE, COARSE = [f"fine{n:02d}" for n in range(100)], [f"coarse{n}" for n in range(20)]
CODE = b"import pathlib; pathlib.Path('pwned').touch()"


def batch(count: int, seed: int, classes: int = 10) -> dict[str, Any]:
    """One batch, as CIFAR-10's are."""
    rng = np.random.default_rng(seed)
    return {
        "batch_label": f"training batch {seed} of 5",
        "labels": rng.permutation(count * classes)[:count].astype(int).__mod__(classes).tolist(),
        "data": rng.integers(0, 256, (count, 3072), np.uint8),
        "filenames": [f"käfer_s_{seed:03d}{n:03d}.png".replace("ä", "ae") for n in range(count)],
    }


def python2(value: Any) -> bytes:
    """Protocol 2 as Python 2 and NumPy 1 wrote it, by the format's definition: text is SHORT_BINSTRING or BINSTRING."""

    def text(content: bytes) -> bytes:
        if len(content) < 256:
            return b"U" + bytes([len(content)]) + content
        return b"T" + struct.pack("<i", len(content)) + content

    def whole(number: int) -> bytes:
        return b"K" + bytes([number]) if number < 256 else b"J" + struct.pack("<i", number)

    def written(value: Any) -> bytes:
        match value:
            case dict():
                return b"}q\x01(" + b"".join(written(each) for pair in value.items() for each in pair) + b"u"
            case list():
                return b"]q\x02(" + b"".join(map(written, value)) + b"e"
            case str():
                return text(value.encode("latin-1"))
            case int():
                return whole(value)
            case _:
                kind = (
                    b"cnumpy\ndtype\nq\x03U\x02u1K\x00K\x01\x87Rq\x04(K\x03U\x01|NNN"
                    + 2 * b"J\xff\xff\xff\xff"
                    + b"K\x00tb"
                )
                begin = b"cnumpy.core.multiarray\n_reconstruct\nq\x05cnumpy\nndarray\nq\x06K\x00\x85U\x01b\x87Rq\x07"
                shape = b"".join(map(whole, value.shape)) + (b"\x86" if value.ndim == 2 else b"\x85")
                return begin + b"(K\x01" + shape + kind + b"\x89" + text(value.tobytes()) + b"tb"

    return b"\x80\x02" + written(value) + b"."


def write_ten(folder: Path, each: int = 6, dump: Any = python2) -> dict[str, dict[str, Any]]:
    """cifar-10-batches-py with few pictures; returns the batches."""
    folder.mkdir(parents=True)
    batches = {f"data_batch_{n}": batch(each, n) for n in range(1, 6)} | {"test_batch": batch(each + 1, 6)}
    meta = {"num_cases_per_batch": 10000, "label_names": TEN, "num_vis": 3072}
    for name, content in {**batches, "batches.meta": meta}.items():
        (folder / name).write_bytes(dump(content))
    return batches


def write_hundred(folder: Path, dump: Any = python2) -> dict[str, dict[str, Any]]:
    """cifar-100-python with few pictures; returns what is in train and test."""
    folder.mkdir(parents=True)
    written = {}
    for part, count in (("train", 9), ("test", 4)):
        found = batch(count, count, 100)
        found["fine_labels"] = found.pop("labels")
        found["coarse_labels"] = [label // 5 for label in found["fine_labels"]]
        written[part] = found
        (folder / part).write_bytes(dump(found))
    (folder / "meta").write_bytes(dump({"fine_label_names": FINE, "coarse_label_names": COARSE}))
    return written


def pictures(data: np.ndarray) -> np.ndarray:
    return data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def stacked(images: ImageSet) -> np.ndarray:
    return np.stack([images.read(place) for place in range(len(images))])


def found(typed: str | Path) -> Found:
    answer = find_cifar(str(typed), Asked())
    assert answer is not None
    return answer


def dumped(protocol: int) -> Any:
    return lambda value: pickle.dumps(value, protocol)


# ---------------------------------------------------------------- folders


@pytest.mark.parametrize("dump", [python2, dumped(2), dumped(3), dumped(4), dumped(5)], ids=["py2", "2", "3", "4", "5"])
def test_every_picture_of_cifar_10_is_there(tmp_path: Path, dump: Any) -> None:
    batches = write_ten(tmp_path / "cifar-10-batches-py", dump=dump)
    answer = recognise(str(tmp_path / "cifar-10-batches-py"), Asked())
    train = [batches[f"data_batch_{n}"] for n in range(1, 6)]
    for part, expected in (("train", train), ("test", [batches["test_batch"]])):
        images = answer.sets[part]
        assert (stacked(images) == pictures(np.concatenate([each["data"] for each in expected]))).all()
        assert images.labels.tolist() == [label for each in expected for label in each["labels"]]
        assert images.classes == tuple(TEN)
        assert images.in_memory
    assert answer.sets["test"].keys[6] == "test/00006"
    assert answer.notes == [
        f"{tmp_path}/cifar-10-batches-py: CIFAR-10 in pickles, read without running them, 37 images in 10 classes"
    ]


def test_of_cifar_100_the_fine_labels_are_taken_and_that_is_said(tmp_path: Path) -> None:
    written = write_hundred(tmp_path / "cifar-100-python")
    answer = found(tmp_path)  # the only folder in it, as torchvision's root is
    assert answer.sets["train"].labels.tolist() == written["train"]["fine_labels"]
    assert (stacked(answer.sets["test"]) == pictures(written["test"]["data"])).all()
    assert answer.sets["test"].classes == tuple(FINE)
    assert any("20 coarse ones" in note for note in answer.notes)


def test_torchvision_reads_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own reader unpickles; the checksums of the real files are left out."""
    datasets = oracles.torchvision().datasets
    write_ten(tmp_path / "cifar-10-batches-py")
    write_hundred(tmp_path / "cifar-100-python")
    for kind, name in ((datasets.CIFAR10, "cifar-10-batches-py"), (datasets.CIFAR100, "cifar-100-python")):
        monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": None})
        monkeypatch.setattr(kind, "_check_integrity", lambda _self: True)
        for part in ("train", "test"):
            theirs, ours = kind(str(tmp_path), train=part == "train"), found(tmp_path / name).sets[part]
            assert (stacked(ours) == theirs.data).all()
            assert ours.labels.tolist() == list(theirs.targets)
            assert list(ours.classes) == theirs.classes


def test_bytes_without_a_byte_are_understood() -> None:
    """Protocol 2 of Python 3 calls for them by the name of their kind."""
    content = pickle.dumps({b"data": [], b"batch_label": b"", b"filenames": [b"a", b""]}, 2)
    assert read_pickled_dict(content, "here") == {"data": [], "batch_label": b"", "filenames": [b"a", b""]}


def test_binary_files_are_the_same_set(tmp_path: Path) -> None:
    """By CIFAR's own description: (coarse,) label, 3,072 pixels; equal down to the fingerprint."""
    ten, hundred = write_ten(tmp_path / "a"), write_hundred(tmp_path / "b")
    (tmp_path / "c").mkdir()
    (tmp_path / "d").mkdir()
    for name, content in ten.items():
        rows = [bytes([label]) + row.tobytes() for label, row in zip(content["labels"], content["data"], strict=True)]
        (tmp_path / "c" / f"{name}.bin").write_bytes(b"".join(rows))
    (tmp_path / "c" / "batches.meta.txt").write_text("\n".join([*TEN, "", ""]))
    for name, content in hundred.items():
        labels = zip(content["coarse_labels"], content["fine_labels"], content["data"], strict=True)
        (tmp_path / "d" / f"{name}.bin").write_bytes(b"".join(bytes([a, b]) + row.tobytes() for a, b, row in labels))
    (tmp_path / "d" / "fine_label_names.txt").write_text("\n".join(FINE) + "\n")
    (tmp_path / "d" / "coarse_label_names.txt").write_text("\n".join(COARSE) + "\n")
    for pickled, binary in (("a", "c"), ("b", "d")):
        one, other = found(tmp_path / pickled).sets, found(tmp_path / binary).sets
        for part in ("train", "test"):
            assert (stacked(one[part]) == stacked(other[part])).all()
            assert one[part].fingerprint == other[part].fingerprint
    path = tmp_path / "c" / "data_batch_2.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="cut off") as caught:
        find_cifar(str(tmp_path / "c"), Asked())
    assert caught.value.where == str(path)


def test_a_run_can_be_split_from_it(tmp_path: Path) -> None:
    write_ten(tmp_path / "x", each=20)
    splits = open_splits(tmp_path / "x", val=0.2, seed=0)
    assert splits.val is not None
    assert splits.test is not None
    assert (len(splits.train) + len(splits.val), len(splits.test)) == (100, 21)


@pytest.mark.parametrize("name", ["cifar-10-python.tar.gz", "cifar-100-binary.tar.gz"])
def test_the_archive_as_downloaded_says_how_to_unpack_it(tmp_path: Path, name: str) -> None:
    write_ten(tmp_path / "cifar-10-batches-py")
    (tmp_path / "root").mkdir()
    with tarfile.open(tmp_path / "root" / name, "w:gz") as tar:
        tar.add(tmp_path / "cifar-10-batches-py", "cifar-10-batches-py")
    for typed in (tmp_path / "root", tmp_path / "root" / name):
        with pytest.raises(DataError, match="packed still") as caught:
            recognise(str(typed), Asked())
        subprocess.run(str(caught.value.remedy).split(), check=True)
        assert (tmp_path / "root" / "cifar-10-batches-py" / "test_batch").is_file()
        assert len(found(tmp_path / "root").sets["test"]) == 7
        for path in (tmp_path / "root" / "cifar-10-batches-py").iterdir():
            path.unlink()
        (tmp_path / "root" / "cifar-10-batches-py").rmdir()


def test_what_is_missing_or_strange_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    write_ten(folder)
    (folder / "data_batch_4").rename(tmp_path / "four")
    with pytest.raises(DataError, match=r"1 of the files of CIFAR-10 .* are missing: data_batch_4"):
        find_cifar(str(folder), Asked())
    for content, words in (
        ({"labels": [1]}, "no array of bytes"),
        ({"data": np.zeros((2, 3071), np.uint8), "labels": [1, 2]}, "no array of bytes"),
        ({"data": np.zeros((2, 3072), np.float32), "labels": [1, 2]}, "no array of bytes"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [1, 2, 3]}, "2 pictures do not go with 3 labels"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [1, "2"]}, "no list of whole numbers"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [1, -2]}, "no list of whole numbers"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [1, 10]}, "a label is 10"),
        ([1, 2], "holds no dict"),
    ):
        (folder / "data_batch_4").write_bytes(pickle.dumps(content, 2))
        with pytest.raises(DataError, match=words):
            find_cifar(str(folder), Asked())


def test_other_folders_are_left_to_others(tmp_path: Path) -> None:
    for name in ("train", "test", "meta"):
        (tmp_path / "a" / name).mkdir(parents=True)
    assert find_cifar(str(tmp_path), Asked()) is None
    assert find_cifar(str(tmp_path / "a"), Asked()) is None
    assert find_cifar(str(tmp_path / "none"), Asked()) is None


# ---------------------------------------------------------------- pickles


class Calls:
    """Pickles to a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


PAYLOADS = {
    "posix.system": Calls(os.system, "touch pwned"),
    "builtins.exec": Calls(exec, CODE.decode()),
    "builtins.eval": Calls(eval, "open('pwned', 'w')"),
    "subprocess.Popen": Calls(subprocess.Popen, ["touch", "pwned"]),
    "io.open": Calls(open, "pwned", "w"),
    "numpy.load": Calls(np.load, "pwned"),
    "builtins.getattr": Calls(getattr, "x", "y"),
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("named", PAYLOADS)
def test_code_in_a_pickle_is_refused_by_name_and_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int, named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    content = pickle.dumps({"data": PAYLOADS[named], "labels": []}, protocol)
    with pytest.raises(DataError, match="cannot be read") as caught:
        read_pickled_dict(content, "x")
    shown = named
    if protocol == 2:  # has Python 2's names
        shown = named.replace("builtins", "__builtin__").replace("subprocess", "commands")
    assert f"it names {shown}, " in str(caught.value.why)
    assert "nothing in it was run" in str(caught.value.why)
    assert list(tmp_path.iterdir()) == []


def test_the_payloads_are_real(tmp_path: Path) -> None:
    """Python itself runs them."""
    content = pickle.dumps({"data": PAYLOADS["posix.system"]}, 2)
    subprocess.run([sys.executable, "-c", f"import pickle; pickle.loads({content!r})"], cwd=tmp_path, check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["pwned"]


def test_names_that_are_allowed_are_never_called_with_anything_else() -> None:
    for content, words in (
        (b"\x80\x02}U\x01acnumpy\nndarray\n(K\x05K\x05tRs.", "ndarray is given"),
        (b"\x80\x02}U\x01acnumpy\ndtype\n(U\x01Otds.", "instruction DICT"),
        (b"\x80\x02}U\x01acnumpy\ndtype\n(U\x01OtRs.", "numbers of the kind 'O'"),
        (b"\x80\x02}U\x01ac_codecs\nencode\n(X\x01\0\0\0aX\x03\0\0\0hextRs.", "encode is given"),
        (b"\x80\x02cos\nsystem\n(U\x02lstR.", "it names os.system"),
        (b"\x80\x02(U\x02lsios\nsystem\n.", "instruction INST"),
        (b"\x80\x02(cos\nsystem\nU\x02lso.", "it names os.system"),
        (b"\x80\x02}(U\x01aU\x01bu.\x80\x02", None),
        (b"\x80\x02(cnumpy\nndarray\nU\x02lso.", "instruction OBJ"),
        (b"\x80\x02P1\n.", "instruction PERSID"),
        (b"\x80\x02\x82\x01.", "instruction EXT1"),
        (b"(dp0\nS'a'\nS'b'\ns.", "does not begin as one of protocol 2"),
        (b"\x80\x09}.", "protocol 9"),
        (b"\x80\x04\x97.", "instruction NEXT_BUFFER"),
    ):
        if words is None:
            assert read_pickled_dict(content, "x") == {"a": "b"}
            continue
        with pytest.raises(DataError) as caught:
            read_pickled_dict(content, "x")
        assert words in str(caught.value.why)


def test_a_pickle_cut_off_anywhere_is_told() -> None:
    for content in (python2({"labels": [1, 2], "data": np.arange(6, dtype=np.uint8)}), pickle.dumps({"a": [1]}, 4)):
        for length in range(len(content)):
            with pytest.raises(DataError) as caught:
                read_pickled_dict(content[:length], "x")
            assert "cut off" in str(caught.value.why)


def test_a_bomb_of_references_costs_nothing() -> None:
    """Tuples of tuples of tuples: 2^60 leaves in a few hundred bytes, as a value and as the shape of an array."""
    nest = b")" + b"".join(b"q%ch%c\x86" % (n, n) for n in range(60))
    assert len(read_pickled_dict(b"\x80\x02}U\x01a" + nest + b"s.", "x")) == 1
    begin = b"\x80\x02}U\x01acnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
    kind = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    with pytest.raises(DataError):
        read_pickled_dict(begin + nest + kind + b"\x89U\x01atbs.", "x")
    with pytest.raises(DataError, match="cannot be read") as caught:
        read_pickled_dict(b"\x80\x02" + b"}0" * 10, "x")
    assert "instruction POP" in str(caught.value.why)


def same(one: Any, other: Any) -> bool:
    """Equal values of equal kinds."""
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return isinstance(one, np.ndarray) and isinstance(other, np.ndarray) and np.array_equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return bool(type(one) is type(other) and (one == other or one != one))


class Python(pickle.Unpickler):
    """Python's own, which may only name what makes arrays."""

    def find_class(self, module: str, name: str) -> Any:
        assert (module.split(".")[0], name) in {
            ("numpy", "_reconstruct"), ("numpy", "scalar"), ("numpy", "_frombuffer"), ("numpy", "ndarray"),
            ("numpy", "dtype"), ("_codecs", "encode"),
        }  # fmt: skip
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def mutated(content: bytes, rng: random.Random) -> bytes:
    """A few bytes changed, taken out, put in or repeated; or an instruction's byte changed for another's."""
    changed = bytearray(content)
    codes = [code.code.encode("latin-1") for code in pickletools.opcodes]
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(changed))
        match rng.randrange(5):
            case 0:
                changed[place] = rng.randrange(256)
            case 1:
                changed[place : place + rng.randint(1, 4)] = b""
            case 2:
                changed[place:place] = rng.choice(codes)
            case 3:
                changed[place : place + 1] = rng.choice(codes)
            case 4:
                changed[place:place] = changed[place : place + rng.randint(1, 20)]
    return bytes(changed)


@pytest.mark.parametrize("dump", [python2, dumped(2), dumped(4), dumped(5)], ids=["py2", "2", "4", "5"])
def test_a_mutated_pickle_is_refused_or_means_what_python_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dump: Any
) -> None:
    """300 seeded mutations of each kind: a DataError, or the value that Python's own unpickler gives."""
    monkeypatch.chdir(tmp_path)
    whole = dump({"labels": [3, 700], "data": np.arange(12, dtype=np.uint8).reshape(3, 4), "names": ["a", "bc"]})
    original = read_pickled_dict(whole, "x")
    kept = refused = 0
    for seed in range(300):
        content = mutated(whole, random.Random(seed))
        try:
            ours = read_pickled_dict(content, "x")
        except DataError:
            refused += 1
            continue
        kept += 1
        try:
            theirs = Python(io.BytesIO(content), encoding="latin-1").load()
        except Exception:  # Python is stricter about frames, which tell how much to read ahead
            theirs = original
        theirs = {key.decode("latin-1") if isinstance(key, bytes) else str(key): value for key, value in theirs.items()}
        assert same(ours, theirs), (seed, content, ours, theirs)
    assert kept >= 5
    assert refused >= 150
    assert list(tmp_path.iterdir()) == []


def test_mutated_files_end_in_one_error_or_in_pictures(tmp_path: Path) -> None:
    written = write_hundred(tmp_path / "x")
    whole = (tmp_path / "x" / "train").read_bytes()
    header = [place for place in range(len(whole)) if not hashlib.sha1(bytes([place % 7])).digest()[0] % 2][:600]
    for seed in range(40):
        rng, content = random.Random(seed), bytearray(whole)
        content[rng.choice(header)] = rng.randrange(256)
        (tmp_path / "x" / "train").write_bytes(content)
        try:
            images = found(tmp_path / "x").sets["train"]
        except DataError:
            continue
        assert len(images) == len(written["train"]["fine_labels"])
        assert stacked(images).shape == (9, 32, 32, 3)


def test_a_text_that_is_recalled_again_and_again_does_not_fill_the_memory() -> None:
    """A short pickle could turn one text of 100 kB into bytes 3,000 times over."""
    content = b"\x80\x02X" + struct.pack("<I", 100_000) + b"a" * 100_000 + b"q\x00"
    content += b"c_codecs\nencode\nq\x01X\x06\x00\x00\x00latin1q\x02" + b"h\x01h\x00h\x02\x86R" * 3000 + b"."
    tracemalloc.start()
    try:
        with pytest.raises(DataError) as caught:
            read_pickled_dict(content, "batch")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.why == "the same text stands for the bytes of numbers too often"
    assert peak < 10 * len(content)

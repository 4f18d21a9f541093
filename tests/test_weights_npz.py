"""NumPy archives: every array as NumPy reads it, and no bomb, object or damage gets further than the directory."""

from __future__ import annotations

import io
import struct
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from peak_memory import forget_peak, peak_memory

from vitreous.errors import ModelFileError
from vitreous.weights.formats.container import open_container

RNG = np.random.default_rng(7)


def arrays() -> dict[str, np.ndarray]:
    """Google-like names; every order of bytes and of axes; empty, single, and every type."""
    made: dict[str, np.ndarray] = {
        "Transformer/encoderblock_0/MlpBlock_3/Dense_0/kernel": RNG.normal(size=(5, 7)).astype("f4"),
        "embedding/kernel": RNG.normal(size=(2, 3, 4, 5)).astype("f4"),
        "fortran": np.asfortranarray(RNG.normal(size=(2, 3, 4)).astype("f4")),
        "big": RNG.normal(size=(3, 4)).astype(">f4"),
        "big fortran": np.asfortranarray(RNG.normal(size=(3, 4)).astype(">f8")),
        "one": np.array(2.5, "f4"),
        "one big": np.array(3, ">i2"),
        "empty": np.empty((0, 4), "f4"),
        "flags": np.array([True, False]),
    }
    for code in ("f2", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "c8", "c16"):
        made[code] = RNG.integers(0, 100, size=(3, 2)).astype(code)
    return made


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=True)
    return file.getvalue()


def header(descr: str, shape: str = "(2,)") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def archive(path: Path, members: dict[str, bytes], packed: bool = False) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as file:
        for name, blob in members.items():
            file.writestr(name, blob)
    return path


def why(path: Path) -> str:
    """The reason for which a file is refused."""
    with pytest.raises(ModelFileError) as caught:
        open_container(path)
    assert 4 == caught.value.exit_code
    return caught.value.why or caught.value.what


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_every_array_is_what_numpy_reads(tmp_path: Path, save: object) -> None:
    assert callable(save)
    save(tmp_path / "w.npz", **arrays())
    raw = open_container(tmp_path / "w.npz")
    assert ("npz", ()) == (raw.kind, raw.ignored)
    with np.load(tmp_path / "w.npz") as theirs:
        assert list(theirs) == list(raw.tensors)
        for name, tensor in raw.tensors.items():
            assert tensor.is_contiguous()
            ours = tensor.numpy()
            assert theirs[name].dtype.newbyteorder("=") == ours.dtype
            assert theirs[name].shape == ours.shape
            np.testing.assert_array_equal(theirs[name], ours, err_msg=name)


def test_what_the_file_is_called_does_not_matter(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", a=np.ones(3, "f4"))
    (tmp_path / "w.npz").rename(tmp_path / "w.pth")
    assert "npz" == open_container(tmp_path / "w.pth").kind


@pytest.mark.parametrize("descr", ["'|V2'", "'<V2'"])
def test_two_bytes_of_anything_are_bfloat16(tmp_path: Path, descr: str) -> None:
    """As JAX's bfloat16 arrays come out of np.savez."""
    expected = torch.tensor([1.5, -3.0, 2.0**100])
    values = expected.bfloat16().view(torch.int16).numpy().tobytes()
    archive(tmp_path / "w.npz", {"head/kernel.npy": header(descr, "(3,)") + values})
    found = open_container(tmp_path / "w.npz").tensors["head/kernel"]
    assert torch.bfloat16 == found.dtype
    assert torch.equal(expected.bfloat16(), found)


def test_unaligned_arrays_compute_as_aligned_ones_do(tmp_path: Path) -> None:
    """Where an array begins in a zip archive depends on the lengths of the names; arithmetic must not."""
    starts = set()
    weight, images = torch.randn(33, 65), torch.randn(7, 65)
    for length in range(1, 9):
        np.savez(tmp_path / "w.npz", **{"n" * length: weight.numpy()})
        found = open_container(tmp_path / "w.npz").tensors["n" * length]
        starts.add(found.data_ptr() % 4)
        assert torch.equal(weight, found)
        assert torch.equal(weight, found.clone())
        torch.testing.assert_close(images @ weight.t(), images @ found.t())
        torch.testing.assert_close(images.softmax(1) @ weight.t(), torch.nn.functional.linear(images.softmax(1), found))
    assert len(starts) > 1


def test_stored_arrays_are_not_copied_and_the_file_is_never_written(tmp_path: Path) -> None:
    """Changing a tensor changes neither the file nor what the next reader sees; no warning says otherwise."""
    big = np.zeros(40 << 20, "u1")
    np.savez(tmp_path / "w.npz", big=big, small=np.ones(3, "f4"))
    before = (tmp_path / "w.npz").read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        raw = open_container(tmp_path / "w.npz")
        raw.tensors["small"] += 1
    mapped = {line.split()[0] for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith("w.npz")}
    spans = [tuple(int(part, 16) for part in text.split("-")) for text in mapped]
    assert any(begin <= raw.tensors["big"].data_ptr() < end for begin, end in spans)
    assert before == (tmp_path / "w.npz").read_bytes()
    assert [1, 1, 1] == open_container(tmp_path / "w.npz").tensors["small"].tolist()


def test_a_part_is_taken_by_its_prefix(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "w.npz",
        **{"params/img/head/bias": np.ones(2), "params/txt/x": np.ones(3), "params/imgs": np.ones(1)},
    )
    raw = open_container(tmp_path / "w.npz", root="params/img")
    assert (["head/bias"], ("2 tensors outside params/img",)) == (list(raw.tensors), raw.ignored)
    with pytest.raises(ModelFileError, match="nothing below 'opt'"):
        open_container(tmp_path / "w.npz", root="opt")


def test_text_is_left_out_and_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", a=np.ones(2), note=np.array("by me"), raw=np.array(b"x"))
    raw = open_container(tmp_path / "w.npz")
    assert (["a"], ("note: text", "raw: text")) == (list(raw.tensors), raw.ignored)


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return __import__("os").system, (f"touch {self.canary}",)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    """C5: stored or packed, alone or beside weights, plain or inside a structure."""
    evil = np.array([Evil(tmp_path / "canary")], dtype=object)
    nested = np.zeros(1, dtype=[("a", "f4"), ("b", object)])
    for packed in (False, True):
        for name, array in (("evil", evil), ("nested", nested)):
            path = archive(tmp_path / "w.npz", {"a.npy": npy(np.ones(2)), f"{name}.npy": npy(array)}, packed)
            assert f"{name} is an array of objects" == why(path)
    assert not (tmp_path / "canary").exists()


def test_zip_bombs_are_refused_before_anything_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """C6: 65 kB that would be 64 MB; members in the tens of thousands; members that share their bytes."""
    monkeypatch.setattr("vitreous.weights.formats.archive._inflate", None)
    bomb = archive(tmp_path / "bomb.npz", {"a.npy": npy(np.zeros(16 << 20, "f4"))}, packed=True)
    assert bomb.stat().st_size < 70_000
    assert "a zip bomb" in why(bomb)
    with zipfile.ZipFile(tmp_path / "many.npz", "w") as file:
        for number in range(20_000):
            file.writestr(f"{number}.npy", b"")
    assert "20,000 members" in why(tmp_path / "many.npz")
    with zipfile.ZipFile(tmp_path / "vast.npz", "w") as file:
        for number in range(100_000):
            file.writestr(f"{number}.npy", b"")
    assert "its directory has" in why(tmp_path / "vast.npz")
    with zipfile.ZipFile(tmp_path / "shared.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.npy", npy(np.zeros(1 << 20, "f4")))
        file.writestr("b.npy", npy(np.zeros(1 << 20, "f4")))
        file.getinfo("b.npy").header_offset = file.getinfo("a.npy").header_offset
    assert "lies over another member" in why(tmp_path / "shared.npz")


def test_memory_stays_bounded_by_the_file(tmp_path: Path) -> None:
    """A directory that understates a member does not make it unpack further."""
    path = archive(tmp_path / "w.npz", {"a.npy": npy(np.zeros(16 << 20, "f4"))}, packed=True)
    blob = bytearray(path.read_bytes())
    place = blob.rfind(b"PK\x01\x02") + 24
    blob[place : place + 4] = struct.pack("<I", 4096)
    path.write_bytes(blob)
    measured = sys.platform != "win32"
    before = forget_peak() if measured else 0
    assert "unpacks to more than the 4,096 bytes" in why(path)
    assert (peak_memory() if measured else 0) - before < 20e6


@pytest.mark.parametrize("name", ["../w.npy", "/etc/w.npy", "a/../../w.npy", "..\\w.npy", "./w.npy"])
def test_members_keep_to_plain_names(tmp_path: Path, name: str) -> None:
    """C6; nothing is ever unpacked to a path, the name alone tells what such a file is for."""
    assert "a member is called" in why(archive(tmp_path / "w.npz", {name: npy(np.ones(2))}))


def test_what_no_writer_of_weights_does_is_refused(tmp_path: Path) -> None:
    """C6: two members of one name, encryption, other packers, sizes and checksums that lie."""
    good = {"a.npy": npy(np.arange(20, dtype="f4")), "b.npy": npy(np.ones(2))}
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as file:
        file.writestr("a.npy", good["a.npy"])
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("a.npy", good["b.npy"])
    assert "it has two members called a.npy" == why(tmp_path / "w.npz")
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(tmp_path / "w.npz", "w", method) as file:
            file.writestr("a.npy", good["a.npy"])
        assert f"packed by method {method}" in why(tmp_path / "w.npz")
    blob = archive(tmp_path / "w.npz", good).read_bytes()
    entry = blob.find(b"PK\x01\x02")
    lies = {
        "is encrypted": (entry + 8, b"\x01\x00"),
        "the checksum of a.npy is wrong": (blob.find(good["a.npy"]) + 140, b"\xff"),
        "two sizes differ": (entry + 24, b"\x07\x00"),
        "is not where the directory says": (entry + 42, b"\x07\x00"),
        "ends behind the end of the file": (entry + 20, b"\xff\xff\x0f\x00\xff\xff\x0f\x00"),
    }
    for words, (place, change) in lies.items():
        (tmp_path / "w.npz").write_bytes(blob[:place] + change + blob[place + len(change) :])
        assert words in why(tmp_path / "w.npz")
    assert "b.txt is not an .npy file" == why(archive(tmp_path / "w.npz", {**good, "b.txt": b"x"}))


@pytest.mark.parametrize(
    ("blob", "words"),
    [
        (b"", "header of a cannot be understood"),
        (b"\x93NUMPY\x09\x00" + b"x" * 40, "header of a cannot be understood"),
        (header("'<f4'")[:30], "header of a cannot be understood"),
        (header("'<f4'", "(" * 200 + ")" * 200), "header of a cannot be understood"),
        (header("__import__('os')"), "header of a cannot be understood"),
        (header("'<f4'", "(-2,)") + b"x" * 8, "the shape of a is (-2,)"),
        (header("'<f4'", "(True,)") + b"x" * 4, "the shape of a is (True,)"),
        (header("'<f4'", "(3,)") + b"x" * 8, "a has 8 bytes, its shape (3,) needs another number"),
        (header("'<f4'", "(1,)") + b"x" * 8, "a has 8 bytes, its shape (1,) needs another number"),
        (header("'<f4'", f"({10**30},)") + b"x" * 8, "needs another number"),
        (header("'<f16'") + b"x" * 32, "a: float128"),
        (header("'|V3'") + b"x" * 6, "a: |V3"),
        (header("'<M8[s]'") + b"x" * 16, "a: datetime64[s]"),
        (header("[('x', '<f4')]") + b"x" * 8, "a: [('x', '<f4')]"),
    ],
)
def test_wrong_headers_and_shapes_are_one_error(tmp_path: Path, blob: bytes, words: str) -> None:
    for packed in (False, True):
        assert words in why(archive(tmp_path / "w.npz", {"a.npy": blob}, packed))


@pytest.mark.parametrize("packed", [False, True])
def test_cut_short_anywhere_is_one_error(tmp_path: Path, packed: bool) -> None:
    blob = archive(
        tmp_path / "w.npz", {"a.npy": npy(RNG.normal(size=40)), "b.npy": npy(np.ones(2))}, packed
    ).read_bytes()
    for size in {*range(0, len(blob), 13), len(blob) - 1}:
        (tmp_path / "w.npz").write_bytes(blob[:size])
        with pytest.raises(ModelFileError):
            open_container(tmp_path / "w.npz")


@pytest.mark.parametrize("packed", [False, True])
def test_a_flipped_bit_never_changes_a_value_unseen(tmp_path: Path, packed: bool) -> None:
    """At every byte: the file is refused, or its arrays are what they were (names and dates have no checksum)."""
    values = RNG.normal(size=12).astype("f4")
    blob = archive(tmp_path / "w.npz", {"a.npy": npy(values), "b.npy": npy(values[::-1])}, packed).read_bytes()
    refused = 0
    for place in range(len(blob)):
        changed = bytearray(blob)
        changed[place] ^= 1 << place % 8
        (tmp_path / "w.npz").write_bytes(changed)
        try:
            found = open_container(tmp_path / "w.npz").tensors
        except ModelFileError:
            refused += 1
        else:
            assert all(sorted(values.tolist()) == sorted(array.tolist()) for array in found.values())
    assert refused > len(blob) / 2

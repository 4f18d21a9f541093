"""Arrays of numbers in MATLAB files are what SciPy wrote, packed or not, and a file that lies is refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from vitreous.data.layouts.imagenet.matlab import numeric_arrays
from vitreous.errors import DataError

RNG = np.random.default_rng(1)
ARRAYS = {
    "X": RNG.integers(0, 256, (5, 4, 3, 70)).astype(np.uint8),
    "a_name_longer_than_four": RNG.normal(size=(3, 7)),
    "short": np.array([[3]], np.uint8),
    "wide": RNG.integers(-(2**40), 2**40, (2, 3)),
    "small": RNG.integers(-9, 9, (1, 2)).astype(np.int16),
    "single": RNG.normal(size=(6, 1)).astype(np.float32),
}


@pytest.mark.parametrize("packed", [False, True])
def test_arrays_are_what_was_written(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "some.mat"
    scipy.io.savemat(path, {"other": "text", "cells": {"a": 1}, **ARRAYS}, do_compression=packed)
    found = numeric_arrays(path, tuple(ARRAYS))
    assert set(ARRAYS) == set(found)
    for name, array in ARRAYS.items():
        assert np.array_equal(array, found[name])
        assert array.shape == found[name].shape
        assert not found[name].flags.writeable
    assert ["short"] == list(numeric_arrays(path, ("short",)))


def test_large_arrays_are_unpacked_piece_by_piece(tmp_path: Path) -> None:
    """Random bytes hardly shrink, so that there are many pieces."""
    path, pixels = tmp_path / "large.mat", RNG.integers(0, 256, (32, 32, 3, 300)).astype(np.uint8)
    scipy.io.savemat(path, {"X": pixels, "y": np.arange(300.0)[:, None]}, do_compression=True)
    found = numeric_arrays(path, ("X", "y"))
    assert np.array_equal(pixels, found["X"])
    assert np.array_equal(np.arange(300), found["y"][:, 0])


@pytest.mark.parametrize("packed", [False, True])
def test_no_cut_and_no_flipped_byte_goes_further_than_an_error(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "some.mat"
    scipy.io.savemat(path, {"X": ARRAYS["X"][..., :2], "y": ARRAYS["wide"]}, do_compression=packed)
    content = path.read_bytes()
    for size in range(0, len(content), 19):
        path.write_bytes(content[:size])
        with pytest.raises(DataError):
            numeric_arrays(path, ("X", "y"))
    for at in [*range(124, 250), *range(250, len(content), 11)]:
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x7F]) + content[at + 1 :])
        try:
            numeric_arrays(path, ("X", "y"))
        except DataError:
            continue


def test_a_flipped_bit_of_packed_numbers_is_met_by_their_checksum(tmp_path: Path) -> None:
    """8,189 labels, as of the flowers: three bytes fill the last eight up, and the checksum stands behind those."""
    path = tmp_path / "labels.mat"
    scipy.io.savemat(path, {"labels": RNG.integers(1, 103, (1, 8189)).astype(np.uint8)}, do_compression=True)
    content = path.read_bytes()
    for at in range(300, len(content), 97):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(DataError, match="damaged"):
            numeric_arrays(path, ("labels",))


def test_an_array_that_cannot_be_so_large_is_not_made(tmp_path: Path) -> None:
    """4 GB are claimed by a file of a few hundred bytes."""
    sides, size = (32, 32, 3, 2**20 + 2**18), 32 * 32 * 3 * (2**20 + 2**18)
    head = struct.pack("<6I", 6, 8, 9, 0, 5, 16) + struct.pack("<4i", *sides) + struct.pack("<HH4s", 1, 1, b"X")
    head += struct.pack("<II", 2, size)
    element = zlib.compress(struct.pack("<II", 14, len(head)) + head + bytes(5000))
    path = tmp_path / "claim.mat"
    path.write_bytes(b"MATLAB 5.0".ljust(124) + b"\0\1IM" + struct.pack("<II", 15, len(element)) + element)
    with pytest.raises(DataError, match="cannot unpack"):
        numeric_arrays(path, ("X",))


def test_what_is_no_array_of_numbers_is_told(tmp_path: Path) -> None:
    path = tmp_path / "some.mat"
    scipy.io.savemat(path, {"text": "words", "complex": np.array([1j]), "X": 1.0})
    for name, said in {
        "text": "no array of real numbers",
        "complex": "no array of real",
        "Y": "no array called Y",
    }.items():
        with pytest.raises(DataError, match=said):
            numeric_arrays(path, (name,))

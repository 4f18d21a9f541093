"""DMLab's records are read as TensorBoard writes them, and no damaged byte goes further than an error."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.summary.writer.record_writer import RecordWriter
from vtab_raw_files import packed, picture

from vitreous.data.vtab.sources.dmlab import open_dmlab
from vitreous.data.vtab.sources.tf_records import _masked_crc, records, single_values
from vitreous.errors import DataError
from vitreous.published.vtab import find_task


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number % 128 + 128)
        number //= 128
    return bytes([*out, number])


def field(number: int, content: bytes) -> bytes:
    return varint(number * 8 + 2) + varint(len(content)) + content


def example(values: dict[str, bytes | int], *, apart: bool = False) -> bytes:
    """A tf.train.Example; whole numbers packed as now, or apart as protobuf 2 writes them."""
    entries = b""
    for name, value in values.items():
        if isinstance(value, bytes):
            feature = field(1, field(1, value))
        else:
            feature = field(3, varint(8) + varint(value) if apart else field(1, varint(value)))
        entries += field(1, field(1, name.encode()) + field(2, feature))
    return field(1, entries)


def write(folder: Path, counts: dict[str, int]) -> dict[str, list[tuple[str, int, bytes]]]:
    folder.mkdir()
    written: dict[str, list[tuple[str, int, bytes]]] = {}
    for split, count in counts.items():
        written[split] = []
        file = io.BytesIO()
        writer = RecordWriter(file)
        for place in range(count):
            label, name = place * 5 % 6, f"{split}_frame{place}.jpg"
            image = packed(picture(label, place, 18, 24))
            written[split].append((name, label, image))
            more = (
                {"image": image, "filename": name.encode()}
                if place % 2
                else {"filename": name.encode(), "image": image}
            )
            writer.write(example({**more, "label": label, "extra": b"x" * 200}, apart=place % 3 == 0))
        (folder / f"dmlab-{split}.tfrecord").write_bytes(file.getvalue())
    return written


COUNTS = {"train": 31, "validation": 13, "test": 17}


def test_every_frame_has_its_label_and_its_place(tmp_path: Path) -> None:
    written = write(tmp_path / "dmlab", COUNTS)
    parts = open_dmlab(tmp_path, find_task("dmlab"))
    assert parts is not None
    for images, (split, stored) in zip((parts.train, parts.val, parts.test), written.items(), strict=True):
        stored = sorted(stored, key=lambda each: hashlib.md5((split + each[0]).encode()).digest())
        assert [label for _, label, _ in stored] == images.labels.tolist()
        for place, (name, _, image) in enumerate(stored):
            assert images.ids[place].endswith(name)
            assert images.encoded is not None
            assert image == images.encoded(place)
            assert np.array_equal(np.asarray(Image.open(io.BytesIO(image))), images.read(place))
    assert not parts.exact


def test_the_checksum_is_crc_32c() -> None:
    """Its published value for the nine digits, turned by 15 bits and shifted as TensorFlow does."""
    crc = 0xE3069283
    assert ((crc >> 15) + (crc << 17) + 0xA282EAD8) % 2**32 == _masked_crc(b"123456789")


def test_damaged_records_are_one_clear_message(tmp_path: Path) -> None:
    write(tmp_path / "dmlab", COUNTS)
    path = tmp_path / "dmlab" / "dmlab-train.tfrecord"
    content = path.read_bytes()
    for size in (0, 5, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(DataError, match="no whole file of DMLab"):
            open_dmlab(tmp_path, find_task("dmlab"))
    path.write_bytes(b"\xff" + content[1:])
    with pytest.raises(DataError, match="checksum"):
        open_dmlab(tmp_path, find_task("dmlab"))
    path.unlink()
    with pytest.raises(DataError, match=r"dmlab-train\.tfrecord is missing"):
        open_dmlab(tmp_path, find_task("dmlab"))


def test_no_flipped_byte_of_an_example_leads_out_of_it() -> None:
    file = io.BytesIO()
    RecordWriter(file).write(example({"filename": b"a.jpg", "image": b"i" * 40, "label": 300, "other": 2**60}))
    whole = memoryview(file.getvalue())
    ((start, end),) = records(whole)
    assert {"filename", "image", "label", "other"} == set(single_values(whole, (start, end)))
    assert (300, 2**60) == tuple(single_values(whole, (start, end))[name] for name in ("label", "other"))
    for at in range(start, end):
        for flipped in (0xFF, 0x01, 0x80, 0x08):
            changed = bytearray(whole)
            changed[at] ^= flipped
            try:
                found = single_values(memoryview(changed), (start, end))
            except ValueError:
                continue
            assert all(isinstance(v, int) or start <= v[0] <= v[1] <= end for v in found.values())

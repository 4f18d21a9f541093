"""The native file: the same content gives the same bytes, every reader can read it, and no damage goes unseen."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import re
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from native_files import CLASSES, card_for, raw_safetensors, saved, split
from random_vit import random_vit

from vitreous import files
from vitreous.config import PreprocessConfig
from vitreous.errors import ConfigError, ModelFileError, ResourceError
from vitreous.weights.golden import Golden, golden_image, golden_of
from vitreous.weights.native import read_native, save_native, tensor_digest

resource: ModuleType | None
try:
    import resource
except ImportError:  # Windows
    resource = None


def test_what_was_saved_is_read_back_exactly(tmp_path: Path) -> None:
    """Every tensor bit for bit, every field of the card, the golden output and the digest."""
    model = saved(tmp_path / "model.safetensors")
    file = read_native(tmp_path / "model.safetensors")
    assert model.card == file.card
    assert golden_of(model, file.card) == file.golden
    state = model.state_dict()
    assert sorted(state) == sorted(file.tensors)
    for name, value in state.items():
        assert value.dtype == file.tensors[name].dtype
        assert torch.equal(value, file.tensors[name]), name
    assert tensor_digest(state) == file.digest


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    """Neither the order of the state nor the place or time of writing shows in the file."""
    model = saved(tmp_path / "a.safetensors")
    assert model.card is not None
    backwards = dict(reversed(model.state_dict().items()))
    save_native(tmp_path / "b.safetensors", backwards, model.card, golden_of(model, model.card))
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_any_safetensors_reader_can_read_it(tmp_path: Path) -> None:
    """The official library gives the same tensors, and the record as one metadata entry."""
    model = saved(tmp_path / "model.safetensors")
    theirs = safetensors.torch.load_file(tmp_path / "model.safetensors")
    state = model.state_dict()
    assert sorted(state) == sorted(theirs)
    assert all(torch.equal(state[name], theirs[name]) for name in state)
    with safetensors.safe_open(tmp_path / "model.safetensors", "pt") as file:
        record = json.loads(file.metadata()["vitreous"])
    assert list(CLASSES) == record["card"]["classes"]
    assert {"format_version", "card", "digest", "golden"} == set(record)


def test_every_type_and_shape_of_tensor_survives(tmp_path: Path) -> None:
    """Empty ones, single numbers, bfloat16, booleans, slices that do not lie contiguously."""
    state = {
        "half": torch.randn(3, 5).to(torch.bfloat16),
        "float16": torch.randn(7).half(),
        "double": torch.randn(2, 3).double(),
        "one": torch.tensor(2.5),
        "none": torch.empty(0, 4),
        "flag": torch.tensor([True, False, True]),
        "count": torch.tensor(41),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "slanted": torch.randn(4, 6).T[1:4],
    }
    card = card_for(random_vit(), architecture=None)
    save_native(tmp_path / "m.safetensors", state, card, Golden(logits=(), tolerance=0.0))
    found = read_native(tmp_path / "m.safetensors").tensors
    for name, value in state.items():
        assert value.dtype == found[name].dtype, name
        assert value.shape == found[name].shape, name
        assert torch.equal(value, found[name]), name
    theirs = safetensors.torch.load_file(tmp_path / "m.safetensors")
    assert all(torch.equal(theirs[name], value) for name, value in state.items())


def test_a_type_that_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"phase is of torch\.complex64"):
        save_native(
            tmp_path / "m.safetensors",
            {"phase": torch.ones(2, dtype=torch.complex64)},
            card_for(random_vit()),
            Golden(logits=(), tolerance=0.0),
        )
    assert not list(tmp_path.iterdir())


def test_the_digest_is_over_the_tensors_alone(tmp_path: Path) -> None:
    """Equal to the formula written out; other class names or provenance leave it, one changed weight does not."""
    model = random_vit()
    state = model.state_dict()
    slow = hashlib.sha256()
    for name in sorted(state):
        slow.update(json.dumps([name, "F32", list(state[name].shape)]).encode())
        slow.update(np.ascontiguousarray(state[name].numpy()).tobytes())
    assert slow.hexdigest() == tensor_digest(state)

    golden = golden_of(model, card_for(model))
    first = save_native(tmp_path / "a.safetensors", state, card_for(model), golden)
    second = save_native(tmp_path / "b.safetensors", state, card_for(model, classes=("x", "y")), golden)
    assert first == second == slow.hexdigest()
    with torch.no_grad():
        model.head.bias[3] += 1e-6
    assert first != tensor_digest(model.state_dict())


def test_one_flipped_bit_anywhere_is_noticed(tmp_path: Path) -> None:
    """Every byte of length and header, and many in the tensors: length, JSON, card, golden, seal, weights."""
    whole = tmp_path / "model.safetensors"
    saved(whole, depth=1, embed_dim=8, mlp_dim=12, num_classes=3)
    blob = bytearray(whole.read_bytes())
    header = 8 + int.from_bytes(blob[:8], "little")
    dice = random.Random(0)
    places = [*range(header), *dice.sample(range(header, len(blob)), 300), header, len(blob) - 1]
    damaged = tmp_path / "damaged.safetensors"
    for place in places:
        bit = 1 << dice.randrange(8)
        blob[place] ^= bit
        damaged.write_bytes(blob)
        with pytest.raises(ModelFileError, match=r"damaged\.safetensors"):
            read_native(damaged)
        blob[place] ^= bit
    damaged.write_bytes(blob)
    read_native(damaged)


def test_verify_false_skips_the_tensors_but_not_the_header(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    saved(path)
    blob = bytearray(path.read_bytes())
    blob[-1] ^= 1
    path.write_bytes(blob)
    read_native(path, verify=False)
    with pytest.raises(ModelFileError, match="its tensors are not those that were saved"):
        read_native(path)
    blob[200] ^= 1
    path.write_bytes(blob)
    with pytest.raises(ModelFileError, match="damaged"):
        read_native(path, verify=False)


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.01, 0.3, 0.5, 0.9, 0.9999])
def test_a_file_cut_short_says_so(tmp_path: Path, share: float) -> None:
    path = tmp_path / "model.safetensors"
    saved(path)
    blob = path.read_bytes()
    path.write_bytes(blob[: int(len(blob) * share)])
    with pytest.raises(ModelFileError, match=r"cut short|empty|does not begin|text file"):
        read_native(path)


def test_bytes_after_the_end_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    saved(path)
    path.write_bytes(path.read_bytes() + b"12345")
    with pytest.raises(ModelFileError, match="5 bytes follow its last tensor"):
        read_native(path)


def _seal(blob: bytes) -> bytes:
    """A file with a correct seal around whatever its header says: damage that no digest can tell."""
    start = 8 + len(b'{"__metadata__":{"seal":"')
    end = 8 + int.from_bytes(blob[:8], "little")
    zeroed = blob[:start] + b"0" * 64 + blob[start + 64 :]
    return blob[:start] + hashlib.sha256(zeroed[:end]).hexdigest().encode() + blob[start + 64 :]


def _rewritten(path: Path, change: Any) -> None:
    """The file at `path` with its header changed and sealed again."""
    listed, body = split(path.read_bytes())
    record = json.loads(listed["__metadata__"]["vitreous"])
    change(listed, record)
    listed["__metadata__"]["vitreous"] = json.dumps(record)
    text = json.dumps(listed, separators=(",", ":")).encode()
    path.write_bytes(_seal(raw_safetensors(text, body)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _, record: record.update(format_version=2), r"is of format 2, this vitreous reads up to 1"),
        (lambda _, record: record.pop("card"), "header cannot be understood: 'card'"),
        (lambda _, record: record.pop("golden"), "header cannot be understood"),
        (lambda _, record: record["card"].update(colour="red"), "ModelCard has no field 'colour'"),
        (lambda _, record: record["card"]["architecture"].update(depth=-1), "depth must be above 0"),
        (lambda _, record: record["golden"].update(logits=[float("nan")]), "finite"),
        (lambda listed, _: listed["norm.bias"].update(dtype="F7"), "norm.bias is described wrongly"),
        (lambda listed, _: listed["norm.bias"].update(shape=[27]), "norm.bias is described wrongly"),
        (lambda listed, _: listed["norm.bias"].update(shape=[-28, -1]), "norm.bias is described wrongly"),
        (lambda listed, _: listed["norm.bias"].update(shape="28"), "norm.bias is described wrongly"),
        (lambda listed, _: listed["norm.bias"].update(shape=[0, 2**62, 4]), "norm.bias is described wrongly"),
        (lambda listed, _: listed["norm.bias"].update(shape=[28.0]), "norm.bias is described wrongly"),
        (lambda listed, _: listed.update({"norm.bias": 5}), "norm.bias is described wrongly"),
        (lambda listed, _: listed.pop("norm.bias"), "begins at byte"),
        (lambda listed, _: listed.update(extra=listed["norm.bias"]), "begins at byte"),
    ],
)
def test_a_header_that_lies_under_a_correct_seal_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    """Nothing in a file is believed: versions, fields, types, shapes and offsets are all checked."""
    path = tmp_path / "model.safetensors"
    saved(path)
    _rewritten(path, change)
    with pytest.raises(ModelFileError, match=re.escape(message) if "(" in message else message) as caught:
        read_native(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (raw_safetensors({"a": {}}, length=2**62), "not a vitreous model file"),
        (raw_safetensors({"a": {}}, length=200 << 20), "not a vitreous model file"),
        (raw_safetensors({"a": {}}, length=4000), "cut short: its header alone has 4,008 bytes"),
        (raw_safetensors(b"{" + b'"a":[' * 60_000), "not JSON"),
        (raw_safetensors(b'{"\xff":1}'), "not JSON"),
        (raw_safetensors(b'{"a":' + b"9" * 5000 + b"}"), "not JSON"),
        (raw_safetensors(b"[1,2,3]"), "not a vitreous model file"),
        (raw_safetensors({"__metadata__": {"vitreous": "{}"}}), "header is not the one that was saved"),
        (raw_safetensors({"__metadata__": "vitreous"}), "was not written by vitreous"),
    ],
)
def test_malformed_headers_are_refused_quickly_and_cheaply(tmp_path: Path, blob: bytes, message: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(blob)
    with pytest.raises(ModelFileError, match=message):
        read_native(path)


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up while writing: the old file is untouched, nothing lies beside it, the numbers are told."""
    path = tmp_path / "model.safetensors"
    model = saved(path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match=r"(?s)the disk is full.*needs 0\.\d MB, [\d,.]+ MB free"):
        save_native(path, model.state_dict(), card_for(model, classes=()), Golden(logits=(), tolerance=0.0))
    assert before == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())


def test_a_full_disk_is_told_before_a_byte_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=10_000)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ResourceError, match=r"needs 0\.1 MB, 0\.0 MB free"):
        saved(tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(resource is None, reason="no limits on file size here")
def test_a_write_that_the_system_cuts_short_leaves_what_was_there(tmp_path: Path) -> None:
    """A real one: the process may write no file above 50 kB."""
    path = tmp_path / "model.safetensors"
    saved(path, depth=1)
    before = path.read_bytes()
    assert resource is not None
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(ResourceError, match="the disk is full"):
            saved(path, depth=5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert before == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"(?s)cannot be written.*nowhere/model\.safetensors"):
        saved(tmp_path / "nowhere" / "model.safetensors")
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(ResourceError, match="cannot be written"):
        saved(tmp_path / "model.safetensors")
    assert [tmp_path / "model.safetensors"] == list(tmp_path.iterdir())


def test_the_golden_image_is_the_stated_formula() -> None:
    image = golden_image(PreprocessConfig(image_size=(5, 300)))
    slow = [[[(7 * y + 13 * x + 29 * c + y * x) % 256 for c in range(3)] for x in range(300)] for y in range(5)]
    assert np.uint8 == image.dtype
    assert slow == image.tolist()


def test_golden_logits_are_the_models_own_and_leave_its_mode_alone() -> None:
    """The stored numbers give back the very float32 values; a module in training mode stays so, part by part."""
    model = random_vit()
    preprocess = card_for(model).preprocess
    image = golden_image(preprocess).astype(np.float32) * np.float32(1 / 255)
    image = (image - np.float32(preprocess.mean)) / np.float32(preprocess.std)
    with torch.no_grad():
        expected = model(torch.from_numpy(image).permute(2, 0, 1)[None])[0].numpy()
    model.train()
    model.blocks[1].eval()
    golden = golden_of(model, card_for(model))
    np.testing.assert_allclose(np.float32(golden.logits), expected, rtol=0, atol=2e-6)
    assert json.loads(json.dumps(golden.logits)) == list(golden.logits)
    assert model.training
    assert not model.blocks[1].training

"""Containers: files, shards and folders of weights open as named tensors; what else lies there is data, or an error."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import numpy as np
import onnx
import onnx.helper
import pytest
import safetensors.torch
import torch
from native_files import raw_safetensors, saved
from torch import Tensor

from vitreous.errors import ModelFileError
from vitreous.weights.formats.container import FOLDER_FILES, find_weights, open_container


def tensors() -> dict[str, Tensor]:
    """One of every type that safetensors files of models have."""
    generator = torch.Generator().manual_seed(5)
    made = {str(dtype): torch.randn(3, 5, generator=generator).to(dtype) for dtype in FLOATS}
    made |= {str(dtype): torch.arange(6).reshape(2, 3).to(dtype) for dtype in WHOLE}
    return {**made, "one": torch.tensor(2.5), "empty": torch.empty(0, 4)}


FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]
FLOATS += [torch.complex64]
WHOLE = [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64]
WHOLE += [torch.bool]


def same(expected: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    assert sorted(expected) == sorted(found)
    for name, tensor in expected.items():
        assert (tensor.dtype, tensor.shape) == (found[name].dtype, found[name].shape), name
        if tensor.numel():
            assert torch.equal(tensor.reshape(-1).view(torch.uint8), found[name].reshape(-1).view(torch.uint8)), name


def refused(path: Path) -> ModelFileError:
    with pytest.raises(ModelFileError) as caught:
        open_container(path)
    assert 4 == caught.value.exit_code
    return caught.value


def test_safetensors_of_every_type(tmp_path: Path) -> None:
    safetensors.torch.save_file(tensors(), tmp_path / "w.bin", metadata={"format": "pt"})
    raw = open_container(tmp_path / "w.bin")
    same(tensors(), raw.tensors)
    assert ("safetensors", {"format": "pt"}, {}, ()) == (raw.kind, raw.metadata, raw.sidecars, raw.ignored)


def test_a_native_file_is_safetensors_like_any_other(tmp_path: Path) -> None:
    model = saved(tmp_path / "model.safetensors")
    raw = open_container(tmp_path)
    same(model.state_dict(), raw.tensors)
    assert {"vitreous", "seal"} == set(raw.metadata)


@pytest.mark.parametrize("name", [name for name in FOLDER_FILES if not name.endswith("json")])
def test_folders_hold_the_file_under_its_usual_name(tmp_path: Path, name: str) -> None:
    """Whatever else lies there, and with the JSON beside it as plain data."""
    safetensors.torch.save_file({"a": torch.ones(2)}, tmp_path / name)
    (tmp_path / "training_args.bin").write_bytes(b"\x80\x02cos\nsystem\n.")
    (tmp_path / "config.json").write_text('{"hidden_size": 28, "id2label": {"0": "é"}}', encoding="utf-8")
    (tmp_path / "preprocessor_config.json").write_text('{"size": {"height": 24}}', encoding="utf-8")
    raw = open_container(tmp_path)
    assert tmp_path / name == raw.path
    expected = {
        "config.json": {"hidden_size": 28, "id2label": {"0": "é"}},
        "preprocessor_config.json": {"size": {"height": 24}},
    }
    assert expected == raw.sidecars
    assert expected == open_container(tmp_path / name).sidecars


def test_a_folder_with_one_file_of_any_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "ViT-B_16.npz", a=np.ones(2))
    assert tmp_path / "ViT-B_16.npz" == find_weights(tmp_path)
    np.savez(tmp_path / "ViT-L_16.npz", a=np.ones(2))
    error = refused(tmp_path)
    assert ("there are several model files in this folder", "ViT-B_16.npz, ViT-L_16.npz") == (error.what, error.why)
    (tmp_path / "empty").mkdir()
    assert "there is no model file in this folder" == refused(tmp_path / "empty").what


def shard(folder: Path) -> dict[str, Tensor]:
    """Three tensors in two files, as Hugging Face shards them."""
    whole = {"a": torch.ones(2), "b": torch.arange(3.0), "c": torch.zeros(4)}
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    safetensors.torch.save_file({"a": whole["a"], "c": whole["c"]}, folder / names[0])
    safetensors.torch.save_file({"b": whole["b"]}, folder / names[1])
    index = {"metadata": {"total_size": 36}, "weight_map": {"a": names[0], "b": names[1], "c": names[0]}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return whole


def test_shards_come_together(tmp_path: Path) -> None:
    whole = shard(tmp_path)
    for path in (tmp_path, tmp_path / "model.safetensors.index.json"):
        raw = open_container(path)
        same(whole, raw.tensors)
        assert tmp_path / "model.safetensors.index.json" == raw.path


def test_shards_of_pickles_come_together(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "pytorch_model-00001-of-00001.bin")
    index = {"weight_map": {"a": "pytorch_model-00001-of-00001.bin"}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")
    raw = open_container(tmp_path)
    same({"a": torch.ones(2)}, raw.tensors)
    assert "pickle" == raw.kind


def test_shards_are_all_there_or_none_is_read(tmp_path: Path) -> None:
    shard(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    listed = json.loads(index.read_text(encoding="utf-8"))
    one = refused(tmp_path / "model-00002-of-00002.safetensors")
    assert "this is one shard of 2" == one.what
    assert "model.safetensors.index.json" in (one.remedy or "")
    changes = {
        "disagree about 1 tensors, e.g. d": {"d": "model-00001-of-00002.safetensors"},
        "'../x.safetensors'": {"d": "../x.safetensors"},
        "'/etc/passwd'": {"d": "/etc/passwd"},
        "1 of 3 shards are missing: x.safetensors": {"d": "x.safetensors"},
        "it lists no tensors by shard": {"d": 3},
    }
    for words, change in changes.items():
        index.write_text(json.dumps({"weight_map": {**listed["weight_map"], **change}}), encoding="utf-8")
        assert words in (refused(tmp_path).why or "")
    del listed["weight_map"]["b"]
    index.write_text(json.dumps({"weight_map": {**listed["weight_map"]}}), encoding="utf-8")
    (tmp_path / "model-00001-of-00002.safetensors").unlink()
    assert "1 of 1 shards are missing" in (refused(tmp_path).why or "")


def test_code_of_a_repository_is_never_run(tmp_path: Path) -> None:
    """C10: `auto_map` names a module beside the weights; it stays a text file."""
    safetensors.torch.save_file({"a": torch.ones(2)}, tmp_path / "model.safetensors")
    (tmp_path / "modeling_x.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')", encoding="utf-8")
    wants = {"auto_map": {"AutoModel": "modeling_x.X"}, "trust_remote_code": True}
    (tmp_path / "config.json").write_text(json.dumps(wants), encoding="utf-8")
    raw = open_container(tmp_path)
    assert (
        "config.json: auto_map names code of its own, which is never run",
        "config.json: trust_remote_code names code of its own, which is never run",
    ) == raw.ignored
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "text", ["{", "[1]", "[" * 100_000, '{"a": !!python/object/apply:os.system ["x"]}', "\xff\xfe"]
)
def test_json_beside_the_weights_is_plain_data_or_an_error(tmp_path: Path, text: str) -> None:
    """C11."""
    safetensors.torch.save_file({"a": torch.ones(2)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    error = refused(tmp_path)
    assert ("the model file is damaged", str(tmp_path / "config.json")) == (error.what, error.where)


def test_distributed_checkpoints_are_never_opened(tmp_path: Path) -> None:
    """C7: the `.metadata` of torch.distributed.checkpoint is a pickle that its reader would run."""
    (tmp_path / ".metadata").write_bytes(f"\x80\x02cposix\nsystem\n(X\x05touch {tmp_path}/canarytR.".encode("latin-1"))
    (tmp_path / "__0_0.distcp").write_bytes(b"PK\x03\x04")
    for path in (tmp_path, tmp_path / ".metadata", tmp_path / "__0_0.distcp"):
        assert "a pickle that is never opened here" in refused(path).what
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"\x00" * 600, "nothing but zeros"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"hello", "text file"),
        (bytes(range(1, 200)), "damaged, or of another kind"),
    ],
)
def test_other_files_are_told_what_they_are(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "w.npz").write_bytes(content)
    error = refused(tmp_path / "w.npz")
    assert "this is not a file of weights" == error.what
    assert words in (error.why or "")


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "vit.npz").write_bytes(b"x")
    error = refused(tmp_path / "vti.npz")
    assert ("there is no such model file", f"did you mean {tmp_path / 'vit.npz'}?") == (error.what, error.why)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert "a model file is wanted, this is something else" == refused(tmp_path / "pipe").what


def entry(begin: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    "blob",
    [
        raw_safetensors({"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}, b"x" * 12),
        raw_safetensors({"a": entry(0, 8, [3])}, b"x" * 8),
        raw_safetensors({"a": entry(0, 8, [-2])}, b"x" * 8),
        raw_safetensors({"a": entry(0, 8, [2**62, 2**62])}, b"x" * 8),
        raw_safetensors({"a": entry(0, 8, [2], "F31")}, b"x" * 8),
        raw_safetensors({"a": entry(0, 2**40, [2**38])}, b"x" * 8),
        raw_safetensors({"a": entry(0, 8, [2])}, b"x" * 9),
        raw_safetensors({"a": 3}),
        raw_safetensors(b"{" * 100_000),
        raw_safetensors(b'{"a": ', b"x" * 8),
        raw_safetensors({}, length=100 << 20),
        raw_safetensors({}, length=2**63),
        raw_safetensors({}),
    ],
)
def test_safetensors_that_lie_are_one_error(tmp_path: Path, blob: bytes) -> None:
    (tmp_path / "w.safetensors").write_bytes(blob)
    refused(tmp_path / "w.safetensors")


def test_safetensors_cut_short_anywhere_are_one_error(tmp_path: Path) -> None:
    safetensors.torch.save_file({"a": torch.ones(20), "b": torch.ones(3, 4)}, tmp_path / "w.safetensors")
    blob = (tmp_path / "w.safetensors").read_bytes()
    for size in range(0, len(blob), 7):
        (tmp_path / "w.safetensors").write_bytes(blob[:size])
        refused(tmp_path / "w.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", FLOATS)
def test_weights_that_are_not_numbers_are_refused_by_name(tmp_path: Path, dtype: torch.dtype, value: float) -> None:
    """One bad value anywhere; numbers so large that their sum overflows are fine."""
    if dtype == torch.float8_e4m3fn:
        value = float("nan")  # it has no infinity
    good = torch.full((4, 5), 3e38 if dtype in (torch.float32, torch.bfloat16) else 400.0).to(dtype)
    bad = good.clone()
    bad.view(-1)[7] = value
    safetensors.torch.save_file({"fine": good, "blocks.3.norm1.weight": bad}, tmp_path / "w.safetensors")
    error = refused(tmp_path / "w.safetensors")
    assert "the model file holds values that are not numbers" == error.what
    assert f"{'NaN' if value != value else 'infinity'} in blocks.3.norm1.weight" == error.why
    safetensors.torch.save_file({"fine": good}, tmp_path / "w.safetensors")
    same({"fine": good}, open_container(tmp_path / "w.safetensors").tensors)


def test_masks_may_be_infinite(tmp_path: Path) -> None:
    """OpenAI's CLIP keeps the attention mask of its text tower among the weights."""
    safetensors.torch.save_file({"attn_mask": torch.full((3, 3), float("-inf")).triu(1)}, tmp_path / "w.safetensors")
    open_container(tmp_path / "w.safetensors")


def test_every_kind_is_checked_for_numbers(tmp_path: Path) -> None:
    bad = torch.tensor([1.0, float("nan")])
    np.savez(tmp_path / "w.npz", head=bad.numpy())
    torch.save({"head": bad}, tmp_path / "w.pt")
    for name in ("w.npz", "w.pt"):
        assert "NaN in head" == refused(tmp_path / name).why


def test_a_gguf_or_wrong_magic_with_a_brace_is_not_trusted(tmp_path: Path) -> None:
    """The ninth byte alone makes no safetensors file."""
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", 3) + b"{x}" + b"rest")
    assert "the model file is damaged" == refused(tmp_path / "w.safetensors").what


@pytest.mark.parametrize("location", ["../../../../etc/passwd", "/etc/hostname", "linked.bin"])
def test_onnx_is_refused_and_what_it_names_is_not_opened(tmp_path: Path, location: str) -> None:
    """C9: external data outside the folder, by an absolute path or behind a link, with huge dimensions."""
    (tmp_path / "linked.bin").symlink_to("/etc/passwd")
    weight = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[1 << 40, 1 << 20])
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    node = onnx.helper.make_node("Hidden", ["w"], ["y"], domain="some.library")
    graph = onnx.helper.make_graph([node], "g", [], [], initializer=[weight])
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
    with pytest.raises(ModelFileError, match="this is an ONNX graph") as refused:
        open_container(path)
    assert refused.value.exit_code == 4

"""What is left of checkpoint damage: headers made to hurt, and files of released versions.

What is proved elsewhere is listed in docs/faults.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy_vit
import pytest
import torch
from native_files import raw_safetensors
from peak_memory import forget_peak, peak_memory
from storage_faults import in_child

import vitreous as vt
from vitreous.errors import ModelFileError
from vitreous.picture.preprocess import normalise
from vitreous.training.saving import checkpoint
from vitreous.training.saving.checkpoint import State
from vitreous.weights.formats.container import open_container
from vitreous.weights.native import golden_image, read_native

RELEASED = sorted(Path(__file__).with_name("released").iterdir())
assert RELEASED


@pytest.mark.parametrize("release", RELEASED, ids=lambda path: path.name)
def test_models_of_every_release_answer_as_they_did(release: Path) -> None:
    """The logits recorded in the file, and those of a second ViT written in NumPy from the paper."""
    path = release / "model.safetensors"
    model = vt.load(path, check=True)
    kept = read_native(path)
    image = normalise(golden_image(kept.card.preprocess)[None], kept.card.preprocess)
    with torch.no_grad():
        logits = model(torch.from_numpy(image)).numpy()
    weights = {name: tensor.numpy() for name, tensor in kept.tensors.items()}
    config = model.config
    expected = numpy_vit.forward(weights, image, patch_size=config.patch_size, num_heads=config.num_heads)["logits"]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(logits[0], kept.golden.logits, rtol=0, atol=1e-5)
    assert ("rose", "daisy", "<b>") == kept.card.classes


@pytest.mark.parametrize("release", RELEASED, ids=lambda path: path.name)
def test_checkpoints_of_every_release_are_read(release: Path) -> None:
    state, complaints = checkpoint.read_latest(release / "checkpoints")
    assert [] == complaints
    assert state is not None
    assert torch.equal(torch.tensor([[1.0, -2.5, 3.0]]), state.model["head.weight"])
    assert torch.equal(torch.tensor([[0.5, 0.25, 0.0]]), state.optimizer["head.weight/exp_avg"])
    assert torch.equal(torch.tensor([[1.5, -2.0, 2.5]]), state.average["head.weight"])
    assert (3, 1.5, 0.75) == (state.step, state.seconds, state.score)
    assert ({"loss": 2.0}, {"recent": [0.5, None]}) == (state.meter, state.watch)


def read_checkpoint(path: Path) -> object:
    """The file as part of a checkpoint whose manifest is right."""
    folder = path.parent / "checkpoints"
    with checkpoint.writing(folder, 1) as temporary:
        checkpoint.write_files(temporary, State(1, {"w": torch.ones(2)}, {}))
        os.replace(path, temporary / "model.safetensors")
    return checkpoint.read(folder / "step-00000001")


READERS: dict[str, Callable[[Path], object]] = {
    "native": read_native,
    "container": open_container,
    "checkpoint": read_checkpoint,
}

ENTRY = b'"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'
HEADERS = {
    "longer than any": (b" ", (100 << 20) + 1),
    "longer than any, with a brace": (b"{", (100 << 20) + 1),
    "overlapping": (b"{" + ENTRY + b"," + ENTRY.replace(b'"a"', b'"b"').replace(b"0,8", b"4,12") + b"}", None),
    "negative shape": (b"{" + ENTRY.replace(b"[2]", b"[-2,-1]") + b"}", None),
    "huge shape": (b"{" + ENTRY.replace(b"[2]", b"[4611686018427387904,4611686018427387904,2]") + b"}", None),
    "huge shape that overflows to the right size": (
        b"{" + ENTRY.replace(b"[2]", b"[9223372036854775809,2]") + b"}",
        None,
    ),
    "a terabyte": (b"{" + ENTRY.replace(b"[2]", b"[274877906944]").replace(b"0,8", b"0,1099511627776") + b"}", None),
    "the same name twice": (b"{" + ENTRY + b"," + ENTRY.replace(b"0,8", b"8,16") + b"}", None),
    "no brace": (b"[" + ENTRY + b"]", None),
    "deep": (b'{"a":' + b"[" * 200_000, None),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", HEADERS)
def test_headers_made_to_hurt_are_one_error_and_little_memory(tmp_path: Path, reader: str, kind: str) -> None:
    """The file is as long as its header says; less than 100 MB are taken to refuse it."""
    header, length = HEADERS[kind]
    path = tmp_path / "model.safetensors"
    path.write_bytes(raw_safetensors(header, b"x" * 16, length=length))
    if length is not None:
        os.truncate(path, length + 24)  # a hole takes no room on the disk

    def act() -> int:
        before = forget_peak()
        with pytest.raises(ModelFileError):
            READERS[reader](path)
        return peak_memory() - before

    assert in_child(act).ok() < 100e6

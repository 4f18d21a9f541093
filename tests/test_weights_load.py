"""Loading: strict both ways, the head and the resolution as asked, and one clear error for everything else."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from native_files import CLASSES, card_for, saved
from random_vit import random_images, random_vit
from scipy import ndimage
from torch import nn

from vitreous.errors import ModelFileError, UnknownNameError, UsageError
from vitreous.model.create import create_model
from vitreous.model.vit import ViT
from vitreous.weights.golden import Golden, golden_of
from vitreous.weights.load import load, open_model
from vitreous.weights.native import save_native


def test_a_loaded_model_answers_as_the_saved_one_did(tmp_path: Path) -> None:
    """From the file or from its run folder: same logits to the last bit, card included, in eval mode, trainable."""
    model = saved(tmp_path / "model.safetensors")
    images = random_images()
    for source in (tmp_path / "model.safetensors", tmp_path, str(tmp_path)):
        loaded = load(source, check=True)
        assert torch.equal(model(images), loaded(images))
        assert model.card == loaded.card
        assert model.config == loaded.config
        assert not loaded.training
        assert all(parameter.requires_grad and not parameter.is_meta for parameter in loaded.parameters())


def test_loading_draws_no_random_numbers(tmp_path: Path) -> None:
    saved(tmp_path / "model.safetensors")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load(tmp_path)
    assert torch.equal(expected, torch.rand(3))


def test_a_new_head_is_zero_and_the_rest_is_kept(tmp_path: Path) -> None:
    model = saved(tmp_path / "model.safetensors", representation_size=20)
    loaded = load(tmp_path, head="new", num_classes=5)
    images = random_images()
    assert torch.equal(torch.zeros(2, 5), loaded(images))
    assert torch.equal(model.features(images).cls, loaded.features(images).cls)
    assert loaded.pre_logits is None
    assert (loaded.config.num_classes, loaded.config.representation_size) == (5, None)
    assert loaded.card is not None
    assert loaded.card.classes == ()
    assert loaded.config == loaded.card.architecture


def test_without_a_head_the_model_answers_with_features(tmp_path: Path) -> None:
    model = saved(tmp_path / "model.safetensors", representation_size=20)
    loaded = load(tmp_path, head="drop")
    images = random_images()
    assert torch.equal(model.features(images).cls, loaded(images))
    assert loaded.config.num_classes == 0


def test_another_resolution_resamples_the_positions_as_scipy_does(tmp_path: Path) -> None:
    """24 x 40 to 40 x 48 pixels at patch 8: a table of 3 x 5 becomes one of 5 x 6, the class token's row stays."""
    model = saved(tmp_path / "model.safetensors")
    loaded = load(tmp_path, image_size=(40, 48))
    table = model.pos_embed.detach()[0]
    grid = ndimage.zoom(table[1:].reshape(3, 5, 28).double().numpy(), (5 / 3, 6 / 5, 1), order=1)
    np.testing.assert_allclose(loaded.pos_embed.detach()[0, 1:].reshape(5, 6, 28).numpy(), grid, atol=1e-5)
    assert torch.equal(table[0], loaded.pos_embed[0, 0])
    assert loaded.card is not None
    assert (40, 48) == loaded.config.image_size == loaded.card.preprocess.image_size
    assert loaded.card.classes == CLASSES
    images = random_images(40, 48)
    torch.testing.assert_close(model(images), loaded(images), rtol=0, atol=1e-6)


def test_another_number_of_classes_is_refused_with_the_shapes(tmp_path: Path) -> None:
    saved(tmp_path / "model.safetensors")
    with pytest.raises(
        ModelFileError,
        match=r"(?s)2 misshapen: head.weight is \(11, 28\) in the file, \(3, 28\) in the model.*head='new'",
    ):
        load(tmp_path, num_classes=3)
    load(tmp_path, num_classes=11)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "new"}, "needs the number of its classes"),
        ({"head": "drop", "num_classes": 3}, "num_classes=3 asks for some"),
        ({"into": nn.Linear(1, 1), "num_classes": 3}, "into= fills a module as it is"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    saved(tmp_path / "model.safetensors")
    with pytest.raises(UsageError, match=message):
        load(tmp_path, **options)


def test_missing_spare_and_misshapen_are_one_error_that_lists_all(tmp_path: Path) -> None:
    model = random_vit()
    state = dict(model.state_dict())
    del state["norm.bias"], state["blocks.2.mlp.fc1.weight"]
    state["extra.weight"] = torch.ones(3)
    state["pos_embed"] = torch.ones(1, 17, 28)
    state["head.bias"] = torch.arange(11)
    save_native(tmp_path / "model.safetensors", state, card_for(model), Golden(logits=(), tolerance=0.0))
    with pytest.raises(ModelFileError) as caught:
        load(tmp_path)
    text = str(caught.value)
    assert "2 missing: blocks.2.mlp.fc1.weight, norm.bias;" in text
    assert "1 spare: extra.weight;" in text
    assert "2 misshapen: pos_embed is (1, 17, 28) in the file, (1, 16, 28) in the model" in text
    assert "head.bias is (11,) torch.int64 in the file, (11,) in the model" in text
    assert str(tmp_path / "model.safetensors") in text


@pytest.mark.parametrize(
    ("change", "guess"),
    [
        (lambda key, value: (f"module.{key}", value), "begin with 'module.'"),
        (lambda key, value: (f"_orig_mod.{key}", value), "begin with '_orig_mod.'"),
        (lambda key, value: (key, torch.ones(1, 25, 28) if key == "pos_embed" else value), "give image_size="),
        (lambda key, value: (key.replace("norm", "ln"), value), "another architecture"),
    ],
)
def test_the_likely_cause_is_guessed(tmp_path: Path, change: Any, guess: str) -> None:
    model = random_vit()
    state = dict(change(key, value) for key, value in model.state_dict().items())
    save_native(tmp_path / "model.safetensors", state, card_for(model), Golden(logits=(), tolerance=0.0))
    with pytest.raises(ModelFileError, match=guess):
        load(tmp_path)


def test_half_precision_files_become_float32_models(tmp_path: Path) -> None:
    model = random_vit()
    state = {name: value.to(torch.bfloat16) for name, value in model.state_dict().items()}
    save_native(tmp_path / "model.safetensors", state, card_for(model), Golden(logits=(), tolerance=0.0))
    loaded = load(tmp_path)
    assert {torch.float32} == {parameter.dtype for parameter in loaded.parameters()}
    assert torch.equal(loaded.head.weight, model.head.weight.to(torch.bfloat16).float())


def test_check_notices_a_model_that_computes_something_else(tmp_path: Path) -> None:
    """The tanh GELU in place of the exact one, another mean in preprocessing: the weights are intact, the file lies."""
    model = random_vit()
    card = card_for(model)
    tanh = random_vit(gelu="tanh")
    dark = card_for(model, preprocess=type(card.preprocess)(image_size=(24, 40), mean=(0.41, 0.5, 0.6)))
    for golden in (golden_of(tanh, card), golden_of(model, dark)):
        save_native(tmp_path / "model.safetensors", model.state_dict(), card, golden)
        load(tmp_path)
        with pytest.raises(ModelFileError, match=r"(?s)no longer computes what it did.*allowed is \d"):
            load(tmp_path, check=True)
    save_native(tmp_path / "model.safetensors", model.state_dict(), card, golden_of(model, card))
    load(tmp_path, check=True, head="new", num_classes=3, image_size=40)


class _Variant(nn.Module):
    """Somebody's own network: no ViT, buffers, BatchNorm."""

    def __init__(self, width: int = 7) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 4, 4)
        self.norm = nn.BatchNorm2d(width)
        self.out = nn.Linear(width, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.out(self.norm(self.conv(images)).relu().mean((2, 3)))


def test_somebodys_own_module_is_filled_not_rebuilt(tmp_path: Path) -> None:
    """Buffers and integer counters included; without the module, or with another one, a clear error."""
    theirs = _Variant()
    theirs(random_images())  # moves the running statistics
    theirs.eval()
    card = card_for(random_vit(), architecture=None, classes=("a", "b", "c", "d"))
    save_native(tmp_path / "model.safetensors", theirs.state_dict(), card, golden_of(theirs, card))
    images = random_images(seed=3)
    mine = load(tmp_path, into=_Variant(), check=True)
    assert torch.equal(theirs(images), mine(images))
    assert card == mine.card
    with pytest.raises(ModelFileError, match=r"vt\.load\(path, into=module\)"):
        load(tmp_path)
    other = _Variant(5)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(ModelFileError, match=r"norm.running_mean is \(7,\) in the file, \(5,\) in the model"):
        load(tmp_path, into=other)
    assert all(torch.equal(before[name], value) for name, value in other.state_dict().items())


def _foreign(folder: Path) -> dict[str, Path]:
    """One file of every kind that people mistake for a model."""
    path = {name: folder / f"{name}.safetensors" for name in _FOREIGN}
    path["empty"].write_bytes(b"")
    path["text"].write_text("hello, I am a note about weights, grüße")
    path["page"].write_text("<!DOCTYPE html><html><body>404</body></html>")
    path["lfs"].write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 346\n")
    path["zeros"].write_bytes(bytes(5000))
    torch.save({"head.weight": torch.ones(2)}, path["pickle"])
    torch.save({"head.weight": torch.ones(2)}, path["old-pickle"], _use_new_zipfile_serialization=False)
    with path["npz"].open("wb") as file:
        np.savez(file, weights=np.ones(3))
    with path["npy"].open("wb") as file:
        np.save(file, np.ones(3))
    path["gzip"].write_bytes(gzip.compress(b"weights"))
    path["jpeg"].write_bytes(b"\xff\xd8\xff\xe0" + bytes(300))
    path["broken-zip"].write_bytes(b"PK\x03\x04" + bytes(300))
    safetensors.torch.save_file({"head.weight": torch.ones(2), "head.bias": torch.ones(1)}, path["plain"])
    path["random"].write_bytes(np.random.default_rng(0).bytes(3000))
    return path


_FOREIGN = {
    "empty": "the file is empty",
    "text": "this is a text file",
    "page": "this is a web page: the download probably failed",
    "lfs": "Git LFS pointer",
    "zeros": "begins with nothing but zeros",
    "pickle": r"(?s)no dialect .* has such names.*1 tensors: head.weight \(2,\)",
    "old-pickle": r"(?s)no dialect .* has such names.*1 tensors: head.weight \(2,\)",
    "npz": r"(?s)no dialect .* has such names.*1 tensors: weights \(3,\)",
    "npy": r"this is a single NumPy array \(\.npy\)",
    "gzip": "this is a gzip archive",
    "jpeg": "this is a JPEG picture",
    "broken-zip": "its zip directory cannot be read",
    "plain": r"(?s)no dialect .* has such names.*2 tensors: head.bias \(1,\), head.weight \(2,\)",
    "random": "does not begin as a safetensors file does",
}


@pytest.mark.parametrize("kind", _FOREIGN)
def test_every_other_kind_of_file_is_named_for_what_it_is(tmp_path: Path, kind: str) -> None:
    path = _foreign(tmp_path)[kind]
    with pytest.raises(ModelFileError, match=_FOREIGN[kind]) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 4


def test_paths_that_lead_nowhere_say_where_they_might(tmp_path: Path) -> None:
    saved(tmp_path / "photos.safetensors")
    with pytest.raises(ModelFileError, match=r"(?s)no such model file.*did you mean .*/photos\.safetensors\?"):
        load(tmp_path / "fotos.safetensors")
    with pytest.raises(ModelFileError, match=r"there is no folder .*/nowhere either"):
        load(tmp_path / "nowhere" / "model.safetensors")
    assert load(tmp_path).config.depth == 3  # the one model file of a folder is meant by the folder
    (tmp_path / "other").mkdir()
    with pytest.raises(ModelFileError, match="there is no model file in this folder"):
        load(tmp_path / "other")
    (tmp_path / "other" / "run.json").write_text("{}")
    with pytest.raises(ModelFileError, match=r"(?s)has not finished.*vitreous resume .*/other"):
        load(tmp_path / "other")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelFileError, match="this is something else"):
        load(tmp_path / "pipe")


def test_open_model_tells_random_weights_from_loaded_ones(tmp_path: Path) -> None:
    """A module passes through; a name or a config gives random weights that the seed fixes; a path is loaded."""
    module = nn.Linear(2, 3)
    assert (module, False) == open_model(module, num_classes=5)
    named, random = open_model("ViT-Test", num_classes=5, image_size=(16, 24), seed=3)
    assert random
    same = create_model("vit-test", num_classes=5, image_size=(16, 24), seed=3)
    assert isinstance(named, ViT)
    assert all(torch.equal(a, b) for a, b in zip(named.parameters(), same.parameters(), strict=True))
    made, random = open_model(same.config, seed=3)
    assert random
    assert isinstance(made, ViT)
    assert same.config == made.config
    model = saved(tmp_path / "model.safetensors")
    for source in (tmp_path, str(tmp_path / "model.safetensors")):
        loaded, random = open_model(source, num_classes=4, head="new", image_size=(32, 40))
        assert not random
        assert isinstance(loaded, ViT)
        assert (loaded.config.num_classes, loaded.config.image_size) == (4, (32, 40))
        assert torch.equal(model.norm.weight, loaded.norm.weight)


def test_a_zoo_name_wins_over_a_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vit-test").mkdir()
    saved(tmp_path / "vit-test" / "model.safetensors")
    assert open_model("vit-test")[1]
    assert not open_model("./vit-test")[1]
    assert not open_model(Path("vit-test"))[1]


@pytest.mark.parametrize(
    ("text", "kind", "exit_code"),
    [("vit-x16", UnknownNameError, 2), ("runs/fotos", ModelFileError, 4), ("fotos.safetensors", ModelFileError, 4)],
)
def test_a_text_that_is_neither_names_both_possibilities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, kind: type, exit_code: int
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "photos").mkdir(parents=True)
    (tmp_path / "photos.safetensors").touch()
    with pytest.raises(kind, match=f"neither a file or run folder '{text}' nor a model of that name") as caught:
        open_model(text)
    assert exit_code == caught.value.exit_code
    hint = {"vit-x16": "did you mean vit-"}.get(text, "photos")
    assert hint in str(caught.value)

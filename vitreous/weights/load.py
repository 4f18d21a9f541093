"""The door through which weights come in: a file, a run folder, a name or a module, and out comes a model.

Each dialect (whose file it is) has one file in this room with one function `read(path, verify=...)`; `_read` picks it.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

from vitreous.architecture import Size, ViTConfig, as_pair
from vitreous.config import ModelCard
from vitreous.errors import ModelFileError, UnknownNameError, UsageError
from vitreous.model.create import create_model
from vitreous.model.position import resample
from vitreous.model.vit import ViT
from vitreous.weights.golden import check_golden
from vitreous.weights.native import NativeFile, read_native
from vitreous.weights.suspect import nearest_path
from vitreous.zoo import is_model_name, model_names

Head = Literal["keep", "new", "drop"]
"""The file's head as it is, a fresh one that begins at zero, or none."""

MODEL_FILE = "model.safetensors"
"""What the model is called inside a run folder."""


@overload
def load(
    source: str | Path,
    *,
    num_classes: int | None = None,
    head: Head = "keep",
    image_size: int | Size | None = None,
    verify: bool = True,
    check: bool = False,
    into: None = None,
) -> ViT: ...
@overload
def load(
    source: str | Path,
    *,
    num_classes: int | None = None,
    head: Head = "keep",
    image_size: int | Size | None = None,
    verify: bool = True,
    check: bool = False,
    into: nn.Module,
) -> nn.Module: ...
def load(
    source: str | Path,
    *,
    num_classes: int | None = None,
    head: Head = "keep",
    image_size: int | Size | None = None,
    verify: bool = True,
    check: bool = False,
    into: nn.Module | None = None,
) -> nn.Module:
    """The model that a file holds, in eval mode, with its `card`: architecture, preprocessing, classes, provenance.

    Args:
        source: a model file, or a run folder that holds one.
        num_classes: outputs of a new head; with the file's own head it must be what the file has.
        head: keep the file's head, put a new one in its place (zeros; the class names go with the old one), or drop it
            together with the tanh layer of pre-training, so that the model answers with features.
        image_size: resolution to use the model at; the position table is resampled once, here.
        verify: check the digest of the weights.
        check: also recompute the golden output that the file carries.
        into: your own module to fill, where the file cannot rebuild it; its keys and shapes must be the file's.

    Raises:
        ModelFileError: missing, damaged, of another kind, or not fitting: missing, spare and misshapen tensors are
            listed in one error, and nothing is half-loaded.
    """
    path = find_file(source)
    file = _read(path, verify)
    if into is not None:
        if head != "keep" or num_classes is not None or image_size is not None:
            raise UsageError("into= fills a module as it is: head, num_classes and image_size cannot be given with it")
        return _fill(into, file, path, check)
    if file.card.architecture is None:
        raise ModelFileError(
            "the file holds the weights of somebody's own module, which it cannot rebuild",
            where=str(path),
            remedy="from Python, build the module and fill it: vt.load(path, into=module)",
        )
    if check:
        check_golden(_build(file.card.architecture, file.tensors, path), file.card, file.golden, str(path))
    card, tensors = _adapt(file, num_classes, head, None if image_size is None else as_pair(image_size))
    assert card.architecture is not None
    model = _build(card.architecture, tensors, path)
    model.card = card
    return model


def open_model(
    source: str | Path | ViTConfig | nn.Module,
    *,
    num_classes: int | None = None,
    image_size: int | Size | None = None,
    head: Head = "keep",
    seed: int | None = None,
) -> tuple[nn.Module, bool]:
    """The model that a person means, and whether its weights are random.

    A text that is a zoo name means random weights, also where a file is called so (`./vit-b16` is the file); any other
    text is a model file or a run folder. A module is handed on as it is.

    Args:
        source: zoo name, file, run folder, config or module.
        num_classes: outputs of the head; None keeps what the file or the name says.
        image_size: resolution to use the model at; None keeps what the file or the name says.
        head: what to do with the head of a file.
        seed: fixes random weights.

    Raises:
        UnknownNameError: a text that is neither a zoo name nor a file.
        ModelFileError: see `load`.
    """
    if isinstance(source, nn.Module):
        return source, False
    if isinstance(source, ViTConfig) or (isinstance(source, str) and is_model_name(source)):
        return create_model(source, num_classes=num_classes, image_size=image_size, seed=seed), True
    if isinstance(source, str) and not Path(source).expanduser().exists():
        raise _neither(source)
    return load(source, num_classes=num_classes, head=head, image_size=image_size), False


def find_file(source: str | Path) -> Path:
    """The model file that a path means: itself, or the result inside a run folder.

    Args:
        source: a file or a run folder.

    Raises:
        ModelFileError: the folder holds no model.
    """
    path = Path(source).expanduser()
    if not path.is_dir():
        return path
    if (path / MODEL_FILE).exists():
        return path / MODEL_FILE
    if (path / "run.json").exists():
        raise ModelFileError(
            "this run has not finished: it has no model yet", where=str(path), remedy=f"vitreous resume {path}"
        )
    others = sorted(entry.name for entry in path.glob("*.safetensors"))
    raise ModelFileError(
        f"the folder holds no {MODEL_FILE}",
        where=str(path),
        why=f"it holds {', '.join(others[:5])}" if others else "it is not a run folder",
        remedy=f"name the file itself: {path / others[0]}" if others else "give a run folder or a model file",
    )


def _read(path: Path, verify: bool) -> NativeFile:
    return read_native(path, verify=verify)


def _adapt(
    file: NativeFile, num_classes: int | None, head: Head, size: Size | None
) -> tuple[ModelCard, dict[str, Tensor]]:
    """Card and tensors with the head and the resolution that were asked for."""
    card, tensors = file.card, dict(file.tensors)
    config = card.architecture
    assert config is not None
    if head == "new" and not num_classes:
        raise UsageError("a new head needs the number of its classes", remedy="num_classes=10")
    if head == "drop" and num_classes:
        raise UsageError(f"head='drop' leaves no classes, but num_classes={num_classes} asks for some")
    if head != "keep":
        tensors = {key: value for key, value in tensors.items() if not key.startswith(("head.", "pre_logits."))}
        config = dataclasses.replace(config, representation_size=None, num_classes=num_classes or 0)
        card = dataclasses.replace(card, classes=())
    elif num_classes is not None:
        config = dataclasses.replace(config, num_classes=num_classes)  # unless it is the file's, the shapes will differ
    if head == "new":
        assert num_classes is not None
        tensors |= {"head.weight": torch.zeros(num_classes, config.embed_dim), "head.bias": torch.zeros(num_classes)}
    if size is not None:
        resized = dataclasses.replace(config, image_size=size)
        if "pos_embed" in tensors:  # a missing one is told later, with all that is missing
            prefix = int(bool(config.class_token))
            tensors["pos_embed"] = resample(tensors["pos_embed"], prefix, config.grid, resized.grid)
        config = resized
        card = dataclasses.replace(card, preprocess=dataclasses.replace(card.preprocess, image_size=size))
    return dataclasses.replace(card, architecture=config), tensors


def _build(config: ViTConfig, tensors: Mapping[str, Tensor], path: Path) -> ViT:
    """A ViT around these tensors; they are taken over, not copied, and no random weights are drawn before."""
    with torch.device("meta"):
        model = ViT(config)
    model.load_state_dict(_fitting(tensors, model, path), strict=True, assign=True)
    return model.eval()


def _fill(module: nn.Module, file: NativeFile, path: Path, check: bool) -> nn.Module:
    """The person's own module with the file's values copied in."""
    module.load_state_dict(_fitting(file.tensors, module, path), strict=True)
    if check:
        check_golden(module, file.card, file.golden, str(path))
    _give_card(module, file.card)
    return module.eval()


def _give_card(module: Any, card: ModelCard) -> None:
    module.card = card


def _fitting(tensors: Mapping[str, Tensor], model: nn.Module, path: Path) -> dict[str, Tensor]:
    """The tensors in the model's precision, if they are exactly the ones the model has; one error otherwise."""
    wanted = model.state_dict()
    missing = [key for key in wanted if key not in tensors]
    spare = [key for key in tensors if key not in wanted]
    misshapen = [
        f"{key} is {_shape(tensors[key])} in the file, {_shape(wanted[key])} in the model"
        for key in wanted
        if key in tensors and not _alike(tensors[key], wanted[key])
    ]
    if missing or spare or misshapen:
        listed = (("missing", missing), ("spare", spare), ("misshapen", misshapen))
        raise ModelFileError(
            "the weights in the file are not those of the model",
            where=str(path),
            why="; ".join(f"{len(keys)} {what}: {', '.join(keys)}" for what, keys in listed if keys),
            remedy=_guess(missing, spare, misshapen),
        )
    return {key: value.to(wanted[key].dtype) for key, value in tensors.items()}


def _alike(found: Tensor, wanted: Tensor) -> bool:
    same_kind = found.dtype == wanted.dtype or (found.is_floating_point() and wanted.is_floating_point())
    return same_kind and found.shape == wanted.shape


def _shape(tensor: Tensor) -> str:
    kind = "" if tensor.is_floating_point() else f" {tensor.dtype}"
    return f"{tuple(tensor.shape)}{kind}"


def _guess(missing: list[str], spare: list[str], misshapen: list[str]) -> str:
    """What most likely is the matter, and what to do."""
    for prefix in {key.partition(".")[0] + "." for key in spare}:
        if {key.removeprefix(prefix) for key in spare} == set(missing):
            return f"the names in the file begin with {prefix!r}, as of a wrapped module: save the module inside"
    heads = [text for text in (*missing, *spare, *misshapen) if text.startswith(("head.", "pre_logits."))]
    if heads and len(heads) == len(missing) + len(spare) + len(misshapen):
        return "another number of classes: head='new' begins a new head, head='drop' leaves it out"
    if [text.partition(" ")[0] for text in misshapen] == ["pos_embed"] and not missing and not spare:
        return "another resolution: give image_size="
    return "this is another architecture: build the model with the settings it was trained with"


def _neither(text: str) -> UnknownNameError | ModelFileError:
    """One error for a text that is no zoo name and no file: which of the two it was meant to be nobody knows."""
    names = difflib.get_close_matches(text.casefold(), model_names(), n=2, cutoff=0.7)
    path = Path(text)
    pathlike = len(path.parts) > 1 or path.suffix in (".safetensors", ".npz", ".pt", ".pth", ".bin", ".onnx")
    hints = [f"did you mean {' or '.join(names)}?" if names else None, nearest_path(path)]
    kind = ModelFileError if pathlike else UnknownNameError
    return kind(
        f"there is neither a file or run folder {text!r} nor a model of that name",
        why="; ".join(hint for hint in hints if hint) or None,
        remedy="a run folder, a model file, or a name that `vitreous models` lists",
    )

"""The door through which weights come in: a file, a run folder, a name or a module, and out comes a model."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, overload

import torch
from torch import Tensor, nn

from vitreous import console
from vitreous.architecture import Architecture, ResNetConfig, Size, ViTConfig, as_pair
from vitreous.config import ModelCard
from vitreous.errors import ModelFileError, UnknownNameError, UsageError
from vitreous.model.create import Model, build, create_model
from vitreous.results import Resizing
from vitreous.weights.adapt import Adapted, Head, with_channels, with_head, with_patch, with_size
from vitreous.weights.dialects.dialect import Settings, unaccounted
from vitreous.weights.golden import check_golden
from vitreous.weights.read import NATIVE, Loaded, find_file, find_published, read, read_published, retold
from vitreous.weights.suspect import nearest_path
from vitreous.zoo import is_model_name, model_names


@overload
def load(
    source: str | Path,
    *,
    num_classes: int | None = None,
    head: Head = "keep",
    image_size: int | Size | None = None,
    patch_size: int | Size | None = None,
    in_channels: int | None = None,
    settings: Settings | None = None,
    verify: bool = True,
    check: bool = False,
    into: None = None,
) -> Model: ...
@overload
def load(
    source: str | Path,
    *,
    num_classes: int | None = None,
    head: Head = "keep",
    image_size: int | Size | None = None,
    patch_size: int | Size | None = None,
    in_channels: int | None = None,
    settings: Settings | None = None,
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
    patch_size: int | Size | None = None,
    in_channels: int | None = None,
    settings: Settings | None = None,
    verify: bool = True,
    check: bool = False,
    into: nn.Module | None = None,
) -> nn.Module:
    """The model that a file holds, in eval mode, with its `card`: architecture, preprocessing, classes, provenance.

    Args:
        source: a model file or folder in any dialect, a run folder, or a pretrained name that is in the cache.
        num_classes: outputs of a new head; with the file's own head it must be what the file has.
        head: keep the file's head, put a new one in its place (zeros; the class names go with the old one), or drop it
            together with the tanh layer of pre-training, so that the model answers with features.
        image_size: resolution to use the model at; the position table is resampled once, here.
        patch_size: patch size to use the model at (FlexiViT's resize of the projection); the grid stays.
        in_channels: channels of the images; the first convolution is summed or repeated to fit.
        settings: what a foreign file cannot tell by names and shapes: fields of the architecture, such as
            {"num_heads": 6, "gelu": "tanh"}, and "root", which of several sets of weights to take.
        verify: check the digest of the weights.
        check: also recompute the golden output that a native file carries.
        into: your own module to fill, where the file cannot rebuild it; its keys and shapes must be the file's.

    Raises:
        ModelFileError: missing, damaged, of an unknown kind, or not fitting: missing, spare and misshapen tensors are
            listed in one error, and nothing is half-loaded.
    """
    loaded, path = read_any(source, verify=verify, settings=settings)
    if into is not None:
        if head != "keep" or not all(value is None for value in (num_classes, image_size, patch_size, in_channels)):
            raise UsageError(
                "into= fills a module as it is: head, num_classes, image_size, patch_size and in_channels"
                " cannot be given with it"
            )
        return _fill(into, loaded, path, check)
    config = loaded.card.architecture
    if config is None:
        raise ModelFileError(
            "the file holds the weights of somebody's own module, which it cannot rebuild",
            where=str(path),
            remedy="from Python, build the module and fill it: vt.load(path, into=module)",
        )
    if check and loaded.golden is not None:
        check_golden(_build(config, loaded.tensors, path), loaded.card, loaded.golden, str(path))
    adapted = adapt(
        loaded, head=head, num_classes=num_classes, image_size=image_size, patch_size=patch_size, channels=in_channels
    )
    if loaded.account.dialect != NATIVE:
        console.say(*retold(loaded.account, loaded.card, path), *map(_told, adapted.resized))
    return build_from(adapted, path)


def read_any(source: str | Path, *, verify: bool = True, settings: Settings | None = None) -> tuple[Loaded, Path]:
    """What a person's word for weights holds, in native terms, and where it lies.

    Args:
        source: see `load`.
        verify: see `load`.
        settings: see `load`.
    """
    if (weights := find_published(source)) is not None:
        return read_published(weights, settings=settings)
    path = find_file(source)
    return read(path, verify=verify, settings=settings), path


def adapt(
    loaded: Loaded,
    *,
    head: Head = "keep",
    num_classes: int | None = None,
    image_size: int | Size | None = None,
    patch_size: int | Size | None = None,
    channels: int | None = None,
) -> Adapted:
    """Card and tensors with the head, the resolution, the patch size and the channels that were asked for.

    Args:
        loaded: as read.
        head: see `load`.
        num_classes: see `load`.
        image_size: see `load`.
        patch_size: see `load`.
        channels: see `load`.
    """
    adapted = with_head(Adapted(loaded.card, dict(loaded.tensors)), head, num_classes)
    if patch_size is not None:
        adapted = with_patch(adapted, as_pair(patch_size))
    if image_size is not None:
        adapted = with_size(adapted, as_pair(image_size))
    return adapted if channels is None else with_channels(adapted, channels)


def build_from(adapted: Adapted, path: Path) -> Model:
    """The model of a card and its tensors, in eval mode; the tensors are taken over, not copied.

    Args:
        adapted: its card has an architecture.
        path: names the checkpoint in errors.
    """
    assert adapted.card.architecture is not None
    model = _build(adapted.card.architecture, adapted.tensors, path)
    model.card = adapted.card
    return model


def open_model(
    source: str | Path | Architecture | nn.Module,
    *,
    num_classes: int | None = None,
    image_size: int | Size | None = None,
    head: Head = "keep",
    seed: int | None = None,
) -> tuple[nn.Module, bool]:
    """The model that a person means, and whether its weights are random.

    A text that is a zoo name means random weights, also where a file is called so (`./vit-b16` is the file); any other
    text is a model file, a run folder or the name of published weights in the cache. A module is handed on as it is.

    Args:
        source: zoo name, file, run folder, name of published weights, config or module.
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
    if isinstance(source, ViTConfig | ResNetConfig) or (isinstance(source, str) and is_model_name(source)):
        return create_model(source, num_classes=num_classes, image_size=image_size, seed=seed), True
    if isinstance(source, str) and not Path(source).expanduser().exists() and find_published(source) is None:
        raise _neither(source)
    return load(source, num_classes=num_classes, head=head, image_size=image_size), False


_ALIGNED = 16  # bytes; a mapped archive puts tensors anywhere


def _told(resized: Resizing) -> str:
    return f"  resized {resized.name}: {resized.source} -> {resized.target} ({resized.how})"


def _build(config: Architecture, tensors: Mapping[str, Tensor], path: Path) -> Model:
    """A model around these tensors; they are taken over, not copied, and no random weights are drawn before."""
    with torch.device("meta"):
        model = build(config)
    model.load_state_dict(_fitting(tensors, model, path), strict=True, assign=True)
    return model.eval()


def _fill(module: nn.Module, file: Loaded, path: Path, check: bool) -> nn.Module:
    """The person's own module with the file's values copied in."""
    module.load_state_dict(_fitting(file.tensors, module, path), strict=True)
    if check and file.golden is not None:
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
        raise unaccounted(
            str(path), type(model).__name__, missing, spare, misshapen, remedy=_guess(missing, spare, misshapen)
        )
    return {key: _usable(value.to(wanted[key].dtype)) for key, value in tensors.items()}


def _usable(tensor: Tensor) -> Tensor:
    """The tensor as kernels like it: in rows, and beginning where a vector load may begin."""
    tensor = tensor.contiguous()
    return tensor if tensor.data_ptr() % _ALIGNED == 0 else tensor.clone()


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

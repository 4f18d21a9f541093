"""What a frozen model knows of labelled images: one vector each, of what its head reads, and of its blocks if asked.

Everything that judges a model without training it stands on these: nearest neighbours, linear probes, few-shot.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32, Int, Int64, UInt8
from torch import nn

from vitreous.architecture import ResNetConfig, ViTConfig
from vitreous.config import ModelCard, PreprocessConfig
from vitreous.console import Progress
from vitreous.data.feeding.cache import stamp_of
from vitreous.data.feeding.cache_file import Stamp
from vitreous.data.feeding.loader import Readable, evaluation_batches
from vitreous.data.feeding.threads import num_readers
from vitreous.data.imageset import ImageSet
from vitreous.errors import DataError, ImageError, ModelFileError, ResourceError, UsageError
from vitreous.evaluation.feature_store import Stored, Writing, forget, read_stored
from vitreous.evaluation.reading import Reader, num_blocks, what_is_read
from vitreous.model.prepare import Prepared
from vitreous.model.resnet import ResNet
from vitreous.model.vit import ViT
from vitreous.picture.preprocess import normalise
from vitreous.predict import Model, Predictor
from vitreous.results import Failure
from vitreous.schema import to_json
from vitreous.weights.load import open_model
from vitreous.weights.native import tensor_digest

_READ = 64  # images read together; they are cut into passes
_FORM = 1  # of the stored features: another number, and what was stored before is not read


@dataclass(frozen=True, eq=False, kw_only=True)
class FrozenFeatures:
    """One vector per image that could be read, from a model that learns nothing meanwhile."""

    pooled: Float32[np.ndarray, "N D"]
    """What the head reads."""
    labels: Int64[np.ndarray, " N"]
    """True classes; of several labels, the main one."""
    places: Int64[np.ndarray, " N"]
    """Of these images in their set."""
    classes: tuple[str, ...]
    seen: int
    expected: int
    failed: tuple[Failure, ...]
    """Images that could not be read, and so have no row."""
    digest: str
    """SHA-256 in hex of the model."""
    reads: str
    """What `pooled` is, in words."""
    by_layer: Mapping[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    """For each block asked for, from 0: the class token, or the mean of the patches where there is none, and the mean
    of the patches; both (N, D) float32, normed as the last block's output is."""

    def subset(self, rows: Int[np.ndarray, " n"]) -> FrozenFeatures:
        """Some of the images, in the order given, as copies in memory.

        Args:
            rows: places in these arrays.
        """
        return dataclasses.replace(
            self,
            pooled=np.asarray(self.pooled[rows]),
            labels=self.labels[rows],
            places=self.places[rows],
            seen=len(rows),
            expected=len(rows),
            failed=(),
            by_layer={layer: (np.asarray(a[rows]), np.asarray(b[rows])) for layer, (a, b) in self.by_layer.items()},
        )


def frozen(
    source: Model,
    *,
    device: str = "auto",
    precision: Literal["float32", "bfloat16"] = "float32",
    batch_size: int | None = None,
) -> Predictor:
    """A Predictor for features: as `Predictor` makes it, but a model without a head or class names will do.

    A ViT or ResNet without a head gets one of a single zero, so that it can be asked; no feature depends on it. Random
    weights are those of seed 0.

    Args:
        source: whatever `Predictor` takes.
        device: as for `Predictor`.
        precision: as for `Predictor`.
        batch_size: as for `Predictor`.

    Raises:
        ModelFileError: the file cannot be used.
        UsageError: the module has no card.
    """
    source = source.model if isinstance(source, Prepared) else source
    module: nn.Module
    card: ModelCard | None
    match source:
        case (module, card):
            pass
        case nn.Module():
            module, card = source, getattr(source, "card", None)
        case _:
            module, _ = open_model(source, seed=0)
            card = getattr(module, "card", None)
    if isinstance(module, ViT | ResNet):
        config = module.config
        card = card or ModelCard(architecture=config, preprocess=PreprocessConfig(image_size=config.image_size))
        if config.num_classes == 0:
            module, card = _with_a_head(module), dataclasses.replace(card, classes=())
    elif isinstance(card, ModelCard) and not card.classes:
        card = dataclasses.replace(card, classes=("",))
    whole: Model = (module, card) if isinstance(card, ModelCard) else module
    return Predictor(whole, device=device, precision=precision, batch_size=batch_size)


def extract(
    predictor: Predictor, images: ImageSet, *, layers: Sequence[int] = (), cache: Path | None = None
) -> FrozenFeatures:
    """Features of every image that can be read, the same for an image alone and among others.

    Args:
        predictor: from `frozen`, or any other; its device, precision and passes hold.
        images: to look at, as the model's card says an image becomes its input.
        layers: blocks whose outputs to keep as well, from 0; -1 is the last. A ResNet's units are its blocks.
        cache: folder of features that were made before; None keeps them in memory only. With one, they lie on disk and
            memory stays flat however many images there are. Under the key of the model's weights, the images, the
            preprocessing, the layers and the precision they are found again; photos that changed are looked at anew.
            Where a change could not be noticed, in somebody's own module or in images that lie in no file, they are in
            memory too.

    Raises:
        DataError: not one of the images can be read.
        UsageError: the model has no such block, or nothing that a head reads.
        ResourceError: the folder cannot be written.
    """
    model, policy = module_of(predictor), predictor.prepared.policy
    chosen = _chosen_layers(model, layers)
    digest = model_digest(model)
    folder, stored = None, None
    # what a module of somebody's own does is written in its code, which no digest of weights tells of
    state = _state(images) if cache is not None and type(model) in (ViT, ResNet) else None
    if cache is not None and state is not None:
        prepared = json.dumps(to_json(predictor.preprocess), sort_keys=True)
        parts = [_FORM, digest, images.fingerprint, state, prepared, chosen, policy.precision]
        folder = cache / hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
        stored = _still_whole(read_stored(folder), images, folder)
    if stored is None:
        stored = _made(predictor, images, chosen, folder)
    return FrozenFeatures(
        pooled=stored.parts["pooled"],
        labels=images.labels[stored.places],
        places=stored.places,
        classes=images.classes,
        seen=len(stored.places),
        expected=len(images),
        failed=stored.failed,
        digest=digest,
        reads=what_is_read(model),
        by_layer={layer: _halves(stored.parts[f"layer-{layer}"]) for layer in chosen},
    )


def num_layers(predictor: Predictor) -> int:
    """How many blocks a model has that can be asked for; 0 for somebody's own module.

    Args:
        predictor: as for `extract`.
    """
    return num_blocks(module_of(predictor))


def module_of(predictor: Predictor) -> nn.Module:
    """The module that answers, in eval mode; it is the Predictor's own and not to be changed.

    Args:
        predictor: as for `extract`.
    """
    return predictor.prepared.model


def model_digest(model: nn.Module) -> str:
    """SHA-256 in hex over weights and buffers, and over what is made of them: the config, or the module as it prints.

    Args:
        model: on any device.
    """
    kind = json.dumps(to_json(model.config), sort_keys=True) if isinstance(model, ViT | ResNet) else str(model)
    name = f"{type(model).__module__}.{type(model).__qualname__}"
    weights = tensor_digest({key: value.detach().cpu() for key, value in model.state_dict().items()})
    return hashlib.sha256(f"{name}\n{kind}\n{weights}".encode()).hexdigest()


def _made(predictor: Predictor, images: ImageSet, layers: tuple[int, ...], folder: Path | None) -> Stored:
    """The features, in memory or in the folder."""
    places: list[np.ndarray] = []
    failed: list[Failure] = []
    if folder is None:
        kept: dict[str, np.ndarray] = {}
        seen = 0
        for found, parts in _rows(predictor, images, layers, failed):
            if not kept:
                kept = {name: np.empty((len(images), rows.shape[1]), np.float32) for name, rows in parts.items()}
            for name, rows in parts.items():
                kept[name][seen : seen + len(rows)] = rows
            places.append(found)
            seen += len(found)
        _check_any(seen, images, failed)
        return Stored({name: rows[:seen] for name, rows in kept.items()}, np.concatenate(places), tuple(failed))
    with Writing(folder, len(images)) as writing:
        for found, parts in _rows(predictor, images, layers, failed):
            writing.add(parts)
            places.append(found)
        _check_any(len(places), images, failed)
        writing.finish(np.concatenate(places), failed)
    stored = read_stored(folder)
    if stored is None:
        raise ResourceError(
            "features that were just written are gone",
            where=str(folder),
            remedy="the same again: something removed them",
        )
    return stored


def _check_any(seen: int, images: ImageSet, failed: Sequence[Failure]) -> None:
    if not seen:
        why = "; ".join(f"{failure.path}: {failure.reason}" for failure in failed[:3]) or "there are none"
        raise DataError("not one of the images can be read", where=images.name, why=why)


def _rows(
    predictor: Predictor, images: ImageSet, layers: tuple[int, ...], failed: list[Failure]
) -> Iterator[tuple[Int64[np.ndarray, " b"], dict[str, np.ndarray]]]:
    """Places and features of the images that can be read, batch by batch; the others are added to `failed`."""
    reader = Reader(module_of(predictor), layers)
    prepared = Prepared(reader, predictor.prepared.policy)
    size = max(_READ, predictor.batch_size)
    batches = evaluation_batches(images, preprocess=predictor.preprocess, batch_size=size, workers=num_readers(images))
    with Progress(f"features of {images.name}", len(images)) as progress, closing(batches) as read:
        found: Readable
        for found in read:
            places, pixels, lost = found
            failed += lost
            for first in range(0, len(places), predictor.batch_size):
                some = slice(first, first + predictor.batch_size)
                rows = _pass(predictor, prepared, pixels[some])
                ends = np.cumsum(list(reader.widths.values()))[:-1]
                parts = dict(zip(reader.widths, np.split(rows, ends, axis=1), strict=True))
                yield places[some].astype(np.int64), parts
            progress.advance(len(places) + len(lost))


@torch.inference_mode()
def _pass(predictor: Predictor, prepared: Prepared, pixels: UInt8[np.ndarray, "b h w 3"]) -> Float32[np.ndarray, "b F"]:
    """Features of at most `batch_size` images, from a pass of exactly that many, as the Predictor does it."""
    full = np.zeros((predictor.batch_size, *pixels.shape[1:]), np.uint8)
    full[: len(pixels)] = pixels  # the rest stays black
    rows = prepared(torch.from_numpy(normalise(full, predictor.preprocess))).cpu().numpy()[: len(pixels)]
    if not np.isfinite(rows).all():
        raise ModelFileError(
            "the model's features are not finite",
            why="its weights are damaged, or its training diverged",
            remedy="use an earlier model",
        )
    return rows


def _chosen_layers(model: nn.Module, layers: Sequence[int]) -> tuple[int, ...]:
    """The blocks asked for by their places from 0, rising, each once."""
    depth = num_blocks(model)
    for layer in layers:
        if not -depth <= layer < depth:
            why = f"it has blocks 0 to {depth - 1}" if depth else "only a ViT's and a ResNet's blocks are known"
            raise UsageError(f"the model has no block {layer}", why=why)
    return tuple(sorted({layer % depth for layer in layers}))


def _halves(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    half = rows.shape[1] // 2
    return rows[:, :half], rows[:, half:]


def _with_a_head(model: ViT | ResNet) -> ViT | ResNet:
    """A model of one class with the weights of one of none."""
    config: ViTConfig | ResNetConfig = dataclasses.replace(model.config, num_classes=1)
    whole = ViT(config) if isinstance(config, ViTConfig) else ResNet(config)
    lacking, spare = whole.load_state_dict(model.state_dict(), strict=False)
    assert not spare, "the trunk is the same"
    assert all(name.startswith("head") for name in lacking), "only the head is new"
    with torch.no_grad():
        for name, value in whole.named_parameters():
            if name in lacking:
                value.zero_()
    return whole.eval()


def _still_whole(stored: Stored | None, images: ImageSet, folder: Path) -> Stored | None:
    """What is stored, unless an image that could not be read can be now, as after a network or rights were mended."""
    if stored is None:
        return None
    for place in np.setdiff1d(np.arange(len(images)), stored.places).tolist():
        with contextlib.suppress(ImageError):
            images.read(place)
            forget(folder)
            return None
    return stored


def _state(images: ImageSet) -> str | None:
    """Size and time of every file the images lie in, as a digest: a photo may change and keep its name. None where
    they lie in no files, so that nobody could tell."""
    if images.in_memory or images.afar:  # their fingerprint is of what they show, or of where they are fetched from
        return ""
    digest, containers = hashlib.sha256(), dict[str, Stamp | None]()
    for name in images.ids:
        folder = os.path.dirname(name)
        if folder not in containers:
            containers[folder] = stamp_of(folder)  # an archive or shard; None for a folder
        found = containers[folder] or stamp_of(name)
        if found is None and not os.path.isdir(folder):
            return None
        digest.update(repr(found).encode())
    return digest.hexdigest()

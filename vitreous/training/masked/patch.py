"""Masked patch prediction: half of the patch embeddings are corrupted, and the model says what was there (B.1.2).

Of the corrupted patches 80 % become a learned [mask] embedding, 10 % the embedding of another patch of the same image,
and 10 % stay as they are, as in BERT (Devlin et al., 2019). No label is read. What is learned is the Vision
Transformer inside; the mask embedding and the layer that names colours are thrown away (`vit_of`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from vitreous.architecture import Size, ViTConfig
from vitreous.config import PreprocessConfig, Recipe
from vitreous.data.feeding.loader import Batch, evaluation_batches
from vitreous.data.feeding.threads import num_readers
from vitreous.data.imageset import ImageSet
from vitreous.errors import ConfigError
from vitreous.model.resnet import ResNet
from vitreous.model.vit import ViT
from vitreous.picture.preprocess import normalise
from vitreous.results import Failure
from vitreous.training.masked.targets import (
    NUM_COLOURS,
    MaskedTarget,
    cells,
    colour_classes,
    colour_of_pixels,
    num_outputs,
    patch_pixels,
)

_MASKED, _SWAPPED = 0.8, 0.1  # of the corrupted patches; the others stay as they are
_TRAINING, _HELD_OUT, _WEIGHTS = 5, 6, 7  # set these streams apart from those of order, augmentation and mixing


@dataclass(frozen=True, eq=False)
class Corruption:
    """What is done to the patches of some images; as many are corrupted in each."""

    places: Int[np.ndarray, "b K"]
    """The corrupted patches, in reading order; these are asked for."""
    masked: Bool[np.ndarray, "b N"]
    """Patches that become the [mask] embedding."""
    source: Int[np.ndarray, "b N"]
    """The patch whose embedding stands at each place: its own, but for patches that are swapped for another."""

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Places, masked and source, as `MaskedPatch` takes them."""
        return torch.from_numpy(self.places), torch.from_numpy(self.masked), torch.from_numpy(self.source)


def corruption(keys: Int[np.ndarray, "b key"], num_patches: int, share: float, *, purpose: int) -> Corruption:
    """What is done to each image: a pure function of its key, made from raw PCG64 numbers, which never change.

    Args:
        keys: seed, epoch and so on of each image, 0 or more.
        num_patches: N.
        share: of the patches that are corrupted; round(share * N) of them, at least one.
        purpose: sets streams with the same keys apart.
    """
    count = max(1, round(share * num_patches))
    raw = np.stack([_raw(key, purpose, 3 * num_patches) for key in keys.tolist()]).reshape(len(keys), 3, num_patches)
    order, fate, other = raw[:, 0], _uniform(raw[:, 1]), _uniform(raw[:, 2])
    places = np.sort(np.argsort(order, axis=1, kind="stable")[:, :count], axis=1)
    chosen = np.zeros(order.shape, bool)
    np.put_along_axis(chosen, places, True, axis=1)
    own = np.arange(num_patches)
    others = (own + 1 + (other * (num_patches - 1)).astype(np.int64)) % num_patches
    swapped = chosen & (_MASKED <= fate) & (fate < _MASKED + _SWAPPED)
    return Corruption(places=places, masked=chosen & (fate < _MASKED), source=np.where(swapped, others, own))


def _raw(key: list[int], purpose: int, count: int) -> np.ndarray:
    return np.random.PCG64(np.random.SeedSequence(key, spawn_key=(purpose,))).random_raw(count)


def _uniform(raw: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1) from 64 random bits each."""
    return (raw >> np.uint64(11)) * 2.0**-53


class MaskedPatch(nn.Module):
    """A Vision Transformer that says what was in its corrupted patches.

    Args:
        vit: without a head; changed in place. What only a head would read rests until `vit_of`.
        target: what is said of a patch.
        seed: fixes the mask embedding; the predicting layer begins at zero.
    """

    def __init__(self, vit: ViT, target: MaskedTarget, seed: int) -> None:
        super().__init__()
        assert not vit.config.num_classes, "a model that predicts patches has no classes"
        D, state = vit.config.embed_dim, np.random.SeedSequence(seed, spawn_key=(_WEIGHTS,)).generate_state(1)
        self.vit, self.target = vit, target
        _resting(vit, True)
        drawn = torch.randn(1, 1, D, generator=torch.Generator().manual_seed(int(state[0])))
        self.mask_token = nn.Parameter(0.02 * drawn)
        # tokens of a model whose norm stands after its pooling have not been normalised yet
        self.norm = nn.LayerNorm(D, eps=vit.config.norm_eps) if vit.config.pool_norm == "after" else nn.Identity()
        self.predict = nn.Linear(D, num_outputs(target, vit.config.stride))
        nn.init.zeros_(self.predict.weight)
        nn.init.zeros_(self.predict.bias)

    def forward(
        self,
        images: Float[Tensor, "B C H W"],
        places: Int[Tensor, "B K"],
        masked: Bool[Tensor, "B N"],
        source: Int[Tensor, "B N"],
    ) -> Float[Tensor, "B K O"]:
        """What is said of the patches at `places`.

        Args:
            images: preprocessed.
            places: see `Corruption`.
            masked: see `Corruption`.
            source: see `Corruption`.
        """
        rows = torch.arange(len(images), device=places.device)[:, None]

        def corrupt(x: Tensor) -> Tensor:  # indexing, not gather: its backward pass adds up in one order on CUDA too
            return torch.where(masked[..., None], self.mask_token.to(x.dtype), x[rows, source])

        patches = self.vit.encode(images, corrupt)[:, self.vit.num_prefix :]
        return self.predict(self.norm(patches[rows, places]))


def masked_patch(model: nn.Module, recipe: Recipe, seed: int) -> MaskedPatch:
    """`model` made ready for masked patch prediction.

    Args:
        model: a Vision Transformer or hybrid without a head; changed in place.
        recipe: says what is to be predicted.
        seed: of the run.

    Raises:
        ConfigError: the model has no patches that could be hidden, or the recipe mixes images.
    """
    if not isinstance(model, ViT) or model.config.num_tokens is not None:
        name = model.config.name if isinstance(model, ViT | ResNet) else type(model).__name__
        raise ConfigError(
            f"{name} has no tokens that stand for patches, so none can be hidden",
            why="masked patch prediction replaces patch embeddings",
            remedy="--model vit-ti16, or another Vision Transformer or hybrid of `vitreous models`",
        )
    if model.config.num_classes:
        raise ConfigError(
            f"{model.config.name} has a head for {model.config.num_classes} classes, and hidden patches have none",
            remedy="build it with num_classes=0, or load it with head='drop'",
        )
    if recipe.mixes:
        raise ConfigError(
            "a patch of two mixed images has no colour to predict",
            why=f"mixup is {recipe.mixup:g} and cutmix {recipe.cutmix:g} with the objective masked-patch",
            remedy="set both to 0",
        )
    _cut(model.config, model.config.image_size)
    return MaskedPatch(model, recipe.masked_target, seed)


def inside(module: nn.Module) -> MaskedPatch:
    """The `MaskedPatch` in a module that prepares or distributes it.

    Args:
        module: a `MaskedPatch`, or whatever it is wrapped in.
    """
    return next(part for part in module.modules() if isinstance(part, MaskedPatch))


def vit_of(module: nn.Module) -> ViT:
    """The Vision Transformer that learned, headless, as its file is saved for `finetune --model`.

    Args:
        module: a `MaskedPatch`, or whatever it is wrapped in.
    """
    return _resting(inside(module).vit, False)


@dataclass(frozen=True)
class MaskedPatchObjective:
    """What training minimises: the mean over an image's corrupted patches, summed over images.

    Softmax cross-entropy over 512 colours (of 16 cells: their mean), or the mean squared error over pixels in [-1, 1].
    """

    target: MaskedTarget

    def targets(
        self, images: UInt8[np.ndarray, "b H W 3"], places: Int[np.ndarray, "b K"], grid: Size, patch: Size
    ) -> Tensor:
        """What is true of the corrupted patches: classes (b, K, cells), or pixels (b, K, P).

        Args:
            images: RGB, as the model sees them.
            places: see `Corruption`.
            grid: (rows, columns) of patches.
            patch: (height, width) in pixels.
        """
        if self.target == "pixels":
            every = patch_pixels(images, grid, patch)
        else:
            every = colour_classes(images, grid, patch, side=4 if self.target == "downsampled" else 1)
        return every[torch.arange(len(images))[:, None], torch.from_numpy(places)]

    def loss(self, outputs: Float[Tensor, "B K O"], targets: Tensor) -> Float[Tensor, ""]:
        """Sum over the images of this micro-batch.

        Args:
            outputs: of `MaskedPatch`, in float32.
            targets: from `targets`.
        """
        if self.target == "pixels":
            return F.mse_loss(outputs, targets, reduction="sum") / targets[0].numel()
        logits = outputs.reshape(-1, NUM_COLOURS)
        return F.cross_entropy(logits, targets.reshape(-1), reduction="sum") / targets[0].numel()

    def right(self, outputs: Float[Tensor, "B K O"], targets: Tensor) -> Float[Tensor, " B"]:
        """Share of each image's corrupted patches, or of their cells, whose colour is said rightly.

        Args:
            outputs: of `MaskedPatch`.
            targets: from `targets`.
        """
        truth = colour_of_pixels(targets)[..., None] if self.target == "pixels" else targets
        return (self.said(outputs) == truth).flatten(1).float().mean(dim=1)

    def correct(self, outputs: Float[Tensor, "B K O"], targets: Tensor) -> float:
        """Images answered rightly, each counted by the share of its corrupted patches.

        Args:
            outputs: of `MaskedPatch`.
            targets: from `targets`.
        """
        return float(self.right(outputs, targets).sum())

    def said(self, outputs: Float[Tensor, "B K O"]) -> Int[Tensor, "B K C"]:
        """The most probable colour of each patch or cell; the mean colour of pixels.

        Args:
            outputs: of `MaskedPatch`.
        """
        if self.target == "pixels":
            return colour_of_pixels(outputs.detach())[..., None]
        return outputs.detach().unflatten(-1, (cells(self.target), NUM_COLOURS)).argmax(dim=-1)


def masked_loss(
    prepared: nn.Module, batch: Batch, preprocess: PreprocessConfig, recipe: Recipe, seed: int
) -> tuple[Tensor, float]:
    """The loss of a micro-batch, summed over its images, and how many of them are answered rightly.

    Args:
        prepared: a `Prepared` around a `MaskedPatch`, or what that is wrapped in.
        batch: what is corrupted depends on each image and its epoch alone, never on how batches are cut.
        preprocess: the model's.
        recipe: gives target and share; with repeats, each showing of an image is corrupted anew.
        seed: of the run.
    """
    repeat = (batch.first + np.arange(len(batch.indices))) // (recipe.batch_size // recipe.repeats)
    keys = np.stack([np.full_like(repeat, seed), batch.epochs, batch.indices, repeat], axis=1)
    outputs, targets, _ = _asked(prepared, batch.images, keys, preprocess, recipe, _TRAINING)
    objective = MaskedPatchObjective(recipe.masked_target)
    return objective.loss(outputs, targets), objective.correct(outputs, targets)


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model says of the corrupted patches of some held-out images, and what is true."""

    indices: Int[np.ndarray, " b"]
    """Places in the image set."""
    images: UInt8[np.ndarray, "b H W 3"]
    places: Int[np.ndarray, "b K"]
    """The corrupted patches."""
    outputs: Float[Tensor, "b K O"]
    targets: Tensor


def held_out_answers(
    prepared: nn.Module,
    images: ImageSet,
    preprocess: PreprocessConfig,
    recipe: Recipe,
    batch_size: int,
    unread: list[Failure],
) -> Iterator[Answers]:
    """What the model says of held-out images, each corrupted in the same way whenever and whichever model is asked.

    Args:
        prepared: see `masked_loss`; in evaluation mode.
        images: held out.
        preprocess: the model's.
        recipe: gives target and share.
        batch_size: images per forward pass.
        unread: images that cannot be read are added here.
    """
    batches = evaluation_batches(images, preprocess=preprocess, batch_size=batch_size, workers=num_readers(images))
    for indices, pixels, failed in batches:
        unread += failed
        if not len(indices):
            continue
        keys = np.array([[_number(images.keys[index])] for index in indices])
        with torch.no_grad():
            outputs, targets, places = _asked(prepared, pixels, keys, preprocess, recipe, _HELD_OUT)
        yield Answers(indices, pixels, places, outputs, targets)


def validate_masked(
    prepared: nn.Module, images: ImageSet, preprocess: PreprocessConfig, recipe: Recipe, batch_size: int
) -> tuple[float, float]:
    """Mean loss, and share of the hidden patches whose colour is said rightly, on held-out images.

    Args:
        prepared: see `masked_loss`; back in training mode afterwards.
        images: held out.
        preprocess: the model's.
        recipe: gives target and share.
        batch_size: images per forward pass.
    """
    prepared.eval()
    objective = MaskedPatchObjective(recipe.masked_target)
    loss, correct, seen = 0.0, 0.0, 0
    for answers in held_out_answers(prepared, images, preprocess, recipe, batch_size, unread=[]):
        loss += float(objective.loss(answers.outputs, answers.targets))
        correct += objective.correct(answers.outputs, answers.targets)
        seen += len(answers.indices)
    prepared.train()
    return loss / max(seen, 1), correct / max(seen, 1)


def _number(key: str) -> int:
    """A number that an image keeps in every part of its set and on every machine."""
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()[:7])


def _asked(
    prepared: nn.Module,
    images: UInt8[np.ndarray, "b H W 3"],
    keys: Int[np.ndarray, "b key"],
    preprocess: PreprocessConfig,
    recipe: Recipe,
    purpose: int,
) -> tuple[Float[Tensor, "b K O"], Tensor, Int[np.ndarray, "b K"]]:
    """What is said of the corrupted patches of these images, what is true, and which patches they are."""
    config = inside(prepared).vit.config
    rows, columns = grid = _cut(config, preprocess.image_size)
    drawn = corruption(keys, rows * columns, recipe.masked_share, purpose=purpose)
    outputs = prepared(torch.from_numpy(normalise(images, preprocess)), *drawn.tensors())
    targets = MaskedPatchObjective(recipe.masked_target).targets(images, drawn.places, grid, config.stride)
    return outputs, targets.to(outputs.device), drawn.places


def _cut(config: ViTConfig, image_size: Size) -> Size:
    """(rows, columns) of patches, each of whose pixels is there."""
    rows, columns = config.grid_at(image_size)
    if rows * config.stride[0] > image_size[0] or columns * config.stride[1] > image_size[1]:
        raise ConfigError(
            f"the last patches of {config.name} reach beyond images of {image_size[0]} x {image_size[1]} pixels",
            why=f"they are {config.stride[0]} x {config.stride[1]} pixels, and their colours are to be predicted",
            remedy="an --image-size that the patches divide",
        )
    return rows, columns


def _resting(vit: ViT, rests: bool) -> ViT:
    """The model, with what only a head would read learning or not: no loss reaches it here, and DDP waits for it."""
    for part in (vit.fc_norm, vit.attn_pool, vit.pre_logits):
        if part is not None:
            part.requires_grad_(not rests)
    return vit

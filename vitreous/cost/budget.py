"""A recipe on some images: how many steps, how many operations, and how much disk, before anything is begun."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import NamedTuple

from vitreous.architecture import Architecture, ResNetConfig, Size, ViTConfig
from vitreous.config import Recipe
from vitreous.cost.arithmetic import Part, flops, parameters, parts
from vitreous.cost.memory import training_memory

_BLOCKS = ("queries, keys, values", "attention", "attention output", "MLP")
_RECORD = 300  # bytes of one line of metrics.jsonl
_RECORDS = 40


class DataSet(NamedTuple):
    """How large a published data set is."""

    images: int
    """Training images."""
    classes: int
    """Answers to choose from."""


DATA_SETS: dict[str, DataSet] = {
    "jft-300m": DataSet(303_000_000, 18_291),  # the ViT paper, section 4.1; classes: Sun et al., 2017
    "imagenet-21k": DataSet(14_197_122, 21_843),
    "imagenet-1k": DataSet(1_281_167, 1000),
    "cifar-10": DataSet(50_000, 10),
    "cifar-100": DataSet(50_000, 100),
    "oxford-iiit-pets": DataSet(3_680, 37),
    "oxford-flowers-102": DataSet(2_040, 102),
    "fashion-mnist": DataSet(60_000, 10),
}
"""Training images and classes by name; those of JFT-300M are the paper's round numbers."""


def find_data_set(words: str) -> DataSet | None:
    """The data set that a recipe or a person names, or None where its size is not known here.

    Args:
        words: "JFT-300M", "ImageNet-1k" and the like.
    """
    return DATA_SETS.get(re.sub(r"[\s_]+", "-", words.strip().lower()))


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """What a run costs, whatever it runs on."""

    images: int
    """Training images."""
    steps: int
    """Steps of the optimiser."""
    seen: int
    """Images that go through the model, each as often as it comes."""
    flops_per_image: int
    """Floating-point operations of one image, forward and back."""
    flops: int
    """Floating-point operations of the whole run; scores on held-out images are not among them."""
    checkpoint_bytes: int
    """One checkpoint: weights, moments and average."""
    disk_bytes: int
    """The run folder at its fullest: checkpoints, the best and one in the making among them, the model, the records."""


def as_trained(config: Architecture, recipe: Recipe, num_classes: int | None = None) -> Architecture:
    """The architecture as a recipe trains it: with its head, its hidden layer, its drop rates and its resolution.

    Args:
        config: as found.
        recipe: pre-training may ask for a tanh layer before the head.
        num_classes: of the data; None keeps the config's.
    """
    size = recipe.image_size or config.image_size
    classes = config.num_classes if num_classes is None else num_classes
    if isinstance(config, ResNetConfig):
        return dataclasses.replace(config, image_size=size, num_classes=classes)
    made = dataclasses.replace(config, image_size=size, num_classes=classes)
    if recipe.dropout is not None:
        made = dataclasses.replace(made, dropout=recipe.dropout)
    if recipe.drop_path is not None:
        made = dataclasses.replace(made, drop_path=recipe.drop_path)
    if recipe.objective == "masked-patch":  # every patch is answered
        answers = {"mean-colour": 512, "downsampled": 16 * 512, "pixels": 3 * made.patch_size[0] * made.patch_size[1]}
        return dataclasses.replace(made, pool="none", pool_norm="before", num_classes=answers[recipe.masked_target])
    if recipe.hidden_head and recipe.purpose == "pretrain" and not made.distill_token:
        made = dataclasses.replace(made, representation_size=made.pooled_dim)
    return made


def budget(
    config: Architecture,
    recipe: Recipe,
    images: int,
    *,
    image_size: int | Size | None = None,
    gradient_checkpointing: bool = False,
    keep: int = 2,
) -> Budget:
    """What a recipe costs on some images.

    Args:
        config: as it is trained; see `as_trained`.
        recipe: steps or epochs, batch, what learns.
        images: training images.
        image_size: in pixels; None for the config's own.
        gradient_checkpointing: whether blocks are computed twice.
        keep: newest checkpoints to keep.
    """
    steps = recipe.steps or max(1, round((recipe.epochs or 0) * images / recipe.batch_size))
    each = step_flops(config, recipe, image_size, gradient_checkpointing=gradient_checkpointing)
    seen = steps * recipe.batch_size
    memory = training_memory(config, recipe, 1)
    weights = 4 * parameters(config)
    checkpoint = weights + memory.moments + memory.average
    return Budget(
        images=images,
        steps=steps,
        seen=seen,
        flops_per_image=each,
        flops=each * seen,
        checkpoint_bytes=checkpoint,
        disk_bytes=checkpoint * (keep + 2) + weights + _RECORDS * _RECORD,
    )


def step_flops(
    config: Architecture,
    recipe: Recipe,
    image_size: int | Size | None = None,
    *,
    gradient_checkpointing: bool = False,
) -> int:
    """Floating-point operations of one image on the way forward and back, as far as the recipe's weights ask for it.

    What learns at the end alone needs no way back through the rest. LoRA saves memory and not operations: its update is
    added to the matrix, and the matrix's gradient is made first. Biases need the gradient of what goes into each
    matrix, but not that of the matrix.

    Args:
        config: as it is trained.
        recipe: which weights learn.
        image_size: in pixels; None for the config's own.
        gradient_checkpointing: whether blocks are computed twice; then they count once more.
    """
    found = parts(config, image_size)
    back = sum(_back(part, recipe) for part in found)
    if recipe.train == "head-first":
        head = sum(part.macs for part in found if part.name == "head")
        back = round(recipe.head_first * head + (1 - recipe.head_first) * back)
    again = 0
    if gradient_checkpointing and recipe.train != "head":
        again = sum(part.macs for part in found if part.name in _BLOCKS or part.name.startswith("stage"))
    return flops(config, image_size) + 2 * (back + again)


def _back(part: Part, recipe: Recipe) -> int:
    """Multiply-adds of the way back through one part."""
    match recipe.train:
        case "head":
            return part.macs if part.name == "head" else 0
        case "bitfit":
            return part.backward if part.name in ("attention", "head") else 0 if part.reads_image else part.macs
    return part.backward


def file_bytes(config: Architecture) -> int:
    """A model file: four bytes for each number; its header of some kilobytes is left out.

    Args:
        config: of a Vision Transformer, a hybrid or a ResNet.
    """
    return 4 * parameters(config)


def block_parameters(config: Architecture) -> int:
    """Numbers in the largest block or stage: what sharding gathers at a time.

    Args:
        config: of a Vision Transformer, a hybrid or a ResNet.
    """
    found = parts(config)
    if isinstance(config, ViTConfig):
        inside = (*_BLOCKS, "norms of the blocks")
        return sum(part.parameters for part in found if part.name in inside) // config.depth
    return max(part.parameters for part in found)

"""The fields of TrainOptions as keyword arguments of `finetune` and `pretrain`; see there for what each one means."""

from __future__ import annotations

from typing import Literal, TypedDict

from vitreous.architecture import Size
from vitreous.config.recipe import Trained


class TrainKeywords(TypedDict, total=False):
    """What may be asked of a run; a test holds it equal to TrainOptions."""

    run: str | None
    recipe: str | None
    quality: Literal["fast", "good", "best"] | None
    objective: Literal["labels", "masked-patch"] | None
    time: str | None
    epochs: float | None
    steps: int | None
    batch_size: int | None
    learning_rate: float | Literal["auto", "find"] | None
    set: str
    sweep: bool
    train: Trained | None
    class_weights: Literal["none", "balanced"] | None
    image_size: int | Size | None
    val: float
    folds: int | None
    fold: int
    group_by: str | None
    dedupe: bool
    result: Literal["last", "best"]
    bad_images: Literal["error", "skip"]
    decode: Literal["exact", "fast"]
    cache: Literal["auto", "none", "memory", "disk"]
    seed: int
    device: str
    threads: int | None
    workers: int | None
    precision: Literal["auto", "float32", "bfloat16"]
    micro_batch: int | None
    gradient_checkpointing: bool
    compile: Literal["auto", "on", "off"]
    parallel: Literal["auto", "ddp", "fsdp"]
    checkpoint_minutes: float
    keep: int
    log: Literal["none", "tensorboard", "wandb"]
    root: str | None

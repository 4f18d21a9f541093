"""One training on one task: everything fine-tuned in a run folder of its own, or a linear head on frozen features."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, Int64
from torch import nn

from vitreous import console
from vitreous.config import Recipe, TrainOptions
from vitreous.data.feeding.order import batch_members
from vitreous.data.imageset import ImageSet, Splits
from vitreous.data.vtab.find import TaskData
from vitreous.errors import DivergedError, UsageError
from vitreous.evaluation.features import FrozenFeatures, extract, frozen
from vitreous.model.prepare import find_device
from vitreous.schema import to_json
from vitreous.study.vtab.origin import Origin, fresh
from vitreous.study.vtab.settings import Asked, Setting
from vitreous.training.job import resume, run_job
from vitreous.training.learning.optim import build_optimizer
from vitreous.training.learning.schedule import learning_rate
from vitreous.training.run import read_facts

_WATCHED = "the curve is drawn on the validation images, which the final run learns from as well"
_SAME = ("recipe", "set", "steps", "learning_rate", "batch_size", "image_size", "seed", "precision")


@dataclass(frozen=True)
class Score:
    """What one training came to."""

    top1: float
    seen: int
    expected: int
    seconds: float
    run: str
    """Its folder, or the file that keeps it."""


@runtime_checkable
class Trainer(Protocol):
    """Trains on one task; validation images choose, test images only score."""

    def validated(self, setting: Setting, seed: int) -> Score:
        """Trained on the training images, scored on the validation images."""
        ...

    def tested(self, setting: Setting, seed: int) -> Score:
        """Trained on both, scored on the test images."""
        ...


@dataclass(frozen=True)
class FullTrainer:
    """Fine-tunes everything, each training in a folder of its own, from which it goes on after a stop."""

    origin: Origin
    asked: Asked
    data: TaskData
    folder: Path
    command: str

    def validated(self, setting: Setting, seed: int) -> Score:
        """Trained on the training images, scored on the validation images."""
        data = self.data
        return self._done(setting, seed, self.folder / "tries" / setting.slug, Splits(data.train, data.val, None))

    def tested(self, setting: Setting, seed: int) -> Score:
        """Trained on both, scored on the test images."""
        splits = Splits(self.data.trainval, self.data.val, self.data.test, (_WATCHED,))
        return self._done(setting, seed, self.folder / f"seed-{seed}", splits)

    def _done(self, setting: Setting, seed: int, folder: Path, splits: Splits) -> Score:
        """The score of a finished run, of one that goes on, or of a new one."""
        options = dataclasses.replace(setting.options(self.asked), run=str(folder), seed=seed)
        size = setting.resolved(self.asked).image_size
        begun = (folder / "run.json").exists()
        facts = read_facts(folder) if begun else {}
        if begun:
            _check_same(folder, facts, options, splits)
        if not facts.get("result"):
            model = fresh(self.origin, splits.train.classes, size, seed)
            if begun:
                resume(folder, data=splits, model=model)
            else:
                run_job("finetune", splits, model, options, command=self.command)
            facts = read_facts(folder)
        _tidy(folder, keep=self.asked.keep_models and splits.test is not None)
        result = facts["result"]
        return Score(result["top1"], result["seen"], result["expected"], result["seconds"], str(folder))


def _check_same(folder: Path, facts: dict[str, Any], options: TrainOptions, splits: Splits) -> None:
    """Refuse a folder that holds a run of other settings or other images."""
    before, now = facts["options"], to_json(options)
    changed = [f"{name} {before.get(name)!r}, now {now[name]!r}" for name in _SAME if before.get(name) != now[name]]
    sets = {name: images.fingerprint for name, images in splits.sets.items()}
    held = {name: kept["fingerprint"] for name, kept in facts.get("sets", {}).items()}
    changed += [f"other {name} images" for name in held if sets.get(name) != held[name]]
    if changed:
        raise UsageError(
            "a run of other settings or images lies where this one would",
            where=str(folder),
            why="; ".join(changed),
            remedy="another --out, or remove that folder",
        )


def _tidy(folder: Path, *, keep: bool) -> None:
    """Checkpoints of finished runs go, and so do models unless they are kept: a whole VTAB would hold 57 of them."""
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    if not keep:
        with contextlib.suppress(OSError):
            (folder / "model.safetensors").unlink(missing_ok=True)


class LinearTrainer:
    """Trains a linear head of zeros on features that are extracted once for the task.

    The recipe's optimiser, rate, schedule, batch and clipping hold; images are seen as they are scored, whole.

    Args:
        origin: the model.
        asked: gives the machine and the resolution.
        data: of the task.
        folder: of the task.
    """

    def __init__(self, origin: Origin, asked: Asked, data: TaskData, folder: Path) -> None:
        self.origin, self.asked, self.data, self.folder = origin, asked, data, folder
        self._features: dict[str, FrozenFeatures] = {}
        self._size: Any = ()

    def validated(self, setting: Setting, seed: int) -> Score:
        """Trained on the training images, scored on the validation images."""
        return self._done(setting, seed, ("train",), "val")

    def tested(self, setting: Setting, seed: int) -> Score:
        """Trained on both, scored on the test images."""
        return self._done(setting, seed, ("train", "val"), "test")

    def _done(self, setting: Setting, seed: int, learned: tuple[str, ...], scored: str) -> Score:
        began = time.monotonic()
        recipe = setting.resolved(self.asked)
        known = [self._of(part, recipe) for part in learned]
        there = self._of(scored, recipe)
        head = train_head(
            np.concatenate([each.pooled for each in known]),
            np.concatenate([each.labels for each in known]),
            self.data.task.classes,
            recipe,
            seed=seed,
            device=str(find_device(self.asked.device)),
        )
        answers = head(torch.from_numpy(np.ascontiguousarray(there.pooled))).argmax(dim=1).numpy()
        right = int((answers == there.labels).sum())
        return Score(right / there.seen, there.seen, there.expected, time.monotonic() - began, str(self.folder))

    def _of(self, part: str, recipe: Recipe) -> FrozenFeatures:
        """Features of train, val or test, made when they are first asked for."""
        if self._size != recipe.image_size:
            self._features, self._size = {}, recipe.image_size
        if part not in self._features:
            images: ImageSet = getattr(self.data, part)
            model = fresh(self.origin, images.classes, recipe.image_size, 0)
            precision: Literal["float32", "bfloat16"] = "bfloat16" if self.asked.precision == "bfloat16" else "float32"
            predictor = frozen(model, device=self.asked.device, precision=precision)
            self._features[part] = extract(predictor, images)
        return self._features[part]


def train_head(
    features: Float32[np.ndarray, "N D"],
    labels: Int64[np.ndarray, " N"],
    num_classes: int,
    recipe: Recipe,
    *,
    seed: int,
    device: str = "cpu",
) -> nn.Linear:
    """A linear classifier that begins at zero, trained on features by a recipe, on the CPU in the end.

    Args:
        features: one row for each image.
        labels: from 0 to num_classes - 1.
        num_classes: some may have no image.
        recipe: optimiser, rate, schedule, warm-up, steps, batch, decay and clipping.
        seed: fixes the order of the images.
        device: as torch spells it.

    Raises:
        DivergedError: the loss is no longer a number.
    """
    head = nn.Linear(features.shape[1], num_classes)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    head.to(device)
    rows = torch.from_numpy(np.ascontiguousarray(features)).to(device)
    targets = torch.from_numpy(labels).to(device)
    recipe = dataclasses.replace(recipe, train="all", layer_decay=None)
    optimizer, count, total = build_optimizer(head, recipe), len(labels), recipe.steps or 1
    with console.Progress("training the head", total, "steps") as progress:
        for step in range(total):
            _, places = batch_members(seed=seed, step=step, batch_size=recipe.batch_size, count=count)
            some = torch.from_numpy(places).to(device)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, step, total, count / recipe.batch_size) * group["lr_scale"]
            loss = F.cross_entropy(head(rows[some]), targets[some])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if recipe.clip_norm is not None:
                nn.utils.clip_grad_norm_(head.parameters(), recipe.clip_norm)
            optimizer.step()
            progress.advance()
    if not all(bool(value.isfinite().all()) for value in head.parameters()):
        raise DivergedError(
            f"the linear head diverged at rate {recipe.peak:g}", remedy="--protocol light, which tries lower ones"
        )
    return head.cpu().requires_grad_(False)

"""Scores on held-out images while training goes on: they draw a curve, and choose only where that was asked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from vitreous.data.feeding.loader import evaluation_batches
from vitreous.data.feeding.threads import num_readers
from vitreous.data.sources import ImageSet
from vitreous.distributed import Group
from vitreous.model.prepare import Prepared
from vitreous.picture.preprocess import normalise
from vitreous.training.learning.average import Average
from vitreous.training.learning.objective import LabelObjective, wanted
from vitreous.training.masked.patch import validate_masked
from vitreous.training.plan import Plan

_SMALLEST = 256  # held-out images behind a score, or more where the run is long enough to afford it
_SHARE = 0.3  # of the images learned from between two scores: looking costs a third of learning


def validate(plan: Plan, prepared: Prepared, average: Average | None, times: int, group: Group) -> tuple[float, float]:
    """Mean loss and accuracy of the averaged weights on images that are only looked at, never trained on.

    Args:
        plan: gives images and preprocessing.
        prepared: the model under its policy; back in training mode afterwards.
        average: swapped in for a while.
        times: how often in the whole run this is done.
        group: the images are shared out among its processes.
    """
    images = watched(plan, times)
    rank, size = group.world.rank, group.world.size
    if size > 1:  # equally many for all: a process that came once more would wait for the others for ever
        images = images.subset(np.arange(rank, len(images) // size * size, size))
    with averaged(average, plan.model), evaluating(prepared):
        if plan.recipe.objective == "masked-patch":
            loss, accuracy = validate_masked(prepared, images, plan.card.preprocess, plan.recipe, plan.micro_batch)
            found = [loss * len(images), accuracy * len(images), len(images)]
        else:
            found = _scores(plan, prepared, images)
    loss, correct, seen = group.sum(found)
    return loss / max(seen, 1), correct / max(seen, 1)


def _scores(plan: Plan, prepared: Prepared, images: ImageSet) -> list[float]:
    """Sum of losses, correct answers, and images seen."""
    preprocess = plan.card.preprocess
    loss, correct, seen = 0.0, 0, 0
    objective = LabelObjective("sigmoid-mean" if images.several else "softmax")
    with torch.no_grad():
        batches = evaluation_batches(
            images, preprocess=preprocess, batch_size=plan.micro_batch, workers=num_readers(images)
        )
        for indices, pixels, _ in batches:
            if not len(indices):
                continue
            logits = prepared(torch.from_numpy(normalise(pixels, preprocess)))
            rows = None if images.targets is None else images.targets.rows(indices)
            targets = wanted(images.labels[indices], rows, len(images.classes)).to(logits.device)
            loss += float(objective.loss(logits, targets))
            correct += int(objective.correct(logits, targets))
            seen += len(indices)
    return [loss, correct, seen]


def watched(plan: Plan, times: int) -> ImageSet:
    """The held-out images that are scored during training: as many as cost a tenth of it, chosen by seed.

    Args:
        plan: whose validation images, or else test images, are meant.
        times: how often in the whole run they are scored.
    """
    images = plan.splits.val or plan.held_out
    affordable = _SHARE * plan.total_steps * plan.recipe.batch_size / times
    count = max(_SMALLEST, int(affordable))
    if count >= len(images):
        return images
    return images.subset(np.sort(np.random.default_rng([plan.options.seed, 11]).permutation(len(images))[:count]))


@contextlib.contextmanager
def averaged(average: Average | None, model: nn.Module) -> Iterator[None]:
    """The model with its averaged weights in it, for a while.

    Args:
        average: None leaves the model as it is.
        model: changed in place and back.
    """
    if average is not None:
        average.swap(model)
    try:
        yield
    finally:
        if average is not None:
            average.swap(model)


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """The module in evaluation mode, for a while.

    Args:
        module: in training mode before and afterwards.
    """
    module.eval()
    try:
        yield
    finally:
        module.train()

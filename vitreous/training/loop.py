"""The training loop: step, record, save. Everything random in it is a function of (seed, step, image)."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from vitreous import console
from vitreous.config import PreprocessConfig
from vitreous.data.loader import evaluation_batches, training_batches
from vitreous.data.sources import ImageSet
from vitreous.data.threads import num_cores
from vitreous.errors import DivergedError
from vitreous.model.prepare import Prepared
from vitreous.picture.preprocess import normalise
from vitreous.results import EpochRecord
from vitreous.training import checkpoint
from vitreous.training.average import Average
from vitreous.training.objective import LabelObjective, targets_of
from vitreous.training.optim import build_optimizer
from vitreous.training.plan import Plan
from vitreous.training.run import RunFolder
from vitreous.training.schedule import learning_rate
from vitreous.training.signals import StopRequests

_RECORDS = 40  # lines in metrics.jsonl over a whole run
_VALIDATIONS = 10  # how many of them carry a score on held-out images, and are printed
_WATCHED = 256  # held-out images behind such a score, or more where the run is long enough to afford it


@dataclass
class Meter:
    """Sums since the last record."""

    loss: float = 0.0
    correct: float = 0.0
    seen: float = 0.0
    seconds: float = 0.0

    def state(self) -> dict[str, float]:
        """What a checkpoint keeps of it."""
        return dict(vars(self))


@dataclass
class Clock:
    """Wall time of training, over all the processes that took part."""

    before: float = 0.0
    began: float = field(default_factory=time.monotonic)

    def seconds(self) -> float:
        """So far."""
        return self.before + time.monotonic() - self.began


def train(plan: Plan, folder: RunFolder, stop: StopRequests) -> float:
    """Train `plan.model` to the end, from the newest checkpoint where there is one, and leave the result in it.

    Args:
        plan: what to do; its model is changed in place.
        folder: where checkpoints and records go.
        stop: asked after every step.

    Returns:
        Wall time in seconds over all processes that took part.

    Raises:
        DivergedError: the loss is not a number.
        InterruptedRun: a signal asked to stop; the state is saved.
    """
    recipe, total, model = plan.recipe, plan.total_steps, plan.model
    prepared = Prepared(model, plan.policy).train()
    optimizer = build_optimizer(model, recipe)
    average = Average(model, recipe.average_decay) if recipe.average_decay else None
    clock, meter, first, done = Clock(), Meter(), 0, 0
    state, complaints = checkpoint.read_latest(folder.checkpoints)
    for line in complaints:
        console.say(line)
    if state is not None:
        checkpoint.restore(state, model, optimizer, average)
        clock, meter, first = Clock(before=state.seconds), Meter(**state.meter), state.step
        if first < total:
            console.say(f"going on after step {first:,} of {total:,}")
    folder.forget_records_after(first)

    def save(step: int) -> None:
        kept = checkpoint.capture(step, model, optimizer, average, seconds=clock.seconds(), meter=meter.state())
        checkpoint.write(folder.checkpoints, kept)

    saved, tick = time.monotonic(), time.monotonic()
    stop.deferred = True
    with (
        reproducible(plan.policy.device),
        console.Progress("training", total * recipe.batch_size, done=first * recipe.batch_size) as progress,
    ):
        for step, loss, correct in steps(plan, prepared, optimizer, first):
            if average is not None:
                average.update(model, step)
            now = time.monotonic()
            meter.loss += loss * recipe.batch_size
            meter.correct += correct
            meter.seen += recipe.batch_size
            meter.seconds, tick = meter.seconds + now - tick, now
            progress.advance(recipe.batch_size, f"loss {loss:.3f}  top-1 {correct / recipe.batch_size:.1%}")
            done = step + 1
            if _due(done, total, _RECORDS):
                record = _record(plan, prepared, average, meter, step)
                folder.record(record)
                if record.val_accuracy is not None:
                    progress.note(_line(record))
                meter, tick = Meter(), time.monotonic()
            if stop.requested is not None or done == total or now - saved >= 60 * plan.options.checkpoint_minutes:
                save(done)
                saved = tick = time.monotonic()
            if stop.requested is not None and done < total:
                raise stop.interruption(saved=f"after step {done:,} of {total:,}")
    assert max(first, done) == total, "the data ended before the run did"
    stop.deferred = False
    if average is not None:
        average.swap(model)
    model.eval()
    return clock.seconds()


def steps(
    plan: Plan, prepared: Prepared, optimizer: torch.optim.Optimizer, first: int
) -> Iterator[tuple[int, float, float]]:
    """Do one optimiser step after another; yields (step, mean loss, correct answers) after each.

    Args:
        plan: recipe, images and micro-batch.
        prepared: the model under its policy.
        optimizer: moved in place.
        first: the step to begin with.
    """
    recipe, total = plan.recipe, plan.total_steps
    preprocess = plan.card.preprocess
    batches = training_batches(
        plan.splits.train,
        preprocess=preprocess,
        augment=recipe.augment,
        seed=plan.options.seed,
        batch_size=recipe.batch_size,
        micro_batch=plan.micro_batch,
        first_step=first,
        num_steps=total,
        # pictures at hand need little preparing, and a second thread would only get in the arithmetic's way
        workers=1 if plan.splits.train.in_memory else num_cores(),
    )
    loss_sum, correct = 0.0, 0.0
    for batch in batches:
        seed_dropout(plan.options.seed, batch.step, batch.first)
        logits = prepared(torch.from_numpy(normalise(batch.images, preprocess)))
        labels = torch.from_numpy(batch.labels).to(logits.device)
        targets = targets_of(labels, logits.shape[1], recipe.label_smoothing)
        loss = LabelObjective(recipe.loss).loss(logits, targets) / recipe.batch_size
        loss.backward()
        loss_sum += float(loss.detach())
        correct += float((logits.detach().argmax(1) == labels).sum())
        if not batch.last:
            continue
        rate = learning_rate(recipe, batch.step, total, len(plan.splits.train) / recipe.batch_size)
        if not math.isfinite(loss_sum):
            raise _diverged(plan, batch.step, rate)
        if recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(prepared.parameters(), recipe.clip_norm)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        yield batch.step, loss_sum, correct
        loss_sum, correct = 0.0, 0.0


def validate(
    prepared: Prepared, images: ImageSet, preprocess: PreprocessConfig, batch_size: int
) -> tuple[float, float]:
    """Mean loss and accuracy on images that are only looked at, never trained on.

    Args:
        prepared: the model under its policy; back in training mode afterwards.
        images: held out.
        preprocess: the model's.
        batch_size: images per forward pass.
    """
    prepared.eval()
    loss, correct, seen = 0.0, 0, 0
    with torch.no_grad():
        for indices, pixels, _ in evaluation_batches(images, preprocess=preprocess, batch_size=batch_size):
            if not len(indices):
                continue
            logits = prepared(torch.from_numpy(normalise(pixels, preprocess)))
            labels = torch.from_numpy(images.labels[indices]).to(logits.device)
            loss += float(F.cross_entropy(logits, labels, reduction="sum"))
            correct += int((logits.argmax(1) == labels).sum())
            seen += len(indices)
    prepared.train()
    return loss / max(seen, 1), correct / max(seen, 1)


def watched(plan: Plan) -> ImageSet:
    """The held-out images that are scored during training: as many as cost a tenth of it, chosen by seed.

    They choose nothing: the score only draws a curve. The final score rests on all held-out images.

    Args:
        plan: whose validation images, or else test images, are meant.
    """
    images = plan.splits.val or plan.held_out
    affordable = 0.3 * plan.total_steps * plan.recipe.batch_size / _VALIDATIONS  # looking costs a third of learning
    count = max(_WATCHED, int(affordable))
    if count >= len(images):
        return images
    return images.subset(np.sort(np.random.default_rng([plan.options.seed, 11]).permutation(len(images))[:count]))


def seed_dropout(seed: int, step: int, first: int) -> None:
    """Make what dropout drops a function of the place in the run, so that nothing about it needs saving.

    Args:
        seed: of the run.
        step: 0 for the first.
        first: place of the micro-batch's first image in the step's batch.
    """
    torch.manual_seed(int(np.random.SeedSequence([seed, step, first]).generate_state(1, np.uint64)[0] >> np.uint64(1)))


@contextlib.contextmanager
def reproducible(device: str) -> Iterator[None]:
    """Leave the person's own random numbers as they were; on CUDA prefer kernels that give the same bits twice.

    Args:
        device: the policy's.
    """
    cuda = device.startswith("cuda")
    before = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[torch.device(device)] if cuda else []):
        if cuda:
            torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before)


def _record(plan: Plan, prepared: Prepared, average: Average | None, meter: Meter, step: int) -> EpochRecord:
    """The line for metrics.jsonl, with a score on held-out images every other time."""
    recipe, done = plan.recipe, step + 1
    val_loss = val_accuracy = None
    if _due(done, plan.total_steps, _VALIDATIONS):
        with averaged(average, plan.model):
            val_loss, val_accuracy = validate(prepared, watched(plan), plan.card.preprocess, plan.micro_batch)
    return EpochRecord(
        step=done,
        epoch=done * recipe.batch_size / len(plan.splits.train),
        loss=meter.loss / meter.seen,
        accuracy=meter.correct / meter.seen,
        learning_rate=learning_rate(recipe, step, plan.total_steps, len(plan.splits.train) / recipe.batch_size),
        images_per_second=meter.seen / max(meter.seconds, 1e-9),
        val_loss=val_loss,
        val_accuracy=val_accuracy,
    )


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


def _due(done: int, total: int, times: int) -> bool:
    """Whether one of `times` evenly spread moments lies at step `done`; the last step always is one."""
    return done * times // total > (done - 1) * times // total


def _line(record: EpochRecord) -> str:
    held_out = f"  held-out {record.val_accuracy:6.1%}" if record.val_accuracy is not None else ""
    return (
        f"  step {record.step:>7,}  epoch {record.epoch:6.1f}  loss {record.loss:.4f}"
        f"  train {record.accuracy:6.1%}{held_out}  {record.images_per_second:,.0f} images/s"
    )


def _diverged(plan: Plan, step: int, rate: float) -> DivergedError:
    return DivergedError(
        f"the loss is no longer a number at step {step + 1:,}",
        why=f"the learning rate was {rate:.3g}; {plan.recipe.optimizer} most likely overshot",
        remedy=f"start again in another folder with --learning-rate {plan.recipe.learning_rate / 3:.2g}",
    )

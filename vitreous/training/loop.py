"""The training loop: step, record, save. Everything random in it is a function of (seed, step, image)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import nn

from vitreous import console
from vitreous.data.feeding.stages import time_stages
from vitreous.data.feeding.threads import num_cores, num_readers
from vitreous.distributed import Group
from vitreous.errors import ImageError, VitreousError
from vitreous.results import EpochRecord
from vitreous.schema import to_json
from vitreous.training.forecast import Forecast
from vitreous.training.learning.average import Average
from vitreous.training.learning.schedule import warmup_steps
from vitreous.training.onlooker import Onlooker
from vitreous.training.plan import Plan
from vitreous.training.run import RunFolder
from vitreous.training.saving.checkpoint import State
from vitreous.training.saving.keeper import Keeper
from vitreous.training.signals import StopRequests
from vitreous.training.step import Done, Engine
from vitreous.training.track import Track
from vitreous.training.trouble.divergence import Setting, Verdict, Watch
from vitreous.training.validate import validate, watched

_RECORDS = 40  # lines in metrics.jsonl over a whole run
_VALIDATIONS = 10  # how many of them carry a score on held-out images, and are printed
_MUCH_WAITING = 0.25  # share of the time from which on it is worth doing something about


@dataclass
class Meter:
    """Sums since the last record."""

    loss: float = 0.0
    correct: float = 0.0
    seen: float = 0.0
    seconds: float = 0.0
    waited: float = 0.0
    """Seconds of these spent waiting for images."""

    def add(self, done: Done, images: int, seconds: float) -> None:
        """Take in one step.

        Args:
            done: the step.
            images: in its batch.
            seconds: it took.
        """
        self.loss += done.loss * images
        self.correct += done.correct
        self.seen += images
        self.seconds += seconds
        self.waited += done.waited

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


@dataclass(frozen=True)
class Trained:
    """What came of training, and what it took."""

    model: nn.Module
    """With the final weights, plain again, in evaluation mode."""
    seconds: float
    """Wall time over all the processes that took part."""
    forecast: Forecast
    """What it was expected to take after its first steps, beside what it took."""
    best_step: int | None
    """The step whose weights are the result, where the best were asked for."""


def train(plan: Plan, folder: RunFolder | Onlooker, stop: StopRequests, group: Group) -> Trained:
    """Train `plan.model` to the end, from the newest checkpoint where there is one, and leave the result in it.

    Args:
        plan: what to do; its model is changed in place.
        folder: where checkpoints and records go.
        stop: asked after every step.
        group: the processes that train together.

    Raises:
        DivergedError: the loss is no longer a number, or has grown out of all proportion.
        InterruptedRun: a signal asked to stop; the state is saved.
    """
    total, batch_size, options = plan.total_steps, plan.recipe.batch_size, plan.options
    engine = Engine(plan, group)
    average = Average(plan.model, plan.recipe.average_decay) if plan.recipe.average_decay else None
    keeper = Keeper(plan, folder.checkpoints, engine, average, group)
    began = keeper.restore()
    first, meter, clock, watch = began.step, Meter(**began.meter), Clock(began.seconds), Watch(plan.guess, began.watch)
    if 0 < first < total:
        console.say(f"going on after step {first:,} of {total:,}")
    folder.forget_records_after(first)
    forecast = Forecast.begin(plan, first, _VALIDATIONS, len(watched(plan, _VALIDATIONS)))
    saved = tick = time.monotonic()
    stop.deferred, done_steps, advised = True, first, False
    with (
        reproducible(plan.policy.device),
        Track(options.log if group.first else "none", folder.path, folder.records(), to_json(plan.recipe)) as track,
        console.Progress("training", total * batch_size, done=first * batch_size) as progress,
    ):
        for done in engine.steps(first, watch.judge):
            done_steps = done.step + 1
            now = time.monotonic()
            if done.verdict is Verdict.FINE:
                meter.add(done, batch_size, now - tick)
                if average is not None:
                    average.update(plan.model, done.step)
            else:
                kept = keeper.keep_evidence(folder.path, done, _setting(plan, done))
                if done.verdict is Verdict.STOP:
                    raise _by_first(group, watch.explain(_setting(plan, done), run=folder.path, evidence=kept))
                progress.note(f"  {watch.skipping(done.step, done.loss)}")
            forecast.step(now - tick)
            tick = now
            progress.advance(batch_size, f"loss {done.loss:.3f}  top-1 {done.correct / batch_size:.1%}")
            score = None
            if _due(done_steps, total, _RECORDS) and meter.seen:
                record = _record(plan, engine, average, meter, done, group)
                score = record.val_accuracy
                folder.record(record)
                track.record(record)
                if score is not None:
                    progress.note(_line(record))
                    if record.waiting > _MUCH_WAITING and not advised:
                        progress.note(_advice(plan, engine))
                        advised = True
                    forecast.looked(time.monotonic() - now)
                meter = Meter()
            due = time.monotonic() - saved >= 60 * options.checkpoint_minutes
            asked, due = _agreed(group, stop.requested is not None, due)
            if keeper.is_best(score) or asked or due or done_steps == total:
                state = State(done_steps, {}, {}, {}, clock.seconds(), meter.state(), watch.state(), score)
                keeper.save(state, final=asked or done_steps == total)
                saved = time.monotonic()
            if asked:
                raise _by_first(group, stop.interruption(saved=f"after step {done_steps:,} of {total:,}"))
            tick = time.monotonic()
    assert max(first, done_steps) == total, "the data ended before the run did"
    stop.deferred = False
    model, best = keeper.finish()
    return Trained(model, clock.seconds(), forecast, best)


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


def _setting(plan: Plan, done: Done) -> Setting:
    return Setting(
        step=done.step,
        loss=done.loss,
        grad_norm=done.norm,
        rate=done.rate,
        peak=plan.recipe.peak,
        warmup=warmup_steps(plan.recipe, plan.total_steps, plan.steps_per_epoch),
        clip_norm=plan.recipe.clip_norm,
    )


def _record(plan: Plan, engine: Engine, average: Average | None, meter: Meter, done: Done, group: Group) -> EpochRecord:
    """The line for metrics.jsonl, with a score on held-out images every other time."""
    val_loss = val_accuracy = None
    if _due(done.step + 1, plan.total_steps, _VALIDATIONS):
        val_loss, val_accuracy = validate(plan, engine.prepared, average, _VALIDATIONS, group)
    return EpochRecord(
        step=done.step + 1,
        epoch=(done.step + 1) / plan.steps_per_epoch,
        loss=meter.loss / meter.seen,
        accuracy=meter.correct / meter.seen,
        learning_rate=done.rate,
        images_per_second=meter.seen / max(meter.seconds, 1e-9),
        waiting=meter.waited / max(meter.seconds, 1e-9),
        val_loss=val_loss,
        val_accuracy=val_accuracy,
    )


def _by_first(group: Group, error: VitreousError) -> VitreousError:
    """An error that all processes leave with, and the first one tells."""
    error.told = not group.first
    return error


def _agreed(group: Group, asked: bool, due: bool) -> tuple[bool, bool]:
    """Whether any process was asked to stop, and whether the first one's clock says that it is time to save."""
    stops, saves = group.sum([asked, due and group.first])
    return stops > 0, saves > 0


def _due(done: int, total: int, times: int) -> bool:
    """Whether one of `times` evenly spread moments lies at step `done`; the last step always is one."""
    return done * times // total > (done - 1) * times // total


def _line(record: EpochRecord) -> str:
    held_out = f"  held-out {record.val_accuracy:6.1%}" if record.val_accuracy is not None else ""
    waiting = f"  waiting for images {record.waiting:.0%}" if record.waiting > 0.005 else ""
    return (
        f"  step {record.step:>7,}  epoch {record.epoch:6.1f}  loss {record.loss:.4f}"
        f"  train {record.accuracy:6.1%}{held_out}  {record.images_per_second:,.0f} images/s{waiting}"
    )


def _advice(plan: Plan, engine: Engine) -> str:
    """What helps a run that waits for its images: where their time goes, by a few of them."""
    options, train, fast = plan.options, plan.splits.train, plan.options.decode == "fast"
    waits = "  much of the time goes by waiting for images"
    try:
        stages = time_stages(train, plan.card.preprocess, plan.recipe.augment, fast=fast)
    except ImageError:  # told when its turn comes: advice ends no run
        return waits
    workers = options.workers or num_readers(train)
    kept = engine.cache is not None or train.in_memory or plan.total_steps <= plan.steps_per_epoch  # no more is gained
    said = stages.advice(fast=fast, cached=kept, workers=workers, cores=num_cores())
    return f"{waits}: {said}"

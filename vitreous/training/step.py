"""One optimiser step: the batch in parts, their gradients added up, clipped, judged and applied.

However a batch is cut into micro-batches and shared out among processes, the gradient is that of the undivided batch:
losses are sums over images divided by the global batch, and what is random belongs to the image or the step.
"""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vitreous import console
from vitreous.data.feeding.cache import ImageCache
from vitreous.data.feeding.loader import Batch, training_batches
from vitreous.data.feeding.threads import num_readers
from vitreous.distributed import Group, share
from vitreous.errors import ResourceError
from vitreous.model.prepare import Prepared
from vitreous.picture.preprocess import normalise
from vitreous.training.learning import transfer
from vitreous.training.learning.mix import mix_of, mixed, mixed_targets
from vitreous.training.learning.objective import LabelObjective, balanced_weights, wanted
from vitreous.training.learning.optim import build_optimizer
from vitreous.training.learning.schedule import learning_rate
from vitreous.training.masked.patch import masked_loss
from vitreous.training.microbatch import is_out_of_memory
from vitreous.training.plan import Plan
from vitreous.training.trouble.divergence import Verdict

Judge = Callable[[int, float, float], Verdict]
"""From step, loss and gradient norm to what is to be done."""


@dataclass(frozen=True)
class Done:
    """What became of one step."""

    step: int
    """From 0."""
    loss: float
    """Mean over the batch."""
    correct: float
    """Images answered right."""
    norm: float
    """Global norm of the gradient, before it was clipped."""
    rate: float
    """Learning rate."""
    verdict: Verdict
    parts: tuple[Batch, ...]
    """This process's images."""
    waited: float
    """Seconds until they were there."""


class Engine:
    """A model being trained: what moves it, and how a batch goes through it.

    Args:
        plan: what to do; its model is changed in place.
        group: the processes that train together.
        first: the step to begin with, which decides what is trained at first.
    """

    def __init__(self, plan: Plan, group: Group, first: int = 0) -> None:
        self.plan, self.group = plan, group
        self.micro_batch = plan.micro_batch
        transfer.phase(plan.model, plan.recipe, first, plan.total_steps)
        # sharding changes a module for good, and at the end a plain one is wanted
        self.plain = copy.deepcopy(plan.model) if plan.strategy == "fsdp" and plan.world_size > 1 else plan.model
        self.prepared = Prepared(plan.model, plan.policy).train()
        if plan.compilation.chosen:
            self.prepared.compile()
        self._wrapped = group.wrap(self.prepared, plan.strategy)
        self.optimizer = build_optimizer(plan.model, plan.recipe)
        self.fixed_rate: float | None = None
        self._objective = LabelObjective(plan.recipe.loss, self._weights())
        self._trained = _trained(plan.model)

    def steps(self, first: int, judge: Judge, *, last: int | None = None) -> Iterator[Done]:
        """One step after another.

        Where memory runs out, the step is begun again with micro-batches of half the size.

        Args:
            first: the step to begin with.
            judge: asked before each step is applied; what it does not find fine leaves the weights alone.
            last: the step to end before; by default the end of the run.
        """
        step, end = first, self.plan.total_steps if last is None else last
        while step < end:
            try:
                with closing(self._batches(step, end)) as batches:
                    while step < end:
                        began = time.perf_counter()
                        parts = _whole_step(batches)
                        done = self._step(parts, judge, waited=time.perf_counter() - began)
                        step += 1
                        yield done
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(error)

    def gradients(self, parts: tuple[Batch, ...]) -> tuple[float, float]:
        """Add up the gradients of a batch; gives its mean loss and how many of its images are answered right.

        Args:
            parts: this process's share, in micro-batches.
        """
        recipe, group = self.plan.recipe, self.group
        loss_sum, correct = torch.zeros((), dtype=torch.float64), 0.0
        for part in parts:
            seed_dropout(self.plan.options.seed, part.step, part.first)
            with group.accumulating(self._wrapped, part.last):
                loss, right = self.loss(part)
                # where several processes train, the engine takes the mean of their gradients, and the sum is wanted
                (loss * (group.world.size / recipe.batch_size)).backward()
            loss_sum += loss.detach().double().cpu()
            correct += right
        loss_mean, correct = group.sum([float(loss_sum) / recipe.batch_size, correct])
        return loss_mean, correct

    def loss(self, part: Batch) -> tuple[Tensor, float]:
        """Sum of the losses of a micro-batch's images, and how many of them are answered right.

        Args:
            part: with its mates where the recipe mixes images.
        """
        plan, recipe = self.plan, self.plan.recipe
        preprocess, seed = plan.card.preprocess, plan.options.seed
        if recipe.objective == "masked-patch":
            return masked_loss(self._wrapped, part, preprocess, recipe, seed)
        images = torch.from_numpy(normalise(part.images, preprocess))
        num_classes, smoothing = len(plan.classes), recipe.label_smoothing
        targets = wanted(part.labels, part.targets, num_classes, smoothing)
        mix = mix_of(seed, part.step, recipe, preprocess.image_size)
        if mix is not None and part.mates is not None and part.mate_labels is not None:
            images = mixed(images, torch.from_numpy(normalise(part.mates, preprocess)), mix)
            mates = wanted(part.mate_labels, part.mate_targets, num_classes, smoothing)
            targets = mixed_targets(targets, mates, mix)
        outputs = self._wrapped(images)
        targets = targets.to(outputs.device)
        return self._objective.loss(outputs, targets), self._objective.correct(outputs.detach(), targets)

    def make_moments(self) -> None:
        """Give every parameter the moments it will have: a step of length zero, which moves nothing."""
        for group in self.optimizer.param_groups:
            group["lr"] = 0.0
            for parameter in group["params"]:
                parameter.grad = torch.zeros_like(parameter)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _step(self, parts: tuple[Batch, ...], judge: Judge, waited: float) -> Done:
        plan, recipe = self.plan, self.plan.recipe
        step = parts[0].step
        self._enter_phase(step)
        loss, correct = self.gradients(parts)
        norm = self.group.clip(plan.model, recipe.clip_norm)
        rate = self.fixed_rate or learning_rate(recipe, step, plan.total_steps, plan.steps_per_epoch)
        verdict = judge(step, loss, norm)
        if verdict is Verdict.FINE:
            for group in self.optimizer.param_groups:
                group["lr"] = rate * group["lr_scale"]
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return Done(step, loss, correct, norm, rate, verdict, parts, waited)

    def _enter_phase(self, step: int) -> None:
        """What is trained may change on the way; copies on several devices must then be told anew."""
        transfer.phase(self.plan.model, self.plan.recipe, step, self.plan.total_steps)
        if (trained := _trained(self.plan.model)) != self._trained:
            self._trained = trained
            if self.plan.strategy == "fsdp":  # knows by itself, and cannot be put on twice
                return
            self._wrapped = self.group.wrap(self.prepared, self.plan.strategy)

    def _batches(self, first: int, end: int) -> Generator[Batch]:
        plan, recipe = self.plan, self.plan.recipe
        place, count = share(recipe.batch_size, self.group.world)
        yield from training_batches(
            plan.splits.train,
            preprocess=plan.card.preprocess,
            augment=recipe.augment,
            seed=plan.options.seed,
            batch_size=recipe.batch_size,
            micro_batch=self.micro_batch,
            first_step=first,
            num_steps=end,
            places=range(place, place + count),
            mates=recipe.mixes,
            repeats=recipe.repeats,
            workers=plan.options.workers or num_readers(plan.splits.train),
            fast=plan.options.decode == "fast",
            cache=self.cache,
        )

    @functools.cached_property
    def cache(self) -> ImageCache | None:
        """Where decoded images are kept from epoch to epoch; all processes share out the memory, as of one machine."""
        plan = self.plan
        cache = ImageCache.for_training(
            plan.splits.train,
            plan.card.preprocess,
            plan.recipe.augment,
            kind=plan.options.cache,
            epochs=plan.total_steps / plan.steps_per_epoch,
            fast=plan.options.decode == "fast",
            sharers=self.group.world.size,
        )
        if cache is not None and self.group.world.rank == 0:
            console.say(cache.told)
        return cache

    def _halve(self, error: BaseException) -> None:
        """Try again with half the micro-batch; the result is that of the undivided batch either way."""
        self.optimizer.zero_grad(set_to_none=True)
        smaller = (self.micro_batch + 1) // 2
        if self.micro_batch == 1 or self.group.world.size > 1:
            raise ResourceError(
                f"there is not enough memory for {self.micro_batch} images at once",
                where=self.plan.policy.device,
                why=next(iter(str(error).splitlines()), type(error).__name__),
                remedy=f"--micro-batch {smaller}" if self.micro_batch > 1 else "a smaller model or --image-size",
            ) from error
        self.micro_batch = smaller
        if self.plan.policy.device.startswith("cuda"):
            torch.cuda.empty_cache()

    def _weights(self) -> Tensor | None:
        if self.plan.recipe.class_weights == "none":
            return None
        return balanced_weights(torch.from_numpy(self.plan.splits.train.counts)).to(self.plan.policy.device)


def _whole_step(batches: Iterator[Batch]) -> tuple[Batch, ...]:
    """All parts of the next batch."""
    parts = [next(batches)]
    while not parts[-1].last:
        parts.append(next(batches))
    return tuple(parts)


def seed_dropout(seed: int, step: int, place: int) -> None:
    """Make what dropout drops a function of the place in the run, so that nothing about it needs saving.

    Args:
        seed: of the run.
        step: from 0.
        place: of the micro-batch's first image in the global batch.
    """
    torch.manual_seed(int(np.random.SeedSequence([seed, step, place]).generate_state(1, np.uint64)[0] >> np.uint64(1)))


def _trained(model: torch.nn.Module) -> list[bool]:
    return [parameter.requires_grad for parameter in model.parameters()]

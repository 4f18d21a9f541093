"""What keeps a run's work: its state saved again and again, found again, and the result picked from it at the end."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from vitreous import console
from vitreous.distributed import Group, full, load_shards, save_shards
from vitreous.training.learning import transfer
from vitreous.training.learning.average import Average
from vitreous.training.plan import Plan
from vitreous.training.saving import checkpoint
from vitreous.training.saving.checkpoint import State
from vitreous.training.saving.checkpoint_folder import SHARDS, SaveError, best, read_score
from vitreous.training.step import Done, Engine
from vitreous.training.tell import environment
from vitreous.training.trouble import evidence
from vitreous.training.trouble.divergence import Setting


class Keeper:
    """Saves and restores one run. The first process writes; where each holds a part of the model, all of them do.

    Args:
        plan: says how many checkpoints stay, and which weights are the result.
        folder: the run's `checkpoints` folder.
        engine: what is being trained.
        average: of its weights, where the recipe averages.
        group: the processes that train together.
    """

    def __init__(self, plan: Plan, folder: Path, engine: Engine, average: Average | None, group: Group) -> None:
        self._plan, self._folder, self._engine, self._average, self._group = plan, folder, engine, average, group
        self._saver = checkpoint.Saver(folder, plan.options.keep, environment=environment(plan))
        self._sharded = plan.strategy == "fsdp"
        self._best: float | None = None

    def restore(self) -> State:
        """Put the newest whole checkpoint into model, optimiser and average; an empty state where there is none.

        Raises:
            ModelFileError: there are checkpoints, and every one of them is damaged or of another run.
        """
        state = self._saver.latest() if self._group.first else None
        self._group.barrier()  # what interrupted saves left is swept away by now
        if not self._group.first:
            state, _ = checkpoint.read_latest(self._folder)
        if state is None:
            return State(0, {}, {})
        if (top := best(self._folder)) is not None:
            self._best = read_score(top)
        self._put(state)
        return dataclasses.replace(state, model={}, optimizer={}, average={})

    def is_best(self, score: float | None) -> bool:
        """Whether a score on validation images is above all before it; it counts from now on.

        Args:
            score: None where none was measured.
        """
        if score is None or (self._best is not None and score <= self._best):
            return False
        self._best = score
        return True

    def save(self, state: State, *, final: bool) -> None:
        """Write a checkpoint.

        Args:
            state: with everything but the tensors, which are taken as they are now.
            final: nothing comes after it: failing is an error.

        Raises:
            ResourceError: it is the final one and cannot be written.
        """
        state = self._with_tensors(state)
        if self._sharded:
            self._save_shards(state, final)
        elif self._group.first:
            self._saver.save(state, final=final)
        if final:
            self._group.barrier()  # nobody leaves before everything is on disk

    def keep_evidence(self, run: Path, done: Done, at: Setting) -> Path | None:
        """Keep the batch of a step that was not done, and the state it was not done in; None where that failed.

        Args:
            run: the run folder.
            done: the step; the weights are those before it.
            at: what it was done with.
        """
        state = self._with_tensors(State(done.step, {}, {}))
        seed, train = self._plan.options.seed, self._plan.splits.train
        if self._group.world.size == 1:
            return evidence.keep(run, state, done.parts, at, seed=seed, ids=train.ids, classes=train.classes)
        if self._sharded:  # a batch is of no use without the weights, which no process has
            console.say("the batch is not kept: no process has all the weights (--parallel ddp keeps it)")
            return None
        return evidence.keep_together(run, state, done.parts, at, self._group, seed=seed, images=train)

    def finish(self) -> tuple[torch.nn.Module, int | None]:
        """The plain model with the result in it, and the step that it is of where the best was asked for."""
        plan, chosen, model = self._plan, None, self._engine.plain
        if plan.options.result == "best" and (path := best(self._folder)) is not None:
            state = checkpoint.read(path)
            self._put(state)
            chosen = state.step
        if self._average is not None:
            self._average.swap(plan.model)
        if model is not plan.model:
            model.load_state_dict({name: full(value) for name, value in plan.model.state_dict().items()})
        transfer.finish(model, plan.recipe)
        return model.eval(), chosen

    def _put(self, state: State) -> None:
        plan, engine = self._plan, self._engine
        if state.shards is None:
            checkpoint.restore(state, plan.model, engine.optimizer, self._average)
            return
        engine.make_moments()
        load_shards(state.shards, _flat(self._with_tensors(state)))

    def _with_tensors(self, state: State) -> State:
        made = checkpoint.capture(
            state.step,
            self._plan.model,
            self._engine.optimizer,
            self._average,
            seconds=state.seconds,
            meter=state.meter,
            watch=state.watch,
            score=state.score,
        )
        return dataclasses.replace(made, shards=state.shards)

    def _save_shards(self, state: State, final: bool) -> None:
        """Every process writes its slices into the folder that the first one makes and makes whole."""
        tensors = _flat(state)
        bare = dataclasses.replace(state, model={}, optimizer={}, average={})

        told: list[Path] = []

        def shards(temporary: Path) -> None:
            (temporary / SHARDS).mkdir()
            told.append(temporary / SHARDS)
            self._group.shared(str(told[0]))
            save_shards(told[0], tensors)

        if self._group.first:
            try:
                self._saver.save(bare, final=final, shards=shards)
            finally:
                if not told:  # the folder could not be made: the others must not wait for it
                    self._group.shared(None)
        elif (place := self._group.shared(None)) is not None:
            with contextlib.suppress(SaveError, OSError):  # the first process hears of it too, and tells it
                save_shards(Path(place), tensors)
        self._group.barrier()


def _flat(state: State) -> dict[str, Tensor]:
    """All tensors of a state under one roof."""
    parts = {"model": state.model, "optimizer": state.optimizer, "average": state.average}
    return {f"{part}/{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}

"""A run opened in memory, for looking at it: nothing of it is written, and nothing is locked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vitreous.config import TrainOptions
from vitreous.schema import from_json
from vitreous.training.asked import recorded
from vitreous.training.learning.average import Average
from vitreous.training.loop import reproducible
from vitreous.training.plan import ALONE, Data, Model, Plan, make_plan
from vitreous.training.run import read_facts
from vitreous.training.saving import checkpoint
from vitreous.training.saving.prove import Proof, prove
from vitreous.training.step import Engine
from vitreous.training.trouble import evidence
from vitreous.training.trouble.divergence import Verdict, Watch
from vitreous.training.trouble.replay import Replayed, replay


class RunSession:
    """A run as it is after some step, ready for the next.

    Args:
        plan: of the run.
        saved: a checkpoint's folder; None for the start.
    """

    def __init__(self, plan: Plan, saved: Path | None) -> None:
        state = checkpoint.State(0, {}, {}) if saved is None else checkpoint.read(saved)
        self.plan, self.step = plan, state.step
        self.engine = Engine(plan, ALONE, state.step)
        self._average = Average(plan.model, plan.recipe.average_decay) if plan.recipe.average_decay else None
        self._watch = Watch(plan.guess, state.watch)
        if saved is not None:
            checkpoint.restore(state, plan.model, self.engine.optimizer, self._average)

    def advance(self) -> Sequence[str]:
        """Do one step as training does it, and give the names of the images that it showed, in order."""
        with reproducible(self.plan.policy.device):
            done = next(self.engine.steps(self.step, self._watch.judge, last=self.step + 1))
            if done.verdict is Verdict.FINE and self._average is not None:
                self._average.update(self.plan.model, done.step)
        self.step += 1
        ids = self.plan.splits.train.ids
        return [ids[index] for part in done.parts for index in part.indices.tolist()]

    def state(self) -> checkpoint.State:
        """What a checkpoint would hold now."""
        return checkpoint.capture(
            self.step, self.plan.model, self.engine.optimizer, self._average, seconds=0.0, meter={},
            watch=self._watch.state(),
        )  # fmt: skip


def open_run(run: Path, saved: Path | None) -> RunSession:
    """The session of a run, as it began or as a checkpoint left it.

    Args:
        run: the run folder.
        saved: a checkpoint's folder; None for the start.

    Raises:
        UsageError: the run was given Python objects, which its folder does not hold.
    """
    return RunSession(plan_of_run(run), saved)


def plan_of_run(run: Path, data: Data | None = None, model: Model | None = None) -> Plan:
    """The plan that a run follows.

    Args:
        run: the run folder.
        data: only for a run that was given images as objects.
        model: only for a run that was given a module of the person's own.
    """
    facts = read_facts(run)
    data, model = recorded(facts, run, data, model)
    asked = from_json(TrainOptions, facts["options"])
    return make_plan(facts["verb"], data, model, asked, choices=facts.get("choices"))


def prove_resume(run: str | Path) -> Proof:
    """Show on a run that a resumed step equals the uninterrupted one, to the bit; the run stays as it is.

    Args:
        run: the run folder.

    Raises:
        UsageError: the run was given Python objects, which a new process cannot have.
    """
    return prove(Path(run), open_run)


def replay_run(run: str | Path, *, data: Data | None = None, model: Model | None = None) -> Replayed:
    """Do the step that ended a diverged run again, and find what was no longer a number.

    Args:
        run: the run folder, or one of the folders in its `diverged`.
        data: only for a run that was given images as objects.
        model: only for a run that was given a module of the person's own.

    Raises:
        UsageError: the run kept no batch: it did not diverge.
    """
    path = Path(run)
    kept = evidence.read(path if path.parent.name == evidence.FOLDER else evidence.latest(path))
    plan = plan_of_run(kept.folder.parent.parent, data, model)
    with reproducible(plan.policy.device):
        engine = Engine(plan, ALONE, kept.at.step)
        return replay(kept, plan.model, engine, norm=lambda module: ALONE.clip(module, None))

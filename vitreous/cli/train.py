"""Verbs that train: `finetune`, `pretrain`, `resume` and `replay`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from vitreous import console
from vitreous.cli.answer import NOTHING_WRITTEN, Answer, Common
from vitreous.cli.flags import positional
from vitreous.cli.hub import Hub
from vitreous.cli.words import command, harmless, next_steps
from vitreous.config import TrainOptions
from vitreous.results import RunResult


@dataclass(frozen=True, kw_only=True, slots=True)
class Finetune:
    """Transfer a model to your images, and measure how good it became."""

    data: str = positional()
    """Folder of class folders, with or without train, val and test above them; a manifest, archive, shards or another
    of the layouts in docs/data.md; or digits, mnist-5k, fashion-mnist."""
    model: str | None = None
    """What to start from: a model file, a run folder, or a name that `vitreous models` lists. Left out, the best
    published weights in the cache."""
    dry_run: bool = False
    """Print the plan, and stop before anything is written."""
    hub: Hub = field(default_factory=Hub)
    training: TrainOptions = field(default_factory=TrainOptions)
    common: Common = field(default_factory=Common)

    def answer(self) -> Answer:
        """Train, and say what came out."""
        self.hub.settle(self.model)
        from vitreous.training import job

        if self.dry_run:
            return _plan(job.plan("finetune", self.data, model=self.model, **_keywords(self.training)))
        return _outcome(job.finetune(self.data, model=self.model, **_keywords(self.training)).result)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pretrain:
    """Train a model from scratch, and measure how good it became."""

    data: str = positional()
    """Folder of class folders, with or without train, val and test above them; a manifest, archive, shards or another
    of the layouts in docs/data.md; or digits, mnist-5k, fashion-mnist."""
    model: str | None = None
    """An architecture by name, see `vitreous models`. Left out, the one of the recipe that is named."""
    dry_run: bool = False
    """Print the plan, and stop before anything is written."""
    training: TrainOptions = field(default_factory=TrainOptions)
    common: Common = field(default_factory=Common)

    def answer(self) -> Answer:
        """Train, and say what came out."""
        from vitreous.training import job

        if self.dry_run:
            return _plan(job.plan("pretrain", self.data, model=self.model, **_keywords(self.training)))
        return _outcome(job.pretrain(self.data, model=self.model, **_keywords(self.training)).result)


@dataclass(frozen=True, kw_only=True, slots=True)
class Resume:
    """Go on exactly where a run stopped, as if it had never been interrupted."""

    run: str = positional()
    """The run folder, as the interrupted command named it."""
    prove: bool = False
    """Show on this very run that a resumed step equals the uninterrupted one, and leave the run as it is."""
    allow_data_change: bool = False
    """Go on although the images are not those the run began with; run.json remembers it."""
    common: Common = field(default_factory=Common)

    def answer(self) -> Answer:
        """Train on, and say what came out."""
        from vitreous.training import job, session

        if self.prove:
            proof = session.prove_resume(self.run)
            console.say(*proof.words())
            return Answer(value=proof, exit_code=0 if proof.equal else 1)
        return _outcome(job.resume(self.run, allow_data_change=self.allow_data_change).result)


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """Do the step that ended a diverged run again, and name what went wrong."""

    run: str = positional()
    """The run folder, or one of the folders in its `diverged`."""
    common: Common = field(default_factory=Common)

    def answer(self) -> Answer:
        """Do the step again, and say what is found."""
        from vitreous.training.session import replay_run

        found = replay_run(self.run)
        console.say(*(harmless(line) for line in found.words()))
        return Answer(value=found)


def _keywords(options: TrainOptions) -> dict[str, Any]:
    return {spec.name: getattr(options, spec.name) for spec in dataclasses.fields(options)}


def _plan(lines: list[str]) -> Answer:
    console.say(*lines, *NOTHING_WRITTEN)
    return Answer(value={"plan": lines})


def _outcome(result: RunResult) -> Answer:
    """Where everything is and what to do with it; the score itself the run has said."""
    if result.optimistic:
        console.say("optimistic: the images that gave this score also chose something; use a test folder")
    console.say(f"  report  {harmless(result.report)}", f"  model   {harmless(result.model)}")
    if result.names_classes:
        after = [
            (command("predict", result.run, "new.jpg"), "label new images: files, folders, patterns"),
            (command("evaluate", result.run, "FOLDER"), "measure it on other labelled images"),
        ]
    else:
        after = [(command("finetune", "DATA", "--model", result.run), "teach it classes, from few labelled images")]
    console.say(*next_steps(*after))
    return Answer(value=result)

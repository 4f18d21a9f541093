"""The verb `probe`: what frozen models know of some images, before any of them is trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from vitreous import console
from vitreous.cli.answer import NOTHING_WRITTEN, Answer, Common
from vitreous.cli.flags import option, positional
from vitreous.cli.hub import Hub
from vitreous.cli.use import Machine
from vitreous.cli.words import command, harmless, next_steps, percent, shorten, table
from vitreous.console import count
from vitreous.errors import UsageError, unknown_name
from vitreous.report.content import Command
from vitreous.report.probe import price_words
from vitreous.results import ModelProbe, ProbeResult

_KINDS = ("knn", "linear", "fewshot")
_LONGEST_NAME = 40
_FAILURES_SHOWN = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """What frozen features are worth on your images, before anything is trained.

    Nearest neighbours, a linear layer and a few examples per class; with several
    models, which of them suits the images and whether that is more than chance.
    """

    words: tuple[str, ...] = positional(metavar="MODEL... DATA")
    """Models (run folders, model files, names), and last the images: whatever training takes."""
    only: str | None = option(None, metavar="A,B")
    """Some of knn, linear and fewshot."""
    layers: bool = False
    """Look at every block as well: which of them transfers best."""
    shots: str | None = option(None, metavar="A,B")
    """Examples per class; by default 1,5,10,25."""
    seeds: str | None = option(None, metavar="A,B")
    """Of the draws of examples; by default 0,1,2."""
    val: float = 0.2
    """Share of each class held out where there are no val images."""
    bad_images: Literal["error", "skip"] = "error"
    """Stop at images that cannot be read, or leave them out and name them."""
    measure: bool = False
    """Measure some passes of training on this machine, and tell how long fine-tuning would take."""
    out: str | None = option(None, metavar="DIR")
    """Write a page, the numbers and the charts into this folder."""
    seed: int = 0
    """Of what is held out, and of the linear layer's weights and order."""
    root: str | None = None
    """Where a built-in data set lies, if not in its usual place."""
    dry_run: bool = False
    """Say what would be done, and stop."""
    hub: Hub = field(default_factory=Hub)
    machine: Machine = field(default_factory=Machine)
    common: Common = field(default_factory=Common)

    def __post_init__(self) -> None:
        if len(self.words) < 2:
            raise UsageError(
                "vitreous probe needs one model or more, and then the images",
                why=f"got only {self.words[0]}" if self.words else None,
                remedy="vitreous probe MODEL DATA",
            )
        for kind in self._kinds():
            if kind not in _KINDS:
                raise unknown_name("probe", kind, _KINDS)
        if min(self._numbers("--shots", self.shots, (1,))) < 1:
            raise UsageError(f"--shots must be 1 or more, got {self.shots}")
        seeds = self._numbers("--seeds", self.seeds, (0,))
        if min(seeds) < 0 or len(set(seeds)) < len(seeds):
            raise UsageError(f"--seeds must be different numbers from 0, got {self.seeds}")
        if not 0 < self.val < 1:
            raise UsageError(f"--val must lie between 0 and 1, got {self.val:g}")
        if self.seed < 0:
            raise UsageError(f"--seed must be 0 or more, got {self.seed}")

    def answer(self) -> Answer:
        """Probe, and say what came out."""
        *models, data = self.words
        for model in models:
            self.hub.settle(model)
        from vitreous.evaluation.fewshot import SEEDS, SHOTS
        from vitreous.study.probe import probe

        machine = self.machine
        machine.settle()
        who = harmless(models[0]) if len(models) == 1 else count(len(models), "model")
        console.say(f"probing {who} on {harmless(data)}: {', '.join(self._kinds())}; no weight is trained")
        if self.dry_run:
            return self._plan(models, data)
        steps = self._next(models, data)
        found = probe(
            list(models),
            data,
            only=[kind for kind in ("knn", "linear", "fewshot") if kind in self._kinds()],
            layers=self.layers,
            shots=self._numbers("--shots", self.shots, SHOTS),
            seeds=self._numbers("--seeds", self.seeds, SEEDS),
            val=self.val,
            seed=self.seed,
            out=self.out,
            measure=self.measure,
            device=machine.device,
            precision=machine.precision,
            batch_size=machine.batch_size,
            root=self.root,
            bad_images=self.bad_images,
            command=command("probe", *self.words, *self._typed()),
            next_steps=[Command(text=text, explained=explained) for text, explained in steps],
        )
        console.say(*_scores(found), *_words(found), *_failures(found))
        if found.html is not None:
            console.say("", f"page    {harmless(found.html)}")
        console.say(*next_steps(*steps))
        return Answer(value=found)

    def _plan(self, models: list[str], data: str) -> Answer:
        """What would be asked of which images; no model is opened."""
        from vitreous.study.probe import open_material

        material, held_out, notes, failed = open_material(
            data, val=self.val, seed=self.seed, root=self.root, bad_images=self.bad_images
        )
        learned, chosen = count(len(material.train), "image"), count(len(material.test), "image")
        console.say(*(f"  {harmless(note)}" for note in notes))
        console.say(f"  features of {learned} to learn from and {chosen} to score, by {count(len(models), 'model')}")
        console.say(f"  scored on {harmless(held_out)}", *NOTHING_WRITTEN)
        value = {"models": models, "data": data, "train": len(material.train), "test": len(material.test)}
        return Answer(value=value | {"held_out": held_out, "only": self._kinds(), "failed": failed})

    def _kinds(self) -> tuple[str, ...]:
        return _KINDS if self.only is None else tuple(word.strip() for word in self.only.split(",") if word.strip())

    def _numbers(self, flag: str, typed: str | None, default: tuple[int, ...]) -> tuple[int, ...]:
        if typed is None:
            return default
        words = [word.strip() for word in typed.split(",") if word.strip()]
        if not words or not all(word.isdecimal() for word in words):
            raise UsageError(
                f"{flag} takes whole numbers with commas between them, got {typed!r}", remedy=f"{flag} 1,5"
            )
        return tuple(map(int, words))

    def _typed(self) -> list[str]:
        """The flags that were typed and decide what is found."""
        words = ["--layers"] * self.layers + ["--measure"] * self.measure
        for flag, value in (
            ("--only", self.only),
            ("--shots", self.shots),
            ("--seeds", self.seeds),
            ("--out", self.out),
        ):
            words += [flag, value] if value is not None else []
        words += ["--val", f"{self.val:g}"] if self.val != 0.2 else []
        words += ["--seed", str(self.seed)] if self.seed else []
        return words + self._reading()

    def _reading(self) -> list[str]:
        """The flags that were typed and without which the same images cannot be read again."""
        words = ["--root", self.root] if self.root is not None else []
        return words + (["--bad-images", self.bad_images] if self.bad_images != "error" else [])

    def _next(self, models: list[str], data: str) -> list[tuple[str, str]]:
        first, reading = models[0] if len(models) == 1 else "MODEL", self._reading()
        steps = [(command("finetune", data, *reading, "--model", first), "train it on these images")]
        if not self.layers:
            again = command("probe", *models, data, *reading, "--layers", "--out", "probe")
            steps.append((again, "block by block, as a page"))
        else:
            steps.append((command("cost", first, "--recipe", "small-finetune", "--data", data), "what training takes"))
        return steps


def _scores(found: ProbeResult) -> list[str]:
    """One table: scores down, models across where there are few, else models down."""
    lines = ["", f"{harmless(found.data)}: {found.seen:,} of {count(found.expected, 'held-out image')} seen"]
    lines[1] += f", {count(len(found.failed), 'image')} could not be read" if found.failed else ""
    for model in found.models:
        rows = [("", "top-1", "95 % interval", "", "")]
        for one in model.scores:
            low, high = map(percent, one.interval)
            spread = "" if one.spread is None else f"± {100 * one.spread:.1f}"
            rows.append((one.name, percent(one.top1), f"{low} to {high}", spread, one.setting))
        lines += ["", _title(model), *table(rows, right=(1,))]
        lines += [f"  {harmless(note)}" for note in model.notes]
        if model.price is not None:
            lines.append(f"  fine-tuning takes about {price_words(model.price)} ({model.price.recipe})")
    return lines


def _title(model: ModelProbe) -> str:
    named = shorten(harmless(model.model), _LONGEST_NAME)
    words = f"{named}: {model.reads}, {model.width:,} numbers"
    return words + ("; random weights: this is what pixels give away untrained" if model.random else "")


def _words(found: ProbeResult) -> list[str]:
    lines = [""] if found.recommendation or any(model.layer_words for model in found.models) else []
    for model in found.models:
        if model.layer_words:
            named = "" if len(found.models) == 1 else f"{shorten(harmless(model.model), _LONGEST_NAME)}: "
            lines.append(harmless(named + model.layer_words))
    return lines + ([harmless(found.recommendation)] if found.recommendation else [])


def _failures(found: ProbeResult) -> list[str]:
    if not found.failed:
        return []
    rows = [(harmless(item.path), harmless(item.reason)) for item in found.failed[:_FAILURES_SHOWN]]
    more = len(found.failed) - len(rows)
    return ["", "could not be read", *table(rows), *([f"  and {more:,} more"] if more else [])]

"""The verb `compare`: two models on the same images, with a paired test."""

from __future__ import annotations

from dataclasses import dataclass, field

from vitreous import console
from vitreous.cli.answer import Answer, Common
from vitreous.cli.flags import option, positional
from vitreous.cli.hub import Hub
from vitreous.cli.use import Machine
from vitreous.cli.words import command, harmless, next_steps, percent, shorten, table
from vitreous.console import count
from vitreous.errors import UsageError
from vitreous.results import ClassDifference, Comparison, Contrast

_CLASSES_SHOWN = 5
_DUELS_SHOWN = 5
_LONGEST = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Compare:
    """Two models on the same images: which is better, and is it more than chance?"""

    a: str = positional()
    """The first model: a run folder, a model file in any dialect, or published weights."""
    b: str = positional()
    """The second; differences are B minus A. Classes are matched by name."""
    data: str = positional()
    """Labelled images, as for `evaluate`."""
    split: str | None = None
    """Which part of DATA; by default test, then val, then train."""
    root: str | None = None
    """Where a built-in data set lies, if not in its usual place."""
    out: str | None = option(None, metavar="DIR")
    """Folder for report.html, with the images only one of them gets right, and comparison.json."""
    seed: int = 0
    """Of the bootstrap intervals."""
    hub: Hub = field(default_factory=Hub)
    machine: Machine = field(default_factory=Machine)
    common: Common = field(default_factory=Common)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UsageError(f"--seed must be 0 or more, got {self.seed}")

    def answer(self) -> Answer:
        """Compare, and say what came out."""
        from vitreous.study.compare import brief, compare

        machine = self.machine
        machine.settle()
        for model in (self.a, self.b):
            self.hub.settle(model)
        console.say(f"comparing on {harmless(self.data)}", *self._named())
        reading = self._reading()
        again = ["compare", self.a, self.b, self.data, *reading, *(["--seed", str(self.seed)] if self.seed else [])]
        found = compare(
            self.a,
            self.b,
            self.data,
            split=self.split,
            root=self.root,
            device=machine.device,
            precision=machine.precision,
            batch_size=machine.batch_size,
            seed=self.seed,
            out=self.out,
            names=(self.a, self.b),
            command=command(*again, *(["--out", self.out] if self.out is not None else [])),
        )
        console.say(*_figures(found), *_classes(found), *_failures(found))
        console.say("", *self._named(), "", _sentence(found), *_how_sure(found))
        whole = command("evaluate", self.b, self.data, *reading, "--out", "evaluation")
        steps = [(whole, "everything about one of them")]
        if found.html is None:
            steps.insert(0, (command(*again, "--out", "comparison"), "a page with the images only one gets right"))
        else:
            console.say("", f"page    {harmless(found.html)}")
        console.say(*next_steps(*steps))
        return Answer(value=brief(found))

    def _named(self) -> list[str]:
        return [f"  A  {harmless(self.a)}", f"  B  {harmless(self.b)}"]

    def _reading(self) -> list[str]:
        """The flags that were typed and say which images are meant."""
        words = []
        for flag, value in (("--split", self.split), ("--root", self.root)):
            words += [flag, value] if value is not None else []
        return words


def _figures(found: Comparison) -> list[str]:
    rows = [("", "A", "B", "B - A", "95 % interval")]
    rows += [_shares("top-1", found.top1), _shares("calibration error", found.calibration_error)]
    if (loss := found.log_loss) is not None:
        low, high = loss.interval
        between = f"{low:+.4f} to {high:+.4f}"
        rows.append(("log loss", f"{loss.a:.4f}", f"{loss.b:.4f}", f"{loss.difference:+.4f}", between))
    seen = f"{harmless(found.data)}; {found.seen:,} of {count(found.expected, 'image')} seen by both"
    divided = (
        f"  both right {found.both:,}, only A {found.only_a:,}, only B {found.only_b:,}, neither {found.neither:,};"
    )
    return ["", seen, *table(rows, right=(1, 2, 3)), f"{divided} the same answer to {percent(found.agreement)}"]


def _shares(title: str, found: Contrast) -> tuple[str, str, str, str, str]:
    low, high = found.interval
    between = f"{100 * low:+.1f} to {100 * high:+.1f}"
    return title, percent(found.a), percent(found.b), f"{100 * found.difference:+.1f}", between


def _classes(found: Comparison) -> list[str]:
    rows = [row for row in found.by_class if row.only_a + row.only_b][:_CLASSES_SHOWN]
    if not rows:
        return []
    head = ("class", "images", "A", "B", "points", "")
    return ["", "where they differ most", *table([head, *map(_class, rows)], right=range(1, 5))]


def _class(row: ClassDifference) -> tuple[str, ...]:
    gap = f"{100 * (row.recall_b - row.recall_a):+.1f}"
    clear = "more than chance" if row.p_value < 0.05 else ""
    name = shorten(harmless(row.name), _LONGEST)
    return name, f"{row.support:,}", percent(row.recall_a), percent(row.recall_b), gap, clear


def _failures(found: Comparison) -> list[str]:
    if not found.failed:
        return []
    rows = [(harmless(item.path), harmless(item.reason)) for item in found.failed[:_DUELS_SHOWN]]
    return ["", f"{count(len(found.failed), 'image')} could not be read", *table(rows)]


def _sentence(found: Comparison) -> str:
    return found.words[0].upper() + found.words[1:] + "."


def _how_sure(found: Comparison) -> list[str]:
    p_value = "p < 0.0001" if found.p_value < 1e-4 else f"p = {found.p_value:.4f}"
    lines = [f"  McNemar's exact test: {p_value}"]
    if found.verdict == "within noise" and found.images_needed is not None:
        lines.append(
            f"  if the difference is real, about {found.images_needed:,} such images would tell it (80 % power)"
        )
    return lines

"""What a model scores on the Visual Task Adaptation Benchmark."""

from __future__ import annotations

import html
from dataclasses import dataclass

DAGGER = "†"
"""Marks what rests on images that were drawn anew."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VtabTry:
    """One setting that was tried on a task, and what it scored on the images that choose."""

    setting: str
    """In words: `rate 0.01, 2,500 steps`."""
    val: float | None
    """Top-1 on the validation images; None where the training diverged, so that nothing was scored."""
    seen: int
    expected: int


@dataclass(frozen=True, kw_only=True, slots=True)
class VtabRun:
    """One final run on a task: trained on all its training and validation images, and tested once."""

    seed: int
    setting: str
    chosen_by: str
    """How the setting came about, in words."""
    val: float | None
    """What the setting had scored on the validation images; None where nothing was chosen."""
    top1: float
    """On the test images, with the last weights."""
    seen: int
    """Test images."""
    expected: int
    seconds: float
    run: str
    """Its folder or file."""

    @property
    def failed(self) -> int:
        """Test images that could not be read."""
        return self.expected - self.seen


@dataclass(frozen=True, kw_only=True, slots=True)
class VtabTaskScore:
    """What a model scores on one task."""

    task: str
    """As it is typed: clevr_count."""
    title: str
    """As the ViT paper's Table 9 calls it."""
    group: str
    classes: int
    metric: str
    top1: float
    """Mean over the seeds."""
    spread: float | None
    """Sample standard deviation over the seeds; None for one seed."""
    seen: int
    """Test images that were scored, by every seed."""
    expected: int
    failed: int
    """Test images that could not be read."""
    train: int
    """Images that the final runs learned from."""
    source: str
    """Where the images come from, in words."""
    regenerated: bool
    """Whether the images are drawn anew, not read from the published files."""
    exact: bool
    """Whether the images are those of the published splits; where not, `notes` says why."""
    notes: tuple[str, ...]
    runs: tuple[VtabRun, ...]
    tries: tuple[VtabTry, ...]

    @property
    def label(self) -> str:
        """The title, with a dagger where the images are drawn anew."""
        return self.title + (DAGGER if self.regenerated else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class VtabMissing:
    """A task without a score."""

    task: str
    title: str
    group: str
    why: str
    """In words: that the images are not there, or what went wrong."""
    looked: tuple[str, ...]
    """What was looked for."""
    remedy: str
    """Where to get the images, or what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VtabListed:
    """One task, as `vitreous vtab --list` tells of it."""

    task: str
    group: str
    classes: int
    train: int
    val: int
    test: int
    metric: str


@dataclass(frozen=True, kw_only=True, slots=True)
class VtabPlanned:
    """What one task would take."""

    task: str
    title: str
    group: str
    source: str
    regenerated: bool
    train: int
    val: int
    test: int
    settings: int
    """Settings that are tried."""
    runs: int
    """Trainings in all, final ones included."""
    flops: float
    """Floating-point operations of all of them, and of the scores."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VtabPlan:
    """What a run of VTAB would do; nothing is written."""

    model: str
    parameters: int
    out: str
    setting: str
    deviations: tuple[str, ...]
    tasks: tuple[VtabPlanned, ...]
    missing: tuple[VtabMissing, ...]
    runs: int
    flops: float
    hours: dict[str, float]
    """On one device of each kind, at the share of its peak that such models usually reach."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VtabResult:
    """What a model scores on VTAB: every task, the groups, and the mean of all 19 where none is missing."""

    model: str
    random: bool
    """Whether the model began from random weights."""
    vtab: str
    """1k or full."""
    protocol: str
    method: str
    """full: everything is fine-tuned. linear: a linear head on frozen features."""
    setting: str
    """How every task was trained, in words."""
    tasks: dict[str, float]
    """Top-1 by task, mean over the seeds."""
    groups: dict[str, float | None]
    """Unweighted mean over the tasks of each group; None where one is missing."""
    mean19: float | None
    """The VTAB score: the unweighted mean of all 19 tasks; None where one is missing."""
    mean_of_groups: float | None
    """Another number that some papers report: the mean of the three group means."""
    spread: dict[str, float | None]
    """Sample standard deviation over the seeds, of mean19, mean_of_groups and each group."""
    seeds: tuple[int, ...]
    deviations: tuple[str, ...]
    """In what this run is not what its protocol says, one phrase each."""
    regenerated: tuple[str, ...]
    """Tasks whose images were drawn anew; a score with them in it is not the published benchmark's."""
    details: tuple[VtabTaskScore, ...]
    missing: tuple[VtabMissing, ...]
    seen: int
    """Test images scored, over all tasks."""
    expected: int
    failed: int
    seconds: float
    """Training and scoring, over all runs."""
    out: str
    """The folder with vtab.json, vtab.csv, vtab.md, vtab.tex, vtab.svg, vtab.png and report.html."""

    @property
    def dagger(self) -> str:
        """What stands behind a score that rests on images drawn anew."""
        return DAGGER if self.regenerated else ""

    def _repr_html_(self) -> str:
        rows = [
            f"<tr><td>{html.escape(each.label)}</td><td>{each.group}</td><td>{_percent(each.top1)}</td></tr>"
            for each in self.details
        ]
        rows += [
            f"<tr><td>{html.escape(each.title)}</td><td>{each.group}</td><td>missing</td></tr>" for each in self.missing
        ]
        means = [*self.groups.items(), ("mean of 19", self.mean19)]
        rows += [f"<tr><th>{name}</th><th></th><th>{_percent(value)}</th></tr>" for name, value in means]
        foot = f"<p>{html.escape(self.setting)}</p>"
        if self.regenerated:
            foot += f"<p>{DAGGER} images drawn anew</p>"
        return f"<table><caption>VTAB, {html.escape(self.model)}</caption>{''.join(rows)}</table>{foot}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"

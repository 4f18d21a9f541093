"""What the paper's studies in miniature measured."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class MiniatureScore:
    """One way of scoring one arm, over its seeds; shares in [0, 1]."""

    mean: float
    spread: float | None
    """Sample standard deviation over the seeds; None for one seed."""
    values: tuple[float, ...]
    """One for each seed, in their order."""
    seen: int
    """Images each value was scored on."""
    expected: int
    """How many there are of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MiniatureArm:
    """One line of a study: what was trained, and how it fared."""

    name: str
    """As in the study's table: `2-D, every layer`."""
    trained: str
    """What was trained, and how, in words."""
    learned: int
    """Training images."""
    flops: float
    """Floating-point operations of its training, as `vitreous.cost` counts them."""
    seeds: int
    """How many runs it is the mean of."""
    scores: dict[str, MiniatureScore]
    """By the measure: 5-shot, 10-shot, held-out or fine-tuned."""
    paper: str = ""
    """What the paper prints for this line, with its unit; empty where it prints no number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MiniatureFinding:
    """What two arms say, in a sentence."""

    sentence: str
    difference: float
    """First minus second, in [-1, 1]."""
    clear: bool
    """Whether it is larger than the spread of the seeds lets chance make it."""
    claimed: bool
    """Whether the paper says anything of these two."""
    agrees: bool | None
    """Whether that is what the paper found; None where nothing can be said."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MiniatureStudy:
    """One study of the paper, run in miniature."""

    name: str
    title: str
    place: str
    """Where it stands in the paper: `Table 8, appendix D.4`."""
    about: str
    """What the paper asked and found, in a few sentences."""
    here: str
    """What was done here instead."""
    measure: str
    """The measure its findings rest on, a key of every arm's scores."""
    arms: tuple[MiniatureArm, ...]
    findings: tuple[MiniatureFinding, ...]
    theirs: str = ""
    """What the numbers of the paper beside its arms are; empty where it prints none."""
    missing: int = 0
    """Runs of it that are not there yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MiniatureResult:
    """What `vitreous paper --miniature` measured."""

    studies: tuple[MiniatureStudy, ...]
    runs: int
    """Runs that are finished."""
    planned: int
    """Runs there are to be in all."""
    seeds: int
    seconds: float
    """Wall time of this call."""
    cpu_seconds: float
    """Processor time of the finished runs, training and scoring; of one that was resumed, since then."""
    command: str
    """What repeats it."""
    environment: dict[str, str]
    written: str
    """Date and time."""
    out: str
    """Folder of everything."""
    report: str
    """The page."""
    charts: tuple[str, ...] = field(default=())
    """Paths of the charts, PNG and SVG."""

    @property
    def complete(self) -> bool:
        """Whether every run is there."""
        return self.runs == self.planned

"""The verb `demo`: the whole article in miniature, on this machine, now."""

from __future__ import annotations

from dataclasses import dataclass, field

from vitreous.cli.answer import Answer, Common
from vitreous.cli.flags import option
from vitreous.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class Demo:
    """The article in miniature, offline, in about two minutes on two CPU cores.

    A small Vision Transformer learns 5,000 handwritten digits, moves to another
    set of digits at a higher resolution with a few labels per class, and is held
    against the same network from scratch and against a plain baseline.
    """

    out: str | None = option(None, metavar="DIR")
    """Folder for the report and the models; by default runs/demo-N."""
    seed: int = 0
    """Fixes the images that are labelled, their order, augmentation and initial weights."""
    threads: int | None = None
    """CPU threads for the arithmetic; by default PyTorch's choice."""
    dry_run: bool = False
    """Print the plan, and stop before anything is written."""
    common: Common = field(default_factory=Common)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UsageError(f"--seed must be 0 or more, got {self.seed}")
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"--threads must be above 0, got {self.threads}")

    def answer(self) -> Answer:
        """Run the demo, and say what it measured."""
        from vitreous.study import demo

        result = demo.demo(out=self.out, seed=self.seed, threads=self.threads)
        return Answer(value=result)

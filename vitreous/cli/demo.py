"""The verb `demo`: the whole article in miniature, on this machine, now."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vitreous import console
from vitreous.architecture import Size, ViTConfig
from vitreous.cli.answer import NOTHING_WRITTEN, Answer, Common
from vitreous.cli.flags import option
from vitreous.cli.words import command, harmless, next_steps
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
        """Run the demo; it says itself what it measures."""
        from vitreous.study import demo

        if self.dry_run:
            lines = _plan(demo.MODEL, demo.TRANSFER_SIZE, demo.LABELLED_PER_CLASS)
            console.say(*lines, *NOTHING_WRITTEN)
            return Answer(value={"plan": lines})
        result = demo.demo(self.out, seed=self.seed, threads=self.threads)
        transferred = Path(result.report).parent / "transfer"
        console.say("", f"report  {harmless(result.report)}")
        console.say(
            *next_steps(
                (
                    command("finetune", "photos/", "--model", "vit-ti16"),
                    "your own photos, a folder for each class; --model FILE starts from trained weights",
                ),
                (command("predict", transferred, "digit.png"), "ask the transferred model about an image"),
            )
        )
        return Answer(value=result)


def _plan(model: ViTConfig, size: Size, labelled: int) -> list[str]:
    return [
        f"1/4  pre-train a small ViT ({model.depth} blocks, {model.embed_dim} wide) on mnist-5k at"
        f" {model.image_size[0]} px",
        f"2/4  transfer it to digits of other writers at {size[0]} px, {labelled} labelled images per class",
        "3/4  train the same network from scratch on the same few",
        "4/4  logistic regression on the pixels of the same few",
        "     the last three are scored on the same other digits, and a report shows it all",
    ]

"""Whether training still learns: judged before every step, from its loss and its gradient's norm alone.

Two things are called divergence. Numbers that are not finite: such a step is skipped, and the third in a row stops the
run. And a loss that rose far above where training began and stays there: clipping keeps every number finite while the
weights wander off. What is rightly uneven is none: one spike, a transient that is already falling, a warm-up, losses
that begin high or low (sigmoid, head_bias, masked patches), mixed or smoothed targets, whose loss never gets near 0.
"""

from __future__ import annotations

import math
import shlex
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from vitreous.errors import DivergedError

_IN_A_ROW = 3  # steps without finite numbers
_WINDOW = 10  # steps that are looked at
_MOST = 6  # of them have to be worse: a spike and what it drags along are fewer
_WORSE = 3.0  # times the reference
_FALLING = 0.7  # the newer half of the window below this part of the older half: it is recovering
_FAR_OFF = 100.0  # times the reference: a learning rate that does this is wrong by orders of magnitude
_TRUSTED = 3.0  # times the first loss: more is no start but a divergence at once


class Verdict(StrEnum):
    """What to do with a step."""

    FINE = "fine"
    """Do it."""
    SKIP = "skip"
    """Leave the weights as they are and go on with the next batch."""
    STOP = "stop"
    """End the run; `Watch.explain` says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What a step was done with, for the explanation."""

    step: int
    """From 0."""
    loss: float
    """Mean over the batch."""
    grad_norm: float
    """Global norm before clipping."""
    rate: float
    """Learning rate at this step."""
    peak: float
    """The recipe's."""
    warmup: int
    """Steps of warm-up."""
    clip_norm: float | None


class Watch:
    """Watches one run. What it remembers is a small JSON value that a checkpoint keeps.

    Several ranks agree where each is given the loss and the norm over all of them.

    Args:
        guess: the loss of knowing nothing, such as log(classes); None where it cannot be told beforehand.
        state: what another process's watch remembered, from `state()`; empty or None at the start.
    """

    def __init__(self, guess: float | None = None, state: Mapping[str, Any] | None = None) -> None:
        kept = dict(state or {})
        self.guess = guess
        self.skipped: int = kept.get("skipped", 0)
        self._in_a_row: int = kept.get("in_a_row", 0)
        self._first: list[float] = list(kept.get("first", []))
        self._recent: list[tuple[int, float, float]] = [
            (step, loss, norm) for step, loss, norm in kept.get("recent", [])
        ]
        self._calm: int | None = kept.get("calm")

    def state(self) -> dict[str, Any]:
        """Everything it remembers, as JSON values."""
        return {
            "skipped": self.skipped,
            "in_a_row": self._in_a_row,
            "first": list(self._first),
            "recent": [list(seen) for seen in self._recent],
            "calm": self._calm,
        }

    @property
    def reference(self) -> float:
        """The loss that training began with, or that of a guess where it is higher; infinite before the first step."""
        if not self._first:
            return math.inf
        first = self._first[0]
        if self.guess is not None:
            return max(self.guess, first)
        # one batch of dark patches is no start; but where every later loss is huge, the first is the only sound one
        return max(first, min(statistics.fmean(self._first), _TRUSTED * first))

    def judge(self, step: int, loss: float, grad_norm: float) -> Verdict:
        """What to do with a step, asked once for each, in order, before the optimiser moves anything.

        Args:
            step: from 0.
            loss: mean over the batch.
            grad_norm: global norm of its gradient, before clipping.
        """
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            self.skipped += 1
            self._in_a_row += 1
            return Verdict.STOP if self._in_a_row >= _IN_A_ROW else Verdict.SKIP
        self._in_a_row = 0
        if len(self._first) < _WINDOW:
            self._first.append(loss)
        if loss <= self.reference:
            self._calm = step
        self._recent = [*self._recent, (step, loss, grad_norm)][-_WINDOW:]
        return Verdict.STOP if self._risen() else Verdict.FINE

    def _risen(self) -> bool:
        losses = [loss for _, loss, _ in self._recent]
        worse = sum(loss > _WORSE * self.reference for loss in losses)
        if len(losses) < _WINDOW or self.reference <= 0 or worse < _MOST:
            return False
        older, newer = losses[: _WINDOW // 2], losses[_WINDOW // 2 :]
        return statistics.median(newer) >= _FALLING * statistics.median(older)

    def skipping(self, step: int, loss: float) -> str:
        """The line that tells of a skipped step.

        Args:
            step: from 0.
            loss: as judged; where it is finite the gradient was not.
        """
        what = "its gradient is not finite" if math.isfinite(loss) else "its loss is not a number"
        return f"step {step + 1:,} is skipped: {what}; {_IN_A_ROW} such steps in a row end the run"

    def explain(self, at: Setting, *, run: Path, evidence: Path | None) -> DivergedError:
        """The exception that ends the run, in words.

        Args:
            at: the step that was judged `STOP`.
            run: the run folder.
            evidence: where its batch is kept; None where it could not be.
        """
        finite = math.isfinite(at.loss) and math.isfinite(at.grad_norm)
        if finite:
            times = at.loss / self.reference
            what = f"the loss has risen to {at.loss:.3g} at step {at.step + 1:,}, {times:.2g} times that of the start"
        else:
            number = "the loss is not a number" if not math.isfinite(at.loss) else "the gradient is not finite"
            what = f"{number} at step {at.step + 1:,}, nor was it in the {_IN_A_ROW - 1} steps before"
        return DivergedError(
            what, where=str(evidence or run), why=self._reason(at, finite), remedy=self._remedy(at, run, evidence)
        )

    def _reason(self, at: Setting, finite: bool) -> str:
        if not self._recent:
            return "no step was done before: the weights or the images are at fault, not the learning rate"
        step, loss, norm = self._recent[-1]
        if self._calm is None:
            since = "the loss was above its start from the first step"
        elif self._calm < step:
            since = f"the loss has been above its start since step {self._calm + 2:,}"
        else:
            since = f"until step {step + 1:,} all was well"
        now = f"learning rate {at.rate:.3g}, gradient norm {at.grad_norm:.3g}"
        before = "" if finite else f", at the last sound step loss {loss:.3g} and gradient norm {norm:.3g}"
        return f"{since}; {now}{before}"

    def _remedy(self, at: Setting, run: Path, evidence: Path | None) -> str:
        look = f"vitreous replay {shlex.quote(str(run))}   shows which image, layer and gradient it was"
        if not self._recent:
            return look if evidence else "look at the images and at the model file"
        height = max(loss for _, loss, _ in self._recent)
        ways = [f"--learning-rate {at.peak / (_FAR_OFF if height > _FAR_OFF * self.reference else 3):.2g}"]
        if at.clip_norm is None or at.clip_norm > 1:
            ways.append("a recipe with clip_norm=1")
        if at.step < 10 * max(at.warmup, 10):
            ways.append("a longer warm-up" if at.warmup else "a warm-up")
        lines = f"start again in another folder with {', or '.join(ways)}"
        return f"{lines}; {look}" if evidence else lines
